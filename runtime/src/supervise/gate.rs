//! The start gate: a socket in the state directory, on which the container's process waits.
//!
//! Promises: while the process waits its gate can be found, and once it does not the gate is known to be open, also
//! when the `start` that opens it is killed at any point: it gives the gate another name first, sends the byte, and
//! removes that name last. The process closes its end as soon as it has the byte, so that of a gate with the other name
//! the kernel tells whether it is open.
//! Whoever may enter the directory (mode 0700) may open the gate. The process reports a failure to
//! execute its program over the same connection; its end without a report is success, because the
//! socket is close-on-exec.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect, listen, send,
    socket,
};
use rustix::fs::{AtFlags, renameat, statat, unlinkat};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::Error;
use super::record::{GATE, OPENING, StateDirectory};
use crate::deadline::Deadline;
use crate::execute::{Told, Wait, read_report};

/// How long the process may take to let a connection in: one that is frozen never does.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What has become of the gate.
pub(super) enum Passed {
    /// It was opened by this call; the answer is the failure to run the program, if there is one.
    Now(Option<Told>),
    /// By another, which was killed before it could say so.
    Before,
}

fn endpoint(flags: SockFlag) -> Result<OwnedFd, Error> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC | flags, None)
        .map_err(|errno| Error::system("making the start gate", errno))
}

fn failed(directory: &StateDirectory, errno: impl Into<std::io::Error>) -> Error {
    Error::system(format!("start gate of {}", directory.path().display()), errno)
}

/// The gate's address, which fits into `sun_path` (108 bytes) however long the directory's path is.
fn address(directory: &StateDirectory, name: &str) -> Result<UnixAddr, Error> {
    let path = format!("/proc/self/fd/{}/{name}", directory.held_by().as_raw_fd());
    UnixAddr::new(path.as_str()).map_err(|errno| failed(directory, errno))
}

/// Makes the gate; the answer is what the container's process listens on.
pub(super) fn make(directory: &StateDirectory) -> Result<OwnedFd, Error> {
    let socket = endpoint(SockFlag::empty())?;
    bind(socket.as_raw_fd(), &address(directory, GATE)?)
        .and_then(|()| listen(&socket, Backlog::new(1)?))
        .map_err(|errno| failed(directory, errno))?;
    Ok(socket)
}

/// Whether the gate is still closed.
pub(super) fn is_closed(directory: &StateDirectory) -> Result<bool, Error> {
    if is_there(directory, GATE)? {
        return Ok(true);
    }
    // Asked of the kernel only where a `start` is at work, or was killed: that disturbs the process.
    if !is_there(directory, OPENING)? {
        return Ok(false);
    }
    let socket = endpoint(SockFlag::SOCK_NONBLOCK)?;
    match connect(socket.as_raw_fd(), &address(directory, OPENING)?) {
        // Nobody listens; or the name went away, as the `start` has gone on.
        Err(nix::Error::ECONNREFUSED | nix::Error::ENOENT) => Ok(false),
        Ok(()) | Err(nix::Error::EAGAIN) => Ok(true),
        Err(errno) => Err(failed(directory, errno)),
    }
}

fn is_there(directory: &StateDirectory, name: &str) -> Result<bool, Error> {
    match statat(directory.held_by(), name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(Error::system("looking at the start gate", errno)),
    }
}

/// Opens the gate and waits until the program runs. Only for the holder of the container's lock.
pub(super) fn pass(directory: &StateDirectory, wait: &mut dyn Wait) -> Result<Passed, Error> {
    let socket = endpoint(SockFlag::empty())?;
    set_socket_timeout(&socket, Timeout::Send, Some(TIMEOUT))
        .map_err(|errno| failed(directory, errno))?;
    let held = directory.held_by();
    match renameat(held, GATE, held, OPENING) {
        // It has that name since a `start` was killed.
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed(directory, errno)),
    }
    let connected = match connect(socket.as_raw_fd(), &address(directory, OPENING)?) {
        Ok(()) => true,
        Err(nix::Error::ECONNREFUSED) => false,
        Err(errno) => return Err(failed(directory, errno)),
    };
    if connected {
        send(socket.as_raw_fd(), b"s", MsgFlags::MSG_NOSIGNAL)
            .map_err(|errno| Error::system("opening the start gate", errno))?;
    }
    unlinkat(held, OPENING, AtFlags::empty())
        .map_err(|errno| Error::system("removing the start gate", errno))?;
    if !connected {
        return Ok(Passed::Before);
    }
    while wait.wait([socket.as_fd(), socket.as_fd()], Deadline::NEVER)? == [false, false] {}
    read_report(&socket).map(Passed::Now)
}
