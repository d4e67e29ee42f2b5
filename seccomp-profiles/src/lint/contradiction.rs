//! Rules without conditions that say different things about one call.

use std::collections::HashMap;
use std::fmt;

use oci_spec::runtime::{LinuxSeccomp, LinuxSyscall};

use super::{Finding, Severity};

/// Two rules without conditions that say different things about one call. Only one of them can
/// hold: the first, or, where it has the default action, the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The call.
    pub call: String,
    /// The earlier rule's index and action.
    pub first: (usize, String),
    /// The later rule's.
    pub second: (usize, String),
    /// The index of the call's name in the later rule.
    pub name: usize,
}

impl Contradiction {
    /// The field at fault.
    #[must_use]
    pub fn field(&self) -> String {
        format!("linux.seccomp.syscalls[{}].names[{}]", self.second.0, self.name)
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(format!("remove {} from one of the two rules", self.call))
    }
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((first, before), (_, after)) = (&self.first, &self.second);
        write!(f, "{}: {after} for {}, but rule {first} says {before}", self.field(), self.call)
    }
}

/// The first contradiction of a profile.
///
/// The compiler takes such a profile, as libseccomp and runc do; tools that make something of it
/// for others should not.
#[must_use]
pub fn contradiction(seccomp: &LinuxSeccomp) -> Option<Contradiction> {
    all(seccomp).into_iter().next()
}

fn all(seccomp: &LinuxSeccomp) -> Vec<Contradiction> {
    let rules = seccomp.syscalls().as_deref().unwrap_or_default();
    // The first rule without conditions about each call, and the index of the name there.
    let mut said: HashMap<&str, (usize, usize)> = HashMap::new();
    let mut found = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        if rule.args().as_ref().is_some_and(|args| !args.is_empty()) {
            continue;
        }
        for (name, call) in rule.names().iter().enumerate() {
            let (first, _) = *said.entry(call).or_insert((at, name));
            // Without an errno it is EPERM, which is 1.
            let says = |rule: &LinuxSyscall| (rule.action(), rule.errno_ret().unwrap_or(1));
            if says(&rules[first]) != says(rule) {
                found.push(Contradiction {
                    call: call.clone(),
                    first: (first, action(&rules[first])),
                    second: (at, action(rule)),
                    name,
                });
            }
        }
    }
    found
}

fn action(rule: &LinuxSyscall) -> String {
    match rule.errno_ret() {
        Some(errno) => format!("{} {errno}", rule.action()),
        None => rule.action().to_string(),
    }
}

/// The contradictions as findings.
pub(super) fn findings(seccomp: &LinuxSeccomp) -> Vec<Finding> {
    let told = all(seccomp).into_iter().map(|one| {
        let finding = Finding::in_name(
            Severity::Error,
            "contradiction",
            one.second.0,
            (one.name, one.call.as_str()),
        );
        let (first, before) = &one.first;
        let message = format!("{} here, but rule {first} says {before}", one.second.1);
        finding.says(message, one.hint().unwrap_or_default())
    });
    told.collect()
}
