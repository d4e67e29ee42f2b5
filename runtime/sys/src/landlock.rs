//! Landlock rulesets (landlock(7)), Linux 5.13: nix and rustix have nothing of them. What is in them the kernel
//! demands of whoever calls landlock_restrict_self(2), which is the child's.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// `LANDLOCK_CREATE_RULESET_VERSION` of linux/landlock.h.
const CREATE_RULESET_VERSION: u32 = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`.
const RULE_PATH_BENEATH: i32 = 1;
/// `LANDLOCK_RULE_NET_PORT`, Linux 6.7.
const RULE_NET_PORT: i32 = 2;

/// What a ruleset forbids unless a rule allows it: `struct landlock_ruleset_attr`, as Linux 6.12 has it. A kernel that
/// knows less of it takes what is zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handled {
    /// `LANDLOCK_ACCESS_FS_*`.
    pub files: u64,
    /// `LANDLOCK_ACCESS_NET_*`, Linux 6.7.
    pub ports: u64,
    /// `LANDLOCK_SCOPE_*`, Linux 6.12: no rule allows what is out of these.
    pub scopes: u64,
}

/// The version of Landlock that the kernel has; 0 where it has none, or has it switched off.
#[must_use]
pub fn version() -> u32 {
    // SAFETY: with this flag the kernel takes no attributes, and none are given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<Handled>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(answer).unwrap_or(0)
}

/// Makes a ruleset; it is close-on-exec.
///
/// # Errors
/// What landlock_create_ruleset(2) says: `EINVAL` or `E2BIG` where the kernel does not know something of it.
pub fn create(handled: &Handled) -> io::Result<OwnedFd> {
    // SAFETY: `handled` is a live reference, and the size is that of what it refers to.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::from_ref(handled),
            size_of::<Handled>(),
            0_u32,
        )
    };
    let fd = RawFd::try_from(answer).ok().filter(|fd| *fd >= 0);
    let fd = fd.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Allows `access`, of `LANDLOCK_ACCESS_FS_*`, to what `path` refers to and what is below it.
///
/// # Errors
/// What landlock_add_rule(2) says.
pub fn allow_path(ruleset: impl AsFd, path: impl AsFd, access: u64) -> io::Result<()> {
    /// `struct landlock_path_beneath_attr`.
    #[repr(C, packed)]
    struct Rule {
        access: u64,
        path: RawFd,
    }
    let rule = Rule { access, path: path.as_fd().as_raw_fd() };
    add(ruleset.as_fd().as_raw_fd(), RULE_PATH_BENEATH, &rule)
}

/// Allows `access`, of `LANDLOCK_ACCESS_NET_*`, to a port. Linux 6.7.
///
/// # Errors
/// What landlock_add_rule(2) says.
pub fn allow_port(ruleset: impl AsFd, port: u16, access: u64) -> io::Result<()> {
    /// `struct landlock_net_port_attr`.
    #[repr(C)]
    struct Rule {
        access: u64,
        port: u64,
    }
    add(ruleset.as_fd().as_raw_fd(), RULE_NET_PORT, &Rule { access, port: u64::from(port) })
}

fn add<T>(ruleset: RawFd, kind: i32, rule: &T) -> io::Result<()> {
    // SAFETY: `rule` is a live reference to what the kernel reads for a rule of this kind.
    let answer = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset, kind, std::ptr::from_ref(rule), 0_u32)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ruleset_has_what_the_version_knows_and_no_more() {
        let version = version();
        let execute = Handled { files: 1, ..Handled::default() };
        let made = create(&execute);
        assert_eq!(made.is_ok(), version > 0);
        let Ok(ruleset) = made else { return };
        let root = std::fs::File::open("/").expect("the root");
        allow_path(&ruleset, &root, 1).expect("it is handled");
        allow_path(&ruleset, &root, 2).expect_err("it is not");
        let unknown = Handled { files: 1 << 63, ..Handled::default() };
        create(&unknown).expect_err("no kernel knows it");
        if version >= 4 {
            let ports = create(&Handled { ports: 1, ..Handled::default() }).expect("version 4");
            allow_port(&ports, 80, 1).expect("it is handled");
        }
    }
}
