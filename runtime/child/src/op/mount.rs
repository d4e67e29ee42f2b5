//! Operations on mounts.

use core::ffi::CStr;

use super::{Slot, Tolerance};
use crate::syscall::MountAttr;

/// How the container's root becomes the process's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enter {
    /// fchdir + chroot: the mount namespace has nothing else in it but an empty directory.
    Chroot,
    /// pivot_root(".", ".") and detach the old root.
    Pivot,
}

/// The value of a file system's option, as fsconfig(2) takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionValue<'a> {
    /// None: `FSCONFIG_SET_FLAG`.
    Flag,
    /// `FSCONFIG_SET_STRING`.
    Text(&'a CStr),
    /// `FSCONFIG_SET_FD`: layers of overlayfs, Linux 6.13, and detached ones 6.15.
    Descriptor(Slot),
}

/// Makes, changes and attaches mounts, and enters the root.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the fields are the arguments of the system call that is named")]
pub enum MountOp<'a> {
    /// open_tree(2).
    OpenTree { dir: Slot, path: &'a CStr, flags: u32, into: Slot },
    /// fsopen, fsconfig for each option, fsmount: a detached mount.
    Fsmount { kind: &'a CStr, options: &'a [(&'a CStr, OptionValue<'a>)], attrs: u32, into: Slot },
    /// mount_setattr(2) on a mount's root.
    MountSetattr { fd: Slot, recursive: bool, attr: MountAttr },
    /// The same with an id mapping.
    MountIdmap { fd: Slot, recursive: bool, userns: Slot },
    /// move_mount(2) from a descriptor to a descriptor.
    MoveMount { from: Slot, to: Slot },
    /// move_mount(2) to a path below `dir`, whose last component is no link.
    MoveMountTo { from: Slot, dir: Slot, path: &'a CStr },
    /// Hides `path` below `root`: a file under the file of `masks`, a directory under its directory.
    Mask { root: Slot, path: &'a CStr, masks: Slot, tolerates: Tolerance },
    /// Makes `path` below `root` read-only with all below it.
    Readonly { root: Slot, path: &'a CStr, tolerates: Tolerance },
    /// Makes a mount's directory the root.
    EnterRoot { root: Slot, how: Enter },
}

impl MountOp<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::OpenTree { .. } => "open_tree",
            Self::Fsmount { .. } => "fsmount",
            Self::MountSetattr { .. } | Self::MountIdmap { .. } => "mount_setattr",
            Self::MoveMount { .. } | Self::MoveMountTo { .. } => "move_mount",
            Self::Mask { .. } => "mask",
            Self::Readonly { .. } => "make read-only",
            Self::EnterRoot { how: Enter::Chroot, .. } => "chroot",
            Self::EnterRoot { how: Enter::Pivot, .. } => "pivot_root",
        }
    }
}
