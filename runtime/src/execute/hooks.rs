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

use super::program::Gains;
use super::{Error, program};
use crate::hook_programs::HookPrograms;
use crate::policy::hook_field;
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
/// gone, and stops at the first failure. One that the node's policy has judged is the program in `programs`, in /, and gains
/// no privileges.
///
/// # Errors
/// Names the hook and how it ended; it is killed when its time is up, or when `stop` can be read.
pub fn run_hooks(
    stage: HookStage,
    hooks: &[Hook],
    programs: &HookPrograms,
    bundle: &Path,
    state: &[u8],
    stop: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    // When a container is deleted the bundle may have gone before.
    let directory = if bundle.is_dir() { bundle } else { Path::new("/") };
    for (index, hook) in hooks.iter().enumerate() {
        let field = hook_field(stage.name(), index);
        let what = format!("{field} ({})", hook.path);
        let failed = |error| Error::system(format!("taking the program of {what}"), error);
        match programs.of(&field).map_err(failed)? {
            Some(held) => {
                let program = held.path().map_err(failed)?;
                let run =
                    Run { program: &program, directory: Path::new("/"), gains: Gains::Nothing };
                run_hook(&what, hook, &run, state, stop)?;
            }
            None => {
                let run = Run { program: &hook.path, directory, gains: Gains::AsItsFileSays };
                run_hook(&what, hook, &run, state, stop)?;
            }
        }
    }
    Ok(())
}

/// What is executed for a hook, and how.
struct Run<'r> {
    program: &'r str,
    directory: &'r Path,
    gains: Gains,
}

fn run_hook(
    what: &str,
    hook: &Hook,
    run: &Run<'_>,
    state: &[u8],
    stop: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    let mut command = Command::new(run.program);
    command.arg0(&hook.path);
    if let Some((name, args)) = hook.args.split_first() {
        command.arg0(name).args(args);
    }
    command.env_clear().current_dir(run.directory);
    for entry in &hook.env {
        if let Some((key, value)) = entry.split_once('=') {
            command.env(key, value);
        }
    }
    let limit = hook.timeout.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    let outcome = program::run(&mut command, what, state, run.gains, limit, stop)?;
    outcome.failure().map_or(Ok(()), |how| Err(outcome.error(format!("{what} {how}"))))
}
