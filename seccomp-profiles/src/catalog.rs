//! What the calls are for, and which of them are known ways out of a container.
//!
//! Data for tools; never read on the way of a container. Categories follow the sections of the
//! man pages and the kernel's directories; every reason names where it can be read.

use std::fmt;

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// Contents and descriptors of files.
    Files,
    /// Names, directories, attributes and permissions of files.
    Paths,
    /// Waiting for many descriptors, events, asynchronous input and output.
    Events,
    /// Address spaces.
    Memory,
    /// Processes and threads: begin, end, wait, limits.
    Processes,
    /// Order and place of execution.
    Scheduling,
    /// Signals.
    Signals,
    /// Clocks and timers.
    Time,
    /// Sockets.
    Network,
    /// Messages, semaphores and shared memory between processes.
    Ipc,
    /// User and group ids, capabilities.
    Identity,
    /// Mounts and file systems.
    Mounts,
    /// Namespaces, and the identity of the machine within them.
    Namespaces,
    /// Confinement and secrets: filters, Landlock, labels, keys.
    Security,
    /// Looking into other processes and into the kernel.
    Tracing,
    /// The machine as a whole: modules, reboot, clocks, ports, swap.
    Machine,
    /// Calls that kernels no longer have, or never had.
    Obsolete,
}

/// A call that is a known way to more than the container's own, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Danger {
    /// The call.
    pub name: &'static str,
    /// Which arguments are dangerous; none where all are.
    pub when: Option<When>,
    /// Why, in one line.
    pub reason: &'static str,
    /// Where it can be read.
    pub reference: &'static str,
}

/// Dangerous values of an argument: those of which some bit of the mask is as in `bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// Which argument, from 0.
    pub index: u32,
    /// The bits that count.
    pub mask: u64,
    /// What they are.
    pub bits: u64,
    /// The value's name, as in the kernel's headers.
    pub name: &'static str,
}

impl Category {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 17] = [
        Self::Files,
        Self::Paths,
        Self::Events,
        Self::Memory,
        Self::Processes,
        Self::Scheduling,
        Self::Signals,
        Self::Time,
        Self::Network,
        Self::Ipc,
        Self::Identity,
        Self::Mounts,
        Self::Namespaces,
        Self::Security,
        Self::Tracing,
        Self::Machine,
        Self::Obsolete,
    ];

    /// That of a call; `None` for a name that no architecture of this crate has.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let listed = |one: &Self| one.calls().split_whitespace().any(|call| call == name);
        Self::ALL.into_iter().find(listed)
    }

    fn calls(self) -> &'static str {
        match self {
            Self::Files => FILES,
            Self::Paths => PATHS,
            Self::Events => EVENTS,
            Self::Memory => MEMORY,
            Self::Processes => PROCESSES,
            Self::Scheduling => SCHEDULING,
            Self::Signals => SIGNALS,
            Self::Time => TIME,
            Self::Network => NETWORK,
            Self::Ipc => IPC,
            Self::Identity => IDENTITY,
            Self::Mounts => MOUNTS,
            Self::Namespaces => NAMESPACES,
            Self::Security => SECURITY,
            Self::Tracing => TRACING,
            Self::Machine => MACHINE,
            Self::Obsolete => OBSOLETE,
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => "files",
            Self::Paths => "paths",
            Self::Events => "events",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Scheduling => "scheduling",
            Self::Signals => "signals",
            Self::Time => "time",
            Self::Network => "network",
            Self::Ipc => "ipc",
            Self::Identity => "identity",
            Self::Mounts => "mounts",
            Self::Namespaces => "namespaces",
            Self::Security => "security",
            Self::Tracing => "tracing",
            Self::Machine => "machine",
            Self::Obsolete => "obsolete",
        })
    }
}

const FILES: &str = "_llseek arm_fadvise64_64 arm_sync_file_range close close_range \
    copy_file_range dup dup2 dup3 fadvise64 fadvise64_64 fallocate fcntl fcntl64 fdatasync flock \
    fsync ftruncate ftruncate64 ioctl lseek pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev \
    pwritev2 read readahead readv sendfile sendfile64 splice sync sync_file_range syncfs tee \
    vmsplice write writev";
const PATHS: &str = "access chdir chmod chown chown32 creat faccessat faccessat2 fchdir fchmod \
    fchmodat fchmodat2 fchown fchown32 fchownat fgetxattr file_getattr file_setattr flistxattr \
    fremovexattr fsetxattr fstat fstat64 fstatat fstatat64 fstatfs fstatfs64 futimesat getcwd \
    getdents getdents64 getxattr getxattrat lchown lchown32 lgetxattr link linkat listxattr \
    listxattrat llistxattr lookup_dcookie lremovexattr lsetxattr lstat lstat64 mkdir mkdirat mknod \
    mknodat name_to_handle_at newfstatat oldfstat oldlstat oldstat open open_by_handle_at openat \
    openat2 quotactl quotactl_fd readdir readlink readlinkat removexattr removexattrat rename \
    renameat renameat2 rmdir setxattr setxattrat stat stat64 statfs statfs64 statx symlink \
    symlinkat truncate truncate64 umask unlink unlinkat ustat utime utimensat utimensat_time64 \
    utimes";
const EVENTS: &str = "_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait \
    epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 fanotify_init fanotify_mark \
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy \
    io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit io_uring_enter \
    io_uring_register io_uring_setup poll ppoll ppoll_time64 pselect6 pselect6_time64 select";
const MEMORY: &str = "brk cacheflush cachestat get_mempolicy madvise map_shadow_stack mbind \
    membarrier memfd_create memfd_secret migrate_pages mincore mlock mlock2 mlockall mmap mmap2 \
    modify_ldt move_pages mprotect mremap mseal msync munlock munlockall munmap pkey_alloc \
    pkey_free pkey_mprotect process_madvise process_mrelease remap_file_pages set_mempolicy \
    set_mempolicy_home_node userfaultfd";
const PROCESSES: &str = "acct arch_prctl clone clone3 execve execveat exit exit_group fork \
    futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake get_robust_list \
    get_thread_area get_tls getpgid getpgrp getpid getppid getrandom getrlimit getrusage getsid \
    gettid personality pidfd_open prctl prlimit64 rseq set_robust_list set_thread_area \
    set_tid_address set_tls setpgid setrlimit setsid times ugetrlimit uselib usr26 usr32 vfork \
    vm86 vm86old wait4 waitid waitpid";
const SCHEDULING: &str = "getcpu getpriority ioprio_get ioprio_set nice sched_get_priority_max \
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler \
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr \
    sched_setparam sched_setscheduler sched_yield setpriority";
const SIGNALS: &str = "breakpoint kill pause pidfd_send_signal restart_syscall rt_sigaction \
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sgetmask sigaction sigaltstack signal signalfd \
    signalfd4 sigpending sigprocmask sigreturn sigsuspend ssetmask tgkill tkill";
const TIME: &str = "alarm clock_getres clock_getres_time64 clock_gettime clock_gettime64 \
    clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time \
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime \
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime \
    timerfd_settime64";
const NETWORK: &str = "accept accept4 bind connect getpeername getsockname getsockopt listen recv \
    recvfrom recvmmsg recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown \
    socket socketcall socketpair";
const IPC: &str = "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 \
    mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop \
    semtimedop semtimedop_time64 shmat shmctl shmdt shmget";
const IDENTITY: &str = "capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 \
    getgroups getgroups32 getresgid getresgid32 getresuid getresuid32 getuid getuid32 setfsgid \
    setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32 \
    setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32";
const MOUNTS: &str = "chroot fsconfig fsmount fsopen fspick listmount mount mount_setattr \
    move_mount open_tree open_tree_attr pivot_root statmount sysfs umount umount2";
const NAMESPACES: &str =
    "oldolduname olduname setdomainname sethostname setns sysinfo uname unshare";
const SECURITY: &str = "add_key keyctl landlock_add_rule landlock_create_ruleset \
    landlock_restrict_self lsm_get_self_attr lsm_list_modules lsm_set_self_attr request_key \
    seccomp";
const TRACING: &str = "bpf kcmp perf_event_open pidfd_getfd process_vm_readv process_vm_writev \
    ptrace syslog uprobe uretprobe";
const MACHINE: &str = "_sysctl adjtimex clock_adjtime clock_adjtime64 clock_settime \
    clock_settime64 delete_module finit_module init_module ioperm iopl kexec_file_load kexec_load \
    nfsservctl pciconfig_iobase pciconfig_read pciconfig_write reboot settimeofday stime swapoff \
    swapon vhangup";
const OBSOLETE: &str = "afs_syscall bdflush break create_module ftime get_kernel_syms getpmsg \
    gtty idle lock mpx prof profil putpmsg query_module security stty tuxcall ulimit vserver";

/// All dangerous calls that this crate knows, the worst first.
pub static DANGERS: &[Danger] = &[
    always("init_module", "runs code in the kernel", "init_module(2)"),
    always("finit_module", "runs code in the kernel", "init_module(2)"),
    always("delete_module", "takes modules of the host's kernel away", "delete_module(2)"),
    always("kexec_load", "replaces the host's kernel", "kexec_load(2)"),
    always("kexec_file_load", "replaces the host's kernel", "kexec_load(2)"),
    always("reboot", "with CAP_SYS_BOOT ends the host, outside a pid namespace", "reboot(2)"),
    always("iopl", "reaches the machine's ports, past the kernel", "iopl(2)"),
    always("ioperm", "reaches the machine's ports, past the kernel", "ioperm(2)"),
    always("swapon", "gives the host a swap area of the container's", "swapon(2)"),
    always("swapoff", "takes the host's swap areas away", "swapon(2)"),
    always("acct", "lets the kernel write accounting of all processes to a file", "acct(2)"),
    always("syslog", "reads the kernel's messages, and with them its addresses", "syslog(2)"),
    always("settimeofday", "changes the host's clock, which has no namespace", "settimeofday(2)"),
    always("clock_settime", "changes the host's clock, which has no namespace", "clock_settime(2)"),
    always("stime", "changes the host's clock, which has no namespace", "stime(2)"),
    always(
        "open_by_handle_at",
        "opens files of the whole file system by number, outside the root too (shocker)",
        "open_by_handle_at(2)",
    ),
    always("mount", "rebuilds the view of files that confines the container", "mount(2)"),
    always("umount2", "uncovers what was masked by a mount", "umount(2)"),
    always("umount", "uncovers what was masked by a mount", "umount(2)"),
    always("pivot_root", "rebuilds the view of files that confines the container", "pivot_root(2)"),
    always(
        "move_mount",
        "mounts without mount(2), past filters and labels that know only that",
        "move_mount(2)",
    ),
    always("open_tree", "clones mounts, also those below what is masked", "open_tree(2)"),
    always("open_tree_attr", "clones mounts with new attributes", "open_tree(2)"),
    always(
        "fsopen",
        "opens the file systems' parsers of the kernel to the container",
        "CVE-2022-0185",
    ),
    always("fsconfig", "feeds the file systems' parsers of the kernel", "CVE-2022-0185"),
    always("fsmount", "makes mounts without mount(2)", "fsmount(2)"),
    always("fspick", "reconfigures file systems that are mounted", "fspick(2)"),
    always("mount_setattr", "takes read-only, nosuid and noexec off mounts", "mount_setattr(2)"),
    always(
        "setns",
        "enters namespaces of others, where a descriptor of one can be had",
        "setns(2)",
    ),
    always(
        "unshare",
        "new user namespaces give all capabilities inside, and with them much of the kernel",
        "CVE-2022-0185, user_namespaces(7)",
    ),
    Danger {
        name: "clone",
        when: Some(flag(0, 0x1000_0000, "CLONE_NEWUSER")),
        reason: "new user namespaces give all capabilities inside, and with them much of the kernel",
        reference: "CVE-2022-0185, user_namespaces(7)",
    },
    always(
        "clone3",
        "its flags are out of a filter's sight; where it fails with ENOSYS, libraries use clone",
        "clone(2)",
    ),
    always("chroot", "with an open directory outside leads out of a root", "chroot(2)"),
    always("ptrace", "takes over other processes of the same user", "ptrace(2)"),
    always("process_vm_readv", "reads the memory of other processes", "process_vm_readv(2)"),
    always("process_vm_writev", "writes the memory of other processes", "process_vm_readv(2)"),
    always("pidfd_getfd", "takes open files from other processes", "pidfd_getfd(2)"),
    always("kcmp", "compares kernel objects of other processes", "kcmp(2)"),
    always("bpf", "gives the kernel's verifier programs; many escapes began here", "CVE-2021-3490"),
    always("perf_event_open", "large attack surface, and sees other processes", "CVE-2013-2094"),
    always(
        "userfaultfd",
        "halts the kernel in the middle of a copy, which makes races winnable",
        "userfaultfd(2)",
    ),
    always(
        "io_uring_setup",
        "runs operations that no seccomp filter sees",
        "CVE-2023-2598, io_uring(7)",
    ),
    always(
        "io_uring_enter",
        "runs operations that no seccomp filter sees",
        "CVE-2023-2598, io_uring(7)",
    ),
    always(
        "io_uring_register",
        "runs operations that no seccomp filter sees",
        "CVE-2023-2598, io_uring(7)",
    ),
    always(
        "add_key",
        "keys have no namespace of their own; a history of bugs",
        "CVE-2016-0728, keyrings(7)",
    ),
    always(
        "keyctl",
        "keys have no namespace of their own; a history of bugs",
        "CVE-2016-0728, keyrings(7)",
    ),
    always(
        "request_key",
        "keys have no namespace of their own, and it runs a program on the host",
        "request_key(2)",
    ),
    Danger {
        name: "socket",
        when: Some(value(0, 38, "AF_ALG")),
        reason: "the kernel's cryptography, an attack surface that few programs need",
        reference: "CVE-2019-8912",
    },
    Danger {
        name: "socket",
        when: Some(value(0, 40, "AF_VSOCK")),
        reason: "reaches the hypervisor and other guests past network namespaces",
        reference: "CVE-2021-26708, vsock(7)",
    },
    Danger {
        name: "ioctl",
        when: Some(value(1, 0x5412, "TIOCSTI")),
        reason: "types into the terminal, which may be the host's",
        reference: "CVE-2017-5226, ioctl_tty(2)",
    },
    Danger {
        name: "ioctl",
        when: Some(value(1, 0x541c, "TIOCLINUX")),
        reason: "pastes into the host's console",
        reference: "CVE-2023-28100, ioctl_console(2)",
    },
    always("fanotify_init", "watches, and may hold up, the opening of files", "fanotify_init(2)"),
    always("lookup_dcookie", "names files by number; removed from Linux 6.7", "lookup_dcookie(2)"),
    always("quotactl", "changes quotas of file systems", "quotactl(2)"),
    always("modify_ldt", "16-bit segments, a history of bugs", "CVE-2017-17053, modify_ldt(2)"),
    always("vm86", "an interpreter of 16-bit code in the kernel", "vm86(2)"),
    always("vm86old", "an interpreter of 16-bit code in the kernel", "vm86(2)"),
    always("uselib", "obsolete and long unmaintained", "uselib(2)"),
];

const fn always(name: &'static str, reason: &'static str, reference: &'static str) -> Danger {
    Danger { name, when: None, reason, reference }
}

/// The argument is this value. Families and requests are 32 bits wide in the kernel.
const fn value(index: u32, bits: u64, name: &'static str) -> When {
    When { index, mask: 0xffff_ffff, bits, name }
}

/// The argument has this bit.
const fn flag(index: u32, bit: u64, name: &'static str) -> When {
    When { index, mask: bit, bits: bit, name }
}

#[cfg(test)]
mod tests {
    use super::{Category, DANGERS};
    use crate::arch::TABLE;

    #[test]
    fn every_call_has_one_category() {
        let mut all: Vec<&str> =
            Category::ALL.iter().flat_map(|one| one.calls().split_whitespace()).collect();
        all.sort_unstable();
        let twice = all.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None);
        for (name, _) in TABLE.iter().flat_map(|table| table.calls.iter()) {
            assert!(Category::of(name).is_some(), "{name} has no category");
        }
        for name in all {
            let known = TABLE.iter().any(|table| table.calls.number(name).is_some());
            assert!(known, "{name} is no call");
        }
        assert_eq!(Category::of("no_such_call"), None);
        assert_eq!(Category::of("ptrace"), Some(Category::Tracing));
    }

    #[test]
    fn dangers_are_calls_with_a_reason_and_a_reference() {
        for danger in DANGERS {
            assert!(Category::of(danger.name).is_some(), "{}", danger.name);
            assert!(!danger.reason.is_empty() && danger.reason.len() < 110, "{}", danger.name);
            let reference = danger.reference;
            assert!(reference.starts_with("CVE-") || reference.ends_with(')'), "{reference}");
            if let Some(when) = danger.when {
                assert_eq!(when.bits & !when.mask, 0, "{}", danger.name);
            }
        }
    }
}
