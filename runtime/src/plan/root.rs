//! What becomes the container's root, and whose ids files on the host have in it: plain data.
//!
//! Promises: nothing here names a descriptor, or anything that has not been looked at by whoever made it.

use super::SourceObject;

/// The container's root.
#[derive(Clone, Copy, Debug)]
pub enum Root<'s> {
    /// A directory that the child finds by its path, and has to find as the supervisor has.
    Directory(RootDirectory<'s>),
    /// A tree of which the supervisor holds a descriptor: the child looks nothing up.
    Tree {
        /// What the descriptor is of.
        tree: Tree,
        /// The directory in whose place it is.
        place: Option<RootDirectory<'s>>,
    },
    /// Mounts that the child makes, detached, so that they are never in the host's table.
    Mounts {
        /// The first is the root; the others are mounted in it, in their order.
        mounts: &'s [RootMount],
        /// The directory in whose place they are.
        place: Option<RootDirectory<'s>>,
    },
}

impl<'s> Root<'s> {
    /// The directory of the host at which hooks see the root.
    pub(super) fn place(&self) -> Option<RootDirectory<'s>> {
        match *self {
            Self::Directory(directory) => Some(directory),
            Self::Tree { place, .. } | Self::Mounts { place, .. } => place,
        }
    }

    /// Whether it is read-only whatever the specification says, once its mount points are there.
    pub(super) fn is_sealed(&self) -> bool {
        let Self::Mounts { mounts: [first, ..], .. } = self else { return false };
        match &first.kind {
            RootMountKind::Overlay(layers) => layers.writes == Writes::MountPoints,
            RootMountKind::Bind { sealed, .. } => *sealed,
            RootMountKind::FileSystem { .. } => false,
        }
    }

    /// Whether files of the host are to have the container's ids in it.
    pub(super) fn is_mapped(&self) -> bool {
        let Self::Mounts { mounts, .. } = self else { return false };
        mounts.iter().any(|mount| match &mount.kind {
            RootMountKind::Overlay(layers) => {
                layers.lower.iter().chain(layers.writes.directory()).any(Layer::is_mapped)
            }
            RootMountKind::Bind { source, .. } => source.is_mapped(),
            RootMountKind::FileSystem { .. } => false,
        })
    }
}

impl<'s> From<RootDirectory<'s>> for Root<'s> {
    fn from(directory: RootDirectory<'s>) -> Self {
        Self::Directory(directory)
    }
}

/// A root directory as the supervisor has found it. The child has to find the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootDirectory<'s> {
    /// Its absolute path, without links.
    pub path: &'s str,
    /// Major and minor number of its file system's device.
    pub device: (u32, u32),
    /// Its inode.
    pub inode: u64,
    /// The number of its mount, in the supervisor's mount namespace.
    pub mount: u64,
}

/// What a descriptor of a root is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// A detached mount (open_tree(2) with `OPEN_TREE_CLONE`, fsmount(2)): the container gets this very mount, so there is
    /// one container for it.
    Detached,
    /// A directory, which may be open with `O_PATH`: the container gets a copy of what is mounted there and below.
    Directory,
}

/// A mount of a root that is put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootMount {
    /// Where below the first mount, which itself is at `/`.
    pub target: String,
    /// `MOUNT_ATTR_*` of mount_setattr(2).
    pub attributes: u32,
    /// What it is.
    pub kind: RootMountKind,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootMountKind {
    /// A directory, with what is mounted below it.
    Bind {
        /// The directory.
        source: Layer,
        /// As the root it is read-only, once its mount points are there.
        sealed: bool,
    },
    /// An overlay of directories.
    Overlay(Layers),
    /// A file system of its own (erofs, ext4, tmpfs …).
    FileSystem {
        /// Its type.
        kind: String,
        /// Keys and values for fsconfig(2), `source` among them.
        options: Vec<(String, Option<String>)>,
    },
}

/// The layers of an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    /// Those that are only read; the first is the topmost.
    pub lower: Vec<Layer>,
    /// Where what is written goes.
    pub writes: Writes,
    /// Further options of overlayfs.
    pub options: Vec<(String, Option<String>)>,
}

/// Where what is written to an overlay goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writes {
    /// Nothing is written: every mount point has to be in a layer.
    Nowhere,
    /// Mount points are made in a small tmpfs; then the root is read-only.
    MountPoints,
    /// To a tmpfs of the container's own, which ends with it.
    Ephemeral {
        /// What fits in it.
        size_bytes: u64,
    },
    /// To a directory of the host's, in which the names of the upper layer and of overlayfs's own directory are these. With
    /// mapped ids the mount is made with the user and group ids of the container's root, which overlayfs would else find
    /// missing in the map, and be read-only without a word.
    Layer {
        /// The directory that both are in: they have to be of one mount.
        directory: Layer,
        /// `upperdir`, below it.
        upper: String,
        /// `workdir`, below it.
        work: String,
    },
}

impl Writes {
    fn directory(&self) -> Option<&Layer> {
        match self {
            Self::Layer { directory, .. } => Some(directory),
            Self::Nowhere | Self::MountPoints | Self::Ephemeral { .. } => None,
        }
    }
}

/// A directory of the host's that is part of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its absolute path.
    pub path: String,
    /// What was found there, and has to be found again.
    pub object: Option<SourceObject>,
    /// Whose ids its files have in the container.
    pub ids: Ids,
}

impl Layer {
    pub(super) fn is_mapped(&self) -> bool {
        self.ids == Ids::Mapped
    }
}

/// Whose ids files of the host have in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// The host's: in a user namespace they are ids that it does not have.
    Host,
    /// Those that they have on disk, taken for ids of the container's user namespace: its root owns what root owns on
    /// disk (`MOUNT_ATTR_IDMAP`, mount_setattr(2)). Nothing on disk is changed.
    Mapped,
}

/// What a bind mount of the specification becomes in a container whose ids the node has mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Volume {
    /// As the specification asks.
    #[default]
    AsAsked,
    /// Its files have the ids that they have on disk, in the container's user namespace.
    Mapped,
    /// Its files have the host's ids, and it is read-only with all below it: its file system cannot map ids.
    ReadOnly,
}
