//! Hooks while a container is created: those of the runtime namespace are run here, and those that the container's
//! process runs get the state in a file.

use std::fs::File;
use std::io::Write;
use std::os::fd::BorrowedFd;

use super::record::Record;
use super::state::{self, OciState};
use super::{Error, Status};
use crate::execute::{HookStage, Inputs, run_hooks};
use crate::plan::{Plan, SlotUse};
use crate::spec::Hooks;

/// Files with the container's state, each at its moment of life.
#[derive(Debug, Default)]
pub(super) struct StateFiles(Vec<(Status, File)>);

impl StateFiles {
    /// Makes those that the hooks of `plan` read; they are empty so far.
    pub(super) fn make(plan: &Plan<'_>, inputs: &mut Inputs) -> Result<Self, Error> {
        let mut files = Self::default();
        let wanted = [
            (SlotUse::State, Status::Creating, &mut inputs.state),
            (SlotUse::CreatedState, Status::Created, &mut inputs.created_state),
        ];
        for (slot, status, input) in wanted {
            if plan.slots.contains(&slot) {
                let (file, copy) = state::file_for("hooks")?;
                *input = Some(copy);
                files.0.push((status, file));
            }
        }
        Ok(files)
    }

    fn write(&mut self, record: &Record) -> Result<(), Error> {
        for (status, file) in &mut self.0 {
            file.write_all(&OciState::of(record, *status).to_json())
                .map_err(|error| Error::system("writing the state", error))?;
        }
        Ok(())
    }
}

/// Writes the state for the hooks that run later, and runs those of prestart and createRuntime.
pub(super) fn run(
    hooks: &Hooks,
    record: &Record,
    states: &mut StateFiles,
    stop: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    states.write(record)?;
    let state = OciState::of(record, Status::Creating).to_json();
    run_hooks(HookStage::Prestart, &hooks.prestart, &state, stop)?;
    run_hooks(HookStage::CreateRuntime, &hooks.create_runtime, &state, stop)
}
