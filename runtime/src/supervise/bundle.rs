//! What is read of a bundle: the blueprint that it is.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::blueprint::Blueprint;
use super::root::Root;
use super::{Error, ErrorKind, home};
use crate::bundle::Configuration;
use crate::filter::Filter;
use crate::policy::NodePolicy;

impl Blueprint {
    /// Reads a bundle, and holds what it asks for against what the node grants.
    ///
    /// # Errors
    /// Names what is missing, or the field that is refused.
    pub fn of_bundle(bundle: &Path, node: &NodePolicy) -> Result<Self, Error> {
        let (directory, bundle) = open(bundle).map_err(|error| {
            let is_missing = error.kind() == io::ErrorKind::NotFound;
            let failed = Error::system(format!("opening bundle {}", bundle.display()), error)
                .with_hint("a bundle is a directory with a config.json");
            if is_missing { failed.of_kind(ErrorKind::NotFound) } else { failed }
        })?;
        let config = Configuration::load(&directory, &bundle, node)?;
        let path = Path::new(&config.spec.root.path);
        let root = Root::of_bundle(directory.as_fd(), &bundle, path)?;
        let (read_only_tree, landlock, watcher) = (false, None, None);
        Ok(Self { config, bundle, root, read_only_tree, landlock, watcher })
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
        home::of_process(&self.config.spec.process, &self.root)
    }
}

/// A directory, and its absolute path without links: what the kernel calls it (proc_pid_fd(5)).
fn open(directory: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat2(CWD, directory, flags, Mode::empty(), ResolveFlags::empty())?;
    let link = rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?;
    Ok((fd, PathBuf::from(OsString::from_vec(link.into_bytes()))))
}
