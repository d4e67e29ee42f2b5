//! What the kernel tells in its pseudo-file systems (proc, sysfs, cgroups, resctrl): files read with few
//! system calls, the formats that several of them share, and what tells two of their objects apart.
//!
//! Promises: what is parsed is parsed whole, or refused; nothing is cached but the boot, which brig does
//! not outlive. Must never: write, or decide what is done with what it has read.
//! Reference: proc(5), sysfs(5), cgroups(7), Documentation/filesystems/resctrl.rst.
#![forbid(unsafe_code)]

pub mod boot;
pub mod identity;
pub mod mountinfo;
pub mod small_file;
