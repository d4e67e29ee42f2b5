//! The descriptors that a plan's slots name.

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use brig_child::flags::namespace;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FileStat, fstat, stat};
use rustix::fs::{Mode, OFlags, fstatfs};

use super::{Error, IdMaps};
use crate::foreign::reopen;
use crate::plan::{Join, Plan, SlotUse};

/// `NSFS_MAGIC` of linux/magic.h.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// What the supervisor hands to the child.
#[derive(Debug, Default)]
pub struct Inputs {
    /// [`SlotUse::Gate`].
    pub gate: Option<OwnedFd>,
    /// [`SlotUse::Standard`].
    pub standard: [Option<OwnedFd>; 3],
    /// [`SlotUse::ConsoleSocket`].
    pub console_socket: Option<OwnedFd>,
    /// [`SlotUse::State`].
    pub state: Option<OwnedFd>,
    /// [`SlotUse::CreatedState`].
    pub created_state: Option<OwnedFd>,
    /// [`SlotUse::SeccompListener`].
    pub seccomp_listener: Option<OwnedFd>,
    /// [`SlotUse::SeccompState`].
    pub seccomp_state: Option<OwnedFd>,
    /// [`SlotUse::EmptyNamespace`].
    pub empty_namespace: Option<OwnedFd>,
    /// [`SlotUse::Init`].
    pub init: Option<OwnedFd>,
    /// [`SlotUse::Landlock`].
    pub landlock: Option<OwnedFd>,
    /// [`SlotUse::CgroupDirectory`].
    pub cgroup_directory: Option<OwnedFd>,
    /// [`SlotUse::CgroupTasks`].
    pub cgroup_tasks: Vec<OwnedFd>,
    /// [`SlotUse::Namespace`], by the flag of the type: see [`Inputs::open_namespaces`].
    pub namespaces: Vec<(u32, OwnedFd)>,
}

impl Inputs {
    /// Takes the descriptors of a cgroup, and says how it is joined.
    pub fn join(&mut self, join: brig_cgroup::Join) -> Join {
        let mut how = Join::default();
        let (into, tasks) = match join {
            brig_cgroup::Join::Into(into) => (Some(into), Vec::new()),
            brig_cgroup::Join::Tasks(tasks) => (None, tasks),
            brig_cgroup::Join::Both { into, tasks } => (Some(into), tasks),
            _ => (None, Vec::new()),
        };
        how.into = into.is_some();
        how.tasks = u16::try_from(tasks.len()).unwrap_or(u16::MAX);
        self.cgroup_directory = into;
        self.cgroup_tasks = tasks;
        how
    }

    /// Opens the namespaces that `plan` joins by path: once, for all who need them.
    ///
    /// # Errors
    /// Names the field: there is none of that type.
    pub fn open_namespaces(&mut self, plan: &Plan<'_>) -> Result<(), Error> {
        for slot in &plan.slots {
            if let SlotUse::Namespace { path, kind, field, changed_by } = slot {
                let fd = open_namespace(path, *kind, field, changed_by.as_deref())?;
                self.namespaces.push((*kind, fd));
            }
        }
        Ok(())
    }

    /// The namespace of a type that is joined, if one is.
    #[must_use]
    pub fn namespace(&self, kind: u32) -> Option<BorrowedFd<'_>> {
        self.namespaces.iter().find(|(known, _)| *known == kind).map(|(_, fd)| fd.as_fd())
    }

    /// The child's table of descriptors; those opened here are in the second part.
    pub(super) fn table(
        &self,
        plan: &Plan<'_>,
        supervisor: RawFd,
    ) -> Result<(Vec<RawFd>, Vec<OwnedFd>), Error> {
        let mut opened = Vec::new();
        let mut maps = HashMap::new();
        let mut table = Vec::with_capacity(plan.slots.len());
        for slot in &plan.slots {
            let fd = |held: &Option<OwnedFd>| held.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            table.push(match slot {
                SlotUse::Cwd => AT_FDCWD.as_raw_fd(),
                SlotUse::Supervisor => supervisor,
                SlotUse::Gate => fd(&self.gate),
                SlotUse::Standard(number) => fd(&self.standard[usize::from(*number) % 3]),
                SlotUse::ConsoleSocket => fd(&self.console_socket),
                SlotUse::State => fd(&self.state),
                SlotUse::CreatedState => fd(&self.created_state),
                SlotUse::SeccompListener => fd(&self.seccomp_listener),
                SlotUse::SeccompState => fd(&self.seccomp_state),
                SlotUse::CgroupDirectory => fd(&self.cgroup_directory),
                SlotUse::EmptyNamespace => fd(&self.empty_namespace),
                SlotUse::Init => fd(&self.init),
                SlotUse::Landlock => fd(&self.landlock),
                SlotUse::CgroupTasks(index) => {
                    self.cgroup_tasks.get(usize::from(*index)).map_or(-1, AsRawFd::as_raw_fd)
                }
                SlotUse::Namespace { kind, .. } => {
                    self.namespace(*kind).map_or(-1, |fd| fd.as_raw_fd())
                }
                SlotUse::IdMap { uids, gids } => {
                    let key = (uids.clone(), gids.clone());
                    match maps.get(&key) {
                        Some(fd) => *fd,
                        None => {
                            let held = IdMaps { uids: uids.clone(), gids: gids.clone() }.hold()?;
                            let fd = held.as_raw_fd();
                            opened.push(held);
                            maps.insert(key, fd);
                            fd
                        }
                    }
                }
                SlotUse::Target(_) | SlotUse::Made(_) => -1,
            });
        }
        Ok((table, opened))
    }
}

/// The name of a type of namespace in /proc/PID/ns (namespaces(7)).
fn name_of(kind: u32) -> &'static str {
    match kind {
        namespace::CGROUP => "cgroup",
        namespace::IPC => "ipc",
        namespace::MOUNT => "mnt",
        namespace::NETWORK => "net",
        namespace::PID => "pid",
        namespace::TIME => "time",
        namespace::USER => "user",
        _ => "uts",
    }
}

/// Whether it is the namespace that brig is in.
fn is_own(namespace: &OwnedFd, kind: u32) -> nix::Result<bool> {
    let id = |stat: FileStat| (stat.st_dev, stat.st_ino);
    let own = stat(format!("/proc/self/ns/{}", name_of(kind)).as_str())?;
    Ok(id(fstat(namespace)?) == id(own))
}

fn open_namespace(
    path: &CStr,
    kind: u32,
    field: &str,
    changed_by: Option<&str>,
) -> Result<OwnedFd, Error> {
    let shown = path.to_string_lossy();
    let doing = || format!("{field}: opening {shown}");
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::system(doing(), errno))?;
    let file_system = fstatfs(&place).map_err(|errno| Error::system(doing(), errno))?;
    if file_system.f_type as i64 != NSFS_MAGIC {
        return Err(not_a_namespace(&shown, field));
    }
    let fd = reopen(&place).map_err(|error| Error::system(doing(), error))?;
    match brig_sys::process::namespace_kind(&fd) {
        Ok(found) if found == kind => {}
        Ok(_) => {
            return Err(Error::plain(format!("{field}: {shown} is a namespace of another type"))
                .with_hint("the path must be a namespace of the type that the entry names"));
        }
        Err(_) => return Err(not_a_namespace(&shown, field)),
    }
    let is_own = is_own(&fd, kind).map_err(|errno| Error::system(doing(), errno))?;
    match changed_by {
        _ if !is_own => Ok(fd),
        _ if kind == namespace::MOUNT => Err(Error::plain(format!(
            "{field}: {shown} is brig's own mount namespace"
        ))
        .with_hint(
            "the container would be assembled in the host's mount namespace: leave out the path",
        )),
        Some(changed_by) => Err(Error::plain(format!(
            "{changed_by}: would change the host, as {field} is brig's own namespace ({shown})"
        ))
        .with_hint("remove one of the two, or leave out the path for a namespace of its own")),
        None => Ok(fd),
    }
}

fn not_a_namespace(shown: &str, field: &str) -> Error {
    Error::plain(format!("{field}: {shown} is not a namespace"))
        .with_hint("give a path like /proc/PID/ns/net, or a file that one is bound to")
}
