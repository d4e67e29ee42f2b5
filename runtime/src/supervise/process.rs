//! A process that this brig has started in a container.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::Error;
use super::observer::{Event, Observer};
use super::record::StateDirectory;
use crate::execute::{self, Exit};
use crate::spec::ContainerId;

/// A process that this brig has started in a container: its child. Its descriptor can be read from when it has ended
/// (pidfd_open(2)).
#[derive(Debug)]
pub struct Process {
    child: execute::LaunchedProcess,
    id: ContainerId,
    observer: Arc<dyn Observer>,
    /// Where it is on record, if it is.
    recorded: Option<Arc<StateDirectory>>,
}

impl Process {
    pub(super) fn new(
        child: execute::LaunchedProcess,
        id: &ContainerId,
        observer: &Arc<dyn Observer>,
    ) -> Self {
        Self { child, id: id.clone(), observer: observer.clone(), recorded: None }
    }

    /// The same of one that `exec` has put on record.
    pub(super) fn recorded_in(self, directory: Option<Arc<StateDirectory>>) -> Self {
        Self { recorded: directory, ..self }
    }

    /// Its pid in brig's pid namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.pid()
    }

    /// Sends it a signal (pidfd_send_signal(2)).
    ///
    /// # Errors
    /// It has ended and been waited for, or the signal is none.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        self.child.signal(signal)
    }

    /// How it has ended, which is told once, to the observer too; `None` while it runs, and while a process that traces it
    /// has not waited for it (ptrace(2)).
    ///
    /// # Errors
    /// What waitid(2) says: its end has been told already.
    pub fn try_wait(&self) -> Result<Option<Exit>, Error> {
        let exit = self.child.try_wait()?;
        if let Some(exit) = exit {
            let pid = self.pid();
            if let Some(directory) = &self.recorded {
                directory.forget_executed(pid);
            }
            self.observer.observe(&self.id, &Event::Exited { pid, exit });
        }
        Ok(exit)
    }

    /// Kills it, as something that belongs to its start has failed; the same error, which tells of a process that does
    /// not end in time.
    #[must_use]
    pub fn end(self, error: Error) -> Error {
        self.child.end(error)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.as_fd()
    }
}
