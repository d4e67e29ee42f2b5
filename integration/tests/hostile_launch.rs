//! The launch, where brig's processes are slow, stopped or killed at the wrong moment: what is recorded is
//! the container's process, nobody waits for ever, and nobody is left.

use brig_integration::command::{Call, Running};
use brig_integration::{Bundle, Container, Lab, PATIENCE, json, machine, need, wait_until};
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept, bind, connect, listen,
    socket_with,
};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// How often each is tried; CONTRIBUTING.md has the command for many more.
fn rounds() -> u32 {
    std::env::var("BRIG_LAUNCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2)
}

/// strace(1) delays this process: the one that makes others, which is late to say so, or the
/// container's own, which alone calls setsid(2).
#[derive(Clone, Copy, Debug)]
enum Slow {
    Intermediate,
    Container,
}

const BOTH: [Slow; 2] = [Slow::Intermediate, Slow::Container];

/// brig with one of its processes slow.
fn with_slow(slow: Slow, call: Call) -> Call {
    let (calls, inject) = match slow {
        Slow::Intermediate => ("trace=clone3", "inject=clone3:delay_exit=30000"),
        Slow::Container => ("trace=setsid", "inject=setsid:delay_enter=30000"),
    };
    call.under(["strace", "-DD", "-f", "-qqq", "-o", "/dev/null", "-e", calls, "-e", inject])
}

/// Creates, starts and deletes the container that `bundle` makes, and looks at whom the record names.
fn is_the_containers_own(lab: &Lab, bundle: Bundle) {
    let c = lab.container(bundle);
    for slow in BOTH.repeat(rounds() as usize) {
        let file = lab.path("pid");
        let create = c.create_call(&["--pid-file", &file.to_string_lossy()]);
        with_slow(slow, create).go().ok();
        assert_eq!(c.status(), "created", "{slow:?}");
        let pid = c.pid();
        let recorded = fs::read_to_string(&file).expect("the pid file");
        assert_eq!(recorded, pid.to_string(), "{slow:?}");
        c.start().ok();
        assert_eq!((c.status().as_str(), c.pid()), ("running", pid), "{slow:?}");
        let name = machine::process(pid).map(|process| process.name);
        assert_eq!(name.as_deref(), Some("idle"), "{slow:?}");
        c.delete_force().ok();
    }
}

/// The children of `parent`, oldest first.
fn children(parent: i32) -> Vec<i32> {
    let mut found: Vec<_> = machine::processes()
        .into_iter()
        .filter(|process| process.parent == parent && process.name != "strace")
        .map(|process| process.pid)
        .collect();
    found.sort_unstable();
    found
}

/// Waits until brig has so many children, and answers with them.
#[track_caller]
fn wait_for_children(brig: i32, count: usize) -> Vec<i32> {
    let there = wait_until(PATIENCE, || children(brig).len() >= count);
    assert!(there, "brig has {:?}", children(brig));
    children(brig)
}

fn end(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
}

#[test]
fn an_intermediate_that_dies_before_it_tells_is_a_failure_that_leaves_nobody() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle().user_namespace(100_000));
    let inject = ["-e", "trace=clone3", "-e", "inject=clone3:delay_exit=3000000:when=1"];
    let strace = ["strace", "-DD", "-f", "-qqq", "-o", "/dev/null"].iter().chain(&inject);
    // brig's own clone3 is the first of its process, and so is the intermediate's.
    let create = c.create_call(&[]).under(strace).spawn();
    let both = wait_for_children(create.pid(), 2);
    end(both[0]);
    create.wait().failed().says("was killed by SIGKILL during setup");
    assert_eq!(c.status(), "gone");
    lab.assert_clean();
}

#[test]
fn a_child_that_never_saw_its_supervisor_die_ends_all_the_same() {
    need!(Brig);
    let lab = Lab::new();
    // It asks for its id maps, and waits for the answer.
    let c = lab.container(lab.bundle().idle().user_namespace(100_000));
    let inject = ["-e", "trace=prctl", "-e", "inject=prctl:delay_enter=300000"];
    let strace = ["strace", "-DD", "-f", "-qqq", "-o", "/dev/null"].iter().chain(&inject);
    let mut create = c.create_call(&[]).under(strace).spawn();
    // It has not asked yet to die with its parent.
    wait_for_children(create.pid(), 1);
    create.kill();
    create.wait();
    // Orphans come to the test's process.
    let own = std::process::id().cast_signed();
    let left = || machine::descendants(own).into_iter().filter(|process| process.state != 'Z');
    let ended = wait_until(PATIENCE, || left().count() == 0);
    assert!(ended, "wait for ever: {:?}", left().collect::<Vec<_>>());
    c.delete_force().ok();
    lab.assert_clean();
}

/// The signals that ask brig to stop, and what it exits with then.
const ASKING_TO_STOP: [(Signal, i32); 4] =
    [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129), (Signal::SIGQUIT, 131)];

/// A signal to brig itself, as from a terminal or a service manager.
fn tell(brig: &Running, signal: Signal) {
    kill(Pid::from_raw(brig.pid()), signal).expect("brig runs");
}

/// The children of brig's main thread, found faster than by a look at all processes.
fn children_of_thread(brig: i32) -> Option<Vec<i32>> {
    let list = fs::read_to_string(format!("/proc/{brig}/task/{brig}/children")).ok()?;
    list.split_whitespace().map(|pid| pid.parse().ok()).collect()
}

/// Stops the first child that brig makes; `None` where that one was gone before.
fn stop_first_child(brig: i32) -> Option<i32> {
    let child = loop {
        if let Some(&first) = children_of_thread(brig)?.first() {
            break first;
        }
        if !machine::is_alive(brig) {
            return None;
        }
    };
    kill(Pid::from_raw(child), Signal::SIGSTOP).ok()?;
    let stopped = || machine::process(child).is_none_or(|process| process.state != 'R');
    wait_until(PATIENCE, stopped);
    let found = machine::process(child)?;
    // Its program by then: brig passes signals on to that, and waits for it.
    if !found.name.starts_with("brig") {
        let _ = kill(Pid::from_raw(child), Signal::SIGCONT);
        return None;
    }
    (found.state == 'T').then_some(child)
}

#[test]
fn brig_hears_that_it_is_to_stop_while_the_container_keeps_its_process_from_going_on() {
    need!(Brig); // runc hangs as well
    let lab = Lab::new();
    let c = lab.container(lab.bundle().without_namespace("pid").idle());
    c.run_detached();
    for (signal, code) in ASKING_TO_STOP {
        // What root of the container may do to any process that it sees, as soon as there is one.
        let stopped = wait_until(PATIENCE, || {
            let brig = c.exec_call(&[], &["/bin/true"]).spawn();
            let Some(child) = stop_first_child(brig.pid()) else {
                brig.wait().ok();
                return false;
            };
            tell(&brig, signal);
            brig.wait().code(code).says("was asked to stop");
            assert!(wait_until(PATIENCE, || !machine::is_alive(child)), "{child}");
            true
        });
        assert!(stopped, "no child could be stopped in time");
    }
    assert_eq!(c.status(), "running");
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn try_hears_that_it_is_to_stop_while_its_program_does_not_come_to_run() {
    need!(Brig);
    let lab = Lab::new();
    // It is stopped where it loads its filter, the last thing before it becomes the program.
    let inject = ["-e", "trace=seccomp", "-e", "inject=seccomp:signal=STOP"];
    let strace = ["strace", "-DD", "-f", "-qqq", "-o", "/dev/null"].into_iter().chain(inject);
    let brig = lab.runtime().args(["try", "--quiet", "--", "/bin/true"]).under(strace).spawn();
    let status = || lab.runtime().args(["list", "--format", "json"]).go().ok().stdout();
    let is_let_go = wait_until(PATIENCE, || status().contains("\"running\""));
    assert!(is_let_go, "{}", status());
    tell(&brig, Signal::SIGTERM);
    brig.wait().code(143).says("asked to stop");
    lab.assert_clean();
}

/// A server that listens at `path` and never accepts; its queue is full.
fn server_that_does_not_accept(path: &Path) -> Vec<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let endpoint = || socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let address = SocketAddrUnix::new(path).expect("a short path");
    let server = endpoint().expect("socket");
    bind(&server, &address).expect("bind");
    listen(&server, 0).expect("listen");
    let mut held = vec![server];
    loop {
        let client = endpoint().expect("socket");
        match connect(&client, &address) {
            Ok(()) => held.push(client),
            Err(error) => {
                assert_eq!(error, rustix::io::Errno::AGAIN);
                return held;
            }
        }
    }
}

#[test]
fn a_start_that_waits_for_a_create_sees_what_was_made() {
    need!(Brig); // runc does not wait
    let lab = Lab::new();
    let path = lab.path("server");
    let server = server_that_does_not_accept(&path);
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]});
    let c = lab.container(lab.bundle().set("/linux/seccomp", filter).idle());
    let create = c.create_call(&[]).spawn();
    c.wait_status("creating");
    let start = c.call("start", [""; 0]).spawn();
    let lock = lab.root().join(c.id()).join("lock");
    let waits = || machine::descriptors(start.pid()).contains(&lock);
    assert!(wait_until(PATIENCE, waits), "{}", start.stderr());
    // It has read the record, in which there is no process yet. Now there is room in the queue.
    while accept(&server[0]).is_ok() {}
    create.wait().ok();
    start.wait().ok();
    assert_eq!(c.status(), "running");
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn a_hook_that_waits_for_ever_ends_when_brig_is_to_stop() {
    need!(Brig);
    let lab = Lab::new();
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"];
    // Each signal at one kind of hook at least.
    for (kind, (signal, code)) in kinds.into_iter().zip(ASKING_TO_STOP.into_iter().cycle()) {
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo $$; exec sleep 1000"]}]);
        let bundle = lab.bundle().idle().set(&format!("/hooks/{kind}"), hook);
        let c = lab.container(bundle);
        let brig = c.run_call(&[]).spawn();
        let hook = || machine::descendants(brig.pid()).into_iter().find(|p| p.name == "sleep");
        assert!(wait_until(PATIENCE, || hook().is_some()), "{kind}: {}", brig.stderr());
        tell(&brig, signal);
        brig.wait().code(code).says("asked to stop");
        assert_eq!(c.status(), "gone", "{kind}");
        lab.assert_clean();
    }
}

#[test]
fn brig_hears_that_it_is_to_stop_while_the_container_freezes_its_process() {
    need!(Brig, CgroupV1); // on v2 who is frozen can be killed
    let lab = Lab::new();
    let c = idle(&lab);
    let state = c.cgroup("freezer").join("freezer.state");
    let group = c.cgroup("freezer").file_name().expect("a name").to_string_lossy().into_owned();
    // What root of a container with cgroups to write can do as soon as there is a process.
    let frozen = wait_until(PATIENCE, || {
        let brig = c.exec_call(&[], &["/bin/true"]).spawn();
        let is_inside = |child: &i32| {
            let groups = fs::read_to_string(format!("/proc/{child}/cgroup"));
            groups.is_ok_and(|groups| groups.lines().any(|line| line.ends_with(&group)))
        };
        let child = loop {
            let child =
                children_of_thread(brig.pid()).unwrap_or_default().into_iter().find(is_inside);
            if child.is_some() || !machine::is_alive(brig.pid()) {
                break child;
            }
        };
        fs::write(&state, "FROZEN").expect("the freezer");
        // In the freezer it can no longer die, nor become the program.
        let is_frozen = |child: &i32| {
            let stands = || machine::process(*child).is_none_or(|process| process.state == 'D');
            wait_until(PATIENCE, stands);
            machine::process(*child).is_some_and(|p| p.state == 'D' && p.name.starts_with("brig"))
        };
        let Some(child) = child.filter(is_frozen) else {
            fs::write(&state, "THAWED").expect("the freezer");
            brig.wait();
            return false;
        };
        tell(&brig, Signal::SIGTERM);
        brig.wait().code(143).says("was asked to stop").says("frozen");
        fs::write(&state, "THAWED").expect("the freezer");
        assert!(wait_until(PATIENCE, || !machine::is_alive(child)), "{child}");
        true
    });
    assert!(frozen, "no child could be frozen in time");
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn brig_hears_that_it_is_to_stop_while_another_process_keeps_its_ones_end_for_itself() {
    need!(Brig); // runc hangs as well
    let lab = Lab::new();
    let c = lab.container(lab.bundle().without_namespace("pid").idle());
    c.run_detached();
    let brig = c.exec_call(&[], &["/bin/sleep", "1000"]).spawn();
    let sleeps = || {
        children(brig.pid())
            .into_iter()
            .find(|&pid| machine::process(pid).is_some_and(|process| process.name == "sleep"))
    };
    assert!(wait_until(PATIENCE, || sleeps().is_some()));
    let child = sleeps().expect("it sleeps");
    let tracee = Pid::from_raw(child);
    ptrace::seize(tracee, ptrace::Options::empty()).expect("to trace it");
    end(child);
    let is_dead = || machine::process(child).is_some_and(|process| process.state == 'Z');
    assert!(wait_until(PATIENCE, is_dead));
    tell(&brig, Signal::SIGTERM);
    brig.wait().code(143).says("traces it");
    // Or whoever collects orphans has been faster.
    let told = waitpid(tracee, None);
    assert!(matches!(told, Ok(_) | Err(Errno::ECHILD)), "{told:?}");
    assert_eq!(c.status(), "running");
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn a_poststop_hook_that_waits_for_ever_ends_when_brig_is_to_stop() {
    need!(Brig); // runc ends, and leaves the hook
    let lab = Lab::new();
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exec sleep 1000"]}]);
    let c = lab.container(lab.bundle().args(["/bin/true"]).set("/hooks/poststop", hook));
    for (signal, _) in ASKING_TO_STOP {
        let brig = c.run_call(&[]).spawn();
        wait_for_hook(brig.pid());
        tell(&brig, signal);
        // The program has ended well, and the container is gone.
        brig.wait().ok().says("asked to stop");
        assert_eq!(c.status(), "gone");
        lab.assert_clean();
    }
}

/// Where brig does not wait for the program it waits for hooks all the same.
#[test]
fn a_hook_ends_with_the_create_or_start_that_is_to_stop() {
    need!(Brig); // runc's outlives it
    let lab = Lab::new();
    for (kind, verb) in [
        ("createRuntime", "create"),
        ("createContainer", "create"),
        ("poststart", "start"),
        ("poststart", "run"),
    ] {
        let hook = json!([{"path": "/bin/sleep", "args": ["sleep", "1000"]}]);
        let c = lab.container(lab.bundle().idle().set(&format!("/hooks/{kind}"), hook));
        let brig = match verb {
            "create" => c.create_call(&[]).spawn(),
            "run" => c.run_call(&["--detach"]).spawn(),
            _ => {
                c.create().ok();
                c.call("start", [""; 0]).spawn()
            }
        };
        let hook = wait_for_hook(brig.pid());
        tell(&brig, Signal::SIGTERM);
        brig.wait().code(143).says("asked to stop");
        assert!(wait_until(PATIENCE, || !machine::is_alive(hook)), "{kind} of {verb} lives on");
        // As where a hook fails.
        c.wait_status("gone");
        lab.assert_clean();
    }
}

/// A bundle with a hook that outlives its timeout; the first process sees nobody's end but its own children's.
fn with_slow_hook(lab: &Lab, kind: &str) -> Bundle {
    let hook = json!([{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 3}]);
    lab.bundle().idle().without_namespace("pid").set(&format!("/hooks/{kind}"), hook)
}

/// Waits for a hook that sleeps below this process.
#[track_caller]
fn wait_for_hook(above: i32) -> i32 {
    let hook = || machine::descendants(above).into_iter().find(|process| process.name == "sleep");
    assert!(wait_until(PATIENCE, || hook().is_some()), "no hook below {above}");
    hook().map_or(0, |process| process.pid)
}

#[test]
fn a_hook_whose_end_another_process_keeps_for_itself_is_given_up() {
    need!(Brig); // runc waits for ever
    let lab = Lab::new();
    let of_start = lab.container(with_slow_hook(&lab, "startContainer"));
    let of_create = lab.container(with_slow_hook(&lab, "createRuntime"));
    of_start.create().ok();
    let (start, create) = (of_start.call::<&str>("start", []), of_create.create_call(&[]));
    let (start, create) = (start.spawn(), create.spawn());
    let hooks = [of_start.pid(), create.pid()].map(|above| Pid::from_raw(wait_for_hook(above)));
    for hook in hooks {
        ptrace::seize(hook, ptrace::Options::empty()).expect("to trace it");
    }
    start.wait().failed().says("exit status not available").says("traced");
    create.wait().failed().says("timed out after 3 s").says("traced");
    for hook in hooks {
        // Or whoever collects orphans has been faster.
        let told = waitpid(hook, None);
        assert!(matches!(told, Ok(_) | Err(Errno::ECHILD)), "{told:?}");
    }
    of_start.delete_force().ok();
    assert_eq!(of_create.status(), "gone");
    lab.assert_clean();
}

#[test]
fn a_hook_that_is_frozen_past_its_timeout_is_given_up() {
    need!(Brig, CgroupV1); // on v2 who is frozen can be killed
    let lab = Lab::new();
    let c = lab.container(with_slow_hook(&lab, "startContainer"));
    let run = c.run_call(&[]).spawn();
    let hook = wait_for_hook(run.pid());
    let below = c.cgroup("freezer").join("below");
    fs::create_dir(&below).expect("the freezer");
    fs::write(below.join("cgroup.procs"), hook.to_string()).expect("the freezer");
    fs::write(below.join("freezer.state"), "FROZEN").expect("the freezer");
    run.wait().failed().says("exit status not available").says("frozen");
    assert!(!machine::is_alive(hook), "{hook}");
    assert_eq!(c.status(), "gone");
    lab.assert_clean();
}

fn idle<'l>(lab: &'l Lab) -> Container<'l> {
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    c
}

#[test]
fn no_descriptor_of_brigs_own_is_taken_for_one_to_preserve() {
    let lab = Lab::new();
    let c = idle(&lab);
    let closed = ["sh", "-c", "exec \"$@\" 3<&-", "sh"];
    let exec = || c.exec_call(&["--preserve-fds", "1"], &["/bin/true"]);
    exec().under(closed).go().failed();
    exec().under(["sh", "-c", "exec \"$@\" 3</dev/null", "sh"]).go().ok();
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn create_into_a_joined_pid_namespace_records_the_containers_process() {
    need!(Brig); // runc's process is its intermediate's child, and told differently
    let lab = Lab::new();
    let other = idle(&lab);
    let path = format!("/proc/{}/ns/pid", other.pid());
    is_the_containers_own(&lab, lab.bundle().idle().namespace("pid", Some(&path)));
    other.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn create_with_a_user_namespace_records_the_containers_process() {
    need!(Brig);
    let lab = Lab::new();
    is_the_containers_own(&lab, lab.bundle().idle().user_namespace(100_000));
    lab.assert_clean();
}

#[test]
fn create_with_a_time_namespace_records_the_containers_process() {
    need!(Brig);
    let lab = Lab::new();
    is_the_containers_own(&lab, lab.bundle().idle().namespace("time", None));
    lab.assert_clean();
}

#[test]
fn exec_names_its_own_process() {
    need!(Brig);
    let lab = Lab::new();
    let c = idle(&lab);
    for slow in BOTH.repeat(rounds() as usize) {
        let file = lab.path("pid");
        let exec = c.exec_call(
            &["--detach", "--pid-file", &file.to_string_lossy()],
            &["/bin/sleep", "1000"],
        );
        with_slow(slow, exec).go().ok();
        let pid = fs::read_to_string(&file).expect("the pid file").parse().expect("a pid");
        let name = machine::process(pid).map(|process| process.name);
        assert_eq!(name.as_deref(), Some("sleep"), "{slow:?}");
        with_slow(slow, c.exec_call(&[], &["/bin/sh", "-c", "exit 7"])).go().code(7);
    }
    c.delete_force().ok();
    lab.assert_clean();
}

/// Freezes or thaws a cgroup, whose path is that of the hierarchy that can.
fn set_frozen(dir: &Path, frozen: bool) {
    let (file, value) = match (dir.join("freezer.state").exists(), frozen) {
        (true, true) => ("freezer.state", "FROZEN"),
        (true, false) => ("freezer.state", "THAWED"),
        (false, true) => ("cgroup.freeze", "1"),
        (false, false) => ("cgroup.freeze", "0"),
    };
    fs::write(dir.join(file), value).expect("freeze or thaw");
}

/// The pod's cgroup is frozen: before a container of it is made, while it waits to be started, and while another process
/// is to run in it.
#[test]
fn a_frozen_cgroup_is_told_and_waited_for_by_nobody() {
    need!(Brig);
    let lab = Lab::new();
    let bundle = lab.bundle().idle();
    let pod = format!("{}-pod", bundle.cgroup());
    let dir = machine::cgroup_dir("freezer", &pod);
    fs::create_dir_all(&dir).expect("make the pod's cgroup");
    let limit = Duration::from_secs(60);
    let c = lab.container(bundle.set("/linux/cgroupsPath", format!("{pod}/one")));
    // On v1 no signal ends a frozen process, which takes brig twenty seconds more to say.
    if !dir.join("freezer.state").exists() {
        set_frozen(&dir, true);
        let refused = c.create_call(&[]).limit(limit).go().failed();
        refused.says("is frozen").says(&format!("{pod}/one"));
        c.call("state", [""; 0]).go().failed().says("does not exist");
        set_frozen(&dir, false);
    }
    c.create().ok();
    set_frozen(&dir, true);
    c.call("start", [""; 0]).limit(limit).go().failed().says("is frozen");
    set_frozen(&dir, false);
    c.wait_status("running");
    set_frozen(&dir, true);
    c.exec_call(&[], &["/bin/true"]).limit(limit).go().failed().says("is frozen");
    set_frozen(&dir, false);
    c.exec(&["/bin/true"]).ok();
    c.delete_force().ok();
    for dir in machine::cgroups_named(&pod[1..]) {
        fs::remove_dir(dir).expect("remove the pod's cgroup");
    }
    lab.assert_clean();
}
