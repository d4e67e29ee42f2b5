//! The rule about the file systems by which the kernel is told things.
//!
//! proc is hidden and read-only in parts by path, so a second one is all of it; and what counts in sysfs, and in a cgroup
//! without `nsdelegate`, is the user id, not a capability.

use std::path::Path;

use brig_spec::mount::{Kind, MOUNT_ATTR_RDONLY, MountRequest, Parameter};

use super::{is_on, rule};
use crate::profile::Profile;
use crate::verdict::Verdicts;

pub(super) fn judge(mounts: &mut [MountRequest], profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, kernel_mounts);
    for (index, mount) in mounts.iter_mut().enumerate().filter(|_| is_on(rule)) {
        let kind = match &mount.kind {
            Kind::Filesystem(kind) => Some(kind.as_str()),
            Kind::Remount => None,
            Kind::Bind(_) => continue,
        };
        let place = match kind {
            Some("proc") => Some("/proc"),
            Some("sysfs") => Some("/sys"),
            _ => None,
        };
        if place.is_some_and(|place| mount.destination != Path::new(place)) {
            let asked = format!("a {} at {:?}", kind.unwrap_or_default(), mount.destination);
            verdicts.refuse(rule, format!("mounts[{index}].destination"), asked);
        }
        let is_cleared = (mount.attributes.clear | mount.recursive.clear) & MOUNT_ATTR_RDONLY != 0;
        let is_writable = match kind {
            Some("sysfs" | "cgroup" | "cgroup2") => {
                mount.attributes.set & MOUNT_ATTR_RDONLY == 0 || is_cleared
            }
            Some(_) => false,
            // Of any mount, as a link of the image may lead to one of these.
            None => is_cleared,
        };
        if is_writable && verdicts.limit(rule, format!("mounts[{index}].options"), "rw", "ro") {
            mount.attributes.clear &= !MOUNT_ATTR_RDONLY;
            mount.recursive.clear &= !MOUNT_ATTR_RDONLY;
            if kind.is_some() {
                mount.attributes.set(MOUNT_ATTR_RDONLY);
            }
        }
    }
}

/// The rule about what a process sees of others in proc (proc(5), "Mount options").
pub(super) fn judge_view(mounts: &mut [MountRequest], profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, proc_view);
    let wanted = [
        ("hidepid", "invisible", profile.proc_view.own_processes),
        ("subset", "pid", profile.proc_view.processes_only),
    ];
    for (index, mount) in mounts.iter_mut().enumerate() {
        if !matches!(&mount.kind, Kind::Filesystem(kind) if kind == "proc") {
            continue;
        }
        for (key, value, _) in wanted.iter().filter(|(.., wanted)| wanted.unwrap_or_default()) {
            // Of several the kernel has the last.
            let named = || mount.data.iter().filter(|option| option.key == *key);
            let other = |option: &&Parameter| option.value.as_deref() != Some(value);
            if named().next().is_some() && !named().any(|option| other(&option)) {
                continue;
            }
            let asked = named().find(other).and_then(|option| option.value.as_deref());
            let asked = asked.map_or_else(|| format!("no {key}"), |asked| format!("{key}={asked}"));
            let allowed = format!("{key}={value}");
            if verdicts.limit(rule, format!("mounts[{index}].options"), asked, allowed) {
                mount.data.retain(|option| option.key != *key);
                let (key, value) = ((*key).to_owned(), Some((*value).to_owned()));
                mount.data.push(Parameter { key, value });
            }
        }
    }
}
