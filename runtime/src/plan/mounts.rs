//! The mounts of the specification, in its order: opened where their sources are, and made as file systems.
//! [`super::attach`] puts them below the root.

use std::path::{Component, Path};

use brig_child::Slot;
use brig_child::flags::{namespace, open, propagation, tree};
use brig_child::op::{FileOp, Identity, MountOp, OptionValue};
use brig_child::syscall::MountAttr;

use super::build::{Builder, SlotUse};
use super::namespaces::{DETACHED, Namespaces, joined};
use super::render::quoted;
use super::{Join, Refusal, Request, SourceObject, Volume};
use super::{devices, labels};
use crate::spec::mount::{
    Attributes, IdMap, Kind, MOUNT_ATTR_RDONLY, MountRequest, Parameter, Propagation, Scope,
};
use crate::spec::{Config, IdMapping};

/// What was opened on the host's side.
#[derive(Debug)]
pub(super) struct OpenedSources<'s> {
    pub(super) rootfs: Slot,
    /// What is mounted in the root before these.
    pub(super) in_root: Vec<Slot>,
    pub(super) mounts: Vec<OpenedMount<'s>>,
    pub(super) devices: Vec<devices::Device>,
}

/// One mount of the specification.
#[derive(Debug)]
pub(super) struct OpenedMount<'s> {
    pub(super) request: &'s MountRequest,
    pub(super) opened: Opened,
}

#[derive(Debug)]
pub(super) enum Opened {
    /// A detached mount.
    Mount(Slot),
    /// Made in the container's namespaces.
    Deferred,
    /// The container's cgroup directories: names below the mount point, and detached mounts.
    Cgroups(Vec<(String, Slot)>),
    /// The attributes of an earlier mount are changed.
    Remount,
    /// Bound from this path in the root, where an earlier mount is.
    Inside(String),
}

/// File systems whose instances belong to the namespaces of who mounts them. All others may name
/// files of the host, and are made where these can be seen.
const OF_NAMESPACES: [&str; 7] = ["proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "cgroup2"];

pub(super) fn open<'s>(
    builder: &mut Builder<'_>,
    request: &Request<'s>,
    all: &Namespaces,
) -> Result<Vec<OpenedMount<'s>>, Refusal> {
    let mut sources = Vec::new();
    for (index, mount) in request.spec.mounts.iter().enumerate() {
        let field = format!("mounts[{index}]");
        let expected = request.sources.get(index).copied().flatten();
        let opened = builder.concerning(&field, |builder| {
            open_source(builder, request, all, mount, (&field, expected))
        })?;
        sources.push(OpenedMount { request: mount, opened });
    }
    Ok(sources)
}

fn open_source(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    all: &Namespaces,
    mount: &MountRequest,
    (field, expected): (&str, Option<SourceObject>),
) -> Result<Opened, Refusal> {
    fits(mount, field)?;
    match &mount.kind {
        Kind::Bind(scope) => match inside(request, mount, field) {
            Some(path) => Ok(Opened::Inside(path)),
            None => bind(builder, request, mount, *scope, (field, expected)),
        },
        Kind::Remount if mount.superblock.is_empty() => Ok(Opened::Remount),
        Kind::Remount => {
            let reason = format!(
                "{:?} is of the file system, which a remount leaves as it is",
                mount.superblock[0].key
            );
            Err(Refusal::new(
                format!("{field}.options"),
                reason,
                "give the option where the file system is mounted",
            ))
        }
        Kind::Filesystem(kind) if kind == "cgroup" || kind == "cgroup2" => {
            cgroups(builder, request, all, mount, field)
        }
        Kind::Filesystem(kind) if OF_NAMESPACES.contains(&kind.as_str()) => Ok(Opened::Deferred),
        Kind::Filesystem(kind) => {
            let slot = filesystem(builder, request, kind, mount, 0)?;
            idmap(builder, request, mount, slot, field)?;
            Ok(Opened::Mount(slot))
        }
    }
}

/// The longest value that fsconfig(2) takes (the kernel's fs/fsopen.c).
pub(super) const VALUE_LIMIT_BYTES: usize = 255;

/// The layers of an overlay whose list is too long for one value: they are given one by one (Linux 6.8). With a backslash
/// the kernel's reading of a list and of a layer differ, and two colons begin layers of data alone.
fn layers<'m>(kind: &str, parameter: &'m Parameter) -> Option<Vec<&'m str>> {
    let list = parameter.value.as_deref().filter(|list| list.len() > VALUE_LIMIT_BYTES)?;
    let is_list = kind == "overlay" && parameter.key == "lowerdir";
    if !is_list || list.contains('\\') || list.contains("::") {
        return None;
    }
    let layers: Vec<&str> = list.split(':').collect();
    layers.iter().all(|layer| layer.len() <= VALUE_LIMIT_BYTES).then_some(layers)
}

/// Refuses what the kernel would refuse without a word of why, when part of the container is there.
fn fits(mount: &MountRequest, field: &str) -> Result<(), Refusal> {
    let Kind::Filesystem(kind) = &mount.kind else { return Ok(()) };
    let is_long = |parameter: &&Parameter| {
        let length = parameter.value.as_ref().map_or(0, String::len);
        length > VALUE_LIMIT_BYTES && layers(kind, parameter).is_none()
    };
    let Some(Parameter { key, value }) = mount.data.iter().find(is_long) else { return Ok(()) };
    let length = value.as_ref().map_or(0, String::len);
    let what = format!(
        "the value of {key:?} has {length} bytes, and fsconfig(2) takes {VALUE_LIMIT_BYTES}"
    );
    Err(Refusal::new(
        format!("{field}.options"),
        what,
        "use shorter paths, or bind what is mounted already",
    ))
}

fn bind(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    mount: &MountRequest,
    scope: Scope,
    (field, expected): (&str, Option<SourceObject>),
) -> Result<Opened, Refusal> {
    let missing = || Refusal::new(format!("{field}.source"), "is missing", "name what to bind");
    let source = mount.source.as_deref().and_then(Path::to_str).ok_or_else(missing)?;
    let source = match source.starts_with('/') {
        true => source.to_owned(),
        false => format!("{}/{source}", request.bundle),
    };
    let into = builder.made(format!("{field} {}", quoted(&source)));
    let recursive = if scope == Scope::Tree { tree::RECURSIVE } else { 0 };
    let path = builder.text(&source)?;
    builder.push(MountOp::OpenTree { dir: Slot::CWD, path, flags: tree::CLONE | recursive, into });
    if let Some(SourceObject { device, inode }) = expected {
        let identity = Identity::Object { device, inode, mount: None };
        builder.push(FileOp::Expect { fd: into, identity });
    }
    attributes(builder, mount, into);
    volume(builder, request, mount, into, field)?;
    Ok(Opened::Mount(into))
}

/// Whose ids the files of a bind mount have.
fn volume(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    mount: &MountRequest,
    fd: Slot,
    field: &str,
) -> Result<(), Refusal> {
    let index = field.trim_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().ok();
    let volume = index.and_then(|index| request.volumes.get(index)).copied().unwrap_or_default();
    match volume {
        Volume::AsAsked => idmap(builder, request, mount, fd, field),
        Volume::Mapped => {
            let all = IdMap { scope: Scope::Tree, mappings: None };
            push_idmap(builder, request, &all, fd, field)
        }
        Volume::ReadOnly => {
            let attr = MountAttr { set: MOUNT_ATTR_RDONLY, ..MountAttr::default() };
            builder.push(MountOp::MountSetattr { fd, recursive: true, attr });
            Ok(())
        }
    }
}

/// The path in the root of a source that an earlier mount of the list makes: mounts have an order (config.md, "Mounts").
fn inside(request: &Request<'_>, mount: &MountRequest, field: &str) -> Option<String> {
    if !request.sources_inside {
        return None;
    }
    let source = Path::new(request.bundle).join(mount.source.as_deref()?);
    let path = source.strip_prefix(request.root.place()?.path).ok()?;
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if !path.components().all(plain) {
        return None;
    }
    let path = Path::new("/").join(path);
    let index = field.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok()?;
    let mut earlier = request.spec.mounts.iter().take(index);
    let is_there = earlier.any(|earlier| path.starts_with(&earlier.destination));
    is_there.then(|| path.to_string_lossy().into_owned())
}

/// Opens such a source when its turn has come.
pub(super) fn bind_inside(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    root: Slot,
    (mount, path): (&MountRequest, &str),
    field: &str,
) -> Result<Slot, Refusal> {
    let found = builder.made(format!("{field} {} in the root", quoted(path)));
    let into = builder.made(format!("{field} {}", quoted(path)));
    let path = builder.text(path)?;
    let (flags, resolve) = (open::PATH, open::IN_ROOT | open::NO_MAGICLINKS);
    builder.push(FileOp::Open { dir: root, path, flags, resolve, into: found });
    let recursive = if mount.kind == Kind::Bind(Scope::Tree) { tree::RECURSIVE } else { 0 };
    let flags = tree::CLONE | recursive | tree::EMPTY_PATH;
    builder.push(MountOp::OpenTree { dir: found, path: c"", flags, into });
    attributes(builder, mount, into);
    idmap(builder, request, mount, into, field)?;
    Ok(into)
}

/// Attributes and propagation of a mount that is not attached yet.
fn attributes(builder: &mut Builder<'_>, mount: &MountRequest, fd: Slot) {
    let Attributes { set, clear } = mount.attributes;
    let wants = |which| mount.propagation.iter().any(|(propagation, _)| *propagation == which);
    let shared = wants(Propagation::Shared);
    // What is mounted below the source was opened among the host's mounts: unless the caller asks for
    // a shared mount, nothing that happens there may reach the host, whatever the mount itself is.
    let propagation = match wants(Propagation::Slave) {
        _ if shared => 0,
        true => propagation::SLAVE,
        false => DETACHED,
    };
    if (set, clear) != (0, 0) {
        let attr = MountAttr { set, clear, ..MountAttr::default() };
        builder.push(MountOp::MountSetattr { fd, recursive: false, attr });
    }
    if propagation != 0 || !mount.recursive.is_empty() {
        let Attributes { set, clear } = mount.recursive;
        let attr = MountAttr { set, clear, propagation, userns_fd: 0 };
        builder.push(MountOp::MountSetattr { fd, recursive: true, attr });
    }
    for (propagation, scope) in &mount.propagation {
        if shared || !matches!(propagation, Propagation::Private | Propagation::Slave) {
            let attr = MountAttr { propagation: propagation.flag(), ..MountAttr::default() };
            builder.push(MountOp::MountSetattr { fd, recursive: *scope == Scope::Tree, attr });
        }
    }
}

/// The propagation that is asked for.
pub(super) fn propagate(builder: &mut Builder<'_>, mount: &MountRequest, fd: Slot) {
    for (propagation, scope) in &mount.propagation {
        let attr = MountAttr { propagation: propagation.flag(), ..MountAttr::default() };
        builder.push(MountOp::MountSetattr { fd, recursive: *scope == Scope::Tree, attr });
    }
}

/// The id mapping of a detached mount.
pub(super) fn idmap(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    mount: &MountRequest,
    fd: Slot,
    field: &str,
) -> Result<(), Refusal> {
    match &mount.idmap {
        Some(wanted) => push_idmap(builder, request, wanted, fd, field),
        None => Ok(()),
    }
}

/// The container's own user namespace as a map.
pub(super) fn own_user_namespace(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
) -> Result<Option<Slot>, Refusal> {
    let maps = own_maps(request.spec);
    if maps.0.is_empty() || maps.1.is_empty() {
        // That of a user namespace of others is what its maps say.
        return joined(builder, &Namespaces::of(request.spec), namespace::USER);
    }
    Ok(Some(builder.input(slot_use(maps))))
}

fn push_idmap(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    wanted: &IdMap,
    fd: Slot,
    field: &str,
) -> Result<(), Refusal> {
    let userns = match &wanted.mappings {
        None => own_user_namespace(builder, request)?,
        Some((uids, gids)) if uids.is_empty() || gids.is_empty() => None,
        Some((uids, gids)) => Some(builder.input(slot_use((uids, gids)))),
    };
    let userns = userns.ok_or_else(|| {
        Refusal::new(
            format!("{field}.options"),
            "asks for an id mapping, but neither the mount nor linux.uidMappings has one",
            "give the mount uidMappings and gidMappings",
        )
    })?;
    builder.push(MountOp::MountIdmap { fd, recursive: wanted.scope == Scope::Tree, userns });
    Ok(())
}

/// Maps of users and groups.
type Maps<'s> = (&'s [IdMapping], &'s [IdMapping]);

/// The maps that a mount asks for: its own, or those of the container's new user namespace.
fn maps<'s>(wanted: &'s IdMap, spec: &'s Config) -> Maps<'s> {
    match &wanted.mappings {
        Some((uids, gids)) => (uids, gids),
        None => own_maps(spec),
    }
}

fn own_maps(spec: &Config) -> Maps<'_> {
    (&spec.linux.uid_mappings, &spec.linux.gid_mappings)
}

fn slot_use((uids, gids): Maps<'_>) -> SlotUse<'static> {
    SlotUse::IdMap { uids: uids.to_vec(), gids: gids.to_vec() }
}

/// The container's own user namespace, if a mount asks for the same maps.
pub(super) fn own_map(request: &Request<'_>) -> Option<SlotUse<'static>> {
    let own = own_maps(request.spec);
    let mut wanted = request.spec.mounts.iter().filter_map(|mount| mount.idmap.as_ref());
    let mapped = request.root.is_mapped() || request.volumes.contains(&Volume::Mapped);
    (mapped || wanted.any(|wanted| maps(wanted, request.spec) == own)).then(|| slot_use(own))
}

/// The container's own cgroup directories, cloned from the host's mounts. With a cgroup namespace
/// they show as the hierarchies' roots, which is what they are inside.
fn cgroups(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    all: &Namespaces,
    mount: &MountRequest,
    field: &str,
) -> Result<Opened, Refusal> {
    let cgroup = request.cgroup;
    let unified_only = cgroup.directories.iter().all(|directory| directory.unified);
    if unified_only && all.new & namespace::CGROUP != 0 {
        return Ok(Opened::Deferred);
    }
    plain_cgroups(mount, field, unified_only)?;
    let mut opened = Vec::new();
    for directory in &cgroup.directories {
        let name = directory.mount.file_name().and_then(|name| name.to_str()).unwrap_or("cgroup");
        let into = builder.made(format!("cgroup {}", quoted(name)));
        let path = directory.absolute();
        // An ordinary user without a cgroup of its own sees the one that brig is in.
        let stays = request.join == Join::default();
        let path = if stays { path.parent().unwrap_or(&path) } else { &path };
        let path = builder.text(path.to_string_lossy().as_bytes())?;
        builder.push(MountOp::OpenTree { dir: Slot::CWD, path, flags: tree::CLONE, into });
        let attr = MountAttr {
            set: mount.attributes.set | mount.recursive.set,
            clear: mount.attributes.clear,
            propagation: DETACHED,
            userns_fd: 0,
        };
        builder.push(MountOp::MountSetattr { fd: into, recursive: false, attr });
        opened.push((name.to_owned(), into));
    }
    match (unified_only, opened.as_slice()) {
        (true, [(_, only)]) => Ok(Opened::Mount(*only)),
        _ => Ok(Opened::Cgroups(opened)),
    }
}

/// The host's directories are shown as the host mounted them: nothing of the file system's own can
/// be asked for, as it would change for all of the machine (`nsdelegate`), and their owners cannot be mapped.
fn plain_cgroups(mount: &MountRequest, field: &str, unified_only: bool) -> Result<(), Refusal> {
    if let Some(parameter) = mount.superblock.iter().chain(&mount.data).next() {
        return Err(Refusal::new(
            format!("{field}.options"),
            format!("{:?} cannot be set: the cgroup mounts are the host's", parameter.key),
            match unified_only {
                true => "remove the option, or give the container a cgroup namespace of its own",
                false => "remove the option",
            },
        ));
    }
    if mount.idmap.is_some() {
        let reason = "cgroup mounts cannot be idmapped";
        return Err(Refusal::new(format!("{field}.options"), reason, "remove the mapping"));
    }
    Ok(())
}

pub(super) fn is_dev(mount: &MountRequest) -> bool {
    mount.destination == Path::new("/dev") && !matches!(mount.kind, Kind::Remount)
}

/// Whether the container's /dev is a directory of the host's.
pub(super) fn is_bound_dev(mounts: &[OpenedMount<'_>]) -> bool {
    let last = mounts.iter().rev().find(|source| is_dev(source.request));
    last.is_some_and(|source| matches!(source.request.kind, Kind::Bind(_)))
}

/// A new instance of a file system.
pub(super) fn filesystem(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    kind: &str,
    mount: &MountRequest,
    withheld: u64,
) -> Result<Slot, Refusal> {
    let destination = mount.destination.as_os_str().as_encoded_bytes();
    let into = builder.made(format!("{} for {}", quoted(kind), quoted(destination)));
    let given = mount.data.iter().any(|parameter| parameter.key == "context");
    let label = labels::of_mount(request.spec, kind).filter(|_| !given);
    let mut options = Vec::new();
    if let Some(source) = mount.source.as_deref().and_then(Path::to_str) {
        options.push((builder.text("source")?, OptionValue::Text(builder.text(source)?)));
    }
    if let Some(label) = label {
        options.push((builder.text("context")?, OptionValue::Text(builder.text(label)?)));
    }
    for parameter in mount.superblock.iter().chain(&mount.data) {
        if let Some(layers) = layers(kind, parameter) {
            for layer in layers {
                options.push((builder.text("lowerdir+")?, OptionValue::Text(builder.text(layer)?)));
            }
            continue;
        }
        let value = match &parameter.value {
            Some(value) => OptionValue::Text(builder.text(value)?),
            None => OptionValue::Flag,
        };
        options.push((builder.text(&parameter.key)?, value));
    }
    let on_device = !OF_NAMESPACES.contains(&kind);
    if on_device && mount.is_read_only() {
        options.push((builder.text("ro")?, OptionValue::Flag));
    }
    let attrs = (mount.attributes.set | mount.recursive.set) & !withheld;
    let op = MountOp::Fsmount {
        kind: builder.text(kind)?,
        options: builder.slice(&options),
        attrs: u32::try_from(attrs).unwrap_or_default(),
        into,
    };
    builder.push(op);
    propagate(builder, mount, into);
    Ok(into)
}
