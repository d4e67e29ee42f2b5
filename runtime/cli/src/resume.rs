//! `brig resume`.

use super::arguments::Arguments;
use super::flags::NONE;
use super::global::Global;
use super::verb::{Does, Outcome, Verb};

pub(super) const VERB: Verb = Verb {
    name: "resume",
    summary: "thaw all processes of a paused container",
    help: "\
usage: brig resume CONTAINER-ID

Thaws the processes of a container that `brig pause` froze.
",
    flags: &NONE,
    does: Does::Run(run),
};

fn run(global: &Global, arguments: Arguments) -> Outcome {
    global.only(arguments)?.resume()?;
    Ok(0)
}
