//! Hooks of the runtime namespace: prestart, createRuntime, poststart, poststop.
//!
//! runtime-spec config.md, "POSIX-platform Hooks": the state on standard input, only the
//! environment that the hook lists, failure if the exit code is not 0 or the time is up.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use oci_spec::runtime::Hook;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::Error;

/// How much of what a hook says is kept for the error, in chunks of at most 1 KiB.
const SAID_CHUNKS: usize = 4;

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
/// Names the hook and how it ended.
pub fn run_hooks(stage: HookStage, hooks: &[Hook], state: &[u8]) -> Result<(), Error> {
    for (index, hook) in hooks.iter().enumerate() {
        let what = format!("hooks.{}[{index}] ({})", stage.name(), hook.path().display());
        run_hook(&what, hook, state)?;
    }
    Ok(())
}

fn run_hook(what: &str, hook: &Hook, state: &[u8]) -> Result<(), Error> {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(hook.path());
    if let Some((name, args)) = hook.args().as_deref().and_then(<[_]>::split_first) {
        command.arg0(name).args(args);
    }
    command.env_clear().process_group(0);
    for entry in hook.env().as_deref().unwrap_or_default() {
        if let Some((key, value)) = entry.split_once('=') {
            command.env(key, value);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| Error::system(format!("running {what}"), error))?;
    let group = Pid::from_child(&child);
    feed(&mut child, state.to_vec());
    let stderr = drain(&mut child);
    let ended = wait(&mut child, hook.timeout(), what);
    let status = ended?;
    if status.success() {
        return Ok(());
    }
    let said = last_words(&stderr);
    // What a failed hook has left running has nobody who knows of it.
    let _ = kill_process_group(group, Signal::KILL);
    let how = match status.signal() {
        Some(signal) => format!("was killed by signal {signal}"),
        None => format!("ended with exit code {}", status.code().unwrap_or(-1)),
    };
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    Err(Error::plain(format!("{what} {how}{said}")))
}

/// A hook may end without reading its state: that is its own affair. A state longer than a pipe
/// holds must not keep the timeout from being watched.
fn feed(child: &mut Child, state: Vec<u8>) {
    if let Some(mut stdin) = child.stdin.take() {
        thread::spawn(move || drop(stdin.write_all(&state)));
    }
}

/// Reads what the hook says, as long as anybody that it left behind may still say something.
fn drain(child: &mut Child) -> Receiver<Vec<u8>> {
    let stderr = child.stderr.take();
    let (sender, receiver) = sync_channel(SAID_CHUNKS);
    thread::spawn(move || {
        let Some(mut stderr) = stderr else { return };
        let mut chunk = [0; 1024];
        while let Ok(count @ 1..) = std::io::Read::read(&mut stderr, &mut chunk) {
            // A full channel: the error needs no more.
            let _ = sender.try_send(chunk[..count].to_vec());
        }
    });
    receiver
}

/// The start of what a hook that has ended has said. A process that it left behind may keep its
/// standard error open for ever, so the end is not waited for.
fn last_words(said: &Receiver<Vec<u8>>) -> Vec<u8> {
    const PATIENCE: Duration = Duration::from_millis(50);
    std::iter::from_fn(|| said.recv_timeout(PATIENCE).ok()).take(SAID_CHUNKS).flatten().collect()
}

fn wait(
    child: &mut Child,
    timeout_s: Option<i64>,
    what: &str,
) -> Result<std::process::ExitStatus, Error> {
    let failed = |error: std::io::Error| Error::system(format!("waiting for {what}"), error);
    if let Some(seconds) = timeout_s {
        let pid = Pid::from_child(child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| failed(error.into()))?;
        let limit = Duration::from_secs(seconds.unsigned_abs());
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left =
                Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
                Ok(0) => {
                    // The hook with all that it has started, as far as that stayed in its group.
                    let _ = kill_process_group(pid, Signal::KILL);
                    let _ = child.wait();
                    return Err(Error::plain(format!("{what} did not end within {seconds} s")));
                }
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) => break,
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
    child.wait().map_err(failed)
}
