//! What in a profile does not do what its author will have meant.
//!
//! Promises findings that are true of the compiled program: a rule is called unreachable, and a
//! call allowed, only where that was proved. Finds no fault with what nobody can prove.

use std::cmp::Reverse;
use std::collections::HashMap;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag as Flag, LinuxSyscall};

use crate::action::{self, USER_NOTIF};
use crate::arch::{Arch, TABLE};
use crate::catalog::{DANGERS, Danger};
use crate::compare::Freedom;
use crate::compile::{compile, listed};
use crate::error::CompileError;
use crate::rules;
use crate::suggest;
use crate::terms::Condition;
use crate::verdict::{Reason, Verdict, Verdicts};
use crate::witness::{Found, Work, witness};

mod arguments;
mod contradiction;
mod unreachable;

pub use contradiction::{Contradiction, contradiction};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Probably not what was meant, or a known risk.
    Warning,
    /// The profile does not work, or contradicts itself.
    Error,
}

/// Something that `check` has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in one word, for programs: `unreachable`, `dangerous`.
    pub code: &'static str,
    /// The field it is about, such as `linux.seccomp.syscalls[3].names[2]`.
    pub field: String,
    /// The rule it is about, by its index.
    pub rule: Option<usize>,
    /// The call it is about.
    pub call: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Finding {
    fn new(severity: Severity, code: &'static str, field: impl Into<String>) -> Self {
        let (field, message, hint) = (field.into(), String::new(), String::new());
        Self { severity, code, field, rule: None, call: None, message, hint }
    }

    fn in_rule(severity: Severity, code: &'static str, rule: usize) -> Self {
        let rule_field = format!("linux.seccomp.syscalls[{rule}]");
        Self { rule: Some(rule), ..Self::new(severity, code, rule_field) }
    }

    /// About a name of a rule, by both indices.
    fn in_name(severity: Severity, code: &'static str, rule: usize, name: (usize, &str)) -> Self {
        let field = format!("linux.seccomp.syscalls[{rule}].names[{}]", name.0);
        let call = Some(name.1.to_owned());
        Self { field, call, ..Self::in_rule(severity, code, rule) }
    }

    fn says(self, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), ..self }
    }
}

/// The findings about a profile on a kernel whose native architecture is `kernel`, in the order
/// of the profile's fields.
#[must_use]
pub fn lint(seccomp: &LinuxSeccomp, kernel: Arch) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Err(error) = compile(seccomp, kernel) {
        found.push(refused(seccomp, &error));
    }
    let all: Option<Vec<Verdicts>> = listed(seccomp, kernel)
        .into_iter()
        .map(|table| Verdicts::new(seccomp, kernel, table.arch).ok())
        .collect();
    found.extend(names(seccomp));
    found.extend(contradiction::findings(seccomp));
    // Where the rules cannot be read there is an error already.
    if let (Some(all), Ok(default)) = (all, rules::default_action(seccomp)) {
        found.extend(unreachable::findings(seccomp, default, &all));
        found.extend(whole(seccomp, default, kernel, &all));
        found.extend(arguments::findings(seccomp));
        if Freedom::of(default) == Freedom::Refused {
            found.extend(all.first().into_iter().flat_map(|native| dangers(seccomp, native)));
        }
        found.extend(arguments::holes(&all));
    }
    in_order(found)
}

/// First what is about the whole, then rule by rule; in the order of finding otherwise.
fn in_order(found: Vec<Finding>) -> Vec<Finding> {
    let key = |finding: &Finding| finding.rule.map_or(0, |rule| rule + 1);
    let mut order: Vec<(usize, usize)> = found.iter().map(key).zip(0..).collect();
    order.sort_unstable();
    let mut found: Vec<Option<Finding>> = found.into_iter().map(Some).collect();
    order.into_iter().filter_map(|(_, at)| found[at].take()).collect()
}

/// What the compiler refuses, as a finding.
fn refused(seccomp: &LinuxSeccomp, error: &CompileError) -> Finding {
    let rule = match error {
        CompileError::TooLong { .. } => largest_rule(seccomp),
        _ => rule_of(error.field()),
    };
    let field = match (rule, error) {
        (Some(rule), CompileError::TooLong { .. }) => format!("linux.seccomp.syscalls[{rule}]"),
        _ => error.field().to_owned(),
    };
    let message = error.to_string();
    let message = message.strip_prefix(&format!("{}: ", error.field())).unwrap_or(&message);
    Finding { rule, ..Finding::new(Severity::Error, "refused", field) }
        .says(message, error.hint().unwrap_or_default())
}

/// The rule that a field is in.
#[must_use]
pub fn rule_of(field: &str) -> Option<usize> {
    let index = field.strip_prefix("linux.seccomp.syscalls[")?;
    index.split_once(']')?.0.parse().ok()
}

/// The first of the rules about the call that needs most conditions: where to begin when a
/// program is too long.
#[must_use]
pub fn largest_rule(seccomp: &LinuxSeccomp) -> Option<usize> {
    // Of each call: how many conditions, and the rule that begins.
    let mut conditions: HashMap<&str, (usize, usize)> = HashMap::new();
    for (at, rule) in seccomp.syscalls().iter().flatten().enumerate() {
        for name in rule.names() {
            conditions.entry(name).or_insert((0, at)).0 += rule.args().as_ref().map_or(0, Vec::len);
        }
    }
    let most = conditions.into_values().max_by_key(|(count, first)| (*count, Reverse(*first)));
    most.filter(|(count, _)| *count > 0).map(|(_, first)| first)
}

/// So many unknown names get a suggestion, which takes some time to find: a text with more is no
/// profile with slips.
const MOST_SUGGESTIONS: usize = 200;

/// Names that no kernel knows. Where one restricts, the compiler has refused it.
fn names(seccomp: &LinuxSeccomp) -> Vec<Finding> {
    let mut found = Vec::new();
    for (at, rule) in seccomp.syscalls().iter().flatten().enumerate() {
        for (name_at, name) in rule.names().iter().enumerate() {
            if rules::is_known(name) {
                continue;
            }
            let near =
                (found.len() < MOST_SUGGESTIONS).then(|| suggest::nearest_call(name)).flatten();
            let hint = match near {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "correct or remove the name; a newer brig may know it".to_owned(),
            };
            let finding = Finding::in_name(Severity::Warning, "unknown-name", at, (name_at, name));
            found.push(finding.says("no kernel that brig knows has this call; ignored", hint));
        }
    }
    found
}

/// Where a rule names a call: the rule, and the name with its index.
fn place<'a>(
    seccomp: &'a LinuxSeccomp,
    rule: usize,
    call: &str,
) -> Option<(usize, (usize, &'a str))> {
    let rules = seccomp.syscalls().as_deref().unwrap_or_default();
    let names = rules.get(rule).map(LinuxSyscall::names)?;
    let at = names.iter().position(|name| name == call)?;
    Some((rule, (at, names[at].as_str())))
}

/// What is to be said about the profile as a whole.
fn whole(seccomp: &LinuxSeccomp, default: u32, kernel: Arch, all: &[Verdicts]) -> Vec<Finding> {
    let mut found = Vec::new();
    let about = |severity, code, field: &str| {
        Finding::new(severity, code, format!("linux.seccomp.{field}"))
    };
    if Freedom::of(default) == Freedom::Runs {
        let allowed = all
            .first()
            .map_or(0, |native| DANGERS.iter().filter(|one| is_open(one, native)).count());
        found.push(about(Severity::Warning, "default-allows", "defaultAction").says(
            format!("everything that no rule names is allowed, newer calls and {allowed} known dangers too"),
            "deny by default (SCMP_ACT_ERRNO) and list what is needed",
        ));
    }
    if seccomp.flags().iter().flatten().any(|flag| *flag == Flag::SeccompFilterFlagSpecAllow) {
        found.push(about(Severity::Warning, "speculation", "flags").says(
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW switches off the protection against speculative store bypass (CVE-2018-3639)",
            "remove the flag, unless the container runs no code but its own",
        ));
    }
    let asks = |verdict: &Verdict| {
        let mut actions =
            verdict.alternatives.iter().map(|one| one.action).chain([verdict.otherwise]);
        actions.any(|one| action::base(one) == USER_NOTIF)
    };
    let listener =
        seccomp.listener_path().as_ref().is_some_and(|path| !path.as_os_str().is_empty());
    if !listener && all.iter().any(|one| one.iter().any(|(.., verdict)| asks(verdict))) {
        found.push(about(Severity::Warning, "no-listener", "listenerPath").says(
            "some calls notify, but listenerPath is missing: they will fail",
            "give a listenerPath, or use SCMP_ACT_ERRNO",
        ));
    }
    let names = seccomp.architectures().as_deref().unwrap_or_default();
    for table in TABLE.iter().filter(|table| table.family == kernel.table().family && !table.wide) {
        let at = names.iter().position(|name| *name == table.oci);
        if let (Some(at), true) = (at, table.arch != kernel) {
            found.push(about(Severity::Warning, "32-bit", &format!("architectures[{at}]")).says(
                format!("{} calls are allowed: a second table of calls, with handlers that few test", table.arch.name()),
                "remove it, unless programs of that architecture are to run; CVE-2021-22555 is one hole among these calls",
            ));
        }
    }
    found
}

/// Dangerous calls that get through. Only for profiles that deny by default: elsewhere all do.
fn dangers(seccomp: &LinuxSeccomp, native: &Verdicts) -> Vec<Finding> {
    let mut found = Vec::new();
    for danger in DANGERS {
        let Some(verdict) = native.of(danger.name) else { continue };
        let Some(args) = way_to(danger, verdict, native.arch()) else { continue };
        let rule = verdict.deciding_rule(&args);
        let place = rule.and_then(|rule| place(seccomp, rule, danger.name));
        let finding = match place {
            Some((rule, name)) => Finding::in_name(Severity::Warning, "dangerous", rule, name),
            None => Finding::new(Severity::Warning, "dangerous", "linux.seccomp.defaultAction"),
        };
        let what = danger.when.map_or(String::new(), |when| format!(" with {}", when.name));
        let some = match danger.when {
            _ if verdict.is_unconditional() => "allowed",
            // Families and requests are int in the kernel: comparing 64 bits lets others be them.
            Some(when) if args[when.index as usize] & !when.mask != 0 && when.is_a_value() => {
                "allowed if the upper half of the argument, which the kernel drops, is not 0,"
            }
            _ => "allowed for some arguments",
        };
        found.push(Finding { call: Some(danger.name.to_owned()), ..finding }.says(
            format!("{some}{what}: {}", danger.reason),
            format!("remove it if the workload can do without; see {}", danger.reference),
        ));
    }
    found
}

/// The rule that lets most of a call through.
fn loosest_rule(verdict: &Verdict) -> Option<usize> {
    let otherwise = Freedom::of(verdict.otherwise);
    let alternatives =
        verdict.alternatives.iter().filter(|one| Freedom::of(one.action) > otherwise);
    match (alternatives.max_by_key(|one| Freedom::of(one.action)), verdict.reason) {
        (Some(loosest), _) => Some(loosest.rule),
        (None, Reason::Rule(rule)) => Some(rule),
        (None, _) => None,
    }
}

fn is_open(danger: &Danger, verdicts: &Verdicts) -> bool {
    let verdict = verdicts.of(danger.name);
    verdict.is_some_and(|verdict| way_to(danger, verdict, verdicts.arch()).is_some())
}

/// Dangerous arguments of a call that get through; none where that cannot be told.
fn way_to(danger: &Danger, verdict: &Verdict, arch: Arch) -> Option<[u64; 6]> {
    let dangerous: Vec<Condition> = danger.when.into_iter().map(|when| when.condition()).collect();
    way_through(verdict, &dangerous, arch.has_wide_arguments())
}

/// Arguments for which these conditions hold, and with which the call runs.
fn way_through(verdict: &Verdict, conditions: &[Condition], wide: bool) -> Option<[u64; 6]> {
    let all = &verdict.alternatives;
    let refusing: Vec<&[Condition]> = all
        .iter()
        .filter(|one| Freedom::of(one.action) != Freedom::Runs)
        .map(|one| one.conditions.as_slice())
        .collect();
    let running = all
        .iter()
        .filter(|one| Freedom::of(one.action) == Freedom::Runs)
        .map(|one| one.conditions.as_slice())
        .chain((Freedom::of(verdict.otherwise) == Freedom::Runs).then_some(&[][..]));
    let (mut running, mut work) = (running, Work::for_one_call());
    running.find_map(|way| match witness(&[conditions, way], &refusing, wide, &mut work) {
        Found::Arguments(args) => Some(args),
        Found::Nothing | Found::GaveUp => None,
    })
}

#[cfg(test)]
mod tests;
