//! Who is told of a process that brig has started: a file gets its pid, a socket its pidfd.
//!
//! Promises: a process of which they cannot be told is ended.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use brig::deadline::{Deadline, OF_OTHERS};
use brig::replace::{Lasting, replace};
use brig::supervise::{Error, Process};
use brig::unix_socket::connect_to;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::fs::CWD;

/// What a process is to its container. The names are runc's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Role {
    /// The first.
    Standard,
    /// Another.
    Setns,
}

/// Who is told.
#[derive(Debug)]
pub(in super::super) struct Told<'w> {
    pid_file: Option<&'w Path>,
    socket: Option<(&'w Path, OwnedFd)>,
    role: Role,
}

impl<'w> Told<'w> {
    /// Connects to the socket at once, as nothing may be made if it is not there.
    pub(in super::super) fn of(
        pid_file: Option<&'w PathBuf>,
        socket: Option<&'w PathBuf>,
        role: Role,
    ) -> Result<Self, Error> {
        let connect = |path: &'w PathBuf| {
            connect_to(path, Deadline::after(OF_OTHERS)).map(|fd| (path.as_path(), fd)).map_err(
                |error| {
                    Error::system(format!("connecting to pidfd socket {}", path.display()), error)
                },
            )
        };
        let socket = socket.map(connect).transpose()?;
        Ok(Self { pid_file: pid_file.map(PathBuf::as_path), socket, role })
    }

    /// Tells them of `process`.
    pub(in super::super) fn tell(&self, process: Process) -> Result<Process, Error> {
        let pid_file = self.pid_file.map_or(Ok(()), |path| write_pid(path, process.pid()));
        let told = pid_file.and_then(|()| match &self.socket {
            None => Ok(()),
            Some((path, socket)) => self.send(socket, &process).map_err(|error| {
                Error::system(format!("sending the process to {}", path.display()), error)
            }),
        });
        match told {
            Ok(()) => Ok(process),
            Err(error) => Err(process.end(error)),
        }
    }

    /// One message: the role as text, and the descriptor.
    fn send(&self, socket: &OwnedFd, process: &Process) -> nix::Result<()> {
        let text = match self.role {
            Role::Standard => "standard",
            Role::Setns => "setns",
        };
        let (text, fds) = ([IoSlice::new(text.as_bytes())], [process.as_fd().as_raw_fd()]);
        let rights = [ControlMessage::ScmRights(&fds)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(socket.as_raw_fd(), &text, &rights, flags, None).map(drop)
    }
}

/// A reader never sees half of it.
fn write_pid(path: &Path, pid: i32) -> Result<(), Error> {
    replace(CWD, path, 0o644, pid.to_string().as_bytes(), Lasting::Brig)
        .map_err(|error| Error::system(format!("writing the pid file {}", path.display()), error))
}
