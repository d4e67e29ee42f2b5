//! `brig policy show`.

use brig::policy::{Mode, RULES};
use serde_json::json;

use super::values;
use crate::arguments::{Arguments, Format};
use crate::flags::{Flag, Flags, format, json};
use crate::global::Global;
use crate::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "policy show",
    summary: "the rules of the profile that applies here, or of one that may be selected",
    help: "\
usage: brig policy show [OPTION...]

Prints each rule with its mode, what it allows, what it is about, and which recommendations and
CVEs it covers.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[("options", OPTIONS)]);

const OPTIONS: &[Flag<ParsedFlags>] = &[
    format("-f, --format FORMAT  table (default) or json", |it| &mut it.format),
    json(|it| &mut it.format),
];

#[derive(Debug, Default)]
struct ParsedFlags {
    format: Format,
}

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    arguments.end()?;
    let profile = global.stateless_node().policy()?.profile;
    if let Format::Json = parsed.format {
        print(&format!("{}\n", serde_json::to_string_pretty(&json!(profile))?))?;
        return Ok(0);
    }
    let mut text = format!("profile {}\n", profile.name);
    for (rule, (_, mode)) in RULES.iter().zip(profile.rules.modes()) {
        let values = match mode {
            Mode::Off => String::new(),
            _ => values(&profile, rule)?,
        };
        let mode = format!("{mode:?}").to_lowercase();
        text.push_str(&format!("{:18} {mode:8} {}\n", rule.name, rule.what));
        if !values.is_empty() {
            text.push_str(&format!("{:27} {values}\n", ""));
        }
        text.push_str(&format!("{:27} covers {}\n", "", rule.answers));
    }
    print(&text)?;
    Ok(0)
}
