//! The signals that brig gets while it stays with a process.
//!
//! Promises: from the moment of blocking on none is lost; those that ask to stop can be told from the others.
//! Reference: signalfd(2).

use std::os::fd::{AsFd, BorrowedFd};

use brig::deadline::Deadline;
use brig::execute::Wait;
use brig::supervise::Error;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};

/// The signals that go to the container.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
    /// Those that ask to stop, alone.
    stop: SignalFd,
}

impl Signals {
    /// Blocks all signals that can be, to be read from a descriptor.
    pub(crate) fn block() -> Result<Self, Error> {
        let failed = |errno: nix::Error| Error::system("blocking signals", errno);
        let mut set = SigSet::all();
        // These are about brig itself.
        for own in
            [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT]
        {
            set.remove(own);
        }
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None).map_err(failed)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&set, flags).map_err(failed)?;
        let stop: SigSet = ASKING_TO_STOP.into_iter().collect();
        let stop = SignalFd::with_flags(&stop, flags).map_err(failed)?;
        Ok(Self { fd, stop })
    }

    /// Can be read when there is a signal.
    pub(super) fn all(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Can be read when brig is asked to stop.
    pub(crate) fn stop(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }

    /// The first signal that asks to stop, if some have come. All of them are heard by that.
    pub(crate) fn asked_to_stop(&self) -> Option<i32> {
        let next = || self.stop.read_signal().ok().flatten();
        let first = next()?;
        while next().is_some() {}
        i32::try_from(first.ssi_signo).ok()
    }

    /// The next that somebody has sent: what brig's own writes cause (SIGPIPE) is brig's own affair.
    pub(super) fn next(&self) -> Option<i32> {
        loop {
            let info = self.fd.read_signal().ok().flatten()?;
            if info.ssi_pid != std::process::id() {
                return i32::try_from(info.ssi_signo).ok();
            }
        }
    }
}

pub(super) const STOPPED: &str = "brig was asked to stop during the set-up";

/// Does what takes a while, and hears meanwhile that brig is to stop.
pub(crate) fn hearing<T>(act: impl FnOnce(&mut dyn Wait) -> Result<T, Error>) -> Result<T, Error> {
    let failed = |errno| Error::system("blocking signals", errno);
    let before = SigSet::thread_get_mask().map_err(failed)?;
    let signals = Signals::block()?;
    let done = act(&mut Hearing(&signals));
    let done = done.map_err(|error| error.with_signal(signals.asked_to_stop()));
    // What comes later ends brig, as it did before.
    before.thread_set_mask().map_err(failed)?;
    done
}

/// A wait for which the caller's terminal plays no part.
struct Hearing<'s>(&'s Signals);

impl Wait for Hearing<'_> {
    fn wait(
        &mut self,
        [one, other]: [BorrowedFd<'_>; 2],
        until: Deadline,
    ) -> Result<[bool; 2], Error> {
        let stop = self.0.stop();
        let mut set = [one, other, stop].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        rustix::io::retry_on_intr(|| poll(&mut set, until.left().as_ref()))
            .map_err(|errno| Error::system("waiting for the container", errno))?;
        match set.map(|entry| !entry.revents().is_empty()) {
            [.., true] => Err(Error::plain(STOPPED)),
            [one, other, false] => Ok([one, other]),
        }
    }

    fn stop(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.stop())
    }
}

const ASKING_TO_STOP: [Signal; 4] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

pub(super) fn asks_to_stop(signal: i32) -> bool {
    ASKING_TO_STOP.iter().any(|asking| *asking as i32 == signal)
}
