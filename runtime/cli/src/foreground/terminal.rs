//! Standing between the caller's terminal and the container's: `run` and `exec` in the foreground.
//!
//! The program has a terminal of its own, or pipes in place of the caller's (`standard`). Signals that brig gets go to the
//! container's process; SIGWINCH becomes the new window size.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use brig::deadline::Deadline;
use brig::execute::Wait;
use brig::supervise::{Error, Io, Process};
use brig_sys::socket::recv_fd;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::termios::{tcgetwinsize, tcsetwinsize};

use super::signals::{STOPPED, Signals, asks_to_stop};
use super::standard;
use super::stream::{Kind, Stream, duplicate, own};
use super::{Notifier, Stop, Wanted};

/// Where the container's terminal arrives.
#[derive(Debug)]
pub(super) struct Terminal {
    socket: OwnedFd,
}

impl Terminal {
    /// A place to receive a terminal, and the socket to send it to.
    pub(super) fn pair() -> Result<(Self, OwnedFd), Error> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|errno| Error::system("making a console socket", errno))?;
        Ok((Self { socket: ours }, theirs))
    }

    fn receive(&self) -> Result<OwnedFd, Error> {
        let doing = "receiving the container's terminal";
        let mut name = [0; 4096];
        let master =
            recv_fd(&self.socket, &mut name).map_err(|error| Error::system(doing, error))?;
        let master =
            master.ok_or_else(|| Error::plain(format!("{doing}: the message has none")))?;
        // Nobody else has it. Where the program does not read, a chunk may not fit, although poll(2) says
        // that there is room.
        fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)
            .map_err(|errno| Error::system(doing, errno))?;
        Ok(master)
    }
}

/// brig's own terminal in raw mode; restored at the end.
struct RawMode {
    before: Termios,
}

impl RawMode {
    fn enter() -> Option<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&stdin, SetArg::TCSANOW, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}

/// What stands between the caller and the process that brig waits for.
#[derive(Debug)]
pub(super) struct Between<'n> {
    /// Where the process's own terminal arrives, if it has one.
    terminal: Option<Terminal>,
    streams: Vec<Stream>,
    notifier: Option<&'n Notifier>,
}

impl<'n> Between<'n> {
    /// Makes what is needed, and what the process gets of it.
    pub(super) fn new(wanted: &Wanted<'n>) -> Result<(Self, Io), Error> {
        let (console, notifier) = (wanted.console()?, wanted.notifier);
        if !wanted.terminal {
            let (io, streams) = standard::piped(wanted.owner)?;
            return Ok((Self { terminal: None, streams, notifier }, io));
        }
        let io = standard::nothing()?;
        let (terminal, console) = match console {
            Some(console) => (None, console),
            None => Terminal::pair().map(|(ours, theirs)| (Some(ours), theirs))?,
        };
        let io = Io { console: Some(console), ..io };
        Ok((Self { terminal, streams: Vec::new(), notifier }, io))
    }

    /// Passes signals and data on until the process has ended and what it wrote is shown; true where one of
    /// the signals asked to stop.
    pub(super) fn relay(
        mut self,
        process: &Process,
        signals: &Signals,
        stop: Stop,
    ) -> Result<bool, Error> {
        let mut stopped = false;
        let master = self.terminal.take().map(|terminal| terminal.receive()).transpose()?;
        let _raw = master.as_ref().and_then(|_| RawMode::enter());
        if let Some(master) = &master {
            copy_window_size(master);
            let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
            let (stdin, stdout) = (own(stdin, OFlags::RDONLY)?, own(stdout, OFlags::WRONLY)?);
            self.streams.push(Stream::new(Kind::IntoMaster, stdin, duplicate(master)?));
            self.streams.push(Stream::new(Kind::OutOfMaster, duplicate(master)?, stdout));
        }
        loop {
            let [ended, signalled] =
                self.wait([process.as_fd(), signals.all()], Deadline::NEVER)?;
            // What comes with the end, or after it, is for nobody but brig.
            if signalled && !ended {
                let asked = forward(process, master.as_ref(), signals);
                if asked && stopped && stop == Stop::KillAtSecond {
                    drop(process.signal(libc::SIGKILL));
                }
                stopped |= asked;
            }
            if ended {
                self.show_the_rest(signals)?;
                return Ok(stopped);
            }
        }
    }

    /// Shows what was written by a process that has ended, or by one that was never started wholly; a
    /// signal that asks to stop is heard also while the terminal takes nothing.
    pub(super) fn show_the_rest(&mut self, signals: &Signals) -> Result<(), Error> {
        if let Some(notifier) = self.notifier.take() {
            notifier.pass_on_at_once(std::process::id());
        }
        self.streams.iter_mut().for_each(Stream::process_has_ended);
        loop {
            self.streams.retain(|stream| !stream.is_drained());
            if self.streams.is_empty() {
                return Ok(());
            }
            let [signalled] = self.wait([signals.all()], Deadline::NEVER)?;
            if signalled && std::iter::from_fn(|| signals.next()).any(asks_to_stop) {
                return Ok(());
            }
        }
    }

    /// Waits until there is something to do, and does what is the streams'; says which of `others` are
    /// ready, none where `until` has passed.
    fn wait<const N: usize>(
        &mut self,
        others: [BorrowedFd<'_>; N],
        until: Deadline,
    ) -> Result<[bool; N], Error> {
        /// Long enough to cost nothing, short enough that nobody notices.
        const REST: Duration = Duration::from_millis(100);
        let mut set: Vec<_> = others.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let mut rest = Deadline::NEVER;
        let mut places = Vec::with_capacity(self.streams.len());
        for stream in &self.streams {
            let (watched, rests) = stream.watch(&mut set);
            places.push(watched);
            rest = if rests { Deadline::after(REST) } else { rest };
        }
        if let Some(notifier) = self.notifier {
            let (own, until) = notifier.watch();
            set.extend(own.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            rest = rest.or_before(until);
        }
        match poll(&mut set, until.or_before(rest).left().as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok([false; N]),
            answer => {
                answer.map_err(|errno| Error::system("waiting for the container", errno))?;
            }
        }
        let ready: Vec<_> = set.iter().map(PollFd::revents).collect();
        for (stream, places) in self.streams.iter_mut().zip(places) {
            stream.advance(places, &ready);
        }
        if let Some(notifier) = self.notifier {
            notifier.pass_on(std::process::id());
        }
        Ok(std::array::from_fn(|index| !ready[index].is_empty()))
    }
}

/// The caller's terminal while a process is set up: the program may write to it already, and a signal is heard.
pub(super) struct Meanwhile<'b, 'n> {
    pub(super) between: &'b mut Between<'n>,
    pub(super) signals: &'b Signals,
}

impl Wait for Meanwhile<'_, '_> {
    fn wait(
        &mut self,
        [one, other]: [BorrowedFd<'_>; 2],
        until: Deadline,
    ) -> Result<[bool; 2], Error> {
        match self.between.wait([one, other, self.signals.stop()], until)? {
            [.., true] => Err(Error::plain(STOPPED)),
            [one, other, false] => Ok([one, other]),
        }
    }

    fn stop(&self) -> Option<BorrowedFd<'_>> {
        Some(self.signals.stop())
    }
}

/// Passes on the signals that have come; true where one of them asks to stop.
fn forward(process: &Process, master: Option<&OwnedFd>, signals: &Signals) -> bool {
    let mut stopped = false;
    while let Some(signal) = signals.next() {
        stopped |= asks_to_stop(signal);
        match (signal, master) {
            (libc::SIGCHLD, _) => {}
            (libc::SIGWINCH, Some(master)) => copy_window_size(master),
            // The process may end at any time; then there is nobody to tell.
            _ => drop(process.signal(signal)),
        }
    }
    stopped
}

fn copy_window_size(master: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(io::stdin()) {
        let _ = tcsetwinsize(master, size);
    }
}
