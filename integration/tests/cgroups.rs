//! What the runtime has written to a cgroup, read back by the crate cgroups-rs: another's knowledge of the
//! kernel's files, in v1 and in v2.

use brig_integration::command::flavour;
use brig_integration::{Container, Lab, Value, json, need};
use cgroups_rs::blkio::{BlkIoController, BlkIoData};
use cgroups_rs::cpu::CpuController;
use cgroups_rs::cpuacct::CpuAcctController;
use cgroups_rs::cpuset::CpuSetController;
use cgroups_rs::devices::{DevicePermissions, DeviceType, DevicesController};
use cgroups_rs::freezer::{FreezerController, FreezerState};
use cgroups_rs::hugetlb::HugeTlbController;
use cgroups_rs::memory::MemController;
use cgroups_rs::net_cls::NetClsController;
use cgroups_rs::pid::PidController;
use cgroups_rs::{Cgroup, MaxValue, hierarchies};

use std::fs;

/// The container's cgroup, as the other reader finds it.
fn read(c: &Container<'_>) -> Cgroup {
    let cgroup = Cgroup::load(hierarchies::auto(), c.bundle.cgroup().trim_start_matches('/'));
    assert!(cgroup.exists(), "no cgroup {}", c.bundle.cgroup());
    cgroup
}

/// The controller of this type; there is one.
macro_rules! controller {
    ($cgroup:expr, $kind:ty) => {
        $cgroup.controller_of::<$kind>().expect(stringify!($kind))
    };
}

/// Limits as config.json has them.
struct Limits {
    memory: i64,
    memory_and_swap: i64,
    reservation: i64,
    shares: u64,
    /// What the shares are in v2.
    weight: u64,
    quota: i64,
    period: u64,
    pids: i64,
}

impl Limits {
    fn resources(&self) -> Value {
        json!({
            "memory": {"limit": self.memory, "swap": self.memory_and_swap, "reservation": self.reservation},
            "cpu": {"shares": self.shares, "quota": self.quota, "period": self.period,
                    "cpus": "0", "mems": "0"},
            "pids": {"limit": self.pids},
        })
    }

    #[track_caller]
    fn assert_in(&self, cgroup: &Cgroup) {
        let memory = controller!(cgroup, MemController);
        let stat = memory.memory_stat();
        assert_eq!(
            (stat.limit_in_bytes, stat.soft_limit_in_bytes),
            (self.memory, self.reservation)
        );
        let swap =
            if cgroup.v2() { self.memory_and_swap - self.memory } else { self.memory_and_swap };
        assert_eq!(memory.memswap().limit_in_bytes, swap);
        let cpu = controller!(cgroup, CpuController);
        let bandwidth = (cpu.cfs_quota().expect("a quota"), cpu.cfs_period().expect("a period"));
        assert_eq!(bandwidth, (self.quota, self.period));
        // runc 1.1 has another formula for weights.
        if !cgroup.v2() || flavour().is_brig() {
            let share = if cgroup.v2() { self.weight } else { self.shares };
            assert_eq!(cpu.shares().expect("shares"), share);
        }
        let pids = if self.pids < 0 { MaxValue::Max } else { MaxValue::Value(self.pids) };
        assert_eq!(controller!(cgroup, PidController).get_pid_max().expect("a limit"), pids);
        let cpuset = controller!(cgroup, CpuSetController).cpuset();
        assert_eq!((cpuset.cpus, cpuset.mems), (vec![(0, 0)], vec![(0, 0)]));
    }
}

#[test]
fn limits_are_what_was_asked_and_follow_an_update() {
    let lab = Lab::new();
    let first = Limits {
        memory: 64 << 20,
        memory_and_swap: 128 << 20,
        reservation: 32 << 20,
        shares: 512,
        weight: 59,
        quota: 50_000,
        period: 20_000,
        pids: 33,
    };
    let c = lab.container(lab.bundle().set("/linux/resources", first.resources()).idle());
    c.run_detached();
    first.assert_in(&read(&c));
    // Both limits of memory above the former, the quota's time below.
    let second = Limits {
        memory: 256 << 20,
        memory_and_swap: 256 << 20,
        reservation: 48 << 20,
        shares: 2048,
        weight: 174,
        quota: 20_000,
        period: 100_000,
        pids: -1,
    };
    let resources = second.resources().to_string();
    c.call("update", ["--resources", "-"]).stdin(resources.as_bytes()).go().ok();
    second.assert_in(&read(&c));
    c.call("update", ["--resources", "-"])
        .stdin(first.resources().to_string().as_bytes())
        .go()
        .ok();
    first.assert_in(&read(&c));
    c.ends_well();
}

/// Since version 1.3 of the specification; to runc 1.1 it is no limit.
#[test]
fn a_limit_of_0_processes_lets_none_be_added_and_minus_1_lifts_it() {
    need!(Brig);
    let lab = Lab::new();
    let b = lab.bundle().set("/linux/resources/pids", json!({"limit": 0}));
    let c = lab.container(b.args(["/bin/true"]));
    c.run().ok();
    // A shell would end where it cannot fork.
    let c = lab.container(lab.bundle().args(["/bin/sleep", "1000"]));
    c.run_detached();
    for (limit, written) in [("0", "1"), ("-1", "max"), ("0", "1"), ("7", "7")] {
        c.call("update", ["--pids-limit", limit]).go().ok();
        assert_eq!(c.cgroup_file("pids", "pids.max"), written);
    }
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    lab.assert_clean();
}

#[test]
fn what_was_not_asked_is_not_limited() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().unset("/linux/resources").idle());
    c.run_detached();
    let cgroup = read(&c);
    let pids = controller!(cgroup, PidController);
    assert_eq!(pids.get_pid_max().expect("a limit"), MaxValue::Max);
    assert_eq!(controller!(cgroup, CpuController).cfs_quota().expect("a quota"), -1);
    let memory = controller!(cgroup, MemController).memory_stat().limit_in_bytes;
    // In v1 the largest multiple of a page; the other reader's word for v2's `max` is -1.
    assert!(memory == -1 || memory > 1 << 60, "{memory}");
    // v1 takes no process into an empty cpuset; v2 has the parent's, and an empty file.
    let cpus = controller!(cgroup, CpuSetController).cpuset().cpus;
    if cgroup.v2() {
        assert_eq!(cpus, []);
    } else {
        let root = Cgroup::load(hierarchies::auto(), "");
        assert_eq!(cpus, controller!(root, CpuSetController).cpuset().cpus);
    }
}

#[test]
fn v2_files_by_name_hold_their_values() {
    need!(CgroupV2);
    let lab = Lab::new();
    let unified = json!({"memory.high": "50331648", "memory.min": "4194304"});
    let c = lab.container(lab.bundle().set("/linux/resources/unified", unified).idle());
    c.run_detached();
    let memory = controller!(read(&c), MemController).get_mem().expect("limits");
    assert_eq!(memory.high, Some(MaxValue::Value(50_331_648)));
    assert_eq!(memory.min, Some(MaxValue::Value(4_194_304)));
}

#[test]
fn v1_devices_are_those_that_were_allowed() {
    need!(CgroupV1);
    let lab = Lab::new();
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 237, "access": "rw"},
        {"allow": true, "type": "b", "major": 7, "access": "r"},
    ]);
    let c = lab.container(lab.bundle().set("/linux/resources/devices", rules).idle());
    c.run_detached();
    let cgroup = read(&c);
    let allowed = controller!(cgroup, DevicesController).allowed_devices().expect("a list");
    let has = |kind: DeviceType, major: i64, minor: i64, access: &[DevicePermissions]| {
        let same = |found: &cgroups_rs::DeviceResource| {
            (found.major, found.minor) == (major, minor)
                && found.devtype == kind
                && found.access == access
        };
        allowed.iter().any(same)
    };
    use DevicePermissions::{MkNod, Read, Write};
    assert!(has(DeviceType::Char, 10, 237, &[Read, Write]), "{allowed:?}");
    assert!(has(DeviceType::Block, 7, -1, &[Read]), "{allowed:?}");
    assert!(has(DeviceType::Char, 1, 3, &[Read, Write, MkNod]), "{allowed:?}");
    assert!(!allowed.iter().any(|found| found.devtype == DeviceType::All), "{allowed:?}");
    assert!(!has(DeviceType::Char, 1, 11, &[Read, Write, MkNod]), "{allowed:?}");
}

#[test]
fn every_hierarchy_has_the_processes_and_no_other() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let pid_file = lab.path("further");
    let pid_file = pid_file.to_string_lossy();
    c.exec_call(&["--detach", "--pid-file", &pid_file], &["/bin/idle"]).go().ok();
    let further: u64 =
        fs::read_to_string(&*pid_file).expect("a pid").trim().parse().expect("a pid");
    // Frozen, so that no shell makes a process meanwhile.
    c.verb("pause").ok();
    let told = c.call("ps", ["--format", "json"]).go().ok().json();
    let expected: Vec<u64> =
        told.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let init = u64::try_from(c.pid()).expect("a pid");
    assert!(expected.contains(&init) && expected.contains(&further), "{told}");
    let cgroup = read(&c);
    for subsystem in cgroup.subsystems() {
        let listed = subsystem.to_controller().procs();
        let mut pids: Vec<u64> = listed.iter().map(|listed| listed.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, expected, "{}", subsystem.controller_name());
    }
    c.delete_force().ok();
    for subsystem in cgroup.subsystems() {
        assert!(!subsystem.to_controller().exists(), "{} is left", subsystem.controller_name());
    }
}

#[test]
fn a_paused_container_is_frozen_and_a_resumed_one_is_not() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let cgroup = read(&c);
    let state = || controller!(cgroup, FreezerController).state().expect("a state");
    assert!(matches!(state(), FreezerState::Thawed));
    c.verb("pause").ok();
    assert!(matches!(state(), FreezerState::Frozen));
    c.verb("resume").ok();
    assert!(matches!(state(), FreezerState::Thawed));
    // And the other way round: what another has frozen is paused.
    controller!(cgroup, FreezerController).freeze().expect("freeze");
    c.wait_status("paused");
    controller!(cgroup, FreezerController).thaw().expect("thaw");
    c.wait_status("running");
}

#[test]
fn huge_pages_are_limited_in_each_size() {
    let lab = Lab::new();
    let root = Cgroup::load(hierarchies::auto(), "");
    let Some(hugetlb) = root.controller_of::<HugeTlbController>() else {
        // Where v2 has it beside v1 the other reader does not look; `resources` does.
        return println!("not for this layout");
    };
    let sizes = hugetlb.get_sizes();
    assert!(!sizes.is_empty());
    let limits: Vec<Value> =
        sizes.iter().map(|size| json!({"pageSize": size, "limit": 1_u64 << 31})).collect();
    let c = lab.container(lab.bundle().set("/linux/resources/hugepageLimits", limits).idle());
    c.run_detached();
    for size in sizes {
        let limit = controller!(read(&c), HugeTlbController).limit_in_bytes(&size);
        assert_eq!(limit.expect("a limit"), 1 << 31, "{size}");
    }
}

#[test]
fn v1_block_rates_and_network_class_are_what_was_asked() {
    need!(Guest, CgroupV1);
    let lab = Lab::new();
    let text = fs::read_to_string("/sys/block/vda/dev").expect("a guest with --disk");
    let (major, minor) = text.trim().split_once(':').expect("major:minor");
    let (major, minor): (i16, i16) = (major.parse().expect("major"), minor.parse().expect("minor"));
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let io = json!({
        "throttleReadBpsDevice": rate(1 << 20), "throttleWriteBpsDevice": rate(2 << 20),
        "throttleReadIOPSDevice": rate(300), "throttleWriteIOPSDevice": rate(400),
    });
    let b = lab.bundle().set("/linux/resources/blockIO", io);
    let c = lab.container(b.set("/linux/resources/network", json!({"classID": 0x10_0001})).idle());
    c.run_detached();
    let cgroup = read(&c);
    let shown = controller!(cgroup, BlkIoController).blkio().throttle;
    let only = |data: u64| [BlkIoData { major, minor, data }];
    assert_eq!(shown.read_bps_device, only(1 << 20));
    assert_eq!(shown.write_bps_device, only(2 << 20));
    assert_eq!(shown.read_iops_device, only(300));
    assert_eq!(shown.write_iops_device, only(400));
    let class = controller!(cgroup, NetClsController).get_class().expect("a class");
    assert_eq!(class, 0x10_0001);
}

/// In a frozen container nothing changes, so that both readers see the same.
#[test]
fn statistics_are_those_of_the_other_reader() {
    let lab = Lab::new();
    let resources = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 9},
        "cpu": {"quota": 5_000, "period": 100_000}});
    let c =
        lab.container(lab.bundle().set("/linux/resources", resources).sh("while :; do :; done"));
    c.run_detached();
    let cgroup = read(&c);
    let throttled = |cgroup: &Cgroup| cpu_stat(cgroup, "nr_throttled");
    let held = || throttled(&cgroup) >= 2;
    assert!(brig_integration::wait_until(brig_integration::PATIENCE, held));
    c.verb("pause").ok();
    let stats = c.call("events", ["--stats"]).go().ok().json();
    let number = |pointer: &str| {
        let found = stats.pointer(&format!("/data/{pointer}")).and_then(Value::as_u64);
        found.unwrap_or_else(|| panic!("{pointer} in {stats}"))
    };
    let total = match cgroup.v2() {
        true => cpu_stat(&cgroup, "usage_usec") * 1000,
        false => controller!(cgroup, CpuAcctController).cpuacct().usage,
    };
    assert_eq!(number("cpu/usage/total"), total);
    assert_eq!(number("cpu/throttling/throttledPeriods"), throttled(&cgroup));
    assert_eq!(number("pids/limit"), 9);
    let current = controller!(cgroup, PidController).get_pid_current().expect("a number");
    assert_eq!(number("pids/current"), current);
    let limit = controller!(cgroup, MemController).memory_stat().limit_in_bytes;
    assert_eq!(number("memory/usage/limit"), u64::try_from(limit).expect("a limit"));
    c.verb("resume").ok();
}

/// A number of `cpu.stat`.
fn cpu_stat(cgroup: &Cgroup, key: &str) -> u64 {
    let text = controller!(cgroup, CpuController).cpu().stat;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{key} in {text}"))
}
