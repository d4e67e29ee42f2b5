//! Makes what a plan says.
//!
//! Promises: steps are done in order, with few system calls (each directory is
//! opened once, files are reached from it); a failure removes the directories made
//! so far, parents too. Must never: write a value that the plan does not hold.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{CWD, Mode, OFlags, mkdir, openat, rmdir};
use rustix::io::Errno;

use super::control::children;
use super::join::Pending;
use super::plan::{CgroupPlan, Directory, Driver, Step};
use super::steps::Writer;
use super::{Error, Leftover, file, systemd};

/// How often parents are made again when somebody removes them meanwhile.
const MAKE_ATTEMPTS: usize = 3;

/// A container's cgroup.
#[derive(Debug)]
pub struct Cgroup {
    pub(crate) driver: Driver,
    pub(crate) nodes: Vec<Node>,
    pub(crate) scope: Option<systemd::Scope>,
    /// With systemd: what is still to be done once there is a process.
    pub(crate) pending: Option<Arc<Pending>>,
}

/// The container's directory in one hierarchy.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) directory: Directory,
    pub(crate) path: PathBuf,
    descriptor: OnceLock<OwnedFd>,
    /// brig made it, so that the kernel's defaults hold in it.
    pub(crate) made: bool,
    /// False: it may not be made and nothing needs it (rootless).
    pub(crate) present: bool,
}

impl Node {
    pub(crate) fn new(directory: Directory) -> Node {
        let path = directory.absolute();
        Node { directory, path, descriptor: OnceLock::new(), made: false, present: true }
    }

    /// The open directory (readable, as bpf(2) takes no O_PATH descriptor).
    pub(crate) fn descriptor(&self) -> Result<BorrowedFd<'_>, Error> {
        if let Some(descriptor) = self.descriptor.get() {
            return Ok(descriptor.as_fd());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = openat(CWD, &self.path, flags, Mode::empty())
            .map_err(|e| Error::call("open", &self.path, e))?;
        Ok(self.descriptor.get_or_init(|| descriptor).as_fd())
    }

    pub(crate) fn has(&self, controller: &str) -> bool {
        self.directory.controllers.iter().any(|name| name == controller)
    }

    /// Opens a control file.
    pub(crate) fn open(&self, file: &str, flags: OFlags) -> Result<OwnedFd, Error> {
        openat(self.descriptor()?, file, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Error::call("open", self.path.join(file), e))
    }

    /// The content of a control file.
    pub(crate) fn read(&self, file: &str) -> Result<String, Error> {
        let path = || self.path.join(file);
        file::read_open(self.open(file, OFlags::RDONLY)?)
            .map_err(|e| Error::call("read", path(), e))
    }

    /// As `read`; none when the file does not exist.
    pub(crate) fn read_if_there(&self, file: &str) -> Result<Option<String>, Error> {
        match self.read(file) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a control file that is no limit.
    pub(crate) fn write(&self, file: &str, value: &str) -> Result<(), Error> {
        let descriptor = self.open(file, OFlags::WRONLY)?;
        file::write_once(descriptor.as_fd(), value)
            .map_err(|e| Error::call("write", self.path.join(file), e))
    }
}

/// Makes the cgroup of `plan` with its limits. With the systemd driver nothing is
/// made yet: a scope needs a process, so that [`AfterClone::attach`](super::AfterClone)
/// makes it while the container's first process waits.
///
/// # Errors
/// The first failure, after the directories made so far have been removed;
/// [`Error::CleanUp`] when that failed as well.
pub fn create(plan: &CgroupPlan) -> Result<Cgroup, Error> {
    let nodes: Vec<Node> = plan.directories.iter().cloned().map(Node::new).collect();
    let mut cgroup =
        Cgroup { driver: plan.driver, nodes, scope: plan.scope.clone(), pending: None };
    if plan.scope.is_some() {
        cgroup.pending = Some(Pending::new(plan));
        return Ok(cgroup);
    }
    let mut made = Vec::new();
    match run(plan, &mut cgroup.nodes, &mut made) {
        Ok(()) => {
            cgroup.nodes.retain(|node| node.present);
            Ok(cgroup)
        }
        Err(cause) => Err(undo(made, cause)),
    }
}

/// Does the steps of `plan`; `made` gets every directory as it is made.
pub(crate) fn run(
    plan: &CgroupPlan,
    nodes: &mut [Node],
    made: &mut Vec<PathBuf>,
) -> Result<(), Error> {
    let mut writer = Writer::default();
    for step in &plan.steps {
        match step {
            Step::MakeDirectory { directory } => {
                let node = &mut nodes[*directory];
                match make(node, plan.driver, made) {
                    Err(error) if plan.optional && is_permission(&error) => node.present = false,
                    result => result?,
                }
            }
            step => writer.step(nodes, step)?,
        }
    }
    Ok(())
}

fn is_permission(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::EACCES | libc::EPERM | libc::EROFS))
}

/// Removes `made`, newest first, and wraps what is left into the error.
pub(crate) fn undo(made: Vec<PathBuf>, cause: Error) -> Error {
    let mut left = Vec::new();
    for path in made.into_iter().rev() {
        match rmdir(&path) {
            Ok(()) | Err(Errno::NOENT) => {}
            // A parent that another container uses by now, or that of a directory in `left`.
            Err(Errno::BUSY | Errno::NOTEMPTY) if has_children(&path) => {}
            Err(error) => left.push(Leftover { path, pids: Vec::new(), source: error.into() }),
        }
    }
    if left.is_empty() { cause } else { Error::CleanUp { cause: Box::new(cause), left } }
}

fn has_children(path: &Path) -> bool {
    children(path).is_ok_and(|children| !children.is_empty())
}

fn make(node: &mut Node, driver: Driver, made: &mut Vec<PathBuf>) -> Result<(), Error> {
    // systemd has made it around the container's first process; elsewhere it would hold nobody.
    if driver == Driver::Systemd {
        return Ok(());
    }
    let fail = |path: &Path, error| Error::call("mkdir", path, error);
    let mode = Mode::from_raw_mode(0o755);
    for _ in 0..MAKE_ATTEMPTS {
        match mkdir(&node.path, mode) {
            Ok(()) => {
                made.push(node.path.clone());
                node.made = true;
                return if node.directory.unified { check_type(node) } else { Ok(()) };
            }
            Err(Errno::EXIST) => return check_free(node),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(fail(&node.path, error)),
        }
        for parent in ancestors(&node.directory).skip(1) {
            match mkdir(&parent, mode) {
                Ok(()) => made.push(parent),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(fail(&parent, error)),
            }
        }
    }
    Err(fail(&node.path, Errno::NOENT))
}

/// The directories above the container's, from the mount point down.
pub(crate) fn ancestors(directory: &Directory) -> impl Iterator<Item = PathBuf> + '_ {
    let slashes = directory.path.match_indices('/').map(|(at, _)| &directory.path[..at]);
    std::iter::once("").chain(slashes).map(|path| match path {
        "" => directory.mount.clone(),
        path => directory.mount.join(path),
    })
}

/// A directory that was there must hold no process: it would get the container's limits.
fn check_free(node: &Node) -> Result<(), Error> {
    match node.read("cgroup.procs")?.lines().count() {
        0 if node.directory.unified => check_type(node),
        0 => Ok(()),
        processes => Err(Error::Occupied { path: node.path.clone(), processes }),
    }
}

/// Below a threaded cgroup no process can be cloned into a new one.
fn check_type(node: &Node) -> Result<(), Error> {
    match node.read("cgroup.type")?.trim() {
        "domain" => Ok(()),
        kind => Err(Error::Threaded { path: node.path.clone(), kind: kind.to_owned() }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
