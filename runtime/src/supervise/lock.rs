//! The lock of a container: held by an operation that changes the container, for as long as that takes.
//!
//! Promises: one holder at a time, of all processes and of all threads of one. These are open file description
//! locks (fcntl(2), Linux 3.15): another lock of the same process waits like one of another process, and no
//! closing of another descriptor of the file ends it, as both would with traditional record locks. Such a lock
//! lives as long as any copy of its descriptor. So it is ended explicitly: a process that another thread has
//! just started cannot prolong it. And it ends with a holder that is killed: the descriptor is close-on-exec, so
//! hooks have none, and a container's process dies with its maker until it has closed its copy
//! (`Op::DieWithParent`, `Op::CloseAllBut`), which is before it comes to the gate.
//! Must never outlive the operation.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use brig_pseudofs::small_file;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::fstat;

use super::Error;
use crate::deadline::Deadline;
use crate::failure::Kind;

/// What a holder does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It makes the container, which shows.
    Making,
    /// It changes the container.
    Changing,
}

/// The byte of the lock file that stands for any change, and the one that stands for making.
const CHANGING: i64 = 0;
const MAKING: i64 = 1;

/// Held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: OwnedFd,
    /// The container's id, for errors.
    container: String,
}

impl Lock {
    /// Locks `file`, which was opened for this, and waits until the deadline for another holder.
    pub(super) fn take(
        file: OwnedFd,
        container: &str,
        purpose: Purpose,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let wanted = match purpose {
            Purpose::Making => bytes(libc::F_WRLCK, CHANGING, 2),
            Purpose::Changing => bytes(libc::F_WRLCK, CHANGING, 1),
        };
        loop {
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&wanted)) {
                Ok(_) => return Ok(Self { file, container: container.to_owned() }),
                Err(Errno::EAGAIN | Errno::EACCES) if !deadline.is_over() => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(Errno::EAGAIN | Errno::EACCES) => {
                    let holder = holder(&file).map(|pid| format!("process {pid}"));
                    let holder = holder.as_deref().unwrap_or("another process");
                    let what = format!("container {container:?} is locked by {holder}");
                    return Err(Error::plain(what)
                        .of_kind(Kind::Busy)
                        .with_hint("wait for it, or end it"));
                }
                Err(errno) => {
                    return Err(Error::system(format!("locking container {container:?}"), errno));
                }
            }
        }
    }

    /// The container is made; what else is done to it under the lock does not show.
    pub(super) fn end_making(&self) -> Result<(), Error> {
        let made = bytes(libc::F_UNLCK, MAKING, 1);
        fcntl(&self.file, FcntlArg::F_OFD_SETLK(&made)).map(drop).map_err(|errno| {
            Error::system(format!("unlocking container {:?}", self.container), errno)
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The kernel cannot refuse that of a lock that is held, and closing the file would do it but for copies.
        let _ = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&bytes(libc::F_UNLCK, CHANGING, 2)));
    }
}

/// Whether somebody is making the container whose lock file this is, opened anew.
pub(super) fn is_being_made(file: &OwnedFd) -> Result<bool, Errno> {
    let mut range = bytes(libc::F_WRLCK, MAKING, 1);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut range))?;
    Ok(i32::from(range.l_type) != libc::F_UNLCK)
}

fn bytes(kind: libc::c_int, start: i64, length: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

/// A process that holds the lock of `file`, as far as the caller may see the others' descriptors. The kernel
/// names none (fcntl(2)), but shows each lock at its descriptor (proc_pid_fdinfo(5)).
fn holder(file: impl AsFd) -> Option<i32> {
    let stat = fstat(file).ok()?;
    let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    let inode = format!(" {major:02x}:{minor:02x}:{} ", stat.st_ino);
    let holds =
        |info: &str| info.lines().any(|line| line.starts_with("lock:") && line.contains(&inode));
    let numbers = |directory: &str| -> io::Result<Vec<i32>> {
        let entries = std::fs::read_dir(directory)?.filter_map(Result::ok);
        Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    };
    numbers("/proc").ok()?.into_iter().find(|pid| {
        let directory = format!("/proc/{pid}/fdinfo");
        let descriptors = numbers(&directory).unwrap_or_default();
        descriptors.iter().any(|fd| {
            small_file::read_text(format!("{directory}/{fd}")).is_ok_and(|info| holds(&info))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        File::options().write(true).open(path).expect("it is there").into()
    }

    fn take(path: &Path, purpose: Purpose) -> Result<Lock, Error> {
        Lock::take(open(path), "c1", purpose, Deadline::after(Duration::ZERO))
    }

    #[test]
    fn in_one_process_too_there_is_one_holder() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let first = take(file.path(), Purpose::Changing).expect("nobody has it");
        let error = take(file.path(), Purpose::Changing).expect_err("it is held").to_string();
        let expected = format!("container \"c1\" is locked by process {}", std::process::id());
        assert_eq!(error, expected);
        drop(first);
        take(file.path(), Purpose::Changing).expect("nobody has it any more");
    }

    #[test]
    fn a_lock_survives_the_closing_of_other_descriptors_and_ends_before_copies_of_its_own() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let held = take(file.path(), Purpose::Changing).expect("nobody has it");
        drop(open(file.path()));
        take(file.path(), Purpose::Changing).expect_err("it is still held");
        // As a process has it that was started meanwhile.
        let _copy = held.file.try_clone().expect("a copy");
        drop(held);
        take(file.path(), Purpose::Changing).expect("the copy does not prolong it");
    }

    #[test]
    fn a_holder_is_waited_for() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let held = take(file.path(), Purpose::Changing).expect("nobody has it");
        let wait = || Lock::take(open(file.path()), "c1", Purpose::Changing, Deadline::NEVER);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(wait);
            drop(held);
            waiting.join().expect("no panic").expect("it is free");
        });
    }

    #[test]
    fn that_a_container_is_being_made_shows_until_it_is_made() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let shows = || is_being_made(&open(file.path())).expect("it can be looked at");
        let held = take(file.path(), Purpose::Making).expect("nobody has it");
        assert!(shows());
        held.end_making().expect("it is held");
        assert!(!shows());
        take(file.path(), Purpose::Changing).expect_err("it is still held");
        drop(held);
        let _changing = take(file.path(), Purpose::Changing).expect("nobody has it");
        assert!(!shows(), "a change is no making");
    }
}
