//! `exec`: a further process in a running container, with the same confinement.

use brig_integration::machine::{self, Layout};
use brig_integration::{Bundle, Lab, PATIENCE, Value, json, need, wait_until};
use std::fs;

/// A running container that does nothing.
macro_rules! idle {
    ($lab:expr) => {
        idle!($lab, $lab.bundle())
    };
    ($lab:expr, $bundle:expr) => {{
        let bundle: Bundle = $bundle;
        let c = $lab.container(bundle.idle());
        c.run_detached();
        c
    }};
}

#[test]
fn exec_passes_streams_and_code_on() {
    let lab = Lab::new();
    let c = idle!(lab);
    c.exec_call(&[], &["/bin/sh", "-c", "cat; echo err >&2; exit 5"])
        .stdin(b"in")
        .go()
        .code(5)
        .prints("in")
        .says("err");
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn exec_sees_the_containers_namespaces_and_confinement() {
    let lab = Lab::new();
    let c = idle!(lab, lab.bundle().namespace("cgroup", None));
    let view = c.exec(&["/probe"]).ok().json();
    assert!(view["pid"].as_u64().is_some_and(|p| p > 1));
    let init =
        |kind: &str| fs::read_link(format!("/proc/{}/ns/{kind}", c.pid())).expect("a namespace");
    for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        assert_eq!(view["namespaces"][kind], init(kind).to_string_lossy().as_ref(), "{kind}");
    }
    assert_eq!(view["hostname"], "box");
    assert_eq!(view["no_new_privs"], 1);
    assert_eq!(view["fds"].as_object().map(serde_json::Map::len), Some(3), "{}", view["fds"]);
}

#[test]
fn exec_has_the_capabilities_of_the_container() {
    let lab = Lab::new();
    let c = idle!(lab, lab.bundle().caps(&["CAP_CHOWN"]));
    let caps = &c.exec(&["/probe", "caps"]).ok().json()["caps"];
    assert_eq!(caps["effective"], "0000000000000001");
    assert_eq!(caps["bounding"], "0000000000000001");
    assert_eq!(caps["inheritable"], "0000000000000000");
    assert_eq!(caps["ambient"], "0000000000000000");
}

#[test]
fn exec_has_the_seccomp_filter_of_the_container() {
    let lab = Lab::new();
    let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]});
    let c = idle!(lab, lab.bundle().set("/linux/seccomp", seccomp));
    let view = c.exec(&["/probe", "seccomp"]).ok().json();
    assert_eq!(view["seccomp"], 2);
    c.exec(&["/bin/mkdir", "/x"]).code(1).says("not permitted");
}

#[test]
fn exec_is_in_the_containers_cgroups() {
    let lab = Lab::new();
    let c = idle!(lab);
    let view = c.exec(&["/probe", "cgroup"]).ok().json();
    let text = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).expect("the cgroups");
    // Beside v1, v2 is nobody's concern.
    let counts = |line: &&str| machine::layout() == Layout::V2 || !line.starts_with("0::");
    let inside: Vec<&str> = view["cgroup"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(counts)
        .collect();
    let init: Vec<&str> = text.lines().filter(counts).collect();
    assert_eq!(inside, init);
    assert!(init.iter().any(|line| line.ends_with(c.bundle.cgroup())), "{text}");
}

/// As a systemd inside does: its own process in a cgroup below, controllers for others there.
#[test]
fn exec_follows_an_init_that_has_made_cgroups_of_its_own() {
    need!(CgroupV2, Brig); // runc 1.1 puts it beside what cannot be a process's cgroup
    let lab = Lab::new();
    let b = lab
        .bundle()
        .namespace("cgroup", None)
        .mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}))
        .sh("cd /sys/fs/cgroup && mkdir init && echo 1 >init/cgroup.procs && \
             echo +pids >cgroup.subtree_control && echo made && exec idle");
    let c = lab.container(b);
    let run = c.run_detached();
    assert!(wait_until(PATIENCE, || run.stdout().contains("made")), "{}", run.stderr());
    c.exec(&["/bin/cat", "/proc/self/cgroup"]).ok().prints("0::/init");
}

#[test]
fn exec_options_change_the_process() {
    let lab = Lab::new();
    let c = idle!(lab);
    let options = [
        "--user",
        "1000:1000",
        "--cwd",
        "/tmp",
        "--env",
        "A=b",
        "--env",
        "C=d e",
        "-g",
        "6",
        "-g",
        "7",
    ];
    let view = c.exec_call(&options, &["/probe"]).go().ok().json();
    assert_eq!(view["ids"]["uid"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(view["ids"]["gid"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(view["ids"]["groups"], json!([6, 7]));
    assert_eq!(view["cwd"], "/tmp");
    let env = view["env"].as_array().expect("env");
    assert!(env.contains(&json!("A=b")) && env.contains(&json!("C=d e")), "{env:?}");
}

#[test]
fn exec_as_a_user_has_no_effective_capabilities() {
    let lab = Lab::new();
    let c = idle!(lab);
    let caps = &c.exec_call(&["--user", "1000"], &["/probe", "caps"]).go().ok().json()["caps"];
    assert_eq!(caps["effective"], "0000000000000000");
    assert_eq!(caps["permitted"], "0000000000000000");
}

#[test]
fn exec_cap_adds_one() {
    let lab = Lab::new();
    let c = idle!(lab, lab.bundle().caps(&["CAP_CHOWN"]));
    let caps = &c.exec_call(&["--cap", "CAP_KILL"], &["/probe", "caps"]).go().ok().json()["caps"];
    assert_eq!(caps["bounding"], "0000000000000021");
    assert_eq!(caps["effective"], "0000000000000021");
}

#[test]
fn exec_reads_a_process_file() {
    let lab = Lab::new();
    let c = idle!(lab);
    let file = lab.path("process");
    let process = json!({
        "args": ["/probe"], "cwd": "/etc", "env": ["X=y"],
        "user": {"uid": 5, "gid": 6, "additionalGids": [7]},
        "rlimits": [{"type": "RLIMIT_CORE", "hard": 100, "soft": 50}],
        "capabilities": {"bounding": ["CAP_KILL"]}, "noNewPrivileges": true, "oomScoreAdj": 500,
    });
    fs::write(&file, process.to_string()).expect("write the process");
    let call = c.call("exec", ["--process", &file.to_string_lossy()]);
    let view = call.go().ok().json();
    assert_eq!(view["cwd"], "/etc");
    assert_eq!(view["ids"]["uid"][0], 5);
    assert_eq!(view["ids"]["gid"][0], 6);
    assert_eq!(view["ids"]["groups"], json!([7]));
    assert_eq!(view["rlimits"]["core"], json!(["50", "100"]));
    assert_eq!(view["caps"]["bounding"], "0000000000000020");
}

#[test]
fn a_process_file_without_limits_leaves_the_containers() {
    let lab = Lab::new();
    let limits = json!([{"type": "RLIMIT_CORE", "hard": 9, "soft": 7}]);
    let c = idle!(lab, lab.bundle().set("/process/rlimits", limits));
    let file = lab.path("process");
    let process = json!({"args": ["/probe", "rlimits"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
    fs::write(&file, process.to_string()).expect("write the process");
    let call = c.call("exec", ["--process", &file.to_string_lossy()]);
    assert_eq!(call.go().ok().json()["rlimits"]["core"], json!(["7", "9"]));
}

#[test]
fn exec_detached_returns_at_once() {
    let lab = Lab::new();
    let c = idle!(lab);
    let output = c.exec_call(&["--detach"], &["/bin/sh", "-c", "sleep 0.3; echo late"]).go().ok();
    assert_eq!(output.stdout(), "");
    assert!(wait_until(PATIENCE, || output.stdout() == "late\n"));
}

#[test]
fn exec_of_a_missing_program_fails() {
    let lab = Lab::new();
    let c = idle!(lab);
    c.exec(&["/no/such/program"]).failed().says("no such file");
    c.exec(&["/etc/passwd"]).failed().says("ermission denied");
    assert!(c.is_alive());
}

#[test]
fn exec_finds_programs_by_the_containers_path() {
    let lab = Lab::new();
    let c = idle!(lab);
    c.exec(&["echo", "found"]).ok().prints("found");
}

#[test]
fn exec_in_a_stopped_container_fails() {
    let lab = Lab::new();
    let stopped = lab.container(lab.bundle().args(["/bin/true"]));
    stopped.run_detached();
    stopped.wait_status("stopped");
    stopped.exec(&["/bin/true"]).failed().says("stopped");
}

#[test]
fn exec_with_a_terminal() {
    let lab = Lab::new();
    let c = idle!(lab);
    let socket = lab.console();
    let path = socket.path().to_string_lossy().into_owned();
    let running = c
        .exec_call(
            &["--tty", "--detach", "--console-socket", &path],
            &[
                "/bin/sh",
                "-c",
                "tty; stty size; read x; echo got $x; test -t 0 -a -t 1 -a -t 2 && echo all",
            ],
        )
        .spawn();
    let mut console = socket.accept();
    running.wait().ok();
    console.shows("/dev/pts/");
    console.types("words\n");
    let shown = console.rest();
    assert!(shown.contains("got words") && shown.contains("all"), "{shown}");
}

#[test]
fn exec_passes_preserved_descriptors() {
    let lab = Lab::new();
    let c = idle!(lab);
    let file = lab.path("extra");
    fs::write(&file, "through the descriptor").expect("write");
    // The shell opens 3 and 4 for the runtime.
    let script = format!("exec \"$@\" 3<{} 4</dev/null", file.display());
    let runtime = brig_integration::binaries::runtime().to_string_lossy().into_owned();
    let root = lab.root().to_string_lossy().into_owned();
    let call = lab.call("/bin/sh").args([
        "-c",
        &script,
        "sh",
        &runtime,
        "--root",
        &root,
        "exec",
        "--preserve-fds",
        "1",
        c.id(),
    ]);
    call.args(["/bin/sh", "-c", "cat <&3; test -e /proc/self/fd/4 || echo -no 4"])
        .go()
        .ok()
        .prints("through the descriptor-no 4");
    let call =
        lab.call("/bin/sh").args(["-c", &script, "sh", &runtime, "--root", &root, "exec", c.id()]);
    let fds = call.args(["/probe", "fds"]).go().ok().json();
    assert_eq!(fds["fds"].as_object().map(serde_json::Map::len), Some(3), "{fds}");
}

#[test]
fn exec_dies_with_its_container() {
    let lab = Lab::new();
    let c = idle!(lab);
    let running = c.exec_call(&[], &["/bin/sleep", "1000"]).spawn();
    // Not before: while it is set up there are two processes more, too.
    let sleeps = || machine::descendants(running.pid()).into_iter().any(|p| p.name == "sleep");
    assert!(wait_until(PATIENCE, sleeps), "{}", running.stderr());
    c.kill("KILL").ok();
    running.wait().code(137);
}

#[test]
fn exec_in_a_sub_cgroup() {
    let lab = Lab::new();
    need!(CgroupV1);
    let c = idle!(lab);
    fs::create_dir(c.cgroup("pids").join("sub")).expect("make a sub-cgroup");
    let view = c.exec_call(&["--cgroup", "pids:sub"], &["/probe", "cgroup"]).go().ok().json();
    let lines = view["cgroup"].to_string();
    assert!(lines.contains(&format!("pids:{}/sub", c.bundle.cgroup())), "{lines}");
}

#[test]
fn exec_ignores_a_pause_only_when_told() {
    let lab = Lab::new();
    let c = idle!(lab);
    c.verb("pause").ok();
    c.exec(&["/bin/true"]).failed().says("paused");
    let running =
        c.exec_call(&["--ignore-paused", "--detach"], &["/bin/sh", "-c", "echo done"]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(100));
    c.verb("resume").ok();
    let output = running.wait().ok();
    assert!(wait_until(PATIENCE, || output.stdout() == "done\n"), "{}", output.stdout());
}

#[test]
fn exec_reads_a_process_from_a_pipe() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached().ok();
    let process =
        json!({"cwd": "/", "args": ["/bin/echo", "from a pipe"], "user": {"uid": 0, "gid": 0}});
    let given = c.exec_call(&["--process", "/dev/fd/0"], &[]).stdin(process.to_string().as_bytes());
    given.go().ok().prints("from a pipe");
    let fifo = lab.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("make a FIFO");
    let late = fifo.clone();
    let writer = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        std::fs::write(late, process.to_string()).expect("write");
    });
    c.exec_call(&["--process", &fifo.to_string_lossy()], &[]).go().ok().prints("from a pipe");
    writer.join().expect("it has written");
    c.exec_call(&["--process", "/dev/zero"], &[])
        .go()
        .failed()
        .says("/dev/zero is not a regular file");
    c.ends_well();
}
