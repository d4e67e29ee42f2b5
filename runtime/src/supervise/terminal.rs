//! Standing between the caller's terminal and the container's: `run` and `exec` in the foreground.
//!
//! Signals that brig gets go to the container's process; SIGWINCH becomes the new window size.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, connect, recvmsg,
    socket, socketpair,
};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{tcgetwinsize, tcsetwinsize};

use super::Error;

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
            let doing = || format!("connecting to console socket {}", path.display());
            let socket =
                socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
                    .map_err(|errno| Error::system(doing(), errno))?;
            UnixAddr::new(path)
                .and_then(|address| connect(socket.as_raw_fd(), &address))
                .map_err(|errno| Error::system(doing(), errno))?;
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
        let mut buffers = [io::IoSliceMut::new(&mut name)];
        let mut space = nix::cmsg_space!(i32);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(self.socket.as_raw_fd(), &mut buffers, Some(&mut space), flags)
            .map_err(|errno| Error::system(doing, errno))?;
        let mut control = message.cmsgs().map_err(|errno| Error::system(doing, errno))?;
        match control.next() {
            Some(ControlMessageOwned::ScmRights(fds)) if fds.len() == 1 => adopt(fds[0]),
            _ => Err(Error::plain(doing)),
        }
    }
}

/// A descriptor that the kernel has just made for us.
fn adopt(fd: i32) -> Result<OwnedFd, Error> {
    brig_sys::process::adopt(fd).map_err(|error| Error::system("receiving a terminal", error))
}

/// The signals that go to the container.
#[derive(Debug)]
pub(super) struct Signals {
    fd: SignalFd,
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
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(failed)?;
        Ok(Self { fd })
    }

    fn next(&self) -> Option<i32> {
        let info = self.fd.read_signal().ok().flatten()?;
        i32::try_from(info.ssi_signo).ok()
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

/// Passes signals and terminal data on until the process has ended and its terminal is drained;
/// true where one of the signals asked to stop.
pub(super) fn relay(
    pidfd: &OwnedFd,
    terminal: Option<&Terminal>,
    signals: &Signals,
    stop: Stop,
) -> Result<bool, Error> {
    let mut stopped = false;
    let master = terminal.map(Terminal::receive).transpose()?;
    let _raw = master.as_ref().and_then(|_| RawMode::enter());
    if let Some(master) = &master {
        copy_window_size(master);
    }
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let mut input_open = master.is_some();
    loop {
        let mut set = vec![
            PollFd::new(pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.fd.as_fd(), PollFlags::IN),
        ];
        if let Some(master) = &master {
            set.push(PollFd::new(master, PollFlags::IN));
            if input_open {
                set.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
            }
        }
        match poll(&mut set, None) {
            Err(rustix::io::Errno::INTR) => continue,
            answer => {
                answer.map_err(|errno| Error::system("waiting for the container", errno))?;
            }
        }
        let ready: Vec<bool> = set.iter().map(|entry| !entry.revents().is_empty()).collect();
        if ready[1] {
            let asked = forward(pidfd, master.as_ref(), signals);
            if asked && stopped && stop == Stop::KillAtSecond {
                drop(brig_sys::process::send_signal(pidfd, libc::SIGKILL));
            }
            stopped |= asked;
        }
        if let Some(master) = &master {
            if ready[2] {
                copy(master.as_fd(), stdout.as_fd());
            }
            if input_open && ready.get(3) == Some(&true) {
                input_open = copy(stdin.as_fd(), master.as_fd());
            }
        }
        if ready[0] {
            while master.as_ref().is_some_and(|master| copy_if_ready(master, stdout.as_fd())) {}
            return Ok(stopped);
        }
    }
}

/// Passes on the signals that have come; true where one of them asks to stop.
fn forward(pidfd: &OwnedFd, master: Option<&OwnedFd>, signals: &Signals) -> bool {
    let mut stopped = false;
    while let Some(signal) = signals.next() {
        stopped |= matches!(signal, libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT);
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

fn copy_if_ready(from: &OwnedFd, to: BorrowedFd<'_>) -> bool {
    let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut set = [PollFd::new(from, PollFlags::IN)];
    let ready = poll(&mut set, Some(&none)).is_ok_and(|count| count > 0);
    ready && set[0].revents().contains(PollFlags::IN) && copy(from.as_fd(), to)
}

/// Copies what is there; false at the end of `from`.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; 8192];
    let Ok(count @ 1..) = rustix::io::read(from, &mut buffer) else { return false };
    let mut rest = &buffer[..count];
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
