//! The machine, as far as brig keeps containers on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blueprint::Blueprint;
use super::container::Container;
use super::known::Known;
use super::observer::{Nobody, Observer, told};
use super::record::{Listed, StateDirectory};
use super::{Error, record};
use crate::policy::NodePolicy;
use crate::spec::ContainerId;

/// Where containers are kept, and who is told of them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Node {
    root: Arc<Path>,
    observer: Arc<dyn Observer>,
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

    pub(super) fn observer(&self) -> &Arc<dyn Observer> {
        &self.observer
    }

    /// Reads the bundle of a container that is to have this id, and holds what it asks for against what the node grants.
    ///
    /// # Errors
    /// As [`Blueprint::of_bundle`].
    pub fn blueprint(
        &self,
        id: &ContainerId,
        bundle: &Path,
        policy: &NodePolicy,
    ) -> Result<Blueprint, Error> {
        told(&*self.observer, id, Blueprint::of_bundle(bundle, policy))
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
        Ok(directory
            .map(|directory| Container::found(self.observer.clone(), id.clone(), directory)))
    }

    /// Lists all containers.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Listed, Error> {
        record::list(&self.root)
    }
}
