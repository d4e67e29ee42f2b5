//! The ordinary user whose engines call the runtime under test: `boxer`, to whom [`Lab`](crate::Lab) gives
//! subordinate ids from 3000000.

use super::words;
use crate::binaries;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

/// Its id on the host.
const BOXER: u32 = 64322;

/// Makes `dir` its home, with a copy of the runtime in it that it can reach, whose path this is.
///
/// # Panics
/// When that fails.
pub(super) fn moves_into(dir: &Path) -> PathBuf {
    fs::create_dir(dir).expect("make a directory");
    let runtime = dir.join("tested");
    fs::copy(binaries::runtime(), &runtime).expect("copy the runtime to where the user reaches it");
    chown(dir, Some(BOXER), Some(BOXER)).expect("give it to the user");
    runtime
}

/// The command that becomes this user, at home in `dir`.
pub(super) fn command(dir: &Path) -> Vec<String> {
    words(&format!(
        "setpriv --reuid {BOXER} --regid {BOXER} --clear-groups env -u DBUS_SESSION_BUS_ADDRESS USER=boxer HOME={0} \
         XDG_RUNTIME_DIR={0}",
        dir.display()
    ))
}
