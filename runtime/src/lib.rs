//! brig: a hardened OCI container runtime.
#![forbid(unsafe_code)]

/// brig's programs are short-lived and small: this allocator asks the kernel for memory in a few
/// large pieces, where musl's maps and unmaps pages for almost every growing buffer.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

pub mod bundle;
pub mod cgroup;
pub mod cli;
pub mod execute;
pub mod features;
pub mod host;
pub mod plan;
mod small_file;
pub mod spec;
pub mod supervise;
