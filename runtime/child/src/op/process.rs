//! Operations on what a process has: signals, limits, descriptors, a terminal, a working directory.

use core::ffi::CStr;

use super::{Slot, Tolerance};
use crate::syscall::SchedAttr;

/// Changes what the process has and its program inherits; what confines it is a [`super::PrivilegeOp`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the fields are the arguments of the system call that is named")]
pub enum ProcessOp<'a> {
    /// Ends with the supervisor (prctl(2) `PR_SET_PDEATHSIG`), or no longer does.
    DieWithParent { enabled: bool },
    /// Blocked signals none, `SIGPIPE` as by default.
    ResetSignals,
    /// `SIGHUP`, `SIGINT`, `SIGQUIT` and `SIGTERM` end the process with status 128 and the number, until it
    /// executes its program. By default they end no first process of a pid namespace
    /// (pid_namespaces(7)), and none could end a container that waits to be started.
    EndOnSignals,
    /// setsid(2).
    Setsid,
    /// dup3(2): what is in this slot becomes standard input, output or error.
    Dup { from: Slot, to: i32 },
    /// Opens /dev/null, which has to be that device, and puts it in the place of those of standard input, output and
    /// error that are named.
    OwnNull { standard: [bool; 3] },
    /// Opens a terminal of the devpts in `pts`, sends its master over `socket`, makes it standard
    /// input, output and error and the controlling terminal, and, where `console` is given, mounts
    /// it there.
    Console { pts: Slot, socket: Slot, size: Option<(u16, u16)>, owner: u32, console: Option<Slot> },
    /// prlimit(2), both limits.
    Prlimit { resource: u32, soft: u64, hard: u64 },
    /// prlimit(2): raises the hard limit to at least this, leaving the soft one.
    RaiseLimit { resource: u32, hard: u64 },
    /// personality(2).
    Personality { domain: u64 },
    /// sched_setattr(2).
    SchedSetattr { attr: SchedAttr },
    /// sched_setaffinity(2), a mask of processors.
    SchedSetaffinity { mask: &'a [u64] },
    /// ioprio_set(2) of this process.
    IoprioSet { prio: i32 },
    /// set_mempolicy(2).
    SetMempolicy { mode: u32, nodes: &'a [u64] },
    /// keyctl(2) `KEYCTL_JOIN_SESSION_KEYRING`.
    JoinSessionKeyring { name: &'a CStr, tolerates: Tolerance },
    /// umask(2).
    Umask { mask: u32 },
    /// chdir(2), and a check that the directory is inside the root; with `create` it is made where
    /// it is missing.
    Chdir { path: &'a CStr, create: bool },
    /// chdir(2), or to / where that is not permitted: a directory of the host's, for hooks.
    Visit { path: &'a CStr },
    /// Closes every descriptor from `first` on but those in these slots: what the image names from
    /// now on cannot lead through one (CVE-2024-21626).
    CloseAllBut { first: u32, keep: &'a [Slot] },
    /// Marks all descriptors from `first` on close-on-exec, and those from 3 to `first` not; for these
    /// `tolerates` holds.
    CloseOnExec { first: u32, tolerates: Tolerance },
}

impl ProcessOp<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::DieWithParent { .. } => "prctl(PR_SET_PDEATHSIG)",
            Self::ResetSignals => "reset signals",
            Self::EndOnSignals => "end on SIGHUP, SIGINT, SIGQUIT and SIGTERM",
            Self::Setsid => "setsid",
            Self::Dup { .. } => "dup3",
            Self::OwnNull { .. } => "open /dev/null",
            Self::Console { .. } => "console",
            Self::Prlimit { .. } | Self::RaiseLimit { .. } => "prlimit",
            Self::Personality { .. } => "personality",
            Self::SchedSetattr { .. } => "sched_setattr",
            Self::SchedSetaffinity { .. } => "sched_setaffinity",
            Self::IoprioSet { .. } => "ioprio_set",
            Self::SetMempolicy { .. } => "set_mempolicy",
            Self::JoinSessionKeyring { .. } => "keyctl",
            Self::Umask { .. } => "umask",
            Self::Chdir { .. } | Self::Visit { .. } => "chdir",
            Self::CloseAllBut { .. } | Self::CloseOnExec { .. } => "close_range",
        }
    }
}
