//! The lock of a container: held by an operation that changes the container, for as long as that takes.
//!
//! Promises: one holder at a time, of all processes and of all threads of one (see `ofd_lock`). It is ended
//! explicitly: a process that another thread has just started cannot prolong it. And it ends with a holder that is
//! killed: the descriptor is close-on-exec, so hooks have none, and a container's process dies with its maker until it
//! has closed its copy (`Op::DieWithParent`, `Op::CloseAllBut`), which is before it comes to the gate.
//! Must never outlive the operation.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use brig_pseudofs::small_file;
use nix::errno::Errno;
use rustix::fs::fstat;

use super::Error;
use crate::deadline::Deadline;
use crate::failure::Kind;
use crate::ofd_lock;

/// What a holder does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It makes the container, which shows.
    Making,
    /// It changes the container.
    Changing,
}

/// The byte of the lock file that stands for any change, and the one that stands for making.
const CHANGING: Range<i64> = 0..1;
const MAKING: Range<i64> = 1..2;
const BOTH: Range<i64> = 0..2;

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
            Purpose::Making => BOTH,
            Purpose::Changing => CHANGING,
        };
        match ofd_lock::take(&file, wanted, deadline) {
            Ok(true) => Ok(Self { file, container: container.to_owned() }),
            Ok(false) => {
                let holder = holder(&file).map(|pid| format!("process {pid}"));
                let holder = holder.as_deref().unwrap_or("another process");
                let what = format!("container {container:?} is locked by {holder}");
                Err(Error::plain(what).of_kind(Kind::Busy).with_hint("wait for it, or end it"))
            }
            Err(errno) => Err(Error::system(format!("locking container {container:?}"), errno)),
        }
    }

    /// The container is made; what else is done to it under the lock does not show.
    pub(super) fn end_making(&self) -> Result<(), Error> {
        ofd_lock::end(&self.file, MAKING).map_err(|errno| {
            Error::system(format!("unlocking container {:?}", self.container), errno)
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The kernel cannot refuse that of a lock that is held, and closing the file would do it but for copies.
        let _ = ofd_lock::end(&self.file, BOTH);
    }
}

/// Whether somebody is making the container whose lock file this is, opened anew.
pub(super) fn is_being_made(file: &OwnedFd) -> Result<bool, Errno> {
    ofd_lock::is_held(file, MAKING)
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
    use std::time::Duration;

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
