//! `linux.resources`, but for its devices, as writes to control files: in which order, what v1 and v2
//! share, and which values no kernel takes. `v1` and `v2` have the rest.
//!
//! Promises: a value that the layout cannot hold is refused by its field's name.

pub(super) mod convert;
mod v1;
mod v2;

use std::collections::BTreeMap;

use brig_spec::{BlockIo, Cpu, HugepageLimit, NumberList, Pids, Rdma, Resources, ThrottleDevice};

use super::directories::Targets;
use super::step::{Absent, Step, Write};
use crate::Error;
use crate::facts::Unified;
use convert::{check_page_size, or_max};

pub(super) use v1::fill_cpuset;

/// Whether `resources` has a limit that on a hybrid host only the v2 side takes.
pub(super) fn need_unified(unified: &Unified, resources: &Resources) -> bool {
    let has = |name: &str| unified.controllers.iter().any(|controller| controller == name);
    (!resources.hugepage_limits.is_empty() && has("hugetlb"))
        || (!resources.rdma.is_empty() && has("rdma"))
}

/// The writes that `resources` ask for, in the directories of `targets`.
pub(super) fn limits(
    targets: &Targets<'_>,
    resources: Option<&Resources>,
) -> Result<Vec<Step>, Error> {
    let mut limits = Limits { targets, steps: Vec::new() };
    let Some(resources) = resources else {
        return Ok(limits.steps);
    };
    let v2 = targets.0.iter().all(|directory| directory.unified);
    if !resources.unified.is_empty() && !v2 {
        return Err(Error::field("linux.resources.unified", "the host's cgroups are not v2"));
    }
    if let Some(cpu) = &resources.cpu {
        limits.cpuset(cpu)?;
        check_bandwidth(cpu)?;
        if v2 { v2::cpu(&mut limits, cpu)? } else { v1::cpu(&mut limits, cpu)? }
    }
    if let Some(memory) = &resources.memory {
        if v2 { v2::memory(&mut limits, memory)? } else { v1::memory(&mut limits, memory)? }
    }
    if let Some(pids) = &resources.pids {
        limits.pids(pids)?;
    }
    if let Some(io) = &resources.block_io {
        if v2 { v2::block_io(&mut limits, io)? } else { v1::block_io(&mut limits, io)? }
    }
    limits.huge_pages(&resources.hugepage_limits)?;
    if let Some(network) = &resources.network {
        if v2 { v2::network(network)? } else { v1::network(&mut limits, network)? }
    }
    limits.rdma(&resources.rdma)?;
    v2::unified(&mut limits, &resources.unified)?;
    Ok(limits.steps)
}

/// Limits on the way to being steps.
struct Limits<'a> {
    targets: &'a Targets<'a>,
    steps: Vec<Step>,
}

impl Limits<'_> {
    /// A write to a file of `controller`.
    fn write(
        &self,
        controller: &str,
        file: impl Into<String>,
        value: impl ToString,
        field: &str,
    ) -> Result<Write, Error> {
        let (directory, _) = self.targets.need(controller, field)?;
        Ok(Write::new(directory, file, value, field))
    }

    fn push(&mut self, write: Write) {
        self.steps.push(Step::Write(write));
    }

    /// One write is a plain step; several depend on each other's order.
    fn push_group(&mut self, mut group: Vec<Write>) {
        match group.len() {
            0 => {}
            1 => self.steps.extend(group.pop().map(Step::Write)),
            _ => self.steps.push(Step::WriteGroup(group)),
        }
    }

    /// `cpus` and `mems`: the same files in v1 and v2.
    fn cpuset(&mut self, cpu: &Cpu) -> Result<(), Error> {
        for (list, name) in [(&cpu.cpus, "cpus"), (&cpu.mems, "mems")] {
            let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else {
                continue;
            };
            let field = format!("linux.resources.cpu.{name}");
            if NumberList::parse(list).is_none() {
                return Err(Error::field(
                    field,
                    format!("{list:?} is not a list such as \"0-3,7\""),
                ));
            }
            let write = self.write("cpuset", format!("cpuset.{name}"), list.trim(), &field)?;
            self.push(write);
        }
        Ok(())
    }

    /// A file of the cpu controller, and what the kernel has in it by itself.
    fn cpu<T: ToString + PartialEq + Copy>(
        &self,
        file: &str,
        value: T,
        name: &str,
        default: T,
    ) -> Result<Write, Error> {
        let is_default = value == default;
        let write = self.write("cpu", file, value, &format!("linux.resources.cpu.{name}"))?;
        Ok(write.default_if(is_default))
    }

    /// `pids.max`: the same file in v1 and v2. 0 is a limit since version 1.3 of the specification, and lets nothing
    /// run but what is there: as systemd takes no 0 (`TasksMax`), and a cgroup with a process in it behaves the same with
    /// both, it is written as 1, as by runc 1.4.
    fn pids(&mut self, pids: &Pids) -> Result<(), Error> {
        if let Some(limit) = pids.limit {
            let value = if limit == 0 { "1".to_owned() } else { or_max(limit) };
            let write = self.write("pids", "pids.max", value, "linux.resources.pids.limit")?;
            self.push(write.default_if(limit < 0));
        }
        Ok(())
    }

    /// In the hierarchy that has them: on a hybrid host that may be the v2 side.
    fn huge_pages(&mut self, limits: &[HugepageLimit]) -> Result<(), Error> {
        for (index, limit) in limits.iter().enumerate() {
            let field = format!("linux.resources.hugepageLimits[{index}]");
            let size = &limit.page_size;
            check_page_size(size, &field)?;
            let (directory, target) = self.targets.need("hugetlb", &field)?;
            let (file, value) = match target.unified {
                true => ("max", or_max(limit.limit)),
                false => ("limit_in_bytes", limit.limit.max(-1).to_string()),
            };
            // Reservations are limited alike, or a container could reserve every page
            // of the host (Linux 5.7, hugetlb.rst).
            for (kind, absent) in [("", Absent::Fail), ("rsvd.", Absent::Satisfied)] {
                let file = format!("hugetlb.{size}.{kind}{file}");
                let write = Write::new(directory, file, &value, field.as_str());
                self.push(write.default_if(limit.limit < 0).absent(absent));
            }
        }
        Ok(())
    }

    /// `rdma.max`: the same file in v1 and v2 (rdma.rst).
    fn rdma(&mut self, rdma: &BTreeMap<String, Rdma>) -> Result<(), Error> {
        for (name, limit) in rdma {
            let field = format!("linux.resources.rdma.{name}");
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(Error::field(field, format!("{name:?} is not the name of a device")));
            }
            let mut value = name.clone();
            for (key, limit) in
                [("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects)]
            {
                if let Some(limit) = limit {
                    value.push_str(&format!(" {key}={limit}"));
                }
            }
            if value.len() > name.len() {
                let write = self.write("rdma", "rdma.max", value, &field)?;
                self.push(write);
            }
        }
        Ok(())
    }
}

/// A number that is set: 0 asks for nothing, as engines send it.
fn set<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

/// Refuses what no kernel takes (sched-bwc.rst: 1 ms to 1 s).
fn check_bandwidth(cpu: &Cpu) -> Result<(), Error> {
    if let Some(period) = set(cpu.period)
        && !(1_000..=1_000_000).contains(&period)
    {
        let problem = format!("{period} is not between 1000 and 1000000 µs");
        return Err(Error::field("linux.resources.cpu.period", problem));
    }
    if let Some(quota) = cpu.quota
        && (1..1_000).contains(&quota)
    {
        let problem = format!("{quota} µs is below the kernel's minimum of 1000");
        return Err(Error::field("linux.resources.cpu.quota", problem));
    }
    if let Some(idle) = cpu.idle
        && !(0..=1).contains(&idle)
    {
        return Err(Error::field("linux.resources.cpu.idle", format!("{idle} is neither 0 nor 1")));
    }
    Ok(())
}

/// Refuses numbers of bytes below -1; 0 is "not set".
fn check_bytes(value: Option<i64>, field: &str) -> Result<Option<i64>, Error> {
    match value {
        Some(value) if value < -1 => {
            Err(Error::field(field, format!("{value} is not a number of bytes")))
        }
        value => Ok(set(value)),
    }
}

/// `linux.resources.blockIO.weight` and its kind: 10 to 1000, 0 is "not set".
fn check_weight(weight: Option<u16>, field: &str) -> Result<Option<u16>, Error> {
    match set(weight) {
        Some(weight) if !(10..=1000).contains(&weight) => {
            Err(Error::field(field, format!("{weight} is not between 10 and 1000")))
        }
        weight => Ok(weight),
    }
}

/// The four throttle lists, with their names in config.json.
fn throttles(io: &BlockIo) -> [(&'static str, &[ThrottleDevice]); 4] {
    [
        ("throttleReadBpsDevice", &io.throttle_read_bps_device),
        ("throttleWriteBpsDevice", &io.throttle_write_bps_device),
        ("throttleReadIOPSDevice", &io.throttle_read_iops_device),
        ("throttleWriteIOPSDevice", &io.throttle_write_iops_device),
    ]
}
