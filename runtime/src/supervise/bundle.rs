//! What is read of a bundle: the blueprint that it is.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::blueprint::Blueprint;
use super::held::HeldNamespaces;
use super::remap::is_overlay;
use super::root::Root;
use super::{Error, ErrorKind, home, ids};
use crate::configuration::Configuration;
use crate::filter::Filter;
use crate::foreign;
use crate::policy::{self, Applied, Facts, NodePolicy, Remap};
use crate::sources::HeldSources;

impl Blueprint {
    /// Reads a bundle, and holds what it asks for against what the node grants.
    pub(super) fn of_bundle(
        bundle: &Path,
        namespaces: HeldNamespaces,
        node: &NodePolicy,
    ) -> Result<Self, Error> {
        Self::read(bundle, namespaces, node, ids::claim)
    }

    /// The same for who only looks at it: the ids that it shows are an example, and nobody's.
    pub(super) fn shown(bundle: &Path, node: &NodePolicy) -> Result<Self, Error> {
        Self::read(bundle, HeldNamespaces::default(), node, ids::example)
    }

    fn read(
        bundle: &Path,
        namespaces: HeldNamespaces,
        node: &NodePolicy,
        ids: ids::Chosen,
    ) -> Result<Self, Error> {
        let (directory, bundle) = found(bundle)?;
        let (of_bundle, asked) = Configuration::read(&directory, &bundle)?;
        let (text, asked) = namespaces.asked_for(&of_bundle, asked)?;
        let of_node = node;
        let node = &*of_node.of_container(&asked.config().annotations);
        let root = Root::of_bundle(directory.as_fd(), &bundle, asked.config())?;
        let (remap, ids) = ids(asked.config(), node)?;
        let overlay_root = remap != node.facts.remap && is_overlay(&root);
        let facts = Facts { remap, overlay_root, ..node.facts.clone() };
        let node = &NodePolicy { facts, ..node.clone() };
        let root_files = root.files().next();
        let sources = HeldSources::find(asked.config(), &bundle, root_files, &node.profile);
        let (text, of_bundle) = match text {
            Some(text) => (text, Some(of_bundle)),
            None => (of_bundle, None),
        };
        let mut config = Configuration::harden(&bundle, text, asked, node, &sources)?;
        config.asked = of_bundle.or(config.asked);
        let (remapped, read_only_tree, landlock, watcher) = (None, false, None, None);
        let mut blueprint = Self {
            config,
            bundle,
            root,
            sources,
            namespaces,
            ids,
            remapped,
            read_only_tree,
            landlock,
            watcher,
        };
        // Judged anew, as a container that has the host's ids, where its root cannot have others.
        if let Err(error) = ids::map_files(&mut blueprint)? {
            let facts =
                Facts { remap: Remap::Impossible(error.to_string()), ..of_node.facts.clone() };
            let node = NodePolicy { facts, ..of_node.clone() };
            let Self { bundle, namespaces, .. } = blueprint;
            return Self::read(&bundle, namespaces, &node, ids::claim);
        }
        Ok(blueprint)
    }

    /// The same with another root than the directory at `root.path`, where hooks will find it. What the node's policy
    /// says of the root it says of that directory: for the tree, or the directories, that are given here the caller answers.
    #[must_use]
    pub fn with_root(self, root: Root) -> Self {
        Self { root: root.in_place_of(self.root), ..self }
    }

    /// All that a profile decides about a bundle, also where it refuses something of it; its root need not be there.
    pub(super) fn judge(bundle: &Path, node: &NodePolicy) -> Result<Applied, Error> {
        let (directory, bundle) = found(bundle)?;
        let (_, asked) = Configuration::read(&directory, &bundle)?;
        let node = &*node.of_container(&asked.config().annotations);
        let root = Root::of_bundle(directory.as_fd(), &bundle, asked.config()).ok();
        let root = root.as_ref().and_then(|root| root.files().next());
        let sources = HeldSources::find(asked.config(), &bundle, root, &node.profile);
        let verdicts = policy::judge(asked, node, &sources.judged);
        Ok(Applied { profile: node.profile.clone(), verdicts })
    }

    /// Its filter, if it has one: compiled, or as it was kept.
    ///
    /// # Errors
    /// The profile is not acceptable.
    pub fn filter(&self) -> Result<Option<Filter>, Error> {
        Ok(Filter::of(&self.config, &self.bundle)?)
    }

    /// The home directory that its image gives the process's user, where the process has none.
    pub(super) fn home(&self) -> Option<String> {
        home::of_process(&self.config.spec.process, self.root.files())
    }
}

fn found(bundle: &Path) -> Result<(OwnedFd, PathBuf), Error> {
    open(bundle).map_err(|error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        let failed = Error::system(format!("opening bundle {}", bundle.display()), error)
            .with_hint("a bundle is a directory with a config.json");
        if is_missing { failed.of_kind(ErrorKind::NotFound) } else { failed }
    })
}

/// A directory, and its absolute path without links: what the kernel calls it (proc_pid_fd(5)).
fn open(directory: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat2(CWD, directory, flags, Mode::empty(), ResolveFlags::empty())?;
    let path = foreign::path_of(&fd)?;
    Ok((fd, path))
}
