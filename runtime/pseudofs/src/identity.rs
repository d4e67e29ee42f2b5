//! What tells a directory of a kernel's file system (cgroups, resctrl) from others that have had, or
//! will have, its path.
//!
//! Promises: within one boot ([`super::boot`]), and as long as the file system is mounted, no two have
//! the same: kernfs counts inodes in 64 bits and gives none twice.

use std::os::fd::AsFd;

use rustix::fs::{Stat, fstat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// That of an open directory.
    ///
    /// # Errors
    /// The kernel's, of fstat(2).
    pub fn of(directory: impl AsFd) -> Result<Identity, Errno> {
        fstat(directory).map(|data| Identity::from(&data))
    }
}

impl From<&Stat> for Identity {
    fn from(data: &Stat) -> Identity {
        Identity { device: data.st_dev, inode: data.st_ino }
    }
}
