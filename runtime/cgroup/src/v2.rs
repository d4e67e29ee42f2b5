//! What `linux.resources` means in the files of cgroup v2.
//!
//! Promises: no I/O; a value that v2 cannot hold is refused by its field's name.
//! Reference: the kernel's admin-guide/cgroup-v2.rst.

use std::collections::BTreeMap;

use brig_spec::{BlockIo, Cpu, HugepageLimit, Memory, Network, Resources};

use super::Error;
use super::convert::{blkio_to_io_weight, check_page_size, or_max, shares_to_weight, swap_to_v2};
use super::plan::{Absent, Step, Targets, Write};
use super::v1::{
    check_bandwidth, check_bytes, check_weight, cpuset_limits, pids_limit, push_group, rdma_limits,
    throttles,
};

/// Everything but devices.
pub(crate) fn limits(targets: &Targets<'_>, resources: &Resources) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    if let Some(cpu) = &resources.cpu {
        cpuset_limits(&mut steps, targets, cpu)?;
        cpu_limits(&mut steps, targets, cpu)?;
    }
    if let Some(memory) = &resources.memory {
        memory_limits(&mut steps, targets, memory)?;
    }
    if let Some(pids) = &resources.pids {
        pids_limit(&mut steps, targets, pids)?;
    }
    if let Some(io) = &resources.block_io {
        io_limits(&mut steps, targets, io)?;
    }
    for (index, limit) in resources.hugepage_limits.iter().enumerate() {
        let field = format!("linux.resources.hugepageLimits[{index}]");
        check_page_size(&limit.page_size, &field)?;
        hugetlb_limit(&mut steps, targets.need("hugetlb", &field)?, limit, &field);
    }
    if let Some(network) = &resources.network {
        refuse_network(network)?;
    }
    rdma_limits(&mut steps, targets, &resources.rdma)?;
    unified_limits(&mut steps, targets, &resources.unified)?;
    Ok(steps)
}

fn only_v1<T>(field: &str) -> Result<T, Error> {
    Err(Error::field(field, "cgroup v2 has no such control"))
}

fn cpu_limits(steps: &mut Vec<Step>, targets: &Targets<'_>, cpu: &Cpu) -> Result<(), Error> {
    check_bandwidth(cpu)?;
    if cpu.realtime_period.is_some_and(|period| period != 0) {
        return only_v1("linux.resources.cpu.realtimePeriod");
    }
    if cpu.realtime_runtime.is_some_and(|runtime| runtime != 0) {
        return only_v1("linux.resources.cpu.realtimeRuntime");
    }
    let write = |file: &str, value: String, name: &str, default: bool| {
        let field = format!("linux.resources.cpu.{name}");
        let directory = targets.need("cpu", &field)?;
        Ok::<_, Error>(Write::new(directory, file, value, field).default_if(default))
    };
    // An idle cgroup refuses a weight with EINVAL, hence the group.
    let mut weight = Vec::new();
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        let value = shares_to_weight(shares);
        weight.push(write("cpu.weight", value.to_string(), "shares", value == 100)?);
    }
    if let Some(idle) = cpu.idle {
        weight.push(write("cpu.idle", idle.to_string(), "idle", idle == 0)?);
    }
    push_group(steps, weight);
    let mut bandwidth = Vec::new();
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let period = cpu.period.filter(|period| *period != 0);
    let value = match (quota.map(or_max), period) {
        (quota, Some(period)) => Some(format!("{} {period}", quota.as_deref().unwrap_or("max"))),
        (Some(quota), None) => Some(quota),
        (None, None) => None,
    };
    if let Some(value) = value {
        let name = if quota.is_some() { "quota" } else { "period" };
        let default = value == "max" || value == "max 100000";
        bandwidth.push(write("cpu.max", value, name, default)?);
    }
    if let Some(burst) = cpu.burst {
        bandwidth.push(write("cpu.max.burst", burst.to_string(), "burst", burst == 0)?);
    }
    push_group(steps, bandwidth);
    Ok(())
}

fn memory_limits(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    memory: &Memory,
) -> Result<(), Error> {
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
        let field = field(name);
        let directory = targets.need("memory", &field)?;
        let write = Write::new(directory, file, or_max(value), field);
        steps.push(Step::Write(write.default_if(value == default).absent(absent)));
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

fn io_limits(steps: &mut Vec<Step>, targets: &Targets<'_>, io: &BlockIo) -> Result<(), Error> {
    // BFQ has its own weights when it is built in, and io.weight then has no effect.
    let mut push_weight = |prefix: &str, weight: u16, field: &str| {
        let directory = targets.need("io", field)?;
        let instead = Absent::Instead {
            file: "io.weight".into(),
            value: format!("{prefix}{}", blkio_to_io_weight(weight)),
        };
        let value = format!("{prefix}{weight}");
        let write = Write::new(directory, "io.bfq.weight", value, field).absent(instead);
        steps.push(Step::Write(write));
        Ok::<(), Error>(())
    };
    let field = "linux.resources.blockIO.weight";
    if let Some(weight) = check_weight(io.weight, field)? {
        push_weight("", weight, field)?;
    }
    if io.leaf_weight.is_some_and(|weight| weight != 0) {
        return only_v1("linux.resources.blockIO.leafWeight");
    }
    for (index, device) in io.weight_device.iter().enumerate() {
        let field = |name| format!("linux.resources.blockIO.weightDevice[{index}].{name}");
        if device.leaf_weight.is_some_and(|weight| weight != 0) {
            return only_v1(&field("leafWeight"));
        }
        if let Some(weight) = check_weight(device.weight, &field("weight"))? {
            let prefix = format!("{}:{} ", device.major, device.minor);
            push_weight(&prefix, weight, &field("weight"))?;
        }
    }
    throttle_limits(steps, targets, io)
}

/// One line of `io.max` for each device; a rate of 0 removes the limit, as on v1.
fn throttle_limits(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    io: &BlockIo,
) -> Result<(), Error> {
    let keys = ["rbps", "wbps", "riops", "wiops"];
    let mut devices: BTreeMap<(i64, i64), (String, String)> = BTreeMap::new();
    for ((list, name, _), key) in throttles(io).into_iter().zip(keys) {
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
    for ((major, minor), (field, limits)) in devices {
        let directory = targets.need("io", &field)?;
        let value = format!("{major}:{minor}{limits}");
        steps.push(Step::Write(Write::new(directory, "io.max", value, field)));
    }
    Ok(())
}

/// The page limit and, where the kernel has it (5.7), the same for reservations.
pub(crate) fn hugetlb_limit(
    steps: &mut Vec<Step>,
    directory: usize,
    limit: &HugepageLimit,
    field: &str,
) {
    let size = &limit.page_size;
    let value = limit.limit;
    for (kind, absent) in [("", Absent::Fail), ("rsvd.", Absent::Satisfied)] {
        let file = format!("hugetlb.{size}.{kind}max");
        let write = Write::new(directory, file, or_max(value), field);
        steps.push(Step::Write(write.default_if(value < 0).absent(absent)));
    }
}

fn refuse_network(network: &Network) -> Result<(), Error> {
    if network.class_id.is_some_and(|class| class != 0) {
        return only_v1("linux.resources.network.classID");
    }
    if !network.priorities.is_empty() {
        return only_v1("linux.resources.network.priorities");
    }
    Ok(())
}

/// `unified`: file names and values as the kernel takes them, written last so that
/// they win. Files that move processes or change the tree's shape are refused.
fn unified_limits(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
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
            _ => targets.need(controller, &field)?,
        };
        let lines: Vec<&str> = value.lines().filter(|line| !line.trim().is_empty()).collect();
        if lines.is_empty() {
            return Err(Error::field(field, "has no value"));
        }
        for line in lines {
            steps.push(Step::Write(Write::new(directory, key.as_str(), line, field.as_str())));
        }
    }
    Ok(())
}
