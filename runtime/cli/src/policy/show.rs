//! `brig policy show`.

use brig::policy::{About, Mode, Profile, RULES};
use brig::printable;

use super::values;
use crate::arguments::{Arguments, Format};
use crate::flags::{Flag, Flags, format, json};
use crate::global::Global;
use crate::verb::{Does, Outcome, Verb, print, print_sorted};

pub(super) const VERB: Verb = Verb {
    name: "policy show",
    summary: "the rules of the profile that applies here, or of one that may be selected",
    help: "\
usage: brig policy show [OPTION...]

Prints each rule with its mode, what it allows, what it is about, and which recommendations and
CVEs it covers; what drop-ins add to that, and exceptions, with those that have expired.
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
        print_sorted(&profile)?;
        return Ok(0);
    }
    let mut text = format!("profile {}\n", profile.name);
    for exception in &profile.exceptions {
        text.push_str(&format!("{}\n", printable::line(&exception.to_string())));
    }
    for set in profile.sets() {
        if let Some(by) = set.by {
            text.push_str(&format!("\nand {}\n", printable::line(by)));
        }
        for (rule, (_, mode)) in RULES.iter().zip(set.rules.modes()) {
            // Of what holds besides, only what there is.
            if set.by.is_none() || mode != Mode::Off {
                text.push_str(&described(rule, mode, set.rules)?);
            }
        }
    }
    print(&text)?;
    Ok(0)
}

fn described(rule: &About, mode: Mode, rules: &Profile) -> serde_json::Result<String> {
    let values = match mode {
        Mode::Off => String::new(),
        _ => values(rules, rule)?,
    };
    let mode = format!("{mode:?}").to_lowercase();
    let mut text = format!("{:18} {mode:8} {}\n", rule.name, rule.what);
    if !values.is_empty() {
        text.push_str(&format!("{:27} {values}\n", ""));
    }
    text.push_str(&format!("{:27} covers {}\n", "", rule.answers));
    Ok(text)
}
