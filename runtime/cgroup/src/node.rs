//! A container's directory in one hierarchy, known by identity.
//!
//! Promises: what is read, written, listed and removed is the directory that was made or recorded,
//! whatever is at its path by now, and it is gone only where that is known. Must never: reach a file by path; the directory is opened in one
//! place, compared there, and all else goes from its descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use brig_pseudofs::boot::{BOOT_ID, Boot};
use brig_pseudofs::identity::Identity;
use rustix::fs::{AtFlags, CWD, FsWord, Mode, OFlags, openat, statat, statfs, unlinkat};
use rustix::io::Errno;

use super::plan::Directory;
use super::{Error, file};

/// Readable, as bpf(2) takes no `O_PATH` descriptor, and getdents64(2) none either.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// `CGROUP_SUPER_MAGIC` and `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const CGROUP_MAGIC: FsWord = 0x0027_e0eb;
const CGROUP2_MAGIC: FsWord = 0x6367_7270;

/// Opens a directory.
pub(crate) fn open_directory(
    at: impl AsFd,
    name: impl rustix::path::Arg,
) -> Result<OwnedFd, Errno> {
    openat(at, name, DIRECTORY, Mode::empty())
}

/// The container's directory in one hierarchy.
#[derive(Debug)]
pub(crate) struct CgroupNode {
    pub(crate) directory: Directory,
    pub(crate) path: PathBuf,
    /// brig made it, so that the kernel's defaults hold in it.
    pub(crate) made: bool,
    descriptor: OnceLock<OwnedFd>,
    identity: Identity,
    /// When the identity holds, where that is not the present boot for certain.
    boot: Option<Boot>,
}

impl CgroupNode {
    /// The directory that is at the path now.
    pub(crate) fn now(directory: &Directory, made: bool) -> Result<CgroupNode, Error> {
        let path = directory.absolute();
        let opened = open_directory(CWD, &path).map_err(|e| Error::call("open", &path, e))?;
        let identity = Identity::of(&opened).map_err(|e| Error::call("fstat", &path, e))?;
        let descriptor = OnceLock::from(opened);
        let (directory, boot) = (directory.clone(), None);
        Ok(CgroupNode { directory, path, made, descriptor, identity, boot })
    }

    /// A directory that was made earlier; opens nothing yet.
    pub(crate) fn recorded(directory: &Directory, identity: Identity, boot: Boot) -> CgroupNode {
        let path = directory.absolute();
        let (directory, descriptor) = (directory.clone(), OnceLock::new());
        CgroupNode { directory, path, made: false, descriptor, identity, boot: Some(boot) }
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether what was found at the path is the container's.
    fn is_own(&self, found: Identity) -> Result<bool, Error> {
        Ok(found == self.identity && self.is_of_this_boot()?)
    }

    fn is_of_this_boot(&self) -> Result<bool, Error> {
        let lasts = self.boot.as_ref().map_or(Ok(true), Boot::is_now);
        lasts.map_err(|error| Error::call("read", BOOT_ID, error))
    }

    /// That nothing is at the path tells of the container's cgroup only where cgroups are seen at all.
    fn must_be_seen(&self) -> Result<(), Error> {
        let mount = &self.directory.mount;
        let seen = match statfs(mount) {
            Ok(found) => [CGROUP_MAGIC, CGROUP2_MAGIC].contains(&found.f_type),
            Err(Errno::NOENT | Errno::NOTDIR) => false,
            Err(error) => return Err(Error::call("statfs", mount, error)),
        };
        match seen || !self.is_of_this_boot()? {
            true => Ok(()),
            false => Err(Error::Unseen { mount: mount.clone() }),
        }
    }

    /// The open directory.
    ///
    /// # Errors
    /// [`Error::Gone`] where it has been removed, whether or not there is another by now; others where that
    /// cannot be known.
    pub(crate) fn descriptor(&self) -> Result<BorrowedFd<'_>, Error> {
        if let Some(descriptor) = self.descriptor.get() {
            return Ok(descriptor.as_fd());
        }
        let gone = || Error::Gone { path: self.path.clone() };
        let opened = match open_directory(CWD, &self.path) {
            Err(Errno::NOENT | Errno::NOTDIR) => {
                self.must_be_seen()?;
                return Err(gone());
            }
            answer => answer.map_err(|e| Error::call("open", &self.path, e))?,
        };
        let found = Identity::of(&opened).map_err(|e| Error::call("fstat", &self.path, e))?;
        if !self.is_own(found)? {
            return Err(gone());
        }
        Ok(self.descriptor.get_or_init(|| opened).as_fd())
    }

    pub(crate) fn has(&self, controller: &str) -> bool {
        self.directory.has(controller)
    }

    /// Opens a control file.
    pub(crate) fn open(&self, file: &str, flags: OFlags) -> Result<OwnedFd, Error> {
        openat(self.descriptor()?, file, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Error::call("open", self.path.join(file), e))
    }

    /// The content of a control file.
    pub(crate) fn read(&self, file: &str) -> Result<String, Error> {
        let path = || self.path.join(file);
        file::read_open(self.open(file, OFlags::RDONLY)?)
            .map_err(|e| Error::call("read", path(), e))
    }

    /// As `read`; none when the file does not exist.
    pub(crate) fn read_if_there(&self, file: &str) -> Result<Option<String>, Error> {
        match self.read(file) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a control file that is no limit.
    pub(crate) fn write(&self, file: &str, value: &str) -> Result<(), Error> {
        let descriptor = self.open(file, OFlags::WRONLY)?;
        file::write_once(descriptor.as_fd(), value)
            .map_err(|e| Error::call("write", self.path.join(file), e))
    }

    /// Removes the directory itself. That it is gone is no error.
    pub(crate) fn unlink(&self) -> Result<(), Error> {
        // Each time anew: the kernel removes by name, and brig may have waited in between.
        if !self.is_there()? {
            return Ok(());
        }
        match unlinkat(CWD, &self.path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(Error::call("rmdir", &self.path, error)),
        }
    }

    /// Whether it is still at its path.
    pub(crate) fn is_there(&self) -> Result<bool, Error> {
        match statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(data) => self.is_own(Identity::from(&data)),
            Err(Errno::NOENT | Errno::NOTDIR) => self.must_be_seen().map(|()| false),
            Err(error) => Err(Error::call("stat", &self.path, error)),
        }
    }
}

/// The directories above the container's, from the mount point down.
pub(crate) fn ancestors(directory: &Directory) -> impl Iterator<Item = PathBuf> + '_ {
    let slashes = directory.path.match_indices('/').map(|(at, _)| &directory.path[..at]);
    std::iter::once("").chain(slashes).map(|path| match path {
        "" => directory.mount.clone(),
        path => directory.mount.join(path),
    })
}

/// The pids in the list of the directory `at`, which is at `path`.
pub(crate) fn read_pids(
    at: impl AsFd,
    path: impl FnOnce() -> PathBuf,
    pids: &mut Vec<i32>,
) -> Result<(), Error> {
    let file = |path: PathBuf| path.join("cgroup.procs");
    let text = match file::read_at(at, Path::new("cgroup.procs")) {
        Ok(text) => text,
        Err(error) => {
            return match error.raw_os_error() {
                // Gone; or threaded, and the threads' processes are in the list above.
                Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP) => Ok(()),
                _ => Err(Error::call("read", file(path()), error)),
            };
        }
    };
    let before = pids.len();
    pids.extend(text.lines().map_while(|line| line.parse::<i32>().ok()));
    match text.lines().nth(pids.len() - before) {
        None => Ok(()),
        Some(line) => Err(Error::Content { path: file(path()), found: line.to_owned() }),
    }
}
