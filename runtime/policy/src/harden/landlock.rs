//! The rule about Landlock: what its ruleset cannot do is recorded, and what it cannot express is done by mounts.
//!
//! Landlock has no exception from what it allows to a directory, so that whatever is mounted below the root would be as
//! executable as the root; and it is asked by execve(2) alone, not when a loader maps a file. `noexec` is asked by both. Of
//! what is only read nobody knows that it is a program: a script by its interpreter, code that a program writes to its own memory.

use brig_spec::mount::{Kind, MOUNT_ATTR_NOEXEC, MountRequest, Scope};
use brig_spec::{Config, NamespaceType};

use super::{Facts, is_on, rule};
use crate::landlock::{has_new_pid_namespace, lacking};
use crate::profile::Profile;
use crate::verdict::{Rule, Verdicts};

/// 2: a file in memory cannot be executed, and none is made that could (Linux 6.3).
pub(super) const NO_PROGRAMS_IN_MEMORY: (&str, &str) = ("vm.memfd_noexec", "2");

pub(super) fn judge(
    config: &mut Config,
    profile: &Profile,
    facts: &Facts,
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, landlock);
    if !is_on(rule) {
        return;
    }
    for (words, is_held_otherwise) in lacking(config, &profile.landlock, facts.landlock) {
        verdicts.lack(rule, "process", words, is_held_otherwise);
    }
    if profile.landlock.exec_only_from_image == Some(true) {
        no_programs(&mut config.mounts, rule, verdicts);
        no_programs_in_memory(config, rule, facts, verdicts);
    }
}

fn no_programs(mounts: &mut [MountRequest], rule: Rule, verdicts: &mut Verdicts) {
    for (index, mount) in mounts.iter_mut().enumerate() {
        let cleared = (mount.attributes.clear | mount.recursive.clear) & MOUNT_ATTR_NOEXEC != 0;
        let is_done = match mount.kind {
            Kind::Bind(Scope::Tree) => mount.recursive.set & MOUNT_ATTR_NOEXEC != 0,
            Kind::Bind(Scope::Mount) | Kind::Filesystem(_) => {
                mount.attributes.set & MOUNT_ATTR_NOEXEC != 0 && !cleared
            }
            // Also the root can be remounted, so that nothing is set here.
            Kind::Remount => !cleared,
        };
        if !is_done && verdicts.limit(rule, format!("mounts[{index}].options"), "exec", "noexec") {
            mount.attributes.clear &= !MOUNT_ATTR_NOEXEC;
            mount.recursive.clear &= !MOUNT_ATTR_NOEXEC;
            if mount.kind != Kind::Remount {
                mount.attributes.set(MOUNT_ATTR_NOEXEC);
            }
            if mount.kind == Kind::Bind(Scope::Tree) {
                mount.recursive.set(MOUNT_ATTR_NOEXEC);
            }
        }
    }
}

/// Written by whoever is in the pid namespace, for all who are.
fn no_programs_in_memory(config: &mut Config, rule: Rule, facts: &Facts, verdicts: &mut Verdicts) {
    let (name, value) = NO_PROGRAMS_IN_MEMORY;
    // The file is the host's root's, whoever made the pid namespace.
    let has_host_root = config.linux.namespace(NamespaceType::User).is_none();
    let why = match (facts.forbids_programs_in_memory, has_new_pid_namespace(config)) {
        (true, _) if !has_host_root => Some("root of a user namespace may not set"),
        (true, true) => None,
        (false, _) => Some("needs Linux 6.3"),
        (true, false) => Some("needs a new pid namespace"),
    };
    let is_done = config.linux.sysctl.get(name).is_some_and(|asked| asked == value);
    if let Some(why) = why {
        verdicts.lack(rule, "linux.sysctl", format!("no {name}, which {why},"), true);
    } else if !is_done && verdicts.limit(rule, "linux.sysctl", format!("no {name}"), value) {
        config.linux.sysctl.insert(name.to_owned(), value.to_owned());
    }
}
