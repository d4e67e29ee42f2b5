//! The machine, as far as brig keeps containers on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blueprint::Blueprint;
use super::container::Container;
use super::held::HeldNamespaces;
use super::known::Known;
use super::observer::{Nobody, Observer, told};
use super::record::{Listed, StateDirectory};
use super::{Error, Systemd, record};
use crate::node_policy::PolicyFile;
use crate::policy::{Applied, NodePolicy};
use crate::spec::ContainerId;

/// What holds for all containers of a program: where they are kept, what makes their cgroups, which policy they are held
/// against, and who is told of them. Cheap to clone; one of them makes as many containers as one likes, from any thread.
///
/// What cannot change while a program lives, [who calls](crate::caller::Caller::get), is asked once. All else of the machine
/// is asked for each container: a policy file is edited, the kept mount namespace unmounted, a service moved to another
/// cgroup.
#[derive(Clone, Debug)]
pub struct Node {
    root: Arc<Path>,
    systemd: Option<Arc<Systemd>>,
    profile: Option<Arc<str>>,
    policy: Arc<PolicyFile>,
    observer: Arc<dyn Observer>,
}

impl Node {
    /// Containers are kept below the directory `root`, which is made when it is needed. Nobody but the caller and root
    /// may be able to write there, nor in a directory above it: operations fail otherwise. They are held against the
    /// default profile of the node's policy, and brig makes their cgroups.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: Arc::from(root.into()),
            systemd: None,
            profile: None,
            policy: Arc::new(PolicyFile::new(None, false)),
            observer: Arc::new(Nobody),
        }
    }

    /// The same, with somebody who hears of what happens.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// The same, where systemd makes cgroups.
    #[must_use]
    pub fn with_systemd(self, systemd: Systemd) -> Self {
        Self { systemd: Some(Arc::new(systemd)), ..self }.reading_anew()
    }

    /// The same, with another profile than the policy's default, which the policy must let be selected.
    #[must_use]
    pub fn with_profile(self, name: &str) -> Self {
        Self { profile: Some(Arc::from(name)), ..self }.reading_anew()
    }

    fn reading_anew(self) -> Self {
        let selected = self.profile.as_deref().map(str::to_owned);
        Self { policy: Arc::new(PolicyFile::new(selected, self.systemd.is_some())), ..self }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn systemd(&self) -> Option<&Systemd> {
        self.systemd.as_deref()
    }

    pub(super) fn observer(&self) -> &Arc<dyn Observer> {
        &self.observer
    }

    /// What the node's policy grants a container that is made now.
    ///
    /// # Errors
    /// As [`PolicyFile::read`].
    pub fn policy(&self) -> Result<NodePolicy, Error> {
        self.policy.read()
    }

    /// Reads the bundle of a container that is to have this id, and holds what it asks for against what the node grants
    /// now. What `exec` and `update` are granted later is decided by the same profile.
    ///
    /// # Errors
    /// Names what is missing, or the field that is refused; or as [`Node::policy`].
    pub fn blueprint(&self, id: &ContainerId, bundle: &Path) -> Result<Blueprint, Error> {
        self.blueprint_joining(id, bundle, HeldNamespaces::default())
    }

    /// The same, of a container that joins these namespaces besides those that its config.json names by path. Of a type
    /// that the bundle has an entry without a path for, or none, the one that is held is the container's.
    ///
    /// # Errors
    /// As [`Node::blueprint`]; one of them is no namespace, or of another type; the bundle names a path for one.
    pub fn blueprint_joining(
        &self,
        id: &ContainerId,
        bundle: &Path,
        namespaces: HeldNamespaces,
    ) -> Result<Blueprint, Error> {
        let blueprint = Blueprint::of_bundle(bundle, namespaces, &self.policy()?);
        told(&*self.observer, id, blueprint)
    }

    /// All that the node's policy decides about a bundle now, also where it refuses something of it; its root need not be
    /// there.
    ///
    /// # Errors
    /// config.json cannot be read; or as [`Node::policy`].
    pub fn judge(&self, bundle: &Path) -> Result<Applied, Error> {
        Blueprint::judge(bundle, &self.policy()?)
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
