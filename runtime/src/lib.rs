//! brig: a hardened OCI container runtime.
#![forbid(unsafe_code)]

pub use brig_policy as policy;
pub use brig_spec as spec;

pub mod caller;
pub mod configuration;
pub mod deadline;
mod digest;
pub mod execute;
pub mod failure;
pub mod features;
pub mod filter;
mod foreign;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hook_programs;
pub mod host;
pub mod id_pool;
pub mod node_policy;
mod ofd_lock;
pub mod plan;
pub mod printable;
pub mod replace;
pub mod report;
pub mod sources;
pub mod supervise;
pub mod template;
pub mod trusted;
pub mod unix_socket;
