//! Waiting for a process that may be frozen: it would never answer.
//!
//! Promises: whoever waits for the container's process to be set up, or to run its program, hears after a while that its
//! cgroup, or one above it, is frozen. Nothing is asked while the process answers in time. Must never thaw what somebody
//! else has frozen.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use brig_cgroup::{Cgroup, CgroupRecord};

use super::Error;
use crate::deadline::Deadline;
use crate::execute::Wait;
use crate::failure::Kind;

/// How long a process may take before it is asked whether it can answer at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// A wait that ends where the process is frozen.
pub(super) struct UnlessFrozen<'w> {
    wait: &'w mut dyn Wait,
    cgroup: Option<CgroupRecord>,
}

impl<'w> UnlessFrozen<'w> {
    /// For a process in this cgroup; without one nothing can freeze it.
    pub(super) fn new(wait: &'w mut dyn Wait, cgroup: Option<CgroupRecord>) -> Self {
        Self { wait, cgroup }
    }

    fn check(&self) -> Result<(), Error> {
        let Some(record) = &self.cgroup else { return Ok(()) };
        match Cgroup::open(record)?.frozen_at()? {
            None => Ok(()),
            Some(path) => Err(Error::plain(format!(
                "the container's process is frozen: cgroup {} or an ancestor is frozen",
                path.display()
            ))
            .of_kind(Kind::WrongState)
            .with_hint("thaw it (cgroup.freeze 0; on v1 freezer.state THAWED), and try again")),
        }
    }
}

impl Wait for UnlessFrozen<'_> {
    fn wait(&mut self, fds: [BorrowedFd<'_>; 2], until: Deadline) -> Result<[bool; 2], Error> {
        loop {
            let turn = Deadline::after(PATIENCE);
            let ready = self.wait.wait(fds, until.or_before(turn))?;
            if ready != [false, false] || until.is_over() {
                return Ok(ready);
            }
            if turn.is_over() {
                self.check()?;
            }
        }
    }

    fn stop(&self) -> Option<BorrowedFd<'_>> {
        self.wait.stop()
    }
}
