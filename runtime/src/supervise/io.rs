//! What a container's process reads from and writes to.

use std::os::fd::OwnedFd;

use super::Error;

/// The standard descriptors of a process, or where its terminal goes. What is left out is the caller's own.
#[derive(Debug, Default)]
pub struct Io {
    /// Standard input, output and error, in place of the caller's own.
    pub standard: [Option<OwnedFd>; 3],
    /// A connected unix socket that gets the master of the process's terminal in one message, with its path as text
    /// (`SCM_RIGHTS`, unix(7)), before the program runs: for a process with `process.terminal`, and only for one.
    pub console: Option<OwnedFd>,
}

impl Io {
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
