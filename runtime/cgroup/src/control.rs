//! The processes of a cgroup: list, freeze, signal, kill.
//!
//! Promises: every wait is bounded. Must never: signal a process that is not in the
//! cgroup; a pid that may have been reused is checked again through its pidfd.
//! Reference: cgroup-v2.rst "cgroup.freeze", "cgroup.kill"; freezer-subsystem.rst.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use brig_sys::process::send_signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::apply::Cgroup;
use super::node::CgroupNode;
use super::patience::Patience;
use super::{Error, tree};

/// A freeze waits for system calls to come to an end.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(5);
/// Processes may be started as fast as they are signalled.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Killed processes may have much memory to give back.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after cgroup.kill those that it has spared get a signal of their own: longer than most take to end.
const SPARED_AFTER: Duration = Duration::from_millis(100);
/// Each needs a descriptor, of which a program has 1024 by default; each batch one more look at the
/// list.
const SIGNALLED_AT_ONCE: usize = 128;

impl Cgroup {
    /// The hierarchy that says which processes there are: the one that can freeze them.
    fn census(&self) -> Option<&CgroupNode> {
        let unified = || self.nodes.iter().find(|node| node.directory.unified);
        let freezer = self.nodes.iter().find(|node| node.has("freezer"));
        freezer.or_else(|| self.nodes.iter().find(|node| !node.directory.unified)).or_else(unified)
    }

    /// The pids of all processes in the cgroup and below, as seen from brig's pid
    /// namespace, sorted. Empty when the cgroup is gone, whatever is at its path by now.
    ///
    /// # Errors
    /// [`Error::Call`] when a list cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        let mut pids = self.census().map_or_else(|| Ok(Vec::new()), tree::pids)?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Freezes every process in the cgroup and waits until they are.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on v1 without the freezer; [`Error::Timeout`], after the
    /// cgroup has been thawed again.
    pub fn freeze(&self) -> Result<(), Error> {
        let node = self.freezer()?;
        let result = if node.directory.unified { freeze_v2(node) } else { freeze_v1(node) };
        if result.is_err() {
            // Half frozen is worse than not at all; the first error is the one to tell.
            let _ = self.thaw();
        }
        result
    }

    /// Lets the processes of a frozen cgroup run again.
    ///
    /// # Errors
    /// As `freeze`.
    pub fn thaw(&self) -> Result<(), Error> {
        let node = self.freezer()?;
        if node.directory.unified {
            node.write("cgroup.freeze", "0")
        } else {
            node.write("freezer.state", "THAWED")
        }
    }

    /// Whether the cgroup itself is frozen or about to be.
    ///
    /// # Errors
    /// As `freeze`.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        let node = self.freezer()?;
        if node.directory.unified {
            Ok(node.read("cgroup.freeze")?.trim() == "1")
        } else {
            Ok(node.read("freezer.self_freezing")?.trim() == "1")
        }
    }

    /// The cgroup's directory where its processes are frozen, by it or by one above it.
    ///
    /// # Errors
    /// [`Error::Call`] when its state cannot be read.
    pub fn frozen_at(&self) -> Result<Option<PathBuf>, Error> {
        for node in &self.nodes {
            let is_frozen = if node.has("freezer") {
                let is = |file| Ok::<_, Error>(node.read(file)?.trim() == "1");
                is("freezer.self_freezing")? || is("freezer.parent_freezing")?
            } else if node.directory.unified {
                node.read("cgroup.events")?.lines().any(|line| line == "frozen 1")
            } else {
                false
            };
            if is_frozen {
                return Ok(Some(node.path.clone()));
            }
        }
        Ok(None)
    }

    /// Whether a process of the cgroup may be frozen so that not even SIGKILL ends it: on v1, by `freeze` or by one
    /// of its own processes that may write to cgroups below.
    ///
    /// # Errors
    /// [`Error::Call`] when a state cannot be read.
    pub fn blocks_kill(&self) -> Result<bool, Error> {
        let freezer = self.nodes.iter().find(|node| node.has("freezer"));
        freezer.map_or(Ok(false), |node| tree::says(node, "freezer.self_freezing", "1"))
    }

    fn freezer(&self) -> Result<&CgroupNode, Error> {
        let can = |node: &&CgroupNode| node.has("freezer") || node.directory.unified;
        self.nodes
            .iter()
            .find(can)
            .ok_or(Error::Unsupported { control: "freezing", missing: "freezer hierarchy" })
    }

    /// Sends `signal` to every process in the cgroup, each once, until there is no further one. Nothing is frozen
    /// meanwhile: others would take that for a pause, the thaw would end a pause, and a brig that is killed would
    /// leave the container frozen.
    ///
    /// # Errors
    /// [`Error::Call`] when a process cannot be signalled (one that has ended is none); [`Error::Timeout`] when
    /// new ones come for ten seconds.
    pub fn signal_all(&self, signal: i32) -> Result<(), Error> {
        let Some(node) = self.census() else {
            return Ok(());
        };
        // Even where there is nobody to ask the kernel about it.
        if !(0..=64).contains(&signal) {
            let source = io::Error::from_raw_os_error(libc::EINVAL);
            let (call, path) = ("pidfd_send_signal", node.path.clone());
            return Err(Error::Call { call, path, source });
        }
        let patience = Patience::new(SIGNAL_TIMEOUT);
        let (mut seen, mut result) = (BTreeSet::new(), Ok(()));
        loop {
            let mut new = self.pids()?;
            new.retain(|pid| seen.insert(*pid));
            if new.is_empty() {
                break;
            }
            result = result.and(self.signal_each(node, &new, signal));
            if patience.is_over() {
                return Err(patience.error(node, "without new processes: it still forks"));
            }
        }
        if signal == libc::SIGKILL && self.is_frozen().unwrap_or(false) {
            self.thaw().or_else(gone_is_fine)?;
        }
        result
    }

    /// Answers how many there were.
    fn signal_once(&self, node: &CgroupNode, signal: i32) -> Result<usize, Error> {
        let all = self.pids()?;
        self.signal_each(node, &all, signal).map(|()| all.len())
    }

    /// One that cannot be signalled keeps no other from it: the first error is told at the end.
    fn signal_each(&self, node: &CgroupNode, all: &[i32], signal: i32) -> Result<(), Error> {
        let (mut left, mut at_once) = (all, SIGNALLED_AT_ONCE);
        let mut signalled = Ok(());
        while !left.is_empty() {
            let (pids, later) = left.split_at(at_once.min(left.len()));
            match self.signal(node, pids, signal) {
                Err(error) if at_once > 1 && is_out_of_descriptors(&error) => at_once /= 2,
                answer => {
                    signalled = signalled.and(answer);
                    left = later;
                }
            }
        }
        signalled
    }

    /// Where descriptors run out nobody has been signalled yet.
    fn signal(&self, node: &CgroupNode, pids: &[i32], signal: i32) -> Result<(), Error> {
        let mut targets: Vec<(i32, OwnedFd)> = Vec::new();
        // 0 is a process of a pid namespace that brig cannot see into.
        for pid in pids.iter().filter_map(|raw| Pid::from_raw(*raw)) {
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(descriptor) => targets.push((pid.as_raw_nonzero().get(), descriptor)),
                Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(Error::call("pidfd_open", &node.path, error)),
            }
        }
        // Who is still listed after its pidfd was opened is who it was opened for.
        let present = self.pids()?;
        let mut signalled = Ok(());
        for (raw, descriptor) in targets {
            if present.binary_search(&raw).is_err() {
                continue;
            }
            match send_signal(&descriptor, signal) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => {
                    let error = Error::call("pidfd_send_signal", &node.path, error);
                    signalled = signalled.and(Err(error));
                }
            }
        }
        signalled
    }

    /// Kills every process in the cgroup and waits until it is empty; answers whether there was
    /// one. The parents of the processes still have to reap them.
    ///
    /// # Errors
    /// [`Error::Timeout`] when a process does not go away in ten seconds.
    pub fn kill(&self) -> Result<bool, Error> {
        let Some(node) = self.census() else {
            return Ok(false);
        };
        let mut killed = false;
        if node.directory.unified {
            match kill_v2(node) {
                Ok(Kill::Empty { was_populated }) => return Ok(was_populated),
                Ok(Kill::Left) => killed = true,
                // Before Linux 5.14, or gone by now: the list tells.
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                Err(error) => return gone_is_fine(error).map(|()| false),
            }
        }
        // To freeze costs 0.2 ms on v1: the kernel patches its own text (freezer_active, a static key). A process
        // that this look misses keeps the directory from being removed.
        if tree::is_empty_leaf(node)? {
            return Ok(killed);
        }
        let mut patience = Patience::new(KILL_TIMEOUT);
        while self.kill_listed(node)? != 0 {
            killed = true;
            if !patience.wait() {
                return Err(patience.error(node, "empty"));
            }
        }
        Ok(killed)
    }

    /// Kills who is in the cgroup now, which is frozen first: who may make cgroups in it could
    /// make them faster than they are found.
    fn kill_listed(&self, node: &CgroupNode) -> Result<usize, Error> {
        let froze = self.freeze().is_ok();
        let killed = self.signal_once(node, libc::SIGKILL);
        if node.has("freezer") {
            // On v1 nobody dies in a cgroup that is frozen itself, as who is in it may have done.
            tree::write_below(node, "freezer.state", "THAWED")?;
        }
        if froze {
            self.thaw().or_else(gone_is_fine)?;
        }
        killed
    }
}

fn is_out_of_descriptors(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// What cgroup.kill has done.
enum Kill {
    Empty {
        was_populated: bool,
    },
    /// Something has not ended yet. In kernels such as 6.1 it may never: they send the signal to the main thread
    /// alone, which is lost where that one has ended before the others.
    Left,
}

fn kill_v2(node: &CgroupNode) -> Result<Kill, Error> {
    let events = node.open("cgroup.events", OFlags::RDONLY)?;
    let was_populated = has_line(node, &events, "populated 1")?;
    node.write("cgroup.kill", "1")?;
    match await_event(node, &events, "populated 0", SPARED_AFTER, "empty").or_else(gone_is_fine) {
        Ok(()) => Ok(Kill::Empty { was_populated }),
        Err(Error::Timeout { .. }) => Ok(Kill::Left),
        Err(error) => Err(error),
    }
}

fn gone_is_fine(error: Error) -> Result<(), Error> {
    match error.errno() {
        Some(libc::ENOENT | libc::ENODEV) => Ok(()),
        _ => Err(error),
    }
}

fn freeze_v1(node: &CgroupNode) -> Result<(), Error> {
    let mut patience = Patience::new(FREEZE_TIMEOUT);
    loop {
        // Written again each time: a process that was forked meanwhile keeps the
        // state at FREEZING until then (freezer-subsystem.rst).
        node.write("freezer.state", "FROZEN")?;
        let state = node.read("freezer.state")?;
        match state.trim() {
            "FROZEN" => return Ok(()),
            "FREEZING" if patience.wait() => {}
            "FREEZING" => return Err(patience.error(node, "frozen")),
            other => {
                let path = node.path.join("freezer.state");
                return Err(Error::Content { path, found: other.to_owned() });
            }
        }
    }
}

fn freeze_v2(node: &CgroupNode) -> Result<(), Error> {
    let events = node.open("cgroup.events", OFlags::RDONLY)?;
    node.write("cgroup.freeze", "1")?;
    await_event(node, &events, "frozen 1", FREEZE_TIMEOUT, "frozen")
}

/// Waits for a line of `cgroup.events`, whose changes the kernel announces as POLLPRI.
fn await_event(
    node: &CgroupNode,
    events: &OwnedFd,
    line: &str,
    limit: Duration,
    state: &'static str,
) -> Result<(), Error> {
    let patience = Patience::new(limit);
    let fail =
        |call, error: rustix::io::Errno| Error::call(call, node.path.join("cgroup.events"), error);
    while !has_line(node, events, line)? {
        if patience.is_over() {
            return Err(patience.error(node, state));
        }
        let timeout = Timespec::try_from(patience.left()).ok();
        let mut descriptors = [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)];
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(fail("poll", error)),
        }
    }
    Ok(())
}

fn has_line(node: &CgroupNode, events: &OwnedFd, line: &str) -> Result<bool, Error> {
    let mut buffer = [0_u8; 256];
    let count = rustix::io::pread(events, &mut buffer, 0)
        .map_err(|e| Error::call("read", node.path.join("cgroup.events"), e))?;
    Ok(String::from_utf8_lossy(&buffer[..count]).lines().any(|found| found == line))
}
