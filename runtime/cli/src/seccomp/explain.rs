//! `brig seccomp explain`.

use anyhow::bail;
use brig_seccomp::catalog::{Category, DANGERS, Danger, When};
use brig_seccomp::compare::{Outcome as Way, outcomes};
use brig_seccomp::interpret::{SeccompData, trace};
use brig_seccomp::verdict::{Verdict, Verdicts, describe_conditions};
use brig_seccomp::{Arch, BpfProgram, Condition, describe_action};
use oci_spec::runtime::LinuxSeccompOperator;
use serde_json::{Value, json};

use super::profile::Profile;
use super::words::{call, pretty, reason, verdict_json};
use super::{arch, kernel_of};
use crate::arguments::{Arguments, Format, Usage};
use crate::flags::{Flag, Flags, format, json, value};
use crate::global::Global;
use crate::unusable::UnusableInput;
use crate::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "seccomp explain",
    summary: "what is decided about a call, and which rule decides",
    help: "\
usage: brig seccomp explain [OPTION...] PROFILE CALL [ARG...]

Says what the profile decides about a call, by its name or number, and which rule decides. ARGs are
the call's first arguments: decimal, 0x and hexadecimal, 0o and octal, or negative after `--`. Those
not given may be anything: where they matter, each possible outcome is shown with an example.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[("options", OPTIONS)]);

const OPTIONS: &[Flag<ParsedFlags>] = &[
    value(
        "-a, --arch ARCH  a call of x86_64, x86, x32, aarch64 or arm (default: this machine's)",
        |it, given| {
            it.arch = Some(arch(&given.text()?)?);
            Ok(())
        },
    ),
    format("-f, --format FORMAT  table (default) or json", |it| &mut it.format),
    json(|it| &mut it.format),
];

#[derive(Debug, Default)]
struct ParsedFlags {
    arch: Option<Arch>,
    format: Format,
}

/// A call, and what is decided about it.
struct Explained<'a> {
    profile: &'a Profile,
    arch: Arch,
    name: &'a str,
    number: u32,
    args: &'a [u64],
    verdict: &'a Verdict,
    ways: Vec<Way>,
    /// How many instructions decide, where it is decided.
    steps: Option<usize>,
}

fn run(_: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    let of = parsed.arch.unwrap_or(Arch::native());
    let file = arguments.positional("PROFILE")?;
    let name = arguments.positional("CALL")?;
    let mut args = Vec::new();
    while let Some(arg) = arguments.optional("ARG")? {
        args.push(argument(&arg, of)?);
    }
    if args.len() > 6 {
        return Err(Usage::new("a system call has at most six arguments").into());
    }
    let number = number_of(&name, of)?;
    let kernel = kernel_of(of);
    let (profile, program) = Profile::compiled(&file, kernel)?;
    let verdicts = Verdicts::new(&profile.seccomp, kernel, of).map_err(|e| profile.refuses(&e))?;
    let verdict = verdicts.of_number(number);
    let ways = outcomes(verdict, &known(&args), of.has_wide_arguments());
    let steps = decided(&ways, &program, of, number)?;
    let name = of.syscall_name(number).unwrap_or(&name);
    let profile = &profile;
    let explained =
        Explained { profile, arch: of, name, number, args: &args, verdict, ways, steps };
    print(&match parsed.format {
        Format::Table => explained.text(),
        Format::Json => pretty(&explained.json())?,
    })?;
    Ok(0)
}

/// A name as the table has it, or a number as scmp_sys_resolver takes it too.
fn number_of(name: &str, arch: Arch) -> anyhow::Result<u32> {
    if let Some(number) = arch.syscall_number(name) {
        return Ok(number);
    }
    if let Some(number) = parse(name) {
        return u32::try_from(number).map_err(|_| {
            Usage::new(format!("{name} is not the number of a call: it has more than 32 bits"))
                .into()
        });
    }
    let elsewhere: Vec<&str> = Arch::ALL
        .into_iter()
        .filter(|other| other.syscall_number(name).is_some())
        .map(Arch::name)
        .collect();
    let (message, hint) = match (elsewhere.is_empty(), brig_seccomp::nearest_call(name)) {
        (false, _) => {
            let hint = format!("{} has: use --arch", elsewhere.join(", "));
            (format!("{} has no such call", arch.name()), hint)
        }
        (true, Some(near)) => {
            ("brig knows no such call".to_owned(), format!("did you mean {near}?"))
        }
        (true, None) => (
            "brig knows no such call".to_owned(),
            "correct the name, or give the number".to_owned(),
        ),
    };
    Err(UnusableInput::new(name, message, hint).into())
}

/// A number of 64 bits as people write it, not negative.
fn parse(text: &str) -> Option<u64> {
    match text.split_at_checked(2) {
        Some(("0x" | "0X", digits)) => u64::from_str_radix(digits, 16).ok(),
        Some(("0o", digits)) => u64::from_str_radix(digits, 8).ok(),
        _ => text.parse().ok(),
    }
}

/// An argument as the kernel hands it to a filter.
fn argument(text: &str, arch: Arch) -> Result<u64, Usage> {
    let negative = || text.parse().ok().map(i64::cast_unsigned);
    let Some(value) = parse(text).or_else(negative) else {
        return Err(Usage::new(format!("ARG: {text:?} is not a number of 64 bits")));
    };
    Ok(if arch.has_wide_arguments() { value } else { value & u64::from(u32::MAX) })
}

/// What is known of the arguments, as conditions.
fn known(args: &[u64]) -> Vec<Condition> {
    let equal = |(index, value): (u32, &u64)| Condition {
        index,
        op: LinuxSeccompOperator::ScmpCmpEq,
        value: *value,
        mask: u64::MAX,
    };
    (0..).zip(args).map(equal).collect()
}

/// How many instructions run, where one outcome is left. What the program itself decides must be
/// what was found from its rules, for every outcome with an example.
fn decided(
    ways: &[Way],
    program: &BpfProgram,
    arch: Arch,
    nr: u32,
) -> anyhow::Result<Option<usize>> {
    let mut steps = None;
    for way in ways {
        let Some(args) = way.example else { continue };
        let data = SeccompData { nr, arch: arch.audit(), instruction_pointer: 0, args };
        let outcome = trace(&program.instructions, &data)?;
        if outcome.verdict != way.action {
            let (rules, decided) = (describe_action(way.action), describe_action(outcome.verdict));
            bail!("the rules say {rules} and the program {decided}: a mistake in brig, report it");
        }
        steps = Some(outcome.steps);
    }
    Ok(steps.filter(|_| ways.len() == 1))
}

impl Explained<'_> {
    fn text(&self) -> String {
        let args: Vec<String> = self
            .args
            .iter()
            .map(|arg| if *arg < 1024 { arg.to_string() } else { format!("{arg:#x}") })
            .collect();
        let more = if self.args.is_empty() || self.ways.len() == 1 { "" } else { ", …" };
        let category = Category::of(self.name).map_or("no call".to_owned(), |one| one.to_string());
        let mut text = format!(
            "{}({}{more}) on {} (number {}, {category}): {}\n",
            self.name,
            args.join(", "),
            self.arch.name(),
            self.number,
            self.decision(),
        );
        text.push_str(&few(self.ways.iter().map(|way| self.way(way)).collect()));
        text.push_str(&self.passed_over());
        if let Some(steps) = self.steps {
            text.push_str(&format!("  the program decides it in {steps} instructions\n"));
        }
        for danger in DANGERS.iter().filter(|danger| self.may_be(danger)) {
            let with = danger.when.map_or(String::new(), |when| format!(" with {}", when.name));
            text.push_str(&format!(
                "  known danger{with}: {} ({})\n",
                danger.reason, danger.reference
            ));
        }
        text
    }

    /// Whether the call, as far as it is known, is this dangerous one.
    fn may_be(&self, danger: &Danger) -> bool {
        let given = |when: When| self.args.get(when.index as usize).map(|arg| arg & when.mask);
        let is_other = |when: When| given(when).is_some_and(|bits| bits != when.bits);
        danger.name == self.name && !danger.when.is_some_and(is_other)
    }

    fn decision(&self) -> String {
        match self.ways.as_slice() {
            [only] => describe_action(only.action),
            _ => "depends on its arguments".to_owned(),
        }
    }

    /// One outcome, and the rule that makes it.
    fn way(&self, way: &Way) -> String {
        let why = match way.alternative.and_then(|at| self.verdict.alternatives.get(at)) {
            Some(one) => {
                let conditions = describe_conditions(&one.conditions);
                format!("{}, as {conditions}", self.profile.rule(one.rule))
            }
            None => reason(self.profile, self.arch, self.verdict),
        };
        if self.ways.len() == 1 {
            return format!("  {why}\n");
        }
        let example = match &way.example {
            Some(args) => {
                let rules = self.verdict.alternatives.iter().flat_map(|one| &one.conditions);
                let used = rules.map(|one| one.index as usize + 1).max().unwrap_or(0);
                format!(", such as {}", call(self.name, args, self.args.len().max(used)))
            }
            None => ", perhaps: the search for an example was given up".to_owned(),
        };
        format!("  {}: {why}{example}\n", describe_action(way.action))
    }

    /// The rules about the call that have no say here.
    fn passed_over(&self) -> String {
        let decides = |at: usize| self.ways.iter().any(|way| way.alternative == Some(at));
        let others = self.verdict.alternatives.iter().enumerate().filter(|(at, _)| !decides(*at));
        let others = others
            .map(|(_, one)| {
                let (action, rule) = (describe_action(one.action), self.profile.rule(one.rule));
                let conditions = describe_conditions(&one.conditions);
                format!("  not decisive: {rule}: {action} if {conditions}\n")
            })
            .collect();
        few(others)
    }

    fn json(&self) -> Value {
        let way = |way: &Way| {
            let chosen = way.alternative.and_then(|at| self.verdict.alternatives.get(at));
            let rule = chosen.map(|one| one.rule).or(match self.verdict.reason {
                brig_seccomp::verdict::Reason::Rule(rule) => Some(rule),
                _ => None,
            });
            let line =
                rule.and_then(|rule| self.profile.line(&format!("linux.seccomp.syscalls[{rule}]")));
            json!({
                "action": describe_action(way.action),
                "rule": rule,
                "line": line,
                "conditions": chosen.map(|one| describe_conditions(&one.conditions)),
                "example": way.example,
            })
        };
        json!({
            "profile": self.profile.file,
            "arch": self.arch.name(),
            "call": self.name,
            "number": self.number,
            "args": self.args,
            "decision": (self.ways.len() == 1).then(|| self.decision()),
            "outcomes": self.ways.iter().map(way).collect::<Vec<_>>(),
            "verdict": verdict_json(self.verdict),
            "instructions": self.steps,
        })
    }
}

/// Lines, or of many the first and the last.
fn few(mut lines: Vec<String>) -> String {
    const AT_MOST: usize = 12;
    if lines.len() > AT_MOST {
        let (first, last) = (AT_MOST / 2, lines.len() - 2);
        let more = format!("  … {} more: see --json\n", last - first);
        lines.splice(first..last, [more]);
    }
    lines.concat()
}
