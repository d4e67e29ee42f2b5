//! Operations on mounts: all by descriptor, nothing by a path that an image controls.

use core::ffi::CStr;

use crate::interpret::Child;
use crate::op::{Enter, MountOp, OptionValue, Slot};
use crate::syscall::{self, Answer, MountAttr, failed_call};
use crate::target::INSIDE;

/// `OPEN_TREE_CLONE` and `OPEN_TREE_CLOEXEC` of linux/mount.h.
const CLONE: u32 = 1 | libc::O_CLOEXEC as u32;
const EMPTY_PATH: u32 = libc::AT_EMPTY_PATH as u32;
const RECURSIVE: u32 = libc::AT_RECURSIVE as u32;
/// `MOVE_MOUNT_F_EMPTY_PATH`.
const FROM_FD: u32 = 0x4;
/// `MOVE_MOUNT_T_EMPTY_PATH`.
const TO_FD: u32 = 0x40;
/// `MOUNT_ATTR_RDONLY`.
const RDONLY: u64 = 1;
/// `MOUNT_ATTR_IDMAP`, Linux 5.12.
const IDMAP: u64 = 0x0010_0000;
/// What is in a mount of masks; `plan` makes both under these names.
const MASK_FILE: &CStr = c"file";
const MASK_DIRECTORY: &CStr = c"directory";

impl Child<'_, '_> {
    pub(crate) fn mount(&mut self, op: &MountOp<'_>) -> Answer<()> {
        match *op {
            MountOp::OpenTree { dir, path, flags, into } => {
                let fd = syscall::open_tree(self.fd(dir)?, path, flags)?;
                self.put(into, fd)
            }
            MountOp::Fsmount { kind, options, attrs, into } => {
                let fd = self.fsmount(kind, options, attrs)?;
                self.put(into, fd)
            }
            MountOp::MountSetattr { fd, recursive, ref attr } => {
                set_attributes(self.fd(fd)?, recursive, attr)
            }
            MountOp::MountIdmap { fd, recursive, userns } => {
                let userns_fd = self.fd(userns)? as u64;
                let attr = MountAttr { set: IDMAP, userns_fd, ..MountAttr::default() };
                set_attributes(self.fd(fd)?, recursive, &attr)
            }
            MountOp::MoveMount { from, to } => attach(self.fd(from)?, self.fd(to)?),
            MountOp::MoveMountTo { from, dir, path } => {
                syscall::move_mount(self.fd(from)?, self.fd(dir)?, path, FROM_FD).map(drop)
            }
            MountOp::Mask { root, path, masks, tolerates } => {
                match tolerates.apply(self.open_inside(root, path))? {
                    Some((target, directory)) => mask(self.fd(masks)?, target, directory),
                    None => Ok(()),
                }
            }
            MountOp::Readonly { root, path, tolerates } => {
                match tolerates.apply(self.open_inside(root, path))? {
                    Some((target, _)) => make_readonly(target),
                    None => Ok(()),
                }
            }
            MountOp::EnterRoot { root, how } => enter_root(self.fd(root)?, how),
        }
    }

    fn fsmount(
        &self,
        kind: &CStr,
        options: &[(&CStr, OptionValue<'_>)],
        attrs: u32,
    ) -> Answer<i32> {
        const CLOEXEC: u32 = 1;
        let fs = syscall::fsopen(kind)?;
        for (index, (key, value)) in options.iter().enumerate() {
            let set = match *value {
                OptionValue::Flag => syscall::fsconfig(fs, Some(key), None),
                OptionValue::Text(value) => syscall::fsconfig(fs, Some(key), Some(value)),
                OptionValue::Descriptor(slot) => syscall::fsconfig_fd(fs, key, self.fd(slot)?),
            };
            set.map_err(|failed| failed.at(index + 1))?;
        }
        syscall::fsconfig(fs, None, None)?;
        syscall::fsmount(fs, CLOEXEC, attrs).map(|mount| mount as i32)
    }

    /// Opens `path` below `root`, and says whether it is a directory.
    fn open_inside(&mut self, root: Slot, path: &CStr) -> Answer<(i32, bool)> {
        let root = self.fd(root)?;
        let fd = syscall::openat2(root, path, libc::O_PATH, 0, INSIDE)?;
        self.below_root(fd, root).map(|directory| (fd, directory))
    }
}

// Descriptors are left to execve, which closes them all at once.

fn mask(masks: i32, target: i32, directory: bool) -> Answer<()> {
    let name = if directory { MASK_DIRECTORY } else { MASK_FILE };
    attach(syscall::open_tree(masks, name, CLONE)?, target)
}

fn make_readonly(target: i32) -> Answer<()> {
    let tree = clone_tree(target)?;
    set_attributes(tree, true, &MountAttr { set: RDONLY, ..MountAttr::default() })?;
    attach(tree, target)
}

/// A detached copy of what is mounted at `fd` and below.
pub(crate) fn clone_tree(fd: i32) -> Answer<i32> {
    syscall::open_tree(fd, c"", CLONE | EMPTY_PATH | RECURSIVE)
}

pub(crate) fn set_attributes(fd: i32, recursive: bool, attr: &MountAttr) -> Answer<()> {
    let flags = EMPTY_PATH | if recursive { RECURSIVE } else { 0 };
    syscall::mount_setattr(fd, c"", flags, attr).map(drop)
}

fn attach(mount: i32, target: i32) -> Answer<()> {
    syscall::move_mount(mount, target, c"", FROM_FD | TO_FD).map(drop)
}

fn enter_root(root: i32, how: Enter) -> Answer<()> {
    syscall::fchdir(root)?;
    match how {
        Enter::Chroot => syscall::chroot(c".").map(drop),
        Enter::Pivot => {
            syscall::pivot_root(c".", c".")?;
            syscall::umount2(c".", libc::MNT_DETACH)?;
            syscall::chdir(c"/")?;
            nothing_above(root)
        }
    }
}

/// Proof that no old root is left on top of the new one: `..` of the root leads there.
fn nothing_above(root: i32) -> Answer<()> {
    let inside = syscall::statx(root, c"", libc::AT_EMPTY_PATH)?;
    let above = syscall::statx(libc::AT_FDCWD, c"/..", 0)?;
    if inside.stx_mnt_id == above.stx_mnt_id {
        Ok(())
    } else {
        Err(failed_call(libc::SYS_umount2, libc::EBUSY))
    }
}
