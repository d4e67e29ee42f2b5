//! Classic BPF instructions and the finished program.
//!
//! Promises the kernel's layouts (`struct sock_filter` of `linux/filter.h`) and only opcodes
//! which `seccomp_check_filter` accepts and the kernel's constant-action bitmap can evaluate
//! (`seccomp_is_const_allow`, Linux 5.11): absolute loads, AND, jumps and returns.
//! Never loads anything into the kernel.

/// `BPF_LD | BPF_W | BPF_ABS`: load the 32-bit word of `seccomp_data` at byte offset `k`.
pub(crate) const LD_W_ABS: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`: and the accumulator with `k`.
pub(crate) const ALU_AND_K: u16 = 0x54;
/// `BPF_JMP | BPF_JA`: skip `k` instructions.
pub(crate) const JMP_JA: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`: jump if the accumulator equals `k`.
pub(crate) const JMP_JEQ_K: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`: jump if the accumulator is above `k`, unsigned.
pub(crate) const JMP_JGT_K: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`: jump if the accumulator is `k` or above, unsigned.
pub(crate) const JMP_JGE_K: u16 = 0x35;
/// `BPF_JMP | BPF_JSET | BPF_K`: jump if the accumulator shares a bit with `k`.
pub(crate) const JMP_JSET_K: u16 = 0x45;
/// `BPF_RET | BPF_K`: end with the verdict `k`.
pub(crate) const RET_K: u16 = 0x06;

/// Most instructions the kernel takes in one program (`BPF_MAXINSNS`, `linux/bpf_common.h`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// One instruction, laid out as `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip where a conditional jump's test holds.
    pub jt: u8,
    /// Instructions to skip where it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

impl Instruction {
    /// The instruction as the kernel reads it from memory, in this machine's byte order.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 8] {
        let code = self.code.to_ne_bytes();
        let k = self.k.to_ne_bytes();
        [code[0], code[1], self.jt, self.jf, k[0], k[1], k[2], k[3]]
    }

    /// The instruction that [`Instruction::to_bytes`] wrote; it is not checked.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 8]) -> Self {
        let [code_a, code_b, jt, jf, k @ ..] = *bytes;
        Self { code: u16::from_ne_bytes([code_a, code_b]), jt, jf, k: u32::from_ne_bytes(k) }
    }

    pub(crate) fn statement(code: u16, k: u32) -> Self {
        Self { code, jt: 0, jf: 0, k }
    }
}

/// A compiled filter with what `seccomp(2)` needs to install it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BpfProgram {
    /// The filter: 1 to [`MAX_INSTRUCTIONS`] instructions.
    pub instructions: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*` bits for `SECCOMP_SET_MODE_FILTER`; holds `NEW_LISTENER`
    /// exactly where `notify` is true, so that the call then returns the listener.
    pub flags: u64,
    /// Whether some call can end in `SECCOMP_RET_USER_NOTIF`: somebody must serve the listener.
    pub notify: bool,
}

impl BpfProgram {
    /// The instructions as an array of `struct sock_filter`, in this machine's byte order.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.instructions.iter().flat_map(Instruction::to_bytes).collect()
    }
}
