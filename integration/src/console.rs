//! The caller's end of a console socket: receives the terminal's master, as containerd and conmon
//! do; of a pidfd socket, too. Reference: runc's docs/terminals.md; the master comes as SCM_RIGHTS, unix(7).

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::fs::File;
use std::io::{IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A console socket that waits for its one master.
pub struct ConsoleSocket {
    listener: UnixListener,
    path: PathBuf,
}

/// The master of a container's terminal.
pub struct Console {
    master: File,
    seen: Vec<u8>,
}

impl ConsoleSocket {
    /// Listens at `path`.
    ///
    /// # Panics
    /// When it cannot.
    pub fn listen(path: PathBuf) -> ConsoleSocket {
        let listener = UnixListener::bind(&path).expect("bind the console socket");
        ConsoleSocket { listener, path }
    }

    /// What `--console-socket` gets.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the master that the runtime sends.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn accept(&self) -> Console {
        let (_, master) = self.receive();
        Console { master: File::from(master), seen: Vec::new() }
    }

    /// Takes the message that the runtime sends: its text, and the descriptor in it.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn receive(&self) -> (String, OwnedFd) {
        assert!(readable(&self.listener, crate::PATIENCE), "nobody connects to the console socket");
        let (stream, _) = self.listener.accept().expect("accept on the console socket");
        assert!(readable(&stream, crate::PATIENCE), "nothing comes over the console socket");
        let mut name = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut iov = [IoSliceMut::new(&mut name)];
        let got = recvmsg(&stream, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC)
            .expect("receive the descriptor")
            .bytes;
        let mut fds: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        assert_eq!(fds.len(), 1, "a socket gets one descriptor");
        (String::from_utf8_lossy(&name[..got]).into_owned(), fds.remove(0))
    }
}

fn readable(fd: impl AsFd, limit: Duration) -> bool {
    let limit = Timespec {
        tv_sec: limit.as_secs().cast_signed(),
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(&limit)).is_ok_and(|n| n > 0)
}

impl Console {
    /// A new terminal; who has the second descriptor is on it.
    ///
    /// # Panics
    /// When there is none.
    pub fn open() -> (Console, OwnedFd) {
        let pair = nix::pty::openpty(None, None).expect("open a terminal");
        (Console { master: File::from(pair.master), seen: Vec::new() }, pair.slave)
    }

    /// Types `text`.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("type on the console");
    }

    /// Sets the size in rows and columns, which sends SIGWINCH.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size =
            rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.master, size).expect("resize the console");
    }

    /// Reads until `text` has been shown, and returns everything shown so far.
    ///
    /// # Panics
    /// When it is not shown in time.
    pub fn shows(&mut self, text: &str) -> String {
        let deadline = Instant::now() + crate::PATIENCE;
        loop {
            let shown = String::from_utf8_lossy(&self.seen).into_owned();
            if shown.contains(text) {
                return shown;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let got = !left.is_zero() && readable(&self.master, left) && self.read();
            assert!(got, "the console must show `{text}`, and shows `{shown}`");
        }
    }

    /// Reads until the terminal hangs up; returns everything shown.
    pub fn rest(&mut self) -> String {
        while readable(&self.master, crate::PATIENCE) && self.read() {}
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// False at the end: EIO, once no process has the other side open.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.master.read(&mut buffer) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.seen.extend_from_slice(&buffer[..count]);
                true
            }
        }
    }
}
