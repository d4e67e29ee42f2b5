//! `brig seccomp show`.

use std::cmp::Reverse;

use brig_seccomp::catalog::Category;
use brig_seccomp::compare::Freedom;
use brig_seccomp::disassemble::disassemble;
use brig_seccomp::verdict::{Reason, Verdict, Verdicts};
use brig_seccomp::{Arch, BpfProgram, describe_action};
use serde_json::{Value, json};

use super::profile::Profile;
use super::words::{pretty, verdict_json};
use super::{arch, kernel_of};
use crate::arguments::{Arguments, Format};
use crate::flags::{Flag, Flags, format, json, switch, value};
use crate::global::Global;
use crate::layout::wrapped;
use crate::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "seccomp show",
    summary: "what a profile decides, by kind of call; --bpf: its program",
    help: "\
usage: brig seccomp show [OPTION...] PROFILE

Shows what the profile decides for every call that brig knows, by kind of call: what is allowed,
what under conditions, what is denied and how, and what happens to unknown call numbers.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[("options", OPTIONS)]);

const OPTIONS: &[Flag<ParsedFlags>] = &[
    value(
        "-a, --arch ARCH  calls of x86_64, x86, x32, aarch64 or arm (default: this machine's)",
        |it, given| {
            it.arch = Some(arch(&given.text()?)?);
            Ok(())
        },
    ),
    switch("-b, --bpf  the program instead, one instruction a line", |it| &mut it.bpf),
    format("-f, --format FORMAT  table (default) or json", |it| &mut it.format),
    json(|it| &mut it.format),
];

#[derive(Debug, Default)]
struct ParsedFlags {
    arch: Option<Arch>,
    bpf: bool,
    format: Format,
}

/// What there is to show.
struct Shown {
    profile: Profile,
    program: BpfProgram,
    verdicts: Verdicts,
}

fn run(_: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    let of = parsed.arch.unwrap_or(Arch::native());
    let name = arguments.positional("PROFILE")?;
    arguments.end()?;
    let kernel = kernel_of(of);
    let (profile, program) = Profile::compiled(&name, kernel)?;
    let verdicts = Verdicts::new(&profile.seccomp, kernel, of).map_err(|e| profile.refuses(&e))?;
    let shown = Shown { profile, program, verdicts };
    print(&match (parsed.format, parsed.bpf) {
        (Format::Table, true) => disassemble(&shown.program.instructions),
        (Format::Table, false) => shown.table(),
        (Format::Json, _) => pretty(&shown.json())?,
    })?;
    Ok(0)
}

impl Shown {
    /// The verdict for numbers that no call has.
    fn unknown(&self) -> &Verdict {
        let last = self.verdicts.iter().map(|(_, number, _)| number).max().unwrap_or(0);
        self.verdicts.of_number(last + 1)
    }

    fn table(&self) -> String {
        let name = self.verdicts.arch().name();
        let rules = self.profile.seccomp.syscalls().as_ref().map_or(0, Vec::len);
        let mut text = format!(
            "{}: {rules} rules, {} instructions; calls of {name}\n",
            self.profile.file,
            self.program.instructions.len()
        );
        if !self.verdicts.is_listed() {
            text.push_str(&format!(
                "all calls of {name}: {} (the profile does not list it)\n",
                self.unknown()
            ));
            return text;
        }
        for category in Category::ALL {
            let calls: Vec<(&str, &Verdict)> = self
                .verdicts
                .iter()
                .filter(|(name, ..)| Category::of(name) == Some(category))
                .map(|(name, _, verdict)| (name, verdict))
                .collect();
            if !calls.is_empty() {
                text.push_str(&section(category, &calls));
            }
        }
        text + &format!("\nany other number: {}\n", self.unknown())
    }

    fn json(&self) -> Value {
        let calls: Vec<Value> = self
            .verdicts
            .iter()
            .map(|(name, number, verdict)| {
                let category = Category::of(name).map(|one| one.to_string());
                json!({
                    "name": name,
                    "number": number,
                    "category": category,
                    "verdict": verdict_json(verdict),
                    "rule": match verdict.reason { Reason::Rule(rule) => Some(rule), _ => None },
                })
            })
            .collect();
        json!({
            "profile": self.profile.file,
            "arch": self.verdicts.arch().name(),
            "listed": self.verdicts.is_listed(),
            "instructions": self.program.instructions.len(),
            "flags": self.program.flags,
            "notify": self.program.notify,
            "calls": calls,
            "otherNumbers": verdict_json(self.unknown()),
        })
    }
}

/// The calls of one kind: those without conditions by what is decided, the freest first, then
/// those with conditions, one a line.
fn section(category: Category, calls: &[(&str, &Verdict)]) -> String {
    let mut plain: Vec<(u32, Vec<&str>)> = Vec::new();
    for (name, verdict) in calls.iter().filter(|(_, verdict)| verdict.is_unconditional()) {
        let order = |action: u32| (Reverse(Freedom::of(action)), action);
        let at = plain.partition_point(|(action, _)| order(*action) < order(verdict.otherwise));
        match plain.get_mut(at) {
            Some((action, names)) if *action == verdict.otherwise => names.push(name),
            _ => plain.insert(at, (verdict.otherwise, vec![name])),
        }
    }
    let mut text = format!("\n{category} ({})\n", calls.len());
    for (action, names) in plain {
        text.push_str(&wrapped(&format!("  {:<13} ", describe_action(action)), names));
    }
    for (name, verdict) in calls.iter().filter(|(_, verdict)| !verdict.is_unconditional()) {
        let words = verdict.to_string();
        text.push_str(&wrapped(&format!("  {name:<13} "), words.split(' ')));
    }
    text
}
