//! Which process makes and joins which namespaces, and in which order.
//!
//! One clone3 where that is possible, with all that is new but the mount and the cgroup namespace, which the
//! process makes by itself, later. Where it is not, a short-lived intermediate
//! joins first and makes the container's process with `CLONE_PARENT`: a joined pid namespace and a
//! new time namespace hold for children only; after joining or making a user namespace the host's
//! other namespaces, mounts and limits can no longer be touched (namespaces(7)).

use brig_child::flags::{namespace, open, prctl, propagation};
use brig_child::op::{FileOp, MountOp, NamespaceOp, PrivilegeOp, ProcessOp};
use brig_child::syscall::MountAttr;
use brig_child::{ReportKind, Slot};

use super::build::{Builder, SlotUse};
use super::mounts::{Opened, OpenedSources};
use super::rootfs::{RootMode, open_sources};
use super::{Join, Refusal, Request, inheritance, mounts};
use crate::caller::Caller;
use crate::spec::mount::Kind;
use crate::spec::sysctl::{self, Sysctl};
use crate::spec::{Config, Process, TimeOffset};

/// The namespaces of a specification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Flags of those to make.
    pub new: u32,
    /// Those to join: flag, path, and the field that names it.
    pub joined: Vec<(u32, String, String)>,
    /// What changes something in one of them: flag, and field.
    pub changes: Vec<(u32, String)>,
}

/// The fields that change what a namespace holds, for whoever is in it.
fn changes(spec: &Config) -> Vec<(u32, String)> {
    let mut all = Vec::new();
    all.extend(spec.hostname.as_ref().map(|_| (namespace::UTS, "hostname".to_owned())));
    all.extend(spec.domainname.as_ref().map(|_| (namespace::UTS, "domainname".to_owned())));
    let devices = !spec.linux.net_devices.is_empty();
    all.extend(devices.then(|| (namespace::NETWORK, "linux.netDevices".to_owned())));
    all.extend(spec.linux.sysctl.keys().filter_map(|name| {
        let parameter = sysctl::parse(name).ok()?;
        Some((parameter.namespace.number(), format!("linux.sysctl[{name}]")))
    }));
    all
}

impl Namespaces {
    /// The namespaces that `spec` lists.
    #[must_use]
    pub fn of(spec: &Config) -> Self {
        let mut all = Self { changes: changes(spec), ..Self::default() };
        for (index, entry) in spec.linux.namespaces.iter().enumerate() {
            let flag = entry.kind.number();
            match &entry.path {
                None => all.new |= flag,
                Some(path) => {
                    let field = format!("linux.namespaces[{index}].path");
                    all.joined.push((flag, path.clone(), field));
                }
            }
        }
        all
    }

    /// Whether the container has this namespace, new or joined, rather than the host's.
    #[must_use]
    pub fn has(&self, flag: u32) -> bool {
        self.new & flag != 0 || self.joins(flag)
    }

    /// The first field that changes something in the namespace of this type.
    fn changed_by(&self, flag: u32) -> Option<String> {
        let (_, field) = self.changes.iter().find(|(changed, _)| *changed == flag)?;
        Some(field.clone())
    }

    /// Whether a kernel parameter is of a namespace that is not made in the container's user namespace.
    #[must_use]
    pub fn is_of_others(&self, parameter: &Sysctl) -> bool {
        let flag = parameter.namespace.number();
        let is_one = matches!(flag, namespace::NETWORK | namespace::IPC);
        is_one && self.has(namespace::USER) && self.joins(flag)
    }

    /// Whether it joins this namespace.
    #[must_use]
    pub fn joins(&self, flag: u32) -> bool {
        self.joined.iter().any(|(joined, ..)| *joined == flag)
    }
}

/// How the namespaces are distributed over processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stages {
    pub(super) first: u64,
    pub(super) first_into_cgroup: bool,
    /// Flags of the intermediate's clone3.
    pub(super) second: Option<u64>,
    /// Flags that the process unshares itself.
    pub(super) unshared: u32,
    pub(super) root: RootMode,
    pub(super) user: UserNamespace,
}

/// Where the container's user namespace comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UserNamespace {
    /// It is joined by path, or there is none.
    Given,
    /// It is made with a process, and the supervisor writes its maps.
    New,
    /// The supervisor has made it, with its maps, and it is entered like one by path.
    Held(SlotUse<'static>),
}

impl Stages {
    pub(super) fn choose(all: &Namespaces, request: &Request<'_>) -> Result<Self, Refusal> {
        let root = RootMode::choose(all, request)?;
        let privileged = request.host.caller.is_root();
        let two = all.joins(namespace::PID)
            || all.joins(namespace::USER)
            || all.new & namespace::TIME != 0
            || (all.new & namespace::USER != 0 && privileged);
        // The directory of message queues belongs to who makes the namespace: to be the container's
        // root, that one must be in its user namespace already.
        let queues = if privileged && all.has(namespace::USER) { namespace::IPC } else { 0 };
        let (new, user) = match own_user_namespace(all, request) {
            held @ UserNamespace::Held(_) => (all.new & !namespace::USER, held),
            user => (all.new, user),
        };
        let mut unshared = new & (namespace::CGROUP | queues);
        let mut cloned = new & !(namespace::CGROUP | namespace::TIME | queues);
        // What is mounted into the container is opened while the process is still among the host's
        // mounts: a copy's would be slaves of these, and a shared bind mount would lead nowhere. Root of
        // another user namespace may open nothing in mounts that are not its own.
        if request.host.caller == Caller::Root && !two {
            unshared |= cloned & namespace::MOUNT;
            cloned &= !namespace::MOUNT;
        }
        let into = request.join.into;
        if !two {
            return Ok(Self {
                first: u64::from(cloned),
                first_into_cgroup: into,
                second: None,
                unshared,
                root,
                user,
            });
        }
        // Without privilege nothing can be mounted or joined before there is a user namespace.
        let early = namespace::USER | namespace::MOUNT;
        let early = if privileged { 0 } else { cloned & early };
        Ok(Self {
            first: u64::from(early),
            first_into_cgroup: false,
            second: Some(u64::from(cloned & !early)),
            unshared,
            root,
            user,
        })
    }
}

fn own_user_namespace(all: &Namespaces, request: &Request<'_>) -> UserNamespace {
    if all.new & namespace::USER == 0 {
        return UserNamespace::Given;
    }
    // Mounts are mapped before a process of the host is in it, so one that serves as their map is there already.
    let map = if request.host.caller.is_root() { mounts::own_map(request) } else { None };
    map.map_or(UserNamespace::New, UserNamespace::Held)
}

/// Emits everything up to the point where the container's own process is in all its namespaces
/// and its cgroup. The answer is the sources of its mounts, opened on the way.
pub(super) fn enter<'s>(
    builder: &mut Builder<'_>,
    request: &Request<'s>,
    all: &Namespaces,
    stages: &Stages,
) -> Result<OpenedSources<'s>, Refusal> {
    builder.push(ProcessOp::DieWithParent { enabled: true });
    builder.push(inheritance::OWN_PERSONALITY);
    builder.push(inheritance::ALL_PROCESSORS);
    let user = request.host.caller.is_root() && all.has(namespace::USER);
    host_side_limits(builder, &request.spec.process, user)?;
    let sources = match stages.second {
        None => enter_alone(builder, request, all, stages)?,
        Some(flags) if request.host.caller.is_root() => {
            enter_from_host(builder, request, all, stages, flags)?
        }
        Some(flags) => enter_as_user(builder, request, all, stages, flags)?,
    };
    unshare(builder, stages.unshared);
    isolate_host_copy(builder, all, stages)?;
    Ok(sources)
}

/// One process does it all.
fn enter_alone<'s>(
    builder: &mut Builder<'_>,
    request: &Request<'s>,
    all: &Namespaces,
    stages: &Stages,
) -> Result<OpenedSources<'s>, Refusal> {
    join_cgroup(builder, request.join);
    supervisor_setup(builder, request, stages);
    let sources = open_sources(builder, request, all, stages)?;
    join(builder, all, |_| true)?;
    enter_empty_namespace(builder, stages);
    Ok(sources)
}

/// The first process does what is the host's, with the host's privileges.
fn enter_from_host<'s>(
    builder: &mut Builder<'_>,
    request: &Request<'s>,
    all: &Namespaces,
    stages: &Stages,
    second: u64,
) -> Result<OpenedSources<'s>, Refusal> {
    let late = late_namespaces(request.join);
    let mut sources = open_sources(builder, request, all, stages)?;
    // While the host's /proc is in reach and nobody else's.
    time_namespace(builder, request, all)?;
    join(builder, all, |flag| flag & (namespace::USER | late) == 0)?;
    if all.has(namespace::USER) {
        of_others(builder, request, all, &mut sources)?;
    }
    enter_empty_namespace(builder, stages);
    join(builder, all, |flag| flag == namespace::USER)?;
    if let UserNamespace::Held(held) = &stages.user {
        let fd = builder.input(held.clone());
        builder.push(NamespaceOp::Setns { fd, flags: namespace::USER });
    }
    go_on_in_second(builder, request, second);
    supervisor_setup(builder, request, stages);
    if stages.user != UserNamespace::New && all.has(namespace::USER) {
        become_root(builder);
    }
    if all.has(namespace::USER) {
        make_undumpable(builder);
    }
    join(builder, all, |flag| flag & late != 0)?;
    Ok(sources)
}

/// What takes privileges over a network or IPC namespace that is not made in the container's user namespace: root in there
/// has none.
fn of_others(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    all: &Namespaces,
    sources: &mut OpenedSources<'_>,
) -> Result<(), Refusal> {
    for (name, value) in &request.spec.linux.sysctl {
        let Some(parameter) = sysctl::parse(name).ok().filter(|it| all.is_of_others(it)) else {
            continue;
        };
        builder.concerning(&format!("linux.sysctl[{name}]"), |builder| {
            let path = builder.text(format!("/proc/sys/{}", parameter.path))?;
            let data = builder.bytes(value);
            builder.push(FileOp::WriteFile { dir: Slot::CWD, path, resolve: 0, data });
            Ok(())
        })?;
    }
    for (index, source) in sources.mounts.iter_mut().enumerate() {
        let mount = source.request;
        let flag = match (&source.opened, &mount.kind) {
            (Opened::Deferred, Kind::Filesystem(kind)) if kind == "sysfs" => namespace::NETWORK,
            (Opened::Deferred, Kind::Filesystem(kind)) if kind == "mqueue" => namespace::IPC,
            _ => continue,
        };
        if let (Kind::Filesystem(kind), 0) = (&mount.kind, all.new & flag) {
            let made = builder.concerning(&format!("mounts[{index}]"), |builder| {
                mounts::filesystem(builder, request, kind, mount, 0)
            });
            source.opened = Opened::Mount(made?);
        }
    }
    Ok(())
}

/// An ordinary user has no privilege but in the user namespace, which comes first.
fn enter_as_user<'s>(
    builder: &mut Builder<'_>,
    request: &Request<'s>,
    all: &Namespaces,
    stages: &Stages,
    second: u64,
) -> Result<OpenedSources<'s>, Refusal> {
    let late = late_namespaces(request.join);
    // newuidmap(1) must be able to look at it, and so must it itself at its own timens_offsets. In a user
    // namespace that is new nobody else is, but in one that is joined there may be.
    supervisor_setup(builder, request, stages);
    if all.joins(namespace::USER) {
        make_undumpable(builder);
        join(builder, all, |flag| flag == namespace::USER)?;
        become_root(builder);
        make_undumpable(builder);
    }
    time_namespace(builder, request, all)?;
    join(builder, all, |flag| flag & (namespace::USER | late) == 0)?;
    go_on_in_second(builder, request, second);
    let sources = open_sources(builder, request, all, stages)?;
    join(builder, all, |flag| flag & late != 0)?;
    Ok(sources)
}

/// The container's own process, in its cgroup.
fn go_on_in_second(builder: &mut Builder<'_>, request: &Request<'_>, flags: u64) {
    let cgroup = request.join.into.then(|| builder.input(SlotUse::CgroupDirectory));
    make_undumpable(builder);
    builder.push(NamespaceOp::Clone { flags, cgroup });
    builder.push(ProcessOp::DieWithParent { enabled: true });
    join_cgroup(builder, request.join);
}

/// Nothing that happens in the process's own copy of the host's tree may reach the host. Whoever is
/// in a user namespace of its own has got a slave (mount_namespaces(7)).
fn isolate_host_copy(
    builder: &mut Builder<'_>,
    all: &Namespaces,
    stages: &Stages,
) -> Result<(), Refusal> {
    if stages.root != RootMode::HostCopy || all.has(namespace::USER) {
        return Ok(());
    }
    let into = builder.made("copy of the host's root");
    let path = builder.text("/")?;
    builder.push(FileOp::Open { dir: Slot::CWD, path, flags: open::PATH, resolve: 0, into });
    let attr = MountAttr { propagation: propagation::SLAVE, ..MountAttr::default() };
    builder.push(MountOp::MountSetattr { fd: into, recursive: true, attr });
    Ok(())
}

/// What needs the host's privileges and is inherited: later, inside a user namespace, it could
/// only be lowered.
pub(super) fn host_side_limits(
    builder: &mut Builder<'_>,
    process: &Process,
    enters_user_namespace: bool,
) -> Result<(), Refusal> {
    if let Some(score) = process.oom_score_adj {
        let data = builder.bytes(score.to_string());
        let path = builder.text("/proc/self/oom_score_adj")?;
        builder.push(FileOp::WriteFile { dir: Slot::CWD, path, resolve: 0, data });
    }
    if enters_user_namespace {
        for limit in &process.rlimits {
            let resource = limit.kind.number();
            builder.push(ProcessOp::RaiseLimit { resource, hard: limit.hard });
        }
    }
    Ok(())
}

/// The namespaces that can be joined only by a process which is in its cgroup already. Where cgroup v2
/// is mounted with `nsdelegate`, as systemd does, nobody in a cgroup namespace may put a process into
/// a cgroup from one that is not in sight there, such as brig's: clone3 fails with `ENOENT`
/// (Documentation/admin-guide/cgroup-v2.rst, "Delegation Containment").
fn late_namespaces(join: Join) -> u32 {
    if join.into { namespace::CGROUP } else { 0 }
}

/// A thread that moves itself waits for nobody; moving another process costs milliseconds.
pub(super) fn join_cgroup(builder: &mut Builder<'_>, join: Join) {
    for index in 0..join.tasks {
        let fd = builder.input(SlotUse::CgroupTasks(index));
        builder.push(FileOp::Write { fd, data: b"0" });
    }
}

/// Waits for what the supervisor does for the process: id maps, its cgroup, network devices.
fn supervisor_setup(builder: &mut Builder<'_>, request: &Request<'_>, stages: &Stages) {
    let linux = &request.spec.linux;
    let devices = !linux.net_devices.is_empty();
    let user = stages.user == UserNamespace::New;
    let rdt = linux.intel_rdt.is_some();
    if user || devices || rdt || request.join.by_supervisor {
        builder.ask(ReportKind::WantsSetup);
    }
    if user {
        become_root(builder);
    }
}

pub(super) fn become_root(builder: &mut Builder<'_>) {
    builder.push(PrivilegeOp::Setgid { gid: 0 });
    builder.push(PrivilegeOp::Setuid { uid: 0 });
    // A change of ids takes it back (prctl(2)).
    builder.push(ProcessOp::DieWithParent { enabled: true });
}

fn join(
    builder: &mut Builder<'_>,
    all: &Namespaces,
    wanted: impl Fn(u32) -> bool,
) -> Result<(), Refusal> {
    for (flag, ..) in all.joined.iter().filter(|(flag, ..)| wanted(*flag)) {
        if let Some(fd) = joined(builder, all, *flag)? {
            builder.push(NamespaceOp::Setns { fd, flags: *flag });
        }
    }
    Ok(())
}

/// The namespace of this type that is joined by path, if one is.
pub(super) fn joined(
    builder: &mut Builder<'_>,
    all: &Namespaces,
    flag: u32,
) -> Result<Option<Slot>, Refusal> {
    let Some((_, path, field)) = all.joined.iter().find(|(joined, ..)| *joined == flag) else {
        return Ok(None);
    };
    let path = builder.text(path)?;
    let (field, changed_by) = (field.clone(), all.changed_by(flag));
    Ok(Some(builder.input(SlotUse::Namespace { path, kind: flag, field, changed_by })))
}

fn enter_empty_namespace(builder: &mut Builder<'_>, stages: &Stages) {
    if stages.root == RootMode::Empty {
        let fd = builder.input(SlotUse::EmptyNamespace);
        builder.push(NamespaceOp::Setns { fd, flags: namespace::MOUNT });
    }
}

fn time_namespace(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    all: &Namespaces,
) -> Result<(), Refusal> {
    if all.new & namespace::TIME == 0 {
        return Ok(());
    }
    builder.push(NamespaceOp::Unshare { flags: namespace::TIME });
    let mut lines = String::new();
    for (clock, TimeOffset { secs, nanosecs }) in &request.spec.linux.time_offsets {
        lines.push_str(&format!("{clock} {secs} {nanosecs}\n"));
    }
    if !lines.is_empty() {
        if !request.host.caller.is_root() && all.joins(namespace::USER) {
            // The process is hidden by now, even from itself.
            return Err(Refusal::new(
                "linux.timeOffsets",
                "cannot be set by an ordinary user in a user namespace that is joined",
                "leave the offsets out, or give the container a user namespace of its own",
            ));
        }
        let path = builder.text("/proc/self/timens_offsets")?;
        let data = builder.bytes(lines);
        builder.push(FileOp::WriteFile { dir: Slot::CWD, path, resolve: 0, data });
    }
    Ok(())
}

/// No process of another user namespace than brig's own may trace this one from now on, or take its
/// descriptors through /proc (ptrace(2), "Ptrace access mode checking"). So it comes before anything is
/// joined, and again after what may take it back: a change of ids, or of the user namespace, gives the
/// process the value of `fs.suid_dumpable` (proc_sys_fs(5)).
pub(super) fn make_undumpable(builder: &mut Builder<'_>) {
    builder.push(PrivilegeOp::Prctl { option: prctl::DUMPABLE, value: 0 });
}

fn unshare(builder: &mut Builder<'_>, flags: u32) {
    if flags != 0 {
        builder.push(NamespaceOp::Unshare { flags });
    }
}

/// The propagation with which the host's tree is left alone.
pub(super) const DETACHED: u64 = propagation::PRIVATE;
