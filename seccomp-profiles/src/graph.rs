//! The filter as a decision graph: equal decisions are one node, whoever needs them.
//!
//! Promises that nodes only lead to nodes made before them, so the graph has no cycles and its
//! order of making is an order of laying out. Says nothing about instructions.

use std::collections::HashMap;

/// A node of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) usize);

/// How the accumulator is compared with a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Comparison {
    Equal,
    AtLeast,
    AnyBit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    /// End with a verdict.
    Return(u32),
    /// Load the word at a byte offset of `seccomp_data`, go on at `next`.
    Load { offset: u32, next: NodeId },
    /// And the accumulator with `mask`, go on at `next`.
    And { mask: u32, next: NodeId },
    /// Go on at one of two nodes.
    Test { comparison: Comparison, k: u32, yes: NodeId, no: NodeId },
}

/// A decision graph under construction.
#[derive(Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    index: HashMap<Node, NodeId>,
    /// The last verdict asked for: most calls of a profile have the same one.
    last_verdict: Option<(u32, NodeId)>,
}

impl Graph {
    pub(crate) fn node(&self, id: NodeId) -> Node {
        self.nodes[id.0]
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn verdict(&mut self, value: u32) -> NodeId {
        match self.last_verdict {
            Some((last, id)) if last == value => id,
            _ => {
                let id = self.add(Node::Return(value));
                self.last_verdict = Some((value, id));
                id
            }
        }
    }

    /// A load; none where what follows is decided already.
    pub(crate) fn load(&mut self, offset: u32, next: NodeId) -> NodeId {
        match self.node(next) {
            Node::Return(_) | Node::Load { .. } => next,
            _ => self.add(Node::Load { offset, next }),
        }
    }

    pub(crate) fn and(&mut self, mask: u32, next: NodeId) -> NodeId {
        match self.node(next) {
            Node::Return(_) | Node::Load { .. } => next,
            _ => self.add(Node::And { mask, next }),
        }
    }

    /// A test; none where both ways lead to the same node.
    pub(crate) fn test(
        &mut self,
        comparison: Comparison,
        k: u32,
        yes: NodeId,
        no: NodeId,
    ) -> NodeId {
        if yes == no {
            return yes;
        }
        self.add(Node::Test { comparison, k, yes, no })
    }

    /// Marks the nodes that `root` leads to, and says how many of them were not marked.
    pub(crate) fn mark(&self, root: NodeId, marks: &mut Vec<bool>) -> usize {
        marks.resize(self.nodes.len(), false);
        let (mut new, mut open) = (0, vec![root]);
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut marks[id.0], true) {
                continue;
            }
            new += 1;
            match self.node(id) {
                Node::Return(_) => {}
                Node::Load { next, .. } | Node::And { next, .. } => open.push(next),
                Node::Test { yes, no, .. } => open.extend([yes, no]),
            }
        }
        new
    }

    fn add(&mut self, node: Node) -> NodeId {
        let nodes = &mut self.nodes;
        *self.index.entry(node).or_insert_with(|| {
            nodes.push(node);
            NodeId(nodes.len() - 1)
        })
    }
}
