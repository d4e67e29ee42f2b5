//! A program as text, one instruction a line, for people and golden tests.
//!
//! Only for reading: the text is not a format anything parses.

use std::fmt::Write as _;

use crate::action;
use crate::arch;
use crate::instruction::{
    ALU_AND_K, Instruction, JMP_JA, JMP_JEQ_K, JMP_JGE_K, JMP_JGT_K, JMP_JSET_K, LD_W_ABS, RET_K,
};

/// The program as text. Jump targets are absolute line numbers.
#[must_use]
pub fn disassemble(program: &[Instruction]) -> String {
    let mut text = String::new();
    let mut loaded = String::new();
    for (at, instruction) in program.iter().enumerate() {
        if instruction.code == LD_W_ABS {
            loaded = word_name(instruction.k);
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{at:4}: {}", line(at, instruction, &loaded));
    }
    text
}

fn line(at: usize, instruction: &Instruction, loaded: &str) -> String {
    let k = instruction.k;
    let jump = |sign: &str| {
        let yes = at + 1 + usize::from(instruction.jt);
        let no = at + 1 + usize::from(instruction.jf);
        let value = if loaded == "arch" {
            arch::audit_name(k).map_or_else(|| format!("{k:#x}"), str::to_owned)
        } else if k > 0xffff {
            format!("{k:#x}")
        } else {
            k.to_string()
        };
        format!("if {sign} {value} goto {yes} else {no}")
    };
    match instruction.code {
        LD_W_ABS => format!("load {loaded}"),
        ALU_AND_K => format!("and {k:#x}"),
        JMP_JA => format!("goto {}", at + 1 + k as usize),
        JMP_JEQ_K => jump("=="),
        JMP_JGT_K => jump(">"),
        JMP_JGE_K => jump(">="),
        JMP_JSET_K => jump("&"),
        RET_K => format!("return {}", action::describe(k)),
        code => format!("unknown {code:#06x} {} {} {k:#x}", instruction.jt, instruction.jf),
    }
}

fn word_name(offset: u32) -> String {
    match offset {
        0 => "nr".to_owned(),
        4 => "arch".to_owned(),
        8 => "ip.low".to_owned(),
        12 => "ip.high".to_owned(),
        _ => {
            let half = if offset % 8 == 4 { "high" } else { "low" };
            format!("args[{}].{half}", offset.saturating_sub(16) / 8)
        }
    }
}
