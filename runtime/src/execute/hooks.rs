//! Hooks of the runtime namespace: prestart, createRuntime, poststart, poststop.
//!
//! runtime-spec config.md, "POSIX-platform Hooks": the state on standard input, only the
//! environment that the hook lists, failure if the exit code is not 0 or the time is up. Without a timeout only
//! the hook's end, or a signal to brig, ends the wait for it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::spec::Hook;
use nix::sys::wait::WaitStatus;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};

use super::Error;
use super::end::reap;
use super::report::UNSEEN_END;
use crate::deadline::{AFTER_KILL, Deadline};

/// How much of what a hook says is kept for the error.
const SAID_LIMIT_BYTES: usize = 4096;

/// Which hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookStage {
    /// `prestart`, deprecated and used.
    Prestart,
    /// `createRuntime`.
    CreateRuntime,
    /// `poststart`.
    Poststart,
    /// `poststop`.
    Poststop,
}

impl HookStage {
    /// The name in config.json.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }
}

/// Runs `hooks` in order, each with `state` on its standard input, and stops at the first failure.
///
/// # Errors
/// Names the hook and how it ended; it is killed when its time is up, or when `stop` can be read.
pub fn run_hooks(
    stage: HookStage,
    hooks: &[Hook],
    state: &[u8],
    stop: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    for (index, hook) in hooks.iter().enumerate() {
        let what = format!("hooks.{}[{index}] ({})", stage.name(), hook.path);
        run_hook(&what, hook, state, stop)?;
    }
    Ok(())
}

fn run_hook(
    what: &str,
    hook: &Hook,
    state: &[u8],
    stop: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(&hook.path);
    if let Some((name, args)) = hook.args.split_first() {
        command.arg0(name).args(args);
    }
    command.env_clear().process_group(0);
    for entry in &hook.env {
        if let Some((key, value)) = entry.split_once('=') {
            command.env(key, value);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| Error::system(format!("running {what}"), error))?;
    let mut pipes = Pipes::of(&mut child, state);
    let ended = wait(&mut child, &mut pipes, hook.timeout, stop);
    let seconds = hook.timeout.unwrap_or_default();
    let (end, status) =
        ended.map_err(|error| Error::system(format!("waiting for {what}"), error))?;
    let how = match (end, status) {
        (End::Itself, Some(WaitStatus::Exited(_, 0))) => return Ok(()),
        (End::Itself, Some(WaitStatus::Exited(_, code))) => format!("ended with exit code {code}"),
        (End::Itself, Some(WaitStatus::Signaled(_, signal, _))) => {
            format!("was killed by signal {}", signal as i32)
        }
        (End::Itself, _) => "has ended, and nobody says how".to_owned(),
        (End::TimeOut, _) => format!("did not end within {seconds} s"),
        (End::Stop, _) => "was ended, as brig was asked to stop".to_owned(),
    };
    let said = String::from_utf8_lossy(&pipes.said).trim().to_owned();
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let error = Error::plain(format!("{what} {how}{said}"));
    Err(if status.is_none() { error.with_hint(UNSEEN_END) } else { error })
}

/// What is left to tell a hook, and what it has said.
struct Pipes<'s> {
    stdin: Option<ChildStdin>,
    state: &'s [u8],
    stderr: Option<ChildStderr>,
    said: Vec<u8>,
}

impl<'s> Pipes<'s> {
    fn of(child: &mut Child, state: &'s [u8]) -> Self {
        Self { stdin: child.stdin.take(), state, stderr: child.stderr.take(), said: Vec::new() }
    }

    /// Writes what the pipe takes. A hook may end without reading its state: that is its own affair.
    fn feed(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        match stdin.write(self.state) {
            Ok(count) if count < self.state.len() => self.state = &self.state[count..],
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

/// Why a hook is no longer waited for.
#[derive(Clone, Copy)]
enum End {
    Itself,
    TimeOut,
    Stop,
}

/// Serves the hook until it has ended, or has to be killed; how it ended, unless that cannot be seen.
///
/// A process that it left behind may keep its standard error open for ever: only the end of the hook
/// itself is waited for.
fn wait(
    child: &mut Child,
    pipes: &mut Pipes<'_>,
    timeout_s: Option<i64>,
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
    let limit = timeout_s.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
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
        if deadline.is_over() {
            break End::TimeOut;
        }
    };
    let ended = matches!(end, End::Itself);
    if !ended {
        child.kill()?;
    }
    while pipes.said.len() < SAID_LIMIT_BYTES && pipes.hear() {}
    // What a failed hook has left running has nobody who knows of it: all that stayed in its group, as
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

/// What there is to do for a hook.
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
