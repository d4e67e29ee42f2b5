//! `brig delete`.

use brig::supervise::Force;

use super::arguments::Arguments;
use super::flags::{Flags, switch};
use super::global::{Global, container_id};
use super::verb::{Does, Outcome, Verb};

pub(super) const VERB: Verb = Verb {
    name: "delete",
    summary: "remove a container",
    help: "\
usage: brig delete [OPTION...] CONTAINER-ID

Removes a stopped container: its remaining processes, its cgroup and its state. The state is kept while
a process or the cgroup remains.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[(
    "options",
    &[switch(
        "-f, --force  kill the container first if it runs; no error if there is none",
        |it| &mut it.force,
    )],
)]);

#[derive(Debug, Default)]
struct ParsedFlags {
    force: bool,
}

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    let force = if parsed.force { Force::Yes } else { Force::No };
    let id = container_id(&mut arguments)?;
    arguments.end()?;
    let node = global.node()?;
    let container = match force {
        Force::Yes => node.find(&id)?,
        Force::No => Some(node.container(&id)?),
    };
    if let Some(container) = container {
        container.delete(force)?;
    }
    Ok(0)
}
