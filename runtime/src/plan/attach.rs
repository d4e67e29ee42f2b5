//! Attaching below the root what was opened for it, and what is made in the container's namespaces.
//!
//! Promises: in the specification's order, after what the policy puts below; each target is a descriptor that was found below the root.

use std::path::Path;

use brig_child::Slot;
use brig_child::op::{FileOp, Keeps, MountOp, OptionValue, Target, Tolerance};
use brig_child::syscall::MountAttr;

use super::build::Builder;
use super::mounts::{
    Opened, OpenedMount, OpenedSources, bind_inside, filesystem, idmap, is_bound_dev, is_dev,
    propagate,
};
use super::render::quoted;
use super::rootfs::restrict::Placed;
use super::rootfs::{Terminal, target};
use super::{Refusal, Request};
use super::{devices, labels};
use crate::spec::Config;
use crate::spec::mount::{Attributes, CopyUp, Kind, MountRequest, in_turn};
use crate::spec::mount::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID};
use crate::spec::mount::{MOUNT_ATTR_RDONLY, MOUNT_ATTR_STRICTATIME};

/// What is attached below the root, as far as later stages need it.
#[derive(Debug, Default)]
pub(super) struct Attached<'s> {
    /// What is mounted where.
    pub(super) placed: Placed<'s>,
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
pub(super) fn below_root<'s>(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    sources: &OpenedSources<'s>,
) -> Result<Attached<'s>, Refusal> {
    let root = sources.rootfs;
    let mut attached = Attached::default();
    let own_dev = sources.mounts.iter().any(|source| is_dev(source.request));
    if !own_dev {
        let dev = default_dev(builder, request, root)?;
        attached.terminal.console =
            devices::populate(builder, request, root, dev, &sources.devices)?;
    }
    for (index, source) in in_turn(&sources.mounts, |source| source.request.turn) {
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

impl<'s> Attached<'s> {
    /// Attaches one mount.
    fn add(
        &mut self,
        builder: &mut Builder<'_>,
        request: &Request<'_>,
        sources: &OpenedSources<'s>,
        source: &OpenedMount<'s>,
        field: &str,
    ) -> Result<(), Refusal> {
        let (root, mount) = (sources.rootfs, source.request);
        let destination = mount.destination.as_path();
        let fd = match (&source.opened, &mount.kind) {
            // Made in a namespace that was joined.
            (Opened::Mount(fd), Kind::Filesystem(kind)) if kind == "sysfs" || kind == "mqueue" => {
                self.placed.add_filesystem(destination, kind, *fd);
                *fd
            }
            (Opened::Mount(fd), _) => {
                self.placed.add(destination);
                *fd
            }
            (Opened::Cgroups(directories), _) => {
                self.placed.add(destination);
                return attach_cgroups(builder, request.spec, root, mount, directories);
            }
            (Opened::Remount, _) => {
                let destination = mount.destination.to_string_lossy();
                let fd = target(builder, root, &destination, Target::Within)?;
                remount(builder, mount, fd);
                return Ok(());
            }
            (Opened::Inside(path), _) => {
                self.placed.add(destination);
                bind_inside(builder, request, root, (mount, path), field)?
            }
            (Opened::Deferred, Kind::Filesystem(kind)) => {
                let kind = if kind == "cgroup" { "cgroup2" } else { kind };
                let fd = self.make(builder, request, kind, mount, field)?;
                self.placed.add_filesystem(destination, kind, fd);
                fd
            }
            (Opened::Deferred, _) => return Ok(()),
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
        let filled =
            is_dev(mount) || mount.copy_up == CopyUp::Yes || takes_mode(mount) || label.is_some();
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
            let (bytes, entries) = copy_up_limits(mount);
            let [mode, uid, gid] = ["mode", "uid", "gid"].map(|key| has(mount, key));
            let keeps = Keeps { mode, uid, gid };
            builder.push(FileOp::CopyUp { from: to, to: from, bytes, entries, keeps });
        } else if takes_mode(mount) {
            builder.push(FileOp::TakeMode { from: to, to: from });
        }
        builder.push(MountOp::MoveMount { from, to });
        builder.done_with(to);
        Ok(())
    }
}

/// Whether the file system is given this option.
fn has(mount: &MountRequest, key: &str) -> bool {
    mount.data.iter().any(|parameter| parameter.key == key)
}

/// Whether it gets the mode of the image's directory: programs rely on that of /run, and so do other runtimes.
fn takes_mode(mount: &MountRequest) -> bool {
    matches!(&mount.kind, Kind::Filesystem(kind) if kind == "tmpfs")
        && mount.copy_up == CopyUp::No
        && !has(mount, "mode")
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

/// Where the specification mounts nothing on /dev, the image's is hidden by brig's own.
fn default_dev(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    root: Slot,
) -> Result<Slot, Refusal> {
    let into = builder.made("/dev");
    let mut options = vec![
        (builder.text("mode")?, OptionValue::Text(builder.text("755")?)),
        (builder.text("size")?, OptionValue::Text(builder.text("65536k")?)),
    ];
    options.extend(labels::option(builder, request.spec)?);
    let options = builder.slice(&options);
    let attrs = (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_STRICTATIME) as u32;
    builder.push(MountOp::Fsmount { kind: c"tmpfs", options, attrs, into });
    let at = target(builder, root, "/dev", Target::Directory)?;
    builder.push(MountOp::MoveMount { from: into, to: at });
    Ok(into)
}

/// cgroup v1: a tmpfs with one directory for each hierarchy, and links for joint controllers.
fn attach_cgroups(
    builder: &mut Builder<'_>,
    spec: &Config,
    root: Slot,
    mount: &MountRequest,
    directories: &[(String, Slot)],
) -> Result<(), Refusal> {
    let destination = mount.destination.to_string_lossy();
    let into = builder.made(format!("tmpfs for {}", quoted(&*destination)));
    let mut options = vec![
        (builder.text("source")?, OptionValue::Text(builder.text("tmpfs")?)),
        (builder.text("mode")?, OptionValue::Text(builder.text("755")?)),
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
            let tolerates = Tolerance::Existing;
            builder.push(FileOp::Symlink { dir: into, name: link, target: path, tolerates });
        }
    }
    if mount.is_read_only() {
        let attr = MountAttr { set: MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        builder.push(MountOp::MountSetattr { fd: into, recursive: false, attr });
    }
    propagate(builder, mount, into);
    Ok(())
}
