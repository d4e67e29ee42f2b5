//! clone3(2): starts a child that runs brig-child's operations.
//!
//! The child runs in a copy of the caller's memory, as after fork(2). What shares memory is killed together when memory
//! runs out, and has one oom_score_adj (kernel mm/oom_kill.c, fs/proc/base.c): brig outlives its container.
//!
//! Needs Linux 5.5 (`CLONE_CLEAR_SIGHAND`; clone3 itself is 5.3), 5.7 for a cgroup.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use brig_child::Op;
use brig_child::flags::namespace;
use brig_child::syscall::{CLONE_CLEAR_SIGHAND, CLONE_INTO_CGROUP, CloneArgs};

/// A started child.
#[derive(Debug)]
pub struct Process {
    /// Its pid in the caller's namespace.
    pub pid: i32,
    /// A descriptor for it.
    pub pidfd: OwnedFd,
}

/// Starts a child in new `namespaces` (`CLONE_NEW*`) that runs `ops` on `slots` and ends with them. It closes its copy
/// of `supervisors_end`, the other end of the socket in [`brig_child::Slot::SUPERVISOR`].
///
/// # Errors
/// What clone3(2) says; `EINVAL` also for a flag that makes no namespace.
pub fn clone_child(
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
    ops: &[Op<'_>],
    slots: &mut [i32],
    supervisors_end: BorrowedFd<'_>,
) -> io::Result<Process> {
    if namespaces & !u64::from(namespace::ALL) != 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut pidfd = -1i32;
    let mut args = CloneArgs {
        flags: namespaces | libc::CLONE_PIDFD as u64 | CLONE_CLEAR_SIGHAND,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the arguments are valid for the call, and share no memory, as the flags above are all there
    // are. The child that returns 0 runs brig-child alone, which allocates nothing and takes no lock, so that
    // the state of the copied process's other threads does not matter.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, ptr::from_ref(&args), size_of_val(&args)) };
    match pid {
        0 => brig_child::run(ops, slots, supervisors_end.as_raw_fd()),
        -1 => return Err(io::Error::last_os_error()),
        _ => {}
    }
    // SAFETY: a local variable, which the kernel has written.
    let pidfd = unsafe { ptr::read_volatile(&raw const pidfd) };
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so this is a new descriptor and nobody else's.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Process { pid: pid as i32, pidfd })
}
