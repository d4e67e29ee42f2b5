//! brig: a hardened OCI container runtime.
#![forbid(unsafe_code)]

#[global_allocator]
static ALLOCATOR: brig_sys::allocator::Allocator = brig_sys::allocator::Allocator::new();

pub mod bundle;
pub mod cli;
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
mod printable;
pub mod spec;
pub mod supervise;
mod trusted;
