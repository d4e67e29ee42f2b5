//! `tmpcopyup`: fills a new tmpfs with what the directory under it holds.
//!
//! Directories, regular files, symbolic links and device nodes, with owners and modes. Everything
//! is opened below the descriptors of the two directories without following links.

use core::ffi::CStr;

use crate::execute::INSIDE;
use crate::interpret::{Child, invalid};
use crate::op::Slot;
use crate::syscall::{self, Answer, fault};

/// Directories deeper than this are refused: the child's stack is bounded.
const DEPTH_MAX: usize = 24;
/// `RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH` of openat2(2).
const BENEATH: u64 = 0x04 | 0x08;
/// `struct linux_dirent64` (getdents64(2)): offset of the record length and of the name.
const RECORD_LENGTH: usize = 16;
const NAME: usize = 19;

impl Child<'_, '_> {
    pub(crate) fn copy_up(&self, root: Slot, path: &CStr, to: Slot) -> Answer<()> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let from = match syscall::openat2(self.fd(root)?, path, flags, 0, INSIDE) {
            Ok(fd) => fd,
            Err(fault) if fault.errno == libc::ENOENT => return Ok(()),
            Err(fault) => return Err(fault),
        };
        let to = self.fd(to)?;
        copy_attributes(from, c"", to)?;
        copy_directory(from, to, 0)?;
        syscall::close(from).map(drop)
    }
}

fn copy_attributes(from: i32, name: &CStr, to: i32) -> Answer<()> {
    let stat = syscall::statx(from, name, libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW)?;
    syscall::fchownat_fd(to, stat.stx_uid, stat.stx_gid)?;
    syscall::chmod_fd(to, u32::from(stat.stx_mode) & 0o7777).map(drop)
}

fn copy_directory(from: i32, to: i32, depth: usize) -> Answer<()> {
    if depth >= DEPTH_MAX {
        return Err(fault(libc::SYS_getdents64, libc::ELOOP));
    }
    let mut buffer = [0; 2048];
    loop {
        let filled = syscall::getdents64(from, &mut buffer)?;
        let Some(mut records) = buffer.get(..filled).filter(|records| !records.is_empty()) else {
            return Ok(());
        };
        while let Some((name, rest)) = next_record(records) {
            if name != c"." && name != c".." {
                copy_entry(from, to, name, depth)?;
            }
            records = rest;
        }
    }
}

fn next_record(records: &[u8]) -> Option<(&CStr, &[u8])> {
    let length = records.get(RECORD_LENGTH..RECORD_LENGTH + 2)?;
    let length = usize::from(u16::from_ne_bytes(length.try_into().ok()?));
    let record = records.get(..length)?;
    let name = CStr::from_bytes_until_nul(record.get(NAME..)?).ok()?;
    Some((name, records.get(length..)?))
}

fn copy_entry(from: i32, to: i32, name: &CStr, depth: usize) -> Answer<()> {
    let stat = syscall::statx(from, name, libc::AT_SYMLINK_NOFOLLOW)?;
    let mode = u32::from(stat.stx_mode);
    match mode & libc::S_IFMT {
        libc::S_IFDIR => {
            syscall::mkdirat(to, name, 0o700)?;
            let flags = libc::O_RDONLY | libc::O_DIRECTORY;
            let source = syscall::openat2(from, name, flags, 0, BENEATH)?;
            let target = syscall::openat2(to, name, flags, 0, BENEATH)?;
            copy_directory(source, target, depth + 1)?;
            copy_attributes(source, c"", target)?;
            syscall::close(source)?;
            syscall::close(target).map(drop)
        }
        libc::S_IFREG => {
            let source = syscall::openat2(from, name, libc::O_RDONLY, 0, BENEATH)?;
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
            let target = syscall::openat2(to, name, flags, 0o600, BENEATH)?;
            copy_bytes(source, target)?;
            copy_attributes(source, c"", target)?;
            syscall::close(source)?;
            syscall::close(target).map(drop)
        }
        libc::S_IFLNK => {
            let mut text = [0; 1024];
            let length = syscall::readlinkat(from, name, &mut text)?;
            let link = text.get(..length + 1).ok_or(invalid(libc::SYS_readlinkat))?;
            let link =
                CStr::from_bytes_with_nul(link).map_err(|_| invalid(libc::SYS_readlinkat))?;
            syscall::symlinkat(link, to, name)?;
            syscall::fchownat(to, name, stat.stx_uid, stat.stx_gid).map(drop)
        }
        _ => {
            let device = makedev(stat.stx_rdev_major, stat.stx_rdev_minor);
            syscall::mknodat(to, name, mode, device)?;
            syscall::fchownat(to, name, stat.stx_uid, stat.stx_gid).map(drop)
        }
    }
}

fn copy_bytes(from: i32, to: i32) -> Answer<()> {
    while syscall::sendfile(to, from, 1 << 20)? > 0 {}
    Ok(())
}

/// The kernel's encoding of a device number for mknod(2) (linux/kdev_t.h `new_encode_dev`).
pub(crate) fn makedev(major: u32, minor: u32) -> u64 {
    u64::from((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12))
}
