//! The state directory: `<root>/<id>`, mode 0700, with what later commands need.
//!
//! `state.json` is the record, replaced by rename; `process.json` names the first process, once
//! there is one; `config.json` is a copy of the specification as it was at create; `start.sock` is the start gate while it is closed; `lock` is held (fcntl(2),
//! so that no child inherits it) by who changes the container.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::Error;
use super::process::RecordedProcess;
use crate::bundle::Configuration;
use crate::cgroup::CgroupRecord;
use crate::small_file::{self, write_private};
use crate::spec::ContainerId;

/// What is kept of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its id.
    pub id: String,
    /// `ociVersion` of its specification.
    pub oci_version: String,
    /// Absolute path of its bundle.
    pub bundle: PathBuf,
    /// Absolute path of its root file system.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339.
    pub created: String,
    /// The user who created it.
    pub owner: u32,
    /// Its first process, once there is one; kept in a file of its own.
    #[serde(skip)]
    pub process: Option<RecordedProcess>,
    /// Its cgroup.
    pub cgroup: CgroupRecord,
    /// `annotations` of its specification.
    pub annotations: BTreeMap<String, String>,
    /// The child's operations past the start gate, in words, and the index of the first.
    pub after_gate: (usize, Vec<String>),
}

impl Record {
    /// Reads the text of `state.json`.
    pub(crate) fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }
}

/// A container's state directory.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    lock: Option<OwnedFd>,
}

const RECORD: &str = "state.json";
const NEW_RECORD: &str = "state.json.new";
const PROCESS: &str = "process.json";
const CONFIG: &str = "config.json";
const LOCK: &str = "lock";
/// The start gate's socket.
pub(super) const GATE: &str = "start.sock";

impl StateDirectory {
    /// Makes the directory of a new container, and locks it.
    pub(super) fn make(root: &Path, id: &ContainerId) -> Result<Self, Error> {
        let path = root.join(id.as_str());
        let make = || DirBuilder::new().mode(0o700).create(&path);
        let mut made = make();
        if matches!(&made, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            made = DirBuilder::new().recursive(true).mode(0o700).create(root).and_then(|()| make());
        }
        made.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Error::plain(format!("container with given ID already exists: {:?}", id.as_str()))
                    .with_hint("choose another id, or remove the old container with `brig delete`")
            }
            _ => Error::system(format!("making {}", path.display()), error),
        })?;
        let mut directory = Self { path, lock: None };
        match directory.lock_bytes(bytes(libc::F_WRLCK, CHANGING, 2), Duration::ZERO) {
            Ok(()) => Ok(directory),
            Err(error) => {
                directory.remove()?;
                Err(error)
            }
        }
    }

    /// The directory of a container that exists.
    ///
    /// # Errors
    /// There is no such container.
    pub fn open(root: &Path, id: &ContainerId) -> Result<Self, Error> {
        let path = root.join(id.as_str());
        match fs::symlink_metadata(&path) {
            Ok(data) if data.is_dir() => Ok(Self { path, lock: None }),
            _ => Err(Error::plain(format!("container {:?} does not exist", id.as_str()))
                .with_hint("`brig list` shows what there is below this --root")),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits at most `patience` until no other brig changes the container.
    pub(super) fn lock(&mut self, patience: Duration) -> Result<(), Error> {
        self.lock_bytes(bytes(libc::F_WRLCK, CHANGING, 1), patience)
    }

    fn lock_bytes(&mut self, wanted: libc::flock, patience: Duration) -> Result<(), Error> {
        let path = self.path.join(LOCK);
        let failed = |error: io::Error| Error::system(format!("locking {}", path.display()), error);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
        let file = file.map_err(|errno| failed(errno.into()))?;
        let deadline = Instant::now() + patience;
        loop {
            let mut range = wanted;
            match fcntl(&file, FcntlArg::F_SETLK(&range)) {
                Ok(_) => break,
                Err(Errno::EAGAIN | Errno::EACCES) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(Errno::EAGAIN | Errno::EACCES) => {
                    let _ = fcntl(&file, FcntlArg::F_GETLK(&mut range));
                    let what = format!("process {} is working on this container", range.l_pid);
                    return Err(Error::plain(what).with_hint("wait for it, or end it"));
                }
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        self.lock = Some(file);
        Ok(())
    }

    /// Whether another brig is making the container.
    pub(super) fn is_being_made(&self) -> bool {
        let mut range = bytes(libc::F_WRLCK, MAKING, 1);
        let asked = match &self.lock {
            // Closing another descriptor of the file would release this lock (fcntl(2)).
            Some(file) => fcntl(file, FcntlArg::F_GETLK(&mut range)),
            None => match OpenOptions::new().write(true).open(self.path.join(LOCK)) {
                Ok(file) => fcntl(&file, FcntlArg::F_GETLK(&mut range)),
                Err(_) => return false,
            },
        };
        asked.is_ok() && i32::from(range.l_type) != libc::F_UNLCK
    }

    /// The container is made; what else is done to it under the lock does not show.
    pub(super) fn is_made(&self) -> Result<(), Error> {
        let Some(file) = &self.lock else { return Ok(()) };
        let range = bytes(libc::F_UNLCK, MAKING, 1);
        fcntl(file, FcntlArg::F_SETLK(&range))
            .map(drop)
            .map_err(|errno| Error::system("unlocking the container", errno))
    }

    pub(super) fn unlock(&mut self) {
        self.lock = None;
    }

    /// Replaces the record.
    pub(super) fn save(&self, record: &Record) -> Result<(), Error> {
        let (path, new) = (self.path.join(RECORD), self.path.join(NEW_RECORD));
        let text = serde_json::to_vec(record)
            .map_err(|error| Error::because("writing the container's record", error))?;
        write_private(&new, &text)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|error| Error::system(format!("writing {}", path.display()), error))
    }

    /// Says which the first process is: one small write while that process is being set up.
    pub(super) fn save_process(&self, process: &RecordedProcess) -> io::Result<()> {
        write_private(self.path.join(PROCESS), &serde_json::to_vec(process)?)
    }

    pub(super) fn save_config(&self, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.join(CONFIG);
        write_private(&path, bytes)
            .map_err(|error| Error::system(format!("writing {}", path.display()), error))
    }

    /// The record; `None` where brig was killed before it wrote one.
    pub(super) fn load(&self) -> Result<Option<Record>, Error> {
        let path = self.path.join(RECORD);
        let bytes = match small_file::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            answer => answer
                .map_err(|error| Error::system(format!("reading {}", path.display()), error))?,
        };
        let mut record = Record::parse(&bytes)
            .map_err(|error| Error::because(format!("{} is damaged", path.display()), error))?;
        record.process = self.load_process()?;
        Ok(Some(record))
    }

    /// `None` where brig was killed before there was a process: it died with brig, if at all.
    fn load_process(&self) -> Result<Option<RecordedProcess>, Error> {
        let path = self.path.join(PROCESS);
        match small_file::read(&path) {
            Ok(bytes) if bytes.is_empty() => Ok(None),
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| Error::because(format!("{} is damaged", path.display()), error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::system(format!("reading {}", path.display()), error)),
        }
    }

    /// The configuration as it was at create.
    pub(super) fn load_config(&self) -> Result<Configuration, Error> {
        Ok(Configuration::load(&self.path)?)
    }

    /// Removes the directory with all that brig puts there.
    pub(super) fn remove(&self) -> Result<(), Error> {
        // The record first: whoever is killed after that leaves nothing that needs what is gone.
        for name in [RECORD, NEW_RECORD, PROCESS, GATE, CONFIG, LOCK] {
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let doing = format!("removing {}", self.path.join(name).display());
                    return Err(Error::system(doing, error));
                }
                _ => {}
            }
        }
        match fs::remove_dir(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::system(format!("removing {}", self.path.display()), error))
            }
            _ => Ok(()),
        }
    }
}

/// The byte of the lock file that stands for any change, and the one that stands for making.
const CHANGING: i64 = 0;
const MAKING: i64 = 1;

fn bytes(kind: libc::c_int, start: i64, length: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

/// The ids of all containers below `root`, sorted.
///
/// # Errors
/// The directory cannot be read.
pub fn list(root: &Path) -> Result<Vec<ContainerId>, Error> {
    let failed = |error| Error::system(format!("reading {}", root.display()), error);
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        answer => answer.map_err(failed)?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if let Some(id) = name.to_str().and_then(|name| ContainerId::parse(name).ok())
            && entry.path().join(LOCK).exists()
        {
            ids.push(id);
        }
    }
    ids.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    Ok(ids)
}
