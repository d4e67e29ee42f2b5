//! Standing between the caller's terminal and the container's: `run` and `exec` in the foreground.
//!
//! The program has a terminal of its own, or pipes in place of the caller's (`standard`). Signals that brig gets go to the container's process; SIGWINCH becomes the new window size.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use brig_sys::socket::recv_fd;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::termios::{tcgetwinsize, tcsetwinsize};

use super::Error;
use super::standard::{self, Standard};
use super::stream::{Kind, Stream, duplicate, own};
use crate::deadline::{Deadline, OF_OTHERS};
use crate::execute::Wait;
use crate::unix_socket::connect_to;

/// The socket that takes the container's terminal, as asked for.
pub(super) fn console(
    wants_terminal: bool,
    console_socket: Option<&Path>,
    own: Option<OwnedFd>,
) -> Result<Option<OwnedFd>, Error> {
    match (wants_terminal, console_socket) {
        (false, Some(_)) => {
            Err(Error::plain("--console-socket is given, but process.terminal is false")
                .with_hint("set process.terminal in config.json, or leave --console-socket out"))
        }
        (false, None) => Ok(None),
        (true, None) if own.is_some() => Ok(own),
        (true, None) => {
            Err(Error::plain("process.terminal is true, but there is no --console-socket")
                .with_hint("give --console-socket, or set process.terminal to false"))
        }
        (true, Some(path)) => {
            let socket = connect_to(path, Deadline::after(OF_OTHERS)).map_err(|error| {
                Error::system(format!("connecting to console socket {}", path.display()), error)
            })?;
            Ok(Some(socket))
        }
    }
}

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

/// The signals that go to the container.
#[derive(Debug)]
pub(super) struct Signals {
    fd: SignalFd,
    /// Those that ask to stop, alone.
    stop: SignalFd,
}

impl Signals {
    /// Blocks all signals that can be, to be read from a descriptor.
    pub(super) fn block() -> Result<Self, Error> {
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

    /// Can be read when brig is asked to stop.
    pub(super) fn stop(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }

    /// The first signal that asks to stop, if some have come. All of them are heard by that.
    pub(super) fn asked_to_stop(&self) -> Option<i32> {
        let next = || self.stop.read_signal().ok().flatten();
        let first = next()?;
        while next().is_some() {}
        i32::try_from(first.ssi_signo).ok()
    }

    /// The next that somebody has sent: what brig's own writes cause (SIGPIPE) is brig's own affair.
    fn next(&self) -> Option<i32> {
        loop {
            let info = self.fd.read_signal().ok().flatten()?;
            if info.ssi_pid != std::process::id() {
                return i32::try_from(info.ssi_signo).ok();
            }
        }
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

/// What a signal that asks brig to stop does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It goes to the process, which may do with it what it likes.
    PassOn,
    /// So does the first one; the second kills. The first process of a pid namespace does not get
    /// signals that it has no handler for (pid_namespaces(7)), so it may never hear the first.
    KillAtSecond,
}

/// What stands between the caller and the process that brig waits for.
#[derive(Debug)]
pub(super) struct Between {
    /// Where the process's own terminal arrives, if it has one.
    terminal: Option<Terminal>,
    streams: Vec<Stream>,
}

/// What the process is to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// A terminal of its own.
    pub(super) terminal: bool,
    /// Which goes to somebody else.
    pub(super) console_socket: bool,
    /// Hooks at its start.
    pub(super) hooks: bool,
    /// Its user on the host, where that one can be given something.
    pub(super) owner: Option<u32>,
}

/// What the process is given, and how brig waits while it is set up.
#[derive(Default)]
pub(super) struct Given<'w> {
    /// Where its terminal's master goes, unless to the console socket.
    pub(super) console: Option<OwnedFd>,
    /// Its standard descriptors, where they are not the caller's.
    pub(super) standard: Standard,
    /// What else is to be done meanwhile.
    pub(super) wait: Option<&'w mut dyn Wait>,
    /// Can be read when brig is asked to stop.
    pub(super) stop: Option<BorrowedFd<'w>>,
}

impl Given<'_> {
    /// How brig waits, unless it has nothing else to do.
    pub(super) fn wait(&mut self) -> Option<&mut dyn Wait> {
        match &mut self.wait {
            Some(wait) => Some(&mut **wait),
            None => None,
        }
    }

    /// For a process that brig does not stay with.
    pub(super) fn detached(terminal: bool) -> Result<Self, Error> {
        let standard = if terminal { standard::nothing()? } else { standard::detached()? };
        Ok(Self { standard, ..Self::default() })
    }
}

/// Starts a process that brig does not stay with. A hook would outlive a brig that a signal ends, and has a process group
/// of its own: where there are hooks, the signals that ask to stop are heard.
pub(super) fn detached<T>(
    wanted: Wanted,
    start: impl FnOnce(Given<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let given = Given::detached(wanted.terminal)?;
    if !wanted.hooks {
        return start(given);
    }
    hearing(|hearing| {
        let stop = hearing.0.stop();
        start(Given { wait: Some(hearing), stop: Some(stop), ..given })
    })
}

/// Does what takes a while, and hears meanwhile that brig is to stop.
pub(super) fn hearing<T>(
    act: impl FnOnce(&mut Hearing<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
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
pub(super) struct Hearing<'s>(pub(super) &'s Signals);

impl Wait for Hearing<'_> {
    fn wait(&mut self, [one, other]: [BorrowedFd<'_>; 2]) -> Result<[bool; 2], Error> {
        let stop = self.0.stop();
        let mut set = [one, other, stop].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        rustix::io::retry_on_intr(|| poll(&mut set, None))
            .map_err(|errno| Error::system("waiting for the container", errno))?;
        match set.map(|entry| !entry.revents().is_empty()) {
            [.., true] => Err(Error::plain(STOPPED)),
            [one, other, false] => Ok([one, other]),
        }
    }
}

const STOPPED: &str = "brig was asked to stop during the set-up";

impl Between {
    /// Makes what is needed, and what the process gets of it.
    pub(super) fn new<'w>(wanted: Wanted) -> Result<(Self, Given<'w>), Error> {
        if !wanted.terminal {
            let (standard, streams) = standard::piped(wanted.owner)?;
            let given = Given { standard, ..Given::default() };
            return Ok((Self { terminal: None, streams }, given));
        }
        let standard = standard::nothing()?;
        let (terminal, console) = match wanted.console_socket {
            true => (None, None),
            false => Terminal::pair().map(|(ours, theirs)| (Some(ours), Some(theirs)))?,
        };
        let given = Given { console, standard, ..Given::default() };
        Ok((Self { terminal, streams: Vec::new() }, given))
    }

    /// Passes signals and data on until the process has ended and what it wrote is shown; true where one of
    /// the signals asked to stop.
    pub(super) fn relay(
        mut self,
        pidfd: &OwnedFd,
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
            let [ended, signalled] = self.wait([pidfd.as_fd(), signals.fd.as_fd()])?;
            // What comes with the end, or after it, is for nobody but brig.
            if signalled && !ended {
                let asked = forward(pidfd, master.as_ref(), signals);
                if asked && stopped && stop == Stop::KillAtSecond {
                    drop(brig_sys::process::send_signal(pidfd, libc::SIGKILL));
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
        self.streams.iter_mut().for_each(Stream::process_has_ended);
        loop {
            self.streams.retain(|stream| !stream.is_drained());
            if self.streams.is_empty() {
                return Ok(());
            }
            let [signalled] = self.wait([signals.fd.as_fd()])?;
            if signalled && std::iter::from_fn(|| signals.next()).any(asks_to_stop) {
                return Ok(());
            }
        }
    }

    /// Waits until there is something to do, and does what is the streams'; says which of `others` are
    /// ready.
    fn wait<const N: usize>(&mut self, others: [BorrowedFd<'_>; N]) -> Result<[bool; N], Error> {
        /// Long enough to cost nothing, short enough that nobody notices.
        const REST: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let mut set: Vec<_> = others.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let mut rest = None;
        let mut places = Vec::with_capacity(self.streams.len());
        for stream in &self.streams {
            let (watched, rests) = stream.watch(&mut set);
            places.push(watched);
            rest = rest.or(rests.then_some(&REST));
        }
        match poll(&mut set, rest) {
            Err(rustix::io::Errno::INTR) => return Ok([false; N]),
            answer => {
                answer.map_err(|errno| Error::system("waiting for the container", errno))?;
            }
        }
        let ready: Vec<_> = set.iter().map(PollFd::revents).collect();
        for (stream, places) in self.streams.iter_mut().zip(places) {
            stream.advance(places, &ready);
        }
        Ok(std::array::from_fn(|index| !ready[index].is_empty()))
    }
}

const ASKING_TO_STOP: [Signal; 4] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

fn asks_to_stop(signal: i32) -> bool {
    ASKING_TO_STOP.iter().any(|asking| *asking as i32 == signal)
}

/// The caller's terminal while a process is set up: hooks write to it, and a signal is heard.
pub(super) struct Meanwhile<'b> {
    pub(super) between: &'b mut Between,
    pub(super) signals: &'b Signals,
}

impl Wait for Meanwhile<'_> {
    fn wait(&mut self, [one, other]: [BorrowedFd<'_>; 2]) -> Result<[bool; 2], Error> {
        match self.between.wait([one, other, self.signals.stop()])? {
            [.., true] => Err(Error::plain(STOPPED)),
            [one, other, false] => Ok([one, other]),
        }
    }
}

/// Passes on the signals that have come; true where one of them asks to stop.
fn forward(pidfd: &OwnedFd, master: Option<&OwnedFd>, signals: &Signals) -> bool {
    let mut stopped = false;
    while let Some(signal) = signals.next() {
        stopped |= asks_to_stop(signal);
        match (signal, master) {
            (libc::SIGCHLD, _) => {}
            (libc::SIGWINCH, Some(master)) => copy_window_size(master),
            // The process may end at any time; then there is nobody to tell.
            _ => drop(brig_sys::process::send_signal(pidfd, signal)),
        }
    }
    stopped
}

fn copy_window_size(master: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(io::stdin()) {
        let _ = tcsetwinsize(master, size);
    }
}
