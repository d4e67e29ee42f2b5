//! brig: a hardened OCI container runtime.
#![forbid(unsafe_code)]

#[global_allocator]
static ALLOCATOR: brig_sys::allocator::Allocator = brig_sys::allocator::Allocator::new();

mod boot;
pub mod bundle;
pub mod cgroup;
pub mod cli;
pub mod execute;
pub mod failure;
pub mod features;
pub mod filter;
mod foreign;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod host;
pub mod identity;
mod mountinfo;
pub mod plan;
mod printable;
mod small_file;
pub mod spec;
pub mod supervise;
mod trusted;
