//! The fixed-size reports that a child sends to its supervisor.
//!
//! One report is one message on a `SOCK_SEQPACKET` socket (unix(7)), so it is never split.

/// What a report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ReportKind {
    /// An operation failed; the child has ended.
    Failed = 1,
    /// The intermediate has made the container's process; `value` is its pid as the supervisor sees it.
    Cloned = 2,
    /// The child waits for what only the supervisor can do for its process: id maps, a systemd
    /// scope, network devices, a resctrl group.
    WantsSetup = 3,
    /// The child waits for the container's state and for the hooks of the runtime namespace.
    WantsHooks = 4,
    /// Everything before the start gate has succeeded.
    Ready = 5,
}

/// One report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Report {
    /// A [`ReportKind`] as a number.
    pub kind: u32,
    /// Index of the operation that sends the report.
    pub op: u32,
    /// For [`ReportKind::Failed`]: the number of the system call that failed.
    pub call: u32,
    /// For [`ReportKind::Failed`]: its errno. For [`ReportKind::Cloned`]: the pid.
    pub value: i32,
    /// For [`ReportKind::Failed`]: which of the operation's parts (mount option, hook exit …).
    pub detail: u32,
}

impl Report {
    /// Size of a report in bytes.
    pub const SIZE: usize = 20;
    /// The most that may follow a failure in the same message: the end of what a hook said.
    pub const SAID_MAX: usize = 1024;

    /// The report as the bytes that go over the socket.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let words = [self.kind, self.op, self.call, self.value.cast_unsigned(), self.detail];
        let mut bytes = [0; Self::SIZE];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
            for (byte, value) in chunk.iter_mut().zip(word.to_ne_bytes()) {
                *byte = value;
            }
        }
        bytes
    }

    /// Reads a report; `None` unless `bytes` is exactly one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::SIZE {
            return None;
        }
        let word = |i: usize| -> Option<u32> {
            Some(u32::from_ne_bytes(bytes.get(i * 4..i * 4 + 4)?.try_into().ok()?))
        };
        Some(Self {
            kind: word(0)?,
            op: word(1)?,
            call: word(2)?,
            value: word(3)?.cast_signed(),
            detail: word(4)?,
        })
    }
}
