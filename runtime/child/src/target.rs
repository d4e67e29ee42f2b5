//! Opening what an image may have shaped: below the root, and never outside.
//!
//! Promises: what is opened is inside the root, whatever links, mounts and races the image has; what is made
//! of a path is made one component at a time, each from the root again, and what a link names is made there too.
//! Reference: openat2(2).

use core::ffi::CStr;

use crate::interpret::Child;
use crate::op::{Slot, Target};
use crate::syscall::{self, Answer, failed_call};

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
            Err(failed) if failed.errno == libc::ENOENT => {
                make_path(root, path, directory)?;
                let fd = open()?;
                self.made = Some(fd);
                fd
            }
            answer => answer?,
        };
        match directory {
            false if is_directory(fd)? => Err(failed_call(libc::SYS_openat2, libc::EISDIR)),
            true if target != Target::Within => self.below_root(fd, root).map(|_| fd),
            _ => Ok(fd),
        }
    }

    /// Whether what is open as `fd` is a directory. Fails where a link of the image has led to the root: whoever is
    /// in a mount's root stays below what is mounted on it, so that a mount would succeed without effect.
    pub(crate) fn below_root(&mut self, fd: i32, root: i32) -> Answer<bool> {
        let found = Place::of(fd)?;
        if found.directory && found == self.place_of_root(root)? {
            return Err(failed_call(libc::SYS_move_mount, libc::EBUSY));
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

/// A path that is put together, with room for its end.
struct Text {
    bytes: [u8; PATH_MAX],
    length: usize,
}

impl Text {
    fn of(text: &[u8]) -> Answer<Self> {
        let mut path = Self { bytes: [0; PATH_MAX], length: 0 };
        path.push(text)?;
        Ok(path)
    }

    fn push(&mut self, text: &[u8]) -> Answer<()> {
        let end = self.length + text.len();
        let too_long = failed_call(libc::SYS_openat2, libc::ENAMETOOLONG);
        // The byte behind it stays 0.
        let free = self.bytes.get_mut(self.length..end).filter(|_| end < PATH_MAX);
        for (to, from) in free.ok_or(too_long)?.iter_mut().zip(text) {
            *to = *from;
        }
        self.length = end;
        Ok(())
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

/// As many symbolic links as the kernel follows (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// Makes what is missing of `path` below `root`: directories, and in the end a file where it is
/// not to be a directory. Each step starts from the root again, so that no link is trusted. What a link on the way
/// names and is missing is made too, inside the root.
pub(crate) fn make_path(root: i32, path: &CStr, directory: bool) -> Answer<()> {
    let mut whole = Text::of(path.to_bytes())?;
    for _ in 0..MOST_LINKS {
        match make_components(root, whole.get(), directory)? {
            None => return Ok(()),
            Some(led) => whole = led,
        }
    }
    Err(failed_call(libc::SYS_openat2, libc::ELOOP))
}

/// Makes what is missing up to the first link that leads to nothing; the path with what that link says in its place.
/// `..` stays as it is written: where it leads is for the kernel to say.
fn make_components(root: i32, path: &[u8], directory: bool) -> Answer<Option<Text>> {
    let mut start = 0;
    while start < path.len() {
        let rest = path.get(start..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let (component, after) = rest.split_at_checked(length).unwrap_or_default();
        let last = after.iter().all(|&byte| byte == b'/');
        let before = path.get(..start).unwrap_or_default();
        if !component.is_empty()
            && let Some(led) = make_component(root, before, component, directory || !last)?
        {
            let mut whole = match led.get().first() {
                Some(b'/') => Text::of(b"")?,
                _ => Text::of(before)?,
            };
            whole.push(led.get())?;
            whole.push(after)?;
            return Ok(Some(whole));
        }
        start += length + 1;
    }
    Ok(None)
}

/// Makes one that is missing in the directory `before`; what it says where it is a link that leads to nothing.
fn make_component(
    root: i32,
    before: &[u8],
    component: &[u8],
    directory: bool,
) -> Answer<Option<Text>> {
    let mut path = Text::of(before)?;
    path.push(component)?;
    match syscall::openat2(root, path.as_c_str(), libc::O_PATH, 0, INSIDE) {
        Ok(found) => return syscall::close(found).map(|_| None),
        Err(failed) if failed.errno == libc::ENOENT => {}
        Err(failed) => return Err(failed),
    }
    let above = if before.is_empty() { Text::of(b".")? } else { Text::of(before)? };
    let parent = syscall::openat2(root, above.as_c_str(), libc::O_PATH, 0, INSIDE)?;
    let name = Text::of(component)?;
    let mut led = Text::of(b"")?;
    let made = match syscall::readlinkat(parent, name.as_c_str(), &mut led.bytes) {
        Ok(length) if length < PATH_MAX => {
            led.length = length;
            Ok(Some(led))
        }
        Ok(_) => Err(failed_call(libc::SYS_readlinkat, libc::ENAMETOOLONG)),
        // Nothing, or no link any more.
        Err(_) => make_entry(parent, name.as_c_str(), directory).map(|()| None),
    };
    syscall::close(parent)?;
    made
}

fn make_entry(parent: i32, name: &CStr, directory: bool) -> Answer<()> {
    let made = if directory {
        syscall::mkdirat(parent, name, 0o755)
    } else {
        syscall::mknodat(parent, name, libc::S_IFREG | 0o644, 0)
    };
    match made {
        Err(failed) if failed.errno == libc::EEXIST => Ok(()),
        answer => answer.map(drop),
    }
}
