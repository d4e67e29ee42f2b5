//! A program of the host's that is run to its end: a hook, newuidmap(1).
//!
//! Promises: it is in a process group of its own, and nothing of that is left when it fails. Must never wait longer than
//! its caller says, or for anything but the program itself.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::wait::WaitStatus;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};

use rustix::thread::set_no_new_privs;

use super::Error;
use super::end::reap;
use super::report::UNSEEN_END;
use crate::deadline::{AFTER_KILL, Deadline};

/// How much of what a program says is kept for the error.
const SAID_LIMIT_BYTES: usize = 4096;

/// What privileges a program gains by its file: as one with set-user-id, or capabilities of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gains {
    /// What the file has.
    AsItsFileSays,
    /// None: no_new_privs (prctl(2)).
    Nothing,
}

/// By a thread of its own: no_new_privs is a thread's, its children have it too, and nobody can take it off.
fn spawn_without_gains(command: &mut Command) -> io::Result<Child> {
    let spawn = || {
        set_no_new_privs(true)?;
        command.spawn()
    };
    let joined = thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, spawn)?;
        Ok::<_, io::Error>(thread.join())
    });
    joined?.unwrap_or_else(|_| Err(io::Error::other("the thread that starts it ended early")))
}

/// What became of a program.
#[derive(Debug)]
pub(super) struct Outcome {
    end: End,
    /// How it ended, unless that cannot be seen.
    status: Option<WaitStatus>,
    said: String,
}

/// Runs `command`, which is `what` for people, with `input` on its standard input. It is killed after `limit`, or when
/// `stop` can be read; without either it may take its time.
///
/// # Errors
/// It cannot be started or waited for.
pub(super) fn run(
    command: &mut Command,
    what: &str,
    input: &[u8],
    gains: Gains,
    limit: Option<Duration>,
    stop: Option<BorrowedFd<'_>>,
) -> Result<Outcome, Error> {
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = match gains {
        Gains::AsItsFileSays => command.spawn(),
        Gains::Nothing => spawn_without_gains(command),
    }
    .map_err(|error| Error::system(format!("running {what}"), error))?;
    let mut pipes = Pipes::of(&mut child, input);
    let (end, status) = wait(&mut child, &mut pipes, limit, stop)
        .map_err(|error| Error::system(format!("waiting for {what}"), error))?;
    let said = String::from_utf8_lossy(&pipes.said).trim().to_owned();
    Ok(Outcome { end, status, said })
}

impl Outcome {
    /// In which way it has not succeeded.
    pub(super) fn failure(&self) -> Option<String> {
        Some(match (self.end, self.status) {
            (End::Itself, Some(WaitStatus::Exited(_, 0))) => return None,
            (End::Itself, Some(WaitStatus::Exited(_, code))) => {
                format!("ended with exit code {code}")
            }
            (End::Itself, Some(WaitStatus::Signaled(_, signal, _))) => {
                format!("was killed by signal {}", signal as i32)
            }
            (End::Itself, _) => "exited, status unknown".to_owned(),
            (End::TimeOut(limit), _) => format!("timed out after {} s", limit.as_secs()),
            (End::Stop, _) => "was killed, as brig was asked to stop".to_owned(),
        })
    }

    /// An error that says what the program said.
    pub(super) fn error(&self, what: String) -> Error {
        let said = if self.said.is_empty() { String::new() } else { format!(": {}", self.said) };
        let error = Error::plain(what + &said);
        if self.status.is_none() { error.with_hint(UNSEEN_END) } else { error }
    }
}

/// What is left to tell a program, and what it has said.
struct Pipes<'s> {
    stdin: Option<ChildStdin>,
    input: &'s [u8],
    stderr: Option<ChildStderr>,
    said: Vec<u8>,
}

impl<'s> Pipes<'s> {
    fn of(child: &mut Child, input: &'s [u8]) -> Self {
        Self { stdin: child.stdin.take(), input, stderr: child.stderr.take(), said: Vec::new() }
    }

    /// Writes what the pipe takes. A program may end without reading it all: that is its own affair.
    fn feed(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        match stdin.write(self.input) {
            Ok(count) if count < self.input.len() => self.input = &self.input[count..],
            Err(error) if is_for_later(&error) => {}
            _ => self.stdin = None,
        }
    }

    /// Reads what is there, keeps the start of it, and says whether there was any.
    fn hear(&mut self) -> bool {
        let Some(stderr) = &mut self.stderr else { return false };
        let mut chunk = [0; 1024];
        match stderr.read(&mut chunk) {
            Ok(count @ 1..) => {
                let room = SAID_LIMIT_BYTES - self.said.len();
                self.said.extend_from_slice(&chunk[..count.min(room)]);
                true
            }
            Err(error) if is_for_later(&error) => false,
            _ => {
                self.stderr = None;
                false
            }
        }
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Why a program is no longer waited for.
#[derive(Clone, Copy, Debug)]
enum End {
    Itself,
    /// It took so long.
    TimeOut(Duration),
    Stop,
}

/// Serves the program until it has ended, or has to be killed; how it ended, unless that cannot be seen.
///
/// A process that it left behind may keep its standard error open for ever: only the end of the
/// program itself is waited for.
fn wait(
    child: &mut Child,
    pipes: &mut Pipes<'_>,
    limit: Option<Duration>,
    stop: Option<BorrowedFd<'_>>,
) -> io::Result<(End, Option<WaitStatus>)> {
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    for pipe in [pipes.stdin.as_ref().map(AsFd::as_fd), pipes.stderr.as_ref().map(AsFd::as_fd)]
        .into_iter()
        .flatten()
    {
        ioctl_fionbio(pipe, true)?;
    }
    let deadline = limit.map_or(Deadline::NEVER, Deadline::after);
    let end = loop {
        match news(&pidfd, pipes, deadline, stop)? {
            News::Ended => break End::Itself,
            News::Stop => break End::Stop,
            News::Other => {
                pipes.feed();
                pipes.hear();
            }
        }
        if let Some(limit) = limit.filter(|_| deadline.is_over()) {
            break End::TimeOut(limit);
        }
    };
    let ended = matches!(end, End::Itself);
    if !ended {
        child.kill()?;
    }
    while pipes.said.len() < SAID_LIMIT_BYTES && pipes.hear() {}
    // What a failed program has left running has nobody who knows of it: all that stayed in its group, as
    // long as it has not been reaped and the number is the group's.
    if !ended || !has_succeeded(&pidfd)? {
        match kill_process_group(pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok((end, reap(&pidfd, Deadline::after(AFTER_KILL))?))
}

/// Whether a process that has ended ended well; it can still be waited for.
fn has_succeeded(pidfd: &OwnedFd) -> io::Result<bool> {
    let flags = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), flags)?;
    Ok(status.and_then(|status| status.exit_status()) == Some(0))
}

/// What there is to do for a program.
enum News {
    Ended,
    Stop,
    /// It takes or says something, or its time may be up.
    Other,
}

fn news(
    pidfd: &OwnedFd,
    pipes: &Pipes<'_>,
    deadline: Deadline,
    stop: Option<BorrowedFd<'_>>,
) -> io::Result<News> {
    let mut set = vec![PollFd::new(pidfd, PollFlags::IN)];
    set.extend(stop.map(|stop| PollFd::from_borrowed_fd(stop, PollFlags::IN)));
    set.extend(pipes.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
    set.extend(pipes.stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    match poll(&mut set, deadline.left().as_ref()) {
        Ok(_) if !set[0].revents().is_empty() => Ok(News::Ended),
        Ok(_) if stop.is_some() && !set[1].revents().is_empty() => Ok(News::Stop),
        Ok(_) | Err(Errno::INTR) => Ok(News::Other),
        Err(errno) => Err(errno.into()),
    }
}
