//! A container whose ids the node has mapped: its root and its volumes show the ids that their files have on disk, inside
//! its user namespace. Nothing on disk is changed.
//!
//! Promises: what cannot be mapped is found before anything is made, and named with its file system; a mount that is
//! judged here is made anew by the child, from what was found to be the same object. Must never attach a mount.
//! Reference: mount_setattr(2), "ID-mapped mounts"; the kernel's Documentation/filesystems/idmappings.rst.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use brig_pseudofs::{mountinfo, small_file};
use brig_sys::mount::{MountAttr, mount_setattr};
use rustix::fs::{AtFlags, CWD, FsWord, Mode, OFlags, StatVfsMountFlags, StatxFlags};
use rustix::fs::{fstatfs, fstatvfs, openat, statx};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::blueprint::{Blueprint, Remapped};
use super::layers;
use super::root::{Directory, Kind, Root, layers as layers_of};
use super::{Error, ErrorKind};
use crate::caller::Caller;
use crate::execute::IdMaps;
use crate::plan::{Ids, Layer, Layers, RootMount, RootMountKind, Tree, Volume, Writes};
use crate::sources;
use crate::spec::NamespaceType;
use crate::spec::mount::{Kind as MountKind, Scope};
use crate::spec::mount::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID};

/// `MOUNT_ATTR_IDMAP` of linux/mount.h.
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAYFS: FsWord = 0x794c_7630;

/// How a container's files get the ids of its user namespace: see [`Blueprint::remap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remap {
    /// What becomes of the root.
    pub root: RemapRoot,
    /// What becomes of a volume whose file system cannot map ids.
    pub unmappable: Unmappable,
}

/// What becomes of the root of a container whose ids are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemapRoot {
    /// It is read-only, once its mount points are there.
    ReadOnly,
    /// It can be written: to a tmpfs of its own, which ends with it, and whose pages are charged to the container.
    Ephemeral {
        /// What fits in it.
        size_bytes: u64,
    },
    /// It is as the specification asks, and what is written has on disk the ids that it has inside. Only of a directory: the
    /// upper layer of an overlay that an engine has mounted would be written from two mounts.
    InPlace,
}

/// What becomes of a volume whose file system cannot map ids (NFS, most of FUSE, mounts that are mapped already).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmappable {
    /// The container is not made.
    Refuse,
    /// It is mounted read-only; its files have the host's ids, which the container does not have.
    ReadOnly,
}

impl Blueprint {
    /// Lets the files of the root and of all bind mounts have the ids in the container that they have on disk, by
    /// idmapped mounts: for a container that has a new user namespace because the node says so, and whose bundle knows
    /// nothing of it. To be called once `config.spec` has that namespace and its maps, and before the container is made.
    /// A bind mount that has an id mapping of its own keeps that. A root of mounts is written as `remap` says, whatever its
    /// list says of that, and is not where its list says so; a tree is mapped [`RemapRoot::InPlace`], or refused. The user namespace is made here, for the mounts that are
    /// tried; the container gets this one.
    ///
    /// Read-only binds of the kernel's own file systems (sysfs, proc, cgroups) stay as they are: their files belong to
    /// nobody's range.
    ///
    /// # Errors
    /// The caller is not root of the machine; there is no new user namespace with maps; the root, or a volume with
    /// [`Unmappable::Refuse`], cannot be mapped: the error names it and its file system.
    pub fn remap(&mut self, remap: &Remap) -> Result<(), Error> {
        if Caller::get() != Caller::Root {
            return Err(Error::plain("remapping ids takes root of the machine")
                .of_kind(ErrorKind::Denied)
                .with_hint("run brig as root, or give the container the ids of its user"));
        }
        let namespace = self.linux().namespace(NamespaceType::User);
        if namespace.is_some_and(|it| it.path.is_some()) {
            return Err(no_maps());
        }
        self.map_files(remap)?
    }

    /// The same, also in the user namespace of a pod, whose maps are known. The answer is whether the root can be mapped.
    pub(super) fn map_files(&mut self, remap: &Remap) -> Result<Result<(), Error>, Error> {
        let [uids, gids] = self.id_maps();
        if uids.is_empty() || gids.is_empty() {
            return Err(no_maps());
        }
        let maps = IdMaps { uids, gids };
        let held = maps.hold()?;
        if let Err(error) = self.remap_root(remap.root, held.as_fd()) {
            return Ok(Err(error));
        }
        let volumes = self.volumes(remap, held.as_fd())?;
        self.remapped = Some(Remapped { volumes, user_namespace: (maps, held) });
        Ok(Ok(()))
    }

    fn remap_root(&mut self, wanted: RemapRoot, userns: BorrowedFd<'_>) -> Result<(), Error> {
        let root = match &mut self.root.kind {
            Kind::Directory => self.directory_as_mount(wanted, userns)?,
            Kind::Mounts(mounts, _) => map_mounts(std::mem::take(mounts), wanted, userns)?,
            Kind::Tree(..) if wanted != RemapRoot::InPlace => {
                return Err(Error::plain("the root: a tree is mapped as it is, in place")
                    .of_kind(ErrorKind::Refused)
                    .with_hint(
                        "give the root as a list of mounts, which can be read-only or ephemeral",
                    ));
            }
            Kind::Tree(tree, held) => {
                let clone = match tree {
                    Tree::Detached => None,
                    Tree::Directory => Some(clone(&held, Scope::Tree)),
                };
                let clone = clone.transpose().map_err(|error| failed("the root", error))?;
                let detached = clone.unwrap_or(held.try_clone().map_err(|error| {
                    Error::system("duplicating the descriptor of the root", error)
                })?);
                map(&detached, userns, Scope::Tree).map_err(|error| failed("the root", error))?;
                Root::tree(Tree::Detached, detached)
            }
        };
        self.root.kind = root.kind;
        Ok(())
    }

    /// The directory at `root.path` as mounts whose files have mapped ids.
    fn directory_as_mount(&self, wanted: RemapRoot, userns: BorrowedFd<'_>) -> Result<Root, Error> {
        let directory = self.root.directory().ok_or_else(|| Error::plain("there is no root"))?;
        let doing =
            |error| Error::system(format!("root.path: looking at {}", directory.path), error);
        if fstatfs(&directory.held).map_err(doing)?.f_type == OVERLAYFS {
            return overlay_as_mount(directory, wanted, userns);
        }
        let scope = match wanted {
            RemapRoot::Ephemeral { .. } => Scope::Mount,
            RemapRoot::ReadOnly | RemapRoot::InPlace => Scope::Tree,
        };
        if let Err(error) = try_to_map(&directory.held, userns, scope) {
            return Err(unmappable("root.path", Path::new(&directory.path), &error));
        }
        let object = Some(directory.object());
        let layer = Layer { path: directory.path.clone(), object, ids: Ids::Mapped };
        let kind = match wanted {
            RemapRoot::ReadOnly => RootMountKind::Bind { source: layer, sealed: true },
            RemapRoot::InPlace => RootMountKind::Bind { source: layer, sealed: false },
            RemapRoot::Ephemeral { size_bytes } => {
                let writes = Writes::Ephemeral { size_bytes };
                return overlay_of(directory, vec![layer], writes, Vec::new());
            }
        };
        Root::mounts(vec![RootMount { target: "/".to_owned(), attributes: 0, kind }])
    }

    /// What each mount of the specification becomes.
    fn volumes(&self, remap: &Remap, userns: BorrowedFd<'_>) -> Result<Vec<Volume>, Error> {
        let mut volumes = Vec::new();
        for (index, mount) in self.config.spec.mounts.iter().enumerate() {
            let source = mount.source.as_deref().filter(|_| mount.idmap.is_none());
            let volume = match (&mount.kind, source) {
                (MountKind::Bind(_), Some(source)) => {
                    let path = self.bundle.join(source);
                    let field = format!("mounts[{index}].source");
                    volume(&field, &path, mount.is_read_only(), remap.unmappable, userns)?
                }
                _ => Volume::AsAsked,
            };
            volumes.push(volume);
        }
        Ok(volumes)
    }
}

/// A list of mounts with mapped ids, of which the first is written as `wanted` says, and nothing is that was not before.
fn map_mounts(
    mut mounts: Vec<RootMount>,
    wanted: RemapRoot,
    userns: BorrowedFd<'_>,
) -> Result<Root, Error> {
    if mounts.iter().any(|mount| matches!(mount.kind, RootMountKind::FileSystem { .. })) {
        return Err(Error::plain("the root: a file system of its own shows its ids as they are")
            .of_kind(ErrorKind::Refused)
            .with_hint("mount it, and give its directory as a layer or bind mount"));
    }
    if let Some(root) = mounts.first_mut() {
        restrict(&mut root.kind, wanted);
    }
    for layer in mounts.iter_mut().flat_map(layers_of) {
        layer.ids = Ids::Mapped;
    }
    let mut root = Root::mounts(mounts)?;
    if let Kind::Mounts(mounts, held) = &mut root.kind {
        for (layer, held) in mounts.iter_mut().flat_map(layers_of).zip(held) {
            let tried = try_to_map(held, userns, Scope::Mount);
            tried.map_err(|error| unmappable("the root", Path::new(&layer.path), &error))?;
        }
    }
    Ok(root)
}

/// Lets what is written to a root go where `wanted` says; what is in an upper layer already is shown.
fn restrict(root: &mut RootMountKind, wanted: RemapRoot) {
    let writes = match wanted {
        RemapRoot::InPlace => return,
        RemapRoot::ReadOnly => Writes::MountPoints,
        RemapRoot::Ephemeral { size_bytes } => Writes::Ephemeral { size_bytes },
    };
    match root {
        RootMountKind::Bind { sealed, .. } if wanted == RemapRoot::ReadOnly => *sealed = true,
        RootMountKind::Bind { sealed: true, .. } | RootMountKind::FileSystem { .. } => {}
        RootMountKind::Bind { source, .. } => {
            let (lower, options) = (vec![source.clone()], Vec::new());
            *root = RootMountKind::Overlay(Layers { lower, writes, options });
        }
        RootMountKind::Overlay(layers) => match &layers.writes {
            Writes::Nowhere | Writes::MountPoints => {}
            Writes::Ephemeral { .. } => layers.writes = writes,
            Writes::Layer { directory, upper, .. } => {
                let path = format!("{}/{upper}", directory.path);
                layers.lower.insert(0, Layer { path, object: None, ids: Ids::Mapped });
                layers.writes = writes;
            }
        },
    }
}

/// An overlay that an engine has mounted, made anew of the same layers: that of the engine stays, and is not written.
fn overlay_as_mount(
    directory: &Directory,
    wanted: RemapRoot,
    userns: BorrowedFd<'_>,
) -> Result<Root, Error> {
    let writes = match wanted {
        RemapRoot::ReadOnly => Writes::MountPoints,
        RemapRoot::Ephemeral { size_bytes } => Writes::Ephemeral { size_bytes },
        RemapRoot::InPlace => {
            let what = "is an overlay, which would be written from two mounts";
            return Err(Error::plain(format!("root.path: {} {what}", directory.path))
                .of_kind(ErrorKind::Refused)
                .with_hint("map the ids of a root that is read-only or ephemeral"));
        }
    };
    let layers::Overlay { layers, options } = layers::of(directory)?;
    for layer in &layers {
        let path = Path::new(&layer.path);
        let tried = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|opened| try_to_map(opened, userns, Scope::Mount));
        tried.map_err(|error| unmappable("root.path", path, &error))?;
    }
    overlay_of(directory, layers, writes, options)
}

/// An overlay in the place of a directory, with no more rights than what is mounted there.
fn overlay_of(
    directory: &Directory,
    lower: Vec<Layer>,
    writes: Writes,
    options: Vec<(String, Option<String>)>,
) -> Result<Root, Error> {
    let doing = |errno| Error::system(format!("root.path: looking at {}", directory.path), errno);
    let flags = fstatvfs(&directory.held).map_err(doing)?.f_flag;
    let attributes = [
        (StatVfsMountFlags::NOSUID, MOUNT_ATTR_NOSUID),
        (StatVfsMountFlags::NODEV, MOUNT_ATTR_NODEV),
        (StatVfsMountFlags::NOEXEC, MOUNT_ATTR_NOEXEC),
    ];
    let set = attributes.iter().filter(|(flag, _)| flags.contains(*flag));
    let attributes = set.fold(0, |all, (_, attribute)| all | attribute);
    let is_read_only = flags.contains(StatVfsMountFlags::RDONLY);
    let writes = if is_read_only { Writes::MountPoints } else { writes };
    let kind = RootMountKind::Overlay(Layers { lower, writes, options });
    let attributes = u32::try_from(attributes).unwrap_or(u32::MAX);
    Root::mounts(vec![RootMount { target: "/".to_owned(), attributes, kind }])
}

/// What a bind mount becomes.
fn volume(
    field: &str,
    path: &Path,
    is_read_only: bool,
    otherwise: Unmappable,
    userns: BorrowedFd<'_>,
) -> Result<Volume, Error> {
    let opened = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    // One that is missing, or that an earlier mount makes, is the child's to find or to miss.
    let Ok(opened) = opened else { return Ok(Volume::AsAsked) };
    let Err(error) = try_to_map(&opened, userns, Scope::Tree) else { return Ok(Volume::Mapped) };
    let kernels = fstatfs(&opened).is_ok_and(|stat| sources::is_kernels(stat.f_type));
    match otherwise {
        _ if kernels && is_read_only => Ok(Volume::AsAsked),
        Unmappable::ReadOnly => Ok(Volume::ReadOnly),
        Unmappable::Refuse => Err(unmappable(field, path, &error)),
    }
}

/// Whether a root is an overlay that an engine has mounted.
pub(super) fn is_overlay(root: &Root) -> bool {
    let held = root.directory().map(|directory| &directory.held);
    held.is_some_and(|held| fstatfs(held).is_ok_and(|stat| stat.f_type == OVERLAYFS))
}

fn no_maps() -> Error {
    Error::plain("linux.namespaces: has no new user namespace with id maps")
        .of_kind(ErrorKind::Refused)
        .with_hint("remapping files takes the maps that they are to have")
}

/// Tries what the child will do.
fn try_to_map(of: impl AsFd, userns: BorrowedFd<'_>, scope: Scope) -> io::Result<()> {
    map(&clone(of, scope)?, userns, scope)
}

/// A detached mount of a directory or file.
fn clone(of: impl AsFd, scope: Scope) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let below = match scope {
        Scope::Tree => OpenTreeFlags::AT_RECURSIVE,
        Scope::Mount => OpenTreeFlags::empty(),
    };
    Ok(open_tree(of, "", flags | below)?)
}

fn map(mount: &OwnedFd, userns: BorrowedFd<'_>, scope: Scope) -> io::Result<()> {
    let userns_fd = userns.as_raw_fd() as u64;
    let attr = MountAttr { set: MOUNT_ATTR_IDMAP, userns_fd, ..MountAttr::default() };
    mount_setattr(mount, scope == Scope::Tree, &attr)
}

fn failed(what: &str, error: io::Error) -> Error {
    Error::system(format!("mapping the ids of {what}"), error).of_kind(ErrorKind::Refused)
}

/// Names what cannot be mapped.
fn unmappable(field: &str, path: &Path, error: &io::Error) -> Error {
    let on = file_system_of(path).map_or(String::new(), |(kind, point)| {
        format!(" (on {kind}, mounted at {})", point.display())
    });
    let what = format!(
        "{field}: the files of {}{on} cannot have the container's ids: {error}",
        path.display()
    );
    Error::plain(what).of_kind(ErrorKind::Refused).with_hint(
        "the file system, or one that is mounted below, cannot map ids, or is mapped already (docs/kernel-support.md): \
         move the data to one that can, or let the policy mount what cannot be mapped read-only",
    )
}

/// The type of the file system that is mounted at a path, and where: for words.
fn file_system_of(path: &Path) -> Option<(String, PathBuf)> {
    let stat = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    let table = small_file::read_text("/proc/thread-self/mountinfo").ok()?;
    let id = stat.stx_mnt_id.to_string();
    let mount = mountinfo::Mount::all(&table).find(|mount| mount.id == id)?;
    Some((mount.kind.to_owned(), mount.point()))
}
