//! `brig policy schema`.

use brig::policy;

use crate::arguments::Arguments;
use crate::flags::NONE;
use crate::global::Global;
use crate::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "policy schema",
    summary: "the form of policy files, as a JSON Schema",
    help: "\
usage: brig policy schema

Prints a JSON Schema (draft 2020-12) of the policy file, for editors and for CI; that of a drop-in is
#/$defs/dropIn in it. It is docs/policy.schema.json.
",
    flags: &NONE,
    does: Does::Run(run),
};

fn run(_: &Global, mut arguments: Arguments) -> Outcome {
    NONE.read(&mut arguments, &mut ())?;
    arguments.end()?;
    let schema: serde_json::Value = serde_json::from_str(&policy::schema())?;
    print(&format!("{}\n", serde_json::to_string_pretty(&schema)?))?;
    Ok(0)
}
