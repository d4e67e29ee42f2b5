//! `brig pause`.

use super::arguments::Arguments;
use super::flags::NONE;
use super::global::Global;
use super::verb::{Does, Outcome, Verb};

pub(super) const VERB: Verb = Verb {
    name: "pause",
    summary: "freeze all processes of a container",
    help: "\
usage: brig pause CONTAINER-ID

Freezes every process of a created or running container until `brig resume`.
",
    flags: &NONE,
    does: Does::Run(run),
};

fn run(global: &Global, arguments: Arguments) -> Outcome {
    global.only(arguments)?.pause()?;
    Ok(0)
}
