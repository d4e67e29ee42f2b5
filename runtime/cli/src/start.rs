//! `brig start`.

use super::arguments::Arguments;
use super::flags::NONE;
use super::global::Global;
use super::verb::{Does, Outcome, Verb};

pub(super) const VERB: Verb = Verb {
    name: "start",
    summary: "run the program of a created container",
    help: "\
usage: brig start CONTAINER-ID

Lets the program of a container run that `brig create` made.
",
    flags: &NONE,
    does: Does::Run(run),
};

fn run(global: &Global, arguments: Arguments) -> Outcome {
    global.only(arguments)?.start()?;
    Ok(0)
}
