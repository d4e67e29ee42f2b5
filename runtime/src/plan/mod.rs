//! From a checked specification to a plan: the flat list of operations that the child runs, and
//! what the supervisor must hand it.
//!
//! Planning is pure: it reads no file and asks the kernel nothing, so that a plan can be shown
//! (`brig plan`), tested without root, and compared. All that it knows of the machine is in
//! [`HostFacts`]. What it cannot plan it refuses, naming the field.
//!
//! The operations are brig-child's own type: what is printed is what runs.

mod attach;
mod build;
mod cgroup;
mod descriptors;
mod devices;
mod environment;
mod error;
mod exec;
mod fields;
mod identity;
mod inheritance;
mod labels;
mod last_calls;
mod mounts;
mod namespaces;
mod private_proc;
mod process;
mod render;
mod root;
mod rootfs;

use std::ops::Range;

use brig_cgroup::CgroupPlan;
use brig_child::Op;
use bumpalo::Bump;
use private_proc::PrivateProc;

use crate::caller::Caller;
use crate::policy::Hardened;
use crate::spec::ContainerId;

pub use build::SlotUse;
pub use cgroup::{Join, Systemd, plan_cgroup};
pub(crate) use cgroup::{delegates_later, owner_by};
pub(crate) use descriptors::needs_many as needs_many_descriptors;
pub(crate) use environment::has_home;
pub use error::Refusal;
pub use exec::{ExecRequest, plan_exec};
pub use namespaces::Namespaces;
pub use render::{call_name, render, render_op};
pub use root::{
    Ids, Layer, Layers, Root, RootDirectory, RootMount, RootMountKind, Tree, Volume, Writes,
};

/// What the planner knows of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Who has called brig. Root of any user namespace may mount in a mount namespace that belongs to it; device
    /// nodes only root of the machine can make.
    pub caller: Caller,
    /// brig may call setgroups(2) in its own user namespace.
    pub setgroups: bool,
    /// The kept mount namespace that holds nothing but an empty directory is there.
    pub empty_namespace: bool,
    /// AppArmor is enabled.
    pub apparmor: bool,
    /// SELinux is enabled.
    pub selinux: bool,
    /// `kernel.pid_max` is a pid namespace's own. Looked at only where it is to be set.
    pub own_pid_max: bool,
    /// overlayfs takes layers by descriptor, and such as are mounted nowhere. Looked at only where a root is made of layers.
    pub detached_layers: bool,
    /// The process has no_new_privs: because that is asked for, or because brig has it, which its children inherit.
    pub no_new_privileges: bool,
    /// How many descriptors the caller may have, soft and hard limit. Looked at only where a container needs many.
    pub descriptors: Option<(u64, u64)>,
}

/// When the container's program starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// As soon as everything is set up: `run`.
    AtOnce,
    /// When somebody opens the gate: `create`, `start`.
    AtGate,
}

/// The source of a bind mount as the supervisor has found it. The child has to find the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceObject {
    /// Major and minor number of its file system's device.
    pub device: (u32, u32),
    /// Its inode.
    pub inode: u64,
}

/// What a Landlock ruleset allows in the container's own mounts, by their paths: rules are about inodes, and those of a
/// directory under a mount do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LandlockRules {
    /// A path, what may be done there (`LANDLOCK_ACCESS_FS_*`), and whether it may be missing.
    pub paths: Vec<LandlockPath>,
    /// What of these rights a file can have that is no directory.
    pub of_file: u64,
}

/// See [`LandlockRules`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandlockPath {
    /// In the container.
    pub path: String,
    /// `LANDLOCK_ACCESS_FS_*`.
    pub access: u64,
    /// Where nothing is there, nothing is allowed.
    pub may_be_missing: bool,
}

/// What is to be planned.
#[derive(Clone, Copy, Debug)]
pub struct Request<'s> {
    /// The container's id: names its session keyring.
    pub id: &'s ContainerId,
    /// What holds for it.
    pub spec: &'s Hardened,
    /// The bundle's absolute path: relative mount sources start there.
    pub bundle: &'s str,
    /// The root file system.
    pub root: Root<'s>,
    /// What the mounts of the specification are to be made from, by their index, as far as that was looked at.
    pub sources: &'s [Option<SourceObject>],
    /// Whose ids the sources of bind mounts show, by their index; where nothing is said, as the specification asks.
    pub volumes: &'s [Volume],
    /// A source that an earlier mount makes is looked for in the root, when its turn has come: not under a policy, which
    /// has judged each mount by itself, and would be got round by a second look at what one of them shows.
    pub sources_inside: bool,
    /// The root is made read-only before it is attached, so that every mount point must exist;
    /// with privilege what is mounted below it does not come along.
    pub read_only_tree: bool,
    /// When the program starts.
    pub start: Start,
    /// The machine.
    pub host: &'s HostFacts,
    /// The container's cgroup.
    pub cgroup: &'s CgroupPlan,
    /// How it is joined. A caller who has made it knows better than the plan.
    pub join: Join,
    /// Which of standard input, output and error the supervisor hands over, rather than the caller's.
    pub standard: [bool; 3],
    /// Which of the three are /dev/null: the program gets the container's own, to read and to write. With that of the
    /// host it could change the mode, owner and times of a file that all of the host uses.
    pub null: [bool; 3],
    /// Number of descriptors after standard error that the program inherits.
    pub preserve_fds: u32,
    /// Whether the process gets a session keyring of its own.
    pub new_keyring: bool,
    /// The home directory of the user, for a program without `HOME`.
    pub home: Option<&'s str>,
    /// The compiled filter of `linux.seccomp`.
    pub seccomp: Option<&'s brig_seccomp::BpfProgram>,
    /// The filters that the node's policy puts beside it.
    pub node_filters: &'s [brig_seccomp::BpfProgram],
    /// Securebits that the process has locked from before its program on (capabilities(7)); 0 for none.
    pub securebits: u64,
    /// Attributes that the root has besides (mount_setattr(2)), whatever is read-only.
    pub root_attributes: u64,
    /// Memory of the process is never written and executed (prctl(2) `PR_SET_MDWE`, Linux 6.3), nor that of its children.
    pub write_xor_execute: bool,
    /// The supervisor limits what the interfaces send and receive, once the hooks have made them and before the program.
    pub limits_bandwidth: bool,
    /// The supervisor hands over this many Landlock rulesets; what each allows in the container is added there. All of
    /// them hold.
    pub landlock: &'s [LandlockRules],
}

impl<'s> Request<'s> {
    /// For a container of which only this is known: it waits at the gate, with the caller's descriptors, in a cgroup that
    /// is made as it is planned, and without a filter.
    #[must_use]
    pub fn new(
        id: &'s ContainerId,
        spec: &'s Hardened,
        bundle: &'s str,
        root: impl Into<Root<'s>>,
        host: &'s HostFacts,
        cgroup: &'s CgroupPlan,
    ) -> Self {
        Self {
            id,
            spec,
            bundle,
            root: root.into(),
            sources: &[],
            volumes: &[],
            sources_inside: false,
            read_only_tree: false,
            start: Start::AtGate,
            host,
            cgroup,
            join: Join::of(cgroup),
            standard: [false; 3],
            null: [false; 3],
            preserve_fds: 0,
            new_keyring: true,
            home: None,
            seccomp: None,
            node_filters: &[],
            securebits: 0,
            root_attributes: 0,
            write_xor_execute: false,
            limits_bandwidth: false,
            landlock: &[],
        }
    }
}

/// What the arena of an ordinary plan holds.
pub const ARENA_BYTES: usize = 16 << 10;

/// A container, planned.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Namespace flags of the first clone3.
    pub clone_flags: u64,
    /// The first clone3 is into the cgroup.
    pub clone_into_cgroup: bool,
    /// The process that runs the program is a second one, which the first makes.
    pub intermediate: bool,
    /// The process is made with a user namespace, whose maps the supervisor writes while it waits.
    pub wants_id_maps: bool,
    /// The operations, in order.
    pub ops: &'a [Op<'a>],
    /// What each slot is.
    pub slots: Vec<SlotUse<'a>>,
    /// Fields of config.json, and which operations each is the reason for.
    fields: Vec<(Range<usize>, String)>,
    /// Index of the first operation after the start gate; the number of operations where there is no gate.
    pub after_gate: usize,
    /// A failure of execve may go unheard: the filter, which comes before, does not let the process tell of it.
    pub mute: bool,
}

impl Plan<'_> {
    /// The field of config.json that the operation with this index is about, where it is about one.
    #[must_use]
    pub fn field_of(&self, op: usize) -> Option<&str> {
        let (_, field) = self.fields.iter().find(|(ops, _)| ops.contains(&op))?;
        Some(field)
    }
}

/// Plans a container.
///
/// # Errors
/// A [`Refusal`] that names the field which cannot be honoured here.
pub fn plan<'a>(arena: &'a Bump, request: &Request<'_>) -> Result<Plan<'a>, Refusal> {
    let mut builder = build::Builder::new(arena);
    let namespaces = Namespaces::of(request.spec);
    fields::check(request)?;
    let stages = namespaces::Stages::choose(&namespaces, request)?;
    builder.replace_standard(request.standard);
    if let Some(raise) = descriptors::raise(request.host) {
        builder.push(raise);
    }
    if request.host.descriptors.is_some() {
        builder.be_frugal();
    }
    let sources = namespaces::enter(&mut builder, request, &namespaces, &stages)?;
    let mut proc = PrivateProc::of(&namespaces, request.host);
    process::surroundings(&mut builder, request, &namespaces, &mut proc)?;
    let terminal = rootfs::assemble(&mut builder, request, &stages, &sources)?;
    let ending = process::finish(&mut builder, request, &namespaces, terminal, &mut proc)?;
    let open = builder.open_at_once();
    let plan = builder.finish(&stages, ending)?;
    descriptors::check(request, open)?;
    Ok(plan)
}
