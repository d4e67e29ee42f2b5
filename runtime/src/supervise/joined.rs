//! Namespaces that a container joins by path or by descriptor, against the node's policy.
//!
//! Promises: what is judged is what is joined, the descriptor. The host's are those of brig itself. The maps of a user
//! namespace are those of a process that is in it and waits.

use brig_pseudofs::small_file;

use super::Error;
use super::blueprint::Blueprint;
use super::node::Node;
use super::observer::Event;
use crate::execute::{Inputs, namespace};
use crate::policy::{self, Verdict};
use crate::spec::{ContainerId, IdMapping, NamespaceType};

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
    let (users, groups) = (map(pid, "uid_map")?, map(pid, "gid_map")?);
    tell(node, id, &policy::judge_joined_maps(linux, [&users, &groups], profile)?);
    Ok(())
}

pub(super) fn tell(node: &Node, id: &ContainerId, verdicts: &[Verdict]) {
    if !verdicts.is_empty() {
        node.observer().observe(id, &Event::Judged(verdicts));
    }
}

/// An id map of the user namespace that a process is in, as brig's own sees it (user_namespaces(7)).
pub(super) fn map(pid: i32, file: &str) -> Result<Vec<IdMapping>, Error> {
    let path = format!("/proc/{pid}/{file}");
    let text = small_file::read_text(&path)
        .map_err(|error| Error::system(format!("reading {path}"), error))?;
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(IdMapping { inside: next()?, outside: next()?, count: next()? })
    };
    let lines: Option<Vec<_>> = text.lines().map(line).collect();
    lines.ok_or_else(|| Error::plain(format!("{path} is not as the kernel writes it: {text:?}")))
}
