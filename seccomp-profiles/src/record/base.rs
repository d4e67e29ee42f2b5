//! The calls that every recorded profile allows, whether or not the program was seen to make
//! them: data, each with its reason.
//!
//! What a runtime does between loading the filter and executing the program must be allowed too. brig does nothing in
//! between; profiles are for other runtimes as well. Found by starting a program that does nothing under profiles from
//! which one call after the other was taken away, with runc 1.1.5 and crun 1.8.1.

/// How the process is started, which decides when runc and crun load its filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// `noNewPrivileges`: they load the filter late.
    NoNewPrivileges,
    /// Without it loading a filter needs `CAP_SYS_ADMIN`: they load it before they set capabilities and user, and it
    /// covers that.
    MayGain,
}

/// A call that is always allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    pub(super) name: &'static str,
    /// The values of the argument that the table in `arguments.rs` has first; any where empty.
    pub(super) values: &'static [u64],
    /// Only where the filter is loaded early.
    early: bool,
}

const fn any(name: &'static str) -> Base {
    Base { name, values: &[], early: false }
}

const fn with(name: &'static str, values: &'static [u64]) -> Base {
    Base { name, values, early: false }
}

const fn early(name: &'static str) -> Base {
    Base { name, values: &[], early: true }
}

/// `PROT_READ` and `PROT_READ | PROT_WRITE`, as far as they are compared.
const PLAIN_MEMORY: &[u64] = &[0, 2];

static BASE: &[Base] = &[
    // Every program is started by it and ends by one of these.
    any("execve"),
    any("exit"),
    any("exit_group"),
    // The kernel has them made when a signal came: which may not have happened in recording.
    any("rt_sigreturn"),
    any("restart_syscall"),
    // runc closes what it holds, which it finds in /proc/self/fd, having made sure that this is a procfs, and opens and
    // writes its start FIFO.
    any("close"),
    any("fcntl"),
    any("fstatfs"),
    any("getdents64"),
    any("openat"),
    any("write"),
    // The run-time library of Go, of which runc is made: whenever it happens to preempt, collect,
    // wake or wait.
    any("epoll_ctl"),
    any("epoll_pwait"),
    any("futex"),
    any("getpid"),
    any("gettid"),
    any("madvise"),
    with("mmap", PLAIN_MEMORY),
    any("munmap"),
    any("nanosleep"),
    any("rt_sigaction"),
    any("rt_sigprocmask"),
    any("sched_yield"),
    any("sigaltstack"),
    any("tgkill"),
    with("clone", &[0]),
    // runc and crun change user, groups, capabilities and directory.
    early("capget"),
    early("capset"),
    early("chdir"),
    early("prctl"),
    early("setgid"),
    early("setgroups"),
    early("setuid"),
    // runc alone: finds the program, opens its start FIFO, and looks at its parent.
    early("faccessat"),
    early("fstat"),
    early("getcwd"),
    early("getegid"),
    early("geteuid"),
    early("getgid"),
    early("getppid"),
    early("getuid"),
    early("newfstatat"),
    early("read"),
    early("stat"),
];

/// The calls for a process with these privileges.
pub(super) fn calls(privileges: Privileges) -> impl Iterator<Item = &'static Base> {
    BASE.iter().filter(move |call| !call.early || privileges == Privileges::MayGain)
}

#[cfg(test)]
mod tests {
    use super::BASE;
    use crate::arch::TABLE;
    use crate::record::arguments;

    #[test]
    fn base_calls_exist_once_and_their_values_have_an_argument() {
        for (at, call) in BASE.iter().enumerate() {
            assert!(TABLE.iter().any(|table| table.calls.number(call.name).is_some()));
            assert!(BASE[..at].iter().all(|other| other.name != call.name), "{}", call.name);
            assert!(call.values.is_empty() || !arguments::of(call.name).is_empty());
        }
    }
}
