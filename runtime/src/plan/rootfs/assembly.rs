//! A root that is put together of mounts: the operations that make them, each detached.
//!
//! Promises: nothing is mounted in anybody's table before the container's own, so that nothing is left when brig is
//! killed; what is found at a path is compared with what was looked at. Reference: the kernel's
//! Documentation/filesystems/overlayfs.rst.

use brig_child::Slot;
use brig_child::flags::{open, prctl, tree};
use brig_child::op::{FileOp, Identity, MountOp, OptionValue, PrivilegeOp};
use brig_child::syscall::MountAttr;

use crate::plan::build::Builder;
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
    let writes = match &layers.writes {
        Writes::Nowhere => None,
        Writes::MountPoints => Some(ephemeral(builder, request, topmost, MOUNT_POINTS_BYTES)?),
        Writes::Ephemeral { size_bytes } => {
            Some(ephemeral(builder, request, topmost, *size_bytes)?)
        }
        Writes::Layer { directory, upper, work } => {
            let of = layer(builder, request, directory, 0)?;
            Some((below(builder, of, upper)?, below(builder, of, work)?))
        }
    };
    let mut options = vec![(builder.text("source")?, OptionValue::Text(c"overlay"))];
    if let Some(label) = labels::of_mount(request.spec, "overlay") {
        options.push((builder.text("context")?, OptionValue::Text(builder.text(label)?)));
    }
    for slot in lower {
        options.push((builder.text("lowerdir+")?, OptionValue::Descriptor(slot)));
    }
    if let Some((upper, work)) = writes {
        options.push((builder.text("upperdir")?, OptionValue::Descriptor(upper)));
        options.push((builder.text("workdir")?, OptionValue::Descriptor(work)));
    }
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
    Ok(into)
}

fn push_options<'a>(
    builder: &Builder<'a>,
    given: &[(String, Option<String>)],
    options: &mut Vec<(&'a std::ffi::CStr, OptionValue<'a>)>,
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
) -> Result<(Slot, Slot), Refusal> {
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
    let (upper, work) = (below(builder, into, "upper")?, below(builder, into, "work")?);
    builder.push(FileOp::TakeOwner { from: topmost, to: upper });
    builder.push(FileOp::TakeMode { from: topmost, to: upper });
    Ok((upper, work))
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
