//! Conditions that say something else than they seem to, and 32-bit calls that go round them.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompOperator as Op, LinuxSyscall};

use super::{Finding, Severity, loosest_rule, way_through};
use crate::arch::Arch;
use crate::catalog::When;
use crate::compare::Freedom;
use crate::terms::Condition;
use crate::verdict::{Verdict, Verdicts};

/// Several conditions on one argument; masks that can never be met.
pub(super) fn findings(seccomp: &LinuxSeccomp) -> Vec<Finding> {
    let rules = seccomp.syscalls().iter().flatten().enumerate();
    rules.flat_map(|(at, rule)| repeated(at, rule).into_iter().chain(masks(at, rule))).collect()
}

fn repeated(at: usize, rule: &LinuxSyscall) -> Option<Finding> {
    let args = rule.args().as_deref().unwrap_or_default();
    let second = args
        .iter()
        .enumerate()
        .find(|(second, arg)| args[..*second].iter().any(|first| first.index() == arg.index()));
    let (second, arg) = second?;
    let finding = Finding::in_rule(Severity::Warning, "any-condition", at);
    let field = format!("{}.args[{second}]", finding.field);
    let message = format!(
        "argument {} has several conditions: any one condition of the rule is enough, as under runc",
        arg.index()
    );
    let hint = "write one rule for each condition, if that is meant; else use one condition for each argument";
    Some(Finding { field, ..finding.says(message, hint) })
}

fn masks(at: usize, rule: &LinuxSyscall) -> Vec<Finding> {
    let args = rule.args().iter().flatten().enumerate();
    let missed = args.filter(|(_, arg)| {
        arg.op() == Op::ScmpCmpMaskedEq && arg.value_two().unwrap_or(0) & !arg.value() != 0
    });
    missed
        .map(|(index, arg)| {
            let finding = Finding::in_rule(Severity::Warning, "mask", at);
            let field = format!("{}.args[{index}].valueTwo", finding.field);
            let message = format!(
                "valueTwo {:#x} has bits outside of the mask {:#x}; they are ignored",
                arg.value_two().unwrap_or(0),
                arg.value()
            );
            let hint = "value is the mask, valueTwo what the masked argument must be";
            Finding { field, ..finding.says(message, hint) }
        })
        .collect()
}

impl When {
    /// Whether it is one value of an `int`, not a flag among others.
    pub(super) fn is_a_value(self) -> bool {
        self.mask == u64::from(u32::MAX)
    }

    /// The condition that the argument is of the dangerous ones.
    pub(super) fn condition(self) -> Condition {
        let Self { index, mask, bits, .. } = self;
        Condition { index, op: Op::ScmpCmpMaskedEq, value: bits, mask }
    }
}

/// Calls that the 64-bit architecture restricts, and that 32-bit programs can make by another
/// name or through a multiplexer.
pub(super) fn holes(all: &[Verdicts]) -> Vec<Finding> {
    let Some(native) = all.first().filter(|one| one.arch().table().wide) else {
        return Vec::new();
    };
    all.iter().skip(1).flat_map(|narrow| holes_of(native, narrow)).collect()
}

/// A call that is restricted, and the rule that does it.
type Restricted = (&'static str, Option<usize>);

fn holes_of(native: &Verdicts, narrow: &Verdicts) -> Vec<Finding> {
    // The way round, and the calls for which it is one.
    let mut ways: Vec<(String, Vec<Restricted>)> = Vec::new();
    for (name, _, verdict) in native.iter().filter(|(.., verdict)| restricts(verdict)) {
        let rule = verdict.alternatives.first().map(|one| one.rule).or(loosest_rule(verdict));
        for way in ways_round(narrow, name) {
            match ways.iter_mut().find(|(known, _)| *known == way) {
                Some((_, calls)) => calls.push((name, rule)),
                None => ways.push((way, vec![(name, rule)])),
            }
        }
    }
    let arch = narrow.arch().name();
    let told = ways.into_iter().filter_map(|(way, calls)| {
        let (name, rule) = *calls.iter().find(|(_, rule)| rule.is_some()).or(calls.first())?;
        let others = match calls.len() - 1 {
            0 => "is".to_owned(),
            more => format!("and {more} more are"),
        };
        let (severity, code) = (Severity::Warning, "32-bit-hole");
        let finding = match rule {
            Some(rule) => Finding::in_rule(severity, code, rule),
            None => Finding::new(severity, code, "linux.seccomp.architectures"),
        };
        Some(Finding { call: Some(name.to_owned()), ..finding }.says(
            format!("{name} {others} restricted, but {arch} programs can use {way} instead"),
            format!("remove the architecture, or restrict {way} too"),
        ))
    });
    told.collect()
}

/// Calls that run on `narrow` and do what `name` does.
fn ways_round(narrow: &Verdicts, name: &str) -> Vec<String> {
    let arch = narrow.arch();
    // Rules hold for the call of the same name too; another's name is another call.
    let mut ways = twins(arch, name);
    ways.retain(|twin| narrow.of(twin).is_some_and(|one| !restricts(one)));
    let multiplexed = arch.table().multiplexed.iter().find(|one| one.name == name);
    if let Some(one) = multiplexed
        && let Some(through) = arch.syscall_name(one.through)
    {
        let (mask, bits) = (u64::from(u32::MAX), u64::from(one.call));
        let call = When { index: 0, mask, bits, name: "" }.condition();
        let verdict = narrow.of(through);
        if verdict.is_some_and(|verdict| way_through(verdict, &[call], false).is_some()) {
            ways.push(through.to_owned());
        }
    }
    ways
}

/// Whether not all of a call runs.
fn restricts(verdict: &Verdict) -> bool {
    let alternatives = verdict.alternatives.iter().map(|one| one.action);
    alternatives.chain([verdict.otherwise]).any(|one| Freedom::of(one) != Freedom::Runs)
}

/// The names under which 32-bit tables have a call once more, for wider ids, offsets or times.
fn twins(arch: Arch, name: &str) -> Vec<String> {
    let special = match name {
        "mmap" => "mmap2",
        "select" => "_newselect",
        "newfstatat" => "fstatat64",
        "umount2" => "umount",
        "lseek" => "_llseek",
        _ => "",
    };
    let suffixed = ["32", "64", "_time64"].map(|suffix| format!("{name}{suffix}"));
    let all = suffixed.into_iter().chain([special.to_owned()]);
    all.filter(|twin| arch.syscall_number(twin).is_some()).collect()
}
