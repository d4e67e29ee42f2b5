//! Usage and limits of a cgroup, in the JSON of `runc events --stats`.
//!
//! Promises: the keys and units of opencontainers/runc `types/events.go`, so that
//! what reads runc's events reads brig's; a value that the kernel does not have is
//! left out or 0, as there. `intel_rdt` and `network_interfaces` are absent.

mod v1;
mod v2;

use std::collections::BTreeMap;

use brig_spec::NumberList;
use rustix::fs::Dir;
use serde::{Deserialize, Serialize};

use super::Error;
use super::apply::Cgroup;
use super::node::CgroupNode;

/// Everything. Times are in nanoseconds, sizes in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are the parts of the format")]
pub struct Stats {
    pub cpu: Cpu,
    pub cpuset: CpuSet,
    pub memory: Memory,
    pub pids: Pids,
    pub blkio: Blkio,
    pub hugetlb: BTreeMap<String, Hugetlb>,
}

/// Processor time and throttling.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are the parts of the format")]
pub struct Cpu {
    pub usage: CpuUsage,
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Processor time in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuUsage {
    /// User and kernel.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// For each processor; v1 only, as the next two.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// In the kernel, for each processor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// In user mode, for each processor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In user mode.
    pub user: u64,
}

/// How often and long the quota held the cgroup back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Throttling {
    /// Periods that have passed.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Periods in which the quota was used up.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// The cpuset controller's values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "named as the kernel's files, cgroup-v1/cpusets.rst")]
pub struct CpuSet {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Page cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// All memory.
    pub usage: MemoryEntry,
    /// Memory and swap together, on v2 too.
    pub swap: MemoryEntry,
    /// Kernel memory; v1 only.
    pub kernel: MemoryEntry,
    /// TCP buffers; v1 only.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat` as it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// Pressure; v2 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
    /// `memory.events`; v2 only.
    pub event_count: MemoryEventCount,
}

/// A kind of memory. No limit is the largest number that the kernel shows (v1), or 2^64-1 (v2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are the parts of the format")]
pub struct MemoryEntry {
    pub limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    pub failcnt: u64,
}

/// `memory.events`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "named as the kernel's keys, cgroup-v2.rst")]
pub struct MemoryEventCount {
    #[serde(skip_serializing_if = "is_zero")]
    pub low: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub high: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub oom: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub oom_kill: u64,
}

/// Tasks. A limit of 0 is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are the parts of the format")]
pub struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Blkio {
    /// Bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Operations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// Pressure; v2 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// One number of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are the parts of the format")]
pub struct BlkioEntry {
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are the parts of the format")]
pub struct Hugetlb {
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    pub failcnt: u64,
}

/// Pressure stall information (accounting/psi.rst).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Psi {
    /// Some tasks were stalled.
    pub some: PsiLine,
    /// All tasks were.
    pub full: PsiLine,
}

/// A line of pressure stall information.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PsiLine {
    /// Percent over 10 seconds.
    pub avg10: f64,
    /// Percent over a minute.
    pub avg60: f64,
    /// Percent over five minutes.
    pub avg300: f64,
    /// Microseconds.
    pub total: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Cgroup {
    /// What the cgroup uses. A controller that the host does not have leaves its part at 0.
    ///
    /// # Errors
    /// [`Error::Call`] or [`Error::Content`] when a file that exists cannot be read or
    /// understood; ENOENT when the cgroup is gone.
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut stats = Stats::default();
        for node in &self.nodes {
            node.descriptor()?;
            if node.directory.unified {
                v2::collect(node, &mut stats)?;
            } else {
                v1::collect(node, &mut stats)?;
            }
        }
        Ok(stats)
    }
}

/// A file with one number, or `max`; 0 when the file does not exist.
fn number(node: &CgroupNode, file: &str) -> Result<u64, Error> {
    let Some(text) = node.read_if_there(file)? else {
        return Ok(0);
    };
    match text.trim() {
        "max" => Ok(u64::MAX),
        text => text
            .parse()
            .map_err(|_| Error::Content { path: node.path.join(file), found: text.to_owned() }),
    }
}

/// The limit in `pids.max`, where `max` is shown as 0.
fn pids(node: &CgroupNode) -> Result<Pids, Error> {
    let limit = match number(node, "pids.max")? {
        u64::MAX => 0,
        limit => limit,
    };
    Ok(Pids { current: number(node, "pids.current")?, limit })
}

/// A file of `key value` lines; empty when it does not exist.
fn keyed(node: &CgroupNode, file: &str) -> Result<BTreeMap<String, u64>, Error> {
    let text = node.read_if_there(file)?.unwrap_or_default();
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    let mut pairs = BTreeMap::new();
    pairs.extend(text.lines().filter_map(pair));
    Ok(pairs)
}

/// The numbers of a cpuset's list, as the kernel writes it.
fn list(text: &str) -> Vec<u16> {
    NumberList::parse(text).map_or_else(Vec::new, |list| list.numbers().collect())
}

/// `MAJOR:MINOR`.
fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The huge page sizes for which the cgroup has files, as the files spell them.
fn page_sizes(node: &CgroupNode, suffix: &str) -> Result<Vec<String>, Error> {
    let mut sizes = Vec::new();
    let fail = |call, error| Error::call(call, &node.path, error);
    let entries = Dir::read_from(node.descriptor()?).map_err(|e| fail("open", e))?;
    for entry in entries {
        let entry = entry.map_err(|e| fail("getdents64", e))?;
        let name = entry.file_name();
        let size =
            name.to_str().ok().and_then(|name| name.strip_prefix("hugetlb.")?.strip_suffix(suffix));
        sizes.extend(size.filter(|size| !size.contains('.')).map(str::to_owned));
    }
    Ok(sizes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
