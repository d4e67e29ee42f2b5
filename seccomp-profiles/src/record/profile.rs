//! What is allowed, and the profile that says so.

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

use super::arguments;
use super::base::{self, Privileges};
use super::error::MergeError;
use super::{Observations, Seen, argument, clone3_fails, insert, masked};
use crate::action::ENOSYS;
use crate::arch::{Arch, TABLE};

/// Most alternatives of one call's arguments. Each is an instruction or two for every such call;
/// a program with more is not described by a list, so that its calls are allowed with any value.
pub const MAX_ALTERNATIVES: usize = 16;

/// A condition on one argument, which can be sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Condition {
    index: usize,
    op: u32,
    value: u64,
    value_two: Option<u64>,
}

/// With which arguments a call is allowed: those that meet all conditions of some alternative.
/// An alternative without conditions means with any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Permission(Vec<Vec<Condition>>);

impl Permission {
    fn of(seen: &Seen) -> Self {
        let mut permission = Self::default();
        for values in &seen.values {
            let checks = seen.checks.iter().zip(values);
            let all = checks.map(|(check, &value)| Condition::masked(check, value)).collect();
            insert(&mut permission.0, all);
        }
        permission
    }

    fn add(&mut self, alternative: Vec<Condition>) {
        insert(&mut self.0, alternative);
        self.fit();
    }

    fn merge(&mut self, other: Self) {
        for alternative in other.0 {
            insert(&mut self.0, alternative);
        }
        self.fit();
    }

    /// Drops what another alternative allows already; where there are too many alternatives, the
    /// last condition of the longest ones.
    fn fit(&mut self) {
        loop {
            if self.0.contains(&Vec::new()) {
                self.0 = vec![Vec::new()];
            }
            if self.0.len() <= MAX_ALTERNATIVES {
                return;
            }
            let longest = self.0.iter().map(Vec::len).max().unwrap_or_default();
            for mut alternative in std::mem::take(&mut self.0) {
                alternative.truncate(longest.saturating_sub(1));
                insert(&mut self.0, alternative);
            }
        }
    }

    /// Whether every value of the masked arguments is allowed anyway.
    fn is_complete(&self) -> bool {
        let mut masks = self.0.iter().map(|alternative| match alternative.as_slice() {
            [only] if only.op == LinuxSeccompOperator::ScmpCmpMaskedEq as u32 => {
                Some((only.index, only.value))
            }
            _ => None,
        });
        let Some(Some(first)) = masks.next() else { return false };
        let combinations = 1u64.checked_shl(first.1.count_ones());
        masks.all(|mask| mask == Some(first)) && combinations == Some(self.0.len() as u64)
    }
}

/// Permissions by name, sorted.
#[derive(Debug, Default)]
struct Permissions(Vec<(String, Permission)>);

impl Permissions {
    fn of(&mut self, name: &str) -> &mut Permission {
        let at = self.0.partition_point(|(other, _)| other.as_str() < name);
        if self.0.get(at).is_none_or(|(other, _)| other != name) {
            self.0.insert(at, (name.to_owned(), Permission::default()));
        }
        &mut self.0[at].1
    }
}

impl Condition {
    fn masked(check: &arguments::Check, value: u64) -> Self {
        Self::from(&masked(check.index, check.mask, value))
    }

    fn to_oci(self) -> LinuxSeccompArg {
        let op = OPERATORS.into_iter().find(|op| *op as u32 == self.op).unwrap_or_default();
        argument(self.index, op, self.value, self.value_two)
    }
}

impl From<&LinuxSeccompArg> for Condition {
    fn from(arg: &LinuxSeccompArg) -> Self {
        Self {
            index: arg.index(),
            op: arg.op() as u32,
            value: arg.value(),
            value_two: arg.value_two(),
        }
    }
}

const OPERATORS: [LinuxSeccompOperator; 7] = [
    LinuxSeccompOperator::ScmpCmpNe,
    LinuxSeccompOperator::ScmpCmpLt,
    LinuxSeccompOperator::ScmpCmpLe,
    LinuxSeccompOperator::ScmpCmpEq,
    LinuxSeccompOperator::ScmpCmpGe,
    LinuxSeccompOperator::ScmpCmpGt,
    LinuxSeccompOperator::ScmpCmpMaskedEq,
];

/// The profile that allows what was observed, what the profiles `others` allow, and what runtimes
/// need to start a program with these privileges; everything else fails with EPERM, and what is
/// newer than the profile with ENOSYS.
///
/// # Errors
/// A [`MergeError`], with the index in `others`, where one of them does not list what is allowed.
pub fn synthesize(
    observations: &Observations,
    privileges: Privileges,
    others: &[LinuxSeccomp],
) -> Result<LinuxSeccomp, (usize, MergeError)> {
    let mut permissions = Permissions::default();
    for (_, seen) in &observations.calls {
        permissions.of(seen.name).merge(Permission::of(seen));
    }
    for call in base::calls(privileges) {
        let permission = permissions.of(call.name);
        match (call.values, arguments::of(call.name)) {
            ([], _) | (_, []) => permission.add(Vec::new()),
            (values, [check, ..]) => {
                for &value in values {
                    permission.add(vec![Condition::masked(check, value)]);
                }
            }
        }
    }
    for (at, other) in others.iter().enumerate() {
        merge(&mut permissions, other).map_err(|error| (at, error))?;
    }
    Ok(write(permissions, observations.arch, others))
}

fn merge(permissions: &mut Permissions, other: &LinuxSeccomp) -> Result<(), MergeError> {
    let default = other.default_action();
    if matches!(default, Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace) {
        return Err(MergeError::Permissive { action: default.to_string() });
    }
    for (at, rule) in other.syscalls().as_deref().unwrap_or_default().iter().enumerate() {
        let args = rule.args().as_deref().unwrap_or_default();
        // As it is written for clone3: the call does not exist.
        let absent = rule.action() == Action::ScmpActErrno && rule.errno_ret() == Some(ENOSYS);
        if absent && args.is_empty() {
            continue;
        }
        if rule.action() != Action::ScmpActAllow {
            let field = format!("syscalls[{at}].action");
            return Err(MergeError::NotAllowing { field, action: rule.action().to_string() });
        }
        let alternative = conditions(args, at)?;
        for name in rule.names() {
            permissions.of(name).add(alternative.clone());
        }
    }
    Ok(())
}

fn conditions(args: &[LinuxSeccompArg], at: usize) -> Result<Vec<Condition>, MergeError> {
    for (number, arg) in args.iter().enumerate() {
        if arg.index() > 5 {
            let field = format!("syscalls[{at}].args[{number}].index");
            return Err(MergeError::ArgumentIndex { field, index: arg.index() });
        }
        if args[..number].iter().any(|other| other.index() == arg.index()) {
            return Err(MergeError::Alternatives { field: format!("syscalls[{at}].args") });
        }
    }
    Ok(args.iter().map(Condition::from).collect())
}

/// One rule for all calls that are allowed with any arguments, then one for each alternative.
fn write(permissions: Permissions, native: Arch, others: &[LinuxSeccomp]) -> LinuxSeccomp {
    let (mut always, mut checked) = (Vec::new(), Vec::new());
    for (name, permission) in permissions.0 {
        if name == "clone3" {
            // A profile which allows it would make its rule for clone pointless.
            continue;
        }
        if permission.0.contains(&Vec::new()) || permission.is_complete() {
            always.push(name);
            continue;
        }
        checked.extend(permission.0.into_iter().map(|alternative| {
            let args: Vec<_> = alternative.into_iter().map(Condition::to_oci).collect();
            allow(vec![name.clone()], Some(args))
        }));
    }
    let mut rules = vec![allow(always, None)];
    rules.append(&mut checked);
    rules.push(clone3_fails());
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(Action::ScmpActErrno);
    profile.set_default_errno_ret(Some(1)); // EPERM
    let listed = |oci| {
        others
            .iter()
            .any(|other| other.architectures().as_ref().is_some_and(|list| list.contains(oci)))
    };
    let architectures = TABLE.iter().filter(|table| table.arch == native || listed(&table.oci));
    profile.set_architectures(Some(architectures.map(|table| table.oci).collect()));
    profile.set_syscalls(Some(rules));
    profile
}

fn allow(names: Vec<String>, args: Option<Vec<LinuxSeccompArg>>) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names);
    rule.set_action(Action::ScmpActAllow);
    rule.set_args(args);
    rule
}

/// How many calls of an architecture a profile allows, with whatever arguments; and how many of
/// them with certain arguments only.
#[must_use]
pub fn allowed_calls(profile: &LinuxSeccomp, arch: Arch) -> (usize, usize) {
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    let (mut always, mut checked) = (Vec::new(), Vec::new());
    for rule in rules.iter().filter(|rule| rule.action() == Action::ScmpActAllow) {
        let numbers = rule.names().iter().filter_map(|name| arch.syscall_number(name));
        let unconditional = rule.args().as_ref().is_none_or(Vec::is_empty);
        for number in numbers {
            insert(if unconditional { &mut always } else { &mut checked }, number);
        }
    }
    checked.retain(|number| !always.contains(number));
    (always.len() + checked.len(), checked.len())
}
