//! mount_setattr(2), Linux 5.12: nix and rustix have the rest of the mount API.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

pub use brig_child::syscall::MountAttr;

/// Changes the attributes of the mount that `fd` is the root of.
///
/// # Errors
/// What mount_setattr(2) says.
pub fn mount_setattr(fd: impl AsFd, recursive: bool, attr: &MountAttr) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    setattr(fd.as_fd().as_raw_fd(), c"", flags, attr)
}

/// Changes the attributes of the mount at `path`, which must be a mount's root.
///
/// # Errors
/// What mount_setattr(2) says.
pub fn mount_setattr_at(path: &CStr, recursive: bool, attr: &MountAttr) -> io::Result<()> {
    setattr(libc::AT_FDCWD, path, if recursive { libc::AT_RECURSIVE } else { 0 }, attr)
}

fn setattr(dir: i32, path: &CStr, flags: i32, attr: &MountAttr) -> io::Result<()> {
    // SAFETY: `path` and `attr` are live references, and the size is that of `attr`.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir,
            path.as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
