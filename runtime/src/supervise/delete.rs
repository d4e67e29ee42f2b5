//! `delete`: ends what is left of a container, removes its cgroup and its state.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use brig_cgroup::{CgroupFacts, Directory, PlannedCgroup};
use brig_pseudofs::small_file;
use rustix::event::{PollFd, PollFlags, poll};

use super::known::{Known, has_own_mounts};
use super::lock::Lock;
use super::record::{DamagedRecord, Record};
use super::status::Status;
use super::{Error, poststop};
use crate::caller::Caller;
use crate::deadline::{AFTER_KILL, Deadline, OF_OTHERS};
use crate::execute::resctrl;
use crate::failure::Kind;
use crate::id_pool::IdClaims;
use crate::plan::plan_cgroup;
use crate::policy::Hardened;

/// Says which processes are in a cgroup that cannot be removed, or that others are below it.
fn in_use(cgroup: &Path) -> String {
    let processes = small_file::read_text(cgroup.join("cgroup.procs")).unwrap_or_default();
    let processes: Vec<_> = processes.lines().collect();
    match processes.is_empty() {
        true => format!("cgroup {} is in use: it has child cgroups", cgroup.display()),
        false => {
            format!("cgroup {} is in use by processes [{}]", cgroup.display(), processes.join(", "))
        }
    }
}

/// Whether a container may be deleted while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Only a stopped one.
    No,
    /// Its processes are killed.
    Yes,
}

impl Known {
    /// Removes the container wholly.
    pub(super) fn delete(mut self, force: Force) -> Result<(), Error> {
        if force == Force::Yes {
            self.kill_everything()?;
        }
        let Some(lock) = self.directory.lock_if_there(Deadline::after(OF_OTHERS))? else {
            // Somebody else was first.
            return if force == Force::Yes { Ok(()) } else { Err(Self::missing(&self.id)) };
        };
        self.reload(&lock)?;
        if let Some(damage) = &self.damage {
            return match force {
                Force::No => Err(damage.error()),
                Force::Yes => self.remove_damaged(damage),
            };
        }
        let status = self.status_under(&lock)?;
        // A container that never ran has nothing to lose: as with runc and crun, it is ended.
        if force == Force::No && !matches!(status, Status::Stopped | Status::Created) {
            return Err(Error::plain(format!(
                "cannot delete container {:?} that is not stopped: {}",
                self.id.as_str(),
                status.name()
            ))
            .of_kind(Kind::WrongState)
            .with_hint("kill it first, or delete it by force"));
        }
        if let Some(record) = &self.record
            && let Err(error) = self.spec()
        {
            if force == Force::No {
                return Err(error.with_hint(
                    "a forced delete removes the container, without its poststop hooks",
                ));
            }
            self.warn(&format!("{error}; no poststop hook is run"));
            self.remove_made(record)?;
            return self.directory.remove();
        }
        self.remove_under(&lock, None)
    }

    /// Removes what is known of a container whose record is damaged: its first process, and what that one is not needed
    /// for, by the copy of its configuration.
    fn remove_damaged(&self, damage: &DamagedRecord) -> Result<(), Error> {
        self.warn(&format!("{}; no poststop hook is run", damage.error()));
        match (&self.record, self.spec()) {
            (Some(record), _) => self.remove_made(record)?,
            (None, Ok(spec)) => {
                self.kill_everything()?;
                self.discard_cgroup(spec)?;
            }
            (None, Err(error)) => {
                self.kill_everything()?;
                self.warn(&format!("{error}; its cgroup is not known, and may remain"));
            }
        }
        self.directory.remove()
    }

    /// Removes the cgroup that a container of this configuration has. Nothing tells whether it is this one's: it is
    /// removed only where it is empty.
    fn discard_cgroup(&self, spec: &Hardened) -> Result<(), Error> {
        let (facts, caller) = (CgroupFacts::read()?, Caller::get());
        let plan = plan_cgroup(&self.id, spec, &facts, None, caller)?;
        PlannedCgroup::of(&plan).discard()?;
        let left = plan.directories.iter().map(Directory::absolute).find(|path| path.exists());
        match left {
            None => Ok(()),
            Some(path) => Err(Error::plain(in_use(&path)).of_kind(Kind::Busy).with_hint(
                "it may be this container's: end what is in it, and delete the container again",
            )),
        }
    }

    /// Kills what belongs to the container, whoever holds its lock.
    fn kill_everything(&self) -> Result<(), Error> {
        let cgroup = if self.record.is_some() { self.made_cgroup()? } else { None };
        if let Some(init) = self.init()? {
            if !self.kill_scattered(&init)? {
                // Whether it worked shows in the wait.
                let _ = brig_sys::process::send_signal(&init, libc::SIGKILL);
            }
            if let Some(cgroup) = &cgroup
                && cgroup.blocks_kill()?
            {
                cgroup.kill()?;
            }
            wait_for_end(&init, Deadline::after(AFTER_KILL));
        }
        if let Some(cgroup) = cgroup {
            cgroup.kill()?;
        }
        self.kill_executed()?;
        match self.init()? {
            Some(_) => Err(Error::plain(format!(
                "the first process of container {:?} does not end after SIGKILL",
                self.id.as_str()
            ))
            .of_kind(Kind::TimedOut)
            .with_hint("it waits in the kernel (state D in `ps`); try again when that is over")),
            None => self.none_is_left(),
        }
    }

    /// Kills what `exec` has started, and what shares its mounts: of a container of which [`Known::is_scattered`] holds
    /// nothing else tells them, once its first process has ended.
    fn kill_executed(&self) -> Result<(), Error> {
        if self.record.is_none()
            || !self.spec().is_ok_and(has_own_mounts)
            || !self.is_scattered()?
        {
            return Ok(());
        }
        for process in self.directory.executed()?.into_iter().filter_map(|(_, process)| process) {
            let Some(held) = self.open(&process)? else { continue };
            self.kill_sharing_mounts(process.pid, &held)?;
            wait_for_end(&held, Deadline::after(AFTER_KILL));
        }
        Ok(())
    }

    /// Where no cgroup and no pid namespace tells, what has the container's root directory may be the container's.
    fn none_is_left(&self) -> Result<(), Error> {
        let Some(record) = self.record.as_ref().filter(|_| self.is_scattered().unwrap_or(true))
        else {
            return Ok(());
        };
        let id = self.id.as_str();
        match super::members::rooted_at(&record.rootfs) {
            Ok(left) if left.is_empty() => Ok(()),
            Ok(left) => Err(Error::plain(format!(
                "processes {left:?} still use the root file system of container {id:?}"
            ))
            .of_kind(Kind::Busy)
            .with_hint("they may be the container's; end them, and delete it again")),
            Err(error) => {
                self.warn(&format!(
                    "whether processes of container {id:?} remain cannot be determined: {error}"
                ));
                Ok(())
            }
        }
    }

    /// Removes the container after its end, for who has waited for that: also one that brig has just run, and has not
    /// recorded. Hooks end when `stop` can be read.
    pub(super) fn remove(self, stop: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        match self.directory.lock_if_there(Deadline::after(OF_OTHERS))? {
            Some(lock) => self.remove_under(&lock, stop),
            None => Ok(()),
        }
    }

    /// The processes, the groups, the hooks, the directory: the record goes last. While something
    /// lives, or a group is left, the container stays as it is; of the rest all is tried. Hooks end when `stop` can
    /// be read.
    pub(super) fn remove_under(
        &self,
        _lock: &Lock,
        stop: Option<BorrowedFd<'_>>,
    ) -> Result<(), Error> {
        if let Some(record) = &self.record {
            self.remove_made(record)?;
            self.discard_resctrl(record)?;
            poststop::run(self.directory.config()?, record, stop, &|words| self.warn(words));
        }
        self.directory.remove()
    }

    /// Removes what the record names.
    fn remove_made(&self, record: &Record) -> Result<(), Error> {
        self.kill_everything()?;
        match self.made_cgroup()? {
            Some(cgroup) => cgroup.delete()?,
            None => record.planned_cgroup.discard()?,
        }
        record.resctrl.as_ref().map_or(Ok(()), |made| made.remove())?;
        // Nothing lives that has them.
        match &record.ids {
            Some(ids) => IdClaims::open()?.give_back(ids, self.directory.path()),
            None => Ok(()),
        }
    }

    /// A resctrl group that brig was killed before it could record.
    fn discard_resctrl(&self, record: &Record) -> Result<(), Error> {
        if record.resctrl.is_some() {
            return Ok(());
        }
        match &self.spec()?.linux.intel_rdt {
            Some(rdt) => resctrl::discard(self.id.as_str(), rdt),
            None => Ok(()),
        }
    }
}

/// Waits until the process has ended, at most so long.
pub(super) fn wait_for_end(process: &OwnedFd, deadline: Deadline) {
    let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], deadline.left().as_ref());
}
