//! `brig policy check`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use brig::node_policy;
use brig::policy::Policy;

use crate::arguments::Arguments;
use crate::flags::NONE;
use crate::global::Global;
use crate::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "policy check",
    summary: "validate a policy file",
    help: "\
usage: brig policy check [FILE]

Validates a policy file, by default the node's, with every profile in it, and prints errors with line,
column and a hint. While the node's own file is not valid no container is made.
",
    flags: &NONE,
    does: Does::Run(run),
};

fn run(_: &Global, mut arguments: Arguments) -> Outcome {
    NONE.read(&mut arguments, &mut ())?;
    let file = arguments
        .optional("FILE")?
        .map_or_else(|| Path::new(node_policy::DIRECTORY).join(node_policy::FILE), PathBuf::from);
    arguments.end()?;
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    Policy::read(&text).map_err(|error| node_policy::explain(&file, &error))?;
    print(&format!("{}: valid\n", file.display()))?;
    Ok(0)
}
