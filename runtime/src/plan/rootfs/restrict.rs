//! `linux.maskedPaths` and `linux.readonlyPaths`: what is hidden, and what becomes read-only.
//!
//! Promises: what lies in a file system of the kernel's that the plan has mounted (procfs, sysfs …) is found from that
//! mount, not by its path: who may rename in a root that is shared can take the mount's place away after it was mounted,
//! and what is not found is not masked. Elsewhere a path is looked up below the root, as the image's links may lead from
//! one mount to another.

use std::collections::HashSet;
use std::ffi::CStr;
use std::path::{Component, Path, PathBuf};

use brig_child::Slot;
use brig_child::flags::tree;
use brig_child::op::{MountOp, Tolerance};
use brig_child::syscall::MountAttr;

use crate::plan::Refusal;
use crate::plan::build::Builder;
use crate::plan::render::quoted;
use crate::spec::Config;
use crate::spec::mount::MOUNT_ATTR_RDONLY;

/// File systems of the kernel's in which no link leads out to another path.
const KERNELS: [&str; 5] = ["proc", "sysfs", "cgroup2", "mqueue", "devpts"];

/// What has been mounted below the root, in this order.
#[derive(Debug, Default)]
pub(in crate::plan) struct Placed<'s>(Vec<(&'s Path, Option<Slot>)>);

impl<'s> Placed<'s> {
    /// Something is mounted at `destination`.
    pub(in crate::plan) fn add(&mut self, destination: &'s Path) {
        self.0.push((destination, None));
    }

    /// A file system that was made there is the mount `slot`.
    pub(in crate::plan) fn add_filesystem(
        &mut self,
        destination: &'s Path,
        kind: &str,
        slot: Slot,
    ) {
        self.0.push((destination, KERNELS.contains(&kind).then_some(slot)));
    }

    /// The kernel's file system that `path` lies in, and the way from there; empty for its root.
    fn find(&self, path: &Path) -> Option<(Slot, PathBuf)> {
        if path.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        let mut base: Option<(&Path, Slot)> = None;
        for (destination, slot) in &self.0 {
            if !path.starts_with(destination) {
                continue;
            }
            base = match (slot, base) {
                (Some(slot), _) => Some((destination, *slot)),
                // In that file system, and the path is that of the mount itself, from which nothing leads anywhere.
                (None, Some((above, slot))) if *destination == path && path != above => {
                    Some((above, slot))
                }
                (None, _) => None,
            };
        }
        let (above, slot) = base?;
        path.strip_prefix(above).ok().map(|rest| (slot, rest.components().collect()))
    }
}

/// Restricts the paths of the specification. `masks` is the mount of masks.
pub(in crate::plan) fn paths(
    builder: &mut Builder<'_>,
    spec: &Config,
    root: Slot,
    placed: &Placed<'_>,
    masks: Option<Slot>,
) -> Result<(), Refusal> {
    // The usual lists name what some kernels and images lack.
    let tolerates = Tolerance::Missing;
    for path in each_once(&spec.linux.readonly_paths) {
        match where_from(builder, root, placed, path)? {
            (root, Some(path)) => builder.push(MountOp::Readonly { root, path, tolerates }),
            (mount, None) => readonly_mount(builder, mount, path),
        }
    }
    let Some(masks) = masks else { return Ok(()) };
    for path in each_once(&spec.linux.masked_paths) {
        match where_from(builder, root, placed, path)? {
            (root, Some(path)) => builder.push(MountOp::Mask { root, path, masks, tolerates }),
            (mount, None) => mask_mount(builder, mount, masks, path),
        }
    }
    Ok(())
}

/// From where a path is looked up, and how; no path for the root of a mount.
fn where_from<'a>(
    builder: &Builder<'a>,
    root: Slot,
    placed: &Placed<'_>,
    path: &str,
) -> Result<(Slot, Option<&'a CStr>), Refusal> {
    Ok(match placed.find(Path::new(path)) {
        None => (root, Some(builder.text(path)?)),
        Some((mount, rest)) if rest.as_os_str().is_empty() => (mount, None),
        Some((mount, rest)) => (mount, Some(builder.text(rest.as_os_str().as_encoded_bytes())?)),
    })
}

fn readonly_mount(builder: &mut Builder<'_>, mount: Slot, path: &str) {
    let into = builder.made(format!("{} to be read-only", quoted(path)));
    let flags = tree::CLONE | tree::RECURSIVE | tree::EMPTY_PATH;
    builder.push(MountOp::OpenTree { dir: mount, path: c"", flags, into });
    let attr = MountAttr { set: MOUNT_ATTR_RDONLY, ..MountAttr::default() };
    builder.push(MountOp::MountSetattr { fd: into, recursive: true, attr });
    builder.push(MountOp::MoveMount { from: into, to: mount });
}

fn mask_mount(builder: &mut Builder<'_>, mount: Slot, masks: Slot, path: &str) {
    let into = builder.made(format!("mask of {}", quoted(path)));
    builder.push(MountOp::OpenTree { dir: masks, path: c"directory", flags: tree::CLONE, into });
    builder.push(MountOp::MoveMount { from: into, to: mount });
}

/// The paths in their order, and one that is listed twice once: engines add to a list that may have it.
fn each_once(paths: &[String]) -> impl Iterator<Item = &str> {
    let mut seen = HashSet::new();
    paths.iter().map(|path| without_slashes(path)).filter(move |path| seen.insert(*path))
}

/// The path without what says at its end that it is a directory: to the kernel a file is then not there, and
/// what is not there needs no mask.
fn without_slashes(mut path: &str) -> &str {
    while let Some(rest) = path.strip_suffix('/').or_else(|| path.strip_suffix("/.")) {
        path = rest;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(placed: &[(&str, Option<&str>)], path: &str) -> Option<(u16, String)> {
        let mut all = Placed::default();
        for (number, (destination, kind)) in placed.iter().enumerate() {
            let slot = Slot(u16::try_from(number).expect("few"));
            match kind {
                Some(kind) => all.add_filesystem(Path::new(destination), kind, slot),
                None => all.add(Path::new(destination)),
            }
        }
        all.find(Path::new(path)).map(|(slot, rest)| (slot.0, rest.to_string_lossy().into_owned()))
    }

    #[test]
    fn a_path_is_looked_for_in_the_last_of_the_kernels_mounts_that_it_is_in() {
        let usual = [
            ("/proc", Some("proc")),
            ("/dev", Some("tmpfs")),
            ("/sys", Some("sysfs")),
            ("/sys/fs/cgroup", Some("cgroup2")),
        ];
        let is = |path, number, rest: &str| {
            assert_eq!(found(&usual, path), Some((number, rest.to_owned())), "{path}");
        };
        is("/proc/kcore", 0, "kcore");
        is("/proc//sys/./kernel", 0, "sys/kernel");
        is("/proc", 0, "");
        is("/sys/firmware", 2, "firmware");
        is("/sys/fs/cgroup/x", 3, "x");
        for other in ["/process/x", "/dev/shm", "/etc", "/proc/../etc", "/proc/x/.."] {
            assert_eq!(found(&usual, other), None, "{other}");
        }
    }

    #[test]
    fn what_else_is_mounted_there_is_found_by_its_path() {
        let bound = [("/proc", Some("proc")), ("/proc/meminfo", None), ("/proc/fs", None)];
        // The mount itself lies where it was put; in it links may lead elsewhere.
        assert_eq!(found(&bound, "/proc/meminfo"), Some((0, "meminfo".to_owned())));
        assert_eq!(found(&bound, "/proc/fs/nfsd"), None);
        assert_eq!(found(&bound, "/proc/sys"), Some((0, "sys".to_owned())));
        // One that hides the other, and one that hides that.
        let hidden = [("/proc", Some("proc")), ("/proc", None)];
        assert_eq!(found(&hidden, "/proc/sys"), None);
        assert_eq!(found(&hidden, "/proc"), None);
        let again = [("/proc", Some("proc")), ("/proc", None), ("/proc", Some("proc"))];
        assert_eq!(found(&again, "/proc/sys"), Some((2, "sys".to_owned())));
        let above = [("/a/proc", Some("proc")), ("/a", Some("tmpfs"))];
        assert_eq!(found(&above, "/a/proc/sys"), None);
    }
}
