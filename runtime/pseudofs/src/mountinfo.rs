//! Lines of `/proc/PID/mountinfo`, which is where the kernel lists mounts.
//!
//! Promises: names come out as they are, with the kernel's escapes undone. Must never be the ground for
//! a decision about an object: a line is words about a mount, and the mount may be another by now.
//! Reference: proc_pid_mountinfo(5); `mangle` in the kernel's fs/proc_namespace.c.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A mount, as a line says it.
#[derive(Clone, Copy, Debug)]
pub struct Mount<'l> {
    /// Its number.
    pub id: &'l str,
    /// The number of the mount that it is on, or its own.
    pub parent: &'l str,
    /// The device of its file system, `MAJOR:MINOR`.
    pub device: &'l str,
    root: &'l str,
    point: &'l str,
    options: &'l str,
    /// Nobody can bind it, and a bind mount of what it is in comes without it (mount_namespaces(7)).
    pub unbindable: bool,
    /// What is mounted in it appears in other mounts too, of this mount namespace or another.
    pub shared: bool,
    /// The type of its file system.
    pub kind: &'l str,
    super_options: &'l str,
}

impl<'l> Mount<'l> {
    /// `None` where the line is not one of mountinfo.
    #[must_use]
    pub fn parse(line: &'l str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ');
        let mut file_system = file_system.split(' ');
        let (id, parent, device) = (mount.next()?, mount.next()?, mount.next()?);
        let (root, point, options) = (mount.next()?, mount.next()?, mount.next()?);
        Some(Self {
            id,
            parent,
            device,
            root,
            point,
            options,
            unbindable: mount.clone().any(|field| field == "unbindable"),
            shared: mount.any(|field| field.starts_with("shared:")),
            kind: file_system.next()?,
            super_options: file_system.nth(1)?,
        })
    }

    /// All mounts of a table; what is no line of it is left out.
    pub fn all(table: &'l str) -> impl Iterator<Item = Self> {
        table.lines().filter_map(Self::parse)
    }

    /// The directory of its file system that it shows.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        unescaped(self.root)
    }

    /// Where it is mounted, as seen from the root of the process whose table it is.
    #[must_use]
    pub fn point(&self) -> PathBuf {
        unescaped(self.point)
    }

    /// The mount is read-only, whatever its file system is.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.has("ro")
    }

    /// Whether the mount has this option, such as `nosuid`, whatever its file system has.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|one| one == option)
    }

    /// The options of its file system.
    pub fn super_options(&self) -> impl Iterator<Item = &'l str> {
        self.super_options.split(',')
    }
}

/// Undoes the octal escapes of space, tab, newline, backslash, and in options of comma.
#[must_use]
pub fn unescaped(escaped: &str) -> PathBuf {
    let bytes = escaped.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 4 } else { 1 };
    }
    PathBuf::from(OsString::from_vec(plain))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_field_has_its_place() {
        let line = "36 25 8:1 /a\\040b /x\\011y\\134 ro,nosuid shared:1 master:2 - ext4 /dev/sda rw,errors=x";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.id, mount.parent, mount.device), ("36", "25", "8:1"));
        assert_eq!(mount.root(), Path::new("/a b"));
        assert_eq!(mount.point(), Path::new("/x\ty\\"));
        assert!(mount.is_read_only() && !mount.unbindable && mount.shared);
        assert!(mount.has("nosuid") && !mount.has("suid"));
        assert_eq!(mount.kind, "ext4");
        assert_eq!(mount.super_options().collect::<Vec<_>>(), ["rw", "errors=x"]);
        let writable = Mount::parse("1 1 0:1 / / rw - tmpfs none ro").unwrap();
        assert!(!writable.is_read_only(), "that is the file system");
        assert!(Mount::parse("1 1 0:1 / / rw unbindable - tmpfs none rw").unwrap().unbindable);
    }

    #[test]
    fn what_is_no_line_is_left_out() {
        let table = "\n36 25 8:1 / /x rw\n1 2 3 4 5 6 - ext4\n36 25 8:1 / /y rw - ext4 none rw\nx";
        let points: Vec<_> = Mount::all(table).map(|mount| mount.point()).collect();
        assert_eq!(points, [Path::new("/y")]);
    }
}
