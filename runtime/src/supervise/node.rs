//! The machine, as far as brig keeps containers on it, and who hears of what happens to them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blueprint::Blueprint;
use super::container::Container;
use super::create::{self, Options};
use super::known::Known;
use super::record::{Listed, StateDirectory};
use super::{Error, Io, record, run};
use crate::execute::{Process, Wait};
use crate::spec::ContainerId;

/// Where containers are kept, and who is told of them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Node {
    root: Arc<Path>,
    observer: Arc<dyn Observer>,
}

/// Hears what happens to containers, from whichever thread it happens in. It must not wait: the operation does meanwhile.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Something has happened to container `id`.
    fn observe(&self, id: &ContainerId, event: &Event<'_>);
}

/// What has happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// Its first process is there, recorded, and is being set up.
    Born {
        /// Its pid in brig's pid namespace.
        pid: i32,
    },
    /// Its program runs.
    Started,
    /// Its memory has run out; told to who watches it ([`Container::watch`]).
    OutOfMemory,
    /// An operation has gone on without something, in words for people.
    Warned(&'e str),
}

/// Nobody hears.
#[derive(Debug)]
struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _: &ContainerId, _: &Event<'_>) {}
}

impl Node {
    /// Containers are kept below the directory `root`, which is made when it is needed. Nobody but the caller and root
    /// may be able to write there, nor in a directory above it: operations fail otherwise.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: Arc::from(root.into()), observer: Arc::new(Nobody) }
    }

    /// The same, with somebody who hears of what happens.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn tell(&self, id: &ContainerId, event: &Event<'_>) {
        self.observer.observe(id, event);
    }

    /// Makes a container whose process waits to be started.
    ///
    /// # Errors
    /// Names the field or the step; then nothing is left.
    pub fn create(
        &self,
        id: &ContainerId,
        blueprint: Blueprint,
        options: &Options,
        io: Io,
        wait: &mut dyn Wait,
    ) -> Result<(Container, Process), Error> {
        create::create(self, id, blueprint, options, io, wait)
    }

    /// Makes a container whose program runs at once. Who waits for its end removes it then ([`Container::remove`]).
    ///
    /// # Errors
    /// As [`Node::create`] and [`Container::start`]; then nothing is left, nor of one whose poststart hooks fail.
    pub fn run(
        &self,
        id: &ContainerId,
        blueprint: Blueprint,
        options: &Options,
        io: Io,
        wait: &mut dyn Wait,
    ) -> Result<(Container, Process), Error> {
        run::run(self, id, blueprint, options, io, wait)
    }

    /// The container with this id.
    ///
    /// # Errors
    /// There is none, or as [`Node::find`].
    pub fn container(&self, id: &ContainerId) -> Result<Container, Error> {
        self.find(id)?.ok_or_else(|| Known::missing(id))
    }

    /// The same; `None` where there is none.
    ///
    /// # Errors
    /// Another user can have put there what is in its directory.
    pub fn find(&self, id: &ContainerId) -> Result<Option<Container>, Error> {
        let directory = StateDirectory::find(&self.root, id)?;
        Ok(directory.map(|directory| Container::found(self.clone(), id.clone(), directory)))
    }

    /// Lists all containers.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Listed, Error> {
        record::list(&self.root)
    }
}
