//! Makes what a plan says.
//!
//! Promises: steps are done in order, with few system calls (each directory is
//! opened once, files are reached from it); a failure removes the directories made
//! so far, parents too. Must never: write a value that the plan does not hold.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, chownat, mkdir, openat, rmdir};
use rustix::io::Errno;

use super::join::Pending;
use super::plan::{Absent, CgroupPlan, Directory, Driver, Step, Write};
use super::{Error, Leftover, systemd};

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
    made: bool,
    /// False: it may not be made and nothing needs it (rootless).
    present: bool,
}

impl Node {
    pub(crate) fn new(directory: Directory) -> Node {
        let path = directory.absolute();
        Node {
            directory,
            path,
            descriptor: OnceLock::new(),
            made: false,
            present: true,
        }
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
        self.directory
            .controllers
            .iter()
            .any(|name| name == controller)
    }

    /// Opens a control file.
    pub(crate) fn open(&self, file: &str, flags: OFlags) -> Result<OwnedFd, Error> {
        openat(
            self.descriptor()?,
            file,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|e| Error::call("open", self.path.join(file), e))
    }

    /// The content of a control file.
    pub(crate) fn read(&self, file: &str) -> Result<String, Error> {
        let mut text = String::new();
        std::fs::File::from(self.open(file, OFlags::RDONLY)?)
            .read_to_string(&mut text)
            .map_err(|e| Error::call("read", self.path.join(file), e))?;
        Ok(text)
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
        write_once(descriptor.as_fd(), value)
            .map_err(|e| Error::call("write", self.path.join(file), e))
    }
}

/// A control file takes a value in one write(2), or not at all.
fn write_once(descriptor: BorrowedFd<'_>, value: &str) -> io::Result<()> {
    match rustix::io::retry_on_intr(|| rustix::io::write(descriptor, value.as_bytes()))? {
        count if count == value.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
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
    let mut cgroup = Cgroup {
        driver: plan.driver,
        nodes,
        scope: plan.scope.clone(),
        pending: None,
    };
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
    matches!(
        error.errno(),
        Some(libc::EACCES | libc::EPERM | libc::EROFS)
    )
}

/// Removes `made`, newest first, and wraps what is left into the error.
pub(crate) fn undo(made: Vec<PathBuf>, cause: Error) -> Error {
    let mut left = Vec::new();
    for path in made.into_iter().rev() {
        match rmdir(&path) {
            Ok(()) | Err(Errno::NOENT) => {}
            // A parent that another container uses by now.
            Err(Errno::BUSY) if !left.iter().any(|l: &Leftover| l.path.starts_with(&path)) => {}
            Err(error) => left.push(Leftover {
                path,
                pids: Vec::new(),
                source: error.into(),
            }),
        }
    }
    if left.is_empty() {
        cause
    } else {
        Error::CleanUp {
            cause: Box::new(cause),
            left,
        }
    }
}

fn make(node: &mut Node, driver: Driver, made: &mut Vec<PathBuf>) -> Result<(), Error> {
    let fail = |path: &Path, error| Error::call("mkdir", path, error);
    let mode = Mode::from_raw_mode(0o755);
    for _ in 0..MAKE_ATTEMPTS {
        match mkdir(&node.path, mode) {
            Ok(()) => {
                made.push(node.path.clone());
                node.made = true;
                return if node.directory.unified {
                    check_type(node)
                } else {
                    Ok(())
                };
            }
            // systemd has just made it around the container's first process.
            Err(Errno::EXIST) if driver == Driver::Systemd => return Ok(()),
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
fn ancestors(directory: &Directory) -> impl Iterator<Item = PathBuf> + '_ {
    let slashes = directory
        .path
        .match_indices('/')
        .map(|(at, _)| &directory.path[..at]);
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
        processes => Err(Error::Occupied {
            path: node.path.clone(),
            processes,
        }),
    }
}

/// Below a threaded cgroup no process can be cloned into a new one.
fn check_type(node: &Node) -> Result<(), Error> {
    match node.read("cgroup.type")?.trim() {
        "domain" => Ok(()),
        kind => Err(Error::Threaded {
            path: node.path.clone(),
            kind: kind.to_owned(),
        }),
    }
}

/// Does the steps that write. Keeps the last file open, as device rules are many
/// values for one file.
#[derive(Default)]
pub(crate) struct Writer {
    last: Option<(usize, String, OwnedFd)>,
}

impl Writer {
    pub(crate) fn step(&mut self, nodes: &[Node], step: &Step) -> Result<(), Error> {
        match step {
            Step::MakeDirectory { .. } => Ok(()),
            Step::EnableControllers {
                directory,
                need,
                want,
            } => match nodes[*directory].present {
                true => enable_controllers(&nodes[*directory].directory, need, want),
                false => Ok(()),
            },
            Step::FillCpuset {
                directory,
                cpus,
                mems,
            } => match nodes[*directory].present {
                true => fill_cpuset(&nodes[*directory], *cpus, *mems),
                false => Ok(()),
            },
            Step::Write(write) => self.write(&nodes[write.directory], write),
            Step::WriteGroup(group) => self.group(nodes, group),
            Step::AttachDevices {
                directory, program, ..
            } => attach_devices(&nodes[*directory], program),
            Step::ChangeOwner {
                directory,
                uid,
                gid,
            } => change_owner(&nodes[*directory], *uid, *gid),
        }
    }

    fn write(&mut self, node: &Node, write: &Write) -> Result<(), Error> {
        if write.default && node.made {
            return Ok(());
        }
        let result = self.put(node, write.directory, &write.file, &write.value);
        let missing = result
            .as_ref()
            .is_err_and(|e| e.raw_os_error() == Some(libc::ENOENT));
        let (file, value, result) = match &write.absent {
            Absent::Satisfied if missing => return Ok(()),
            Absent::Instead { file, value } if missing => {
                (file, value, self.put(node, write.directory, file, value))
            }
            _ => (&write.file, &write.value, result),
        };
        result.map_err(|source| Error::Write {
            field: write.field.clone(),
            path: node.path.join(file),
            value: value.clone(),
            source,
        })
    }

    fn put(&mut self, node: &Node, directory: usize, file: &str, value: &str) -> io::Result<()> {
        let same = |last: &&(usize, String, OwnedFd)| last.0 == directory && last.1 == file;
        if let Some((_, _, descriptor)) = self.last.as_ref().filter(same) {
            return write_once(descriptor.as_fd(), value);
        }
        let dir = node.descriptor().map_err(|error| match error {
            Error::Call { source, .. } => source,
            other => io::Error::other(other),
        })?;
        let descriptor = openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        let result = write_once(descriptor.as_fd(), value);
        self.last = Some((directory, file.to_owned(), descriptor));
        result
    }

    /// Values that bound each other: what gets EINVAL is tried again after the rest.
    fn group(&mut self, nodes: &[Node], group: &[Write]) -> Result<(), Error> {
        let mut pending: Vec<&Write> = group.iter().collect();
        loop {
            let before = pending.len();
            let mut refused = Vec::new();
            let mut first = None;
            for write in pending {
                match self.write(&nodes[write.directory], write) {
                    Ok(()) => {}
                    Err(error) if error.errno() == Some(libc::EINVAL) => {
                        refused.push(write);
                        first.get_or_insert(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            match first {
                None => return Ok(()),
                Some(error) if refused.len() == before => return Err(error),
                Some(_) => pending = refused,
            }
        }
    }
}

fn read_file(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|e| Error::call("read", path, e))
}

/// Enables controllers for the container's cgroup. In the usual case its parent has
/// them already, and one small read is all.
fn enable_controllers(
    directory: &Directory,
    need: &[String],
    want: &[String],
) -> Result<(), Error> {
    let parents: Vec<PathBuf> = ancestors(directory).collect();
    let has = |text: &str, name: &str| text.split_whitespace().any(|word| word == name);
    if let Some(parent) = parents.last() {
        let enabled = read_file(&parent.join("cgroup.subtree_control"))?;
        if need.iter().chain(want).all(|name| has(&enabled, name)) {
            return Ok(());
        }
    }
    for parent in &parents {
        let enabled = read_file(&parent.join("cgroup.subtree_control"))?;
        let offered = read_file(&parent.join("cgroup.controllers"))?;
        let lacks = |name: &&String| !has(&enabled, name);
        let wanted: Vec<&String> = want
            .iter()
            .filter(lacks)
            .filter(|name| has(&offered, name))
            .collect();
        let needed: Vec<&String> = need.iter().filter(lacks).collect();
        enable_here(parent, &needed, &wanted)?;
    }
    Ok(())
}

fn enable_here(parent: &Path, needed: &[&String], wanted: &[&String]) -> Result<(), Error> {
    let file = parent.join("cgroup.subtree_control");
    let enable = |names: &[&String]| {
        let value: Vec<String> = names.iter().map(|name| format!("+{name}")).collect();
        std::fs::write(&file, value.join(" "))
    };
    let all: Vec<&String> = needed.iter().chain(wanted).copied().collect();
    if all.is_empty() || enable(&all).is_ok() {
        return Ok(());
    }
    // The kernel enables all or none: what statistics want must not cost a limit.
    if !needed.is_empty() {
        enable(needed).map_err(|source| Error::Controllers {
            path: parent.to_owned(),
            missing: needed.iter().map(|name| (*name).clone()).collect(),
            source: Some(source),
        })?;
    }
    for name in wanted {
        // Statistics are absent where the controller cannot be had; no limit depends on it.
        let _ = enable(&[name]);
    }
    Ok(())
}

/// Gives the cgroup its parents' cpus and memory nodes; parents first where empty.
fn fill_cpuset(node: &Node, cpus: bool, mems: bool) -> Result<(), Error> {
    let parents: Vec<PathBuf> = ancestors(&node.directory).collect();
    for (file, own) in [("cpuset.cpus", cpus), ("cpuset.mems", mems)] {
        let value = inherited(&parents, file)?;
        if own && (node.made || node.read(file)?.trim().is_empty()) {
            node.write(file, &value)?;
        }
    }
    Ok(())
}

/// The value of the last of `parents`, after filling those that have none.
fn inherited(parents: &[PathBuf], file: &str) -> Result<String, Error> {
    let mut empty = Vec::new();
    for parent in parents.iter().rev() {
        let path = parent.join(file);
        let text = read_file(&path)?;
        let value = text.trim();
        if value.is_empty() {
            empty.push(path);
            continue;
        }
        for path in empty.iter().rev() {
            std::fs::write(path, value).map_err(|e| Error::call("write", path, e))?;
        }
        return Ok(value.to_owned());
    }
    let path = parents
        .first()
        .map_or_else(PathBuf::new, |root| root.join(file));
    Err(Error::Content {
        path,
        found: String::new(),
    })
}

fn attach_devices(node: &Node, program: &[u64]) -> Result<(), Error> {
    let program =
        brig_sys::bpf::load_device_program(program).map_err(|error| Error::DeviceProgram {
            step: "load",
            source: error.source,
            log: error.log,
        })?;
    let fail = |source| Error::DeviceProgram {
        step: "attach",
        source,
        log: String::new(),
    };
    let cgroup = node.descriptor()?;
    // A cgroup that was there may have a program, which the container's replaces.
    let old = match node.made {
        true => Vec::new(),
        false => brig_sys::bpf::device_programs(cgroup).map_err(fail)?,
    };
    let (replace, surplus) = match old.split_first() {
        Some((first, rest)) => (Some(first.as_fd()), rest),
        None => (None, &[][..]),
    };
    brig_sys::bpf::attach_device_program(cgroup, program.as_fd(), replace).map_err(fail)?;
    for old in surplus {
        brig_sys::bpf::detach_device_program(cgroup, old.as_fd()).map_err(fail)?;
    }
    Ok(())
}

/// Delegates as cgroup-v2.rst "Model of Delegation" says: the directory and the files
/// in `/sys/kernel/cgroup/delegate` (Linux 4.15). Limits stay with the host.
fn change_owner(node: &Node, uid: u32, gid: u32) -> Result<(), Error> {
    let delegate = read_file(Path::new("/sys/kernel/cgroup/delegate"))?;
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let directory = node.descriptor()?;
    // memory.oom.group and the like are harmless; memory.reclaim's pressure is its own.
    for file in std::iter::once(".").chain(delegate.lines()) {
        match chownat(directory, file, uid, gid, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(Error::call("fchownat", node.path.join(file), error)),
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
