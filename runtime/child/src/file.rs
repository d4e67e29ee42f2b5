//! Operations on files.

use core::ffi::CStr;

use crate::copy_up::{Allowance, copy_up, take_mode, take_owner};
use crate::device::encode;
use crate::interpret::Child;
use crate::op::{FileOp, Identity, Tolerance};
use crate::syscall::{self, Answer, failed_call};
use crate::target::{AS_IT_IS, INSIDE};

impl Child<'_, '_> {
    pub(crate) fn file(&mut self, op: &FileOp<'_>) -> Answer<()> {
        match *op {
            FileOp::Open { dir, path, flags, resolve, into } => {
                let fd = syscall::openat2(self.fd(dir)?, path, flags, 0, resolve)?;
                self.put(into, fd)
            }
            FileOp::WriteFile { dir, path, resolve, data } => {
                let fd = syscall::openat2(self.fd(dir)?, path, libc::O_WRONLY, 0, resolve)?;
                write_all(fd, data)?;
                syscall::close(fd).map(drop)
            }
            FileOp::VerifyFile { dir, path, resolve, expected } => {
                let fd = syscall::openat2(self.fd(dir)?, path, libc::O_RDONLY, 0, resolve)?;
                verify(fd, expected)?;
                syscall::close(fd).map(drop)
            }
            FileOp::Write { fd, data } => write_all(self.fd(fd)?, data),
            FileOp::Mkdir { dir, name, mode } => {
                syscall::mkdirat(self.fd(dir)?, name, mode).map(drop)
            }
            FileOp::Mknod { dir, path, mode, device, uid, gid, tolerates } => {
                make_node(self.fd(dir)?, path, mode, device, (uid, gid), tolerates)
            }
            FileOp::Expect { fd, identity } => require(self.fd(fd)?, identity),
            FileOp::Symlink { dir, name, target, tolerates } => {
                tolerates.apply(syscall::symlinkat(target, self.fd(dir)?, name)).map(drop)
            }
            FileOp::OpenTarget { root, path, target, into } => {
                let fd = self.open_target(root, path, target)?;
                self.put(into, fd)
            }
            FileOp::Setxattr { dir, name, value } => set_attribute(self.fd(dir)?, name, value),
            FileOp::CopyUp { from, to, bytes, entries, keeps } => {
                let (from, to) = (self.fd(from)?, self.fd(to)?);
                if self.made == Some(from) {
                    return Ok(());
                }
                copy_up(from, to, Allowance { bytes, entries }, keeps)
            }
            FileOp::TakeOwner { from, to } => take_owner(self.fd(from)?, self.fd(to)?),
            FileOp::TakeMode { from, to } => {
                let (from, to) = (self.fd(from)?, self.fd(to)?);
                if self.made == Some(from) { Ok(()) } else { take_mode(from, to) }
            }
            FileOp::Close { fd: slot } => {
                let fd = self.fd(slot)?;
                // The next may have its number.
                self.made = self.made.filter(|made| *made != fd);
                self.put(slot, -1)?;
                syscall::close(fd).map(drop)
            }
        }
    }
}

fn make_node(
    dir: i32,
    path: &CStr,
    mode: u32,
    device: u64,
    (uid, gid): (u32, u32),
    tolerates: Tolerance,
) -> Answer<()> {
    if tolerates.apply(syscall::mknodat(dir, path, mode, device))?.is_none() {
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        let same = is_device(dir, path, flags, mode & libc::S_IFMT, device)?;
        return if same { Ok(()) } else { Err(failed_call(libc::SYS_mknodat, libc::EEXIST)) };
    }
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    syscall::fchownat(dir, path, uid, gid).map(drop)
}

fn set_attribute(dir: i32, name: &CStr, value: &[u8]) -> Answer<()> {
    // A mount's descriptor is O_PATH, which has no attributes.
    let fd = syscall::openat2(dir, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0, INSIDE)?;
    syscall::fsetxattr(fd, name, value)?;
    syscall::close(fd).map(drop)
}

pub(crate) fn require(fd: i32, identity: Identity) -> Answer<()> {
    let (same, otherwise) = match identity {
        Identity::Node { kind, device } => {
            (is_device(fd, c"", libc::AT_EMPTY_PATH, kind, device)?, libc::ENXIO)
        }
        Identity::Object { device, inode, mount } => {
            let stat = syscall::statx(fd, c"", AS_IT_IS)?;
            let same = (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
                == (device.0, device.1, inode)
                && mount.is_none_or(|mount| mount == stat.stx_mnt_id);
            (same, libc::ESTALE)
        }
    };
    if same { Ok(()) } else { Err(failed_call(libc::SYS_statx, otherwise)) }
}

/// Whether a file is this node: of type `kind` and, if that is a device's, with this number.
fn is_device(dir: i32, path: &CStr, flags: i32, kind: u32, device: u64) -> Answer<bool> {
    let stat = syscall::statx(dir, path, flags)?;
    if u32::from(stat.stx_mode) & libc::S_IFMT != kind {
        return Ok(false);
    }
    let numbered = matches!(kind, libc::S_IFCHR | libc::S_IFBLK);
    Ok(!numbered || encode(stat.stx_rdev_major, stat.stx_rdev_minor) == device)
}

pub(crate) fn write_all(fd: i32, data: &[u8]) -> Answer<()> {
    let written = syscall::write(fd, data)?;
    if written == data.len() { Ok(()) } else { Err(failed_call(libc::SYS_write, libc::EIO)) }
}

fn verify(fd: i32, expected: &[u8]) -> Answer<()> {
    let mut buffer = [0; 512];
    let length = syscall::read(fd, &mut buffer)?;
    let found = buffer.get(..length).unwrap_or_default();
    let mismatch = failed_call(libc::SYS_read, libc::EBADE);
    let rest = found.strip_prefix(expected).ok_or(mismatch)?;
    match rest.first() {
        // AppArmor adds the profile's mode: `name (enforce)`.
        None | Some(b'\n' | b' ' | 0) => Ok(()),
        Some(_) => Err(mismatch),
    }
}
