//! A root that is put together of mounts: the operations that make them, each detached.
//!
//! Promises: nothing is mounted in anybody's table before the container's own, so that nothing is left when brig is
//! killed; what is found at a path is compared with what was looked at. Reference: the kernel's
//! Documentation/filesystems/overlayfs.rst.

use std::ffi::CStr;

use brig_child::Slot;
use brig_child::flags::{namespace, open, prctl, tree};
use brig_child::op::{Enter, FileOp, Identity, MountOp, NamespaceOp, OptionValue, PrivilegeOp};
use brig_child::syscall::MountAttr;

use super::straight;
use crate::plan::build::Builder;
use crate::plan::mounts::VALUE_LIMIT_BYTES;
use crate::plan::namespaces::DETACHED;
use crate::plan::render::quoted;
use crate::plan::root::{Layer, Layers, RootMount, RootMountKind, Writes};
use crate::plan::{Refusal, Request, SourceObject, labels, mounts};
use crate::spec::{Config, IdMapping};

/// What the mount points of a read-only root take: an inode and a name each.
const MOUNT_POINTS_BYTES: u64 = 1 << 20;

/// Makes all of them; the first is the root.
pub(super) fn open(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    mounts: &[RootMount],
) -> Result<Vec<Slot>, Refusal> {
    if mounts.is_empty() {
        return Err(Refusal::new("root", "has no mounts", "give at least one"));
    }
    mounts.iter().map(|mount| open_one(builder, request, mount)).collect()
}

fn open_one(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    mount: &RootMount,
) -> Result<Slot, Refusal> {
    let into = match &mount.kind {
        RootMountKind::Bind { source, .. } => {
            let into = layer(builder, request, source, tree::RECURSIVE)?;
            let attr = MountAttr { propagation: DETACHED, ..MountAttr::default() };
            builder.push(MountOp::MountSetattr { fd: into, recursive: true, attr });
            into
        }
        RootMountKind::Overlay(layers) => overlay(builder, request, layers)?,
        RootMountKind::FileSystem { kind, options } => {
            let into = builder.made(format!("{} of the root", quoted(kind)));
            let mut given = Vec::new();
            push_options(builder, options, &mut given)?;
            let kind = builder.text(kind)?;
            let options = builder.slice(&given);
            builder.push(MountOp::Fsmount { kind, options, attrs: 0, into });
            into
        }
    };
    if mount.attributes != 0 {
        let attr = MountAttr { set: u64::from(mount.attributes), ..MountAttr::default() };
        builder.push(MountOp::MountSetattr { fd: into, recursive: false, attr });
    }
    Ok(into)
}

/// A detached mount of a directory.
fn layer(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    layer: &Layer,
    recursive: u32,
) -> Result<Slot, Refusal> {
    let into = builder.made(format!("layer {}", quoted(&layer.path)));
    let path = builder.text(&layer.path)?;
    let flags = tree::CLONE | recursive;
    builder.push(MountOp::OpenTree { dir: Slot::CWD, path, flags, into });
    if let Some(SourceObject { device, inode }) = layer.object {
        let identity = Identity::Object { device, inode, mount: None };
        builder.push(FileOp::Expect { fd: into, identity });
    }
    if layer.is_mapped() {
        let userns = mounts::own_user_namespace(builder, request)?.ok_or_else(no_maps)?;
        builder.push(MountOp::MountIdmap { fd: into, recursive: recursive != 0, userns });
    }
    Ok(into)
}

fn no_maps() -> Refusal {
    Refusal::new(
        "linux.uidMappings",
        "is missing: the root's files are to have ids of the container's user namespace",
        "give the container a user namespace with mappings",
    )
}

fn overlay(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    layers: &Layers,
) -> Result<Slot, Refusal> {
    let mut lower = Vec::new();
    for each in &layers.lower {
        lower.push(layer(builder, request, each, 0)?);
    }
    let Some(topmost) = lower.first().copied() else {
        return Err(Refusal::new("root", "is an overlay without layers", "give at least one"));
    };
    let writable = match &layers.writes {
        Writes::Nowhere => None,
        Writes::MountPoints => Some(ephemeral(builder, request, topmost, MOUNT_POINTS_BYTES)?),
        Writes::Ephemeral { size_bytes } => {
            Some(ephemeral(builder, request, topmost, *size_bytes)?)
        }
        Writes::Layer { directory, upper, work } => {
            let mount = layer(builder, request, directory, 0)?;
            Some(Writable { mount, upper, work })
        }
    };
    let mut options = vec![(builder.text("source")?, OptionValue::Text(c"overlay"))];
    if let Some(label) = labels::of_mount(request.spec, "overlay") {
        options.push((builder.text("context")?, OptionValue::Text(builder.text(label)?)));
    }
    let private = match request.host.detached_layers {
        true => {
            options.extend(layers_by_descriptor(builder, &lower, writable.as_ref())?);
            None
        }
        false => {
            let private = PrivateNamespace::enter(builder)?;
            options.extend(private.layers(builder, &lower, writable.as_ref())?);
            Some(private)
        }
    };
    push_options(builder, &layers.options, &mut options)?;
    let into = builder.made("overlay");
    let options = builder.slice(&options);
    let make = MountOp::Fsmount { kind: c"overlay", options, attrs: 0, into };
    match &layers.writes {
        Writes::Layer { directory, .. } if directory.is_mapped() => {
            as_root_inside(builder, request.spec, make)?;
        }
        _ => builder.push(make),
    }
    if let Some(private) = private {
        private.leave(builder);
    }
    Ok(into)
}

/// Where an overlay writes: the names of the upper layer, and of overlayfs's own directory, in a detached mount.
struct Writable<'w> {
    mount: Slot,
    upper: &'w str,
    work: &'w str,
}

/// An option of fsconfig(2).
type FsOption<'a> = (&'a CStr, OptionValue<'a>);

/// The layers as options, by their descriptors.
fn layers_by_descriptor<'a>(
    builder: &mut Builder<'a>,
    lower: &[Slot],
    writable: Option<&Writable<'_>>,
) -> Result<Vec<FsOption<'a>>, Refusal> {
    let by = |key, slot| (key, OptionValue::Descriptor(slot));
    let mut options: Vec<_> = lower.iter().map(|slot| by(c"lowerdir+", *slot)).collect();
    if let Some(Writable { mount, upper, work }) = writable {
        options.push(by(c"upperdir", below(builder, *mount, upper)?));
        options.push(by(c"workdir", below(builder, *mount, work)?));
    }
    Ok(options)
}

/// A mount namespace in which layers are attached while the overlay is made: before Linux 6.15 overlayfs takes no others. It
/// is the process's alone, a copy of the host's table from which nothing gets back, and ends when the process leaves it.
struct PrivateNamespace {
    /// The namespace and the root to which the process returns.
    home: Slot,
    root: Slot,
    /// A tmpfs with the mount points, which is the process's root meanwhile.
    places: Slot,
}

impl PrivateNamespace {
    fn enter(builder: &mut Builder<'_>) -> Result<Self, Refusal> {
        let home = builder.made("mount namespace of before");
        let path = builder.text("/proc/thread-self/ns/mnt")?;
        builder.push(FileOp::Open { dir: Slot::CWD, path, flags: 0, resolve: 0, into: home });
        let root = straight(builder, "/")?;
        builder.push(NamespaceOp::Unshare { flags: namespace::MOUNT });
        // The descriptor is of the namespace that was left.
        let copy = straight(builder, "/")?;
        let attr = MountAttr { propagation: DETACHED, ..MountAttr::default() };
        builder.push(MountOp::MountSetattr { fd: copy, recursive: true, attr });
        let places = builder.made("places of layers");
        let options = [(c"mode", OptionValue::Text(c"0755"))];
        let options = builder.slice(&options);
        builder.push(MountOp::Fsmount { kind: c"tmpfs", options, attrs: 0, into: places });
        let to = straight(builder, "/proc")?;
        builder.push(MountOp::MoveMount { from: places, to });
        Ok(Self { home, root, places })
    }

    /// Attaches the layers, and names them as options.
    fn layers<'a>(
        &self,
        builder: &mut Builder<'a>,
        lower: &[Slot],
        writable: Option<&Writable<'_>>,
    ) -> Result<Vec<FsOption<'a>>, Refusal> {
        let mut options = Vec::new();
        let mut names = Vec::new();
        for (index, from) in lower.iter().enumerate() {
            names.push(self.attach(builder, *from, &index.to_string())?);
        }
        if let Some(Writable { mount, upper, work }) = writable {
            let at = self.attach(builder, *mount, "w")?;
            for (key, name) in [(c"upperdir", upper), (c"workdir", work)] {
                let path = builder.text(format!("{at}/{name}"))?;
                options.push((key, OptionValue::Text(path)));
            }
        }
        builder.push(MountOp::EnterRoot { root: self.places, how: Enter::Chroot });
        let list = names.join(":");
        if list.len() <= VALUE_LIMIT_BYTES {
            options.push((c"lowerdir", OptionValue::Text(builder.text(list)?)));
            return Ok(options);
        }
        for name in names {
            options.push((c"lowerdir+", OptionValue::Text(builder.text(name)?)));
        }
        Ok(options)
    }

    fn attach(&self, builder: &mut Builder<'_>, from: Slot, name: &str) -> Result<String, Refusal> {
        let path = builder.text(name)?;
        builder.push(FileOp::Mkdir { dir: self.places, name: path, mode: 0o755 });
        builder.push(MountOp::MoveMountTo { from, dir: self.places, path });
        Ok(format!("/{name}"))
    }

    fn leave(&self, builder: &mut Builder<'_>) {
        builder.push(NamespaceOp::Setns { fd: self.home, flags: namespace::MOUNT });
        builder.push(MountOp::EnterRoot { root: self.root, how: Enter::Chroot });
    }
}

fn push_options<'a>(
    builder: &Builder<'a>,
    given: &[(String, Option<String>)],
    options: &mut Vec<FsOption<'a>>,
) -> Result<(), Refusal> {
    for (key, value) in given {
        let value = match value {
            Some(value) => OptionValue::Text(builder.text(value)?),
            None => OptionValue::Flag,
        };
        options.push((builder.text(key)?, value));
    }
    Ok(())
}

/// A tmpfs that nobody else sees, with an upper layer that looks as the topmost of the lower ones, and the directory that
/// overlayfs works in. It maps no ids: what is written there has those of the container's range on the host.
fn ephemeral(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    topmost: Slot,
    size_bytes: u64,
) -> Result<Writable<'static>, Refusal> {
    let into = builder.made("tmpfs of what is written");
    let mut options = vec![
        (builder.text("source")?, OptionValue::Text(builder.text("tmpfs")?)),
        (builder.text("mode")?, OptionValue::Text(builder.text("0700")?)),
        (builder.text("size")?, OptionValue::Text(builder.text(size_bytes.to_string())?)),
    ];
    options.extend(labels::option(builder, request.spec)?);
    let options = builder.slice(&options);
    builder.push(MountOp::Fsmount { kind: c"tmpfs", options, attrs: 0, into });
    builder.push(FileOp::Mkdir { dir: into, name: c"upper", mode: 0o755 });
    builder.push(FileOp::Mkdir { dir: into, name: c"work", mode: 0o700 });
    let top = below(builder, into, "upper")?;
    builder.push(FileOp::TakeOwner { from: topmost, to: top });
    builder.push(FileOp::TakeMode { from: topmost, to: top });
    Ok(Writable { mount: into, upper: "upper", work: "work" })
}

/// A directory in a mount that is not attached.
fn below(builder: &mut Builder<'_>, dir: Slot, name: &str) -> Result<Slot, Refusal> {
    let into = builder.made(quoted(name));
    let path = builder.text(name)?;
    let resolve = open::BENEATH | open::NO_SYMLINKS | open::NO_XDEV;
    builder.push(FileOp::Open { dir, path, flags: open::DIRECTORY, resolve, into });
    Ok(into)
}

/// Makes a mount with the ids that the container's root has on the host: overlayfs makes its own files in an upper layer
/// that is mapped as whoever has made the mount, and the host's root is in no container's map.
fn as_root_inside<'a>(
    builder: &mut Builder<'a>,
    spec: &Config,
    make: MountOp<'a>,
) -> Result<(), Refusal> {
    let outside = |map: &[IdMapping]| {
        let of_root = map.iter().find(|mapping| mapping.inside == 0);
        of_root.map(|mapping| mapping.outside).ok_or_else(no_maps)
    };
    let uid = outside(&spec.linux.uid_mappings)?;
    let gid = outside(&spec.linux.gid_mappings)?;
    let bits = |value| PrivilegeOp::Prctl { option: prctl::SECUREBITS, value };
    builder.push(bits(prctl::NO_SETUID_FIXUP));
    builder.push(PrivilegeOp::Setfsid { uid, gid });
    builder.push(make);
    builder.push(PrivilegeOp::Setfsid { uid: 0, gid: 0 });
    builder.push(bits(0));
    Ok(())
}
