//! `brig features`.

use brig::features::{Compiled, features};

use super::arguments::Arguments;
use super::flags::NONE;
use super::global::Global;
use super::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "features",
    summary: "print what this binary can do",
    help: "\
usage: brig features

Prints what this binary can do as JSON (runtime-spec features.md).
",
    flags: &NONE,
    does: Does::Run(run),
};

fn run(_: &Global, mut arguments: Arguments) -> Outcome {
    NONE.read(&mut arguments, &mut ())?;
    arguments.end()?;
    print(&format!("{}\n", serde_json::to_string_pretty(&features(&Compiled::default()))?))?;
    Ok(0)
}
