//! What the planner is told of the machine: read once, cheaply, and nothing else.
//!
//! Must never change the machine, except that [`EmptyNamespace::open`] keeps one small mount
//! namespace below `/run/brig`.

use std::fs;
use std::os::fd::OwnedFd;

use brig_pseudofs::small_file;
use rustix::process::{Resource, Rlimit, getrlimit};

use crate::caller::Caller;
use crate::plan::HostFacts;
use crate::policy::Modules;
use crate::spec::{Config, Namespace, NamespaceType, Process};

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
    /// Looks at the machine, for a process that is to be like this one.
    #[must_use]
    pub fn read(process: &Process) -> Self {
        let caller = Caller::get();
        let empty_namespace =
            if caller == Caller::Root { EmptyNamespace::open().ok() } else { None };
        let facts = HostFacts {
            caller,
            setgroups: caller.may_set_groups(),
            empty_namespace: empty_namespace.is_some(),
            apparmor: false,
            selinux: false,
            own_pid_max: false,
            detached_layers: false,
            no_new_privileges: process.no_new_privileges
                || rustix::thread::no_new_privs() != Ok(false),
            descriptors: None,
        };
        Self { facts, empty_namespace }
    }

    /// Adds what is known of Linux security modules; only containers that ask for one need it.
    #[must_use]
    pub fn with_security_modules(mut self) -> Self {
        let Modules { apparmor, selinux } = security_modules();
        (self.facts.apparmor, self.facts.selinux) = (apparmor, selinux);
        self
    }

    /// Adds how many descriptors the caller may have; only containers with many mounts need it.
    #[must_use]
    pub fn with_descriptors(mut self) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let (soft, hard) = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
        self.facts.descriptors = Some((soft, hard));
        self
    }

    /// Adds what is known of the kernel's version; only containers that set `kernel.pid_max`, or whose root is made of layers,
    /// need it.
    #[must_use]
    pub fn with_kernel(mut self) -> Self {
        let release = rustix::system::uname();
        let is_since =
            |version| release.release().to_str().is_ok_and(|release| is_since(release, version));
        self.facts.own_pid_max = is_since(OWN_PID_MAX);
        self.facts.detached_layers = is_since(DETACHED_LAYERS);
        self
    }
}

/// The permitted and the inheritable capabilities that brig has for the processes of a container, which are all that it
/// can grant; `None` where that is all there are, as in a user namespace that is not brig's (user_namespaces(7)).
pub fn own_capabilities(container: &Config) -> Option<(u64, u64)> {
    let is_user = |namespace: &Namespace| namespace.kind == NamespaceType::User;
    if container.linux.namespaces.iter().any(is_user) {
        return None;
    }
    let own = rustix::thread::capabilities(None).ok()?;
    Some((own.permitted.bits(), own.inheritable.bits()))
}

/// Linux 6.14: `kernel.pid_max` is a pid namespace's own.
const OWN_PID_MAX: (u32, u32) = (6, 14);
/// Linux 6.15: overlayfs takes a detached mount as a layer.
const DETACHED_LAYERS: (u32, u32) = (6, 15);

/// Whether a kernel has what came with `version`. One that has it from elsewhere is taken for an older one, which is safe.
fn is_since(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= version,
        _ => false,
    }
}

/// The Linux security modules here that confine processes by a label.
#[must_use]
pub fn security_modules() -> Modules {
    let enabled = small_file::read_text("/sys/module/apparmor/parameters/enabled");
    Modules {
        apparmor: enabled.is_ok_and(|text| text.starts_with('Y')),
        selinux: fs::exists("/sys/fs/selinux/enforce").unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use super::{OWN_PID_MAX, is_since};

    #[test]
    fn the_largest_pid_is_a_namespaces_own_since_6_14() {
        for newer in ["6.14.0", "6.14-rc1", "6.18.44-generic", "7.0.1", "10.1"] {
            assert!(is_since(newer, OWN_PID_MAX), "{newer}");
        }
        for older in ["6.13.9", "5.15.0-91-generic", "6.1", "6", "", "x.y", "v6.14"] {
            assert!(!is_since(older, OWN_PID_MAX), "{older}");
        }
    }
}
