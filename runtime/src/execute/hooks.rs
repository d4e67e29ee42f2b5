//! Hooks of the runtime namespace: prestart, createRuntime, poststart, poststop.
//!
//! runtime-spec config.md, "POSIX-platform Hooks": the state on standard input, only the
//! environment that the hook lists, failure if the exit code is not 0 or the time is up. Without a timeout only
//! the hook's end, or a signal to brig, ends the wait for it.

use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Error, program};
use crate::spec::Hook;

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

/// Runs `hooks` in order, each with `state` on its standard input and in the directory `bundle`, or in / where that is
/// gone, and stops at the first failure.
///
/// # Errors
/// Names the hook and how it ended; it is killed when its time is up, or when `stop` can be read.
pub fn run_hooks(
    stage: HookStage,
    hooks: &[Hook],
    bundle: &Path,
    state: &[u8],
    stop: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    // When a container is deleted the bundle may have gone before.
    let directory = if bundle.is_dir() { bundle } else { Path::new("/") };
    for (index, hook) in hooks.iter().enumerate() {
        let what = format!("hooks.{}[{index}] ({})", stage.name(), hook.path);
        run_hook(&what, hook, directory, state, stop)?;
    }
    Ok(())
}

fn run_hook(
    what: &str,
    hook: &Hook,
    directory: &Path,
    state: &[u8],
    stop: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    let mut command = Command::new(&hook.path);
    if let Some((name, args)) = hook.args.split_first() {
        command.arg0(name).args(args);
    }
    command.env_clear().current_dir(directory);
    for entry in &hook.env {
        if let Some((key, value)) = entry.split_once('=') {
            command.env(key, value);
        }
    }
    let limit = hook.timeout.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    let outcome = program::run(&mut command, what, state, limit, stop)?;
    outcome.failure().map_or(Ok(()), |how| Err(outcome.error(format!("{what} {how}"))))
}
