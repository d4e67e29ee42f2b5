//! A process that brig starts for a caller: what it gets in place of the caller's terminal, and what brig does until it has
//! ended, if it stays.
//!
//! Promises: signals are passed on, what is written is shown, and a process of which nobody would hear any more is ended.
//! Must never copy what is not a terminal of the caller's.

mod notifier;
mod signals;
mod standard;
mod stream;
mod terminal;
mod told;

use std::os::fd::OwnedFd;
use std::path::Path;

use brig::configuration::Configuration;
use brig::deadline::{Deadline, OF_OTHERS};
use brig::execute::{Exit, Wait};
use brig::spec::Config;
use brig::supervise::{Container, Error, Io, Process};
use brig::unix_socket::connect_to;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub(super) use notifier::Notifier;
pub(super) use signals::{Signals, hearing};
use terminal::{Between, Meanwhile};
pub(super) use told::{Role, Told};

/// What a process is to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'w> {
    /// A terminal of its own.
    terminal: bool,
    /// Who gets the terminal's master, where that is not brig.
    console_socket: Option<&'w Path>,
    /// Hooks at its start.
    hooks: bool,
    /// Its user on the host, where that one can be given something.
    owner: Option<u32>,
    /// Who passes on what it says of its state, while brig stays.
    notifier: Option<&'w Notifier>,
}

impl<'w> Wanted<'w> {
    /// The first process of a container.
    pub(super) fn first(config: &Configuration, console_socket: Option<&'w Path>) -> Self {
        let spec = &config.spec;
        let hooks = &spec.hooks;
        let hooks = hooks.any_before_program() || !hooks.poststart.is_empty();
        let process = Self::another(spec, &spec.process, console_socket);
        Self { hooks, ..process }
    }

    /// Another process of a container.
    pub(super) fn another(
        container: &Config,
        process: &brig::spec::Process,
        console_socket: Option<&'w Path>,
    ) -> Self {
        let owner = standard::owner(container, process.user.uid);
        Self { terminal: process.terminal, console_socket, hooks: false, owner, notifier: None }
    }

    /// The same, and what it says of its state is passed on.
    pub(super) fn heard_by(self, notifier: Option<&'w Notifier>) -> Self {
        Self { notifier, ..self }
    }

    /// The caller's console socket, connected, if there is one.
    fn console(&self) -> Result<Option<OwnedFd>, Error> {
        match (self.terminal, self.console_socket) {
            (_, None) => Ok(None),
            (false, Some(_)) => {
                Err(Error::plain("--console-socket is given, but process.terminal is false")
                    .with_hint(
                        "set process.terminal in config.json, or leave --console-socket out",
                    ))
            }
            (true, Some(path)) => {
                let socket = connect_to(path, Deadline::after(OF_OTHERS)).map_err(|error| {
                    Error::system(format!("connecting to console socket {}", path.display()), error)
                })?;
                Ok(Some(socket))
            }
        }
    }
}

/// Starts a process that brig does not stay with. A hook would outlive a brig that a signal ends, and has a process group
/// of its own: where there are hooks, the signals that ask to stop are heard.
pub(super) fn detached<T>(
    wanted: Wanted<'_>,
    start: impl FnOnce(Io, &mut dyn Wait) -> Result<T, Error>,
) -> Result<T, Error> {
    let console = wanted.console()?;
    if wanted.terminal && console.is_none() {
        return Err(Error::plain("process.terminal is true, but there is no --console-socket")
            .with_hint("give --console-socket, or set process.terminal to false"));
    }
    let io = if wanted.terminal { standard::nothing()? } else { standard::detached()? };
    let io = Io { console, ..io };
    let mut patient = Deadline::NEVER;
    if wanted.hooks { hearing(|wait| start(io, wait)) } else { start(io, &mut patient) }
}

/// What a signal that asks brig to stop does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It goes to the process, which may do with it what it likes.
    PassOn,
    /// So does the first one; the second kills. The first process of a pid namespace does not get
    /// signals that it has no handler for (pid_namespaces(7)), so it may never hear the first.
    KillAtSecond,
}

/// How a process ended that was waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// Its exit code; 0 where it was not waited for.
    pub(super) code: u8,
    /// Whether brig was asked to stop, and passed that on.
    pub(super) stopped: bool,
}

/// Starts a process by `start`, and sees it to its end; without signals to hear it is detached.
pub(super) fn in_foreground(
    signals: Option<&Signals>,
    wanted: Wanted<'_>,
    stop: Stop,
    start: impl FnOnce(Io, &mut dyn Wait) -> Result<Process, Error>,
) -> Result<Ended, Error> {
    let Some(signals) = signals else {
        return detached(wanted, start).map(|_| Ended { code: 0, stopped: false });
    };
    let (mut between, io) = Between::new(&wanted)?;
    let mut meanwhile = Meanwhile { between: &mut between, signals };
    let process = match start(io, &mut meanwhile) {
        Ok(process) => process,
        Err(error) => {
            let error = error.with_signal(signals.asked_to_stop());
            // What a hook has said, for instance.
            between.show_the_rest(signals)?;
            return Err(error);
        }
    };
    let stopped = match between.relay(&process, signals, stop) {
        Ok(stopped) => stopped,
        // Nobody would hear of it any more, or of its end.
        Err(error) => return Err(process.end(error)),
    };
    let exit = how_it_ended(&process, signals)?;
    let stopped = stopped || signals.asked_to_stop().is_some();
    Ok(Ended { code: exit.code(), stopped })
}

/// Removes a container after its end, or after a failure to start it. A signal that asks to stop ends its hooks.
pub(super) fn remove_after(
    ended: Result<Ended, Error>,
    container: Option<Container>,
    signals: Option<&Signals>,
) -> Result<Ended, Error> {
    let Some(container) = container else { return ended };
    let removed = container.remove(signals.map(Signals::stop));
    let ended = ended?;
    removed.map(|()| ended)
}

/// How a process has ended. One in the container that traces it is told first, and may keep that for itself: brig
/// waits then, and hears that it is to stop.
fn how_it_ended(process: &Process, signals: &Signals) -> Result<Exit, Error> {
    /// Nothing tells when the tracer has been told.
    const REST: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    loop {
        if let Some(exit) = process.try_wait()? {
            return Ok(exit);
        }
        let mut set = [PollFd::from_borrowed_fd(signals.stop(), PollFlags::IN)];
        // A signal ends the rest early.
        let _ = poll(&mut set, Some(&REST));
        if let Some(signal) = signals.asked_to_stop() {
            let what = "brig was asked to stop, and cannot tell how the process has ended";
            return Err(Error::plain(what)
                .with_hint("a process in the container traces it, and has not waited for it")
                .with_signal(Some(signal)));
        }
    }
}
