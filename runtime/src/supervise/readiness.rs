//! Where a program says that it is ready (sd_notify(3)): a socket of the container's own, in a directory of its state, which
//! is bound where the program is told to look.
//!
//! Promises: the service manager's socket is not in the container, and what the program says is not read here: who has
//! given the socket judges it. Reference: sd_notify(3); runc has the same path inside.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::sys::socket::{UnixAddr, bind};
use rustix::fs::{AtFlags, Mode, chmodat, mkdirat, unlinkat};
use rustix::io::Errno;

use super::Error;
use super::record::{NOTIFY, NOTIFY_SOCKET, StateDirectory};
use crate::foreign;
use crate::policy::Hardened;
use crate::spec::mount::{
    Attributes, CopyUp, Kind, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY, MountRequest, Scope, Turn,
};

/// Where the directory is inside, and what the program is told.
const INSIDE: &str = "/run/notify";
const TOLD: &str = "/run/notify/notify.sock";
const VARIABLE: &str = "NOTIFY_SOCKET";

fn failed(directory: &StateDirectory, errno: impl Into<std::io::Error>) -> Error {
    Error::system(format!("making {}", directory.path().join(NOTIFY_SOCKET).display()), errno)
}

/// Makes the directory of a new container with the socket in it, and lets the program find it.
pub(super) fn make(
    directory: &StateDirectory,
    spec: &mut Hardened,
    socket: BorrowedFd<'_>,
) -> Result<(), Error> {
    let held = directory.held_by();
    // Whatever the umask is: the program may be any user.
    mkdirat(held, NOTIFY, Mode::RWXU)
        .and_then(|()| chmodat(held, NOTIFY, Mode::from_raw_mode(0o755), AtFlags::empty()))
        .map_err(|errno| failed(directory, errno))?;
    listen(directory, socket)?;
    let path = foreign::path_of(held).map_err(|error| failed(directory, error))?;
    spec.add_mount(seen_inside(path.join(NOTIFY)));
    spec.replace_variables(&[(VARIABLE, Some(TOLD))]);
    Ok(())
}

/// Gives the socket its name, in the place of the one of `create`; false where the container was made without.
pub(super) fn take_over(directory: &StateDirectory, socket: BorrowedFd<'_>) -> Result<bool, Error> {
    match unlinkat(directory.held_by(), NOTIFY_SOCKET, AtFlags::empty()) {
        Ok(()) => listen(directory, socket).map(|()| true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(failed(directory, errno)),
    }
}

fn listen(directory: &StateDirectory, socket: BorrowedFd<'_>) -> Result<(), Error> {
    let held = directory.held_by();
    // It fits into `sun_path` however long the directory's path is.
    let path = format!("/proc/self/fd/{}/{NOTIFY_SOCKET}", held.as_raw_fd());
    UnixAddr::new(Path::new(&path))
        .and_then(|address| bind(socket.as_fd().as_raw_fd(), &address))
        .map_err(|errno| failed(directory, errno))?;
    chmodat(held, NOTIFY_SOCKET, Mode::from_raw_mode(0o666), AtFlags::empty())
        .map_err(|errno| failed(directory, errno))
}

fn seen_inside(source: PathBuf) -> MountRequest {
    let set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    MountRequest {
        destination: PathBuf::from(INSIDE),
        kind: Kind::Bind(Scope::Mount),
        source: Some(source),
        attributes: Attributes { set, clear: 0 },
        recursive: Attributes::default(),
        propagation: Vec::new(),
        idmap: None,
        copy_up: CopyUp::No,
        superblock: Vec::new(),
        data: Vec::new(),
        turn: Turn::Listed,
    }
}
