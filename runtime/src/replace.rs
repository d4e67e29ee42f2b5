//! Files that are replaced as a whole: written beside their place, then renamed.
//!
//! Promises: a reader sees the old file or the new one, never half of one; a failure leaves neither the place
//! changed nor a file beside it. Must never write through a link, or into a file, that somebody else has put
//! beside the place, nor remove that.
//! Reference: rename(2), open(2) `O_EXCL`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};

/// What the file has to outlive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// brig.
    Brig,
    /// A crash of the machine: it is on disk before it takes its place (fsync(2)).
    Machine,
}

/// Puts a file with this mode (less the umask) and these bytes at `path`, which is taken from `directory` where it is
/// relative.
///
/// # Errors
/// What the kernel says to the writing or the renaming; `EEXIST` where a file of the name that is used beside
/// the place is there already.
pub fn replace(
    directory: impl AsFd,
    path: &Path,
    mode: u32,
    bytes: &[u8],
    lasting: Lasting,
) -> io::Result<()> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let made = openat(&directory, &beside, flags, Mode::from_raw_mode(mode))?;
    let mut file = File::from(made);
    let written = file.write_all(bytes).and_then(|()| match lasting {
        Lasting::Brig => Ok(()),
        Lasting::Machine => file.sync_all(),
    });
    drop(file);
    let moved = written.and_then(|()| Ok(renameat(&directory, &beside, &directory, path)?));
    if moved.is_err() {
        let _ = unlinkat(&directory, &beside, AtFlags::empty());
    }
    moved
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use rustix::fs::CWD;

    use super::*;

    fn names(directory: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(directory).expect("a directory");
        entries.map(|entry| entry.expect("an entry").file_name()).collect()
    }

    #[test]
    fn the_whole_file_takes_the_place_and_nothing_stays_beside_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, "something longer").expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        for lasting in [Lasting::Brig, Lasting::Machine] {
            replace(CWD, &path, 0o600, b"new", lasting).expect("it is replaced");
            assert_eq!(fs::read(&path).expect("the file"), b"new");
            let mode = fs::metadata(&path).expect("the file").permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
        }
        let held = File::open(directory.path()).expect("a directory");
        replace(&held, Path::new("file"), 0o600, b"newer", Lasting::Brig).expect("it is replaced");
        assert_eq!(fs::read(&path).expect("the file"), b"newer");
        assert_eq!(names(directory.path()), ["file"]);
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("directory");
        fs::create_dir(&path).expect("make");
        replace(CWD, &path, 0o600, b"new", Lasting::Brig).expect_err("a directory is in its place");
        assert_eq!(names(directory.path()), ["directory"]);
    }

    #[test]
    fn what_another_has_put_beside_the_place_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let victim = directory.path().join("victim");
        fs::write(&victim, "untouched").expect("write");
        let beside = directory.path().join(format!(".file.{}", std::process::id()));
        std::os::unix::fs::symlink(&victim, &beside).expect("symlink");
        let path = directory.path().join("file");
        let error = replace(CWD, &path, 0o600, b"new", Lasting::Brig).expect_err("it is there");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&victim).expect("the victim"), b"untouched");
        assert!(beside.is_symlink() && !path.exists());
    }
}
