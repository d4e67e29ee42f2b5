//! `exec`: another process in a running container.

use bumpalo::Bump;

use super::frozen::UnlessFrozen;
use super::known::Known;
use super::process::Process;
use super::recorded::RecordedProcess;
use super::seccomp_agent::SeccompAgent;
use super::status::Status;
use super::{Error, Io, home, landlock};
use crate::execute::{self, Inputs, Launch, Milestone, Wait, resctrl};
use crate::filter::Filter;
use crate::host::{self, Host};
use crate::node_policy;
use crate::plan::{self, ExecRequest, Start};
use crate::{policy, spec};

/// What the caller asks for.
#[derive(Clone, Debug)]
pub struct ExecOptions {
    /// The new process.
    pub process: spec::Process,
    /// Descriptors after standard error that the program inherits.
    pub preserve_fds: u32,
    /// A cgroup below the container's.
    pub cgroup: Option<String>,
    /// Whether a paused container is no obstacle.
    pub ignore_paused: bool,
}

/// Starts a process in a container.
///
/// # Errors
/// The container does not run, or the process cannot be started; then none is left.
pub(super) fn exec(
    container: &Known,
    options: &ExecOptions,
    io: Io,
    wait: &mut dyn Wait,
) -> Result<Process, Error> {
    let gone = || container.wrong_state("cannot exec in a stopped container");
    match container.status()? {
        Status::Created | Status::Running => {}
        Status::Paused if options.ignore_paused => {}
        Status::Paused => {
            return Err(container
                .wrong_state("cannot exec in a paused container")
                .with_hint("resume it first, or set ignore-paused"));
        }
        Status::Creating => {
            return Err(
                container.wrong_state("cannot exec in a container that is still being created")
            );
        }
        Status::Stopped => return Err(gone()),
    }
    let init = container.init()?.ok_or_else(gone)?;
    let record = container.record()?;
    let init_pid = record.process.as_ref().ok_or_else(gone)?.pid;
    let config = container.directory.config()?;
    let spec = &config.spec;
    let filter = Filter::of(config, container.directory.path())?;
    let filter = filter.as_ref();
    let node_filters = node_policy::filters(&config.applied, spec)?;
    let profile = &config.applied.profile;
    let caller = node_policy::caller(profile)?;
    let hardened = policy::harden_process(options.process.clone(), spec, profile, &caller);
    let (mut process, verdicts) = hardened?;
    container.emit_verdicts(&verdicts);
    let own = host::own_capabilities(spec);
    if let Some(words) = own.and_then(|own| process.leave_out_lacking(own.0, own.1)) {
        container.warn(&words);
    }
    let process = &process;
    io.check(process.terminal)?;
    let null = io.null();
    let landlock = landlock::of_node(spec, profile)?;
    let (rulesets, landlock) = landlock::apart(landlock);
    let replaced = io.standard.each_ref().map(Option::is_some);
    let mut inputs = Inputs {
        console_socket: io.console,
        standard: io.standard,
        init: Some(init),
        landlock: rulesets,
        ..Inputs::default()
    };
    let cgroup = container.cgroup()?;
    let join = match &options.cgroup {
        Some(sub) => cgroup.join_sub(sub)?,
        None => cgroup.join_further(init_pid)?,
    };
    let join = inputs.join(join);
    let mut host = Host::read(process);
    host.empty_namespace = None;
    let host = host.with_security_modules();
    let arena = Bump::with_capacity(plan::ARENA_BYTES);
    let home = inputs.init.as_ref();
    let home = home.and_then(|init| home::of_user_inside(process.user.uid, init_pid, init));
    let plan = plan::plan_exec(
        &arena,
        &ExecRequest {
            id: &container.id,
            spec,
            process,
            host: &host.facts,
            join,
            standard: replaced,
            null,
            preserve_fds: options.preserve_fds,
            new_keyring: true,
            home: home.as_deref(),
            seccomp: filter.map(|filter| &filter.program),
            node_filters: &node_filters,
            securebits: policy::securebits(process, profile),
            write_xor_execute: policy::write_xor_execute(profile),
            landlock: &landlock,
        },
    )?;
    let agent = SeccompAgent::connect(filter, &plan, None, profile, &mut inputs)?;
    if let Some(agent) = &agent {
        container.emit_verdicts(&agent.verdicts);
    }
    let mut launch = Launch::begin(&plan, inputs, Start::AtOnce)?;
    // Who asks to ignore a pause waits for its end.
    let cgroup = container.record()?.cgroup.clone().filter(|_| !options.ignore_paused);
    let wait = &mut UnlessFrozen::new(wait, cgroup);
    let recorded = container.is_scattered()?.then(|| container.directory.clone());
    let served =
        Serving { container, agent: agent.as_ref().zip(filter), recorded: recorded.is_some() };
    match served.serve(&mut launch, wait) {
        Ok(child) => {
            Ok(Process::new(child, &container.id, &container.observer).recorded_in(recorded))
        }
        Err(error) => Err(launch.abort(error)),
    }
}

/// What the process waits for, until it is the program.
struct Serving<'s> {
    container: &'s Known,
    agent: Option<(&'s SeccompAgent, &'s Filter)>,
    /// Whether nothing but a record tells that it is the container's.
    recorded: bool,
}

impl Serving<'_> {
    fn serve(
        &self,
        launch: &mut Launch<'_>,
        wait: &mut dyn Wait,
    ) -> Result<execute::LaunchedProcess, Error> {
        let container = self.container;
        let record = container.record()?;
        loop {
            match launch.next(wait)? {
                Milestone::Born { pid, pidfd } if self.recorded => {
                    let process = RecordedProcess::new(pid, pidfd)
                        .map_err(|error| Error::system("recording the process", error))?;
                    container.directory.save_executed(&process)?;
                }
                Milestone::Born { .. } => {}
                Milestone::Setup { pid } => {
                    if let Some(rdt) = &container.spec()?.linux.intel_rdt {
                        resctrl::join(container.id.as_str(), rdt, record.resctrl.as_ref(), pid)?;
                    }
                }
                Milestone::Hooks { pid } => {
                    if let Some((agent, filter)) = self.agent {
                        agent.send(Some(filter), record, Status::Running, pid)?;
                    }
                }
                Milestone::Ready(process) => return Ok(process),
            }
        }
    }
}
