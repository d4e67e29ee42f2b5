//! Rules about limits: those of a container that is made, and changes of them.
//!
//! A limit has two places, its field and `unified`, which is written later. Both are held against the rule.

use brig_spec::{Cpu, Memory, Pids, Resources};

use super::{Facts, Present, controls, is_on, rule};
use crate::profile::Profile;
use crate::value::{Bytes, Processors};
use crate::verdict::Verdicts;

/// A container that is made: where no limit is asked for, the rule's holds.
pub(super) fn judge(
    resources: &mut Resources,
    profile: &Profile,
    facts: &Facts,
    verdicts: &mut Verdicts,
) {
    let of = |unlimitable| if unlimitable { Absent::CannotBeHad } else { Absent::IsNoLimit };
    let limit = of(facts.unlimitable.memory);
    let swap = if facts.limits_swap { limit } else { Absent::IsAsBefore };
    let asked = resources.memory.get_or_insert_default();
    memory(asked, [limit, swap], profile, verdicts);
    cpu(
        resources.cpu.get_or_insert_default(),
        of(facts.unlimitable.processors),
        &Present::default(),
        profile,
        verdicts,
    );
    let absent = of(facts.unlimitable.pids);
    pids(resources.pids.get_or_insert_default(), absent, profile, verdicts);
    resources.memory = resources.memory.filter(|memory| *memory != Memory::default());
    resources.cpu = resources.cpu.take().filter(|cpu| *cpu != Cpu::default());
    resources.pids = resources.pids.filter(|pids| *pids != Pids::default());
    unified(resources, &Present::default(), profile, verdicts);
}

/// A change: what it does not name stays as it is.
pub(super) fn judge_change(
    resources: &mut Resources,
    present: &Present,
    profile: &Profile,
    verdicts: &mut Verdicts,
) {
    if let Some(asked) = &mut resources.memory {
        memory(asked, [Absent::IsAsBefore; 2], profile, verdicts);
        swap_beside(asked, present, profile, verdicts);
    }
    if let Some(asked) = &mut resources.cpu {
        cpu(asked, Absent::IsAsBefore, present, profile, verdicts);
    }
    if let Some(asked) = &mut resources.pids {
        pids(asked, Absent::IsAsBefore, profile, verdicts);
    }
    unified(resources, present, profile, verdicts);
}

/// What a field that is not there means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    IsNoLimit,
    IsAsBefore,
    /// No limit, and none can be set.
    CannotBeHad,
}

/// Why a limit is not set where none is asked for.
pub(super) const NO_CGROUP: &str = "no cgroup in which the caller can set it is delegated to it";

/// A number of bytes or tasks, as it is asked for; none where it is no limit.
fn amount(asked: Option<i64>) -> Option<i64> {
    asked.filter(|amount| *amount >= 0)
}

/// An absent limit, and an absent limit of swap, mean what `absent` says.
fn memory(memory: &mut Memory, absent: [Absent; 2], profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, memory);
    let Some(max) = profile.memory.max.filter(|_| is_on(rule)) else { return };
    // `swap` is memory and swap together (config-linux.md "Memory"). Of both 0 is what Go cannot tell from none.
    let fields = [("limit", &mut memory.limit), ("swap", &mut memory.swap)];
    for ((name, field), absent) in fields.into_iter().zip(absent) {
        let asked = amount(*field).filter(|amount| *amount > 0);
        let is_kept = field.is_none() && absent == Absent::IsAsBefore;
        if !is_kept && asked.is_none_or(|asked| asked > max.0) {
            let asked = asked.map_or("no limit".to_owned(), |asked| Bytes(asked).to_string());
            let name = format!("linux.resources.memory.{name}");
            if field.is_none() && absent == Absent::CannotBeHad {
                verdicts.miss(rule, name, asked, NO_CGROUP);
            } else if verdicts.limit(rule, name, asked, max.to_string()) {
                *field = Some(max.0);
            }
        }
    }
    // Below the limit itself it is no use.
    if let Some(reservation) = amount(memory.reservation).filter(|asked| *asked > max.0) {
        let field = "linux.resources.memory.reservation";
        if verdicts.limit(rule, field, Bytes(reservation).to_string(), max.to_string()) {
            memory.reservation = Some(max.0);
        }
    }
}

/// More memory beside the swap that stays: cgroup v2 has limits of each, the rule one of both.
fn swap_beside(memory: &mut Memory, present: &Present, profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, memory);
    let Some(max) = profile.memory.max.filter(|_| is_on(rule)) else { return };
    let (Some(limit), None) = (amount(memory.limit).filter(|limit| *limit > 0), memory.swap) else {
        return;
    };
    let both = limit.saturating_add(present.swap_bytes);
    if limit <= max.0 && both > max.0 {
        let asked = format!("{} with the swap that it has", Bytes(both));
        if verdicts.limit(rule, "linux.resources.memory.limit", asked, max.to_string()) {
            memory.swap = Some(max.0);
        }
    }
}

/// The time in each period that `max` comes to.
fn quota_of(max: Processors, period: u64) -> i64 {
    i64::try_from(u128::from(period) * u128::from(max.0) / 1000).unwrap_or(i64::MAX)
}

/// A quota is a part of the period that is asked for, else of the one that there is.
fn cpu(
    cpu: &mut Cpu,
    absent: Absent,
    present: &Present,
    profile: &Profile,
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, processors);
    let Some(max) = profile.processors.max.filter(|_| is_on(rule)) else { return };
    let is_kept = cpu.quota.is_none() && cpu.period.is_none() && absent == Absent::IsAsBefore;
    let period = cpu.period.filter(|period| *period > 0).unwrap_or(present.period_us);
    let allowed = quota_of(max, period);
    let asked = amount(cpu.quota).filter(|quota| *quota > 0);
    if !is_kept && asked.is_none_or(|asked| asked > allowed) {
        let asked = asked.map_or("no limit".to_owned(), |asked| format!("{asked} of {period} µs"));
        const FIELD: &str = "linux.resources.cpu.quota";
        if cpu.quota.is_none() && absent == Absent::CannotBeHad {
            verdicts.miss(rule, FIELD, asked, NO_CGROUP);
        } else if verdicts.limit(rule, FIELD, asked, max.to_string()) {
            (cpu.quota, cpu.period) = (Some(allowed), Some(period));
        }
    }
}

fn pids(pids: &mut Pids, absent: Absent, profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, pids);
    let Some(max) = profile.pids.max.map(i64::from).filter(|_| is_on(rule)) else { return };
    let asked = amount(pids.limit);
    let is_kept = pids.limit.is_none() && absent == Absent::IsAsBefore;
    if !is_kept && asked.is_none_or(|asked| asked > max) {
        let asked = asked.map_or("no limit".to_owned(), |asked| asked.to_string());
        const FIELD: &str = "linux.resources.pids.limit";
        if pids.limit.is_none() && absent == Absent::CannotBeHad {
            verdicts.miss(rule, FIELD, asked, NO_CGROUP);
        } else if verdicts.limit(rule, FIELD, asked, max.to_string()) {
            pids.limit = Some(max);
        }
    }
}

/// What of cgroup v2's own files would raise a limit again is left out, and what no rule allows by name.
fn unified(
    resources: &mut Resources,
    present: &Present,
    profile: &Profile,
    verdicts: &mut Verdicts,
) {
    let max = profile.memory.max.map(|max| max.0);
    let (rule_memory, rule_cpu) = (rule!(profile, memory), rule!(profile, processors));
    let (rule_pids, rule_files) = (rule!(profile, pids), rule!(profile, cgroup_files));
    let files = profile.cgroup_files.allow.as_deref();
    let fields = resources.memory.unwrap_or_default();
    let above_0 = |field| amount(field).filter(|amount| *amount > 0);
    let (limit, both) = (above_0(fields.limit), above_0(fields.swap));
    // What is left for memory beside the swap, and for swap beside the memory: `memory.max` comes first in the map.
    let beside = limit.zip(both).map_or(present.swap_bytes, |(limit, both)| both - limit);
    let memory = max.map(|max| max.saturating_sub(beside));
    let mut swap = max.map(|max| max - limit.unwrap_or(max).min(max));
    let number = |text: &str, max: Option<i64>| {
        let fits =
            |max: i64| text.trim().parse::<i64>().is_ok_and(|asked| (0..=max).contains(&asked));
        max.is_none_or(fits)
    };
    resources.unified.retain(|file, value| {
        if controls::judges(file, profile) {
            return true;
        }
        let (rule, fits) = match file.as_str() {
            "memory.max" => {
                let fits = number(value, memory);
                let left =
                    max.zip(value.trim().parse().ok()).map(|(max, asked): (_, i64)| max - asked);
                swap = if fits { left } else { swap };
                (rule_memory, fits)
            }
            "memory.swap.max" => (rule_memory, number(value, swap)),
            "pids.max" => (rule_pids, number(value, profile.pids.max.map(i64::from))),
            "cpu.max" => {
                (rule_cpu, profile.processors.max.is_none_or(|max| within(value, present, max)))
            }
            other => {
                (rule_files, files.is_some_and(|files| files.iter().any(|file| file == other)))
            }
        };
        let field = format!("linux.resources.unified[{file:?}]");
        let allowed = if rule.0 == rule_files.0 { "as it is" } else { "the limit's own field" };
        fits || !is_on(rule) || !verdicts.limit(rule, field, format!("{value:?}"), allowed)
    });
}

/// Whether a value for `cpu.max`, `QUOTA PERIOD`, is no more than `max`.
fn within(value: &str, present: &Present, max: Processors) -> bool {
    let mut words = value.split_whitespace();
    let quota = words.next().and_then(|quota| quota.parse::<i64>().ok());
    let period = words.next().map_or(Some(present.period_us), |period| period.parse().ok());
    matches!((quota, period), (Some(quota @ 0..), Some(period)) if quota <= quota_of(max, period))
}
