//! What fork(2) and execve(2) would hand down from brig's caller to the container, and is the kernel's own default
//! instead: what would contradict config.json, or weaken what protects the program.
//!
//! Anything else that a caller sets and config.json does not name (nice(1), ionice(1), chrt(1), numactl(8), prlimit(1))
//! is meant for the program, and handed down, as by runc: docs/architecture.md has the list. Setting costs no more than
//! looking.

use brig_child::op::ProcessOp;

/// Of hooks before the program, and of a program without `process.user.umask`.
pub(super) const UMASK: u32 = 0o022;

/// One of the first operations of a process. setarch(8) takes random addresses away, and makes all memory executable.
pub(super) const OWN_PERSONALITY: ProcessOp<'static> = ProcessOp::Personality { domain: 0 };

/// All processors that the cgroup has: since Linux 6.2 a process keeps what its parent was restricted to in every cpuset.
/// The kernel takes those that it knows of a longer mask (sched_setaffinity(2)); 8192 are the most that it can be built for.
pub(super) const ALL_PROCESSORS: ProcessOp<'static> =
    ProcessOp::SchedSetaffinity { mask: &[u64::MAX; 128] };
