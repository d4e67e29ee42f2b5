//! Operations that talk with the supervisor.

use super::Slot;
use crate::report::ReportKind;

/// Talks with the supervisor. The barriers are here: an operation that waits for an answer.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the fields are the arguments of the system call that is named")]
pub enum TalkOp {
    /// Sends a report of this kind.
    Tell { kind: ReportKind },
    /// Waits for one byte from the supervisor; its end ends the child.
    Await,
    /// Waits for a connection on this socket and a byte on it; failures are reported there from now on.
    Gate { listener: Slot },
}

impl TalkOp {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Tell { .. } => "tell",
            Self::Await => "await",
            Self::Gate { .. } => "start gate",
        }
    }
}
