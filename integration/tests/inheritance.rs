//! What a caller hands down to the container and to the hooks inside, and what not: the table of
//! docs/architecture.md, "What a caller hands down", in each way that something comes to run in a container.

use brig_integration::command::Call;
use brig_integration::{Bundle, Lab, PATIENCE, json, need, wait_until};
use std::fs;
use std::path::Path;

/// Prints a line for each, on the host and inside.
const SHOW: &str = "awk '/^(Umask|SigBlk|SigIgn|Cpus_allowed_list):/' /proc/self/status; \
    echo personality: $(cat /proc/self/personality); echo slack: $(cat /proc/self/timerslack_ns); \
    echo nice: $(awk '{ print $19 }' /proc/self/stat); echo score: $(cat /proc/self/oom_score_adj); \
    echo stack: $(ulimit -s)";

/// A caller that has everything otherwise than by default.
const CALLER: &str = "umask 077; trap '' HUP INT USR1 CHLD; ulimit -s 4096; echo 900 >/proc/self/oom_score_adj; \
    echo 1000000 >/proc/self/timerslack_ns; \
    exec env --block-signal=USR2 nice -n 3 taskset 1 setarch --addr-no-randomize \"$@\"";

/// `call` by the caller above.
fn by_caller(call: Call) -> Call {
    call.under(["/bin/sh", "-c", CALLER, "sh"])
}

/// What is not handed down, and what is.
#[track_caller]
fn assert_defaults(said: &str, who: &str) {
    let processors = fs::read_to_string("/sys/devices/system/cpu/online").expect("processors");
    for (name, expected) in [
        ("Cpus_allowed_list", processors.trim()),
        ("Umask", "0022"),
        ("SigIgn", "0000000000000000"),
        ("SigBlk", "0000000000000000"),
        ("personality", "00000000"),
        ("nice", "3"),
        ("slack", "1000000"),
        ("score", "900"),
        ("stack", "4096"),
    ] {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        assert_eq!(line.map(str::trim), Some(expected), "{name} of {who}: {said}");
    }
}

/// What `SHOW` prints goes to the file `name` in `dir`, as a whole.
fn showing(dir: &Path, name: &str) -> String {
    let file = dir.join(name);
    let file = file.display();
    format!("{{ {SHOW}; }} >{file}.new; mv {file}.new {file}")
}

/// A program that shows what it has and stays, and hooks of these kinds that show what they have.
fn shown(lab: &Lab, dir: &Path, hooks: &[&str]) -> Bundle {
    let bundle = lab.bundle().bind(dir, &dir.to_string_lossy(), &["rw"]);
    let bundle = hooks.iter().fold(bundle, |bundle, kind| {
        let script = showing(dir, kind);
        let env = ["PATH=/usr/bin:/bin"];
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": env});
        bundle.set(&format!("/hooks/{kind}"), json!([hook]))
    });
    bundle.sh(&format!("{}; exec /bin/idle", showing(dir, "program")))
}

#[track_caller]
fn read(dir: &Path, name: &str) -> String {
    let file = dir.join(name);
    assert!(wait_until(PATIENCE, || file.exists()), "{name} says nothing");
    fs::read_to_string(&file).expect("read what was said")
}

/// `O_NONBLOCK` of open(2).
const NONBLOCK: u32 = 0o4000;

/// The open file is the caller's too: brig neither sets its flags nor takes them off.
#[test]
fn flags_of_standard_output_are_the_callers() {
    let lab = Lab::new();
    let show = "sed -n 's/^flags:[^0-9]*//p' /proc/self/fdinfo/1";
    let flags = |perl: &str| {
        let under = ["perl", "-MFcntl", "-e", perl];
        let said =
            lab.container(lab.bundle().sh(show)).run_call(&[]).under(under).go().ok().stdout();
        u32::from_str_radix(said.trim(), 8).expect("flags in octal")
    };
    let set = "fcntl(STDOUT, F_SETFL, fcntl(STDOUT, F_GETFL, 0) | O_NONBLOCK); exec @ARGV";
    assert_eq!(flags(set) & NONBLOCK, NONBLOCK);
    assert_eq!(flags("exec @ARGV") & NONBLOCK, 0);
}

#[test]
fn what_a_caller_hands_down() {
    need!(Brig); // runc 1.1 hands down most of it.
    let lab = Lab::new();
    let dir = lab.path("shared");
    fs::create_dir(&dir).expect("make a directory");
    let hooks = ["createContainer", "startContainer"];
    let c = lab.container(shown(&lab, &dir, &hooks));
    by_caller(c.run_call(&["--detach"])).go().ok();
    for name in ["createContainer", "startContainer", "program"] {
        assert_defaults(&read(&dir, name), name);
        fs::remove_file(dir.join(name)).expect("remove what was said");
    }
    let call = c.exec_call(&[], &["/bin/sh", "-c", SHOW]);
    assert_defaults(&by_caller(call).go().ok().stdout(), "exec");
    c.delete_force().ok();

    by_caller(c.create_call(&[])).go().ok();
    c.start().ok();
    assert_defaults(&read(&dir, "program"), "create");
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn processors_of_exec_are_those_that_it_asks_for() {
    need!(Brig, Oci11);
    let lab = Lab::new();
    let b = lab.bundle().set("/process/execCPUAffinity", json!({"initial": "0", "final": ""}));
    let c = lab.container(b.idle());
    c.run_detached();
    let online = fs::read_to_string("/sys/devices/system/cpu/online").expect("processors");
    let view = c.exec(&["/probe", "cpus_allowed"]).ok().json();
    assert_eq!(view["cpus_allowed"], online.trim(), "as `final` is empty");
}

/// containerd opens it once, for reading, and gives it as all three. With that of the host a program could change the
/// mode of a file that all of the host uses.
#[test]
fn dev_null_is_the_containers_own_to_read_and_to_write() {
    let lab = Lab::new();
    let dir = lab.path("shared");
    fs::create_dir(&dir).expect("make a directory");
    let log = dir.join("log").display().to_string();
    let say = format!(
        "rm -f {log}.new; for f in 0 1 2; do \
         echo x >&$f && cat <&$f && test $(stat -L -c %d:%i /proc/$$/fd/$f) = $(stat -c %d:%i /dev/null); \
         echo $f $? >>{log}.new; done; mv {log}.new {log}"
    );
    let bundle = || lab.bundle().bind(&dir, &dir.to_string_lossy(), &["rw"]);
    let c = lab.container(bundle().sh(&format!("{say}; exec /bin/idle")));
    let by =
        |call: Call| call.under(["/bin/sh", "-c", "exec \"$@\" </dev/null 1<&0 2<&0", "sh"]).go();
    let assert_written = |who: &str| {
        assert_eq!(read(&dir, "log").trim(), "0 0\n1 0\n2 0", "{who}");
        fs::remove_file(dir.join("log")).expect("remove what was said");
    };
    by(c.run_call(&["--detach"])).ok();
    assert_written("run --detach");
    by(c.exec_call(&[], &["/bin/sh", "-c", &say])).ok();
    assert_written("exec");
    by(c.exec_call(&["--detach"], &["/bin/sh", "-c", &say])).ok();
    assert_written("exec --detach");
    c.delete_force().ok();
    by(c.create_call(&[])).ok();
    c.start().ok();
    assert_written("create");
    c.delete_force().ok();
    by(lab.container(bundle().sh(&say)).run_call(&[])).ok();
    assert_written("run");
    // Nor is anything of brig's own where a caller has closed all three.
    let closed = |call: Call| call.under(["/bin/sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"]).go();
    closed(c.run_call(&["--detach"])).ok();
    assert_written("run --detach of a caller without descriptors");
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn what_a_container_has_put_in_the_place_of_dev_null_is_not_opened_for_others() {
    need!(Brig);
    let lab = Lab::new();
    let script = "rm /dev/null; touch /tmp/file; ln -s /tmp/file /dev/null; exec idle";
    let c = lab.container(lab.bundle().sh(script));
    c.run_detached();
    let exec = |args: &[&str]| c.exec_call(&[], args).stdin(b"").go();
    assert!(wait_until(PATIENCE, || exec(&["test", "-L", "/dev/null"]).succeeded()));
    let by =
        |call: Call| call.under(["/bin/sh", "-c", "exec \"$@\" </dev/null >&0 2>&0", "sh"]).go();
    let log = lab.path("log").display().to_string();
    let call = lab.runtime().args(["--log", &log, "exec", c.id(), "echo", "x"]);
    assert!(!by(call).succeeded());
    let said = fs::read_to_string(&log).expect("a log");
    assert!(said.contains("open /dev/null as 0, 1, 2: ") && said.contains("1:3"), "{said}");
    exec(&["cat", "/tmp/file"]).ok().prints("");
    c.delete_force().ok();
    lab.assert_clean();
}
