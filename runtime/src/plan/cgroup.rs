//! A container's cgroup, as its specification and its caller ask for it.
//!
//! Promises: `create`, `brig plan`, `delete` of what is damaged, tests and benches plan the same one from the same
//! specification.

use std::path::{Path, PathBuf};

use brig_cgroup::{CgroupFacts, CgroupPlan, CgroupRequest, Driver, Error, Layout, Step, devices};

use crate::caller::Caller;
use crate::policy::Hardened;
use crate::spec::mount::{Kind, MOUNT_ATTR_RDONLY, MountRequest};
use crate::spec::{Config, ContainerId, IdMapping, NamespaceType};

/// The systemd that makes cgroups: the machine's for root of it, else the caller's own.
#[derive(Clone, Debug, Default)]
pub struct Systemd {
    /// The socket of the caller's own bus, if there is one.
    pub user_bus: Option<PathBuf>,
}

/// Plans the cgroup of a container with this specification, which systemd makes if one is given.
///
/// # Errors
/// [`Error::Field`], naming the field that cannot be honoured on this layout.
pub fn plan_cgroup(
    id: &ContainerId,
    spec: &Hardened,
    facts: &CgroupFacts,
    systemd: Option<&Systemd>,
    caller: Caller,
) -> Result<CgroupPlan, Error> {
    let request = CgroupRequest {
        id: id.as_str(),
        cgroups_path: spec.linux.cgroups_path.as_deref(),
        resources: spec.linux.resources.as_ref(),
        driver: if systemd.is_some() { Driver::Systemd } else { Driver::Fs },
        user_bus: systemd.and_then(|systemd| systemd.user_bus.as_deref()),
        annotations: Some(&spec.annotations),
        devices: &devices::default_rules(),
        rootless: caller != Caller::Root,
        owner: owner(spec, facts, caller),
    };
    CgroupPlan::new(facts, &request)
}

/// Whose the cgroup is to be: root's where this is none (config-linux.md, "Cgroup ownership").
fn owner(spec: &Config, facts: &CgroupFacts, caller: Caller) -> Option<(u32, u32)> {
    if caller != Caller::Root || !matches!(facts.layout, Layout::Unified(_)) || !delegates(spec) {
        return None;
    }
    let user = &spec.process.user;
    match spec.linux.namespace(NamespaceType::User) {
        None => not_roots((user.uid, user.gid)),
        Some(namespace) if namespace.path.is_none() => {
            owner_by(spec, &spec.linux.uid_mappings, &spec.linux.gid_mappings)
        }
        // What its ids are shows when a process is in it: `delegates_later`.
        Some(_) => None,
    }
}

/// Whether the container's user is to arrange the cgroup: who has a cgroup namespace, in which it is the root, and may
/// write to it there.
fn delegates(spec: &Config) -> bool {
    let is_writable = |mount: &MountRequest| {
        let attributes = mount.attributes.set | mount.recursive.set;
        matches!(&mount.kind, Kind::Filesystem(kind) if kind == "cgroup" || kind == "cgroup2")
            && mount.source.as_deref() == Some(Path::new("cgroup"))
            && mount.destination == Path::new("/sys/fs/cgroup")
            && attributes & MOUNT_ATTR_RDONLY == 0
    };
    let namespace = spec.linux.namespace(NamespaceType::Cgroup);
    namespace.is_some_and(|namespace| namespace.path.is_none())
        && spec.mounts.iter().any(is_writable)
}

/// Whether the owner of this cgroup is the container's user in a user namespace that is joined.
#[must_use]
pub(crate) fn delegates_later(spec: &Config, cgroup: &CgroupPlan, caller: Caller) -> bool {
    let user = spec.linux.namespace(NamespaceType::User);
    caller == Caller::Root
        && user.is_some_and(|namespace| namespace.path.is_some())
        && cgroup.directories.iter().all(|directory| directory.unified)
        && delegates(spec)
}

/// The container's user and group, as the host has them by these maps of its user namespace.
#[must_use]
pub(crate) fn owner_by(
    spec: &Config,
    users: &[IdMapping],
    groups: &[IdMapping],
) -> Option<(u32, u32)> {
    let user = &spec.process.user;
    let outside = IdMapping::outside_of;
    not_roots((outside(users, user.uid)?, outside(groups, user.gid)?))
}

/// Nothing changes hands where the host's root is the owner.
fn not_roots(owner: (u32, u32)) -> Option<(u32, u32)> {
    Some(owner).filter(|(uid, _)| *uid != 0)
}

/// How the container's process gets into its cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Join {
    /// cgroup v2: it is cloned into it.
    pub into: bool,
    /// cgroup v1: it writes itself into so many `tasks` files.
    pub tasks: u16,
    /// The supervisor moves it while it waits (systemd).
    pub by_supervisor: bool,
}

impl Join {
    /// How a process gets into the cgroup of this plan, once all of it is made.
    #[must_use]
    pub fn of(cgroup: &CgroupPlan) -> Self {
        if cgroup.driver == Driver::Systemd {
            return Self { by_supervisor: true, ..Self::default() };
        }
        let made = cgroup.steps.iter().filter_map(|step| match step {
            Step::MakeDirectory { directory } => cgroup.directories.get(*directory),
            _ => None,
        });
        let (unified, legacy): (Vec<_>, Vec<_>) = made.partition(|directory| directory.unified);
        let tasks = u16::try_from(legacy.len()).unwrap_or(u16::MAX);
        Self { into: !unified.is_empty(), tasks, by_supervisor: false }
    }
}
