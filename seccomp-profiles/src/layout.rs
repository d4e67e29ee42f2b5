//! From the decision graph to instructions.
//!
//! Promises a program whose jumps all lead forward and within reach: conditional jumps skip at
//! most 255 instructions, so a target further away is reached over a jump, or, being a return,
//! is repeated nearby. Nodes lead to older nodes only; laid out from the last instruction to
//! the first, in order of age, every target is in place before the first jump to it.

use crate::graph::{Comparison, Graph, Node, NodeId};
use crate::instruction::{
    ALU_AND_K, Instruction, JMP_JA, JMP_JEQ_K, JMP_JGE_K, JMP_JSET_K, LD_W_ABS, RET_K,
};

/// The program that starts at `root`.
pub(crate) fn lay_out(graph: &Graph, root: NodeId) -> Vec<Instruction> {
    let mut layout = Layout { graph, reversed: Vec::new(), places: vec![None; root.0 + 1] };
    for (at, reachable) in reachable(graph, root).into_iter().enumerate() {
        if reachable {
            layout.place(NodeId(at));
        }
    }
    layout.reversed.reverse();
    layout.reversed
}

fn reachable(graph: &Graph, root: NodeId) -> Vec<bool> {
    let mut marks = vec![false; root.0 + 1];
    marks[root.0] = true;
    for at in (0..=root.0).rev() {
        if !marks[at] {
            continue;
        }
        match graph.node(NodeId(at)) {
            Node::Return(_) => {}
            Node::Load { next, .. } | Node::And { next, .. } => marks[next.0] = true,
            Node::Test { yes, no, .. } => {
                marks[yes.0] = true;
                marks[no.0] = true;
            }
        }
    }
    marks
}

struct Layout<'a> {
    graph: &'a Graph,
    /// The program from its end.
    reversed: Vec<Instruction>,
    /// For each node, the index in `reversed` of the nearest way to it.
    places: Vec<Option<usize>>,
}

impl Layout<'_> {
    fn place(&mut self, id: NodeId) {
        let instruction = match self.graph.node(id) {
            Node::Return(value) => Instruction::statement(RET_K, value),
            Node::Load { offset, next } => {
                self.fall_into(next);
                Instruction::statement(LD_W_ABS, offset)
            }
            Node::And { mask, next } => {
                self.fall_into(next);
                Instruction::statement(ALU_AND_K, mask)
            }
            Node::Test { comparison, k, yes, no } => {
                let (jt, jf) = self.skips(yes, no);
                let code = match comparison {
                    Comparison::Equal => JMP_JEQ_K,
                    Comparison::AtLeast => JMP_JGE_K,
                    Comparison::AnyBit => JMP_JSET_K,
                };
                Instruction { code, jt, jf, k }
            }
        };
        self.push(id, instruction);
    }

    fn push(&mut self, id: NodeId, instruction: Instruction) {
        self.places[id.0] = Some(self.reversed.len());
        self.reversed.push(instruction);
    }

    /// How many instructions the next one placed must skip to come to `target`.
    fn distance(&self, target: NodeId) -> usize {
        // Targets are older than what leads to them, and all that is reachable is placed.
        self.places[target.0].map_or(0, |place| self.reversed.len() - place - 1)
    }

    /// Makes the next instruction placed go on at `target` without a jump of its own.
    fn fall_into(&mut self, target: NodeId) {
        if self.distance(target) > 0 {
            self.relay(target);
        }
    }

    /// Skips within reach of a conditional jump.
    fn skips(&mut self, yes: NodeId, no: NodeId) -> (u8, u8) {
        loop {
            match (u8::try_from(self.distance(yes)), u8::try_from(self.distance(no))) {
                (Ok(jt), Ok(jf)) => return (jt, jf),
                (Err(_), _) => self.relay(yes),
                (_, Err(_)) => self.relay(no),
            }
        }
    }

    /// Places another way to `target`.
    fn relay(&mut self, target: NodeId) {
        let instruction = match self.graph.node(target) {
            Node::Return(value) => Instruction::statement(RET_K, value),
            // A program is far shorter than 2³² instructions.
            _ => Instruction::statement(JMP_JA, self.distance(target) as u32),
        };
        self.push(target, instruction);
    }
}
