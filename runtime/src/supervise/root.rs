//! The container's root file system on the host: a directory, a tree that is held, or mounts that are still to be made.
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
use crate::plan::{
    self, Layer, RootDirectory, RootMount, RootMountKind, SourceObject, Tree, Writes,
};
use crate::spec::Config;

/// What becomes the container's root. Of one that is a tree or made of mounts, the directory that `root.path` names is
/// only the place where hooks find it.
#[derive(Debug)]
pub struct Root {
    directory: Option<Directory>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// The directory.
    Directory,
    Tree(Tree, OwnedFd),
    /// With a descriptor of each directory of the host that is part of it.
    Mounts(Vec<RootMount>, Vec<OwnedFd>),
}

/// A directory of the host's.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) held: OwnedFd,
    /// Its absolute path, without links; for words, and for the child to find it by.
    pub(super) path: String,
    device: (u32, u32),
    inode: u64,
    pub(super) mount: u64,
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

    /// A tree of which the caller has a descriptor. Nothing of it is looked up by a path. On kernels before 6.15 a
    /// detached mount has to be given as [`Tree::Detached`].
    #[must_use]
    pub const fn tree(tree: Tree, held: OwnedFd) -> Self {
        Self { directory: None, kind: Kind::Tree(tree, held) }
    }

    /// Mounts that are made for the container alone, the first as its root, by its process: none is ever in the host's
    /// table, and none is left when brig is killed. Directories of the host that they are made of are looked at now; the
    /// process has to find the same.
    ///
    /// # Errors
    /// One of the directories cannot be opened.
    pub fn mounts(mut mounts: Vec<RootMount>) -> Result<Self, Error> {
        let mut held = Vec::new();
        for layer in mounts.iter_mut().flat_map(layers) {
            held.push(look_at(layer)?);
        }
        Ok(Self { directory: None, kind: Kind::Mounts(mounts, held) })
    }

    /// The same root in the place of another: hooks find it at the directory of that one.
    #[must_use]
    pub(super) fn in_place_of(self, other: Self) -> Self {
        Self { directory: other.directory, ..self }
    }

    fn open(from: BorrowedFd<'_>, path: &Path, absolute: &Path) -> Result<Self, Error> {
        let doing = || format!("root.path: opening {}", absolute.display());
        let failed = |errno: Errno| {
            Error::system(doing(), errno)
                .with_hint("root.path must be a directory, absolute or relative to the bundle")
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let straight = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let held = openat2(from, path, flags, Mode::empty(), straight).map_err(|errno| {
            if errno != Errno::LOOP {
                return failed(errno);
            }
            let what = format!("root.path: {} contains a symbolic link", absolute.display());
            Error::plain(what).with_hint("use the resolved path, if that is meant")
        })?;
        let stat = statx(&held, "", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::MNT_ID)
            .map_err(failed)?;
        let path = absolute.to_str().ok_or_else(|| Error::plain(doing() + ": it is not UTF-8"))?;
        let directory = Directory {
            held,
            path: path.to_owned(),
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            mount: stat.stx_mnt_id,
        };
        Ok(Self { directory: Some(directory), kind: Kind::Directory })
    }

    /// The directory that is the root, or in whose place it is.
    pub(super) fn directory(&self) -> Option<&Directory> {
        self.directory.as_ref()
    }

    /// The absolute path of that directory.
    pub(super) fn path(&self) -> Option<&Path> {
        self.directory.as_ref().map(|directory| Path::new(&directory.path))
    }

    /// That directory, as the child has to find it.
    #[must_use]
    pub fn place(&self) -> Option<RootDirectory<'_>> {
        self.directory.as_ref().map(Directory::expected)
    }

    /// What the child makes the root from.
    pub(super) fn expected(&self) -> plan::Root<'_> {
        let place = self.place();
        match (&self.kind, place) {
            (Kind::Directory, Some(directory)) => plan::Root::Directory(directory),
            // There is none without a directory: `open` alone makes them.
            (Kind::Directory, None) => plan::Root::Mounts { mounts: &[], place },
            (Kind::Tree(tree, _), _) => plan::Root::Tree { tree: *tree, place },
            (Kind::Mounts(mounts, _), _) => plan::Root::Mounts { mounts, place },
        }
    }

    /// Takes the descriptor of a tree, for the child.
    pub(super) fn take_tree(&mut self) -> Option<OwnedFd> {
        match std::mem::replace(&mut self.kind, Kind::Directory) {
            Kind::Tree(_, held) => Some(held),
            other => {
                self.kind = other;
                None
            }
        }
    }

    /// Directories in which files of the image are found, those first that hide others.
    pub(super) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let of_tree = match &self.kind {
            Kind::Tree(_, held) => Some(held.as_fd()),
            _ => self.directory.as_ref().map(|directory| directory.held.as_fd()),
        };
        let of_mounts = match &self.kind {
            Kind::Mounts(_, held) => held.as_slice(),
            _ => &[],
        };
        of_tree.into_iter().chain(of_mounts.iter().map(AsFd::as_fd))
    }
}

impl Directory {
    fn expected(&self) -> RootDirectory<'_> {
        let Self { ref path, device, inode, mount, .. } = *self;
        RootDirectory { path, device, inode, mount }
    }

    /// What it is.
    pub(super) fn object(&self) -> SourceObject {
        SourceObject { device: self.device, inode: self.inode }
    }
}

/// The directories of the host that a mount is made of.
pub(super) fn layers(mount: &mut RootMount) -> Vec<&mut Layer> {
    match &mut mount.kind {
        RootMountKind::Bind { source, .. } => vec![source],
        RootMountKind::Overlay(layers) => {
            let upper = match &mut layers.writes {
                Writes::Layer { directory, .. } => Some(directory),
                Writes::Nowhere | Writes::MountPoints | Writes::Ephemeral { .. } => None,
            };
            upper.into_iter().chain(&mut layers.lower).collect()
        }
        RootMountKind::FileSystem { .. } => Vec::new(),
    }
}

/// Opens a directory of the host's, and notes what it is.
fn look_at(layer: &mut Layer) -> Result<OwnedFd, Error> {
    let failed = |errno: Errno| Error::system(format!("the root: opening {}", layer.path), errno);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let held =
        openat2(CWD, &*layer.path, flags, Mode::empty(), ResolveFlags::empty()).map_err(failed)?;
    let stat = statx(&held, "", AtFlags::EMPTY_PATH, StatxFlags::INO).map_err(failed)?;
    let device = (stat.stx_dev_major, stat.stx_dev_minor);
    layer.object = Some(SourceObject { device, inode: stat.stx_ino });
    Ok(held)
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
