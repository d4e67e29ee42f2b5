//! Removes a cgroup's directories.
//!
//! Promises: tries every directory and says which are left, with their processes.
//! Must never: kill or move a process; the caller kills first. Remove what brig has not made.

use std::time::Duration;

use rustix::fs::rmdir;
use rustix::io::Errno;

use super::apply::Cgroup;
use super::patience::Patience;
use super::record::PlannedCgroup;
use super::{Error, Leftover, systemd, tree};

/// A process that has ended still counts until the kernel has taken it apart.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

impl Cgroup {
    /// Removes the directories, those below first, and waits up to two seconds for
    /// each hierarchy whose last process is just ending. A directory that is gone is
    /// no error. Parents of the container's directory are left for its siblings.
    ///
    /// # Errors
    /// [`Error::Left`] with every directory that is still there.
    pub fn delete(&self) -> Result<(), Error> {
        // Stopping a unit kills what is in it, and that is not for `delete` to do.
        let stopped = match &self.unit {
            Some(unit) if self.pids()?.is_empty() => systemd::stop(self, unit),
            _ => Ok(()),
        };
        let mut patience = Patience::new(BUSY_TIMEOUT);
        let mut left = Vec::new();
        for node in &self.nodes {
            tree::remove(node, &mut patience, &mut left);
        }
        if !left.is_empty() {
            return Err(Error::Left { left });
        }
        stopped.map_err(Error::Systemd)
    }
}

impl PlannedCgroup {
    /// Removes what a brig that was killed before it had a process may have made: directories
    /// without processes and without cgroups below. Nobody knows whether it had, so nothing more is
    /// touched, and no scope, which goes away by itself.
    ///
    /// # Errors
    /// [`Error::Left`] with every directory that cannot be removed; one in use is not the
    /// container's. [`Error::Field`] as [`Cgroup::open`].
    pub fn discard(&self) -> Result<(), Error> {
        let mut patience = Patience::new(BUSY_TIMEOUT);
        let mut left = Vec::new();
        self.check()?;
        if self.scope.is_some() {
            return Ok(());
        }
        for path in self.directories.iter().map(super::Directory::absolute) {
            loop {
                match rmdir(&path) {
                    // A process that was just being cloned ends with its brig.
                    Err(Errno::BUSY) if patience.wait() => continue,
                    Ok(()) | Err(Errno::NOENT | Errno::BUSY | Errno::NOTEMPTY) => {}
                    // Nor could it be made.
                    Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {}
                    Err(error) => {
                        let (path, source) = (path.clone(), error.into());
                        left.push(Leftover { path, pids: Vec::new(), source });
                    }
                }
                break;
            }
        }
        if left.is_empty() { Ok(()) } else { Err(Error::Left { left }) }
    }
}
