//! Out-of-memory kills in a cgroup: how many, and a descriptor that tells of new ones.
//!
//! Reference: cgroup-v1/memory.rst "OOM Control", cgroup-v2.rst "memory.events".

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{OFlags, inotify};
use rustix::io::Errno;

use super::Error;
use super::apply::Cgroup;
use super::node::CgroupNode;

/// Tells when the cgroup runs out of memory. The descriptor ([`AsFd`]) is readable
/// when something may have happened; then call [`OomWatch::drain`].
#[derive(Debug)]
pub struct OomWatch {
    descriptor: OwnedFd,
    /// v1: the kernel refers to it while the eventfd is registered.
    _control: Option<OwnedFd>,
    unified: bool,
    path: PathBuf,
    seen: u64,
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl OomWatch {
    /// Takes what the descriptor has to tell, without waiting, and returns how often
    /// memory ran out since the last call. v1 counts the kernel's notices, each of which
    /// comes just before the kill (or instead of it, with `disableOOMKiller`); v2 counts
    /// the processes killed. None: the cgroup is gone and nothing more will come.
    ///
    /// # Errors
    /// [`Error::Call`] when the descriptor or the counter cannot be read.
    pub fn drain(&mut self, cgroup: &Cgroup) -> Result<Option<u64>, Error> {
        let notices = if self.unified { self.drain_inotify()? } else { self.drain_eventfd()? };
        let count = match cgroup.oom_kills() {
            Ok(count) => count,
            Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENODEV)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let new = count.saturating_sub(self.seen);
        self.seen = self.seen.max(count);
        Ok(Some(if self.unified { new } else { notices }))
    }

    fn drain_eventfd(&self) -> Result<u64, Error> {
        let mut number = [0; 8];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.descriptor, &mut number)) {
            Ok(_) => Ok(u64::from_ne_bytes(number)),
            Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(Error::call("read", &self.path, error)),
        }
    }

    fn drain_inotify(&self) -> Result<u64, Error> {
        let mut records = [0_u8; 4096];
        loop {
            match rustix::io::read(&self.descriptor, &mut records) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(0),
                Err(error) => return Err(Error::call("read", &self.path, error)),
            }
        }
    }
}

impl Cgroup {
    fn memory(&self) -> Result<&CgroupNode, Error> {
        self.nodes
            .iter()
            .find(|node| node.has("memory"))
            .ok_or(Error::Unsupported { control: "watching memory", missing: "memory controller" })
    }

    /// How many processes the OOM killer has killed in the cgroup; on v2 also below it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without the memory controller; [`Error::Call`].
    pub fn oom_kills(&self) -> Result<u64, Error> {
        let node = self.memory()?;
        let file = if node.directory.unified { "memory.events" } else { "memory.oom_control" };
        let text = node.read(file)?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        match count.and_then(|count| count.trim().parse().ok()) {
            Some(count) => Ok(count),
            None => Err(Error::Content { path: node.path.join(file), found: text }),
        }
    }

    /// Starts watching: v1 an eventfd on `memory.oom_control`, v2 inotify on `memory.events`.
    ///
    /// # Errors
    /// As `oom_kills`.
    pub fn watch_oom(&self) -> Result<OomWatch, Error> {
        let node = self.memory()?;
        let unified = node.directory.unified;
        let (descriptor, control) = match unified {
            true => (watch_events(node)?, None),
            false => {
                let (descriptor, control) = register_eventfd(node)?;
                (descriptor, Some(control))
            }
        };
        let path = node.path.clone();
        // Registered first, counted then: what happens between is told twice, not lost.
        let seen = self.oom_kills()?;
        Ok(OomWatch { descriptor, _control: control, unified, path, seen })
    }
}

fn watch_events(node: &CgroupNode) -> Result<OwnedFd, Error> {
    let fail = |call, error: Errno| Error::call(call, node.path.join("memory.events"), error);
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let descriptor = inotify::init(flags).map_err(|e| fail("inotify_init1", e))?;
    // By descriptor, though the call takes a path: the file of this cgroup, not of one at its path.
    let events = node.open("memory.events", OFlags::PATH)?;
    let path = format!("/proc/self/fd/{}", events.as_raw_fd());
    // The kernel reports a removed cgroup file as IN_DELETE_SELF.
    let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::DELETE_SELF;
    inotify::add_watch(&descriptor, path, flags).map_err(|e| fail("inotify_add_watch", e))?;
    Ok(descriptor)
}

fn register_eventfd(node: &CgroupNode) -> Result<(OwnedFd, OwnedFd), Error> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let event = eventfd(0, flags).map_err(|e| Error::call("eventfd2", &node.path, e))?;
    let control = node.open("memory.oom_control", OFlags::RDONLY)?;
    let registration = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    node.write("cgroup.event_control", &registration)?;
    Ok((event, control))
}
