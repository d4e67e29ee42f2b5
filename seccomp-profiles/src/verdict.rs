//! What a profile decides for each call, before it becomes a program.
//!
//! Promises the verdict that the compiled program gives for every number and all arguments: both
//! are made from the same clauses, with the same precedence. For tools and tests; never for the
//! way of a container, which needs the program only.

use std::fmt;
use std::ops::RangeInclusive;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompOperator as Op};

use crate::action::{self, ENOSYS, ERRNO, KILL_PROCESS};
use crate::arch::{Arch, ArchTable};
use crate::clauses::{Clause, Clauses, Decided, clauses, decide};
use crate::compile::listed;
use crate::error::CompileError;
use crate::rules;
use crate::terms::{Condition, terms};
use crate::witness::{Found, Work, witness};

/// What a profile decides for one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The first of these whose conditions hold decides. From the most to the least restrictive.
    pub alternatives: Vec<Alternative>,
    /// What is decided where none holds: `SECCOMP_RET_*` with data.
    pub otherwise: u32,
    /// Why it is that.
    pub reason: Reason,
}

/// A rule that decides a call under conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// All of them must hold; at least one.
    pub conditions: Vec<Condition>,
    /// `SECCOMP_RET_*` with data.
    pub action: u32,
    /// The rule's index in `syscalls`.
    pub rule: usize,
}

/// Why [`Verdict::otherwise`] is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The rule of this index in `syscalls`, which has no conditions, or none that can fail.
    Rule(usize),
    /// The default action.
    Default,
    /// The number is above all that the profile names, and the default action denies.
    Newer,
    /// The profile does not list the architecture.
    Unlisted,
}

/// What a profile decides for all calls of one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicts {
    arch: Arch,
    /// Where some rule says something, by number.
    ruled: Vec<(u32, Verdict)>,
    /// Everywhere else.
    other: Verdict,
    /// The numbers newer than the profile, and their verdict.
    newer: Option<(RangeInclusive<u32>, Verdict)>,
}

impl Verdicts {
    /// Reads a profile for calls of `arch` on a kernel whose native architecture is `kernel`.
    ///
    /// # Errors
    /// As [`crate::compile`], but for the length of the program.
    pub fn new(seccomp: &LinuxSeccomp, kernel: Arch, arch: Arch) -> Result<Self, CompileError> {
        let default = rules::default_action(seccomp)?;
        let rules = rules::read(seccomp, default)?;
        let listed = listed(seccomp, kernel);
        let Some(table) = listed.iter().find(|table| table.arch == arch) else {
            // Numbers of x32 among those of x86-64 are numbers that the kernel does not have.
            let shared = listed.iter().any(|table| table.audit == arch.audit());
            let otherwise = if shared { ERRNO | ENOSYS } else { KILL_PROCESS };
            let other = Verdict::always(otherwise, Reason::Unlisted);
            return Ok(Self { arch, ruled: Vec::new(), other, newer: None });
        };
        let clauses = clauses(&rules, default, table);
        let mut ruled = Vec::new();
        for call in clauses.all.chunk_by(|a, b| a.number == b.number) {
            if !clauses.is_newer(table, call[0].number) {
                let verdict = verdict(call, default, table.wide);
                ruled.push((table.numbers.0 + call[0].number, verdict));
            }
        }
        let newer = newer(&clauses, table)
            .map(|numbers| (numbers, Verdict::always(ERRNO | ENOSYS, Reason::Newer)));
        Ok(Self { arch, ruled, other: Verdict::always(default, Reason::Default), newer })
    }

    /// Whose calls these are.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// Whether the profile lists the architecture, so that its calls are more than refused.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.other.reason != Reason::Unlisted
    }

    /// The verdict for a number, as `seccomp_data.nr` has it; also for one that no call has.
    #[must_use]
    pub fn of_number(&self, number: u32) -> &Verdict {
        match &self.newer {
            Some((numbers, verdict)) if numbers.contains(&number) => verdict,
            _ => match self.ruled.binary_search_by_key(&number, |(number, _)| *number) {
                Ok(at) => &self.ruled[at].1,
                Err(_) => &self.other,
            },
        }
    }

    /// The verdict for a call by its name; none if the architecture has no such call.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Verdict> {
        self.arch.syscall_number(name).map(|number| self.of_number(number))
    }

    /// All calls of the architecture that this crate knows, by name: name, number, verdict.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32, &Verdict)> + '_ {
        let table = self.arch.table();
        table.calls.iter().map(|(name, number)| {
            let number = table.numbers.0 + number;
            (name, number, self.of_number(number))
        })
    }
}

/// The numbers that are newer than the profile.
fn newer(clauses: &Clauses<'_>, table: &ArchTable) -> Option<RangeInclusive<u32>> {
    let (first, last) = table.numbers;
    let from = first + clauses.newest? + 1;
    Some(from..=table.unordered_from.map_or(last, |unordered| first + unordered - 1))
}

fn verdict(clauses: &[Clause<'_>], default: u32, wide: bool) -> Verdict {
    let clauses = match decide(clauses) {
        Decided::Always(clause) => {
            return Verdict::always(clause.action, Reason::Rule(clause.rule));
        }
        Decided::First(clauses) => clauses,
    };
    let mut verdict = Verdict::always(default, Reason::Default);
    for clause in clauses {
        match terms(&clause.conditions, wide) {
            // It can never hold.
            None => {}
            // It always holds, whatever the words: those after it have no say.
            Some(terms) if terms.is_empty() => {
                verdict.otherwise = clause.action;
                verdict.reason = Reason::Rule(clause.rule);
                break;
            }
            Some(_) => {
                let conditions = clause.conditions.iter().map(|one| one.seen(wide)).collect();
                let (action, rule) = (clause.action, clause.rule);
                verdict.alternatives.push(Alternative { conditions, action, rule });
            }
        }
    }
    verdict
}

impl Verdict {
    fn always(action: u32, reason: Reason) -> Self {
        Self { alternatives: Vec::new(), otherwise: action, reason }
    }

    /// What is decided for these arguments. Those of a 32-bit call have their upper half clear.
    #[must_use]
    pub fn decide(&self, args: &[u64; 6]) -> u32 {
        let holds = |one: &&Alternative| one.conditions.iter().all(|one| one.holds(args));
        self.alternatives.iter().find(holds).map_or(self.otherwise, |one| one.action)
    }

    /// The rule that decides for these arguments; none where it is no rule.
    #[must_use]
    pub fn deciding_rule(&self, args: &[u64; 6]) -> Option<usize> {
        let holds = |one: &&Alternative| one.conditions.iter().all(|one| one.holds(args));
        match (self.alternatives.iter().find(holds), self.reason) {
            (Some(one), _) => Some(one.rule),
            (None, Reason::Rule(rule)) => Some(rule),
            (None, _) => None,
        }
    }

    /// Whether arguments play no part.
    #[must_use]
    pub fn is_unconditional(&self) -> bool {
        self.alternatives.is_empty()
    }

    /// The loosest that it can decide.
    #[must_use]
    pub fn loosest(&self) -> u32 {
        let actions = self.alternatives.iter().map(|one| one.action);
        actions.chain([self.otherwise]).max_by_key(|one| action::strictness(*one)).unwrap_or(0)
    }
}

impl Condition {
    /// The condition as it is compared: on 32-bit calls without the upper halves.
    fn seen(&self, wide: bool) -> Self {
        let all = if wide { u64::MAX } else { u64::from(u32::MAX) };
        let mask = self.mask & all;
        let value = match self.op {
            Op::ScmpCmpMaskedEq => self.value & mask,
            _ => self.value & all,
        };
        Self { value, mask, ..*self }
    }

    /// Whether it holds for these arguments.
    #[must_use]
    pub fn holds(&self, args: &[u64; 6]) -> bool {
        let argument = args.get(self.index as usize).copied().unwrap_or(0) & self.mask;
        match self.op {
            Op::ScmpCmpNe => argument != self.value,
            Op::ScmpCmpLt => argument < self.value,
            Op::ScmpCmpLe => argument <= self.value,
            Op::ScmpCmpEq => argument == self.value,
            Op::ScmpCmpGe => argument >= self.value,
            Op::ScmpCmpGt => argument > self.value,
            Op::ScmpCmpMaskedEq => argument == self.value & self.mask,
        }
    }
}

/// Small numbers as people write them, others as masks and flags are written.
struct Number(u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 { write!(f, "{}", self.0) } else { write!(f, "{:#x}", self.0) }
    }
}

/// Such as `arg0 & 0x7e020000 == 0`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, value) = (self.index, Number(self.value));
        match self.op {
            Op::ScmpCmpMaskedEq => write!(f, "arg{index} & {:#x} == {value}", self.mask),
            Op::ScmpCmpNe => write!(f, "arg{index} != {value}"),
            Op::ScmpCmpLt => write!(f, "arg{index} < {value}"),
            Op::ScmpCmpLe => write!(f, "arg{index} <= {value}"),
            Op::ScmpCmpEq => write!(f, "arg{index} == {value}"),
            Op::ScmpCmpGe => write!(f, "arg{index} >= {value}"),
            Op::ScmpCmpGt => write!(f, "arg{index} > {value}"),
        }
    }
}

/// Such as `arg0 == 1 and arg1 < 5`.
#[must_use]
pub fn describe_conditions(conditions: &[Condition]) -> String {
    let all: Vec<String> = conditions.iter().map(ToString::to_string).collect();
    all.join(" and ")
}

impl Verdict {
    /// Where many rules about the bits of one argument together leave out a few values, as a
    /// profile must that means "all but": conditions that hold for these alone.
    #[must_use]
    pub fn left_out(&self) -> Option<Vec<Condition>> {
        const RULES_AT_LEAST: usize = 8;
        const VALUES_AT_MOST: usize = 4;
        let first = self.alternatives.first()?;
        let index = first.conditions.first()?.index;
        let alike = |one: &Alternative| match one.conditions.as_slice() {
            [bits] if bits.op == Op::ScmpCmpMaskedEq && bits.index == index => {
                (one.action == first.action).then_some(*bits)
            }
            _ => None,
        };
        let mut fail: Vec<Condition> =
            self.alternatives.iter().map(alike).collect::<Option<_>>()?;
        let rules = fail.len();
        let mask = fail.iter().fold(0, |mask, bits| mask | bits.mask);
        let mut work = Work::for_one_call();
        while rules >= RULES_AT_LEAST && fail.len() <= rules + VALUES_AT_MOST {
            let each: Vec<&[Condition]> = fail.iter().map(std::slice::from_ref).collect();
            match witness(&[], &each, true, &mut work) {
                Found::Arguments(args) => {
                    let value = args[index as usize] & mask;
                    fail.push(Condition { index, op: Op::ScmpCmpMaskedEq, value, mask });
                }
                Found::Nothing => return Some(fail.split_off(rules)).filter(|all| !all.is_empty()),
                Found::GaveUp => break,
            }
        }
        None
    }
}

/// Such as `allow if arg0 == 1 or if arg0 == 2; otherwise errno 1`.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(values) = self.left_out() {
            let values: Vec<_> = values.iter().map(|value| format!("if {value}")).collect();
            let (rare, usual) = (self.otherwise, self.alternatives[0].action);
            let (rare, usual) = (action::describe(rare), action::describe(usual));
            return write!(f, "{rare} {}; otherwise {usual}", values.join(" or "));
        }
        for same in self.alternatives.chunk_by(|a, b| a.action == b.action) {
            f.write_str(&action::describe(same[0].action))?;
            for (at, one) in same.iter().enumerate() {
                let or = if at == 0 { "" } else { " or" };
                write!(f, "{or} if {}", describe_conditions(&one.conditions))?;
            }
            f.write_str("; ")?;
        }
        let otherwise = if self.alternatives.is_empty() { "" } else { "otherwise " };
        write!(f, "{otherwise}{}", action::describe(self.otherwise))
    }
}

#[cfg(test)]
mod tests;
