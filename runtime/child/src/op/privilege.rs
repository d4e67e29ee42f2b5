//! Operations that take privileges away.

use core::ffi::CStr;

use super::{Slot, Tolerance};

/// User, groups, capabilities, Landlock and seccomp.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the fields are the arguments of the system call that is named")]
pub enum PrivilegeOp<'a> {
    /// setgroups(2).
    Setgroups { groups: &'a [u32] },
    /// setresgid(2), all three.
    Setgid { gid: u32 },
    /// setresuid(2), all three.
    Setuid { uid: u32 },
    /// setfsgid(2), then setfsuid(2), and proof that they have taken effect: neither tells of a failure.
    Setfsid { uid: u32, gid: u32 },
    /// prctl(2) with one argument.
    Prctl { option: i32, value: u64 },
    /// Drops every capability but these from the bounding set, up to the last that the kernel
    /// knows (`EINVAL` tells), so that a newer kernel's are dropped too.
    KeepBounding { keep: u64 },
    /// capset(2). What is held `until_execve` is effective and permitted besides: execve(2) looks at neither
    /// set, only at the others and the program's file (capabilities(7)).
    Capset { effective: u64, permitted: u64, inheritable: u64, until_execve: u64 },
    /// Makes exactly these capabilities ambient.
    SetAmbient { ambient: u64 },
    /// landlock_add_rule(2), `LANDLOCK_RULE_PATH_BENEATH`, for what is at a path. What is no directory gets the rights
    /// `of_file`, as the kernel takes none of a directory's for it.
    LandlockAllow { ruleset: Slot, path: &'a CStr, access: u64, of_file: u64, tolerates: Tolerance },
    /// landlock_restrict_self(2).
    LandlockRestrictSelf { ruleset: Slot },
    /// seccomp(2) with a filter; where it notifies, the listener goes over `socket` with `state`.
    Seccomp { filter: &'a [u8], flags: u64, socket: Option<(Slot, Slot)> },
}

impl PrivilegeOp<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Setgroups { .. } => "setgroups",
            Self::Setgid { .. } => "setresgid",
            Self::Setuid { .. } => "setresuid",
            Self::Setfsid { .. } => "setfsuid",
            Self::Prctl { .. } => "prctl",
            Self::KeepBounding { .. } => "prctl(PR_CAPBSET_DROP)",
            Self::Capset { .. } => "capset",
            Self::SetAmbient { .. } => "prctl(PR_CAP_AMBIENT)",
            Self::LandlockAllow { .. } => "landlock_add_rule",
            Self::LandlockRestrictSelf { .. } => "landlock_restrict_self",
            Self::Seccomp { .. } => "seccomp",
        }
    }
}
