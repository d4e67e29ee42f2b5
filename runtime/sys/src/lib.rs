//! Thin safe wrappers over the system calls that nix and rustix lack, for the parent's side, and what else of
//! the parent's is unsafe or machine code: the allocator, and where the program begins.
//!
//! Each wrapper says which kernel it needs, where that is newer than brig's oldest. Nothing here decides
//! anything, and nothing here may be called between clone3 and execve: that is brig-child's.

pub mod allocator;
pub mod bpf;
pub mod entry;
pub mod landlock;
pub mod launch;
pub mod mount;
pub mod notify;
pub mod process;
pub mod signal;
pub mod socket;
