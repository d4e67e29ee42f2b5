//! How a child of brig's ends.
//!
//! Never waits without a limit: a process in the container may keep a child from ending, or its parent from hearing
//! of that. On cgroup v1 a frozen process dies when it is thawed, and the end of one that is traced is told to the
//! tracer first (ptrace(2)).

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, pidfd_send_signal};

use super::LaunchedProcess;
use crate::deadline::{AFTER_KILL, Deadline};

/// Nothing tells when the tracer has been told.
const REST: Duration = Duration::from_millis(20);

/// How a child has ended; `None` while it runs, and while another process traces it and has not seen its end.
///
/// # Errors
/// What waitid(2) says.
pub(super) fn ended(pidfd: impl AsFd) -> io::Result<Option<WaitStatus>> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
    match waitid(Id::PIDFd(pidfd.as_fd()), flags)? {
        WaitStatus::StillAlive => Ok(None),
        status => Ok(Some(status)),
    }
}

/// The same once it has ended; `None` where it has not, or its end cannot be seen, by the deadline.
///
/// # Errors
/// As [`ended`].
pub(super) fn reap(pidfd: impl AsFd, deadline: Deadline) -> io::Result<Option<WaitStatus>> {
    let mut has_ended = false;
    loop {
        match ended(&pidfd)? {
            None if !deadline.is_over() => {}
            answer => return Ok(answer),
        }
        let mut set = [PollFd::new(&pidfd, PollFlags::IN)];
        let _ = poll(&mut set, deadline.left().as_ref());
        if has_ended {
            std::thread::sleep(REST);
        }
        has_ended = !set[0].revents().is_empty();
    }
}

/// Kills processes, and waits for their end; the pids of those that have not ended in time.
pub(super) fn kill_all<'p>(
    processes: impl IntoIterator<Item = &'p LaunchedProcess> + Clone,
) -> Vec<i32> {
    for process in processes.clone() {
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
    let deadline = Deadline::after(AFTER_KILL);
    // An error: its end has been heard already.
    let left = processes.into_iter().filter(|process| matches!(reap(process, deadline), Ok(None)));
    left.map(LaunchedProcess::pid).collect()
}
