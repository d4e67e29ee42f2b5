//! Removes a cgroup's directories.
//!
//! Promises: tries every directory and says which are left, with their processes.
//! Must never: kill or move a process; the caller kills first.

use std::path::Path;
use std::time::Duration;

use rustix::fs::rmdir;
use rustix::io::Errno;

use super::apply::Cgroup;
use super::control::{Patience, children, read_pids};
use super::{Error, Leftover, systemd};

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
        let stopped = match &self.scope {
            Some(scope) if self.pids()?.is_empty() => systemd::stop(self, scope),
            _ => Ok(()),
        };
        let mut patience = Patience::new(BUSY_TIMEOUT);
        let mut left = Vec::new();
        for node in &self.nodes {
            remove(&node.path, &mut patience, &mut left);
        }
        if !left.is_empty() {
            return Err(Error::Left { left });
        }
        stopped.map_err(Error::Systemd)
    }
}

/// Removes the tree at `path`. The usual case, a leaf, takes one system call.
fn remove(path: &Path, patience: &mut Patience, left: &mut Vec<Leftover>) {
    loop {
        let error = match rmdir(path) {
            Ok(()) | Err(Errno::NOENT) => return,
            Err(error) => error,
        };
        if error == Errno::BUSY || error == Errno::NOTEMPTY {
            let before = left.len();
            let children = children(path).unwrap_or_default();
            for child in &children {
                remove(child, patience, left);
            }
            let freed = !children.is_empty() && left.len() == before;
            if freed || (children.is_empty() && patience.wait()) {
                continue;
            }
        }
        let mut pids = Vec::new();
        // What it holds helps the reader; that it cannot be read is the lesser news.
        let _ = read_pids(path, &mut pids);
        left.push(Leftover { path: path.to_owned(), pids, source: error.into() });
        return;
    }
}
