//! What `linux.resources` means in the files of cgroup v1.
//!
//! Promises: no I/O; a value that v1 cannot hold is refused by its field's name.
//! Reference: the kernel's admin-guide/cgroup-v1, scheduler/sched-bwc.rst.

use std::collections::HashMap;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxNetwork, LinuxPids, LinuxRdma,
    LinuxResources, LinuxThrottleDevice,
};

use super::Error;
use super::convert::{check_list, check_page_size, or_max};
use super::plan::{Absent, Step, Targets, Write, writes};
use super::v2;

/// Everything but devices.
pub(crate) fn limits(
    targets: &Targets<'_>,
    resources: &LinuxResources,
) -> Result<Vec<Step>, Error> {
    if resources
        .unified()
        .as_ref()
        .is_some_and(|unified| !unified.is_empty())
    {
        return Err(Error::field(
            "linux.resources.unified",
            "the host's cgroups are not v2",
        ));
    }
    let mut steps = Vec::new();
    if let Some(cpu) = resources.cpu() {
        cpuset_limits(&mut steps, targets, cpu)?;
        cpu_limits(&mut steps, targets, cpu)?;
    }
    if let Some(memory) = resources.memory() {
        memory_limits(&mut steps, targets, memory)?;
    }
    if let Some(pids) = resources.pids() {
        pids_limit(&mut steps, targets, pids)?;
    }
    if let Some(io) = resources.block_io() {
        io_limits(&mut steps, targets, io)?;
    }
    hugetlb_limits(
        &mut steps,
        targets,
        resources.hugepage_limits().as_deref().unwrap_or_default(),
    )?;
    if let Some(network) = resources.network() {
        network_limits(&mut steps, targets, network)?;
    }
    if let Some(rdma) = resources.rdma() {
        rdma_limits(&mut steps, targets, rdma)?;
    }
    Ok(steps)
}

/// A v1 cpuset takes no process until it has cpus and memory nodes.
pub(crate) fn fill_cpuset(targets: &Targets<'_>, limits: &[Step]) -> Option<Step> {
    let (directory, unified) = targets.find("cpuset")?;
    if unified {
        return None;
    }
    let set = |file: &str| writes(limits).any(|w| w.directory == directory && w.file == file);
    Some(Step::FillCpuset {
        directory,
        cpus: !set("cpuset.cpus"),
        mems: !set("cpuset.mems"),
    })
}

/// `cpus` and `mems`: the same files in v1 and v2.
pub(crate) fn cpuset_limits(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    cpu: &LinuxCpu,
) -> Result<(), Error> {
    let lists = [(cpu.cpus(), "cpus"), (cpu.mems(), "mems")];
    for (list, name) in lists {
        let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else {
            continue;
        };
        let field = format!("linux.resources.cpu.{name}");
        check_list(list, &field)?;
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
pub(crate) fn check_bandwidth(cpu: &LinuxCpu) -> Result<(), Error> {
    if let Some(period) = cpu.period().filter(|period| *period != 0)
        && !(1_000..=1_000_000).contains(&period)
    {
        let problem = format!("{period} is not between 1000 and 1000000 µs");
        return Err(Error::field("linux.resources.cpu.period", problem));
    }
    if let Some(quota) = cpu.quota()
        && (1..1_000).contains(&quota)
    {
        let problem = format!("{quota} µs is below the kernel's minimum of 1000");
        return Err(Error::field("linux.resources.cpu.quota", problem));
    }
    if let Some(idle) = cpu.idle()
        && !(0..=1).contains(&idle)
    {
        return Err(Error::field(
            "linux.resources.cpu.idle",
            format!("{idle} is neither 0 nor 1"),
        ));
    }
    Ok(())
}

fn cpu_limits(steps: &mut Vec<Step>, targets: &Targets<'_>, cpu: &LinuxCpu) -> Result<(), Error> {
    check_bandwidth(cpu)?;
    let write = |file: &str, value: String, name: &str, default: bool| {
        let field = format!("linux.resources.cpu.{name}");
        let directory = targets.need("cpu", &field)?;
        Ok(Write::new(directory, file, value, field).default_if(default))
    };
    let mut shares = Vec::new();
    if let Some(value) = cpu.shares().filter(|shares| *shares != 0) {
        // The kernel would clamp silently (MIN_SHARES, MAX_SHARES in kernel/sched).
        if !(2..=262_144).contains(&value) {
            let problem = format!("{value} is not between 2 and 262144");
            return Err(Error::field("linux.resources.cpu.shares", problem));
        }
        shares.push(write(
            "cpu.shares",
            value.to_string(),
            "shares",
            value == 1024,
        )?);
    }
    if let Some(idle) = cpu.idle() {
        shares.push(write("cpu.idle", idle.to_string(), "idle", idle == 0)?);
    }
    push_group(steps, shares);
    let mut real_time = Vec::new();
    if let Some(period) = cpu.realtime_period().filter(|period| *period != 0) {
        real_time.push(write(
            "cpu.rt_period_us",
            period.to_string(),
            "realtimePeriod",
            false,
        )?);
    }
    if let Some(runtime) = cpu.realtime_runtime().filter(|runtime| *runtime != 0) {
        real_time.push(write(
            "cpu.rt_runtime_us",
            runtime.to_string(),
            "realtimeRuntime",
            false,
        )?);
    }
    push_group(steps, real_time);
    let mut bandwidth = Vec::new();
    if let Some(period) = cpu.period().filter(|period| *period != 0) {
        bandwidth.push(write(
            "cpu.cfs_period_us",
            period.to_string(),
            "period",
            period == 100_000,
        )?);
    }
    if let Some(quota) = cpu.quota().filter(|quota| *quota != 0) {
        let value = quota.max(-1);
        bandwidth.push(write(
            "cpu.cfs_quota_us",
            value.to_string(),
            "quota",
            value == -1,
        )?);
    }
    if let Some(burst) = cpu.burst() {
        bandwidth.push(write(
            "cpu.cfs_burst_us",
            burst.to_string(),
            "burst",
            burst == 0,
        )?);
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
        Some(value) if value < -1 => Err(Error::field(
            field,
            format!("{value} is not a number of bytes"),
        )),
        Some(0) | None => Ok(None),
        Some(value) => Ok(Some(value)),
    }
}

fn memory_limits(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    memory: &LinuxMemory,
) -> Result<(), Error> {
    const LIMIT: &str = "linux.resources.memory.limit";
    const SWAP: &str = "linux.resources.memory.swap";
    let write = |file: &str, value: String, field: &str| {
        Ok(Write::new(
            targets.need("memory", field)?,
            file,
            value,
            field,
        ))
    };
    let limit = check_bytes(memory.limit(), LIMIT)?;
    let mut swap = check_bytes(memory.swap(), SWAP)?;
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
        let absent = if swap == -1 {
            Absent::Satisfied
        } else {
            Absent::Fail
        };
        let file = "memory.memsw.limit_in_bytes";
        group.push(
            write(file, swap.to_string(), SWAP)?
                .default_if(swap == -1)
                .absent(absent),
        );
    }
    push_group(steps, group);
    let field = "linux.resources.memory.reservation";
    if let Some(value) = check_bytes(memory.reservation(), field)? {
        let write = write("memory.soft_limit_in_bytes", value.to_string(), field)?;
        steps.push(Step::Write(write.default_if(value == -1)));
    }
    let field = "linux.resources.memory.kernelTCP";
    if let Some(value) = check_bytes(memory.kernel_tcp(), field)? {
        let write = write("memory.kmem.tcp.limit_in_bytes", value.to_string(), field)?;
        steps.push(Step::Write(write.default_if(value == -1)));
    }
    memory_switches(steps, targets, memory)
}

fn memory_switches(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    memory: &LinuxMemory,
) -> Result<(), Error> {
    if let Some(off) = memory.disable_oom_killer() {
        let field = "linux.resources.memory.disableOOMKiller";
        let directory = targets.need("memory", field)?;
        let write = Write::new(directory, "memory.oom_control", u8::from(off), field);
        steps.push(Step::Write(write.default_if(!off)));
    }
    if let Some(value) = memory.swappiness() {
        let field = "linux.resources.memory.swappiness";
        if value > 100 {
            return Err(Error::field(
                field,
                format!("{value} is not between 0 and 100"),
            ));
        }
        let directory = targets.need("memory", field)?;
        steps.push(Step::Write(Write::new(
            directory,
            "memory.swappiness",
            value,
            field,
        )));
    }
    // Every kernel since 5.11 accounts hierarchically and refuses to stop.
    if memory.use_hierarchy() == Some(false) {
        let problem = "Linux 5.11 and later always account memory hierarchically";
        return Err(Error::field("linux.resources.memory.useHierarchy", problem));
    }
    Ok(())
}

/// `pids.max`: the same file in v1 and v2. 0 is "not set", as containerd and Docker send it.
pub(crate) fn pids_limit(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    pids: &LinuxPids,
) -> Result<(), Error> {
    let limit = pids.limit();
    if limit != 0 {
        let field = "linux.resources.pids.limit";
        let write = Write::new(
            targets.need("pids", field)?,
            "pids.max",
            or_max(limit),
            field,
        );
        steps.push(Step::Write(write.default_if(limit < 0)));
    }
    Ok(())
}

/// `linux.resources.blockIO.weight` and its kind: 10 to 1000, 0 is "not set".
pub(crate) fn check_weight(weight: Option<u16>, field: &str) -> Result<Option<u16>, Error> {
    match weight {
        Some(0) | None => Ok(None),
        Some(weight) if (10..=1000).contains(&weight) => Ok(Some(weight)),
        Some(weight) => Err(Error::field(
            field,
            format!("{weight} is not between 10 and 1000"),
        )),
    }
}

fn io_limits(steps: &mut Vec<Step>, targets: &Targets<'_>, io: &LinuxBlockIo) -> Result<(), Error> {
    let mut push = |file: &str, bfq: Option<&str>, value: String, field: &str| {
        let instead = |file: &str| Absent::Instead {
            file: file.into(),
            value: value.clone(),
        };
        let absent = bfq.map_or(Absent::Fail, instead);
        let directory = targets.need("blkio", field)?;
        steps.push(Step::Write(
            Write::new(directory, file, value, field).absent(absent),
        ));
        Ok::<(), Error>(())
    };
    let field = "linux.resources.blockIO.weight";
    if let Some(weight) = check_weight(io.weight(), field)? {
        push(
            "blkio.weight",
            Some("blkio.bfq.weight"),
            weight.to_string(),
            field,
        )?;
    }
    let field = "linux.resources.blockIO.leafWeight";
    if let Some(weight) = check_weight(io.leaf_weight(), field)? {
        push("blkio.leaf_weight", None, weight.to_string(), field)?;
    }
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        let name = format!("{}:{}", device.major(), device.minor());
        let field = format!("linux.resources.blockIO.weightDevice[{index}].weight");
        if let Some(weight) = check_weight(device.weight(), &field)? {
            let value = format!("{name} {weight}");
            push(
                "blkio.weight_device",
                Some("blkio.bfq.weight_device"),
                value,
                &field,
            )?;
        }
        let field = format!("linux.resources.blockIO.weightDevice[{index}].leafWeight");
        if let Some(weight) = check_weight(device.leaf_weight(), &field)? {
            push(
                "blkio.leaf_weight_device",
                None,
                format!("{name} {weight}"),
                &field,
            )?;
        }
    }
    for (devices, name, file) in throttles(io) {
        for (index, device) in devices.iter().enumerate() {
            let field = format!("linux.resources.blockIO.{name}[{index}]");
            let value = format!("{}:{} {}", device.major(), device.minor(), device.rate());
            push(&format!("blkio.throttle.{file}"), None, value, &field)?;
        }
    }
    Ok(())
}

/// The four throttle lists with their name in config.json and in v1.
pub(crate) fn throttles(
    io: &LinuxBlockIo,
) -> [(&[LinuxThrottleDevice], &'static str, &'static str); 4] {
    [
        (
            list(io.throttle_read_bps_device()),
            "throttleReadBpsDevice",
            "read_bps_device",
        ),
        (
            list(io.throttle_write_bps_device()),
            "throttleWriteBpsDevice",
            "write_bps_device",
        ),
        (
            list(io.throttle_read_iops_device()),
            "throttleReadIOPSDevice",
            "read_iops_device",
        ),
        (
            list(io.throttle_write_iops_device()),
            "throttleWriteIOPSDevice",
            "write_iops_device",
        ),
    ]
}

fn list(list: &Option<Vec<LinuxThrottleDevice>>) -> &[LinuxThrottleDevice] {
    list.as_deref().unwrap_or_default()
}

fn hugetlb_limits(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    limits: &[LinuxHugepageLimit],
) -> Result<(), Error> {
    for (index, limit) in limits.iter().enumerate() {
        let field = format!("linux.resources.hugepageLimits[{index}]");
        let size = limit.page_size();
        check_page_size(size, &field)?;
        let Some((directory, unified)) = targets.find("hugetlb") else {
            targets.need("hugetlb", &field)?;
            continue;
        };
        if unified {
            v2::hugetlb_limit(steps, directory, limit, &field);
            continue;
        }
        let value = limit.limit().max(-1);
        // Reservations are limited alike, or a container could reserve every page
        // of the host (Linux 5.7, hugetlb.rst).
        for (kind, absent) in [("", Absent::Fail), ("rsvd.", Absent::Satisfied)] {
            let file = format!("hugetlb.{size}.{kind}limit_in_bytes");
            let write = Write::new(directory, file, value, field.as_str());
            steps.push(Step::Write(write.default_if(value == -1).absent(absent)));
        }
    }
    Ok(())
}

fn network_limits(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    network: &LinuxNetwork,
) -> Result<(), Error> {
    if let Some(class) = network.class_id().filter(|class| *class != 0) {
        let field = "linux.resources.network.classID";
        let directory = targets.need("net_cls", field)?;
        steps.push(Step::Write(Write::new(
            directory,
            "net_cls.classid",
            class,
            field,
        )));
    }
    for (index, priority) in network.priorities().iter().flatten().enumerate() {
        let field = format!("linux.resources.network.priorities[{index}]");
        let name = priority.name();
        // IFNAMSIZ is 16 with the terminator; the file's separator is white space.
        if name.is_empty()
            || name.len() > 15
            || name.contains(|c: char| c.is_whitespace() || c == '/')
        {
            return Err(Error::field(
                field,
                format!("{name:?} is not the name of an interface"),
            ));
        }
        let directory = targets.need("net_prio", &field)?;
        let value = format!("{name} {}", priority.priority());
        steps.push(Step::Write(Write::new(
            directory,
            "net_prio.ifpriomap",
            value,
            field,
        )));
    }
    Ok(())
}

/// `rdma.max`: the same file in v1 and v2 (rdma.rst).
pub(crate) fn rdma_limits(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    rdma: &HashMap<String, LinuxRdma>,
) -> Result<(), Error> {
    let mut devices: Vec<_> = rdma.iter().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limit) in devices {
        let field = format!("linux.resources.rdma.{name}");
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(Error::field(
                field,
                format!("{name:?} is not the name of a device"),
            ));
        }
        let mut value = name.clone();
        for (key, limit) in [
            ("hca_handle", limit.hca_handles()),
            ("hca_object", limit.hca_objects()),
        ] {
            if let Some(limit) = limit {
                value.push_str(&format!(" {key}={limit}"));
            }
        }
        if value.len() > name.len() {
            let directory = targets.need("rdma", &field)?;
            steps.push(Step::Write(Write::new(directory, "rdma.max", value, field)));
        }
    }
    Ok(())
}
