//! The rarer of `linux.resources`: swap, huge pages, network classes, RDMA, bursts, idle.

use brig_integration::machine::{self, Layout};
use brig_integration::{Lab, json, need};
use std::fs;

const HUGE_PAGE: u32 = 2 << 20;

/// A setting of the guest, put back in the end.
struct Setting(&'static str, String);

impl Setting {
    fn new(path: &'static str, value: &str) -> Setting {
        let old = fs::read_to_string(path).expect("read a setting");
        fs::write(path, value).expect("change a setting");
        Setting(path, old)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = fs::write(self.0, &self.1);
    }
}

#[test]
fn huge_pages_are_limited() {
    need!(Guest);
    let lab = Lab::new();
    let _pages = Setting::new("/proc/sys/vm/nr_hugepages", "4");
    let bundle = || {
        let mount = json!({"destination": "/huge", "type": "hugetlbfs", "source": "huge"});
        lab.bundle().mount(mount).sh(&format!(
            "fallocate -l {} /huge/two && echo two; fallocate -l {HUGE_PAGE} /huge/one && echo one",
            2 * HUGE_PAGE
        ))
    };
    lab.container(bundle()).run().ok().prints("two\none");
    let limit = json!([{"pageSize": "2MB", "limit": 2 * HUGE_PAGE}]);
    let c = lab.container(bundle().set("/linux/resources/hugepageLimits", limit.clone()));
    c.run().code(1).says("two").says("/huge/one");

    let c = lab.container(lab.bundle().set("/linux/resources/hugepageLimits", limit).idle());
    c.run_detached();
    let hugetlb = c.cgroup("hugetlb");
    let file = |v1: &str, v2: &str| {
        let v2 = hugetlb.join(v2);
        let path = if v2.exists() { v2 } else { hugetlb.join(v1) };
        fs::read_to_string(path).expect("read a limit").trim().to_owned()
    };
    let limit = (2 * HUGE_PAGE).to_string();
    assert_eq!(file("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"), limit);
    assert_eq!(file("hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max"), limit);
    let procs = fs::read_to_string(hugetlb.join("cgroup.procs")).expect("read cgroup.procs");
    assert!(procs.lines().any(|line| line == c.pid().to_string()), "{procs}");
}

#[test]
fn a_size_of_huge_page_that_the_kernel_lacks_is_an_error() {
    need!(Brig);
    let lab = Lab::new();
    let limit = json!([{"pageSize": "3MB", "limit": 0}]);
    lab.container(lab.bundle().set("/linux/resources/hugepageLimits", limit))
        .run()
        .code(1)
        .says("linux.resources.hugepageLimits[0]");
    lab.assert_clean();
}

#[test]
fn network_class_and_priorities_are_those_of_the_sockets() {
    need!(Guest, CgroupV1);
    let lab = Lab::new();
    let network = json!({"classID": 0x10_0001, "priorities": [{"name": "lo", "priority": 5}]});
    let b = lab.bundle().without_namespace("network").set("/linux/resources/network", network);
    let c = lab.container(b.args(["/bin/nc", "-l", "-p", "4711"]));
    c.run_detached();
    assert_eq!(c.cgroup_file("net_cls", "net_cls.classid"), 0x10_0001.to_string());
    assert_eq!(c.cgroup_file("net_prio", "net_prio.ifpriomap"), "lo 5");
    let mut sockets = String::new();
    brig_integration::wait_until(brig_integration::PATIENCE, || {
        sockets = lab.call("ss").args(["-tlnH", "--tos"]).go().ok().stdout();
        sockets.contains(":4711")
    });
    assert!(sockets.contains("class_id:0x100001"), "{sockets}");
}

#[test]
fn an_interface_that_is_not_there_is_an_error() {
    need!(Guest, CgroupV1, Brig);
    let lab = Lab::new();
    let network = json!({"priorities": [{"name": "nosuch0", "priority": 5}]});
    lab.container(lab.bundle().set("/linux/resources/network", network))
        .run()
        .code(1)
        .says("linux.resources.network.priorities[0]");
    lab.assert_clean();
}

#[test]
fn what_v2_has_no_control_for_is_refused_there() {
    need!(CgroupV2, Brig);
    let lab = Lab::new();
    for (field, value) in [
        ("network/classID", json!(1)),
        ("network/priorities", json!([{"name": "lo", "priority": 5}])),
        ("memory/kernelTCP", json!(1 << 20)),
        ("memory/swappiness", json!(7)),
        ("memory/disableOOMKiller", json!(true)),
        ("blockIO/leafWeight", json!(100)),
    ] {
        let b = lab.bundle().set(&format!("/linux/resources/{field}"), value);
        let field = format!("linux.resources.{}", field.replace('/', "."));
        lab.container(b).run().code(1).says(&field);
    }
    lab.assert_clean();
}

#[test]
fn unified_is_refused_on_v1() {
    need!(CgroupV1, Brig);
    let lab = Lab::new();
    lab.container(lab.bundle().set("/linux/resources/unified", json!({"memory.high": "1000000"})))
        .run()
        .code(1)
        .says("linux.resources.unified");
    lab.assert_clean();
}

#[test]
fn v1_alone_has_these_controls_of_memory() {
    need!(Guest, CgroupV1);
    let lab = Lab::new();
    let memory = json!({"kernelTCP": 1 << 20, "swappiness": 7, "disableOOMKiller": true});
    let c = lab.container(lab.bundle().set("/linux/resources/memory", memory).idle());
    c.run_detached();
    assert_eq!(c.cgroup_file("memory", "memory.kmem.tcp.limit_in_bytes"), "1048576");
    assert_eq!(c.cgroup_file("memory", "memory.swappiness"), "7");
    let oom = c.cgroup_file("memory", "memory.oom_control");
    assert!(oom.contains("oom_kill_disable 1"), "{oom}");
}

#[test]
fn an_rdma_device_that_is_not_there_is_an_error() {
    need!(Brig);
    let lab = Lab::new();
    let rdma = json!({"nosuch0": {"hcaHandles": 3, "hcaObjects": 1000}});
    lab.container(lab.bundle().set("/linux/resources/rdma", rdma))
        .run()
        .code(1)
        .says("linux.resources.rdma.nosuch0");
    lab.assert_clean();
}

#[test]
fn burst_and_idle_are_set() {
    let lab = Lab::new();
    need!(Oci11);
    let [burst, idle] = match machine::layout() {
        Layout::V2 => ["cpu.max.burst", "cpu.idle"],
        Layout::V1 => ["cpu.cfs_burst_us", "cpu.idle"],
    };
    let cpu = json!({"quota": 50_000, "period": 100_000, "burst": 20_000, "idle": 1});
    let c = lab.container(lab.bundle().set("/linux/resources/cpu", cpu).idle());
    c.run_detached();
    assert_eq!(c.cgroup_file("cpu", burst), "20000");
    assert_eq!(c.cgroup_file("cpu", idle), "1");
    // A burst above the quota is what the kernel refuses.
    let cpu = json!({"quota": 50_000, "period": 100_000, "burst": 60_000});
    lab.container(lab.bundle().set("/linux/resources/cpu", cpu))
        .run()
        .code(1)
        .says("linux.resources.cpu.burst");
}

#[test]
fn swap_is_what_the_limit_leaves_beside_memory() {
    need!(Guest);
    let lab = Lab::new();
    let file = std::path::PathBuf::from("/disk").join(format!("swap-{}", lab.token()));
    let swap = |words: &[&str]| lab.call(words[0]).args(&words[1..]).arg(&file).go();
    swap(&["fallocate", "-l", "24M"]).ok();
    swap(&["chmod", "600"]).ok();
    swap(&["mkswap", "--quiet"]).ok();
    swap(&["swapon"]).ok();
    // tail keeps a line as long as it is: here more than the memory limit.
    let run = |mebibytes: u32| {
        let memory = json!({"limit": 8 << 20, "swap": mebibytes << 20});
        let b = lab.bundle().set("/linux/resources/memory", memory);
        lab.container(b.sh("head -c 10m /dev/zero | tail -n 1 | wc -c")).run()
    };
    let (without, with) = (run(8), run(24));
    swap(&["swapoff"]).ok();
    fs::remove_file(&file).expect("remove the swap file");
    // The kernel ends tail, or the shell that waits for it.
    assert_ne!(without.stdout().trim(), "10485760");
    with.ok().prints("10485760");
}
