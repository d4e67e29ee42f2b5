//! `brig state`.

use super::arguments::Arguments;
use super::flags::NONE;
use super::global::Global;
use super::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "state",
    summary: "print the state of a container",
    help: "\
usage: brig state CONTAINER-ID

Prints the container's state as JSON: the OCI's fields and runc's.
",
    flags: &NONE,
    does: Does::Run(run),
};

fn run(global: &Global, arguments: Arguments) -> Outcome {
    let container = global.only(arguments)?;
    print(&format!("{}\n", serde_json::to_string_pretty(&container.show()?)?))?;
    Ok(0)
}
