//! The state directory: `<root>/<id>`, mode 0700, with what later commands need. It is held by
//! descriptor from the look at who may write there ([`crate::trusted`]) to the last use.
//!
//! `state.json` is the record, replaced by rename, and names the cgroup before a process can be in it;
//! `process.json` names the first process, once there is one, `exec-PID.json` another where nothing else tells that it is
//! the container's; `config.json` is the specification that has held since
//! create, `asked.json` what was asked for where that is another, `policy.json` why; `start.sock` is the start gate while it is closed, `start.sock.opening`
//! while it is opened; `notify` is where the program says that it is ready; `lock` is for [`Lock`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use brig_cgroup::{CgroupRecord, PlannedCgroup};
use brig_pseudofs::identity::Identity;
use brig_pseudofs::small_file;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Error;
use super::lock::{self, Lock, Purpose};
use super::recorded::RecordedProcess;
use crate::configuration::Configuration;
use crate::deadline::Deadline;
use crate::execute::ResctrlRecord;
use crate::failure::Kind;
use crate::policy::{Applied, ChosenProfile};
use crate::spec::ContainerId;
use crate::trusted::{self, Whose};

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
    /// The cgroup that it is to have.
    #[serde(rename = "cgroup")]
    pub planned_cgroup: PlannedCgroup,
    /// The cgroup that was made for it: recorded before a process can be in it.
    #[serde(default, rename = "made", skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupRecord>,
    /// The resctrl groups that were made for it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<ResctrlRecord>,
    /// The claim of its ids, where they are of the node's pool: a name in [`crate::id_pool::DIRECTORY`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<String>,
    /// `annotations` of its specification.
    pub annotations: BTreeMap<String, String>,
    /// The child's operations past the start gate, in words, and the index of the first.
    pub after_gate: (usize, Vec<String>),
    /// A failure of the last of these may go unheard.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mute: bool,
}

impl Record {
    /// Reads the text of `state.json`.
    pub(crate) fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        json(bytes)
    }
}

/// Reads a file of the directory. As text: the readers of a profile are in the program once, as those of the policy's file.
fn json<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_str(std::str::from_utf8(bytes).map_err(serde::de::Error::custom)?)
}

/// What is wrong with a record, as after a crash of the machine.
#[derive(Debug)]
pub(super) struct DamagedRecord {
    words: String,
    /// The first process, where it is known all the same.
    pub(super) process: Option<RecordedProcess>,
}

impl DamagedRecord {
    pub(super) fn error(&self) -> Error {
        Error::plain(&*self.words).of_kind(Kind::Damaged).with_hint(
            "a kill reaches its first process, where that is known; a forced delete removes the container",
        )
    }
}

/// A container's state directory, held.
#[derive(Debug)]
pub struct StateDirectory {
    /// For people.
    path: PathBuf,
    root: OwnedFd,
    name: String,
    held: OwnedFd,
    config: OnceLock<Configuration>,
}

const RECORD: &str = "state.json";
const NEW_RECORD: &str = "state.json.new";
/// The first process.
pub(super) const PROCESS: &str = "process.json";
/// Before and after the pid of one that `exec` has started.
const EXECUTED: (&str, &str) = ("exec-", ".json");
/// What holds.
const CONFIG: &str = "config.json";
/// What was asked for, where another holds.
const ASKED: &str = "asked.json";
/// By which profile that was decided, and what; none where it changes nothing.
const POLICY: &str = "policy.json";
const LOCK: &str = "lock";
/// The start gate's socket.
pub(super) const GATE: &str = "start.sock";
/// The same once a `start` is about to open it.
pub(super) const OPENING: &str = "start.sock.opening";
/// The directory that is seen inside, where the program says that it is ready.
pub(super) const NOTIFY: &str = "notify";
/// The socket in it.
pub(super) const NOTIFY_SOCKET: &str = "notify/notify.sock";

impl StateDirectory {
    /// Makes the directory of a new container, and locks it.
    pub(super) fn make(root: &Path, id: &ContainerId) -> Result<(Self, Lock), Error> {
        let (name, path) = (id.as_str(), root.join(id.as_str()));
        let root = trusted::make_directory(root)?;
        rustix::fs::mkdirat(&root, name, Mode::RWXU).map_err(|errno| match errno {
            Errno::EXIST => {
                Error::plain(format!("container with given ID already exists: {name:?}"))
                    .of_kind(Kind::AlreadyExists)
                    .with_hint("choose another id, or delete the old container")
            }
            _ => Error::system(format!("making {}", path.display()), errno),
        })?;
        let directory = Self::held(root, name, path)?
            .ok_or_else(|| Error::plain(format!("container {name:?} was removed concurrently")))?;
        match directory.lock_for(Purpose::Making, Deadline::after(Duration::ZERO)) {
            Ok(lock) => Ok((directory, lock)),
            Err(error) => {
                directory.remove()?;
                Err(error)
            }
        }
    }

    /// The directory of a container, if there is one.
    ///
    /// # Errors
    /// The root of states, or the directory, is such that another user can have put there what is in it.
    pub fn find(root: &Path, id: &ContainerId) -> Result<Option<Self>, Error> {
        match trusted::open_directory(root, Whose::Callers)? {
            Some(held) => Self::held(held, id.as_str(), root.join(id.as_str())),
            None => Ok(None),
        }
    }

    fn held(root: OwnedFd, name: &str, path: PathBuf) -> Result<Option<Self>, Error> {
        let held = trusted::directory_in(&root, name, &path, Whose::Callers)?;
        Ok(held.map(|held| Self {
            path,
            root,
            name: name.to_owned(),
            held,
            config: OnceLock::new(),
        }))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A descriptor of it.
    pub(super) fn held_by(&self) -> BorrowedFd<'_> {
        self.held.as_fd()
    }

    /// Opens a file in it; `None` where there is none.
    fn file(&self, name: &str, flags: OFlags) -> Result<Option<OwnedFd>, Error> {
        trusted::file_in(&self.held, name, flags, &self.path.join(name), Whose::Callers)
    }

    /// The whole of a file in it; `None` where there is none.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.file(name, OFlags::RDONLY)? else { return Ok(None) };
        let bytes = small_file::read_open(&file);
        bytes.map(Some).map_err(|error| self.failed("reading", name, error))
    }

    /// Makes or replaces a file in it.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let gone = || self.failed("writing", name, Errno::NOENT);
        let file = self.file(name, flags)?.ok_or_else(gone)?;
        File::from(file).write_all(bytes).map_err(|error| self.failed("writing", name, error))
    }

    fn failed(&self, doing: &str, name: &str, error: impl Into<io::Error>) -> Error {
        Error::system(format!("{doing} {}", self.path.join(name).display()), error)
    }

    /// The lock, once nobody else changes the container; another holder is waited for until the deadline.
    pub(super) fn lock(&self, deadline: Deadline) -> Result<Lock, Error> {
        self.lock_for(Purpose::Changing, deadline)
    }

    /// The same; `None` where the container has been removed meanwhile.
    pub(super) fn lock_if_there(&self, deadline: Deadline) -> Result<Option<Lock>, Error> {
        let Some(file) = self.file(LOCK, OFlags::WRONLY | OFlags::CREATE)? else { return Ok(None) };
        let lock = Lock::take(file, &self.name, Purpose::Changing, deadline)?;
        Ok(self.is_there()?.then_some(lock))
    }

    fn lock_for(&self, purpose: Purpose, deadline: Deadline) -> Result<Lock, Error> {
        let file = self.file(LOCK, OFlags::WRONLY | OFlags::CREATE)?;
        let file = file.ok_or_else(|| self.failed("locking", LOCK, Errno::NOENT))?;
        Lock::take(file, &self.name, purpose, deadline)
    }

    /// Whether a brig is making the container.
    ///
    /// # Errors
    /// The lock cannot be looked at.
    pub(super) fn is_being_made(&self) -> Result<bool, Error> {
        match self.file(LOCK, OFlags::WRONLY)? {
            Some(file) => {
                lock::is_being_made(&file).map_err(|errno| self.failed("looking at", LOCK, errno))
            }
            None => Ok(false),
        }
    }

    /// Replaces the record.
    pub(super) fn save(&self, record: &Record) -> Result<(), Error> {
        let text = serde_json::to_vec(record)
            .map_err(|error| Error::because("writing the container's record", error))?;
        self.write(NEW_RECORD, &text)?;
        rustix::fs::renameat(&self.held, NEW_RECORD, &self.held, RECORD)
            .map_err(|errno| self.failed("writing", RECORD, errno))
    }

    /// Says which the first process is: one small write while that process is being set up.
    pub(super) fn save_process(&self, process: &RecordedProcess) -> Result<(), Error> {
        let text = serde_json::to_vec(process)
            .map_err(|error| Error::because("writing which the process is", error))?;
        self.write(PROCESS, &text)
    }

    /// Puts a process on record that `exec` has started. The records of those that have ended go.
    pub(super) fn save_executed(&self, process: &RecordedProcess) -> Result<(), Error> {
        for (name, recorded) in self.executed()? {
            if recorded.is_none_or(|process| matches!(process.open(), Ok(None))) {
                self.unlink(&name)?;
            }
        }
        let text = serde_json::to_vec(process)
            .map_err(|error| Error::because("writing which the process is", error))?;
        self.write(&executed_name(process.pid), &text)
    }

    /// The process has ended. A record that stays does no harm: it leads to none.
    pub(super) fn forget_executed(&self, pid: i32) {
        let _ = self.unlink(&executed_name(pid));
    }

    /// The records of processes that `exec` has started, by their names; `None` for one that cannot be read.
    pub(super) fn executed(&self) -> Result<Vec<(String, Option<RecordedProcess>)>, Error> {
        let listed = openat(&self.held, ".", READABLE, Mode::empty()).and_then(names);
        let mut names = listed.map_err(|errno| self.failed("reading", ".", errno))?;
        names.retain(|name| is_executed_name(name));
        let read = |name: String| {
            let bytes = self.read(&name)?.unwrap_or_default();
            Ok((name, json(&bytes).ok()))
        };
        names.into_iter().map(read).collect()
    }

    /// Keeps what holds; with what was asked for, and why another holds.
    pub(super) fn save_config(&self, config: &Configuration) -> Result<(), Error> {
        if !config.applied.profile.is_empty() {
            let text = serde_json::to_vec(&config.applied)
                .map_err(|error| Error::because("writing what the policy has decided", error))?;
            self.write(POLICY, &text)?;
        }
        if let Some(asked) = &config.asked {
            self.write(ASKED, asked)?;
        }
        self.write(CONFIG, &config.text)
    }

    /// The profile by which the container was made, and what it has decided.
    fn applied(&self) -> Result<Applied, Error> {
        match self.read(POLICY)? {
            None => Ok(Applied { profile: ChosenProfile::oci(), verdicts: Vec::new() }),
            Some(bytes) => {
                let read = json(&bytes);
                read.map_err(|error| self.damage(POLICY, &error).error())
            }
        }
    }

    /// The record, `None` where brig was killed before it wrote one, and its damage.
    pub(super) fn load(&self) -> Result<(Option<Record>, Option<DamagedRecord>), Error> {
        let Some(bytes) = self.read(RECORD)? else { return Ok((None, None)) };
        let process = self.load_process()?;
        Ok(match (Record::parse(&bytes), process) {
            (Ok(record), Ok(process)) => (Some(Record { process, ..record }), None),
            (Ok(record), Err(damage)) => (Some(record), Some(damage)),
            (Err(error), process) => {
                let process = process.ok().flatten();
                (None, Some(DamagedRecord { process, ..self.damage(RECORD, &error) }))
            }
        })
    }

    /// `None` where brig was killed before it could tell: a process that there is nevertheless is in the
    /// cgroup.
    fn load_process(&self) -> Result<Result<Option<RecordedProcess>, DamagedRecord>, Error> {
        let bytes = self.read(PROCESS)?.filter(|bytes| !bytes.is_empty());
        let process = bytes.map(|bytes| json(&bytes)).transpose();
        Ok(process.map_err(|error| self.damage(PROCESS, &error)))
    }

    fn damage(&self, name: &str, error: &serde_json::Error) -> DamagedRecord {
        let words = format!("{} is damaged: {error}", self.path.join(name).display());
        DamagedRecord { words, process: None }
    }

    /// The configuration that has held since create, which nobody changes.
    pub(super) fn config(&self) -> Result<&Configuration, Error> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let missing = || self.failed("reading", CONFIG, Errno::NOENT);
        let text = self.read(CONFIG)?.ok_or_else(missing)?;
        let config = Configuration::kept(&self.path, text, self.applied()?)?;
        Ok(self.config.get_or_init(|| config))
    }

    /// The same where it is known already.
    pub(super) fn with_config(self, config: Configuration) -> Self {
        Self { config: OnceLock::from(config), ..self }
    }

    /// Whether it is still what its name leads to: who has waited for the lock may find that it has been removed, and
    /// that there is a new one.
    pub(super) fn is_there(&self) -> Result<bool, Error> {
        let failed = |errno| Error::system(format!("looking at {}", self.path.display()), errno);
        let held = Identity::of(&self.held).map_err(failed)?;
        match statat(&self.root, self.name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Identity::from(&found) == held),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Removes the directory with all that brig puts there, and nothing else.
    pub(super) fn remove(&self) -> Result<(), Error> {
        // The record first: whoever is killed after that leaves nothing that needs what is gone.
        let had_record = self.unlink(RECORD)?;
        for name in [PROCESS, CONFIG, LOCK] {
            self.unlink(name)?;
        }
        // The kernel removes by name. A directory in which the record was until now is the one of that name.
        if !had_record && !self.is_there()? {
            return Ok(());
        }
        if self.remove_empty()? {
            return Ok(());
        }
        for name in [NEW_RECORD, GATE, OPENING, ASKED, POLICY, NOTIFY_SOCKET] {
            self.unlink(name)?;
        }
        match unlinkat(&self.held, NOTIFY, AtFlags::REMOVEDIR) {
            // What else may be in there is named below.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(self.failed("removing", NOTIFY, errno)),
        }
        for (name, _) in self.executed()? {
            self.unlink(&name)?;
        }
        if self.remove_empty()? { Ok(()) } else { Err(self.holds_more()) }
    }

    /// Removes a file in it; whether there was one.
    fn unlink(&self, name: &str) -> Result<bool, Error> {
        match unlinkat(&self.held, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.failed("removing", name, errno)),
        }
    }

    /// Removes the directory itself; false where something is in it.
    fn remove_empty(&self) -> Result<bool, Error> {
        match unlinkat(&self.root, self.name.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(Error::system(format!("removing {}", self.path.display()), errno)),
        }
    }

    /// The directory stays, for what somebody else has put there.
    fn holds_more(&self) -> Error {
        // By which `list` knows it.
        let listed = self.file(LOCK, OFlags::WRONLY | OFlags::CREATE);
        let names = openat(&self.held, ".", READABLE, Mode::empty()).and_then(names);
        let mut names = names.unwrap_or_default();
        names.retain(|name| name != LOCK);
        let what = format!("{} holds what brig has not put there", self.path.display());
        let what = if names.is_empty() { what } else { format!("{what}: {}", names.join(", ")) };
        let hint = match listed {
            Ok(_) => {
                "nothing else is left of the container: move that elsewhere, and delete it again"
            }
            Err(_) => "nothing else is left of the container: remove the directory",
        };
        Error::plain(what).of_kind(Kind::Busy).with_hint(hint)
    }
}

fn executed_name(pid: i32) -> String {
    format!("{}{pid}{}", EXECUTED.0, EXECUTED.1)
}

fn is_executed_name(name: &str) -> bool {
    let pid = name.strip_prefix(EXECUTED.0).and_then(|rest| rest.strip_suffix(EXECUTED.1));
    pid.is_some_and(|pid| pid.parse::<u32>().is_ok())
}

/// To be listed.
const READABLE: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The names in a directory.
fn names(directory: OwnedFd) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::new(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// What is below a root of states.
#[derive(Debug, Default)]
pub struct Listed {
    /// The ids of the containers, sorted.
    pub ids: Vec<ContainerId>,
    /// Directories that bear the name of one and cannot be taken for one.
    pub unclear: Vec<Error>,
}

/// Lists the containers below `root`.
pub(super) fn list(root: &Path) -> Result<Listed, Error> {
    let failed = |errno| Error::system(format!("reading {}", root.display()), errno);
    let mut listed = Listed::default();
    let Some(held) = trusted::open_directory(root, Whose::Callers)? else { return Ok(listed) };
    let readable = openat(&held, ".", READABLE, Mode::empty()).map_err(failed)?;
    let mut names = names(readable).map_err(failed)?;
    names.sort_unstable();
    for name in names {
        let Ok(id) = ContainerId::parse(&name) else { continue };
        let lock = Path::new(id.as_str()).join(LOCK);
        match statat(&held, &lock, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => listed.ids.push(id),
            Err(errno) => listed.unclear.extend(unclear(&held, root, &name, errno)),
        }
    }
    Ok(listed)
}

/// What is to be said of an entry whose lock cannot be seen; nothing of one that is gone, or no directory.
fn unclear(root: &OwnedFd, path: &Path, name: &str, errno: Errno) -> Option<Error> {
    let found = statat(root, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    (FileType::from_raw_mode(found.st_mode) == FileType::Directory).then_some(())?;
    let path = path.join(name);
    Some(match errno {
        Errno::NOENT => Error::plain(format!(
            "{} holds no complete container: it is being created, or create was interrupted",
            path.display()
        ))
        .with_hint("if no brig process is creating it, a forced delete removes it"),
        _ => Error::system(format!("looking at {}", path.display()), errno),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Deadline {
        Deadline::after(Duration::ZERO)
    }

    fn made(root: &Path) -> (StateDirectory, Lock) {
        let id = ContainerId::parse("c1").expect("an id");
        let made = StateDirectory::make(root, &id).expect("there is none");
        made.0.write(RECORD, b"{}").expect("write");
        made
    }

    fn found(root: &Path) -> StateDirectory {
        let id = ContainerId::parse("c1").expect("an id");
        StateDirectory::find(root, &id).expect("find").expect("there is one")
    }

    #[test]
    fn who_is_late_to_remove_a_container_does_not_remove_the_next_one() {
        let root = tempfile::tempdir().expect("a directory");
        let (first, lock) = made(root.path());
        let (late, later) = (found(root.path()), found(root.path()));
        let file = late.file(LOCK, OFlags::WRONLY).expect("open").expect("the lock");
        first.remove().expect("remove");
        drop(lock);
        // As one that has waited for it: nobody else has it any more.
        Lock::take(file, "c1", Purpose::Changing, now()).expect("lock");
        assert!(late.lock_if_there(now()).expect("look").is_none(), "it is gone");
        let id = ContainerId::parse("c1").expect("an id");
        std::fs::create_dir(root.path().join(id.as_str())).expect("the next one, still empty");
        late.remove().expect("nothing to do");
        assert!(root.path().join("c1").is_dir(), "the next one was removed");
        std::fs::remove_dir(root.path().join("c1")).expect("remove");
        let (_next, _lock) = made(root.path());
        later.remove().expect("nothing to do");
        assert!(later.lock_if_there(now()).expect("look").is_none(), "it is another one");
        assert!(found(root.path()).read(RECORD).expect("read").is_some());
    }

    #[test]
    fn what_another_has_put_there_is_named_and_stays() {
        let root = tempfile::tempdir().expect("a directory");
        let (directory, _lock) = made(root.path());
        let foreign = root.path().join("c1/.nfs0001");
        std::fs::write(&foreign, "foreign").expect("write");
        for _ in 0..2 {
            let error = directory.remove().expect_err("it holds more").to_string();
            assert!(error.contains("c1 ") && error.ends_with(": .nfs0001"), "{error}");
            assert!(foreign.exists());
            assert_eq!(list(root.path()).expect("list").ids.len(), 1);
        }
        std::fs::remove_file(&foreign).expect("remove");
        directory.remove().expect("it holds no more");
        assert!(!root.path().join("c1").exists());
    }
}
