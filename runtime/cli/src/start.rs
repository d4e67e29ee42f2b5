//! `brig start`.

use brig::deadline::Deadline;

use super::arguments::Arguments;
use super::flags::NONE;
use super::foreground::hearing;
use super::global::Global;
use super::verb::{Does, Outcome, Verb};

pub(super) const VERB: Verb = Verb {
    name: "start",
    summary: "run the program of a created container",
    help: "\
usage: brig start CONTAINER-ID

Starts the program of a container that `brig create` made.
",
    flags: &NONE,
    does: Does::Run(run),
};

fn run(global: &Global, arguments: Arguments) -> Outcome {
    let container = global.only(arguments)?;
    // A hook would outlive a brig that a signal ends.
    if container.spec().is_ok_and(|spec| !spec.hooks.poststart.is_empty()) {
        hearing(|wait| container.start(wait))?;
    } else {
        let mut patient = Deadline::NEVER;
        container.start(&mut patient)?;
    }
    Ok(0)
}
