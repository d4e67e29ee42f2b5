//! brig: a hardened OCI container runtime.
#![forbid(unsafe_code)]

pub mod bundle;
mod deadline;
pub mod execute;
pub mod failure;
pub mod features;
pub mod filter;
mod foreign;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod host;
pub mod plan;
pub mod printable;
pub mod spec;
pub mod supervise;
mod trusted;
