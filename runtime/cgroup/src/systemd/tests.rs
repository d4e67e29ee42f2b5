use super::super::plan::{CgroupPlan, CgroupRequest, Driver};
use super::super::{CgroupFacts, JoinDescriptors, Prepared, prepare};

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
    let request = CgroupRequest {
        cgroups_path: Some(&path),
        resources: Some(&resources),
        driver: Driver::Systemd,
        ..CgroupRequest::new("scope")
    };
    let Prepared::Scope(scope) = prepare(&CgroupPlan::new(&facts, &request).unwrap()).unwrap()
    else {
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
    assert!(matches!(exec.unwrap(), JoinDescriptors::Into(_)));
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
