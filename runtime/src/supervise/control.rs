//! Operations on the cgroup of a container that runs: pause, resume, statistics, limits, events.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use brig_cgroup::Stats;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Error;
use super::known::{Known, is_gone};
use super::observer::Event;
use super::status::Status;
use crate::deadline::{Deadline, OF_OTHERS};
use crate::failure::Kind;
use crate::policy::{self, Present};
use crate::spec::Resources;

/// What [`Known::watch`] tells of.
#[derive(Debug)]
pub enum Happened {
    /// Its memory has run out.
    OutOfMemory,
    /// The interval is over: what it uses.
    Interval(Box<Stats>),
}

impl Known {
    /// Freezes its processes, and waits until they are.
    pub(super) fn pause(&mut self) -> Result<(), Error> {
        // A start that is under way would wait for ever for a frozen process.
        let lock = self.directory.lock(Deadline::after(OF_OTHERS))?;
        self.reload(&lock)?;
        match self.status_under(&lock)? {
            Status::Created | Status::Running => {
                let cgroup = self.cgroup()?;
                match cgroup.paths().is_empty() {
                    true => Err(self.cannot_pause()),
                    false => Ok(cgroup.freeze()?),
                }
            }
            status => Err(self.not("running", status)),
        }
    }

    fn cannot_pause(&self) -> Error {
        let id = self.id.as_str();
        Error::plain(format!("container {id:?} has no cgroup: its processes cannot be frozen"))
            .with_hint("give it one: an ordinary user needs a delegated cgroup, v2")
    }

    /// Lets its frozen processes run again.
    pub(super) fn resume(&mut self) -> Result<(), Error> {
        let lock = self.directory.lock(Deadline::after(OF_OTHERS))?;
        self.reload(&lock)?;
        match self.status_under(&lock)? {
            Status::Paused => Ok(self.cgroup()?.thaw()?),
            status => Err(self.not("paused", status)),
        }
    }

    /// The pids of its processes as brig's pid namespace sees them, sorted; none when it has stopped.
    pub(super) fn pids(&self) -> Result<Vec<i32>, Error> {
        self.must_be_visible()?;
        let Some(cgroup) = self.made_cgroup()? else { return Ok(Vec::new()) };
        match cgroup.paths().is_empty() {
            true => self.pids_without_cgroup(),
            false => Ok(cgroup.pids()?),
        }
    }

    /// What it uses.
    pub(super) fn stats(&self) -> Result<Stats, Error> {
        self.must_live()?;
        Ok(self.cgroup()?.stats()?)
    }

    /// Changes the limits that `resources` names.
    pub(super) fn update(&self, resources: &Resources) -> Result<(), Error> {
        self.must_live()?;
        let profile = &self.directory.config()?.applied.profile;
        let cgroup = self.cgroup()?;
        let mut present = Present::default();
        if !profile.is_empty() {
            let in_force = cgroup.in_force()?;
            present.period_us = in_force.period_us.unwrap_or(present.period_us);
            present.swap_bytes = in_force.swap_bytes.unwrap_or(present.swap_bytes);
        }
        let hardened = policy::harden_resources(resources.clone(), &present, profile);
        let (resources, verdicts) = hardened?;
        self.emit_verdicts(&verdicts);
        Ok(cgroup.update(&resources)?)
    }

    /// Tells what happens until it ends; `tell` may end the watching with an error.
    pub(super) fn watch<E: From<Error>>(
        &self,
        interval: Duration,
        mut tell: impl FnMut(Happened) -> Result<(), E>,
    ) -> Result<(), E> {
        self.must_live()?;
        let Some(init) = self.init()? else {
            return Ok(());
        };
        let cgroup = self.cgroup()?;
        let mut memory = cgroup.watch_oom().map_err(Error::from)?;
        let mut due = Instant::now() + interval;
        loop {
            let ended = wait([init.as_fd(), memory.as_fd()], due)?;
            match memory.drain(&cgroup).map_err(Error::from)? {
                None => return Ok(()),
                Some(0) => {}
                // As runc: notices that came together are one event.
                Some(_) => {
                    self.emit(&Event::OutOfMemory);
                    tell(Happened::OutOfMemory)?;
                }
            }
            if ended {
                return Ok(());
            }
            if Instant::now() >= due {
                match cgroup.stats() {
                    Ok(stats) => tell(Happened::Interval(Box::new(stats)))?,
                    Err(error) if is_gone(&error) => return Ok(()),
                    Err(error) => return Err(Error::from(error).into()),
                }
                due = (due + interval).max(Instant::now());
            }
        }
    }

    pub(super) fn must_live(&self) -> Result<(), Error> {
        match self.status()? {
            Status::Created | Status::Running | Status::Paused => Ok(()),
            status => Err(self.not("running", status)),
        }
    }

    pub(super) fn not(&self, wanted: &str, status: Status) -> Error {
        Error::plain(wrong_state(self.id.as_str(), wanted, status)).of_kind(Kind::WrongState)
    }
}

/// Begins with the words that containerd's shim takes for "it has ended already", which is no failure
/// of a kill (`checkKillError` in its pkg/process/utils.go).
fn wrong_state(id: &str, wanted: &str, status: Status) -> String {
    format!("container not {wanted}: {id:?} is {}", status.name())
}

/// Waits until `due` or until one is readable; whether the first is.
fn wait(fds: [std::os::fd::BorrowedFd<'_>; 2], due: Instant) -> Result<bool, Error> {
    let left = due.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).ok();
    let mut set = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    match poll(&mut set, timeout.as_ref()) {
        Ok(_) => Ok(!set[0].revents().is_empty()),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(errno) => Err(Error::system("waiting for events", errno)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::spec::ContainerId;
    use crate::supervise::Node;

    #[test]
    fn callers_find_the_words_that_they_look_for() {
        let words = wrong_state("c1", "running", Status::Stopped);
        assert_eq!(words, "container not running: \"c1\" is stopped");
        let words = wrong_state("c1", "paused", Status::Running);
        assert_eq!(words, "container not paused: \"c1\" is running");
        let root = tempfile::tempdir().unwrap();
        let error =
            Node::new(root.path()).container(&ContainerId::parse("c1").unwrap()).unwrap_err();
        assert!(error.to_string().ends_with(" does not exist"), "{error}");
    }

    #[test]
    fn waiting_ends_with_the_process_with_a_notice_or_in_time() {
        let (ended, mut end) = std::io::pipe().unwrap();
        let (notice, mut notify) = std::io::pipe().unwrap();
        let soon = || Instant::now() + Duration::from_millis(20);
        let late = || Instant::now() + Duration::from_secs(60);
        let due = soon();
        assert!(!wait([ended.as_fd(), notice.as_fd()], due).unwrap());
        assert!(Instant::now() >= due);
        notify.write_all(b"!").unwrap();
        let due = late();
        assert!(!wait([ended.as_fd(), notice.as_fd()], due).unwrap());
        end.write_all(b"!").unwrap();
        assert!(wait([ended.as_fd(), notice.as_fd()], due).unwrap());
        assert!(Instant::now() < due);
    }
}
