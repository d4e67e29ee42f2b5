//! Identity, capabilities, Landlock and seccomp.

use core::ffi::CStr;

use crate::flags::open;
use crate::interpret::Child;
use crate::op::{PrivilegeOp, Slot, Tolerance};
use crate::syscall::{self, Answer, failed_call};

impl Child<'_, '_> {
    pub(crate) fn privilege(&mut self, op: &PrivilegeOp<'_>) -> Answer<()> {
        match *op {
            PrivilegeOp::Setgroups { groups } => syscall::setgroups(groups).map(drop),
            PrivilegeOp::Setgid { gid } => syscall::setresgid(gid, gid, gid).map(drop),
            PrivilegeOp::Setuid { uid } => syscall::setresuid(uid, uid, uid).map(drop),
            PrivilegeOp::Setfsid { uid, gid } => set_fsid(uid, gid),
            PrivilegeOp::Prctl { option, value } => {
                syscall::prctl(option, value, 0, 0, 0).map(drop)
            }
            PrivilegeOp::KeepBounding { keep } => keep_bounding(keep),
            PrivilegeOp::Capset { effective, permitted, inheritable, until_execve } => {
                let (effective, permitted) = (effective | until_execve, permitted | until_execve);
                syscall::capset(effective, permitted, inheritable).map(drop)
            }
            PrivilegeOp::SetAmbient { ambient } => set_ambient(ambient),
            PrivilegeOp::LandlockAllow { ruleset, path, access, of_file, tolerates } => {
                landlock_allow(self.fd(ruleset)?, path, [access, of_file], tolerates)
            }
            PrivilegeOp::LandlockRestrictSelf { ruleset } => {
                syscall::landlock_restrict_self(self.fd(ruleset)?, 0).map(drop)
            }
            PrivilegeOp::Seccomp { filter, flags, socket } => self.seccomp(filter, flags, socket),
        }
    }

    fn seccomp(&self, filter: &[u8], flags: u64, socket: Option<(Slot, Slot)>) -> Answer<()> {
        match socket {
            Some((socket, state)) => notify(filter, flags, self.fd(socket)?, self.fd(state)?),
            None => syscall::seccomp_filter(filter, flags).map(drop),
        }
    }
}

fn landlock_allow(
    ruleset: i32,
    path: &CStr,
    [access, of_file]: [u64; 2],
    tolerates: Tolerance,
) -> Answer<()> {
    let opened = syscall::openat2(libc::AT_FDCWD, path, open::PATH, 0, open::NO_MAGICLINKS);
    let Some(fd) = tolerates.apply(opened)? else { return Ok(()) };
    let added = match syscall::landlock_allow(ruleset, fd, access) {
        Err(fault) if fault.errno == libc::EINVAL && of_file != 0 => {
            syscall::landlock_allow(ruleset, fd, of_file)
        }
        answer => answer,
    };
    syscall::close(fd)?;
    added.map(drop)
}

/// setfsuid(2) and setfsgid(2) answer with the id that was there before, whatever they did: a second call tells.
fn set_fsid(uid: u32, gid: u32) -> Answer<()> {
    syscall::setfsgid(gid)?;
    syscall::setfsuid(uid)?;
    if syscall::setfsgid(gid)? as u32 != gid {
        return Err(failed_call(libc::SYS_setfsgid, libc::EPERM));
    }
    if syscall::setfsuid(uid)? as u32 != uid {
        return Err(failed_call(libc::SYS_setfsuid, libc::EPERM));
    }
    Ok(())
}

/// Loads a notifying filter and sends its listener with the container's state.
///
/// Apart, because every page of a stack frame is touched where the frame begins.
#[inline(never)]
fn notify(filter: &[u8], flags: u64, socket: i32, state: i32) -> Answer<()> {
    // From the filter on there is one call, sendmsg: the listener is close-on-exec.
    let mut message = [0; 16384];
    let length = read_from_start(state, &mut message)?;
    let listener = syscall::seccomp_filter(filter, flags)? as i32;
    syscall::send_fd(socket, message.get(..length).unwrap_or_default(), listener).map(drop)
}

fn read_from_start(fd: i32, buffer: &mut [u8]) -> Answer<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..) {
        match syscall::read(fd, rest)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

fn keep_bounding(keep: u64) -> Answer<()> {
    for capability in 0..u64::BITS {
        if keep >> capability & 1 == 1 {
            continue;
        }
        match syscall::prctl(libc::PR_CAPBSET_DROP, u64::from(capability), 0, 0, 0) {
            // The kernel knows no more capabilities; every kernel has the first 38 (Linux 5.8).
            Err(failed) if failed.errno == libc::EINVAL && capability > 37 => break,
            answer => answer.map_err(|failed| failed.at(capability as usize))?,
        };
    }
    Ok(())
}

fn set_ambient(ambient: u64) -> Answer<()> {
    let (clear, raise) = (libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, libc::PR_CAP_AMBIENT_RAISE as u64);
    syscall::prctl(libc::PR_CAP_AMBIENT, clear, 0, 0, 0)?;
    for capability in 0..u64::BITS {
        if ambient >> capability & 1 == 1 {
            syscall::prctl(libc::PR_CAP_AMBIENT, raise, u64::from(capability), 0, 0)
                .map_err(|failed| failed.at(capability as usize))?;
        }
    }
    Ok(())
}
