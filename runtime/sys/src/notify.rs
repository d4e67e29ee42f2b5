//! Answering the system calls that a seccomp filter reports (seccomp_unotify(2)).
//!
//! Needs Linux 5.5 for [`Reply::Continue`] and 5.9 for the end of a listener that nobody uses any
//! more. Reference: seccomp(2), include/uapi/linux/seccomp.h.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

/// `SECCOMP_IOCTL_NOTIF_RECV`: `_IOWR('!', 0, struct seccomp_notif)`.
const RECEIVE: libc::c_ulong = 0xc050_2100;
/// `SECCOMP_IOCTL_NOTIF_SEND`: `_IOWR('!', 1, struct seccomp_notif_resp)`.
const SEND: libc::c_ulong = 0xc018_2101;
/// `SECCOMP_IOCTL_NOTIF_SET_FLAGS`: `_IOW('!', 4, __u64)`, Linux 6.6.
const SET_FLAGS: libc::c_ulong = 0x4008_2104;
/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`.
const SYNC_WAKE_UP: libc::c_ulong = 1;
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`.
const CONTINUE: u32 = 1;
/// `SECCOMP_SET_MODE_FILTER`, `SECCOMP_GET_NOTIF_SIZES`.
const SET_MODE_FILTER: libc::c_uint = 1;
const GET_NOTIF_SIZES: libc::c_uint = 3;

/// `struct seccomp_notif`, with what it contains of `struct seccomp_data`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Notification {
    /// Names the call when it is answered.
    pub id: u64,
    /// The calling thread, as the reader's pid namespace has it.
    pub pid: u32,
    flags: u32,
    /// The call's number.
    pub number: i32,
    /// `AUDIT_ARCH_*` of the calling convention.
    pub arch: u32,
    /// The address after the call.
    pub instruction_pointer: u64,
    /// Arguments.
    pub args: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// `struct seccomp_notif_sizes`.
#[repr(C)]
#[derive(Default)]
struct Sizes {
    notification: u16,
    response: u16,
    data: u16,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The kernel goes on with it, as if there were no filter. The arguments behind pointers may
    /// have changed since: this is no way to decide about them.
    Continue,
    /// It fails with this errno.
    Fail(i32),
}

/// The descriptor of a filter through which its calls are answered.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Takes a listener into use.
    ///
    /// # Errors
    /// That this kernel's structures are larger than those known here.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let mut sizes = Sizes::default();
        // SAFETY: the operation writes one `struct seccomp_notif_sizes` to the pointer, which is
        // valid for it.
        let answer = unsafe {
            libc::syscall(libc::SYS_seccomp, GET_NOTIF_SIZES, 0, ptr::from_mut(&mut sizes))
        };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        let fits = usize::from(sizes.notification) == size_of::<Notification>()
            && usize::from(sizes.response) == size_of::<Response>();
        if !fits {
            return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
        }
        Ok(Self(fd))
    }

    /// Lets caller and answerer run on one processor by turns, which saves waking up another one;
    /// false where the kernel cannot (before Linux 6.6).
    pub fn wake_synchronously(&self) -> bool {
        // SAFETY: the request takes an integer.
        unsafe { libc::ioctl(self.0.as_raw_fd(), SET_FLAGS as _, SYNC_WAKE_UP) == 0 }
    }

    /// Waits for a call; none where the call is gone before it could be read, as when its thread
    /// was killed. Wait by poll(2) first: older kernels do not end this when nobody is left.
    ///
    /// # Errors
    /// What ioctl(2) says; `ENOTCONN` where nobody uses the filter any more.
    pub fn receive(&self) -> io::Result<Option<Notification>> {
        let mut notification = Notification::default();
        // SAFETY: the request writes one `struct seccomp_notif`, whose size `new` has compared
        // with the kernel's, to memory that is zeroed, as it must be.
        let answer = unsafe {
            libc::ioctl(self.0.as_raw_fd(), RECEIVE as _, ptr::from_mut(&mut notification))
        };
        if answer == 0 {
            return Ok(Some(notification));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::EINTR) => Ok(None),
            _ => Err(error),
        }
    }

    /// Answers a call; false where it is gone: its thread was killed, or is in a signal handler and
    /// will make the call again.
    ///
    /// # Errors
    /// What ioctl(2) says.
    pub fn reply(&self, id: u64, reply: Reply) -> io::Result<bool> {
        let response = match reply {
            Reply::Continue => Response { id, value: 0, error: 0, flags: CONTINUE },
            Reply::Fail(errno) => Response { id, value: 0, error: -errno, flags: 0 },
        };
        // SAFETY: the request reads one `struct seccomp_notif_resp`, which is valid for the call.
        let answer =
            unsafe { libc::ioctl(self.0.as_raw_fd(), SEND as _, ptr::from_ref(&response)) };
        if answer == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENOENT) => Ok(false),
            _ => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether the kernel knows all of these `SECCOMP_FILTER_FLAG_*`. Loads nothing.
#[must_use]
pub fn knows_filter_flags(flags: u64) -> bool {
    // SAFETY: flags are looked at first; the filter's address is null, which the kernel answers
    // with EFAULT without a change.
    let answer = unsafe {
        libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags as libc::c_uint, ptr::null::<u8>())
    };
    answer == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

#[cfg(test)]
mod tests {
    use super::{Notification, Response, knows_filter_flags};

    #[test]
    fn structures_have_the_sizes_that_the_requests_name() {
        assert_eq!(size_of::<Notification>(), 0x50);
        assert_eq!(size_of::<Response>(), 0x18);
    }

    #[test]
    fn flags_that_no_kernel_has_are_unknown() {
        assert!(knows_filter_flags(0));
        assert!(!knows_filter_flags(1 << 31));
    }
}
