//! Fields of `process`, seen from inside. Reference: the OCI runtime specification's config.md.

use brig_integration::{Lab, json, need};
use serde_json::Value;
use std::fs;

#[test]
fn user_and_groups() {
    let lab = Lab::new();
    let user = json!({"uid": 1234, "gid": 2345, "additionalGids": [10, 20]});
    let ids = &lab.view(lab.bundle().set("/process/user", user))["ids"];
    assert_eq!(ids["uid"], json!([1234, 1234, 1234, 1234]));
    assert_eq!(ids["gid"], json!([2345, 2345, 2345, 2345]));
    assert_eq!(ids["groups"], json!([10, 20]));
}

#[test]
fn the_runtimes_own_groups_are_dropped() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().args(["/probe", "ids"]));
    let root = lab.root();
    let runtime = brig_integration::binaries::runtime();
    let call =
        lab.call("setpriv").args(["--groups", "4,24,27"]).arg(runtime).arg("--root").arg(&root);
    let view = call.args(["run", "--bundle"]).arg(&c.bundle.dir).arg(c.id()).go().ok().json();
    assert_eq!(view["ids"]["groups"], json!([]));
}

#[test]
fn umask() {
    let lab = Lab::new();
    assert_eq!(lab.view(lab.bundle())["umask"], "0022");
    assert_eq!(lab.view(lab.bundle().set("/process/user/umask", 0o077))["umask"], "0077");
    assert_eq!(lab.view(lab.bundle().set("/process/user/umask", 0))["umask"], "0000");
}

#[test]
fn capabilities_are_exactly_those_listed() {
    let lab = Lab::new();
    let sets = json!({"bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL", "CAP_CHOWN"]});
    let caps = &lab.view(lab.bundle().set("/process/capabilities", sets))["caps"];
    // The program is executed by root, so that the kernel recomputes the sets from the bounding
    // one: capabilities(7), "Capabilities and execution of programs by root".
    assert_eq!(caps["bounding"], "0000000000000021");
    assert_eq!(caps["permitted"], "0000000000000021");
    assert_eq!(caps["inheritable"], "0000000000000000");
    assert_eq!(caps["ambient"], "0000000000000000");
}

/// config.md "Linux Process": it MUST be logged as a warning. runc logs the first one alone.
#[test]
fn capabilities_that_cannot_be_granted_are_left_out_and_logged() {
    let lab = Lab::new();
    let sets = json!({"bounding": ["CAP_CHOWN", "CAP_FLY", "kill"], "permitted": ["CAP_CHOWN"],
        "effective": ["CAP_CHOWN", "CAP_FLY"]});
    let bundle = lab.bundle().set("/process/capabilities", sets);
    assert_eq!(lab.view(bundle.clone())["caps"]["bounding"], "0000000000000001");
    let c = lab.container(bundle.clone().sh("true"));
    let log = lab.path("log");
    let run = lab.runtime().arg("--log").arg(&log).args(["--log-format", "json"]);
    let dir = c.bundle.dir.to_string_lossy();
    let output = run.args(["run", "--bundle", &dir, c.id()]).go().ok();
    assert_eq!(output.stderr(), "", "it may be the container's own");
    let log = std::fs::read_to_string(log).expect("the log");
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let warnings: Vec<Value> = lines.filter(|line| line["level"] == "warning").collect();
    let said = |name: &str| warnings.iter().any(|line| line["msg"].to_string().contains(name));
    assert!(said("CAP_FLY") && said("kill"), "{log}");
    need!(Brig);
    lab.container(bundle.sh("true")).run().ok().says("warning: process.capabilities: unknown");
    let more = json!({"bounding": ["CAP_KILL"], "permitted": [], "effective": ["CAP_KILL"]});
    let bundle = lab.bundle().set("/process/capabilities", more).sh("true");
    lab.container(bundle).run().ok().says("effective: CAP_KILL is left out");
    lab.assert_clean();
}

#[test]
fn capabilities_that_the_caller_lacks_are_left_out_and_logged() {
    need!(Brig);
    let lab = Lab::new();
    let caps = ["CAP_CHOWN", "CAP_SYS_TIME", "CAP_KILL"];
    let lacking = |args: &[&str]| {
        let call = lab.call("setpriv").args(["--bounding-set", "-sys_time"]);
        call.arg(brig_integration::binaries::runtime()).arg("--root").arg(lab.root()).args(args)
    };
    let words = "warning: process.capabilities: CAP_SYS_TIME is left out";
    let c = lab.container(lab.bundle().caps(&caps).probe());
    let run = lacking(&["run", "--bundle", &c.bundle.dir.to_string_lossy(), c.id()]);
    let caps_inside = &run.go().ok().says(words).json()["caps"];
    for set in ["effective", "permitted", "bounding"] {
        assert_eq!(caps_inside[set], "0000000000000021", "{set}");
    }
    let c = lab.container(lab.bundle().caps(&caps).idle());
    c.run_detached();
    let status = ["sed", "-n", "s/^CapEff:.//p", "/proc/self/status"];
    c.exec_call(&[], &status).go().ok().prints("0000000002000021");
    let exec = lacking(&[&["exec", c.id()], &status[..]].concat());
    exec.go().ok().says(words).prints("0000000000000021");
    // In a user namespace of its own it has all, whatever brig has.
    let c = lab.container(lab.bundle().user_namespace(500_000).caps(&caps).probe());
    let run = lacking(&["run", "--bundle", &c.bundle.dir.to_string_lossy(), c.id()]);
    assert_eq!(run.go().ok().json()["caps"]["effective"], "0000000002000021");
    c.delete_force();
}

#[test]
fn without_capabilities_there_are_none() {
    let lab = Lab::new();
    for bundle in [lab.bundle().caps(&[]), lab.bundle().set("/process/capabilities", json!({}))] {
        let caps = &lab.view(bundle)["caps"];
        for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
            assert_eq!(caps[set], "0000000000000000", "{set}");
        }
    }
}

#[test]
fn ambient_capabilities_reach_an_ordinary_user() {
    let lab = Lab::new();
    let set = json!(["CAP_NET_BIND_SERVICE"]);
    let sets = json!({"bounding": set, "effective": set, "permitted": set, "inheritable": set, "ambient": set});
    let bundle = lab
        .bundle()
        .set("/process/capabilities", sets)
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let caps = &lab.view(bundle)["caps"];
    for set in ["permitted", "effective", "inheritable", "ambient"] {
        assert_eq!(caps[set], "0000000000000400", "{set}");
    }
}

#[test]
fn an_ordinary_user_loses_what_is_not_ambient() {
    let lab = Lab::new();
    let bundle = lab.bundle().set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let caps = &lab.view(bundle)["caps"];
    assert_eq!(caps["permitted"], "0000000000000000");
    assert_eq!(caps["effective"], "0000000000000000");
}

#[test]
fn no_new_privileges() {
    let lab = Lab::new();
    assert_eq!(lab.view(lab.bundle())["no_new_privs"], 1);
    assert_eq!(lab.view(lab.bundle().set("/process/noNewPrivileges", false))["no_new_privs"], 0);
}

#[test]
fn rlimits() {
    let lab = Lab::new();
    let limits = json!([
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_NPROC", "soft": 50, "hard": 60}, {"type": "RLIMIT_STACK", "soft": 1_048_576, "hard": 2_097_152},
        {"type": "RLIMIT_CPU", "soft": 1000, "hard": 2000}, {"type": "RLIMIT_FSIZE", "soft": 10_000_000, "hard": 10_000_000},
        {"type": "RLIMIT_MEMLOCK", "soft": 4096, "hard": 8192}, {"type": "RLIMIT_SIGPENDING", "soft": 10, "hard": 20},
        {"type": "RLIMIT_MSGQUEUE", "soft": 1000, "hard": 2000}, {"type": "RLIMIT_LOCKS", "soft": 5, "hard": 6},
    ]);
    let seen = &lab.view(lab.bundle().set("/process/rlimits", limits))["rlimits"];
    assert_eq!(seen["nofile"], json!(["100", "200"]));
    assert_eq!(seen["core"], json!(["0", "0"]));
    assert_eq!(seen["nproc"], json!(["50", "60"]));
    assert_eq!(seen["stack"], json!(["1048576", "2097152"]));
    assert_eq!(seen["cpu"], json!(["1000", "2000"]));
    assert_eq!(seen["fsize"], json!(["10000000", "10000000"]));
    assert_eq!(seen["memlock"], json!(["4096", "8192"]));
    assert_eq!(seen["sigpending"], json!(["10", "20"]));
    assert_eq!(seen["msgqueue"], json!(["1000", "2000"]));
    assert_eq!(seen["locks"], json!(["5", "6"]));
}

#[test]
fn a_limit_that_cannot_be_raised_is_an_error() {
    let lab = Lab::new();
    let limits = json!([{"type": "RLIMIT_NOFILE", "soft": 4096, "hard": 4096}]);
    let c = lab.container(lab.bundle().set("/process/rlimits", limits));
    let lower = "ulimit -n 1024; exec setpriv --bounding-set -sys_resource \"$@\"";
    c.run_from(lower).code(1).says("rlimit");
    lab.assert_clean();
}

#[test]
fn oom_score_adjustment() {
    let lab = Lab::new();
    assert_eq!(lab.view(lab.bundle().set("/process/oomScoreAdj", 777))["oom_score_adj"], "777");
}

#[test]
fn working_directory() {
    let lab = Lab::new();
    assert_eq!(lab.view(lab.bundle().set("/process/cwd", "/etc"))["cwd"], "/etc");
}

#[test]
fn a_missing_working_directory_is_made() {
    let lab = Lab::new();
    assert_eq!(
        lab.view(lab.bundle().set("/process/cwd", "/made/for/this"))["cwd"],
        "/made/for/this"
    );
}

#[test]
fn a_user_may_enter_its_private_working_directory() {
    let lab = Lab::new();
    let b = lab
        .bundle()
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/cwd", "/private");
    let dir = b.rootfs.join("private");
    fs::create_dir(&dir).expect("make");
    std::os::unix::fs::chown(&dir, Some(1000), Some(1000)).expect("chown");
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("chmod");
    assert_eq!(lab.view(b)["cwd"], "/private");
}

#[test]
fn environment_is_exactly_what_is_listed() {
    let lab = Lab::new();
    let b = lab.bundle().set("/process/env", json!(["A=1", "EMPTY=", "B=x=y", "HOME=/h"])).probe();
    let c = lab.container(b);
    let view = c.run_call(&[]).env("LEAK", "host").go().ok().json();
    let mut env: Vec<&str> =
        view["env"].as_array().expect("env").iter().filter_map(|v| v.as_str()).collect();
    env.sort_unstable();
    assert_eq!(env, ["A=1", "B=x=y", "EMPTY=", "HOME=/h"]);
}

/// getenv(3) would take the first of a name, a shell the last.
#[test]
fn a_name_that_is_there_twice_has_its_last_value() {
    let lab = Lab::new();
    let env = json!(["PATH=/none", "A=1", "HOME=/h", "B=2", "A=3", "PATH=/odd"]);
    let kept = ["A=3", "B=2", "HOME=/h", "PATH=/odd"];
    let b = lab.bundle().set("/process/env", env.clone()).args(["only-there", "env"]);
    let inside = |b: &brig_integration::Bundle| {
        fs::create_dir(b.rootfs.join("odd")).expect("make");
        std::os::unix::fs::symlink("/probe", b.rootfs.join("odd/only-there")).expect("symlink");
    };
    inside(&b);
    let sorted = |view: brig_integration::Value| {
        let mut env: Vec<String> =
            brig_integration::from_value(view["env"].clone()).expect("the environment");
        env.sort_unstable();
        env
    };
    assert_eq!(sorted(lab.container(b).run().ok().json()), kept);
    let b = lab.bundle().idle();
    inside(&b);
    let c = lab.container(b);
    c.run_detached();
    let file = lab.path("process");
    let process = json!({"args": ["only-there", "env"], "env": env, "cwd": "/", "user": {"uid": 0, "gid": 0}});
    fs::write(&file, process.to_string()).expect("write the process");
    let exec = c.call("exec", ["--process", &file.to_string_lossy()]);
    assert_eq!(sorted(exec.go().ok().json()), kept);
    let options = ["--env", "PATH=/none", "--env", "A=1", "--env", "PATH=/odd", "--env", "A=3"];
    let env = sorted(c.exec_call(&options, &["only-there", "env"]).go().ok().json());
    assert_eq!(env.iter().filter(|entry| !entry.starts_with("HOME=")).count(), 2, "{env:?}");
    assert!(kept.iter().filter(|k| k.starts_with(['A', 'P'])).all(|k| env.iter().any(|e| e == k)));
}

#[test]
fn arguments_are_passed_unchanged() {
    let lab = Lab::new();
    let odd = ["/probe", "args", "a b", "", "*", "$HOME", "ünï", "--", "-x", "new\nline"];
    let view = lab.container(lab.bundle().args(odd)).run().ok().json();
    assert_eq!(view["args"], json!(odd));
}

#[test]
fn programs_are_found_by_the_specs_path() {
    let lab = Lab::new();
    let b = lab.bundle().set("/process/env", json!(["PATH=/none:/odd"])).args(["only-there"]);
    fs::create_dir(b.rootfs.join("odd")).expect("make");
    let program = b.rootfs.join("odd/only-there");
    fs::write(&program, "#!/bin/sh\necho found\n").expect("write");
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("chmod");
    lab.container(b).run().ok().prints("found");
}

#[test]
fn only_standard_streams_are_open() {
    let lab = Lab::new();
    let fds = &lab.view(lab.bundle())["fds"];
    assert_eq!(fds.as_object().expect("fds").keys().collect::<Vec<_>>(), ["0", "1", "2"], "{fds}");
}

#[test]
fn descriptors_of_the_caller_do_not_leak() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().args(["/probe", "fds"]));
    let call = c.run_from("exec \"$@\" 3</etc/passwd 4</ 7</root 9>/dev/null");
    let view = call.ok().json();
    assert_eq!(view["fds"].as_object().expect("fds").len(), 3, "{view}");
}

#[test]
fn preserved_descriptors_arrive_from_3_on() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("cat <&3; cat <&4"));
    for n in [3, 4] {
        fs::write(lab.dir().join(format!("fd{n}")), format!("number {n}\n")).expect("write");
    }
    let root = lab.root().to_string_lossy().into_owned();
    let dir = c.bundle.dir.to_string_lossy().into_owned();
    let runtime = brig_integration::binaries::runtime().to_string_lossy().into_owned();
    let script = format!("exec \"$@\" 3<{0}/fd3 4<{0}/fd4", lab.dir().display());
    let call = lab.call("/bin/sh").args([
        "-c",
        &script,
        "sh",
        &runtime,
        "--root",
        &root,
        "run",
        "--preserve-fds",
        "2",
        "--bundle",
        &dir,
        c.id(),
    ]);
    call.go().ok().prints("number 3\nnumber 4");
}

#[test]
fn socket_activation_descriptors_are_passed_on() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("echo $LISTEN_FDS $LISTEN_PID; cat <&3"));
    fs::write(lab.dir().join("fd3"), "activated").expect("write");
    let root = lab.root().to_string_lossy().into_owned();
    let dir = c.bundle.dir.to_string_lossy().into_owned();
    let runtime = brig_integration::binaries::runtime().to_string_lossy().into_owned();
    let script = format!("LISTEN_PID=$$ exec \"$@\" 3<{}/fd3", lab.dir().display());
    let call = lab.call("/bin/sh").env("LISTEN_FDS", "1").args([
        "-c",
        &script,
        "sh",
        &runtime,
        "--root",
        &root,
        "run",
        "--bundle",
        &dir,
        c.id(),
    ]);
    call.go().ok().prints("1 1\nactivated");
}

#[test]
fn the_init_process_leads_a_session() {
    let lab = Lab::new();
    let view = lab.view(lab.bundle());
    assert_eq!(view["pid"], 1);
    assert_eq!(view["session"]["session"], "1");
    assert_eq!(view["session"]["process_group"], "1");
    assert_eq!(view["processes"], 1);
}

#[test]
fn signals_that_the_caller_blocks_are_not_blocked_inside() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().args(["/probe", "signals"]));
    let view = c.run_from("exec env --block-signal=HUP,USR1 \"$@\"").ok().json();
    assert_eq!(view["signals"]["blocked"], "0000000000000000");
}

#[test]
fn scheduler_policy_and_nice_value() {
    need!(Oci11);
    let lab = Lab::new();
    let view = lab
        .view(lab.bundle().set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 5})));
    assert_eq!(view["scheduler"]["policy"], 3);
    assert_eq!(view["scheduler"]["nice"], 5);
    let view = lab.view(lab.bundle().set("/process/scheduler", json!({"policy": "SCHED_IDLE"})));
    assert_eq!(view["scheduler"]["policy"], 5);
}

#[test]
fn io_priority() {
    need!(Oci11);
    let lab = Lab::new();
    let b =
        lab.bundle().set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
    lab.container(b.args(["/bin/ionice"])).run().ok().says("best-effort: prio 6");
    let b = lab
        .bundle()
        .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}));
    lab.container(b.args(["/bin/ionice"])).run().ok().says("idle");
}

#[test]
fn cpu_affinity_of_exec() {
    need!(Oci11);
    let lab = Lab::new();
    let b = lab.bundle().set("/process/execCPUAffinity", json!({"initial": "0", "final": "0"}));
    let c = lab.container(b.idle());
    c.run_detached();
    assert_eq!(c.exec(&["/probe", "cpus_allowed"]).ok().json()["cpus_allowed"], "0");
}

#[test]
fn personality_for_32_bits() {
    need!(Oci11);
    let lab = Lab::new();
    let view = lab.view(lab.bundle().set("/linux/personality", json!({"domain": "LINUX32"})));
    assert_eq!(view["personality"], "00000008");
}

#[test]
fn the_session_keyring_is_a_new_one() {
    let lab = Lab::new();
    let unmasked = || lab.bundle().set("/linux/maskedPaths", json!([])).args(["/probe", "keys"]);
    let c = lab.container(unmasked());
    let keys = c.run().ok().json()["keys"].to_string();
    if keys == "null" {
        return; // The kernel has no /proc/keys.
    }
    assert!(keys.contains(&format!("_ses.{}: ", c.id())), "{keys}");
}

#[test]
fn the_binary_that_runs_is_not_the_runtimes() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let exe = fs::read_link(format!("/proc/{}/exe", c.pid())).expect("a link");
    assert!(exe.ends_with("busybox"), "{}", exe.display());
}
