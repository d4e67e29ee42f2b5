//! Control files: text, below a directory that is held open, written in one call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use brig_pseudofs::small_file;
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::Error;

/// Reads `file`, which is relative to `directory` unless absolute.
pub(crate) fn read_at(directory: impl AsFd, file: impl AsRef<Path>) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    read_open(openat(directory, file.as_ref(), flags, Mode::empty())?)
}

/// Reads an open file to its end.
pub(crate) fn read_open(descriptor: impl AsFd) -> io::Result<String> {
    String::from_utf8(small_file::read_open(descriptor)?).map_err(io::Error::other)
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
