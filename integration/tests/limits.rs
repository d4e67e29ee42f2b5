//! Limits that bite: a workload meets them, not just a file that shows them.

use brig_integration::command::flavour;
use brig_integration::{Lab, PATIENCE, json, need, wait_until};
use std::time::Duration;

#[test]
fn memory_limit_kills_with_137() {
    let lab = Lab::new();
    let b = lab
        .bundle()
        .set("/linux/resources/memory", json!({"limit": 33_554_432, "swap": 33_554_432}));
    // tail keeps all of an endless line.
    let c = lab.container(b.sh("tail /dev/zero; echo $?"));
    c.run().ok().prints("137");
    let b = lab
        .bundle()
        .set("/linux/resources/memory", json!({"limit": 33_554_432, "swap": 33_554_432}));
    let c = lab.container(b.args(["/bin/tail", "/dev/zero"]));
    c.run().code(137);
    lab.assert_clean();
}

#[test]
fn an_out_of_memory_event_is_reported() {
    let lab = Lab::new();
    let b = lab
        .bundle()
        .set("/linux/resources/memory", json!({"limit": 33_554_432, "swap": 33_554_432}));
    let c = lab.container(
        b.sh("while ! test -e /go; do sleep 0.02; done; tail /dev/zero; exec /bin/idle"),
    );
    c.run_detached();
    let mut events = c.call("events", ["--interval", "1s"]).spawn();
    assert!(wait_until(PATIENCE, || events.stdout().contains("stats")));
    std::fs::write(c.host_path("/go"), "").expect("write");
    let seen = wait_until(PATIENCE, || events.stdout().contains("\"oom\""));
    let text = events.stdout();
    events.kill();
    events.wait();
    assert!(seen, "{text}");
}

#[test]
fn pids_limit_makes_fork_fail() {
    let lab = Lab::new();
    let b = lab.bundle().set("/linux/resources/pids", json!({"limit": 10}));
    let c = lab.container(
        b.sh("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do sleep 1000 & done; echo all"),
    );
    c.run().code(2).says("can't fork").prints("");
}

#[test]
fn cpu_quota_throttles() {
    let lab = Lab::new();
    let b = lab.bundle().set("/linux/resources/cpu", json!({"quota": 5000, "period": 100_000}));
    let c = lab.container(b.sh("while :; do :; done"));
    c.run_detached();
    let throttled = || {
        let stat = c.cgroup_file("cpu", "cpu.stat");
        let line = stat.lines().find_map(|l| l.strip_prefix("nr_throttled ")).map(str::to_owned);
        line.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
    };
    assert!(wait_until(PATIENCE, || throttled() >= 3), "{}", c.cgroup_file("cpu", "cpu.stat"));
}

#[test]
fn limits_are_in_place_before_the_first_instruction() {
    let lab = Lab::new();
    let b = lab.bundle().set("/linux/resources/pids", json!({"limit": 1}));
    // The very first fork must fail already, which ends the shell with 2.
    let output = lab.container(b.sh("/bin/sleep 0 & wait; echo went on")).run();
    output.code(2).says("can't fork").prints("");
}

#[test]
fn a_memory_limit_of_one_mebibyte_starts() {
    let lab = Lab::new();
    need!(Brig);
    let b =
        lab.bundle().set("/linux/resources/memory", json!({"limit": 1_048_576, "swap": 1_048_576}));
    lab.container(b.args(["/bin/echo", "small"])).run().ok().prints("small");
    lab.assert_clean();
}

#[test]
fn v2_shares_become_a_weight() {
    need!(CgroupV2);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().set("/linux/resources/cpu", json!({"shares": 1024})).idle());
    c.run_detached();
    // The default of one is the default of the other, as in today's runc and crun; runc 1.1 still
    // has 1 + ((1024 - 2) * 9999) / 262142.
    let weight = if flavour().is_brig() { "100" } else { "39" };
    assert_eq!(c.cgroup_file("", "cpu.weight"), weight);
}

#[test]
fn v2_devices_are_denied_by_a_program() {
    need!(CgroupV2);
    let lab = Lab::new();
    let devices =
        json!([{"path": "/dev/kmsg2", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]);
    let b = lab.bundle().set("/linux/devices", devices).sh(": >>/dev/kmsg2");
    lab.container(b).run().code(1).says("not permitted");
    lab.container(lab.bundle().sh("echo x >/dev/null && echo fine")).run().ok().prints("fine");
}

/// runc's names: engines, and who reads their configuration, know the unit by them.
#[test]
fn systemd_makes_scopes_of_the_names_that_are_asked_for() {
    need!(Systemd, CgroupV2);
    let lab = Lab::new();
    for (path, unit) in [("::NAME", "-NAME"), (r":a\x2db:NAME", r"a\x2db-NAME")] {
        let name = lab.id();
        let path = path.replace("NAME", &name);
        let c = lab.container(
            lab.bundle().set("/linux/cgroupsPath", path).args(["/bin/cat", "/proc/self/cgroup"]),
        );
        let dir = c.bundle.dir.to_string_lossy().into_owned();
        let run = lab.runtime().arg("--systemd-cgroup").args(["run", "--bundle", &dir, c.id()]);
        let unit = unit.replace("NAME", &name);
        let own = format!("0::/system.slice/{unit}.scope");
        run.limit(Duration::from_secs(120)).go().ok().prints(&own);
    }
}

#[test]
fn systemd_makes_a_scope_with_the_limits() {
    need!(Systemd, CgroupV2);
    let lab = Lab::new();
    let name = lab.id();
    let b = lab
        .bundle()
        .set("/linux/cgroupsPath", format!("system.slice:box:{name}"))
        .set("/linux/resources", json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 44}, "cpu": {"quota": 50_000, "period": 100_000}}))
        .set("/annotations", json!({"org.systemd.property.TimeoutStopUSec": "uint64 7000000"}))
        .idle();
    let c = lab.container(b);
    let dir = c.bundle.dir.to_string_lossy().into_owned();
    lab.runtime()
        .arg("--systemd-cgroup")
        .args(["run", "--detach", "--bundle", &dir, c.id()])
        .limit(Duration::from_secs(120))
        .go()
        .ok();
    let scope = format!("box-{name}.scope");
    lab.call("systemctl")
        .args([
            "show",
            "-p",
            "MemoryMax,TasksMax,CPUQuotaPerSecUSec,ActiveState,Slice,TimeoutStopUSec",
            &scope,
        ])
        .go()
        .ok()
        .says("MemoryMax=67108864")
        .says("TasksMax=44")
        .says("CPUQuotaPerSecUSec=500ms")
        .says("ActiveState=active")
        .says("Slice=system.slice")
        .says("TimeoutStopUSec=7s");
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).expect("cgroup");
    assert!(own.trim().starts_with(&format!("0::/system.slice/{scope}")), "{own}");
    lab.runtime().arg("--systemd-cgroup").args(["delete", "--force", c.id()]).go().ok();
    let gone = wait_until(PATIENCE, || {
        !lab.call("systemctl").args(["is-active", "--quiet", &scope]).go().succeeded()
    });
    assert!(gone, "the scope stays");
    // What could stand against a limit is not taken from an annotation.
    let annotations = json!({"org.systemd.property.MemoryMax": "uint64 18446744073709551615"});
    let c = lab.container(
        lab.bundle().unset("/linux/cgroupsPath").set("/annotations", annotations).idle(),
    );
    let dir = c.bundle.dir.to_string_lossy().into_owned();
    lab.runtime()
        .arg("--systemd-cgroup")
        .args(["run", "--detach", "--bundle", &dir, c.id()])
        .go()
        .failed()
        .says("org.systemd.property.MemoryMax");
}

#[test]
fn an_apparmor_profile_confines() {
    need!(AppArmor);
    let lab = Lab::new();
    let profile = lab.path("profile");
    let name = lab.token();
    std::fs::write(&profile, format!("profile {name} flags=(attach_disconnected,mediate_deleted) {{\n file,\n capability,\n signal,\n deny /etc/passwd r,\n}}\n")).expect("write");
    lab.call("apparmor_parser").arg("--replace").arg(&profile).go().ok();
    let b = lab.bundle().set("/process/apparmorProfile", name);
    let c = lab.container(b.sh("cat /proc/self/attr/current; cat /etc/passwd"));
    let output = c.run();
    lab.call("apparmor_parser").arg("--remove").arg(&profile).go();
    output.code(1).says(&format!("{name} (enforce)")).says("ermission denied");
    // A profile that is not loaded is an error, not an unconfined container.
    let b = lab.bundle().set("/process/apparmorProfile", "no-such-profile");
    lab.container(b).run().code(1).says("pparmor");
}

#[test]
fn an_apparmor_profile_where_there_is_no_apparmor_is_an_error() {
    let lab = Lab::new();
    if brig_integration::machine::has_apparmor() {
        return;
    }
    need!(Brig);
    lab.container(lab.bundle().set("/process/apparmorProfile", "docker-default"))
        .run()
        .code(1)
        .says("process.apparmorProfile");
    lab.assert_clean();
}
