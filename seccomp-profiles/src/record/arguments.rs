//! Which arguments of which calls are worth a rule: data.
//!
//! An argument is in the table where it is a value and not a pointer, says *what* the call does,
//! and depends on the program rather than on chance. Left out for that last reason: futex(2)
//! operations and madvise(2) advice (contention and memory pressure choose them), signals and
//! whom they go to, flags of open(2) (too many, and the file system decides), sizes, descriptors,
//! ids. The most important argument comes first: where there are too many different values, the
//! last is given up.

/// An argument that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// 0 to 5.
    pub(super) index: usize,
    /// The bits that are compared.
    pub(super) mask: u64,
}

/// The arguments of a call that are compared.
struct Call {
    name: &'static str,
    checks: &'static [Check],
}

/// Most arguments of one call in the table.
pub(super) const MOST: usize = 3;

/// The kernel takes these arguments as `int` or `unsigned int`: what is in the upper half does not
/// count, and libraries differ in what they leave there.
const INT: u64 = 0xffff_ffff;
/// `SOCK_TYPE_MASK`, linux/net.h: without `SOCK_CLOEXEC` and `SOCK_NONBLOCK`, which say how the
/// descriptor behaves and differ from one C library to the next.
const SOCKET_TYPE: u64 = 0xf;
/// `CLONE_NEW*` of linux/sched.h, without `CLONE_NEWTIME`, which clone(2) does not take. The other
/// flags say what a child shares with its parent, and each library has its own.
const NEW_NAMESPACES: u64 = 0x7e02_0000;
/// `CLONE_NEW*` for unshare(2), which takes `CLONE_NEWTIME` too.
const UNSHARED: u64 = NEW_NAMESPACES | 0x80;
/// `PROT_WRITE | PROT_EXEC`: memory that becomes code, and memory that is both at once.
const WRITE_EXEC: u64 = 0x2 | 0x4;

const fn call(name: &'static str, checks: &'static [Check]) -> Call {
    Call { name, checks }
}

const fn check(index: usize, mask: u64) -> Check {
    Check { index, mask }
}

/// Sorted by name.
static CALLS: &[Call] = &[
    // What is registered or read: ARCH_SET_FS and its kin, shadow stacks.
    call("arch_prctl", &[check(0, INT)]),
    // Which command: loading programs is another matter than looking up a map.
    call("bpf", &[check(0, INT)]),
    // Namespaces, above all that of users, open a large part of the kernel.
    call("clone", &[check(0, NEW_NAMESPACES)]),
    // Locks, flags, F_NOTIFY, seals, pipe sizes: which of them.
    call("fcntl", &[check(1, INT)]),
    // Level and option: netfilter's tables, TCP_REPAIR, BPF filters are set so.
    call("getsockopt", &[check(1, INT), check(2, INT)]),
    call("io_uring_register", &[check(1, INT)]),
    // Each driver's own system call table.
    call("ioctl", &[check(1, INT)]),
    call("keyctl", &[check(0, INT)]),
    // Whether memory can become code. Of a file: every dynamic program does.
    call("mmap", &[check(2, WRITE_EXEC)]),
    call("mprotect", &[check(2, WRITE_EXEC)]),
    // Other personalities bring back what Linux has given up for safety (READ_IMPLIES_EXEC).
    call("personality", &[check(0, INT)]),
    call("pkey_mprotect", &[check(2, WRITE_EXEC)]),
    // From a thread's name to its filters: which option.
    call("prctl", &[check(0, INT)]),
    call("ptrace", &[check(0, INT)]),
    call("seccomp", &[check(0, INT), check(1, INT)]),
    // Type of namespace: 0 would be any.
    call("setns", &[check(1, INT)]),
    call("setsockopt", &[check(1, INT), check(2, INT)]),
    // Family, type, protocol: each family is a subsystem of the kernel.
    call("socket", &[check(0, INT), check(1, SOCKET_TYPE), check(2, INT)]),
    call("socketpair", &[check(0, INT), check(1, SOCKET_TYPE), check(2, INT)]),
    // Reading the kernel's log, or clearing it.
    call("syslog", &[check(0, INT)]),
    call("unshare", &[check(0, UNSHARED)]),
    // UFFD_USER_MODE_ONLY or faults of the kernel too.
    call("userfaultfd", &[check(0, INT)]),
];

/// The arguments of a call that are compared; none for most calls.
pub(super) fn of(name: &str) -> &'static [Check] {
    let at = CALLS.binary_search_by(|call| call.name.cmp(name));
    at.map_or(&[], |at| CALLS[at].checks)
}

#[cfg(test)]
mod tests {
    use super::{CALLS, MOST, of};
    use crate::arch::TABLE;

    #[test]
    fn table_is_sorted_and_names_calls_that_exist() {
        assert!(CALLS.is_sorted_by(|a, b| a.name < b.name));
        for call in CALLS {
            assert!(TABLE.iter().any(|table| table.calls.number(call.name).is_some()));
            assert!(!call.checks.is_empty() && call.checks.len() <= MOST, "{}", call.name);
            assert_eq!(of(call.name).len(), call.checks.len(), "{}", call.name);
            for (at, check) in call.checks.iter().enumerate() {
                assert!(check.index < 6 && check.mask != 0, "{}", call.name);
                assert!(call.checks[..at].iter().all(|other| other.index != check.index));
            }
        }
        assert!(of("read").is_empty());
    }
}
