//! Namespaces that a container joins: by path, or by a descriptor that a caller holds.
//!
//! Promises: what is joined is a namespace of the type that it is to be. Must never open a device or a FIFO: what a path
//! leads to is looked at first. Reference: namespaces(7), ioctl_nsfs(2).

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use brig_child::flags::namespace;
use brig_pseudofs::identity::Identity;
use rustix::fs::{Mode, OFlags, fstatfs, stat};
use rustix::io::Errno;

use super::Error;
use crate::foreign::reopen;

/// `NSFS_MAGIC` of linux/magic.h.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// The types, with their names in /proc/PID/ns.
pub(crate) const TYPES: [(u32, &str); 8] = [
    (namespace::CGROUP, "cgroup"),
    (namespace::IPC, "ipc"),
    (namespace::MOUNT, "mnt"),
    (namespace::NETWORK, "net"),
    (namespace::PID, "pid"),
    (namespace::TIME, "time"),
    (namespace::USER, "user"),
    (namespace::UTS, "uts"),
];

fn name_of(kind: u32) -> &'static str {
    TYPES.iter().find(|(known, _)| *known == kind).map_or("", |(_, name)| name)
}

/// Where brig's own namespace of this type is.
pub(crate) fn own_path(kind: u32) -> String {
    format!("/proc/self/ns/{}", name_of(kind))
}

/// Whether it is the namespace of this type that brig is in.
pub(crate) fn is_own(namespace: impl AsFd, kind: u32) -> Result<bool, Errno> {
    Ok(Identity::of(namespace)? == Identity::from(&stat(own_path(kind))?))
}

/// Why something is not the namespace that it is to be.
#[derive(Debug)]
pub(crate) enum Mismatch {
    NoNamespace,
    OtherType(u32),
    System(Errno),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNamespace => f.write_str("is not a namespace"),
            Self::OtherType(kind) => {
                write!(f, "is a namespace of another type: {}", name_of(*kind))
            }
            Self::System(errno) => write!(f, "cannot be looked at: {errno}"),
        }
    }
}

/// That it is a namespace, of this type. Only a namespace is asked which it is: the question is an ioctl, which may mean
/// anything to something else.
pub(crate) fn check(namespace: impl AsFd, kind: u32) -> Result<(), Mismatch> {
    if fstatfs(&namespace).map_err(Mismatch::System)?.f_type as i64 != NSFS_MAGIC {
        return Err(Mismatch::NoNamespace);
    }
    match brig_sys::process::namespace_kind(&namespace) {
        Ok(found) if found == kind => Ok(()),
        Ok(other) => Err(Mismatch::OtherType(other)),
        // A pidfd's file system is another; what has no type is no namespace (`/proc/PID/ns` before Linux 4.11).
        Err(_) => Err(Mismatch::NoNamespace),
    }
}

/// Opens the namespace at `path`, which is to be of type `kind`.
pub(crate) fn open(path: &CStr, kind: u32, field: &str) -> Result<OwnedFd, Error> {
    let shown = path.to_string_lossy();
    let doing = || format!("{field}: opening {shown}");
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::system(doing(), errno))?;
    let no_namespace = || {
        Error::plain(format!("{field}: {shown} is not a namespace"))
            .with_hint("give a path like /proc/PID/ns/net, or a file that one is bound to")
    };
    let file_system = fstatfs(&place).map_err(|errno| Error::system(doing(), errno))?;
    if file_system.f_type as i64 != NSFS_MAGIC {
        return Err(no_namespace());
    }
    let fd = reopen(&place).map_err(|error| Error::system(doing(), error))?;
    match check(&fd, kind) {
        Ok(()) => Ok(fd),
        Err(Mismatch::OtherType(_)) => {
            Err(Error::plain(format!("{field}: {shown} is a namespace of another type"))
                .with_hint("the path must be a namespace of the type that the entry names"))
        }
        Err(Mismatch::NoNamespace) => Err(no_namespace()),
        Err(Mismatch::System(errno)) => Err(Error::system(doing(), errno)),
    }
}

/// That joining it does not make the container a part of the host: what is mounted, or what the field `changed_by` asks
/// for, would change brig's own namespace.
pub(super) fn must_leave_host_alone(
    namespace: impl AsFd,
    kind: u32,
    (shown, field): (&CStr, &str),
    changed_by: Option<&str>,
) -> Result<(), Error> {
    let shown = shown.to_string_lossy();
    if changed_by.is_none() && kind != namespace::MOUNT {
        return Ok(());
    }
    let is_own = is_own(namespace, kind)
        .map_err(|errno| Error::system(format!("{field}: looking at {shown}"), errno))?;
    match changed_by {
        _ if !is_own => Ok(()),
        _ if kind == namespace::MOUNT => Err(Error::plain(format!(
            "{field}: {shown} is brig's own mount namespace"
        ))
        .with_hint(
            "the container would be assembled in the host's mount namespace: leave out the path",
        )),
        Some(changed_by) => Err(Error::plain(format!(
            "{changed_by}: would change the host, as {field} is brig's own namespace ({shown})"
        ))
        .with_hint("remove one of the two, or leave out the path for a namespace of its own")),
        None => Ok(()),
    }
}
