//! `tmpcopyup`: fills a new tmpfs with what the directory under it holds.
//!
//! Directories, regular files with their holes, symbolic links and device nodes, with owners and modes.
//! Everything is opened below the descriptors of the two directories without following links, and on the
//! image's side in a mount of its own, where the kernel opens no device: what is looked at may be another
//! file by the time it is opened.
//!
//! Must never fill the machine's memory: a tmpfs without a size takes half of it, and a file of an image
//! says that it is larger than any disk.

use core::ffi::CStr;

use crate::device;
use crate::flags::copy_limit as limit;
use crate::interpret::invalid;
use crate::mount::{clone_tree, set_attributes};
use crate::op::Keeps;
use crate::syscall::{self, Answer, FailedCall, MountAttr, failed_call};

/// `MOUNT_ATTR_NODEV`.
const NODEV: u64 = 4;
/// The smallest piece of a file that takes memory: a page.
const PIECE: u64 = 4096;
/// `RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH` of openat2(2).
const BENEATH: u64 = 0x04 | 0x08;
/// `struct linux_dirent64` (getdents64(2)): offset of the record length and of the name.
const RECORD_LENGTH: usize = 16;
const NAME: usize = 19;

/// What may still be copied.
pub(crate) struct Allowance {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

impl Allowance {
    fn take(left: &mut u64, what: u64, which: u32) -> Answer<()> {
        *left = left.checked_sub(what).ok_or(at_limit(which))?;
        Ok(())
    }

    fn entry(&mut self) -> Answer<()> {
        Self::take(&mut self.entries, 1, limit::ENTRIES)
    }

    fn piece(&mut self, length: u64) -> Answer<()> {
        Self::take(&mut self.bytes, length.max(PIECE), limit::BYTES)
    }
}

fn at_limit(which: u32) -> FailedCall {
    failed_call(libc::SYS_getdents64, libc::EDQUOT).at(which as usize)
}

/// Copies what is in the directory `place`, which may be of a mount, into the directory `to`.
pub(crate) fn copy_up(place: i32, to: i32, mut left: Allowance, keeps: Keeps) -> Answer<()> {
    let tree = clone_tree(place)?;
    set_attributes(tree, true, &MountAttr { set: NODEV, ..MountAttr::default() })?;
    let from = syscall::openat2(tree, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0, BENEATH)?;
    copy_attributes(from, c"", to, keeps)?;
    copy_directory(from, to, 0, &mut left)?;
    syscall::close(from)?;
    syscall::close(tree).map(drop)
}

/// chown(2): this id stays.
const AS_IT_IS: u32 = u32::MAX;

fn copy_attributes(from: i32, name: &CStr, to: i32, keeps: Keeps) -> Answer<()> {
    let stat = syscall::statx(from, name, libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW)?;
    let uid = if keeps.uid { AS_IT_IS } else { stat.stx_uid };
    let gid = if keeps.gid { AS_IT_IS } else { stat.stx_gid };
    syscall::fchownat_fd(to, uid, gid)?;
    if keeps.mode {
        return Ok(());
    }
    syscall::chmod_fd(to, u32::from(stat.stx_mode) & 0o7777).map(drop)
}

/// Gives the directory `to` the user and the group of the directory `from`, which may be `O_PATH`.
pub(crate) fn take_owner(from: i32, to: i32) -> Answer<()> {
    let stat = syscall::statx(from, c"", libc::AT_EMPTY_PATH)?;
    syscall::fchown(to, stat.stx_uid, stat.stx_gid).map(drop)
}

/// Gives the directory `to` the mode of the directory `from`, which may be `O_PATH`.
pub(crate) fn take_mode(from: i32, to: i32) -> Answer<()> {
    let stat = syscall::statx(from, c"", libc::AT_EMPTY_PATH)?;
    syscall::chmod_fd(to, u32::from(stat.stx_mode) & 0o7777).map(drop)
}

fn copy_directory(from: i32, to: i32, depth: usize, left: &mut Allowance) -> Answer<()> {
    if depth >= limit::DEPTH_MAX {
        return Err(at_limit(limit::DEPTH));
    }
    let mut buffer = [0; 2048];
    loop {
        let filled = syscall::getdents64(from, &mut buffer)?;
        let Some(mut records) = buffer.get(..filled).filter(|records| !records.is_empty()) else {
            return Ok(());
        };
        while let Some((name, rest)) = next_record(records) {
            if name != c"." && name != c".." {
                copy_entry(from, to, name, depth, left)?;
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

fn copy_entry(from: i32, to: i32, name: &CStr, depth: usize, left: &mut Allowance) -> Answer<()> {
    left.entry()?;
    let stat = syscall::statx(from, name, libc::AT_SYMLINK_NOFOLLOW)?;
    let mode = u32::from(stat.stx_mode);
    match mode & libc::S_IFMT {
        libc::S_IFDIR => {
            syscall::mkdirat(to, name, 0o700)?;
            let flags = libc::O_RDONLY | libc::O_DIRECTORY;
            let source = syscall::openat2(from, name, flags, 0, BENEATH)?;
            let target = syscall::openat2(to, name, flags, 0, BENEATH)?;
            copy_directory(source, target, depth + 1, left)?;
            copy_attributes(source, c"", target, Keeps::default())?;
            syscall::close(source)?;
            syscall::close(target).map(drop)
        }
        libc::S_IFREG => {
            // A FIFO in the file's place by now would wait for a writer.
            let flags = libc::O_RDONLY | libc::O_NONBLOCK;
            let source = syscall::openat2(from, name, flags, 0, BENEATH)?;
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
            let target = syscall::openat2(to, name, flags, 0o600, BENEATH)?;
            copy_bytes(source, target, left)?;
            copy_attributes(source, c"", target, Keeps::default())?;
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
            let device = device::encode(stat.stx_rdev_major, stat.stx_rdev_minor);
            syscall::mknodat(to, name, mode, device)?;
            syscall::fchownat(to, name, stat.stx_uid, stat.stx_gid).map(drop)
        }
    }
}

/// What a file holds; its holes stay holes.
fn copy_bytes(from: i32, to: i32, left: &mut Allowance) -> Answer<()> {
    let size = syscall::statx(from, c"", libc::AT_EMPTY_PATH)?.stx_size;
    let mut end = 0;
    while end < size {
        let start = match syscall::lseek(from, end, libc::SEEK_DATA) {
            // Nothing but a hole is left.
            Err(failed) if failed.errno == libc::ENXIO => break,
            answer => answer?,
        };
        // The file may have become longer.
        end = syscall::lseek(from, start, libc::SEEK_HOLE)?.min(size);
        if end <= start {
            break;
        }
        left.piece(end - start)?;
        syscall::lseek(from, start, libc::SEEK_SET)?;
        syscall::lseek(to, start, libc::SEEK_SET)?;
        copy_piece(from, to, end - start)?;
    }
    syscall::ftruncate(to, size).map(drop)
}

fn copy_piece(from: i32, to: i32, length: u64) -> Answer<()> {
    let mut rest = length;
    while rest > 0 {
        // sendfile(2) moves less than 2^31 bytes at once.
        match syscall::sendfile(to, from, rest.min(1 << 20) as usize)? {
            // The file has become shorter.
            0 => break,
            more => rest = rest.saturating_sub(more as u64),
        }
    }
    Ok(())
}
