//! The rule about the file systems by which the kernel is told things.
//!
//! proc is hidden and read-only in parts by path, so a second one is all of it; and what counts in sysfs, and in a cgroup
//! without `nsdelegate`, is the user id, not a capability.

use std::path::Path;

use brig_spec::mount::{Kind, MOUNT_ATTR_RDONLY, MountRequest};

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
