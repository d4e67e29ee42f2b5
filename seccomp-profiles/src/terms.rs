//! Conditions on arguments, as questions about 32-bit words, and what their answers leave.
//!
//! Promises exactly the meaning of the OCI operators over 64-bit (or, on 32-bit architectures,
//! 32-bit) unsigned arguments. Decides nothing about which question comes first.

use oci_spec::runtime::{LinuxSeccompArg, LinuxSeccompOperator as Op};

/// A test of one 32-bit word of `seccomp_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Test {
    /// Byte offset of the word.
    pub(crate) word: u32,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Equal(u32),
    /// At least this, which is above 0.
    AtLeast(u32),
    /// The masked word equals the value; the mask is neither none nor all.
    Masked(u32, u32),
}

/// A part of a rule that is not decided yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Term {
    /// The test's answer must be `expect`.
    Word { test: Test, expect: bool },
    /// The argument, whose low word is at `low`, must not equal the value.
    Differs { low: u32, value: u64 },
    /// The argument must be at least the value, which has a low word above 0; or, if not
    /// `expect`, below it.
    AtLeast { low: u32, value: u64, expect: bool },
}

/// One condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub index: u32,
    /// How it is compared.
    pub op: Op,
    /// With what; for `SCMP_CMP_MASKED_EQ` this is the profile's `valueTwo`.
    pub value: u64,
    /// Which bits of the argument count, for `SCMP_CMP_MASKED_EQ`; elsewhere all.
    pub mask: u64,
}

impl Condition {
    /// MASKED_EQ has its mask in `value` and what to compare with in `valueTwo`.
    pub(crate) fn new(index: u32, arg: &LinuxSeccompArg) -> Self {
        let op = arg.op();
        let (value, mask) = match op {
            Op::ScmpCmpMaskedEq => (arg.value_two().unwrap_or(0), arg.value()),
            _ => (arg.value(), u64::MAX),
        };
        Self { index, op, value, mask }
    }
}

/// All of them must hold.
pub(crate) type Conditions = Vec<Condition>;

const ARGS_OFFSET: u32 = 16;

/// The answer to a test that is the same for every word.
fn constant(kind: Kind) -> Option<bool> {
    match kind {
        Kind::AtLeast(0) => Some(true),
        Kind::Masked(0, want) => Some(want == 0),
        _ => None,
    }
}

/// The order in which terms are asked about: by argument, the high word first, because most
/// values are small and all rules of a call then share its answer.
fn order(term: &Term) -> (u32, Term) {
    let word = match *term {
        Term::Word { test, .. } => test.word,
        Term::Differs { low, .. } | Term::AtLeast { low, .. } => low + 4,
    };
    (word ^ 4, *term)
}

/// Once in the program, and not wherever sorting compares.
#[inline(never)]
fn compare(one: &Term, other: &Term) -> std::cmp::Ordering {
    order(one).cmp(&order(other))
}

pub(crate) fn normalise(mut terms: Vec<Term>) -> Vec<Term> {
    terms.sort_unstable_by(compare);
    terms.dedup();
    terms
}

/// Terms of one rule; none if it can never hold.
#[derive(Default)]
struct Builder {
    terms: Vec<Term>,
    never: bool,
}

impl Builder {
    fn word(&mut self, word: u32, kind: Kind, expect: bool) {
        let kind = match kind {
            Kind::Masked(u32::MAX, value) => Kind::Equal(value),
            kind => kind,
        };
        match constant(kind) {
            Some(holds) => self.never |= holds != expect,
            None => self.terms.push(Term::Word { test: Test { word, kind }, expect }),
        }
    }

    /// The argument is at least `value`, or below it if not `expect`.
    fn at_least(&mut self, low: u32, value: u64, expect: bool) {
        let high_value = (value >> 32) as u32;
        if value as u32 == 0 {
            self.word(low + 4, Kind::AtLeast(high_value), expect);
        } else {
            self.terms.push(Term::AtLeast { low, value, expect });
        }
    }

    fn wide(&mut self, low: u32, op: Op, value: u64, mask: u64) {
        let halves = |value: u64| (value as u32, (value >> 32) as u32);
        match op {
            Op::ScmpCmpEq => self.wide(low, Op::ScmpCmpMaskedEq, value, u64::MAX),
            Op::ScmpCmpMaskedEq => {
                let ((value_low, value_high), (mask_low, mask_high)) =
                    (halves(value & mask), halves(mask));
                self.word(low + 4, Kind::Masked(mask_high, value_high), true);
                self.word(low, Kind::Masked(mask_low, value_low), true);
            }
            Op::ScmpCmpNe => self.terms.push(Term::Differs { low, value }),
            Op::ScmpCmpGe => self.at_least(low, value, true),
            Op::ScmpCmpLt => self.at_least(low, value, false),
            Op::ScmpCmpGt | Op::ScmpCmpLe => {
                let expect = op == Op::ScmpCmpGt;
                match value.checked_add(1) {
                    Some(above) => self.at_least(low, above, expect),
                    None => self.never |= expect,
                }
            }
        }
    }

    fn narrow(&mut self, low: u32, op: Op, value: u32, mask: u32) {
        match op {
            Op::ScmpCmpEq => self.word(low, Kind::Equal(value), true),
            Op::ScmpCmpNe => self.word(low, Kind::Equal(value), false),
            Op::ScmpCmpMaskedEq => self.word(low, Kind::Masked(mask, value & mask), true),
            Op::ScmpCmpGe => self.word(low, Kind::AtLeast(value), true),
            Op::ScmpCmpLt => self.word(low, Kind::AtLeast(value), false),
            Op::ScmpCmpGt | Op::ScmpCmpLe => {
                let expect = op == Op::ScmpCmpGt;
                match value.checked_add(1) {
                    Some(above) => self.word(low, Kind::AtLeast(above), expect),
                    None => self.never |= expect,
                }
            }
        }
    }
}

/// The terms of a rule's conditions, or none if they can never all hold.
pub(crate) fn terms(conditions: &[Condition], wide: bool) -> Option<Vec<Term>> {
    let mut builder = Builder::default();
    for condition in conditions {
        let Condition { index, op, value, mask } = *condition;
        let low = ARGS_OFFSET + 8 * index;
        if wide {
            builder.wide(low, op, value, mask);
        } else {
            builder.narrow(low, op, value as u32, mask as u32);
        }
    }
    (!builder.never).then(|| normalise(builder.terms))
}

/// What an answered test says about another.
fn implied(known: Test, answer: bool, asked: Test) -> Option<bool> {
    if known.word != asked.word {
        return None;
    }
    match (known.kind, answer, asked.kind) {
        (known, _, asked) if known == asked => Some(answer),
        (Kind::Equal(_), true, Kind::Equal(_)) => Some(false),
        (Kind::Equal(value), true, Kind::AtLeast(bound)) => Some(value >= bound),
        (Kind::Equal(value), true, Kind::Masked(mask, want)) => Some(value & mask == want),
        // Not zero is at least one; not the largest is below it.
        (Kind::Equal(0), false, Kind::AtLeast(1)) => Some(true),
        (Kind::Equal(u32::MAX), false, Kind::AtLeast(u32::MAX)) => Some(false),
        (Kind::AtLeast(1), false, Kind::Masked(_, want)) => Some(want == 0),
        (Kind::AtLeast(bound), true, Kind::AtLeast(other)) if other <= bound => Some(true),
        (Kind::AtLeast(bound), false, Kind::AtLeast(other)) if other >= bound => Some(false),
        (Kind::AtLeast(bound), true, Kind::Equal(value)) if value < bound => Some(false),
        (Kind::AtLeast(1), false, Kind::Equal(value)) => Some(value == 0),
        (Kind::AtLeast(bound), false, Kind::Equal(value)) if value >= bound => Some(false),
        (Kind::AtLeast(u32::MAX), true, Kind::Equal(value)) => Some(value == u32::MAX),
        (Kind::Masked(mask, want), true, Kind::Equal(value)) if value & mask != want => Some(false),
        // Of one bit there are two values.
        (Kind::Masked(bit, want), false, Kind::Masked(..)) if bit.is_power_of_two() => {
            let other = Kind::Masked(bit, want ^ bit);
            implied(Test { kind: other, ..known }, true, asked)
        }
        (Kind::Masked(mask, want), true, Kind::Masked(other, value)) => {
            let shared = mask & other;
            if (want ^ value) & shared != 0 {
                Some(false)
            } else {
                (shared == other).then_some(true)
            }
        }
        _ => None,
    }
}

/// What is left of a term after an answer: decided, or a term.
pub(crate) enum Left {
    Decided(bool),
    Term(Term),
}

fn word_left(test: Test, expect: bool) -> Left {
    match constant(test.kind) {
        Some(holds) => Left::Decided(holds == expect),
        None => Left::Term(Term::Word { test, expect }),
    }
}

pub(crate) fn simplify_term(term: Term, known: Test, answer: bool) -> Left {
    match term {
        Term::Word { test, expect } => match implied(known, answer, test) {
            Some(holds) => Left::Decided(holds == expect),
            None => Left::Term(term),
        },
        Term::Differs { low, value } => {
            let high_test = Test { word: low + 4, kind: Kind::Equal((value >> 32) as u32) };
            match implied(known, answer, high_test) {
                Some(true) => word_left(Test { word: low, kind: Kind::Equal(value as u32) }, false),
                Some(false) => Left::Decided(true),
                None => match implied(
                    known,
                    answer,
                    Test { word: low, kind: Kind::Equal(value as u32) },
                ) {
                    Some(true) => word_left(high_test, false),
                    Some(false) => Left::Decided(true),
                    None => Left::Term(term),
                },
            }
        }
        Term::AtLeast { low, value, expect } => {
            let high = low + 4;
            let high_value = (value >> 32) as u32;
            let low_test = Test { word: low, kind: Kind::AtLeast(value as u32) };
            let implied_about = |kind| implied(known, answer, Test { word: high, kind });
            let above = match high_value.checked_add(1) {
                Some(more) => implied_about(Kind::AtLeast(more)),
                None => Some(false),
            };
            let reaches = match high_value {
                0 => Some(true),
                bound => implied_about(Kind::AtLeast(bound)),
            };
            match (implied_about(Kind::Equal(high_value)), above, reaches) {
                (Some(true), _, _) => word_left(low_test, expect),
                (_, Some(true), _) => Left::Decided(expect),
                (_, _, Some(false)) => Left::Decided(!expect),
                (Some(false), _, _) => {
                    word_left(Test { word: high, kind: Kind::AtLeast(high_value) }, expect)
                }
                _ => Left::Term(term),
            }
        }
    }
}

#[cfg(test)]
mod tests;
