//! Operations on files.

use core::ffi::CStr;

use super::{Slot, Tolerance};

/// What a target must be; it is created where it is missing. What is mounted on the root itself would lie
/// where nobody looks, so only for [`Target::Within`] it may be the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A directory.
    Directory,
    /// A directory in which something is made, or whose mount is changed.
    Within,
    /// A directory at this very path: no symbolic link on the way.
    NoLink,
    /// Anything but a directory.
    File,
    /// Whatever the mount in this slot is.
    Like(Slot),
}

/// Which file it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A file of this type and, if that is a device's, with this number.
    Node {
        /// `S_IFMT` of its mode.
        kind: u32,
        /// As mknod(2) takes it.
        device: u64,
    },
    /// A file or directory that was looked at before, by another path or descriptor.
    Object {
        /// Major and minor number of its file system's device.
        device: (u32, u32),
        /// Its inode.
        inode: u64,
        /// Its mount, where that has the same number in this mount namespace.
        mount: Option<u64>,
    },
}

/// Opens, makes, checks and writes files.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the fields are the arguments of the system call that is named")]
pub enum FileOp<'a> {
    /// openat2(2).
    Open { dir: Slot, path: &'a CStr, flags: i32, resolve: u64, into: Slot },
    /// Opens for writing, writes everything at once, closes.
    WriteFile { dir: Slot, path: &'a CStr, resolve: u64, data: &'a [u8] },
    /// Reads a file back and compares its first line with `expected`.
    VerifyFile { dir: Slot, path: &'a CStr, resolve: u64, expected: &'a [u8] },
    /// write(2) to an open file.
    Write { fd: Slot, data: &'a [u8] },
    /// mkdirat(2).
    Mkdir { dir: Slot, name: &'a CStr, mode: u32 },
    /// mknodat(2), then the owner. An existing node is tolerated only if it is the same device.
    Mknod {
        dir: Slot,
        path: &'a CStr,
        mode: u32,
        device: u64,
        uid: u32,
        gid: u32,
        tolerates: Tolerance,
    },
    /// statx(2): what is open in this slot is this one, else `ENXIO` for a node, `ESTALE` for a directory.
    Expect { fd: Slot, identity: Identity },
    /// symlinkat(2).
    Symlink { dir: Slot, name: &'a CStr, target: &'a CStr, tolerates: Tolerance },
    /// Opens `path` below `root` without ever leaving it (`RESOLVE_IN_ROOT`, no magic links),
    /// making what is missing of it.
    OpenTarget { root: Slot, path: &'a CStr, target: Target, into: Slot },
    /// fsetxattr(2) on a directory.
    Setxattr { dir: Slot, name: &'a CStr, value: &'a [u8] },
    /// Copies what is in the directory `from` into the directory `to`: at most so many bytes, and so many files,
    /// directories and links. `to` gets the mode and the owner of `from`, but for what it `keeps`. Nothing, where
    /// `from` was made for it.
    CopyUp { from: Slot, to: Slot, bytes: u64, entries: u64, keeps: Keeps },
    /// Gives the directory `to` the user and the group that the directory `from` has for this process: of an idmapped
    /// mount those that it is mapped to.
    TakeOwner { from: Slot, to: Slot },
    /// Gives the directory `to` the mode of the directory `from`, unless that was made for it.
    TakeMode { from: Slot, to: Slot },
    /// close(2), where there are too many to keep.
    Close { fd: Slot },
}

/// What a directory that is filled has of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeps {
    /// Its mode.
    pub mode: bool,
    /// Its user.
    pub uid: bool,
    /// Its group.
    pub gid: bool,
}

impl FileOp<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "openat2",
            Self::WriteFile { .. } => "write file",
            Self::VerifyFile { .. } => "verify file",
            Self::Write { .. } => "write",
            Self::Mkdir { .. } => "mkdirat",
            Self::Mknod { .. } => "mknodat",
            Self::Expect { identity: Identity::Node { .. }, .. } => "check device",
            Self::Expect { identity: Identity::Object { .. }, .. } => "check",
            Self::Symlink { .. } => "symlinkat",
            Self::OpenTarget { .. } => "open target",
            Self::Setxattr { .. } => "fsetxattr",
            Self::CopyUp { .. } => "copy up",
            Self::TakeOwner { .. } => "fchown like",
            Self::TakeMode { .. } => "chmod like",
            Self::Close { .. } => "close",
        }
    }
}
