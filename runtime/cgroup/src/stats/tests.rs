use super::*;

#[test]
fn the_json_has_the_keys_of_runc() {
    let stats = Stats {
        cpu: Cpu {
            usage: CpuUsage { total: 3, percpu: vec![1, 2], ..CpuUsage::default() },
            throttling: Throttling { throttled_time: 9, ..Throttling::default() },
            psi: None,
        },
        memory: Memory {
            kernel_tcp: MemoryEntry { limit: 1, ..MemoryEntry::default() },
            ..Memory::default()
        },
        pids: Pids { current: 4, limit: 0 },
        blkio: Blkio {
            io_service_bytes_recursive: vec![v1::entry("8:0 Read 4096").unwrap()],
            ..Blkio::default()
        },
        hugetlb: [("2MB".to_owned(), Hugetlb::default())].into(),
        ..Stats::default()
    };
    let expected = serde_json::json!({
        "cpu": {"usage": {"total": 3, "percpu": [1, 2], "kernel": 0, "user": 0},
                "throttling": {"throttledTime": 9}},
        "cpuset": {"cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0, "memory_migrate": 0,
                   "memory_spread_page": 0, "memory_spread_slab": 0, "memory_pressure": 0,
                   "sched_load_balance": 0, "sched_relax_domain_level": 0},
        "memory": {"usage": {"limit": 0, "failcnt": 0}, "swap": {"limit": 0, "failcnt": 0},
                   "kernel": {"limit": 0, "failcnt": 0}, "kernelTCP": {"limit": 1, "failcnt": 0},
                   "event_count": {}},
        "pids": {"current": 4},
        "blkio": {"ioServiceBytesRecursive": [{"major": 8, "op": "Read", "value": 4096}]},
        "hugetlb": {"2MB": {"failcnt": 0}},
    });
    assert_eq!(serde_json::to_value(&stats).unwrap(), expected);
    assert_eq!(serde_json::from_value::<Stats>(expected).unwrap(), stats);
}

#[test]
fn io_lines_become_reads_and_writes() {
    let mut blkio = Blkio::default();
    v2::add_io_line("8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6", &mut blkio);
    let short = |list: &[BlkioEntry]| -> Vec<(String, u64)> {
        list.iter().map(|entry| (entry.op.clone(), entry.value)).collect()
    };
    let bytes = short(&blkio.io_service_bytes_recursive);
    assert_eq!(bytes, [("Read".to_owned(), 1), ("Write".to_owned(), 2)]);
    let operations = short(&blkio.io_serviced_recursive);
    assert_eq!(operations, [("Read".to_owned(), 3), ("Write".to_owned(), 4)]);
}

#[test]
fn totals_are_of_no_device() {
    assert_eq!(v1::entry("Total 4096"), None);
}

#[test]
fn pressure_is_read() {
    let psi = v2::parse_pressure(
        "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
    );
    assert_eq!(
        (psi.some.avg10, psi.some.avg60, psi.some.total, psi.full.total),
        (1.5, 0.25, 77, 5)
    );
}

#[test]
fn lists_are_expanded() {
    assert_eq!(list("0-2,7\n"), [0, 1, 2, 7]);
    assert_eq!(list("\n"), Vec::<u16>::new());
}
