//! clone3(2): starts a child that runs brig-child's operations.
//!
//! Needs Linux 5.5 (`CLONE_CLEAR_SIGHAND`; clone3 itself is 5.3), 5.7 for a cgroup.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use brig_child::Op;
use brig_child::syscall::{CLONE_CLEAR_SIGHAND, CLONE_INTO_CGROUP, CloneArgs};

/// Whether the child runs in the parent's memory or in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// `CLONE_VM`: nothing is copied. Only for a child that no hostile process can see.
    Shared,
    /// As fork(2).
    Copied,
}

/// A started child.
#[derive(Debug)]
pub struct Process {
    /// Its pid in the caller's namespace.
    pub pid: i32,
    /// A descriptor for it.
    pub pidfd: OwnedFd,
}

/// What the child needs to begin.
struct Start {
    ops: &'static [Op<'static>],
    slots: &'static mut [i32],
    supervisors_end: i32,
}

/// Starts a child that runs `ops` on `slots` and ends with them. It closes its copy of `supervisors_end`,
/// the other end of the socket in [`brig_child::Slot::SUPERVISOR`].
///
/// Everything is `'static` because with [`Memory::Shared`] the child uses it for an unknown time,
/// even after the caller has ended.
///
/// # Errors
/// What clone3(2) or the mapping of a stack says.
pub fn launch(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    memory: Memory,
    ops: &'static [Op<'static>],
    slots: &'static mut [i32],
    supervisors_end: BorrowedFd<'_>,
) -> io::Result<Process> {
    let mut pidfd = -1i32;
    let mut args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64 | CLONE_CLEAR_SIGHAND,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    let start = Start { ops, slots, supervisors_end: supervisors_end.as_raw_fd() };
    let pid = match memory {
        Memory::Shared => clone_shared(&mut args, start)?,
        Memory::Copied => clone_copied(&args, start)?,
    };
    // SAFETY: a local variable, which the kernel has written.
    let pidfd = unsafe { ptr::read_volatile(&raw const pidfd) };
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so this is a new descriptor and nobody else's.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Process { pid, pidfd })
}

fn clone_copied(args: &CloneArgs, start: Start) -> io::Result<i32> {
    let Start { ops, slots, supervisors_end } = start;
    // SAFETY: the arguments are valid for the call. The child that returns 0 runs brig-child
    // alone, which allocates nothing and takes no lock, so that the state of the copied
    // process's other threads does not matter.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, ptr::from_ref(args), size_of_val(args)) };
    match pid {
        0 => brig_child::run(ops, slots, supervisors_end),
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid as i32),
    }
}

fn clone_shared(args: &mut CloneArgs, start: Start) -> io::Result<i32> {
    let stack = stack()?;
    args.flags |= libc::CLONE_VM as u64;
    args.stack = stack as u64;
    args.stack_size = STACK_SIZE as u64;
    let start = Box::leak(Box::new(start));
    // SAFETY: the stack is a mapping of its own that is never unmapped, `start` is leaked, and
    // `enter` never returns; so the child touches nothing that the parent frees.
    let pid = unsafe { clone3_enter(args, size_of::<CloneArgs>(), enter, start) };
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(-(pid as i32)));
    }
    Ok(pid as i32)
}

const STACK_SIZE: usize = 256 * 1024;
const GUARD_SIZE: usize = 64 * 1024;

/// A stack of its own for the child, with a guard below it: an overflow ends the child.
fn stack() -> io::Result<*mut libc::c_void> {
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
    let size = GUARD_SIZE + STACK_SIZE;
    // SAFETY: a new private mapping at an address of the kernel's choice aliases nothing.
    let low =
        unsafe { mmap_anonymous(ptr::null_mut(), size, ProtFlags::empty(), MapFlags::PRIVATE)? };
    // SAFETY: GUARD_SIZE is inside the mapping of `size` bytes.
    let stack = unsafe { low.byte_add(GUARD_SIZE) };
    // SAFETY: the range is the upper part of the mapping made above, which nothing uses yet.
    unsafe { mprotect(stack, STACK_SIZE, MprotectFlags::READ | MprotectFlags::WRITE)? };
    Ok(stack)
}

/// The child's first function on its own stack.
extern "C" fn enter(start: &'static mut Start) -> ! {
    brig_child::run(start.ops, start.slots, start.supervisors_end)
}

/// clone3, and in the child a call of `enter(start)` on the new stack.
///
/// # Safety
/// `args` must name a writable stack that outlives the child, and so must `start`.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn clone3_enter(
    args: &CloneArgs,
    size: usize,
    enter: extern "C" fn(&'static mut Start) -> !,
    start: &'static mut Start,
) -> isize {
    core::arch::naked_asm!(
        "mov r8, rdx",
        "mov r9, rcx",
        "mov eax, 435",
        "syscall",
        "test rax, rax",
        "jnz 2f",
        "xor ebp, ebp",
        "mov rdi, r9",
        "and rsp, -16",
        "call r8",
        "ud2",
        "2: ret",
    )
}

/// clone3, and in the child a call of `enter(start)` on the new stack.
///
/// # Safety
/// `args` must name a writable stack that outlives the child, and so must `start`.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn clone3_enter(
    args: &CloneArgs,
    size: usize,
    enter: extern "C" fn(&'static mut Start) -> !,
    start: &'static mut Start,
) -> isize {
    core::arch::naked_asm!(
        "mov x8, #435",
        "svc 0",
        "cbnz x0, 2f",
        "mov x29, xzr",
        "mov x30, xzr",
        "mov x0, x3",
        "br x2",
        "2: ret",
    )
}
