//! All that is read of a container, before anything is said of it.
//!
//! Promises: it is of one container: after all is read its first process still runs. Must never judge.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use brig_cgroup::{Mounted, Readback};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::descriptors::{self, Descriptor, Inside, sockets};
use super::held::{Seen, Unseen};
use super::machine::{Group, Machine, Whose, of_the_host};
use super::mounts::Table;
use super::nodes::{Node, nodes};
use super::process::{Details, MOUNT, NETWORK, ObservedProcess};

/// What tells much of a machine (the paths that engines mask).
pub(super) const TELLING: [&str; 8] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/latency_stats",
    "/proc/acpi",
    "/proc/scsi",
    "/sys/firmware",
];

/// What is known of the host that containers are held against. Read once for any number of them.
#[derive(Debug)]
pub struct Host {
    /// Its mounts.
    pub mounts: Seen<Table>,
    sockets: BTreeSet<u64>,
    cgroups: Result<Mounted, brig_cgroup::Error>,
    /// Files of the kernel's that there may be and that this one does not have.
    absent: BTreeSet<PathBuf>,
}

impl Host {
    /// Reads it: of the first process, or, where that is not shown, of the caller.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn read() -> Seen<Self> {
        let own = ObservedProcess::read(std::process::id().cast_signed())?;
        let mut shown = of_the_host(&own.namespaces);
        shown.push(own.held);
        let mounts = shown.iter().find_map(|process| Table::read(process).ok());
        let listed = shown.iter().find_map(|process| sockets(process).ok());
        Ok(Self {
            mounts: mounts.ok_or(Unseen(Errno::ACCESS)),
            sockets: listed.unwrap_or_default(),
            cgroups: Mounted::read(),
            absent: absent(TELLING),
        })
    }

    /// Looks which of these paths in /proc and /sys this kernel does not have: they need not be hidden.
    pub fn look_for<'p>(&mut self, paths: impl IntoIterator<Item = &'p str>) {
        self.absent.extend(absent(paths));
    }

    /// Whether nothing of the kernel's is at a path: something else is mounted there or above, or there is no such file.
    pub(super) fn is_hidden(&self, table: &Table, path: &str) -> bool {
        let path = Path::new(path);
        let on = table.of(path);
        self.absent.contains(path)
            || on.is_none_or(|mount| mount.point == path || !mount.is_of_the_kernel())
    }

    /// Whether what is at a path cannot be written to, or there is no such file.
    pub(super) fn is_read_only(&self, table: &Table, path: &str) -> bool {
        let is_absent = self.absent.contains(Path::new(path));
        is_absent || table.of(Path::new(path)).is_none_or(|mount| mount.read_only)
    }
}

fn absent<'p>(paths: impl IntoIterator<Item = &'p str>) -> BTreeSet<PathBuf> {
    let is_absent = |path: &Path| matches!(access(path, Access::EXISTS), Err(Errno::NOENT));
    let is_kernels = |path: &Path| path.starts_with("/proc") || path.starts_with("/sys");
    let paths = paths.into_iter().map(PathBuf::from);
    paths.filter(|path| is_kernels(path) && is_absent(path)).collect()
}

/// A process of a container.
#[derive(Debug)]
pub struct Member<'m> {
    /// Who it is, what it may.
    pub process: &'m ObservedProcess,
    /// Whose its namespaces are.
    pub whose: [Whose; 8],
    /// The rest.
    pub details: Details,
    /// Its open files that lead out of the container.
    pub outside: Seen<Vec<Descriptor>>,
}

/// A container, as it was read.
#[derive(Debug)]
pub struct Snapshot<'m> {
    /// Its processes, the first one first.
    pub members: Vec<Member<'m>>,
    /// The mounts of the first.
    pub mounts: Seen<Table>,
    /// Limits and use of its cgroup.
    pub cgroup: Result<Readback, String>,
    /// The device nodes in its /dev.
    pub nodes: Seen<Vec<Node>>,
    /// What the host calls its mounts.
    pub host: &'m Host,
    /// Processes of the machine that could not be looked at: some may be its.
    pub unread: usize,
}

impl<'m> Snapshot<'m> {
    /// Reads a container.
    ///
    /// # Errors
    /// Its first process has ended.
    pub fn read(machine: &'m Machine, group: &Group, host: &'m Host) -> Seen<Self> {
        let first = machine.process(group.0[0]);
        let mut tables: Vec<(u64, Seen<Table>)> = Vec::new();
        let mut members = Vec::with_capacity(group.0.len());
        for place in &group.0 {
            let process = machine.process(*place);
            let mut whose = [Whose::Unknown; 8];
            for (index, whose) in whose.iter_mut().enumerate() {
                *whose = machine.whose(process, index);
            }
            let outside = outside(process, &mut tables, &whose, host);
            members.push(Member { process, whose, details: process.details(), outside });
        }
        let mounts = first.namespaces[MOUNT].and_then(|inode| {
            let cached = tables.iter().position(|(of, _)| *of == inode);
            cached.map_or_else(|| Table::read(&first.held), |at| tables.swap_remove(at).1)
        });
        let nodes =
            mounts.as_ref().map_err(|unseen| *unseen).and_then(|mounts| nodes(&first.held, mounts));
        let cgroup = first.cgroup.as_deref().map_err(ToString::to_string).and_then(|text| {
            let mounted = host.cgroups.as_ref().map_err(ToString::to_string)?;
            Readback::of(text, mounted).map_err(|error| error.to_string())
        });
        // What was read of one that has ended meanwhile may be of less than a process.
        if !first.runs() {
            return Err(Unseen(Errno::SRCH));
        }
        members.retain(|member| member.process.pid == first.pid || member.process.runs());
        Ok(Self { members, mounts, cgroup, nodes, host, unread: machine.unread })
    }

    /// The first process.
    #[must_use]
    pub fn first(&self) -> &Member<'m> {
        &self.members[0]
    }
}

/// The descriptors of a process that lead out; those of one that is in the host's mount namespace lead nowhere that it has
/// not.
fn outside(
    process: &ObservedProcess,
    tables: &mut Vec<(u64, Seen<Table>)>,
    whose: &[Whose; 8],
    host: &Host,
) -> Seen<Vec<Descriptor>> {
    let inode = process.namespaces[MOUNT]?;
    let known = tables.iter().position(|(of, _)| *of == inode);
    let at = known.unwrap_or_else(|| {
        tables.push((inode, Table::read(&process.held)));
        tables.len() - 1
    });
    let table = tables[at].1.as_ref().map_err(|unseen| *unseen)?;
    let is_apart = whose[NETWORK] == Whose::Own;
    let host_sockets = is_apart.then_some(&host.sockets);
    descriptors::outside(&process.held, &Inside { mounts: &table.ids, host_sockets })
}
