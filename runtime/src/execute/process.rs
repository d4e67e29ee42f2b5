//! A process that brig has started, held by a descriptor: its pid cannot become another's meanwhile.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use brig_sys::process::send_signal;
use nix::sys::wait::WaitStatus;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Error;
use super::end::{ended, kill_all};

/// A process that this brig has started in a container: its child. Its descriptor can be read from when it has ended
/// (pidfd_open(2)).
#[derive(Debug)]
pub struct LaunchedProcess {
    pid: i32,
    pidfd: OwnedFd,
}

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// The exit code that a shell would give: the process's own, or 128 and the signal.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => u8::try_from((128 + signal) & 0xff).unwrap_or(u8::MAX),
        }
    }

    /// `None` for one that has not ended.
    fn of(status: WaitStatus) -> Option<Self> {
        match status {
            WaitStatus::Exited(_, code) => Some(Self::Code((code & 0xff) as u8)),
            WaitStatus::Signaled(_, signal, _) => Some(Self::Signal(signal as i32)),
            _ => None,
        }
    }
}

impl LaunchedProcess {
    pub(super) fn new(pid: i32, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd }
    }

    /// The child `pid` that another child has made: nobody else can reap it, so its pid is its own.
    pub(super) fn adopt(pid: i32) -> Result<Self, Error> {
        let doing = "opening the container's process";
        let known = Pid::from_raw(pid).ok_or_else(|| Error::plain(doing))?;
        let pidfd =
            pidfd_open(known, PidfdFlags::empty()).map_err(|errno| Error::system(doing, errno))?;
        Ok(Self { pid, pidfd })
    }

    /// Its pid in brig's pid namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends it a signal (pidfd_send_signal(2)).
    ///
    /// # Errors
    /// It has ended and been waited for, or the signal is none.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        let doing = || format!("sending signal {signal} to process {}", self.pid);
        send_signal(&self.pidfd, signal).map_err(|error| Error::system(doing(), error))
    }

    /// How it has ended, which is told once; `None` while it runs, and while a process that traces it has not waited for
    /// it (ptrace(2)).
    ///
    /// # Errors
    /// What waitid(2) says: its end has been told already.
    pub fn try_wait(&self) -> Result<Option<Exit>, Error> {
        let doing = || format!("waiting for process {}", self.pid);
        let status = ended(&self.pidfd).map_err(|error| Error::system(doing(), error))?;
        Ok(status.and_then(Exit::of))
    }

    /// Kills it, as something that belongs to its start has failed; the same error, which tells of a process that does
    /// not end in time.
    #[must_use]
    pub fn end(self, error: Error) -> Error {
        with_what_is_left(error, &kill_all([&self]))
    }
}

impl AsFd for LaunchedProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// The same error, which tells of killed processes that have not ended.
pub(super) fn with_what_is_left(error: Error, left: &[i32]) -> Error {
    if left.is_empty() {
        return error;
    }
    let left: Vec<_> = left.iter().map(i32::to_string).collect();
    error.with_hint(format!(
        "process {} is killed and has not ended yet: it is frozen, traced, or waits in the kernel",
        left.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn an_end_has_the_code_that_a_shell_gives() {
        assert_eq!(
            [Exit::Code(3), Exit::Signal(9), Exit::Code(255)].map(Exit::code),
            [3, 137, 255]
        );
    }
}
