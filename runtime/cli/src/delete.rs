//! `brig delete`.

use brig::supervise::{Container, Force};

use super::{Arguments, Global, Outcome, Verb, container_id};

pub(super) const VERB: Verb = Verb {
    name: "delete",
    summary: "remove a container",
    help: "\
usage: brig delete [OPTION...] CONTAINER-ID

Removes a stopped container: what is left of its processes, its cgroup and its state. While something
of it lives, the state stays.

options:
  -f, --force             kill the container first if it runs; no error if there is none
",
    run,
};

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut force = Force::No;
    while let Some(flag) = arguments.next_flag()? {
        match flag.as_str() {
            "-f" | "--force" => force = if arguments.switch()? { Force::Yes } else { Force::No },
            _ => return Err(arguments.unknown().into()),
        }
    }
    let id = container_id(&mut arguments)?;
    arguments.end()?;
    let root = global.root()?;
    let container = match force {
        Force::Yes => Container::find(root, &id)?,
        Force::No => Some(Container::open(root, &id)?),
    };
    if let Some(container) = container {
        container.delete(force)?;
    }
    Ok(0)
}
