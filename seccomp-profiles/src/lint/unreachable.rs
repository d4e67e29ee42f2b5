//! Rules, and names in rules, that decide nothing.

use oci_spec::runtime::{LinuxSeccomp, LinuxSyscall};

use super::{Finding, Severity};
use crate::action;
use crate::compare::outcomes;
use crate::verdict::{Reason, Verdict, Verdicts};

/// An architecture's verdicts, and for each call that has conditions the rules that can decide it.
struct Reached<'a> {
    verdicts: &'a Verdicts,
    /// By name, in order.
    calls: Vec<(&'static str, Vec<usize>)>,
}

/// Rules that decide no call on any architecture which the profile lists.
pub(super) fn findings(seccomp: &LinuxSeccomp, default: u32, all: &[Verdicts]) -> Vec<Finding> {
    let all: Vec<Reached<'_>> = all.iter().map(Reached::of).collect();
    let mut found = Vec::new();
    for (at, rule) in seccomp.syscalls().iter().flatten().enumerate() {
        for (name_at, call) in rule.names().iter().enumerate() {
            // Once it decides somewhere, it is not in vain.
            let mut reasons = all.iter().filter_map(|one| {
                let verdict = one.verdicts.of(call)?;
                Some(why_not(verdict, at, rule, default, one.rules(call)))
            });
            let first = reasons.next().flatten();
            let Some(why) = first.filter(|_| reasons.all(|why| why.is_some())) else { continue };
            let name = (name_at, call.as_str());
            let finding = Finding::in_name(Severity::Warning, "unreachable", at, name);
            let message = format!("decides nothing: {why}");
            found.push(finding.says(message, "remove the call from this rule"));
        }
    }
    found
}

impl<'a> Reached<'a> {
    fn of(verdicts: &'a Verdicts) -> Self {
        let wide = verdicts.arch().has_wide_arguments();
        let conditional = verdicts.iter().filter(|(.., verdict)| !verdict.is_unconditional());
        let calls = conditional.map(|(name, _, verdict)| (name, reaching(verdict, wide)));
        Self { verdicts, calls: calls.collect() }
    }

    fn rules(&self, call: &str) -> &[usize] {
        let at = self.calls.binary_search_by(|(name, _)| (*name).cmp(call));
        at.map_or(&[], |at| &self.calls[at].1)
    }
}

/// The rules with conditions that decide a call for some arguments, or may.
fn reaching(verdict: &Verdict, wide: bool) -> Vec<usize> {
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
    reached: &[usize],
) -> Option<String> {
    let conditional = rule.args().as_ref().is_some_and(|args| !args.is_empty());
    match verdict.reason {
        Reason::Rule(decider) if decider == at => None,
        _ if reached.contains(&at) => None,
        _ if verdict.alternatives.iter().any(|one| one.rule == at) => {
            Some("rules at least as strict decide wherever its conditions hold".to_owned())
        }
        Reason::Rule(decider) if verdict.is_unconditional() => {
            Some(format!("rule {decider} decides this call, whatever its arguments"))
        }
        Reason::Rule(decider) => {
            Some(format!("rule {decider} decides wherever no stricter rule does"))
        }
        _ if conditional => Some("its conditions can never hold".to_owned()),
        _ => {
            let says_default = verdict.otherwise == default;
            says_default.then(|| format!("it is {} by default", action::describe(default)))
        }
    }
}
