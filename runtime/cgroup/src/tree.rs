//! Going through a cgroup and all below it: a tree that somebody hostile may have made as deep and
//! as wide as the kernel lets him.
//!
//! Promises: every cgroup is found, whatever the length of its path, in linear time and with few
//! descriptors. Must never: use the stack for depth, or a path for more than words.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use brig_pseudofs::identity::Identity;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use super::node::{CgroupNode, open_directory, read_pids};
use super::patience::Patience;
use super::{Error, Leftover, file};

/// More leftovers are not named; one is enough to keep the container's record.
const MOST_LEFT: usize = 16;

/// A step of a walk.
enum Step {
    /// Into a directory: the top one, or one that is below the one before.
    In,
    /// Back out of the directory with this name, to the one that holds it.
    Out(CString),
}

/// A walk through the directories of a tree, each before those below it.
struct Walk<'n> {
    node: &'n CgroupNode,
    here: OwnedFd,
    levels: Vec<Level>,
}

/// A directory on the way from the top to where the walk is.
struct Level {
    name: CString,
    identity: Identity,
    /// The names of the directories below that are still to be visited.
    below: Vec<CString>,
}

impl<'n> Walk<'n> {
    fn through(node: &'n CgroupNode) -> Result<Walk<'n>, Error> {
        let here = open_directory(node.descriptor()?, c".");
        let here = here.map_err(|e| Error::call("open", &node.path, e))?;
        Ok(Walk { node, here, levels: Vec::new() })
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.here.as_fd()
    }

    /// Where the walk is, in words: the kernel would not take a path of this length.
    fn path(&self) -> PathBuf {
        let mut path = self.node.path.clone();
        path.extend(
            self.levels.iter().skip(1).map(|level| OsStr::from_bytes(level.name.to_bytes())),
        );
        path
    }

    fn fail(&self, call: &'static str, error: Errno) -> Error {
        Error::call(call, self.path(), error)
    }

    fn step(&mut self) -> Result<Option<Step>, Error> {
        let Some(level) = self.levels.last_mut() else {
            return self.enter(CString::default()).map(Some);
        };
        while let Some(name) = level.below.pop() {
            match open_directory(&self.here, name.as_c_str()) {
                Ok(opened) => {
                    self.here = opened;
                    return self.enter(name).map(Some);
                }
                Err(Errno::NOENT) => {}
                Err(error) => return Err(self.fail("open", error)),
            }
        }
        if self.levels.len() == 1 {
            return Ok(None);
        }
        let above = open_directory(&self.here, c"..").map_err(|e| self.fail("open", e))?;
        let found = Identity::of(&above).map_err(|e| self.fail("fstat", e))?;
        let left = self.levels.pop().map(|level| level.name).unwrap_or_default();
        if self.levels.last().is_none_or(|level| level.identity != found) {
            return Err(Error::Gone { path: self.path() });
        }
        self.here = above;
        Ok(Some(Step::Out(left)))
    }

    fn enter(&mut self, name: CString) -> Result<Step, Error> {
        let identity = Identity::of(&self.here).map_err(|e| self.fail("fstat", e))?;
        self.levels.push(Level { name, identity, below: Vec::new() });
        let below = directories(&self.here).map_err(|e| self.fail("getdents64", e))?;
        if let Some(level) = self.levels.last_mut() {
            level.below = below;
        }
        Ok(Step::In)
    }
}

/// The names of the directories in a directory; none when it is gone.
fn directories(at: impl AsFd) -> Result<Vec<CString>, Errno> {
    let mut found = Vec::new();
    let list = match Dir::read_from(at) {
        Err(Errno::NOENT) => return Ok(found),
        answer => answer?,
    };
    for entry in list {
        let entry = match entry {
            Err(Errno::NOENT) => break,
            answer => answer?,
        };
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}

/// The pids of all processes in the cgroup and below; none when it is gone.
pub(crate) fn pids(node: &CgroupNode) -> Result<Vec<i32>, Error> {
    let mut pids = Vec::new();
    let mut walk = match Walk::through(node) {
        Err(error) if error.is_gone() => return Ok(pids),
        answer => answer?,
    };
    while let Some(step) = walk.step()? {
        if matches!(step, Step::In) {
            read_pids(walk.here(), || walk.path(), &mut pids)?;
        }
    }
    Ok(pids)
}

/// Writes `value` to the file `name` of every cgroup below; one that is gone needs nothing.
pub(crate) fn write_below(node: &CgroupNode, name: &str, value: &str) -> Result<(), Error> {
    let mut walk = match Walk::through(node) {
        Err(error) if error.is_gone() => return Ok(()),
        answer => answer?,
    };
    while let Some(step) = walk.step()? {
        if !matches!(step, Step::In) || walk.levels.len() == 1 {
            continue;
        }
        let opened = openat(walk.here(), name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        match opened.map_err(io::Error::from).and_then(|fd| file::write_once(fd.as_fd(), value)) {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
                return Err(Error::call("write", walk.path().join(name), error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether the file `name` of the cgroup, or of one below, holds `value`; not where it is gone.
pub(crate) fn says(node: &CgroupNode, name: &str, value: &str) -> Result<bool, Error> {
    let mut walk = match Walk::through(node) {
        Err(error) if error.is_gone() => return Ok(false),
        answer => answer?,
    };
    while let Some(step) = walk.step()? {
        if !matches!(step, Step::In) {
            continue;
        }
        match file::read_at(walk.here(), Path::new(name)) {
            Ok(text) if text.trim() == value => return Ok(true),
            Err(error) if !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
                return Err(Error::call("read", walk.path().join(name), error));
            }
            _ => {}
        }
    }
    Ok(false)
}

/// The first cgroup that holds processes, and how many; else the first one below `node`.
pub(crate) fn occupant(node: &CgroupNode) -> Result<Option<(PathBuf, usize)>, Error> {
    let mut walk = Walk::through(node)?;
    let (mut pids, mut below) = (Vec::new(), None);
    while let Some(step) = walk.step()? {
        if matches!(step, Step::In) {
            read_pids(walk.here(), || walk.path(), &mut pids)?;
            if !pids.is_empty() {
                return Ok(Some((walk.path(), pids.len())));
            }
            if below.is_none() && walk.levels.len() > 1 {
                below = Some((walk.path(), 0));
            }
        }
    }
    Ok(below)
}

/// Whether there is neither a process in the cgroup nor a cgroup below; so it is, too, where it is gone.
pub(crate) fn is_empty_leaf(node: &CgroupNode) -> Result<bool, Error> {
    match occupant(node) {
        Err(error) if error.is_gone() => Ok(true),
        answer => answer.map(|occupant| occupant.is_none()),
    }
}

/// Removes the cgroup with all below it; what could not be removed is added to `left`. The usual
/// case, a leaf, takes no walk.
pub(crate) fn remove(node: &CgroupNode, patience: &mut Patience, left: &mut Vec<Leftover>) {
    let Err(error) = node.unlink() else { return };
    let before = left.len();
    if is_busy(&error)
        && let Err(error) = remove_below(node, patience, left)
        && !error.is_gone()
    {
        let (path, pids) = (node.path.clone(), Vec::new());
        left.push(Leftover { path, pids, source: io::Error::other(error) });
    }
    if left.len() == before
        && let Err(error) = insist(|| node.unlink(), patience)
    {
        let mut pids = Vec::new();
        // What it holds helps the reader; that it cannot be read is the lesser news.
        let _ = node.descriptor().and_then(|at| read_pids(at, || node.path.clone(), &mut pids));
        left.push(Leftover { path: node.path.clone(), pids, source: error.into_source() });
    }
}

fn is_busy(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::EBUSY | libc::ENOTEMPTY))
}

/// A process that has just ended keeps its cgroup for a moment.
fn insist(
    mut unlink: impl FnMut() -> Result<(), Error>,
    patience: &mut Patience,
) -> Result<(), Error> {
    loop {
        match unlink() {
            Err(error) if is_busy(&error) && patience.wait() => {}
            Err(error) if error.errno() == Some(libc::ENOENT) => return Ok(()),
            answer => return answer,
        }
    }
}

fn remove_below(
    node: &CgroupNode,
    patience: &mut Patience,
    left: &mut Vec<Leftover>,
) -> Result<(), Error> {
    let mut walk = Walk::through(node)?;
    // For each level whether something below it is left, so that it cannot be removed either.
    let mut stuck = Vec::new();
    while let Some(step) = walk.step()? {
        let Step::Out(name) = step else {
            stuck.push(false);
            continue;
        };
        let held = stuck.pop() == Some(true) || !remove_at(&walk, &name, patience, left);
        if let Some(above) = stuck.last_mut() {
            *above |= held;
        }
    }
    Ok(())
}

fn remove_at(
    walk: &Walk<'_>,
    name: &CStr,
    patience: &mut Patience,
    left: &mut Vec<Leftover>,
) -> bool {
    let unlink =
        || unlinkat(walk.here(), name, AtFlags::REMOVEDIR).map_err(|e| walk.fail("rmdir", e));
    let Err(error) = insist(unlink, patience) else { return true };
    if left.len() < MOST_LEFT {
        let path = walk.path().join(OsStr::from_bytes(name.to_bytes()));
        let mut pids = Vec::new();
        if let Ok(at) = open_directory(walk.here(), name) {
            // As above.
            let _ = read_pids(at, || path.clone(), &mut pids);
        }
        left.push(Leftover { path, pids, source: error.into_source() });
    }
    false
}
