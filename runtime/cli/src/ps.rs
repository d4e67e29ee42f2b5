//! `brig ps`.

use std::process::Command;

use anyhow::{Context, bail};

use super::arguments::{Arguments, Format};
use super::flags::{Flags, format};
use super::global::Global;
use super::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "ps",
    summary: "list the processes of a container",
    help: "\
usage: brig ps [OPTION...] CONTAINER-ID [PS-OPTION...]

Lists the processes of a container's cgroup, or where it has none those that share the first one's
mounts, with the pids that the host sees. The table is what the host's ps(1) prints (with PS-OPTIONs,
default -ef), only the rows of the container.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[(
    "options",
    &[format("-f, --format FORMAT  table (default) or json: an array of pids", |it| {
        &mut it.format
    })],
)]);

#[derive(Debug, Default)]
struct ParsedFlags {
    format: Format,
}

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read_leading(&mut arguments, &mut parsed)?;
    let container = global.open(&mut arguments)?;
    let mut options = arguments.rest()?;
    let pids = container.pids()?;
    if parsed.format == Format::Json {
        print(&format!("{}\n", serde_json::to_string(&pids)?))?;
        return Ok(0);
    }
    if options.is_empty() {
        options.push("-ef".to_owned());
    }
    let output = Command::new("ps").args(&options).output();
    let output = output.context("running the host's ps (try --format json)")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("ps {}: {}: {}", options.join(" "), output.status, words.trim());
    }
    print(&rows_of(&String::from_utf8_lossy(&output.stdout), &pids)?)?;
    Ok(0)
}

/// The header of ps's table, and the rows whose PID is one of `pids`, which are sorted.
fn rows_of(table: &str, pids: &[i32]) -> anyhow::Result<String> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let Some(column) = header.split_whitespace().position(|title| title == "PID") else {
        bail!("couldn't find PID field in ps output");
    };
    let ours = |line: &&str| {
        let cell = line.split_whitespace().nth(column);
        let pid = cell.and_then(|cell| cell.parse::<i32>().ok());
        pid.is_some_and(|pid| pids.binary_search(&pid).is_ok())
    };
    let mut text = format!("{header}\n");
    for line in lines.filter(ours) {
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::rows_of;

    const TABLE: &str = "\
UID        PID  PPID  C STIME TTY          TIME CMD
root         1     0  0 01:00 ?        00:00:01 init 7
root         7     1  0 01:00 ?        00:00:00 sleep 1000
root        77     7  0 01:00 ?        00:00:00 sh
";

    #[test]
    fn the_rows_of_the_container_are_kept() {
        let text = rows_of(TABLE, &[7, 77]).unwrap();
        let firsts: Vec<_> = text.lines().map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(firsts, [Some("PID"), Some("7"), Some("77")]);
    }

    #[test]
    fn a_stopped_container_has_a_header_only() {
        assert_eq!(rows_of(TABLE, &[]).unwrap().lines().count(), 1);
    }

    #[test]
    fn a_table_without_pids_is_refused() {
        for table in ["", "CMD\nsleep\n", "PPID CMD\n1 sleep\n"] {
            let error = rows_of(table, &[7]).unwrap_err().to_string();
            assert_eq!(error, "couldn't find PID field in ps output");
        }
    }
}
