//! `linux.seccomp.listenerPath`: the agent that answers the system calls that the filter reports, and what it
//! is told about the process (config-linux.md, "The Container Process State").
//!
//! The child sends the listener itself, since only it has it; the text that goes with it is in a
//! file that the supervisor fills as soon as the pid is known.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use serde::Serialize;

use super::record::Record;
use super::state::{self, OciState};
use super::{Error, Status};
use crate::deadline::{Deadline, OF_OTHERS};
use crate::execute::Inputs;
use crate::filter::Filter;
use crate::plan::{Plan, SlotUse};
use crate::unix_socket::connect_to;

/// What one message from the child can hold (`PrivilegeOp::Seccomp` of brig-child).
const STATE_LIMIT_BYTES: usize = 16 << 10;

/// The flags of sendmsg(2) with which the container's process hands over its listener: a filter
/// that reports sendmsg must let these pass, as nobody could answer yet.
pub const HANDOVER_FLAGS: u32 = brig_child::syscall::HANDOVER_FLAGS.cast_unsigned();

/// The file for the state that the agent is sent.
#[derive(Debug)]
pub(super) struct SeccompAgent(File);

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'r> {
    oci_version: &'r str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'r str>,
    state: OciState<'r>,
}

impl SeccompAgent {
    /// Connects to the agent, where the filter of `plan` notifies one: `watcher`, if there is
    /// one, else the socket that the specification names.
    pub(super) fn connect(
        filter: Option<&Filter>,
        plan: &Plan<'_>,
        watcher: Option<OwnedFd>,
        inputs: &mut Inputs,
    ) -> Result<Option<Self>, Error> {
        if !plan.slots.contains(&SlotUse::SeccompListener) {
            return Ok(None);
        }
        let (file, copy) = state::file_for("the seccomp agent")?;
        inputs.seccomp_listener = Some(match watcher {
            Some(watcher) => watcher,
            None => connect_socket(filter)?,
        });
        inputs.seccomp_state = Some(copy);
        Ok(Some(Self(file)))
    }

    /// Sends the state of the process, which goes with the listener.
    pub(super) fn send(
        &self,
        filter: Option<&Filter>,
        record: &Record,
        status: Status,
        pid: i32,
    ) -> Result<(), Error> {
        let metadata = filter.and_then(|filter| filter.listener_metadata.as_deref());
        let state = ProcessState {
            oci_version: &record.oci_version,
            fds: [oci_spec::runtime::SECCOMP_FD_NAME],
            pid,
            metadata: metadata.filter(|text| !text.is_empty()),
            state: OciState::of(record, status),
        };
        let doing = "writing the state for the seccomp agent";
        let text = serde_json::to_vec(&state).map_err(|error| Error::because(doing, error))?;
        if text.len() > STATE_LIMIT_BYTES {
            return Err(Error::plain(format!(
                "linux.seccomp.listenerMetadata: the state for the seccomp agent has {} bytes, more than {STATE_LIMIT_BYTES}",
                text.len()
            ))
            .with_hint("shorten it, or the annotations, which are part of the state"));
        }
        // Not through the file's position, which the child reads from.
        self.0.write_all_at(&text, 0).map_err(|error| Error::system(doing, error))
    }
}

fn connect_socket(filter: Option<&Filter>) -> Result<OwnedFd, Error> {
    let field = "linux.seccomp.listenerPath";
    let path = filter
        .and_then(|filter| filter.listener_path.as_ref())
        .filter(|path| !path.as_os_str().is_empty())
        .ok_or_else(|| {
            Error::plain(format!("{field} is missing: SCMP_ACT_NOTIFY requires it"))
                .with_hint("set it to the socket of the seccomp agent")
        })?;
    connect_to(path, Deadline::after(OF_OTHERS)).map_err(|error| {
        Error::system(format!("{field}: connecting to {}", path.display()), error)
            .with_hint("the seccomp agent must listen there already, and take connections")
    })
}
