//! sd_notify(3): what a container says of its state reaches the service manager that waits for brig, by brig, and
//! nothing else does. The service manager is a socket of the test's, with a program in the container that speaks to its own.

use brig_integration::{Bundle, Container, Lab, PATIENCE, json, wait_until};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A service manager that listens.
struct Manager {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn new(lab: &Lab) -> Manager {
        let path = lab.path("manager");
        let socket = UnixDatagram::bind(&path).expect("it is new");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Manager { path, socket }
    }

    /// The next message. A descriptor with it is closed, as by one that knows no barriers.
    fn hears(&self) -> String {
        let mut text = vec![0; 1 << 16];
        let length = self.socket.recv(&mut text).expect("a message in time");
        text.truncate(length);
        String::from_utf8(text).expect("text")
    }

    /// All that there is.
    fn heard(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).expect("a flag");
        let mut text = vec![0; 1 << 16];
        let next = || self.socket.recv(&mut text).ok().map(|n| text[..n].to_vec());
        let all = std::iter::from_fn(next).map(|text| String::from_utf8(text).expect("text"));
        let all = all.collect();
        self.socket.set_nonblocking(false).expect("a flag");
        all
    }
}

/// Waits until the file `go` is there and sends each of these as a message, then does the rest.
fn says(lab: &Lab, messages: &[&str], rest: &str) -> Bundle {
    let script = format!(
        "import os, socket, time\n\
         own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
         own.connect(os.environ['NOTIFY_SOCKET'])\n\
         while not os.path.exists('/go'): time.sleep(0.005)\n\
         for message in {}: own.send(message.encode())\n{rest}",
        json!(messages)
    );
    lab.debian().args(["/usr/bin/python3", "-c", &script])
}

fn let_go(c: &Container<'_>) {
    fs::write(c.bundle.rootfs.join("go"), "").expect("write");
}

const STAYS: &str = "time.sleep(1000)";

fn pid(c: &Container<'_>) -> String {
    c.state()["pid"].to_string()
}

#[test]
fn in_the_foreground_brig_is_the_main_process_and_passes_on_until_the_end() {
    let lab = Lab::new();
    let manager = Manager::new(&lab);
    let rest = "time.sleep(0.3)\nown.send(b'STATUS=half\\nMAINPID=1')\ntime.sleep(0.3)\nown.send(b'STATUS=done')";
    let c = lab.container(says(&lab, &["STATUS=begins", "X=1\nREADY=1\nMAINPID=1"], rest));
    let_go(&c);
    let running = c.run_call(&[]).env("NOTIFY_SOCKET", &manager.path).spawn();
    let pid = running.pid();
    let mut first = manager.hears();
    // Both come as one message, or as two.
    if !first.contains("READY") {
        first = format!("{}{first}", manager.hears());
    }
    assert_eq!(first, format!("READY=1\nMAINPID={pid}\nSTATUS=begins\n"));
    assert_eq!(manager.hears(), "STATUS=half\n");
    running.wait().ok();
    assert_eq!(manager.heard(), ["STATUS=done\n"]);
    assert!(!lab.root().join(c.id()).exists(), "its state is left");
}

#[test]
fn a_detached_run_ends_when_its_program_is_ready() {
    let lab = Lab::new();
    for bundle in [
        says(&lab, &["READY=1"], STAYS),
        says(&lab, &["READY=1"], STAYS).set("/process/user/uid", 1000).set("/root/readonly", true),
        says(&lab, &["READY=1"], STAYS).user_namespace(200_000),
    ] {
        let manager = Manager::new(&lab);
        let c = lab.container(bundle);
        // Root of a user namespace may make nothing in this image.
        fs::create_dir_all(c.bundle.rootfs.join("run/notify")).expect("make a directory");
        let mut running = c.run_call(&["--detach"]).env("NOTIFY_SOCKET", &manager.path).spawn();
        std::thread::sleep(Duration::from_millis(300));
        assert!(!running.has_ended(), "{}", running.stderr());
        let_go(&c);
        assert_eq!(manager.hears(), format!("READY=1\nMAINPID={}\n", pid(&c)));
        // It stays until the service manager has read this, and so knows who has spoken.
        assert!(!running.has_ended(), "{}", running.stderr());
        assert_eq!(manager.hears(), "BARRIER=1");
        running.wait().ok();
        c.delete_force().ok();
        assert!(!lab.root().join(c.id()).exists(), "its state is left");
    }
}

#[test]
fn start_waits_for_what_create_has_prepared() {
    let lab = Lab::new();
    let manager = Manager::new(&lab);
    let c = lab.container(says(&lab, &["READY=1"], STAYS));
    c.create_call(&[]).env("NOTIFY_SOCKET", &manager.path).go().ok();
    let mut starting = c.call("start", [""; 0]).env("NOTIFY_SOCKET", &manager.path).spawn();
    c.wait_status("running");
    // A second one takes nothing away from the first.
    c.call("start", [""; 0]).env("NOTIFY_SOCKET", &manager.path).go().failed();
    let_go(&c);
    assert_eq!(manager.hears(), format!("READY=1\nMAINPID={}\n", pid(&c)));
    assert!(!starting.has_ended(), "{}", starting.stderr());
    assert_eq!(manager.hears(), "BARRIER=1");
    starting.wait().ok();
    c.delete_force().ok();
    assert!(!lab.root().join(c.id()).exists(), "its state is left");
}

#[test]
fn start_says_where_create_has_prepared_nothing() {
    let lab = Lab::new();
    let manager = Manager::new(&lab);
    let c = lab.container(lab.bundle().idle());
    c.create().ok();
    c.call("start", [""; 0]).env("NOTIFY_SOCKET", &manager.path).go().ok().says("NOTIFY_SOCKET");
    assert_eq!(manager.heard(), [""; 0]);
}

#[test]
fn a_program_that_ends_without_a_word_is_not_waited_for() {
    let lab = Lab::new();
    let manager = Manager::new(&lab);
    let c = lab.container(lab.bundle().sh("sleep 0.2"));
    let started = Instant::now();
    c.run_call(&["--detach"]).env("NOTIFY_SOCKET", &manager.path).spawn().wait().ok();
    assert!(started.elapsed() > Duration::from_millis(200), "it was not waited for");
    assert_eq!(manager.heard(), [""; 0]);
    c.delete().ok();
}

#[test]
fn the_container_sees_a_socket_of_its_own_and_no_other() {
    let lab = Lab::new();
    let manager = Manager::new(&lab);
    let script =
        "echo $NOTIFY_SOCKET; ls -A /run/notify; touch /run/notify/x 2>&1; test -S $NOTIFY_SOCKET";
    let bundle = lab.bundle().sh(script).set("/process/env/-", "NOTIFY_SOCKET=/of/config");
    let c = lab.container(bundle);
    let output = c.run_call(&[]).env("NOTIFY_SOCKET", &manager.path).go().ok();
    let refused = "touch: /run/notify/x: Read-only file system";
    output.prints(&format!("/run/notify/notify.sock\nnotify.sock\n{refused}"));
    // Without a service manager it has what config.json says.
    let c = lab.container(lab.bundle().sh("echo ${NOTIFY_SOCKET-none}; ls -A /run"));
    c.run_call(&[]).env("NOTIFY_SOCKET", "").go().ok().prints("none");
}

#[test]
fn a_container_cannot_flood_the_service_manager_nor_name_a_process() {
    let lab = Lab::new();
    let manager = Manager::new(&lab);
    let rest = "end = time.monotonic() + 1\n\
        own.send(b'STATUS=' + b'x' * 4090)\n\
        own.send(b'READY=1\\n' + b'x' * 4090)\n\
        while time.monotonic() < end: own.send(b'MAINPID=1\\nFDSTORE=1\\nSTATUS=busy')";
    let c = lab.container(says(&lab, &["MAINPID=1", "STOPPING=1"], rest));
    let_go(&c);
    let mut running = c.run_call(&[]).env("NOTIFY_SOCKET", &manager.path).spawn();
    let mut heard = Vec::new();
    assert!(wait_until(PATIENCE, || {
        heard.extend(manager.heard());
        running.has_ended()
    }));
    heard.extend(manager.heard());
    running.wait().ok();
    assert!(heard.len() <= 13, "{} messages", heard.len());
    assert!(heard.len() > 2, "{heard:?}");
    assert!(heard.iter().all(|text| text == "STATUS=busy\n"), "{heard:?}");
}

#[test]
fn a_service_manager_that_reads_nothing_keeps_nobody() {
    let lab = Lab::new();
    let manager = Manager::new(&lab);
    let full = UnixDatagram::unbound().expect("a socket");
    full.set_nonblocking(true).expect("a flag");
    full.connect(&manager.path).expect("it is there");
    assert!(wait_until(PATIENCE, || full.send(b"x").is_err()), "it is never full");
    let c = lab.container(says(&lab, &["READY=1"], "time.sleep(0.4)"));
    let_go(&c);
    let mut running = c.run_call(&[]).env("NOTIFY_SOCKET", &manager.path).spawn();
    c.wait_status("running");
    running.kill();
    drop(running.wait());
    c.delete_force().ok();
    // One that reads again hears of it.
    let c = lab.container(says(&lab, &["READY=1"], STAYS));
    let_go(&c);
    let mut running = c.run_call(&["--detach"]).env("NOTIFY_SOCKET", &manager.path).spawn();
    c.wait_status("running");
    std::thread::sleep(Duration::from_millis(300));
    assert!(!running.has_ended(), "{}", running.stderr());
    assert!(manager.heard().iter().all(|text| text == "x"));
    assert_eq!(manager.hears(), format!("READY=1\nMAINPID={}\n", pid(&c)));
    manager.hears();
    running.wait().ok();
    c.delete_force().ok();
}

#[test]
fn a_service_manager_that_is_not_there_is_an_error_before_anything_is_made() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("true"));
    for address in ["/nowhere/notify", "@brig-nobody", "vsock:2:1", "relative"] {
        for verb in [&["--detach"][..], &[]] {
            let output = c.run_call(verb).env("NOTIFY_SOCKET", address).go();
            output.failed().says(address).says("unset NOTIFY_SOCKET");
        }
        c.create_call(&[]).env("NOTIFY_SOCKET", address).go().failed().says(address);
        assert_eq!(c.status(), "gone");
    }
}
