//! cgroups that are somebody else's: whatever path a container is given, no process, limit or
//! directory is touched but its own, and nothing of its own is forgotten while it lives.

use brig_integration::command::Running;
use brig_integration::{Container, Lab, PATIENCE, json, machine, need, programs, wait_until};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, unlinkat};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The hierarchies in which tests make cgroups of their own; on v2 there is but one.
const HIERARCHIES: [&str; 2] = ["freezer", "pids"];

/// The directories of the cgroup `path`.
fn directories(path: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = HIERARCHIES.iter().map(|c| machine::cgroup_dir(c, path)).collect();
    found.dedup();
    found
}

/// A process in a cgroup that no runtime has made.
struct Stranger {
    process: Running,
    path: String,
}

impl Stranger {
    fn in_cgroup(lab: &Lab, path: &str) -> Stranger {
        let mut script = String::new();
        for dir in directories(path) {
            fs::create_dir_all(&dir).expect("make a cgroup");
            script += &format!("echo 0 >{}/cgroup.procs && ", dir.display());
        }
        script += "echo in && exec sleep 1000";
        let process = lab.call("/bin/sh").args(["-c", &script]).spawn();
        assert!(wait_until(PATIENCE, || process.stdout().contains("in")), "{}", process.stderr());
        Stranger { process, path: path.to_owned() }
    }

    #[track_caller]
    fn lives(&self) {
        // A signal that was sent has arrived by then.
        std::thread::sleep(Duration::from_millis(20));
        assert!(machine::is_alive(self.process.pid()), "the stranger in {} was killed", self.path);
        for dir in directories(&self.path) {
            assert!(dir.is_dir(), "{} was removed", dir.display());
        }
    }

    fn ends(mut self, top: &str) {
        self.process.kill();
        self.process.wait();
        let mut path = Path::new(&self.path);
        while path.starts_with(top) {
            for dir in directories(&path.to_string_lossy()) {
                let gone = || fs::remove_dir(&dir).is_ok() || !dir.exists();
                assert!(wait_until(PATIENCE, gone), "cannot remove {}", dir.display());
            }
            path = path.parent().expect("below the root");
        }
    }
}

/// A container whose program has ended, and a newer one that runs in the cgroup of the same path.
fn older_and_newer(lab: &Lab) -> (Container<'_>, Container<'_>) {
    let older = lab.container(lab.bundle().args(["/bin/true"]));
    older.run_detached();
    older.wait_status("stopped");
    let path = older.bundle.cgroup().to_owned();
    let newer = lab.container(lab.bundle().set("/linux/cgroupsPath", path).idle());
    newer.run_detached();
    (older, newer)
}

#[test]
fn a_cgroup_with_a_stranger_below_it_is_refused() {
    need!(Brig);
    let lab = Lab::new();
    let top = format!("/{}-taken", lab.token());
    let stranger = Stranger::in_cgroup(&lab, &format!("{top}/deep/child"));
    let c = lab.container(lab.bundle().set("/linux/cgroupsPath", top.clone()).idle());
    for verb in ["run", "create"] {
        let dir = c.bundle.dir.to_string_lossy();
        let detach = (verb == "run").then_some("--detach");
        let options = ["--bundle", &dir].into_iter().chain(detach);
        let refused = c.call(verb, options).go().code(1);
        refused.says(&format!("{top}/deep/child")).says("hint: ").says("linux.cgroupsPath");
        stranger.lives();
        assert_eq!(c.status(), "gone");
    }
    c.delete_force().ok();
    stranger.lives();
    stranger.ends(&top);
    lab.assert_clean();
}

#[test]
fn an_id_is_no_claim_to_a_cgroup() {
    need!(Brig);
    let lab = Lab::new();
    let name = format!("{}-pod", lab.token());
    let stranger = Stranger::in_cgroup(&lab, &format!("/{name}/child"));
    let c = lab.container_named(&name, lab.bundle().unset("/linux/cgroupsPath").idle());
    c.run_call(&["--detach"]).go().code(1).says("/child");
    c.delete_force().ok();
    stranger.lives();
    stranger.ends(&format!("/{name}"));
    lab.assert_clean();
}

#[test]
fn deleting_an_older_container_spares_a_newer_one_in_the_same_cgroup() {
    need!(Brig);
    let lab = Lab::new();
    for verb in [&["delete"][..], &["delete", "--force"]] {
        let (older, newer) = older_and_newer(&lab);
        lab.runtime().args(["kill", "--all", older.id(), "KILL"]).go().ok();
        assert!(newer.is_alive(), "kill --all of the older one");
        assert!(!older.verb("ps").stdout().contains(&newer.pid().to_string()), "ps");
        lab.runtime().args(verb).arg(older.id()).go().ok();
        assert!(newer.is_alive(), "{verb:?} of the older one");
        assert_eq!(older.status(), "gone");
        newer.exec(&["/bin/true"]).ok();
        newer.delete_force().ok();
    }
    lab.assert_clean();
}

/// The older one's process has been moved elsewhere and its cgroup removed, as an administrator can.
#[test]
fn every_verb_knows_the_cgroup_and_not_its_path() {
    need!(Brig);
    let lab = Lab::new();
    let older = lab.container(lab.bundle().args(["/bin/sleep", "1000"]));
    older.run_detached();
    let (pid, path) = (older.pid(), older.bundle.cgroup().to_owned());
    for (_, mount) in machine::hierarchies() {
        let dir = mount.join(path.trim_start_matches('/'));
        if dir.is_dir() {
            fs::write(mount.join("cgroup.procs"), pid.to_string()).expect("move the process");
            let mut said = String::new();
            let gone = wait_until(Duration::from_secs(3), || {
                fs::remove_dir(&dir).map_err(|error| said = error.to_string()).is_ok()
            });
            assert!(
                gone,
                "{}: {said} {pid} {:?}",
                dir.display(),
                fs::read_to_string(dir.join("cgroup.procs"))
            );
        }
    }
    let newer = lab.container(lab.bundle().set("/linux/cgroupsPath", path).idle());
    newer.run_detached();
    let limit = || newer.cgroup_file("pids", "pids.max");
    let before = limit();
    let lost = "was removed or replaced";
    older.verb("pause").code(1).says(lost);
    older.call("update", ["--pids-limit", "3"]).go().code(1).says(lost);
    older.call("events", ["--stats"]).go().code(1).says(lost);
    older.exec(&["/bin/true"]).failed().says(lost);
    assert!(!older.verb("ps").stdout().contains(&newer.pid().to_string()), "ps");
    newer.verb("pause").ok();
    assert_eq!(older.status(), "running", "the newer one is paused");
    newer.verb("resume").ok();
    lab.runtime().args(["kill", "--all", older.id(), "KILL"]).go().ok();
    older.delete_force().ok();
    assert!(!machine::is_alive(pid), "the older one's process is killed all the same");
    assert!(newer.is_alive(), "the newer one was killed");
    assert_eq!((limit(), newer.status().as_str()), (before, "running"));
    newer.delete_force().ok();
    lab.assert_clean();
}

/// Goes down from `top` by `levels` directories of this name, each made; the lowest.
fn dig(top: &Path, name: &str, levels: usize) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = openat(CWD, top, flags, Mode::empty()).expect("open a cgroup");
    for _ in 0..levels {
        mkdirat(&here, name, Mode::from_raw_mode(0o755)).expect("make a cgroup");
        here = openat(&here, name, flags, Mode::empty()).expect("open a cgroup");
    }
    here
}

/// Takes a tree away that no path reaches, for a runtime that could not; its processes first.
struct Dug(PathBuf, String);

impl Drop for Dug {
    fn drop(&mut self) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(mut here) = openat(CWD, &self.0, flags, Mode::empty()) else { return };
        let mut depth = 0;
        while let Ok(below) = openat(&here, self.1.as_str(), flags, Mode::empty()) {
            (here, depth) = (below, depth + 1);
        }
        if let Ok(file) = openat(&here, "cgroup.procs", OFlags::RDONLY, Mode::empty()) {
            let text = std::io::read_to_string(fs::File::from(file)).unwrap_or_default();
            for pid in text.lines().filter_map(|line| line.parse().ok()) {
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
        for _ in 0..depth {
            let Ok(above) = openat(&here, "..", flags, Mode::empty()) else { return };
            wait_until(Duration::from_secs(2), || {
                unlinkat(&above, self.1.as_str(), AtFlags::REMOVEDIR).is_ok()
            });
            here = above;
        }
    }
}

/// Puts process `pid` into the cgroup that is open as `cgroup`.
fn enter(cgroup: &OwnedFd, pid: i32) {
    let file = openat(cgroup, "cgroup.procs", OFlags::WRONLY, Mode::empty()).expect("open");
    rustix::io::write(&file, pid.to_string().as_bytes()).expect("move a process");
}

/// A container in the host's pid namespace with a process in the lowest of `levels` cgroups below
/// its own, as one that has its cgroup to write can make them; that process.
fn with_a_deep_tree<'l>(lab: &'l Lab, name: &str, levels: usize) -> (Container<'l>, i32, Vec<Dug>) {
    let bundle = lab.bundle().without_namespace("pid");
    let c = lab.container(bundle.sh("sleep 1000 & echo $! >/pid; trap 'exit 0' TERM; wait"));
    c.run_detached();
    let file = c.host_path("/pid");
    let mut pid = 0;
    let read = wait_until(PATIENCE, || {
        pid = fs::read_to_string(&file).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0);
        pid > 0
    });
    assert!(read, "no pid in {}", file.display());
    let top = c.cgroup("freezer");
    let dug = Dug(top.clone(), name.to_owned());
    enter(&dig(&top, name, levels), pid);
    (c, pid, vec![dug])
}

#[test]
fn a_tree_deeper_than_any_path_is_killed_and_removed() {
    need!(Brig);
    let lab = Lab::new();
    let name = "d".repeat(250);
    for verbs in [&[&["kill"][..], &["delete"]][..], &[&["delete", "--force"]]] {
        let (c, pid, _dug) = with_a_deep_tree(&lab, &name, 25);
        for verb in verbs {
            let call = lab.runtime().args(*verb).arg(c.id());
            if verb[0] == "kill" { call.arg("KILL") } else { call }.go().ok();
            assert!(!machine::is_alive(pid), "{verb:?} leaves a process");
            c.wait_status(if verb[0] == "kill" { "stopped" } else { "gone" });
        }
        lab.assert_clean();
    }
}

#[test]
fn a_tree_of_a_thousand_levels_costs_few_descriptors_and_no_stack() {
    need!(Brig);
    let lab = Lab::new();
    let (c, pid, _dug) = with_a_deep_tree(&lab, "d", 1000);
    let script = "ulimit -n 64; ulimit -s 256; exec \"$@\"";
    let runtime = brig_integration::binaries::runtime();
    let call = lab.call("/bin/sh").args(["-c", script, "sh"]).arg(runtime);
    call.arg("--root").arg(lab.root()).args(["delete", "--force", c.id()]).go().ok();
    assert!(!machine::is_alive(pid));
    lab.assert_clean();
}

/// As a container that has its cgroup to write can do to itself.
#[test]
fn who_has_frozen_himself_is_killed_all_the_same() {
    need!(Brig);
    let lab = Lab::new();
    for verbs in [&[&["kill"][..], &["delete"]][..], &[&["delete", "--force"]]] {
        let (c, pid, _dug) = with_a_deep_tree(&lab, "d", 2);
        let below = c.cgroup("freezer").join("d/d");
        let (file, value) = match machine::layout() {
            machine::Layout::V1 => ("freezer.state", "FROZEN"),
            machine::Layout::V2 => ("cgroup.freeze", "1"),
        };
        fs::write(below.join(file), value).expect("freeze");
        for verb in verbs {
            let call = lab.runtime().args(*verb).arg(c.id());
            if verb[0] == "kill" { call.arg("KILL") } else { call }.go().ok();
            assert!(!machine::is_alive(pid), "{verb:?} leaves a process");
        }
        lab.assert_clean();
    }
}

/// Linux 6.1 kills by cgroup.kill no process whose main thread has ended.
#[test]
fn what_has_ended_its_main_thread_is_killed_all_the_same() {
    need!(Brig);
    let lab = Lab::new();
    for (own, verbs) in
        [(true, &[&["kill", "--all"][..], &["delete"]][..]), (false, &[&["delete", "--force"]])]
    {
        let bundle = lab.plain_bundle();
        let program = bundle.rootfs.join("program");
        fs::write(&program, programs::without_main_thread()).expect("write");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
        let c = lab.container(match own {
            true => bundle.args(["/program"]),
            false => bundle.without_namespace("pid").sh("/program & exec sleep 1000"),
        });
        c.run_detached();
        let list = c.cgroup("freezer").join("cgroup.procs");
        let mut ended = None;
        let found = wait_until(PATIENCE, || {
            let text = fs::read_to_string(&list).unwrap_or_default();
            let mut pids = text.lines().filter_map(|line| line.parse::<i32>().ok());
            ended = pids.find(|pid| machine::process(*pid).is_some_and(|p| p.state == 'Z'));
            ended.is_some()
        });
        assert!(found, "no process without its main thread in {}", list.display());
        for verb in verbs {
            let call = lab.runtime().args(*verb).arg(c.id());
            if verb[0] == "kill" { call.arg("KILL") } else { call }.go().ok();
        }
        lab.assert_clean();
    }
}

/// The first process has done so to itself below its own cgroup, on v1 as on v2.
#[test]
fn a_first_process_that_has_frozen_itself_below_is_killed_all_the_same() {
    need!(Brig);
    let lab = Lab::new();
    for (verb, after) in [("kill", &["KILL"][..]), ("delete", &["--force"])] {
        let c = lab.container(lab.bundle().idle());
        c.run_detached();
        let (pid, top) = (c.pid(), c.cgroup("freezer"));
        let _dug = Dug(top.clone(), "d".to_owned());
        enter(&dig(&top, "d", 2), pid);
        let (file, value) = match machine::layout() {
            machine::Layout::V1 => ("freezer.state", "FROZEN"),
            machine::Layout::V2 => ("cgroup.freeze", "1"),
        };
        fs::write(top.join("d/d").join(file), value).expect("freeze");
        // Less than the ten seconds for which the end of a process is waited for.
        let soon = Duration::from_secs(8);
        lab.runtime().args([verb, c.id()]).args(after).limit(soon).go().ok();
        assert!(wait_until(PATIENCE, || !machine::is_alive(pid)), "{verb} leaves it");
        c.delete_force();
        lab.assert_clean();
    }
}

/// More processes than a program may have descriptors. On v2 the kernel finds them by itself.
#[test]
fn a_crowd_is_killed_with_few_descriptors() {
    need!(Brig, CgroupV1);
    let lab = Lab::new();
    // Forked alone, as programs take long to start in an emulated guest.
    let crowd = "mkfifo /never; i=0; while [ $i -lt 200 ]; do read x </never & i=$((i+1)); done; \
        touch /full; wait";
    let c = lab.container(lab.bundle().without_namespace("pid").sh(crowd));
    c.run_detached();
    assert!(wait_until(PATIENCE, || c.host_path("/full").exists()));
    let runtime = brig_integration::binaries::runtime();
    let call = lab.call("/bin/sh").args(["-c", "ulimit -n 16; exec \"$@\"", "sh"]).arg(runtime);
    call.arg("--root").arg(lab.root()).args(["delete", "--force", c.id()]).go().ok();
    lab.assert_clean();
}

/// Processes that outlive their container's first one.
fn with_survivors(lab: &Lab) -> (Container<'_>, Vec<i32>) {
    let bundle = lab.bundle().without_namespace("pid");
    let c = lab.container(bundle.sh("sleep 1000 & echo $! >/pids; sleep 1000 & echo $! >>/pids"));
    c.run_detached();
    c.wait_status("stopped");
    let text = fs::read_to_string(c.host_path("/pids")).expect("the survivors");
    let pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(pids.len() == 2 && pids.iter().all(|pid| machine::is_alive(*pid)), "{pids:?}");
    (c, pids)
}

#[test]
fn what_outlives_the_first_process_is_killed_with_the_container() {
    need!(Brig);
    let lab = Lab::new();
    for verb in [&["kill"][..], &["kill", "--all"], &["delete"], &["delete", "--force"]] {
        let (c, pids) = with_survivors(&lab);
        let call = lab.runtime().args(verb).arg(c.id());
        if verb[0] == "kill" { call.arg("KILL") } else { call }.go().ok();
        let left: Vec<_> = pids.iter().filter(|pid| machine::is_alive(**pid)).collect();
        assert!(left.is_empty(), "{verb:?} leaves {left:?}");
        if verb[0] == "kill" {
            c.kill("KILL").code(1).says("not running");
            c.delete().ok();
        }
        lab.assert_clean();
    }
}

#[test]
fn a_container_is_known_for_as_long_as_something_of_it_is_left() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let below = c.cgroup("pids").join("below");
    fs::create_dir(&below).expect("make a cgroup");
    // A mount point cannot be removed.
    lab.tmpfs(&below);
    c.call("delete", ["--force"]).go().code(1).says("/below");
    assert_eq!(c.status(), "stopped");
    c.delete().code(1).says("/below");
    nix::mount::umount(&below).expect("unmount");
    c.delete().ok();
    assert_eq!(c.status(), "gone");
    lab.assert_clean();
}

/// On v1 a process may be in one of the container's cgroups alone; here an administrator puts it there.
#[test]
fn whoever_is_left_in_one_hierarchy_is_named() {
    need!(Brig, CgroupV1);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let mut process = lab.call("/bin/sleep").arg("1000").spawn();
    let pid = process.pid().to_string();
    fs::write(c.cgroup("pids").join("cgroup.procs"), &pid).expect("move a process");
    c.delete_force().code(1).says(&pid);
    assert_eq!(c.status(), "stopped");
    assert!(machine::is_alive(process.pid()));
    process.kill();
    process.wait();
    c.delete().ok();
    lab.assert_clean();
}

/// Runs a verb with the systemd driver, below a `--root` of its own.
fn systemd(lab: &Lab, root: &str, args: &[&str]) -> brig_integration::Output {
    let root = lab.dir().join(root);
    fs::create_dir_all(&root).expect("make a root");
    let call = lab.call(brig_integration::binaries::runtime()).arg("--root").arg(root);
    call.arg("--systemd-cgroup").args(args).limit(Duration::from_secs(120)).go()
}

fn alive_unit(lab: &Lab, unit: &str) -> bool {
    lab.call("systemctl").args(["is-active", "--quiet", unit]).go().succeeded()
}

#[test]
fn a_scope_that_exists_is_left_alone() {
    need!(Systemd, CgroupV2, Brig);
    let lab = Lab::new();
    let name = lab.id();
    let bundle = |refused: bool| {
        let b = lab.bundle().set("/linux/cgroupsPath", format!("system.slice:box:{name}")).idle();
        if refused { b.set("/mounts/-", json!({"destination": "/x", "type": "bind"})) } else { b }
    };
    let (first, second, third) = (bundle(false), bundle(false), bundle(true));
    let run = |root: &str, bundle: &brig_integration::Bundle| {
        bundle.write();
        systemd(&lab, root, &["run", "--detach", "--bundle", &bundle.dir.to_string_lossy(), &name])
    };
    run("one", &first).ok();
    let pid = systemd(&lab, "one", &["state", &name]).ok().json()["pid"].as_i64().expect("a pid");
    let pid = i32::try_from(pid).expect("a pid");
    run("two", &second).code(1).says(&name);
    assert!(machine::is_alive(pid), "a refused create killed the first container");
    run("three", &third).code(1);
    assert!(machine::is_alive(pid), "a plan that was refused killed the first container");
    for root in ["two", "three"] {
        systemd(&lab, root, &["delete", "--force", &name]).ok();
    }
    assert!(machine::is_alive(pid));
    systemd(&lab, "one", &["delete", "--force", &name]).ok();
    assert!(!machine::is_alive(pid));

    // And one that no runtime has made.
    let scope = format!("{}-foreign.scope", lab.token());
    let unit = format!("--unit={scope}");
    let mut foreign = lab
        .call("systemd-run")
        .args(["--scope", "--slice=system.slice", &unit, "/bin/sleep", "1000"])
        .spawn();
    assert!(wait_until(PATIENCE, || alive_unit(&lab, &scope)), "{}", foreign.stderr());
    let path = format!("system.slice:{}:foreign", lab.token());
    run("four", &lab.bundle().set("/linux/cgroupsPath", path).idle()).code(1);
    assert!(alive_unit(&lab, &scope) && !foreign.has_ended(), "a foreign scope was killed");
    systemd(&lab, "four", &["delete", "--force", &name]).ok();
    assert!(alive_unit(&lab, &scope) && !foreign.has_ended(), "a foreign scope was killed");
    foreign.kill();
    foreign.wait();
    for root in ["one", "two", "three", "four"] {
        assert!(fs::read_dir(lab.dir().join(root)).expect("a root").next().is_none(), "{root}");
    }
}

#[test]
fn a_scope_of_the_same_name_outlives_the_older_container() {
    need!(Systemd, CgroupV2, Brig);
    let lab = Lab::new();
    let name = lab.id();
    let path = format!("system.slice:box:{name}");
    let run = |id: &str, program: &str| {
        let b = lab.bundle().set("/linux/cgroupsPath", path.clone()).args([program]);
        b.write();
        let dir = b.dir.to_string_lossy().into_owned();
        systemd(&lab, "root", &["run", "--detach", "--bundle", &dir, id]).ok();
    };
    let state = |id: &str| systemd(&lab, "root", &["state", id]).ok().json();
    run(&format!("{name}-a"), "/bin/true");
    let stopped = || state(&format!("{name}-a"))["status"] == "stopped";
    assert!(wait_until(PATIENCE, stopped));
    let scope = format!("box-{name}.scope");
    assert!(wait_until(PATIENCE, || !alive_unit(&lab, &scope)));
    run(&format!("{name}-b"), "/bin/idle");
    systemd(&lab, "root", &["kill", "--all", &format!("{name}-a"), "KILL"]).ok();
    systemd(&lab, "root", &["delete", &format!("{name}-a")]).ok();
    assert_eq!(state(&format!("{name}-b"))["status"], "running");
    assert!(alive_unit(&lab, &scope));
    systemd(&lab, "root", &["delete", "--force", &format!("{name}-b")]).ok();
    assert!(!alive_unit(&lab, &scope));
    lab.assert_clean();
}
