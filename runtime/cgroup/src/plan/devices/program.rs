//! Device rules on cgroup v2: the BPF program that decides.
//!
//! Reference: bpf(2), `struct bpf_cgroup_dev_ctx` in linux/bpf.h.

use super::{ALL, Rule, Rules};

/// An eBPF instruction of the few kinds that the program needs (bpf standardization
/// "instruction-set.rst"): opcode, registers, jump offset, immediate.
#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    jump: Jump,
    value: u32,
}

/// Where a jump goes; resolved when the program is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Jump {
    None,
    /// A fixed offset: the field of a load.
    Offset(u8),
    /// The start of the code after rule number so-and-so.
    After(usize),
    Allow,
    Deny,
}

pub(super) const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
pub(super) const MOVE: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
pub(super) const MOVE_REGISTER: u8 = 0xbf; // BPF_ALU64 | BPF_MOV | BPF_X
pub(super) const AND: u8 = 0x57; // BPF_ALU64 | BPF_AND | BPF_K
pub(super) const SHIFT_RIGHT: u8 = 0x77; // BPF_ALU64 | BPF_RSH | BPF_K
pub(super) const JUMP_EQUAL: u8 = 0x16; // BPF_JMP32 | BPF_JEQ | BPF_K (Linux 5.1)
pub(super) const JUMP_NOT_EQUAL: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
pub(super) const JUMP_SET: u8 = 0x46; // BPF_JMP32 | BPF_JSET | BPF_K
pub(super) const JUMP_ALWAYS: u8 = 0x05; // BPF_JMP | BPF_JA
pub(super) const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

pub(super) const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const PENDING: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

#[derive(Default)]
struct Assembler {
    code: Vec<Instruction>,
    /// Where the code after each rule starts.
    after: Vec<usize>,
}

impl Assembler {
    fn push(&mut self, code: u8, to: u8, jump: Jump, value: u32) {
        self.code.push(Instruction { code, to, from: 0, jump, value });
    }

    fn load(&mut self, to: u8, offset: u8) {
        let jump = Jump::Offset(offset);
        self.code.push(Instruction { code: LOAD_WORD, to, from: CONTEXT, jump, value: 0 });
    }

    /// The requested access in PENDING loses what rules allow, last rule first,
    /// until nothing is left (allow) or a rule denies one of what is.
    fn rule(&mut self, number: usize, rule: &Rule) {
        let verdict = if rule.allow { Jump::Allow } else { Jump::Deny };
        let mut checks = Vec::new();
        checks.extend(rule.kind.map(|kind| (TYPE, kind as u32)));
        checks.extend(rule.major.map(|major| (MAJOR, major)));
        checks.extend(rule.minor.map(|minor| (MINOR, minor)));
        let last = checks.pop();
        for (register, value) in checks {
            self.push(JUMP_NOT_EQUAL, register, Jump::After(number), value);
        }
        match (rule.access == ALL, last) {
            (true, Some((register, value))) => self.push(JUMP_EQUAL, register, verdict, value),
            (true, None) => self.push(JUMP_ALWAYS, 0, verdict, 0),
            (false, last) => {
                if let Some((register, value)) = last {
                    self.push(JUMP_NOT_EQUAL, register, Jump::After(number), value);
                }
                if rule.allow {
                    self.push(AND, PENDING, Jump::None, u32::from(ALL & !rule.access));
                    self.push(JUMP_EQUAL, PENDING, verdict, 0);
                } else {
                    self.push(JUMP_SET, PENDING, verdict, u32::from(rule.access));
                }
            }
        }
        self.after.push(self.code.len());
    }

    fn finish(mut self) -> Vec<u64> {
        // The verifier refuses code that nothing reaches.
        let falls_through = self.code.last().is_none_or(|last| last.code != JUMP_ALWAYS);
        let used = |code: &[Instruction], jump| code.iter().any(|i| i.jump == jump);
        let deny = self.code.len();
        if falls_through || used(&self.code, Jump::Deny) {
            self.push(MOVE, RESULT, Jump::None, 0);
            self.push(EXIT, 0, Jump::None, 0);
        }
        let allow = self.code.len();
        if used(&self.code, Jump::Allow) {
            self.push(MOVE, RESULT, Jump::None, 1);
            self.push(EXIT, 0, Jump::None, 0);
        }
        let resolve = |at: usize, jump| match jump {
            Jump::None => 0,
            Jump::Offset(offset) => usize::from(offset),
            Jump::After(rule) => self.after[rule] - at - 1,
            Jump::Allow => allow - at - 1,
            Jump::Deny => deny - at - 1,
        };
        self.code
            .iter()
            .enumerate()
            .map(|(at, i)| {
                // At most MAX_RULES * 5 instructions: an offset fits in 15 bits.
                let offset = resolve(at, i.jump) as u64 & 0x7fff;
                u64::from(i.code)
                    | u64::from(i.to) << 8
                    | u64::from(i.from) << 12
                    | offset << 16
                    | u64::from(i.value) << 32
            })
            .collect()
    }
}

/// The `BPF_PROG_TYPE_CGROUP_DEVICE` program for `rules`: one instruction in each
/// element, little-endian as on every machine that brig supports. It returns 1 to
/// allow and 0 to deny.
pub(super) fn assemble(rules: &Rules) -> Vec<u64> {
    let mut assembler = Assembler::default();
    if !rules.0.is_empty() {
        assembler.load(TYPE, 0);
        let jump = Jump::None;
        assembler.code.push(Instruction {
            code: MOVE_REGISTER,
            to: PENDING,
            from: TYPE,
            jump,
            value: 0,
        });
        assembler.push(AND, TYPE, Jump::None, 0xffff);
        assembler.push(SHIFT_RIGHT, PENDING, Jump::None, 16);
        assembler.load(MAJOR, 4);
        assembler.load(MINOR, 8);
    }
    for (number, rule) in rules.0.iter().rev().enumerate() {
        assembler.rule(number, rule);
    }
    assembler.finish()
}
