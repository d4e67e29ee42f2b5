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
    summary: "whether a policy file is understood in full",
    help: "\
usage: brig policy check [FILE]

Reads a policy file, by default the node's, with every profile in it, and says what is wrong with
it: the line, the column, and what is likely meant. While the node's own file is wrong no
container is made.
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
    print(&format!("{}: understood in full\n", file.display()))?;
    Ok(0)
}
