//! The specification in brig's own types.

mod config;
mod linux;
mod names;
mod process;
mod resources;
mod write;

pub(crate) use config::Text;
pub use config::{Config, Hook, Hooks, Root};
pub use linux::{
    Device, IdMapping, IntelRdt, Linux, MemoryPolicy, Namespace, NetDevice, Personality, TimeOffset,
};
pub use names::{
    DeviceType, IoPriorityClass, MemoryPolicyFlag, MemoryPolicyMode, NamespaceType,
    PersonalityDomain, RlimitType, SchedulerFlag, SchedulerPolicy,
};
pub use process::{ConsoleSize, ExecCpuAffinity, IoPriority, Process, Rlimit, Scheduler, User};
pub use resources::{
    BlockIo, Cpu, DeviceRule, HugepageLimit, InterfacePriority, Memory, Network, Pids, Rdma,
    Resources, ThrottleDevice, WeightDevice,
};

pub(crate) use config::{not_empty, nullable, unset};
