//! containerd with its own runc shim, which calls the runtime under test.

use brig_integration::engine::Containerd;
use brig_integration::{Lab, PATIENCE, binaries, json, need, wait_until};
use std::fs;

/// One containerd for everything that an engine does in the life of a container: starting it is
/// the dear part.
#[test]
fn run_passes_output_and_code_on() {
    let lab = Lab::new();
    let containerd = Containerd::start(&lab);
    let id = lab.id();
    containerd
        .run(&id, &["--rm"], &["/bin/sh", "-c", "echo out; echo err >&2; exit 9"])
        .go()
        .code(9)
        .prints("out")
        .says("err");
    let id = lab.id();
    containerd
        .run(&id, &["--rm"], &["/bin/sh", "-c", "read x; echo got $x"])
        .stdin(b"in\n")
        .go()
        .ok()
        .says("got in");
    let id = lab.id();
    containerd
        .run(&id, &["--rm", "--memory-limit", "33554432"], &["/bin/tail", "/dev/zero"])
        .go()
        .code(137);
    drop(containerd);
    lab.assert_clean();
}

#[test]
fn the_whole_life_of_a_task() {
    let lab = Lab::new();
    let containerd = Containerd::start(&lab);
    let id = lab.id();
    containerd.run(&id, &["--detach"], &["/bin/idle"]).go().ok();
    containerd.task(&["list"]).go().ok().says("RUNNING");
    containerd
        .task(&["exec", "--exec-id", "e1", &id, "/bin/sh", "-c", "echo from exec; exit 3"])
        .go()
        .code(3)
        .says("from exec");
    containerd.task(&["ps", &id]).go().ok().says("PID");
    containerd.task(&["metrics", &id]).go().ok().says("memory.usage_in_bytes");
    containerd.task(&["pause", &id]).go().ok();
    containerd.task(&["list"]).go().ok().says("PAUSED");
    containerd.task(&["resume", &id]).go().ok();
    containerd.task(&["kill", "--signal", "KILL", &id]).go().ok();
    assert!(wait_until(PATIENCE, || containerd.task(&["list"]).go().stdout().contains("STOPPED")));
    containerd.task(&["delete", &id]).go().ok().says("137");
    containerd.ctr(&["containers", "delete", &id]).go().ok();
    drop(containerd);
    lab.assert_clean();
}

#[test]
fn a_failing_create_tells_why() {
    let lab = Lab::new();
    let containerd = Containerd::start(&lab);
    containerd.run(&lab.id(), &["--rm"], &["/no/such/program"]).go().failed().says("no such file");
    containerd
        .run(
            &lab.id(),
            &["--rm", "--mount", "type=bind,src=/no/such,dst=/x,options=bind"],
            &["/bin/true"],
        )
        .go()
        .failed()
        .says("/no/such");
    drop(containerd);
    lab.assert_clean();
}

/// The shim takes a container that is gone after a failed start for deleted.
#[test]
fn a_container_whose_hook_fails_is_undone_once() {
    need!(Brig); // runc starts a container whose startContainer hook fails
    let lab = Lab::new();
    let containerd = Containerd::start(&lab);
    let log = lab.path("log");
    let hook = |script: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let mut spec = containerd.ctr(&["oci", "spec"]).go().ok().json();
    spec["root"] = json!({"path": lab.plain_bundle().rootfs});
    spec["process"]["args"] = json!(["/bin/sleep", "1000"]);
    for kind in ["startContainer", "poststart"] {
        let id = lab.id();
        spec["linux"]["cgroupsPath"] = json!(format!("/{id}"));
        spec["hooks"] = json!({kind: hook("echo why >&2; exit 3")});
        spec["hooks"]["poststop"] = hook(&format!("echo {id} >>{}", log.display()));
        let config = lab.path("config");
        fs::write(&config, spec.to_string()).expect("write a configuration");
        let run = containerd.run_under(binaries::runtime(), &["--detach", "--config"]);
        run.arg(config).arg(&id).go().failed().says("why");
        containerd.task(&["delete", &id]).go().ok();
        containerd.ctr(&["containers", "delete", &id]).go().ok();
        let ran = fs::read_to_string(&log).unwrap_or_default();
        assert_eq!(ran.matches(&id).count(), 1, "{kind}: {ran}");
    }
    drop(containerd);
    lab.assert_clean();
}

#[test]
fn options_reach_the_container() {
    let lab = Lab::new();
    let containerd = Containerd::start(&lab);
    let shared = lab.path("shared");
    fs::create_dir(&shared).expect("make");
    fs::write(shared.join("file"), "shared").expect("write");
    let mount = format!("type=bind,src={},dst=/data,options=rbind:ro", shared.display());
    let script = "cat /data/file; touch /x 2>&1; grep Seccomp: /proc/self/status; echo $VAR; pwd; grep -c . /proc/self/cgroup";
    let options = [
        "--rm",
        "--read-only",
        "--seccomp",
        "--env",
        "VAR=val",
        "--cwd",
        "/tmp",
        "--mount",
        &mount,
    ];
    containerd
        .run(&lab.id(), &options, &["/bin/sh", "-c", script])
        .go()
        .ok()
        .says("shared")
        .says("Read-only")
        .says("Seccomp:\t2")
        .says("val\n/tmp");
    containerd
        .run(&lab.id(), &["--rm", "--net-host", "--privileged"], &["/bin/sh", "-c", "id -u"])
        .go()
        .ok()
        .says("0");
    let output = containerd
        .run(
            &lab.id(),
            &["--rm", "--uidmap", "0:500000:65536", "--gidmap", "0:500000:65536"],
            &["/bin/cat", "/proc/self/uid_map"],
        )
        .go()
        .ok();
    assert!(output.stdout().contains("500000"), "{}", output.stdout());
    drop(containerd);
    lab.assert_clean();
}

#[test]
fn a_terminal_over_containerd() {
    let lab = Lab::new();
    let containerd = Containerd::start(&lab);
    let id = lab.id();
    // script(1) is the terminal which ctr wants.
    let runtime = brig_integration::binaries::runtime().display().to_string();
    let socket = lab.dir().join("containerd0/sock");
    let socket = if socket.exists() { socket } else { find_socket(&lab) };
    let line = format!(
        "ctr --address {} run --rm --tty --runtime io.containerd.runc.v2 --cgroup /{id} --runc-binary {runtime} {} {id} /bin/sh -c 'test -t 0 && test -t 1 && echo both; tty'",
        socket.display(),
        brig_integration::engine::IMAGE
    );
    lab.call("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .go()
        .ok()
        .says("both")
        .says("/dev/pts/0");
    drop(containerd);
    lab.assert_clean();
}

fn find_socket(lab: &Lab) -> std::path::PathBuf {
    let entries = fs::read_dir(lab.dir()).expect("the directory").flatten();
    let mut sockets = entries.map(|e| e.path().join("sock")).filter(|p| p.exists());
    sockets.next().expect("containerd's socket")
}

#[test]
fn containers_outlive_containerd() {
    let lab = Lab::new();
    let mut containerd = Containerd::start(&lab);
    let id = lab.id();
    containerd.run(&id, &["--detach"], &["/bin/idle"]).go().ok();
    containerd.restart();
    containerd.task(&["list"]).go().ok().says("RUNNING");
    containerd
        .task(&["exec", "--exec-id", "e1", &id, "/bin/echo", "still here"])
        .go()
        .ok()
        .says("still here");
    containerd.task(&["delete", "--force", &id]).go();
    containerd.ctr(&["containers", "delete", &id]).go().ok();
    drop(containerd);
    lab.assert_clean();
}

#[test]
fn logs_to_a_fifo_lose_nothing() {
    let lab = Lab::new();
    let containerd = Containerd::start(&lab);
    let id = lab.id();
    let output = containerd
        .run(
            &id,
            &["--rm"],
            &["/bin/sh", "-c", "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done"],
        )
        .go()
        .ok();
    assert_eq!(output.stdout().lines().count(), 5000);
    assert!(output.stdout().ends_with("line 4999\n"));
    drop(containerd);
    lab.assert_clean();
}
