//! The container's terminal: taken from the container's own devpts by descriptor
//! (`TIOCGPTPEER`, Linux 4.13), never by a name that the image could have put there.

use crate::interpret::Child;
use crate::op::Slot;
use crate::syscall::{self, Answer, failed_call};
use crate::target::INSIDE;

/// `RESOLVE_NO_XDEV` of openat2(2).
const NO_XDEV: u64 = 0x01;
/// `DEVPTS_SUPER_MAGIC` of linux/magic.h.
const DEVPTS_MAGIC: u64 = 0x1cd1;

impl Child<'_, '_> {
    pub(crate) fn open_console(
        &self,
        pts: Slot,
        socket: Slot,
        size: Option<(u16, u16)>,
        owner: u32,
        console: Option<Slot>,
    ) -> Answer<()> {
        let pts = self.fd(pts)?;
        let flags = libc::O_RDWR | libc::O_NOCTTY;
        // Before anything is opened: in exec the workload may have put a device of its own there. What is
        // in a devpts is the kernel's alone.
        if syscall::filesystem_magic(pts)? != DEVPTS_MAGIC {
            return Err(failed_call(libc::SYS_fstatfs, libc::ENODEV));
        }
        let master = syscall::openat2(pts, c"ptmx", flags, 0, INSIDE | NO_XDEV)?;
        let unlocked = 0i32;
        syscall::ioctl_ref(master, libc::TIOCSPTLCK, &unlocked)?;
        let peer_flags = (flags | libc::O_CLOEXEC) as u64;
        let terminal = syscall::ioctl(master, libc::TIOCGPTPEER, peer_flags)? as i32;
        if let Some((rows, columns)) = size {
            let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            syscall::ioctl_ref(terminal, libc::TIOCSWINSZ, &size)?;
        }
        if owner != 0 {
            syscall::fchown(terminal, owner, u32::MAX)?;
        }
        if let Some(target) = console {
            mount_console(terminal, self.fd(target)?)?;
        }
        syscall::send_fd(self.fd(socket)?, b"/dev/ptmx", master)?;
        syscall::close(master)?;
        for standard in 0..3 {
            syscall::dup3(terminal, standard, 0)?;
        }
        syscall::ioctl(0, libc::TIOCSCTTY, 0)?;
        syscall::close(terminal).map(drop)
    }
}

fn mount_console(terminal: i32, target: i32) -> Answer<()> {
    let flags = 1 | libc::O_CLOEXEC as u32 | libc::AT_EMPTY_PATH as u32;
    let mount = syscall::open_tree(terminal, c"", flags)?;
    syscall::move_mount(mount, target, c"", 0x44)?;
    syscall::close(mount).map(drop)
}
