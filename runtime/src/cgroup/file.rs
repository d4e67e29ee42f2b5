//! Control files: read with the fewest calls, written in one.
//!
//! std's `read_to_string` asks for a size first, which these files do not have, and
//! then reads in small steps.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::Error;

/// Most control files fit; longer ones are read in as many steps as it takes.
const CHUNK_BYTES: usize = 4096;

/// Reads `file`, which is relative to `directory` unless absolute.
pub(crate) fn read_at(directory: impl AsFd, file: impl AsRef<Path>) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    read_open(openat(directory, file.as_ref(), flags, Mode::empty())?)
}

/// Reads an open file to its end.
pub(crate) fn read_open(descriptor: impl AsFd) -> io::Result<String> {
    let mut text = Vec::new();
    let mut chunk = [0; CHUNK_BYTES];
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(&descriptor, &mut chunk))? {
            0 => return String::from_utf8(text).map_err(io::Error::other),
            count => text.extend_from_slice(&chunk[..count]),
        }
    }
}

/// Reads the file at `path`.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<String, Error> {
    let path = path.as_ref();
    read_at(CWD, path).map_err(|source| Error::call("read", path, source))
}

/// A control file takes a value in one write(2), or not at all.
pub(crate) fn write_once(descriptor: BorrowedFd<'_>, value: &str) -> io::Result<()> {
    match rustix::io::retry_on_intr(|| rustix::io::write(descriptor, value.as_bytes()))? {
        count if count == value.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}
