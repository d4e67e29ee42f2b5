//! `create`: from a blueprint to a process that waits at the start gate.

use std::mem::take;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use brig_cgroup::{CgroupFacts, CgroupPlan, Driver, PlannedScope};
use bumpalo::Bump;
use nix::unistd::geteuid;

use super::activation::ActivationSockets;
use super::blueprint::{Blueprint, Circumstances, Manner};
use super::container::Container;
use super::early_hooks::{self, StateFiles};
use super::frozen::UnlessFrozen;
use super::node::Node;
use super::outside::Outside;
use super::readiness;
use super::recorded::RecordedProcess;
use super::seccomp_agent::SeccompAgent;
use super::state::now;
use super::status::Status;
use super::transaction::{Created, Made, Transaction};
use super::{Error, Io, gate, joined, observer, poststop};
use crate::caller::Caller;
use crate::execute::{
    Inputs, Launch, LaunchedProcess, Milestone, Wait, limit_bandwidth, network_namespace_of,
};
use crate::node_policy;
use crate::plan::{self, Join, Plan, Start, plan_cgroup};
use crate::spec::ContainerId;

/// What the caller asks for, besides what the bundle says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Descriptors after standard error that the program inherits, the sockets among them.
    pub preserve_fds: u32,
    /// Sockets that are the program's, the first of these.
    pub sockets: Option<ActivationSockets>,
    /// Whether the container gets a session keyring of its own.
    pub new_keyring: bool,
    /// A unix datagram socket without a name, which hears what the program says of its state (sd_notify(3)); `None` and
    /// nothing is made for that. It gets its name in the container's state directory before the program runs.
    pub notify: Option<Arc<OwnedFd>>,
}

impl Node {
    /// Makes a container whose process waits to be started.
    ///
    /// # Errors
    /// Names the field or the step; then nothing is left.
    pub fn create(
        &self,
        id: &ContainerId,
        blueprint: Blueprint,
        options: &Options,
        io: Io,
        wait: &mut dyn Wait,
    ) -> Result<(Container, super::Process), Error> {
        let created = make(self, id, blueprint, options, Start::AtGate, io, wait)?;
        let (container, _, process, _unlocked) = Container::of(self.observer(), id, created);
        Ok((container, process))
    }
}

/// Makes a container, and keeps its lock.
pub(super) fn make(
    node: &Node,
    id: &ContainerId,
    mut blueprint: Blueprint,
    options: &Options,
    start: Start,
    io: Io,
    wait: &mut dyn Wait,
) -> Result<Created, Error> {
    // What can be refused before anything is made.
    if let Some(sockets) = &options.sockets {
        sockets.set_environment(&mut blueprint.config.spec);
    }
    let verdicts = &blueprint.config.applied.verdicts;
    if !verdicts.is_empty() {
        node.observer().observe(id, &observer::Event::Judged(verdicts));
    }
    io.check(blueprint.config.spec.process.terminal)?;
    let null = io.null();
    let inputs = Inputs { console_socket: io.console, standard: io.standard, ..Inputs::default() };
    let circumstances = blueprint.circumstances()?;
    let (spec, facts) = (&blueprint.config.spec, CgroupFacts::read()?);
    let cgroup = plan_cgroup(id, spec, &facts, node.systemd(), Caller::get())?;
    let record = blueprint.record(id, &cgroup, geteuid().as_raw(), now());
    // From here on everything is on a list.
    let mut transaction = Transaction::begin(node.root(), id, &mut blueprint, record)?;
    let making =
        Making { node, id, options, start, null, blueprint: &mut blueprint, cgroup, circumstances };
    let carried_out = making.carry_out(&mut transaction, inputs, wait);
    match observer::told(&**node.observer(), id, carried_out) {
        Ok(process) => {
            let (directory, record, lock) = transaction.commit();
            Ok(Created { directory, record, config: blueprint.config, lock, process })
        }
        Err(error) => {
            let config = &blueprint.config;
            let warn = |words: &str| node.observer().observe(id, &observer::Event::Warned(words));
            Err(transaction.undo(error, |record| poststop::run(config, record, wait.stop(), &warn)))
        }
    }
}

/// What is to be made, and how.
struct Making<'m> {
    node: &'m Node,
    id: &'m ContainerId,
    options: &'m Options,
    start: Start,
    null: [bool; 3],
    blueprint: &'m mut Blueprint,
    cgroup: CgroupPlan,
    circumstances: Circumstances,
}

impl Making<'_> {
    /// The cgroup, the plan, the process.
    fn carry_out(
        mut self,
        made: &mut Transaction,
        mut inputs: Inputs,
        wait: &mut dyn Wait,
    ) -> Result<LaunchedProcess, Error> {
        if let Some(socket) = &self.options.notify {
            let spec = &mut self.blueprint.config.spec;
            readiness::make(&made.directory, spec, socket.as_fd())?;
        }
        if let Some(words) = &self.circumstances.lacking {
            self.node.observer().observe(self.id, &observer::Event::Warned(words));
        }
        let (scope, join) = self.make_cgroup(made, &mut inputs)?;
        let arena = Bump::with_capacity(plan::ARENA_BYTES);
        let Options { preserve_fds, new_keyring, .. } = *self.options;
        let standard = inputs.standard.each_ref().map(Option::is_some);
        let (id, start, null) = (self.id, self.start, self.null);
        let manner = Manner { id, start, standard, null, preserve_fds, new_keyring };
        let cgroup = (&self.cgroup, join);
        let plan = self.blueprint.plan(&arena, &manner, &self.circumstances, cgroup)?;
        let planned = observer::Event::Planned { plan: &plan, cgroup: &self.cgroup };
        self.node.observer().observe(self.id, &planned);
        inputs.landlock = take(&mut self.circumstances.rulesets);
        inputs.root = self.blueprint.root.take_tree();
        inputs.user_namespace =
            self.blueprint.remapped.take().map(|remapped| remapped.user_namespace);
        inputs.empty_namespace = self.circumstances.host.empty_namespace.take();
        self.launch(made, &plan, inputs, scope, wait)
    }

    /// Makes the cgroup, or what systemd makes it from, and says how the process comes into it.
    fn make_cgroup(
        &self,
        made: &mut Transaction,
        inputs: &mut Inputs,
    ) -> Result<(Option<PlannedScope>, Join), Error> {
        match brig_cgroup::prepare(&self.cgroup)? {
            brig_cgroup::Prepared::Scope(scope) => {
                Ok((Some(scope), Join { by_supervisor: true, ..Join::default() }))
            }
            brig_cgroup::Prepared::Cgroup(cgroup) => {
                let join = cgroup.join();
                made.add(Made::Cgroup(cgroup))?;
                Ok((None, inputs.join(join?)))
            }
        }
    }

    /// Starts the process and serves it until it is ready.
    fn launch(
        &mut self,
        made: &mut Transaction,
        plan: &Plan<'_>,
        mut inputs: Inputs,
        scope: Option<PlannedScope>,
        wait: &mut dyn Wait,
    ) -> Result<LaunchedProcess, Error> {
        let states = StateFiles::make(plan, &mut inputs)?;
        self.blueprint.namespaces.hand_over(&mut inputs);
        inputs.open_namespaces(plan)?;
        joined::judge(self.node, self.id, self.blueprint, &inputs)?;
        let outside = Outside::of(self.blueprint, plan, scope, &inputs)?;
        let watcher = self.blueprint.watcher.take();
        let profile = &self.blueprint.config.applied.profile;
        let filter = self.circumstances.filter.as_ref();
        let agent = SeccompAgent::connect(filter, plan, watcher, profile, &mut inputs)?;
        if let Some(agent) = &agent {
            joined::tell(self.node, self.id, &agent.verdicts);
        }
        if self.start == Start::AtGate {
            inputs.gate = Some(gate::make(&made.directory)?);
            made.record.after_gate = (plan.after_gate, words_after_gate(plan));
            made.record.mute = plan.mute;
        }
        // Before there is a process: if brig is killed it may live on without having been recorded
        // (from the moment on when it waits at the gate), and is known by its cgroup.
        made.save()?;
        let mut launch = Launch::begin(plan, inputs, self.start)?;
        let wait = &mut UnlessFrozen::new(wait, made.record.cgroup.clone());
        self.serve(&mut launch, wait, made, outside, states, agent.as_ref())
            .map_err(|error| launch.abort(error))
    }

    fn serve(
        &self,
        launch: &mut Launch<'_>,
        wait: &mut dyn Wait,
        made: &mut Transaction,
        mut outside: Outside,
        mut states: StateFiles,
        agent: Option<&SeccompAgent>,
    ) -> Result<LaunchedProcess, Error> {
        loop {
            match launch.next(wait)? {
                Milestone::Born { pid, pidfd } => {
                    let process = RecordedProcess::new(pid, pidfd)
                        .map_err(|error| Error::system("recording the process", error))?;
                    made.born(process)?;
                    joined::judge_maps(self.node, self.id, self.blueprint, pid)?;
                    // That of systemd is not made yet.
                    self.delegate(made, pid)?;
                    self.node.observer().observe(self.id, &observer::Event::Born { pid });
                }
                Milestone::Setup { pid } => {
                    outside.set_up(self.id, self.blueprint, pid, made, wait.stop())?;
                    if self.cgroup.driver == Driver::Systemd {
                        self.delegate(made, pid)?;
                    }
                }
                Milestone::Hooks { pid } => {
                    if let Some(agent) = agent {
                        agent.send(
                            self.circumstances.filter.as_ref(),
                            &made.record,
                            Status::Creating,
                            pid,
                        )?;
                    }
                    let spec = &self.blueprint.config.spec;
                    made.hooked = spec.hooks.any_before_program();
                    let programs = &self.blueprint.sources.programs;
                    early_hooks::run(spec, &made.record, &mut states, programs, wait.stop())?;
                    // A program that waits at the gate may get interfaces until it is started.
                    if self.start == Start::AtOnce
                        && let Some(limits) = self.blueprint.bandwidth()
                    {
                        limit_bandwidth(&network_namespace_of(&pid.to_string())?, limits)?;
                    }
                }
                Milestone::Ready(process) => return Ok(process),
            }
        }
    }
}

impl Making<'_> {
    /// Gives the cgroup to the container's user, if it is to be that of one in a user namespace that is joined: process
    /// `pid` is in it.
    fn delegate(&self, made: &Transaction, pid: i32) -> Result<(), Error> {
        let spec = &self.blueprint.config.spec;
        let Some(cgroup) = made.cgroup() else { return Ok(()) };
        if !plan::delegates_later(spec, &self.cgroup, Caller::get()) {
            return Ok(());
        }
        let process = pid.to_string();
        let map = |file| node_policy::id_map(&process, file);
        let (users, groups) = (map("uid_map")?, map("gid_map")?);
        match plan::owner_by(spec, &users, &groups) {
            Some((uid, gid)) => Ok(cgroup.delegate(uid, gid)?),
            None => Ok(()),
        }
    }
}

fn words_after_gate(plan: &Plan<'_>) -> Vec<String> {
    let after = plan.ops.get(plan.after_gate..).unwrap_or_default();
    after.iter().map(|op| crate::execute::describe(op, plan)).collect()
}
