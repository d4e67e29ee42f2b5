//! The container's root file system on the host: found once, and held.
//!
//! Promises: what is checked here is what becomes the container's root. A descriptor is held from the
//! check to the end of the set-up, so that the directory's numbers are not given to another, and the
//! child compares them with what it finds at the path (it may be in a mount namespace of its own, where
//! brig's descriptors lead nowhere).
//! Must never follow a symbolic link to the root: an image's author may have made one, and what it names
//! is not the image.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx};
use rustix::io::Errno;

use super::Error;
use crate::plan::RootDirectory;
use crate::spec::Config;

/// The directory that becomes the container's root.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    /// Its absolute path, without links; for words, and for the child to find it by.
    path: String,
    device: (u32, u32),
    inode: u64,
    mount: u64,
}

impl Root {
    /// The directory that `root.path` names, of the bundle that is open as `directory`.
    pub(super) fn of_bundle(
        directory: BorrowedFd<'_>,
        bundle: &Path,
        config: &Config,
    ) -> Result<Self, Error> {
        let path = normal(&bundle.join(&config.root.path));
        match path.strip_prefix(bundle) {
            Ok(below) if below != Path::new("") => Self::open(directory, below, &path),
            _ => Self::open(CWD, &path, &path),
        }
    }

    /// The host's own root.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn of_host() -> Result<Self, Error> {
        Self::open(CWD, Path::new("/"), Path::new("/"))
    }

    fn open(from: BorrowedFd<'_>, path: &Path, absolute: &Path) -> Result<Self, Error> {
        let doing = || format!("root.path: opening {}", absolute.display());
        let failed = |errno: Errno| {
            Error::system(doing(), errno)
                .with_hint("root.path must be a directory, absolute or relative to the bundle")
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let straight = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let directory = openat2(from, path, flags, Mode::empty(), straight).map_err(|errno| {
            if errno != Errno::LOOP {
                return failed(errno);
            }
            let what = format!("root.path: {} contains a symbolic link", absolute.display());
            Error::plain(what).with_hint("use the resolved path, if that is meant")
        })?;
        let stat = statx(&directory, "", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::MNT_ID)
            .map_err(failed)?;
        let path = absolute.to_str().ok_or_else(|| Error::plain(doing() + ": it is not UTF-8"))?;
        Ok(Self {
            directory,
            path: path.to_owned(),
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            mount: stat.stx_mnt_id,
        })
    }

    /// Its absolute path.
    pub(super) fn path(&self) -> &Path {
        Path::new(&self.path)
    }

    /// What the child has to find.
    #[must_use]
    pub fn expected(&self) -> RootDirectory<'_> {
        let Self { ref path, device, inode, mount, .. } = *self;
        RootDirectory { path, device, inode, mount }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// The path without `.` and `..`; where no link is on it, that is the same place.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    normal
}
