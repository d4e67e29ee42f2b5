//! `brig features`.

use brig::features::{Compiled, features};

use super::{Arguments, Global, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "features",
    summary: "print what this binary can do",
    help: "\
usage: brig features

Prints what this binary can do as JSON (runtime-spec features.md).
",
    run,
};

fn run(_: &Global, arguments: Arguments) -> Outcome {
    arguments.end()?;
    print(&format!("{}\n", serde_json::to_string_pretty(&features(&Compiled::default()))?))?;
    Ok(0)
}
