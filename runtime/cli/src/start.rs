//! `brig start`.

use super::{Arguments, Global, Outcome, Verb, only};

pub(super) const VERB: Verb = Verb {
    name: "start",
    summary: "run the program of a created container",
    help: "\
usage: brig start CONTAINER-ID

Lets the program of a container run that `brig create` made.
",
    run,
};

fn run(global: &Global, arguments: Arguments) -> Outcome {
    only(global, arguments)?.start()?;
    Ok(0)
}
