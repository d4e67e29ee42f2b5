//! The kernel's constants that operations are made of, for those who plan without system calls.

/// Namespaces of clone3(2), unshare(2) and setns(2).
pub mod namespace {
    /// `CLONE_NEWTIME`, Linux 5.6.
    pub const TIME: u32 = 0x0000_0080;
    /// `CLONE_NEWNS`.
    pub const MOUNT: u32 = 0x0002_0000;
    /// `CLONE_NEWCGROUP`, Linux 4.6.
    pub const CGROUP: u32 = 0x0200_0000;
    /// `CLONE_NEWUTS`.
    pub const UTS: u32 = 0x0400_0000;
    /// `CLONE_NEWIPC`.
    pub const IPC: u32 = 0x0800_0000;
    /// `CLONE_NEWUSER`.
    pub const USER: u32 = 0x1000_0000;
    /// `CLONE_NEWPID`.
    pub const PID: u32 = 0x2000_0000;
    /// `CLONE_NEWNET`.
    pub const NETWORK: u32 = 0x4000_0000;
    /// All of them.
    pub const ALL: u32 = TIME | MOUNT | CGROUP | UTS | IPC | USER | PID | NETWORK;
}

/// Flags of open(2) and openat2(2).
pub mod open {
    /// Only the place, not the contents.
    pub const PATH: i32 = libc::O_PATH;
    /// Must be a directory.
    pub const DIRECTORY: i32 = libc::O_DIRECTORY;
    /// `RESOLVE_NO_XDEV`: no mount is crossed.
    pub const NO_XDEV: u64 = 0x01;
    /// `RESOLVE_NO_MAGICLINKS`.
    pub const NO_MAGICLINKS: u64 = 0x02;
    /// `RESOLVE_NO_SYMLINKS`.
    pub const NO_SYMLINKS: u64 = 0x04;
    /// `RESOLVE_IN_ROOT`.
    pub const IN_ROOT: u64 = 0x10;
    /// `RESOLVE_BENEATH`.
    pub const BENEATH: u64 = 0x08;
}

/// Flags of open_tree(2).
pub mod tree {
    /// `OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC`: a detached copy.
    pub const CLONE: u32 = 1 | libc::O_CLOEXEC as u32;
    /// `AT_RECURSIVE`: with all mounts below.
    pub const RECURSIVE: u32 = 0x8000;
    /// `AT_EMPTY_PATH`: what the descriptor is of.
    pub const EMPTY_PATH: u32 = libc::AT_EMPTY_PATH as u32;
    /// `AT_SYMLINK_NOFOLLOW`.
    pub const NOFOLLOW: u32 = 0x100;
}

/// File types of mknod(2).
pub mod file {
    /// `S_IFMT`: the bits of the type.
    pub const FORMAT: u32 = libc::S_IFMT;
    /// `S_IFIFO`.
    pub const FIFO: u32 = libc::S_IFIFO;
    /// `S_IFCHR`.
    pub const CHARACTER: u32 = libc::S_IFCHR;
    /// `S_IFBLK`.
    pub const BLOCK: u32 = libc::S_IFBLK;
    /// `S_IFREG`.
    pub const REGULAR: u32 = libc::S_IFREG;
}

/// Propagation of mounts, for mount_setattr(2).
pub mod propagation {
    /// `MS_PRIVATE`.
    pub const PRIVATE: u64 = 1 << 18;
    /// `MS_SLAVE`.
    pub const SLAVE: u64 = 1 << 19;
    /// `MS_SHARED`.
    pub const SHARED: u64 = 1 << 20;
    /// `MS_UNBINDABLE`.
    pub const UNBINDABLE: u64 = 1 << 17;
}

/// Options of prctl(2).
pub mod prctl {
    /// `PR_SET_KEEPCAPS`.
    pub const KEEPCAPS: i32 = libc::PR_SET_KEEPCAPS;
    /// `PR_SET_DUMPABLE`.
    pub const DUMPABLE: i32 = libc::PR_SET_DUMPABLE;
    /// `PR_SET_SECUREBITS` (capabilities(7)).
    pub const SECUREBITS: i32 = libc::PR_SET_SECUREBITS;
    /// `SECBIT_NO_SETUID_FIXUP` of linux/securebits.h: capabilities stay when the ids change.
    pub const NO_SETUID_FIXUP: u64 = 1 << 2;
    /// `SECBIT_NO_SETUID_FIXUP_LOCKED`: that stays as it is.
    pub const NO_SETUID_FIXUP_LOCKED: u64 = 1 << 3;
    /// `PR_SET_MDWE` (Linux 6.3).
    pub const MDWE: i32 = libc::PR_SET_MDWE;
    /// `PR_MDWE_REFUSE_EXEC_GAIN`: no mapping becomes executable that is writable, or was not made so.
    pub const REFUSE_EXEC_GAIN: u64 = 1;
    /// `PR_SET_NO_NEW_PRIVS`.
    pub const NO_NEW_PRIVS: i32 = libc::PR_SET_NO_NEW_PRIVS;
}

/// At which limit [`crate::op::FileOp::CopyUp`] has failed (`EDQUOT`): the detail of the report.
pub mod copy_limit {
    /// Its `bytes`.
    pub const BYTES: u32 = 1;
    /// Its `entries`.
    pub const ENTRIES: u32 = 2;
    /// [`DEPTH_MAX`].
    pub const DEPTH: u32 = 3;
    /// Directories deeper than this are refused: the child's stack is bounded.
    pub const DEPTH_MAX: usize = 24;
}
