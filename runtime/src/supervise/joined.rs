//! Namespaces that a container joins by path or by descriptor, against the node's policy.
//!
//! Promises: what is judged is what is joined, the descriptor. The host's are those of brig itself. The maps of a user
//! namespace are those of a process that is in it and waits.

use super::Error;
use super::blueprint::Blueprint;
use super::node::Node;
use super::observer::Event;
use crate::execute::{Inputs, namespace};
use crate::node_policy;
use crate::policy::{self, Verdict};
use crate::spec::{ContainerId, NamespaceType};

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
    for kind in blueprint.linux().namespaces.iter().map(|entry| entry.kind) {
        let Some(joined) = inputs.namespace(kind.number()) else { continue };
        let is_the_hosts = namespace::is_own(joined, kind.number()).map_err(|errno| {
            Error::system(format!("looking at {}", namespace::own_path(kind.number())), errno)
        })?;
        let verdicts = policy::judge_joined(kind, is_the_hosts, profile);
        tell(node, id, &verdicts?);
    }
    Ok(())
}

/// Judges the maps of the user namespace, where it is joined by path: process `pid` of the container is in it.
pub(super) fn judge_maps(
    node: &Node,
    id: &ContainerId,
    blueprint: &Blueprint,
    pid: i32,
) -> Result<(), Error> {
    let profile = &blueprint.config.applied.profile;
    let linux = blueprint.linux();
    let user = linux.namespace(NamespaceType::User);
    if profile.is_empty() || user.is_none_or(|namespace| namespace.path.is_none()) {
        return Ok(());
    }
    let process = pid.to_string();
    let map = |file| node_policy::id_map(&process, file);
    let (users, groups) = (map("uid_map")?, map("gid_map")?);
    let caller = node_policy::caller(profile)?;
    tell(node, id, &policy::judge_joined_maps(linux, [&users, &groups], profile, &caller)?);
    Ok(())
}

pub(super) fn tell(node: &Node, id: &ContainerId, verdicts: &[Verdict]) {
    if !verdicts.is_empty() {
        node.observer().observe(id, &Event::Judged(verdicts));
    }
}
