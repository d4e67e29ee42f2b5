//! Ranges of ids for remapped containers, each for one container or pod of the node at a time.
//!
//! A claim is a file of `/run/brig/ids`: `RANGE-N`, RANGE being the first id divided by 65,536, with the state directory of
//! the container in it. It is locked until the container is recorded, and removed once the container's cgroup is. Ranges are given in turn,
//! so that one which has become free comes last. Before that some are **proven** to be free, many at once: no claim
//! is of them whose container is recorded or being made, and no process of the machine has an id of theirs, or is in
//! a user namespace that maps to them. From then on nobody but who takes it from that list can get into one.
//!
//! Promises: no two containers that live have a range in common, whatever their state directories, and whenever a brig is
//! killed; but for those of a pod, which share one. A claim whose container is gone is collected. No range has ids of /etc/passwd, /etc/group, /etc/subuid or
//! /etc/subgid. Must never take a missing record for the end of a container: processes may outlive it.
//!
//! Reference: user_namespaces(7), subuid(5), proc_pid_uid_map(5).

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use brig_pseudofs::small_file;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ftruncate, openat, unlinkat};
use rustix::io::{Errno, pwrite};
use serde::{Deserialize, Serialize};

use crate::deadline::{Deadline, OF_OTHERS};
use crate::failure::{Failure, Kind};
use crate::ofd_lock;
use crate::policy::{IdPool, RANGE_IDS};
use crate::trusted::{self, Whose};

mod processes;
mod reserved;

/// Where claims are: one place for all of the node, whatever `--root` is.
pub const DIRECTORY: &str = "/run/brig/ids";
/// The file with what is proven, whose lock is that of the pool.
const POOL: &str = "pool";
/// How many ranges are looked at for each look at all processes.
const BATCH: u32 = 256;
/// Any byte of a file will do.
const WHOLE: std::ops::Range<i64> = 0..1;

/// The claims of a node.
#[derive(Debug)]
pub struct IdClaims {
    directory: OwnedFd,
    path: PathBuf,
    /// Where users and their ranges are listed: `/etc`.
    users: PathBuf,
}

/// A range that a container is given, which nobody else gets. Dropped before it is [kept](Self::keep), it is given back.
#[derive(Debug)]
pub struct IdClaim {
    range: u32,
    name: String,
    file: OwnedFd,
    directory: OwnedFd,
    is_kept: bool,
}

/// What the file of the pool holds.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Proven {
    /// The range after the last that was looked at.
    next: u32,
    /// Ranges that are free.
    free: VecDeque<u32>,
}

impl IdClaims {
    /// Those of this node.
    ///
    /// # Errors
    /// Their directory cannot be made, or others may write there.
    pub fn open() -> Result<Self, Failure> {
        Self::at(Path::new(DIRECTORY), Path::new("/etc"))
    }

    fn at(path: &Path, users: &Path) -> Result<Self, Failure> {
        let directory = trusted::make_directory(path)?;
        Ok(Self { directory, path: path.to_owned(), users: users.to_owned() })
    }

    /// A range of the pool that nobody has.
    ///
    /// # Errors
    /// There is none, or the claims cannot be read or written.
    pub fn claim(&self, pool: &IdPool) -> Result<IdClaim, Failure> {
        let locked = self.lock()?;
        let mut proven = self.proven(&locked)?;
        // The pool may be another since.
        proven.free.retain(|range| pool.ranges().contains(range));
        let reserved = reserved::read(&self.users)?;
        let mut looked_at = 0;
        loop {
            while let Some(range) = proven.free.pop_front() {
                if reserved.overlaps(range) {
                    continue;
                }
                if let Some(claim) = self.make(range, 0)? {
                    self.save(&locked, &proven)?;
                    return Ok(claim);
                }
            }
            if looked_at >= pool.ranges().len() {
                // Nothing is free: the next begins anew.
                self.save(&locked, &proven)?;
                return Err(exhausted(pool));
            }
            looked_at += self.prove(pool, &mut proven)?;
        }
    }

    /// A further claim of a range that another container has, for one of its pod. Whoever holds the range is asked for by
    /// `holds` once nobody can take it: where it does not any more, there is none.
    ///
    /// # Errors
    /// The claims cannot be read or written.
    pub fn share(
        &self,
        range: u32,
        holds: impl FnOnce() -> bool,
    ) -> Result<Option<IdClaim>, Failure> {
        let _locked = self.lock()?;
        if !holds() {
            return Ok(None);
        }
        for number in 1..=u32::MAX {
            if let Some(claim) = self.make(range, number)? {
                return Ok(Some(claim));
            }
        }
        Ok(None)
    }

    /// Gives back what the container with this state directory has, which lives no more: a claim of that name, if it is
    /// its. One that is gone is nothing to give back.
    ///
    /// # Errors
    /// The claim cannot be read or removed.
    pub fn give_back(&self, name: &str, container: &Path) -> Result<(), Failure> {
        let _locked = self.lock()?;
        match self.read(name)? {
            Some(owner) if owner == absolute(container)? => self.remove(name),
            _ => Ok(()),
        }
    }

    /// Locks the pool. What is done under it takes milliseconds.
    fn lock(&self) -> Result<OwnedFd, Failure> {
        let path = self.path.join(POOL);
        let flags = OFlags::RDWR | OFlags::CREATE;
        let file = trusted::file_in(&self.directory, POOL, flags, &path, Whose::Callers)?
            .ok_or_else(|| self.failed("opening", POOL, Errno::NOENT))?;
        match ofd_lock::take(&file, WHOLE, Deadline::after(OF_OTHERS)) {
            Ok(true) => Ok(file),
            Ok(false) => Err(Failure::plain(format!("{} is locked", path.display()))
                .of_kind(Kind::Busy)
                .with_hint(
                    "another brig takes a range of ids, and should be done: is it stopped?",
                )),
            Err(errno) => Err(self.failed("locking", POOL, io::Error::from(errno))),
        }
    }

    /// What is proven. What cannot be understood, as after a brig was killed in its middle, proves nothing.
    fn proven(&self, locked: &OwnedFd) -> Result<Proven, Failure> {
        let bytes =
            small_file::read_open(locked).map_err(|error| self.failed("reading", POOL, error))?;
        Ok(serde_json::from_slice(&bytes).unwrap_or_default())
    }

    fn save(&self, locked: &OwnedFd, proven: &Proven) -> Result<(), Failure> {
        let text = serde_json::to_vec(proven)
            .map_err(|error| Failure::because("writing which ids are free", error))?;
        let write = || {
            ftruncate(locked, 0)?;
            pwrite(locked, &text, 0)
        };
        match write() {
            Ok(written) if written == text.len() => Ok(()),
            Ok(_) => Err(self.failed("writing", POOL, Errno::NOSPC)),
            Err(errno) => Err(self.failed("writing", POOL, errno)),
        }
    }

    /// Makes the claim; `None` where there is one of that name. It is locked at once, as nobody else looks at claims while
    /// the pool is locked.
    fn make(&self, range: u32, number: u32) -> Result<Option<IdClaim>, Failure> {
        let name = format!("{range}-{number}");
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(&self.directory, &*name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => file,
            Err(Errno::EXIST) => return Ok(None),
            Err(errno) => return Err(self.failed("making", &name, errno)),
        };
        let directory = self.directory.try_clone();
        let directory = directory.map_err(|error| self.failed("making", &name, error))?;
        let claim = IdClaim { range, name, file, directory, is_kept: false };
        match ofd_lock::take(&claim.file, WHOLE, Deadline::after(OF_OTHERS)) {
            Ok(true) => Ok(Some(claim)),
            Ok(false) => Err(self.failed("locking", &claim.name, Errno::AGAIN)),
            Err(errno) => Err(self.failed("locking", &claim.name, io::Error::from(errno))),
        }
    }

    /// Looks at the next ranges of the pool, and collects claims whose containers are gone; how many they are.
    fn prove(&self, pool: &IdPool, proven: &mut Proven) -> Result<usize, Failure> {
        let ranges = pool.ranges();
        let from = if ranges.contains(&proven.next) { proven.next } else { ranges.start };
        let candidates = from..ranges.end.min(from + BATCH);
        let mut claimed: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for (range, name) in self.list()? {
            if candidates.contains(&range) {
                claimed.entry(range).or_default().push(name);
            }
        }
        let mut held = Vec::new();
        for (range, names) in &claimed {
            for name in names {
                if self.is_held(name)? {
                    held.push(*range);
                }
            }
        }
        // After the claims: what is made meanwhile has one, and is locked.
        let used = processes::ranges().map_err(|error| {
            Failure::system("looking at the ids of all processes", error)
                .with_hint("brig needs a procfs at /proc to give containers ids of their own")
        })?;
        for range in candidates.clone() {
            if held.contains(&range) || used.overlaps(range) {
                continue;
            }
            for name in claimed.get(&range).into_iter().flatten() {
                self.remove(name)?;
            }
            proven.free.push_back(range);
        }
        proven.next = if candidates.end == ranges.end { ranges.start } else { candidates.end };
        Ok(candidates.len())
    }

    /// All claims, by their ranges.
    fn list(&self) -> Result<Vec<(u32, String)>, Failure> {
        let failed = |errno: Errno| self.failed("reading", ".", errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(&self.directory, ".", flags, Mode::empty()).map_err(failed)?;
        let mut claims = Vec::new();
        for entry in Dir::new(opened).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type() == FileType::Directory {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(range) = name.split_once('-').and_then(|(range, _)| range.parse().ok()) {
                claims.push((range, name));
            }
        }
        Ok(claims)
    }

    /// Whether the claim is a container's that is being made, or is recorded.
    fn is_held(&self, name: &str) -> Result<bool, Failure> {
        let path = self.path.join(name);
        let flags = OFlags::RDWR;
        let Some(file) = trusted::file_in(&self.directory, name, flags, &path, Whose::Callers)?
        else {
            return Ok(false);
        };
        let locked = ofd_lock::is_held(&file, WHOLE);
        if locked.map_err(|errno| self.failed("looking at", name, io::Error::from(errno)))? {
            return Ok(true);
        }
        // After the lock: who had it has recorded the container by now.
        let owner =
            small_file::read_open(&file).map_err(|error| self.failed("reading", name, error))?;
        Ok(records(&Path::new(OsStr::from_bytes(&owner)).join("state.json"), name))
    }

    /// The state directory that a claim names.
    fn read(&self, name: &str) -> Result<Option<PathBuf>, Failure> {
        let path = self.path.join(name);
        let file = trusted::file_in(&self.directory, name, OFlags::RDONLY, &path, Whose::Callers)?;
        let Some(file) = file else { return Ok(None) };
        let bytes =
            small_file::read_open(&file).map_err(|error| self.failed("reading", name, error))?;
        Ok(Some(PathBuf::from(OsStr::from_bytes(&bytes))))
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        match unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("removing", name, errno)),
        }
    }

    fn failed(&self, doing: &str, name: &str, error: impl Into<io::Error>) -> Failure {
        Failure::system(format!("{doing} {}", self.path.join(name).display()), error)
    }
}

fn absolute(container: &Path) -> Result<PathBuf, Failure> {
    let failed = |error| Failure::system(format!("finding {}", container.display()), error);
    std::path::absolute(container).map_err(failed)
}

/// Whether the record at `path` has this claim. One that cannot be read may have it.
fn records(path: &Path, claim: &str) -> bool {
    #[derive(Deserialize)]
    struct Record {
        #[serde(default)]
        ids: Option<String>,
    }
    match small_file::read(path) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(Record { ids }) => ids.as_deref() == Some(claim),
            Err(_) => true,
        },
        Err(error) => {
            !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        }
    }
}

fn exhausted(pool: &IdPool) -> Failure {
    let ranges = pool.ranges();
    let first = ranges.start * RANGE_IDS;
    let what = format!("all {} ranges of ids from {first} on are in use", ranges.len());
    Failure::plain(what)
        .of_kind(Kind::Busy)
        .with_hint("give the node more by [ids] in its policy file, or end containers")
}

impl IdClaim {
    /// The first id of the range.
    #[must_use]
    pub fn first(&self) -> u32 {
        self.range * RANGE_IDS
    }

    /// What the container's record has to say for it to be kept.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says whose it is to be: the container with this state directory.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn assign(&self, container: &Path) -> Result<(), Failure> {
        let container = absolute(container)?;
        let bytes = container.as_os_str().as_bytes();
        let doing = || format!("writing {DIRECTORY}/{}", self.name);
        match pwrite(&self.file, bytes, 0) {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) => Err(Failure::system(doing(), Errno::NOSPC)),
            Err(errno) => Err(Failure::system(doing(), errno)),
        }
    }

    /// The container is recorded, with this claim's name.
    pub fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for IdClaim {
    fn drop(&mut self) {
        if !self.is_kept {
            // What stays is collected.
            let _ = unlinkat(&self.directory, &*self.name, AtFlags::empty());
        }
        // A process that is being set up has a copy.
        let _ = ofd_lock::end(&self.file, WHOLE);
    }
}

#[cfg(test)]
mod tests;
