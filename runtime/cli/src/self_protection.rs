//! brig's own program must not be writable from a container (CVE-2019-5736).
//!
//! A container's process is a copy of brig until it executes the container's program, and a
//! container can make that program be `/proc/self/exe`. So brig runs from a read-only, detached
//! clone of the mount that its file is on: whoever opens it through /proc opens it there.
//! Linux 5.12. Where the kernel refuses the clone (no privilege) and the file is not root's alone,
//! brig runs from a sealed copy in memory (memfd_create(2)).
//!
//! It must never take a read-only mount of the host's for its clone: the host can make that writable
//! again while a container holds the file.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use brig::caller::Caller;
use brig::supervise::Error;
use brig_sys::mount::{MountAttr, mount_setattr};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, stat};
use nix::sys::statvfs::{FsFlags, statvfs};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};

const SELF: &str = "/proc/self/exe";
/// `MOUNT_ATTR_RDONLY`.
const RDONLY: u64 = 1;

/// Continues only when brig's program cannot be written through this process; executes it anew
/// where that is needed.
///
/// # Errors
/// No way to protect the program worked.
pub(super) fn ensure() -> Result<(), Error> {
    if is_read_only_clone() {
        return make_undumpable();
    }
    let failed = |error: io::Error| {
        Error::system("protecting brig's own program from the container", error)
            .with_hint("mount /proc, or install brig where the caller cannot write")
    };
    let protected = match read_only_clone() {
        Ok(fd) => fd,
        Err(_) if is_sealed() || is_out_of_reach() => return make_undumpable(),
        Err(_) => sealed_copy().map_err(failed)?,
    };
    let c_string = |text: std::ffi::OsString| CString::new(text.into_vec()).unwrap_or_default();
    let args: Vec<_> = std::env::args_os().map(c_string).collect();
    let env: Vec<_> = std::env::vars_os()
        .map(|(key, value)| [key, value].join("=".as_ref()))
        .map(c_string)
        .collect();
    Err(failed(brig_sys::process::fexecve(protected, &args, &env)))
}

/// No container's process may trace this one or take its descriptors. An ordinary user's brig must
/// stay readable for newuidmap(1); its children hide themselves once they have their ids.
fn make_undumpable() -> Result<(), Error> {
    if !Caller::get().is_root() {
        return Ok(());
    }
    brig_sys::process::set_undumpable()
        .map_err(|error| Error::system("hiding brig's memory from containers", error))
}

/// Whether it runs from a read-only mount of its file alone that is in no namespace: nobody can reach that
/// mount by a path, to make it writable.
///
/// Such a file is the root of a mount that has no parent, and to the kernel its path is `/` (d_path of
/// fs/d_path.c). No other program's can be: the root of a process, or of a namespace, is a directory.
fn is_read_only_clone() -> bool {
    let is_detached = std::fs::read_link(SELF).is_ok_and(|path| path.as_os_str() == "/");
    is_detached && statvfs(SELF).is_ok_and(|stat| stat.flags().contains(FsFlags::ST_RDONLY))
}

/// Whether no container of an ordinary user can write brig's file: it is root's, whom no such user may map
/// into a user namespace, and its mode lets nobody else write. An owner could chmod it back. access(2)
/// would not do: on a read-only mount it refuses what the mode allows, until the mount is writable again.
/// What an access list grants to others shows as the group's (acl(5)).
fn is_out_of_reach() -> bool {
    let others = Mode::S_IWGRP | Mode::S_IWOTH;
    let is_roots =
        stat(SELF).is_ok_and(|stat| stat.st_uid == 0 && stat.st_mode & others.bits() == 0);
    !Caller::get().is_root() && is_roots
}

fn is_sealed() -> bool {
    File::open(SELF)
        .and_then(|file| Ok(fcntl(file, FcntlArg::F_GET_SEALS)?))
        .is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_WRITE))
}

fn read_only_clone() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let fd = open_tree(CWD, SELF, flags)?;
    mount_setattr(&fd, false, &MountAttr { set: RDONLY, ..MountAttr::default() })?;
    Ok(fd)
}

fn sealed_copy() -> io::Result<OwnedFd> {
    let mut from = File::open(SELF)?;
    let mut to =
        File::from(memfd_create(c"brig", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    io::copy(&mut from, &mut to)?;
    to.rewind()?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SEAL;
    fcntl(to.as_fd(), FcntlArg::F_ADD_SEALS(seals))?;
    Ok(to.into())
}
