//! /dev: brig's own tmpfs, filled by descriptor.
//!
//! Device nodes are made; in a user namespace, where that is forbidden, the host's of the same path
//! are bound, with the owner and mode that they have there, after a check that each is the device
//! that is asked for. A /dev that is a bind mount is left as it is, and checked in the same way.
//! runtime-spec config-linux.md, "Devices" and "Default Devices".

use std::path::Path;

use brig_child::flags::{file, namespace, open as flags, tree};
use brig_child::op::{FileOp, Identity, MountOp, Target, Tolerance};
use brig_child::syscall::MountAttr;
use brig_child::{Slot, device};

use super::build::Builder;
use super::namespaces::{DETACHED, Namespaces};
use super::render::quoted;
use super::rootfs::target;
use super::{Refusal, Request};
use crate::caller::Caller;
use crate::spec;
use crate::spec::mount::MountRequest;

/// A device of the container.
#[derive(Clone, Debug)]
pub(super) struct Device {
    /// What lists it; none for those that every container has.
    field: Option<String>,
    path: String,
    mode: u32,
    number: u64,
    uid: u32,
    gid: u32,
    /// The host's node, where none can be made.
    bound: Option<Slot>,
    /// It belongs into a mount below /dev.
    in_mount: bool,
}

/// Devices that every container has (config-linux.md): path, major, minor.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links that every container has: name in /dev, what it points to.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

fn requested(device: &spec::Device, index: usize) -> Result<Device, Refusal> {
    let field = format!("linux.devices[{index}]");
    let components = device.path.split('/').filter(|part| !part.is_empty() && *part != ".");
    let path: String = components.flat_map(|part| ["/", part]).collect();
    if path.is_empty() || path == "/dev" {
        let reason = "is a directory of every container";
        return Err(Refusal::new(format!("{field}.path"), reason, "name the device itself"));
    }
    let Some(kind) = device.kind.file_type() else {
        let reason = "\"a\" is no type of a device node";
        return Err(Refusal::new(format!("{field}.type"), reason, "use c, b, u or p"));
    };
    // Within the kernel's limits: it has been checked.
    let number = |value: i64| u32::try_from(value).unwrap_or_default();
    let number = match kind {
        file::FIFO => 0,
        _ => device::encode(number(device.major), number(device.minor)),
    };
    Ok(Device {
        field: Some(field),
        path,
        mode: kind | device.file_mode.unwrap_or(0o666) & 0o7777,
        number,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
        bound: None,
        in_mount: false,
    })
}

/// Whether a device's path leads into a mount below /dev, which is there only later.
fn is_in_mount(path: &str, mounts: &[MountRequest]) -> bool {
    let is_above = |mount: &MountRequest| {
        let place = &mount.destination;
        place != Path::new("/dev")
            && place.starts_with("/dev")
            && Path::new(path).starts_with(place)
            && Path::new(path) != place
    };
    mounts.iter().any(is_above)
}

/// The multiplexer of terminals: path, major, minor. Every container has a link to that of its own terminals
/// (config-linux.md, "Default Devices"); a node in its place would be of the host's wherever it is bound.
const PTMX: (&str, u32, u32) = ("/dev/ptmx", 5, 2);

/// The devices that are listed: the same one twice is one, two at one path are refused.
fn listed(request: &Request<'_>, bound_dev: bool) -> Result<Vec<Device>, Refusal> {
    let mut devices: Vec<Device> = Vec::new();
    for (index, device) in request.spec.linux.devices.iter().enumerate() {
        let mut device = requested(device, index)?;
        device.in_mount = is_in_mount(&device.path, &request.spec.mounts);
        if !bound_dev && device.is_at(PTMX) {
            continue;
        }
        match devices.iter().find(|known| known.path == device.path) {
            None => devices.push(device),
            Some(known) if known.is(&device) => {}
            Some(_) => {
                return Err(Refusal::new(
                    format!("linux.devices[{index}].path"),
                    format!("{} is listed before as another device", device.path),
                    "remove one of the two",
                ));
            }
        }
    }
    Ok(devices)
}

/// The container's devices; where nodes cannot be made, opens the host's.
pub(super) fn open(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    all: &Namespaces,
    bound_dev: bool,
) -> Result<Vec<Device>, Refusal> {
    let mut devices = listed(request, bound_dev)?;
    for (path, major, minor) in DEFAULT {
        if !bound_dev && !devices.iter().any(|device| device.path == path) {
            let mode = file::CHARACTER | 0o666;
            let number = device::encode(major, minor);
            let path = path.to_owned();
            let (bound, in_mount) = (None, false);
            devices.push(Device {
                field: None,
                path,
                mode,
                number,
                uid: 0,
                gid: 0,
                bound,
                in_mount,
            });
        }
    }
    if all.has(namespace::USER) || request.host.caller != Caller::Root {
        let kept = |device: &&mut Device| bound_dev && device.in_dev() || device.is_fifo();
        for device in devices.iter_mut().filter(|device| !kept(device)) {
            device.bound = Some(device.concerning(builder, |builder| open_node(builder, device))?);
        }
    }
    Ok(devices)
}

/// The host's node of the same path, detached, after a check that it is the device.
fn open_node(builder: &mut Builder<'_>, device: &Device) -> Result<Slot, Refusal> {
    let into = builder.made(format!("host's {}", quoted(&device.path)));
    let path = builder.text(&device.path)?;
    let flags = tree::CLONE | tree::NOFOLLOW;
    builder.push(MountOp::OpenTree { dir: Slot::CWD, path, flags, into });
    let attr = MountAttr { propagation: DETACHED, ..MountAttr::default() };
    builder.push(MountOp::MountSetattr { fd: into, recursive: false, attr });
    builder.push(device.check(into));
    Ok(into)
}

impl Device {
    /// What `emit` adds is about the field that lists the device.
    fn concerning<'a, T>(
        &self,
        builder: &mut Builder<'a>,
        emit: impl FnOnce(&mut Builder<'a>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        match &self.field {
            Some(field) => builder.concerning(field, emit),
            None => emit(builder),
        }
    }

    /// Whether both say the same.
    fn is(&self, other: &Self) -> bool {
        let all = |device: &Self| (device.mode, device.number, device.uid, device.gid);
        self.path == other.path && all(self) == all(other)
    }

    /// Whether it is this character device, at this path.
    fn is_at(&self, (path, major, minor): (&str, u32, u32)) -> bool {
        let is_character = self.mode & file::FORMAT == file::CHARACTER;
        is_character && self.path == path && self.number == device::encode(major, minor)
    }

    /// Whether it is in /dev itself, and no mount in there.
    fn in_dev(&self) -> bool {
        self.path.starts_with("/dev/") && !self.in_mount
    }

    fn is_fifo(&self) -> bool {
        self.mode & file::FORMAT == file::FIFO
    }

    fn check<'a>(&self, fd: Slot) -> FileOp<'a> {
        let identity = Identity::Node { kind: self.mode & file::FORMAT, device: self.number };
        FileOp::Expect { fd, identity }
    }
}

/// Fills /dev, whose mount is `dev`. The answer is the target of the console, where there is one.
pub(super) fn populate(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    root: Slot,
    dev: Slot,
    devices: &[Device],
) -> Result<Option<Slot>, Refusal> {
    for device in devices.iter().filter(|device| device.in_dev()) {
        device.concerning(builder, |builder| node(builder, root, Some(dev), device))?;
    }
    for (name, points_to) in LINKS {
        let (name, points_to) = (builder.text(name)?, builder.text(points_to)?);
        let tolerates = Tolerance::Existing;
        builder.push(FileOp::Symlink { dir: dev, name, target: points_to, tolerates });
    }
    console(builder, request, root)
}

fn console(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    root: Slot,
) -> Result<Option<Slot>, Refusal> {
    let wanted = request.spec.process.terminal;
    wanted.then(|| target(builder, root, "/dev/console", Target::File)).transpose()
}

/// Devices outside of /dev: in the image, or in a mount, whose turn this is after all mounts.
pub(super) fn elsewhere(
    builder: &mut Builder<'_>,
    root: Slot,
    devices: &[Device],
) -> Result<(), Refusal> {
    for device in devices.iter().filter(|device| !device.in_dev()) {
        device.concerning(builder, |builder| node(builder, root, None, device))?;
    }
    Ok(())
}

/// A /dev of the host's has what is listed already, or not at all: brig makes nothing there. The answer is as
/// that of [`populate`].
pub(super) fn check_bound(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    root: Slot,
    devices: &[Device],
) -> Result<Option<Slot>, Refusal> {
    for device in devices.iter().filter(|device| device.in_dev()) {
        device.concerning(builder, |builder| {
            let into = builder.made(quoted(&device.path));
            let path = builder.text(&device.path)?;
            let resolve = flags::IN_ROOT | flags::NO_MAGICLINKS;
            builder.push(FileOp::Open { dir: root, path, flags: flags::PATH, resolve, into });
            builder.push(device.check(into));
            Ok(())
        })?;
    }
    console(builder, request, root)
}

fn node(
    builder: &mut Builder<'_>,
    root: Slot,
    dev: Option<Slot>,
    device: &Device,
) -> Result<(), Refusal> {
    if let Some(bound) = device.bound {
        let at = target(builder, root, &device.path, Target::File)?;
        builder.push(MountOp::MoveMount { from: bound, to: at });
        return Ok(());
    }
    let (above, name) = device.path.rsplit_once('/').unwrap_or(("", &device.path));
    let dir = match (above, dev) {
        ("/dev", Some(dev)) => dev,
        ("", _) => root,
        (above, _) => target(builder, root, above, Target::Within)?,
    };
    let path = builder.text(name)?;
    let Device { mode, number, uid, gid, .. } = *device;
    let tolerates = Tolerance::Existing;
    builder.push(FileOp::Mknod { dir, path, mode, device: number, uid, gid, tolerates });
    Ok(())
}
