//! `brig list`.

use brig::printable;
use brig::supervise::{ErrorKind, Listed, Shown};

use super::arguments::{Arguments, Format};
use super::flags::{Flags, format, switch};
use super::global::Global;
use super::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "list",
    summary: "list the containers",
    help: "\
usage: brig list [OPTION...]

Lists the containers below --root. One that cannot be shown (it is being made, its record is damaged,
another user's, or made in another pid namespace) is named on standard error; the exit code is 0 all the
same, as with runc.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[(
    "options",
    &[
        format("-f, --format FORMAT  table (default) or json", |it| &mut it.format),
        switch("-q, --quiet  ids only", |it| &mut it.quiet),
    ],
)]);

#[derive(Debug, Default)]
struct ParsedFlags {
    format: Format,
    quiet: bool,
}

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    arguments.end()?;
    let node = global.node()?;
    global.given_root_must_exist()?;
    let Listed { ids, unclear } = node.list()?;
    for what in unclear {
        printable::note(&format!("warning: {what}"));
    }
    if parsed.quiet {
        let lines: String = ids.iter().map(|id| format!("{}\n", id.as_str())).collect();
        print(&lines)?;
        return Ok(0);
    }
    let mut shown = Vec::new();
    for id in ids {
        // One that has been deleted meanwhile is not shown, every other one that cannot be is named.
        match node.container(&id).and_then(|found| found.show()) {
            Ok(one) => shown.push(one),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => printable::note(&format!("warning: {error}")),
        }
    }
    let text = match parsed.format {
        Format::Json => serde_json::to_string(&shown)? + "\n",
        Format::Table => table(&shown),
    };
    print(&text)?;
    Ok(0)
}

fn table(containers: &[Shown]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    rows.extend(containers.iter().map(|one| {
        [
            one.id.clone(),
            one.pid.to_string(),
            one.status.to_owned(),
            one.bundle.display().to_string(),
            one.created.clone(),
            one.owner.clone(),
        ]
    }));
    columns(&rows)
}

/// runc's columns: as wide as their widest cell and three spaces, but at least this.
const COLUMN_WIDTH: usize = 12;

/// Aligns columns as runc does.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let rows: Vec<_> =
        rows.iter().map(|row| row.each_ref().map(|cell| printable::line(cell))).collect();
    let mut widths = [COLUMN_WIDTH; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + 3);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:<width$}"));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn an_empty_table_is_runcs() {
        let header = "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n";
        assert_eq!(table(&[]), header);
    }
}
