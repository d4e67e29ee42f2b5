//! Namespaces that a container joins by path, against the node's policy.
//!
//! Promises: what is judged is what is joined, the descriptor. The host's are those of brig itself.

use brig_pseudofs::identity::Identity;
use rustix::fs::stat;

use super::Error;
use super::blueprint::Blueprint;
use super::node::Node;
use super::observer::Event;
use crate::execute::Inputs;
use crate::policy;
use crate::spec::{ContainerId, NamespaceType};

/// The names in /proc/PID/ns.
const NAMES: [(NamespaceType, &str); 8] = [
    (NamespaceType::Mount, "mnt"),
    (NamespaceType::Cgroup, "cgroup"),
    (NamespaceType::Uts, "uts"),
    (NamespaceType::Ipc, "ipc"),
    (NamespaceType::User, "user"),
    (NamespaceType::Pid, "pid"),
    (NamespaceType::Network, "net"),
    (NamespaceType::Time, "time"),
];

/// Judges those that are open in `inputs`.
pub(super) fn judge(
    node: &Node,
    id: &ContainerId,
    blueprint: &Blueprint,
    inputs: &Inputs,
) -> Result<(), Error> {
    let profile = &blueprint.config.applied.profile;
    if profile.is_empty() {
        return Ok(());
    }
    for (kind, name) in NAMES {
        let Some(joined) = inputs.namespace(kind.number()) else { continue };
        let own = format!("/proc/self/ns/{name}");
        let failed = |errno| Error::system(format!("looking at {own}"), errno);
        let own = Identity::from(&stat(&*own).map_err(failed)?);
        let is_the_hosts = Identity::of(joined).map_err(failed)? == own;
        let verdicts = policy::judge_joined(kind, is_the_hosts, profile);
        let verdicts = verdicts?;
        if !verdicts.is_empty() {
            node.observer().observe(id, &Event::Judged(&verdicts));
        }
    }
    Ok(())
}
