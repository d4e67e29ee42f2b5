//! Sockets: a descriptor that comes with a message (unix(7) `SCM_RIGHTS`).

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// Receives one message, as much of it as `data` has room for, and the first descriptor that comes with it:
/// close-on-exec, and owned from the message on. `None` where none came, as at the end of the connection; what
/// else came is closed.
///
/// # Errors
/// What recvmsg(2) says, but for `EINTR`.
pub fn recv_fd(socket: impl AsFd, data: &mut [u8]) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    rustix::io::retry_on_intr(|| {
        let buffers = &mut [IoSliceMut::new(data)];
        recvmsg(&socket, buffers, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok(fds.flatten().next())
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read, Write};
    use std::os::unix::net::UnixStream;

    use rustix::io::{FdFlags, fcntl_getfd};
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    #[test]
    fn a_descriptor_arrives_close_on_exec_and_a_message_without_one_has_none() {
        let (mut here, there) = UnixStream::pair().expect("a pair");
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let fds = [writer.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        let text = [IoSlice::new(b"name")];
        sendmsg(&here, &text, &mut control, SendFlags::empty()).expect("it is sent");
        drop(writer);
        let mut data = [0; 16];
        let received = recv_fd(&there, &mut data).expect("a message").expect("a descriptor");
        assert_eq!(&data[..5], b"name\0");
        assert!(fcntl_getfd(&received).expect("it is open").contains(FdFlags::CLOEXEC));
        drop(received);
        assert_eq!(reader.read(&mut data).expect("the end"), 0, "it was the only copy");
        here.write_all(b"x").expect("it is sent");
        assert!(recv_fd(&there, &mut data).expect("a message").is_none());
        drop(here);
        assert!(recv_fd(&there, &mut data).expect("the end").is_none());
    }
}
