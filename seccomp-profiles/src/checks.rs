//! Conditions on arguments, as decisions over 32-bit words.
//!
//! Promises exactly the meaning of the OCI operators over 64-bit (or, on 32-bit architectures,
//! 32-bit) unsigned arguments. Every answered test simplifies all that is left to decide, so no
//! word is asked the same thing twice.

use std::collections::{HashMap, HashSet};

use oci_spec::runtime::{LinuxSeccompArg, LinuxSeccompOperator as Op};

use crate::graph::{Comparison, Graph, NodeId};
use crate::ranges::{self, Segment};

/// Beyond this much work for one call (rules left, over all decisions), or this many questions
/// in a row, each rule is decided on its own: the result then grows with the number of
/// conditions only.
const MAX_WORK: usize = 100_000;
const MAX_DEPTH: usize = 200;

/// A test of one 32-bit word of `seccomp_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Test {
    /// Byte offset of the word.
    word: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Equal(u32),
    /// At least this, which is above 0.
    AtLeast(u32),
    /// The masked word equals the value; the mask is neither none nor all.
    Masked(u32, u32),
}

/// A part of a rule that is not decided yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Term {
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
pub(crate) struct Condition {
    /// 0 to 5.
    pub(crate) index: u32,
    pub(crate) op: Op,
    pub(crate) value: u64,
    /// Which bits of the argument count, for `SCMP_CMP_MASKED_EQ`.
    pub(crate) mask: u64,
}

impl Condition {
    /// MASKED_EQ has its mask in `value` and what to compare with in `valueTwo`.
    pub(crate) fn new(index: u32, arg: &LinuxSeccompArg) -> Self {
        let op = arg.op();
        let (value, mask) = match op {
            Op::ScmpCmpMaskedEq => (arg.value_two().unwrap_or(0), arg.value()),
            _ => (arg.value(), u64::MAX),
        };
        Self {
            index,
            op,
            value,
            mask,
        }
    }
}

/// All of them must hold.
pub(crate) type Conditions = Vec<Condition>;

/// What is left of one rule: it decides `node` once no terms are left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rest {
    terms: Vec<Term>,
    node: NodeId,
}

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

fn normalise(mut terms: Vec<Term>) -> Vec<Term> {
    terms.sort_unstable_by_key(order);
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
            None => self.terms.push(Term::Word {
                test: Test { word, kind },
                expect,
            }),
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
fn terms(conditions: &[Condition], wide: bool) -> Option<Vec<Term>> {
    let mut builder = Builder::default();
    for condition in conditions {
        let Condition {
            index,
            op,
            value,
            mask,
        } = *condition;
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
        _ => None,
    }
}

/// What is left of a term after an answer: decided, or a term.
enum Left {
    Decided(bool),
    Term(Term),
}

fn word_left(test: Test, expect: bool) -> Left {
    match constant(test.kind) {
        Some(holds) => Left::Decided(holds == expect),
        None => Left::Term(Term::Word { test, expect }),
    }
}

fn simplify_term(term: Term, known: Test, answer: bool) -> Left {
    match term {
        Term::Word { test, expect } => match implied(known, answer, test) {
            Some(holds) => Left::Decided(holds == expect),
            None => Left::Term(term),
        },
        Term::Differs { low, value } => {
            let high_test = Test {
                word: low + 4,
                kind: Kind::Equal((value >> 32) as u32),
            };
            match implied(known, answer, high_test) {
                Some(true) => word_left(
                    Test {
                        word: low,
                        kind: Kind::Equal(value as u32),
                    },
                    false,
                ),
                Some(false) => Left::Decided(true),
                None => match implied(
                    known,
                    answer,
                    Test {
                        word: low,
                        kind: Kind::Equal(value as u32),
                    },
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
            let low_test = Test {
                word: low,
                kind: Kind::AtLeast(value as u32),
            };
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
                (Some(false), _, _) => word_left(
                    Test {
                        word: high,
                        kind: Kind::AtLeast(high_value),
                    },
                    expect,
                ),
                _ => Left::Term(term),
            }
        }
    }
}

/// Decides the rules of one call.
struct Decider<'a> {
    graph: &'a mut Graph,
    default: NodeId,
    made: HashMap<(Vec<Rest>, Option<u32>), NodeId>,
    work: usize,
    depth: usize,
}

/// The work or the questions in a row became too many.
struct TooMuch;

/// The decision over `rules`, each with its conditions and its node, most restrictive first;
/// `default` where none holds. Expects nothing in the accumulator.
pub(crate) fn decide(
    graph: &mut Graph,
    rules: &[(&[Condition], NodeId)],
    default: NodeId,
    wide: bool,
) -> NodeId {
    let rest: Vec<Rest> = rules
        .iter()
        .filter_map(|(conditions, node)| {
            terms(conditions, wide).map(|terms| Rest { terms, node: *node })
        })
        .collect();
    let mut run = |rest: &[Rest], default: NodeId| {
        let made = HashMap::new();
        let mut decider = Decider {
            graph: &mut *graph,
            default,
            made,
            work: 0,
            depth: 0,
        };
        decider.node(rest.to_vec(), None)
    };
    if let Ok(root) = run(&rest, default) {
        return root;
    }
    // One rule has at most 12 terms, so it is never too much.
    rest.iter().rev().fold(default, |after, rule| {
        run(std::slice::from_ref(rule), after).unwrap_or(after)
    })
}

impl Decider<'_> {
    /// The decision over what is left, with the word at byte offset `loaded` in the accumulator.
    fn node(&mut self, rest: Vec<Rest>, loaded: Option<u32>) -> Result<NodeId, TooMuch> {
        let rest = self.cut(rest);
        let Some(first) = rest.first() else {
            return Ok(self.default);
        };
        let Some(term) = first.terms.first().copied() else {
            return Ok(first.node);
        };
        let key = (rest, loaded);
        if let Some(&node) = self.made.get(&key) {
            return Ok(node);
        }
        self.work += key.0.len();
        if self.work > MAX_WORK || self.depth > MAX_DEPTH {
            return Err(TooMuch);
        }
        let node = match self.ranges(&key.0) {
            Some((word, node)) if loaded == Some(word) => node,
            Some((word, node)) => self.graph.load(word, node),
            None => self.split(&key.0, term, loaded)?,
        };
        self.made.insert(key, node);
        Ok(node)
    }

    /// Drops what can no longer matter: rules after one that holds, and last ones that decide
    /// what the default does anyway.
    fn cut(&self, mut rest: Vec<Rest>) -> Vec<Rest> {
        if let Some(holds) = rest.iter().position(|rule| rule.terms.is_empty()) {
            rest.truncate(holds + 1);
        }
        let end = rest
            .last()
            .filter(|rule| rule.terms.is_empty())
            .map_or(self.default, |rule| rule.node);
        while rest.last().is_some_and(|rule| rule.node == end) {
            rest.pop();
        }
        if end != self.default {
            rest.push(Rest {
                terms: Vec::new(),
                node: end,
            });
        }
        let mut seen = HashSet::with_capacity(rest.len());
        rest.retain(|rule| seen.insert(rule.clone()));
        rest
    }

    /// Asks the first rule's first open question.
    fn split(&mut self, rest: &[Rest], term: Term, loaded: Option<u32>) -> Result<NodeId, TooMuch> {
        let test = match term {
            Term::Word { test, .. } => test,
            Term::Differs { low, value } | Term::AtLeast { low, value, .. } => Test {
                word: low + 4,
                kind: Kind::Equal((value >> 32) as u32),
            },
        };
        // Masking for a comparison spoils the accumulator; a bit test does not.
        let spoils = matches!(test.kind, Kind::Masked(mask, want)
            if want != 0 && !(want == mask && mask.is_power_of_two()));
        let kept = (!spoils).then_some(test.word);
        self.depth += 1;
        let yes = self.node(simplify(rest, test, true), kept)?;
        let no = self.node(simplify(rest, test, false), kept)?;
        self.depth -= 1;
        if yes == no {
            return Ok(yes);
        }
        let node = match test.kind {
            Kind::Equal(value) => self.graph.test(Comparison::Equal, value, yes, no),
            Kind::AtLeast(bound) => self.graph.test(Comparison::AtLeast, bound, yes, no),
            Kind::Masked(mask, 0) => self.graph.test(Comparison::AnyBit, mask, no, yes),
            Kind::Masked(mask, _) if !spoils => self.graph.test(Comparison::AnyBit, mask, yes, no),
            Kind::Masked(mask, want) => {
                let equal = self.graph.test(Comparison::Equal, want, yes, no);
                self.graph.and(mask, equal)
            }
        };
        Ok(if loaded == Some(test.word) {
            node
        } else {
            self.graph.load(test.word, node)
        })
    }

    /// Where all that is left is comparisons of one word: a search over its ranges.
    fn ranges(&mut self, rest: &[Rest]) -> Option<(u32, NodeId)> {
        let mut word = None;
        let mut bounds = vec![0];
        for term in rest.iter().flat_map(|rule| &rule.terms) {
            let Term::Word { test, .. } = term else {
                return None;
            };
            if *word.get_or_insert(test.word) != test.word {
                return None;
            }
            match test.kind {
                Kind::Equal(value) => {
                    bounds.push(value);
                    bounds.extend(value.checked_add(1));
                }
                Kind::AtLeast(bound) => bounds.push(bound),
                Kind::Masked(..) => return None,
            }
        }
        bounds.sort_unstable();
        bounds.dedup();
        let segments: Vec<Segment> = bounds
            .into_iter()
            .map(|first| Segment {
                first,
                node: self.at(rest, first),
            })
            .collect();
        Some((word?, ranges::search(self.graph, &segments)))
    }

    /// What the rules decide for one value of their word.
    fn at(&self, rest: &[Rest], value: u32) -> NodeId {
        let holds = |term: &Term| match term {
            Term::Word { test, expect } => {
                let holds = match test.kind {
                    Kind::Equal(want) => value == want,
                    Kind::AtLeast(bound) => value >= bound,
                    Kind::Masked(mask, want) => value & mask == want,
                };
                holds == *expect
            }
            Term::Differs { .. } | Term::AtLeast { .. } => false,
        };
        rest.iter()
            .find(|rule| rule.terms.iter().all(holds))
            .map_or(self.default, |rule| rule.node)
    }
}

/// What is left of the rules once a test is answered.
fn simplify(rest: &[Rest], known: Test, answer: bool) -> Vec<Rest> {
    let simplified = |rule: &Rest| {
        let mut terms = Vec::with_capacity(rule.terms.len());
        for term in &rule.terms {
            match simplify_term(*term, known, answer) {
                Left::Decided(true) => {}
                Left::Decided(false) => return None,
                Left::Term(term) => terms.push(term),
            }
        }
        Some(Rest {
            terms: normalise(terms),
            node: rule.node,
        })
    };
    rest.iter().filter_map(simplified).collect()
}
