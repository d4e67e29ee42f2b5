//! `linux.resources.blockIO` on a real disk: rates are kept, weights are taken, use is counted.
//!
//! Only in guests: the disk and its I/O scheduler are theirs.

use brig_integration::machine::{self, Layout};
use brig_integration::{Bundle, Lab, json, need};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// The guest's disk, as a device and by name of its field.
const DISK: &str = "/sys/block/vda";

fn device() -> (String, u32, u32) {
    let text = fs::read_to_string(format!("{DISK}/dev")).expect("a guest with --disk");
    let (major, minor) = text.trim().split_once(':').expect("major:minor");
    (text.trim().into(), major.parse().expect("major"), minor.parse().expect("minor"))
}

/// A directory on the disk, gone with this value.
struct Data(PathBuf);

impl Data {
    fn new(lab: &Lab) -> Data {
        let dir = PathBuf::from("/disk").join(lab.token());
        fs::create_dir_all(&dir).expect("a guest with --disk");
        Data(dir)
    }

    /// A bundle with the directory at /data that runs `command` and prints how long it took.
    fn timed(&self, lab: &Lab, command: &str) -> Bundle {
        let now = "read -r now rest </proc/uptime; echo $now";
        lab.bundle().bind(&self.0, "/data", &["rw"]).sh(&format!("{now}; {command} && {now}"))
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Seconds between the two numbers that a [`Data::timed`] program has printed.
fn seconds(printed: &str) -> f64 {
    let times: Vec<f64> = printed.lines().filter_map(|l| l.parse().ok()).collect();
    assert_eq!(times.len(), 2, "{printed}");
    times[1] - times[0]
}

const WRITE: &str = "dd if=/dev/zero of=/data/file bs=64k count=32 oflag=direct";
const READ: &str = "dd if=/data/file of=/dev/null bs=64k count=32 iflag=direct";

#[test]
fn rates_hold_the_program_back() {
    need!(Guest);
    let lab = Lab::new();
    let data = Data::new(&lab);
    let (_, major, minor) = device();
    for command in [WRITE, READ] {
        let free = seconds(&lab.container(data.timed(&lab, command)).run().ok().stdout());
        assert!(free < 1.5, "{command} without a limit takes {free} s");
    }
    // 32 blocks are 2 MiB: at 1 MiB or 16 blocks a second, 2 s.
    for (field, rate, command) in [
        ("throttleWriteBpsDevice", 1 << 20, WRITE),
        ("throttleReadBpsDevice", 1 << 20, READ),
        ("throttleWriteIOPSDevice", 16, WRITE),
        ("throttleReadIOPSDevice", 16, READ),
    ] {
        let limit = json!([{"major": major, "minor": minor, "rate": rate}]);
        let b = data.timed(&lab, command).set(&format!("/linux/resources/blockIO/{field}"), limit);
        let took = seconds(&lab.container(b).run().ok().stdout());
        assert!((1.7..20.0).contains(&took), "{field}: {took} s");
    }
}

#[test]
fn rates_are_changed_and_lifted_by_update() {
    need!(Guest);
    let lab = Lab::new();
    let (name, major, minor) = device();
    let rate = |rate: u32| json!([{"major": major, "minor": minor, "rate": rate}]);
    let io = json!({"throttleWriteBpsDevice": rate(1 << 20), "throttleReadIOPSDevice": rate(100)});
    let c = lab.container(lab.bundle().set("/linux/resources/blockIO", io).idle());
    c.run_detached();
    let shown = || match machine::layout() {
        Layout::V2 => c.cgroup_file("", "io.max"),
        Layout::V1 => ["write_bps_device", "read_iops_device"]
            .map(|file| c.cgroup_file("blkio", &format!("blkio.throttle.{file}")))
            .join(";"),
    };
    let expected = |bps: &str, iops: &str| match machine::layout() {
        Layout::V2 => format!("{name} rbps=max wbps={bps} riops={iops} wiops=max"),
        Layout::V1 => format!("{name} {bps};{name} {iops}"),
    };
    assert_eq!(shown(), expected("1048576", "100"));
    let update = |io: Value| {
        let resources = json!({"blockIO": io}).to_string();
        c.call("update", ["--resources", "-"]).stdin(resources.as_bytes()).go().ok();
    };
    update(json!({"throttleWriteBpsDevice": rate(2 << 20)}));
    assert_eq!(shown(), expected("2097152", "100"));
    update(json!({"throttleWriteBpsDevice": rate(0), "throttleReadIOPSDevice": rate(0)}));
    let none = if machine::layout() == Layout::V2 { "" } else { ";" };
    assert_eq!(shown(), none);
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    need!(Guest, Brig);
    let lab = Lab::new();
    let limit = json!([{"major": 99, "minor": 9, "rate": 1000}]);
    lab.container(lab.bundle().set("/linux/resources/blockIO/throttleReadBpsDevice", limit))
        .run()
        .code(1)
        .says("linux.resources.blockIO.throttleReadBpsDevice[0]");
    lab.assert_clean();
}

/// BFQ as the disk's scheduler, or as no module at all; without it again at the end.
struct Bfq;

impl Bfq {
    fn unload(lab: &Lab) {
        fs::write(format!("{DISK}/queue/scheduler"), "none").expect("choose a scheduler");
        lab.call("modprobe").args(["-r", "bfq"]).go().ok();
    }

    fn load(lab: &Lab) -> Bfq {
        lab.call("modprobe").arg("bfq").go().ok();
        fs::write(format!("{DISK}/queue/scheduler"), "bfq").expect("choose a scheduler");
        Bfq
    }
}

impl Drop for Bfq {
    fn drop(&mut self) {
        let _ = fs::write(format!("{DISK}/queue/scheduler"), "none");
    }
}

#[test]
fn weights_are_those_of_the_scheduler() {
    need!(Guest);
    let lab = Lab::new();
    let (name, major, minor) = device();
    let io = json!({"weight": 300,
        "weightDevice": [{"major": major, "minor": minor, "weight": 400}]});
    let container = || {
        let bundle = lab.bundle().set("/linux/resources/blockIO", io.clone());
        lab.container(bundle.idle())
    };
    // Without BFQ: v1 has no weight at all, v2 that of io.cost, which knows the disks it is on for.
    Bfq::unload(&lab);
    container().run().code(1).says("eight");
    if machine::layout() == Layout::V2 {
        let cost = |on: u8| {
            fs::write("/sys/fs/cgroup/io.cost.qos", format!("{name} enable={on}"))
                .expect("io.cost");
        };
        cost(1);
        let c = container();
        c.run_detached();
        // 10 to 1000 become 1 to 10000.
        assert_eq!(c.cgroup_file("", "io.weight"), format!("default 2930\n{name} 3940"));
        c.delete_force().ok();
        cost(0);
    }
    let _bfq = Bfq::load(&lab);
    let c = container();
    c.run_detached();
    let shown = match machine::layout() {
        Layout::V2 => c.cgroup_file("", "io.bfq.weight"),
        Layout::V1 => c.cgroup_file("blkio", "blkio.bfq.weight_device"),
    };
    assert_eq!(shown, format!("default 300\n{name} 400"));
}

#[test]
fn use_of_the_disk_is_counted() {
    need!(Guest);
    let lab = Lab::new();
    let data = Data::new(&lab);
    let (_, major, minor) = device();
    // v1 counts only for cgroups with a limit; this one is never met.
    let rate = json!([{"major": major, "minor": minor, "rate": 1_u64 << 40}]);
    let b = lab
        .bundle()
        .bind(&data.0, "/data", &["rw"])
        .set("/linux/resources/blockIO/throttleWriteBpsDevice", rate);
    let c = lab.container(b.sh(&format!("{WRITE} && echo written && exec idle")));
    let run = c.run_detached();
    assert!(brig_integration::wait_until(brig_integration::PATIENCE, || {
        run.stdout().contains("written")
    }));
    let stats = c.call("events", ["--stats"]).go().ok().json();
    let entries = &stats["data"]["blkio"]["ioServiceBytesRecursive"];
    let number = |entry: &Value, key: &str| entry[key].as_u64().unwrap_or(0); // 0 is left out
    let written: u64 = entries
        .as_array()
        .into_iter()
        .flatten()
        .filter(|e| number(e, "major") == u64::from(major))
        .filter(|e| number(e, "minor") == u64::from(minor))
        .filter(|e| e["op"].as_str().is_some_and(|op| op.eq_ignore_ascii_case("write")))
        .map(|e| number(e, "value"))
        .sum();
    assert!(written >= 2 << 20, "{stats}");
}
