//! The descriptors that a plan's slots name.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::fcntl::AT_FDCWD;
use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, fstat, fstatfs};

use super::{Error, IdMaps, namespace};
use crate::plan::{Join, Plan, SlotUse};

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
    /// [`SlotUse::Root`].
    pub root: Option<OwnedFd>,
    /// [`SlotUse::IdMap`]: a user namespace that is there already, and its maps.
    pub user_namespace: Option<(IdMaps, OwnedFd)>,
    /// [`SlotUse::Init`].
    pub init: Option<OwnedFd>,
    /// [`SlotUse::Landlock`].
    pub landlock: Vec<OwnedFd>,
    /// [`SlotUse::CgroupDirectory`].
    pub cgroup_directory: Option<OwnedFd>,
    /// [`SlotUse::CgroupTasks`].
    pub cgroup_tasks: Vec<OwnedFd>,
    /// [`SlotUse::Namespace`], by the flag of the type: those that are held, and see [`Inputs::open_namespaces`].
    pub namespaces: Vec<(u32, OwnedFd)>,
}

impl Inputs {
    /// Takes the descriptors of a cgroup, and says how it is joined.
    pub fn join(&mut self, join: brig_cgroup::JoinDescriptors) -> Join {
        let mut how = Join::default();
        let (into, tasks) = match join {
            brig_cgroup::JoinDescriptors::Into(into) => (Some(into), Vec::new()),
            brig_cgroup::JoinDescriptors::Tasks(tasks) => (None, tasks),
            brig_cgroup::JoinDescriptors::Both { into, tasks } => (Some(into), tasks),
            _ => (None, Vec::new()),
        };
        how.into = into.is_some();
        how.tasks = u16::try_from(tasks.len()).unwrap_or(u16::MAX);
        self.cgroup_directory = into;
        self.cgroup_tasks = tasks;
        how
    }

    /// Opens the namespaces that `plan` joins by path, once, for all who need them; those that are held are there.
    ///
    /// # Errors
    /// Names the field: there is none of that type, or it is brig's own, and would be changed.
    pub fn open_namespaces(&mut self, plan: &Plan<'_>) -> Result<(), Error> {
        for slot in &plan.slots {
            if let SlotUse::Namespace { path, kind, field, changed_by } = slot {
                if self.namespace(*kind).is_none() {
                    self.namespaces.push((*kind, namespace::open(path, *kind, field)?));
                }
                let joined = self.namespace(*kind);
                joined.map_or(Ok(()), |joined| {
                    let (shown, changed_by) = ((&**path, &**field), changed_by.as_deref());
                    namespace::must_leave_host_alone(joined, *kind, shown, changed_by)
                })?;
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
        if let Some((IdMaps { uids, gids }, held)) = &self.user_namespace {
            maps.insert((uids.clone(), gids.clone()), held.as_raw_fd());
        }
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
                SlotUse::Root => fd(&self.root),
                SlotUse::Init => fd(&self.init),
                SlotUse::Landlock(index) => {
                    self.landlock.get(usize::from(*index)).map_or(-1, AsRawFd::as_raw_fd)
                }
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
                SlotUse::CallersProc => {
                    let held = callers_proc()?;
                    let fd = held.as_raw_fd();
                    opened.push(held);
                    fd
                }
                SlotUse::Target(_) | SlotUse::Made(_) => -1,
            });
        }
        Ok((table, opened))
    }
}

/// The inode of a procfs's root (linux/proc_ns.h `PROC_ROOT_INO`).
const PROC_ROOT: u64 = 1;

/// A place in the procfs at /proc, from which its files are found.
fn callers_proc() -> Result<OwnedFd, Error> {
    let failed = |errno| Error::system("opening /proc", errno);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty()).map_err(failed)?;
    let file_system = fstatfs(&proc).map_err(failed)?.f_type;
    let inode = fstat(&proc).map_err(failed)?.st_ino;
    if file_system != PROC_SUPER_MAGIC || inode != PROC_ROOT {
        return Err(Error::plain("what is mounted at /proc is not a procfs").with_hint(
            "mount one there: by it a process without a pid namespace gets what config.json says",
        ));
    }
    Ok(proc)
}
