//! Open files of a process that lead out of its container.
//!
//! Promises: a file counts where it lies on a mount that the process's table of mounts does not have; a socket, where it is
//! listed among those of the host's network namespace. Of files that are not reported nothing but the mount and the type is
//! asked, without asking a server of the file system (`AT_STATX_DONT_SYNC`). Must never open one.
//!
//! Reference: proc_pid_fd(5), statx(2), unix(7), CVE-2024-21626.

use std::collections::BTreeSet;
use std::fmt;

use brig_pseudofs::small_file;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;

use super::held::{Held, Seen, Unseen};

/// Descriptors of a process that are looked at.
const MOST: usize = 65_536;
/// A list of sockets that is read.
const LIST_BYTES: usize = 8 << 20;

/// What an open file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A file that is harmless whosever it is: a pipe with a name, `/dev/null` and its like.
    Harmless,
    /// A regular file.
    File,
    /// A socket of the host's network namespace.
    Socket,
    /// A device.
    Device,
    /// A directory, from which other files can be opened.
    Directory,
}

/// An open file that leads out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its number.
    pub number: u32,
    /// What it is.
    pub what: What,
    /// Where, in the kernel's words.
    pub path: String,
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Harmless => "harmless",
            What::File => "file",
            What::Socket => "socket",
            What::Device => "device",
            What::Directory => "directory",
        };
        write!(f, "fd {} {what} {}", self.number, self.path)
    }
}

/// What descriptors of a process are held against.
pub(super) struct Inside<'t> {
    /// The mounts that it has.
    pub(super) mounts: &'t BTreeSet<u64>,
    /// The sockets of the host, where its network namespace is another.
    pub(super) host_sockets: Option<&'t BTreeSet<u64>>,
}

/// The descriptors of a process that lead out.
pub(super) fn outside(process: &Held, inside: &Inside<'_>) -> Seen<Vec<Descriptor>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptors = openat(process, "fd", flags, Mode::empty())?;
    let mut found = Vec::new();
    let mut count = 0;
    for entry in Dir::read_from(&descriptors)? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok())
        else {
            continue;
        };
        count += 1;
        if count > MOST {
            return Err(Unseen::TOO_MUCH);
        }
        let wanted = StatxFlags::TYPE | StatxFlags::MODE | StatxFlags::INO | StatxFlags::MNT_ID;
        let data = match statx(&descriptors, entry.file_name(), AtFlags::STATX_DONT_SYNC, wanted) {
            // It was closed meanwhile.
            Err(Errno::NOENT) => continue,
            data => data?,
        };
        let kind = FileType::from_raw_mode(u32::from(data.stx_mode));
        if kind == FileType::Socket {
            if inside.host_sockets.is_some_and(|sockets| sockets.contains(&data.stx_ino)) {
                found.push(Descriptor {
                    number,
                    what: What::Socket,
                    path: format!("inode {}", data.stx_ino),
                });
            }
            continue;
        }
        if data.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
            // Before Linux 5.8.
            return Err(Unseen(Errno::NOSYS));
        }
        if inside.mounts.contains(&data.stx_mnt_id) {
            continue;
        }
        let Ok(path) = process.link(&format!("fd/{number}")) else { continue };
        // Pipes, namespaces, memory: files of the kernel's own mounts, which nobody has in a table.
        if !path.starts_with('/') || path.starts_with("/memfd:") || path.starts_with("/SYSV") {
            continue;
        }
        let what = what(kind, data.stx_rdev_major, data.stx_rdev_minor);
        found.push(Descriptor { number, what, path });
    }
    Ok(found)
}

fn what(kind: FileType, major: u32, minor: u32) -> What {
    match kind {
        FileType::Directory | FileType::Symlink => What::Directory,
        // null, zero, full, random, urandom (admin-guide/devices.txt).
        FileType::CharacterDevice if major == 1 && matches!(minor, 3 | 5 | 7 | 8 | 9) => {
            What::Harmless
        }
        // Terminals of an engine: what is typed there is meant for the process.
        FileType::CharacterDevice if (136..=143).contains(&major) => What::Harmless,
        FileType::CharacterDevice | FileType::BlockDevice => What::Device,
        FileType::Fifo => What::Harmless,
        _ => What::File,
    }
}

/// The inodes of the sockets that a process's network namespace lists: of all but the kinds that it has no list of.
pub(super) fn sockets(process: &Held) -> Seen<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    // The column of the inode, from the left.
    for (list, column) in [
        ("unix", 6),
        ("tcp", 9),
        ("tcp6", 9),
        ("udp", 9),
        ("udp6", 9),
        ("raw", 9),
        ("raw6", 9),
        ("netlink", 9),
        ("packet", 8),
    ] {
        let file =
            openat(process, format!("net/{list}"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let bytes = match file {
            // This kernel has none of the kind.
            Err(Errno::NOENT) => continue,
            file => small_file::read_at_most(file?, LIST_BYTES)?,
        };
        for line in String::from_utf8_lossy(&bytes).lines().skip(1) {
            let inode = line.split_ascii_whitespace().nth(column);
            found.extend(
                inode.and_then(|inode| inode.parse::<u64>().ok()).filter(|inode| *inode != 0),
            );
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn files_on_mounts_that_are_not_in_the_table_lead_out() {
        let own = Held::open(std::process::id().cast_signed()).unwrap();
        let directory = std::fs::File::open("/tmp").unwrap();
        let memory = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let none = BTreeSet::new();
        let found = outside(&own, &Inside { mounts: &none, host_sockets: None }).unwrap();
        let of = |number: i32| found.iter().find(|one| i64::from(one.number) == i64::from(number));
        assert_eq!(of(directory.as_raw_fd()).unwrap().what, What::Directory);
        assert_eq!(of(memory.as_raw_fd()), None);
        let table = super::super::mounts::Table::read(&own).unwrap();
        let found = outside(&own, &Inside { mounts: &table.ids, host_sockets: None }).unwrap();
        assert!(found.iter().all(|one| i64::from(one.number) != i64::from(directory.as_raw_fd())));
    }

    #[test]
    fn sockets_are_found_in_the_lists_of_their_namespace() {
        let own = Held::open(std::process::id().cast_signed()).unwrap();
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let listed = sockets(&own).unwrap();
        assert!(listed.contains(&rustix::fs::fstat(&socket).unwrap().st_ino));
        let none = BTreeSet::new();
        let found = outside(&own, &Inside { mounts: &none, host_sockets: Some(&listed) }).unwrap();
        assert!(found.iter().any(|one| one.what == What::Socket
            && i64::from(one.number) == i64::from(socket.as_raw_fd())));
    }
}
