//! The steps of a plan that write: controllers, cpusets, limits, devices, owner.
//!
//! Must never: write a value that the plan does not hold, but for what a cpuset
//! inherits and the controllers that its limits need.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chownat, openat};
use rustix::io::Errno;

use super::node::{CgroupNode, ancestors};
use super::plan::{Absent, Directory, Step, Write};
use super::{Error, file};

/// Does the steps that write. Keeps the last file open, as device rules are many
/// values for one file.
#[derive(Default)]
pub(crate) struct Writer {
    last: Option<(usize, String, OwnedFd)>,
}

impl Writer {
    /// `nodes` are the plan's directories; one that was left out has no limits (rootless).
    pub(crate) fn step(&mut self, nodes: &[Option<&CgroupNode>], step: &Step) -> Result<(), Error> {
        let directory = match step {
            Step::MakeDirectory { .. } => return Ok(()),
            Step::Write(write) => return self.write(nodes, write),
            Step::WriteGroup(group) => return self.group(nodes, group),
            Step::EnableControllers { directory, .. }
            | Step::FillCpuset { directory, .. }
            | Step::AttachDevices { directory, .. }
            | Step::ChangeOwner { directory, .. } => *directory,
        };
        let Some(node) = nodes[directory] else { return Ok(()) };
        match step {
            Step::EnableControllers { need, want, .. } => {
                enable_controllers(&node.directory, need, want)
            }
            Step::FillCpuset { cpus, mems, .. } => fill_cpuset(node, *cpus, *mems),
            Step::AttachDevices { program, .. } => attach_devices(node, program),
            Step::ChangeOwner { uid, gid, .. } => change_owner(node, *uid, *gid),
            Step::MakeDirectory { .. } | Step::Write(_) | Step::WriteGroup(_) => Ok(()),
        }
    }

    fn write(&mut self, nodes: &[Option<&CgroupNode>], write: &Write) -> Result<(), Error> {
        let Some(node) = nodes[write.directory] else { return Ok(()) };
        if write.default && node.made {
            return Ok(());
        }
        // Before the file's own errors: a cgroup that is gone lacks no control.
        node.descriptor()?;
        let result = self.put(node, write.directory, &write.file, &write.value);
        let missing = result.as_ref().is_err_and(|e| e.raw_os_error() == Some(libc::ENOENT));
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

    fn put(
        &mut self,
        node: &CgroupNode,
        directory: usize,
        file: &str,
        value: &str,
    ) -> io::Result<()> {
        let same = |last: &&(usize, String, OwnedFd)| last.0 == directory && last.1 == file;
        if let Some((_, _, descriptor)) = self.last.as_ref().filter(same) {
            return file::write_once(descriptor.as_fd(), value);
        }
        let dir = node.descriptor().map_err(|error| match error {
            Error::Call { source, .. } => source,
            other => io::Error::other(other),
        })?;
        let descriptor = openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        let result = file::write_once(descriptor.as_fd(), value);
        self.last = Some((directory, file.to_owned(), descriptor));
        result
    }

    /// Values that bound each other: what gets EINVAL is tried again after the rest.
    fn group(&mut self, nodes: &[Option<&CgroupNode>], group: &[Write]) -> Result<(), Error> {
        let mut pending: Vec<&Write> = group.iter().collect();
        loop {
            let before = pending.len();
            let mut refused = Vec::new();
            let mut first = None;
            for write in pending {
                match self.write(nodes, write) {
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
        let enabled = file::read(parent.join("cgroup.subtree_control"))?;
        if need.iter().chain(want).all(|name| has(&enabled, name)) {
            return Ok(());
        }
    }
    for parent in &parents {
        let enabled = file::read(parent.join("cgroup.subtree_control"))?;
        let offered = file::read(parent.join("cgroup.controllers"))?;
        let lacks = |name: &&String| !has(&enabled, name);
        let wanted: Vec<&String> =
            want.iter().filter(lacks).filter(|name| has(&offered, name)).collect();
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
fn fill_cpuset(node: &CgroupNode, cpus: bool, mems: bool) -> Result<(), Error> {
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
        let text = file::read(&path)?;
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
    let path = parents.first().map_or_else(PathBuf::new, |root| root.join(file));
    Err(Error::Content { path, found: String::new() })
}

fn attach_devices(node: &CgroupNode, program: &[u64]) -> Result<(), Error> {
    let program = brig_sys::bpf::load_device_program(program).map_err(|error| {
        Error::DeviceProgram { step: "load", source: error.source, log: error.log }
    })?;
    let fail = |source| Error::DeviceProgram { step: "attach", source, log: String::new() };
    let cgroup = node.descriptor()?;
    // A cgroup that was there may have a program of a container before: the new one
    // replaces it. Programs of others stay, and have their say as well.
    let old = match node.made {
        true => Vec::new(),
        false => brig_sys::bpf::own_device_programs(cgroup).map_err(fail)?,
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

/// What is delegated where the kernel does not say (config-linux.md, "Cgroup ownership").
const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// Delegates as cgroup-v2.rst "Model of Delegation" says: the directory and the files
/// in `/sys/kernel/cgroup/delegate` (Linux 4.15). Limits stay with the host.
pub(crate) fn change_owner(node: &CgroupNode, uid: u32, gid: u32) -> Result<(), Error> {
    let delegate = match file::read("/sys/kernel/cgroup/delegate") {
        Err(error) if error.errno() == Some(libc::ENOENT) => DELEGATED.to_owned(),
        answer => answer?,
    };
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let directory = node.descriptor()?;
    for file in std::iter::once(".").chain(delegate.lines()) {
        match chownat(directory, file, uid, gid, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(Error::call("fchownat", node.path.join(file), error)),
        }
    }
    Ok(())
}
