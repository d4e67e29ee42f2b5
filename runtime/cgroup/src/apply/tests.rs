//! On the real kernel: skipped with a reason where it cannot be, which is a failure
//! when `BRIG_FORBID_SKIPS` is set.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use brig_spec::Resources;

use super::super::facts::Layout;
use super::super::node::read_pids;
use super::super::plan::{CgroupPlan, CgroupRequest};
use super::super::{CgroupFacts, JoinDescriptors, devices};
use super::*;

/// Prints why a test does not run here; fails where skipping is forbidden.
fn skip(reason: &str) {
    assert!(std::env::var_os("BRIG_FORBID_SKIPS").is_none(), "skipped: {reason}");
    println!("skipped: {reason}");
}

/// The layout, when this process may make cgroups in it.
fn host() -> Option<CgroupFacts> {
    if !rustix::process::geteuid().is_root() {
        skip("not root");
        return None;
    }
    Some(CgroupFacts::read().unwrap())
}

/// As `host`, for a test of one layout; the other one's machine runs the other tests.
fn layout(unified: bool) -> Option<CgroupFacts> {
    let facts = host()?;
    if matches!(facts.layout, Layout::Unified(_)) != unified {
        println!("not for this layout: {}", facts.name());
        return None;
    }
    Some(facts)
}

/// The cgroup of a plan for the file system driver.
fn made(plan: &CgroupPlan) -> Result<Cgroup, Error> {
    match prepare(plan)? {
        Prepared::Cgroup(cgroup) => Ok(cgroup),
        Prepared::Scope(scope) => panic!("{scope:?}"),
    }
}

/// Whether it comes to that, in a time that is enough on an emulated processor.
fn wait_until(condition: impl Fn() -> bool) -> bool {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !condition() {
        if std::time::Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(5));
    }
    true
}

/// A cgroup that is removed when the test ends, however it ends.
struct Made {
    cgroup: Cgroup,
    parent: String,
    children: Vec<Child>,
}

impl Made {
    fn new(facts: &CgroupFacts, name: &str, resources: &str) -> Result<Made, Error> {
        let parent = format!("brig-test-{}-{name}", std::process::id());
        let path = format!("/{parent}/{name}");
        let resources: Resources = serde_json::from_str(resources).unwrap();
        let defaults = devices::default_rules();
        let request = CgroupRequest {
            cgroups_path: Some(&path),
            resources: Some(&resources),
            devices: &defaults,
            ..CgroupRequest::new(name)
        };
        let cgroup = made(&CgroupPlan::new(facts, &request)?)?;
        Ok(Made { cgroup, parent, children: Vec::new() })
    }

    fn read(&self, file: &str) -> String {
        let controller = file.split('.').next().unwrap();
        let node = self.cgroup.nodes.iter().find(|n| n.has(controller) || n.directory.unified);
        node.unwrap().read(file).unwrap().trim().to_owned()
    }

    /// Runs a shell command in the cgroup. The shell joins as the launcher's child does,
    /// by writing 0; only cloning straight into the cgroup is left to the launcher's tests.
    fn run(&mut self, command: &str) -> &mut Child {
        let files: Vec<String> = self
            .cgroup
            .nodes
            .iter()
            .map(|node| match node.directory.unified {
                true => format!("echo 0 > {}/cgroup.procs", node.path.display()),
                false => format!("echo 0 > {}/tasks", node.path.display()),
            })
            .collect();
        let script = format!("{} && {{ {command}; }}", files.join(" && "));
        let child = Command::new("/bin/sh")
            .args(["-c", &script])
            .arg0("brig-test")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.children.push(child);
        self.children.last_mut().unwrap()
    }

    /// Whether no child is still on its way through the hierarchies.
    fn all_joined(&self) -> bool {
        let mut last = Vec::new();
        let node = self.cgroup.nodes.last().unwrap();
        read_pids(node.descriptor().unwrap(), || node.path.clone(), &mut last).unwrap();
        let census = self.cgroup.pids().unwrap();
        census.iter().all(|pid| last.contains(pid)) || last.is_empty() && census.is_empty()
    }

    #[track_caller]
    fn wait_for_pids(&self, count: usize) {
        let there = || self.cgroup.pids().unwrap().len() == count && self.all_joined();
        assert!(wait_until(there), "{count} processes expected, found {:?}", self.cgroup.pids());
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = self.cgroup.kill();
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let result = self.cgroup.delete();
        for node in &self.cgroup.nodes {
            let _ = std::fs::remove_dir(node.directory.mount.join(&self.parent));
        }
        if !std::thread::panicking() {
            result.unwrap();
            for node in &self.cgroup.nodes {
                assert!(!node.path.exists(), "{} is left", node.path.display());
            }
        }
    }
}

const LIMITS: &str = r#"{
    "cpu": {"shares": 512, "quota": 50000, "period": 20000, "burst": 1000, "cpus": "0", "mems": "0"},
    "memory": {"limit": 67108864, "swap": 134217728, "reservation": 33554432},
    "pids": {"limit": 17}
}"#;

#[test]
fn v1_join_reaches_every_hierarchy() {
    let Some(facts) = layout(false) else { return };
    let mut made = Made::new(&facts, "join", "{}").unwrap();
    let JoinDescriptors::Tasks(tasks) = made.cgroup.join().unwrap() else {
        panic!("tasks expected")
    };
    assert_eq!(tasks.len(), made.cgroup.nodes.len());
    drop(tasks);
    let pid = made.run("exec sleep 60").id();
    made.wait_for_pids(1);
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    for line in text.lines().filter(|line| !line.starts_with("0::")) {
        assert!(line.ends_with("/join"), "{line}");
    }
}

#[test]
fn devices_outside_the_rules_cannot_be_opened() {
    let Some(facts) = host() else { return };
    let mut made = Made::new(&facts, "devices", "{}").unwrap();
    // /dev/kmsg is 1:11, which no default rule lists.
    let script = ": < /dev/null && : < /dev/urandom && ! ( : < /dev/kmsg ) 2> /dev/null";
    std::fs::File::open("/dev/kmsg").unwrap();
    let status = made.run(script).wait().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn an_update_raises_and_lowers() {
    let Some(facts) = host() else { return };
    let memory = |limit: i64, swap: i64| {
        format!(
            r#"{{"memory": {{"limit": {limit}, "swap": {swap}}}, "pids": {{"limit": -1}},
                 "cpu": {{"quota": {q}, "period": 10000, "burst": {q}}}}}"#,
            q = limit / 10000
        )
    };
    let made = Made::new(&facts, "update", &memory(100_000_000, 200_000_000)).unwrap();
    for (limit, swap) in [(400_003_072, 800_006_144), (20_000_768, 40_001_536)] {
        let resources: Resources = serde_json::from_str(&memory(limit, swap)).unwrap();
        made.cgroup.update(&resources).unwrap();
        // The kernel counts in pages.
        let read = |file: &str| made.read(file).parse::<i64>().unwrap();
        if made.cgroup.nodes[0].directory.unified {
            assert_eq!(read("memory.max"), limit & !4095);
            assert_eq!(read("memory.swap.max"), (swap - limit) & !4095);
            assert_eq!(made.read("cpu.max"), format!("{} 10000", limit / 10000));
        } else {
            assert_eq!(read("memory.limit_in_bytes"), limit & !4095);
            assert_eq!(read("memory.memsw.limit_in_bytes"), swap & !4095);
            assert_eq!(read("cpu.cfs_quota_us"), limit / 10000);
            assert_eq!(read("cpu.cfs_burst_us"), limit / 10000);
        }
        assert_eq!(made.read("pids.max"), "max");
    }
    let period: Resources = serde_json::from_str(r#"{"cpu": {"period": 20000}}"#).unwrap();
    made.cgroup.update(&period).unwrap();
    match made.cgroup.nodes[0].directory.unified {
        true => assert_eq!(made.read("cpu.max"), "2000 20000"),
        false => assert_eq!(made.read("cpu.cfs_quota_us"), "2000"),
    }
}

#[test]
fn an_update_below_the_usage_is_refused_when_asked() {
    let Some(facts) = layout(true) else { return };
    let mut made = Made::new(&facts, "check", "{}").unwrap();
    made.run("exec sleep 60");
    // A process that has just come is charged for nothing yet.
    assert!(wait_until(|| made.read("memory.current").parse::<u64>().unwrap() > 4096));
    let json = r#"{"memory": {"limit": 4096, "checkBeforeUpdate": true}}"#;
    let error = made.cgroup.update(&serde_json::from_str(json).unwrap()).unwrap_err();
    assert!(matches!(error, Error::BelowUsage { .. }), "{error}");
    assert_eq!(made.read("memory.max"), "max");
}

#[test]
fn a_refused_limit_names_its_field_and_leaves_nothing() {
    let Some(facts) = host() else { return };
    let parent = format!("brig-test-{}-refused", std::process::id());
    let error = match Made::new(&facts, "refused", r#"{"cpu": {"cpus": "4095"}}"#) {
        Err(error) => error,
        Ok(_) => panic!("accepted"),
    };
    assert!(error.to_string().starts_with("linux.resources.cpu.cpus: writing"), "{error}");
    let Layout::Legacy { hierarchies, .. } = &facts.layout else {
        assert!(!Path::new("/sys/fs/cgroup").join(parent).exists());
        return;
    };
    for hierarchy in hierarchies {
        assert!(!hierarchy.mount.join(&parent).exists(), "{:?}", hierarchy.mount);
    }
}

/// Every step fails once, and nothing is left behind.
#[test]
fn whatever_fails_nothing_is_left() {
    let Some(facts) = host() else { return };
    let parent = format!("brig-test-{}-faults", std::process::id());
    let path = format!("/{parent}/deep/er");
    let resources: Resources = serde_json::from_str(LIMITS).unwrap();
    let request = CgroupRequest {
        cgroups_path: Some(&path),
        resources: Some(&resources),
        ..CgroupRequest::new("faults")
    };
    let plan = CgroupPlan::new(&facts, &request).unwrap();
    for at in 0..=plan.steps.len() {
        let mut broken = plan.clone();
        let write = super::super::plan::Write::new(0, "brig.absent", 1, "the injected fault");
        broken.steps.insert(at, Step::Write(write));
        let error = prepare(&broken).map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("the injected fault: writing"), "{at}: {error}");
        assert_eq!(error.errno(), Some(libc::ENOENT));
        for directory in &plan.directories {
            assert!(!directory.mount.join(&parent).exists(), "step {at}: {directory:?}");
        }
    }
}

#[test]
fn a_cgroup_in_use_is_not_taken() {
    let Some(facts) = host() else { return };
    let mut made = Made::new(&facts, "taken", "{}").unwrap();
    made.run("exec sleep 60");
    made.wait_for_pids(1);
    match Made::new(&facts, "taken", "{}") {
        Err(Error::Occupied { by: Occupant::Processes { count: 1, .. }, .. }) => {}
        other => panic!("occupied expected, got {:?}", other.map(|_| ())),
    }
    // And the attempt has not removed it.
    made.wait_for_pids(1);
}

#[test]
fn a_cgroup_with_others_below_is_not_taken() {
    let Some(facts) = host() else { return };
    let made = Made::new(&facts, "below", "{}").unwrap();
    let below = made.cgroup.nodes[0].path.join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    match Made::new(&facts, "below", "{}") {
        Err(Error::Occupied { by: Occupant::Cgroup(path), .. }) => assert!(below.starts_with(path)),
        other => panic!("occupied expected, got {:?}", other.map(|_| ())),
    }
    assert!(below.exists());
}

#[test]
fn an_empty_cgroup_that_was_there_is_another_afterwards() {
    let Some(facts) = host() else { return };
    let first = Made::new(&facts, "reused", r#"{"pids": {"limit": 3}}"#).unwrap();
    assert_eq!(first.read("pids.max"), "3");
    let record = first.cgroup.record().unwrap();
    let mut second = Made::new(&facts, "reused", r#"{"pids": {"limit": -1}}"#).unwrap();
    assert_eq!(second.read("pids.max"), "max");
    second.run("exec sleep 60");
    second.wait_for_pids(1);
    let older = Cgroup::open(&record).unwrap();
    assert_eq!(older.pids().unwrap(), Vec::<i32>::new());
    older.signal_all(libc::SIGKILL).unwrap();
    older.kill().unwrap();
    older.delete().unwrap();
    let limit = serde_json::from_str(r#"{"pids": {"limit": 7}}"#).unwrap();
    let refused: [Error; 5] = [
        older.freeze().unwrap_err(),
        older.thaw().unwrap_err(),
        older.update(&limit).unwrap_err(),
        older.join().unwrap_err(),
        older.stats().unwrap_err(),
    ];
    assert!(refused.iter().all(Error::is_gone), "{refused:?}");
    assert!(!second.cgroup.is_frozen().unwrap());
    assert_eq!(second.read("pids.max"), "max");
    second.wait_for_pids(1);
    if let [only] = &second.cgroup.nodes[..] {
        let programs = brig_sys::bpf::own_device_programs(only.descriptor().unwrap());
        assert_eq!(programs.unwrap().len(), 1);
    }
}

#[test]
fn hybrid_processes_join_both_sides() {
    let Some(facts) = layout(false) else { return };
    let Layout::Legacy { unified: Some(unified), .. } = &facts.layout else {
        return println!("not for this layout: {}", facts.name());
    };
    let mut made = Made::new(&facts, "hybrid", "{}").unwrap();
    let mut directory = made.cgroup.nodes[0].directory.clone();
    directory.unified = true;
    directory.controllers = unified.controllers.clone();
    directory.mount = unified.mount.clone();
    std::fs::create_dir_all(directory.absolute()).unwrap();
    let node = CgroupNode::now(&directory, true).unwrap();
    // First, so that whoever is in the last hierarchy is in all.
    made.cgroup.nodes.insert(0, node);
    let JoinDescriptors::Both { tasks, .. } = made.cgroup.join().unwrap() else {
        panic!("both expected")
    };
    assert_eq!(tasks.len(), made.cgroup.nodes.len() - 1);
    let pid = made.run("exec sleep 60").id() as i32;
    made.wait_for_pids(1);
    assert!(matches!(made.cgroup.join_beside(pid).unwrap(), JoinDescriptors::Both { .. }));
    made.cgroup.stats().unwrap();
    assert!(made.cgroup.paths().contains_key("") && made.cgroup.paths().contains_key("memory"));
}

/// Runs in a process of its own, as user 65534.
#[test]
fn without_root_a_cgroup_is_left_out_unless_asked_for() {
    let request = CgroupRequest { rootless: true, ..CgroupRequest::new("rootless") };
    if std::env::var_os("BRIG_TEST_ROOTLESS").is_some() {
        let facts = CgroupFacts::read().unwrap();
        let cgroup = made(&CgroupPlan::new(&facts, &request).unwrap()).unwrap();
        assert!(matches!(cgroup.join().unwrap(), JoinDescriptors::None));
        assert!(cgroup.pids().unwrap().is_empty() && cgroup.paths().is_empty());
        cgroup.kill().unwrap();
        cgroup.delete().unwrap();
        let resources = serde_json::from_str(r#"{"pids": {"limit": 5}}"#).unwrap();
        let asked = CgroupRequest { resources: Some(&resources), ..request };
        let error = prepare(&CgroupPlan::new(&facts, &asked).unwrap()).unwrap_err();
        assert_eq!(error.errno(), Some(libc::EACCES), "{error}");
        assert!(error.hint().unwrap().contains("delegated"));
        return;
    }
    if host().is_none() {
        return;
    }
    let name = "apply::tests::without_root_a_cgroup_is_left_out_unless_asked_for";
    // Copied to where the other user can read it.
    let copy = std::env::temp_dir().join(format!("brig-test-rootless-{}", std::process::id()));
    std::fs::copy("/proc/self/exe", &copy).unwrap();
    let output = Command::new(&copy)
        .args(["--exact", name])
        .env("BRIG_TEST_ROOTLESS", "1")
        .uid(65534)
        .gid(65534)
        .output();
    std::fs::remove_file(&copy).unwrap();
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
fn frozen_processes_stand_still() {
    let Some(facts) = host() else { return };
    let mut made = Made::new(&facts, "frozen", "{}").unwrap();
    made.run("while :; do :; done");
    made.wait_for_pids(1);
    assert!(!made.cgroup.is_frozen().unwrap());
    made.cgroup.freeze().unwrap();
    assert!(made.cgroup.is_frozen().unwrap());
    let total = || made.cgroup.stats().unwrap().cpu.usage.total;
    let before = total();
    // Nothing to wait for: that nothing happens takes time.
    sleep(Duration::from_millis(50));
    assert_eq!(total(), before);
    made.cgroup.thaw().unwrap();
    assert!(!made.cgroup.is_frozen().unwrap());
    assert!(wait_until(|| total() > before));
}

#[test]
fn kill_ends_forkers_stoppers_and_the_frozen() {
    let Some(facts) = host() else { return };
    let mut made = Made::new(&facts, "kill", "{}").unwrap();
    made.run("trap '' TERM INT HUP; while :; do sleep 60 & sleep 0.001; done");
    made.run("trap '' TERM; sleep 60 & kill -STOP $$");
    assert!(wait_until(|| made.cgroup.pids().unwrap().len() >= 8));
    made.cgroup.freeze().unwrap();
    made.cgroup.kill().unwrap();
    assert_eq!(made.cgroup.pids().unwrap(), Vec::<i32>::new());
}

#[test]
fn signals_reach_all_processes() {
    let Some(facts) = host() else { return };
    let mut made = Made::new(&facts, "signal", "{}").unwrap();
    made.run("sleep 60 & exec sleep 60");
    made.wait_for_pids(2);
    made.cgroup.signal_all(libc::SIGTERM).unwrap();
    made.wait_for_pids(0);
    assert!(made.cgroup.signal_all(9999).is_err());
}

#[test]
fn delete_removes_what_the_container_made_and_names_what_lives() {
    let Some(facts) = host() else { return };
    let mut made = Made::new(&facts, "delete", "{}").unwrap();
    for node in &made.cgroup.nodes {
        std::fs::create_dir_all(node.path.join("a/b")).unwrap();
    }
    let record = serde_json::to_string(&made.cgroup.record().unwrap()).unwrap();
    let opened = Cgroup::open(&serde_json::from_str(&record).unwrap()).unwrap();
    let pid = made.run("exec sleep 60").id() as i32;
    made.wait_for_pids(1);
    let Err(Error::Left { left }) = opened.delete() else { panic!("left expected") };
    assert_eq!(left.len(), made.cgroup.nodes.len());
    assert!(left.iter().all(|entry| entry.pids == [pid]), "{left:?}");
    opened.kill().unwrap();
    let other = serde_json::from_str(&record.replace(r#""boot":""#, r#""boot":"x"#)).unwrap();
    Cgroup::open(&other).unwrap().delete().unwrap();
    assert!(made.cgroup.nodes.iter().all(|node| node.path.exists()), "it is of another boot");
    opened.delete().unwrap();
    assert!(made.cgroup.nodes.iter().all(|node| !node.path.exists()));
    opened.delete().unwrap();
}

#[test]
fn running_out_of_memory_is_told() {
    let Some(facts) = host() else { return };
    let limits = r#"{"memory": {"limit": 8388608, "swap": 8388608}}"#;
    let mut made = Made::new(&facts, "oom", limits).unwrap();
    let mut watch = made.cgroup.watch_oom().unwrap();
    assert_eq!(watch.drain(&made.cgroup).unwrap(), Some(0));
    made.run("exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    let mut told = 0;
    while told == 0 {
        let mut descriptors = [rustix::event::PollFd::new(&watch, rustix::event::PollFlags::IN)];
        let timeout = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
        let ready = rustix::event::poll(&mut descriptors, Some(&timeout)).unwrap();
        assert_eq!(ready, 1, "no event");
        told = watch.drain(&made.cgroup).unwrap().unwrap();
    }
    assert_eq!(told, 1);
    made.children[0].wait().unwrap();
    assert_eq!(made.cgroup.oom_kills().unwrap(), 1);
    made.cgroup.delete().unwrap();
    assert_eq!(watch.drain(&made.cgroup).unwrap(), None);
}

#[test]
fn statistics_show_the_limits_and_the_work() {
    let Some(facts) = host() else { return };
    let limits = r#"{"memory": {"limit": 33554432}, "pids": {"limit": 9}}"#;
    let mut made = Made::new(&facts, "stats", limits).unwrap();
    // User and kernel times are counted in ticks of 10 ms on v1: by far more than one.
    made.run("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 60 & exec sleep 60");
    made.wait_for_pids(2);
    let stats = made.cgroup.stats().unwrap();
    assert_eq!(stats.memory.usage.limit, 33_554_432);
    assert!(stats.memory.usage.usage > 0 && stats.memory.usage.max >= stats.memory.usage.usage);
    assert!(!stats.memory.raw.is_empty());
    assert_eq!((stats.pids.current, stats.pids.limit), (2, 9));
    assert!(stats.cpu.usage.total > 1_000_000, "{:?}", stats.cpu);
    assert!(stats.cpu.usage.user + stats.cpu.usage.kernel > 0, "{:?}", stats.cpu);
}

#[test]
fn a_process_joins_beside_another() {
    let Some(facts) = host() else { return };
    let mut made = Made::new(&facts, "beside", "{}").unwrap();
    for node in &made.cgroup.nodes {
        std::fs::create_dir(node.path.join("sub")).unwrap();
        for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|_| node.has("cpuset")) {
            let _ = std::fs::write(node.path.join("sub").join(file), "0");
        }
    }
    assert!(made.cgroup.join_sub("../x").is_err());
    assert!(made.cgroup.join_sub("absent").is_err());
    made.cgroup.join_sub("sub").unwrap();
    let stranger = made.cgroup.join_beside(1);
    assert!(matches!(stranger, Err(Error::Content { .. })), "{stranger:?}");
    let pid = made.run("exec sleep 60").id() as i32;
    made.wait_for_pids(1);
    made.cgroup.join_beside(pid).unwrap();
}

#[test]
fn a_threaded_parent_is_refused() {
    let Some(facts) = layout(true) else { return };
    let parent = format!("brig-test-{}-threaded", std::process::id());
    let Layout::Unified(unified) = &facts.layout else {
        return;
    };
    let path = unified.mount.join(&parent);
    std::fs::create_dir(&path).unwrap();
    std::fs::create_dir(path.join("other")).unwrap();
    std::fs::write(path.join("other/cgroup.type"), "threaded").unwrap();
    let result = Made::new(&facts, "threaded", "{}").map(|_| ());
    std::fs::remove_dir(path.join("other")).unwrap();
    std::fs::remove_dir(&path).unwrap();
    assert!(matches!(result, Err(Error::Threaded { .. })), "{result:?}");
}

#[test]
fn a_parent_with_processes_cannot_give_controllers() {
    let Some(facts) = layout(true) else { return };
    let parent = format!("brig-test-{}-inner", std::process::id());
    let Layout::Unified(unified) = &facts.layout else {
        return;
    };
    let path = unified.mount.join(&parent);
    std::fs::create_dir(&path).unwrap();
    let script = format!("echo 0 > {}/cgroup.procs; exec sleep 60", path.display());
    let mut child = Command::new("/bin/sh").args(["-c", &script]).spawn().unwrap();
    let procs = || std::fs::read_to_string(path.join("cgroup.procs")).unwrap();
    assert!(wait_until(|| !procs().is_empty()));
    let limited = Made::new(&facts, "inner", r#"{"memory": {"limit": 9999999}}"#).map(|_| ());
    child.kill().unwrap();
    child.wait().unwrap();
    let _ = std::fs::remove_dir(&path);
    let Err(Error::Controllers { missing, source, .. }) = limited else {
        panic!("refusal expected, got {limited:?}");
    };
    assert_eq!(missing, ["memory"]);
    assert_eq!(source.unwrap().raw_os_error(), Some(libc::EBUSY));
}

#[test]
fn a_delegated_cgroup_belongs_to_its_user() {
    use std::os::unix::fs::MetadataExt as _;
    let Some(facts) = layout(true) else { return };
    let path = format!("/brig-test-{}-owner", std::process::id());
    let request = CgroupRequest {
        cgroups_path: Some(&path),
        owner: Some((12345, 54321)),
        ..CgroupRequest::new("owner")
    };
    let cgroup = made(&CgroupPlan::new(&facts, &request).unwrap()).unwrap();
    let owner = |file: &str| {
        let data = std::fs::metadata(cgroup.nodes[0].path.join(file)).unwrap();
        (data.uid(), data.gid())
    };
    let owners = [owner("."), owner("cgroup.procs"), owner("cgroup.subtree_control")];
    let limit = owner("memory.max");
    cgroup.delete().unwrap();
    assert_eq!(owners, [(12345, 54321); 3]);
    assert_eq!(limit, (0, 0));
}
