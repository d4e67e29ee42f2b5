//! Directories and files that nobody can have put there but root and the user whom brig runs as.
//!
//! What brig finds in its state it acts on: hooks are run, processes killed, cgroups removed. So a path
//! to it is walked one component at a time, by descriptor, and each is looked at before it is used: who
//! owns it, and who may change what is in it. What is answered is the descriptor, so that a name which
//! leads elsewhere later changes nothing.
//!
//! Promises: no directory on the way is another user's, or lets other users replace an entry of brig's
//! (a sticky one such as /tmp does not); no symbolic link on the way is another user's; the directory
//! itself is the caller's or root's, and nobody else may write in it. Files are regular, no links, and of
//! the same owners. In a user namespace the owners that it does not map look like one; the owner of `/`
//! counts as root on the way there, and for what is the system's own ([`Whose::Systems`]); never for a state.
//! Reference: path_resolution(7), inode(7); the rules are those of sshd's `StrictModes`.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, readlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::failure::{Failure, Kind};

/// As many symbolic links as the kernel follows (path_resolution(7)).
const MOST_LINKS: u32 = 40;
/// The write permissions of group and others.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Whose a directory or file may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The caller's or root's.
    Callers,
    /// Also of the owner of `/`: root, where the user namespace does not map it.
    Systems,
}

/// What becomes of directories that are missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Absent,
    Made,
}

/// The directory at `path`; `None` where there is nothing.
pub(crate) fn open_directory(path: &Path, whose: Whose) -> Result<Option<OwnedFd>, Failure> {
    walk(path, Missing::Absent, whose)
}

/// The directory at `path`, made with mode 0700, and what is missing above it, where it is not there.
pub(crate) fn make_directory(path: &Path) -> Result<OwnedFd, Failure> {
    walk(path, Missing::Made, Whose::Callers)?
        .ok_or_else(|| Failure::plain(format!("{} was removed concurrently", path.display())))
}

/// The directory `name` of a trusted one; `path` is for errors.
pub(crate) fn directory_in(
    parent: &OwnedFd,
    name: &str,
    path: &Path,
    whose: Whose,
) -> Result<Option<OwnedFd>, Failure> {
    let Some((found, stat)) = look(parent, OsStr::new(name), path)? else { return Ok(None) };
    require_own_directory(&stat, path, whose)?;
    Ok(Some(found))
}

/// Opens the file `name` of a trusted directory; `path` is for errors.
pub(crate) fn file_in(
    directory: &OwnedFd,
    name: &str,
    flags: OFlags,
    path: &Path,
    whose: Whose,
) -> Result<Option<OwnedFd>, Failure> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(directory, name, flags, Mode::RUSR | Mode::WUSR) {
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(planted(path, "is a symbolic link")),
        answer => answer.map_err(|errno| failed(path, errno))?,
    };
    let stat = fstat(&file).map_err(|errno| failed(path, errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(planted(path, "is not a regular file"));
    }
    require_owner(&stat, path, whose)?;
    Ok(Some(file))
}

fn walk(path: &Path, missing: Missing, whose: Whose) -> Result<Option<OwnedFd>, Failure> {
    let absolute = std::path::absolute(path).map_err(|error| failed(path, error))?;
    let (mut here, mut stat) = (root()?, None);
    let mut place = PathBuf::from("/");
    let (mut ahead, mut links) = (steps(&absolute), 0);
    while let Some(name) = ahead.pop_front() {
        let parent = place.clone();
        place.push(&name);
        let Some((found, found_stat)) = look_or_make(&here, &name, &place, missing)? else {
            return Ok(None);
        };
        if FileType::from_raw_mode(found_stat.st_mode) == FileType::Symlink {
            links += 1;
            require_on_the_way(&found_stat, &place)?;
            let target = target(&found, &place, links)?;
            if target.is_absolute() {
                (here, stat, place) = (root()?, None, PathBuf::from("/"));
            } else {
                place = parent;
            }
            let rest = std::mem::take(&mut ahead);
            ahead = steps(&target).into_iter().chain(rest).collect();
            continue;
        }
        if !ahead.is_empty() {
            require_on_the_way(&found_stat, &place)?;
        }
        (here, stat) = (found, Some(found_stat));
    }
    let stat = match stat {
        Some(stat) => stat,
        None => fstat(&here).map_err(|errno| failed(&place, errno))?,
    };
    require_own_directory(&stat, &place, whose)?;
    Ok(Some(here))
}

/// The steps that a walk along the path has to take, with `..`; one that is absolute begins anew.
#[must_use]
pub fn steps(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    parts.collect()
}

fn root() -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, "/", flags, Mode::empty()).map_err(|errno| failed(Path::new("/"), errno))
}

fn look_or_make(
    here: &OwnedFd,
    name: &OsStr,
    path: &Path,
    missing: Missing,
) -> Result<Option<(OwnedFd, Stat)>, Failure> {
    let found = look(here, name, path)?;
    if found.is_some() || missing == Missing::Absent {
        return Ok(found);
    }
    match mkdirat(here, name, Mode::RWXU) {
        // Another brig was first.
        Ok(()) | Err(Errno::EXIST) => look(here, name, path),
        Err(errno) => Err(Failure::system(format!("making {}", path.display()), errno)
            .with_hint("keep states where the caller may make directories")),
    }
}

/// What `name` is, links not followed; `None` where there is nothing.
fn look(here: &OwnedFd, name: &OsStr, path: &Path) -> Result<Option<(OwnedFd, Stat)>, Failure> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // As a directory, so that one which is mounted when it is needed is (autofs).
    let found = match openat(here, name, flags | OFlags::DIRECTORY, Mode::empty()) {
        Err(Errno::NOTDIR) => openat(here, name, flags, Mode::empty()),
        answer => answer,
    };
    let found = match found {
        Err(Errno::NOENT) => return Ok(None),
        answer => answer.map_err(|errno| failed(path, errno))?,
    };
    let stat = fstat(&found).map_err(|errno| failed(path, errno))?;
    Ok(Some((found, stat)))
}

fn target(link: &OwnedFd, path: &Path, links: u32) -> Result<PathBuf, Failure> {
    if links > MOST_LINKS {
        return Err(failed(path, Errno::LOOP));
    }
    let target = readlinkat(link, "", Vec::new()).map_err(|errno| failed(path, errno))?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

/// A directory or link on the way: nobody else can have replaced what comes after it.
fn require_on_the_way(stat: &Stat, path: &Path) -> Result<(), Failure> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    require_owner(stat, path, Whose::Systems)?;
    let writable = stat.st_mode & OTHERS_WRITE != 0 && stat.st_mode & STICKY == 0;
    match kind {
        FileType::Symlink => Ok(()),
        FileType::Directory if writable => Err(writable_by_others(stat, path)),
        FileType::Directory => Ok(()),
        _ => Err(failed(path, Errno::NOTDIR)),
    }
}

/// The directory that is meant: only its owner may put anything in it.
fn require_own_directory(stat: &Stat, path: &Path, whose: Whose) -> Result<(), Failure> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {}
        FileType::Symlink => return Err(planted(path, "is a symbolic link")),
        _ => return Err(failed(path, Errno::NOTDIR)),
    }
    require_owner(stat, path, whose)?;
    match stat.st_mode & OTHERS_WRITE {
        0 => Ok(()),
        _ => Err(writable_by_others(stat, path)),
    }
}

fn require_owner(stat: &Stat, path: &Path, whose: Whose) -> Result<(), Failure> {
    let caller = geteuid().as_raw();
    let is_systems = || {
        whose == Whose::Systems
            && rustix::fs::stat("/").is_ok_and(|root| root.st_uid == stat.st_uid)
    };
    match stat.st_uid == caller || stat.st_uid == 0 || is_systems() {
        true => Ok(()),
        false => Err(planted(path, &format!("belongs to user {}, not to {caller}", stat.st_uid))),
    }
}

fn writable_by_others(stat: &Stat, path: &Path) -> Failure {
    let mode = stat.st_mode & 0o7777;
    planted(path, &format!("can be written by others than its owner (mode {mode:04o})"))
}

fn planted(path: &Path, fault: &str) -> Failure {
    Failure::plain(format!("{} {fault}: brig does not trust what is there", path.display()))
        .of_kind(Kind::Denied)
        .with_hint("keep states where only the caller and root can write")
}

fn failed(path: &Path, error: impl Into<io::Error>) -> Failure {
    Failure::system(format!("opening {}", path.display()), error)
}
