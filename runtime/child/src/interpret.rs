//! The interpreter: executes operations in order, reports the first failure, ends.

use core::ffi::CStr;

use crate::execute::write_all;
use crate::op::{Op, Slot};
use crate::report::{Report, ReportKind};
use crate::syscall::{self, Answer, Fault, fault};

/// What the operations of one child share.
pub(crate) struct Child<'a, 's> {
    slots: &'s mut [i32],
    /// Where records go: the supervisor, and past the gate whoever opened it.
    pub(crate) reports: i32,
    /// Index of the operation in hand.
    pub(crate) index: u32,
    /// What [`Op::FindProgram`] found.
    pub(crate) program: Option<&'a CStr>,
}

/// Runs `ops` and never returns: it ends in execve(2), or in a failure record and exit code 1.
///
/// `supervisors_end` is the other end of the supervisor's socket, which a copied process has too. It is
/// closed first: while anybody but the supervisor held it, the supervisor's end would go unseen.
///
/// `slots` is the table of descriptors: slot 0 holds `AT_FDCWD`, slot 1 the supervisor's socket,
/// others what the plan says the supervisor fills in, or -1.
pub fn run(ops: &[Op<'_>], slots: &mut [i32], supervisors_end: i32) -> ! {
    let reports = slots.get(usize::from(Slot::SUPERVISOR.0)).copied().unwrap_or(-1);
    let mut child = Child { slots, reports, index: 0, program: None };
    if syscall::close(supervisors_end).is_err() {
        syscall::exit(1);
    }
    for (index, op) in ops.iter().enumerate() {
        child.index = index as u32;
        if let Err(fault) = child.execute(op) {
            // Nobody to tell is no reason to go on: it ends here anyway.
            let _ = child.tell(ReportKind::Failed as u32, fault.call, fault.errno, fault.detail);
            break;
        }
    }
    syscall::exit(1)
}

impl<'a> Child<'a, '_> {
    /// The descriptor in `slot`.
    pub(crate) fn fd(&self, slot: Slot) -> Answer<i32> {
        match self.slots.get(usize::from(slot.0)) {
            Some(&fd) if fd != -1 => Ok(fd),
            _ => Err(fault(libc::SYS_fcntl, libc::EBADF)),
        }
    }

    /// Puts a new descriptor into `slot`.
    pub(crate) fn put(&mut self, slot: Slot, fd: i32) -> Answer<()> {
        match self.slots.get_mut(usize::from(slot.0)) {
            Some(place) => {
                *place = fd;
                Ok(())
            }
            None => Err(fault(libc::SYS_fcntl, libc::EBADF)),
        }
    }

    /// Fails where nobody is left to be told, and where a filter only pretends to write.
    pub(crate) fn tell(&self, kind: u32, call: u32, value: i32, detail: u32) -> Answer<()> {
        let report = Report { kind, op: self.index, call, value, detail };
        write_all(self.reports, &report.to_bytes())
    }

    fn execute(&mut self, op: &Op<'a>) -> Answer<()> {
        match *op {
            Op::Setns { fd, flags } => syscall::setns(self.fd(fd)?, flags).map(drop),
            Op::Unshare { flags } => syscall::unshare(flags).map(drop),
            Op::Clone { flags, cgroup } => self.clone_sibling(flags, cgroup),
            Op::DieWithParent { enabled } => die_with_parent(enabled),
            Op::ResetSignals => syscall::reset_signals(),
            Op::EndOnSignals => syscall::end_on_signals(),
            // Without a supervisor nobody knows of this process. It may have died before it could
            // be the reason for a death signal.
            Op::Tell { kind } => self.tell(kind, 0, 0, 0),
            Op::Await => self.await_supervisor(),
            Op::Gate { listener } => self.wait_at_gate(self.fd(listener)?),
            Op::Open { .. }
            | Op::WriteFile { .. }
            | Op::VerifyFile { .. }
            | Op::Write { .. }
            | Op::Mkdir { .. }
            | Op::Mknod { .. }
            | Op::Expect { .. }
            | Op::Symlink { .. }
            | Op::OpenTarget { .. } => self.execute_file(op),
            Op::OpenTree { .. }
            | Op::Fsmount { .. }
            | Op::MountSetattr { .. }
            | Op::MountIdmap { .. }
            | Op::MoveMount { .. }
            | Op::MoveMountTo { .. }
            | Op::Mask { .. }
            | Op::Readonly { .. }
            | Op::Setxattr { .. }
            | Op::CopyUp { .. }
            | Op::EnterRoot { .. } => self.execute_mount(op),
            Op::Hook(ref hook) => self.run_hook(hook),
            Op::Console { .. } => self.execute_console(op),
            Op::FindProgram { candidates } => self.find_program(candidates),
            Op::Execve { argv, envp } => self.execve(argv, envp),
            _ => self.execute_process(op),
        }
    }

    /// Makes the container's process a child of this one's parent; this one ends here.
    ///
    /// Both send to one socket, and nothing orders what two processes send. So the new one waits until the
    /// supervisor knows it, has recorded it, and says so.
    fn clone_sibling(&self, flags: u64, cgroup: Option<Slot>) -> Answer<()> {
        let mut args =
            syscall::CloneArgs { flags: flags | libc::CLONE_PARENT as u64, ..Default::default() };
        if let Some(cgroup) = cgroup {
            args.flags |= syscall::CLONE_INTO_CGROUP;
            args.cgroup = self.fd(cgroup)? as u64;
        }
        let pid = syscall::clone3_fork(&args)?;
        if pid == 0 {
            return self.await_supervisor();
        }
        let _ = self.tell(ReportKind::Cloned as u32, 0, pid as i32, 0);
        syscall::exit(0)
    }

    fn await_supervisor(&self) -> Answer<()> {
        let mut byte = [0];
        if syscall::read(self.reports, &mut byte)? == 0 {
            // The supervisor is gone, and with it the wish for this container.
            syscall::exit(1);
        }
        Ok(())
    }

    fn wait_at_gate(&mut self, listener: i32) -> Answer<()> {
        loop {
            let connection = syscall::accept(listener)?;
            let mut byte = [0];
            // One that ends without a byte was not meant; where a filter refuses to read, whoever opens the
            // gate must hear of it, as an end without a report is success.
            match syscall::read(connection, &mut byte) {
                Ok(0) => syscall::close(connection).map(drop)?,
                answer => {
                    self.reports = connection;
                    return answer.map(drop);
                }
            }
        }
    }
}

fn die_with_parent(enabled: bool) -> Answer<()> {
    let signal = if enabled { libc::SIGKILL as u64 } else { 0 };
    syscall::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0).map(drop)
}

/// The failure of a whole operation where the kernel named none.
pub(crate) fn invalid(call: libc::c_long) -> Fault {
    fault(call, libc::EINVAL)
}
