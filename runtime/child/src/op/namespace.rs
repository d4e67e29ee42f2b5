//! Operations on namespaces: making and joining them, and what they are given.

use super::Slot;

/// Makes and joins namespaces, and gives them names and an interface.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the fields are the arguments of the system call that is named")]
pub enum NamespaceOp<'a> {
    /// setns(2).
    Setns { fd: Slot, flags: u32 },
    /// unshare(2).
    Unshare { flags: u32 },
    /// clone3(2) with `CLONE_PARENT`: this process tells the supervisor the new one's pid and ends; the new
    /// one waits until the supervisor has answered, and goes on with the next operation.
    Clone { flags: u64, cgroup: Option<Slot> },
    /// sethostname(2).
    Sethostname { name: &'a [u8] },
    /// setdomainname(2).
    Setdomainname { name: &'a [u8] },
    /// Brings the interface `lo` up.
    LoopbackUp,
}

impl NamespaceOp<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Setns { .. } => "setns",
            Self::Unshare { .. } => "unshare",
            Self::Clone { .. } => "clone3",
            Self::Sethostname { .. } => "sethostname",
            Self::Setdomainname { .. } => "setdomainname",
            Self::LoopbackUp => "bring up lo",
        }
    }
}
