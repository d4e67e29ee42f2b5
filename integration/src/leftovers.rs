//! What a runtime could leave behind, before and after: mounts, cgroups, processes, state files.
//!
//! Each [`crate::Lab`] has a mount namespace of its own, so every mount in it that was not there
//! before is the runtime's; is the reaper of all its descendants, so every process is found however
//! often it was orphaned; and puts its token into every cgroup's name. Namespaces live only through
//! a process, a mount or a descriptor, so with the former two gone, they are.

use crate::machine;
use nix::mount::{MntFlags, umount2};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;
use std::{fs, io};

/// The mounts of this thread's namespace: how often each line occurs, without the ids. Whether a
/// mount is shared with other namespaces is part of it: that is lost silently.
pub fn mounts() -> BTreeMap<String, usize> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let kind = fields.iter().position(|f| *f == "-").map_or("", |at| fields[at + 1]);
        let mut tags = fields.iter().skip(6).take_while(|field| **field != "-");
        let shared = tags.any(|field| field.starts_with("shared:"));
        let shared = if shared { "" } else { ", not shared" };
        let line = format!("{} on {} from {}{shared}", kind, fields[4], fields[3]);
        *found.entry(line).or_insert(0) += 1;
    }
    found
}

/// Mounts in `after` that `before` lacks, or has fewer of, and the other way round.
pub fn mount_changes(
    before: &BTreeMap<String, usize>,
    after: &BTreeMap<String, usize>,
) -> Vec<String> {
    let mut changes = Vec::new();
    for (mount, count) in after {
        // brig keeps one small mount namespace for all containers, pinned in a private mount.
        let kept =
            mount.contains(" on /run/brig/ns from ") || mount.starts_with("nsfs on /run/brig/");
        if before.get(mount).unwrap_or(&0) < count && !kept {
            changes.push(format!("mount: {mount}"));
        }
    }
    for (mount, count) in before {
        if after.get(mount).unwrap_or(&0) < count {
            changes.push(format!("the host's mount is gone: {mount}"));
        }
    }
    changes
}

/// The children which somebody here waits for; others are orphans that came to us.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Starts a child that its starter waits for.
///
/// # Errors
/// What `start` says.
pub fn own(start: impl FnOnce() -> io::Result<Child>) -> io::Result<Child> {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let child = start()?;
    own.insert(child.id().cast_signed());
    Ok(child)
}

/// Forgets a child that has been waited for: its id may come back as an orphan's.
pub fn disown(pid: i32) {
    OWN.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
}

/// Collects orphans that have exited, from now on, as an engine's shim does: a container's pid
/// namespace does not end, nor do its cgroups, before all of its processes have been waited for.
pub fn keep_reaping() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        std::thread::spawn(|| {
            while !LEFT_TO_THE_TEST.load(Ordering::Relaxed) {
                reap();
                std::thread::sleep(Duration::from_millis(4));
            }
        });
    });
}

static LEFT_TO_THE_TEST: AtomicBool = AtomicBool::new(false);

/// From here on the test waits for its children itself, as those of the library are its own.
pub fn leave_children_to_the_test() {
    LEFT_TO_THE_TEST.store(true, Ordering::Relaxed);
}

/// Collects the orphans that have exited.
pub fn reap() {
    let own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    for pid in children() {
        if !own.contains(&pid) {
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
    }
}

/// This process's children, of all its threads.
fn children() -> Vec<i32> {
    let mut found = Vec::new();
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(text.split_whitespace().filter_map(|p| p.parse::<i32>().ok()));
    }
    found
}

/// Descendants of this process which still exist, but for `known` ones.
pub fn processes(known: &[i32]) -> Vec<String> {
    reap();
    machine::descendants(std::process::id().cast_signed())
        .into_iter()
        .filter(|p| !known.contains(&p.pid))
        .map(|p| format!("process: {} `{}` ({}), child of {}", p.pid, p.name, p.state, p.parent))
        .collect()
}

/// cgroups named after `token`.
pub fn cgroups(token: &str) -> Vec<String> {
    let found = machine::cgroups_named(token);
    found.iter().map(|dir| format!("cgroup: {}", dir.display())).collect()
}

/// Files below `dir`.
pub fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| format!("state: {}", e.path().display())).collect()
}

/// Kills what is left, for good: thaws and kills each cgroup's processes, then every descendant,
/// then removes the cgroups. For the end of a test that has failed.
pub fn sweep(token: &str, known: &[i32]) {
    let swept = crate::wait_until(Duration::from_secs(5), || {
        let cgroups = machine::cgroups_named(token);
        for dir in &cgroups {
            thaw_and_kill(dir);
        }
        for process in machine::descendants(std::process::id().cast_signed()) {
            if !known.contains(&process.pid) {
                kill(process.pid);
            }
        }
        reap();
        cgroups.iter().for_each(|dir| drop(fs::remove_dir(dir)));
        machine::cgroups_named(token).is_empty() && processes(known).is_empty()
    });
    if !swept {
        eprintln!("cannot clean up: {:?} {:?}", processes(known), machine::cgroups_named(token));
    }
}

fn thaw_and_kill(dir: &Path) {
    let _ = fs::write(dir.join("freezer.state"), "THAWED");
    let _ = fs::write(dir.join("cgroup.freeze"), "0");
    let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    pids.lines().filter_map(|l| l.parse().ok()).for_each(kill);
}

fn kill(pid: i32) {
    if pid > 1 {
        let _ = nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
}

/// Removes a directory tree with everything that is mounted in it. What an engine's daemon was
/// still writing when it was killed may come in between: it is tried until it works.
pub fn remove_tree(dir: &Path) {
    let removed = crate::wait_until(Duration::from_secs(3), || {
        let below = format!("{}/", dir.display());
        let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
        let targets = text.lines().rev().filter_map(|line| line.split(' ').nth(4));
        for target in targets.filter(|target| target.starts_with(&below)) {
            let _ = umount2(target, MntFlags::MNT_DETACH);
        }
        match fs::remove_dir_all(dir) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    });
    if !removed {
        eprintln!("cannot remove {}: {:?}", dir.display(), fs::remove_dir_all(dir));
    }
}
