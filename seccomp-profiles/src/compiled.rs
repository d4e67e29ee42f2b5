//! The profiles that come with brig, compiled when brig was made: a start pays for putting the
//! filter in force, not for making it.
//!
//! Promises the very programs that [`crate::compile`] makes of [`crate::builtin`]: a test compares
//! them, and writes `compiled/table.rs` anew with `BRIG_UPDATE_GOLDEN=1`. Must never be edited by
//! hand.

#[expect(clippy::unusual_byte_groupings, reason = "code, jumps and operand are told apart")]
mod table;

use crate::arch::Arch;
use crate::instruction::{BpfProgram, Instruction};

/// The program of a profile that comes with brig; none if there is no such profile, or brig does
/// not run on that architecture.
#[must_use]
pub fn compiled(name: &str, native: Arch) -> Option<BpfProgram> {
    let (.., words) = table::TABLE.iter().find(|(of, arch, _)| (*of, *arch) == (name, native))?;
    let instructions = words.iter().map(|word| Instruction::from_word(*word)).collect();
    // No profile of brig's has flags, or notifies.
    Some(BpfProgram { instructions, flags: 0, notify: false })
}

impl Instruction {
    /// From the layout of the table: `code`, `jt`, `jf`, `k`, from the highest bits to the lowest.
    fn from_word(word: u64) -> Self {
        let [_, _, jt, jf, ..] = word.to_be_bytes();
        Self { code: (word >> 48) as u16, jt, jf, k: word as u32 }
    }
}
