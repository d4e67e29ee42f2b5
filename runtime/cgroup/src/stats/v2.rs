//! Statistics from cgroup v2.

use super::super::Error;
use super::super::node::CgroupNode;
use super::{
    Blkio, BlkioEntry, Cpu, CpuUsage, Hugetlb, Memory, MemoryEntry, MemoryEventCount, Psi, PsiLine,
    Stats, Throttling, device, keyed, list, number, page_sizes, pids,
};

const NANOSECONDS_PER_MICROSECOND: u64 = 1_000;

/// Adds what the hierarchy knows; on a hybrid host that is only what it controls.
pub(super) fn collect(node: &CgroupNode, stats: &mut Stats) -> Result<(), Error> {
    for controller in &node.directory.controllers {
        match controller.as_str() {
            "cpu" => stats.cpu = cpu(node)?,
            "cpuset" => {
                let read = |file: &str| node.read_if_there(file);
                stats.cpuset.cpus = list(&read("cpuset.cpus")?.unwrap_or_default());
                stats.cpuset.mems = list(&read("cpuset.mems")?.unwrap_or_default());
            }
            "memory" => stats.memory = memory(node)?,
            "pids" => stats.pids = pids(node)?,
            "io" => stats.blkio = blkio(node)?,
            "hugetlb" => {
                for size in page_sizes(node, ".current")? {
                    let events = keyed(node, &format!("hugetlb.{size}.events"))?;
                    let entry = Hugetlb {
                        usage: number(node, &format!("hugetlb.{size}.current"))?,
                        max: 0,
                        failcnt: events.get("max").copied().unwrap_or(0),
                    };
                    stats.hugetlb.insert(size, entry);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn cpu(node: &CgroupNode) -> Result<Cpu, Error> {
    let stat = keyed(node, "cpu.stat")?;
    let get = |key: &str| stat.get(key).copied().unwrap_or(0);
    let nanoseconds = |key: &str| get(key) * NANOSECONDS_PER_MICROSECOND;
    Ok(Cpu {
        usage: CpuUsage {
            total: nanoseconds("usage_usec"),
            kernel: nanoseconds("system_usec"),
            user: nanoseconds("user_usec"),
            ..CpuUsage::default()
        },
        throttling: Throttling {
            periods: get("nr_periods"),
            throttled_periods: get("nr_throttled"),
            throttled_time: nanoseconds("throttled_usec"),
        },
        psi: pressure(node, "cpu.pressure")?,
    })
}

fn memory(node: &CgroupNode) -> Result<Memory, Error> {
    let raw = keyed(node, "memory.stat")?;
    let events = keyed(node, "memory.events")?;
    let event = |key: &str| events.get(key).copied().unwrap_or(0);
    let usage = MemoryEntry {
        limit: number(node, "memory.max")?,
        usage: number(node, "memory.current")?,
        max: number(node, "memory.peak")?,
        failcnt: event("max"),
    };
    // Memory and swap together, as v1 counts and as the format has it.
    let swap = MemoryEntry {
        limit: number(node, "memory.swap.max")?.saturating_add(usage.limit),
        usage: number(node, "memory.swap.current")?.saturating_add(usage.usage),
        ..MemoryEntry::default()
    };
    Ok(Memory {
        cache: raw.get("file").copied().unwrap_or(0),
        usage,
        swap,
        raw,
        psi: pressure(node, "memory.pressure")?,
        event_count: MemoryEventCount {
            low: event("low"),
            high: event("high"),
            max: event("max"),
            oom: event("oom"),
            oom_kill: event("oom_kill"),
        },
        ..Memory::default()
    })
}

fn blkio(node: &CgroupNode) -> Result<Blkio, Error> {
    let mut blkio = Blkio { psi: pressure(node, "io.pressure")?, ..Blkio::default() };
    for line in node.read_if_there("io.stat")?.unwrap_or_default().lines() {
        add_io_line(line, &mut blkio);
    }
    Ok(blkio)
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`; discards have no name in the format.
pub(super) fn add_io_line(line: &str, blkio: &mut Blkio) {
    let mut words = line.split_whitespace();
    let Some((major, minor)) = words.next().and_then(device) else {
        return;
    };
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let (list, op) = match key {
            "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
            "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
            "rios" => (&mut blkio.io_serviced_recursive, "Read"),
            "wios" => (&mut blkio.io_serviced_recursive, "Write"),
            _ => continue,
        };
        let Ok(value) = value.parse() else { continue };
        list.push(BlkioEntry { major, minor, op: op.to_owned(), value });
    }
}

/// None: the kernel has no pressure information, or it is turned off (EOPNOTSUPP).
fn pressure(node: &CgroupNode, file: &str) -> Result<Option<Psi>, Error> {
    match node.read_if_there(file) {
        Ok(text) => Ok(text.map(|text| parse_pressure(&text))),
        Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn parse_pressure(text: &str) -> Psi {
    let mut psi = Psi::default();
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut parsed = PsiLine::default();
        for (key, value) in rest.split(' ').filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => parsed.avg10 = value.parse().unwrap_or(0.0),
                "avg60" => parsed.avg60 = value.parse().unwrap_or(0.0),
                "avg300" => parsed.avg300 = value.parse().unwrap_or(0.0),
                "total" => parsed.total = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        match kind {
            "some" => psi.some = parsed,
            "full" => psi.full = parsed,
            _ => {}
        }
    }
    psi
}
