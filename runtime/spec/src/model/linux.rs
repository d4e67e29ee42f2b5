//! `linux`: namespaces, devices, paths and the kernel's own settings.

use std::collections::BTreeMap;

use super::{
    DeviceType, MemoryPolicyFlag, MemoryPolicyMode, NamespaceType, PersonalityDomain, Resources,
    not_empty, nullable, unset,
};

/// `linux`, but for `seccomp`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Linux {
    /// Users of the user namespace.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub uid_mappings: Vec<IdMapping>,
    /// Groups of the user namespace.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub gid_mappings: Vec<IdMapping>,
    /// Kernel parameters of the container's namespaces.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub sysctl: BTreeMap<String, String>,
    /// The limits of the cgroup.
    #[serde(skip_serializing_if = "unset")]
    pub resources: Option<Resources>,
    /// Where the cgroup is to be; with systemd `slice:prefix:name`.
    #[serde(deserialize_with = "not_empty", skip_serializing_if = "unset")]
    pub cgroups_path: Option<String>,
    /// New ones, and ones to join.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub namespaces: Vec<Namespace>,
    /// Device nodes to make, besides the default ones.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub devices: Vec<Device>,
    /// Network interfaces of the host to move, by name.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub net_devices: BTreeMap<String, NetDevice>,
    /// How mount events of the root travel.
    #[serde(deserialize_with = "not_empty", skip_serializing_if = "unset")]
    pub rootfs_propagation: Option<String>,
    /// Paths that are hidden.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub masked_paths: Vec<String>,
    /// Paths that are read-only.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub readonly_paths: Vec<String>,
    /// The SELinux context of mounts.
    #[serde(deserialize_with = "not_empty", skip_serializing_if = "unset")]
    pub mount_label: Option<String>,
    /// Cache and memory bandwidth.
    #[serde(skip_serializing_if = "unset")]
    pub intel_rdt: Option<IntelRdt>,
    /// For personality(2).
    #[serde(skip_serializing_if = "unset")]
    pub personality: Option<Personality>,
    /// Offsets of the time namespace, by clock.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub time_offsets: BTreeMap<String, TimeOffset>,
    /// For set_mempolicy(2).
    #[serde(skip_serializing_if = "unset")]
    pub memory_policy: Option<MemoryPolicy>,
}

impl Linux {
    /// The namespace of this type, if one is listed.
    #[must_use]
    pub fn namespace(&self, kind: NamespaceType) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.kind == kind)
    }
}

/// One line of an id map (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct IdMapping {
    /// First id inside.
    #[serde(rename = "containerID")]
    pub inside: u32,
    /// First id outside.
    #[serde(rename = "hostID")]
    pub outside: u32,
    /// How many.
    #[serde(rename = "size")]
    pub count: u32,
}

impl IdMapping {
    /// What an id of a user namespace with this map is outside.
    #[must_use]
    pub fn outside_of(map: &[Self], id: u32) -> Option<u32> {
        map.iter().find_map(|line| {
            let offset = id.checked_sub(line.inside).filter(|offset| *offset < line.count)?;
            line.outside.checked_add(offset)
        })
    }
}

/// One of `linux.namespaces`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Namespace {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: NamespaceType,
    /// The one to join; absent, it is new.
    #[serde(default, deserialize_with = "not_empty", skip_serializing_if = "unset")]
    pub path: Option<String>,
}

/// One of `linux.devices`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Where in the container, absolute.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub path: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: DeviceType,
    /// Major number.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub major: i64,
    /// Minor number.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub minor: i64,
    /// Permissions; absent, 0666.
    #[serde(skip_serializing_if = "unset")]
    pub file_mode: Option<u32>,
    /// Owner, as seen in the container.
    #[serde(skip_serializing_if = "unset")]
    pub uid: Option<u32>,
    /// Group, as seen in the container.
    #[serde(skip_serializing_if = "unset")]
    pub gid: Option<u32>,
}

/// One of `linux.netDevices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct NetDevice {
    /// Its name inside; absent, that outside.
    #[serde(deserialize_with = "not_empty", skip_serializing_if = "unset")]
    pub name: Option<String>,
}

/// `linux.intelRdt`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct IntelRdt {
    /// The class; absent, one of the container's own.
    #[serde(rename = "closID", deserialize_with = "not_empty", skip_serializing_if = "unset")]
    pub clos_id: Option<String>,
    /// Lines of `schemata`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub schemata: Vec<String>,
    /// A line for the L3 cache.
    #[serde(
        rename = "l3CacheSchema",
        deserialize_with = "not_empty",
        skip_serializing_if = "unset"
    )]
    pub l3_cache_schema: Option<String>,
    /// A line for memory bandwidth.
    #[serde(rename = "memBwSchema", deserialize_with = "not_empty", skip_serializing_if = "unset")]
    pub mem_bw_schema: Option<String>,
    /// Until 1.2: cache occupancy is monitored.
    #[serde(rename = "enableCMT", deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub enable_cmt: bool,
    /// Until 1.2: memory bandwidth is monitored.
    #[serde(rename = "enableMBM", deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub enable_mbm: bool,
    /// A group is made to monitor.
    #[serde(
        rename = "enableMonitoring",
        deserialize_with = "nullable",
        skip_serializing_if = "unset"
    )]
    pub enable_monitoring: bool,
}

/// `linux.personality`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Personality {
    /// The domain.
    pub domain: PersonalityDomain,
    /// The specification has none: what is here is refused.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub flags: Vec<String>,
}

/// One of `linux.timeOffsets`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct TimeOffset {
    /// Seconds.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub secs: i64,
    /// Nanoseconds.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub nanosecs: u32,
}

/// `linux.memoryPolicy`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MemoryPolicy {
    /// The mode.
    pub mode: MemoryPolicyMode,
    /// Memory nodes, as [`crate::NumberList`] reads them.
    #[serde(default, deserialize_with = "not_empty", skip_serializing_if = "unset")]
    pub nodes: Option<String>,
    /// In the order given.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub flags: Vec<MemoryPolicyFlag>,
}
