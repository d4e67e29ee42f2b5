//! brig: a hardened OCI container runtime.
#![forbid(unsafe_code)]

pub mod bundle;
pub mod cgroup;
pub mod cli;
pub mod execute;
pub mod features;
pub mod host;
pub mod plan;
pub mod spec;
pub mod supervise;
