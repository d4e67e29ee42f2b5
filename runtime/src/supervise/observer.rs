//! Who hears of what happens to containers.

use std::fmt;

use brig_cgroup::CgroupPlan;

use super::Error;
use crate::execute::Exit;
use crate::plan::Plan;
use crate::policy::{Denial, Verdict};
use crate::spec::ContainerId;

/// Hears what happens to containers, from whichever thread it happens in. It must not wait: the operation does meanwhile.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Something has happened to container `id`.
    fn observe(&self, id: &ContainerId, event: &Event<'_>);
}

/// What has happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// What is to be made is decided, and its cgroup is there, but for systemd's.
    Planned {
        /// All that its first process does between clone3 and execve.
        plan: &'e Plan<'e>,
        /// The cgroup.
        cgroup: &'e CgroupPlan,
    },
    /// Its first process is there, recorded, and is being set up.
    Born {
        /// Its pid in brig's pid namespace.
        pid: i32,
    },
    /// Its program runs.
    Started,
    /// Its memory has run out; told to who watches it ([`watch`](super::Container::watch)).
    OutOfMemory,
    /// A process that this brig has started in it has ended; told when [`try_wait`](super::Process::try_wait) tells it.
    Exited {
        /// Its pid in brig's pid namespace.
        pid: i32,
        /// How.
        exit: Exit,
    },
    /// What the node's policy does not grant as it was asked for; at least one.
    Judged(&'e [Verdict]),
    /// What was asked for is refused by the node's policy: the operation fails with it.
    Denied(&'e Denial),
    /// An operation has gone on without something, in words for people.
    Warned(&'e str),
}

/// Nobody hears.
#[derive(Debug)]
pub(super) struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _: &ContainerId, _: &Event<'_>) {}
}

/// The same result, of whose denial `observer` has heard.
pub(super) fn told<T>(
    observer: &dyn Observer,
    id: &ContainerId,
    result: Result<T, Error>,
) -> Result<T, Error> {
    if let Err(error) = &result
        && let Some(denial) = error.denial()
    {
        observer.observe(id, &Event::Denied(denial));
    }
    result
}
