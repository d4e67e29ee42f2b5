//! Operations on namespaces.

use crate::interpret::Child;
use crate::op::{NamespaceOp, Slot};
use crate::report::ReportKind;
use crate::syscall::{self, Answer};

impl Child<'_, '_> {
    pub(crate) fn namespace(&mut self, op: &NamespaceOp<'_>) -> Answer<()> {
        match *op {
            NamespaceOp::Setns { fd, flags } => syscall::setns(self.fd(fd)?, flags).map(drop),
            NamespaceOp::Unshare { flags } => syscall::unshare(flags).map(drop),
            NamespaceOp::Clone { flags, cgroup } => self.clone_sibling(flags, cgroup),
            NamespaceOp::Sethostname { name } => syscall::sethostname(name).map(drop),
            NamespaceOp::Setdomainname { name } => syscall::setdomainname(name).map(drop),
            NamespaceOp::LoopbackUp => loopback_up(),
        }
    }

    /// Makes the container's process a child of this one's parent; this one ends here.
    ///
    /// Both send to one socket, and nothing orders what two processes send. So the new one waits until the
    /// supervisor knows it, has recorded it, and says so.
    fn clone_sibling(&self, flags: u64, cgroup: Option<Slot>) -> Answer<()> {
        let mut args =
            syscall::CloneArgs { flags: flags | libc::CLONE_PARENT as u64, ..Default::default() };
        if let Some(cgroup) = cgroup {
            args.flags |= syscall::CLONE_INTO_CGROUP;
            args.cgroup = self.fd(cgroup)? as u64;
        }
        let pid = syscall::clone3_fork(&args)?;
        if pid == 0 {
            return self.await_supervisor();
        }
        let _ = self.tell(ReportKind::Cloned as u32, 0, pid as i32, 0);
        syscall::exit(0)
    }
}

fn loopback_up() -> Answer<()> {
    /// `struct ifreq` of netdevice(7).
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: i16,
        rest: [u8; 22],
    }
    let mut name = [0; 16];
    name[..2].copy_from_slice(b"lo");
    let request = Request { name, flags: (libc::IFF_UP | libc::IFF_RUNNING) as i16, rest: [0; 22] };
    let socket = syscall::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)? as i32;
    syscall::ioctl_ref(socket, libc::SIOCSIFFLAGS as libc::Ioctl, &request)?;
    syscall::close(socket).map(drop)
}
