//! `brig plan`.

use std::path::PathBuf;

use brig::spec::ContainerId;

use super::arguments::Arguments;
use super::flags::{Flags, path, text};
use super::global::Global;
use super::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "plan",
    summary: "print what would be done for a bundle, and do nothing",
    help: "\
usage: brig plan [OPTION...]

Prints the container's cgroup and every operation between clone3 and execve, as this machine
would run them. Nothing is made.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[(
    "options",
    &[
        path("-b, --bundle DIR  the bundle (default: the current directory)", |it| &mut it.bundle),
        text("--id CONTAINER-ID  plan for this id (default: plan)", |it| &mut it.id),
    ],
)]);

#[derive(Debug, Default)]
struct ParsedFlags {
    bundle: Option<PathBuf>,
    id: Option<String>,
}

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    arguments.end()?;
    let bundle = parsed.bundle.unwrap_or_else(|| PathBuf::from("."));
    let id = ContainerId::parse(parsed.id.as_deref().unwrap_or("plan"))?;
    print(&global.stateless_node().preview(&id, &bundle)?)?;
    Ok(0)
}
