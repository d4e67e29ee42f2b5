//! Thin safe wrappers over the system calls that nix and rustix lack, for the parent's side.
//!
//! Each module wraps one facility and says which kernel it needs. Nothing here decides anything,
//! and nothing here may be called between clone3 and execve: that is brig-child's.

pub mod allocator;
pub mod bpf;
pub mod entry;
pub mod launch;
pub mod mount;
pub mod notify;
pub mod process;
pub mod socket;
