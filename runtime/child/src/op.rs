//! The operations: named as the system calls they make, with everything prepared.
//!
//! A plan is a list of these; the same values that `brig plan` prints are what the child runs.

use core::ffi::{CStr, c_char};
use core::marker::PhantomData;

use crate::syscall::{MountAttr, SchedAttr};

/// An index into the child's table of descriptors. Slot 0 always holds `AT_FDCWD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

impl Slot {
    /// The slot that holds `AT_FDCWD`.
    pub const CWD: Self = Self(0);
    /// The socket to the supervisor.
    pub const SUPERVISOR: Self = Self(1);
}

/// One pointer of an argument vector.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Arg<'a>(*const c_char, PhantomData<&'a CStr>);

impl<'a> Arg<'a> {
    /// The end of a vector.
    pub const END: Self = Self(core::ptr::null(), PhantomData);

    /// A string of a vector.
    #[must_use]
    pub fn new(text: &'a CStr) -> Self {
        Self(text.as_ptr(), PhantomData)
    }

    /// The string, `None` for [`Arg::END`].
    #[must_use]
    pub fn text(&self) -> Option<&'a CStr> {
        // SAFETY: a pointer that is not null comes from `new`, whose string lives for 'a.
        (!self.0.is_null()).then(|| unsafe { CStr::from_ptr(self.0) })
    }
}

/// A null-terminated vector of strings, as execve(2) takes it.
#[derive(Clone, Copy, Debug)]
pub struct Vector<'a>(&'a [Arg<'a>]);

impl<'a> Vector<'a> {
    /// `None` unless the last element is [`Arg::END`] and no other is.
    #[must_use]
    pub fn new(args: &'a [Arg<'a>]) -> Option<Self> {
        let (last, others) = args.split_last()?;
        (last.0.is_null() && others.iter().all(|arg| !arg.0.is_null())).then_some(Self(args))
    }

    pub(crate) fn as_ptr(&self) -> *const *const c_char {
        self.0.as_ptr().cast()
    }

    /// The strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a CStr> {
        self.0.iter().filter_map(Arg::text)
    }
}

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
    /// A directory that was looked at before, by another path or descriptor.
    Directory {
        /// Major and minor number of its file system's device.
        device: (u32, u32),
        /// Its inode.
        inode: u64,
        /// Its mount, where that has the same number in this mount namespace.
        mount: Option<u64>,
    },
}

/// How the container's root becomes the process's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enter {
    /// fchdir + chroot: the mount namespace has nothing else in it but an empty directory.
    Chroot,
    /// pivot_root(".", ".") and detach the old root.
    Pivot,
}

/// A prepared program: hooks.
#[derive(Clone, Copy, Debug)]
pub struct Hook<'a> {
    /// Absolute path of the program.
    pub path: &'a CStr,
    /// Its arguments.
    pub argv: Vector<'a>,
    /// Its environment.
    pub envp: Vector<'a>,
    /// What it gets as standard input: a file that holds the container's state.
    pub stdin: Slot,
    /// After so many milliseconds it is killed and has failed; negative: no limit.
    pub timeout_ms: i64,
    /// A seccomp filter that it loads for itself, where the process does not have it yet: the bytes of the
    /// program, and the flags of seccomp(2).
    pub filter: Option<(&'a [u8], u64)>,
}

/// One operation.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the fields are the arguments of the system call that is named")]
pub enum Op<'a> {
    // --- namespaces and processes ---
    /// setns(2).
    Setns { fd: Slot, flags: u32 },
    /// unshare(2).
    Unshare { flags: u32 },
    /// clone3(2) with `CLONE_PARENT`: this process tells the supervisor the new one's pid and ends; the new
    /// one waits until the supervisor has answered, and goes on with the next operation.
    Clone { flags: u64, cgroup: Option<Slot> },
    /// Ends with the supervisor (prctl(2) `PR_SET_PDEATHSIG`), or no longer does.
    DieWithParent { enabled: bool },
    /// Blocked signals none, `SIGPIPE` as by default.
    ResetSignals,
    /// `SIGHUP`, `SIGINT`, `SIGQUIT` and `SIGTERM` end the process with status 128 and the number, until it
    /// executes its program. By default they end no first process of a pid namespace
    /// (pid_namespaces(7)), and none could end a container that waits to be started.
    EndOnSignals,

    // --- barriers ---
    /// Sends a record of this kind ([`crate::ReportKind`] as a number).
    Tell { kind: u32 },
    /// Waits for one byte from the supervisor; its end ends the child.
    Await,
    /// Waits for a connection on this socket and a byte on it; failures are reported there from now on.
    Gate { listener: Slot },

    // --- files ---
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
    /// mknodat(2), then owner and mode; the same device is left as it is where it exists.
    Mknod { dir: Slot, path: &'a CStr, mode: u32, device: u64, uid: u32, gid: u32 },
    /// statx(2): what is open in this slot is this one, else `ENXIO` for a node, `ESTALE` for a directory.
    Expect { fd: Slot, identity: Identity },
    /// symlinkat(2); an existing entry is left as it is where `exist_ok`.
    Symlink { dir: Slot, name: &'a CStr, target: &'a CStr, exist_ok: bool },
    /// Opens `path` below `root` without ever leaving it (`RESOLVE_IN_ROOT`, no magic links),
    /// making what is missing of it.
    OpenTarget { root: Slot, path: &'a CStr, target: Target, into: Slot },

    // --- mounts ---
    /// open_tree(2).
    OpenTree { dir: Slot, path: &'a CStr, flags: u32, into: Slot },
    /// fsopen, fsconfig for each option, fsmount: a detached mount.
    Fsmount { kind: &'a CStr, options: &'a [(&'a CStr, Option<&'a CStr>)], attrs: u32, into: Slot },
    /// mount_setattr(2) on a mount's root.
    MountSetattr { fd: Slot, recursive: bool, attr: MountAttr },
    /// The same with an id mapping.
    MountIdmap { fd: Slot, recursive: bool, userns: Slot },
    /// move_mount(2) from a descriptor to a descriptor.
    MoveMount { from: Slot, to: Slot },
    /// move_mount(2) to a path below `dir`, whose last component is no link.
    MoveMountTo { from: Slot, dir: Slot, path: &'a CStr },
    /// Hides `path` below `root`, where it exists: files under `file`, directories under `dir`.
    Mask { root: Slot, path: &'a CStr, masks: Slot },
    /// Makes `path` below `root`, where it exists, read-only with all below it.
    Readonly { root: Slot, path: &'a CStr },
    /// fsetxattr(2) on a directory.
    Setxattr { dir: Slot, name: &'a CStr, value: &'a [u8] },
    /// Copies what is in the directory `path` below `root` into the directory `to`: at most so many bytes, and
    /// so many files, directories and links.
    CopyUp { root: Slot, path: &'a CStr, to: Slot, bytes: u64, entries: u64 },
    /// Makes a mount's directory the root.
    EnterRoot { root: Slot, how: Enter },

    // --- the container's surroundings ---
    /// sethostname(2).
    Sethostname { name: &'a [u8] },
    /// setdomainname(2).
    Setdomainname { name: &'a [u8] },
    /// Brings the interface `lo` up.
    LoopbackUp,

    // --- the process ---
    /// setsid(2).
    Setsid,
    /// dup3(2): what is in this slot becomes standard input, output or error.
    Standard { fd: Slot, number: i32 },
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
    JoinSessionKeyring { name: &'a CStr },
    /// umask(2).
    Umask { mask: u32 },
    /// chdir(2), and a check that the directory is inside the root; with `create` it is made where
    /// it is missing.
    Chdir { path: &'a CStr, create: bool },
    /// setgroups(2).
    Setgroups { groups: &'a [u32] },
    /// setresgid(2), all three.
    Setgid { gid: u32 },
    /// setresuid(2), all three.
    Setuid { uid: u32 },
    /// prctl(2) with one argument.
    Prctl { option: i32, value: u64 },
    /// Drops every capability but these from the bounding set, up to the last that the kernel
    /// knows (`EINVAL` tells), so that a newer kernel's are dropped too.
    KeepBounding { keep: u64 },
    /// capset(2).
    Capset { effective: u64, permitted: u64, inheritable: u64 },
    /// Makes exactly these capabilities ambient.
    SetAmbient { ambient: u64 },
    /// landlock_add_rule(2), `LANDLOCK_RULE_PATH_BENEATH`.
    LandlockAllow { ruleset: Slot, path: Slot, access: u64 },
    /// landlock_restrict_self(2).
    LandlockRestrictSelf { ruleset: Slot },
    /// seccomp(2) with a filter; where it notifies, the listener goes over `socket` with `state`.
    Seccomp { filter: &'a [u8], flags: u64, socket: Option<(Slot, Slot)> },

    // --- the end ---
    /// Runs a hook to its end.
    Hook(Hook<'a>),
    /// Finds the first candidate that can be executed.
    FindProgram { candidates: &'a [&'a CStr] },
    /// Closes every descriptor from `first` on but those in these slots: what the image names from
    /// now on cannot lead through one (CVE-2024-21626).
    CloseAllBut { first: u32, keep: &'a [Slot] },
    /// Marks all descriptors from `first` on close-on-exec, and those from 3 to `first` not.
    CloseOnExec { first: u32 },
    /// execve(2) of what [`Op::FindProgram`] found.
    Execve { argv: Vector<'a>, envp: Vector<'a> },
}

impl Op<'_> {
    /// The name under which errors and `brig plan` show the operation.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Setns { .. } => "setns",
            Self::Unshare { .. } => "unshare",
            Self::Clone { .. } => "clone3",
            Self::DieWithParent { .. } => "prctl(PR_SET_PDEATHSIG)",
            Self::ResetSignals => "reset signals",
            Self::EndOnSignals => "end on SIGHUP, SIGINT, SIGQUIT and SIGTERM",
            Self::Tell { .. } => "tell",
            Self::Await => "await",
            Self::Gate { .. } => "start gate",
            Self::Open { .. } => "openat2",
            Self::WriteFile { .. } => "write file",
            Self::VerifyFile { .. } => "verify file",
            Self::Write { .. } => "write",
            Self::Mkdir { .. } => "mkdirat",
            Self::Mknod { .. } => "mknodat",
            Self::Expect { identity: Identity::Node { .. }, .. } => "check device",
            Self::Expect { identity: Identity::Directory { .. }, .. } => "check",
            Self::Symlink { .. } => "symlinkat",
            Self::OpenTarget { .. } => "open target",
            Self::OpenTree { .. } => "open_tree",
            Self::Fsmount { .. } => "fsmount",
            Self::MountSetattr { .. } | Self::MountIdmap { .. } => "mount_setattr",
            Self::MoveMount { .. } | Self::MoveMountTo { .. } => "move_mount",
            Self::Mask { .. } => "mask",
            Self::Readonly { .. } => "make read-only",
            Self::Setxattr { .. } => "fsetxattr",
            Self::CopyUp { .. } => "copy up",
            Self::EnterRoot { how: Enter::Chroot, .. } => "chroot",
            Self::EnterRoot { how: Enter::Pivot, .. } => "pivot_root",
            Self::Sethostname { .. } => "sethostname",
            Self::Setdomainname { .. } => "setdomainname",
            Self::LoopbackUp => "bring up lo",
            Self::Setsid => "setsid",
            Self::Standard { .. } => "dup3",
            Self::Console { .. } => "console",
            Self::Prlimit { .. } | Self::RaiseLimit { .. } => "prlimit",
            Self::Personality { .. } => "personality",
            Self::SchedSetattr { .. } => "sched_setattr",
            Self::SchedSetaffinity { .. } => "sched_setaffinity",
            Self::IoprioSet { .. } => "ioprio_set",
            Self::SetMempolicy { .. } => "set_mempolicy",
            Self::JoinSessionKeyring { .. } => "keyctl",
            Self::Umask { .. } => "umask",
            Self::Chdir { .. } => "chdir",
            Self::Setgroups { .. } => "setgroups",
            Self::Setgid { .. } => "setresgid",
            Self::Setuid { .. } => "setresuid",
            Self::Prctl { .. } => "prctl",
            Self::KeepBounding { .. } => "prctl(PR_CAPBSET_DROP)",
            Self::Capset { .. } => "capset",
            Self::SetAmbient { .. } => "prctl(PR_CAP_AMBIENT)",
            Self::LandlockAllow { .. } => "landlock_add_rule",
            Self::LandlockRestrictSelf { .. } => "landlock_restrict_self",
            Self::Seccomp { .. } => "seccomp",
            Self::Hook(_) => "hook",
            Self::FindProgram { .. } => "find program",
            Self::CloseAllBut { .. } | Self::CloseOnExec { .. } => "close_range",
            Self::Execve { .. } => "execve",
        }
    }
}
