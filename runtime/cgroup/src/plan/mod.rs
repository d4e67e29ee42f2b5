//! The cgroup as data: which directories are made and what is written to them, and what a change of
//! limits writes. All that reads `linux.resources` is here.
//!
//! Promises: no I/O, and every refusal names the field of config.json.
//! Must never: depend on anything but [`CgroupFacts`] and the [`CgroupRequest`].

mod annotations;
mod change;
pub mod devices;
mod directories;
mod limits;
pub(crate) mod properties;
mod render;
mod scope;
mod step;
mod value;

use std::collections::BTreeMap;
use std::path::Path;

use brig_spec::{DeviceRule, Resources};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::facts::CgroupFacts;
use directories::{CgroupPath, Targets, directories};
use limits::{fill_cpuset, limits};
use step::writes;

pub(crate) use change::change;
pub(crate) use directories::clean;
pub use scope::Scope;
pub use step::{Absent, Directory, Step, Write};

/// Who makes the cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// brig, in the cgroup file system.
    #[default]
    Fs,
    /// systemd, as a transient scope unit; `cgroupsPath` is then `slice:prefix:name`.
    Systemd,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct CgroupRequest<'a> {
    /// The container's id.
    pub id: &'a str,
    /// `linux.cgroupsPath`. Absolute: from the hierarchy's mount point. Relative:
    /// below brig's own cgroup (on v2 below the parent of it, as a cgroup that
    /// holds processes cannot give controllers to its children). None: as if it
    /// were `id`.
    pub cgroups_path: Option<&'a str>,
    /// `linux.resources`.
    pub resources: Option<&'a Resources>,
    /// Who makes the cgroup.
    pub driver: Driver,
    /// Where the manager of the user who calls brig is reached: the socket of that user's bus. For [`Driver::Systemd`]
    /// and `rootless`.
    pub user_bus: Option<&'a Path>,
    /// `annotations`: those named `org.systemd.property.NAME` are properties of the scope. For [`Driver::Systemd`]; there is
    /// no unit to have them otherwise.
    pub annotations: Option<&'a BTreeMap<String, String>>,
    /// Device rules that follow those of `resources.devices`; for a container that
    /// is to have the usual devices, [`devices::default_rules`]. The last rule that
    /// matches decides; without any the answer is no.
    pub devices: &'a [DeviceRule],
    /// brig runs without root. Device rules are then not applied (an unprivileged
    /// user can make no device nodes), and where neither a path nor a limit is asked
    /// for, a directory that may not be made is left out.
    pub rootless: bool,
    /// Owner of the cgroup when it is delegated to the container's user, who has a
    /// read-write cgroup mount: host uid and gid. v2 only.
    pub owner: Option<(u32, u32)>,
}

impl<'a> CgroupRequest<'a> {
    /// A cgroup that brig makes as root, below its own, and that asks for nothing.
    #[must_use]
    pub fn new(id: &'a str) -> CgroupRequest<'a> {
        CgroupRequest {
            id,
            cgroups_path: None,
            resources: None,
            driver: Driver::Fs,
            user_bus: None,
            annotations: None,
            devices: &[],
            rootless: false,
            owner: None,
        }
    }
}

/// A container's cgroup as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupPlan {
    /// Who makes the cgroup.
    pub driver: Driver,
    /// The directories, one in each hierarchy.
    pub directories: Vec<Directory>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// A directory that may not be made is left out (rootless, nothing asked for).
    pub optional: bool,
    /// The systemd unit, with [`Driver::Systemd`].
    pub scope: Option<Scope>,
}

impl CgroupPlan {
    /// Plans the cgroup of a container.
    ///
    /// # Errors
    /// [`Error::Field`], naming the field that cannot be honoured on this layout.
    pub fn new(facts: &CgroupFacts, request: &CgroupRequest<'_>) -> Result<Self, Error> {
        let scope = match request.driver {
            Driver::Fs => None,
            Driver::Systemd => Some(scope::plan_scope(facts, request)?),
        };
        let path = match &scope {
            Some(scope) => CgroupPath::of_scope(scope),
            None => CgroupPath::parse(request)?,
        };
        let directories = directories(facts, &path, request);
        let mut steps = Vec::new();
        let targets = Targets(&directories);
        for directory in 0..directories.len() {
            steps.push(Step::MakeDirectory { directory });
        }
        let limits = limits(&targets, request.resources)?;
        let optional = request.rootless && request.cgroups_path.is_none() && limits.is_empty();
        steps.extend(enable_controllers(&directories, &limits, request.driver));
        steps.extend(fill_cpuset(&targets, &limits));
        steps.extend(limits);
        if !request.rootless {
            let asked = request.resources.map_or(&[][..], |resources| &resources.devices);
            steps.extend(devices::steps(&targets, asked, request.devices)?);
        }
        steps.extend(owner_step(&directories, request)?);
        Ok(Self { driver: request.driver, directories, steps, optional, scope })
    }
}

/// v2: what must be enabled for the limits, and what statistics want.
/// systemd's slices are systemd's: there only what a limit cannot do without.
fn enable_controllers(directories: &[Directory], limits: &[Step], driver: Driver) -> Vec<Step> {
    const STATISTICS: [&str; 6] = ["cpu", "cpuset", "hugetlb", "io", "memory", "pids"];
    let mut steps = Vec::new();
    for (directory, target) in directories.iter().enumerate().filter(|(_, d)| d.unified) {
        let mut need: Vec<String> = writes(limits)
            .filter(|write| write.directory == directory && !write.default)
            .filter_map(|write| write.file.split_once('.'))
            .map(|(controller, _)| controller.to_owned())
            .filter(|controller| controller != "cgroup")
            .collect();
        need.sort();
        need.dedup();
        let want = STATISTICS
            .iter()
            .filter(|_| driver == Driver::Fs)
            .filter(|name| target.has(name))
            .filter(|name| !need.iter().any(|c| c == *name))
            .map(|name| (*name).to_owned())
            .collect();
        steps.push(Step::EnableControllers { directory, need, want });
    }
    steps
}

fn owner_step(
    directories: &[Directory],
    request: &CgroupRequest<'_>,
) -> Result<Option<Step>, Error> {
    let Some((uid, gid)) = request.owner else {
        return Ok(None);
    };
    match directories {
        [only] if only.unified => Ok(Some(Step::ChangeOwner { directory: 0, uid, gid })),
        _ => Err(Error::field("a read-write cgroup mount", "cgroup v1 cannot be delegated safely")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
