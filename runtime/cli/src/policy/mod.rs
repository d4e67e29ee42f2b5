//! `brig policy`: a file for each of its verbs.
//!
//! The verbs read the node's policy and say what it comes to. Nothing is run, and nothing is changed.

mod check;
mod corpus;
mod explain;
mod schema;
mod show;

use brig::policy::{About, Profile};
use serde_json::Value;

use super::flags::NONE;
use super::verb::{Does, Verb};

pub(super) const VERB: Verb = Verb {
    name: "policy",
    summary: "show the node's policy, validate a policy file, explain decisions",
    help: "\
usage: brig policy VERB [OPTION...] [ARGUMENT...]

What containers may ask for on this node is in /etc/brig/policy.toml. `brig policy VERB --help`
says more.

exit status: 0, 1 for errors and where something is refused, 2 for usage
",
    flags: &NONE,
    does: Does::Verbs(&[check::VERB, show::VERB, explain::VERB, corpus::VERB, schema::VERB]),
};

/// What a rule of a profile allows, in the words of the policy file: `max = 512`.
fn values(rules: &Profile, rule: &About) -> serde_json::Result<String> {
    let rules: Value = serde_json::from_str(&serde_json::to_string(rules)?)?;
    let Some(Value::Object(values)) = rules.get(rule.name) else { return Ok(String::new()) };
    let values = values.iter().filter(|(key, _)| *key != "mode");
    let words: Vec<String> = values.map(|(key, value)| format!("{key} = {value}")).collect();
    Ok(words.join(", "))
}
