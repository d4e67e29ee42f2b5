//! A table of mounts as a report needs it: which of them can be reached, what they allow, where they are from.
//!
//! Promises: time and memory linear in the length of the table, which is read up to a limit. Must never be the ground for a
//! decision about an object: it is words about mounts.
//!
//! Reference: proc_pid_mountinfo(5), mount_namespaces(7).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use brig_pseudofs::mountinfo;

use super::held::{Held, Seen};

/// A table of 100,000 mounts (the kernel's own limit, `fs.mount-max`) with paths of 300 bytes.
const TABLE_BYTES: usize = 32 << 20;

/// A mount that can be reached.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where, as seen from the root of the process.
    pub point: PathBuf,
    /// The type of its file system.
    pub kind: String,
    /// The device of its file system, `MAJOR:MINOR`.
    pub device: String,
    /// What of its file system it shows.
    pub root: PathBuf,
    /// The mount, or its file system, is read-only.
    pub read_only: bool,
    /// Set-user-id bits and capabilities of files do nothing.
    pub nosuid: bool,
    /// Device nodes cannot be opened.
    pub nodev: bool,
    /// Programs cannot be executed.
    pub noexec: bool,
    /// What is mounted in it appears elsewhere.
    pub shared: bool,
}

/// The mounts of a process.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Those that can be reached: no other mount is on or over them.
    pub mounts: Vec<Mount>,
    /// The numbers of all.
    pub ids: BTreeSet<u64>,
}

impl Table {
    pub(super) fn read(process: &Held) -> Seen<Self> {
        Ok(Self::parse(&process.text("mountinfo", TABLE_BYTES)?))
    }

    fn parse(text: &str) -> Self {
        let all: Vec<_> = mountinfo::Mount::all(text).collect();
        let mut index = BTreeMap::new();
        index.extend(all.iter().enumerate().map(|(index, mount)| (mount.id, index)));
        let mut above = vec![Vec::new(); all.len()];
        let mut bottoms = Vec::new();
        for (number, mount) in all.iter().enumerate() {
            match index.get(mount.parent).filter(|parent| **parent != number) {
                Some(parent) => above[*parent].push(number),
                None => bottoms.push(number),
            }
        }
        // What is mounted on a mount that another one covers wholly cannot be reached; the covering one is among those
        // above it. Each has one parent, so that each is visited once.
        let mut mounts = Vec::new();
        while let Some(number) = bottoms.pop() {
            let point = all[number].point();
            let cover = above[number].iter().copied().find(|above| all[*above].point() == point);
            match cover {
                Some(cover) => bottoms.push(cover),
                None => {
                    mounts.push(Mount::of(&all[number], point));
                    bottoms.append(&mut above[number]);
                }
            }
        }
        let ids = all.iter().filter_map(|mount| mount.id.parse().ok()).collect();
        Self { mounts, ids }
    }

    /// The mount at exactly this place.
    #[must_use]
    pub fn at(&self, point: &Path) -> Option<&Mount> {
        self.mounts.iter().find(|mount| mount.point == point)
    }

    /// The mount at `/`.
    #[must_use]
    pub fn root(&self) -> Option<&Mount> {
        self.at(Path::new("/"))
    }

    /// The mount that a path is on.
    #[must_use]
    pub fn of(&self, path: &Path) -> Option<&Mount> {
        let above = self.mounts.iter().filter(|mount| path.starts_with(&mount.point));
        above.max_by_key(|mount| mount.point.as_os_str().len())
    }

    /// What a mount is called in this table: the path of the same directory of the same file system.
    #[must_use]
    pub fn path_of(&self, other: &Mount) -> Option<PathBuf> {
        let same = self.mounts.iter().filter(|mount| mount.device == other.device);
        let rest =
            same.filter_map(|mount| Some((mount, other.root.strip_prefix(&mount.root).ok()?)));
        let (mount, rest) = rest.max_by_key(|(mount, _)| mount.root.as_os_str().len())?;
        Some(if rest.as_os_str().is_empty() { mount.point.clone() } else { mount.point.join(rest) })
    }
}

impl Mount {
    fn of(mount: &mountinfo::Mount<'_>, point: PathBuf) -> Self {
        Self {
            point,
            kind: mount.kind.to_owned(),
            device: mount.device.to_owned(),
            root: mount.root(),
            read_only: mount.is_read_only() || mount.super_options().any(|option| option == "ro"),
            nosuid: mount.has("nosuid"),
            nodev: mount.has("nodev"),
            noexec: mount.has("noexec"),
            shared: mount.shared,
        }
    }

    /// proc, sysfs, cgroups and their like: files that are the kernel's.
    pub(super) fn is_of_the_kernel(&self) -> bool {
        const KINDS: [&str; 8] =
            ["proc", "sysfs", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs", "bpf"];
        KINDS.contains(&self.kind.as_str())
    }

    /// Whether the kernel alone answers what is asked of it: not a server, which may let one wait.
    pub(super) fn is_the_kernels(&self) -> bool {
        const KERNELS: [&str; 10] = [
            "tmpfs", "devtmpfs", "overlay", "ext4", "xfs", "btrfs", "devpts", "mqueue", "ramfs",
            "erofs",
        ];
        KERNELS.contains(&self.kind.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_is_covered_is_not_there() {
        // Numbers say nothing about the order: the mask at 9 was made before the root over it.
        let table = Table::parse(
            "9 1 0:9 / / ro - tmpfs none ro\n20 9 8:1 / / rw,nosuid - ext4 /dev/sda rw\n\
             21 9 0:3 / /hidden rw - tmpfs none rw\n22 20 0:4 / /proc rw - proc none rw\n\
             23 22 0:9 / /proc/kcore ro - tmpfs none ro\n24 22 0:4 / /proc rw - proc none rw\nnonsense\n",
        );
        let points: Vec<_> =
            table.mounts.iter().map(|mount| mount.point.to_str().unwrap()).collect();
        assert_eq!(points, ["/", "/proc"]);
        assert_eq!(table.root().unwrap().kind, "ext4");
        assert!(table.of(Path::new("/proc/kcore")).is_some_and(|mount| mount.kind == "proc"));
        assert_eq!(table.ids.len(), 6);
    }

    #[test]
    fn a_file_system_that_is_read_only_is_no_place_to_write() {
        let table = Table::parse("9 1 8:1 / / rw - squashfs none ro\n");
        assert!(table.root().unwrap().read_only);
    }

    #[test]
    fn paths_of_the_host_are_those_of_its_nearest_mount() {
        let host = Table::parse(
            "9 1 8:1 / / rw - ext4 none rw\n10 9 8:2 /srv /data rw - ext4 none rw\n11 9 8:2 / /all rw - ext4 none rw\n",
        );
        let inside = Table::parse(
            "5 1 8:2 /srv/web /www rw - ext4 none rw\n6 5 8:3 / /x rw - ext4 none rw\n",
        );
        let path = |point: &str| host.path_of(inside.at(Path::new(point)).unwrap());
        assert_eq!(path("/www"), Some("/data/web".into()));
        assert_eq!(path("/x"), None);
    }

    #[test]
    fn a_hundred_thousand_mounts_on_each_other_are_read_at_once() {
        let line = |n: usize| format!("{n} {} 0:1 / /a rw - tmpfs none rw\n", n - 1);
        let text: String = (1..=100_000).map(line).collect();
        let table = Table::parse(&text);
        assert_eq!((table.mounts.len(), table.ids.len()), (1, 100_000));
    }
}
