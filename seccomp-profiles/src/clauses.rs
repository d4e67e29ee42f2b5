//! What the rules say about each call number: the form between a profile and its program.
//!
//! Promises that whoever asks what a profile decides (the compiler, [`crate::verdict`]) reads the
//! same clauses and the same precedence. Knows nothing of graphs or instructions.

use std::borrow::Cow;

use oci_spec::runtime::LinuxSeccompOperator;

use crate::action::{self, ENOSYS, ERRNO, USER_NOTIF};
use crate::arch::ArchTable;
use crate::rules::Rule;
use crate::terms::Condition;

/// What one rule says about one call: an action, and under which conditions.
pub(crate) struct Clause<'a> {
    /// Counted from the first number of the architecture.
    pub(crate) number: u32,
    pub(crate) action: u32,
    pub(crate) conditions: Cow<'a, [Condition]>,
    /// The rule's index in the profile.
    pub(crate) rule: usize,
}

/// All that the rules say about an architecture's calls.
pub(crate) struct Clauses<'a> {
    /// By number, and then in the rules' order.
    pub(crate) all: Vec<Clause<'a>>,
    /// Numbers above this one fail with ENOSYS, as they are newer than the profile.
    pub(crate) newest: Option<u32>,
}

/// What decides one call.
pub(crate) enum Decided<'c, 'a> {
    /// This clause, whatever the arguments.
    Always(&'c Clause<'a>),
    /// The first of these whose conditions hold; where none does, the default.
    First(Vec<&'c Clause<'a>>),
}

/// The clauses of the rules on one architecture.
pub(crate) fn clauses<'a>(rules: &'a [Rule<'a>], default: u32, table: &ArchTable) -> Clauses<'a> {
    let mut all = Vec::new();
    let mut newest = None;
    for (at, rule) in rules.iter().enumerate() {
        let says_nothing = rule.action == default && rule.is_unconditional();
        for name in rule.names {
            let number = table.calls.number(name);
            newest = newest.max(number.filter(|number| !is_unordered(table, *number)));
            if says_nothing {
                continue;
            }
            all.extend(number.into_iter().flat_map(|number| {
                rule.alternatives.iter().map(move |all| Clause {
                    number,
                    action: rule.action,
                    conditions: Cow::Borrowed(all),
                    rule: at,
                })
            }));
            all.extend(multiplexed(table, name, rule, default).map(|(number, condition)| Clause {
                number,
                action: rule.action,
                conditions: Cow::Owned(vec![condition]),
                rule: at,
            }));
        }
    }
    all.sort_by_key(|clause| clause.number);
    Clauses { all, newest: newest.filter(|_| hides_newer(default)) }
}

impl Clauses<'_> {
    /// Whether a number, counted from the architecture's first, is newer than the profile.
    pub(crate) fn is_newer(&self, table: &ArchTable, number: u32) -> bool {
        !is_unordered(table, number) && self.newest.is_some_and(|newest| number > newest)
    }
}

fn is_unordered(table: &ArchTable, number: u32) -> bool {
    table.unordered_from.is_some_and(|unordered| number >= unordered)
}

/// Whether calls newer than the profile fail with ENOSYS: where the default denies them.
fn hides_newer(default: u32) -> bool {
    !action::is_permissive(default) && default != USER_NOTIF && default != ERRNO | ENOSYS
}

/// What a rule for a call says about the multiplexer through which it can also be made.
fn multiplexed(
    table: &ArchTable,
    name: &str,
    rule: &Rule<'_>,
    default: u32,
) -> Option<(u32, Condition)> {
    let call = table.multiplexed.iter().find(|call| call.name == name)?;
    let restricts = action::strictness(rule.action) < action::strictness(default);
    if !rule.is_unconditional() && !restricts {
        return None;
    }
    let condition = Condition {
        index: 0,
        op: LinuxSeccompOperator::ScmpCmpMaskedEq,
        value: u64::from(call.call),
        mask: u64::from(if restricts { call.mask } else { u32::MAX }),
    };
    Some((call.through, condition))
}

/// What decides a call, from all clauses about it, in order.
pub(crate) fn decide<'c, 'a>(clauses: &'c [Clause<'a>]) -> Decided<'c, 'a> {
    if let Some(clause) = clauses.iter().find(|clause| clause.conditions.is_empty()) {
        return Decided::Always(clause);
    }
    let mut clauses: Vec<&Clause<'_>> = clauses.iter().collect();
    clauses.sort_by_key(|clause| action::strictness(clause.action));
    Decided::First(clauses)
}
