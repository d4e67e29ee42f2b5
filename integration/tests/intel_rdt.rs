//! `linux.intelRdt` on a kernel's resctrl: the group is what was asked for before the program runs,
//! processes join it, and what was not made for the container stays.
//!
//! Only in the guest whose kernel `integration/vm/resctrl` makes find Intel RDT.

use brig_integration::{Lab, json, need};
use nix::mount::{MsFlags, mount, umount};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/resctrl";
const GROUPS: &str = "/proc/self/cpu_resctrl_groups";

/// The file system, mounted as long as this value lives; its groups end with it.
struct Resctrl;

impl Resctrl {
    fn mount() -> Resctrl {
        let none: Option<&str> = None;
        mount(Some("resctrl"), ROOT, Some("resctrl"), MsFlags::empty(), none).expect("resctrl");
        Resctrl
    }

    /// A class as an administrator makes it.
    fn class(&self, name: &str, schema: &str) -> PathBuf {
        let group = Path::new(ROOT).join(name);
        fs::create_dir(&group).expect("a class");
        fs::write(group.join("schemata"), format!("{schema}\n")).expect("a schema");
        group
    }

    /// The names of the classes and of the default class's monitors.
    fn groups(&self) -> Vec<String> {
        let known = ["info", "mon_groups", "mon_data"];
        let entries = [ROOT.to_owned(), format!("{ROOT}/mon_groups")].map(fs::read_dir);
        let entries = entries.into_iter().flat_map(|found| found.expect("resctrl").flatten());
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let names = directories.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| !known.contains(&name.as_str())).collect()
    }
}

impl Drop for Resctrl {
    fn drop(&mut self) {
        let _ = umount(ROOT);
    }
}

fn schemata(group: &Path) -> String {
    fs::read_to_string(group.join("schemata")).expect("a group").trim().to_owned()
}

#[test]
fn the_program_starts_in_a_group_of_its_own_that_goes_with_it() {
    need!(Resctrl);
    let (lab, resctrl) = (Lab::new(), Resctrl::mount());
    let cases = [
        (json!({"l3CacheSchema": "L3:0=f0"}), "L3:0=0f0", false),
        (json!({"schemata": ["L3:0=3"]}), "L3:0=003", false),
        (json!({"enableMonitoring": true}), "L3:0=7ff", true),
        (json!({"enableCMT": true}), "L3:0=7ff", true),
    ];
    for (rdt, expected, monitored) in cases {
        let bundle = lab.bundle().sh(&format!("cat {GROUPS}; exec sleep 1000"));
        let c = lab.container(bundle.set("/linux/intelRdt", rdt));
        let id = c.id().to_owned();
        let monitor = if monitored { id.as_str() } else { "" };
        let groups = format!("res:{id}\nmon:{monitor}\n");
        let created = c.create().ok();
        let of_init = fs::read_to_string(format!("/proc/{}/cpu_resctrl_groups", c.pid()));
        assert_eq!(of_init.expect("the process"), groups, "before the program runs");
        assert_eq!(schemata(&Path::new(ROOT).join(&id)), expected);
        c.start().ok();
        assert_eq!(c.exec(&["cat", GROUPS]).ok().stdout(), groups);
        assert_eq!(created.stdout(), groups);
        c.delete_force().ok();
        assert!(resctrl.groups().is_empty(), "{:?}", resctrl.groups());
    }
}

/// The first one's group has been removed by an administrator, and there is another of the name.
#[test]
fn another_group_of_the_name_is_left_alone() {
    need!(Resctrl, Brig);
    let (lab, resctrl) = (Lab::new(), Resctrl::mount());
    let rdt = json!({"l3CacheSchema": "L3:0=f0"});
    let c = lab.container(lab.bundle().idle().set("/linux/intelRdt", rdt));
    c.run_detached();
    let group = Path::new(ROOT).join(c.id());
    fs::remove_dir(&group).expect("the group");
    resctrl.class(c.id(), "L3:0=3");
    let mut process = lab.call("/bin/sleep").arg("1000").spawn();
    fs::write(group.join("tasks"), process.pid().to_string()).expect("somebody joins");
    c.exec(&["/bin/true"]).failed().says("was removed or replaced");
    c.delete_force().ok();
    assert_eq!(resctrl.groups(), [c.id()]);
    assert_eq!(schemata(&group), "L3:0=003");
    process.kill();
    process.wait();
}

#[test]
fn a_class_that_exists_is_joined_and_stays() {
    need!(Resctrl);
    let (lab, resctrl) = (Lab::new(), Resctrl::mount());
    let gold = resctrl.class("gold", "L3:0=f");
    let cases = [
        (json!({"closID": "gold"}), "gold", ""),
        (json!({"closID": "gold", "l3CacheSchema": "L3:0=0F"}), "gold", ""),
        (json!({"closID": "gold", "enableMonitoring": true}), "gold", "monitor"),
        (json!({"closID": "/"}), "/", ""),
        (json!({"closID": "/", "enableMonitoring": true}), "/", "monitor"),
    ];
    for (rdt, class, monitor) in cases {
        let c = lab.container(lab.bundle().args(["cat", GROUPS]).set("/linux/intelRdt", rdt));
        let monitor = monitor.replace("monitor", c.id());
        assert_eq!(c.run().ok().stdout(), format!("res:{class}\nmon:{monitor}\n"));
        assert_eq!(resctrl.groups(), ["gold"]);
        assert_eq!(fs::read_dir(gold.join("mon_groups")).expect("monitors").count(), 0);
        assert_eq!(schemata(&gold), "L3:0=00f");
    }
}

#[test]
fn what_the_kernel_refuses_is_an_error_with_its_reason_and_leaves_nothing() {
    need!(Resctrl);
    let (lab, resctrl) = (Lab::new(), Resctrl::mount());
    resctrl.class("gold", "L3:0=f");
    let cases: [(Value, &str); 6] = [
        (json!({"memBwSchema": "MB:0=50"}), "linux.intelRdt.memBwSchema: writing \"MB:0=50\""),
        (json!({"l3CacheSchema": "L3:0=fffff"}), "(Mask out of range)"),
        (json!({"schemata": ["L3:0=505"]}), "non-consecutive 1-bits"),
        (json!({"closID": "new", "schemata": ["L9:0=1"]}), "unsupported resource name 'L9'"),
        (json!({"closID": "gold", "l3CacheSchema": "L3:0=ff"}), "L3:0=ff is asked for, but"),
        (json!({"closID": "silver"}), "linux.intelRdt.closID: there is no group"),
    ];
    for (rdt, words) in cases {
        let c = lab.container(lab.bundle().idle().set("/linux/intelRdt", rdt));
        c.create().failed().says(words);
        assert_eq!(resctrl.groups(), ["gold"]);
    }
}

#[test]
fn without_the_file_system_a_container_that_asks_is_refused() {
    need!(Resctrl);
    let lab = Lab::new();
    let bundle = lab.bundle().idle().set("/linux/intelRdt/l3CacheSchema", "L3:0=f");
    lab.container(bundle).create().failed().says("no resctrl file system is mounted");
}

#[test]
fn what_a_killed_create_leaves_is_deleted() {
    need!(Resctrl);
    let (lab, resctrl) = (Lab::new(), Resctrl::mount());
    let hook = json!({"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "5"]}]});
    let bundle = lab.bundle().idle().set("/linux/intelRdt/l3CacheSchema", "L3:0=f");
    let c = lab.container(bundle.set("/hooks", hook));
    let mut creating = c.create_call(&[]).spawn();
    while resctrl.groups().is_empty() {
        assert!(!creating.has_ended(), "{}", creating.stderr());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    creating.kill();
    creating.wait();
    c.delete_force().ok();
    assert!(resctrl.groups().is_empty(), "{:?}", resctrl.groups());
}
