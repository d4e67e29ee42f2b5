//! A mount namespace that holds one empty, read-only directory, kept by a bind mount.
//!
//! A new mount namespace copies its parent's mount table and drops the copy at its end: 1.1 µs for
//! each host mount, twice. Containers start from this one instead, so that their start does not
//! grow with the number of host mounts; and as there is nothing under the container's root but an
//! empty directory, no old root needs to be unmounted. It saves 4 % of a start where the host has a hundred
//! mounts, and 27 % where it has a thousand (docs/performance.md, "Shortcuts").
//!
//! Kept at `/run/brig/ns/mnt`, in a directory of mode 0700 that is a private mount: a mount namespace can be
//! bound only where mounts do not propagate (namespaces(7), mount_namespaces(7)). A tree that holds a bound one
//! cannot be moved into a container, so a bind mount of /run has to leave it out: it is unbindable itself, and
//! the directory is not. In a user namespace, whose copies of mounts come without bound mount namespaces, an
//! unbindable directory would be locked, and so keep an ordinary user from any bind mount of /run or /.
//! Removing it is harmless; the next start makes it again.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::sys::stat::Mode;
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use nix::unistd::{Pid, chdir, gettid, pivot_root};
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};

use crate::deadline::Deadline;

/// The directory, a private mount.
const DIRECTORY: &str = "/run/brig/ns";
/// The namespace itself, in it.
const NAMESPACE: &str = "/run/brig/ns/mnt";

const NO_SOURCE: Option<&str> = None;

/// How long another brig is waited for: it is a matter of milliseconds, and a container can do without.
const PATIENCE: Duration = Duration::from_secs(2);

/// The kept mount namespace.
#[derive(Debug)]
pub struct EmptyNamespace;

impl EmptyNamespace {
    /// A descriptor of the namespace, which is made if need be.
    ///
    /// # Errors
    /// What the kernel says to one of the steps; containers then start from a copy of the host's
    /// mount namespace, which is slower and no less safe.
    pub fn open() -> io::Result<OwnedFd> {
        match open_kept() {
            Some(fd) => Ok(fd),
            None => make(),
        }
    }
}

fn open_kept() -> Option<OwnedFd> {
    let file =
        open(NAMESPACE, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
            .ok()?;
    is_namespace(&file).then_some(file)
}

fn is_namespace(file: impl AsFd) -> bool {
    fstatfs(file).is_ok_and(|stat| stat.filesystem_type() == NSFS_MAGIC)
}

fn make() -> io::Result<OwnedFd> {
    crate::trusted::make_directory(Path::new(DIRECTORY)).map_err(io::Error::other)?;
    let _lock = lock(File::open("/run/brig")?, Deadline::after(PATIENCE))?;
    if let Some(fd) = open_kept() {
        return Ok(fd);
    }
    if !is_mount_point(DIRECTORY) {
        mount(Some(DIRECTORY), DIRECTORY, NO_SOURCE, MsFlags::MS_BIND, NO_SOURCE)?;
    }
    mount(NO_SOURCE, DIRECTORY, NO_SOURCE, MsFlags::MS_PRIVATE, NO_SOURCE)?;
    File::create(NAMESPACE)?;
    keep_a_new_namespace()?;
    mount(NO_SOURCE, NAMESPACE, NO_SOURCE, MsFlags::MS_UNBINDABLE, NO_SOURCE)?;
    open_kept().ok_or_else(|| io::Error::other("the kept mount namespace is not one"))
}

/// Waits for another brig that makes the namespace at this moment. One that is stopped meanwhile
/// keeps no start for ever.
fn lock(mut file: File, deadline: Deadline) -> io::Result<Flock<File>> {
    const REST: Duration = Duration::from_millis(2);
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, Errno::EWOULDBLOCK)) if !deadline.is_over() => file = back,
            Err((_, errno)) => return Err(errno.into()),
        }
        sleep(REST);
    }
}

/// Whether a mount's root is at `path`, as it is seen now: the mount table also lists what others
/// cover (statx(2) `STATX_ATTR_MOUNT_ROOT`, Linux 5.8).
fn is_mount_point(path: &str) -> bool {
    let mask = StatxFlags::empty();
    rustix::fs::statx(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW, mask)
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Binds a new empty namespace to its file.
///
/// The kernel allows that only for a namespace younger than the one it is bound in. Linux 6.18 was
/// seen to answer EINVAL all the same, or not, depending on the processor that made the namespace
/// (as if each drew the numbers that tell the age from a range of its own); so each is tried.
fn keep_a_new_namespace() -> io::Result<()> {
    let processors = sched_getaffinity(Pid::from_raw(0))?;
    let each = (0..CpuSet::count()).filter(|cpu| processors.is_set(*cpu) == Ok(true)).map(Some);
    for processor in [None].into_iter().chain(each) {
        match keep_namespace_of_thread(processor) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            answer => return answer,
        }
    }
    Err(io::Error::from_raw_os_error(libc::EINVAL))
}

/// A thread makes the namespace, on that processor, and waits while it is bound to the file.
fn keep_namespace_of_thread(processor: Option<usize>) -> io::Result<()> {
    let (made, is_made) = mpsc::channel();
    let (bound, is_bound) = mpsc::channel::<()>();
    let thread = std::thread::Builder::new().spawn(move || {
        let moved = processor.map_or(Ok(()), move_to);
        let made_it = moved.and_then(|()| empty_this_thread()).map(|()| gettid());
        let _ = made.send(made_it);
        // Ends when the other side has bound the namespace, or has given up.
        let _ = is_bound.recv();
    })?;
    let answer = is_made.recv().map_err(io::Error::other)?.and_then(|tid| {
        let source = format!("/proc/self/task/{tid}/ns/mnt");
        mount(Some(source.as_str()), NAMESPACE, NO_SOURCE, MsFlags::MS_BIND, NO_SOURCE)?;
        Ok(())
    });
    drop(bound);
    let _ = thread.join();
    answer
}

fn move_to(processor: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(processor)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &only)?)
}

fn empty_this_thread() -> io::Result<()> {
    let root = Path::new("/");
    unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NO_SOURCE, root, NO_SOURCE, private, NO_SOURCE)?;
    let options = Some("size=4k,nr_inodes=2,mode=0555");
    mount(Some("none"), DIRECTORY, Some("tmpfs"), MsFlags::empty(), options)?;
    chdir(DIRECTORY)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    let hardened = MsFlags::MS_REMOUNT
        | MsFlags::MS_BIND
        | MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV
        | MsFlags::MS_NOEXEC;
    mount(NO_SOURCE, root, NO_SOURCE, hardened, NO_SOURCE)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_brig_is_waited_for_and_not_for_ever() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let open = || File::open(file.path()).expect("it is there");
        let held = lock(open(), Deadline::NEVER).expect("nobody has it");
        let error = lock(open(), Deadline::after(Duration::ZERO)).expect_err("it is held");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lock(open(), Deadline::NEVER));
            drop(held);
            waiting.join().expect("no panic").expect("it is free");
        });
    }
}
