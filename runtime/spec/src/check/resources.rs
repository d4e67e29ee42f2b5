//! `linux.resources`: numbers and names that no cgroup controller takes.
//!
//! Ranges that depend on the host (how many CPUs, which page sizes) are for whoever knows the host.

use super::super::error::Error;
use super::super::model::{BlockIo, Cpu, DeviceRule, DeviceType, Memory, Resources};
use super::{MAJOR_LIMIT, MINOR_LIMIT, interface_name, no_nul, number_list};

pub(super) fn check(resources: &Resources) -> Result<(), Error> {
    for (index, rule) in resources.devices.iter().enumerate() {
        device(rule, &|name| format!("linux.resources.devices[{index}].{name}"))?;
    }
    resources.memory.as_ref().map_or(Ok(()), memory)?;
    resources.cpu.as_ref().map_or(Ok(()), cpu)?;
    resources.block_io.as_ref().map_or(Ok(()), block_io)?;
    if let Some(pids) = &resources.pids {
        at_least_minus_one(pids.limit, || "linux.resources.pids.limit".to_owned())?;
    }
    for (index, limit) in resources.hugepage_limits.iter().enumerate() {
        let field = format!("linux.resources.hugepageLimits[{index}]");
        page_size(&limit.page_size, &format!("{field}.pageSize"))?;
        at_least_minus_one(Some(limit.limit), || format!("{field}.limit"))?;
    }
    if let Some(network) = &resources.network {
        for (index, priority) in network.priorities.iter().enumerate() {
            interface_name(&priority.name, || {
                format!("linux.resources.network.priorities[{index}].name")
            })?;
        }
    }
    for (device, limits) in &resources.rdma {
        let field = || format!("linux.resources.rdma[{device:?}]");
        if device.is_empty() || device.contains(char::is_whitespace) || device.contains('\0') {
            return Err(Error::conflict(field(), "is not the name of an RDMA device")
                .with_hint("write it like mlx5_0; see `rdma link`"));
        }
        if limits.hca_handles.is_none() && limits.hca_objects.is_none() {
            return Err(Error::missing(field()).with_hint("give hcaHandles, hcaObjects or both"));
        }
    }
    unified(resources)
}

fn device(rule: &DeviceRule, field: &dyn Fn(&str) -> String) -> Result<(), Error> {
    let unknown = match rule.kind {
        Some(DeviceType::Unbuffered) => Some("u"),
        Some(DeviceType::Fifo) => Some("p"),
        _ => None,
    };
    if let Some(kind) = unknown {
        return Err(Error::invalid(field("type"), kind, "is not a, b or c"));
    }
    for (name, number, limit) in
        [("major", rule.major, MAJOR_LIMIT), ("minor", rule.minor, MINOR_LIMIT)]
    {
        // -1 is how runc's own types, and some callers, say "all".
        if let Some(number) = number
            && !(-1..=limit).contains(&number)
        {
            return Err(Error::range(field(name), number, &format!("0 to {limit}")));
        }
    }
    // Other letters are nothing, as for runc: a rule with `rwmx` is one with `rwm`.
    match &rule.access {
        Some(access) if !access.is_empty() && !access.contains(['r', 'w', 'm']) => {
            Err(Error::invalid(field("access"), access, "has none of r, w and m in it"))
        }
        _ => Ok(()),
    }
}

/// `MAX_SWAPPINESS` (linux/swap.h). Older kernels take 100 at most and refuse more, as is said then.
const SWAPPINESS_LIMIT: u64 = 200;

fn memory(memory: &Memory) -> Result<(), Error> {
    let sizes = [
        ("limit", memory.limit),
        ("reservation", memory.reservation),
        ("swap", memory.swap),
        ("kernelTCP", memory.kernel_tcp),
    ];
    for (name, bytes) in sizes {
        at_least_minus_one(bytes, || format!("linux.resources.memory.{name}"))?;
    }
    if let Some(swappiness) = memory.swappiness
        && swappiness > SWAPPINESS_LIMIT
    {
        return Err(Error::range("linux.resources.memory.swappiness", swappiness, "0 to 200"));
    }
    // "swap" is memory and swap together (config-linux.md "Memory"); 0 and -1 are not amounts.
    if let (Some(limit @ 1..), Some(swap @ 1..)) = (memory.limit, memory.swap)
        && swap < limit
    {
        let what = format!("{swap} is less than the memory limit of {limit}, which it includes");
        return Err(Error::conflict("linux.resources.memory.swap", what));
    }
    Ok(())
}

fn cpu(cpu: &Cpu) -> Result<(), Error> {
    for (name, list) in [("cpus", &cpu.cpus), ("mems", &cpu.mems)] {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            number_list(list, || format!("linux.resources.cpu.{name}"))?;
        }
    }
    for (name, time_us) in [("quota", cpu.quota), ("realtimeRuntime", cpu.realtime_runtime)] {
        at_least_minus_one(time_us, || format!("linux.resources.cpu.{name}"))?;
    }
    if let Some(idle) = cpu.idle
        && !(0..=1).contains(&idle)
    {
        return Err(Error::range("linux.resources.cpu.idle", idle, "0 or 1"));
    }
    Ok(())
}

/// Weights as blkio has them, 10 to 1000; 0 is how callers say "not set".
fn block_io(io: &BlockIo) -> Result<(), Error> {
    let weight = |weight: Option<u16>, field: String| match weight {
        None | Some(0 | 10..=1000) => Ok(()),
        Some(other) => Err(Error::range(field, other, "10 to 1000")),
    };
    let field = |name: &str| format!("linux.resources.blockIO.{name}");
    weight(io.weight, field("weight"))?;
    weight(io.leaf_weight, field("leafWeight"))?;
    for (index, device) in io.weight_device.iter().enumerate() {
        let field = |name: &str| format!("linux.resources.blockIO.weightDevice[{index}].{name}");
        weight(device.weight, field("weight"))?;
        weight(device.leaf_weight, field("leafWeight"))?;
        if device.weight.is_none() && device.leaf_weight.is_none() {
            return Err(
                Error::missing(field("weight")).with_hint("give weight, leafWeight or both")
            );
        }
        numbers(device.major, device.minor, field)?;
    }
    let throttles = [
        ("throttleReadBpsDevice", &io.throttle_read_bps_device),
        ("throttleWriteBpsDevice", &io.throttle_write_bps_device),
        ("throttleReadIOPSDevice", &io.throttle_read_iops_device),
        ("throttleWriteIOPSDevice", &io.throttle_write_iops_device),
    ];
    for (list, devices) in throttles {
        for (index, device) in devices.iter().enumerate() {
            let field = |name: &str| format!("linux.resources.blockIO.{list}[{index}].{name}");
            numbers(device.major, device.minor, field)?;
        }
    }
    Ok(())
}

fn numbers(major: i64, minor: i64, field: impl Fn(&str) -> String) -> Result<(), Error> {
    for (name, number, limit) in [("major", major, MAJOR_LIMIT), ("minor", minor, MINOR_LIMIT)] {
        if !(0..=limit).contains(&number) {
            return Err(Error::range(field(name), number, &format!("0 to {limit}")));
        }
    }
    Ok(())
}

/// `64KB`, `2MB`, `1GB`: a part of a file name (config-linux.md "Huge page limits").
fn page_size(size: &str, field: &str) -> Result<(), Error> {
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    let is_number =
        |n: &str| !n.is_empty() && !n.starts_with('0') && n.bytes().all(|b| b.is_ascii_digit());
    match number.is_some_and(is_number) {
        true => Ok(()),
        false => {
            Err(Error::invalid(field, size, "is not a page size")
                .with_hint("write it like 2MB or 1GB"))
        }
    }
}

/// Each key is the name of a file in the container's cgroup directory, so it must stay in there.
fn unified(resources: &Resources) -> Result<(), Error> {
    for (file, value) in &resources.unified {
        let field = || format!("linux.resources.unified[{file:?}]");
        let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if file.is_empty() || file == "." || file == ".." || !file.chars().all(is_name) {
            return Err(Error::conflict(field(), "is not the name of a cgroup file")
                .with_hint("write it like memory.high, without a directory"));
        }
        // These put processes, not limits, into the cgroup.
        if ["cgroup.procs", "cgroup.threads", "cgroup.type", "cgroup.kill"].contains(&file.as_str())
        {
            return Err(Error::conflict(field(), "is not a resource limit")
                .with_hint("remove it: only brig writes to this file"));
        }
        no_nul(value, field)?;
    }
    Ok(())
}

fn at_least_minus_one(value: Option<i64>, field: impl Fn() -> String) -> Result<(), Error> {
    match value {
        Some(value) if value < -1 => Err(Error::range(field(), value, "-1 (no limit) or more")),
        _ => Ok(()),
    }
}
