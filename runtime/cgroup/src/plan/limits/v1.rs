//! What `linux.resources` means in the files of cgroup v1.
//!
//! Reference: the kernel's admin-guide/cgroup-v1, scheduler/sched-bwc.rst.

use brig_spec::{BlockIo, Cpu, Memory, Network};

use super::super::directories::Targets;
use super::super::step::{Absent, Step, writes};
use super::{Limits, check_bytes, check_weight, set, throttles};
use crate::Error;

/// A v1 cpuset takes no process until it has cpus and memory nodes.
pub(in super::super) fn fill_cpuset(targets: &Targets<'_>, limits: &[Step]) -> Option<Step> {
    let (directory, target) = targets.find("cpuset")?;
    if target.unified {
        return None;
    }
    let set = |file: &str| writes(limits).any(|w| w.directory == directory && w.file == file);
    Some(Step::FillCpuset { directory, cpus: !set("cpuset.cpus"), mems: !set("cpuset.mems") })
}

pub(super) fn cpu(limits: &mut Limits<'_>, cpu: &Cpu) -> Result<(), Error> {
    let mut shares = Vec::new();
    if let Some(value) = set(cpu.shares) {
        // The kernel would clamp silently (MIN_SHARES, MAX_SHARES in kernel/sched).
        if !(2..=262_144).contains(&value) {
            let problem = format!("{value} is not between 2 and 262144");
            return Err(Error::field("linux.resources.cpu.shares", problem));
        }
        shares.push(limits.cpu("cpu.shares", value, "shares", 1024)?);
    }
    if let Some(idle) = cpu.idle {
        shares.push(limits.cpu("cpu.idle", idle, "idle", 0)?);
    }
    limits.push_group(shares);
    let mut real_time = Vec::new();
    if let Some(period) = set(cpu.realtime_period) {
        real_time.push(limits.cpu("cpu.rt_period_us", period, "realtimePeriod", 0)?);
    }
    if let Some(runtime) = set(cpu.realtime_runtime) {
        real_time.push(limits.cpu("cpu.rt_runtime_us", runtime, "realtimeRuntime", 0)?);
    }
    limits.push_group(real_time);
    let mut bandwidth = Vec::new();
    if let Some(period) = set(cpu.period) {
        bandwidth.push(limits.cpu("cpu.cfs_period_us", period, "period", 100_000)?);
    }
    if let Some(quota) = set(cpu.quota) {
        bandwidth.push(limits.cpu("cpu.cfs_quota_us", quota.max(-1), "quota", -1)?);
    }
    if let Some(burst) = cpu.burst {
        bandwidth.push(limits.cpu("cpu.cfs_burst_us", burst, "burst", 0)?);
    }
    limits.push_group(bandwidth);
    Ok(())
}

pub(super) fn memory(limits: &mut Limits<'_>, memory: &Memory) -> Result<(), Error> {
    const LIMIT: &str = "linux.resources.memory.limit";
    const SWAP: &str = "linux.resources.memory.swap";
    let limit = check_bytes(memory.limit, LIMIT)?;
    let mut swap = check_bytes(memory.swap, SWAP)?;
    if let (Some(limit), Some(swap)) = (limit, swap)
        && swap != -1
        && (limit == -1 || swap < limit)
    {
        let problem = format!("{swap} (memory and swap) is below the memory limit of {limit}");
        return Err(Error::field(SWAP, problem));
    }
    if limit == Some(-1) && swap.is_none() {
        swap = Some(-1);
    }
    let bytes = |limits: &Limits<'_>, file: &str, value: i64, field: &str| {
        Ok::<_, Error>(limits.write("memory", file, value, field)?.default_if(value == -1))
    };
    let mut group = Vec::new();
    if let Some(limit) = limit {
        group.push(bytes(limits, "memory.limit_in_bytes", limit, LIMIT)?);
    }
    if let Some(swap) = swap {
        let absent = if swap == -1 { Absent::Satisfied } else { Absent::Fail };
        group.push(bytes(limits, "memory.memsw.limit_in_bytes", swap, SWAP)?.absent(absent));
    }
    limits.push_group(group);
    let field = "linux.resources.memory.reservation";
    if let Some(value) = check_bytes(memory.reservation, field)? {
        let write = bytes(limits, "memory.soft_limit_in_bytes", value, field)?;
        limits.push(write);
    }
    let field = "linux.resources.memory.kernelTCP";
    if let Some(value) = check_bytes(memory.kernel_tcp, field)? {
        let write = bytes(limits, "memory.kmem.tcp.limit_in_bytes", value, field)?;
        limits.push(write);
    }
    memory_switches(limits, memory)
}

fn memory_switches(limits: &mut Limits<'_>, memory: &Memory) -> Result<(), Error> {
    if let Some(off) = memory.disable_oom_killer {
        let field = "linux.resources.memory.disableOOMKiller";
        let write = limits.write("memory", "memory.oom_control", u8::from(off), field)?;
        limits.push(write.default_if(!off));
    }
    if let Some(value) = memory.swappiness {
        let field = "linux.resources.memory.swappiness";
        let write = limits.write("memory", "memory.swappiness", value, field)?;
        limits.push(write);
    }
    // Every kernel since 5.11 accounts hierarchically and refuses to stop.
    if memory.use_hierarchy == Some(false) {
        let problem = "Linux 5.11 and later always account memory hierarchically";
        return Err(Error::field("linux.resources.memory.useHierarchy", problem));
    }
    Ok(())
}

pub(super) fn block_io(limits: &mut Limits<'_>, io: &BlockIo) -> Result<(), Error> {
    let mut push = |file: &str, bfq: Option<&str>, value: String, field: &str| {
        let instead = |file: &str| Absent::Instead { file: file.into(), value: value.clone() };
        let absent = bfq.map_or(Absent::Fail, instead);
        let write = limits.write("blkio", file, value, field)?;
        limits.push(write.absent(absent));
        Ok::<(), Error>(())
    };
    let field = "linux.resources.blockIO.weight";
    if let Some(weight) = check_weight(io.weight, field)? {
        push("blkio.weight", Some("blkio.bfq.weight"), weight.to_string(), field)?;
    }
    let field = "linux.resources.blockIO.leafWeight";
    if let Some(weight) = check_weight(io.leaf_weight, field)? {
        push("blkio.leaf_weight", None, weight.to_string(), field)?;
    }
    for (index, device) in io.weight_device.iter().enumerate() {
        let name = format!("{}:{}", device.major, device.minor);
        let field = format!("linux.resources.blockIO.weightDevice[{index}].weight");
        if let Some(weight) = check_weight(device.weight, &field)? {
            let value = format!("{name} {weight}");
            push("blkio.weight_device", Some("blkio.bfq.weight_device"), value, &field)?;
        }
        let field = format!("linux.resources.blockIO.weightDevice[{index}].leafWeight");
        if let Some(weight) = check_weight(device.leaf_weight, &field)? {
            push("blkio.leaf_weight_device", None, format!("{name} {weight}"), &field)?;
        }
    }
    let files = ["read_bps_device", "write_bps_device", "read_iops_device", "write_iops_device"];
    for ((name, devices), file) in throttles(io).into_iter().zip(files) {
        for (index, device) in devices.iter().enumerate() {
            let field = format!("linux.resources.blockIO.{name}[{index}]");
            let value = format!("{}:{} {}", device.major, device.minor, device.rate);
            push(&format!("blkio.throttle.{file}"), None, value, &field)?;
        }
    }
    Ok(())
}

pub(super) fn network(limits: &mut Limits<'_>, network: &Network) -> Result<(), Error> {
    if let Some(class) = set(network.class_id) {
        let field = "linux.resources.network.classID";
        let write = limits.write("net_cls", "net_cls.classid", class, field)?;
        limits.push(write);
    }
    for (index, priority) in network.priorities.iter().enumerate() {
        let field = format!("linux.resources.network.priorities[{index}]");
        let name = &priority.name;
        // IFNAMSIZ is 16 with the terminator; the file's separator is white space.
        if name.is_empty()
            || name.len() > 15
            || name.contains(|c: char| c.is_whitespace() || c == '/')
        {
            return Err(Error::field(field, format!("{name:?} is not the name of an interface")));
        }
        let value = format!("{name} {}", priority.priority);
        let write = limits.write("net_prio", "net_prio.ifpriomap", value, &field)?;
        limits.push(write);
    }
    Ok(())
}
