//! Until when something is waited for: every wait of brig gets one from its caller, or a
//! [`Wait`](crate::execute::Wait). docs/architecture.md has the table of all waits.

use std::time::{Duration, Instant};

use rustix::event::Timespec;

/// How long the end of a process is waited for that was killed: it may have much memory to give back, and a process
/// of the container may keep it from ending.
pub const AFTER_KILL: Duration = Duration::from_secs(10);

/// How long others are waited for: a brig that works on the same container, a program that is to take a connection.
pub const OF_OTHERS: Duration = Duration::from_secs(10);

/// A moment after which nothing is waited for any more, or none.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// A wait that only its event ends.
    pub const NEVER: Self = Self(None);

    /// So long from now. What does not fit into an `Instant` is never.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now().checked_add(limit))
    }

    /// The earlier of the two.
    #[must_use]
    pub fn or_before(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(two)) => Self(Some(one.min(two))),
            (one, two) => Self(one.or(two)),
        }
    }

    /// Whether it has passed.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.0.is_some_and(|moment| Instant::now() >= moment)
    }

    /// What is left, as poll(2) takes it: `None` without a limit.
    #[must_use]
    pub fn left(self) -> Option<Timespec> {
        let left = self.0?.saturating_duration_since(Instant::now());
        Timespec::try_from(left).ok()
    }
}
