//! What a hook says: read while it runs, so that it never waits for a reader, and the end of it kept for the failure report.

use crate::report::Report;
use crate::syscall::{self, Answer};

const HALF: usize = Report::SAID_MAX / 2;

/// The last bytes that somebody said: what is read goes into one half, and once that is full takes the place of the other.
pub(crate) struct Said {
    older: [u8; HALF],
    newer: [u8; HALF],
    older_length: usize,
    newer_length: usize,
}

impl Said {
    pub(crate) const NOTHING: Self =
        Self { older: [0; HALF], newer: [0; HALF], older_length: 0, newer_length: 0 };

    /// Reads some of what is there; false at the end.
    pub(crate) fn read(&mut self, fd: i32) -> Answer<bool> {
        if self.newer_length >= HALF {
            (self.older, self.older_length) = (self.newer, self.newer_length);
            self.newer_length = 0;
        }
        let Some(room) = self.newer.get_mut(self.newer_length..) else { return Ok(false) };
        let count = syscall::read(fd, room)?;
        self.newer_length += count;
        Ok(count > 0)
    }

    pub(crate) fn bytes(&self) -> impl Iterator<Item = &u8> {
        self.older.iter().take(self.older_length).chain(self.newer.iter().take(self.newer_length))
    }
}
