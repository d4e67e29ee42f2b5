//! How long a state of a cgroup is waited for that no event tells of.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Error;
use super::node::CgroupNode;

const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A pause that doubles, up to a deadline.
pub(crate) struct Patience {
    start: Instant,
    limit: Duration,
    pause: Duration,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Patience {
        Patience { start: Instant::now(), limit, pause: FIRST_PAUSE }
    }

    /// Sleeps; false when the time is up.
    pub(crate) fn wait(&mut self) -> bool {
        if self.is_over() {
            return false;
        }
        sleep(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }

    pub(crate) fn is_over(&self) -> bool {
        self.start.elapsed() >= self.limit
    }

    /// What is left of it.
    pub(crate) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.start.elapsed())
    }

    /// That the time is up, and `node` is not in this state.
    pub(crate) fn error(&self, node: &CgroupNode, state: &'static str) -> Error {
        let waited_ms = u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX);
        Error::Timeout { path: node.path.clone(), state, waited_ms }
    }
}
