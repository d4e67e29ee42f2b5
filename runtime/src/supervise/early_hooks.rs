//! Hooks while a container is created: those of the runtime namespace are run here, and those that the container's
//! process runs get the state in a file.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use brig_pseudofs::small_file;

use super::record::Record;
use super::state::{self, OciState};
use super::{Error, Status};
use crate::execute::{HookStage, Inputs, run_hooks};
use crate::hook_programs::HookPrograms;
use crate::plan::{Plan, SlotUse};
use crate::spec::{Config, NamespaceType};

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

    /// With the pid as the container sees it (runtime.md, "State").
    fn write(&mut self, record: &Record, spec: &Config) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let pid =
            record.process.as_ref().map(|process| pid_inside(spec, process.pid)).transpose()?;
        for (status, file) in &mut self.0 {
            file.write_all(&OciState::of(record, *status).with_pid(pid).to_json())
                .map_err(|error| Error::system("writing the state", error))?;
        }
        Ok(())
    }
}

/// Writes the state for the hooks that run later, and runs those of prestart and createRuntime.
pub(super) fn run(
    spec: &Config,
    record: &Record,
    states: &mut StateFiles,
    programs: &HookPrograms,
    stop: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    states.write(record, spec)?;
    let hooks = &spec.hooks;
    let state = OciState::of(record, Status::Creating).to_json();
    let run = |stage, hooks| run_hooks(stage, hooks, programs, &record.bundle, &state, stop);
    run(HookStage::Prestart, &hooks.prestart)?;
    run(HookStage::CreateRuntime, &hooks.create_runtime)
}

/// The pid of the container's process, which is `pid` here, in its own pid namespace.
fn pid_inside(spec: &Config, pid: i32) -> Result<i32, Error> {
    let Some(namespace) = spec.linux.namespace(NamespaceType::Pid) else { return Ok(pid) };
    if namespace.path.is_none() {
        return Ok(1);
    }
    let failed =
        |error| Error::system(format!("looking at the pid of process {pid} inside"), error);
    let status = small_file::read_text(format!("/proc/{pid}/status")).map_err(failed)?;
    last_pid(&status).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))
}

/// The innermost of the pids that proc_pid_status(5) lists.
fn last_pid(status: &str) -> Option<i32> {
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    pids.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::last_pid;

    #[test]
    fn the_innermost_pid_is_the_last() {
        assert_eq!(last_pid("Name:\tx\nNSpid:\t4711\t12\t7\nNSsid:\t1\n"), Some(7));
        assert_eq!(last_pid("Name:\tx\n"), None);
    }
}
