//! Who has called brig, as far as it decides what brig may do.
//!
//! Promises: asked of the kernel once, before anything of a container is looked at. What is not known for sure is
//! [`Caller::Root`] or [`Caller::User`], by the user id alone: of root a cgroup with all its limits is demanded,
//! where root of a user namespace may do without. Must never: grant anything. What a caller may do the kernel
//! decides; this says what brig is to try, and which failures it has to expect.
//! Reference: user_namespaces(7).

use std::sync::OnceLock;

use brig_pseudofs::small_file;
use rustix::process::geteuid;

/// Who has called brig.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Root of the machine: user 0 in the initial user namespace.
    Root,
    /// User 0 in another user namespace, such as rootless Podman's or `unshare --map-root-user`. It has all
    /// capabilities over what belongs to that namespace: its mounts and ids, and no device. Whether it may write a
    /// cgroup depends on whose that is.
    RootOfUserNamespace,
    /// Anybody else: needs a user namespace for a container.
    User,
}

impl Caller {
    /// Who has called this brig.
    #[must_use]
    pub fn get() -> Self {
        static CALLER: OnceLock<Caller> = OnceLock::new();
        *CALLER.get_or_init(|| match (geteuid().is_root(), in_initial_user_namespace()) {
            (false, _) => Self::User,
            (true, true) => Self::Root,
            (true, false) => Self::RootOfUserNamespace,
        })
    }

    /// User 0 in a user namespace, whichever: it has the capabilities for all that belongs to that namespace.
    #[must_use]
    pub const fn is_root(self) -> bool {
        matches!(self, Self::Root | Self::RootOfUserNamespace)
    }

    /// Whether brig may call setgroups(2) itself: not in a user namespace that an ordinary user has made with a
    /// map of one group, nor below such a one.
    pub(crate) fn may_set_groups(self) -> bool {
        self != Self::RootOfUserNamespace
            || small_file::read_text("/proc/self/setgroups")
                .is_ok_and(|text| text.trim() == "allow")
    }
}

/// The initial user namespace has a fixed number (linux/proc_ns.h `PROC_USER_INIT_INO`). A kernel without user
/// namespaces has no such link, and no other; the same is seen where no procfs is mounted, where brig is as strict as
/// for root, and fails.
fn in_initial_user_namespace() -> bool {
    match rustix::fs::readlink("/proc/self/ns/user", Vec::with_capacity(32)) {
        Ok(link) => link.as_bytes() == b"user:[4026531837]",
        Err(_) => true,
    }
}
