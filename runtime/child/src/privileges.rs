//! Identity, capabilities, Landlock and seccomp.

use crate::interpret::{Child, invalid};
use crate::op::{Op, Slot};
use crate::syscall::{self, Answer};

impl<'a> Child<'a, '_> {
    pub(crate) fn execute_privileges(&mut self, op: &Op<'a>) -> Answer<()> {
        match *op {
            Op::Setgroups { groups } => syscall::setgroups(groups).map(drop),
            Op::Setgid { gid } => syscall::setresgid(gid, gid, gid).map(drop),
            Op::Setuid { uid } => syscall::setresuid(uid, uid, uid).map(drop),
            Op::Prctl { option, value } => syscall::prctl(option, value, 0, 0, 0).map(drop),
            Op::KeepBounding { keep } => keep_bounding(keep),
            Op::Capset { effective, permitted, inheritable } => {
                syscall::capset(effective, permitted, inheritable).map(drop)
            }
            Op::SetAmbient { ambient } => set_ambient(ambient),
            Op::LandlockAllow { ruleset, path, access } => {
                syscall::landlock_allow(self.fd(ruleset)?, self.fd(path)?, access).map(drop)
            }
            Op::LandlockRestrictSelf { ruleset } => {
                syscall::landlock_restrict_self(self.fd(ruleset)?, 0).map(drop)
            }
            Op::Seccomp { filter, flags, socket } => self.seccomp(filter, flags, socket),
            Op::CloseAllBut { first, keep } => self.close_all_but(first, keep),
            Op::CloseOnExec { first } => close_on_exec(first),
            _ => Err(invalid(libc::SYS_prctl)),
        }
    }

    fn close_all_but(&self, first: u32, keep: &[Slot]) -> Answer<()> {
        let mut from = first.max(3);
        loop {
            let kept = keep.iter().filter_map(|slot| self.fd(*slot).ok());
            let next = kept.map(i32::cast_unsigned).filter(|fd| *fd >= from).min();
            let Some(next) = next else {
                return syscall::close_range(from, u32::MAX, 0).map(drop);
            };
            if next > from {
                syscall::close_range(from, next - 1, 0)?;
            }
            from = next + 1;
        }
    }

    fn seccomp(&self, filter: &[u8], flags: u64, socket: Option<(Slot, Slot)>) -> Answer<()> {
        match socket {
            Some((socket, state)) => notify(filter, flags, self.fd(socket)?, self.fd(state)?),
            None => syscall::seccomp_filter(filter, flags).map(drop),
        }
    }
}

/// Loads a notifying filter and sends its listener with the container's state.
///
/// Apart, because every page of a stack frame is touched where the frame begins.
#[inline(never)]
fn notify(filter: &[u8], flags: u64, socket: i32, state: i32) -> Answer<()> {
    // Before the filter, which may report this call: then nobody could answer yet.
    let mut message = [0; 16384];
    let length = read_from_start(state, &mut message)?;
    let listener = syscall::seccomp_filter(filter, flags)? as i32;
    syscall::send_fd(socket, message.get(..length).unwrap_or_default(), listener)?;
    syscall::close(listener).map(drop)
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
            Err(fault) if fault.errno == libc::EINVAL && capability > 37 => break,
            answer => answer.map_err(|fault| fault.at(capability as usize))?,
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
                .map_err(|fault| fault.at(capability as usize))?;
        }
    }
    Ok(())
}

fn close_on_exec(first: u32) -> Answer<()> {
    for fd in 3..first {
        // A hole among the descriptors to preserve stays one.
        match syscall::ioctl(fd as i32, libc::FIONCLEX, 0) {
            Err(fault) if fault.errno == libc::EBADF => {}
            answer => drop(answer?),
        }
    }
    syscall::close_range(first.max(3), u32::MAX, libc::CLOSE_RANGE_CLOEXEC).map(drop)
}
