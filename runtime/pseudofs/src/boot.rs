//! Which boot of the machine this is: what the kernel counts from its start on (inodes of cgroups
//! and of pidfds) tells things apart within one boot only.
//!
//! Reference: random(4), `/proc/sys/kernel/random/boot_id`.

use std::io;
use std::sync::OnceLock;

use rustix::fs::{PROC_SUPER_MAGIC, statfs};
use serde::{Deserialize, Serialize};

use super::small_file;

/// Where the kernel tells it.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot(String);

impl Boot {
    /// The present one.
    ///
    /// # Errors
    /// /proc is not mounted.
    pub fn now() -> io::Result<Self> {
        // brig does not outlive it.
        static NOW: OnceLock<String> = OnceLock::new();
        if let Some(id) = NOW.get() {
            return Ok(Self(id.clone()));
        }
        let id = small_file::read_text(BOOT_ID)?;
        Ok(Self(NOW.get_or_init(|| id.trim_end().to_owned()).clone()))
    }

    /// Whether it is the present one. A difference counts only where the kernel itself tells it: systemd-nspawn, for
    /// instance, mounts a file of its own there.
    ///
    /// # Errors
    /// That cannot be known.
    pub fn is_now(&self) -> io::Result<bool> {
        if Self::now()? == *self {
            return Ok(true);
        }
        match statfs(BOOT_ID)?.f_type {
            PROC_SUPER_MAGIC => Ok(false),
            _ => Err(io::Error::other(format!("{BOOT_ID} is not the kernel's own"))),
        }
    }
}
