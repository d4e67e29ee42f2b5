//! A procfs that the container has no hand in: what is written there, and read back, is the kernel's, whatever the
//! container has mounted on its own /proc (CVE-2019-16884, CVE-2019-19921).
//!
//! Where the kernel lets the process mount one, it is one that is attached nowhere, so that nobody else can reach it.
//! It does not where the pid namespace is the caller's and belongs to another user namespace than the process's: then it
//! is the caller's own, opened before the process enters anything. No mount on it is followed in either.

use brig_child::Slot;
use brig_child::flags::{namespace, open};
use brig_child::op::{FileOp, MountOp};

use super::build::{Builder, SlotUse};
use super::namespaces::Namespaces;
use super::{HostFacts, Refusal};
use crate::caller::Caller;

/// How its files are found: below it, over no link and no mount.
const RESOLVE: u64 = open::BENEATH | open::NO_MAGICLINKS | open::NO_XDEV;

/// The procfs, made when it is first needed.
#[derive(Debug)]
pub(super) struct PrivateProc {
    is_callers: bool,
    slot: Option<Slot>,
}

impl PrivateProc {
    /// That of a process in these namespaces.
    pub(super) fn of(namespaces: &Namespaces, host: &HostFacts) -> Self {
        let shares_pids = !namespaces.has(namespace::PID);
        let owns_none = host.caller != Caller::Root || namespaces.has(namespace::USER);
        Self { is_callers: shares_pids && owns_none, slot: None }
    }

    /// What has to be kept for it, where all else is closed before the process enters its namespaces.
    pub(super) fn kept(&mut self, builder: &mut Builder<'_>) -> Option<Slot> {
        self.is_callers.then(|| self.slot(builder))
    }

    /// Writes a file.
    pub(super) fn write(
        &mut self,
        builder: &mut Builder<'_>,
        path: &str,
        data: &str,
    ) -> Result<(), Refusal> {
        let dir = self.slot(builder);
        let (path, data) = (builder.text(path)?, builder.bytes(data));
        builder.push(FileOp::WriteFile { dir, path, resolve: RESOLVE, data });
        Ok(())
    }

    /// Compares what a file holds.
    pub(super) fn verify(
        &mut self,
        builder: &mut Builder<'_>,
        path: &str,
        expected: &str,
    ) -> Result<(), Refusal> {
        let dir = self.slot(builder);
        let (path, expected) = (builder.text(path)?, builder.bytes(expected));
        builder.push(FileOp::VerifyFile { dir, path, resolve: RESOLVE, expected });
        Ok(())
    }

    fn slot(&mut self, builder: &mut Builder<'_>) -> Slot {
        *self.slot.get_or_insert_with(|| {
            if self.is_callers {
                return builder.input(SlotUse::CallersProc);
            }
            let into = builder.made("private proc");
            builder.push(MountOp::Fsmount { kind: c"proc", options: &[], attrs: 0, into });
            into
        })
    }
}
