//! What `linux.resources` means in the files of cgroup v2.
//!
//! Reference: the kernel's admin-guide/cgroup-v2.rst.

use std::collections::BTreeMap;

use brig_spec::{BlockIo, Cpu, Memory, Network};

use super::super::step::{Absent, Write};
use super::convert::{blkio_to_io_weight, or_max, shares_to_weight, swap_to_v2};
use super::{Limits, check_bytes, check_weight, set, throttles};
use crate::Error;

fn only_v1<T>(field: &str) -> Result<T, Error> {
    Err(Error::field(field, "cgroup v2 has no such control"))
}

pub(super) fn cpu(limits: &mut Limits<'_>, cpu: &Cpu) -> Result<(), Error> {
    if set(cpu.realtime_period).is_some() {
        return only_v1("linux.resources.cpu.realtimePeriod");
    }
    if set(cpu.realtime_runtime).is_some() {
        return only_v1("linux.resources.cpu.realtimeRuntime");
    }
    // An idle cgroup refuses a weight with EINVAL, hence the group.
    let mut weight = Vec::new();
    if let Some(shares) = set(cpu.shares) {
        weight.push(limits.cpu("cpu.weight", shares_to_weight(shares), "shares", 100)?);
    }
    if let Some(idle) = cpu.idle {
        weight.push(limits.cpu("cpu.idle", idle, "idle", 0)?);
    }
    limits.push_group(weight);
    let mut bandwidth = Vec::new();
    let quota = set(cpu.quota).map(or_max);
    if let Some(period) = set(cpu.period) {
        let name = if quota.is_some() { "quota" } else { "period" };
        let value = format!("{} {period}", quota.as_deref().unwrap_or("max"));
        bandwidth.push(limits.cpu("cpu.max", value.as_str(), name, "max 100000")?);
    } else if let Some(quota) = quota {
        bandwidth.push(limits.cpu("cpu.max", quota.as_str(), "quota", "max")?);
    }
    if let Some(burst) = cpu.burst {
        bandwidth.push(limits.cpu("cpu.max.burst", burst, "burst", 0)?);
    }
    limits.push_group(bandwidth);
    Ok(())
}

pub(super) fn memory(limits: &mut Limits<'_>, memory: &Memory) -> Result<(), Error> {
    let field = |name: &str| format!("linux.resources.memory.{name}");
    if memory.kernel_tcp.is_some_and(|value| value > 0) {
        return only_v1(&field("kernelTCP"));
    }
    if memory.swappiness.is_some() {
        return only_v1(&field("swappiness"));
    }
    if memory.disable_oom_killer == Some(true) {
        return only_v1(&field("disableOOMKiller"));
    }
    if memory.use_hierarchy == Some(false) {
        return Err(Error::field(
            field("useHierarchy"),
            "cgroup v2 always accounts hierarchically",
        ));
    }
    let mut push = |file: &str, value: i64, name: &str, default: i64, absent: Absent| {
        let write = limits.write("memory", file, or_max(value), &field(name))?;
        limits.push(write.default_if(value == default).absent(absent));
        Ok::<(), Error>(())
    };
    let limit = check_bytes(memory.limit, &field("limit"))?;
    // Swap first: between the two writes the container must not get more than asked.
    if let Some(swap) = swap_to_v2(memory.swap.unwrap_or(0), limit.unwrap_or(0))? {
        // A kernel without swap control swaps nothing that this would forbid.
        let absent = if swap <= 0 { Absent::Satisfied } else { Absent::Fail };
        push("memory.swap.max", swap, "swap", -1, absent)?;
    }
    if let Some(limit) = limit {
        push("memory.max", limit, "limit", -1, Absent::Fail)?;
    }
    if let Some(value) = check_bytes(memory.reservation, &field("reservation"))? {
        push("memory.low", value, "reservation", 0, Absent::Fail)?;
    }
    Ok(())
}

pub(super) fn block_io(limits: &mut Limits<'_>, io: &BlockIo) -> Result<(), Error> {
    // BFQ has its own weights when it is built in, and io.weight then has no effect.
    let mut push_weight = |prefix: &str, weight: u16, field: &str| {
        let instead = Absent::Instead {
            file: "io.weight".into(),
            value: format!("{prefix}{}", blkio_to_io_weight(weight)),
        };
        let write = limits.write("io", "io.bfq.weight", format!("{prefix}{weight}"), field)?;
        limits.push(write.absent(instead));
        Ok::<(), Error>(())
    };
    let field = "linux.resources.blockIO.weight";
    if let Some(weight) = check_weight(io.weight, field)? {
        push_weight("", weight, field)?;
    }
    if set(io.leaf_weight).is_some() {
        return only_v1("linux.resources.blockIO.leafWeight");
    }
    for (index, device) in io.weight_device.iter().enumerate() {
        let field = |name| format!("linux.resources.blockIO.weightDevice[{index}].{name}");
        if set(device.leaf_weight).is_some() {
            return only_v1(&field("leafWeight"));
        }
        if let Some(weight) = check_weight(device.weight, &field("weight"))? {
            let prefix = format!("{}:{} ", device.major, device.minor);
            push_weight(&prefix, weight, &field("weight"))?;
        }
    }
    throttle(limits, io)
}

/// One line of `io.max` for each device; a rate of 0 removes the limit, as on v1.
fn throttle(limits: &mut Limits<'_>, io: &BlockIo) -> Result<(), Error> {
    let keys = ["rbps", "wbps", "riops", "wiops"];
    let mut devices: BTreeMap<(i64, i64), (String, String)> = BTreeMap::new();
    for ((name, list), key) in throttles(io).into_iter().zip(keys) {
        for (index, device) in list.iter().enumerate() {
            let field = || format!("linux.resources.blockIO.{name}[{index}]");
            let entry = devices
                .entry((device.major, device.minor))
                .or_insert_with(|| (field(), String::new()));
            let rate = match device.rate {
                0 => "max".to_owned(),
                rate => rate.to_string(),
            };
            entry.1.push_str(&format!(" {key}={rate}"));
        }
    }
    for ((major, minor), (field, rates)) in devices {
        let write = limits.write("io", "io.max", format!("{major}:{minor}{rates}"), &field)?;
        limits.push(write);
    }
    Ok(())
}

pub(super) fn network(network: &Network) -> Result<(), Error> {
    if set(network.class_id).is_some() {
        return only_v1("linux.resources.network.classID");
    }
    if !network.priorities.is_empty() {
        return only_v1("linux.resources.network.priorities");
    }
    Ok(())
}

/// `unified`: file names and values as the kernel takes them, written last so that
/// they win. Files that move processes or change the tree's shape are refused.
pub(super) fn unified(
    limits: &mut Limits<'_>,
    unified: &BTreeMap<String, String>,
) -> Result<(), Error> {
    for (key, value) in unified {
        let field = format!("linux.resources.unified[{key:?}]");
        let Some((controller, rest)) = key.split_once('.') else {
            return Err(Error::field(field, "is not of the form CONTROLLER.PARAMETER"));
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'_' || b == b'-';
        if controller.is_empty() || rest.is_empty() || !key.bytes().all(plain) {
            return Err(Error::field(field, "is not the name of a control file"));
        }
        let directory = match key.as_str() {
            "cgroup.max.depth" | "cgroup.max.descendants" => 0,
            _ if controller == "cgroup" => {
                return Err(Error::field(field, "is not a limit"));
            }
            _ => limits.targets.need(controller, &field)?.0,
        };
        let lines: Vec<&str> = value.lines().filter(|line| !line.trim().is_empty()).collect();
        if lines.is_empty() {
            return Err(Error::field(field, "has no value"));
        }
        for line in lines {
            limits.push(Write::new(directory, key.as_str(), line, field.as_str()));
        }
    }
    Ok(())
}
