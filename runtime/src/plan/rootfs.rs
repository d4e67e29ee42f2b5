//! The root file system: sources opened on the host's side, assembled on the container's.
//!
//! The root directory is found again and compared with the one that the supervisor has checked and holds.
//! Every source is a detached mount held by a descriptor; every target is a descriptor found
//! below the root without leaving it. Nothing the image contains can lead elsewhere.

mod assembly;
pub(super) mod restrict;

use brig_child::flags::{file, namespace, open, propagation, tree};
use brig_child::op::{Enter, FileOp, Identity, MountOp, OptionValue, ProcessOp, Target, Tolerance};
use brig_child::syscall::MountAttr;
use brig_child::{ReportKind, Slot};

use super::build::{Builder, SlotUse};
use super::inheritance::UMASK;
use super::mounts::{self, OpenedSources};
use super::namespaces::{DETACHED, Namespaces, Stages};
use super::render::quoted;
use super::root::{Root, RootDirectory, Tree};
use super::{Refusal, Request};
use super::{attach, devices, labels};
use crate::caller::Caller;
use crate::spec::mount::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID};
use crate::spec::mount::{MOUNT_ATTR_RDONLY, Propagation, Scope};
use crate::spec::{Config, Hooks};

/// What the container's root is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RootMode {
    /// A new mount namespace made from the kept one, which holds an empty directory only.
    Empty,
    /// A new mount namespace made from the host's, whose root is detached in the end.
    HostCopy,
    /// A mount namespace by path: the root is attached there and stays the process's alone.
    Joined,
}

impl RootMode {
    pub(super) fn choose(all: &Namespaces, request: &Request<'_>) -> Result<Self, Refusal> {
        if all.joins(namespace::MOUNT) {
            return Ok(Self::Joined);
        }
        if all.new & namespace::MOUNT == 0 {
            return Err(Refusal::new(
                "linux.namespaces",
                "has no mount namespace, so the container's mounts would be the host's",
                "add {\"type\": \"mount\"} to linux.namespaces",
            ));
        }
        // Hooks that run before the root is changed expect the host's file system around them;
        // a user namespace may mount proc only where one is already visible.
        let needs_host =
            sees_host(request.spec) || all.has(namespace::USER) || request.join.by_supervisor;
        let empty = request.host.empty_namespace && request.host.caller.is_root() && !needs_host;
        Ok(if empty { Self::Empty } else { Self::HostCopy })
    }
}

fn sees_host(spec: &Config) -> bool {
    let Hooks { prestart, create_runtime, create_container, .. } = &spec.hooks;
    [prestart, create_runtime, create_container].iter().any(|list| !list.is_empty())
}

/// What the root has for the program's terminal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terminal {
    /// The mount on /dev/pts.
    pub(super) pts: Option<Slot>,
    /// /dev/console, over which it is mounted.
    pub(super) console: Option<Slot>,
}

/// Opens what the mounts are made from.
pub(super) fn open_sources<'s>(
    builder: &mut Builder<'_>,
    request: &Request<'s>,
    all: &Namespaces,
    stages: &Stages,
) -> Result<OpenedSources<'s>, Refusal> {
    let (rootfs, in_root) =
        builder.concerning("root.path", |builder| open_root(builder, request, stages))?;
    let mounts = mounts::open(builder, request, all)?;
    let devices = devices::open(builder, request, all, mounts::is_bound_dev(&mounts))?;
    Ok(OpenedSources { rootfs, in_root, mounts, devices })
}

/// The root, and what is mounted in it before the mounts of the specification.
fn open_root(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    stages: &Stages,
) -> Result<(Slot, Vec<Slot>), Refusal> {
    let into = match request.root {
        Root::Directory(directory) => clone_directory(builder, request, stages, directory)?,
        Root::Tree { tree, .. } => tree_of(builder, tree),
        Root::Mounts { mounts, .. } => {
            let mut slots = assembly::open(builder, request, mounts)?;
            return Ok((slots.remove(0), slots));
        }
    };
    // A shared root is a new peer group, of the container's own mounts (config-linux.md, "Rootfs Mount Propagation").
    // Only a bind mount leads to the host, where it is shared itself.
    let propagation = match wanted_propagation(request.spec) {
        Some((Propagation::Slave, _)) => propagation::SLAVE,
        _ => DETACHED,
    };
    let attr = MountAttr { propagation, ..MountAttr::default() };
    builder.push(MountOp::MountSetattr { fd: into, recursive: true, attr });
    if request.read_only_tree {
        let set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
        let attr = MountAttr { set, ..MountAttr::default() };
        builder.push(MountOp::MountSetattr { fd: into, recursive: true, attr });
    }
    Ok((into, Vec::new()))
}

/// The tree of which the supervisor holds a descriptor.
fn tree_of(builder: &mut Builder<'_>, tree: Tree) -> Slot {
    let held = builder.input(SlotUse::Root);
    match tree {
        Tree::Detached => held,
        Tree::Directory => {
            let into = builder.made("rootfs");
            let flags = tree::CLONE | tree::RECURSIVE | tree::EMPTY_PATH;
            builder.push(MountOp::OpenTree { dir: held, path: c"", flags, into });
            into
        }
    }
}

fn clone_directory(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    stages: &Stages,
    directory: RootDirectory<'_>,
) -> Result<Slot, Refusal> {
    // In a copy of the host's mounts they have other numbers.
    let at_home = request.host.caller.is_root() && stages.first & u64::from(namespace::MOUNT) == 0;
    let mount = at_home.then_some(directory.mount);
    let directory = find_root(builder, directory, mount)?;
    let into = builder.made("rootfs");
    // A tree that is the host's own holds namespaces bound to files, which must not be moved
    // (namespaces(7)); what else is mounted below it is then listed. Without privilege only a
    // whole tree may be cloned.
    let alone = request.read_only_tree && request.host.caller == Caller::Root;
    let flags = tree::CLONE | if alone { 0 } else { tree::RECURSIVE };
    let flags = flags | tree::EMPTY_PATH;
    builder.push(MountOp::OpenTree { dir: directory, path: c"", flags, into });
    Ok(into)
}

/// The directory that the supervisor has found at `root.path`. Whoever may rename what is on the way there
/// can have put another in its place since.
fn find_root(
    builder: &mut Builder<'_>,
    directory: RootDirectory<'_>,
    mount: Option<u64>,
) -> Result<Slot, Refusal> {
    let RootDirectory { path, device, inode, .. } = directory;
    let into = straight(builder, path)?;
    let identity = Identity::Object { device, inode, mount };
    builder.push(FileOp::Expect { fd: into, identity });
    Ok(into)
}

/// Opens a directory of the host's, with no link on the way.
fn straight(builder: &mut Builder<'_>, path: &str) -> Result<Slot, Refusal> {
    let into = builder.made(quoted(path));
    let path = builder.text(path)?;
    let (flags, resolve) = (open::PATH | open::DIRECTORY, open::NO_SYMLINKS | open::NO_MAGICLINKS);
    builder.push(FileOp::Open { dir: Slot::CWD, path, flags, resolve, into });
    Ok(into)
}

/// `linux.rootfsPropagation`.
fn wanted_propagation(spec: &Config) -> Option<(Propagation, Scope)> {
    Propagation::parse(spec.linux.rootfs_propagation.as_ref()?)
}

/// Puts the root together and enters it.
pub(super) fn assemble(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    stages: &Stages,
    sources: &OpenedSources<'_>,
) -> Result<Terminal, Refusal> {
    let root = sources.rootfs;
    builder.push(ProcessOp::Umask { mask: 0 });
    let masks = masks(builder, request.spec)?;
    attach_root(builder, request, stages, masks.into_iter().chain([root]))?;
    attach_in_root(builder, request, sources)?;
    let attached = attach::below_root(builder, request, sources)?;
    if request.spec.root.readonly || !attached.readonly_later.is_empty() {
        make_working_directory(builder, request.spec, root)?;
    }
    restrict::paths(builder, request.spec, root, &attached.placed, masks)?;
    for fd in attached.readonly_later {
        let attr = MountAttr { set: MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        builder.push(MountOp::MountSetattr { fd, recursive: false, attr });
    }
    hooks_before_entering(builder, request)?;
    let how = match stages.root {
        RootMode::HostCopy => Enter::Pivot,
        RootMode::Empty | RootMode::Joined => Enter::Chroot,
    };
    builder.push(MountOp::EnterRoot { root, how });
    finish_root(builder, request, root);
    Ok(attached.terminal)
}

/// Puts the root, and the masks under it, where the process can enter it.
fn attach_root(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    stages: &Stages,
    mounts: impl Iterator<Item = Slot>,
) -> Result<(), Refusal> {
    // On "/" itself the old root could not be told from what lies on it.
    let place = request.root.place().filter(|directory| directory.path != "/");
    // The way to it may be closed to root of the user namespace: engines' directories are the host's root's. Only hooks that
    // run in the container's mounts look for it there.
    let is_looked_for = !request.spec.hooks.create_container.is_empty();
    let place = place.filter(|_| !request.root.is_mapped() || is_looked_for);
    let to = match (stages.root, place) {
        (RootMode::Empty, _) => None,
        (RootMode::HostCopy | RootMode::Joined, None) => Some(straight(builder, "/proc")?),
        (RootMode::HostCopy, Some(directory)) => Some(find_root(builder, directory, None)?),
        // Another's mounts: what is there need not be what is here.
        (RootMode::Joined, Some(directory)) => Some(straight(builder, directory.path)?),
    };
    for from in mounts {
        builder.push(match to {
            Some(to) => MountOp::MoveMount { from, to },
            None => MountOp::MoveMountTo { from, dir: Slot::CWD, path: c"/" },
        });
    }
    Ok(())
}

/// What belongs to the root besides its first mount.
fn attach_in_root(
    builder: &mut Builder<'_>,
    request: &Request<'_>,
    sources: &OpenedSources<'_>,
) -> Result<(), Refusal> {
    let Root::Mounts { mounts, .. } = request.root else { return Ok(()) };
    for (mount, from) in mounts.iter().skip(1).zip(&sources.in_root) {
        let to = target(builder, sources.rootfs, &mount.target, Target::NoLink)?;
        builder.push(MountOp::MoveMount { from: *from, to });
    }
    Ok(())
}

/// A read-only mount with an empty directory and an empty file, for hiding things.
fn masks<'a>(builder: &mut Builder<'a>, spec: &Config) -> Result<Option<Slot>, Refusal> {
    if spec.linux.masked_paths.is_empty() {
        return Ok(None);
    }
    let into = builder.made("masks");
    let attrs = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    let mut options = vec![(builder.text("mode")?, OptionValue::Text(builder.text("0555")?))];
    options.extend(labels::option(builder, spec)?);
    let options = builder.slice(&options);
    builder.push(MountOp::Fsmount { kind: c"tmpfs", options, attrs: attrs as u32, into });
    let mode = file::REGULAR | 0o444;
    builder.push(FileOp::Mknod {
        dir: into,
        path: c"file",
        mode,
        device: 0,
        uid: 0,
        gid: 0,
        tolerates: Tolerance::None,
    });
    builder.push(FileOp::Mkdir { dir: into, name: c"directory", mode: 0o555 });
    let attr = MountAttr { set: MOUNT_ATTR_RDONLY, ..MountAttr::default() };
    builder.push(MountOp::MountSetattr { fd: into, recursive: false, attr });
    Ok(Some(into))
}

/// Makes the working directory while its place can still be written to. Elsewhere chdir does, if it has to.
fn make_working_directory(
    builder: &mut Builder<'_>,
    spec: &Config,
    root: Slot,
) -> Result<(), Refusal> {
    let cwd = &spec.process.cwd;
    if cwd == "/" {
        return Ok(());
    }
    builder.concerning("process.cwd", |builder| target(builder, root, cwd, Target::Within))?;
    Ok(())
}

/// The barrier for the hooks of the runtime namespace, and the createContainer hooks.
fn hooks_before_entering(builder: &mut Builder<'_>, request: &Request<'_>) -> Result<(), Refusal> {
    let hooks = &request.spec.hooks;
    let notifies = request.seccomp.is_some_and(|program| program.notify);
    let waits = hooks.any_before_program() || notifies || request.limits_bandwidth;
    if waits {
        builder.ask(ReportKind::WantsHooks);
    }
    let of_container = &hooks.create_container;
    if of_container.is_empty() {
        return Ok(());
    }
    let path = builder.text(request.bundle)?;
    builder.push(ProcessOp::Visit { path });
    builder.push(ProcessOp::Umask { mask: UMASK });
    let without_env = builder.vector([""; 0])?;
    super::process::push_hooks(builder, of_container, &SlotUse::State, &[], without_env)?;
    builder.push(ProcessOp::Umask { mask: 0 });
    Ok(())
}

fn finish_root(builder: &mut Builder<'_>, request: &Request<'_>, root: Slot) {
    let spec = request.spec;
    let is_read_only = spec.root.readonly || request.root.is_sealed();
    let set = request.root_attributes | if is_read_only { MOUNT_ATTR_RDONLY } else { 0 };
    if set != 0 {
        let attr = MountAttr { set, ..MountAttr::default() };
        builder.push(MountOp::MountSetattr { fd: root, recursive: false, attr });
    }
    if let Some((propagation, scope)) = wanted_propagation(spec)
        && propagation != Propagation::Private
    {
        let attr = MountAttr { propagation: propagation.flag(), ..MountAttr::default() };
        builder.push(MountOp::MountSetattr { fd: root, recursive: scope == Scope::Tree, attr });
    }
}

/// Opens a target below the root.
pub(super) fn target(
    builder: &mut Builder<'_>,
    root: Slot,
    path: &str,
    target: Target,
) -> Result<Slot, Refusal> {
    let path = builder.text(path)?;
    let into = builder.target(path);
    builder.push(FileOp::OpenTarget { root, path, target, into });
    Ok(into)
}
