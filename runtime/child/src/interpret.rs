//! The interpreter: executes operations in order, reports the first failure, ends.

use core::ffi::CStr;

use crate::file::write_all;
use crate::op::{Op, Slot};
use crate::report::{Report, ReportKind};
use crate::said::Said;
use crate::syscall::{self, Answer, FailedCall, failed_call};
use crate::target::Place;

/// What the operations of one child share.
pub(crate) struct Child<'a, 's> {
    slots: &'s mut [i32],
    /// Where reports go: the supervisor, and past the gate whoever opened it.
    pub(crate) reports: i32,
    /// Index of the operation in hand.
    pub(crate) index: u32,
    /// What the last hook said.
    pub(crate) said: Said,
    /// What [`ProgramOp::FindProgram`] found.
    pub(crate) program: Option<&'a CStr>,
    /// The container's root, once it has been looked at: its descriptor, and where it is.
    pub(crate) root: Option<(i32, Place)>,
    /// The last target that was not there and was made.
    pub(crate) made: Option<i32>,
}

/// Runs `ops` and never returns: it ends in execve(2), or in a failure report and exit code 1.
///
/// `supervisors_end` is the other end of the supervisor's socket, which a copied process has too. It is
/// closed first: while anybody but the supervisor held it, the supervisor's end would go unseen.
///
/// `slots` is the table of descriptors: slot 0 holds `AT_FDCWD`, slot 1 the supervisor's socket,
/// others what the plan says the supervisor fills in, or -1.
pub fn run(ops: &[Op<'_>], slots: &mut [i32], supervisors_end: i32) -> ! {
    let reports = slots.get(usize::from(Slot::SUPERVISOR.0)).copied().unwrap_or(-1);
    let said = Said::NOTHING;
    let mut child = Child { slots, reports, index: 0, said, program: None, root: None, made: None };
    if syscall::close(supervisors_end).is_err() {
        syscall::exit(1);
    }
    for (index, op) in ops.iter().enumerate() {
        child.index = index as u32;
        if let Err(failed) = child.execute(op) {
            // Nobody to tell is no reason to go on: it ends here anyway.
            let _ = child.tell_failure(failed);
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
            _ => Err(failed_call(libc::SYS_fcntl, libc::EBADF)),
        }
    }

    /// Puts a new descriptor into `slot`.
    pub(crate) fn put(&mut self, slot: Slot, fd: i32) -> Answer<()> {
        match self.slots.get_mut(usize::from(slot.0)) {
            Some(place) => {
                *place = fd;
                Ok(())
            }
            None => Err(failed_call(libc::SYS_fcntl, libc::EBADF)),
        }
    }

    /// Fails where nobody is left to be told, and where a filter only pretends to write.
    pub(crate) fn tell(&self, kind: u32, call: u32, value: i32, detail: u32) -> Answer<()> {
        let report = Report { kind, op: self.index, call, value, detail };
        write_all(self.reports, &report.to_bytes())
    }

    /// The report, and what a hook has said, in one message.
    fn tell_failure(&self, failed: FailedCall) -> Answer<()> {
        let FailedCall { call, errno, detail } = failed;
        let kind = ReportKind::Failed as u32;
        let report = Report { kind, op: self.index, call, value: errno, detail }.to_bytes();
        let mut message = [0; Report::SIZE + Report::SAID_MAX];
        let mut length = 0;
        for (to, from) in message.iter_mut().zip(report.iter().chain(self.said.bytes())) {
            *to = *from;
            length += 1;
        }
        write_all(self.reports, message.get(..length).unwrap_or_default())
    }

    fn execute(&mut self, op: &Op<'a>) -> Answer<()> {
        match op {
            Op::Namespace(op) => self.namespace(op),
            Op::Talk(op) => self.talk(op),
            Op::File(op) => self.file(op),
            Op::Mount(op) => self.mount(op),
            Op::Process(op) => self.process(op),
            Op::Privilege(op) => self.privilege(op),
            Op::Program(op) => self.program(op),
        }
    }
}

/// The failure of a whole operation where the kernel named none.
pub(crate) fn invalid(call: libc::c_long) -> FailedCall {
    failed_call(call, libc::EINVAL)
}
