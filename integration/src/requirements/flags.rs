//! What brig does with the flags of runc's verbs.
//!
//! Promises: each entry agrees with docs/command-line.md, which is brig's own help, and the entries have every flag of the
//! runc that is installed; tests say so. Reference: `--help` of runc 1.1.5 and 1.3.6, and the
//! changelogs of 1.4 and 1.5.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Flags of one of runc's verbs that brig treats alike.
#[derive(Debug)]
pub struct Flags {
    /// The verb; empty for flags before the verb.
    pub verb: &'static str,
    /// Long names, with a space between them.
    pub names: &'static str,
    /// What brig does.
    pub answer: Answer,
}

/// What brig does with flags.
#[derive(Debug)]
pub enum Answer {
    /// As runc.
    Same,
    /// It takes them, for compatibility.
    Takes(&'static str),
    /// It refuses them as unknown.
    Lacks(&'static str),
}

const fn same(verb: &'static str, names: &'static str) -> Flags {
    Flags { verb, names, answer: Answer::Same }
}

const fn takes(verb: &'static str, names: &'static str, what: &'static str) -> Flags {
    Flags { verb, names, answer: Answer::Takes(what) }
}

const fn lacks(verb: &'static str, names: &'static str, why: &'static str) -> Flags {
    Flags { verb, names, answer: Answer::Lacks(why) }
}

const NO_CRIU: &str =
    "there is no checkpoint and restore: criu would have to see through what brig hides";
const NO_PIVOT: &str = "no old root is left behind in any case";
const NO_SUBREAPER: &str = "brig is no subreaper";

/// All of them.
pub const FLAGS: &[Flags] = &[
    same("", "--debug --log --log-format --root --systemd-cgroup --help --version"),
    takes("", "--criu", "there is no checkpoint and restore"),
    takes("", "--rootless", "brig looks for itself"),
    lacks(
        "checkpoint",
        "--image-path --work-path --parent-path --leave-running --tcp-established --tcp-skip-in-flight --ext-unix-sk \
         --shell-job --lazy-pages --status-fd --page-server --file-locks --pre-dump --manage-cgroups-mode --empty-ns \
         --auto-dedup --link-remap",
        NO_CRIU,
    ),
    same(
        "create",
        "--bundle --console-socket --pidfd-socket --pid-file --no-new-keyring --preserve-fds",
    ),
    takes("create", "--no-pivot", NO_PIVOT),
    same("delete", "--force"),
    same("events", "--interval --stats"),
    same(
        "exec",
        "--console-socket --pidfd-socket --cwd --env --tty --user --additional-gids --process --detach --pid-file \
         --process-label --apparmor --no-new-privs --cap --preserve-fds --cgroup --ignore-paused",
    ),
    takes("exec", "--no-subreaper", NO_SUBREAPER),
    same("kill", "--all"),
    same("list", "--format --quiet"),
    same("ps", "--format"),
    lacks(
        "restore",
        "--console-socket --image-path --work-path --tcp-established --ext-unix-sk --shell-job --file-locks \
         --manage-cgroups-mode --bundle --detach --pid-file --no-subreaper --no-pivot --empty-ns --auto-dedup \
         --lazy-pages --lsm-profile --lsm-mount-context",
        NO_CRIU,
    ),
    same(
        "run",
        "--bundle --console-socket --pidfd-socket --pid-file --no-new-keyring --preserve-fds --detach --keep",
    ),
    takes("run", "--no-pivot", NO_PIVOT),
    takes("run", "--no-subreaper", NO_SUBREAPER),
    same("spec", "--bundle --rootless"),
    same(
        "update",
        "--resources --blkio-weight --cpu-period --cpu-quota --cpu-burst --cpu-share --cpu-rt-period --cpu-rt-runtime \
         --cpu-idle --cpuset-cpus --cpuset-mems --memory --memory-reservation --memory-swap --pids-limit",
    ),
    takes("update", "--kernel-memory --kernel-memory-tcp", "kernels have no such limit any more"),
    takes(
        "update",
        "--l3-cache-schema --mem-bw-schema",
        "an error, as a resctrl group stays as create made it: others may share it",
    ),
];

/// The long names of the flags that runc's help, or brig's, shows.
#[must_use]
pub fn of_runc(help: &str) -> BTreeSet<&str> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    // `--force, -f  Forcibly ...`, `-f, --force  kill ...`
    lines
        .filter_map(|line| line.split([' ', ',']).take(3).find(|word| word.starts_with("--")))
        .collect()
}

/// Their part of the document.
#[must_use]
pub(super) fn table() -> String {
    let mut text = String::from(
        "\n## Flags of runc\n\n\
         The flags of `--help` of runc 1.1.5 and 1.3.6, verb by verb, and what brig does with them. Verbs that are not\n\
         here (`pause`, `resume`, `start`, `state`, `features`) have none. By their changelogs runc 1.4 and 1.5 add none, and\n\
         take `--criu` away.\n\n\
         | verb | flags | brig |\n|---|---|---|\n",
    );
    for Flags { verb, names, answer } in FLAGS {
        let verb = if verb.is_empty() { "before the verb" } else { verb };
        let names: Vec<String> = names.split(' ').map(|name| format!("`{name}`")).collect();
        let answer = match answer {
            Answer::Same => "the same".to_owned(),
            Answer::Takes(what) => format!("takes them: {what}"),
            Answer::Lacks(why) => format!("refuses them: {why}"),
        };
        let _ = writeln!(text, "| {verb} | {} | {answer} |", names.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Answer, FLAGS, of_runc};

    #[test]
    fn every_flag_is_in_the_help_or_missing_as_is_said() {
        let path = crate::binaries::workspace().join("docs/command-line.md");
        let text = std::fs::read_to_string(path).expect("the document");
        for flags in FLAGS {
            let heading = format!("## brig {}", flags.verb).trim_end().to_owned() + "\n";
            let section = text.split_once(&heading).map_or("", |(_, rest)| rest);
            let section = section.split("\n## ").next().unwrap_or_default();
            let has = of_runc(section);
            for name in flags.names.split(' ') {
                let lacks = matches!(flags.answer, Answer::Lacks(_));
                assert_eq!(has.contains(name), !lacks, "brig {} {name}", flags.verb);
            }
        }
    }
}
