//! Operations on what the process has: signals, limits, descriptors, a terminal, a working directory.

use core::ffi::CStr;

use crate::device;
use crate::file::require;
use crate::interpret::Child;
use crate::op::{Identity, ProcessOp, Slot, Tolerance};
use crate::syscall::{self, Answer, failed_call};
use crate::target::{NO_MAGICLINKS, PATH_MAX, make_path};

impl Child<'_, '_> {
    pub(crate) fn process(&mut self, op: &ProcessOp<'_>) -> Answer<()> {
        match *op {
            ProcessOp::DieWithParent { enabled } => die_with_parent(enabled),
            ProcessOp::ResetSignals => syscall::reset_signals(),
            ProcessOp::EndOnSignals => syscall::end_on_signals(),
            ProcessOp::Setsid => syscall::setsid().map(drop),
            ProcessOp::Dup { from, to } => syscall::dup3(self.fd(from)?, to, 0).map(drop),
            ProcessOp::OwnNull { standard } => own_null(standard),
            ProcessOp::Console { pts, socket, size, owner, console } => {
                self.open_console(pts, socket, size, owner, console)
            }
            ProcessOp::Prlimit { resource, soft, hard } => {
                syscall::prlimit(resource, Some(&[soft, hard])).map(drop)
            }
            ProcessOp::RaiseLimit { resource, hard } => raise_limit(resource, hard),
            ProcessOp::Personality { domain } => syscall::personality(domain).map(drop),
            ProcessOp::SchedSetattr { ref attr } => syscall::sched_setattr(attr).map(drop),
            ProcessOp::SchedSetaffinity { mask } => syscall::sched_setaffinity(mask).map(drop),
            ProcessOp::IoprioSet { prio } => {
                const IOPRIO_WHO_PROCESS: i32 = 1;
                syscall::ioprio_set(IOPRIO_WHO_PROCESS, 0, prio).map(drop)
            }
            ProcessOp::SetMempolicy { mode, nodes } => {
                syscall::set_mempolicy(mode, nodes).map(drop)
            }
            ProcessOp::JoinSessionKeyring { name, tolerates } => {
                tolerates.apply(syscall::keyctl_join_session(name)).map(drop)
            }
            ProcessOp::Umask { mask } => syscall::umask(mask).map(drop),
            ProcessOp::Chdir { path, create } => change_directory(path, create),
            // A user namespace may keep it out of the bundle.
            ProcessOp::Visit { path } => {
                syscall::chdir(path).or_else(|_| syscall::chdir(c"/")).map(drop)
            }
            ProcessOp::CloseAllBut { first, keep } => self.close_all_but(first, keep),
            ProcessOp::CloseOnExec { first, tolerates } => close_on_exec(first, tolerates),
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
}

fn die_with_parent(enabled: bool) -> Answer<()> {
    let signal = if enabled { libc::SIGKILL as u64 } else { 0 };
    syscall::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0).map(drop)
}

fn raise_limit(resource: u32, hard: u64) -> Answer<()> {
    let [soft, old] = syscall::prlimit(resource, None)?;
    if old >= hard {
        return Ok(());
    }
    syscall::prlimit(resource, Some(&[soft, hard])).map(drop)
}

/// Documentation/admin-guide/devices.txt.
const NULL: Identity = Identity::Node { kind: libc::S_IFCHR, device: device::encode(1, 3) };

/// Another file there is the image's: it is not what the caller has given.
fn own_null(standard: [bool; 3]) -> Answer<()> {
    let flags = libc::O_RDWR | libc::O_NOCTTY;
    let null = syscall::openat2(libc::AT_FDCWD, c"/dev/null", flags, 0, NO_MAGICLINKS)?;
    require(null, NULL)?;
    for (number, _) in (0..).zip(standard).filter(|(_, replaced)| *replaced) {
        syscall::dup3(null, number, 0)?;
    }
    syscall::close(null).map(drop)
}

/// chdir(2), and proof that the directory is inside the root (CVE-2024-21626).
fn change_directory(path: &CStr, create: bool) -> Answer<()> {
    let open = || {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        syscall::openat2(libc::AT_FDCWD, path, flags, 0, NO_MAGICLINKS)
    };
    let directory = match open() {
        Err(failed) if create && failed.errno == libc::ENOENT => {
            make_path(libc::AT_FDCWD, path, true)?;
            open()?
        }
        answer => answer?,
    };
    syscall::fchdir(directory)?;
    syscall::close(directory)?;
    let mut buffer = [0; PATH_MAX];
    syscall::getcwd(&mut buffer)?;
    if buffer.first() == Some(&b'/') {
        Ok(())
    } else {
        Err(failed_call(libc::SYS_getcwd, libc::EXDEV))
    }
}

fn close_on_exec(first: u32, tolerates: Tolerance) -> Answer<()> {
    for fd in 3..first {
        tolerates.apply(syscall::ioctl(fd as i32, libc::FIONCLEX, 0))?;
    }
    syscall::close_range(first.max(3), u32::MAX, libc::CLOSE_RANGE_CLOEXEC).map(drop)
}
