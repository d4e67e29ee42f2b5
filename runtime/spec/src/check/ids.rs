//! Mappings of user and group ids, as user_namespaces(7) has them.

use super::super::error::Error;
use super::super::model::{IdMapping, Linux, NamespaceType, Process};

/// `UID_GID_MAP_MAX_EXTENTS`, linux/user_namespace.h (since Linux 4.15).
const EXTENTS_LIMIT: usize = 340;

/// What a write to `uid_map` refuses with EINVAL: empty or overlapping ranges, or past the last id.
pub(super) fn mappings(mappings: &[IdMapping], field: impl Fn() -> String) -> Result<(), Error> {
    if mappings.len() > EXTENTS_LIMIT {
        return Err(Error::range(field(), format!("{} mappings", mappings.len()), "at most 340"));
    }
    for (index, mapping) in mappings.iter().enumerate() {
        let part = |name: &str| format!("{}[{index}].{name}", field());
        if mapping.count == 0 {
            return Err(Error::range(part("size"), 0, "at least 1"));
        }
        for (name, first) in [("containerID", mapping.inside), ("hostID", mapping.outside)] {
            if first.checked_add(mapping.count).is_none() {
                let what =
                    format!("{first} and size {} exceed the last id, 4294967294", mapping.count);
                return Err(Error::conflict(part(name), what)
                    .with_hint("lower the size or the first id of the mapping"));
            }
        }
    }
    disjoint(mappings, "containerID", |mapping| mapping.inside, &field)?;
    disjoint(mappings, "hostID", |mapping| mapping.outside, &field)
}

fn disjoint(
    mappings: &[IdMapping],
    name: &str,
    first_of: impl Fn(&IdMapping) -> u32,
    field: &impl Fn() -> String,
) -> Result<(), Error> {
    let mut ranges: Vec<(u32, u32, usize)> = Vec::with_capacity(mappings.len());
    for (index, mapping) in mappings.iter().enumerate() {
        let first = first_of(mapping);
        ranges.push((first, first.saturating_add(mapping.count), index));
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
        [("linux.uidMappings", &linux.uid_mappings), ("linux.gidMappings", &linux.gid_mappings)];
    for (field, list) in sides {
        mappings(list, || field.to_owned())?;
        if !list.is_empty() && linux.namespace(NamespaceType::User).is_none() {
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
    linux.namespace(NamespaceType::User).is_some_and(|namespace| namespace.path.is_none())
}

/// setresuid(2) and setgroups(2) say only EINVAL when an id is not mapped.
pub(super) fn process_is_mapped(process: &Process, linux: &Linux) -> Result<(), Error> {
    if !is_new(linux) {
        return Ok(());
    }
    let mapped = |id: u32, list: &[IdMapping], field: String, side: &str| {
        let inside = |m: &IdMapping| id.checked_sub(m.inside).is_some_and(|off| off < m.count);
        match list.iter().any(inside) {
            true => Ok(()),
            false => Err(Error::conflict(field, format!("{id} is not mapped in {side}"))
                .with_hint(format!("extend {side} so that it includes {id}"))),
        }
    };
    let user = &process.user;
    let (users, groups) = (&linux.uid_mappings, &linux.gid_mappings);
    mapped(user.uid, users, "process.user.uid".to_owned(), "linux.uidMappings")?;
    mapped(user.gid, groups, "process.user.gid".to_owned(), "linux.gidMappings")?;
    for (index, gid) in user.additional_gids.iter().enumerate() {
        let field = format!("process.user.additionalGids[{index}]");
        mapped(*gid, groups, field, "linux.gidMappings")?;
    }
    Ok(())
}
