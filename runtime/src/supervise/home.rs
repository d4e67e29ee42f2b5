//! `HOME` for a program that is given none: from the image's /etc/passwd, as runc and crun do.
//!
//! Must never open what the image's author put there before it is known to be a file: to open a device is
//! to use it, and brig is not in the container's device cgroup. Must never leave the image, nor its own file system.
//! Reference: passwd(5), open(2) on `O_PATH`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, open};

use super::recorded::runs;
use crate::foreign;
use crate::plan::has_home;
use crate::spec::Process;

/// More than any such file needs, and less than hurts.
const LIMIT_BYTES: usize = 1 << 20;

/// The home directory for a process, unless it has one, from the first of `roots` that has it.
pub(super) fn of_process<'f>(
    process: &Process,
    mut roots: impl Iterator<Item = BorrowedFd<'f>>,
) -> Option<String> {
    if has_home(&process.env) {
        return None;
    }
    roots.find_map(|root| of_user(process.user.uid, root))
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

/// A line without seven fields is none, as for getpwuid(3).
fn entry(passwd: &str, uid: u32) -> Option<String> {
    let home = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.splitn(8, ':').collect();
        match fields.as_slice() {
            [_, _, id, _, _, home, _] if id.parse() == Ok(uid) => Some(*home),
            _ => None,
        }
    })?;
    let usable = home.starts_with('/') && !home.contains('\0');
    usable.then(|| home.to_owned())
}

#[cfg(test)]
mod tests {
    use super::entry;

    #[test]
    fn lines_that_are_no_entries_are_skipped() {
        let good = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n";
        let home = |text: &str, uid| entry(text, uid);
        for bad in
            ["", "root:x:0\n", "root:x:0:0:root:/elsewhere\n", "+::0\n", ":::::::\n", "# 0\n"]
        {
            let text = format!("{bad}{good}");
            assert_eq!(home(&text, 0).as_deref(), Some("/root"), "{bad}");
            assert_eq!(home(&text, 1000).as_deref(), Some("/home/user"), "{bad}");
            assert_eq!(home(&text, 1), None);
        }
        // The first one counts.
        assert_eq!(home("a:x:0:0::relative:/bin/sh\nb:x:0:0::/b:/bin/sh\n", 0), None);
        assert_eq!(home("a:x:0:0::/a\0b:/bin/sh\n", 0), None);
    }
}
