use super::*;
use crate::facts::{Hierarchy, Layout, Unified};

fn hierarchy(names: &str, mount: &str) -> Hierarchy {
    Hierarchy {
        controllers: names.split(',').map(str::to_owned).collect(),
        mount: mount.into(),
        own: "/own".into(),
    }
}

fn legacy() -> CgroupFacts {
    let hierarchies = vec![
        hierarchy("cpu,cpuacct", "/c/cpu"),
        hierarchy("cpuset", "/c/cpuset"),
        hierarchy("memory", "/c/memory"),
        hierarchy("devices", "/c/devices"),
        hierarchy("pids", "/c/pids"),
        hierarchy("blkio", "/c/blkio"),
        hierarchy("name=systemd", "/c/systemd"),
    ];
    CgroupFacts { layout: Layout::Legacy { hierarchies, unified: None } }
}

fn hybrid() -> CgroupFacts {
    let Layout::Legacy { hierarchies, .. } = legacy().layout else { unreachable!() };
    let unified = Unified {
        mount: "/c/unified".into(),
        own: "/".into(),
        controllers: vec!["hugetlb".into()],
    };
    CgroupFacts { layout: Layout::Legacy { hierarchies, unified: Some(unified) } }
}

fn unified() -> CgroupFacts {
    let controllers = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"];
    CgroupFacts {
        layout: Layout::Unified(Unified {
            mount: "/c".into(),
            own: "/system.slice/brig.service".into(),
            controllers: controllers.map(str::to_owned).to_vec(),
        }),
    }
}

fn planned(facts: &CgroupFacts, path: Option<&str>, resources: &str) -> Result<CgroupPlan, Error> {
    let resources: Resources = serde_json::from_str(resources).unwrap();
    CgroupPlan::new(
        facts,
        &CgroupRequest {
            cgroups_path: path,
            resources: Some(&resources),
            ..CgroupRequest::new("web")
        },
    )
}

fn lines(facts: &CgroupFacts, path: Option<&str>, resources: &str) -> Vec<String> {
    planned(facts, path, resources).unwrap().lines()
}

fn refusal(facts: &CgroupFacts, resources: &str) -> String {
    match planned(facts, None, resources) {
        Err(Error::Field { field, .. }) => field,
        other => panic!("a refusal expected, got {other:?}"),
    }
}

const KUBERNETES: &str = r#"{
    "devices": [{"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}],
    "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0-1"},
    "memory": {"limit": 1000, "swap": 1500, "reservation": 500},
    "pids": {"limit": -1},
    "blockIO": {"weight": 500,
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 7}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}]}
}"#;

#[test]
fn a_v1_plan_reads_as_what_is_done() {
    let expected = [
        "mkdir /c/cpu/pod/web",
        "mkdir /c/cpuset/pod/web",
        "mkdir /c/memory/pod/web",
        "mkdir /c/devices/pod/web",
        "mkdir /c/pids/pod/web",
        "mkdir /c/blkio/pod/web",
        "mkdir /c/systemd/pod/web",
        "inherit cpuset /c/cpuset/pod/web: own mems, ancestors where empty",
        "write /c/cpuset/pod/web/cpuset.cpus \"0-1\" for linux.resources.cpu.cpus",
        "write /c/cpu/pod/web/cpu.shares \"1024\" for linux.resources.cpu.shares \
         (default: only if the directory was there)",
        "write /c/cpu/pod/web/cpu.cfs_period_us \"100000\" for linux.resources.cpu.period \
         (default: only if the directory was there)",
        "write /c/cpu/pod/web/cpu.cfs_quota_us \"50000\" for linux.resources.cpu.quota",
        "write /c/memory/pod/web/memory.limit_in_bytes \"1000\" for linux.resources.memory.limit",
        "write /c/memory/pod/web/memory.memsw.limit_in_bytes \"1500\" for linux.resources.memory.swap",
        "write /c/memory/pod/web/memory.soft_limit_in_bytes \"500\" for \
         linux.resources.memory.reservation",
        "write /c/pids/pod/web/pids.max \"max\" for linux.resources.pids.limit \
         (default: only if the directory was there)",
        "write /c/blkio/pod/web/blkio.weight \"500\" for linux.resources.blockIO.weight \
         (or \"500\" to blkio.bfq.weight)",
        "write /c/blkio/pod/web/blkio.throttle.read_bps_device \"8:0 7\" for \
         linux.resources.blockIO.throttleReadBpsDevice[0]",
        "write /c/blkio/pod/web/blkio.throttle.write_iops_device \"8:0 0\" for \
         linux.resources.blockIO.throttleWriteIOPSDevice[0]",
        "write /c/devices/pod/web/devices.deny \"a\" for linux.resources.devices",
        "write /c/devices/pod/web/devices.allow \"c 1:3 rwm\" for linux.resources.devices[1]",
    ];
    assert_eq!(lines(&legacy(), Some("/pod/web"), KUBERNETES), expected);
}

#[test]
fn a_v2_plan_reads_as_what_is_done() {
    let expected = [
        "mkdir /c/pod/web",
        "enable controllers above /c/pod/web: need [cpu cpuset io memory], want [hugetlb pids]",
        "write /c/pod/web/cpuset.cpus \"0-1\" for linux.resources.cpu.cpus",
        "write /c/pod/web/cpu.weight \"100\" for linux.resources.cpu.shares \
         (default: only if the directory was there)",
        "write /c/pod/web/cpu.max \"50000 100000\" for linux.resources.cpu.quota",
        "write /c/pod/web/memory.swap.max \"500\" for linux.resources.memory.swap",
        "write /c/pod/web/memory.max \"1000\" for linux.resources.memory.limit",
        "write /c/pod/web/memory.low \"500\" for linux.resources.memory.reservation",
        "write /c/pod/web/pids.max \"max\" for linux.resources.pids.limit \
         (default: only if the directory was there)",
        "write /c/pod/web/io.bfq.weight \"500\" for linux.resources.blockIO.weight \
         (or \"4950\" to io.weight)",
        "write /c/pod/web/io.max \"8:0 rbps=7 wiops=max\" for \
         linux.resources.blockIO.throttleReadBpsDevice[0]",
        "attach device program /c/pod/web: 13 instructions",
        "  deny a",
        "  allow c 1:3 rwm",
    ];
    assert_eq!(lines(&unified(), Some("/pod/web"), KUBERNETES), expected);
}

#[test]
fn a_hybrid_host_uses_the_v2_side_only_for_its_controllers() {
    let without = lines(&hybrid(), Some("/web"), KUBERNETES);
    assert!(!without.iter().any(|line| line.contains("/c/unified")), "{without:?}");
    let with =
        lines(&hybrid(), Some("/web"), r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}"#);
    let on_unified: Vec<_> = with.iter().filter(|line| line.contains("/c/unified")).collect();
    assert_eq!(
        on_unified,
        [
            "mkdir /c/unified/web",
            "enable controllers above /c/unified/web: need [hugetlb], want []",
            "write /c/unified/web/hugetlb.2MB.max \"0\" for linux.resources.hugepageLimits[0]",
            "write /c/unified/web/hugetlb.2MB.rsvd.max \"0\" for linux.resources.hugepageLimits[0] \
             (if the file is there)",
        ]
    );
}

#[test]
fn paths_are_absolute_relative_or_the_id() {
    let first = |facts: &CgroupFacts, path| lines(facts, path, "{}")[0].clone();
    assert_eq!(first(&legacy(), Some("/a//./b/")), "mkdir /c/cpu/a/b");
    assert_eq!(first(&legacy(), Some("a/b")), "mkdir /c/cpu/own/a/b");
    assert_eq!(first(&legacy(), None), "mkdir /c/cpu/own/web");
    assert_eq!(first(&legacy(), Some("")), "mkdir /c/cpu/own/web");
    assert_eq!(first(&unified(), Some("/a/b")), "mkdir /c/a/b");
    // brig's own cgroup holds brig, so it cannot give controllers away.
    assert_eq!(first(&unified(), Some("a/b")), "mkdir /c/system.slice/a/b");
    assert_eq!(first(&unified(), None), "mkdir /c/system.slice/web");
}

#[test]
fn a_hybrid_path_avoids_the_own_cgroup_on_the_v2_side() {
    let mut facts = hybrid();
    if let Layout::Legacy { unified: Some(unified), .. } = &mut facts.layout {
        unified.own = "/system.slice/brig.service".into();
    }
    let resources = r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}"#;
    let lines = lines(&facts, Some("web"), resources);
    assert!(lines.contains(&"mkdir /c/cpu/own/web".to_owned()), "{lines:?}");
    assert!(lines.contains(&"mkdir /c/unified/system.slice/web".to_owned()), "{lines:?}");
}

#[test]
fn paths_that_lead_out_are_refused() {
    for path in ["..", "/a/../../b", "a/..", "/", "//", ".", "a\nb", "a\0b"] {
        match planned(&legacy(), Some(path), "{}") {
            Err(Error::Field { field, .. }) => assert_eq!(field, "linux.cgroupsPath", "{path:?}"),
            other => panic!("{path:?}: {other:?}"),
        }
    }
}

#[test]
fn what_no_layout_honours_is_refused_by_name() {
    let both = [
        (r#"{"memory": {"limit": 10, "swap": 5}}"#, "memory.swap"),
        (r#"{"memory": {"limit": -2}}"#, "memory.limit"),
        (r#"{"memory": {"useHierarchy": false}}"#, "memory.useHierarchy"),
        (r#"{"cpu": {"period": 999}}"#, "cpu.period"),
        (r#"{"cpu": {"quota": 999}}"#, "cpu.quota"),
        (r#"{"cpu": {"idle": 2}}"#, "cpu.idle"),
        (r#"{"cpu": {"cpus": "0-"}}"#, "cpu.cpus"),
        (r#"{"blockIO": {"weight": 9}}"#, "blockIO.weight"),
        (r#"{"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}"#, "hugepageLimits[0]"),
        (r#"{"rdma": {"mlx": {"hcaHandles": 1}}}"#, "rdma.mlx"),
    ];
    for (resources, field) in both {
        for facts in [legacy(), hybrid(), unified()] {
            let expected = format!("linux.resources.{field}");
            assert_eq!(refusal(&facts, resources), expected, "{}", facts.name());
        }
    }
}

#[test]
fn what_v2_cannot_honour_is_refused_by_name() {
    let only_v1 = [
        (r#"{"network": {"classID": 1}}"#, "network.classID"),
        (r#"{"network": {"priorities": [{"name": "eth0", "priority": 1}]}}"#, "network.priorities"),
        (r#"{"memory": {"swappiness": 1}}"#, "memory.swappiness"),
        (r#"{"memory": {"disableOOMKiller": true}}"#, "memory.disableOOMKiller"),
        (r#"{"memory": {"kernelTCP": 1}}"#, "memory.kernelTCP"),
        (r#"{"cpu": {"realtimeRuntime": 1}}"#, "cpu.realtimeRuntime"),
        (r#"{"blockIO": {"leafWeight": 10}}"#, "blockIO.leafWeight"),
        (r#"{"unified": {"cgroup.procs": "1"}}"#, "unified[\"cgroup.procs\"]"),
        (r#"{"unified": {"cgroup.kill": "1"}}"#, "unified[\"cgroup.kill\"]"),
        (r#"{"unified": {"../x.y": "1"}}"#, "unified[\"../x.y\"]"),
        (r#"{"unified": {"memory": "1"}}"#, "unified[\"memory\"]"),
        (r#"{"unified": {"misc.max": "1"}}"#, "unified[\"misc.max\"]"),
        (r#"{"unified": {"memory.max": ""}}"#, "unified[\"memory.max\"]"),
    ];
    for (resources, field) in only_v1 {
        assert_eq!(refusal(&unified(), resources), format!("linux.resources.{field}"));
    }
}

#[test]
fn what_v1_cannot_honour_is_refused_by_name() {
    let unified_map = r#"{"unified": {"memory.max": "1"}}"#;
    assert_eq!(refusal(&legacy(), unified_map), "linux.resources.unified");
    assert_eq!(
        refusal(&legacy(), r#"{"network": {"classID": 1}}"#),
        "linux.resources.network.classID"
    );
    assert_eq!(refusal(&legacy(), r#"{"cpu": {"shares": 1}}"#), "linux.resources.cpu.shares");
}

#[test]
fn kernel_memory_limits_are_ignored() {
    let with = planned(&legacy(), None, r#"{"memory": {"kernel": 1000}}"#).unwrap();
    assert_eq!(with, planned(&legacy(), None, "{}").unwrap());
}

#[test]
fn unset_numbers_ask_for_nothing() {
    let zeroes = r#"{"cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""},
        "memory": {"limit": 0, "swap": 0, "reservation": 0},
        "blockIO": {"weight": 0}}"#;
    for facts in [legacy(), unified()] {
        let with = planned(&facts, None, zeroes).unwrap();
        assert_eq!(with, planned(&facts, None, "{}").unwrap());
    }
}

#[test]
fn a_limit_of_0_processes_is_one() {
    for facts in [legacy(), unified()] {
        for (limit, value) in [("0", "1"), ("-1", "max"), ("7", "7")] {
            let plan =
                planned(&facts, None, &format!(r#"{{"pids": {{"limit": {limit}}}}}"#)).unwrap();
            let values: Vec<_> = writes(&plan.steps)
                .filter(|w| w.file == "pids.max")
                .map(|w| w.value.clone())
                .collect();
            assert_eq!(values, [value]);
        }
    }
}

#[test]
fn unified_is_written_last_and_line_by_line() {
    let resources = r#"{"memory": {"limit": 10},
        "unified": {"memory.max": "20", "io.max": "8:0 rbps=1\n8:16 rbps=2\n", "cgroup.max.depth": "3"}}"#;
    let plan = planned(&unified(), None, resources).unwrap();
    let written: Vec<_> = writes(&plan.steps).map(|w| format!("{}={}", w.file, w.value)).collect();
    assert_eq!(
        written,
        [
            "memory.max=10",
            "cgroup.max.depth=3",
            "io.max=8:0 rbps=1",
            "io.max=8:16 rbps=2",
            "memory.max=20"
        ]
    );
}

#[test]
fn rootless_without_a_request_is_optional() {
    let request = CgroupRequest { rootless: true, ..CgroupRequest::new("web") };
    let free = CgroupPlan::new(&unified(), &request).unwrap();
    assert!(free.optional);
    assert!(!free.steps.iter().any(|step| matches!(step, Step::AttachDevices { .. })));
    let asked = CgroupPlan::new(&unified(), &CgroupRequest { cgroups_path: Some("/x"), ..request })
        .unwrap();
    assert!(!asked.optional);
}

#[test]
fn delegation_is_for_v2_alone() {
    let request = CgroupRequest { owner: Some((1000, 1001)), ..CgroupRequest::new("web") };
    let last = CgroupPlan::new(&unified(), &request).unwrap().lines().pop().unwrap();
    assert_eq!(last, "chown 1000:1001 /c/system.slice/web");
    assert!(matches!(CgroupPlan::new(&legacy(), &request), Err(Error::Field { .. })));
}
