//! What the kernel would do: a BPF interpreter over `seccomp_data`.
//!
//! For tests and tools. Runs exactly the opcodes this crate emits plus what libseccomp emits,
//! and answers a typed fault for anything else: it never guesses and never panics.

use std::collections::HashSet;
use std::fmt;

use crate::instruction::{
    ALU_AND_K, Instruction, JMP_JA, JMP_JEQ_K, JMP_JGE_K, JMP_JGT_K, JMP_JSET_K, LD_W_ABS, RET_K,
};

/// `struct seccomp_data` of `linux/seccomp.h`: what a filter can see of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeccompData {
    /// System call number.
    pub nr: u32,
    /// `AUDIT_ARCH_*` of the calling convention.
    pub arch: u32,
    /// Address of the instruction after the call.
    pub instruction_pointer: u64,
    /// Arguments.
    pub args: [u64; 6],
}

impl SeccompData {
    /// The 32-bit word at a byte offset (little endian), or none outside of the structure.
    fn word(&self, offset: u32) -> Option<u32> {
        if !offset.is_multiple_of(4) {
            return None;
        }
        let half = |value: u64, high: bool| (if high { value >> 32 } else { value }) as u32;
        match offset {
            0 => Some(self.nr),
            4 => Some(self.arch),
            8 | 12 => Some(half(self.instruction_pointer, offset == 12)),
            16..64 => {
                let index = (offset - 16) / 8;
                Some(half(self.args[index as usize], offset % 8 == 4))
            }
            _ => None,
        }
    }
}

/// Why a program is not one the kernel would accept or finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterpretError {
    /// An opcode this crate does not emit.
    Opcode {
        /// Where.
        at: usize,
        /// Which.
        code: u16,
    },
    /// A load outside of `seccomp_data`, or not aligned.
    Load {
        /// Where.
        at: usize,
        /// From which byte offset.
        offset: u32,
    },
    /// A jump or the last instruction leads out of the program.
    End {
        /// The first instruction which is not there.
        at: usize,
    },
}

impl InterpretError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some("the program is damaged or was not made by this compiler; compile the profile again")
    }
}

impl fmt::Display for InterpretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opcode { at, code } => write!(f, "instruction {at}: opcode {code:#06x}"),
            Self::Load { at, offset } => write!(f, "instruction {at}: load at offset {offset}"),
            Self::End { at } => write!(f, "instruction {at}: beyond the end of the program"),
        }
    }
}

impl std::error::Error for InterpretError {}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The `SECCOMP_RET_*` value with its data.
    pub verdict: u32,
    /// How many instructions ran.
    pub steps: usize,
}

/// Runs a program over one call and returns its `SECCOMP_RET_*` value.
///
/// # Errors
/// A [`InterpretError`] where the kernel would have refused the program.
pub fn run(program: &[Instruction], data: &SeccompData) -> Result<u32, InterpretError> {
    trace(program, data).map(|outcome| outcome.verdict)
}

/// Like [`run`], counting the instructions that ran.
///
/// # Errors
/// A [`InterpretError`] where the kernel would have refused the program.
pub fn trace(program: &[Instruction], data: &SeccompData) -> Result<Outcome, InterpretError> {
    let mut accumulator = 0u32;
    let mut at = 0usize;
    let mut steps = 0usize;
    loop {
        let instruction = program.get(at).ok_or(InterpretError::End { at })?;
        let k = instruction.k;
        steps += 1;
        let branch = |holds: bool| usize::from(if holds { instruction.jt } else { instruction.jf });
        let skip = match instruction.code {
            LD_W_ABS => {
                accumulator = data.word(k).ok_or(InterpretError::Load { at, offset: k })?;
                0
            }
            ALU_AND_K => {
                accumulator &= k;
                0
            }
            JMP_JA => k as usize,
            JMP_JEQ_K => branch(accumulator == k),
            JMP_JGT_K => branch(accumulator > k),
            JMP_JGE_K => branch(accumulator >= k),
            JMP_JSET_K => branch(accumulator & k != 0),
            RET_K => return Ok(Outcome { verdict: k, steps }),
            code => return Err(InterpretError::Opcode { at, code }),
        };
        at += 1 + skip;
    }
}

/// Whether a program answers a call with `verdict` for some arguments, whichever they are. Two branches on one
/// word are taken for independent, so it may say so where no arguments do that, and never the other way round.
///
/// # Errors
/// A [`InterpretError`] where the kernel would have refused the program.
pub fn can_answer(
    program: &[Instruction],
    nr: u32,
    arch: u32,
    verdict: u32,
) -> Result<bool, InterpretError> {
    let data = SeccompData { nr, arch, ..SeccompData::default() };
    let mut seen = HashSet::new();
    // Where it goes on, and the accumulator, where that is known.
    let mut open = vec![(0usize, Some(0u32))];
    while let Some((at, accumulator)) = open.pop() {
        if !seen.insert((at, accumulator)) {
            continue;
        }
        let Instruction { code, jt, jf, k } = *program.get(at).ok_or(InterpretError::End { at })?;
        let mut branch = |holds: fn(u32, u32) -> bool| {
            let known = accumulator.map(|word| holds(word, k));
            open.extend((known != Some(false)).then_some((at + 1 + usize::from(jt), accumulator)));
            open.extend((known != Some(true)).then_some((at + 1 + usize::from(jf), accumulator)));
        };
        match code {
            LD_W_ABS => {
                let word = data.word(k).ok_or(InterpretError::Load { at, offset: k })?;
                open.push((at + 1, (k < 8).then_some(word)));
            }
            ALU_AND_K => open.push((at + 1, accumulator.map(|word| word & k))),
            JMP_JA => open.push((at + 1 + k as usize, accumulator)),
            JMP_JEQ_K => branch(|word, k| word == k),
            JMP_JGT_K => branch(|word, k| word > k),
            JMP_JGE_K => branch(|word, k| word >= k),
            JMP_JSET_K => branch(|word, k| word & k != 0),
            RET_K if k == verdict => return Ok(true),
            RET_K => {}
            code => return Err(InterpretError::Opcode { at, code }),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::{InterpretError, SeccompData, can_answer, run, trace};
    use crate::instruction::{Instruction, JMP_JEQ_K, LD_W_ABS, RET_K};

    fn program() -> Vec<Instruction> {
        vec![
            Instruction::statement(LD_W_ABS, 20),
            Instruction { code: JMP_JEQ_K, jt: 0, jf: 1, k: 7 },
            Instruction::statement(RET_K, 1),
            Instruction::statement(RET_K, 2),
        ]
    }

    #[test]
    fn high_word_of_the_first_argument_is_at_offset_20() {
        let mut data = SeccompData::default();
        assert_eq!(run(&program(), &data), Ok(2));
        data.args[0] = 7 << 32;
        assert_eq!(run(&program(), &data), Ok(1));
        assert_eq!(trace(&program(), &data).map(|outcome| outcome.steps), Ok(3));
    }

    #[test]
    fn what_some_arguments_lead_to_is_found() {
        assert_eq!(can_answer(&program(), 1, 2, 1), Ok(true));
        assert_eq!(can_answer(&program(), 1, 2, 2), Ok(true));
        assert_eq!(can_answer(&program(), 1, 2, 3), Ok(false));
        let mut on_number = program();
        on_number[0].k = 0;
        assert_eq!(can_answer(&on_number, 7, 2, 1), Ok(true));
        assert_eq!(can_answer(&on_number, 7, 2, 2), Ok(false));
        assert_eq!(can_answer(&on_number[..2], 7, 2, 1), Err(InterpretError::End { at: 2 }));
    }

    #[test]
    fn damaged_programs_are_faults() {
        let data = SeccompData::default();
        assert_eq!(run(&program()[..2], &data), Err(InterpretError::End { at: 3 }));
        let load = |offset| [Instruction::statement(LD_W_ABS, offset)];
        assert_eq!(run(&load(64), &data), Err(InterpretError::Load { at: 0, offset: 64 }));
        assert_eq!(run(&load(2), &data), Err(InterpretError::Load { at: 0, offset: 2 }));
        let strange = [Instruction::statement(0x87, 0)];
        assert_eq!(run(&strange, &data), Err(InterpretError::Opcode { at: 0, code: 0x87 }));
    }
}
