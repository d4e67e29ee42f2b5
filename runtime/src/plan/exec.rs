//! `exec`: another process in a running container.
//!
//! An intermediate joins the container's namespaces by a descriptor of its process (no pid can be
//! reused under us), but for the cgroup namespace where that has to be last, then makes the process
//! with `CLONE_PARENT`. The process gets the container's capabilities, seccomp filter, labels and
//! limits unless told otherwise.

use brig_child::flags::namespace;
use brig_child::op::{FileOp, NamespaceOp, ProcessOp};
use brig_child::{ReportKind, Slot};
use bumpalo::Bump;

use super::build::{Builder, Ending, SlotUse};
use super::namespaces::{
    Namespaces, Stages, UserNamespace, become_root, host_side_limits, join_cgroup, make_undumpable,
};
use super::private_proc::PrivateProc;
use super::process::{Tail, affinity, memory_policy, personality, rulesets};
use super::rootfs::{RootMode, Terminal};
use super::{HostFacts, Join, LandlockRules, Plan, Refusal, inheritance, labels};
use crate::policy::Hardened;
use crate::spec::{ContainerId, Process};

/// What is to be planned.
#[derive(Clone, Copy, Debug)]
pub struct ExecRequest<'s> {
    /// The container.
    pub id: &'s ContainerId,
    /// Its specification: says which namespaces it has.
    pub spec: &'s Hardened,
    /// The new process.
    pub process: &'s Hardened<Process>,
    /// The machine.
    pub host: &'s HostFacts,
    /// How the container's cgroup is joined.
    pub join: Join,
    /// See [`super::Request`].
    pub standard: [bool; 3],
    /// See [`super::Request`].
    pub null: [bool; 3],
    /// See [`super::Request`].
    pub preserve_fds: u32,
    /// See [`super::Request`].
    pub new_keyring: bool,
    /// See [`super::Request`].
    pub home: Option<&'s str>,
    /// See [`super::Request`].
    pub seccomp: Option<&'s brig_seccomp::BpfProgram>,
    /// The filters that the node's policy puts beside it.
    pub node_filters: &'s [brig_seccomp::BpfProgram],
    /// See [`super::Request`].
    pub securebits: u64,
    /// See [`super::Request`].
    pub write_xor_execute: bool,
    /// See [`super::Request`].
    pub landlock: &'s [LandlockRules],
}

/// Plans an exec.
///
/// # Errors
/// A [`Refusal`] that names the field which cannot be honoured.
pub fn plan_exec<'a>(arena: &'a Bump, request: &ExecRequest<'_>) -> Result<Plan<'a>, Refusal> {
    let mut builder = Builder::new(arena);
    let all = Namespaces::of(request.spec);
    let flags = all.joined.iter().fold(all.new, |flags, (flag, ..)| flags | flag);
    builder.replace_standard(request.standard);
    builder.push(ProcessOp::DieWithParent { enabled: true });
    builder.push(inheritance::OWN_PERSONALITY);
    let cpus = request.process.exec_cpu_affinity.as_ref();
    let initial = cpus.and_then(|cpus| given(cpus.initial.as_deref()));
    if let Some(initial) = initial {
        affinity(&mut builder, "process.execCPUAffinity.initial", initial)?;
    }
    let enters_user = request.host.caller.is_root() && flags & namespace::USER != 0;
    host_side_limits(&mut builder, request.process, enters_user)?;
    let init = builder.input(SlotUse::Init);
    let cgroup = request.join.into.then(|| builder.input(SlotUse::CgroupDirectory));
    let mut proc = PrivateProc::of(&all, request.host);
    let labelled =
        request.process.apparmor_profile.is_some() || request.process.selinux_label.is_some();
    let kept = if labelled { proc.kept(&mut builder) } else { None };
    hide_alone(&mut builder, request, [Some(init), cgroup, kept]);
    // With the host's privileges the others first: once in the container's user namespace,
    // namespaces that the host owns (a pod's network) can no longer be joined.
    let user = flags & namespace::USER;
    // From inside the cgroup namespace, nobody outside its root may be moved into it (`nsdelegate`,
    // cgroups(7)), which CLONE_INTO_CGROUP counts as. Where that is not how the cgroup is joined, others'
    // namespaces come first too: one of the host's user namespace is out of reach later.
    let late = flags & namespace::CGROUP;
    let late = if user != 0 && all.joins(late) && !request.join.into { 0 } else { late };
    let flags = flags & !late;
    if request.host.caller.is_root() && user != 0 {
        builder.push(NamespaceOp::Setns { fd: init, flags: flags & !user });
        builder.push(NamespaceOp::Setns { fd: init, flags: user });
    } else {
        builder.push(NamespaceOp::Setns { fd: init, flags });
    }
    make_undumpable(&mut builder);
    builder.push(NamespaceOp::Clone { flags: 0, cgroup });
    builder.push(ProcessOp::DieWithParent { enabled: true });
    join_cgroup(&mut builder, request.join);
    if request.spec.linux.intel_rdt.is_some() {
        builder.ask(ReportKind::WantsSetup);
    }
    if late != 0 {
        builder.push(NamespaceOp::Setns { fd: init, flags: late });
    }
    let last = cpus.and_then(|cpus| given(cpus.last.as_deref()));
    match last {
        Some(last) => affinity(&mut builder, "process.execCPUAffinity.final", last)?,
        None => builder.push(inheritance::ALL_PROCESSORS),
    }
    if user != 0 {
        become_root(&mut builder);
        make_undumpable(&mut builder);
    }
    let mute = process(&mut builder, request, &mut proc)?;
    let ending = Ending { after_gate: builder.position(), mute };
    let stages = Stages {
        first: 0,
        first_into_cgroup: false,
        second: Some(0),
        unshared: 0,
        root: RootMode::Joined,
        user: UserNamespace::Given,
    };
    builder.finish(&stages, ending)
}

/// A list of processors that is empty is none (config.md).
fn given(list: Option<&str>) -> Option<&str> {
    list.filter(|list| !list.is_empty())
}

/// Before the first namespace with others in it: no process of theirs can trace this one, and there is
/// little of the host's in it to take.
fn hide_alone(builder: &mut Builder<'_>, request: &ExecRequest<'_>, kept: [Option<Slot>; 3]) {
    make_undumpable(builder);
    let mut keep = vec![Slot::SUPERVISOR];
    keep.extend(kept.into_iter().flatten());
    keep.extend((0..request.join.tasks).map(|index| builder.input(SlotUse::CgroupTasks(index))));
    if request.process.terminal {
        keep.push(builder.input(SlotUse::ConsoleSocket));
    }
    if request.seccomp.is_some_and(|program| program.notify) {
        keep.push(builder.input(SlotUse::SeccompListener));
        keep.push(builder.input(SlotUse::SeccompState));
    }
    keep.extend(rulesets(builder, request.landlock));
    let keep = builder.slice(&keep);
    builder.push(ProcessOp::CloseAllBut { first: 3 + request.preserve_fds, keep });
}

/// The process itself, to its program; whether a failure of execve may go unheard.
fn process(
    builder: &mut Builder<'_>,
    request: &ExecRequest<'_>,
    proc: &mut PrivateProc,
) -> Result<bool, Refusal> {
    builder.push(ProcessOp::Setsid);
    if request.new_keyring {
        let name = format!("_ses.{}", request.id.as_str());
        labels::session_keyring(builder, name, request.process, request.host, proc)?;
    }
    memory_policy(builder, request.spec)?;
    let mut terminal = Terminal::default();
    if request.process.terminal {
        let into = builder.made("/dev/pts");
        let path = builder.text("/dev/pts")?;
        let flags = brig_child::flags::open::PATH | brig_child::flags::open::DIRECTORY;
        let resolve = brig_child::flags::open::NO_MAGICLINKS;
        builder.push(FileOp::Open { dir: Slot::CWD, path, flags, resolve, into });
        terminal.pts = Some(into);
    }
    let single = matches!(request.spec.linux.gid_mappings.as_slice(), [only] if only.count == 1);
    let tail = Tail {
        process: request.process,
        home: request.home,
        host: request.host,
        null: request.null,
        preserve_fds: request.preserve_fds,
        node_filters: request.node_filters,
        seccomp: request.seccomp,
        securebits: request.securebits,
        write_xor_execute: request.write_xor_execute,
        landlock: request.landlock,
        setgroups: request.host.setgroups && (request.host.caller.is_root() || !single),
        personality: personality(request.spec),
        gate: false,
        start_hooks: false,
        new_root: false,
    };
    if request.seccomp.is_some_and(|program| program.notify) {
        // For the state that goes with the listener.
        builder.ask(ReportKind::WantsHooks);
    }
    tail.before_gate(builder, terminal, proc)?;
    builder.push(ProcessOp::DieWithParent { enabled: false });
    tail.landlock(builder);
    builder.tell(ReportKind::Ready);
    tail.program(builder)
}
