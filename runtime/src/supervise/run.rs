//! `run`: create, start, wait, delete in one.

use std::os::fd::OwnedFd;

use nix::sys::wait::WaitStatus;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::blueprint::Blueprint;
use super::container::Container;
use super::create::{Options, make};
use super::process::exit_code;
use super::terminal::{Between, Given, Meanwhile, Signals, Stop, Wanted};
use super::{Error, standard, terminal};
use crate::deadline::{Deadline, OF_OTHERS};
use crate::execute::{Launched, ended};
use crate::plan::Start;
use crate::spec::ContainerId;

/// Whether the caller waits for the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreground {
    /// Until it ends; then it is deleted.
    Wait,
    /// Until it ends; it is kept (`run --keep`).
    WaitAndKeep,
    /// Not at all.
    Detach,
}

impl Foreground {
    /// The signals that brig gets while it waits: blocked from here on, to be heard.
    pub(super) fn signals(self) -> Result<Option<Signals>, Error> {
        match self {
            Self::Detach => Ok(None),
            Self::Wait | Self::WaitAndKeep => Signals::block().map(Some),
        }
    }
}

/// Runs a container; the answer is its exit code, 0 where it is not waited for.
///
/// # Errors
/// As `create`, `start` and `delete`.
pub fn run(id: &ContainerId, options: &Options, foreground: Foreground) -> Result<u8, Error> {
    let blueprint = Blueprint::of_bundle(&options.bundle)?;
    let mut container = None;
    let wanted = wanted(&blueprint, options);
    let signals = foreground.signals()?;
    let ended = in_foreground(signals.as_ref(), wanted, Stop::PassOn, |given| {
        make_and_start(id, blueprint, options, given, &mut container)
    });
    let ended = match ended.is_ok() && foreground != Foreground::Wait {
        true => ended,
        false => remove_after(ended, container, signals.as_ref()),
    };
    ended.map(|ended| ended.code)
}

/// What the container's process is to have.
pub(super) fn wanted(blueprint: &Blueprint, options: &Options) -> Wanted {
    let spec = &blueprint.config.spec;
    let hooks = &spec.hooks;
    Wanted {
        terminal: spec.process.terminal,
        console_socket: options.console_socket.is_some(),
        hooks: [
            &hooks.prestart,
            &hooks.create_runtime,
            &hooks.create_container,
            &hooks.start_container,
            &hooks.poststart,
        ]
        .into_iter()
        .any(|hooks| !hooks.is_empty()),
        owner: standard::owner(spec, spec.process.user.uid),
    }
}

/// Makes a container that starts at once, and leaves it in `container`; answers with its process.
pub(super) fn make_and_start(
    id: &ContainerId,
    blueprint: Blueprint,
    options: &Options,
    mut given: Given<'_>,
    container: &mut Option<Container>,
) -> Result<Launched, Error> {
    let made = make(id, blueprint, options, Start::AtOnce, &mut given)?;
    let (new, launched, lock) = Container::of(id, made);
    let started = new.poststart(&lock, given.stop);
    *container = Some(new);
    started.map(|()| launched)
}

/// Removes a container after its end, or after a failure to start it. A signal that asks to stop ends its hooks.
pub(super) fn remove_after(
    ended: Result<Ended, Error>,
    container: Option<Container>,
    signals: Option<&Signals>,
) -> Result<Ended, Error> {
    let Some(container) = container else { return ended };
    let lock = container.directory.lock_if_there(Deadline::after(OF_OTHERS));
    // Or somebody else has removed it.
    let stop = signals.map(Signals::stop);
    let removed = lock.and_then(|lock| lock.map_or(Ok(()), |lock| container.remove(&lock, stop)));
    let ended = ended?;
    removed.map(|()| ended)
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
    wanted: Wanted,
    stop: Stop,
    start: impl FnOnce(Given<'_>) -> Result<Launched, Error>,
) -> Result<Ended, Error> {
    let Some(signals) = signals else {
        return terminal::detached(wanted, start).map(|_| Ended { code: 0, stopped: false });
    };
    let (mut between, given) = Between::new(wanted)?;
    let mut meanwhile = Meanwhile { between: &mut between, signals };
    let given = Given { wait: Some(&mut meanwhile), stop: Some(signals.stop()), ..given };
    let process = match start(given) {
        Ok(process) => process,
        Err(error) => {
            let error = error.with_signal(signals.asked_to_stop());
            // What a hook has said, for instance.
            between.show_the_rest(signals)?;
            return Err(error);
        }
    };
    let stopped = match between.relay(&process.pidfd, signals, stop) {
        Ok(stopped) => stopped,
        // Nobody would hear of it any more, or of its end.
        Err(error) => return Err(process.end(error)),
    };
    let status = how_it_ended(&process.pidfd, signals)?;
    let stopped = stopped || signals.asked_to_stop().is_some();
    Ok(Ended { code: exit_code(status), stopped })
}

/// How a process has ended. One in the container that traces it is told first, and may keep that for itself: brig
/// waits then, and hears that it is to stop.
fn how_it_ended(pidfd: &OwnedFd, signals: &Signals) -> Result<WaitStatus, Error> {
    const DOING: &str = "waiting for the container's process";
    /// Nothing tells when the tracer has been told.
    const REST: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    loop {
        if let Some(status) = ended(pidfd).map_err(|error| Error::system(DOING, error))? {
            return Ok(status);
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
