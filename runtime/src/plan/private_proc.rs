//! A procfs that is attached nowhere, so that nobody else can reach it: what is written there, and read back,
//! is the kernel's, whatever the container has mounted on its own /proc (CVE-2019-16884, CVE-2019-19921).

use brig_child::Slot;
use brig_child::flags::open;
use brig_child::op::{FileOp, MountOp};

use super::Refusal;
use super::build::Builder;

/// How its files are found: below it, over no link and no mount.
const RESOLVE: u64 = open::BENEATH | open::NO_MAGICLINKS | open::NO_XDEV;

/// The procfs, made when it is first needed.
#[derive(Debug, Default)]
pub(super) struct PrivateProc(Option<Slot>);

impl PrivateProc {
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
        *self.0.get_or_insert_with(|| {
            let into = builder.made("private proc");
            builder.push(MountOp::Fsmount { kind: c"proc", options: &[], attrs: 0, into });
            into
        })
    }
}
