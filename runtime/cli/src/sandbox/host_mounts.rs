//! Which of the host's mounts a sandbox over the host's root has, and where it has nothing instead.
//!
//! A clone of the root comes without what is mounted on it. Promises: where a mount does not come along, what
//! it hides on the host stays hidden; no file system that waits for a server or for another process is
//! touched (NFS, FUSE): the table of mounts and directories of other file systems are all that is looked at.
//! Must never take a path for the mount that it names without asking whether another lies over it.
//! Reference: proc_pid_mountinfo(5), proc_filesystems(5).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use brig::supervise::Error;
use brig::trusted::steps;
use brig_pseudofs::mountinfo::Mount;
use brig_pseudofs::small_file;

/// What becomes of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is in the sandbox, too.
    Carried,
    /// Nothing is in its place; nor is what is mounted below it in the sandbox.
    Covered,
    /// The same, and a bind mount of a directory above comes without it.
    Unbindable,
}

/// Where a directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere.
    Missing,
    /// At this path, which has no link in it.
    At(PathBuf),
    /// Below a mount that is covered.
    Beyond,
}

/// The host's mounts that can be reached by their paths, but for that of the root; what is below another
/// comes after it.
#[derive(Debug)]
pub(super) struct HostMounts {
    mounts: Vec<(PathBuf, Fate)>,
}

/// File systems with files of their own that need no block device.
const WITHOUT_DEVICE: [&str; 6] = ["aufs", "ecryptfs", "overlay", "ubifs", "virtiofs", "zfs"];
/// One that needs a device, and a process that answers.
const SERVED: &str = "fuseblk";
/// As many symbolic links as the kernel follows (path_resolution(7)).
const MOST_LINKS: u32 = 40;

impl HostMounts {
    /// The mounts on the mount `root`, which has this process's root. Those that `cwd` is on are carried whatever they are: the caller is there.
    ///
    /// # Errors
    /// They cannot be read, or one cannot be hidden.
    pub(super) fn read(root: u64, cwd: &Path) -> Result<Self, Error> {
        let read = |path| {
            let failed = |error| Error::system(format!("reading {path}"), error);
            small_file::read(path).map_err(failed)
        };
        let (table, kinds) = (read("/proc/self/mountinfo")?, read("/proc/filesystems")?);
        let (table, kinds) = (String::from_utf8_lossy(&table), String::from_utf8_lossy(&kinds));
        Self::of(&table, &kinds, &root.to_string(), cwd)
    }

    fn of(table: &str, kinds: &str, root: &str, cwd: &Path) -> Result<Self, Error> {
        let with_device = kinds.lines().filter_map(|line| line.strip_prefix('\t'));
        let mut of_files: HashSet<_> = with_device.filter(|kind| *kind != SERVED).collect();
        of_files.extend(WITHOUT_DEVICE);
        let mut mounts = Vec::new();
        let mut tree = Tree::of(table);
        let mut ahead = tree.below(root);
        while let Some(mount) = ahead.pop() {
            let top = tree.top_of(mount);
            if let Some(above) = above_what_has_no_name(&top.point) {
                if above == Path::new("/") {
                    return Err(cannot_be_hidden(&top.point));
                }
                mounts.push((above, Fate::Covered));
            } else if top.unbindable {
                mounts.push((top.point, Fate::Unbindable));
            } else if of_files.contains(top.kind) || cwd.starts_with(&top.point) {
                ahead.extend(tree.below(top.id));
                mounts.push((top.point, Fate::Carried));
            } else {
                mounts.push((top.point, Fate::Covered));
            }
        }
        Ok(Self { mounts })
    }

    /// Every mount with its fate, those below others after them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Path, Fate)> {
        self.mounts.iter().map(|(point, fate)| (point.as_path(), *fate))
    }

    /// Where the directory at `path` is, with links followed as far as no mount is touched that may wait.
    pub(super) fn place_of(&self, path: &Path) -> Place {
        let (mut here, mut links) = (PathBuf::from("/"), 0);
        let mut ahead = steps(path);
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&name);
            match self.iter().find(|(point, _)| *point == next) {
                Some((_, Fate::Covered | Fate::Unbindable)) if !ahead.is_empty() => {
                    return Place::Beyond;
                }
                Some(_) => {
                    here = next;
                    continue;
                }
                None => {}
            }
            let Ok(found) = fs::symlink_metadata(&next) else { return Place::Missing };
            if found.is_dir() {
                here = next;
                continue;
            }
            links += 1;
            let Some(target) = fs::read_link(&next).ok().filter(|_| links <= MOST_LINKS) else {
                return Place::Missing;
            };
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            for name in steps(&target).into_iter().rev() {
                ahead.push_front(name);
            }
        }
        Place::At(here)
    }
}

/// For a mount point that is no UTF-8, and so cannot be named in a specification: the directory that has to be
/// hidden instead.
fn above_what_has_no_name(point: &Path) -> Option<PathBuf> {
    let unnamed = |part: &Component<'_>| {
        part.as_os_str().to_str().is_none_or(|name| name.contains(char::REPLACEMENT_CHARACTER))
    };
    let whole = point.components().any(|part| unnamed(&part));
    whole.then(|| point.components().take_while(|part| !unnamed(part)).collect())
}

fn cannot_be_hidden(point: &Path) -> Error {
    let what = format!("the host's mount at {} cannot be hidden", point.display());
    Error::plain(what).with_hint("its name is no UTF-8: mount it below another directory")
}

/// A mount as a line has it.
#[derive(Debug)]
struct Node<'l> {
    id: &'l str,
    kind: &'l str,
    unbindable: bool,
    point: PathBuf,
}

/// The mounts by their parents.
struct Tree<'l>(HashMap<&'l str, Vec<Node<'l>>>);

impl<'l> Tree<'l> {
    fn of(table: &'l str) -> Self {
        let mut nodes = HashMap::<_, Vec<_>>::new();
        // The first mount of a namespace is its own parent.
        for mount in Mount::all(table).filter(|mount| mount.id != mount.parent) {
            let Mount { id, kind, unbindable, .. } = mount;
            let node = Node { id, kind, unbindable, point: mount.point() };
            nodes.entry(mount.parent).or_default().push(node);
        }
        Self(nodes)
    }

    /// The mount that is seen where this one is.
    fn top_of(&mut self, mut mount: Node<'l>) -> Node<'l> {
        while let Some(further) = self.0.get_mut(mount.id)
            && let Some(at) = further.iter().position(|over| over.point == mount.point)
        {
            mount = further.swap_remove(at);
        }
        mount
    }

    /// What is mounted on a mount, last first, without what lies below another of them: that is found in the
    /// other, or nowhere.
    fn below(&mut self, id: &str) -> Vec<Node<'l>> {
        let mut nodes = self.0.remove(id).unwrap_or_default();
        // Whoever is in a root stays below what is mounted on it.
        nodes.retain(|node| node.point != Path::new("/"));
        // Component by component, so that what is below another comes right after it.
        nodes.sort_by(by_point);
        nodes.dedup_by(|node, above| node.point.starts_with(&above.point));
        nodes.reverse();
        nodes
    }
}

/// Once in the program, and not wherever sorting compares.
#[inline(never)]
fn by_point(one: &Node<'_>, other: &Node<'_>) -> std::cmp::Ordering {
    one.point.cmp(&other.point)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: &str = "nodev\tsysfs\nnodev\ttmpfs\nnodev\tfuse\n\text4\n\tfuseblk\n\tbtrfs\n";

    fn of(table: &str, cwd: &str) -> Result<HostMounts, Error> {
        let lines = table.lines().map(|line| {
            let [id, parent, point, kind] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let (kind, shared) = match kind.strip_prefix('!') {
                Some(kind) => (kind, "unbindable"),
                None => (kind, "shared:1"),
            };
            format!("{id} {parent} 8:1 / {point} rw,relatime {shared} - {kind} /dev/sda rw\n")
        });
        HostMounts::of(&lines.collect::<String>(), KINDS, "1", Path::new(cwd))
    }

    /// What becomes of the mounts: carried ones by their names, the others in brackets.
    fn fates(table: &str, cwd: &str) -> String {
        let mounts = of(table, cwd).expect("all of it can be hidden");
        let words = mounts.iter().map(|(point, fate)| match fate {
            Fate::Carried => point.display().to_string(),
            Fate::Covered => format!("({})", point.display()),
            Fate::Unbindable => format!("[{}]", point.display()),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn file_systems_with_files_are_carried_and_the_others_covered() {
        let table = "1 0 / ext4\n2 1 /proc proc\n3 1 /usr ext4\n4 3 /usr/share/x tmpfs\n\
            5 1 /mnt/ssh fuse.sshfs\n6 5 /mnt/ssh/disk ext4\n7 1 /win fuseblk\n8 1 /net nfs4\n9 1 /var btrfs";
        assert_eq!(fates(table, "/"), "(/mnt/ssh) (/net) (/proc) /usr (/usr/share/x) /var (/win)");
        assert_eq!(fates("1 0 / ext4\n2 1 /a !ext4\n3 2 /a/b ext4\n", "/a"), "[/a]");
        let there = "(/net) (/proc) /usr (/usr/share/x) /var (/win)";
        assert_eq!(fates(table, "/mnt/ssh/a"), format!("/mnt/ssh /mnt/ssh/disk {there}"));
    }

    #[test]
    fn the_mount_that_is_seen_decides() {
        let over = "1 0 / ext4\n2 1 /a ext4\n3 2 /a/b tmpfs\n4 2 /a tmpfs\n";
        assert_eq!(fates(over, "/"), "(/a)", "another lies over it and what is in it");
        let under = "1 0 / ext4\n2 1 /a tmpfs\n4 2 /a ext4\n5 4 /a/c ext4\n3 2 /a/b ext4\n";
        assert_eq!(fates(under, "/"), "/a /a/c");
        let beside = "1 0 / ext4\n2 1 /a/b tmpfs\n3 1 /a ext4\n4 1 /ab ext4\n";
        assert_eq!(fates(beside, "/"), "/a /ab", "it is below what was mounted later");
        let own = "1 1 / tmpfs\n2 1 / ext4\n3 2 /x tmpfs\n4 1 /y ext4\n";
        assert_eq!(fates(own, "/"), "/y", "whoever is in a root stays below what is mounted on it");
        assert_eq!(fates("7 1 /x tmpfs\n8 7 /x/y ext4\n", "/"), "(/x)", "a root that is no mount");
    }

    #[test]
    fn a_mount_without_a_name_is_hidden_with_what_is_around_it() {
        assert_eq!(fates("1 0 / ext4\n2 1 /mnt/a/\u{fffd}x/b tmpfs\n", "/"), "(/mnt/a)");
        let error =
            of("1 0 / ext4\n2 1 /\u{fffd} tmpfs\n", "/").expect_err("the root is all there is");
        assert!(error.to_string().contains("cannot be hidden"), "{error}");
    }

    #[test]
    fn places_are_found_without_touching_mounts() {
        let dir = tempfile::tempdir().expect("a directory");
        let real = fs::canonicalize(dir.path()).expect("its path");
        for name in ["a/b", "served"] {
            fs::create_dir_all(real.join(name)).expect("make");
        }
        let link =
            |to: &str, at: &str| std::os::unix::fs::symlink(to, real.join(at)).expect("link");
        link("a/../a/b", "link");
        link("served/home", "home");
        link("loop", "loop");
        let served = format!("1 0 / ext4\n2 1 {}/served fuse.sshfs\n", real.display());
        let mounts = of(&served, "/").expect("all of it can be hidden");
        let place = |name: &str| mounts.place_of(&real.join(name));
        assert_eq!(place("link"), Place::At(real.join("a/b")));
        assert_eq!(place("served"), Place::At(real.join("served")));
        assert_eq!((place("home"), place("served/x")), (Place::Beyond, Place::Beyond));
        assert_eq!((place("loop"), place("none")), (Place::Missing, Place::Missing));
    }
}
