//! Processes that a record names: found by pid, known by what no other process has, held by pidfd.
//!
//! Promises: a process is taken for ended only where its pid would have found it: in the boot and the pid namespace in
//! which it was recorded.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use brig_pseudofs::boot::Boot;
use brig_pseudofs::identity::Identity as NamespaceIdentity;
use brig_pseudofs::small_file;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{fstat, fstatfs, stat};
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
    /// The pid namespace that its pid is of: what /proc/self/ns/pid is to the brig that has recorded it
    /// (namespaces(7)). Records of an earlier brig have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceIdentity>,
}

/// Why it cannot be known whether a recorded process has ended: who takes it for the end would remove what belongs to a
/// process that lives.
#[derive(Debug)]
pub(super) enum Unknown {
    /// It is of another pid namespace than brig.
    Elsewhere,
    /// What the kernel says.
    System(io::Error),
}

impl<E: Into<io::Error>> From<E> for Unknown {
    fn from(error: E) -> Self {
        Self::System(error.into())
    }
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
        Ok(Self { pid, identity, namespace: pid_namespace()? })
    }

    /// A descriptor of the process; `None` once it has ended.
    ///
    /// # Errors
    /// That cannot be known.
    pub(super) fn open(&self) -> Result<Option<OwnedFd>, Unknown> {
        let found = self.find()?;
        if found.is_none() {
            self.must_be_findable()?;
        }
        Ok(found)
    }

    /// That a process which is not found has ended: here its pid would lead to it.
    ///
    /// # Errors
    /// It would not, or that cannot be known.
    pub(super) fn must_be_findable(&self) -> Result<(), Unknown> {
        if let Identity::Inode(_, boot) = &self.identity
            && !boot.is_now()?
        {
            return Ok(());
        }
        match self.namespace.is_some() && self.namespace != pid_namespace()? {
            true => Err(Unknown::Elsewhere),
            false => Ok(()),
        }
    }

    fn find(&self) -> Result<Option<OwnedFd>, Unknown> {
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
                Ok(ticks) if ticks == *recorded => {
                    // One of another namespace may have its pid, and have started with it.
                    self.must_be_findable()?;
                    runs(&fd)?
                }
                Ok(_) => false,
                // Of no process any more, or hidden.
                Err(_) if !runs(&fd)? => false,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(same.then_some(fd))
    }
}

/// brig's own pid namespace, which its pids are of; `None` where the kernel has none.
fn pid_namespace() -> io::Result<Option<NamespaceIdentity>> {
    // A process never changes it.
    static OWN: OnceLock<Option<NamespaceIdentity>> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Ok(*own);
    }
    let own = match stat("/proc/self/ns/pid") {
        Ok(found) => Some(NamespaceIdentity::from(&found)),
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(errno.into()),
    };
    Ok(*OWN.get_or_init(|| own))
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
        let namespace = new.namespace;
        [new, RecordedProcess { pid, identity: Identity::Started(started), namespace }]
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

    /// Another pid namespace has its own pids: one that is not found may run.
    #[test]
    fn in_another_pid_namespace_it_has_not_ended() {
        let ((mut child, pidfd), (mut other, _)) = (child(), child());
        let pid = i32::try_from(child.id()).expect("a pid");
        let elsewhere = Some(NamespaceIdentity::of(&pidfd).expect("it is not brig's"));
        for mut process in both_ways(pid, &pidfd) {
            process.namespace = elsewhere;
            let is_started = matches!(process.identity, Identity::Started(_));
            // A pidfd tells the process itself, whatever its pid.
            assert_eq!(matches!(process.open(), Err(Unknown::Elsewhere)), is_started);
            process.pid = i32::try_from(other.id()).expect("a pid");
            if let Identity::Started(ticks) = &mut process.identity {
                *ticks -= 1;
            }
            assert!(matches!(process.open(), Err(Unknown::Elsewhere)), "{process:?}");
            process.pid = i32::MAX;
            assert!(matches!(process.open(), Err(Unknown::Elsewhere)), "{process:?}");
            process.namespace = None;
            assert!(!found(&process), "as an earlier brig has recorded it: {process:?}");
        }
        for child in [&mut child, &mut other] {
            child.kill().and_then(|()| child.wait().map(drop)).expect("it runs");
        }
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
