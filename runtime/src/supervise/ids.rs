//! Which ids a container has that gets a user namespace because the node says so: those of its pod, or a range of its own.
//!
//! A container is of the pod of which it joins namespaces that belong to a user namespace of the node's pool: the kernel
//! says whose they are, and nothing that is written in config.json. In another user namespace it would have no rights over
//! what it joins. Who joins namespaces of the host, or of a user namespace that others have made, is by itself.
//!
//! Promises: a range is claimed before the container is judged by it, and given back when that comes to nothing. Must never
//! look at annotations, ids or names.
//! Reference: ioctl_nsfs(2) `NS_GET_USERNS`, user_namespaces(7) "Interaction of user namespaces and other types of
//! namespaces".

use std::ffi::CString;
use std::path::Path;

use brig_pseudofs::identity::Identity;
use brig_sys::process::namespace_owner;
use rustix::fs::stat;

use super::blueprint::Blueprint;
use super::remap::{RemapRoot, Unmappable};
use super::{Error, remap};
use crate::execute::namespace;
use crate::id_pool::{IdClaim, IdClaims};
use crate::node_policy;
use crate::policy::value::{self, MappedRoot};
use crate::policy::{
    Applied, ChosenProfile, IdPool, Mode, NodePolicy, Outcome, RANGE_IDS, Remap, Remapping,
    wants_range,
};
use crate::spec::{Config, IdMapping, NamespaceType};

/// How the ids of a container are chosen that asks for this.
pub(super) type Chosen = fn(&Config, &NodePolicy) -> Result<(Remap, Option<IdClaim>), Error>;

/// What is claimed for it, where it gets ids.
pub(super) fn claim(config: &Config, node: &NodePolicy) -> Result<(Remap, Option<IdClaim>), Error> {
    if !wants_range(config, &node.profile, &node.facts) {
        return Ok((node.facts.remap.clone(), None));
    }
    let (claims, pool) = (IdClaims::open()?, &node.facts.pool);
    if let Some(pod) = Pod::joined_by(config, pool)? {
        let claim =
            claims.share(pod.range, || range_of_process(pod.pid, pool) == Some(pod.range))?;
        if let Some(claim) = claim {
            let path = format!("/proc/{}/ns/user", pod.pid);
            return Ok((Remap::Pod { first: claim.first(), path }, Some(claim)));
        }
    }
    let claim = claims.claim(pool)?;
    Ok((Remap::Range(claim.first()), Some(claim)))
}

/// What could be claimed for it.
pub(super) fn example(
    config: &Config,
    node: &NodePolicy,
) -> Result<(Remap, Option<IdClaim>), Error> {
    let pool = &node.facts.pool;
    let remap = match wants_range(config, &node.profile, &node.facts) {
        true => Remap::Range(pool.ranges().start * RANGE_IDS),
        false => node.facts.remap.clone(),
    };
    Ok((remap, None))
}

/// Lets the container's files have its ids, where the node's policy has given it some; the answer is whether its root can.
pub(super) fn map_files(blueprint: &mut Blueprint) -> Result<Result<(), Error>, Error> {
    let Applied { profile, verdicts } = &blueprint.config.applied;
    let is_given = verdicts
        .iter()
        .any(|verdict| verdict.rule == "remapping" && verdict.outcome == Outcome::Limited);
    if !is_given {
        return Ok(Ok(()));
    }
    let wanted = wanted(profile, remap::is_overlay(&blueprint.root));
    blueprint.map_files(&wanted)
}

/// What becomes of the files: the strictest that a set of rules which gives ids says.
fn wanted(profile: &ChosenProfile, is_overlay: bool) -> remap::Remap {
    let rules = profile.sets().map(|set| &set.rules.remapping);
    let mut rules = rules.filter(|rule| rule.mode >= Some(Mode::Enforce));
    let is_ephemeral = |rule: &Remapping| rule.root == Some(MappedRoot::Ephemeral);
    let root = if !is_overlay {
        RemapRoot::InPlace
    } else if rules.clone().all(is_ephemeral) {
        let sizes = rules.clone().filter_map(|rule| u64::try_from(rule.size?.0).ok());
        // None, like 0 for a tmpfs, is no limit.
        let size_bytes = sizes.filter(|size| *size > 0).min().unwrap_or_default();
        RemapRoot::Ephemeral { size_bytes }
    } else {
        RemapRoot::ReadOnly
    };
    let unmappable = match rules.all(|rule| rule.unmappable == Some(value::Unmappable::ReadOnly)) {
        true => Unmappable::ReadOnly,
        false => Unmappable::Refuse,
    };
    remap::Remap { root, unmappable }
}

/// A remapped container whose namespaces are joined.
#[derive(Debug, PartialEq, Eq)]
struct Pod {
    /// A process of it.
    pid: i32,
    range: u32,
}

impl Pod {
    /// The one whose namespaces `config` joins, if these are of one alone.
    fn joined_by(config: &Config, pool: &IdPool) -> Result<Option<Self>, Error> {
        let mut found = None;
        for namespace in &config.linux.namespaces {
            let Some(path) = namespace.path.as_deref() else { continue };
            let Some(pod) = Self::of(namespace.kind, path, pool)? else { continue };
            match &found {
                Some(other) if *other != pod => return Ok(None),
                _ => found = Some(pod),
            }
        }
        Ok(found)
    }

    /// Whose a namespace is.
    fn of(kind: NamespaceType, path: &str, pool: &IdPool) -> Result<Option<Self>, Error> {
        let failed = |error| Error::system(format!("looking at whose {path} is"), error);
        let Ok(name) = CString::new(path) else { return Ok(None) };
        let opened = namespace::open(&name, kind.number(), "linux.namespaces")?;
        let owner = namespace_owner(&opened).map_err(failed)?;
        let owner = Identity::of(&owner).map_err(|errno| failed(errno.into()))?;
        // Only a process leads to it: a namespace that is kept by a file has none that could be asked for its maps.
        let Some(pid) = process(path) else { return Ok(None) };
        let user = stat(format!("/proc/{pid}/ns/user"));
        if !user.is_ok_and(|stat| Identity::from(&stat) == owner) {
            return Ok(None);
        }
        Ok(range_of_process(pid, pool).map(|range| Self { pid, range }))
    }
}

/// The range of the pool that a process has; none where it has ended.
fn range_of_process(pid: i32, pool: &IdPool) -> Option<u32> {
    let process = pid.to_string();
    let map = |file| node_policy::id_map(&process, file).ok();
    let (users, groups) = (map("uid_map")?, map("gid_map")?);
    match (&*users, &*groups) {
        ([line], [other]) if line == other => range_of(line, pool),
        _ => None,
    }
}

/// The range of the pool that is all of a map.
fn range_of(line: &IdMapping, pool: &IdPool) -> Option<u32> {
    let range = line.outside / RANGE_IDS;
    let is_whole = *line == IdMapping { inside: 0, outside: range * RANGE_IDS, count: RANGE_IDS };
    (is_whole && pool.ranges().contains(&range)).then_some(range)
}

/// The process of `/proc/PID/ns/NAME`.
fn process(path: &str) -> Option<i32> {
    let mut parts = Path::new(path).strip_prefix("/proc").ok()?.iter();
    let pid = parts.next()?.to_str()?.parse().ok().filter(|pid| *pid > 0)?;
    (parts.next()? == "ns").then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_directory() {
        assert_eq!(process("/proc/17/ns/ipc"), Some(17));
        for path in [
            "/proc/self/ns/ipc",
            "/proc/0/ns/ipc",
            "/proc/-1/ns/x",
            "/proc/5/task/5/ns/ipc",
            "/run/netns/a",
            "x",
        ] {
            assert_eq!(process(path), None, "{path}");
        }
    }

    #[test]
    fn a_map_is_a_range_or_it_is_not() {
        let pool = IdPool::new(2 * RANGE_IDS, 2 * RANGE_IDS).expect("a pool");
        let line = |inside, outside, count| range_of(&IdMapping { inside, outside, count }, &pool);
        assert_eq!(line(0, 3 * RANGE_IDS, RANGE_IDS), Some(3));
        for (inside, outside, count) in [
            (0, RANGE_IDS, RANGE_IDS),
            (0, 4 * RANGE_IDS, RANGE_IDS),
            (1, 3 * RANGE_IDS, RANGE_IDS),
            (0, 3 * RANGE_IDS, RANGE_IDS - 1),
            (0, 3 * RANGE_IDS + 1, RANGE_IDS),
        ] {
            assert_eq!(line(inside, outside, count), None, "{inside} {outside} {count}");
        }
    }

    #[test]
    fn namespaces_of_the_host_are_no_pods() {
        let pool = IdPool::default();
        let pid = std::process::id();
        let own = Pod::of(NamespaceType::Ipc, &format!("/proc/{pid}/ns/ipc"), &pool);
        assert_eq!(own.expect("it can be looked at"), None);
    }
}
