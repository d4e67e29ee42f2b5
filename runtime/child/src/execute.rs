//! Operations on files, on the process, and the last one.

use core::ffi::CStr;

use crate::copy_up::makedev;
use crate::interpret::{Child, invalid};
use crate::op::{Identity, Op, Slot, Target, Vector};
use crate::syscall::{self, Answer, fault};

/// `RESOLVE_NO_MAGICLINKS` of openat2(2).
const NO_MAGICLINKS: u64 = 0x02;
/// `RESOLVE_NO_SYMLINKS` of openat2(2).
const NO_SYMLINKS: u64 = 0x04;
/// `RESOLVE_IN_ROOT` of openat2(2).
const IN_ROOT: u64 = 0x10;
/// How every path that an image may have shaped is resolved.
pub(crate) const INSIDE: u64 = IN_ROOT | NO_MAGICLINKS;

/// What never changes of an open file, without asking a server for the rest (`AT_STATX_DONT_SYNC`).
const AS_IT_IS: i32 = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;

/// Longest path, with its end (linux/limits.h `PATH_MAX`).
pub(crate) const PATH_MAX: usize = 4096;

impl<'a> Child<'a, '_> {
    pub(crate) fn execute_file(&mut self, op: &Op<'a>) -> Answer<()> {
        match *op {
            Op::Open { dir, path, flags, resolve, into } => {
                let fd = syscall::openat2(self.fd(dir)?, path, flags, 0, resolve)?;
                self.put(into, fd)
            }
            Op::WriteFile { dir, path, resolve, data } => {
                let fd = syscall::openat2(self.fd(dir)?, path, libc::O_WRONLY, 0, resolve)?;
                write_all(fd, data)?;
                syscall::close(fd).map(drop)
            }
            Op::VerifyFile { dir, path, resolve, expected } => {
                let fd = syscall::openat2(self.fd(dir)?, path, libc::O_RDONLY, 0, resolve)?;
                verify(fd, expected)?;
                syscall::close(fd).map(drop)
            }
            Op::Write { fd, data } => write_all(self.fd(fd)?, data),
            Op::Mkdir { dir, name, mode } => syscall::mkdirat(self.fd(dir)?, name, mode).map(drop),
            Op::Mknod { dir, path, mode, device, uid, gid } => {
                let dir = self.fd(dir)?;
                match syscall::mknodat(dir, path, mode, device) {
                    Err(exists) if exists.errno == libc::EEXIST => {
                        let flags = libc::AT_SYMLINK_NOFOLLOW;
                        let same = is_device(dir, path, flags, mode & libc::S_IFMT, device)?;
                        return if same { Ok(()) } else { Err(exists) };
                    }
                    answer => drop(answer?),
                }
                if (uid, gid) == (0, 0) {
                    return Ok(());
                }
                syscall::fchownat(dir, path, uid, gid).map(drop)
            }
            Op::Expect { fd, identity } => require(self.fd(fd)?, identity),
            Op::Symlink { dir, name, target, exist_ok } => {
                match syscall::symlinkat(target, self.fd(dir)?, name) {
                    Err(fault) if exist_ok && fault.errno == libc::EEXIST => Ok(()),
                    answer => answer.map(drop),
                }
            }
            Op::OpenTarget { root, path, target, into } => {
                let fd = self.open_target(root, path, target)?;
                self.put(into, fd)
            }
            _ => Err(invalid(libc::SYS_openat2)),
        }
    }

    fn open_target(&self, root: Slot, path: &CStr, target: Target) -> Answer<i32> {
        let root = self.fd(root)?;
        let directory = match target {
            Target::Directory | Target::Within | Target::NoLink => true,
            Target::File => false,
            Target::Like(slot) => is_directory(self.fd(slot)?)?,
        };
        let flags = libc::O_PATH | if directory { libc::O_DIRECTORY } else { 0 };
        let resolve = INSIDE | if target == Target::NoLink { NO_SYMLINKS } else { 0 };
        let open = || syscall::openat2(root, path, flags, 0, resolve);
        let fd = match open() {
            Err(fault) if fault.errno == libc::ENOENT => {
                make_path(root, path, directory)?;
                open()?
            }
            answer => answer?,
        };
        match directory {
            false if is_directory(fd)? => return Err(fault(libc::SYS_openat2, libc::EISDIR)),
            true if target != Target::Within => not_the_root(fd, root)?,
            _ => {}
        }
        Ok(fd)
    }

    pub(crate) fn execute_process(&mut self, op: &Op<'a>) -> Answer<()> {
        match *op {
            Op::Sethostname { name } => syscall::sethostname(name).map(drop),
            Op::Setdomainname { name } => syscall::setdomainname(name).map(drop),
            Op::LoopbackUp => loopback_up(),
            Op::Setsid => syscall::setsid().map(drop),
            Op::Standard { fd, number } => syscall::dup3(self.fd(fd)?, number, 0).map(drop),
            Op::Prlimit { resource, soft, hard } => {
                syscall::prlimit(resource, Some(&[soft, hard])).map(drop)
            }
            Op::RaiseLimit { resource, hard } => {
                let [soft, old] = syscall::prlimit(resource, None)?;
                if old >= hard {
                    return Ok(());
                }
                syscall::prlimit(resource, Some(&[soft, hard])).map(drop)
            }
            Op::Personality { domain } => syscall::personality(domain).map(drop),
            Op::SchedSetattr { ref attr } => syscall::sched_setattr(attr).map(drop),
            Op::SchedSetaffinity { mask } => syscall::sched_setaffinity(mask).map(drop),
            Op::IoprioSet { prio } => {
                const IOPRIO_WHO_PROCESS: i32 = 1;
                syscall::ioprio_set(IOPRIO_WHO_PROCESS, 0, prio).map(drop)
            }
            Op::SetMempolicy { mode, nodes } => syscall::set_mempolicy(mode, nodes).map(drop),
            Op::JoinSessionKeyring { name } => match syscall::keyctl_join_session(name) {
                // A kernel without keyrings has none to share.
                Err(fault) if fault.errno == libc::ENOSYS => Ok(()),
                answer => answer.map(drop),
            },
            Op::Umask { mask } => syscall::umask(mask).map(drop),
            Op::Chdir { path, create } => change_directory(path, create),
            _ => self.execute_privileges(op),
        }
    }

    /// Finds what execvp(3) would: the first candidate that is a file and may be executed.
    pub(crate) fn find_program(&mut self, candidates: &'a [&'a CStr]) -> Answer<()> {
        let mut worst = fault(libc::SYS_execve, libc::ENOENT);
        for &candidate in candidates {
            match executable(candidate) {
                Ok(()) => {
                    self.program = Some(candidate);
                    return Ok(());
                }
                Err(fault) if matches!(fault.errno, libc::ENOENT | libc::ENOTDIR) => {}
                Err(fault) => worst = fault,
            }
        }
        Err(worst)
    }

    pub(crate) fn execve(&self, argv: Vector<'a>, envp: Vector<'a>) -> Answer<()> {
        let Some(program) = self.program else {
            return Err(fault(libc::SYS_execve, libc::ENOENT));
        };
        Err(syscall::execve(program, argv.as_ptr().cast(), envp.as_ptr().cast()))
    }
}

fn executable(path: &CStr) -> Answer<()> {
    let stat = syscall::statx(libc::AT_FDCWD, path, 0)?;
    if u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFDIR {
        return Err(fault(libc::SYS_execve, libc::EACCES));
    }
    syscall::faccessat2(libc::AT_FDCWD, path, libc::X_OK, libc::AT_EACCESS).map(drop)
}

pub(crate) fn is_directory(fd: i32) -> Answer<bool> {
    let stat = syscall::statx(fd, c"", AS_IT_IS)?;
    Ok(u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFDIR)
}

/// Fails where a link of the image has led to the root: whoever is in a mount's root stays below what is
/// mounted on it, so that this would succeed without effect.
pub(crate) fn not_the_root(fd: i32, root: i32) -> Answer<()> {
    let place = |fd| syscall::statx(fd, c"", AS_IT_IS).map(|stat| (stat.stx_mnt_id, stat.stx_ino));
    if place(fd)? == place(root)? {
        return Err(fault(libc::SYS_move_mount, libc::EBUSY));
    }
    Ok(())
}

fn require(fd: i32, identity: Identity) -> Answer<()> {
    let (same, otherwise) = match identity {
        Identity::Node { kind, device } => {
            (is_device(fd, c"", libc::AT_EMPTY_PATH, kind, device)?, libc::ENXIO)
        }
        Identity::Directory { device, inode, mount } => {
            let stat = syscall::statx(fd, c"", AS_IT_IS)?;
            let same = (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
                == (device.0, device.1, inode)
                && mount.is_none_or(|mount| mount == stat.stx_mnt_id);
            (same, libc::ESTALE)
        }
    };
    if same { Ok(()) } else { Err(fault(libc::SYS_statx, otherwise)) }
}

/// Whether a file is this node: of type `kind` and, if that is a device's, with this number.
fn is_device(dir: i32, path: &CStr, flags: i32, kind: u32, device: u64) -> Answer<bool> {
    let stat = syscall::statx(dir, path, flags)?;
    if u32::from(stat.stx_mode) & libc::S_IFMT != kind {
        return Ok(false);
    }
    let numbered = matches!(kind, libc::S_IFCHR | libc::S_IFBLK);
    Ok(!numbered || makedev(stat.stx_rdev_major, stat.stx_rdev_minor) == device)
}

pub(crate) fn write_all(fd: i32, data: &[u8]) -> Answer<()> {
    let written = syscall::write(fd, data)?;
    if written == data.len() { Ok(()) } else { Err(fault(libc::SYS_write, libc::EIO)) }
}

fn verify(fd: i32, expected: &[u8]) -> Answer<()> {
    let mut buffer = [0; 512];
    let length = syscall::read(fd, &mut buffer)?;
    let found = buffer.get(..length).unwrap_or_default();
    let mismatch = fault(libc::SYS_read, libc::EBADE);
    let rest = found.strip_prefix(expected).ok_or(mismatch)?;
    match rest.first() {
        // AppArmor adds the profile's mode: `name (enforce)`.
        None | Some(b'\n' | b' ' | 0) => Ok(()),
        Some(_) => Err(mismatch),
    }
}

/// A copy of the start of a path, with room for its end.
struct Prefix {
    bytes: [u8; PATH_MAX],
}

impl Prefix {
    fn new() -> Self {
        Self { bytes: [0; PATH_MAX] }
    }

    fn set(&mut self, text: &[u8]) -> Answer<&CStr> {
        let too_long = fault(libc::SYS_openat2, libc::ENAMETOOLONG);
        let place = self.bytes.get_mut(..text.len()).ok_or(too_long)?;
        for (to, from) in place.iter_mut().zip(text) {
            *to = *from;
        }
        *self.bytes.get_mut(text.len()).ok_or(too_long)? = 0;
        CStr::from_bytes_until_nul(&self.bytes).map_err(|_| too_long)
    }
}

/// Makes what is missing of `path` below `root`: directories, and in the end a file where it is
/// not to be a directory. Each step starts from the root again, so that no link is trusted.
fn make_path(root: i32, path: &CStr, directory: bool) -> Answer<()> {
    let (mut above, mut name) = (Prefix::new(), Prefix::new());
    let text = path.to_bytes();
    let mut start = 0;
    while start < text.len() {
        let rest = text.get(start..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let component = rest.get(..length).unwrap_or_default();
        let end = start + length;
        let last = rest.iter().skip(length).all(|&byte| byte == b'/');
        if !component.is_empty() {
            let parent = match start {
                0 => c".",
                _ => above.set(text.get(..start).unwrap_or_default())?,
            };
            let parent = syscall::openat2(root, parent, libc::O_PATH, 0, INSIDE)?;
            let made = make_entry(parent, name.set(component)?, directory || !last);
            syscall::close(parent)?;
            made?;
        }
        start = end + 1;
    }
    Ok(())
}

fn make_entry(parent: i32, name: &CStr, directory: bool) -> Answer<()> {
    let made = if directory {
        syscall::mkdirat(parent, name, 0o755)
    } else {
        syscall::mknodat(parent, name, libc::S_IFREG | 0o644, 0)
    };
    match made {
        Err(fault) if fault.errno == libc::EEXIST => Ok(()),
        answer => answer.map(drop),
    }
}

/// chdir(2), and proof that the directory is inside the root (CVE-2024-21626).
fn change_directory(path: &CStr, create: bool) -> Answer<()> {
    let open = || {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        syscall::openat2(libc::AT_FDCWD, path, flags, 0, NO_MAGICLINKS)
    };
    let directory = match open() {
        Err(fault) if create && fault.errno == libc::ENOENT => {
            make_path(libc::AT_FDCWD, path, true)?;
            open()?
        }
        answer => answer?,
    };
    syscall::fchdir(directory)?;
    syscall::close(directory)?;
    let mut buffer = [0; PATH_MAX];
    syscall::getcwd(&mut buffer)?;
    if buffer.first() == Some(&b'/') { Ok(()) } else { Err(fault(libc::SYS_getcwd, libc::EXDEV)) }
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
