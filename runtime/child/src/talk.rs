//! Operations that talk with the supervisor.

use crate::interpret::Child;
use crate::op::TalkOp;
use crate::syscall::{self, Answer};

impl Child<'_, '_> {
    pub(crate) fn talk(&mut self, op: &TalkOp) -> Answer<()> {
        match *op {
            // Without a supervisor nobody knows of this process. It may have died before it could
            // be the reason for a death signal.
            TalkOp::Tell { kind } => self.tell(kind as u32, 0, 0, 0),
            TalkOp::Await => self.await_supervisor(),
            TalkOp::Gate { listener } => self.wait_at_gate(self.fd(listener)?),
        }
    }

    pub(crate) fn await_supervisor(&self) -> Answer<()> {
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
                    // Nobody waits behind it now: to whom a killed `start` has left the gate's name, that tells so. Where a
                    // filter refuses it shows when the program runs.
                    let _ = syscall::close(listener);
                    self.reports = connection;
                    return answer.map(drop);
                }
            }
        }
    }
}
