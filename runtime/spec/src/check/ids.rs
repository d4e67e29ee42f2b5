//! Mappings of user and group ids, as user_namespaces(7) has them.

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType, Process};

use super::super::error::Error;
use super::has_namespace;

/// `UID_GID_MAP_MAX_EXTENTS`, linux/user_namespace.h (since Linux 4.15).
const EXTENTS_LIMIT: usize = 340;

/// What a write to `uid_map` refuses with EINVAL: empty or overlapping ranges, or past the last id.
pub(super) fn mappings(
    mappings: &[LinuxIdMapping],
    field: impl Fn() -> String,
) -> Result<(), Error> {
    if mappings.len() > EXTENTS_LIMIT {
        return Err(Error::range(field(), format!("{} mappings", mappings.len()), "at most 340"));
    }
    for (index, mapping) in mappings.iter().enumerate() {
        let part = |name: &str| format!("{}[{index}].{name}", field());
        if mapping.size() == 0 {
            return Err(Error::range(part("size"), 0, "at least 1"));
        }
        for (name, first) in
            [("containerID", mapping.container_id()), ("hostID", mapping.host_id())]
        {
            if first.checked_add(mapping.size()).is_none() {
                let what =
                    format!("{first} and {} more go past the last id, 4294967294", mapping.size());
                return Err(Error::conflict(part(name), what));
            }
        }
    }
    disjoint(mappings, "containerID", LinuxIdMapping::container_id, &field)?;
    disjoint(mappings, "hostID", LinuxIdMapping::host_id, &field)
}

fn disjoint(
    mappings: &[LinuxIdMapping],
    name: &str,
    first_of: impl Fn(&LinuxIdMapping) -> u32,
    field: &impl Fn() -> String,
) -> Result<(), Error> {
    let mut ranges: Vec<(u32, u32, usize)> = Vec::with_capacity(mappings.len());
    for (index, mapping) in mappings.iter().enumerate() {
        let first = first_of(mapping);
        ranges.push((first, first.saturating_add(mapping.size()), index));
    }
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        let ((_, end, one), (first, _, other)) = (pair[0], pair[1]);
        if first < end {
            let (earlier, later) = (one.min(other), one.max(other));
            let what = format!("overlaps with that of {}[{earlier}]", field());
            return Err(Error::conflict(format!("{}[{later}].{name}", field()), what));
        }
    }
    Ok(())
}

/// `linux.uidMappings` and `linux.gidMappings` against the user namespace.
pub(super) fn of_namespace(linux: &Linux) -> Result<(), Error> {
    let sides =
        [("linux.uidMappings", linux.uid_mappings()), ("linux.gidMappings", linux.gid_mappings())];
    for (field, list) in sides {
        let list = list.as_deref().unwrap_or_default();
        mappings(list, || field.to_owned())?;
        if !list.is_empty() && !has_namespace(linux, LinuxNamespaceType::User) {
            return Err(Error::conflict(field, "needs a user namespace").with_hint(
                "add {\"type\": \"user\"} to linux.namespaces, or remove the mappings",
            ));
        }
        if list.is_empty() && is_new(linux) {
            return Err(Error::missing(field).with_hint(
                "a new user namespace without mappings has no ids that the process could have",
            ));
        }
    }
    Ok(())
}

/// Whether the container makes its user namespace, in which case its mappings are all there will be.
fn is_new(linux: &Linux) -> bool {
    let mut namespaces = linux.namespaces().iter().flatten();
    namespaces
        .any(|namespace| namespace.typ() == LinuxNamespaceType::User && namespace.path().is_none())
}

/// setresuid(2) and setgroups(2) say only EINVAL when an id is not mapped.
pub(super) fn process_is_mapped(process: &Process, linux: &Linux) -> Result<(), Error> {
    if !is_new(linux) {
        return Ok(());
    }
    let mapped = |id: u32, list: &Option<Vec<LinuxIdMapping>>, field: String, side: &str| {
        let inside =
            |m: &LinuxIdMapping| id.checked_sub(m.container_id()).is_some_and(|off| off < m.size());
        match list.iter().flatten().any(inside) {
            true => Ok(()),
            false => Err(Error::conflict(field, format!("{id} is not mapped in {side}"))
                .with_hint(format!("extend {side} so that it includes {id}"))),
        }
    };
    let user = process.user();
    let (users, groups) = (linux.uid_mappings(), linux.gid_mappings());
    mapped(user.uid(), users, "process.user.uid".to_owned(), "linux.uidMappings")?;
    mapped(user.gid(), groups, "process.user.gid".to_owned(), "linux.gidMappings")?;
    for (index, gid) in user.additional_gids().iter().flatten().enumerate() {
        let field = format!("process.user.additionalGids[{index}]");
        mapped(*gid, groups, field, "linux.gidMappings")?;
    }
    Ok(())
}
