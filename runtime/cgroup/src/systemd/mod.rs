//! The systemd driver: the container as a transient scope unit. cgroup v2 only.
//!
//! systemd owns the tree, and makes a scope around a process that exists. So the
//! launcher clones the child, which waits; [`start`] makes the scope with that process
//! in it; then brig writes the limits into the delegated directory, as the fs driver
//! does. Later processes (exec) are cloned straight into the scope's directory.
//!
//! Must never: decide a name or a property; both are planned.
//! Reference: org.freedesktop.systemd1(5), <https://systemd.io/CGROUP_DELEGATION>.

mod connection;
mod error;
mod message;
mod peer;

use serde::{Deserialize, Serialize};

use super::apply::Cgroup;
use super::node::CgroupNode;
use super::plan::properties::Property;
use super::plan::{Directory, Scope};
use connection::Connection;

pub use error::Error;

/// A message from the bus is refused, or has no part outside of it.
#[cfg(any(feature = "fuzz", fuzzing))]
pub fn fuzz_message(bytes: &[u8]) {
    let header = bytes.first_chunk();
    if let Some(total) = header.and_then(message::total_bytes) {
        assert!((message::FIXED_HEADER_BYTES..=message::MAX_MESSAGE_BYTES).contains(&total));
    }
    if let Some(message) = message::Message::decode(bytes) {
        assert!(message.body.len() <= bytes.len() - message::FIXED_HEADER_BYTES);
        let parts = [message.text(), message.removed_job().map(|(job, _)| job)];
        assert!(parts.iter().flatten().all(|part| part.len() < message.body.len()));
        assert!(message.variant_bytes().is_none_or(|bytes| bytes.len() < message.body.len()));
    }
}

/// Whether the bytes are one whole message.
#[cfg(any(feature = "fuzz", fuzzing))]
pub fn is_message(bytes: &[u8]) -> bool {
    bytes.first_chunk().and_then(message::total_bytes) == Some(bytes.len())
        && message::Message::decode(bytes).is_some()
}

/// A scope that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// As it was planned.
    pub scope: Scope,
    /// What tells it from others that have had, or will have, its name: `InvocationID` of
    /// org.freedesktop.systemd1(5), in hexadecimal.
    pub invocation: String,
}

impl Unit {
    /// Whether the unit that has the name now is this one.
    fn runs(&self, connection: &mut Connection) -> Result<bool, Error> {
        match connection.invocation(&self.scope.unit) {
            Err(error) if error.is("NoSuchUnit") || error.is("UnknownObject") => Ok(false),
            answer => Ok(answer? == self.invocation),
        }
    }
}

/// Starts the scope, with `properties`.
pub(crate) fn start(scope: Scope, properties: &[Property]) -> Result<Unit, Error> {
    let mut connection = Connection::open(&scope)?;
    match connection.start(&scope.unit, properties) {
        // What is left of a unit that failed before.
        Err(error) if error.is("UnitExists") => {
            connection.reset_failed(&scope.unit)?;
            connection.start(&scope.unit, properties)?;
        }
        result => result?,
    }
    let invocation = connection.invocation(&scope.unit)?;
    Ok(Unit { scope, invocation })
}

/// The directory of the scope, which must hold process `pid`: a limit in a directory without
/// processes would bind nobody, and one with others is not the scope's.
pub(crate) fn member(
    scope: &Scope,
    directory: &Directory,
    pid: i32,
) -> Result<CgroupNode, super::Error> {
    let elsewhere = || {
        let (unit, path) = (scope.unit.clone(), directory.absolute());
        super::Error::Systemd(Error::Elsewhere { unit, path })
    };
    let absent = |error: super::Error| match error.errno() {
        Some(libc::ENOENT) => elsewhere(),
        _ => error,
    };
    let node = CgroupNode::now(directory, false).map_err(absent)?;
    let members = node.read("cgroup.procs").map_err(absent)?;
    let pid = pid.to_string();
    if members.lines().any(|line| line == pid) { Ok(node) } else { Err(elsewhere()) }
}

/// Changes properties of the unit, if there are any to change.
pub(crate) fn update(unit: &Unit, changed: &[Property]) -> Result<(), Error> {
    if changed.is_empty() {
        return Ok(());
    }
    let mut connection = Connection::open(&unit.scope)?;
    match unit.runs(&mut connection)? {
        true => connection.set(&unit.scope.unit, changed),
        false => Err(Error::Another { unit: unit.scope.unit.clone() }),
    }
}

/// Stops the scope of `cgroup`, which is empty. A scope goes away with its last process,
/// so that usually nothing is to be done.
pub(crate) fn stop(cgroup: &Cgroup, unit: &Unit) -> Result<(), Error> {
    // Where that cannot be known systemd is asked, and knows the unit.
    if !cgroup.nodes.iter().any(|node| node.is_there().unwrap_or(true)) {
        return Ok(());
    }
    let mut connection = Connection::open(&unit.scope)?;
    if !unit.runs(&mut connection)? {
        return Ok(());
    }
    match connection.stop(&unit.scope.unit) {
        Err(error) if error.is("NoSuchUnit") => Ok(()),
        result => result,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
