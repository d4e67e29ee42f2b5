//! Device rules on cgroup v1: what the kernel keeps of them, and what is written for that.
//!
//! Reference: admin-guide/cgroup-v1/devices.rst; `devcgroup_update_access` in security/device_cgroup.c.

use std::collections::BTreeMap;

use super::super::step::{Step, Write};
use super::{Access, Kind, Number, Rule, Rules};
use crate::Error;

type Key = (Kind, Option<u32>, Option<u32>);

/// The kernel's v1 state: a default, and exceptions to it that all say the opposite.
pub(super) struct Exceptions {
    pub(super) allow: bool,
    pub(super) entries: BTreeMap<Key, (u8, String)>,
}

impl Exceptions {
    pub(super) fn of(rules: &Rules) -> Result<Exceptions, Error> {
        let mut state = Exceptions { allow: false, entries: BTreeMap::new() };
        for rule in &rules.0 {
            if rule.is_everything() {
                state = Exceptions { allow: rule.allow, entries: BTreeMap::new() };
                continue;
            }
            let kinds = rule.kind.map_or(vec![Kind::Block, Kind::Char], |kind| vec![kind]);
            for kind in kinds {
                state.apply(kind, rule)?;
            }
        }
        Ok(state)
    }

    fn apply(&mut self, kind: Kind, rule: &Rule) -> Result<(), Error> {
        if rule.allow != self.allow {
            let key = (kind, rule.major, rule.minor);
            self.entries.entry(key).or_insert_with(|| (0, rule.field.clone())).0 |= rule.access;
            return Ok(());
        }
        for ((_, major, minor), (access, _)) in
            self.entries.iter_mut().filter(|((of, ..), _)| *of == kind)
        {
            let covered = covers(rule.major, *major) && covers(rule.minor, *minor);
            let overlaps = meets(rule.major, *major) && meets(rule.minor, *minor);
            if covered {
                *access &= !rule.access;
            } else if overlaps && *access & rule.access != 0 {
                let problem = "cgroup v1 cannot express a rule that narrows an earlier, wider one";
                return Err(Error::field(rule.field.as_str(), problem));
            }
        }
        self.entries.retain(|_, (access, _)| *access != 0);
        Ok(())
    }
}

pub(super) fn covers(wide: Option<u32>, narrow: Option<u32>) -> bool {
    wide.is_none() || wide == narrow
}

fn meets(one: Option<u32>, other: Option<u32>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// `devices.deny` and `devices.allow` for a cgroup with nothing in it yet.
pub(super) fn writes(directory: usize, rules: &Rules) -> Result<Vec<Step>, Error> {
    let state = Exceptions::of(rules)?;
    let (base, exception) = match state.allow {
        true => ("devices.allow", "devices.deny"),
        false => ("devices.deny", "devices.allow"),
    };
    let base = Write::new(directory, base, "a", "linux.resources.devices").default_if(state.allow);
    let mut steps = vec![Step::Write(base)];
    for ((kind, major, minor), (access, field)) in state.entries {
        let letter = if kind == Kind::Block { 'b' } else { 'c' };
        let value = format!("{letter} {}:{} {}", Number(major), Number(minor), Access(access));
        steps.push(Step::Write(Write::new(directory, exception, value, field)));
    }
    Ok(steps)
}
