//! Poststop hooks: when nothing of the container is left but its record.
//!
//! Promises: each of them runs, whatever became of those before it, and one that fails keeps no container (runtime.md,
//! "Lifecycle" step 13). Must never wait longer than the caller wants, nor end at once because of what has already been
//! heard: what a container's other hooks have made is theirs to undo.

use std::os::fd::BorrowedFd;
use std::slice::from_ref;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Error;
use super::record::Record;
use super::state::OciState;
use super::status::Status;
use crate::configuration::Configuration;
use crate::deadline::AFTER_KILL;
use crate::execute::{HookStage, run_hooks};
use crate::hook_programs::HookPrograms;
use crate::spec::Hook;

/// Runs those of `config`, with the state of the container of `record`. They end when `stop` can be read; where it can be
/// read already they have [`AFTER_KILL`] each. `warn` is told of what fails.
pub(super) fn run(
    config: &Configuration,
    record: &Record,
    stop: Option<BorrowedFd<'_>>,
    warn: &dyn Fn(&str),
) {
    let hooks = &config.spec.hooks.poststop;
    if hooks.is_empty() {
        return;
    }
    let state = OciState::of(record, Status::Stopped).to_json();
    let is_late = stop.is_some_and(|stop| can_be_read(&stop));
    let stop = stop.filter(|_| !is_late);
    for hook in hooks {
        let limited = is_late.then(|| limited(hook));
        let one = from_ref(limited.as_ref().unwrap_or(hook));
        let run = || -> Result<(), Error> {
            let programs = HookPrograms::judged("poststop", one, &config.applied.profile)?;
            run_hooks(HookStage::Poststop, one, &programs, &record.bundle, &state, stop)
        };
        if let Err(error) = run() {
            warn(&error.to_string());
        }
    }
}

fn can_be_read(stop: &BorrowedFd<'_>) -> bool {
    let mut set = [PollFd::new(stop, PollFlags::IN)];
    poll(&mut set, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// The same hook, with no more time than that.
fn limited(hook: &Hook) -> Hook {
    let most = i64::try_from(AFTER_KILL.as_secs()).unwrap_or(i64::MAX);
    let timeout = hook.timeout.map_or(most, |own| own.min(most));
    Hook { timeout: Some(timeout), ..hook.clone() }
}
