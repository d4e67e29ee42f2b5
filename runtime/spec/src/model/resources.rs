//! `linux.resources`: limits of the cgroup.

use std::collections::BTreeMap;

use serde::de::Deserializer;

use super::{DeviceType, nullable, unset};

/// `linux.resources`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Resources {
    /// Which devices may be used; later rules count.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub devices: Vec<DeviceRule>,
    /// Memory.
    #[serde(skip_serializing_if = "unset")]
    pub memory: Option<Memory>,
    /// Processor time, and which processors.
    #[serde(skip_serializing_if = "unset")]
    pub cpu: Option<Cpu>,
    /// Number of tasks.
    #[serde(skip_serializing_if = "unset")]
    pub pids: Option<Pids>,
    /// Block devices.
    #[serde(rename = "blockIO", skip_serializing_if = "unset")]
    pub block_io: Option<BlockIo>,
    /// Huge pages.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub hugepage_limits: Vec<HugepageLimit>,
    /// cgroup v1's net_cls and net_prio.
    #[serde(skip_serializing_if = "unset")]
    pub network: Option<Network>,
    /// RDMA devices by name.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub rdma: BTreeMap<String, Rdma>,
    /// Files of cgroup v2 by name.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub unified: BTreeMap<String, String>,
}

/// One of `linux.resources.devices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct DeviceRule {
    /// It allows; else it denies.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub allow: bool,
    /// Absent is all.
    #[serde(rename = "type", skip_serializing_if = "unset")]
    pub kind: Option<DeviceType>,
    /// Absent and -1 are all.
    #[serde(skip_serializing_if = "unset")]
    pub major: Option<i64>,
    /// Absent and -1 are all.
    #[serde(skip_serializing_if = "unset")]
    pub minor: Option<i64>,
    /// Of the letters r, w and m; absent is all.
    #[serde(skip_serializing_if = "unset")]
    pub access: Option<String>,
}

/// `linux.resources.memory`; amounts in bytes, -1 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Memory {
    /// The limit.
    #[serde(skip_serializing_if = "unset")]
    pub limit: Option<i64>,
    /// What is kept from reclaim.
    #[serde(skip_serializing_if = "unset")]
    pub reservation: Option<i64>,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "unset")]
    pub swap: Option<i64>,
    /// Deprecated, and without effect.
    #[serde(skip_serializing_if = "unset")]
    pub kernel: Option<i64>,
    /// cgroup v1's limit of TCP buffers.
    #[serde(rename = "kernelTCP", skip_serializing_if = "unset")]
    pub kernel_tcp: Option<i64>,
    /// cgroup v1, 0 to 100.
    #[serde(skip_serializing_if = "unset")]
    pub swappiness: Option<u64>,
    /// cgroup v1.
    #[serde(rename = "disableOOMKiller", skip_serializing_if = "unset")]
    pub disable_oom_killer: Option<bool>,
    /// cgroup v1.
    #[serde(skip_serializing_if = "unset")]
    pub use_hierarchy: Option<bool>,
    /// An update below what is in use fails.
    #[serde(skip_serializing_if = "unset")]
    pub check_before_update: Option<bool>,
}

/// `linux.resources.cpu`; times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Cpu {
    /// Weight, 1024 is usual.
    #[serde(skip_serializing_if = "unset")]
    pub shares: Option<u64>,
    /// Time in each period; -1 is no limit.
    #[serde(skip_serializing_if = "unset")]
    pub quota: Option<i64>,
    /// What may be saved up.
    #[serde(skip_serializing_if = "unset")]
    pub burst: Option<u64>,
    /// The period.
    #[serde(skip_serializing_if = "unset")]
    pub period: Option<u64>,
    /// cgroup v1.
    #[serde(skip_serializing_if = "unset")]
    pub realtime_runtime: Option<i64>,
    /// cgroup v1.
    #[serde(skip_serializing_if = "unset")]
    pub realtime_period: Option<u64>,
    /// Processors, as [`crate::NumberList`] reads them.
    #[serde(skip_serializing_if = "unset")]
    pub cpus: Option<String>,
    /// Memory nodes, as [`crate::NumberList`] reads them.
    #[serde(skip_serializing_if = "unset")]
    pub mems: Option<String>,
    /// 1: only where nobody else wants the processor.
    #[serde(skip_serializing_if = "unset")]
    pub idle: Option<i64>,
}

/// `linux.resources.pids`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Pids {
    /// Absent leaves it alone; -1 is no limit.
    #[serde(skip_serializing_if = "unset")]
    pub limit: Option<i64>,
}

/// `linux.resources.blockIO`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BlockIo {
    /// 10 to 1000.
    #[serde(skip_serializing_if = "unset")]
    pub weight: Option<u16>,
    /// 10 to 1000; cgroup v1 of old kernels.
    #[serde(skip_serializing_if = "unset")]
    pub leaf_weight: Option<u16>,
    /// By device.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes per second.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    /// Bytes per second.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(
        rename = "throttleReadIOPSDevice",
        deserialize_with = "nullable",
        skip_serializing_if = "unset"
    )]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(
        rename = "throttleWriteIOPSDevice",
        deserialize_with = "nullable",
        skip_serializing_if = "unset"
    )]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// One of `linux.resources.blockIO.weightDevice`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WeightDevice {
    /// Major number.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub major: i64,
    /// Minor number.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub minor: i64,
    /// 10 to 1000.
    #[serde(skip_serializing_if = "unset")]
    pub weight: Option<u16>,
    /// 10 to 1000; cgroup v1 of old kernels.
    #[serde(skip_serializing_if = "unset")]
    pub leaf_weight: Option<u16>,
}

/// One of the lists `linux.resources.blockIO.throttle…`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ThrottleDevice {
    /// Major number.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub major: i64,
    /// Minor number.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub minor: i64,
    /// Per second; 0 is no limit.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub rate: u64,
}

/// One of `linux.resources.hugepageLimits`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HugepageLimit {
    /// `64KB`, `2MB`, `1GB`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub page_size: String,
    /// Bytes; -1 is no limit.
    #[serde(deserialize_with = "bytes")]
    pub limit: i64,
}

/// Unsigned in the specification, and written as -1 all the same; above 2^63 bytes it is no limit either way.
fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    struct Visitor;
    impl serde::de::Visitor<'_> for Visitor {
        type Value = i64;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("i64")
        }
        fn visit_i64<E>(self, bytes: i64) -> Result<i64, E> {
            Ok(bytes)
        }
        fn visit_u64<E>(self, bytes: u64) -> Result<i64, E> {
            Ok(i64::try_from(bytes).unwrap_or(i64::MAX))
        }
        fn visit_unit<E>(self) -> Result<i64, E> {
            Ok(0)
        }
    }
    deserializer.deserialize_any(Visitor)
}

/// `linux.resources.network`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Network {
    /// `net_cls.classid`.
    #[serde(rename = "classID", skip_serializing_if = "unset")]
    pub class_id: Option<u32>,
    /// `net_prio.ifpriomap`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub priorities: Vec<InterfacePriority>,
}

/// One of `linux.resources.network.priorities`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct InterfacePriority {
    /// The interface.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub name: String,
    /// Its priority.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub priority: u32,
}

/// One of `linux.resources.rdma`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rdma {
    /// Handles.
    #[serde(skip_serializing_if = "unset")]
    pub hca_handles: Option<u32>,
    /// Objects.
    #[serde(skip_serializing_if = "unset")]
    pub hca_objects: Option<u32>,
}
