//! The process itself: its surroundings, limits, hooks, terminal, and the program in the end.

use brig_child::flags::{namespace, prctl};
use brig_child::op::{
    Hook as PreparedHook, NamespaceOp, PrivilegeOp, ProcessOp, ProgramOp, TalkOp, Tolerance, Vector,
};
use brig_child::syscall::SchedAttr;
use brig_child::{ReportKind, Slot};

use super::build::{Builder, Ending, SlotUse};
use super::inheritance::UMASK;
use super::namespaces::Namespaces;
use super::private_proc::PrivateProc;
use super::rootfs::Terminal;
use super::{HostFacts, LandlockPath, LandlockRules, Refusal, Request, Start};
use super::{descriptors, environment, identity, labels, last_calls};
use crate::spec::{Config, Hook, NumberList, Process, RlimitType, Scheduler, sysctl};

/// What the process's namespaces are given: names, an interface, a session.
pub(super) fn surroundings(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    all: &Namespaces,
    proc: &mut PrivateProc,
) -> Result<(), Refusal> {
    builder.push(ProcessOp::Setsid);
    if request.new_keyring {
        let (name, process) = (format!("_ses.{}", request.id.as_str()), &request.spec.process);
        labels::session_keyring(builder, name, process, request.host, proc)?;
    }
    if all.new & namespace::NETWORK != 0 {
        builder.push(NamespaceOp::LoopbackUp);
    }
    if let Some(name) = &request.spec.hostname {
        let name = builder.bytes(name);
        builder.push(NamespaceOp::Sethostname { name });
    }
    if let Some(name) = &request.spec.domainname {
        let name = builder.bytes(name);
        builder.push(NamespaceOp::Setdomainname { name });
    }
    memory_policy(builder, request.spec)
}

/// Everything after the root is in place. The answer is the index of the first operation after the start gate.
pub(super) fn finish(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    all: &Namespaces,
    terminal: Terminal,
    proc: &mut PrivateProc,
) -> Result<Ending, Refusal> {
    sysctls(builder, request, all, proc)?;
    let start_hooks = &request.spec.hooks.start_container;
    let tail = Tail {
        process: &request.spec.process,
        home: request.home,
        host: request.host,
        null: request.null,
        preserve_fds: request.preserve_fds,
        node_filters: request.node_filters,
        seccomp: request.seccomp,
        securebits: request.securebits,
        write_xor_execute: request.write_xor_execute,
        landlock: request.landlock,
        setgroups: setgroups_allowed(request, all),
        personality: personality(request.spec),
        gate: request.start == Start::AtGate,
        start_hooks: !start_hooks.is_empty(),
        new_root: true,
    };
    if request.start == Start::AtGate {
        builder.push(ProcessOp::EndOnSignals);
    }
    tail.before_gate(builder, terminal, proc)?;
    builder.push(ProcessOp::DieWithParent { enabled: false });
    if request.start == Start::AtGate {
        builder.tell(ReportKind::Ready);
        let listener = builder.input(SlotUse::Gate);
        builder.push(TalkOp::Gate { listener });
    }
    let after_gate = builder.position();
    tail.landlock(builder);
    if !start_hooks.is_empty() {
        let filters = tail.filters_of_hooks(builder);
        let without_env = tail.environment(builder)?;
        push_hooks(builder, start_hooks, &SlotUse::CreatedState, filters, without_env)?;
    }
    if request.start == Start::AtOnce {
        // From here on an end without a failure report is the program's own.
        builder.tell(ReportKind::Ready);
    }
    let mute = tail.program(builder)?;
    let after_gate = match request.start {
        Start::AtGate => after_gate,
        Start::AtOnce => builder.position(),
    };
    Ok(Ending { after_gate, mute })
}

/// An ordinary user's map of one group allows setgroups(2) to nobody, in no namespace below it either
/// (user_namespaces(7)).
fn setgroups_allowed(request: &Request<'_>, all: &Namespaces) -> bool {
    let single = matches!(request.spec.linux.gid_mappings.as_slice(), [only] if only.count == 1);
    let new_and_single = all.new & namespace::USER != 0 && single;
    request.host.setgroups && (request.host.caller.is_root() || !new_and_single)
}

const ONLY_NAMESPACED: &str = "only net.*, fs.mqueue.*, user.*, kernel.pid_max, vm.memfd_noexec and System V IPC parameters belong to a container";

/// Kernel parameters are written through a procfs that nobody else can reach, so that a mount in
/// the container cannot redirect the write (CVE-2019-19921 and its kin).
fn sysctls(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    all: &Namespaces,
    proc: &mut PrivateProc,
) -> Result<(), Refusal> {
    for (name, value) in &request.spec.linux.sysctl {
        let field = format!("linux.sysctl[{name}]");
        let parameter = sysctl::parse(name)
            .map_err(|_| Refusal::new(&field, "is not a namespaced sysctl", ONLY_NAMESPACED))?;
        if parameter.path == sysctl::PID_MAX && !request.host.own_pid_max {
            let reason = "is a parameter of the whole host before Linux 6.14";
            return Err(Refusal::new(field, reason, "limit linux.resources.pids instead"));
        }
        // The others are written by now, with the host's privileges.
        if !(request.host.caller.is_root() && all.is_of_others(&parameter)) {
            proc.write(builder, &format!("sys/{}", parameter.path), value)?;
        }
    }
    Ok(())
}

pub(super) fn personality(spec: &Config) -> Option<u64> {
    spec.linux.personality.as_ref().map(|wanted| u64::from(wanted.domain.number()))
}

/// Hooks that the child runs, with the file `state` as their standard input; each loads `filters`, and has the
/// environment `without_env` if it names none.
pub(super) fn push_hooks<'a>(
    builder: &mut Builder<'a>,
    hooks: &[Hook],
    state: &SlotUse<'a>,
    filters: &'a [(&'a [u8], u64)],
    without_env: Vector<'a>,
) -> Result<(), Refusal> {
    for hook in hooks {
        let args = match hook.args.is_empty() {
            false => builder.vector(&hook.args)?,
            true => builder.vector([&hook.path])?,
        };
        let envp = match hook.env.is_empty() {
            false => builder.vector(environment::of(&hook.env))?,
            true => without_env,
        };
        let stdin = builder.input(state.clone());
        let timeout_ms = hook.timeout.map_or(-1, |seconds| seconds.saturating_mul(1000));
        let path = builder.text(&hook.path)?;
        builder.push(ProgramOp::Hook(PreparedHook {
            path,
            argv: args,
            envp,
            stdin,
            timeout_ms,
            filters,
        }));
    }
    Ok(())
}

/// The slots of the rulesets.
pub(super) fn rulesets(builder: &mut Builder<'_>, landlock: &[LandlockRules]) -> Vec<Slot> {
    (0..).zip(landlock).map(|(index, _)| builder.input(SlotUse::Landlock(index))).collect()
}

/// What `create` and `exec` have in common: from the terminal to the program.
pub(super) struct Tail<'s> {
    pub(super) process: &'s Process,
    pub(super) home: Option<&'s str>,
    pub(super) host: &'s HostFacts,
    pub(super) null: [bool; 3],
    pub(super) preserve_fds: u32,
    pub(super) node_filters: &'s [brig_seccomp::BpfProgram],
    pub(super) seccomp: Option<&'s brig_seccomp::BpfProgram>,
    pub(super) securebits: u64,
    pub(super) write_xor_execute: bool,
    pub(super) landlock: &'s [LandlockRules],
    pub(super) setgroups: bool,
    pub(super) personality: Option<u64>,
    /// The process waits at the start gate.
    pub(super) gate: bool,
    /// startContainer hooks run before the program.
    pub(super) start_hooks: bool,
    /// The root has just been put together: the working directory may be made in it.
    pub(super) new_root: bool,
}

impl Tail<'_> {
    pub(super) fn before_gate(
        &self,
        builder: &mut Builder<'_>,
        terminal: Terminal,
        proc: &mut PrivateProc,
    ) -> Result<(), Refusal> {
        if self.process.terminal {
            self.terminal(builder, terminal)?;
        } else if self.null != [false; 3] {
            builder.push(ProcessOp::OwnNull { standard: self.null });
        }
        self.limits(builder)?;
        self.scheduling(builder)?;
        labels::at_execve(builder, self, proc)?;
        self.landlock_rules(builder)?;
        self.close_descriptors(builder);
        let cwd = builder.text(&self.process.cwd)?;
        builder.push(ProcessOp::Chdir { path: cwd, create: self.new_root });
        identity::become_user(builder, self)?;
        let mask = self.process.user.umask.unwrap_or(UMASK);
        builder.push(ProcessOp::Umask { mask });
        self.find_program(builder)?;
        builder.push(ProcessOp::ResetSignals);
        // A hole among the descriptors to preserve stays one.
        let tolerates = Tolerance::Closed;
        builder.push(ProcessOp::CloseOnExec { first: 3 + self.preserve_fds, tolerates });
        Ok(())
    }

    /// As root of the container, who may look up everything.
    fn landlock_rules(&self, builder: &mut Builder<'_>) -> Result<(), Refusal> {
        for (rules, ruleset) in self.landlock.iter().zip(rulesets(builder, self.landlock)) {
            for LandlockPath { path, access, may_be_missing } in &rules.paths {
                let path = builder.text(path)?;
                let (access, of_file) = (*access, *access & rules.of_file);
                let tolerates = match may_be_missing {
                    true => Tolerance::Missing,
                    false => Tolerance::None,
                };
                let allow =
                    PrivilegeOp::LandlockAllow { ruleset, path, access, of_file, tolerates };
                builder.push(allow);
            }
        }
        Ok(())
    }

    /// Past the gate, and before anything of the image's runs.
    pub(super) fn landlock(&self, builder: &mut Builder<'_>) {
        for ruleset in rulesets(builder, self.landlock) {
            builder.push(PrivilegeOp::LandlockRestrictSelf { ruleset });
        }
    }

    /// startContainer hooks are programs of the image and may leave others running, so each loads the
    /// program's filters for itself. A process has one listener (seccomp(2)) and it is the program's: in a hook,
    /// calls that notify fail with `ENOSYS`.
    fn filters_of_hooks<'a>(&self, builder: &Builder<'a>) -> &'a [(&'a [u8], u64)] {
        /// `SECCOMP_FILTER_FLAG_NEW_LISTENER`, and `WAIT_KILLABLE_RECV`, which goes with it only.
        const OF_LISTENERS: u64 = 1 << 3 | 1 << 5;
        let filters = self.node_filters.iter().chain(self.seccomp);
        let of_hooks: Vec<_> = filters
            .filter(|_| self.start_hooks)
            .map(|program| (builder.bytes(program.to_bytes()), program.flags & !OF_LISTENERS))
            .collect();
        builder.slice(&of_hooks)
    }

    /// Whether there is something that only root may put itself under, or who gains no privileges (seccomp(2),
    /// landlock_restrict_self(2)).
    pub(super) fn confines_itself(&self) -> bool {
        !self.node_filters.is_empty() || self.seccomp.is_some() || !self.landlock.is_empty()
    }

    /// The filters and execve(2), with nothing in between: a profile has to allow what the program calls, not what
    /// brig does. The answer is whether a failure of execve may go unheard ([`Plan::mute`](super::Plan::mute)).
    pub(super) fn program(&self, builder: &mut Builder<'_>) -> Result<bool, Refusal> {
        let mute = self.load_filter(builder)?;
        let argv = builder.vector(&self.process.args)?;
        let envp = self.environment(builder)?;
        builder.push(ProgramOp::Execve { argv, envp });
        Ok(mute)
    }

    /// The program's, which startContainer hooks without one have too, as under runc.
    fn environment<'a>(&self, builder: &mut Builder<'a>) -> Result<Vector<'a>, Refusal> {
        let mut env = environment::of(&self.process.env);
        let home = format!("HOME={}", self.home.unwrap_or("/"));
        if !environment::has_home(&self.process.env) {
            env.retain(|entry| !entry.starts_with("HOME="));
            env.push(&home);
        }
        builder.vector(env)
    }

    /// From here on names come from the image: the working directory, the program, its
    /// interpreter. What brig has opened of the host must be gone before they are looked up.
    fn close_descriptors(&self, builder: &mut Builder<'_>) {
        let mut keep = vec![Slot::SUPERVISOR];
        keep.extend(self.gate.then(|| builder.input(SlotUse::Gate)));
        keep.extend(self.start_hooks.then(|| builder.input(SlotUse::CreatedState)));
        keep.extend(rulesets(builder, self.landlock));
        if self.seccomp.is_some_and(|program| program.notify) {
            keep.push(builder.input(SlotUse::SeccompListener));
            keep.push(builder.input(SlotUse::SeccompState));
        }
        let keep = builder.slice(&keep);
        builder.push(ProcessOp::CloseAllBut { first: 3 + self.preserve_fds, keep });
    }

    pub(super) fn no_new_privileges(&self) -> bool {
        self.process.no_new_privileges
    }

    /// The node's first: each has to let pass what loads the next one, which may refuse anything. Of two verdicts on a call the
    /// stricter holds (seccomp(2)).
    fn load_filter(&self, builder: &mut Builder<'_>) -> Result<bool, Refusal> {
        for program in self.node_filters {
            let filter = builder.bytes(program.to_bytes());
            builder.push(PrivilegeOp::Seccomp { filter, flags: program.flags, socket: None });
        }
        let Some(program) = self.seccomp else { return Ok(false) };
        let mute = last_calls::check(program)?;
        let filter = builder.bytes(program.to_bytes());
        let socket = program.notify.then(|| {
            (builder.input(SlotUse::SeccompListener), builder.input(SlotUse::SeccompState))
        });
        builder.push(PrivilegeOp::Seccomp { filter, flags: program.flags, socket });
        Ok(mute)
    }

    fn terminal(&self, builder: &mut Builder<'_>, terminal: Terminal) -> Result<(), Refusal> {
        let Terminal { pts: Some(pts), console } = terminal else {
            return Err(Refusal::new(
                "process.terminal",
                "is true, but no devpts is mounted on /dev/pts",
                "add a mount of type devpts on /dev/pts",
            ));
        };
        let socket = builder.input(SlotUse::ConsoleSocket);
        let side = |value: u64| u16::try_from(value).unwrap_or(u16::MAX);
        let size = self.process.console_size;
        let size = size.map(|size| (side(size.height), side(size.width)));
        let owner = self.process.user.uid;
        builder.push(ProcessOp::Console { pts, socket, size, owner, console });
        Ok(())
    }

    fn limits(&self, builder: &mut Builder<'_>) -> Result<(), Refusal> {
        for limit in &self.process.rlimits {
            let resource = limit.kind.number();
            builder.push(ProcessOp::Prlimit { resource, soft: limit.soft, hard: limit.hard });
        }
        let is_given = self.process.rlimits.iter().any(|limit| limit.kind == RlimitType::Nofile);
        if let Some(restore) = descriptors::restore(self.host).filter(|_| !is_given) {
            builder.push(restore);
        }
        Ok(())
    }

    fn scheduling(&self, builder: &mut Builder<'_>) -> Result<(), Refusal> {
        if let Some(scheduler) = &self.process.scheduler {
            builder.push(ProcessOp::SchedSetattr { attr: sched_attr(scheduler) });
        }
        if let Some(priority) = self.process.io_priority {
            let class = priority.class.number().cast_signed();
            let level = i32::try_from(priority.priority).unwrap_or_default();
            builder.push(ProcessOp::IoprioSet { prio: class << 13 | level });
        }
        if let Some(domain) = self.personality {
            builder.push(ProcessOp::Personality { domain });
        }
        Ok(())
    }

    fn find_program(&self, builder: &mut Builder<'_>) -> Result<(), Refusal> {
        let Some(name) = self.process.args.first() else {
            return Err(Refusal::new("process.args", "is empty", "name a program to run"));
        };
        let mut candidates = Vec::new();
        if name.contains('/') {
            candidates.push(builder.text(name)?);
        } else {
            let path = environment::search_path(&self.process.env);
            for directory in path.split(':') {
                let directory = if directory.is_empty() { "." } else { directory };
                candidates.push(builder.text(format!("{directory}/{name}"))?);
            }
        }
        let candidates = builder.slice(&candidates);
        builder.push(ProgramOp::FindProgram { candidates });
        Ok(())
    }
}

fn sched_attr(scheduler: &Scheduler) -> SchedAttr {
    let flags = scheduler.flags.iter().fold(0, |flags, flag| flags | u64::from(flag.number()));
    SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: scheduler.policy.number(),
        flags,
        nice: scheduler.nice,
        priority: scheduler.priority.cast_unsigned(),
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
        ..SchedAttr::default()
    }
}

pub(super) fn memory_policy(builder: &mut Builder<'_>, spec: &Config) -> Result<(), Refusal> {
    let Some(policy) = &spec.linux.memory_policy else { return Ok(()) };
    let nodes = NumberList::parse(policy.nodes.as_deref().unwrap_or_default());
    let nodes = nodes.ok_or_else(|| {
        let reason = "is not a list of nodes";
        Refusal::new("linux.memoryPolicy.nodes", reason, "write it as 0-1,3")
    })?;
    let nodes = builder.slice(nodes.mask());
    let flags = policy.flags.iter().fold(0, |flags, flag| flags | flag.number());
    let mode = policy.mode.number() | flags;
    builder.push(ProcessOp::SetMempolicy { mode, nodes });
    Ok(())
}

/// `process.execCPUAffinity`, one of its two moments: for processes of `exec` only (config.md).
pub(super) fn affinity(builder: &mut Builder<'_>, field: &str, list: &str) -> Result<(), Refusal> {
    let processors = NumberList::parse(list).ok_or_else(|| {
        let reason = format!("{list:?} is not a list of CPUs");
        Refusal::new(field, reason, "write it as 0-3,7")
    })?;
    let mask = builder.slice(processors.mask());
    builder.push(ProcessOp::SchedSetaffinity { mask });
    Ok(())
}

/// Option numbers of prctl(2) that this stage uses.
pub(super) const KEEPCAPS: i32 = prctl::KEEPCAPS;
