//! Open file description locks on bytes of a file (fcntl(2), Linux 3.15).
//!
//! Promises: one holder at a time, of all processes and of all threads of one. Another lock of the same process waits like
//! one of another process, and no closing of another descriptor of the file ends it, as both would with traditional record
//! locks. Such a lock lives as long as any copy of its descriptor, unless it is ended explicitly, and ends with a holder
//! that is killed.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::deadline::Deadline;

/// How often a lock is asked for that another has: what is done under one takes milliseconds.
const REST: Duration = Duration::from_millis(2);

/// Locks `bytes` of a file that is open for writing, and waits until the deadline for another holder; whether it is locked.
pub(crate) fn take(file: &OwnedFd, bytes: Range<i64>, deadline: Deadline) -> Result<bool, Errno> {
    let wanted = of(libc::F_WRLCK, &bytes);
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&wanted)) {
            Ok(_) => return Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) if !deadline.is_over() => std::thread::sleep(REST),
            Err(Errno::EAGAIN | Errno::EACCES) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
}

/// Ends a lock, also where a process that another thread has just started has a copy of the descriptor.
pub(crate) fn end(file: &OwnedFd, bytes: Range<i64>) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&of(libc::F_UNLCK, &bytes))).map(drop)
}

/// Whether somebody holds one of these bytes, of a file that was opened anew.
pub(crate) fn is_held(file: &OwnedFd, bytes: Range<i64>) -> Result<bool, Errno> {
    let mut found = of(libc::F_WRLCK, &bytes);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}

fn of(kind: libc::c_int, bytes: &Range<i64>) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: bytes.start,
        l_len: bytes.end - bytes.start,
        l_pid: 0,
    }
}
