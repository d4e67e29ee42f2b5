//! Many at once, and many in a row: nothing is lost, mixed up or left.

use brig_integration::{Lab, binaries, leftovers, machine, need};
use std::fs;
use std::time::Duration;

/// A guest under emulation runs one container in the time in which the host runs thirty.
fn scaled(count: usize) -> usize {
    if std::env::var("BRIG_LANE").is_ok_and(|lane| lane != "host") { count / 20 } else { count }
}

#[test]
fn a_hundred_containers_at_once() {
    let lab = Lab::new();
    let count = scaled(100);
    let containers: Vec<_> = (0..count)
        .map(|n| lab.container(lab.bundle().sh(&format!("echo {n}; exit {}", n % 50))))
        .collect();
    let limit = Duration::from_secs(100);
    let running: Vec<_> = containers.iter().map(|c| c.run_call(&[]).limit(limit).spawn()).collect();
    for (n, running) in running.into_iter().enumerate() {
        let code = i32::try_from(n % 50).expect("small");
        running.wait().code(code).prints(&n.to_string());
    }
    lab.assert_clean();
}

#[test]
fn sixty_four_execs_at_once() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let count = scaled(64);
    let limit = Duration::from_secs(100);
    let running: Vec<_> = (0..count)
        .map(|n| {
            c.exec_call(&[], &["/bin/sh", "-c", &format!("cat; exit {}", n % 50)])
                .stdin(n.to_string().as_bytes())
                .limit(limit)
                .spawn()
        })
        .collect();
    for (n, running) in running.into_iter().enumerate() {
        running.wait().code(i32::try_from(n % 50).expect("small")).prints(&n.to_string());
    }
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn of_many_with_one_id_exactly_one_wins() {
    let lab = Lab::new();
    let id = lab.id();
    let containers: Vec<_> =
        (0..8).map(|_| lab.container_named(&id, lab.bundle().idle())).collect();
    let running: Vec<_> = containers.iter().map(|c| c.run_call(&["--detach"]).spawn()).collect();
    let won = running
        .into_iter()
        .map(brig_integration::command::Running::wait)
        .filter(brig_integration::Output::succeeded)
        .count();
    assert_eq!(won, 1);
    assert_eq!(containers[0].status(), "running");
    containers[0].delete_force().ok();
    lab.assert_clean();
}

#[test]
fn start_kill_and_delete_race_without_harm() {
    let lab = Lab::new();
    for _ in 0..scaled(20).max(2) {
        let c = lab.container(lab.bundle().idle());
        c.create().ok();
        let calls = [
            c.call("start", [""; 0]).spawn(),
            c.call("kill", [""; 0]).arg("KILL").spawn(),
            c.call("delete", ["--force"]).spawn(),
        ];
        for call in calls {
            call.wait(); // each may win or lose, but none hangs
        }
        c.delete_force().ok();
        lab.assert_clean();
    }
}

/// A runtime that waits in the foreground keeps nobody from the container.
#[test]
fn what_runs_in_the_foreground_can_be_paused() {
    need!(Brig); // runc 1.1 has no `try`
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    let run = c.run_call(&[]).spawn();
    let sandbox = lab.runtime().args(["try", "--quiet", "--", "/bin/sleep", "60"]).spawn();
    let tried = lab.container_named(&format!("try-{}", sandbox.pid()), lab.bundle());
    for (c, running) in [(c, run), (tried, sandbox)] {
        c.wait_status("running");
        let soon = Duration::from_secs(5); // a lock is waited for longer
        c.call("pause", [""; 0]).limit(soon).go().ok();
        assert_eq!(c.status(), "paused");
        c.call("resume", [""; 0]).limit(soon).go().ok();
        c.kill("KILL").ok();
        running.wait().code(137);
    }
    lab.assert_clean();
}

#[test]
fn a_thousand_runs_leave_nothing() {
    let lab = Lab::new();
    // `a_hundred_containers_at_once` has the exit codes; here it is what piles up that counts.
    let c = lab.container(lab.bundle().args(["/bin/true"]));
    let run = || c.run().ok();
    run();
    let before = counts(&lab);
    for _ in
        0..scaled(1000).min(if brig_integration::command::flavour().is_brig() { 1000 } else { 100 })
    {
        run();
    }
    brig_integration::wait_until(Duration::from_secs(10), || counts(&lab) == before);
    assert_eq!(counts(&lab), before);
    lab.assert_clean();
}

/// What could pile up: mounts, processes, cgroups, state files, files in /run and /tmp.
fn counts(lab: &Lab) -> Vec<(&'static str, usize)> {
    let entries = |dir: &str| fs::read_dir(dir).map_or(0, Iterator::count);
    vec![
        ("mounts", leftovers::mounts().values().sum()),
        ("descendants", machine::descendants(std::process::id().cast_signed()).len()),
        ("cgroups", machine::cgroups_named(lab.token()).len()),
        ("state", leftovers::files(&lab.root()).len()),
        ("run", entries("/run") + entries("/run/brig")),
        ("shm", entries("/dev/shm")),
    ]
}

#[test]
fn containers_do_not_die_with_the_process_that_made_them() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    let script = format!(
        "{} --root {} run --detach --bundle {} {}",
        binaries::runtime().display(),
        lab.root().display(),
        c.bundle.dir.display(),
        c.id()
    );
    lab.call("setsid").args(["--wait", "sh", "-c", &script]).go().ok();
    assert_eq!(c.status(), "running");
    c.delete_force().ok();
    lab.assert_clean();
}
