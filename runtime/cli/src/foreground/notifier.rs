//! Readiness: what a container says of its state goes to the service manager that waits for brig (`Type=notify`).
//!
//! Promises: the service manager hears of `READY=1` and `STATUS=` alone, as text, ten times a second at most, and of a
//! `MAINPID=` that is brig's word: a container can neither name a process nor keep the service manager busy. A service
//! manager that takes nothing keeps nobody waiting. Reference: sd_notify(3).

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use brig::deadline::{Deadline, OF_OTHERS};
use brig::supervise::{Container, Error};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send,
    sendmsg, socket,
};
use rustix::event::{PollFd, PollFlags, poll};

const VARIABLE: &str = "NOTIFY_SOCKET";

/// The longest message that is read: systemd reads as much (`NOTIFY_BUFFER_MAX`).
const MESSAGE_BYTES: usize = 4096;

/// How many messages make one: more than the queue of a socket holds by default (net.unix.max_dgram_qlen).
const AT_ONCE: usize = 1024;

/// How often the service manager is told of something at most.
const REST: Duration = Duration::from_millis(100);

/// Between a container and the service manager.
#[derive(Debug)]
pub(in super::super) struct Notifier {
    /// Connected to the service manager.
    manager: OwnedFd,
    /// What the container writes to.
    own: Arc<OwnedFd>,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    /// What the service manager has not taken yet.
    said: Said,
    /// Until when nothing is read.
    rest: Deadline,
    /// Whether the service manager has been told anything.
    told: bool,
}

/// What the service manager is to hear of a container.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    ready: bool,
    status: Option<String>,
}

impl Said {
    /// A message of the container's: lines, of which two kinds count.
    fn hear(&mut self, message: &[u8]) {
        for line in message.split(|byte| *byte == b'\n') {
            let text = line.strip_prefix(b"STATUS=").and_then(|text| str::from_utf8(text).ok());
            match text {
                Some(text) if !text.contains(char::is_control) => {
                    self.status = Some(text.to_owned());
                }
                _ => self.ready |= line == b"READY=1",
            }
        }
    }

    /// What the service manager is told, once it is something. `main` is the process that it is to watch.
    fn message(&self, main: u32) -> Option<String> {
        let mut text = String::new();
        if self.ready {
            let _ = write!(text, "READY=1\nMAINPID={main}\n");
        }
        if let Some(status) = &self.status {
            let _ = writeln!(text, "STATUS={status}");
        }
        (!text.is_empty()).then_some(text)
    }
}

impl Notifier {
    /// The service manager that waits for brig, if one does.
    ///
    /// # Errors
    /// It is not where it is said to be: nobody would hear of the container.
    pub(in super::super) fn of_environment() -> Result<Option<Self>, Error> {
        match std::env::var_os(VARIABLE) {
            Some(address) if !address.is_empty() => Self::of(&address).map(Some),
            _ => Ok(None),
        }
    }

    fn of(address: &OsStr) -> Result<Self, Error> {
        let failed = |errno: Errno| {
            Error::system(format!("connecting to {VARIABLE} {}", address.display()), errno)
                .with_hint("unset NOTIFY_SOCKET where no service manager waits for the container")
        };
        let new = || {
            let flags = SockFlag::SOCK_CLOEXEC;
            socket(AddressFamily::Unix, SockType::Datagram, flags, None)
        };
        let name = match address.as_bytes() {
            [b'@', name @ ..] => UnixAddr::new_abstract(name),
            [b'/', ..] => UnixAddr::new(address),
            // Others, as vsock:, are a machine's for its host.
            _ => Err(Errno::EAFNOSUPPORT),
        };
        let manager = new().map_err(failed)?;
        name.and_then(|name| connect(manager.as_raw_fd(), &name)).map_err(failed)?;
        let rest = Deadline::after(Duration::ZERO);
        let state = State { said: Said::default(), rest, told: false };
        let own = Arc::new(new().map_err(failed)?);
        Ok(Self { manager, own, state: RefCell::new(state) })
    }

    /// The socket for the container.
    pub(in super::super) fn socket(&self) -> &Arc<OwnedFd> {
        &self.own
    }

    /// What is to be watched for a message, and until when nothing is.
    pub(super) fn watch(&self) -> (Option<BorrowedFd<'_>>, Deadline) {
        let State { rest, .. } = *self.state.borrow();
        match rest.is_over() {
            true => (Some(self.own.as_fd()), Deadline::NEVER),
            false => (None, rest),
        }
    }

    /// Passes on what the container has said, unless something was passed on a moment ago; true where the service
    /// manager has heard that it is ready. `main` is the process that it is to watch from then on.
    pub(super) fn pass_on(&self, main: u32) -> bool {
        self.state.borrow().rest.is_over() && self.pass_on_at_once(main)
    }

    /// The same, whenever that was.
    pub(super) fn pass_on_at_once(&self, main: u32) -> bool {
        let State { said, rest, told } = &mut *self.state.borrow_mut();
        let mut buffer = [0; MESSAGE_BYTES];
        for _ in 0..AT_ONCE {
            // Descriptors that come along are closed: who waits for a barrier goes on.
            match recv(
                self.own.as_raw_fd(),
                &mut buffer,
                MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC,
            ) {
                Ok(length) => buffer.get(..length).into_iter().for_each(|text| said.hear(text)),
                Err(_) => break,
            }
        }
        let Some(message) = said.message(main) else { return false };
        *rest = Deadline::after(REST);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(self.manager.as_raw_fd(), message.as_bytes(), flags) {
            // It is busy: the next time.
            Err(Errno::EAGAIN | Errno::EINTR) => false,
            // It was there, and is gone: nobody hears any more.
            Err(_) => {
                *said = Said::default();
                false
            }
            Ok(_) => {
                *told = true;
                std::mem::take(said).ready
            }
        }
    }

    /// Waits until a container that runs has said that it is ready, or has ended, and until the service manager knows.
    ///
    /// # Errors
    /// Whether it has ended cannot be known.
    pub(in super::super) fn until_ready(&self, container: &Container) -> Result<(), Error> {
        let failed = |errno| Error::system("waiting for the container to be ready", errno);
        let Some(init) = container.init()? else { return Ok(()) };
        let Ok(main @ 1..) = u32::try_from(container.show()?.pid) else { return Ok(()) };
        loop {
            let (own, until) = self.watch();
            let fds = own.into_iter().chain([init.as_fd()]);
            let mut set: Vec<_> =
                fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            rustix::io::retry_on_intr(|| poll(&mut set, until.left().as_ref())).map_err(failed)?;
            let ended = set.last().is_some_and(|init| !init.revents().is_empty());
            if self.pass_on(main) || ended {
                break;
            }
        }
        let told = self.state.borrow().told;
        if told { self.barrier().map_err(failed) } else { Ok(()) }
    }

    /// Waits until the service manager has read all that it was told: it knows who speaks by a process that lives. One
    /// that knows no barriers closes the descriptor as well.
    fn barrier(&self) -> rustix::io::Result<()> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let fds = [writer.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let text = [IoSlice::new(b"BARRIER=1")];
        let sent = sendmsg::<()>(self.manager.as_raw_fd(), &text, &rights, flags, None);
        drop(writer);
        if sent.is_ok() {
            let until = Deadline::after(OF_OTHERS);
            let mut set = [PollFd::new(&reader, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut set, until.left().as_ref()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(messages: &[&[u8]]) -> Option<String> {
        let mut said = Said::default();
        messages.iter().for_each(|message| said.hear(message));
        said.message(7)
    }

    #[test]
    fn readiness_and_status_are_passed_on_and_nothing_else() {
        let ready = Some("READY=1\nMAINPID=7\n".to_owned());
        assert_eq!(said(&[b"READY=1"]), ready);
        assert_eq!(said(&[b"READY=1\n"]), ready);
        assert_eq!(said(&[b"MAINPID=1\nREADY=1\nFDSTORE=1\nBARRIER=1"]), ready);
        let both = Some("READY=1\nMAINPID=7\nSTATUS=b=c\n".to_owned());
        assert_eq!(said(&[b"STATUS=a", b"READY=1", b"STATUS=b=c\nX"]), both);
        assert_eq!(said(&[b"STATUS="]), Some("STATUS=\n".to_owned()));
        for nothing in [
            &b""[..],
            b"READY=0",
            b"READY=10",
            b"xREADY=1",
            b" READY=1",
            b"READY=1\0",
            b"MAINPID=1",
            b"STATUS=a\rb",
            b"STATUS=\x1b[31m",
            b"STATUS=\xff",
            b"STOPPING=1",
        ] {
            assert_eq!(said(&[nothing]), None, "{nothing:?}");
        }
    }
}
