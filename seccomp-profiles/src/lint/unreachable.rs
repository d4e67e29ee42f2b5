//! Rules, and names in rules, that decide nothing.

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::runtime::{LinuxSeccomp, LinuxSyscall};

use super::{Finding, Severity, place};
use crate::action;
use crate::compare::outcomes;
use crate::verdict::{Reason, Verdict, Verdicts};

/// Why a rule decides nothing about a call, by rule and call; none where it does.
type Reasons<'a> = BTreeMap<(usize, &'a str), Option<String>>;

/// Rules that decide no call on any architecture which the profile lists.
pub(super) fn findings(seccomp: &LinuxSeccomp, default: u32, all: &[Verdicts]) -> Vec<Finding> {
    let rules = seccomp.syscalls().as_deref().unwrap_or_default();
    let mut said = Reasons::new();
    for verdicts in all {
        let mut reached: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for (at, rule) in rules.iter().enumerate() {
            for call in rule.names() {
                let Some(verdict) = verdicts.of(call) else { continue };
                let wide = verdicts.arch().table().wide;
                let reached = reached.entry(call).or_insert_with(|| reaching(verdict, wide));
                let why = why_not(verdict, at, rule, default, reached);
                // Once it decides somewhere, it is not in vain.
                let known = said.entry((at, call)).or_insert_with(|| why.clone());
                if why.is_none() {
                    *known = None;
                }
            }
        }
    }
    let vain = said.into_iter().filter_map(|((at, call), why)| Some((at, call, why?)));
    vain.filter_map(|(at, call, why)| {
        let name = place(seccomp, at, call)?;
        let finding = Finding::in_name(Severity::Warning, "unreachable", at, name);
        Some(finding.says(format!("decides nothing: {why}"), "remove the call from this rule"))
    })
    .collect()
}

/// The rules with conditions that decide a call for some arguments, or may.
fn reaching(verdict: &Verdict, wide: bool) -> BTreeSet<usize> {
    let outcomes = outcomes(verdict, &[], wide);
    let chosen = outcomes.iter().filter_map(|one| verdict.alternatives.get(one.alternative?));
    chosen.map(|one| one.rule).collect()
}

/// Why a rule decides nothing about a call; none where it does, or where that cannot be told.
fn why_not(
    verdict: &Verdict,
    at: usize,
    rule: &LinuxSyscall,
    default: u32,
    reached: &BTreeSet<usize>,
) -> Option<String> {
    let conditional = rule.args().as_ref().is_some_and(|args| !args.is_empty());
    match verdict.reason {
        Reason::Rule(decider) if decider == at => None,
        Reason::Rule(decider) => {
            Some(format!("rule {decider} decides this call, whatever its arguments"))
        }
        _ if !conditional => {
            let says_default = verdict.otherwise == default;
            says_default.then(|| format!("it is {} by default", action::describe(default)))
        }
        _ if reached.contains(&at) => None,
        _ if !verdict.alternatives.iter().any(|one| one.rule == at) => {
            Some("its conditions can never hold".to_owned())
        }
        _ => Some("rules at least as strict decide wherever its conditions hold".to_owned()),
    }
}
