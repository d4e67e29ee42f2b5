//! A container that exists, for who wants something of it.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use brig_cgroup::{Cgroup, Stats};

use super::control::Happened;
use super::delete::Force;
use super::exec::{self, ExecOptions};
use super::known::{Known, Shown};
use super::lock::Lock;
use super::observer::{Observer, told};
use super::process::Process;
use super::record::{Record, StateDirectory};
use super::status::Status;
use super::transaction::Created;
use super::{Error, Io};
use crate::configuration::Configuration;
use crate::execute::Wait;
use crate::policy::{Applied, Hardened};
use crate::spec::{ContainerId, Resources};

/// A handle of a container: it can be kept as long as one likes, and used by several threads at once. Each operation asks
/// anew how the container is; others may work on it meanwhile, by this handle or from other processes, and are waited
/// for (10 s at most) where that is needed.
///
/// It is that of one container: after its removal operations fail, also where another has its id by then.
#[derive(Clone, Debug)]
pub struct Container {
    observer: Arc<dyn Observer>,
    id: ContainerId,
    directory: Arc<StateDirectory>,
    /// Known where this brig has made it: then nobody changes it any more.
    record: Option<Arc<Record>>,
}

impl Container {
    pub(super) fn found(
        observer: Arc<dyn Observer>,
        id: ContainerId,
        directory: StateDirectory,
    ) -> Self {
        Self { observer, id, directory: Arc::new(directory), record: None }
    }

    /// The container that has just been made, what is known of it, its process, and its lock.
    pub(super) fn of(
        observer: &Arc<dyn Observer>,
        id: &ContainerId,
        created: Created,
    ) -> (Self, Known, Process, Lock) {
        let Created { directory, record, config, process, lock } = created;
        let process = Process::new(process, id, observer);
        let (directory, record) = (Arc::new(directory.with_config(config)), Arc::new(record));
        let container =
            Self { observer: observer.clone(), id: id.clone(), directory, record: Some(record) };
        let known = container.made();
        (container, known, process, lock)
    }

    fn made(&self) -> Known {
        Known {
            observer: self.observer.clone(),
            id: self.id.clone(),
            directory: Arc::clone(&self.directory),
            record: self.record.clone(),
            damage: None,
        }
    }

    /// What is recorded of it now.
    fn now(&self) -> Result<Known, Error> {
        let known = match &self.record {
            Some(_) => self.made(),
            None => Known::read(&self.observer, &self.id, &self.directory)?,
        };
        // What is read of a directory that has been removed is nothing.
        let may_be_gone = self.record.is_some() || known.is_unrecorded();
        if may_be_gone && !self.directory.is_there()? {
            return Err(Known::missing(&self.id));
        }
        Ok(known)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Its configuration, as it was at create.
    ///
    /// # Errors
    /// The copy cannot be read.
    pub fn config(&self) -> Result<&Configuration, Error> {
        self.directory.config()
    }

    /// Its specification, as it was at create.
    ///
    /// # Errors
    /// The copy cannot be read.
    pub fn spec(&self) -> Result<&Hardened, Error> {
        self.config().map(|config| &config.spec)
    }

    /// Its cgroup.
    ///
    /// # Errors
    /// There is none yet, or the record names no cgroup of a container.
    pub fn cgroup(&self) -> Result<Cgroup, Error> {
        self.now()?.cgroup()
    }

    /// A descriptor of its first process (pidfd_open(2)); `None` before there is one, and once it has ended.
    ///
    /// # Errors
    /// Whether it has ended cannot be known.
    pub fn init(&self) -> Result<Option<OwnedFd>, Error> {
        self.now()?.init()
    }

    /// Its status now.
    ///
    /// # Errors
    /// It cannot be known.
    pub fn status(&self) -> Result<Status, Error> {
        self.now()?.status()
    }

    /// What `state` prints.
    ///
    /// # Errors
    /// As [`Container::status`]; brig was killed before it had made it, or the record is damaged.
    pub fn show(&self) -> Result<Shown, Error> {
        self.now()?.show()
    }

    /// Lets the program run, and waits until it does. Poststart hooks end when brig is asked to stop.
    ///
    /// # Errors
    /// The container is not in the state `created`, or the program cannot be executed, or a
    /// poststart hook fails.
    pub fn start(&self, wait: &mut dyn Wait) -> Result<(), Error> {
        self.now()?.start(None, wait).map(drop)
    }

    /// The same, and `socket` hears from now on what the program says of its state: see [`super::Options::notify`]. False where
    /// the container was made without such a socket: its program knows of none.
    ///
    /// # Errors
    /// As [`Container::start`].
    pub fn start_heard(&self, socket: BorrowedFd<'_>, wait: &mut dyn Wait) -> Result<bool, Error> {
        self.now()?.start(Some(socket), wait)
    }

    /// Starts another process in it.
    ///
    /// # Errors
    /// The container does not run, or the process cannot be started; then none is left.
    pub fn exec(
        &self,
        options: &ExecOptions,
        io: Io,
        wait: &mut dyn Wait,
    ) -> Result<Process, Error> {
        told(&*self.observer, &self.id, exec::exec(&self.now()?, options, io, wait))
    }

    /// Sends `signal` to its first process, or with `all` to every process of its cgroup.
    ///
    /// # Errors
    /// It does not run, or the kernel refuses.
    pub fn kill(&self, signal: i32, all: bool) -> Result<(), Error> {
        self.now()?.kill(signal, all)
    }

    /// Freezes its processes, and waits until they are.
    ///
    /// # Errors
    /// It is neither created nor running, or the cgroup cannot be frozen; then it runs on.
    pub fn pause(&self) -> Result<(), Error> {
        self.now()?.pause()
    }

    /// Lets its frozen processes run again.
    ///
    /// # Errors
    /// It is not paused.
    pub fn resume(&self) -> Result<(), Error> {
        self.now()?.resume()
    }

    /// The pids of its processes as brig's pid namespace sees them, sorted; none when it has stopped.
    ///
    /// # Errors
    /// The cgroup cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        self.now()?.pids()
    }

    /// What it uses.
    ///
    /// # Errors
    /// It does not run, or the cgroup cannot be read.
    pub fn stats(&self) -> Result<Stats, Error> {
        self.now()?.stats()
    }

    /// By which profile of the node it was made, and what that has decided.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn applied(&self) -> Result<Applied, Error> {
        Ok(self.now()?.directory.config()?.applied.clone())
    }

    /// Changes the limits that `resources` names.
    ///
    /// # Errors
    /// It does not run, or the first limit that the kernel refuses, with those before it in effect.
    pub fn update(&self, resources: &Resources) -> Result<(), Error> {
        told(&*self.observer, &self.id, self.now()?.update(resources))
    }

    /// Tells what happens until it ends; `tell` may end the watching with an error.
    ///
    /// # Errors
    /// As [`Container::stats`]; out-of-memory events cannot be had; what `tell` says.
    pub fn watch<E: From<Error>>(
        &self,
        interval: Duration,
        tell: impl FnMut(Happened) -> Result<(), E>,
    ) -> Result<(), E> {
        self.now()?.watch(interval, tell)
    }

    /// Removes it wholly.
    ///
    /// # Errors
    /// It runs and `force` does not say otherwise, or something could not be removed.
    pub fn delete(&self, force: Force) -> Result<(), Error> {
        self.now()?.delete(force)
    }

    /// Removes it after the end of its process, for who has made it and waited for that. Hooks end when `stop` can be
    /// read. Nothing where somebody else has removed it.
    ///
    /// # Errors
    /// Something lives, or could not be removed.
    pub fn remove(&self, stop: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        match &self.record {
            Some(_) => self.made().remove(stop),
            None => Known::read(&self.observer, &self.id, &self.directory)?.remove(stop),
        }
    }
}
