//! What `linux.resources` means in the files of cgroup v1.
//!
//! Promises: no I/O; a value that v1 cannot hold is refused by its field's name.
//! Reference: the kernel's admin-guide/cgroup-v1, scheduler/sched-bwc.rst.

mod io;

use brig_spec::{Cpu, Memory, NumberList, Pids, Resources};

use super::Error;
use super::convert::or_max;
use super::plan::{Absent, Step, Targets, Write, writes};

pub(crate) use io::{check_weight, rdma_limits, throttles};
use io::{hugetlb_limits, io_limits, network_limits};

/// Everything but devices.
pub(crate) fn limits(targets: &Targets<'_>, resources: &Resources) -> Result<Vec<Step>, Error> {
    if !resources.unified.is_empty() {
        return Err(Error::field("linux.resources.unified", "the host's cgroups are not v2"));
    }
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
    hugetlb_limits(&mut steps, targets, &resources.hugepage_limits)?;
    if let Some(network) = &resources.network {
        network_limits(&mut steps, targets, network)?;
    }
    rdma_limits(&mut steps, targets, &resources.rdma)?;
    Ok(steps)
}

/// A v1 cpuset takes no process until it has cpus and memory nodes.
pub(crate) fn fill_cpuset(targets: &Targets<'_>, limits: &[Step]) -> Option<Step> {
    let (directory, unified) = targets.find("cpuset")?;
    if unified {
        return None;
    }
    let set = |file: &str| writes(limits).any(|w| w.directory == directory && w.file == file);
    Some(Step::FillCpuset { directory, cpus: !set("cpuset.cpus"), mems: !set("cpuset.mems") })
}

/// `cpus` and `mems`: the same files in v1 and v2.
pub(crate) fn cpuset_limits(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    cpu: &Cpu,
) -> Result<(), Error> {
    let lists = [(&cpu.cpus, "cpus"), (&cpu.mems, "mems")];
    for (list, name) in lists {
        let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else {
            continue;
        };
        let field = format!("linux.resources.cpu.{name}");
        if NumberList::parse(list).is_none() {
            return Err(Error::field(field, format!("{list:?} is not a list such as \"0-3,7\"")));
        }
        let directory = targets.need("cpuset", &field)?;
        steps.push(Step::Write(Write::new(
            directory,
            format!("cpuset.{name}"),
            list.trim(),
            field,
        )));
    }
    Ok(())
}

/// Refuses what no kernel takes (sched-bwc.rst: 1 ms to 1 s).
pub(crate) fn check_bandwidth(cpu: &Cpu) -> Result<(), Error> {
    if let Some(period) = cpu.period.filter(|period| *period != 0)
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

fn cpu_limits(steps: &mut Vec<Step>, targets: &Targets<'_>, cpu: &Cpu) -> Result<(), Error> {
    check_bandwidth(cpu)?;
    let write = |file: &str, value: String, name: &str, default: bool| {
        let field = format!("linux.resources.cpu.{name}");
        let directory = targets.need("cpu", &field)?;
        Ok(Write::new(directory, file, value, field).default_if(default))
    };
    let mut shares = Vec::new();
    if let Some(value) = cpu.shares.filter(|shares| *shares != 0) {
        // The kernel would clamp silently (MIN_SHARES, MAX_SHARES in kernel/sched).
        if !(2..=262_144).contains(&value) {
            let problem = format!("{value} is not between 2 and 262144");
            return Err(Error::field("linux.resources.cpu.shares", problem));
        }
        shares.push(write("cpu.shares", value.to_string(), "shares", value == 1024)?);
    }
    if let Some(idle) = cpu.idle {
        shares.push(write("cpu.idle", idle.to_string(), "idle", idle == 0)?);
    }
    push_group(steps, shares);
    let mut real_time = Vec::new();
    if let Some(period) = cpu.realtime_period.filter(|period| *period != 0) {
        real_time.push(write("cpu.rt_period_us", period.to_string(), "realtimePeriod", false)?);
    }
    if let Some(runtime) = cpu.realtime_runtime.filter(|runtime| *runtime != 0) {
        real_time.push(write("cpu.rt_runtime_us", runtime.to_string(), "realtimeRuntime", false)?);
    }
    push_group(steps, real_time);
    bandwidth_limits(steps, targets, cpu)
}

fn bandwidth_limits(steps: &mut Vec<Step>, targets: &Targets<'_>, cpu: &Cpu) -> Result<(), Error> {
    let write = |file: &str, value: String, name: &str, default: bool| {
        let field = format!("linux.resources.cpu.{name}");
        let directory = targets.need("cpu", &field)?;
        Ok::<_, Error>(Write::new(directory, file, value, field).default_if(default))
    };
    let mut bandwidth = Vec::new();
    if let Some(period) = cpu.period.filter(|period| *period != 0) {
        bandwidth.push(write(
            "cpu.cfs_period_us",
            period.to_string(),
            "period",
            period == 100_000,
        )?);
    }
    if let Some(quota) = cpu.quota.filter(|quota| *quota != 0) {
        let value = quota.max(-1);
        bandwidth.push(write("cpu.cfs_quota_us", value.to_string(), "quota", value == -1)?);
    }
    if let Some(burst) = cpu.burst {
        bandwidth.push(write("cpu.cfs_burst_us", burst.to_string(), "burst", burst == 0)?);
    }
    push_group(steps, bandwidth);
    Ok(())
}

/// One write is a plain step; several depend on each other's order.
pub(crate) fn push_group(steps: &mut Vec<Step>, mut group: Vec<Write>) {
    match group.len() {
        0 => {}
        1 => steps.extend(group.pop().map(Step::Write)),
        _ => steps.push(Step::WriteGroup(group)),
    }
}

/// Refuses numbers of bytes below -1.
pub(crate) fn check_bytes(value: Option<i64>, field: &str) -> Result<Option<i64>, Error> {
    match value {
        Some(value) if value < -1 => {
            Err(Error::field(field, format!("{value} is not a number of bytes")))
        }
        Some(0) | None => Ok(None),
        Some(value) => Ok(Some(value)),
    }
}

fn memory_limits(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    memory: &Memory,
) -> Result<(), Error> {
    const LIMIT: &str = "linux.resources.memory.limit";
    const SWAP: &str = "linux.resources.memory.swap";
    let write = |file: &str, value: String, field: &str| {
        Ok(Write::new(targets.need("memory", field)?, file, value, field))
    };
    let limit = check_bytes(memory.limit, LIMIT)?;
    let mut swap = check_bytes(memory.swap, SWAP)?;
    if let (Some(limit), Some(swap)) = (limit, swap)
        && swap != -1
        && (limit == -1 || swap < limit)
    {
        let problem = format!("{swap} (memory and swap) is below the memory limit of {limit}");
        return Err(Error::field(SWAP, problem));
    }
    let mut group = Vec::new();
    if let Some(limit) = limit {
        group.push(
            write("memory.limit_in_bytes", limit.to_string(), LIMIT)?.default_if(limit == -1),
        );
    }
    if limit == Some(-1) && swap.is_none() {
        swap = Some(-1);
    }
    if let Some(swap) = swap {
        let absent = if swap == -1 { Absent::Satisfied } else { Absent::Fail };
        let file = "memory.memsw.limit_in_bytes";
        group.push(write(file, swap.to_string(), SWAP)?.default_if(swap == -1).absent(absent));
    }
    push_group(steps, group);
    let field = "linux.resources.memory.reservation";
    if let Some(value) = check_bytes(memory.reservation, field)? {
        let write = write("memory.soft_limit_in_bytes", value.to_string(), field)?;
        steps.push(Step::Write(write.default_if(value == -1)));
    }
    let field = "linux.resources.memory.kernelTCP";
    if let Some(value) = check_bytes(memory.kernel_tcp, field)? {
        let write = write("memory.kmem.tcp.limit_in_bytes", value.to_string(), field)?;
        steps.push(Step::Write(write.default_if(value == -1)));
    }
    memory_switches(steps, targets, memory)
}

fn memory_switches(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    memory: &Memory,
) -> Result<(), Error> {
    if let Some(off) = memory.disable_oom_killer {
        let field = "linux.resources.memory.disableOOMKiller";
        let directory = targets.need("memory", field)?;
        let write = Write::new(directory, "memory.oom_control", u8::from(off), field);
        steps.push(Step::Write(write.default_if(!off)));
    }
    if let Some(value) = memory.swappiness {
        let field = "linux.resources.memory.swappiness";
        if value > 100 {
            return Err(Error::field(field, format!("{value} is not between 0 and 100")));
        }
        let directory = targets.need("memory", field)?;
        steps.push(Step::Write(Write::new(directory, "memory.swappiness", value, field)));
    }
    // Every kernel since 5.11 accounts hierarchically and refuses to stop.
    if memory.use_hierarchy == Some(false) {
        let problem = "Linux 5.11 and later always account memory hierarchically";
        return Err(Error::field("linux.resources.memory.useHierarchy", problem));
    }
    Ok(())
}

/// `pids.max`: the same file in v1 and v2. 0 is "not set", as containerd and Docker send it.
pub(crate) fn pids_limit(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    pids: &Pids,
) -> Result<(), Error> {
    if let Some(limit) = pids.limit.filter(|limit| *limit != 0) {
        let field = "linux.resources.pids.limit";
        let write = Write::new(targets.need("pids", field)?, "pids.max", or_max(limit), field);
        steps.push(Step::Write(write.default_if(limit < 0)));
    }
    Ok(())
}
