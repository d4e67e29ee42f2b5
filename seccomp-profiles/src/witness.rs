//! Arguments for which some conditions hold and others do not.
//!
//! Promises an exact answer: arguments that were checked, or the certainty that there are none;
//! or, where a profile is made to be hard, that it was given up. Never takes more than a bounded
//! time and memory.

use oci_spec::runtime::LinuxSeccompOperator as Op;

use crate::terms::Condition;

/// The outcome of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// These are such arguments.
    Arguments([u64; 6]),
    /// There are none.
    Nothing,
    /// The search was given up.
    GaveUp,
}

/// How much searching there may be, over all questions about one call.
pub(crate) struct Work(usize);

impl Work {
    /// So many lists of conditions may be looked at. Real profiles need some hundreds.
    pub(crate) const fn for_one_call() -> Self {
        Self(300_000)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0 == 0
    }
}

/// What one argument may still be.
#[derive(Clone, Copy)]
struct Range {
    low: u64,
    high: u64,
    /// The bits of `mask` are those of `bits`.
    mask: u64,
    bits: u64,
}

type Ranges = [Range; 6];

/// Arguments for which all conditions of `hold` hold, and of each of `fail` at least one does not.
pub(crate) fn witness(
    hold: &[&[Condition]],
    fail: &[&[Condition]],
    wide: bool,
    work: &mut Work,
) -> Found {
    let high = if wide { u64::MAX } else { u64::from(u32::MAX) };
    let mut start: Ranges = [Range { low: 0, high, mask: 0, bits: 0 }; 6];
    let mut differ = Vec::new();
    for condition in hold.iter().copied().flatten() {
        match condition.op {
            // To differ is to fail at being equal.
            Op::ScmpCmpNe => differ.push(Condition { op: Op::ScmpCmpEq, ..*condition }),
            _ => start[condition.index as usize].narrow(condition),
        }
    }
    let all_fail = || fail.iter().copied().chain(differ.iter().map(std::slice::from_ref));
    let mut open = vec![start];
    while let Some(ranges) = open.pop() {
        let Some(args) = lowest(&ranges) else {
            continue;
        };
        let holds = |all: &&[Condition]| all.iter().all(|one| one.holds(&args));
        work.0 = work.0.saturating_sub(fail.len() + differ.len() + 1);
        match all_fail().find(holds) {
            None => return Found::Arguments(args),
            Some(_) if work.is_done() => return Found::GaveUp,
            Some(wrong) => split(&ranges, wrong, &mut open),
        }
    }
    Found::Nothing
}

fn lowest(ranges: &Ranges) -> Option<[u64; 6]> {
    let mut args = [0; 6];
    for (arg, range) in args.iter_mut().zip(ranges) {
        *arg = range.lowest()?;
    }
    Some(args)
}

/// Adds the parts of `ranges` in which one of `conditions` fails. Parts do not overlap.
fn split(ranges: &Ranges, conditions: &[Condition], open: &mut Vec<Ranges>) {
    let mut rest = *ranges;
    let mut parts = Vec::new();
    for condition in conditions {
        let index = condition.index as usize;
        for part in rest[index].without(condition) {
            let mut ranges = rest;
            ranges[index] = part;
            parts.push(ranges);
        }
        if condition.op != Op::ScmpCmpNe {
            rest[index].narrow(condition);
        }
    }
    // Small values make examples that people can read, so they are tried first.
    open.extend(parts.into_iter().rev());
}

impl Range {
    /// What is left where the condition, which is not `NE`, holds.
    fn narrow(&mut self, condition: &Condition) {
        let value = condition.value;
        let nothing = Self { low: 1, high: 0, ..*self };
        match condition.op {
            Op::ScmpCmpEq => *self = self.at_least(value).at_most(value),
            Op::ScmpCmpGe => *self = self.at_least(value),
            Op::ScmpCmpLe => *self = self.at_most(value),
            Op::ScmpCmpGt => *self = value.checked_add(1).map_or(nothing, |v| self.at_least(v)),
            Op::ScmpCmpLt => *self = value.checked_sub(1).map_or(nothing, |v| self.at_most(v)),
            Op::ScmpCmpMaskedEq => *self = self.with_bits(condition.mask, value),
            Op::ScmpCmpNe => {}
        }
    }

    fn at_least(self, low: u64) -> Self {
        Self { low: self.low.max(low), ..self }
    }

    fn at_most(self, high: u64) -> Self {
        Self { high: self.high.min(high), ..self }
    }

    fn with_bits(self, mask: u64, bits: u64) -> Self {
        if (self.bits ^ bits) & self.mask & mask != 0 || bits & !mask != 0 {
            return Self { low: 1, high: 0, ..self };
        }
        Self { mask: self.mask | mask, bits: self.bits | bits, ..self }
    }

    /// The parts in which the condition fails.
    fn without(self, condition: &Condition) -> Vec<Self> {
        let Condition { op, value, mask, .. } = *condition;
        let below = value.checked_sub(1).map(|below| self.at_most(below));
        let above = value.checked_add(1).map(|above| self.at_least(above));
        match op {
            Op::ScmpCmpEq => below.into_iter().chain(above).collect(),
            Op::ScmpCmpNe => vec![self.at_least(value).at_most(value)],
            Op::ScmpCmpGe => below.into_iter().collect(),
            Op::ScmpCmpLe => above.into_iter().collect(),
            Op::ScmpCmpGt => vec![self.at_most(value)],
            Op::ScmpCmpLt => vec![self.at_least(value)],
            Op::ScmpCmpMaskedEq => {
                // One bit differs, and all of the mask above it agree.
                let bits = (0..64).filter(|bit| mask >> bit & 1 == 1);
                bits.map(|bit| {
                    self.with_bits(mask & (u64::MAX << bit), (value ^ 1 << bit) & (u64::MAX << bit))
                })
                .collect()
            }
        }
    }

    /// The smallest value.
    fn lowest(&self) -> Option<u64> {
        let Self { low, high, mask, bits } = *self;
        let below = |bit: u32| (1u64 << bit) - 1;
        let differing = (low ^ bits) & mask;
        let value = if differing == 0 {
            low
        } else {
            let top = 63 - differing.leading_zeros();
            if bits >> top & 1 == 1 {
                // Above the bit all is as in `low`; below it as little as may be.
                low & !below(top) | 1 << top | bits & below(top)
            } else {
                // A free bit above must grow by one.
                let free = (top + 1..64).find(|bit| (mask | low) >> bit & 1 == 0)?;
                low & !below(free) | 1 << free | bits & below(free)
            }
        };
        (value >= low && value <= high).then_some(value)
    }
}

#[cfg(test)]
mod tests;
