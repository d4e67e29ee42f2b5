//! A process of /proc, held: what is read through it is of that process, or is not read at all.
//!
//! Promises: a directory /proc/PID that is open stays that of the process whose it was; once that has ended nothing can be
//! read through it, whoever has the number by then. What others choose the length of is read up to a limit. Must never
//! look a path up in a container's mount namespace but where a caller here says why that waits for nobody.
//!
//! Reference: proc_pid(5); `proc_pid_lookup` and `get_proc_task` in the kernel's fs/proc.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use brig_pseudofs::small_file;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use rustix::io::Errno;

/// What is known of something, or why it is not.
pub type Seen<T> = Result<T, Unseen>;

/// Why something is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseen(pub Errno);

impl Unseen {
    /// The text is not in the form that the kernel gives it.
    pub(super) const UNEXPECTED: Self = Self(Errno::BADMSG);
    /// There is more of it than is read.
    pub(super) const TOO_MUCH: Self = Self(Errno::FBIG);

    /// The process has ended.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(self.0, Errno::SRCH | Errno::NOENT)
    }
}

impl From<Errno> for Unseen {
    fn from(errno: Errno) -> Self {
        Self(errno)
    }
}

impl From<io::Error> for Unseen {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::FileTooLarge => Self::TOO_MUCH,
            _ => Self(Errno::from_io_error(&error).unwrap_or(Errno::BADMSG)),
        }
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Errno::ACCESS | Errno::PERM => f.write_str("not shown to this user"),
            Errno::SRCH | Errno::NOENT => {
                f.write_str("it has ended, or the kernel does not show it")
            }
            Errno::NODEV => f.write_str("on a file system whose server may let one wait"),
            Errno::BADMSG => f.write_str("in a form that brig does not understand"),
            Errno::FBIG => f.write_str("more than brig reads"),
            errno => errno.fmt(f),
        }
    }
}

/// The directory /proc/PID of a process.
#[derive(Debug)]
pub(super) struct Held(OwnedFd);

impl Held {
    pub(super) fn open(pid: i32) -> Seen<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, format!("/proc/{pid}"), flags, Mode::empty())?))
    }

    /// A file, as text: what is not UTF-8 of it, as names may be, is replaced.
    pub(super) fn text(&self, name: &str, limit_bytes: usize) -> Seen<String> {
        let file = openat(&self.0, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let bytes = small_file::read_at_most(file, limit_bytes)?;
        // A process that has ended meanwhile has empty ones.
        match String::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(error) => Ok(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        }
    }

    /// What a link of the kernel's says.
    pub(super) fn link(&self, name: &str) -> Seen<String> {
        let link = rustix::fs::readlinkat(&self.0, name, Vec::new())?;
        Ok(link.to_string_lossy().into_owned())
    }

    /// The inode that a link leads to: of a namespace, which takes no file system's answer.
    pub(super) fn inode(&self, name: &str) -> Seen<u64> {
        Ok(statat(&self.0, name, AtFlags::empty())?.st_ino)
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
