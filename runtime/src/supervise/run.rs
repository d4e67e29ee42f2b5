//! `run`: create, start, wait, delete in one.

use std::os::fd::OwnedFd;

use super::container::Container;
use super::create::{Blueprint, Options, make};
use super::terminal::{Signals, Stop, Terminal, relay};
use super::{Error, exit_code, wait_for_exit};
use crate::execute::Launched;
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

/// Runs a container; the answer is its exit code, 0 where it is not waited for.
///
/// # Errors
/// As `create`, `start` and `delete`.
pub fn run(id: &ContainerId, options: &Options, foreground: Foreground) -> Result<u8, Error> {
    let blueprint = Blueprint::of_bundle(&options.bundle)?;
    let mut container = None;
    let console = options.console_socket.is_some();
    let ended = in_foreground(foreground, console, Stop::PassOn, |terminal| {
        make_and_start(id, blueprint, options, terminal, &mut container)
    });
    let ended = match ended.is_ok() && foreground != Foreground::Wait {
        true => ended,
        false => remove_after(ended, container),
    };
    ended.map(|ended| ended.code)
}

/// Makes a container that starts at once, and leaves it in `container`; answers whether it has a
/// terminal, and with its process.
pub(super) fn make_and_start(
    id: &ContainerId,
    blueprint: Blueprint,
    options: &Options,
    terminal: Option<OwnedFd>,
    container: &mut Option<Container>,
) -> Result<(bool, Launched), Error> {
    let made = make(id, blueprint, options, Start::AtOnce, terminal)?;
    let process = made.config.spec.process().as_ref();
    let wants_terminal = process.and_then(|process| process.terminal()).unwrap_or(false);
    let (mut new, launched) = Container::of(id, made);
    let started = new.poststart();
    new.directory.unlock();
    *container = Some(new);
    started.map(|()| (wants_terminal, launched))
}

/// Removes a container after its end, or after a failure to start it.
pub(super) fn remove_after(
    ended: Result<Ended, Error>,
    container: Option<Container>,
) -> Result<Ended, Error> {
    let Some(mut container) = container else { return ended };
    let locked = container.directory.lock(super::create::PATIENCE);
    let removed = locked.and_then(|()| container.remove());
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

/// Starts a process by `start`, which says whether it has a terminal, and sees it to its end
/// unless it is to be detached.
pub(super) fn in_foreground(
    foreground: Foreground,
    has_console_socket: bool,
    stop: Stop,
    start: impl FnOnce(Option<OwnedFd>) -> Result<(bool, Launched), Error>,
) -> Result<Ended, Error> {
    if foreground == Foreground::Detach {
        return start(None).map(|_| Ended { code: 0, stopped: false });
    }
    let signals = Signals::block()?;
    let (terminal, theirs) = match has_console_socket {
        true => (None, None),
        false => Terminal::pair().map(|(ours, theirs)| (Some(ours), Some(theirs)))?,
    };
    let (wants_terminal, process) = start(theirs)?;
    let stopped =
        relay(&process.pidfd, terminal.as_ref().filter(|_| wants_terminal), &signals, stop)?;
    let status = wait_for_exit(&process.pidfd)
        .map_err(|error| Error::system("waiting for the container's process", error))?;
    Ok(Ended { code: exit_code(status), stopped })
}
