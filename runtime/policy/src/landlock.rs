//! The Landlock ruleset that the rule `landlock` comes to, as numbers of linux/landlock.h.
//!
//! Promises: it depends on what holds for the container, the rule, and the version that the kernel has, and on nothing
//! else, so that it is made again for every further process. What this version lacks is left out here; [`lacking`] says so.

use brig_spec::mount::{Kind, MOUNT_ATTR_RDONLY, MountRequest};
use brig_spec::{Config, NamespaceType};

use crate::profile::{Landlock, Mode, Profile};
use crate::value::{Only, Scope};

/// What writes, makes or removes, of version 1: `WRITE_FILE`, and `REMOVE_DIR` to `MAKE_SYM`.
const WRITE: u64 = 1 << 1 | 0x1ff << 4;
/// `REFER`: moving from one directory to another, which version 1 forbids everywhere.
const REFER: u64 = 1 << 13;
/// `TRUNCATE`, version 3.
const TRUNCATE: u64 = 1 << 14;
/// `IOCTL_DEV`, version 5.
const IOCTL_DEV: u64 = 1 << 15;
/// `RESOLVE_UNIX`, version 9: a socket that a process outside has made is connected to.
const RESOLVE_UNIX: u64 = 1 << 16;
/// The rights that a file has which is no directory, of those above.
pub const OF_FILE: u64 = 1 << 1 | TRUNCATE | IOCTL_DEV | RESOLVE_UNIX;

/// The versions that brought the parts.
const FILES: u32 = 2;
const TCP: u32 = 4;
const SCOPES: u32 = 6;
const SOCKETS: u32 = 9;
const UDP: u32 = 10;

/// What is handled, and what of it is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// `LANDLOCK_ACCESS_FS_*`.
    pub files: u64,
    /// `LANDLOCK_ACCESS_NET_*`.
    pub ports: u64,
    /// `LANDLOCK_SCOPE_*`.
    pub scopes: u64,
    /// Ports, and what may be done with each.
    pub allowed_ports: Vec<(u16, u64)>,
    /// Paths of the container, what may be done at each, and whether it may be missing.
    pub paths: Vec<(String, u64, bool)>,
}

/// The ruleset of a container; none where the rule is not enforced, or nothing is left of it.
#[must_use]
pub fn ruleset(config: &Config, profile: &Profile, version: u32) -> Option<Ruleset> {
    let rule = &profile.landlock;
    if rule.mode.unwrap_or_default() < Mode::Enforce {
        return None;
    }
    let mut ruleset = Ruleset::default();
    if has_files(config, rule) && version >= FILES {
        ruleset.files |= WRITE | REFER;
        ruleset.files |= if version >= 3 { TRUNCATE } else { 0 };
        ruleset.files |= if version >= 5 { IOCTL_DEV } else { 0 };
        let writable = writable(config).into_iter();
        ruleset.paths.extend(writable.map(|path| (path, ruleset.files, false)));
    }
    if let (Some(Only::These(paths)), SOCKETS..) = (&rule.sockets, version) {
        ruleset.files |= RESOLVE_UNIX;
        ruleset.paths.extend(paths.iter().map(|path| (path.clone(), RESOLVE_UNIX, true)));
    }
    for (bit, ports, since) in ports(rule) {
        if let (Some(Only::These(ports)), true) = (ports, version >= since) {
            ruleset.ports |= bit;
            ruleset.allowed_ports.extend(ports.iter().map(|port| (*port, bit)));
        }
    }
    if version >= SCOPES {
        ruleset.scopes = rule.scopes.iter().flatten().fold(0, |all, scope| all | scope.bit());
    }
    let Ruleset { files, ports, scopes, .. } = ruleset;
    (files | ports | scopes != 0).then_some(ruleset)
}

/// `BIND_TCP`, `CONNECT_TCP`, `BIND_UDP`, `CONNECT_SEND_UDP`.
fn ports(rule: &Landlock) -> [(u64, Option<&Only<u16>>, u32); 4] {
    [
        (1 << 0, rule.tcp_bind.as_ref(), TCP),
        (1 << 1, rule.tcp_connect.as_ref(), TCP),
        (1 << 2, rule.udp_bind.as_ref(), UDP),
        (1 << 3, rule.udp_connect.as_ref(), UDP),
    ]
}

/// Where the root can be written to there is nothing to keep.
fn has_files(config: &Config, rule: &Landlock) -> bool {
    rule.files == Some(true) && config.root.readonly
}

/// The mounts that can be written to, and brig's devices. What is mounted over one of them later, and is read-only, stays
/// read-only.
fn writable(config: &Config) -> Vec<String> {
    let is_writable = |mount: &&MountRequest| match mount.kind {
        Kind::Bind(_) | Kind::Filesystem(_) => !mount.is_read_only(),
        // The root is made read-only after this.
        Kind::Remount => {
            let cleared = (mount.attributes.clear | mount.recursive.clear) & MOUNT_ATTR_RDONLY;
            cleared != 0 && mount.destination.components().count() > 1
        }
    };
    let mounts = config.mounts.iter().filter(is_writable);
    let mounts = mounts.map(|mount| mount.destination.to_string_lossy().into_owned());
    let devices = config.linux.devices.iter().map(|device| device.path.clone());
    let devices = devices.filter(|path| !path.starts_with("/dev/"));
    let mut paths: Vec<String> =
        ["/dev".to_owned()].into_iter().chain(mounts).chain(devices).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// What the rule has and this version of Landlock, 0 for none, cannot do: in words, and whether something else does it.
pub(crate) fn lacking(config: &Config, rule: &Landlock, version: u32) -> Vec<(String, bool)> {
    let has = |only: Option<bool>| only == Some(true);
    let these = |ports: &Option<Only<u16>>| ports.as_ref().map(Only::is_these);
    let tcp = has(these(&rule.tcp_bind)) || has(these(&rule.tcp_connect));
    let udp = has(these(&rule.udp_bind)) || has(these(&rule.udp_connect));
    let parts = [
        (has_files(config, rule), FILES, "files", true),
        (rule.scopes.iter().flatten().count() > 0, SCOPES, "scopes", true),
        (tcp, TCP, "TCP ports", false),
        (has(rule.sockets.as_ref().map(Only::is_these)), SOCKETS, "sockets", false),
        (udp, UDP, "UDP ports", false),
    ];
    let lacks = parts.into_iter().filter(|(asked, since, ..)| *asked && version < *since);
    lacks
        .map(|(_, since, what, held)| {
            let words =
                format!("no limit of {what} (the kernel has Landlock {version}, not {since})");
            (words, held)
        })
        .collect()
}

/// Whether the container's pid namespace is one that is made for it.
pub(crate) fn has_new_pid_namespace(config: &Config) -> bool {
    let pid = config.linux.namespace(NamespaceType::Pid);
    pid.is_some_and(|namespace| namespace.path.is_none())
}

impl Scope {
    fn bit(self) -> u64 {
        match self {
            Self::AbstractSockets => 1 << 0,
            Self::Signals => 1 << 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use brig_spec::Asked;
    use serde_json::{Value, json};

    use super::*;
    use crate::Policy;

    /// What holds for a container with these mounts, by a rule of these values.
    fn of(values: &str, readonly: bool, mounts: &Value, version: u32) -> Option<Ruleset> {
        let text = format!(
            "version = 1\ndefault = \"it\"\n[profile.it]\nextends = \"baseline\"\nlandlock = {{ mode = \"enforce\", {values} }}\n"
        );
        let profile = Policy::read(&text).expect("a policy").profile(None).expect("a profile");
        let config = json!({"ociVersion": "1.2.0", "root": {"path": "rootfs", "readonly": readonly},
            "process": {"cwd": "/", "args": ["a"], "user": {"uid": 0, "gid": 0}}, "mounts": mounts});
        let asked = Asked::read(config.to_string().as_bytes()).expect("a configuration");
        ruleset(&asked.into_config(), profile.rules(), version)
    }

    #[test]
    fn each_version_handles_what_it_knows() {
        let files = |version| of("files = true", true, &json!([]), version).map(|it| it.files);
        assert_eq!([0, 1].map(files), [None, None]);
        assert_eq!([2, 3, 4, 5, 99].map(files), [0x3ff2, 0x7ff2, 0x7ff2, 0xfff2, 0xfff2].map(Some));
        let all = "files = false, scopes = [\"signals\", \"abstract-sockets\"], sockets = [\"/run\"], \
                   tcp_bind = [], tcp_connect = [1, 2], udp_bind = [3], udp_connect = []";
        let handled = |version| {
            let it = of(all, true, &json!([]), version)?;
            Some((it.files, it.ports, it.scopes, it.allowed_ports))
        };
        let (tcp, both) = (vec![(1, 2), (2, 2)], vec![(1, 2), (2, 2), (3, 4)]);
        assert_eq!(handled(3), None);
        assert_eq!(handled(4), Some((0, 3, 0, tcp.clone())));
        assert_eq!(handled(6), Some((0, 3, 3, tcp.clone())));
        assert_eq!(handled(9), Some((1 << 16, 3, 3, tcp)));
        assert_eq!(handled(10), Some((1 << 16, 15, 3, both)));
    }

    #[test]
    fn writable_is_what_the_mounts_leave_so() {
        let mounts = json!([
            {"destination": "/proc", "type": "proc"},
            {"destination": "/sys", "type": "sysfs", "options": ["ro"]},
            {"destination": "/a", "type": "bind", "source": "/a", "options": ["rbind", "rro"]},
            {"destination": "/b", "type": "bind", "source": "/b", "options": ["rbind", "rw"]},
            {"destination": "/sys", "options": ["remount", "rw"]},
            {"destination": "/", "options": ["remount", "rw"]},
        ]);
        let paths = |readonly| {
            let it = of("files = true", readonly, &mounts, 7)?;
            Some(it.paths.into_iter().map(|(path, ..)| path).collect::<Vec<_>>())
        };
        let expected = ["/b", "/dev", "/proc", "/sys"].map(str::to_owned);
        assert_eq!(paths(true).as_deref(), Some(&expected[..]));
        assert_eq!(paths(false), None, "there is nothing to keep");
    }
}
