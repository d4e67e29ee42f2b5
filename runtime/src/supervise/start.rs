//! `start`: opens the start gate, and runs the poststart hooks.

use std::os::fd::BorrowedFd;

use super::delete::wait_for_end;
use super::frozen::UnlessFrozen;
use super::gate::Passed;
use super::known::Known;
use super::lock::Lock;
use super::observer::Event;
use super::state::OciState;
use super::status::Status;
use super::{Error, gate, readiness};
use crate::deadline::{AFTER_KILL, Deadline, OF_OTHERS};
use crate::execute::{
    HookStage, Wait, describe_failure, has_executed, is_of_hook, limit_bandwidth,
    network_namespace_of, run_hooks, untold,
};
use crate::hook_programs::HookPrograms;
use crate::policy;

impl Known {
    /// Lets the program run, and waits until it does. Poststart hooks end when brig is asked to stop.
    /// `notify` takes the place of the socket of create ([`super::Options::notify`]); false where there was none.
    pub(super) fn start(
        &mut self,
        notify: Option<BorrowedFd<'_>>,
        wait: &mut dyn Wait,
    ) -> Result<bool, Error> {
        let lock = self.directory.lock(Deadline::after(OF_OTHERS))?;
        let mut status = self.status_under(&lock)?;
        if status != Status::Created {
            // It may have been made while somebody else held the lock.
            self.reload(&lock)?;
            status = self.status_under(&lock)?;
        }
        match status {
            Status::Created => {}
            Status::Running => return Err(self.already_runs()),
            Status::Paused => {
                return Err(self
                    .wrong_state("cannot start a container in the paused state")
                    .with_hint("resume it first"));
            }
            Status::Stopped => {
                return Err(self.wrong_state("cannot start a container that has stopped"));
            }
            Status::Creating => {
                return Err(
                    self.wrong_state("cannot start a container that is still being created")
                );
            }
        }
        let record = self.record()?;
        // What cannot be read must not show when the program runs already.
        self.spec()?;
        let heard = notify.map(|socket| readiness::take_over(&self.directory, socket));
        let heard = heard.transpose()?.unwrap_or(false);
        self.limit_bandwidth()?;
        let cgroup = self.record()?.cgroup.clone();
        let waiting = &mut UnlessFrozen::new(&mut *wait, cgroup);
        let report = match gate::pass(&self.directory, waiting)? {
            Passed::Now(report) => report,
            Passed::Before => return Err(self.already_runs()),
        };
        if let Some(report) = report {
            // An engine that hears of the failure deletes the container at once, and containerd's shim
            // refuses that, and stays for good, as long as it has not seen the end of the process.
            if let Ok(Some(init)) = self.init() {
                wait_for_end(&init, Deadline::after(AFTER_KILL));
            }
            let (first, words) = &record.after_gate;
            let error = describe_failure(&report, *first, words);
            return Err(match is_of_hook(&report, *first, words) {
                true => self.give_up(&lock, wait.stop(), error),
                false => error,
            });
        }
        let pid = record.process.as_ref().map_or(0, |process| process.pid);
        // Who has executed its program may be gone, with all that is known of it.
        if record.mute && !has_executed(pid).unwrap_or(true) {
            return Err(untold(&record.after_gate.1));
        }
        self.emit(&Event::Started);
        match self.poststart(&lock, wait.stop()) {
            Ok(()) => Ok(heard),
            Err(error) => Err(self.give_up(&lock, wait.stop(), error)),
        }
    }

    /// Limits the interfaces that the container has by now, if the policy says so.
    fn limit_bandwidth(&self) -> Result<(), Error> {
        let Some(limits) = policy::bandwidth(&self.directory.config()?.applied.profile) else {
            return Ok(());
        };
        let pid = self.record()?.process.as_ref().map_or(0, |process| process.pid);
        let inside = network_namespace_of(&pid.to_string())?;
        // What is on record is still there, so that it was not another process's.
        match self.init()? {
            Some(_) => limit_bandwidth(&inside, limits),
            None => Err(self.wrong_state("its first process has ended")),
        }
    }

    /// What becomes of a container of which a hook has failed: it ends, nothing of it is left, and its poststop hooks run
    /// (runtime.md, "Lifecycle" steps 7, 9, 12 and 13). What cannot be removed keeps its record. The same error.
    pub(super) fn give_up(&self, lock: &Lock, stop: Option<BorrowedFd<'_>>, error: Error) -> Error {
        match self.remove_under(lock, stop) {
            Err(left) => Error::because(format!("cannot clean up ({left}) after a failure"), error),
            Ok(()) if error.hint().is_some() => error,
            Ok(()) => error.with_hint(
                "a failing hook ends the container: mend the hook, and make the container again",
            ),
        }
    }

    /// Poststart hooks, in their order up to one that fails.
    pub(super) fn poststart(&self, lock: &Lock, stop: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        let hooks = &self.spec()?.hooks.poststart;
        if hooks.is_empty() {
            return Ok(());
        }
        lock.end_making()?;
        let record = self.record()?;
        let state = OciState::of(record, Status::Running).to_json();
        let run = || {
            let profile = &self.directory.config()?.applied.profile;
            let programs = HookPrograms::judged("poststart", hooks, profile)?;
            run_hooks(HookStage::Poststart, hooks, &programs, &record.bundle, &state, stop)
        };
        run()
    }

    fn already_runs(&self) -> Error {
        self.wrong_state("cannot start an already running container")
    }
}
