//! `brig seccomp diff`.

use brig_seccomp::compare::{Difference, Gain, differences};
use brig_seccomp::verdict::{Verdicts, describe_conditions};
use brig_seccomp::{Arch, describe_action};
use serde_json::{Value, json};

use super::profile::Profile;
use super::words::{call, conditions_json, pretty, verdict_json};
use super::{arch, kernel_of};
use crate::arguments::{Arguments, Format, Usage};
use crate::flags::{Flag, Flags, format, json, switch, value};
use crate::global::Global;
use crate::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "seccomp diff",
    summary: "what B allows and A denies",
    help: "\
usage: brig seccomp diff [OPTION...] A B

Shows what B allows and A denies: each call, under which conditions on its arguments, and example
arguments. It compares what the profiles decide, not how they are written. `diff B A` shows what B
denies and A allows. A call that is passed to a listener or a tracer ranks between denied and
allowed. Where only one profile lists an architecture, only the number of calls is shown; --arch
shows them.

exit status: 0, 1 for errors (with --exit-code also for a difference), 2 for usage
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[("options", OPTIONS)]);

const OPTIONS: &[Flag<ParsedFlags>] = &[
    value(
        "-a, --arch ARCH  only calls of this architecture (default: all that this machine has)",
        |it, given| {
            it.arch = Some(arch(&given.text()?)?);
            Ok(())
        },
    ),
    switch("--exit-code  exit with 1 if B allows more", |it| &mut it.exit_code),
    format("-f, --format FORMAT  table (default) or json", |it| &mut it.format),
    json(|it| &mut it.format),
];

#[derive(Debug, Default)]
struct ParsedFlags {
    arch: Option<Arch>,
    exit_code: bool,
    format: Format,
}

/// What is compared of one architecture.
struct Compared {
    arch: Arch,
    all: Vec<Difference>,
    /// Whether only B lists the architecture, and nobody asked for its calls.
    is_summed_up: bool,
}

fn run(_: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    let only = parsed.arch;
    let names = (arguments.positional("A")?, arguments.positional("B")?);
    arguments.end()?;
    if names.0 == "-" && names.1 == "-" {
        return Err(Usage::new("only one profile can come from standard input").into());
    }
    let kernel = kernel_of(only.unwrap_or(Arch::native()));
    let (a, _) = Profile::compiled(&names.0, kernel)?;
    let (b, _) = Profile::compiled(&names.1, kernel)?;
    let family = Arch::ALL.into_iter().filter(|one| one.kernel() == kernel.kernel());
    let arches: Vec<Arch> = only.map_or(family.collect(), |one| vec![one]);
    let mut compared = Vec::new();
    for arch in arches {
        let of = |profile: &Profile| {
            Verdicts::new(&profile.seccomp, kernel, arch).map_err(|e| profile.refuses(&e))
        };
        let (before, after) = (of(&a)?, of(&b)?);
        let is_summed_up = only.is_none() && after.is_listed() && !before.is_listed();
        compared.push(Compared { arch, all: differences(&before, &after), is_summed_up });
    }
    print(&match parsed.format {
        Format::Table => table(&compared),
        Format::Json => pretty(&compared.iter().flat_map(Compared::json).collect())?,
    })?;
    let more = compared.iter().any(|one| !one.all.is_empty());
    Ok(u8::from(parsed.exit_code && more))
}

fn table(compared: &[Compared]) -> String {
    let sections: Vec<String> = compared.iter().filter_map(Compared::table).collect();
    match sections.is_empty() {
        true => "B lets nothing through that A does not\n".to_owned(),
        false => sections.join("\n"),
    }
}

impl Compared {
    fn table(&self) -> Option<String> {
        if self.all.is_empty() {
            return None;
        }
        let (arch, count) = (self.arch.name(), self.all.len());
        if self.is_summed_up {
            return Some(format!("{arch}: B lists it and A does not: {count} calls get through\n"));
        }
        let lines: String = self.all.iter().map(line).collect();
        Some(format!("{arch}: B lets more through of {count} calls\n{lines}"))
    }

    fn json(&self) -> Vec<Value> {
        let gain = |gain: &Gain| {
            json!({
                "conditions": conditions_json(&gain.conditions),
                "before": describe_action(gain.before),
                "after": describe_action(gain.after),
                "example": gain.example,
            })
        };
        let one = |one: &Difference| {
            json!({
                "arch": self.arch.name(),
                "call": one.name,
                "before": verdict_json(&one.before),
                "after": verdict_json(&one.after),
                "gains": one.gains.iter().map(gain).collect::<Vec<_>>(),
            })
        };
        self.all.iter().map(one).collect()
    }
}

/// A call, and where arguments matter, which of them.
fn line(difference: &Difference) -> String {
    let Difference { name, before, after, gains } = difference;
    let name = name.unwrap_or("(other numbers)");
    if before.is_unconditional() && after.is_unconditional() {
        return format!("  {name:<24} {before} -> {after}\n");
    }
    let mut text = format!("  {name}\n    A: {before}\n    B: {after}\n");
    for gain in gains {
        let conditions = match describe_conditions(&gain.conditions) {
            none if none.is_empty() => String::new(),
            some => format!("if {some}"),
        };
        let (before, after) = (describe_action(gain.before), describe_action(gain.after));
        let example = match &gain.example {
            Some(args) => {
                let used = gain.conditions.iter().map(|one| one.index as usize + 1).max();
                format!("such as {}", call(name, args, used.unwrap_or(0)))
            }
            None => "perhaps: the search for an example was given up".to_owned(),
        };
        let what = [format!("{before} -> {after}"), conditions, example];
        let what: Vec<String> = what.into_iter().filter(|part| !part.is_empty()).collect();
        text.push_str(&format!("    more: {}\n", what.join(", ")));
    }
    text
}
