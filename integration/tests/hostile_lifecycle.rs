//! The verbs on a container that runs, called where less can be known than elsewhere: what cannot be known is
//! never taken for the container's end.

use brig_integration::command::Call;
use brig_integration::{
    Container, Lab, Output, PATIENCE, binaries, machine, need, programs, wait_until,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// `verb` of the container, called by a shell after `surroundings`.
fn call_in(lab: &Lab, c: &Container<'_>, surroundings: &str, verb: &[&str]) -> Call {
    let script = format!("cd {}; {surroundings}; exec \"$@\"", lab.dir().display());
    let call = lab.call("/bin/sh").args(["-ec", &script, "sh"]).arg(binaries::runtime());
    let (verb, after) = verb.split_at(1);
    call.arg("--root").arg(lab.root()).args(verb).arg(c.id()).args(after)
}

/// That the container has ended is what an engine reads in these words.
#[track_caller]
fn assert_not_called_stopped(output: &Output, surroundings: &str) {
    let said = output.stdout() + &output.stderr();
    for wrong in ["stopped", "not running", "\"pid\": 0"] {
        assert!(!said.contains(wrong), "{surroundings}: {said}");
    }
}

#[test]
fn a_container_is_not_stopped_because_the_boot_or_its_cgroup_cannot_be_seen() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let pid = c.pid();
    for surroundings in [
        // What systemd's ProcSubset=pid gives a service.
        "mount -t proc -o subset=pid proc /proc",
        // What systemd-nspawn gives a container.
        "echo 7cca4281-c58a-4f7a-8b73-7e9ccd7cb4a4 >boot; mount --bind boot /proc/sys/kernel/random/boot_id",
        "mount -t tmpfs none /sys/fs/cgroup",
    ] {
        for verb in [&["state"][..], &["delete"], &["pause"], &["ps"]] {
            let call = call_in(&lab, &c, surroundings, verb).under(["unshare", "-m"]);
            let output = call.go().failed();
            assert_not_called_stopped(&output, surroundings);
            assert!(machine::is_alive(pid), "{surroundings}: {verb:?}");
            assert_eq!(c.status(), "running", "{surroundings}: {verb:?}");
        }
    }
    // Its first process is killed; whether that was all is not known, so the record stays.
    let call = call_in(&lab, &c, "mount -t tmpfs none /sys/fs/cgroup", &["delete"]);
    call.arg("--force").under(["unshare", "-m"]).go().failed().says("no cgroups are mounted");
    c.wait_status("stopped");
    c.delete().ok();
    lab.assert_clean();
}

#[test]
fn a_container_is_not_stopped_because_brig_may_open_too_few_descriptors() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let mut refused = 0;
    for limit in 4..12 {
        let surroundings = format!("ulimit -n {limit}");
        for verb in [&["state"][..], &["kill", "0"], &["delete"]] {
            let output = call_in(&lab, &c, &surroundings, verb).go();
            if output.succeeded() {
                assert_ne!(verb, ["delete"], "{surroundings}: it runs, and was removed");
            } else {
                refused += 1;
            }
            if verb != ["delete"] {
                assert_not_called_stopped(&output, &surroundings);
            }
        }
        assert_eq!(c.status(), "running", "{surroundings}");
    }
    assert!(refused > 8, "no limit was too low: nothing was tested");
    c.delete_force().ok();
    lab.assert_clean();
}

/// Before Linux 6.9 a process is known by its start time, which stands beside its main thread's state.
#[test]
fn a_container_runs_as_long_as_a_thread_of_its_first_process_does() {
    need!(Brig);
    let lab = Lab::new();
    let bundle = lab.plain_bundle();
    let program = bundle.rootfs.join("program");
    fs::write(&program, programs::without_main_thread()).expect("write");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    let c = lab.container(bundle.args(["/program"]));
    c.run_detached();
    let pid = c.pid();
    let ended = || machine::process(pid).is_some_and(|process| process.state == 'Z');
    assert!(wait_until(PATIENCE, ended), "its main thread has not ended");
    assert_eq!(c.status(), "running");
    c.delete().failed().says("not stopped");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    lab.assert_clean();
}

#[test]
fn a_signal_to_all_neither_pauses_a_container_nor_ends_a_pause() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let signals = "while [ ! -e end ]; do \"$@\" || exit; done";
    let call =
        lab.call("/bin/sh").cwd(lab.dir()).args(["-c", signals, "sh"]).arg(binaries::runtime());
    let call = call.arg("--root").arg(lab.root()).args(["kill", "--all", c.id(), "CONT"]);
    let signalling = call.spawn();
    for round in 0..20 {
        c.verb("pause").ok();
        assert_eq!(c.status(), "paused", "round {round}");
        c.verb("resume").ok();
        assert_eq!(c.status(), "running", "round {round}");
    }
    fs::write(lab.dir().join("end"), "").expect("write");
    signalling.wait().ok();
    c.delete_force().ok();
    lab.assert_clean();
}
