//! Rules about `linux`: namespaces, devices, kernel parameters, where the cgroup is.

use std::path::Path;

use brig_spec::{Device, DeviceRule, DeviceType, Linux, Namespace, NamespaceType, sysctl};

use super::landlock::NO_PROGRAMS_IN_MEMORY;
use super::seccomp::NO_USER_NAMESPACES;
use super::{Facts, is_on, rule};
use crate::profile::Profile;
use crate::value;
use crate::verdict::{Rule, Verdicts};

pub(super) fn judge(linux: &mut Linux, profile: &Profile, facts: &Facts, verdicts: &mut Verdicts) {
    namespaces(linux, profile, verdicts);
    devices(&mut linux.devices, profile, verdicts);
    if let Some(resources) = &mut linux.resources {
        device_rules(&mut resources.devices, profile, verdicts);
    }
    sysctls(linux, profile, verdicts);
    cgroup_parent(linux, profile, facts, verdicts);
}

/// The rule that wants a namespace of this type to be the container's own, if one does.
pub(super) fn private_by(kind: NamespaceType, profile: &Profile) -> Option<Rule> {
    let listed = profile.namespaces.private.iter().flatten().any(|private| *private == kind);
    let rule = match kind {
        _ if listed => rule!(profile, namespaces),
        NamespaceType::Cgroup => rule!(profile, cgroup_namespace),
        _ => return None,
    };
    is_on(rule).then_some(rule)
}

/// A namespace that is not listed is the host's. One that is joined by path is judged when it is opened.
fn namespaces(linux: &mut Linux, profile: &Profile, verdicts: &mut Verdicts) {
    let private = profile.namespaces.private.iter().flatten();
    let cgroup = NamespaceType::Cgroup;
    let all = private.map(|kind| (rule!(profile, namespaces), *kind));
    for (rule, kind) in all.chain([(rule!(profile, cgroup_namespace), cgroup)]) {
        if linux.namespace(kind).is_none() {
            let asked = format!("the host's {} namespace", kind.name());
            if verdicts.limit(rule, "linux.namespaces", asked, "a new one") {
                linux.namespaces.push(Namespace { kind, path: None });
            }
        }
    }
}

/// Those that every container has (config-linux.md "Default Devices", terminals), which no rule takes away. A minor
/// number of none is any.
const USUAL: [(i64, Option<i64>); 8] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (TERMINALS, None),
];

/// The major number of terminals of devpts (Documentation/admin-guide/devices.txt).
const TERMINALS: i64 = 136;

fn is_usual(kind: DeviceType, major: i64, minor: Option<i64>) -> bool {
    kind.file_type() == DeviceType::Char.file_type()
        && USUAL.iter().any(|(usual, of)| *usual == major && (of.is_none() || *of == minor))
}

fn is_allowed(allowed: &[value::Device], kind: DeviceType, major: i64, minor: Option<i64>) -> bool {
    is_usual(kind, major, minor)
        || minor.is_some_and(|minor| allowed.iter().any(|device| device.is(kind, major, minor)))
}

fn devices(devices: &mut Vec<Device>, profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, devices);
    if !is_on(rule) {
        return;
    }
    let allowed = profile.devices.allow.as_deref().unwrap_or_default();
    let mut index = 0;
    devices.retain(|device| {
        let field = format!("linux.devices[{index}]");
        index += 1;
        let Device { path, kind, major, minor, .. } = device;
        let is_node = matches!(kind, DeviceType::Fifo);
        // Terminals are those of the container's own devpts. A node is looked for on the host, where it is another's.
        let is_terminal =
            *major == TERMINALS && !allowed.iter().any(|one| one.is(*kind, *major, *minor));
        if is_node || !is_terminal && is_allowed(allowed, *kind, *major, Some(*minor)) {
            return true;
        }
        let asked = format!("{path} ({major}:{minor})");
        !verdicts.limit(rule, field, asked, "no such device")
    });
}

/// A rule that allows to make nodes alone is harmless: whether they can be opened is asked again then.
fn device_rules(rules: &mut Vec<DeviceRule>, profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, devices);
    if !is_on(rule) {
        return;
    }
    let allowed = profile.devices.allow.as_deref().unwrap_or_default();
    let mut index = 0;
    rules.retain(|entry| {
        let field = format!("linux.resources.devices[{index}]");
        index += 1;
        let makes_nodes_alone = entry.access.as_deref() == Some("m");
        let is_one = match (entry.kind, entry.major) {
            (Some(kind), Some(major @ 0..)) => {
                is_allowed(allowed, kind, major, entry.minor.filter(|minor| *minor >= 0))
            }
            _ => false,
        };
        if !entry.allow || makes_nodes_alone || is_one {
            return true;
        }
        let number = |number: Option<i64>| match number {
            Some(number @ 0..) => number.to_string(),
            _ => "*".to_owned(),
        };
        let asked = format!("devices {}:{}", number(entry.major), number(entry.minor));
        !verdicts.limit(rule, field, asked, "the usual devices")
    });
}

/// A parameter is known by its file, however its name is written.
fn sysctls(linux: &mut Linux, profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, sysctls);
    if !is_on(rule) {
        return;
    }
    let path = |name: &str| sysctl::parse(name).map(|sysctl| sysctl.path).ok();
    let allowed: Vec<String> =
        profile.sysctls.allow.iter().flatten().filter_map(|name| path(name)).collect();
    linux.sysctl.retain(|name, value| {
        let strict = [NO_PROGRAMS_IN_MEMORY, NO_USER_NAMESPACES];
        let is_strict =
            strict.iter().any(|(strict, most)| path(name) == path(strict) && value == most);
        if is_strict || path(name).is_some_and(|path| allowed.contains(&path)) {
            return true;
        }
        let field = format!("linux.sysctl[{name:?}]");
        !verdicts.limit(rule, field, format!("{value:?}"), "the kernel's default")
    });
}

/// `/parent/name`, or with systemd `slice:prefix:name`: whoever makes the cgroup reads it in one way only. Where none is
/// asked for, brig chooses.
fn cgroup_parent(linux: &Linux, profile: &Profile, facts: &Facts, verdicts: &mut Verdicts) {
    let rule = rule!(profile, cgroup_parent);
    if !is_on(rule) {
        return;
    }
    let asked = linux.cgroups_path.as_deref().unwrap_or_default();
    let is_below = |above: &String| match facts.systemd {
        true => asked.split_once(':').is_some_and(|(slice, _)| is_slice_below(slice, above)),
        false => is_path_below(asked, above),
    };
    if !profile.cgroup_parent.allow.iter().flatten().any(is_below) {
        let asked = if asked.is_empty() {
            "the default cgroup path".to_owned()
        } else {
            format!("{asked:?}")
        };
        verdicts.refuse(rule, "linux.cgroupsPath", asked);
    }
}

/// A path that is not absolute begins where brig is.
fn is_path_below(path: &str, above: &str) -> bool {
    let rest = Path::new(path).strip_prefix(above);
    above.starts_with('/') && rest.is_ok_and(|rest| !rest.as_os_str().is_empty())
}

/// A slice's name has those above it in it: kubepods-besteffort.slice is below kubepods.slice.
fn is_slice_below(slice: &str, above: &str) -> bool {
    let (Some(name), Some(above)) = (slice.strip_suffix(".slice"), above.strip_suffix(".slice"))
    else {
        return false;
    };
    name.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}
