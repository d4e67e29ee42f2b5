//! Files that an image, a bundle or another user names.
//!
//! open(2) of a device node has effects before anybody can look at what was opened: it loads modules,
//! starts watchdogs, takes terminals; that of a FIFO waits. So a name is first taken with `O_PATH`,
//! which opens nothing, then looked at, and what is opened is what was looked at: through
//! `/proc/self/fd`, by no name that could lead elsewhere by now.
//!
//! Must never open what is not a regular file, or a pipe that the caller himself names. Reference: open(2), "O_PATH"; proc_pid_fd(5).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, readlink};
use rustix::io::Errno;

use crate::deadline::Deadline;

/// The regular file `path`, from the directory `dir` on, open for reading; `None` if it is something else.
pub(crate) fn regular_file(
    dir: impl AsFd,
    path: &Path,
    resolve: ResolveFlags,
) -> io::Result<Option<File>> {
    let place = look_up(dir, path, resolve)?;
    if FileType::from_raw_mode(fstat(&place)?.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    reopen(&place).map(File::from).map(Some)
}

/// How often a path with `..` is looked up again where something on the machine was renamed or mounted meanwhile:
/// the kernel cannot tell then whether it stays inside, and says EAGAIN.
const LOOKUPS: u32 = 128;

/// Takes the name without opening anything.
fn look_up(dir: impl AsFd, path: &Path, resolve: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let once = || openat2(dir.as_fd(), path, flags, Mode::empty(), resolve);
    let mut answer = once();
    for _ in 1..LOOKUPS {
        match answer {
            Err(Errno::AGAIN) => answer = once(),
            _ => break,
        }
    }
    answer
}

/// The path of an open file, without links: what the kernel calls it (proc_pid_fd(5)).
pub(crate) fn path_of(fd: impl AsFd) -> io::Result<PathBuf> {
    let link = readlink(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()), Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(link.into_bytes())))
}

/// What a pipe holds that the caller names: at most so many bytes, `None` if there are more, or it is something else.
/// Its end is waited for until the deadline.
pub(crate) fn read_pipe(
    path: &Path,
    limit_bytes: usize,
    deadline: Deadline,
) -> io::Result<Option<Vec<u8>>> {
    let place = look_up(CWD, path, ResolveFlags::empty())?;
    if FileType::from_raw_mode(fstat(&place)?.st_mode) != FileType::Fifo {
        return Ok(None);
    }
    let mut pipe = File::from(reopen(&place)?);
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let mut set = [PollFd::new(&pipe, PollFlags::IN)];
        if rustix::io::retry_on_intr(|| poll(&mut set, deadline.left().as_ref()))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match pipe.read(&mut piece) {
            Ok(0) => return Ok(Some(bytes)),
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if bytes.len() > limit_bytes {
            return Ok(None);
        }
    }
}

/// Opens for reading what an `O_PATH` descriptor is of, once it is known to be harmless.
pub(crate) fn reopen(place: &OwnedFd) -> io::Result<OwnedFd> {
    // Another's lease on the file would make it wait (fcntl(2), "Leases").
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// All bytes of a file, `None` if there are more than the limit. The length is not believed: the file may
/// grow meanwhile.
pub(crate) fn read(file: &File, limit_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let expected = file.metadata()?.len().min(limit_bytes as u64);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0) + 1);
    file.take(limit_bytes as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit_bytes).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn a_file_behind_links_upwards_is_found_while_others_rename() {
        let dir = std::env::temp_dir().join(format!("brig-foreign-{}", std::process::id()));
        fs::create_dir_all(dir.join("a/b")).expect("mkdir");
        fs::write(dir.join("passwd"), "x").expect("write");
        std::os::unix::fs::symlink("b/../b/../b/../../passwd", dir.join("a/passwd"))
            .expect("symlink");
        let root = fs::File::open(&dir).expect("open");
        let done = AtomicBool::new(false);
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let missing = thread::scope(|scope| {
            scope.spawn(|| {
                let [one, other] = ["one", "other"].map(|name| dir.join(name));
                fs::write(&one, "").expect("write");
                while !done.load(Ordering::Relaxed) {
                    fs::rename(&one, &other).expect("rename");
                    fs::rename(&other, &one).expect("rename");
                }
            });
            let found = |_: &i32| regular_file(&root, Path::new("a/passwd"), resolve).is_ok();
            let missing = (0..20_000).filter(|n| !found(n)).count();
            done.store(true, Ordering::Relaxed);
            missing
        });
        fs::remove_dir_all(&dir).expect("remove");
        assert_eq!(missing, 0);
    }
}
