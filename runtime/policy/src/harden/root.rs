//! Rules about what the container sees of files: its root, its mounts, what is hidden.

use std::path::Path;

use brig_spec::Config;
use brig_spec::mount::{
    Attributes, CopyUp, Kind, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MountRequest,
    Parameter, Propagation, Scope, Turn,
};

use super::{is_on, rule};
use crate::chosen::ChosenProfile;
use crate::profile::{Mode, MountFlags, Profile};
use crate::verdict::Verdicts;

pub(super) fn judge(config: &mut Config, profile: &Profile, verdicts: &mut Verdicts) {
    mount_types(&config.mounts, profile, verdicts);
    mount_flags(&mut config.mounts, profile, verdicts);
    propagation(config, profile, verdicts);
    read_only(config, profile, verdicts);
    for (rule, field, added, paths) in [
        (
            rule!(profile, masked_paths),
            "linux.maskedPaths",
            &profile.masked_paths.paths,
            &mut config.linux.masked_paths,
        ),
        (
            rule!(profile, read_only_paths),
            "linux.readonlyPaths",
            &profile.read_only_paths.paths,
            &mut config.linux.readonly_paths,
        ),
    ] {
        for path in added.iter().flatten().filter(|_| is_on(rule)) {
            if !paths.contains(path) && verdicts.limit(rule, field, format!("no {path}"), path) {
                paths.push(path.clone());
            }
        }
    }
}

fn mount_types(mounts: &[MountRequest], profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, mount_types);
    let allowed = profile.mount_types.allow.as_deref().unwrap_or_default();
    for (index, mount) in mounts.iter().enumerate().filter(|_| is_on(rule)) {
        let name = match &mount.kind {
            Kind::Bind(_) => "bind",
            Kind::Filesystem(name) => name,
            // Changes attributes of what is there.
            Kind::Remount => continue,
        };
        if !allowed.iter().any(|allowed| allowed == name) {
            verdicts.refuse(rule, format!("mounts[{index}].type"), format!("{name:?}"));
        }
    }
}

/// The attributes of the root itself: images have set-user-id programs, and some have devices.
#[must_use]
pub fn root_attributes(profile: &ChosenProfile) -> u64 {
    let is_held = |rule: &MountFlags| {
        let except = rule.except.as_deref().unwrap_or_default();
        rule.mode.unwrap_or_default() >= Mode::Enforce && !except.iter().any(|path| path == "/")
    };
    let is_held = profile.sets().any(|set| is_held(&set.rules.mount_flags));
    if is_held { MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV } else { 0 }
}

fn mount_flags(mounts: &mut [MountRequest], profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, mount_flags);
    let excepted = profile.mount_flags.except.as_deref().unwrap_or_default();
    for (index, mount) in mounts.iter_mut().enumerate().filter(|_| is_on(rule)) {
        if excepted.iter().any(|except| Path::new(except) == mount.destination) {
            continue;
        }
        // Brig's own devices are there, and the rules about devices say which.
        let has_devices = match &mount.kind {
            Kind::Filesystem(kind) if kind == "devpts" => true,
            Kind::Filesystem(kind) => kind == "tmpfs" && mount.destination == Path::new("/dev"),
            Kind::Bind(_) | Kind::Remount => false,
        };
        let wanted =
            if has_devices { MOUNT_ATTR_NOSUID } else { MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
        let is_tree = matches!(mount.kind, Kind::Bind(Scope::Tree));
        let has = |attributes: Attributes| attributes.set & wanted == wanted;
        let is_undone = mount.recursive.clear & wanted != 0;
        let is_done =
            if is_tree { has(mount.recursive) } else { has(mount.attributes) && !is_undone };
        let missing = if has_devices { "nosuid" } else { "nosuid, nodev" };
        if !is_done && verdicts.limit(rule, format!("mounts[{index}].options"), "less", missing) {
            mount.attributes.set(wanted);
            mount.recursive.clear &= !wanted;
            if is_tree {
                mount.recursive.set(wanted);
            }
        }
    }
}

fn propagation(config: &mut Config, profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, mount_propagation);
    for (index, mount) in config.mounts.iter_mut().enumerate() {
        let is_shared = |(how, _): &(Propagation, Scope)| *how == Propagation::Shared;
        if mount.propagation.iter().any(is_shared) {
            let field = format!("mounts[{index}].options");
            if verdicts.limit(rule, field, "shared", "slave") {
                for (how, _) in &mut mount.propagation {
                    if *how == Propagation::Shared {
                        *how = Propagation::Slave;
                    }
                }
            }
        }
    }
}

/// The root, and where the program may write all the same.
fn read_only(config: &mut Config, profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, read_only_root);
    if !is_on(rule) || config.root.readonly {
        return;
    }
    let places = profile.read_only_root.tmpfs.as_deref().unwrap_or_default();
    let allowed = match places {
        [] => "true".to_owned(),
        places => format!("true, and a tmpfs at {}", places.join(", ")),
    };
    if !verdicts.limit(rule, "root.readonly", "false", allowed) {
        return;
    }
    config.root.readonly = true;
    let size = profile.read_only_root.size.unwrap_or_default().0;
    for place in places.iter().map(Path::new) {
        // Mounts below it are attached on it: engines put files into /run.
        if !config.mounts.iter().any(|mount| place.starts_with(&mount.destination)) {
            config.mounts.push(tmpfs(place, size));
        }
    }
}

fn tmpfs(place: &Path, size: i64) -> MountRequest {
    let parameter =
        |key: &str, value: String| Parameter { key: key.to_owned(), value: Some(value) };
    MountRequest {
        destination: place.to_owned(),
        kind: Kind::Filesystem("tmpfs".to_owned()),
        source: Some("tmpfs".into()),
        attributes: Attributes {
            set: MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
            clear: 0,
        },
        recursive: Attributes::default(),
        propagation: Vec::new(),
        idmap: None,
        copy_up: CopyUp::No,
        superblock: Vec::new(),
        data: vec![parameter("mode", "1777".to_owned()), parameter("size", size.to_string())],
        turn: Turn::First,
    }
}
