//! `brig state`.

use super::{Arguments, Global, Outcome, Verb, only, print};

pub(super) const VERB: Verb = Verb {
    name: "state",
    summary: "print the state of a container",
    help: "\
usage: brig state CONTAINER-ID

Prints the container's state as JSON: the OCI's fields and runc's.
",
    run,
};

fn run(global: &Global, arguments: Arguments) -> Outcome {
    let container = only(global, arguments)?;
    print(&format!("{}\n", serde_json::to_string_pretty(&container.show()?)?))?;
    Ok(0)
}
