//! `brig policy explain`.

use std::path::PathBuf;

use brig::policy::{About, Applied, Mode, Outcome as Decided, RULES, Verdict};
use brig::printable;
use brig::spec::ContainerId;

use super::values;
use crate::arguments::{Arguments, Format, Usage};
use crate::flags::{Flag, Flags, format, json, path, text};
use crate::global::Global;
use crate::verb::{Does, Outcome, Verb, print, print_sorted};

pub(super) const VERB: Verb = Verb {
    name: "policy explain",
    summary: "the policy's decisions for a bundle or a container",
    help: "\
usage: brig policy explain (--bundle DIR | --id CONTAINER-ID) [OPTION...]

Prints for each rule what is asked for, what is granted, and why. Nothing is run; for a bundle no
privilege is needed.

exit status: 0, 1 where the container would not be made, 2 for usage
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[("options", OPTIONS)]);

const OPTIONS: &[Flag<ParsedFlags>] = &[
    path("-b, --bundle DIR  a bundle", |it| &mut it.bundle),
    text("--id CONTAINER-ID  a container of this node", |it| &mut it.id),
    format("-f, --format FORMAT  table (default) or json", |it| &mut it.format),
    json(|it| &mut it.format),
];

#[derive(Debug, Default)]
struct ParsedFlags {
    bundle: Option<PathBuf>,
    id: Option<String>,
    format: Format,
}

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    arguments.end()?;
    let applied = match (&parsed.bundle, &parsed.id) {
        (Some(bundle), None) => global.stateless_node().judge(bundle)?,
        (None, Some(id)) => global.node()?.container(&ContainerId::parse(id)?)?.applied()?,
        _ => return Err(Usage::new("either --bundle or --id is needed").into()),
    };
    let is_refused = applied.verdicts.iter().any(|verdict| verdict.outcome == Decided::Refused);
    match parsed.format {
        Format::Json => print_sorted(&applied)?,
        Format::Table => print(&table(&applied))?,
    }
    Ok(u8::from(is_refused))
}

fn table(applied: &Applied) -> String {
    let mut text = format!("profile {}\n", applied.profile.name);
    for exception in &applied.profile.exceptions {
        text.push_str(&format!("{}\n", printable::line(&exception.to_string())));
    }
    for set in applied.profile.sets() {
        if let Some(by) = set.by {
            text.push_str(&format!("\nand {}\n", printable::line(by)));
        }
        for (rule, (name, mode)) in RULES.iter().zip(set.rules.modes()) {
            let verdicts = applied.verdicts.iter().filter(|verdict| {
                verdict.rule == name && verdict.by.as_deref() == set.by && is_of_a_rule(verdict)
            });
            let verdicts: Vec<_> = verdicts.collect();
            match (mode, verdicts.is_empty()) {
                (Mode::Off, _) if set.by.is_some() => {}
                (Mode::Off, _) => text.push_str(&format!("{name:18} off\n")),
                (Mode::Enforce | Mode::Refuse, true) if ADDS.contains(&name) => {
                    let values = values(set.rules, rule).unwrap_or_default();
                    let values = if values.is_empty() { values } else { format!(": {values}") };
                    text.push_str(&format!("{name:18} in force{values}\n"));
                }
                (_, true) => text.push_str(&format!("{name:18} as asked\n")),
                (_, false) => text.push_str(&decided(rule, &verdicts)),
            }
        }
    }
    text
}

/// Rules that hold beside what is asked for, and take nothing of it.
const ADDS: [&str; 5] =
    ["landlock", "bandwidth", "mitigations", "nested_user_namespaces", "seccomp_listener"];

/// Exceptions are told of at the top.
fn is_of_a_rule(verdict: &Verdict) -> bool {
    !matches!(verdict.outcome, Decided::Excepted | Decided::Expired)
}

fn decided(rule: &About, verdicts: &[&Verdict]) -> String {
    let mut text = format!("{:18}\n", rule.name);
    for verdict in verdicts {
        let allowed = verdict.allowed.as_deref().unwrap_or("nothing of it");
        text.push_str(&format!("  {}: {}\n", verdict.outcome, verdict.field));
        if let Some(pod) = &verdict.pod {
            text.push_str(&format!("    in the pod     {pod}\n"));
        }
        text.push_str(&format!("    asked    {}\n    allowed  {allowed}\n", verdict.asked));
    }
    text.push_str(&format!("    why      {}; {}\n", rule.what, rule.answers));
    text
}
