//! The making of a container, as a list of what to undo.
//!
//! Promises: what has been made is on the list from that moment on, and in the record before a process can be in it;
//! undone, nothing is left, or the record stays with what is, and `delete` tries again.

use std::path::Path;

use brig_cgroup::Cgroup;

use super::Error;
use super::blueprint::Blueprint;
use super::lock::Lock;
use super::record::{Record, StateDirectory};
use super::recorded::RecordedProcess;
use crate::configuration::Configuration;
use crate::execute::{LaunchedProcess, NetDevices, Resctrl};
use crate::id_pool::IdClaim;
use crate::spec::ContainerId;

/// What has been made besides the state directory, and the process, which is the launch's.
#[derive(Debug)]
pub(super) enum Made {
    /// First, so that it is given back last.
    Ids(IdClaim),
    Cgroup(Cgroup),
    Resctrl(Resctrl),
    Devices(NetDevices),
}

/// A container that has been made.
#[derive(Debug)]
pub(super) struct Created {
    pub(super) directory: StateDirectory,
    pub(super) record: Record,
    pub(super) config: Configuration,
    /// Held since before anything of it was made.
    pub(super) lock: Lock,
    /// Its first process.
    pub(super) process: LaunchedProcess,
}

/// A container that is being made.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) directory: StateDirectory,
    pub(super) record: Record,
    /// Held since before anything was made.
    lock: Lock,
    /// In the order in which it was made.
    made: Vec<Made>,
    /// Whether its hooks have had their turn: poststop hooks follow, where it comes to nothing (runtime.md, "Lifecycle"
    /// steps 3 to 7, 12 and 13).
    pub(super) hooked: bool,
}

impl Transaction {
    /// Makes the state directory and locks it. Whoever finds it knows what to remove, before anything else is made.
    pub(super) fn begin(
        root: &Path,
        id: &ContainerId,
        blueprint: &mut Blueprint,
        record: Record,
    ) -> Result<Self, Error> {
        let (directory, lock) = StateDirectory::make(root, id)?;
        let made: Vec<_> = blueprint.ids.take().map(Made::Ids).into_iter().collect();
        let begun = Self { directory, record, lock, made, hooked: false };
        let saved = begun.directory.save_config(&blueprint.config);
        let saved = saved.and_then(|()| begun.assign_ids()).and_then(|()| begun.save());
        match saved {
            Ok(()) => Ok(begun),
            Err(error) => Err(begun.undo(error, |_| {})),
        }
    }

    /// Says whose the ids are, before the record says the same.
    fn assign_ids(&self) -> Result<(), Error> {
        let path = self.directory.path();
        match self.made.first() {
            Some(Made::Ids(ids)) => ids.assign(path),
            _ => Ok(()),
        }
    }

    /// Puts something on the list. It is recorded with the next [`Self::save`].
    pub(super) fn add(&mut self, made: Made) -> Result<(), Error> {
        let recorded = match &made {
            Made::Ids(_) => Ok(()),
            Made::Cgroup(cgroup) => {
                cgroup.record().map(|record| self.record.cgroup = Some(record)).map_err(Error::from)
            }
            Made::Resctrl(group) => group.record().map(|record| self.record.resctrl = Some(record)),
            // Its end, or that of its namespace, is the kernel's.
            Made::Devices(_) => Ok(()),
        };
        self.made.push(made);
        recorded
    }

    /// The cgroup, once it is made.
    pub(super) fn cgroup(&self) -> Option<&Cgroup> {
        self.made.iter().find_map(|made| match made {
            Made::Cgroup(cgroup) => Some(cgroup),
            _ => None,
        })
    }

    /// Writes the record.
    pub(super) fn save(&self) -> Result<(), Error> {
        self.directory.save(&self.record)
    }

    /// Records the container's process.
    pub(super) fn born(&mut self, process: RecordedProcess) -> Result<(), Error> {
        self.directory.save_process(&process)?;
        self.record.process = Some(process);
        Ok(())
    }

    /// The container is made: nothing is undone any more.
    pub(super) fn commit(self) -> (StateDirectory, Record, Lock) {
        for made in self.made {
            if let Made::Ids(ids) = made {
                ids.keep();
            }
        }
        (self.directory, self.record, self.lock)
    }

    /// Removes what has been made, the last first; the same error, which tells of what could not be. `poststop` comes
    /// before the record goes, if hooks have had their turn.
    pub(super) fn undo(self, error: Error, poststop: impl FnOnce(&Record)) -> Error {
        let mut left = Vec::new();
        for made in self.made.into_iter().rev() {
            match made {
                // While something lives its ids are nobody else's.
                Made::Ids(ids) if !left.is_empty() => ids.keep(),
                made => left.extend(made.undo().err().map(|error| error.to_string())),
            }
        }
        // The record stays with what is left: `delete` tries again.
        if left.is_empty() {
            if self.hooked {
                poststop(&self.record);
            }
            left.extend(self.directory.remove().err().map(|error| error.to_string()));
        }
        if left.is_empty() {
            return error;
        }
        Error::because(format!("cannot clean up ({}) after a failure", left.join("; ")), error)
    }
}

impl Made {
    fn undo(self) -> Result<(), Error> {
        match self {
            Self::Ids(ids) => {
                drop(ids);
                Ok(())
            }
            Self::Cgroup(cgroup) => {
                cgroup.kill()?;
                Ok(cgroup.delete()?)
            }
            Self::Resctrl(group) => group.remove(),
            Self::Devices(devices) => devices.undo(),
        }
    }
}
