//! What the planner is told of the machine: read once, cheaply, and nothing else.
//!
//! Must never change the machine, except that [`EmptyNamespace::open`] keeps one small mount
//! namespace below `/run/brig`.

use std::fs;
use std::os::fd::OwnedFd;

use brig_pseudofs::small_file;
use nix::unistd::geteuid;

use crate::plan::HostFacts;

mod empty_namespace;

pub use empty_namespace::EmptyNamespace;

/// The facts, and the descriptor that belongs to one of them.
#[derive(Debug)]
pub struct Host {
    /// For the planner.
    pub facts: HostFacts,
    /// The kept mount namespace, where there is one.
    pub empty_namespace: Option<OwnedFd>,
}

impl Host {
    /// Looks at the machine.
    #[must_use]
    pub fn read() -> Self {
        let privileged = geteuid().is_root();
        let initial_user_namespace = in_initial_user_namespace();
        let empty_namespace =
            if privileged && initial_user_namespace { EmptyNamespace::open().ok() } else { None };
        let facts = HostFacts {
            privileged,
            initial_user_namespace,
            empty_namespace: empty_namespace.is_some(),
            apparmor: false,
            selinux: false,
        };
        Self { facts, empty_namespace }
    }

    /// Adds what is known of Linux security modules; only containers that ask for one need it.
    #[must_use]
    pub fn with_security_modules(mut self) -> Self {
        let enabled = small_file::read_text("/sys/module/apparmor/parameters/enabled");
        self.facts.apparmor = enabled.is_ok_and(|text| text.starts_with('Y'));
        self.facts.selinux = fs::exists("/sys/fs/selinux/enforce").unwrap_or(false);
        self
    }
}

/// The initial user namespace has a fixed number (linux/proc_ns.h `PROC_USER_INIT_INO`). A kernel
/// without user namespaces has no such link, and no other.
fn in_initial_user_namespace() -> bool {
    match rustix::fs::readlink("/proc/self/ns/user", Vec::with_capacity(32)) {
        Ok(link) => link.as_bytes() == b"user:[4026531837]",
        Err(errno) => errno == rustix::io::Errno::NOENT,
    }
}
