//! `brig plan`.

use std::path::PathBuf;

use brig::supervise;

use super::{Arguments, Global, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "plan",
    summary: "print what would be done for a bundle, and do nothing",
    help: "\
usage: brig plan [OPTION...]

Prints the container's cgroup and every operation between clone3 and execve, as this machine
would run them. Nothing is made.

options:
  -b, --bundle DIR        the bundle (default: the current directory)
      --id CONTAINER-ID   plan for this id (default: plan)
",
    run,
};

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let (mut bundle, mut id) = (PathBuf::from("."), "plan".to_owned());
    while let Some(flag) = arguments.next_flag()? {
        match flag.as_str() {
            "-b" | "--bundle" => bundle = PathBuf::from(arguments.value()?),
            "--id" => id = arguments.text()?,
            _ => return Err(arguments.unknown().into()),
        }
    }
    arguments.end()?;
    let id = brig::spec::ContainerId::parse(&id)?;
    print(&supervise::preview(&id, &bundle, global.systemd_cgroup)?)?;
    Ok(0)
}
