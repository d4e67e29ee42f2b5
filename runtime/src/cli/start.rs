//! `brig start`.

use super::{Arguments, Global, Outcome, Verb, open};

pub(super) const VERB: Verb = Verb {
    name: "start",
    summary: "run the program of a created container",
    help: "\
usage: brig start CONTAINER-ID

Lets the program of a container run that `brig create` made.
",
    run,
};

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut container = open(global, &mut arguments)?;
    arguments.end()?;
    container.start()?;
    Ok(0)
}
