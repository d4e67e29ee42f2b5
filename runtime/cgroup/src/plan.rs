//! The cgroup as data: which directories are made and what is written to them.
//!
//! Promises: no I/O, and every refusal names the field of config.json.
//! Must never: depend on anything but [`CgroupFacts`] and the [`Request`].

mod render;

use std::path::{Path, PathBuf};

use brig_spec::{DeviceRule, Resources};
use serde::{Deserialize, Serialize};

use super::facts::{CgroupFacts, Hierarchy, Layout, Unified};
use super::{Error, devices, systemd, v1, v2};

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
pub struct Request<'a> {
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
    /// Device rules that follow those of `resources.devices`; for a container that
    /// is to have the usual devices, [`devices::default_rules`]. The last rule that
    /// matches decides; without any the answer is no.
    pub devices: &'a [DeviceRule],
    /// brig runs without root. Device rules are then not applied (an unprivileged
    /// user can make no device nodes), and where neither a path nor a limit is asked
    /// for, a directory that may not be made is left out.
    pub rootless: bool,
    /// Owner of the cgroup when it is delegated to a user namespace with a
    /// read-write cgroup mount: host uid and gid. v2 only.
    pub owner: Option<(u32, u32)>,
}

/// A directory of the container in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    /// v1: the hierarchy's controllers. v2: those that the mount offers.
    pub controllers: Vec<String>,
    /// The hierarchy is cgroup v2.
    pub unified: bool,
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// The path from the mount point, without a leading `/`.
    pub path: String,
}

impl Directory {
    /// The absolute path.
    #[must_use]
    pub fn absolute(&self) -> PathBuf {
        self.mount.join(&self.path)
    }
}

/// What to do when a control file does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Absent {
    /// Fail: the control is missing.
    Fail,
    /// Nothing: without the control the value is what holds anyway.
    Satisfied,
    /// Write this value to this file instead.
    Instead {
        /// The other control file.
        file: String,
        /// The value for it.
        value: String,
    },
}

/// One value for one control file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// Index in [`CgroupPlan::directories`].
    pub directory: usize,
    /// The control file.
    pub file: String,
    /// What is written.
    pub value: String,
    /// The field of config.json that asks for it.
    pub field: String,
    /// The value is the kernel's default: written only to a directory that was there before.
    pub default: bool,
    /// What if the file does not exist.
    pub absent: Absent,
}

impl Write {
    #[expect(clippy::needless_pass_by_value, reason = "callers pass numbers and temporaries")]
    pub(crate) fn new(
        directory: usize,
        file: impl Into<String>,
        value: impl ToString,
        field: impl Into<String>,
    ) -> Write {
        Write {
            directory,
            file: file.into(),
            value: value.to_string(),
            field: field.into(),
            default: false,
            absent: Absent::Fail,
        }
    }

    /// Marks the value as the kernel's default when `default` is true.
    pub(crate) fn default_if(mut self, default: bool) -> Write {
        self.default = default;
        self
    }

    pub(crate) fn absent(mut self, absent: Absent) -> Write {
        self.absent = absent;
        self
    }
}

/// One thing that [`create`](super::create) does. Steps are done in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Make the directory (and its ancestors).
    MakeDirectory {
        /// Index in [`CgroupPlan::directories`].
        directory: usize,
    },
    /// v2: enable controllers in `cgroup.subtree_control` from the mount point down.
    EnableControllers {
        /// Index in [`CgroupPlan::directories`].
        directory: usize,
        /// Limits need these.
        need: Vec<String>,
        /// Statistics want these; enabled where the ancestors allow it.
        want: Vec<String>,
    },
    /// v1: fill empty `cpuset.cpus` and `cpuset.mems` from the parents, top down.
    FillCpuset {
        /// Index in [`CgroupPlan::directories`].
        directory: usize,
        /// Fill the directory's own `cpuset.cpus`; else only its ancestors'.
        cpus: bool,
        /// Fill the directory's own `cpuset.mems`; else only its ancestors'.
        mems: bool,
    },
    /// Write one value.
    Write(Write),
    /// Write these values; what the kernel refuses with EINVAL is tried again after
    /// the others, as each bounds the next (memory and memory+swap, quota and period).
    WriteGroup(Vec<Write>),
    /// v2: load and attach the device program.
    AttachDevices {
        /// Index in [`CgroupPlan::directories`].
        directory: usize,
        /// The rules as text, the last that matches decides.
        rules: Vec<String>,
        /// The program, one instruction in each element.
        program: Vec<u64>,
    },
    /// v2: give the directory and its delegatable files to a user.
    ChangeOwner {
        /// Index in [`CgroupPlan::directories`].
        directory: usize,
        /// Host uid.
        uid: u32,
        /// Host gid.
        gid: u32,
    },
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
    pub scope: Option<systemd::Scope>,
}

/// Plans the cgroup of a container.
///
/// # Errors
/// [`Error::Field`], naming the field that cannot be honoured on this layout.
pub fn plan(facts: &CgroupFacts, request: &Request<'_>) -> Result<CgroupPlan, Error> {
    let scope = match request.driver {
        Driver::Fs => None,
        Driver::Systemd => Some(systemd::scope(facts, request)?),
    };
    let path = match &scope {
        Some(scope) => CgroupPath { path: scope.cgroup.clone(), absolute: true },
        None => CgroupPath::parse(request)?,
    };
    let directories = directories(facts, &path, request)?;
    let mut steps = Vec::new();
    let targets = Targets(&directories);
    for directory in 0..directories.len() {
        steps.push(Step::MakeDirectory { directory });
    }
    let limits = limits(&targets, request.resources)?;
    let optional = request.rootless && request.cgroups_path.is_none() && limits.is_empty();
    steps.extend(enable_controllers(&directories, &limits, request.driver));
    steps.extend(v1::fill_cpuset(&targets, &limits));
    steps.extend(limits);
    if !request.rootless {
        steps.extend(device_steps(&targets, request)?);
    }
    steps.extend(owner_step(&directories, request)?);
    Ok(CgroupPlan { driver: request.driver, directories, steps, optional, scope })
}

/// The writes that `resources` ask for, in the directories of `targets`.
pub(crate) fn limits(
    targets: &Targets<'_>,
    resources: Option<&Resources>,
) -> Result<Vec<Step>, Error> {
    let Some(resources) = resources else {
        return Ok(Vec::new());
    };
    let pure_unified = targets.0.iter().all(|directory| directory.unified);
    if pure_unified { v2::limits(targets, resources) } else { v1::limits(targets, resources) }
}

/// The directories of a plan, searched by controller.
pub(crate) struct Targets<'a>(pub(crate) &'a [Directory]);

impl Targets<'_> {
    /// The directory whose hierarchy has `controller`, and whether it is a v2 one.
    pub(crate) fn find(&self, controller: &str) -> Option<(usize, bool)> {
        let holds = |directory: &Directory| directory.controllers.iter().any(|c| c == controller);
        let index = self.0.iter().position(holds)?;
        Some((index, self.0[index].unified))
    }

    /// As `find`; an error that names `field` when no hierarchy has the controller.
    pub(crate) fn need(&self, controller: &str, field: &str) -> Result<usize, Error> {
        self.find(controller).map(|(index, _)| index).ok_or_else(|| {
            Error::field(field, format!("the host has no cgroup controller {controller:?}"))
        })
    }
}

/// A checked `cgroupsPath`.
struct CgroupPath {
    path: String,
    absolute: bool,
}

impl CgroupPath {
    fn parse(request: &Request<'_>) -> Result<CgroupPath, Error> {
        let (text, field) = match request.cgroups_path {
            Some(text) if !text.is_empty() => (text, "linux.cgroupsPath"),
            _ => (request.id, "container id"),
        };
        let path = clean(text, field)?;
        if path.is_empty() {
            return Err(Error::field(field, format!("{text:?} names the root of the hierarchy")));
        }
        Ok(CgroupPath { path, absolute: text.starts_with('/') })
    }

    /// The path from the mount point, in a hierarchy where brig is in `own`.
    fn resolve(&self, own: &str) -> String {
        let own = own.trim_matches('/');
        if self.absolute || own.is_empty() {
            self.path.clone()
        } else {
            format!("{own}/{}", self.path)
        }
    }
}

/// The path without empty and `.` components; refuses what could leave the hierarchy.
pub(crate) fn clean(text: &str, field: &str) -> Result<String, Error> {
    let mut parts = Vec::new();
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(Error::field(field, format!("{text:?} contains \"..\"")));
        }
        if part.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(Error::field(field, format!("{text:?} contains a control character")));
        }
        if part.len() > 255 {
            return Err(Error::field(field, "a component is longer than 255 bytes"));
        }
        parts.push(part);
    }
    Ok(parts.join("/"))
}

fn directories(
    facts: &CgroupFacts,
    path: &CgroupPath,
    request: &Request<'_>,
) -> Result<Vec<Directory>, Error> {
    match &facts.layout {
        Layout::Unified(unified) => Ok(vec![unified_directory(unified, path)]),
        Layout::Legacy { hierarchies, unified } => {
            let mut directories: Vec<Directory> =
                hierarchies.iter().map(|hierarchy| legacy_directory(hierarchy, path)).collect();
            if let Some(unified) = unified
                && hybrid_needs_unified(unified, request)?
            {
                directories.push(unified_directory(unified, path));
            }
            Ok(directories)
        }
    }
}

fn legacy_directory(hierarchy: &Hierarchy, path: &CgroupPath) -> Directory {
    Directory {
        controllers: hierarchy.controllers.clone(),
        unified: false,
        mount: hierarchy.mount.clone(),
        path: path.resolve(&hierarchy.own),
    }
}

/// A cgroup that holds processes, as brig's own does, cannot give controllers to those
/// below it (cgroup-v2.rst "No Internal Process Constraint"); a sibling of it can have them.
fn unified_directory(unified: &Unified, path: &CgroupPath) -> Directory {
    let parent = Path::new(&unified.own).parent().and_then(Path::to_str).unwrap_or("/");
    Directory {
        controllers: unified.controllers.clone(),
        unified: true,
        mount: unified.mount.clone(),
        path: path.resolve(parent),
    }
}

/// On a hybrid host the v2 directory is made only for a controller that lives there
/// and has a limit: each directory costs every start.
fn hybrid_needs_unified(unified: &Unified, request: &Request<'_>) -> Result<bool, Error> {
    let Some(resources) = request.resources else {
        return Ok(false);
    };
    let has = |name: &str| unified.controllers.iter().any(|controller| controller == name);
    let hugetlb = !resources.hugepage_limits.is_empty();
    let rdma = !resources.rdma.is_empty();
    Ok((hugetlb && has("hugetlb")) || (rdma && has("rdma")))
}

/// v2: what must be enabled for the limits, and what statistics want.
/// systemd's slices are systemd's: there only what a limit cannot do without.
pub(crate) fn enable_controllers(
    directories: &[Directory],
    limits: &[Step],
    driver: Driver,
) -> Vec<Step> {
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
            .filter(|name| target.controllers.iter().any(|c| c == *name))
            .filter(|name| !need.iter().any(|c| c == *name))
            .map(|name| (*name).to_owned())
            .collect();
        steps.push(Step::EnableControllers { directory, need, want });
    }
    steps
}

/// All writes of `steps`, those of groups too.
pub(crate) fn writes(steps: &[Step]) -> impl Iterator<Item = &Write> {
    steps.iter().flat_map(|step| match step {
        Step::Write(write) => std::slice::from_ref(write),
        Step::WriteGroup(group) => group,
        _ => &[],
    })
}

fn device_steps(targets: &Targets<'_>, request: &Request<'_>) -> Result<Vec<Step>, Error> {
    let asked = request.resources.map_or(&[][..], |resources| &resources.devices);
    let rules = devices::Rules::parse(asked, request.devices)?;
    match targets.find("devices") {
        Some((directory, false)) => devices::v1_writes(directory, &rules),
        _ => match targets.0.iter().position(|directory| directory.unified) {
            Some(directory) => Ok(vec![Step::AttachDevices {
                directory,
                rules: rules.lines(),
                program: devices::assemble(&rules),
            }]),
            None => Err(Error::field(
                "linux.resources.devices",
                "the host has neither the v1 devices controller nor cgroup v2",
            )),
        },
    }
}

fn owner_step(directories: &[Directory], request: &Request<'_>) -> Result<Option<Step>, Error> {
    let Some((uid, gid)) = request.owner else {
        return Ok(None);
    };
    match directories {
        [only] if only.unified => Ok(Some(Step::ChangeOwner { directory: 0, uid, gid })),
        _ => Err(Error::field(
            "linux.namespaces (user) with a read-write cgroup mount",
            "cgroup v1 cannot be delegated safely",
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
