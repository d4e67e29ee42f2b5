//! Interrupts are noticed between two commands, never in the middle of one, so that clean-up always
//! meets containers whose runtime has finished.
//!
//! The signals are blocked and read from a signalfd (signalfd(2)): no handler, and so no unsafe code.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// SIGINT, SIGTERM and SIGHUP, held back from the moment this is made.
#[derive(Debug)]
pub struct Interrupt {
    fd: SignalFd,
}

impl Interrupt {
    /// Blocks the signals for this thread and for all that it starts afterwards.
    ///
    /// Call it before the first child: `meter` inherits the blocked signals and therefore outlives an
    /// interrupt at the terminal, which clean-up relies on.
    ///
    /// # Errors
    /// When the kernel refuses the signalfd.
    pub fn block() -> Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block().context("cannot block signals")?;
        let fd = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .context("cannot make a signalfd")?;
        Ok(Self { fd })
    }

    /// Fails once a signal has arrived.
    ///
    /// # Errors
    /// When one of the signals is pending, or the signalfd cannot be read.
    pub fn check(&self) -> Result<()> {
        match self.fd.read_signal().context("cannot read the signalfd")? {
            Some(_) => bail!("interrupted"),
            None => Ok(()),
        }
    }
}
