//! The verbs of the command line, in the order in which engines use them. Reference: the OCI
//! runtime specification's runtime.md, and runc's man pages for what engines rely on beyond it.

use brig_integration::{Lab, PATIENCE, json, machine, need, wait_until};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

#[test]
fn run_passes_output_and_exit_code_on() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("echo out; echo err >&2; exit 7"));
    c.run().code(7).prints("out").says("err");
    lab.assert_clean();
}

#[test]
fn run_passes_input_on_to_its_end() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().args(["/bin/wc", "-c"]));
    c.run_call(&[]).stdin(&vec![b'x'; 300_000]).go().ok().prints("300000");
}

#[test]
fn exit_code_of_a_signal_is_128_and_its_number() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    let running = c.run_call(&[]).spawn();
    c.wait_status("running");
    c.kill("KILL").ok();
    running.wait().code(137);
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    for (signal, code) in [("KILL", 137), ("TERM", 143), ("ABRT", 134), ("SEGV", 139), ("HUP", 129)]
    {
        c.exec_sh(&format!("kill -{signal} $$")).code(code);
    }
}

#[test]
fn a_program_that_obeys_a_signal_chooses_its_exit_code() {
    let lab = Lab::new();
    let script = "trap 'exit 42' TERM; echo up; while :; do sleep 0.02; done";
    let c = lab.container(lab.bundle().sh(script));
    let running = c.run_call(&[]).spawn();
    assert!(wait_until(PATIENCE, || running.stdout().contains("up")));
    // The program may be quicker than the brig that puts it on record.
    c.wait_status("running");
    c.kill("TERM").ok();
    running.wait().code(42);
}

#[test]
fn run_forwards_signals_to_the_container() {
    let lab = Lab::new();
    let c = lab.container(
        lab.bundle().sh("trap 'echo got; exit 9' USR1; echo up; while :; do sleep 0.05; done"),
    );
    let running = c.run_call(&[]).spawn();
    assert!(wait_until(PATIENCE, || running.stdout().contains("up")));
    let pid = nix::unistd::Pid::from_raw(running.pid());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).expect("signal the runtime");
    running.wait().code(9).says("got");
}

#[test]
fn create_runs_nothing_before_start() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("touch /ran; exec /bin/idle"));
    c.create().ok();
    let state = c.state();
    assert_eq!(state["status"], "created");
    assert!(c.is_alive());
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(!c.host_path("/ran").exists(), "the program runs before start");
    c.start().ok();
    c.wait_status("running");
    assert!(wait_until(PATIENCE, || c.host_path("/ran").exists()));
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    assert_eq!(c.status(), "gone");
    lab.assert_clean();
}

#[test]
fn a_configuration_that_changes_after_create_has_no_effect() {
    let lab = Lab::new();
    let c =
        lab.container(lab.bundle().sh("hostname >/ran; exec /bin/idle").set("/hostname", "first"));
    c.create().ok();
    c.bundle.clone().sh("echo other >/ran; exec /bin/idle").set("/hostname", "second").write();
    c.start().ok();
    let ran = || fs::read_to_string(c.host_path("/ran")).unwrap_or_default();
    assert!(wait_until(PATIENCE, || !ran().is_empty()));
    assert_eq!(ran(), "first\n");
    assert_eq!(c.exec_sh("hostname").ok().stdout(), "first\n");
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn state_has_what_the_specification_asks_for() {
    let lab = Lab::new();
    let c =
        lab.container(lab.bundle().idle().set("/annotations", json!({"org.example.key": "value"})));
    c.run_detached();
    let state = c.state();
    assert!(state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")), "{state}");
    assert_eq!(state["id"], c.id());
    assert_eq!(state["status"], "running");
    assert_eq!(state["bundle"], c.bundle.dir.to_string_lossy().as_ref());
    assert_eq!(state["annotations"]["org.example.key"], "value");
    assert_eq!(state["rootfs"], c.bundle.rootfs.to_string_lossy().as_ref());
    assert!(state["created"].as_str().is_some_and(|t| t.starts_with("20")), "{state}");
    assert_eq!(state["owner"], "root");
    assert!(machine::is_alive(c.pid()));
}

#[test]
fn state_of_a_stopped_container_has_no_live_pid() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().args(["/bin/true"]));
    c.run_detached();
    c.wait_status("stopped");
    assert_eq!(c.state()["pid"], 0);
    c.delete().ok();
}

#[test]
fn verbs_on_an_unknown_container_fail() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle());
    for verb in ["state", "start", "delete", "pause", "resume", "ps", "events"] {
        c.verb(verb).code(1).says("does not exist");
    }
    c.kill("KILL").code(1).says("does not exist");
    c.exec(&["true"]).failed().says("does not exist");
    c.delete_force().ok(); // nothing to do is not an error
}

#[test]
fn delete_refuses_a_running_container() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    c.delete().code(1).says("running");
    assert!(c.is_alive());
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn delete_takes_a_created_container() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.create().ok();
    c.delete().ok();
    lab.assert_clean();
}

#[test]
fn start_twice_fails() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.create().ok();
    c.start().ok();
    c.start().code(1).says("already running");
    assert!(c.is_alive());
}

#[test]
fn a_second_create_with_the_same_id_fails_and_harms_nothing() {
    let lab = Lab::new();
    let first = lab.container(lab.bundle().idle());
    first.run_detached();
    let second = lab.container_named(first.id(), lab.bundle().idle());
    second.create().code(1).says("exist");
    second.run().code(1).says("exist");
    assert_eq!(first.status(), "running");
    first.delete_force().ok();
    second.create().ok();
    second.start().ok();
    assert_eq!(second.status(), "running");
    second.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn kill_takes_names_and_numbers() {
    let lab = Lab::new();
    let script = "for s in HUP USR1 34; do trap \"echo $s >>/got\" $s; done; echo up >/up; while :; do sleep 0.02; done";
    let c = lab.container(lab.bundle().sh(script));
    c.run_detached();
    assert!(wait_until(PATIENCE, || c.host_path("/up").exists()));
    for (signal, name) in [
        ("HUP", "HUP"),
        ("SIGHUP", "HUP"),
        ("1", "HUP"),
        ("usr1", "USR1"),
        ("10", "USR1"),
        ("34", "34"),
    ] {
        let _ = fs::remove_file(c.host_path("/got"));
        c.kill(signal).ok();
        let got = || fs::read_to_string(c.host_path("/got")).unwrap_or_default();
        assert!(wait_until(PATIENCE, || got().trim() == name), "kill {signal}: got {}", got());
    }
    c.kill("KILL").ok();
    c.wait_status("stopped");
}

#[test]
fn kill_takes_realtime_signals_by_name() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    // busybox does not handle it: the default action of SIGRTMIN+3 is to end the process, but init
    // is exempt from default actions, so nothing happens but the call's success.
    for signal in ["RTMIN+3", "SIGRTMIN+3", "RTMAX-1", "64"] {
        c.kill(signal).ok();
    }
    assert!(c.is_alive());
}

#[test]
fn a_created_container_can_be_told_to_end() {
    need!(Brig); // crun's init ignores what has no handler
    let lab = Lab::new();
    for signal in ["HUP", "INT", "QUIT", "TERM"] {
        let c = lab.container(lab.bundle().idle());
        c.create().ok();
        c.kill(signal).ok();
        c.wait_status("stopped");
        c.start().failed();
        c.delete().ok();
    }
    // Nothing of that is left once the program runs: init decides for itself again.
    let c = lab.container(lab.bundle().args(["/bin/sleep", "1000"]));
    c.run_detached();
    c.kill("TERM").ok();
    assert!(c.is_alive());
}

#[test]
fn kill_refuses_unknown_signals() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    for signal in ["NOPE", "SIGSIGTERM", "65", "-1", "9x"] {
        c.call("kill", [""; 0]).arg("--").arg(signal).go().failed();
    }
    assert!(c.is_alive());
}

#[test]
fn kill_of_a_stopped_container_fails() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().args(["/bin/true"]));
    c.run_detached();
    c.wait_status("stopped");
    c.kill("TERM").code(1).says("not running");
}

#[test]
fn kill_all_reaches_every_process() {
    if machine::layout() == machine::Layout::V2 {
        need!(Brig); // runc 1.1 removes the cgroup too early, and leaves it
    }
    let lab = Lab::new();
    // In its own pid namespace all would end with the first process.
    let c = lab.container(lab.bundle().without_namespace("pid").idle());
    c.run_detached();
    let file = lab.path("pid");
    let options = ["--detach", "--pid-file", &file.to_string_lossy()];
    c.exec_call(&options, &["/bin/sleep", "1000"]).go().ok();
    let pid = fs::read_to_string(&file).expect("the pid file").parse().expect("a number");
    assert!(machine::is_alive(pid));
    c.call("kill", ["--all"]).arg("KILL").go().ok();
    assert!(wait_until(PATIENCE, || !machine::is_alive(pid)), "{pid}");
    c.wait_status("stopped");
    c.delete().ok();
    lab.assert_clean();
}

#[test]
fn a_shared_pid_namespace_is_killed_whole() {
    if machine::layout() == machine::Layout::V2 {
        need!(Brig); // runc 1.1 removes the cgroup too early, and leaves it
    }
    let lab = Lab::new();
    let bundle = lab.bundle().without_namespace("pid").sh("sleep 1000 & sleep 1000 & wait");
    let c = lab.container(bundle);
    c.run_detached();
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn pid_files_hold_the_hosts_pid() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    let file = lab.path("pid");
    c.create_call(&["--pid-file", &file.to_string_lossy()]).go().ok();
    assert_eq!(fs::read_to_string(&file).expect("the pid file"), c.pid().to_string());
    c.start().ok();
    let file = lab.path("pid");
    let exec =
        c.exec_call(&["--detach", "--pid-file", &file.to_string_lossy()], &["/bin/sleep", "100"]);
    exec.go().ok();
    let pid: i32 = fs::read_to_string(&file).expect("the pid file").parse().expect("a number");
    assert_eq!(machine::process(pid).map(|p| p.name), Some("sleep".into()));
}

#[test]
fn a_pid_file_that_cannot_be_written_leaves_no_process() {
    need!(Brig); // runc leaves the process of exec
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    let file = lab.path("missing").join("pid");
    let options = ["--pid-file", &file.to_string_lossy()];
    c.create_call(&options).go().failed().says("writing the pid file");
    assert_eq!(c.status(), "gone");
    // One process, which makes no other.
    c.create().ok();
    for further in [&["--detach"][..], &[]] {
        let exec = c.exec_call(&[&options[..], further].concat(), &["/bin/sleep", "1000"]);
        exec.go().failed().says("writing the pid file");
        assert_eq!(c.cgroup_file("pids", "cgroup.procs"), c.pid().to_string());
    }
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn delete_names_what_is_not_its_own_and_leaves_it() {
    need!(Brig); // runc removes whatever is there
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let foreign = lab.root().join(c.id()).join("notes");
    fs::write(&foreign, "somebody's").expect("write");
    for _ in 0..2 {
        c.delete_force().code(1).says("has not put there: notes").says("hint: ");
        assert!(foreign.exists());
        let listed = lab.runtime().args(["list", "-q"]).go().ok().stdout();
        assert!(listed.contains(c.id()), "{listed}");
    }
    fs::remove_file(&foreign).expect("remove");
    c.delete().ok();
    assert_eq!(c.status(), "gone");
    lab.assert_clean();
}

#[test]
fn list_shows_containers_and_their_status() {
    let lab = Lab::new();
    let running = lab.container(lab.bundle().idle());
    running.run_detached();
    let created = lab.container(lab.bundle().idle());
    created.create().ok();
    let stopped = lab.container(lab.bundle().args(["/bin/true"]));
    stopped.run_detached();
    stopped.wait_status("stopped");

    let list = lab.runtime().args(["list", "--format", "json"]).go().ok().json();
    let status = |id: &str| -> String {
        let found = list.as_array().into_iter().flatten().find(|c| c["id"] == id);
        found.map_or_else(|| "missing".into(), |c| c["status"].as_str().unwrap_or_default().into())
    };
    assert_eq!(status(running.id()), "running");
    assert_eq!(status(created.id()), "created");
    assert_eq!(status(stopped.id()), "stopped");
    lab.runtime().arg("list").go().ok().says("BUNDLE").says(running.id());
    let quiet = lab.runtime().args(["list", "--quiet"]).go().ok().stdout();
    assert_eq!(quiet.lines().count(), 3, "{quiet}");
}

/// As runc names on standard error what it cannot load, and exits with 0.
#[test]
fn list_names_what_it_cannot_show() {
    need!(Brig);
    let lab = Lab::new();
    let shown = lab.container(lab.bundle().idle());
    shown.run_detached();
    let root = lab.root();
    let unfinished = |name: &str, files: &[&str]| {
        fs::create_dir(root.join(name)).expect("make a directory");
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o700)).expect("chmod");
        for file in files {
            fs::write(root.join(name).join(file), "").expect("write");
        }
    };
    // Killed after its directory was made, and after its lock; what is no directory was never a container.
    unfinished("begun", &[]);
    unfinished("locked", &["lock"]);
    unfinished("theirs", &["lock", "state.json"]);
    lab.call("chown").arg("4712").arg(root.join("theirs")).go().ok();
    fs::write(root.join("file"), "").expect("write");
    for options in [&["list"][..], &["list", "--format", "json"]] {
        let said = lab.runtime().args(options).go().ok();
        assert!(said.stdout().contains(shown.id()), "{}", said.stdout());
        let words = said.stderr();
        for named in [
            "begun holds no complete container",
            "\"locked\" is incomplete: create was interrupted",
            "user 4712",
        ] {
            assert!(words.contains(named), "{named}: {words}");
        }
        assert_eq!(words.lines().count(), 3, "{words}");
    }
    let quiet = lab.runtime().args(["list", "--quiet"]).go().ok();
    assert_eq!(quiet.stdout().lines().count(), 3, "{}", quiet.stdout());
    assert!(quiet.stderr().contains("begun"), "{}", quiet.stderr());
    for name in ["begun", "locked"] {
        lab.runtime().args(["delete", "--force", name]).go().ok();
        assert!(!root.join(name).exists());
    }
    fs::remove_dir_all(root.join("theirs")).expect("remove");
    fs::remove_file(root.join("file")).expect("remove");
}

#[test]
fn list_of_nothing_is_no_error() {
    let lab = Lab::new();
    lab.runtime().arg("list").go().ok();
    let output = lab.runtime().args(["list", "-f", "json"]).go().ok();
    assert!(matches!(output.stdout().trim(), "null" | "[]"), "{}", output.stdout());
}

#[test]
fn ps_shows_the_containers_processes_only() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("sleep 1000 & exec /bin/idle"));
    c.run_detached();
    let pids = || -> Vec<i32> {
        let list = c.call("ps", ["--format", "json"]).go().ok().json();
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(|p| i32::try_from(p.as_i64()?).ok())
            .collect()
    };
    assert!(wait_until(PATIENCE, || pids().len() >= 2), "{:?}", pids());
    assert!(pids().contains(&c.pid()));
    assert!(!pids().contains(&std::process::id().cast_signed()));
    c.verb("ps").ok().says("sleep 1000");
    c.call("ps", [""; 0]).args(["-o", "pid,comm"]).go().ok().says("COMMAND");
}

#[test]
fn pause_stops_and_resume_goes_on() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("while :; do echo x >>/ticks; sleep 0.01; done"));
    c.run_detached();
    let ticks = || fs::metadata(c.host_path("/ticks")).map_or(0, |m| m.len());
    assert!(wait_until(PATIENCE, || ticks() > 0));
    c.verb("pause").ok();
    assert_eq!(c.status(), "paused");
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(ticks(), before, "a paused container goes on");
    c.exec(&["/bin/true"]).failed();
    c.verb("resume").ok();
    assert_eq!(c.status(), "running");
    assert!(wait_until(PATIENCE, || ticks() > before));
}

#[test]
fn a_paused_container_is_deleted_by_force() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("sleep 1000 & sleep 1000"));
    c.run_detached();
    c.verb("pause").ok();
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn events_stats_prints_one_record_of_use() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle().set("/linux/resources/pids", json!({"limit": 50})));
    c.run_detached();
    let stats = c.call("events", ["--stats"]).go().ok().json();
    assert_eq!(stats["type"], "stats");
    assert_eq!(stats["id"], c.id());
    let data = &stats["data"];
    assert!(data["cpu"]["usage"]["total"].as_u64().is_some_and(|n| n > 0), "{stats}");
    assert!(data["memory"]["usage"]["usage"].as_u64().is_some_and(|n| n > 0), "{stats}");
    assert!(data["pids"]["current"].as_u64().is_some_and(|n| n >= 1), "{stats}");
    assert_eq!(data["pids"]["limit"], 50, "{stats}");
}

#[test]
fn update_changes_limits_of_a_running_container() {
    let lab = Lab::new();
    need!(CgroupV1);
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    c.call(
        "update",
        [
            "--memory",
            "67108864",
            "--pids-limit",
            "42",
            "--cpu-quota",
            "20000",
            "--cpu-period",
            "100000",
        ],
    )
    .go()
    .ok();
    assert_eq!(c.cgroup_file("memory", "memory.limit_in_bytes"), "67108864");
    assert_eq!(c.cgroup_file("pids", "pids.max"), "42");
    assert_eq!(c.cgroup_file("cpu", "cpu.cfs_quota_us"), "20000");
    let json = br#"{"memory": {"limit": 134217728}, "cpu": {"shares": 512}}"#;
    c.call("update", ["--resources", "-"]).stdin(json).go().ok();
    assert_eq!(c.cgroup_file("memory", "memory.limit_in_bytes"), "134217728");
    assert_eq!(c.cgroup_file("cpu", "cpu.shares"), "512");
    assert_eq!(c.cgroup_file("pids", "pids.max"), "42", "what is not named stays");
}

#[test]
fn update_of_nonsense_changes_nothing() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let limit = || c.cgroup_file("pids", "pids.max");
    let before = limit();
    c.call("update", ["--pids-limit", "9", "--memory", "lots"]).go().failed();
    c.call("update", ["--resources", "-"]).stdin(b"{\"pids\": {\"limit\": 9}").go().failed();
    assert_eq!((c.status().as_str(), limit()), ("running", before));
}

#[test]
fn a_detached_run_leaves_its_exit_to_the_caller() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("echo from inside; exit 3"));
    let output = c.run_detached();
    c.wait_status("stopped");
    output.prints("from inside");
    c.delete().ok();
    lab.assert_clean();
}

#[test]
fn spec_writes_a_bundle_that_runs() {
    let lab = Lab::new();
    let bundle = lab.bundle();
    lab.runtime().arg("spec").cwd(&bundle.dir).go().ok();
    let text = fs::read_to_string(bundle.dir.join("config.json")).expect("config.json");
    let mut spec: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["/bin/echo", "hello"]);
    lab.container(bundle.raw(spec.to_string())).run().ok().prints("hello");
    lab.runtime().arg("spec").cwd(&lab.bundle().dir).go().ok();
}

#[test]
fn spec_does_not_overwrite() {
    let lab = Lab::new();
    let bundle = lab.bundle();
    bundle.write();
    let before = fs::read(bundle.dir.join("config.json")).expect("config.json");
    lab.runtime().args(["spec", "--bundle"]).arg(&bundle.dir).go().failed();
    assert_eq!(fs::read(bundle.dir.join("config.json")).expect("config.json"), before);
}

#[test]
fn a_rootless_spec_has_a_user_namespace() {
    let lab = Lab::new();
    let dir = lab.bundle().dir;
    lab.runtime().args(["spec", "--rootless"]).cwd(&dir).go().ok();
    let text = fs::read_to_string(dir.join("config.json")).expect("config.json");
    let spec: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let namespaces = spec["linux"]["namespaces"].as_array().expect("namespaces");
    assert!(namespaces.iter().any(|n| n["type"] == "user"), "{spec}");
    assert_eq!(spec["linux"]["uidMappings"][0]["size"], 1);
}

#[test]
fn features_names_what_is_supported() {
    let lab = Lab::new();
    let features = lab.runtime().arg("features").go().ok().json();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    let hooks = features["hooks"].as_array().expect("hooks");
    assert_eq!(hooks.len(), 6, "{hooks:?}");
    let namespaces = features["linux"]["namespaces"].as_array().expect("namespaces");
    for kind in ["pid", "network", "ipc", "uts", "mount", "user", "cgroup"] {
        assert!(namespaces.iter().any(|n| n == kind), "{kind}");
    }
    assert_eq!(features["linux"]["cgroup"]["v1"], true);
    assert_eq!(features["linux"]["cgroup"]["v2"], true);
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
    assert_eq!(features["linux"]["selinux"]["enabled"], true);
}

#[test]
fn version_and_help_are_for_machines_and_people() {
    let lab = Lab::new();
    lab.runtime().arg("--version").go().ok().says("spec: 1.").says("\ncommit: ");
    lab.runtime().arg("--help").go().ok().says("create");
    lab.runtime().args(["create", "--help"]).go().ok().says("--console-socket");
}

#[test]
fn usage_errors_have_a_code_of_their_own() {
    let lab = Lab::new();
    need!(Brig);
    lab.runtime().arg("frobnicate").go().code(2).says("frobnicate");
    lab.runtime().arg("craete").go().code(2).says("did you mean create?");
    lab.runtime().args(["run", "--bundel", "x"]).go().code(2).says("did you mean --bundle?");
    for verb in ["state", "create", "start", "kill", "delete"] {
        lab.runtime().arg(verb).go().code(2).says("CONTAINER-ID is missing");
    }
    lab.runtime().args(["create", "--no-such-option", "x"]).go().code(2).says("--no-such-option");
    lab.runtime().args(["kill", "a", "b", "c"]).go().code(2);
}

#[test]
fn what_follows_the_command_of_try_is_its_own() {
    need!(Brig);
    let lab = Lab::new();
    for dashes in [&["--"][..], &[]] {
        let call = lab.runtime().args(["try", "-q"]).args(dashes);
        call.args(["/bin/echo", "-q", "--pids", "x"]).go().ok().prints("-q --pids x");
    }
}

#[test]
fn errors_in_a_json_log_have_the_shape_that_containerd_reads() {
    let lab = Lab::new();
    let log = lab.path("log");
    let call = lab.runtime().arg("--log").arg(&log).args(["--log-format", "json"]);
    call.args(["state", "nobody"]).go().code(1);
    let text = fs::read_to_string(&log).expect("the log");
    let line: serde_json::Value =
        serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(line["level"], "error");
    assert!(line["msg"].as_str().is_some_and(|m| m.contains("does not exist")), "{line}");
    assert!(line["time"].as_str().is_some_and(|t| t.contains('T')), "{line}");
}

#[test]
fn errors_in_a_text_log_are_readable() {
    let lab = Lab::new();
    let log = lab.path("log");
    lab.runtime().arg("--log").arg(&log).args(["state", "nobody"]).go().code(1);
    let text = fs::read_to_string(&log).expect("the log");
    assert!(text.contains("does not exist"), "{text}");
}

#[test]
fn a_usage_error_in_a_log_has_its_hint() {
    let lab = Lab::new();
    need!(Brig);
    let log = lab.path("log");
    for (options, hint) in [
        (&["run", "--bundel", "x"][..], "did you mean --bundle?"),
        (&["state"], "see `brig state --help`"),
    ] {
        lab.runtime().arg("--log").arg(&log).args(options).go().code(2);
        let text = fs::read_to_string(&log).expect("the log");
        assert!(text.lines().last().is_some_and(|line| line.contains(hint)), "{hint}: {text}");
    }
}

#[test]
fn debug_says_what_is_done_and_when_in_the_log_alone() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("exit 3"));
    let log = lab.path("log");
    let dir = c.bundle.dir.to_string_lossy();
    let call = lab.runtime().arg("--debug").arg("--log").arg(&log);
    let output = call.args(["run", "--bundle", &dir, c.id()]).go().code(3);
    assert_eq!(output.stderr(), "");
    let text = fs::read_to_string(&log).expect("the log");
    let (bundle, id) = (format!("bundle {dir} for container"), c.id());
    for words in [
        "brig 0.",
        &bundle,
        "config.json of ",
        " operations, cgroup /",
        "process ",
        "its program runs",
        "run is done, exit code 3",
        id,
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(
        text.lines().all(|line| line.contains("level=debug") && line.contains(" ms: ")),
        "{text}"
    );
    let of_user = lab.runtime().args(["--debug", "state", "nobody"]).go().code(1);
    of_user.says("debug: ").says(" ms: ");
}

#[test]
fn a_log_that_cannot_be_written_is_told_before_anything_is_done() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("echo ran"));
    let dir = c.bundle.dir.to_string_lossy();
    for log in ["/no/such/directory/log", "/tmp"] {
        let output = lab.runtime().args(["--log", log, "run", "--bundle", &dir, c.id()]).go();
        let output = output.code(1).says(log);
        assert!(!output.stdout().contains("ran"));
        lab.runtime().args(["--log", log, "list"]).go().code(1).says(log);
        lab.runtime().args(["--log", log, "--version"]).go().ok();
    }
    lab.assert_clean();
}

#[test]
fn the_root_directory_is_made_when_it_is_missing() {
    let lab = Lab::new();
    let root = lab.path("fresh").join("deeper");
    let bundle = lab.bundle();
    bundle.write();
    let call = lab.call(brig_integration::binaries::runtime()).arg("--root").arg(&root);
    call.args(["run", "--bundle"]).arg(&bundle.dir).arg(lab.id()).go().ok();
    assert!(root.is_dir());
}

#[test]
fn a_relative_bundle_is_found() {
    let lab = Lab::new();
    let bundle = lab.bundle().sh("echo here");
    bundle.write();
    lab.runtime()
        .args(["run", "--bundle", "."])
        .arg(lab.id())
        .cwd(&bundle.dir)
        .go()
        .ok()
        .prints("here");
    lab.runtime().arg("run").arg(lab.id()).cwd(&bundle.dir).go().ok().prints("here");
}

#[test]
fn a_relative_rootfs_is_in_the_bundle() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().set("/root/path", "rootfs").sh("echo here"));
    c.run().ok().prints("here");
}

#[test]
fn a_root_that_is_given_is_named_and_there() {
    need!(Brig);
    let lab = Lab::new();
    let brig = || lab.call(brig_integration::binaries::runtime());
    brig().args(["--root", "", "list"]).go().code(2).says("--root");
    let nowhere = lab.path("nowhere");
    brig().arg("--root").arg(&nowhere).arg("list").go().failed().says("does not exist");
    assert!(!nowhere.exists());
}

#[test]
fn a_pidfd_socket_gets_the_process_of_create_run_and_exec() {
    need!(Oci11); // runc has it since 1.2
    let lab = Lab::new();
    let socket = lab.console();
    let path = socket.path().to_string_lossy();
    let flag = ["--pidfd-socket", &*path];
    let pid = |role: &str| {
        let (text, pidfd) = socket.receive();
        assert_eq!(text, role);
        let info = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
        let info = fs::read_to_string(info).expect("a descriptor");
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).expect("of a process");
        pid.trim().parse::<i32>().expect("a number")
    };
    let c = lab.container(lab.bundle().idle());
    c.create_call(&flag).go().ok();
    assert_eq!(pid("standard"), c.pid());
    c.start().ok();
    let file = lab.path("pid");
    let pid_file = file.to_string_lossy();
    let options = [&flag[..], &["--detach", "--pid-file", &pid_file]].concat();
    c.exec_call(&options, &["/bin/idle"]).go().ok();
    assert_eq!(pid("setns").to_string(), fs::read_to_string(&file).expect("the pid file"));
    let c = lab.container(lab.bundle().idle());
    c.run_call(&[&flag[..], &["--detach"]].concat()).go().ok();
    assert_eq!(pid("standard"), c.pid());
    let c = lab.container(lab.bundle());
    let nobody = lab.path("nobody").to_string_lossy().into_owned();
    c.run_call(&["--pidfd-socket", &nobody]).go().failed().says("pidfd socket");
    c.call("state", [""; 0]).go().failed();
}
