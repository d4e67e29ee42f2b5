//! A container's cgroup: planned as data, made, joined, changed, watched, removed.
//!
//! Promises: limits are in place before a process joins; a limit that cannot be
//! applied is an error that names its field; `prepare` leaves nothing behind when
//! it fails; `delete` removes directories only and says what it could not remove. A cgroup is known
//! by identity: where another one is at its path, it is gone.
//! Must never: signal, freeze, limit or remove what brig has not made; write another process's pid to
//! `cgroup.procs` where the kernel offers another way (the write waits milliseconds for an RCU grace
//! period), move a live process out of its cgroup, or follow `..` out of a hierarchy.
//! Reference: OCI runtime-spec config-linux.md "Control groups", cgroups(7), the
//! kernel's admin-guide/cgroup-v1 and cgroup-v2.rst. Where the specification leaves
//! room the meaning is that of opencontainers/cgroups, so that files end up alike.
//!
//! `linux.resources.memory.kernel` is accepted and ignored, as kernel memory
//! limits were removed from Linux 5.16 and deprecated by the specification.
#![forbid(unsafe_code)]

mod apply;
mod control;
mod delete;
mod error;
mod facts;
mod file;
mod join;
mod node;
mod oom;
mod patience;
mod plan;
mod readback;
mod record;
mod stats;
pub mod systemd;
mod tree;
mod update;
mod writer;

pub use apply::{Cgroup, PlannedScope, Prepared, foresee, prepare};
pub use error::{Error, Leftover, Occupant};
pub use facts::{CgroupFacts, Hierarchy, Layout, Mounted, Unified};
pub use join::JoinDescriptors;
pub use oom::OomWatch;
pub use plan::{Absent, CgroupPlan, CgroupRequest, Directory, Driver, Scope, Step, Write, devices};
pub use readback::{Bound, DeviceControl, Readback};
pub use record::{CgroupRecord, MadeDirectory, PlannedCgroup};
pub use stats::{
    Blkio, BlkioEntry, Cpu, CpuSet, CpuUsage, Hugetlb, Memory, MemoryEntry, MemoryEventCount, Pids,
    Psi, PsiLine, Stats, Throttling,
};
pub use update::InForce;
