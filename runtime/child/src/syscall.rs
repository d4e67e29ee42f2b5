//! System calls without libc: no errno, no thread-local storage, no cancellation points.
//!
//! Each wrapper takes references or integers only, so that the pointers handed to the kernel are
//! valid for the length that goes with them. References: the man page of each call, and
//! `arch/*/include/asm/unistd` for the calling conventions.

use core::ffi::{CStr, c_char};
use core::ptr;

/// A system call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedCall {
    /// The call's number on this architecture.
    pub call: u32,
    /// The kernel's answer.
    pub errno: i32,
    /// Which part of the operation, where it has several.
    pub detail: u32,
}

impl FailedCall {
    /// The same failure, of part `detail`.
    pub(crate) fn at(self, detail: usize) -> Self {
        Self { detail: detail as u32, ..self }
    }
}

/// Result of a system call.
pub type Answer<T> = Result<T, FailedCall>;

/// A failure that this crate finds itself.
pub(crate) fn failed_call(call: libc::c_long, errno: i32) -> FailedCall {
    FailedCall { call: call as u32, errno, detail: 0 }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn raw(number: libc::c_long, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let answer: isize;
    // SAFETY: the calling convention is the kernel's for x86_64. That the arguments are valid for
    // call `number` is upheld by the wrappers of this module, its only callers.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack, preserves_flags),
        );
    }
    answer
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn raw(number: libc::c_long, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let answer: isize;
    // SAFETY: the calling convention is the kernel's for aarch64. That the arguments are valid for
    // call `number` is upheld by the wrappers of this module, its only callers.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number as usize,
            inlateout("x0") a as isize => answer,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack, preserves_flags),
        );
    }
    answer
}

fn call(number: libc::c_long, args: [usize; 6]) -> Answer<usize> {
    let answer = raw(number, args);
    if (-4095..0).contains(&answer) {
        Err(failed_call(number, -(answer as i32)))
    } else {
        Ok(answer as usize)
    }
}

/// A descriptor as an argument: sign-extended, as the kernel expects `AT_FDCWD`.
fn fd_arg(fd: i32) -> usize {
    fd as isize as usize
}

fn str_arg(text: &CStr) -> usize {
    text.as_ptr() as usize
}

fn ref_arg<T>(value: &T) -> usize {
    ptr::from_ref(value) as usize
}

fn mut_arg<T>(value: &mut T) -> usize {
    ptr::from_mut(value) as usize
}

macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident($number:ident $(, $arg:ident: $kind:ty)*);)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name($($arg: $kind),*) -> Answer<usize> {
            #[allow(unused_mut)]
            let mut args = [0usize; 6];
            let given: &[usize] = &[$($arg as isize as usize),*];
            for (slot, value) in args.iter_mut().zip(given) {
                *slot = *value;
            }
            call(libc::$number, args)
        }
    )*};
}

// Calls whose arguments are all integers.
plain! {
    setns(SYS_setns, fd: i32, flags: u32);
    unshare(SYS_unshare, flags: u32);
    close(SYS_close, fd: i32);
    dup3(SYS_dup3, from: i32, to: i32, flags: i32);
    fchdir(SYS_fchdir, fd: i32);
    fchown(SYS_fchown, fd: i32, uid: u32, gid: u32);
    fchmod(SYS_fchmod, fd: i32, mode: u32);
    umask(SYS_umask, mask: u32);
    setsid(SYS_setsid);
    personality(SYS_personality, domain: u64);
    ioprio_set(SYS_ioprio_set, which: i32, who: i32, prio: i32);
    setresuid(SYS_setresuid, real: u32, effective: u32, saved: u32);
    setresgid(SYS_setresgid, real: u32, effective: u32, saved: u32);
    setfsuid(SYS_setfsuid, uid: u32);
    setfsgid(SYS_setfsgid, gid: u32);
    prctl(SYS_prctl, option: i32, a: u64, b: u64, c: u64, d: u64);
    close_range(SYS_close_range, first: u32, last: u32, flags: u32);
    landlock_restrict_self(SYS_landlock_restrict_self, ruleset: i32, flags: u32);
    socket(SYS_socket, domain: i32, kind: i32, protocol: i32);
    ioctl(SYS_ioctl, fd: i32, request: libc::Ioctl, arg: u64);
    pidfd_send_signal(SYS_pidfd_send_signal, pidfd: i32, signal: i32, info: usize, flags: u32);
    fsmount(SYS_fsmount, fs: i32, flags: u32, attrs: u32);
}

/// Ends the process, all threads of it; where a filter refuses that, its only one; where it refuses that,
/// too, by an instruction that no filter sees and that ends even the first process of a pid namespace.
pub(crate) fn exit(code: i32) -> ! {
    let _ = raw(libc::SYS_exit_group, [code as usize, 0, 0, 0, 0, 0]);
    let _ = raw(libc::SYS_exit, [code as usize, 0, 0, 0, 0, 0]);
    trap()
}

/// An illegal instruction: SIGILL, or SIGTRAP, which the kernel forces on the process.
fn trap() -> ! {
    // SAFETY: the instruction touches nothing and does not return.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!("ud2", options(noreturn, nomem, nostack))
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        core::arch::asm!("brk #1", options(noreturn, nomem, nostack))
    }
}

pub(crate) fn read(fd: i32, buffer: &mut [u8]) -> Answer<usize> {
    call(libc::SYS_read, [fd_arg(fd), buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0])
}

pub(crate) fn write(fd: i32, data: &[u8]) -> Answer<usize> {
    call(libc::SYS_write, [fd_arg(fd), data.as_ptr() as usize, data.len(), 0, 0, 0])
}

/// Arguments of openat2(2), Linux 5.6.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// How often a path with `..` is looked up again where something on the machine was renamed or mounted meanwhile:
/// the kernel cannot tell then whether it stays inside, and says EAGAIN.
const LOOKUPS: u32 = 128;

pub(crate) fn openat2(dir: i32, path: &CStr, flags: i32, mode: u32, resolve: u64) -> Answer<i32> {
    let mut answer = open_once(dir, path, flags, mode, resolve);
    for _ in 1..LOOKUPS {
        match answer {
            Err(failed) if failed.errno == libc::EAGAIN => {
                answer = open_once(dir, path, flags, mode, resolve);
            }
            _ => break,
        }
    }
    answer
}

fn open_once(dir: i32, path: &CStr, flags: i32, mode: u32, resolve: u64) -> Answer<i32> {
    let how = OpenHow { flags: (flags | libc::O_CLOEXEC) as u64, mode: u64::from(mode), resolve };
    let args = [fd_arg(dir), str_arg(path), ref_arg(&how), size_of::<OpenHow>(), 0, 0];
    call(libc::SYS_openat2, args).map(|fd| fd as i32)
}

pub(crate) fn mkdirat(dir: i32, name: &CStr, mode: u32) -> Answer<usize> {
    call(libc::SYS_mkdirat, [fd_arg(dir), str_arg(name), mode as usize, 0, 0, 0])
}

pub(crate) fn mknodat(dir: i32, name: &CStr, mode: u32, device: u64) -> Answer<usize> {
    let args = [fd_arg(dir), str_arg(name), mode as usize, device as usize, 0, 0];
    call(libc::SYS_mknodat, args)
}

pub(crate) fn symlinkat(target: &CStr, dir: i32, name: &CStr) -> Answer<usize> {
    call(libc::SYS_symlinkat, [str_arg(target), fd_arg(dir), str_arg(name), 0, 0, 0])
}

pub(crate) fn readlinkat(dir: i32, name: &CStr, buffer: &mut [u8]) -> Answer<usize> {
    let args = [fd_arg(dir), str_arg(name), buffer.as_mut_ptr() as usize, buffer.len(), 0, 0];
    call(libc::SYS_readlinkat, args)
}

pub(crate) fn fchownat(dir: i32, name: &CStr, uid: u32, gid: u32) -> Answer<usize> {
    let flags = libc::AT_SYMLINK_NOFOLLOW as usize;
    let args = [fd_arg(dir), str_arg(name), uid as usize, gid as usize, flags, 0];
    call(libc::SYS_fchownat, args)
}

pub(crate) fn faccessat2(dir: i32, path: &CStr, mode: i32, flags: i32) -> Answer<usize> {
    let args = [fd_arg(dir), str_arg(path), mode as usize, flags as usize, 0, 0];
    call(libc::SYS_faccessat2, args)
}

pub(crate) fn chdir(path: &CStr) -> Answer<usize> {
    call(libc::SYS_chdir, [str_arg(path), 0, 0, 0, 0, 0])
}

pub(crate) fn chroot(path: &CStr) -> Answer<usize> {
    call(libc::SYS_chroot, [str_arg(path), 0, 0, 0, 0, 0])
}

pub(crate) fn getcwd(buffer: &mut [u8]) -> Answer<usize> {
    call(libc::SYS_getcwd, [buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0, 0])
}

pub(crate) fn getdents64(fd: i32, buffer: &mut [u8]) -> Answer<usize> {
    let args = [fd_arg(fd), buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0];
    call(libc::SYS_getdents64, args)
}

pub(crate) fn pivot_root(new: &CStr, old: &CStr) -> Answer<usize> {
    call(libc::SYS_pivot_root, [str_arg(new), str_arg(old), 0, 0, 0, 0])
}

pub(crate) fn umount2(path: &CStr, flags: i32) -> Answer<usize> {
    call(libc::SYS_umount2, [str_arg(path), flags as usize, 0, 0, 0, 0])
}

/// What statx(2) says of `path` below `dir`: the basic fields, and the mount (Linux 5.8).
pub(crate) fn statx(dir: i32, path: &CStr, flags: i32) -> Answer<libc::statx> {
    let mut stat = core::mem::MaybeUninit::<libc::statx>::zeroed();
    let args = [
        fd_arg(dir),
        str_arg(path),
        flags as usize,
        (libc::STATX_BASIC_STATS | libc::STATX_MNT_ID) as usize,
        stat.as_mut_ptr() as usize,
        0,
    ];
    call(libc::SYS_statx, args)?;
    // SAFETY: statx is plain integers, for which zeroes are a value; the kernel wrote the rest.
    Ok(unsafe { stat.assume_init() })
}

/// The magic number of the file system that `fd` is on (statfs(2)).
pub(crate) fn filesystem_magic(fd: i32) -> Answer<u64> {
    let mut stat = core::mem::MaybeUninit::<libc::statfs>::zeroed();
    call(libc::SYS_fstatfs, [fd_arg(fd), stat.as_mut_ptr() as usize, 0, 0, 0, 0])?;
    // SAFETY: statfs is plain integers, for which zeroes are a value; the kernel wrote the rest.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.f_type as u64)
}

// --- the mount API, Linux 5.2 (mount_setattr: 5.12) ----------------------------------------------

pub(crate) fn open_tree(dir: i32, path: &CStr, flags: u32) -> Answer<i32> {
    let args = [fd_arg(dir), str_arg(path), flags as usize, 0, 0, 0];
    call(libc::SYS_open_tree, args).map(|fd| fd as i32)
}

pub(crate) fn move_mount(from: i32, to: i32, to_path: &CStr, flags: u32) -> Answer<usize> {
    let args = [fd_arg(from), str_arg(c""), fd_arg(to), str_arg(to_path), flags as usize, 0];
    call(libc::SYS_move_mount, args)
}

pub(crate) fn fsopen(kind: &CStr) -> Answer<i32> {
    const FSOPEN_CLOEXEC: usize = 1;
    call(libc::SYS_fsopen, [str_arg(kind), FSOPEN_CLOEXEC, 0, 0, 0, 0]).map(|fd| fd as i32)
}

pub(crate) fn fsconfig(fs: i32, key: Option<&CStr>, value: Option<&CStr>) -> Answer<usize> {
    const SET_FLAG: usize = 0;
    const SET_STRING: usize = 1;
    const CMD_CREATE: usize = 6;
    let command = match (key, value) {
        (None, _) => CMD_CREATE,
        (Some(_), None) => SET_FLAG,
        (Some(_), Some(_)) => SET_STRING,
    };
    let args = [fd_arg(fs), command, key.map_or(0, str_arg), value.map_or(0, str_arg), 0, 0];
    call(libc::SYS_fsconfig, args)
}

/// An option whose value is a descriptor.
pub(crate) fn fsconfig_fd(fs: i32, key: &CStr, fd: i32) -> Answer<usize> {
    const SET_FD: usize = 5;
    call(libc::SYS_fsconfig, [fd_arg(fs), SET_FD, str_arg(key), 0, fd_arg(fd), 0])
}

/// Argument of mount_setattr(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttr {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, `MS_UNBINDABLE`, or 0.
    pub propagation: u64,
    /// A user namespace for `MOUNT_ATTR_IDMAP`.
    pub userns_fd: u64,
}

pub(crate) fn mount_setattr(dir: i32, path: &CStr, flags: u32, attr: &MountAttr) -> Answer<usize> {
    let args =
        [fd_arg(dir), str_arg(path), flags as usize, ref_arg(attr), size_of::<MountAttr>(), 0];
    call(libc::SYS_mount_setattr, args)
}

// --- processes -----------------------------------------------------------------------------------

/// Arguments of clone3(2), Linux 5.3; `cgroup` since 5.7.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneArgs {
    /// `CLONE_*`.
    pub flags: u64,
    /// Where the kernel stores the pidfd.
    pub pidfd: u64,
    /// Where the kernel stores the tid in the child.
    pub child_tid: u64,
    /// Where the kernel stores the tid in the parent.
    pub parent_tid: u64,
    /// The signal sent to the parent at the end.
    pub exit_signal: u64,
    /// Lowest address of the child's stack.
    pub stack: u64,
    /// Its size in bytes.
    pub stack_size: u64,
    /// Thread-local storage.
    pub tls: u64,
    /// Wanted pids.
    pub set_tid: u64,
    /// How many.
    pub set_tid_size: u64,
    /// A cgroup v2 directory for `CLONE_INTO_CGROUP`.
    pub cgroup: u64,
}

/// `CLONE_INTO_CGROUP` of linux/sched.h, which does not fit libc's type.
pub const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// `CLONE_CLEAR_SIGHAND` of linux/sched.h.
pub const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// clone3 as fork does it: with a copy of the memory, returning twice.
pub(crate) fn clone3_fork(args: &CloneArgs) -> Answer<usize> {
    debug_assert!(args.flags & libc::CLONE_VM as u64 == 0);
    call(libc::SYS_clone3, [ref_arg(args), size_of::<CloneArgs>(), 0, 0, 0, 0])
}

/// How a child has ended, as waitid(2) says: (`si_code`, `si_status`). `None` while it runs, and while another
/// process traces it and has not seen its end (ptrace(2)).
pub(crate) fn ended(pidfd: i32) -> Answer<Option<(i32, i32)>> {
    const WALL: usize = 0x4000_0000;
    let mut info = [0i32; 32];
    let options = libc::WEXITED as usize | libc::WNOHANG as usize | WALL;
    let args = [libc::P_PIDFD as usize, fd_arg(pidfd), mut_arg(&mut info), options, 0, 0];
    call(libc::SYS_waitid, args)?;
    // siginfo_t of SIGCHLD on 64-bit: signo (0: no child has ended), errno, code, pad, pid, uid, status.
    Ok((info[0] != 0).then_some((info[2], info[6])))
}

/// Waits until `fd` is readable; false after `timeout_ms` (negative: no limit). A negative `fd` never is.
pub(crate) fn poll_readable(fd: i32, timeout_ms: i64) -> Answer<bool> {
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let limit =
        libc::timespec { tv_sec: timeout_ms / 1000, tv_nsec: (timeout_ms % 1000) * 1_000_000 };
    let limit_arg = if timeout_ms < 0 { 0 } else { ref_arg(&limit) };
    let args = [mut_arg(&mut entry), 1, limit_arg, 0, 0, 0];
    call(libc::SYS_ppoll, args).map(|ready| ready > 0)
}

/// The time that is left for a wait; the kernel counts it down (ppoll(2), "C library/kernel differences").
pub(crate) struct Limit(Option<libc::timespec>);

impl Limit {
    /// Negative: no limit.
    pub(crate) fn of(timeout_ms: i64) -> Self {
        let (tv_sec, tv_nsec) = (timeout_ms / 1000, timeout_ms % 1000 * 1_000_000);
        Self((timeout_ms >= 0).then_some(libc::timespec { tv_sec, tv_nsec }))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_some_and(|left| left.tv_sec == 0 && left.tv_nsec == 0)
    }
}

/// Waits until one of the two is readable or has ended, or the time is over, and says which. A negative one never is.
pub(crate) fn poll_two(fds: [i32; 2], limit: &mut Limit) -> Answer<[bool; 2]> {
    let mut entries = fds.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let limit = limit.0.as_mut().map_or(0, mut_arg);
    call(libc::SYS_ppoll, [mut_arg(&mut entries), 2, limit, 0, 0, 0])?;
    Ok(entries.map(|entry| entry.revents != 0))
}

/// pipe2(2): the end to read from, and the end to write to.
pub(crate) fn pipe() -> Answer<[i32; 2]> {
    let mut ends = [-1; 2];
    call(libc::SYS_pipe2, [mut_arg(&mut ends), libc::O_CLOEXEC as usize, 0, 0, 0, 0])?;
    Ok(ends)
}

pub(crate) fn accept(listener: i32) -> Answer<i32> {
    let args = [fd_arg(listener), 0, 0, libc::SOCK_CLOEXEC as usize, 0, 0];
    call(libc::SYS_accept4, args).map(|fd| fd as i32)
}

/// The flags with which a filter's listener is sent. A filter that reports sendmsg(2) itself can let
/// exactly this pass: `MSG_NOSIGNAL`, and three flags that the kernel has names for and ignores
/// here (`MSG_FIN`, `MSG_SYN`, `MSG_RST` of linux/socket.h), so that no program sends with them.
pub const HANDOVER_FLAGS: i32 = libc::MSG_NOSIGNAL | 0x200 | 0x400 | 0x1000;

/// Sends `data` and one descriptor (unix(7), `SCM_RIGHTS`).
pub(crate) fn send_fd(socket: i32, data: &[u8], fd: i32) -> Answer<usize> {
    #[repr(C)]
    struct Control {
        header: libc::cmsghdr,
        fd: i32,
        pad: i32,
    }
    const LENGTH: usize = size_of::<libc::cmsghdr>() + size_of::<i32>();
    let iov = libc::iovec { iov_base: data.as_ptr() as *mut _, iov_len: data.len() };
    let mut control = core::mem::MaybeUninit::<Control>::zeroed();
    let mut header = core::mem::MaybeUninit::<libc::msghdr>::zeroed();
    // SAFETY: a plain C structure for which zeroes are a value.
    let control = unsafe { control.assume_init_mut() };
    // SAFETY: likewise, with null pointers.
    let header = unsafe { header.assume_init_mut() };
    control.header.cmsg_len = LENGTH as _;
    control.header.cmsg_level = libc::SOL_SOCKET;
    control.header.cmsg_type = libc::SCM_RIGHTS;
    control.fd = fd;
    header.msg_iov = ptr::from_ref(&iov).cast_mut();
    header.msg_iovlen = 1;
    header.msg_control = ptr::from_mut(control).cast();
    header.msg_controllen = size_of::<Control>() as _;
    let args = [fd_arg(socket), ref_arg(header), HANDOVER_FLAGS as usize, 0, 0, 0];
    call(libc::SYS_sendmsg, args)
}

pub(crate) fn execve(path: &CStr, argv: *const c_char, envp: *const c_char) -> FailedCall {
    let args = [str_arg(path), argv as usize, envp as usize, 0, 0, 0];
    match call(libc::SYS_execve, args) {
        Err(failed) => failed,
        Ok(_) => failed_call(libc::SYS_execve, libc::EINVAL),
    }
}

pub(crate) fn setgroups(groups: &[u32]) -> Answer<usize> {
    call(libc::SYS_setgroups, [groups.len(), groups.as_ptr() as usize, 0, 0, 0, 0])
}

pub(crate) fn sethostname(name: &[u8]) -> Answer<usize> {
    call(libc::SYS_sethostname, [name.as_ptr() as usize, name.len(), 0, 0, 0, 0])
}

pub(crate) fn setdomainname(name: &[u8]) -> Answer<usize> {
    call(libc::SYS_setdomainname, [name.as_ptr() as usize, name.len(), 0, 0, 0, 0])
}

/// prlimit(2) on the caller: sets `new` where given, and says what was in force before.
pub(crate) fn prlimit(resource: u32, new: Option<&[u64; 2]>) -> Answer<[u64; 2]> {
    let mut old = [0u64; 2];
    let args = [0, resource as usize, new.map_or(0, ref_arg), mut_arg(&mut old), 0, 0];
    call(libc::SYS_prlimit64, args)?;
    Ok(old)
}

/// `struct sched_attr` of sched_setattr(2), version 1 (Linux 5.3).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of sched_setattr(2)")]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
    pub util_min: u32,
    pub util_max: u32,
}

pub(crate) fn sched_setattr(attr: &SchedAttr) -> Answer<usize> {
    call(libc::SYS_sched_setattr, [0, ref_arg(attr), 0, 0, 0, 0])
}

pub(crate) fn sched_setaffinity(mask: &[u64]) -> Answer<usize> {
    call(libc::SYS_sched_setaffinity, [0, size_of_val(mask), mask.as_ptr() as usize, 0, 0, 0])
}

pub(crate) fn set_mempolicy(mode: u32, nodes: &[u64]) -> Answer<usize> {
    let (mask, bits) =
        if nodes.is_empty() { (0, 0) } else { (nodes.as_ptr() as usize, nodes.len() * 64 + 1) };
    call(libc::SYS_set_mempolicy, [mode as usize, mask, bits, 0, 0, 0])
}

/// The value is set whether or not there is one already.
pub(crate) fn fsetxattr(fd: i32, name: &CStr, value: &[u8]) -> Answer<usize> {
    let value = [value.as_ptr() as usize, value.len()];
    call(libc::SYS_fsetxattr, [fd_arg(fd), str_arg(name), value[0], value[1], 0, 0])
}

pub(crate) fn keyctl_join_session(name: &CStr) -> Answer<usize> {
    const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
    call(libc::SYS_keyctl, [KEYCTL_JOIN_SESSION_KEYRING, str_arg(name), 0, 0, 0, 0])
}

/// capset(2) of the caller with `_LINUX_CAPABILITY_VERSION_3`.
pub(crate) fn capset(effective: u64, permitted: u64, inheritable: u64) -> Answer<usize> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let sets = [effective, permitted, inheritable];
    let low = sets.map(|set| set as u32);
    let high = sets.map(|set| (set >> 32) as u32);
    let data = [low, high];
    call(libc::SYS_capset, [ref_arg(&header), ref_arg(&data), 0, 0, 0, 0])
}

/// Argument of seccomp(2) `SECCOMP_SET_MODE_FILTER`.
#[repr(C)]
struct SockFprog {
    length: u16,
    filter: *const u8,
}

/// Installs a filter of 8-byte instructions; the answer is the listener with `NEW_LISTENER`.
pub(crate) fn seccomp_filter(instructions: &[u8], flags: u64) -> Answer<usize> {
    const SET_MODE_FILTER: usize = 1;
    let program =
        SockFprog { length: (instructions.len() / 8) as u16, filter: instructions.as_ptr() };
    call(libc::SYS_seccomp, [SET_MODE_FILTER, flags as usize, ref_arg(&program), 0, 0, 0])
}

/// Allows `access` to all that is below `path` (landlock_add_rule(2)).
pub(crate) fn landlock_allow(ruleset: i32, path: i32, access: u64) -> Answer<usize> {
    const PATH_BENEATH: usize = 1;
    /// `struct landlock_path_beneath_attr`.
    #[repr(C, packed)]
    struct Rule {
        access: u64,
        path: i32,
    }
    let rule = Rule { access, path };
    call(libc::SYS_landlock_add_rule, [fd_arg(ruleset), PATH_BENEATH, ref_arg(&rule), 0, 0, 0])
}

/// Empties the mask of blocked signals and gives `SIGPIPE` its default action back.
pub(crate) fn reset_signals() -> Answer<()> {
    let none = 0u64;
    let size = size_of::<u64>();
    call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, ref_arg(&none), 0, size, 0, 0])?;
    let default_action = [0u64; 4];
    let args = [libc::SIGPIPE as usize, ref_arg(&default_action), 0, size, 0, 0];
    call(libc::SYS_rt_sigaction, args)?;
    Ok(())
}

/// Lets the signals that ask a program to end do so, though this be the first of a pid namespace.
pub(crate) fn end_on_signals() -> Answer<()> {
    extern "C" fn end(signal: i32) -> ! {
        exit(128 + signal)
    }
    /// `SA_RESTORER` of asm/signal.h: without a restorer x86-64 delivers nothing. It is never used.
    const RESTORER: usize = 0x0400_0000;
    let handler = end as extern "C" fn(i32) -> ! as usize;
    let action = [handler, RESTORER, handler, 0];
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        let args = [signal as usize, ref_arg(&action), 0, size_of::<u64>(), 0, 0];
        call(libc::SYS_rt_sigaction, args)?;
    }
    Ok(())
}

/// ioctl(2) with a structure.
pub(crate) fn ioctl_ref<T>(fd: i32, request: libc::Ioctl, value: &T) -> Answer<usize> {
    call(libc::SYS_ioctl, [fd_arg(fd), request as usize, ref_arg(value), 0, 0, 0])
}

/// Sets the position of `fd` to its start.
pub(crate) fn rewind(fd: i32) -> Answer<usize> {
    call(libc::SYS_lseek, [fd_arg(fd), 0, libc::SEEK_SET as usize, 0, 0, 0])
}

pub(crate) fn lseek(fd: i32, offset: u64, whence: i32) -> Answer<u64> {
    let args = [fd_arg(fd), offset as usize, whence as usize, 0, 0, 0];
    call(libc::SYS_lseek, args).map(|offset| offset as u64)
}

pub(crate) fn ftruncate(fd: i32, size: u64) -> Answer<usize> {
    call(libc::SYS_ftruncate, [fd_arg(fd), size as usize, 0, 0, 0, 0])
}

/// fchownat(2) of the file that `fd` itself is; `fd` may be `O_PATH`.
pub(crate) fn fchownat_fd(fd: i32, uid: u32, gid: u32) -> Answer<usize> {
    let flags = libc::AT_EMPTY_PATH as usize;
    let args = [fd_arg(fd), str_arg(c""), uid as usize, gid as usize, flags, 0];
    call(libc::SYS_fchownat, args)
}

/// fchmod(2); a mount's descriptor is opened for it, as `O_PATH` descriptors do not allow it.
pub(crate) fn chmod_fd(fd: i32, mode: u32) -> Answer<usize> {
    match fchmod(fd, mode) {
        Err(failed) if failed.errno == libc::EBADF => {
            let flags = libc::O_RDONLY | libc::O_DIRECTORY;
            let real = openat2(fd, c".", flags, 0, 0)?;
            fchmod(real, mode)?;
            close(real)
        }
        answer => answer,
    }
}

pub(crate) fn sendfile(to: i32, from: i32, count: usize) -> Answer<usize> {
    call(libc::SYS_sendfile, [fd_arg(to), fd_arg(from), 0, count, 0, 0])
}

/// The name of a call that this crate makes; the parent renders failures with it.
#[must_use]
pub fn name(number: u32) -> &'static str {
    macro_rules! names {
        ($($call:ident $name:literal)*) => {
            match libc::c_long::from(number) {
                $(libc::$call => $name,)*
                _ => "system call",
            }
        };
    }
    names! {
        SYS_accept4 "accept4" SYS_capset "capset" SYS_chdir "chdir" SYS_chroot "chroot"
        SYS_clone3 "clone3" SYS_close "close" SYS_close_range "close_range" SYS_dup3 "dup3"
        SYS_execve "execve" SYS_faccessat2 "faccessat2" SYS_fchdir "fchdir" SYS_fchmod "fchmod"
        SYS_fchown "fchown" SYS_fchownat "fchownat" SYS_fcntl "descriptor" SYS_fsconfig "fsconfig"
        SYS_fsetxattr "fsetxattr" SYS_fsmount "fsmount" SYS_fsopen "fsopen" SYS_fstatfs "fstatfs" SYS_ftruncate "ftruncate"
        SYS_getcwd "getcwd"
        SYS_getdents64 "getdents64" SYS_ioctl "ioctl" SYS_ioprio_set "ioprio_set"
        SYS_keyctl "keyctl" SYS_landlock_add_rule "landlock_add_rule"
        SYS_landlock_restrict_self "landlock_restrict_self" SYS_lseek "lseek"
        SYS_mkdirat "mkdirat" SYS_mknodat "mknodat" SYS_mount_setattr "mount_setattr"
        SYS_move_mount "move_mount" SYS_open_tree "open_tree" SYS_openat2 "openat2"
        SYS_personality "personality" SYS_pidfd_send_signal "pidfd_send_signal"
        SYS_pipe2 "pipe2" SYS_pivot_root "pivot_root" SYS_ppoll "ppoll" SYS_prctl "prctl" SYS_prlimit64 "prlimit"
        SYS_read "read" SYS_readlinkat "readlinkat" SYS_rt_sigaction "rt_sigaction"
        SYS_rt_sigprocmask "rt_sigprocmask" SYS_sched_setaffinity "sched_setaffinity"
        SYS_sched_setattr "sched_setattr" SYS_seccomp "seccomp" SYS_sendfile "sendfile"
        SYS_sendmsg "sendmsg" SYS_set_mempolicy "set_mempolicy"
        SYS_setdomainname "setdomainname" SYS_setfsgid "setfsgid" SYS_setfsuid "setfsuid" SYS_setgroups "setgroups" SYS_sethostname "sethostname"
        SYS_setns "setns" SYS_setresgid "setresgid" SYS_setresuid "setresuid" SYS_setsid "setsid"
        SYS_socket "socket" SYS_statx "statx" SYS_symlinkat "symlinkat" SYS_umask "umask"
        SYS_umount2 "umount2" SYS_unshare "unshare" SYS_waitid "waitid" SYS_write "write"
    }
}
