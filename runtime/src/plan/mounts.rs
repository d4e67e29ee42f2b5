//! The mounts of the specification, in its order.

use std::path::Path;

use brig_child::Slot;
use brig_child::flags::{namespace, propagation, tree};
use brig_child::op::{FileOp, MountOp, Target};
use brig_child::syscall::MountAttr;
use oci_spec::runtime::{LinuxIdMapping, Spec};

use super::build::{Builder, IdMapping};
use super::namespaces::{DETACHED, Namespaces};
use super::rootfs::{Terminal, idmap_slot, target};
use super::{Join, Refusal, Request};
use super::{devices, labels};
use crate::spec::mount::{Attributes, CopyUp, Kind, MountRequest, Propagation, Scope};
use crate::spec::mount::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID};
use crate::spec::mount::{MOUNT_ATTR_RDONLY, MOUNT_ATTR_STRICTATIME};

/// What was opened on the host's side.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) rootfs: Slot,
    pub(super) mounts: Vec<Source>,
    pub(super) devices: Vec<devices::Device>,
}

/// One mount of the specification.
#[derive(Debug)]
pub(super) struct Source {
    request: MountRequest,
    opened: Opened,
}

#[derive(Debug)]
enum Opened {
    /// A detached mount.
    Mount(Slot),
    /// Made in the container's namespaces.
    Later,
    /// The container's cgroup directories: names below the mount point, and detached mounts.
    Cgroups(Vec<(String, Slot)>),
    /// The attributes of an earlier mount are changed.
    Remount,
}

/// File systems whose instances belong to the namespaces of who mounts them. All others may name
/// files of the host, and are made where these can be seen.
const OF_NAMESPACES: [&str; 7] = ["proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "cgroup2"];

pub(super) fn open(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    all: &Namespaces,
) -> Result<Vec<Source>, Refusal> {
    let mut sources = Vec::new();
    for (index, mount) in request.spec.mounts().as_deref().unwrap_or_default().iter().enumerate() {
        let field = format!("mounts[{index}]");
        let mount = MountRequest::parse(index, mount)
            .map_err(|error| Refusal::new(field.clone(), error.to_string(), ""))?;
        let opened = builder
            .concerning(&field, |builder| open_source(builder, request, all, &mount, &field))?;
        sources.push(Source { request: mount, opened });
    }
    Ok(sources)
}

fn open_source(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    all: &Namespaces,
    mount: &MountRequest,
    field: &str,
) -> Result<Opened, Refusal> {
    match &mount.kind {
        Kind::Bind(scope) => bind(builder, request, mount, *scope, field),
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
        Kind::Filesystem(kind) if OF_NAMESPACES.contains(&kind.as_str()) => Ok(Opened::Later),
        Kind::Filesystem(kind) => {
            let slot = filesystem(builder, request, kind, mount, 0)?;
            idmap(builder, request, mount, slot, field)?;
            Ok(Opened::Mount(slot))
        }
    }
}

fn bind(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    mount: &MountRequest,
    scope: Scope,
    field: &str,
) -> Result<Opened, Refusal> {
    let missing = || Refusal::new(format!("{field}.source"), "is missing", "name what to bind");
    let source = mount.source.as_deref().and_then(Path::to_str).ok_or_else(missing)?;
    let source = match source.starts_with('/') {
        true => source.to_owned(),
        false => format!("{}/{source}", request.bundle),
    };
    let into = builder.made(format!("{field} {source}"));
    let recursive = if scope == Scope::Tree { tree::RECURSIVE } else { 0 };
    let path = builder.text(&source)?;
    builder.push(MountOp::OpenTree { dir: Slot::CWD, path, flags: tree::CLONE | recursive, into });
    attributes(builder, mount, into);
    idmap(builder, request, mount, into, field)?;
    Ok(Opened::Mount(into))
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

/// New attributes for a mount that is there; its propagation stays unless it is named.
fn remount(builder: &mut Builder<'_>, mount: &MountRequest, fd: Slot) {
    for (attributes, recursive) in [(mount.attributes, false), (mount.recursive, true)] {
        if !attributes.is_empty() {
            let Attributes { set, clear } = attributes;
            let attr = MountAttr { set, clear, ..MountAttr::default() };
            builder.push(MountOp::MountSetattr { fd, recursive, attr });
        }
    }
    propagate(builder, mount, fd);
}

/// The propagation that is asked for.
fn propagate(builder: &mut Builder<'_>, mount: &MountRequest, fd: Slot) {
    for (propagation, scope) in &mount.propagation {
        let attr = MountAttr { propagation: propagation.flag(), ..MountAttr::default() };
        builder.push(MountOp::MountSetattr { fd, recursive: *scope == Scope::Tree, attr });
    }
}

/// The id mapping of a detached mount.
fn idmap(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    mount: &MountRequest,
    fd: Slot,
    field: &str,
) -> Result<(), Refusal> {
    let Some(wanted) = &mount.idmap else { return Ok(()) };
    let of = |list: &[LinuxIdMapping]| list.iter().map(IdMapping::from).collect::<Vec<_>>();
    let (uids, gids) = match &wanted.mappings {
        Some((uids, gids)) => (of(uids), of(gids)),
        None => {
            let linux = request.spec.linux().as_ref();
            let uids = linux.and_then(|linux| linux.uid_mappings().as_deref());
            let gids = linux.and_then(|linux| linux.gid_mappings().as_deref());
            (of(uids.unwrap_or_default()), of(gids.unwrap_or_default()))
        }
    };
    if uids.is_empty() || gids.is_empty() {
        return Err(Refusal::new(
            format!("{field}.options"),
            "asks for an id mapping, but neither the mount nor linux.uidMappings has one",
            "give the mount uidMappings and gidMappings",
        ));
    }
    let userns = idmap_slot(builder, &uids, &gids);
    builder.push(MountOp::MountIdmap { fd, recursive: wanted.scope == Scope::Tree, userns });
    Ok(())
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
    let Some(cgroup) = request.cgroup else { return Ok(Opened::Later) };
    let unified_only = cgroup.directories.iter().all(|directory| directory.unified);
    if unified_only && all.new & namespace::CGROUP != 0 {
        return Ok(Opened::Later);
    }
    plain_cgroups(mount, field)?;
    let mut opened = Vec::new();
    for directory in &cgroup.directories {
        let name = directory.mount.file_name().and_then(|name| name.to_str()).unwrap_or("cgroup");
        let into = builder.made(format!("cgroup {name}"));
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
/// be asked for, and their owners cannot be mapped.
fn plain_cgroups(mount: &MountRequest, field: &str) -> Result<(), Refusal> {
    if let Some(parameter) = mount.superblock.iter().chain(&mount.data).next() {
        return Err(Refusal::new(
            format!("{field}.options"),
            format!("{:?} cannot be set: the cgroup mounts are the host's", parameter.key),
            "remove the option",
        ));
    }
    if mount.idmap.is_some() {
        let reason = "cgroup mounts cannot be idmapped";
        return Err(Refusal::new(format!("{field}.options"), reason, "remove the mapping"));
    }
    Ok(())
}

/// What is attached below the root, as far as later stages need it.
#[derive(Debug, Default)]
pub(super) struct Attached {
    /// What becomes read-only at the very end.
    pub(super) readonly_later: Vec<Slot>,
    /// Where the terminal comes from and goes to.
    pub(super) terminal: Terminal,
    /// brig's own tmpfs on /dev.
    dev: Option<FreshDev>,
}

/// A tmpfs that brig has made, and the names that mounts have been given in it.
#[derive(Debug)]
struct FreshDev {
    mount: Slot,
    names: Vec<String>,
}

/// Attaches everything below the root.
pub(super) fn attach(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    sources: &Sources,
) -> Result<Attached, Refusal> {
    let root = sources.rootfs;
    let mut attached = Attached::default();
    let own_dev = sources.mounts.iter().any(|source| is_dev(&source.request));
    if !own_dev {
        let dev = default_dev(builder, request, root)?;
        attached.terminal.console =
            devices::populate(builder, request, root, dev, &sources.devices)?;
    }
    for (index, source) in sources.mounts.iter().enumerate() {
        let field = format!("mounts[{index}]");
        builder.concerning(&field, |builder| {
            attached.add(builder, request, sources, source, &field)
        })?;
    }
    if is_bound_dev(&sources.mounts) {
        attached.terminal.console = devices::check_bound(builder, request, root, &sources.devices)?;
    }
    devices::elsewhere(builder, root, &sources.devices)?;
    Ok(attached)
}

impl Attached {
    /// Attaches one mount.
    fn add(
        &mut self,
        builder: &mut Builder<'_>,
        request: &Request<'_>,
        sources: &Sources,
        source: &Source,
        field: &str,
    ) -> Result<(), Refusal> {
        let (root, mount) = (sources.rootfs, &source.request);
        let fd = match (&source.opened, &mount.kind) {
            (Opened::Mount(fd), _) => *fd,
            (Opened::Cgroups(directories), _) => {
                return attach_cgroups(builder, request.spec, root, mount, directories);
            }
            (Opened::Remount, _) => {
                let destination = mount.destination.to_string_lossy();
                let fd = target(builder, root, &destination, Target::Within)?;
                remount(builder, mount, fd);
                return Ok(());
            }
            (Opened::Later, Kind::Filesystem(kind)) => {
                let kind = if kind == "cgroup" { "cgroup2" } else { kind };
                self.make(builder, request, kind, mount, field)?
            }
            (Opened::Later, _) => return Ok(()),
        };
        self.place(builder, root, mount, fd)?;
        match &mount.kind {
            Kind::Filesystem(_) if is_dev(mount) => {
                self.dev = Some(FreshDev { mount: fd, names: Vec::new() });
                self.terminal.console =
                    devices::populate(builder, request, root, fd, &sources.devices)?;
            }
            Kind::Filesystem(kind)
                if kind == "devpts" && mount.destination == Path::new("/dev/pts") =>
            {
                self.terminal.pts = Some(fd);
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes a file system of the container's namespaces.
    fn make(
        &mut self,
        builder: &mut Builder<'_>,
        request: &Request<'_>,
        kind: &str,
        mount: &MountRequest,
        field: &str,
    ) -> Result<Slot, Refusal> {
        // A read-only /dev or copied-up tmpfs must be filled first, a queue labelled.
        let given = mount.data.iter().any(|parameter| parameter.key == "context");
        let label = labels::of_directory(request.spec, kind).filter(|_| !given);
        let filled = is_dev(mount) || mount.copy_up == CopyUp::Yes || label.is_some();
        let withheld = if filled { MOUNT_ATTR_RDONLY } else { 0 };
        let fd = filesystem(builder, request, kind, mount, withheld)?;
        if let Some(label) = label {
            let (name, value) = (c"security.selinux", builder.bytes(label));
            builder.push(FileOp::Setxattr { dir: fd, name, value });
        }
        if filled && mount.is_read_only() {
            self.readonly_later.push(fd);
        }
        idmap(builder, request, mount, fd, field)?;
        Ok(fd)
    }

    /// Attaches a mount where it belongs.
    fn place(
        &mut self,
        builder: &mut Builder<'_>,
        root: Slot,
        mount: &MountRequest,
        from: Slot,
    ) -> Result<(), Refusal> {
        let destination = mount.destination.to_string_lossy();
        if let Some((dir, name)) = self.dev.as_mut().and_then(|dev| dev.new_in(mount)) {
            let path = builder.text(name)?;
            builder.push(FileOp::Mkdir { dir, name: path, mode: 0o755 });
            builder.push(MountOp::MoveMountTo { from, dir, path });
            return Ok(());
        }
        let kind = match &mount.kind {
            // What is masked and read back below them must be theirs (CVE-2019-16884).
            Kind::Filesystem(kind) if kind == "proc" || kind == "sysfs" => Target::NoLink,
            Kind::Filesystem(_) => Target::Directory,
            _ => Target::Like(from),
        };
        let to = target(builder, root, &destination, kind)?;
        if mount.copy_up == CopyUp::Yes {
            let path = builder.text(destination.as_bytes())?;
            let (bytes, entries) = copy_up_limits(mount);
            builder.push(FileOp::CopyUp { root, path, to: from, bytes, entries });
        }
        builder.push(MountOp::MoveMount { from, to });
        Ok(())
    }
}

impl FreshDev {
    /// The mount's directory, where it is one that every container has in brig's own /dev, and not
    /// there yet: then it need not be looked for.
    fn new_in(&mut self, mount: &MountRequest) -> Option<(Slot, &'static str)> {
        const USUAL: [&str; 3] = ["pts", "shm", "mqueue"];
        let below = mount.destination.strip_prefix("/dev").ok()?;
        let name = below.iter().next().and_then(|name| name.to_str())?;
        let first = !self.names.iter().any(|known| known == name);
        self.names.push(name.to_owned());
        let usual = USUAL.into_iter().find(|usual| Path::new(usual) == below)?;
        let plain = matches!(mount.kind, Kind::Filesystem(_)) && mount.copy_up == CopyUp::No;
        (first && plain).then_some((self.mount, usual))
    }
}

/// How many bytes and entries of the image a tmpfs may begin with. Without a size it takes half of the machine's
/// memory and as many inodes as fit in there, which is for the author of config.json to grant, not for the image's.
fn copy_up_limits(mount: &MountRequest) -> (u64, u64) {
    const BYTES: u64 = 256 << 20;
    /// Of about a kilobyte each, whatever is in them.
    const ENTRIES: u64 = 1 << 17;
    // tmpfs(5): where these are zero there is no limit.
    let given = |keys: &[&str]| {
        let digits = |value: &str| value.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
        let set = |value: &Option<String>| value.as_deref().is_some_and(digits);
        mount.data.iter().any(|option| keys.contains(&option.key.as_str()) && set(&option.value))
    };
    let bytes = if given(&["size", "nr_blocks"]) { u64::MAX } else { BYTES };
    let entries = if given(&["nr_inodes"]) { u64::MAX } else { ENTRIES };
    (bytes, entries)
}

fn is_dev(mount: &MountRequest) -> bool {
    mount.destination == Path::new("/dev") && !matches!(mount.kind, Kind::Remount)
}

/// Whether the container's /dev is a directory of the host's.
pub(super) fn is_bound_dev(mounts: &[Source]) -> bool {
    let last = mounts.iter().rev().find(|source| is_dev(&source.request));
    last.is_some_and(|source| matches!(source.request.kind, Kind::Bind(_)))
}

/// Where the specification mounts nothing on /dev, the image's is hidden by brig's own.
fn default_dev(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    root: Slot,
) -> Result<Slot, Refusal> {
    let into = builder.made("/dev");
    let mut options = vec![
        (builder.text("mode")?, Some(builder.text("755")?)),
        (builder.text("size")?, Some(builder.text("65536k")?)),
    ];
    options.extend(labels::option(builder, request.spec)?);
    let options = builder.slice(&options);
    let attrs = (MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME) as u32;
    builder.push(MountOp::Fsmount { kind: c"tmpfs", options, attrs, into });
    let at = target(builder, root, "/dev", Target::Directory)?;
    builder.push(MountOp::MoveMount { from: into, to: at });
    Ok(into)
}

/// A new instance of a file system.
fn filesystem(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    kind: &str,
    mount: &MountRequest,
    withheld: u64,
) -> Result<Slot, Refusal> {
    let into = builder.made(format!("{kind} for {}", mount.destination.display()));
    let given = mount.data.iter().any(|parameter| parameter.key == "context");
    let label = labels::of_mount(request.spec, kind).filter(|_| !given);
    let mut options = Vec::new();
    if let Some(source) = mount.source.as_deref().and_then(Path::to_str) {
        options.push((builder.text("source")?, Some(builder.text(source)?)));
    }
    if let Some(label) = label {
        options.push((builder.text("context")?, Some(builder.text(label)?)));
    }
    for parameter in mount.superblock.iter().chain(&mount.data) {
        let value = parameter.value.as_ref().map(|value| builder.text(value)).transpose()?;
        options.push((builder.text(&parameter.key)?, value));
    }
    let on_device = !OF_NAMESPACES.contains(&kind);
    if on_device && mount.is_read_only() {
        options.push((builder.text("ro")?, None));
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

/// cgroup v1: a tmpfs with one directory for each hierarchy, and links for joint controllers.
fn attach_cgroups(
    builder: &mut Builder<'_>,
    spec: &Spec,
    root: Slot,
    mount: &MountRequest,
    directories: &[(String, Slot)],
) -> Result<(), Refusal> {
    let destination = mount.destination.to_string_lossy();
    let into = builder.made(format!("tmpfs for {destination}"));
    let mut options = vec![
        (builder.text("source")?, Some(builder.text("tmpfs")?)),
        (builder.text("mode")?, Some(builder.text("755")?)),
    ];
    options.extend(labels::option(builder, spec)?);
    let options = builder.slice(&options);
    let attrs = (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC) as u32;
    builder.push(MountOp::Fsmount { kind: c"tmpfs", options, attrs, into });
    let at = target(builder, root, &destination, Target::Directory)?;
    builder.push(MountOp::MoveMount { from: into, to: at });
    for (name, from) in directories {
        let path = builder.text(name)?;
        builder.push(FileOp::Mkdir { dir: into, name: path, mode: 0o755 });
        builder.push(MountOp::MoveMountTo { from: *from, dir: into, path });
        for link in name.split(',').filter(|_| name.contains(',')) {
            let link = builder.text(link)?;
            builder.push(FileOp::Symlink { dir: into, name: link, target: path, exist_ok: true });
        }
    }
    if mount.is_read_only() {
        let attr = MountAttr { set: MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        builder.push(MountOp::MountSetattr { fd: into, recursive: false, attr });
    }
    propagate(builder, mount, into);
    Ok(())
}
