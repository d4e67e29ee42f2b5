//! What a container's process reads from and writes to.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, fstat, major, minor};

use super::Error;

/// The standard descriptors of a process, or where its terminal goes. What is left out is the caller's own.
#[derive(Debug, Default)]
pub struct Io {
    /// Standard input, output and error, in place of the caller's own.
    pub standard: [Option<OwnedFd>; 3],
    /// Which of these, or of the caller's own in their place, are /dev/null, as far as the caller knows; else they are
    /// looked at. The process gets the container's own /dev/null there.
    pub null: Option<[bool; 3]>,
    /// A connected unix socket that gets the master of the process's terminal in one message, with its path as text
    /// (`SCM_RIGHTS`, unix(7)), before the program runs: for a process with `process.terminal`, and only for one.
    pub console: Option<OwnedFd>,
}

impl Io {
    pub(super) fn null(&self) -> [bool; 3] {
        let own = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        let given = |number: usize| self.standard[number].as_ref().map(|fd| fd.as_fd());
        let is_null =
            |number: usize| character_device(given(number).unwrap_or(own[number])) == Some(NULL);
        self.null.unwrap_or_else(|| [0, 1, 2].map(is_null))
    }

    /// Whether it is for a process with a terminal, or without.
    pub(super) fn check(&self, terminal: bool) -> Result<(), Error> {
        let what = match (terminal, &self.console) {
            (true, None) => "process.terminal is true, but no receiver for the terminal is given",
            (false, Some(_)) => "there is a socket for a terminal, but process.terminal is false",
            _ => return Ok(()),
        };
        Err(Error::plain(what))
    }
}

/// The device number of /dev/null (Documentation/admin-guide/devices.txt).
pub const NULL: (u32, u32) = (1, 3);

/// The number of a character device; none for all else, and for what cannot be looked at.
#[must_use]
pub fn character_device(fd: BorrowedFd<'_>) -> Option<(u32, u32)> {
    let stat = fstat(fd).ok()?;
    let is_one = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    is_one.then(|| (major(stat.st_rdev), minor(stat.st_rdev)))
}
