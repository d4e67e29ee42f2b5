//! Statistics from cgroup v1.

use super::super::Error;
use super::super::node::CgroupNode;
use super::{
    BlkioEntry, CpuSet, CpuUsage, Hugetlb, Memory, MemoryEntry, Stats, Throttling, device, keyed,
    list, number, page_sizes, pids,
};

/// cpuacct.stat counts in USER_HZ, which is 100 on every architecture that brig
/// supports (proc_stat(5)).
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

/// Adds what the controllers of one hierarchy know.
pub(super) fn collect(node: &CgroupNode, stats: &mut Stats) -> Result<(), Error> {
    for controller in &node.directory.controllers {
        match controller.as_str() {
            "cpu" => stats.cpu.throttling = throttling(node)?,
            "cpuacct" => stats.cpu.usage = usage(node)?,
            "cpuset" => stats.cpuset = cpuset(node)?,
            "memory" => stats.memory = memory(node)?,
            "pids" => stats.pids = pids(node)?,
            "blkio" => {
                stats.blkio.io_service_bytes_recursive = entries(node, "io_service_bytes")?;
                stats.blkio.io_serviced_recursive = entries(node, "io_serviced")?;
            }
            "hugetlb" => {
                for size in page_sizes(node, ".usage_in_bytes")? {
                    let file = |name: &str| number(node, &format!("hugetlb.{size}.{name}"));
                    let entry = Hugetlb {
                        usage: file("usage_in_bytes")?,
                        max: file("max_usage_in_bytes")?,
                        failcnt: file("failcnt")?,
                    };
                    stats.hugetlb.insert(size, entry);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn throttling(node: &CgroupNode) -> Result<Throttling, Error> {
    let stat = keyed(node, "cpu.stat")?;
    let get = |key: &str| stat.get(key).copied().unwrap_or(0);
    Ok(Throttling {
        periods: get("nr_periods"),
        throttled_periods: get("nr_throttled"),
        throttled_time: get("throttled_time"),
    })
}

fn usage(node: &CgroupNode) -> Result<CpuUsage, Error> {
    let stat = keyed(node, "cpuacct.stat")?;
    let nanoseconds = |key: &str| stat.get(key).copied().unwrap_or(0) * NANOSECONDS_PER_TICK;
    let mut usage = CpuUsage {
        total: number(node, "cpuacct.usage")?,
        kernel: nanoseconds("system"),
        user: nanoseconds("user"),
        ..CpuUsage::default()
    };
    // "cpu user system", then a line for each processor.
    let all = node.read_if_there("cpuacct.usage_all")?.unwrap_or_default();
    for line in all.lines().skip(1) {
        let mut numbers = line.split(' ').skip(1).map(|text| text.parse().unwrap_or(0));
        usage.percpu_user.push(numbers.next().unwrap_or(0));
        usage.percpu_kernel.push(numbers.next().unwrap_or(0));
    }
    let each = node.read_if_there("cpuacct.usage_percpu")?.unwrap_or_default();
    usage.percpu = each.split_whitespace().filter_map(|text| text.parse().ok()).collect();
    Ok(usage)
}

fn cpuset(node: &CgroupNode) -> Result<CpuSet, Error> {
    let file = |name: &str| number(node, &format!("cpuset.{name}"));
    let text = |name: &str| node.read_if_there(&format!("cpuset.{name}"));
    let level = text("sched_relax_domain_level")?.unwrap_or_default();
    Ok(CpuSet {
        cpus: list(&text("cpus")?.unwrap_or_default()),
        cpu_exclusive: file("cpu_exclusive")?,
        mems: list(&text("mems")?.unwrap_or_default()),
        mem_hardwall: file("mem_hardwall")?,
        mem_exclusive: file("mem_exclusive")?,
        memory_migrate: file("memory_migrate")?,
        memory_spread_page: file("memory_spread_page")?,
        memory_spread_slab: file("memory_spread_slab")?,
        memory_pressure: file("memory_pressure")?,
        sched_load_balance: file("sched_load_balance")?,
        sched_relax_domain_level: level.trim().parse().unwrap_or(0),
    })
}

fn memory(node: &CgroupNode) -> Result<Memory, Error> {
    let entry = |prefix: &str| {
        let file = |name: &str| number(node, &format!("memory.{prefix}{name}"));
        Ok::<_, Error>(MemoryEntry {
            limit: file("limit_in_bytes")?,
            usage: file("usage_in_bytes")?,
            max: file("max_usage_in_bytes")?,
            failcnt: file("failcnt")?,
        })
    };
    let raw = keyed(node, "memory.stat")?;
    Ok(Memory {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: entry("")?,
        swap: entry("memsw.")?,
        kernel: entry("kmem.")?,
        kernel_tcp: entry("kmem.tcp.")?,
        raw,
        ..Memory::default()
    })
}

/// The BFQ scheduler's numbers where it is built in, else those of throttling.
fn entries(node: &CgroupNode, name: &str) -> Result<Vec<BlkioEntry>, Error> {
    for prefix in ["blkio.bfq", "blkio.throttle"] {
        let text = node.read_if_there(&format!("{prefix}.{name}_recursive"))?.unwrap_or_default();
        let entries: Vec<BlkioEntry> = text.lines().filter_map(entry).collect();
        if !entries.is_empty() {
            return Ok(entries);
        }
    }
    Ok(Vec::new())
}

/// `8:0 Read 4096`; the file's last line, `Total 4096`, is of no device.
pub(super) fn entry(line: &str) -> Option<BlkioEntry> {
    let mut words = line.split_whitespace();
    let (major, minor) = device(words.next()?)?;
    let op = words.next()?.to_owned();
    Some(BlkioEntry { major, minor, op, value: words.next()?.parse().ok()? })
}
