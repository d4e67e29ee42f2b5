//! What one profile lets through that another does not.
//!
//! Promises a comparison of what the profiles decide, not of how they are written: two rules that
//! say the same in other words do not differ. Every difference has arguments that show it, which
//! were checked; where the search for them was given up, that is said.

use crate::action::{ALLOW, LOG, TRACE, USER_NOTIF, base};
use crate::terms::Condition;
use crate::verdict::{Verdict, Verdicts};
use crate::witness::{Found, Work, witness};

/// How far a call gets. The order is from less to more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freedom {
    /// It fails, or ends the process.
    Refused,
    /// Somebody is asked, who may let it run: a tracer, or the holder of the listener.
    Asked,
    /// It runs, perhaps logged.
    Runs,
}

impl Freedom {
    /// That of a `SECCOMP_RET_*` value.
    #[must_use]
    pub fn of(action: u32) -> Self {
        match base(action) {
            ALLOW | LOG => Self::Runs,
            TRACE | USER_NOTIF => Self::Asked,
            _ => Self::Refused,
        }
    }
}

/// A call, or part of its arguments, that gets further under the second profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gain {
    /// Where: all of them hold, and no stricter rule of the second profile applies.
    pub conditions: Vec<Condition>,
    /// What the first profile decides.
    pub before: u32,
    /// What the second decides.
    pub after: u32,
    /// Arguments that show it; none where the search for them was given up: then there may be
    /// none, and this is the last gain of the call that was looked for.
    pub example: Option<[u64; 6]>,
}

/// A call of which more gets through under the second profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The call; none for all numbers that this crate knows no call for.
    pub name: Option<&'static str>,
    /// All that the first profile says about it.
    pub before: Verdict,
    /// All that the second says.
    pub after: Verdict,
    /// What gets further.
    pub gains: Vec<Gain>,
}

/// The calls of which more gets through under `after` than under `before`, by name. Both must be
/// of the same architecture.
#[must_use]
pub fn differences(before: &Verdicts, after: &Verdicts) -> Vec<Difference> {
    let wide = before.arch().table().wide;
    let compared = |name, before: &Verdict, after: &Verdict| {
        let gains = gains(before, after, wide);
        let (before, after) = (before.clone(), after.clone());
        (!gains.is_empty()).then_some(Difference { name, before, after, gains })
    };
    let named = before.iter().zip(after.iter());
    let mut all: Vec<Difference> = named
        .filter_map(|((name, _, before), (_, _, after))| compared(Some(name), before, after))
        .collect();
    let unknown = before.iter().map(|(_, number, _)| number).max().map_or(0, |last| last + 1);
    all.extend(compared(None, before.of_number(unknown), after.of_number(unknown)));
    all
}

/// What gets further under `after`.
fn gains(before: &Verdict, after: &Verdict, wide: bool) -> Vec<Gain> {
    let mut gains: Vec<Gain> = Vec::new();
    let mut work = Work::for_one_call();
    for (then, then_at) in ways(after) {
        for (now, now_at) in ways(before) {
            if Freedom::of(then) <= Freedom::of(now) {
                continue;
            }
            let conditions = |verdict: &Verdict, at: usize| match verdict.alternatives.get(at) {
                Some(one) => one.conditions.clone(),
                None => Vec::new(),
            };
            let (mut hold, other) = (conditions(after, then_at), conditions(before, now_at));
            hold.extend(other.into_iter().filter(|one| !hold.contains(one)).collect::<Vec<_>>());
            let mut fail = at_odds(after, then_at, |one| one < Freedom::of(then));
            if now_at == before.alternatives.len() {
                // Stricter ones than this are gains too, so they need not fail.
                fail.extend(at_odds(before, now_at, |one| one >= Freedom::of(then)));
            }
            let example = match witness(&[&hold], &fail, wide, &mut work) {
                Found::Nothing => continue,
                Found::Arguments(args) => Some(args),
                Found::GaveUp => None,
            };
            gains.push(Gain { conditions: hold, before: now, after: then, example });
            if work.is_done() {
                return gains;
            }
        }
    }
    gains
}

/// Each way in which a call can be decided, with the index of its alternative; the last way is
/// that none holds.
fn ways(verdict: &Verdict) -> impl Iterator<Item = (u32, usize)> + '_ {
    let alternatives = verdict.alternatives.iter().map(|one| one.action);
    alternatives.chain([verdict.otherwise]).zip(0..)
}

/// The conditions of the alternatives before `end` whose freedom is such.
fn at_odds(verdict: &Verdict, end: usize, such: impl Fn(Freedom) -> bool) -> Vec<&[Condition]> {
    let before = verdict.alternatives.iter().take(end);
    before
        .filter(|one| such(Freedom::of(one.action)))
        .map(|one| one.conditions.as_slice())
        .collect()
}

/// One way in which a call can be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The index of the alternative; none where no alternative holds.
    pub alternative: Option<usize>,
    /// `SECCOMP_RET_*` with data.
    pub action: u32,
    /// Arguments for which it is decided so; none where the search for them was given up.
    pub example: Option<[u64; 6]>,
}

/// How a call can be decided where some of its arguments are known: each way that is possible.
#[must_use]
pub fn outcomes(verdict: &Verdict, known: &[Condition], wide: bool) -> Vec<Outcome> {
    let mut work = Work::for_one_call();
    let possible = ways(verdict).filter_map(|(action, at)| {
        let chosen = verdict.alternatives.get(at);
        let conditions = chosen.map_or(&[][..], |one| one.conditions.as_slice());
        let fail = at_odds(verdict, at, |_| true);
        let example = match witness(&[known, conditions], &fail, wide, &mut work) {
            Found::Nothing => return None,
            Found::Arguments(args) => Some(args),
            Found::GaveUp => None,
        };
        Some(Outcome { alternative: chosen.map(|_| at), action, example })
    });
    possible.collect()
}

#[cfg(test)]
mod tests;
