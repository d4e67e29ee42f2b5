//! `brig pause`.

use super::{Arguments, Global, Outcome, Verb, only};

pub(super) const VERB: Verb = Verb {
    name: "pause",
    summary: "freeze all processes of a container",
    help: "\
usage: brig pause CONTAINER-ID

Freezes every process of a created or running container until `brig resume`.
",
    run,
};

fn run(global: &Global, arguments: Arguments) -> Outcome {
    only(global, arguments)?.pause()?;
    Ok(0)
}
