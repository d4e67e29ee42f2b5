//! Opening what an image may have shaped: below the root, and never outside.
//!
//! Promises: what is opened is inside the root, whatever links, mounts and races the image has; what is made
//! of a path is made one component at a time, each from the root again. Reference: openat2(2).

use core::ffi::CStr;

use crate::interpret::Child;
use crate::op::{Slot, Target};
use crate::syscall::{self, Answer, fault};

/// `RESOLVE_NO_MAGICLINKS` of openat2(2).
pub(crate) const NO_MAGICLINKS: u64 = 0x02;
/// `RESOLVE_NO_SYMLINKS` of openat2(2).
const NO_SYMLINKS: u64 = 0x04;
/// `RESOLVE_IN_ROOT` of openat2(2).
const IN_ROOT: u64 = 0x10;
/// How every path that an image may have shaped is resolved.
pub(crate) const INSIDE: u64 = IN_ROOT | NO_MAGICLINKS;

/// What never changes of an open file, without asking a server for the rest (`AT_STATX_DONT_SYNC`).
pub(crate) const AS_IT_IS: i32 = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;

/// Longest path, with its end (linux/limits.h `PATH_MAX`).
pub(crate) const PATH_MAX: usize = 4096;

impl Child<'_, '_> {
    pub(crate) fn open_target(&mut self, root: Slot, path: &CStr, target: Target) -> Answer<i32> {
        let root = self.fd(root)?;
        let directory = match target {
            Target::Directory | Target::Within | Target::NoLink => true,
            Target::File => false,
            Target::Like(slot) => is_directory(self.fd(slot)?)?,
        };
        let flags = libc::O_PATH | if directory { libc::O_DIRECTORY } else { 0 };
        let resolve = INSIDE | if target == Target::NoLink { NO_SYMLINKS } else { 0 };
        let open = || syscall::openat2(root, path, flags, 0, resolve);
        let fd = match open() {
            Err(fault) if fault.errno == libc::ENOENT => {
                make_path(root, path, directory)?;
                open()?
            }
            answer => answer?,
        };
        match directory {
            false if is_directory(fd)? => Err(fault(libc::SYS_openat2, libc::EISDIR)),
            true if target != Target::Within => self.below_root(fd, root).map(|_| fd),
            _ => Ok(fd),
        }
    }

    /// Whether what is open as `fd` is a directory. Fails where a link of the image has led to the root: whoever is
    /// in a mount's root stays below what is mounted on it, so that a mount would succeed without effect.
    pub(crate) fn below_root(&mut self, fd: i32, root: i32) -> Answer<bool> {
        let found = Place::of(fd)?;
        if found.directory && found == self.place_of_root(root)? {
            return Err(fault(libc::SYS_move_mount, libc::EBUSY));
        }
        Ok(found.directory)
    }

    /// One look serves all targets: the root is open, and so it stays where it is.
    fn place_of_root(&mut self, root: i32) -> Answer<Place> {
        match self.root {
            Some((fd, place)) if fd == root => Ok(place),
            _ => {
                let place = Place::of(root)?;
                self.root = Some((root, place));
                Ok(place)
            }
        }
    }
}

/// Where an open file is, and whether it is a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    mount: u64,
    inode: u64,
    directory: bool,
}

impl Place {
    fn of(fd: i32) -> Answer<Self> {
        let stat = syscall::statx(fd, c"", AS_IT_IS)?;
        let directory = u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFDIR;
        Ok(Self { mount: stat.stx_mnt_id, inode: stat.stx_ino, directory })
    }
}

fn is_directory(fd: i32) -> Answer<bool> {
    Place::of(fd).map(|place| place.directory)
}

/// A copy of the start of a path, with room for its end.
struct Prefix {
    bytes: [u8; PATH_MAX],
}

impl Prefix {
    fn new() -> Self {
        Self { bytes: [0; PATH_MAX] }
    }

    fn set(&mut self, text: &[u8]) -> Answer<&CStr> {
        let too_long = fault(libc::SYS_openat2, libc::ENAMETOOLONG);
        let place = self.bytes.get_mut(..text.len()).ok_or(too_long)?;
        for (to, from) in place.iter_mut().zip(text) {
            *to = *from;
        }
        *self.bytes.get_mut(text.len()).ok_or(too_long)? = 0;
        CStr::from_bytes_until_nul(&self.bytes).map_err(|_| too_long)
    }
}

/// Makes what is missing of `path` below `root`: directories, and in the end a file where it is
/// not to be a directory. Each step starts from the root again, so that no link is trusted.
pub(crate) fn make_path(root: i32, path: &CStr, directory: bool) -> Answer<()> {
    let (mut above, mut name) = (Prefix::new(), Prefix::new());
    let text = path.to_bytes();
    let mut start = 0;
    while start < text.len() {
        let rest = text.get(start..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let component = rest.get(..length).unwrap_or_default();
        let end = start + length;
        let last = rest.iter().skip(length).all(|&byte| byte == b'/');
        if !component.is_empty() {
            let parent = match start {
                0 => c".",
                _ => above.set(text.get(..start).unwrap_or_default())?,
            };
            let parent = syscall::openat2(root, parent, libc::O_PATH, 0, INSIDE)?;
            let made = make_entry(parent, name.set(component)?, directory || !last);
            syscall::close(parent)?;
            made?;
        }
        start = end + 1;
    }
    Ok(())
}

fn make_entry(parent: i32, name: &CStr, directory: bool) -> Answer<()> {
    let made = if directory {
        syscall::mkdirat(parent, name, 0o755)
    } else {
        syscall::mknodat(parent, name, libc::S_IFREG | 0o644, 0)
    };
    match made {
        Err(fault) if fault.errno == libc::EEXIST => Ok(()),
        answer => answer.map(drop),
    }
}
