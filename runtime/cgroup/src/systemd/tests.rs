use super::super::facts::Unified;
use super::super::plan::{CgroupPlan, Driver, plan};
use super::super::{Created, Join, create};
use super::*;

fn facts(own: &str) -> CgroupFacts {
    let controllers = ["cpu", "memory", "pids", "cpuset", "io"].map(str::to_owned).to_vec();
    let unified = Unified { mount: "/c".into(), own: own.into(), controllers };
    CgroupFacts { layout: Layout::Unified(unified) }
}

fn request<'a>(path: Option<&'a str>, rootless: bool) -> Request<'a> {
    Request {
        id: "web+1",
        cgroups_path: path,
        resources: None,
        driver: Driver::Systemd,
        devices: &[],
        rootless,
        owner: None,
    }
}

#[test]
fn paths_name_slice_prefix_and_name() {
    let scope = |path| scope(&facts("/"), &request(path, false));
    let made = scope(Some("kubepods-besteffort-pod1.slice:cri-containerd:abc")).unwrap();
    assert_eq!(made.unit, "cri-containerd-abc.scope");
    assert_eq!(made.slice, "kubepods-besteffort-pod1.slice");
    assert_eq!(
        made.cgroup,
        "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/\
         cri-containerd-abc.scope"
    );
    assert_eq!(scope(Some("-.slice::x")).unwrap().cgroup, "x.scope");
    assert_eq!(scope(None).unwrap().cgroup, "system.slice/brig-web\\x2b1.scope");
    for path in [
        "/a/b",
        "a.slice:b",
        "a:b:c",
        "a.slice:b:",
        "..slice/../x.slice:b:c",
        "a--b.slice:b:c",
        "a.slice:b:c.slice",
        "a.slice:b:c:d",
        "-a.slice:b:c",
        "a/b.slice:b:c",
    ] {
        let error = scope(Some(path)).unwrap_err().to_string();
        assert!(error.starts_with("linux.cgroupsPath: "), "{path}: {error}");
    }
    // What could lead out of the directory is part of a name.
    assert_eq!(scope(Some("a.slice:b:../c")).unwrap().unit, "b-..\\x2fc.scope");
}

#[test]
fn a_user_needs_a_manager_of_their_own() {
    let own = "/user.slice/user-7.slice/user@7.service/app.slice/x.scope";
    let made = scope(&facts(own), &request(Some(":p:n"), true)).unwrap();
    assert!(made.user);
    assert_eq!(made.cgroup, "user.slice/user-7.slice/user@7.service/user.slice/p-n.scope");
    // A session is beside the manager.
    let session = "/user.slice/user-7.slice/session-2.scope";
    assert_eq!(scope(&facts(session), &request(Some(":p:n"), true)).unwrap().cgroup, made.cgroup);
    for own in ["/user.slice", "/system.slice/user-x.slice/a.service", "/"] {
        assert!(scope(&facts(own), &request(None, true)).is_err(), "{own}");
    }
}

fn planned(resources: &str) -> CgroupPlan {
    let resources = serde_json::from_str(resources).unwrap();
    let request = Request { resources: Some(&resources), ..request(None, false) };
    plan(&facts("/"), &request).unwrap()
}

#[test]
fn limits_are_properties_too() {
    let plan = planned(
        r#"{"memory": {"limit": 100, "swap": 300}, "pids": {"limit": -1},
            "cpu": {"shares": 1024, "quota": 33333, "period": 50000, "cpus": "0-2,9", "mems": "0-7:1/4"},
            "blockIO": {"weight": 1000}}"#,
    );
    let expected = [
        ("AllowedCPUs", Value::Bytes(vec![0b111, 0b10])),
        ("AllowedMemoryNodes", Value::Bytes(vec![0b1_0001])),
        ("CPUWeight", Value::Number(100)),
        ("CPUQuotaPeriodUSec", Value::Number(50000)),
        ("CPUQuotaPerSecUSec", Value::Number(670_000)),
        ("MemorySwapMax", Value::Number(200)),
        ("MemoryMax", Value::Number(100)),
        ("TasksMax", Value::Number(u64::MAX)),
        ("IOWeight", Value::Number(10_000)),
    ];
    assert_eq!(properties(&plan.steps), expected);
    assert!(
        plan.lines()[0].starts_with("start transient unit brig-web\\x2b1.scope in system.slice")
    );
}

/// Needs systemd as process 1, cgroup v2 and root.
#[test]
fn a_scope_holds_its_process_and_its_limits() {
    if !std::path::Path::new("/run/systemd/system").exists() {
        println!("skipped: systemd does not run here");
        return;
    }
    let facts = CgroupFacts::read().unwrap();
    let resources = serde_json::from_str(
        r#"{"memory": {"limit": 50331648}, "pids": {"limit": 20}, "cpu": {"quota": 33333, "period": 50000}}"#,
    )
    .unwrap();
    let path = format!("brigtest.slice:brig:{}", std::process::id());
    let request = Request { resources: Some(&resources), ..request(Some(&path), false) };
    let Created::Scope(scope) = create(&plan(&facts, &request).unwrap()).unwrap() else {
        panic!("a scope expected");
    };
    let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
    let pid = child.id() as i32;
    let cgroup = scope.attach(pid);
    if cgroup.is_err() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let cgroup = cgroup.unwrap();
    let pids = cgroup.pids();
    let exec = cgroup.join();
    let node = &cgroup.nodes[0];
    let read = |file: &str| node.read(file).unwrap_or_default().trim().to_owned();
    let limits = [read("memory.max"), read("pids.max"), read("cpu.max")];
    let reload = std::process::Command::new("systemctl").arg("daemon-reload").status();
    let kept = [read("memory.max"), read("pids.max")];
    let update = cgroup.update(&serde_json::from_str(r#"{"pids": {"limit": 30}}"#).unwrap());
    let updated = read("pids.max");
    let busy = cgroup.delete();
    let alive = child.try_wait();
    let killed = cgroup.kill();
    child.kill().unwrap();
    child.wait().unwrap();
    let deleted = cgroup.delete();
    assert_eq!(pids.unwrap(), [pid]);
    assert!(matches!(exec.unwrap(), Join::Into(_)));
    assert_eq!(limits, ["50331648", "20", "33333 50000"]);
    assert!(reload.unwrap().success());
    assert_eq!(kept, ["50331648", "20"]);
    update.unwrap();
    assert_eq!(updated, "30");
    assert!(matches!(busy, Err(super::super::Error::Left { .. })), "{busy:?}");
    assert!(alive.unwrap().is_none(), "delete killed the process");
    killed.unwrap();
    deleted.unwrap();
    assert!(!cgroup.nodes[0].path.exists());
}
