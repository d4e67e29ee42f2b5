//! A search over ranges of one word, with as few tests as possible.
//!
//! Promises the node that the segments assign to the accumulator's value, for every value.
//! A boundary between two ranges costs one test; a single value inside of a range of another
//! verdict would cost two, so it is tested for by equality instead, after the search.

use crate::graph::{Comparison, Graph, NodeId};

/// A node for all values from `first` up to the next segment's first, or to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) first: u32,
    pub(crate) node: NodeId,
}

/// Most equality tests in a row before another boundary is worth its instruction: denied calls
/// walk them on every call, and so do all calls on kernels without the bitmap (before 5.11).
const LONGEST_CHAIN: usize = 8;

/// A range with one node but for some single values.
struct Range {
    first: u32,
    node: NodeId,
    exceptions: Vec<(u32, NodeId)>,
}

/// The search tree for the segments, which start at 0 and are in order. Expects the word in the
/// accumulator and leaves it there.
pub(crate) fn search(graph: &mut Graph, segments: &[Segment]) -> NodeId {
    let segments = merge(segments);
    let kept = keep(&segments);
    let ranges = gather(&segments, &kept);
    tree(graph, &ranges)
}

/// Joins neighbours with the same node.
fn merge(segments: &[Segment]) -> Vec<Segment> {
    let mut merged: Vec<Segment> = Vec::with_capacity(segments.len());
    for segment in segments {
        if merged.last().is_none_or(|last| last.node != segment.node) {
            merged.push(*segment);
        }
    }
    merged
}

/// Which segments are ranges of the search; the others, all single values, are exceptions.
///
/// The cheapest choice by dynamic programming over the last kept segment. Costs are (tests,
/// exceptions): among equally many tests, boundaries are better because they halve the search.
fn keep(segments: &[Segment]) -> Vec<bool> {
    let count = segments.len();
    let is_single =
        |at: usize| segments.get(at + 1).is_some_and(|next| next.first - segments[at].first == 1);
    // best[j]: the cost of all up to j where j is kept, and the kept one before it.
    let mut best: Vec<((usize, usize), Option<usize>)> = Vec::with_capacity(count);
    for at in 0..count {
        let mut choice = ((usize::MAX, usize::MAX), None);
        let mut skipped = 0;
        loop {
            let before = at - skipped;
            let Some(last) = before.checked_sub(1) else {
                if (skipped, skipped) < choice.0 {
                    choice = ((skipped, skipped), None);
                }
                break;
            };
            let ((tests, exceptions), _) = best[last];
            let boundary = usize::from(segments[last].node != segments[at].node);
            let cost = (tests + skipped + boundary, exceptions + skipped);
            if cost < choice.0 {
                choice = (cost, Some(last));
            }
            if !is_single(last) || skipped >= 64 {
                break;
            }
            skipped += 1;
        }
        best.push(choice);
    }
    // The last segment is kept: it reaches to the end of the words and is hardly ever single.
    let mut kept = vec![false; count];
    let mut at = count.checked_sub(1);
    while let Some(index) = at {
        kept[index] = true;
        at = best[index].1;
    }
    kept
}

/// The kept segments as ranges, joined where they have the same node, with their exceptions.
fn gather(segments: &[Segment], kept: &[bool]) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut waiting: Vec<(u32, NodeId)> = Vec::new();
    for (segment, kept) in segments.iter().zip(kept) {
        if !kept {
            waiting.push((segment.first, segment.node));
            continue;
        }
        let joins = ranges.last().is_some_and(|last| {
            last.node == segment.node && last.exceptions.len() + waiting.len() <= LONGEST_CHAIN
        });
        if joins && let Some(last) = ranges.last_mut() {
            last.exceptions.append(&mut waiting);
            continue;
        }
        let first = waiting.first().map_or(segment.first, |exception| exception.0);
        let exceptions = std::mem::take(&mut waiting);
        ranges.push(Range { first, node: segment.node, exceptions });
    }
    ranges
}

fn tree(graph: &mut Graph, ranges: &[Range]) -> NodeId {
    if let [range] = ranges {
        return range.exceptions.iter().rev().fold(range.node, |rest, &(value, node)| {
            graph.test(Comparison::Equal, value, node, rest)
        });
    }
    let middle = ranges.len() / 2;
    let (below, above) = ranges.split_at(middle);
    let no = tree(graph, below);
    let yes = tree(graph, above);
    graph.test(Comparison::AtLeast, ranges[middle].first, yes, no)
}

#[cfg(test)]
mod tests {
    use super::{Segment, search};
    use crate::graph::{Comparison, Graph, Node, NodeId};

    fn walk(graph: &Graph, mut at: NodeId, value: u32) -> u32 {
        loop {
            match graph.node(at) {
                Node::Return(verdict) => return verdict,
                Node::Test { comparison, k, yes, no } => {
                    let holds = match comparison {
                        Comparison::Equal => value == k,
                        Comparison::AtLeast => value >= k,
                        Comparison::AnyBit => value & k != 0,
                    };
                    at = if holds { yes } else { no };
                }
                Node::Load { .. } | Node::And { .. } => unreachable!("the search only tests"),
            }
        }
    }

    /// Builds the search for verdicts of 0.., the last one reaching to the end, and checks it.
    fn check(verdicts: &[u32]) -> usize {
        let mut graph = Graph::default();
        let segments: Vec<_> = (0..)
            .zip(verdicts)
            .map(|(first, &verdict)| Segment { first, node: graph.verdict(verdict) })
            .collect();
        let returns = graph.len();
        let root = search(&mut graph, &segments);
        for (value, &verdict) in (0..).zip(verdicts) {
            assert_eq!(walk(&graph, root, value), verdict, "{value} of {verdicts:?}");
        }
        assert_eq!(walk(&graph, root, u32::MAX), verdicts[verdicts.len() - 1]);
        graph.len() - returns
    }

    #[test]
    fn a_single_exception_costs_one_test() {
        assert_eq!(check(&[1, 1, 1, 2, 1, 1]), 1);
        assert_eq!(check(&[1, 2, 1, 2, 1]), 2);
        assert_eq!(check(&[2, 1, 1]), 1);
        assert_eq!(check(&[1, 1, 2, 2, 1]), 2);
        assert_eq!(check(&[7]), 0);
    }

    #[test]
    fn every_pattern_of_three_verdicts_is_decided() {
        for length in 1..=8 {
            for pattern in 0..3u32.pow(length) {
                let verdicts: Vec<u32> = (0..length).map(|at| pattern / 3u32.pow(at) % 3).collect();
                check(&verdicts);
            }
        }
    }

    #[test]
    fn long_alternations_are_decided() {
        let verdicts: Vec<u32> = (0..300).map(|at| at % 2).collect();
        check(&verdicts);
    }
}
