//! Makes what a plan says.
//!
//! Promises: a cgroup is made by this call, or it is not the container's: what is in use is refused,
//! an empty leaf of the same name is replaced, so that no older record leads to the new one. Steps
//! are done in order, with few system calls (each directory is opened once, files are reached from
//! it); a failure removes the directories made so far, parents too. Must never: write a value that
//! the plan does not hold; kill or remove what it has not made.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD, Mode, accessat, mkdir, rmdir};
use rustix::io::Errno;

use super::node::{CgroupNode, ancestors};
use super::plan::{CgroupPlan, Directory, Driver, Scope, Step, properties};
use super::systemd::Unit;
use super::writer::{Writer, change_owner};
use super::{Error, Leftover, Occupant, systemd, tree};

/// How often parents are made again when somebody removes them meanwhile.
const MAKE_ATTEMPTS: usize = 3;

/// Whoever has just made a cgroup needs a moment to open it: an empty one is replaced only if it
/// still is empty after this time.
const SETTLE: Duration = Duration::from_millis(20);

/// A container's cgroup, which exists, or did: brig made it, and knows it by identity.
#[derive(Debug)]
pub struct Cgroup {
    pub(crate) driver: Driver,
    pub(crate) nodes: Vec<CgroupNode>,
    pub(crate) unit: Option<Unit>,
}

/// What [`prepare`] gives.
#[derive(Debug)]
pub enum Prepared {
    /// The cgroup, which is ready for a process.
    Cgroup(Cgroup),
    /// With the systemd driver nothing is made yet, as a scope needs a process.
    Scope(PlannedScope),
}

/// A scope that is still to be made; nothing of it can be killed or removed.
#[derive(Debug)]
pub struct PlannedScope {
    plan: CgroupPlan,
    scope: Scope,
}

/// The plan as [`prepare`] carries it out: without making what the caller may not make, where nothing needs it. Makes
/// nothing.
#[must_use]
pub fn foresee(mut plan: CgroupPlan) -> CgroupPlan {
    if plan.optional {
        let may: Vec<bool> = plan.directories.iter().map(may_make).collect();
        plan.steps.retain(|step| may.get(step.directory()).copied().unwrap_or(true));
    }
    plan
}

/// Whether the caller may make it: where the last directory that is there may be written to.
fn may_make(directory: &Directory) -> bool {
    let above: Vec<_> = ancestors(directory).collect();
    let last = above.iter().rev().find(|path| path.exists());
    last.is_some_and(|last| {
        accessat(CWD, last, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
    })
}

/// Makes the cgroup of `plan` with its limits; with the systemd driver, prepares what makes it.
///
/// # Errors
/// The first failure, after the directories made so far have been removed;
/// [`Error::CleanUp`] when that failed as well.
pub fn prepare(plan: &CgroupPlan) -> Result<Prepared, Error> {
    if let Some(scope) = plan.scope.clone() {
        return Ok(Prepared::Scope(PlannedScope { plan: plan.clone(), scope }));
    }
    let mut making = Making::default();
    match making.directories(plan).and_then(|()| write(plan, &making.nodes)) {
        Ok(()) => {
            let nodes = making.nodes.into_iter().flatten().collect();
            Ok(Prepared::Cgroup(Cgroup { driver: plan.driver, nodes, unit: None }))
        }
        Err(cause) => Err(making.undo(cause)),
    }
}

impl PlannedScope {
    /// Makes the scope with process `pid` in it, then applies the limits. The process must be held
    /// on a barrier until this returns.
    ///
    /// # Errors
    /// [`Error::Systemd`], or the first limit that could not be applied. Then a scope that has been
    /// made goes with the process, which the launcher ends; one that was there is untouched.
    pub fn attach(self, pid: i32) -> Result<Cgroup, Error> {
        let PlannedScope { plan, scope } = self;
        for directory in &plan.directories {
            make_way(directory)?;
        }
        let properties = properties::of_scope(&scope, &plan.steps, pid);
        let unit = systemd::start(scope, &properties).map_err(Error::Systemd)?;
        let member = |directory| systemd::member(&unit.scope, directory, pid).map(Some);
        // Where the process is not in the directory, that is not the scope's.
        let nodes = plan.directories.iter().map(member).collect::<Result<Vec<_>, _>>()?;
        let written = write(&plan, &nodes);
        let nodes = nodes.into_iter().flatten().collect();
        let cgroup = Cgroup { driver: plan.driver, nodes, unit: Some(unit) };
        let Err(cause) = written else { return Ok(cgroup) };
        let left = match cgroup.kill().and_then(|_| cgroup.delete()) {
            Ok(()) => return Err(cause),
            Err(Error::Left { left }) => left,
            Err(error) => cgroup.all_left(&error),
        };
        Err(Error::CleanUp { cause: Box::new(cause), left })
    }
}

impl Cgroup {
    /// Delegates it on cgroup v2 to this user and group of the host: processes and cgroups below are theirs to arrange, limits
    /// are not.
    ///
    /// # Errors
    /// [`Error::Gone`], or the file whose owner could not be changed.
    pub fn delegate(&self, uid: u32, gid: u32) -> Result<(), Error> {
        let unified = self.nodes.iter().filter(|node| node.directory.unified);
        unified.into_iter().try_for_each(|node| change_owner(node, uid, gid))
    }

    fn all_left(&self, error: &Error) -> Vec<Leftover> {
        let left = |node: &CgroupNode| Leftover {
            path: node.path.clone(),
            pids: Vec::new(),
            source: io::Error::other(error.to_string()),
        };
        self.nodes.iter().map(left).collect()
    }
}

/// Does the steps that write.
fn write(plan: &CgroupPlan, nodes: &[Option<CgroupNode>]) -> Result<(), Error> {
    let nodes: Vec<_> = nodes.iter().map(Option::as_ref).collect();
    let mut writer = Writer::default();
    plan.steps.iter().try_for_each(|step| writer.step(&nodes, step))
}

/// Directories that are being made.
#[derive(Default)]
struct Making {
    /// None: it may not be made and nothing needs it (rootless).
    nodes: Vec<Option<CgroupNode>>,
    /// Those above, which other containers may use by now.
    parents: Vec<PathBuf>,
}

impl Making {
    fn directories(&mut self, plan: &CgroupPlan) -> Result<(), Error> {
        for step in &plan.steps {
            let Step::MakeDirectory { directory } = step else { continue };
            match self.directory(&plan.directories[*directory]) {
                Err(error) if plan.optional && is_permission(&error) => self.nodes.push(None),
                result => result?,
            }
        }
        Ok(())
    }

    fn directory(&mut self, directory: &Directory) -> Result<(), Error> {
        let path = directory.absolute();
        let fail = |path: &Path, error| Error::call("mkdir", path, error);
        let mode = Mode::from_raw_mode(0o755);
        let mut last = Errno::NOENT;
        for _ in 0..MAKE_ATTEMPTS {
            match mkdir(&path, mode) {
                Ok(()) => return self.made(directory),
                Err(error @ (Errno::EXIST | Errno::NOENT)) => last = error,
                Err(error) => return Err(fail(&path, error)),
            }
            if last == Errno::EXIST {
                make_way(directory)?;
                continue;
            }
            for parent in ancestors(directory).skip(1) {
                match mkdir(&parent, mode) {
                    Ok(()) => self.parents.push(parent),
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(fail(&parent, error)),
                }
            }
        }
        Err(fail(&path, last))
    }

    fn made(&mut self, directory: &Directory) -> Result<(), Error> {
        match CgroupNode::now(directory, true) {
            Ok(node) => {
                let checked = if directory.unified { check_type(&node) } else { Ok(()) };
                self.nodes.push(Some(node));
                checked
            }
            Err(error) => {
                self.parents.push(directory.absolute());
                Err(error)
            }
        }
    }

    /// Removes what has been made, newest first, and wraps what is left into the error.
    fn undo(self, cause: Error) -> Error {
        let mut left = Vec::new();
        let mut failed = |path, source: io::Error| {
            left.push(Leftover { path, pids: Vec::new(), source });
        };
        for node in self.nodes.into_iter().rev().flatten() {
            if let Err(error) = node.unlink() {
                failed(node.path, error.into_source());
            }
        }
        for path in self.parents.into_iter().rev() {
            match rmdir(&path) {
                // Another container uses it by now, or it holds one of those in `left`.
                Ok(()) | Err(Errno::NOENT | Errno::BUSY | Errno::NOTEMPTY) => {}
                Err(error) => failed(path, error.into()),
            }
        }
        if left.is_empty() { cause } else { Error::CleanUp { cause: Box::new(cause), left } }
    }
}

fn is_permission(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::EACCES | libc::EPERM | libc::EROFS))
}

/// Sees that no cgroup of this path is there. One with processes or cgroups in it is somebody's. An
/// empty one may still be that of a stopped container, whose record must not lead to the new one.
fn make_way(directory: &Directory) -> Result<(), Error> {
    let node = match CgroupNode::now(directory, false) {
        Err(error) if error.errno() == Some(libc::ENOENT) => return Ok(()),
        answer => answer?,
    };
    check_free(&node)?;
    sleep(SETTLE);
    check_free(&node)?;
    node.unlink()
}

fn check_free(node: &CgroupNode) -> Result<(), Error> {
    let occupied = |by| Err(Error::Occupied { path: node.path.clone(), by });
    match tree::occupant(node) {
        Ok(None) => Ok(()),
        Ok(Some((cgroup, 0))) => occupied(Occupant::Cgroup(cgroup)),
        Ok(Some((cgroup, count))) => occupied(Occupant::Processes { cgroup, count }),
        Err(error) if error.is_gone() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Below a threaded cgroup no process can be cloned into a new one.
fn check_type(node: &CgroupNode) -> Result<(), Error> {
    match node.read("cgroup.type")?.trim() {
        "domain" => Ok(()),
        kind => Err(Error::Threaded { path: node.path.clone(), kind: kind.to_owned() }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
