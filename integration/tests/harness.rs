//! The harness itself: what a runtime leaves is found, and what fails is seen to fail.

use brig_integration::{Lab, machine, wait_until};
use std::fs;
use std::time::Duration;

/// Expects a leftover that has `word` in it.
#[track_caller]
fn found(lab: &Lab, word: &str) {
    let left = lab.leftovers();
    assert!(left.iter().any(|l| l.contains(word)), "{word} is not in {left:?}");
}

#[test]
fn a_fresh_lab_is_clean() {
    let lab = Lab::new();
    assert_eq!(lab.leftovers(), Vec::<String>::new());
    lab.bundle();
    lab.assert_clean();
}

#[test]
fn a_left_mount_is_found() {
    let lab = Lab::new();
    let dir = lab.path("left");
    fs::create_dir(&dir).expect("make");
    lab.call("mount").args(["-t", "tmpfs", "left"]).arg(&dir).go().ok();
    found(&lab, "mount: tmpfs on");
    lab.call("umount").arg(&dir).go().ok();
}

#[test]
fn a_left_process_is_found_however_it_was_orphaned() {
    let lab = Lab::new();
    lab.call("/bin/sh").args(["-c", "setsid sh -c 'setsid sleep 1000 & exit' & exit"]).go().ok();
    assert!(wait_until(Duration::from_secs(5), || lab
        .leftovers()
        .iter()
        .any(|l| l.contains("`sleep`"))));
    let own = std::process::id().cast_signed();
    for process in machine::descendants(own) {
        let pid = nix::unistd::Pid::from_raw(process.pid);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    lab.assert_clean();
}

#[test]
fn a_left_cgroup_is_found() {
    let lab = Lab::new();
    let (_, mount) = machine::hierarchies().remove(0);
    let dir = mount.join(lab.id());
    fs::create_dir(&dir).expect("make a cgroup");
    found(&lab, "cgroup: ");
    fs::remove_dir(&dir).expect("remove the cgroup");
}

#[test]
fn a_left_state_file_is_found() {
    let lab = Lab::new();
    fs::write(lab.root().join("left"), "").expect("write");
    found(&lab, "state: ");
    fs::remove_file(lab.root().join("left")).expect("remove");
}

#[test]
fn a_container_that_stays_is_found() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    for word in ["process: ", "cgroup: ", "state: "] {
        found(&lab, word);
    }
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
#[should_panic(expected = "left behind")]
fn what_is_left_fails_the_test() {
    let lab = Lab::new();
    fs::write(lab.root().join("left"), "").expect("write");
}

#[test]
#[should_panic(expected = "hung")]
fn a_command_that_hangs_fails_the_test() {
    let lab = Lab::new();
    lab.call("sleep").arg("1000").limit(Duration::from_millis(200)).go();
}

#[test]
fn labs_of_one_thread_follow_each_other() {
    for _ in 0..4 {
        let lab = Lab::new();
        lab.container(lab.bundle()).run().ok();
    }
}

#[test]
fn each_lab_has_its_own_mount_namespace() {
    let namespace = || fs::read_link("/proc/thread-self/ns/mnt").expect("a namespace");
    let before = namespace();
    let lab = Lab::new();
    assert_ne!(namespace(), before);
    lab.tmpfs(&lab.dir().join("mounted"));
    let host = fs::read_to_string("/proc/1/mountinfo").expect("the host's mounts");
    assert!(!host.contains(lab.token()), "a test's mounts reach the host");
}
