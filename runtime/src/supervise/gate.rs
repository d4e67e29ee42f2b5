//! The start gate: a socket in the state directory, on which the container's process waits.
//!
//! Whoever may enter the directory (mode 0700) may open the gate. The process reports a failure to
//! execute its program over the same connection; its end without a report is success, because the
//! socket is close-on-exec.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use brig_child::Report;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect, listen, send,
    socket,
};
use rustix::fs::{AtFlags, statat, unlinkat};
use rustix::io::Errno;

use super::Error;
use super::record::{GATE, StateDirectory};
use crate::execute::{Wait, read_report};

fn endpoint() -> Result<OwnedFd, Error> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|errno| Error::system("making the start gate", errno))
}

/// An address that fits into `sun_path` (108 bytes) however long the directory's path is.
fn with_address<T>(
    directory: &StateDirectory,
    act: impl FnOnce(&UnixAddr) -> nix::Result<T>,
) -> Result<T, Error> {
    let path = format!("/proc/self/fd/{}/{GATE}", directory.held_by().as_raw_fd());
    UnixAddr::new(path.as_str()).and_then(|address| act(&address)).map_err(|errno| {
        Error::system(format!("start gate of {}", directory.path().display()), errno)
    })
}

/// Makes the gate; the answer is what the container's process listens on.
pub(super) fn make(directory: &StateDirectory) -> Result<OwnedFd, Error> {
    let socket = endpoint()?;
    with_address(directory, |address| {
        bind(socket.as_raw_fd(), address)?;
        listen(&socket, Backlog::new(1)?)
    })?;
    Ok(socket)
}

/// Whether the gate is still closed.
pub(super) fn is_closed(directory: &StateDirectory) -> Result<bool, Error> {
    match statat(directory.held_by(), GATE, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(Error::system("looking at the start gate", errno)),
    }
}

/// Opens the gate and waits until the program runs; the answer is the failure, if there is one. Without `wait`, only
/// the process ends that, or a signal that ends brig.
pub(super) fn pass(
    directory: &StateDirectory,
    wait: Option<&mut dyn Wait>,
) -> Result<Option<Report>, Error> {
    let socket = endpoint()?;
    with_address(directory, |address| connect(socket.as_raw_fd(), address))?;
    unlinkat(directory.held_by(), GATE, AtFlags::empty())
        .map_err(|errno| Error::system("removing the start gate", errno))?;
    send(socket.as_raw_fd(), b"s", MsgFlags::MSG_NOSIGNAL)
        .map_err(|errno| Error::system("opening the start gate", errno))?;
    if let Some(wait) = wait {
        while wait.wait([socket.as_fd(), socket.as_fd()])? == [false, false] {}
    }
    read_report(&socket)
}
