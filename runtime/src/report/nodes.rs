//! The device nodes that are there: those in /dev of a container, two directories deep.
//!
//! It is the one place where a report looks a path up inside. The mounts that are met are the kernel's own by the table of
//! mounts, other mounts are not entered, links not followed, and of nodes nothing is asked that takes a server's answer.
//!
//! Reference: openat2(2), the kernel's admin-guide/devices.txt.

use std::fmt;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, StatxFlags, openat, openat2, statx,
};
use rustix::io::Errno;

use super::held::{Held, Seen, Unseen};
use super::mounts::Table;

/// Entries that are looked at.
const MOST: usize = 4096;

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its path below /dev.
    pub name: String,
    /// Block or character.
    pub is_block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl Node {
    /// Whether every container has it: null, zero, full, random, urandom, tty, console, ptmx, a terminal of devpts.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        let Self { is_block, major, minor, .. } = self;
        !is_block
            && (matches!((major, minor), (1, 3 | 5 | 7 | 8 | 9) | (5, 0..=2))
                || (136..=143).contains(major))
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = if self.is_block { 'b' } else { 'c' };
        write!(f, "/dev/{} ({letter} {}:{})", self.name, self.major, self.minor)
    }
}

/// The device nodes of a process with these mounts.
pub(super) fn nodes(process: &Held, mounts: &Table) -> Seen<Vec<Node>> {
    let are_the_kernels = ["/", "/dev"]
        .map(|path| mounts.of(Path::new(path)).is_some_and(|mount| mount.is_the_kernels()));
    if are_the_kernels != [true, true] {
        return Err(Unseen(Errno::NODEV));
    }
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(process, "root", path, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let list = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut found = Vec::new();
    let mut directories = vec![String::new()];
    let mut count = 0;
    while let Some(directory) = directories.pop() {
        let within = if directory.is_empty() { resolve } else { resolve | ResolveFlags::NO_XDEV };
        let base = match openat2(&root, "dev", list, Mode::empty(), resolve) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(found),
            base => base?,
        };
        let held = match directory.as_str() {
            "" => base,
            name => match openat2(&base, name, list, Mode::empty(), within) {
                // Another mount, or gone.
                Err(_) => continue,
                Ok(held) => held,
            },
        };
        for entry in Dir::read_from(&held)? {
            let entry = entry?;
            count += 1;
            if count > MOST {
                return Err(Unseen::TOO_MUCH);
            }
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
            let Ok(data) = statx(&held, entry.file_name(), flags, StatxFlags::TYPE) else {
                continue;
            };
            let name = format!("{directory}{}", entry.file_name().to_string_lossy());
            let kind = FileType::from_raw_mode(u32::from(data.stx_mode));
            match kind {
                FileType::CharacterDevice | FileType::BlockDevice => found.push(Node {
                    name,
                    is_block: kind == FileType::BlockDevice,
                    major: data.stx_rdev_major,
                    minor: data.stx_rdev_minor,
                }),
                FileType::Directory if directory.is_empty() && !name.starts_with('.') => {
                    directories.push(format!("{name}/"));
                }
                _ => {}
            }
        }
    }
    Ok(found)
}
