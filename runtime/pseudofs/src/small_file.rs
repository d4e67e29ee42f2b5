//! Small files, with as few system calls as it takes: std's readers ask for sizes first and read
//! the kernel's files in pieces of 32 bytes, and musl's open(2) sets close-on-exec twice.
//!
//! Must never be used for files whose size somebody else controls: `foreign` of the runtime is for those.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, read as read_some};

/// The whole of a file of the kernel's or of brig's own.
///
/// # Errors
/// The kernel's, of open(2) or read(2).
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    read_open(&rustix::fs::open(path.as_ref(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The rest of an open file.
///
/// # Errors
/// The kernel's, of read(2).
pub fn read_open(fd: impl AsFd) -> io::Result<Vec<u8>> {
    read_at_most(fd, usize::MAX)
}

/// The same of a file whose length others decide, as that of a table of mounts.
///
/// # Errors
/// As `read_open`; `FileTooLarge` with more than `limit_bytes`.
pub fn read_at_most(fd: impl AsFd, limit_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4096];
    let mut length = 0;
    loop {
        if length > limit_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if length == bytes.len() {
            bytes.resize(length * 2, 0);
        }
        match read_some(&fd, &mut bytes[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// [`read`], as text.
///
/// # Errors
/// As `read`; `InvalidData` for what is not UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
