//! `brig resume`.

use super::arguments::Arguments;
use super::flags::NONE;
use super::global::Global;
use super::verb::{Does, Outcome, Verb};

pub(super) const VERB: Verb = Verb {
    name: "resume",
    summary: "let the processes of a paused container run again",
    help: "\
usage: brig resume CONTAINER-ID

Lets the processes run again that `brig pause` froze.
",
    flags: &NONE,
    does: Does::Run(run),
};

fn run(global: &Global, arguments: Arguments) -> Outcome {
    global.only(arguments)?.resume()?;
    Ok(0)
}
