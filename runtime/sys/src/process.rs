//! Processes and namespaces: execveat(2) of a descriptor, prctl(2), signals by pidfd, a namespace's type and owner.

use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Replaces the program by the one that `fd` holds; returns only if that fails.
pub fn fexecve<S: AsRef<CStr>>(fd: impl AsFd, argv: &[S], envp: &[S]) -> io::Error {
    let argv = pointers(argv);
    let envp = pointers(envp);
    // SAFETY: both vectors end in a null pointer, and their strings are borrowed for this call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

fn pointers<S: AsRef<CStr>>(strings: &[S]) -> Vec<*const c_char> {
    strings.iter().map(|text| text.as_ref().as_ptr()).chain([std::ptr::null()]).collect()
}

/// Whether this process is kept from memory that is written and executed (prctl(2) `PR_SET_MDWE`); `None` where none can
/// be, before Linux 6.3.
#[must_use]
pub fn refuses_exec_gain() -> Option<bool> {
    // SAFETY: it reads a flag of this process, and takes no pointers.
    let flags = unsafe { libc::prctl(libc::PR_GET_MDWE, 0, 0, 0, 0) };
    (flags >= 0).then_some(flags & libc::PR_MDWE_REFUSE_EXEC_GAIN.cast_signed() != 0)
}

/// What this thread hands down to its children of the processor and of disks.
#[derive(Clone, Copy, Debug)]
pub struct Priority {
    /// `SCHED_*` of linux/sched.h.
    pub policy: u32,
    /// -20 to 19.
    pub nice: i32,
    /// `IOPRIO_CLASS_*` of linux/ioprio.h.
    pub io_class: u32,
}

/// The priority of this thread (sched_getattr(2), ioprio_get(2)).
///
/// # Errors
/// What the calls say: `ENOSYS` where a filter hides them.
pub fn priority() -> io::Result<Priority> {
    // struct sched_attr of its first version, 48 bytes: size, policy, flags, nice.
    let mut attributes = [0_u32; 12];
    // SAFETY: the kernel writes to no more than the 48 bytes that it is told of.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            0,
            attributes.as_mut_ptr(),
            size_of_val(&attributes),
            0,
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: integers only.
    let io = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) };
    let io = u32::try_from(io).map_err(|_| io::Error::last_os_error())?;
    let [_, policy, _, _, nice, ..] = attributes;
    Ok(Priority { policy, nice: nice.cast_signed(), io_class: io >> 13 })
}

/// Forbids other processes to trace this one or to read its memory and descriptors through /proc.
///
/// # Errors
/// What prctl(2) `PR_SET_DUMPABLE` says.
pub fn set_undumpable() -> io::Result<()> {
    // SAFETY: an option with integer arguments only.
    let answer = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The type of the namespace that `fd` holds, as a `CLONE_NEW*` flag (ioctl_nsfs(2), Linux 4.11).
///
/// # Errors
/// `ENOTTY` where it is no namespace.
pub fn namespace_kind(fd: impl AsFd) -> io::Result<u32> {
    /// `NS_GET_NSTYPE` of linux/nsfs.h.
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: the request takes no argument.
    let kind = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_NSTYPE as _) };
    u32::try_from(kind).map_err(|_| io::Error::last_os_error())
}

/// The user namespace that the namespace which `fd` holds belongs to (ioctl_nsfs(2), Linux 4.9).
///
/// # Errors
/// `ENOTTY` where it is no namespace, `EPERM` where that user namespace is not the caller's or one below it.
pub fn namespace_owner(fd: impl AsFd) -> io::Result<OwnedFd> {
    /// `NS_GET_USERNS` of linux/nsfs.h.
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: the request takes no argument.
    let owner = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_USERNS as _) };
    if owner < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for the caller alone.
    Ok(unsafe { OwnedFd::from_raw_fd(owner) })
}

/// Sends any signal, real-time ones and 0 included (pidfd_send_signal(2), Linux 5.1).
///
/// # Errors
/// `ESRCH` where the process has ended, `EINVAL` for a number that is no signal.
pub fn send_signal(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: the information is absent (null), which the call allows.
    let answer = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, std::ptr::null::<u8>(), 0)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
