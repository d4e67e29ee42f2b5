//! Processes that a record names: found by pid and start time, held by pidfd.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::small_file;

/// The start time of a process in clock ticks since boot, and whether it still runs.
pub(super) fn start_time(pid: i32) -> io::Result<(u64, bool)> {
    let text = small_file::read_text(format!("/proc/{pid}/stat"))?;
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "unexpected /proc/PID/stat");
    // The name in parentheses may contain anything, parentheses included.
    let (_, rest) = text.rsplit_once(')').ok_or_else(broken)?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next().ok_or_else(broken)?;
    // The state is field 3, the start time field 22.
    let ticks = fields.nth(18).and_then(|ticks| ticks.parse().ok()).ok_or_else(broken)?;
    Ok((ticks, !matches!(state, "Z" | "X" | "x")))
}

/// A descriptor of the process, if it is still the one that was recorded and runs.
pub(super) fn open_recorded(pid: i32, started: u64) -> Option<OwnedFd> {
    let fd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    // Read after opening: if this is the recorded process now, the descriptor is of it too.
    match start_time(pid) {
        Ok((ticks, true)) if ticks == started => Some(fd),
        _ => None,
    }
}

/// Waits for the end of a child.
///
/// # Errors
/// What waitid(2) says.
pub fn wait_for_exit(pidfd: impl AsFd) -> io::Result<WaitStatus> {
    loop {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::__WALL;
        match waitid(Id::PIDFd(pidfd.as_fd()), flags) {
            Err(Errno::EINTR) => {}
            answer => return Ok(answer?),
        }
    }
}

/// The exit code that a shell would give: the process's own, or 128 + the signal.
#[must_use]
pub fn exit_code(status: WaitStatus) -> u8 {
    let code = match status {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        _ => 255,
    };
    u8::try_from(code & 0xff).unwrap_or(255)
}
