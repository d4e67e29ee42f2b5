//! `linux.seccomp.listenerPath`: the agent that answers the system calls that the filter reports, and what it
//! is told about the process (config-linux.md, "The Container Process State").
//!
//! The child sends the listener itself, since only it has it; the text that goes with it is in a
//! file that the supervisor fills as soon as the pid is known.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use brig_pseudofs::identity::Identity;
use rustix::fs::{Mode as FileMode, OFlags, open, stat};

use serde::Serialize;

use super::record::Record;
use super::state::{self, OciState};
use super::{Error, Status};
use crate::deadline::{Deadline, OF_OTHERS};
use crate::execute::Inputs;
use crate::filter::Filter;
use crate::plan::{Plan, SlotUse};
use crate::policy::{self, ChosenProfile, Verdict};
use crate::unix_socket::connect_to;

/// What one message from the child can hold (`PrivilegeOp::Seccomp` of brig-child).
const STATE_LIMIT_BYTES: usize = 16 << 10;

/// The flags of sendmsg(2) with which the container's process hands over its listener: a filter
/// that reports sendmsg must let these pass, as nobody could answer yet.
pub const HANDOVER_FLAGS: u32 = brig_child::syscall::HANDOVER_FLAGS.cast_unsigned();

/// The file for the state that the agent is sent.
#[derive(Debug)]
pub(super) struct SeccompAgent {
    file: File,
    /// What the policy has recorded of its socket.
    pub(super) verdicts: Vec<Verdict>,
}

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
        profile: &ChosenProfile,
        inputs: &mut Inputs,
    ) -> Result<Option<Self>, Error> {
        if !plan.slots.contains(&SlotUse::SeccompListener) {
            return Ok(None);
        }
        let (file, copy) = state::file_for("the seccomp agent")?;
        let (socket, verdicts) = match watcher {
            Some(watcher) => (watcher, Vec::new()),
            None => connect_socket(filter, profile)?,
        };
        inputs.seccomp_listener = Some(socket);
        inputs.seccomp_state = Some(copy);
        Ok(Some(Self { file, verdicts }))
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
        self.file.write_all_at(&text, 0).map_err(|error| Error::system(doing, error))
    }
}

/// The socket that the rule judges is the one that is connected to, whatever its path leads to by then.
fn connect_socket(
    filter: Option<&Filter>,
    profile: &ChosenProfile,
) -> Result<(OwnedFd, Vec<Verdict>), Error> {
    let field = "linux.seccomp.listenerPath";
    let path = filter
        .and_then(|filter| filter.listener_path.as_ref())
        .filter(|path| !path.as_os_str().is_empty())
        .ok_or_else(|| {
            Error::plain(format!("{field} is missing: SCMP_ACT_NOTIFY requires it"))
                .with_hint("set it to the socket of the seccomp agent")
        })?;
    let failed = |error: io::Error| {
        Error::system(format!("{field}: connecting to {}", path.display()), error)
            .with_hint("the seccomp agent must listen there already, and take connections")
    };
    let deadline = Deadline::after(OF_OTHERS);
    if !profile.has(|rules| rules.seccomp_listener.mode) {
        return Ok((connect_to(path, deadline).map_err(failed)?, Vec::new()));
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let place = open(path, flags, FileMode::empty()).map_err(|errno| failed(errno.into()))?;
    let own = Identity::of(&place).map_err(|errno| failed(errno.into()))?;
    let is_own = |path: &String| stat(&**path).is_ok_and(|stat| Identity::from(&stat) == own);
    let is_listed = |rule: &policy::SeccompListener| rule.allow.iter().flatten().any(is_own);
    let verdicts = policy::judge_listener(&path.to_string_lossy(), is_listed, profile)?;
    let through = format!("/proc/self/fd/{}", place.as_raw_fd());
    Ok((connect_to(Path::new(&through), deadline).map_err(failed)?, verdicts))
}
