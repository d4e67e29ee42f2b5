//! `HOME` for a program that is given none: from the image's /etc/passwd, as runc and crun do.
//!
//! Must never open what the image's author put there before it is known to be a file: to open a device is
//! to use it, and brig is not in the container's device cgroup. Must never leave the image, nor its own file system.
//! Reference: passwd(5), open(2) on `O_PATH`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, open};

use super::process::runs;
use crate::foreign;
use crate::spec::Process;

/// More than any such file needs, and less than hurts.
const LIMIT_BYTES: usize = 1 << 20;

/// The home directory for a process, unless it has one.
pub(super) fn of_process(process: &Process, root: impl AsFd) -> Option<String> {
    if process.env.iter().any(|entry| entry.starts_with("HOME=")) {
        return None;
    }
    of_user(process.user.uid, root)
}

/// The same of the user `uid` in a running container, whose first process is `pid` as long as `init` lives.
/// The root is the one that the process is in, whatever is at its path on the host by now.
pub(super) fn of_user_inside(uid: u32, pid: i32, init: &OwnedFd) -> Option<String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(format!("/proc/{pid}/root"), flags, Mode::empty()).ok()?;
    // Looked at after opening: the pid was this process's.
    if matches!(runs(init), Ok(true)) { of_user(uid, root) } else { None }
}

/// The home directory of the user `uid` of the image at `root`.
fn of_user(uid: u32, root: impl AsFd) -> Option<String> {
    // Files of procfs and sysfs are regular, and some have effects when they are read.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let file = foreign::regular_file(root, Path::new("etc/passwd"), resolve).ok()??;
    let text = foreign::read(&file, LIMIT_BYTES).ok()??;
    entry(&String::from_utf8_lossy(&text), uid)
}

fn entry(passwd: &str, uid: u32) -> Option<String> {
    let fields = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).and_then(|field| field.parse::<u32>().ok()) == Some(uid))?;
    fields
        .get(5)
        .filter(|home| home.starts_with('/') && !home.contains('\0'))
        .map(|&home| home.to_owned())
}
