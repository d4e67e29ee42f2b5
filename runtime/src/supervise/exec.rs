//! `exec`: another process in a running container.

use std::path::PathBuf;

use bumpalo::Bump;

use super::container::{Container, Status};
use super::create::write_pid_file;
use super::listener::Listener;
use super::terminal::{Given, Stop, Wanted};
use super::{Error, Foreground, home, standard, terminal};
use crate::deadline::Deadline;
use crate::execute::{Event, Inputs, Launch, Launched, Wait, resctrl};
use crate::filter::Filter;
use crate::host::Host;
use crate::plan::{self, ExecRequest, Start};
use crate::spec::{self, Process};

/// What the caller asks for.
#[derive(Clone, Debug)]
pub struct ExecOptions {
    /// The new process.
    pub process: Process,
    /// Where the terminal's master goes.
    pub console_socket: Option<PathBuf>,
    /// A file that gets the pid.
    pub pid_file: Option<PathBuf>,
    /// Descriptors after standard error that the program inherits.
    pub preserve_fds: u32,
    /// A cgroup below the container's.
    pub cgroup: Option<String>,
    /// Whether a paused container is no obstacle.
    pub ignore_paused: bool,
}

/// Runs a process in a container; the answer is its exit code, 0 where it is not waited for.
///
/// # Errors
/// The container does not run, or the process cannot be started; then none is left.
pub fn exec(
    container: &Container,
    options: &ExecOptions,
    foreground: Foreground,
) -> Result<u8, Error> {
    let process = &options.process;
    let wanted = Wanted {
        terminal: process.terminal,
        console_socket: options.console_socket.is_some(),
        hooks: false,
        owner: standard::owner(container.spec()?, process.user.uid),
    };
    let signals = foreground.signals()?;
    super::run::in_foreground(signals.as_ref(), wanted, Stop::PassOn, |given| {
        launch_in(container, options, given)
    })
    .map(|ended| ended.code)
}

fn launch_in(
    container: &Container,
    options: &ExecOptions,
    given: Given<'_>,
) -> Result<Launched, Error> {
    match container.status()? {
        Status::Created | Status::Running => {}
        Status::Paused if options.ignore_paused => {}
        Status::Paused => {
            let what = "cannot exec in a paused container (use --ignore-paused to override)";
            return Err(Error::plain(what).with_hint("`brig resume` it first"));
        }
        Status::Creating | Status::Stopped => {
            return Err(Error::plain("cannot exec in a stopped container"));
        }
    }
    let gone = || Error::plain("cannot exec in a stopped container");
    let init = container.init()?.ok_or_else(gone)?;
    let record = container.record()?;
    let init_pid = record.process.as_ref().ok_or_else(gone)?.pid;
    let config = container.config()?;
    let spec = &config.spec;
    let filter = Filter::of(config, container.directory.path())?;
    let filter = filter.as_ref();
    let process = &spec::harden_process(options.process.clone(), spec);
    let wants = process.terminal;
    let console_socket =
        terminal::console(wants, options.console_socket.as_deref(), given.console)?;
    let standard = given.standard;
    let replaced = standard.each_ref().map(Option::is_some);
    let mut inputs = Inputs { console_socket, standard, init: Some(init), ..Inputs::default() };
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
            id: container.id(),
            spec,
            process,
            host: &host.facts,
            join,
            standard: replaced,
            preserve_fds: options.preserve_fds,
            new_keyring: true,
            home: home.as_deref(),
            seccomp: filter.map(|filter| &filter.program),
        },
    )?;
    let listener = Listener::connect(filter, &plan, None, &mut inputs)?;
    let mut launch = Launch::begin(&plan, inputs, Start::AtOnce)?;
    let mut patient = Deadline::NEVER;
    let wait = given.wait.unwrap_or(&mut patient);
    let served = serve(&mut launch, wait, container, listener.as_ref().zip(filter));
    let launched = served.map_err(|error| launch.abort(error))?;
    write_pid_file(options.pid_file.as_deref(), launched)
}

/// Does what the process waits for, until it is the program.
fn serve(
    launch: &mut Launch<'_>,
    wait: &mut dyn Wait,
    container: &Container,
    listener: Option<(&Listener, &Filter)>,
) -> Result<Launched, Error> {
    let record = container.record()?;
    loop {
        match launch.next(wait)? {
            Event::Born { .. } => {}
            Event::Setup { pid } => {
                if let Some(rdt) = &container.spec()?.linux.intel_rdt {
                    resctrl::join(container.id().as_str(), rdt, record.resctrl.as_ref(), pid)?;
                }
            }
            Event::Hooks { pid } => {
                if let Some((listener, filter)) = listener {
                    listener.tell(Some(filter), record, Status::Running, pid)?;
                }
            }
            Event::Ready(launched) => return Ok(launched),
        }
    }
}
