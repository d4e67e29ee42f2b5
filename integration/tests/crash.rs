//! The runtime is killed at many points of each verb: what it leaves, `delete --force` takes away,
//! wholly, and the id can be used again.

use brig_integration::command::{Call, Running, flavour};
use brig_integration::{Container, Lab, PATIENCE, json, machine, need, wait_until};
use std::time::{Duration, Instant};

/// How many points in time each verb is killed at.
fn points() -> u32 {
    if std::env::var("BRIG_LANE").is_ok_and(|lane| lane != "host") { 4 } else { 40 }
}

/// Starts the call and kills it after `delay`.
fn killed_after(call: Call, delay: Duration) -> Running {
    let start = Instant::now();
    let mut running = call.spawn();
    while start.elapsed() < delay {
        std::hint::spin_loop();
    }
    running.kill();
    running
}

/// How long an undisturbed call takes, which must be one that goes all the way.
fn length(call: Call) -> Duration {
    let start = Instant::now();
    call.go().ok();
    start.elapsed()
}

/// Force-deletes until nothing is left; once must do.
#[track_caller]
fn recovers(lab: &Lab, c: &Container<'_>, at: Duration) {
    c.delete_force().ok();
    let clean = wait_until(Duration::from_secs(5), || lab.leftovers().is_empty());
    assert!(clean, "killed after {at:?}, and left: {:#?}", lab.leftovers());
}

#[test]
fn killed_in_create() {
    need!(Brig); // runc 1.1 leaves cgroups when it is killed before it has written its state
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    let whole = length(c.create_call(&[]));
    c.delete_force().ok();
    for point in 0..points() {
        let at = whole * point / points();
        killed_after(c.create_call(&[]), at).wait();
        recovers(&lab, &c, at);
    }
    c.run_detached();
}

/// As if brig had been killed between the two: the process comes to the gate without it.
#[test]
fn killed_before_the_process_was_recorded() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.create().ok();
    let pid = c.pid();
    std::fs::remove_file(lab.root().join(c.id()).join("process.json")).expect("the record");
    c.delete_force().ok();
    assert!(!machine::is_alive(pid));
    lab.assert_clean();
}

/// A hook does not end with the runtime. What it has must not keep others from the container.
#[test]
fn killed_while_a_hook_runs() {
    need!(Brig); // runc 1.1 leaves cgroups when it is killed before it has written its state
    let lab = Lab::new();
    let (begun, go_on) = (lab.path("begun"), lab.path("go-on"));
    let script =
        format!("touch {}; until [ -e {} ]; do sleep 0.02; done", begun.display(), go_on.display());
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    let c = lab.container(lab.bundle().idle().set("/hooks/createRuntime", json!([hook])));
    let mut running = c.create_call(&[]).spawn();
    assert!(wait_until(PATIENCE, || begun.exists()), "{}", running.stderr());
    let (pid, maker) = (c.pid(), running.pid());
    assert_eq!(c.status(), "creating");
    let lock = lab.root().join(c.id()).join("lock");
    let holds = |pid: i32| machine::descriptors(pid).contains(&lock);
    assert!(holds(maker) && holds(pid), "a process that was just made has a copy");
    running.kill();
    running.wait();
    c.wait_status("stopped");
    c.delete().ok();
    std::fs::write(&go_on, "").expect("write");
    lab.assert_clean();
}

/// As after a full disk. What ends a container needs nothing of what the file says.
#[test]
fn a_damaged_configuration_keeps_nothing_alive() {
    need!(Brig); // runc keeps no copy
    let lab = Lab::new();
    for (damage, namespaced) in [("", true), ("{\"ociVersion\"", false), ("[]", true)] {
        let bundle =
            lab.bundle().sh("sleep 1000 & echo $! >/pid; trap : TERM; wait; exec sleep 999");
        let bundle = if namespaced { bundle } else { bundle.without_namespace("pid") };
        let c = lab.container(bundle);
        let damaged = || {
            std::fs::write(lab.root().join(c.id()).join("config.json"), damage).expect("write");
        };
        c.create().ok();
        damaged();
        c.start().code(1).says("config.json");
        assert_eq!(c.status(), "created", "{damage:?}");
        c.delete().code(1).says("config.json").says("forced delete");
        c.delete_force().ok().says("warning: ");
        c.run_detached();
        damaged();
        assert!(wait_until(PATIENCE, || c.host_path("/pid").exists()));
        c.kill("KILL").ok();
        c.wait_status("stopped");
        assert!(c.verb("ps").ok().stdout().lines().count() <= 1, "{damage:?}: something lives");
        c.delete_force().ok();
        c.run_detached();
        damaged();
        c.delete_force().ok();
        assert_eq!(c.status(), "gone");
        lab.assert_clean();
    }
}

/// As by `run` whose program was faster than the record.
#[test]
fn a_program_that_runs_without_a_record_of_its_process_is_not_called_stopped() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let pid = c.pid();
    std::fs::remove_file(lab.root().join(c.id()).join("process.json")).expect("the record");
    assert_eq!(c.status(), "running");
    c.delete().code(1).says("not stopped: running");
    c.kill("TERM").code(1).says("the first process is not known");
    assert!(machine::is_alive(pid));
    c.verb("pause").ok();
    assert_eq!(c.status(), "paused");
    c.verb("resume").ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    assert!(!machine::is_alive(pid));
    c.delete().ok();
    lab.assert_clean();
}

/// As after a crash of the machine whose disk has the states. What is known ends the container all the same.
#[test]
fn a_damaged_record_keeps_nothing_alive() {
    need!(Brig); // others cannot delete it
    let lab = Lab::new();
    for (file, damage) in [("state.json", ""), ("state.json", "{\"id\":"), ("process.json", "{}")] {
        let c = lab.container(lab.bundle().idle());
        c.run_detached();
        let pid = c.pid();
        std::fs::write(lab.root().join(c.id()).join(file), damage).expect("write");
        c.verb("state").code(1).says(file).says("is damaged");
        lab.runtime().arg("list").go().ok().says(file).says("is damaged");
        c.delete().code(1).says("is damaged").says("forced delete");
        assert!(machine::is_alive(pid), "{file} {damage:?}");
        c.kill("KILL").ok();
        assert!(wait_until(PATIENCE, || !machine::is_alive(pid)), "{file} {damage:?}");
        c.delete_force().ok().says("warning: ");
        assert_eq!(c.status(), "gone");
        lab.assert_clean();
        c.run_detached();
        let pid = c.pid();
        std::fs::write(lab.root().join(c.id()).join(file), damage).expect("write");
        c.delete_force().ok().says("warning: ");
        assert!(!machine::is_alive(pid), "{file} {damage:?}");
        lab.assert_clean();
    }
}

/// Nobody knows what else is in its cgroup, so that stays known until it is empty.
#[test]
fn a_damaged_record_stays_while_its_cgroup_is_in_use() {
    need!(Brig);
    let lab = Lab::new();
    let script = "sleep 1000 & echo $! >/pid; exec sleep 1000";
    let c = lab.container(lab.bundle().without_namespace("pid").sh(script));
    c.run_detached();
    let mut other = 0;
    assert!(wait_until(PATIENCE, || {
        let text = std::fs::read_to_string(c.host_path("/pid")).unwrap_or_default();
        other = text.trim().parse().unwrap_or(0);
        other != 0
    }));
    std::fs::write(lab.root().join(c.id()).join("state.json"), "").expect("write");
    c.delete_force().code(1).says(&format!("is in use by processes [{other}]"));
    assert!(machine::is_alive(other));
    let pid = nix::unistd::Pid::from_raw(other);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it runs");
    assert!(wait_until(PATIENCE, || !machine::is_alive(other)));
    c.delete_force().ok();
    assert_eq!(c.status(), "gone");
    lab.assert_clean();
}

/// What waits for its start holds nothing of who made it.
#[test]
fn a_created_process_has_no_copy_of_the_lock() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.create().ok();
    let lock = lab.root().join(c.id()).join("lock");
    assert!(lock.exists());
    assert!(!machine::descriptors(c.pid()).contains(&lock));
    c.delete().ok();
    lab.assert_clean();
}

#[test]
fn killed_in_run() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("exit 0"));
    let whole = length(c.run_call(&[]));
    for point in 0..points() {
        let at = whole * point / points();
        killed_after(c.run_call(&[]), at).wait();
        recovers(&lab, &c, at);
    }
    c.run().ok();
}

#[test]
fn killed_in_start() {
    let lab = Lab::new();
    for point in 0..points() / 2 {
        let c = lab.container(lab.bundle().idle());
        c.create().ok();
        let at = Duration::from_micros(u64::from(point) * 500);
        killed_after(c.call("start", [""; 0]), at).wait();
        // runc's init dies of a write to nobody, at the wrong moment.
        if flavour().is_brig() {
            let status = c.status();
            assert!(
                matches!(status.as_str(), "created" | "running"),
                "killed after {at:?}: {status}"
            );
        }
        recovers(&lab, &c, at);
    }
}

/// At each of its system calls from the gate on: the container waits and can be started, or it runs.
#[test]
fn a_start_that_is_killed_half_way_has_happened_or_not() {
    need!(Brig);
    let lab = Lab::new();
    half_way(&lab, &lab.container(lab.bundle().idle()));
    // The process takes its time between the gate and the program.
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "sleep 0.3"]}]);
    half_way(&lab, &lab.container(lab.bundle().idle().set("/hooks/startContainer", hook)));
    lab.assert_clean();
}

fn half_way(lab: &Lab, c: &Container<'_>) {
    let calls = calls_from_the_gate_on(lab, c);
    assert!(calls.iter().any(|(name, _)| name == "sendto"), "{calls:?}");
    let mut seen = Vec::new();
    for (name, nth) in calls {
        let at = format!("killed in {name} {nth}");
        c.create().ok();
        let (trace, inject) =
            (format!("trace={name}"), format!("inject={name}:signal=KILL:when={nth}"));
        let strace = ["strace", "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        let killed = c.call("start", [""; 0]).under(strace).go();
        assert!(!killed.succeeded(), "{at}: it was not");
        let program = || machine::process(c.pid()).map(|process| process.name);
        // Whether it has been let in shows once it has come to itself.
        std::thread::sleep(Duration::from_millis(50));
        let status = c.status();
        match status.as_str() {
            "created" => c.start().ok(),
            _ => c.start().failed().says("already running"),
        };
        assert_eq!(c.status(), "running", "{at}: {status}");
        let runs = wait_until(PATIENCE, || program().as_deref() == Some("idle"));
        assert!(runs, "{at}: {status}: {:?} runs", program());
        c.delete().failed().says("not stopped");
        c.delete_force().ok();
        seen.push(status);
    }
    assert!(
        ["created", "running"].iter().all(|status| seen.iter().any(|s| s == status)),
        "{seen:?}"
    );
    lab.assert_clean();
}

/// What an undisturbed `start` calls from the gate on, and each one's how many-th call of its kind that is.
fn calls_from_the_gate_on(lab: &Lab, c: &Container<'_>) -> Vec<(String, usize)> {
    c.create().ok();
    let trace = lab.path("trace");
    let strace = ["strace", "-qqq", "-o", &trace.to_string_lossy()];
    c.call("start", [""; 0]).under(strace).go().ok();
    c.delete_force().ok();
    let trace = std::fs::read_to_string(trace).expect("the trace");
    let mut names: Vec<String> = Vec::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let Some((name, _)) = line.split_once('(') else { continue };
        names.push(name.to_owned());
        let nth = names.iter().filter(|other| *other == name).count();
        if line.contains("start.sock") || !calls.is_empty() {
            calls.push((name.to_owned(), nth));
        }
    }
    calls.retain(|(name, _)| name != "exit_group");
    calls
}

#[test]
fn killed_in_exec() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    for point in 0..points() {
        let at = Duration::from_micros(u64::from(point) * 700);
        killed_after(c.exec_call(&[], &["/bin/true"]), at).wait();
        assert_eq!(c.status(), "running", "killed after {at:?}");
    }
    c.exec(&["/bin/true"]).ok();
    recovers(&lab, &c, Duration::ZERO);
}

#[test]
fn killed_in_delete() {
    let lab = Lab::new();
    for point in 0..points() / 2 {
        let c = lab.container(lab.bundle().idle());
        c.run_detached();
        let at = Duration::from_micros(u64::from(point) * 800);
        killed_after(c.call("delete", ["--force"]), at).wait();
        recovers(&lab, &c, at);
    }
}

#[test]
fn killed_in_pause_and_resume() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("while :; do :; done"));
    c.run_detached();
    for point in 0..points() / 4 {
        let at = Duration::from_micros(u64::from(point) * 800);
        killed_after(c.call("pause", [""; 0]), at).wait();
        killed_after(c.call("resume", [""; 0]), at).wait();
    }
    recovers(&lab, &c, Duration::ZERO);
}

#[test]
fn init_is_killed_from_outside_before_start() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.create().ok();
    let pid = nix::unistd::Pid::from_raw(c.pid());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("kill");
    c.wait_status("stopped");
    c.start().failed();
    c.delete().ok();
    lab.assert_clean();
}
