//! Which processes are a container's where no cgroup tells: an ordinary user's without a delegated cgroup, in a pid
//! namespace that is not its own.
//!
//! Promises: what is killed shares the mount namespace of a process on record while that one lives, and that namespace was
//! made for the container: it is never brig's own. Must never signal by pid. A process that has left the mount namespace, or that
//! the caller may not look at, is not found.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use brig_sys::process::send_signal;
use rustix::fs::stat;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::recorded::runs;
use crate::deadline::{AFTER_KILL, Deadline};

/// Kills what shares the mount namespace of the process `pid`, which is `init`, the first or one that `exec` has started:
/// that one last, and its end is not waited for. Where it ends meanwhile by itself, nothing tells any more which the others are: see [`rooted_at`].
///
/// # Errors
/// New processes come as fast as they are killed, or /proc cannot be read.
pub(super) fn kill(pid: i32, init: &OwnedFd) -> io::Result<()> {
    const REST: Duration = Duration::from_millis(5);
    // From here on it starts none.
    if !reaches(init, libc::SIGSTOP)? {
        return Ok(());
    }
    let deadline = Deadline::after(AFTER_KILL);
    loop {
        let Some(found) = sharing_mounts(pid, init)? else { return Ok(()) };
        if found.is_empty() {
            return reaches(init, libc::SIGKILL).map(drop);
        }
        for (_, process) in found {
            // It may end by itself.
            let _ = send_signal(&process, libc::SIGKILL);
        }
        if deadline.is_over() {
            reaches(init, libc::SIGKILL)?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(REST);
    }
}

/// Sends it a signal; false where it has ended, by itself, and been waited for.
fn reaches(process: &OwnedFd, signal: i32) -> io::Result<bool> {
    match send_signal(process, signal) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        answer => answer.map(|()| true),
    }
}

/// The pids of `init`, the process `pid`, and of those that share its mount namespace, sorted; none where it does not run
/// any more.
///
/// # Errors
/// /proc cannot be read.
pub(super) fn pids(pid: i32, init: &OwnedFd) -> io::Result<Vec<i32>> {
    let Some(found) = sharing_mounts(pid, init)? else { return Ok(Vec::new()) };
    let mut pids: Vec<i32> = found.into_iter().map(|(pid, _)| pid).chain([pid]).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Those that share its mount namespace, with their pids; `None` where it does not run any more.
fn sharing_mounts(init_pid: i32, init: &OwnedFd) -> io::Result<Option<Vec<(i32, OwnedFd)>>> {
    let mounts = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/mnt"));
    let own = match mounts(init_pid) {
        Err(_) if !runs(init)? => return Ok(None),
        answer => answer?,
    };
    let mut found = Vec::new();
    if own == fs::read_link("/proc/self/ns/mnt")? {
        return Ok(Some(found));
    }
    for pid in all_pids()?.filter(|pid| *pid != init_pid) {
        let Some(Ok(process)) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()))
        else {
            continue;
        };
        // Looked at after opening, and it runs still: the link is this process's.
        if mounts(pid).is_ok_and(|theirs| theirs == own) && runs(&process)? {
            found.push((pid, process));
        }
    }
    // What its pid said was said of it.
    Ok(runs(init)?.then_some(found))
}

/// The pids of processes whose root directory is `rootfs`.
///
/// # Errors
/// /proc or `rootfs` cannot be looked at.
pub(super) fn rooted_at(rootfs: &Path) -> io::Result<Vec<i32>> {
    let root = stat(rootfs)?;
    let is_there = |pid: &i32| {
        stat(format!("/proc/{pid}/root"))
            .is_ok_and(|theirs| (theirs.st_dev, theirs.st_ino) == (root.st_dev, root.st_ino))
    };
    Ok(all_pids()?.filter(is_there).collect())
}

fn all_pids() -> io::Result<impl Iterator<Item = i32>> {
    let entries = fs::read_dir("/proc")?.filter_map(Result::ok);
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn one_that_has_ended_meanwhile_is_no_error() -> io::Result<()> {
        let mut child = Command::new("true").spawn()?;
        let pid = child.id().cast_signed();
        let held = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        child.wait()?;
        kill(pid, &held)
    }
}
