//! Processes: execveat(2) of a descriptor, and what prctl(2) says of the caller.

use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

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

/// Forbids other processes to trace this one or to read its memory and descriptors through /proc.
///
/// # Errors
/// What prctl(2) `PR_SET_DUMPABLE` says.
pub fn set_undumpable() -> io::Result<()> {
    // SAFETY: an option with integer arguments only.
    let answer = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
