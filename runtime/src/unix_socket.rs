//! Connections to sockets of other programs: an engine's console socket, its pidfd socket, a seccomp agent.
//!
//! Never waits without a limit: connect(2) would, while the program takes no connections and its queue is full (unix(7)).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::deadline::Deadline;

/// Nothing tells when the queue has room.
const REST: Duration = Duration::from_millis(20);

/// A stream socket that is connected to `path`. It does not block: a message that fits its empty buffer is sent as well.
///
/// # Errors
/// What connect(2) says; `TimedOut` where the program has taken no connection by the deadline.
pub fn connect_to(path: &Path, deadline: Deadline) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new(path)?;
    loop {
        match connect(socket.as_raw_fd(), &address) {
            Ok(()) => return Ok(socket),
            Err(Errno::EAGAIN) if deadline.is_over() => {
                let what = "the program that listens there takes no connections";
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            Err(Errno::EAGAIN) => sleep(REST),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use nix::sys::socket::{Backlog, listen};

    use super::*;

    #[test]
    fn a_full_queue_is_waited_for_until_it_has_room_or_the_time_is_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).expect("it is new");
        listen(&listener, Backlog::new(0).expect("a number")).expect("it listens");
        let _first = connect_to(&path, Deadline::after(Duration::ZERO)).expect("there is room");
        let error = connect_to(&path, Deadline::after(REST)).expect_err("there is none");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        std::thread::scope(|scope| {
            let waiting =
                scope.spawn(|| connect_to(&path, Deadline::after(Duration::from_secs(60))));
            listener.accept().expect("there is one");
            waiting.join().expect("no panic").expect("there is room");
        });
    }
}
