//! Which boot of the machine this is: what the kernel counts from its start on (inodes of cgroups
//! and of pidfds) tells things apart within one boot only.
//!
//! Reference: random(4), `/proc/sys/kernel/random/boot_id`.

use std::io;
use std::sync::OnceLock;

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

    /// Whether it is the present one; not where that cannot be known.
    #[must_use]
    pub fn is_now(&self) -> bool {
        Self::now().is_ok_and(|now| now == *self)
    }
}
