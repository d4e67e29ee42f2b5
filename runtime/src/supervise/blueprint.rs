//! A container as it is to be made: for `create` and `run`, and for `plan`, which only shows it.
//!
//! Promises: what is planned here depends on the arguments alone. Must never open anything, or ask the machine.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use brig_cgroup::{CgroupPlan, PlannedCgroup};
use brig_seccomp::BpfProgram;
use bumpalo::Bump;

use super::Error;
use super::held::HeldNamespaces;
use super::record::Record;
use super::root::{Kind, Root};
use crate::configuration::Configuration;
use crate::execute::IdMaps;
use crate::filter::Filter;
use crate::host::{self, Host};
use crate::id_pool::IdClaim;
use crate::plan::{self, Join, LandlockRules, Plan, Start, Volume};
use crate::policy::{self, Bandwidth};
use crate::sources::HeldSources;
use crate::spec::{ContainerId, IdMapping, Linux, Process, sysctl};

/// A container as it is to be made: a bundle on disk, or what `try` composes.
#[derive(Debug)]
pub struct Blueprint {
    /// Its configuration; the text is kept for later commands.
    pub config: Configuration,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// The root file system.
    pub root: Root,
    /// What was looked at of the sources of its bind mounts.
    pub sources: HeldSources,
    /// Namespaces that it joins by descriptor; its configuration says so.
    pub namespaces: HeldNamespaces,
    /// What was found out where ids are mapped: see [`Blueprint::remap`].
    pub remapped: Option<Remapped>,
    /// The ids that are its own, where the node's policy gives it some.
    pub ids: Option<IdClaim>,
    /// See [`plan::Request::read_only_tree`].
    pub read_only_tree: bool,
    /// A Landlock ruleset for the program.
    pub landlock: Option<Landlock>,
    /// Who gets the filter's listener, instead of whoever listens at `linux.seccomp.listenerPath`.
    pub watcher: Option<OwnedFd>,
}

/// What was found out and made where ids are mapped: see [`Blueprint::remap`].
#[derive(Debug)]
pub struct Remapped {
    /// What each mount of the specification becomes, by its index.
    pub(super) volumes: Vec<Volume>,
    /// The container's user namespace, and its maps.
    pub(super) user_namespace: (IdMaps, OwnedFd),
}

/// A Landlock ruleset.
#[derive(Debug)]
pub struct Landlock {
    /// The ruleset.
    pub ruleset: OwnedFd,
    /// What it allows in the container's own mounts.
    pub rules: LandlockRules,
}

/// How a container is to be made, as its caller asks for it: see [`plan::Request`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'m> {
    pub(super) id: &'m ContainerId,
    pub(super) start: Start,
    pub(super) standard: [bool; 3],
    pub(super) null: [bool; 3],
    pub(super) preserve_fds: u32,
    pub(super) new_keyring: bool,
}

/// What was looked at of the bundle and of the machine, and decides what the plan comes to.
#[derive(Debug)]
pub(super) struct Circumstances {
    /// The machine.
    pub(super) host: Host,
    /// The filter of `linux.seccomp`.
    pub(super) filter: Option<Filter>,
    /// Those that the node's policy puts beside it.
    pub(super) node_filters: Vec<BpfProgram>,
    /// The home directory of the process's user, where it has none of its own.
    pub(super) home: Option<String>,
    /// The capabilities that brig cannot grant as it lacks them: a sentence that names them.
    pub(super) lacking: Option<String>,
    /// Landlock rulesets, until the process gets them.
    pub(super) rulesets: Vec<OwnedFd>,
    /// What each of them allows in the container.
    pub(super) landlock: Vec<LandlockRules>,
}

impl Blueprint {
    pub(super) fn linux(&self) -> &Linux {
        &self.config.spec.linux
    }

    /// Leaves out the capabilities that brig cannot grant as it lacks them; a sentence that names them.
    pub(super) fn leave_out_lacking(&mut self) -> Option<String> {
        let (permitted, inheritable) = host::own_capabilities(&self.config.spec)?;
        self.config.spec.leave_out_lacking(permitted, inheritable)
    }

    /// Whether a field asks for something of a security module.
    pub(super) fn wants_label(&self) -> bool {
        let Process { apparmor_profile, selinux_label, .. } = &self.config.spec.process;
        let labels = [apparmor_profile, selinux_label, &self.linux().mount_label];
        labels.iter().any(|label| label.is_some())
    }

    /// Whether a parameter is to be set that on some kernels is the host's.
    fn wants_pid_max(&self) -> bool {
        let mut parameters = self.linux().sysctl.keys().filter_map(|name| sysctl::parse(name).ok());
        parameters.any(|parameter| parameter.path == sysctl::PID_MAX)
    }

    /// Whether the plan depends on the kernel's version.
    pub(super) fn depends_on_kernel(&self) -> bool {
        self.wants_pid_max() || matches!(self.root.kind, Kind::Mounts(..))
    }

    /// The maps of the container's user namespace: users, groups.
    pub(super) fn id_maps(&self) -> [Vec<IdMapping>; 2] {
        [self.linux().uid_mappings.clone(), self.linux().gid_mappings.clone()]
    }

    /// How much its interfaces may send and receive, by the node's policy.
    pub(super) fn bandwidth(&self) -> Option<Bandwidth> {
        policy::bandwidth(&self.config.applied.profile)
    }

    /// The plan of its first process, which gets into its cgroup by `join`.
    pub(super) fn plan<'a>(
        &self,
        arena: &'a Bump,
        manner: &Manner<'_>,
        circumstances: &Circumstances,
        (cgroup, join): (&CgroupPlan, Join),
    ) -> Result<Plan<'a>, Error> {
        let (spec, bundle) = (&self.config.spec, self.bundle.to_string_lossy());
        let (root, host) = (self.root.expected(), &circumstances.host.facts);
        let request = plan::Request {
            sources: self.sources.expected(),
            volumes: self.remapped.as_ref().map_or(&[], |remapped| &*remapped.volumes),
            // `try` has the host's own root: there all sources are below it.
            sources_inside: self.config.applied.profile.is_empty() && !self.read_only_tree,
            read_only_tree: self.read_only_tree,
            start: manner.start,
            join,
            standard: manner.standard,
            null: manner.null,
            preserve_fds: manner.preserve_fds,
            new_keyring: manner.new_keyring,
            home: circumstances.home.as_deref(),
            seccomp: circumstances.filter.as_ref().map(|filter| &filter.program),
            node_filters: &circumstances.node_filters,
            securebits: policy::securebits(&spec.process, &self.config.applied.profile),
            root_attributes: policy::root_attributes(&self.config.applied.profile),
            write_xor_execute: policy::write_xor_execute(&self.config.applied.profile),
            limits_bandwidth: manner.start == Start::AtOnce && self.bandwidth().is_some(),
            landlock: &circumstances.landlock,
            ..plan::Request::new(manner.id, spec, &bundle, root, host, cgroup)
        };
        Ok(plan::plan(arena, &request)?)
    }

    /// The record of a container that user `owner` makes of it, `created` being now: so far nothing is made.
    pub(super) fn record(
        &self,
        id: &ContainerId,
        cgroup: &CgroupPlan,
        owner: u32,
        created: String,
    ) -> Record {
        let spec = &self.config.spec;
        Record {
            id: id.as_str().to_owned(),
            oci_version: spec.version.clone(),
            bundle: self.bundle.clone(),
            rootfs: self.root.path().unwrap_or(&self.bundle).to_owned(),
            created,
            owner,
            process: None,
            planned_cgroup: PlannedCgroup::of(cgroup),
            cgroup: None,
            resctrl: None,
            ids: self.ids.as_ref().map(|ids| ids.name().to_owned()),
            annotations: spec.annotations.clone(),
            after_gate: (0, Vec::new()),
            mute: false,
        }
    }
}
