//! What is recorded of a container: what state it is in, and what can be done to it at once.
//!
//! Promises: of one moment. Whoever waits for the lock reads the record again. Must never be kept after the operation for
//! which it was read.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use brig_cgroup::Cgroup;
use brig_sys::process::send_signal;
use serde::Serialize;

use super::lock::Lock;
use super::observer::{Event, Observer};
use super::record::{DamagedRecord, PROCESS, Record, StateDirectory};
use super::recorded::{RecordedProcess, Unknown};
use super::status::Status;
use super::{Error, gate, members};
use crate::failure::Kind;
use crate::policy::{Hardened, Verdict};
use crate::spec::{ContainerId, NamespaceType};

/// What `state` prints and `list --format json` has as elements: runc's fields.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    oci_version: String,
    /// Its id.
    pub id: String,
    /// Its first process; 0 where there is none.
    pub pid: i32,
    /// Its status.
    pub status: &'static str,
    /// Its bundle.
    pub bundle: PathBuf,
    rootfs: PathBuf,
    /// When it was created.
    pub created: String,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    annotations: std::collections::BTreeMap<String, String>,
    /// The name of the user who created it.
    pub owner: String,
}

/// What is recorded of a container, as it was read when an operation began.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) observer: Arc<dyn Observer>,
    pub(super) id: ContainerId,
    pub(super) directory: Arc<StateDirectory>,
    pub(super) record: Option<Arc<Record>>,
    pub(super) damage: Option<DamagedRecord>,
}

impl Known {
    /// Reads the record.
    pub(super) fn read(
        observer: &Arc<dyn Observer>,
        id: &ContainerId,
        directory: &Arc<StateDirectory>,
    ) -> Result<Self, Error> {
        let (record, damage) = directory.load()?;
        let record = record.map(Arc::new);
        Ok(Self {
            observer: observer.clone(),
            id: id.clone(),
            directory: Arc::clone(directory),
            record,
            damage,
        })
    }

    pub(super) fn emit(&self, event: &Event<'_>) {
        self.observer.observe(&self.id, event);
    }

    /// Tells of what the policy has decided, if it has decided anything.
    pub(super) fn emit_verdicts(&self, verdicts: &[Verdict]) {
        if !verdicts.is_empty() {
            self.emit(&Event::Judged(verdicts));
        }
    }

    /// Tells of something that an operation goes on without.
    pub(super) fn warn(&self, words: &str) {
        self.emit(&Event::Warned(words));
    }

    pub(super) fn missing(id: &ContainerId) -> Error {
        Error::plain(format!("container {:?} does not exist", id.as_str()))
            .of_kind(Kind::NotFound)
            .with_hint(
                "look at the list of containers: they may be kept below another root directory",
            )
    }

    /// That its status does not allow what is asked for. `what` has runc's words, which engines look for.
    pub(super) fn wrong_state(&self, what: &str) -> Error {
        Error::plain(format!("container {:?}: {what}", self.id.as_str())).of_kind(Kind::WrongState)
    }

    /// Whether there is nothing: it has been removed, or brig was killed before it could record it.
    pub(super) fn is_unrecorded(&self) -> bool {
        self.record.is_none() && self.damage.is_none()
    }

    /// Reads the record again: it may have changed while somebody else held the lock.
    pub(super) fn reload(&mut self, _lock: &Lock) -> Result<(), Error> {
        *self = Self::read(&self.observer, &self.id, &self.directory)?;
        Ok(())
    }

    /// Its record.
    pub(super) fn record(&self) -> Result<&Record, Error> {
        self.record.as_deref().ok_or_else(|| match &self.damage {
            Some(damage) => damage.error(),
            None => Error::plain(format!(
                "container {:?} is incomplete: create was interrupted",
                self.id.as_str()
            ))
            .of_kind(Kind::Damaged)
            .with_hint("a forced delete removes what is left of it"),
        })
    }

    /// Its specification, as it was at create.
    pub(super) fn spec(&self) -> Result<&Hardened, Error> {
        self.directory.config().map(|config| &config.spec)
    }

    /// Its cgroup.
    pub(super) fn cgroup(&self) -> Result<Cgroup, Error> {
        self.made_cgroup()?.ok_or_else(|| {
            Error::plain(format!("container {:?} has no cgroup yet", self.id.as_str()))
                .of_kind(Kind::WrongState)
                .with_hint("wait until it is created; if create was killed, delete it by force")
        })
    }

    /// The same; `None` before it is made. Nothing can be in it then.
    pub(super) fn made_cgroup(&self) -> Result<Option<Cgroup>, Error> {
        Ok(self.record()?.cgroup.as_ref().map(Cgroup::open).transpose()?)
    }

    /// A descriptor of its first process; `None` before there is one, and once it has ended.
    pub(super) fn init(&self) -> Result<Option<OwnedFd>, Error> {
        self.recorded_process().map_or(Ok(None), |process| self.open(process))
    }

    /// A descriptor of a process that is on record; `None` once it has ended.
    pub(super) fn open(&self, process: &RecordedProcess) -> Result<Option<OwnedFd>, Error> {
        process.open().map_err(|unknown| self.unknown(process, unknown))
    }

    fn recorded_process(&self) -> Option<&RecordedProcess> {
        let process = self.record.as_ref().and_then(|record| record.process.as_ref());
        process.or(self.damage.as_ref().and_then(|damage| damage.process.as_ref()))
    }

    /// That its processes have pids here: a cgroup lists none of those that have not.
    pub(super) fn must_be_visible(&self) -> Result<(), Error> {
        let Some(process) = self.recorded_process() else { return Ok(()) };
        process.must_be_findable().map_err(|unknown| self.unknown(process, unknown))
    }

    fn unknown(&self, process: &RecordedProcess, unknown: Unknown) -> Error {
        let (id, pid) = (self.id.as_str(), process.pid);
        match unknown {
                Unknown::System(error) => {
                    Error::system(format!("looking for process {pid} of container {id:?}"), error)
                        .with_hint("brig needs all of the kernel's /proc, and a free descriptor")
                }
                Unknown::Elsewhere => Error::plain(format!(
                    "container {id:?} was created in another pid namespace: whether its process {pid} runs cannot be determined"
                ))
                .with_hint(
                    format!(
                "call brig where the container was created (on the host, or in the same container); if that pid namespace \
                 has ended, so has the container: remove {}, and delete it by force",
                self.directory.path().join(PROCESS).display()
            ),
                ),
            }
    }

    /// Its status now.
    pub(super) fn status(&self) -> Result<Status, Error> {
        self.status_where(|| self.directory.is_being_made())
    }

    /// The same for the holder of its lock: nobody is making it then.
    pub(super) fn status_under(&self, _lock: &Lock) -> Result<Status, Error> {
        self.status_where(|| Ok(false))
    }

    fn status_where(
        &self,
        is_being_made: impl Fn() -> Result<bool, Error>,
    ) -> Result<Status, Error> {
        if let Some(damage) = &self.damage {
            return Err(damage.error());
        }
        let ended = self.init()?.is_none();
        let unborn = self.record.as_ref().is_none_or(|record| record.process.is_none());
        if (!ended || unborn) && is_being_made()? {
            return Ok(Status::Creating);
        }
        if ended && !self.runs_unrecorded()? {
            return Ok(Status::Stopped);
        }
        // Before the gate: a frozen process would not hear a start.
        if self.is_frozen()? {
            return Ok(Status::Paused);
        }
        let closed = gate::is_closed(&self.directory)?;
        Ok(if closed { Status::Created } else { Status::Running })
    }

    /// Whether its program may run although no record says so: the brig that ran it was killed before it could record
    /// the process, which the cgroup holds.
    fn runs_unrecorded(&self) -> Result<bool, Error> {
        let unborn = self.record.as_ref().is_some_and(|record| record.process.is_none());
        Ok(unborn && !gate::is_closed(&self.directory)? && !self.pids()?.is_empty())
    }

    /// False where nothing can freeze it (a rootless container on cgroup v1).
    fn is_frozen(&self) -> Result<bool, Error> {
        let Some(cgroup) = self.made_cgroup()? else { return Ok(false) };
        match cgroup.is_frozen() {
            Err(error) if is_gone(&error) || error.is_unsupported() => Ok(false),
            answer => Ok(answer?),
        }
    }

    /// What `state` prints.
    pub(super) fn show(&self) -> Result<Shown, Error> {
        let status = self.status()?;
        if status == Status::Creating && self.record.is_none() {
            return Err(Error::plain(format!("container {:?} is being made", self.id.as_str()))
                .of_kind(Kind::WrongState));
        }
        let record = self.record()?;
        let running = status != Status::Stopped;
        Ok(Shown {
            oci_version: record.oci_version.clone(),
            id: record.id.clone(),
            pid: record.process.as_ref().filter(|_| running).map_or(0, |process| process.pid),
            status: status.name(),
            bundle: record.bundle.clone(),
            rootfs: record.rootfs.clone(),
            created: record.created.clone(),
            annotations: record.annotations.clone(),
            owner: user_name(record.owner),
        })
    }

    /// Sends `signal` to its first process, or with `all` to every process of its cgroup.
    pub(super) fn kill(&self, signal: i32, all: bool) -> Result<(), Error> {
        if all {
            self.must_be_visible()?;
            let Some(cgroup) = self.made_cgroup()? else { return Ok(()) };
            if cgroup.paths().is_empty() {
                return self.kill_without_cgroup(signal);
            }
            return match signal {
                // Those too that are forked meanwhile.
                libc::SIGKILL => Ok(cgroup.kill().map(drop)?),
                _ => Ok(cgroup.signal_all(signal)?),
            };
        }
        let Some(init) = self.init()? else {
            return self.kill_survivors(signal);
        };
        if signal == libc::SIGKILL && self.kill_scattered(&init)? {
            return Ok(());
        }
        // Asked before: a brig that waits for the process removes the container after its end.
        let outlived = signal == libc::SIGKILL && self.may_outlive_init();
        let doing = || format!("sending signal {signal} to container {:?}", self.id.as_str());
        send_signal(&init, signal).map_err(|error| Error::system(doing(), error))?;
        if signal == libc::SIGKILL
            && (outlived || self.record.is_some())
            && let Some(cgroup) = self.made_cgroup()?
            // No process ends with the first one, or the first one does not: the cgroup says which are the
            // container's.
            && (outlived || cgroup.blocks_kill()?)
        {
            cgroup.kill()?;
        }
        Ok(())
    }

    /// Whether processes may outlive its first one: where the pid namespace is not its own, or where a damaged
    /// configuration does not say.
    fn may_outlive_init(&self) -> bool {
        self.spec().map_or(true, |spec| !has_own_pid_namespace(spec))
    }

    /// A signal for all processes of a container that has no cgroup.
    fn kill_without_cgroup(&self, signal: i32) -> Result<(), Error> {
        if signal == libc::SIGKILL {
            return self.kill(signal, false);
        }
        let id = self.id.as_str();
        let what = format!("container {id:?} has no cgroup: its processes cannot be enumerated");
        Err(Error::plain(what).with_hint("a signal can be sent only to its first process"))
    }

    /// Whether nothing holds its processes together: no cgroup, and no pid namespace of its own.
    pub(super) fn is_scattered(&self) -> Result<bool, Error> {
        let cgroup = if self.record.is_some() { self.made_cgroup()? } else { None };
        Ok(cgroup.is_some_and(|cgroup| cgroup.paths().is_empty()) && self.may_outlive_init())
    }

    /// Kills `init`, its first process, and what is found of a container of which [`Known::is_scattered`] holds;
    /// false for another.
    pub(super) fn kill_scattered(&self, init: &OwnedFd) -> Result<bool, Error> {
        let process = self.record.as_ref().and_then(|record| record.process.as_ref());
        let Some(process) = process.filter(|_| self.spec().is_ok_and(has_own_mounts)) else {
            return Ok(false);
        };
        if !self.is_scattered()? {
            return Ok(false);
        }
        self.kill_sharing_mounts(process.pid, init)?;
        Ok(true)
    }

    /// The pids of the processes that share the first one's mount namespace, sorted; none when that one has ended.
    pub(super) fn pids_without_cgroup(&self) -> Result<Vec<i32>, Error> {
        let process = self.record.as_ref().and_then(|record| record.process.as_ref());
        let Some((process, init)) = process.zip(self.init()?) else { return Ok(Vec::new()) };
        members::pids(process.pid, &init).map_err(|error| {
            let id = self.id.as_str();
            Error::system(format!("looking for the processes of container {id:?}"), error)
                .with_hint("it has no cgroup, so they are searched for in /proc; try again")
        })
    }

    pub(super) fn kill_sharing_mounts(&self, pid: i32, process: &OwnedFd) -> Result<(), Error> {
        members::kill(pid, process).map_err(|error| {
            let id = self.id.as_str();
            Error::system(format!("killing the processes of container {id:?}"), error)
                .with_hint("it has no cgroup, so they are searched for in /proc; try again")
        })
    }

    fn kill_survivors(&self, signal: i32) -> Result<(), Error> {
        let unrecorded = self.runs_unrecorded()?;
        if signal == libc::SIGKILL
            && (self.record.is_some() || self.damage.is_some())
            && (self.damage.is_some() || unrecorded || self.may_outlive_init())
            && let Some(cgroup) = self.made_cgroup()?
            && cgroup.kill()?
        {
            return Ok(());
        }
        if unrecorded {
            let what = "the first process is not known: brig was killed before it could record it";
            return Err(Error::plain(what)
                .with_hint("KILL, and a signal to all, reach all that is in the cgroup"));
        }
        Err(self.not("running", Status::Stopped))
    }
}

/// Whether a cgroup, or a file of it, is not there any more.
pub(super) fn is_gone(error: &brig_cgroup::Error) -> bool {
    matches!(error.errno(), Some(libc::ENOENT | libc::ENODEV))
}

fn has_own_pid_namespace(spec: &Hardened) -> bool {
    let pids = spec.linux.namespace(NamespaceType::Pid);
    pids.is_some_and(|namespace| namespace.path.is_none())
}

pub(super) fn has_own_mounts(spec: &Hardened) -> bool {
    let mounts = spec.linux.namespace(NamespaceType::Mount);
    mounts.is_some_and(|namespace| namespace.path.is_none())
}

fn user_name(uid: u32) -> String {
    match nix::unistd::User::from_uid(uid.into()) {
        Ok(Some(user)) => user.name,
        _ => String::new(),
    }
}
