//! `brig plan`.

use std::path::PathBuf;

use brig::spec::ContainerId;
use brig::supervise;

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

const FLAGS: Flags<Typed> = Flags(&[(
    "options",
    &[
        path("-b, --bundle DIR  the bundle (default: the current directory)", |it| &mut it.bundle),
        text("--id CONTAINER-ID  plan for this id (default: plan)", |it| &mut it.id),
    ],
)]);

#[derive(Debug, Default)]
struct Typed {
    bundle: Option<PathBuf>,
    id: Option<String>,
}

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut typed = Typed::default();
    FLAGS.read(&mut arguments, &mut typed)?;
    arguments.end()?;
    let bundle = typed.bundle.unwrap_or_else(|| PathBuf::from("."));
    let id = ContainerId::parse(typed.id.as_deref().unwrap_or("plan"))?;
    print(&supervise::preview(&id, &bundle, global.systemd().as_ref(), &global.policy()?)?)?;
    Ok(0)
}
