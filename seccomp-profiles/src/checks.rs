//! The decision over the conditions of one call's rules.
//!
//! Promises that the first rule all of whose conditions hold decides. Every answered question
//! simplifies all that is left to decide, so no word is asked the same thing twice. Never takes
//! more than a bounded time and stack, whatever the profile.

use std::collections::{HashMap, HashSet};

use crate::graph::{Comparison, Graph, NodeId};
use crate::ranges::{self, Segment};
use crate::terms::{Condition, Kind, Left, Term, Test, normalise, simplify_term, terms};

/// Beyond this much work for one call (rules left, over all decisions), or this many questions
/// in a row, each rule is decided on its own: the result then grows with the number of
/// conditions only.
const MAX_WORK: usize = 100_000;
const MAX_DEPTH: usize = 200;
/// The same for all calls of all architectures of a filter: what a file of 1 MiB asks for would else take minutes. It is
/// three calls that need all of their own, and more than a profile needs that the kernel takes.
const MAX_WORK_OF_FILTER: usize = 3 * MAX_WORK;

/// The work that has gone into a filter.
#[derive(Debug, Default)]
pub(crate) struct Work(usize);

/// What is left of one rule: it decides `node` once no terms are left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rest {
    terms: Vec<Term>,
    node: NodeId,
}

/// Decides the rules of one call.
struct Decider<'a> {
    graph: &'a mut Graph,
    default: NodeId,
    made: HashMap<(Vec<Rest>, Option<u32>), NodeId>,
    work: usize,
    limit: usize,
    depth: usize,
}

/// The work or the questions in a row became too many.
struct TooMuch;

/// The decision over `rules`, each with its conditions and its node, most restrictive first;
/// `default` where none holds. Expects nothing in the accumulator. What it takes is added to `spent`.
pub(crate) fn decide(
    graph: &mut Graph,
    rules: &[(&[Condition], NodeId)],
    default: NodeId,
    wide: bool,
    spent: &mut Work,
) -> NodeId {
    let rest: Vec<Rest> = rules
        .iter()
        .filter_map(|(conditions, node)| {
            terms(conditions, wide).map(|terms| Rest { terms, node: *node })
        })
        .collect();
    let limit = MAX_WORK.min(MAX_WORK_OF_FILTER.saturating_sub(spent.0));
    let mut run = |rest: &[Rest], default: NodeId, limit: usize| {
        let made = HashMap::new();
        let mut decider = Decider { graph: &mut *graph, default, made, work: 0, limit, depth: 0 };
        let root = decider.node(rest.to_vec(), None);
        spent.0 += decider.work;
        root
    };
    if let Ok(root) = run(&rest, default, limit) {
        return root;
    }
    // One rule has at most 12 terms, so it is never too much.
    rest.iter().rev().fold(default, |after, rule| {
        run(std::slice::from_ref(rule), after, MAX_WORK).unwrap_or(after)
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
        if self.work > self.limit || self.depth > MAX_DEPTH {
            return Err(TooMuch);
        }
        let node = match self.ranges(&key.0) {
            Some((word, node)) if loaded == Some(word) => node,
            Some((word, node)) => self.graph.load(word, node),
            None => self.split(&key.0, shortcut(&key.0, term).unwrap_or(term), loaded)?,
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
        let end =
            rest.last().filter(|rule| rule.terms.is_empty()).map_or(self.default, |rule| rule.node);
        while rest.last().is_some_and(|rule| rule.node == end) {
            rest.pop();
        }
        if end != self.default {
            rest.push(Rest { terms: Vec::new(), node: end });
        }
        let mut seen = HashSet::with_capacity(rest.len());
        rest.retain(|rule| seen.insert(rule.clone()));
        rest
    }

    /// Asks the first rule's first open question.
    fn split(&mut self, rest: &[Rest], term: Term, loaded: Option<u32>) -> Result<NodeId, TooMuch> {
        let test = match term {
            Term::Word { test, .. } => test,
            Term::Differs { low, value } | Term::AtLeast { low, value, .. } => {
                Test { word: low + 4, kind: Kind::Equal((value >> 32) as u32) }
            }
        };
        let spoils = spoils(test.kind);
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
        Ok(if loaded == Some(test.word) { node } else { self.graph.load(test.word, node) })
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
        let segments: Vec<Segment> =
            bounds.into_iter().map(|first| Segment { first, node: self.at(rest, first) }).collect();
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
        rest.iter().find(|rule| rule.terms.iter().all(holds)).map_or(self.default, |rule| rule.node)
    }
}

/// Masking for a comparison spoils the accumulator; a bit test does not.
fn spoils(kind: Kind) -> bool {
    matches!(kind, Kind::Masked(mask, want)
        if want != 0 && !(want == mask && mask.is_power_of_two()))
}

/// Before a question that takes three instructions, one of a single instruction that may end all: a later rule's only
/// one, whose answer says as well that no earlier rule holds.
fn shortcut(rest: &[Rest], first: Term) -> Option<Term> {
    let is_dear = |term: &Term| matches!(term, Term::Word { test, .. } if spoils(test.kind));
    if !is_dear(&first) {
        return None;
    }
    rest.iter().skip(1).find_map(|rule| match rule.terms.as_slice() {
        [term @ Term::Word { test, expect }] if !is_dear(term) => {
            let left = simplify(rest, *test, *expect);
            left.first().is_some_and(|rule| rule.terms.is_empty()).then_some(*term)
        }
        _ => None,
    })
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
        Some(Rest { terms: normalise(terms), node: rule.node })
    };
    rest.iter().filter_map(simplified).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxSeccompOperator as Operator;

    /// Conditions on two arguments, of which each halves what is left to ask.
    fn conditions(count: u64) -> Vec<Vec<Condition>> {
        let masked =
            |index, mask| Condition { index, op: Operator::ScmpCmpMaskedEq, value: mask, mask };
        (1..=count).map(|at| at | 1 << 20).map(|at| vec![masked(0, at), masked(1, at)]).collect()
    }

    #[test]
    fn many_calls_cost_no_more_than_a_few() {
        let mut graph = Graph::default();
        let default = graph.verdict(0);
        let all = conditions(400);
        let rules: Vec<(&[Condition], NodeId)> = (1..)
            .zip(&all)
            .map(|(verdict, conditions)| (conditions.as_slice(), graph.verdict(verdict)))
            .collect();
        let mut spent = Work::default();
        let mut costs = Vec::new();
        for _ in 0..20 {
            let before = spent.0;
            decide(&mut graph, &rules, default, false, &mut spent);
            costs.push(spent.0 - before);
        }
        assert!(costs[0] > 50_000, "each alone takes much: {costs:?}");
        assert!(spent.0 < MAX_WORK_OF_FILTER + 20 * costs[19], "{costs:?}");
        // A rule has few terms, and is decided in so many steps.
        assert!(costs[19] <= 400 * 4, "linear: {costs:?}");
    }
}
