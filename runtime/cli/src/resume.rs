//! `brig resume`.

use super::{Arguments, Global, Outcome, Verb, only};

pub(super) const VERB: Verb = Verb {
    name: "resume",
    summary: "let the processes of a paused container run again",
    help: "\
usage: brig resume CONTAINER-ID

Lets the processes run again that `brig pause` froze.
",
    run,
};

fn run(global: &Global, arguments: Arguments) -> Outcome {
    only(global, arguments)?.resume()?;
    Ok(0)
}
