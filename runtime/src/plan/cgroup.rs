//! A container's cgroup, as its specification and its caller ask for it.
//!
//! Promises: `create`, `brig plan`, `delete` of what is damaged, tests and benches plan the same one from the same
//! specification.

use std::path::PathBuf;

use brig_cgroup::{CgroupFacts, CgroupPlan, CgroupRequest, Driver, Error, Step, devices};

use crate::caller::Caller;
use crate::policy::Hardened;
use crate::spec::ContainerId;

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
        owner: None,
    };
    CgroupPlan::new(facts, &request)
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
