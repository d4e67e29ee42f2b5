//! Processes that a record names: found by pid, known by what no other process has, held by pidfd.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use brig_pseudofs::boot::Boot;
use brig_pseudofs::small_file;
use nix::sys::wait::WaitStatus;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{fstat, fstatfs};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

/// `PIDFS_MAGIC` of linux/magic.h.
const PIDFS_MAGIC: i64 = 0x5049_4446;

/// A process as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedProcess {
    /// Its pid in brig's namespace.
    pub pid: i32,
    /// What tells it from others that have had, or will have, that pid.
    pub identity: Identity,
}

/// What no two processes have in common, if they have the same pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Identity {
    /// The inode of its pidfds, where these are files of pidfs (Linux 6.9), and the boot: the kernel
    /// counts from the same number after each.
    Inode(u64, Boot),
    /// When it started, in clock ticks since boot (proc_pid_stat(5) field 22).
    Started(u64),
}

impl RecordedProcess {
    /// The process that `pidfd` holds.
    ///
    /// # Errors
    /// It has been reaped, or /proc is not mounted.
    pub(super) fn new(pid: i32, pidfd: impl AsFd) -> io::Result<Self> {
        let identity = match inode(pidfd)? {
            Some(inode) => Identity::Inode(inode, Boot::now()?),
            None => Identity::Started(start_time(pid)?),
        };
        Ok(Self { pid, identity })
    }

    /// A descriptor of the process; `None` once it has ended.
    ///
    /// # Errors
    /// That cannot be known: who takes it for the end would remove what belongs to a process that lives.
    pub(super) fn open(&self) -> io::Result<Option<OwnedFd>> {
        let pid = u32::try_from(self.pid).ok().and_then(|_| Pid::from_raw(self.pid));
        let pid = pid.ok_or_else(|| io::Error::other("the recorded pid is not one"))?;
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            // Of no process; or of a thread by now (INVAL, in newer kernels NOENT).
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // Looked at after opening: if this is the recorded process, the descriptor is of it.
        let same = match &self.identity {
            Identity::Inode(recorded, boot) => {
                inode(&fd)? == Some(*recorded) && runs(&fd)? && boot.is_now()?
            }
            Identity::Started(recorded) => match start_time(self.pid) {
                Ok(ticks) => ticks == *recorded && runs(&fd)?,
                // Of no process any more, or hidden.
                Err(_) if !runs(&fd)? => false,
                Err(error) => return Err(error),
            },
        };
        Ok(same.then_some(fd))
    }
}

/// The inode of a pidfd; `None` before Linux 6.9, where all have the same.
fn inode(pidfd: impl AsFd) -> io::Result<Option<u64>> {
    let pidfd = pidfd.as_fd();
    let is_pidfs = fstatfs(pidfd)?.f_type as i64 == PIDFS_MAGIC;
    Ok(if is_pidfs { Some(fstat(pidfd)?.st_ino) } else { None })
}

/// A pidfd can be read from when all threads of the process have ended, whether or not it has been reaped. Its state in
/// /proc is another matter: that is the main thread's, which may end before the others.
pub(super) fn runs(pidfd: &OwnedFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(rustix::io::retry_on_intr(|| poll(&mut polled, Some(&now)))? == 0)
}

/// The start time of a process in clock ticks since boot.
fn start_time(pid: i32) -> io::Result<u64> {
    let text = small_file::read_text(format!("/proc/{pid}/stat"))?;
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "unexpected /proc/PID/stat");
    // The name in parentheses may contain anything, parentheses included.
    let (_, rest) = text.rsplit_once(')').ok_or_else(broken)?;
    // The state is field 3, the start time field 22.
    let ticks = rest.split_ascii_whitespace().nth(19);
    ticks.and_then(|ticks| ticks.parse().ok()).ok_or_else(broken)
}

/// The exit code that a shell would give: the process's own, or 128 + the signal.
pub(super) fn exit_code(status: WaitStatus) -> u8 {
    let code = match status {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        _ => 255,
    };
    u8::try_from(code & 0xff).unwrap_or(255)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sys::wait::{Id, WaitPidFlag, waitid};

    use super::*;

    fn child() -> (std::process::Child, OwnedFd) {
        let child = Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("it runs");
        (child, pidfd)
    }

    /// As this kernel tells processes apart, and as older ones do.
    fn both_ways(pid: i32, pidfd: &OwnedFd) -> [RecordedProcess; 2] {
        let started = start_time(pid).expect("it runs");
        let new = RecordedProcess::new(pid, pidfd).expect("it runs");
        [new, RecordedProcess { pid, identity: Identity::Started(started) }]
    }

    fn found(process: &RecordedProcess) -> bool {
        process.open().expect("it can be known").is_some()
    }

    #[test]
    fn a_process_is_found_until_it_ends_even_before_it_is_reaped() {
        let (mut child, pidfd) = child();
        let recorded = both_ways(i32::try_from(child.id()).expect("a pid"), &pidfd);
        assert!(recorded.iter().all(found));
        child.kill().expect("it runs");
        waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
            .expect("it ends");
        assert!(recorded.iter().all(|process| !found(process)), "it is a zombie");
        child.wait().expect("it ended");
        assert!(recorded.iter().all(|process| !found(process)), "it is gone");
    }

    #[test]
    fn after_another_boot_it_is_another_process() {
        let (mut child, pidfd) = child();
        let pid = i32::try_from(child.id()).expect("a pid");
        let mut recorded = RecordedProcess::new(pid, &pidfd).expect("it runs");
        if let Identity::Inode(_, boot) = &mut recorded.identity {
            *boot = serde_json::from_value("another boot".into()).expect("a boot");
            assert!(!found(&recorded));
        }
        child.kill().and_then(|()| child.wait().map(drop)).expect("it runs");
    }

    #[test]
    fn another_process_with_the_pid_is_not_it() {
        let ((mut one, pidfd), (mut other, _pidfd)) = (child(), child());
        for mut process in both_ways(i32::try_from(one.id()).expect("a pid"), &pidfd) {
            process.pid = i32::try_from(other.id()).expect("a pid");
            if let Identity::Started(ticks) = &mut process.identity {
                // They may have started within the same clock tick.
                *ticks -= 1;
            }
            assert!(!found(&process), "{process:?}");
        }
        for child in [&mut one, &mut other] {
            child.kill().and_then(|()| child.wait().map(drop)).expect("it runs");
        }
    }
}
