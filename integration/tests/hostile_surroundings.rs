//! What is around brig is another user's: states that somebody planted, directories on the way to them,
//! the caller's environment. brig acts on what root or its caller wrote, and on nothing else.

use brig_integration::command::Call;
use brig_integration::{Lab, Output, PATIENCE, binaries, json, machine, need, wait_until};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Ordinary users that this machine does not know by name.
const ALICE: &str = "4711";
const MALLORY: &str = "4712";

/// A call of the runtime by `user`, with no environment but a path.
fn runtime_of(lab: &Lab, user: &str) -> Call {
    let copy = lab.dir().join("runtime");
    if !copy.exists() {
        fs::copy(binaries::runtime(), &copy).expect("copy the runtime");
    }
    lab.call("setpriv")
        .args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"])
        .args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"])
        .arg(copy)
}

fn give(lab: &Lab, path: &Path, user: &str) {
    lab.call("chown").args(["-hR", &format!("{user}:{user}")]).arg(path).go().ok();
}

/// A directory that is `user`'s.
fn directory_of(lab: &Lab, user: &str) -> PathBuf {
    let path = lab.path("directory");
    fs::create_dir(&path).expect("make a directory");
    give(lab, &path, user);
    path
}

/// What brig keeps of a container that has ended, in a root of its own; who deletes it runs a hook that
/// writes the file `trace`.
struct Planted {
    root: PathBuf,
    id: String,
    trace: PathBuf,
}

fn planted(lab: &Lab) -> Planted {
    let open = lab.path("open");
    fs::create_dir(&open).expect("make a directory");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("open it to all");
    let trace = open.join("trace");
    let hook =
        json!({"path": "/bin/sh", "args": ["sh", "-c", format!("id -u >{}", trace.display())]});
    let c = lab.container(lab.bundle().args(["/bin/true"]).set("/hooks/poststop", json!([hook])));
    c.run_detached().ok();
    c.wait_status("stopped");
    let root = lab.path("planted");
    fs::create_dir(&root).expect("make a directory");
    lab.call("cp").arg("-a").arg(lab.root().join(c.id())).arg(&root).go().ok();
    c.delete().ok();
    fs::remove_file(&trace).expect("the hook runs when the container is deleted");
    Planted { root, id: c.id().to_owned(), trace }
}

impl Planted {
    /// `caller` deletes the container.
    fn deleted_by(&self, caller: Call) -> Output {
        caller.arg("--root").arg(&self.root).args(["delete", "--force", &self.id]).go()
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert!(!self.trace.exists(), "the hook of a planted state ran");
        assert!(self.root.join(&self.id).join("state.json").exists(), "the state is still there");
    }
}

#[test]
fn another_users_state_is_not_acted_upon() {
    need!(Brig);
    let lab = Lab::new();
    let state = planted(&lab);
    give(&lab, &state.root, MALLORY);
    for caller in [lab.call(binaries::runtime()), runtime_of(&lab, ALICE)] {
        state.deleted_by(caller).failed().says("belongs to user 4712").says("hint:");
        state.assert_untouched();
    }
    // Nor is any other verb.
    for verb in ["state", "start", "kill", "ps"] {
        let call = lab.call(binaries::runtime()).arg("--root").arg(&state.root);
        call.args([verb, &state.id]).go().failed().says("belongs to user 4712");
    }
    let list = lab.call(binaries::runtime()).arg("--root").arg(&state.root).arg("list").go();
    list.failed().says("belongs to user 4712");
}

#[test]
fn another_users_container_in_ones_own_root_is_not_acted_upon() {
    need!(Brig);
    let lab = Lab::new();
    let state = planted(&lab);
    give(&lab, &state.root.join(&state.id), MALLORY);
    state.deleted_by(lab.call(binaries::runtime())).failed().says("belongs to user 4712");
    state.assert_untouched();
}

#[test]
fn a_state_that_others_can_write_is_not_acted_upon() {
    need!(Brig);
    let lab = Lab::new();
    let state = planted(&lab);
    for (path, mode) in [
        (state.root.clone(), 0o777),
        (state.root.clone(), 0o1777),
        (state.root.clone(), 0o770),
        (state.root.join(&state.id), 0o702),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("change the mode");
        let refused = state.deleted_by(lab.call(binaries::runtime())).failed();
        refused.says("can be written by others").says(&format!("{mode:04o}"));
        state.assert_untouched();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("change the mode");
    }
    state.deleted_by(lab.call(binaries::runtime())).ok();
    assert!(state.trace.exists(), "as it is now, the state is trusted");
}

#[test]
fn a_file_of_a_state_is_no_link_and_nobody_elses() {
    need!(Brig);
    let lab = Lab::new();
    for file in ["state.json", "config.json", "process.json", "lock"] {
        // Only hooks stand in the configuration: a container ends without it as well, but for them.
        let refused = |output: Output| match file {
            "config.json" => output.ok(),
            _ => output.failed(),
        };
        let state = planted(&lab);
        let (path, moved) = (state.root.join(&state.id).join(file), lab.path("moved"));
        fs::rename(&path, &moved).expect("move a file");
        symlink(&moved, &path).expect("make a link");
        refused(state.deleted_by(lab.call(binaries::runtime()))).says("is a symbolic link");
        assert!(!state.trace.exists(), "{file}: the hook ran");
        let state = planted(&lab);
        give(&lab, &state.root.join(&state.id).join(file), MALLORY);
        refused(state.deleted_by(lab.call(binaries::runtime()))).says("belongs to user 4712");
        assert!(!state.trace.exists(), "{file}: the hook ran");
    }
}

#[test]
fn another_users_directory_or_link_on_the_way_is_refused() {
    need!(Brig);
    let lab = Lab::new();
    let theirs = directory_of(&lab, MALLORY);
    let state = planted(&lab);
    // The directory itself would be root's; who leads there would be Mallory.
    symlink(&state.root, theirs.join("link")).expect("make a link");
    give(&lab, &theirs, MALLORY);
    let by_link =
        Planted { root: theirs.join("link"), id: state.id.clone(), trace: state.trace.clone() };
    by_link.deleted_by(lab.call(binaries::runtime())).failed().says("belongs to user 4712");
    state.assert_untouched();
    let link = lab.path("link");
    symlink(&state.root, &link).expect("make a link");
    give(&lab, &link, MALLORY);
    let by_link = Planted { root: link, id: state.id.clone(), trace: state.trace.clone() };
    by_link.deleted_by(lab.call(binaries::runtime())).failed().says("belongs to user 4712");
    state.assert_untouched();
    // Nor is anything made there.
    let c = lab.container(lab.bundle().args(["/bin/true"]));
    let call = lab.call(binaries::runtime()).arg("--root").arg(theirs.join("new"));
    let call = call.args(["run", "--bundle"]).arg(&c.bundle.dir).arg(c.id());
    call.go().failed().says("belongs to user 4712");
    assert!(!theirs.join("new").exists(), "nothing is made in another user's directory");
    // A link of root's is no reason: /var/run is one.
    let link = lab.path("link");
    symlink(&state.root, &link).expect("make a link");
    let by_link = Planted { root: link, id: state.id.clone(), trace: state.trace.clone() };
    by_link.deleted_by(lab.call(binaries::runtime())).ok();
    assert!(state.trace.exists() && !state.root.join(&state.id).exists(), "it is deleted");
}

#[test]
fn an_ordinary_user_without_a_run_directory_is_told_so() {
    need!(Brig);
    let lab = Lab::new();
    for arguments in [&["list"][..], &["delete", "web"], &["delete", "--force", "web"]] {
        let told = runtime_of(&lab, ALICE).args(arguments).go().failed();
        told.says("XDG_RUNTIME_DIR is not set").says("--root");
    }
    // What needs no state goes on.
    runtime_of(&lab, ALICE).arg("features").go().ok();
}

#[test]
fn a_run_directory_is_ones_own() {
    need!(Brig);
    let lab = Lab::new();
    let list = |directory: &Path, user: &str| {
        let shell = format!("XDG_RUNTIME_DIR={} exec \"$0\" list", directory.display());
        runtime_of(&lab, user); // makes the copy
        lab.call("setpriv")
            .args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"])
            .args(["sh", "-c", &shell])
            .arg(lab.dir().join("runtime"))
            .go()
    };
    let theirs = directory_of(&lab, MALLORY);
    list(&theirs, MALLORY).ok().says("ID");
    list(&theirs, ALICE).failed().says("belongs to user 4712");
    // A root that is not there has no containers.
    list(&directory_of(&lab, ALICE), ALICE).ok().says("ID");
    let everybodys = directory_of(&lab, ALICE);
    fs::set_permissions(&everybodys, fs::Permissions::from_mode(0o777)).expect("open it to all");
    list(&everybodys, ALICE).failed().says("can be written by others");
    list(Path::new("relative"), ALICE).failed().says("XDG_RUNTIME_DIR is not set");
}

/// Tells of socket activation, and what is open.
const TELLS_SOCKETS: &str = "echo \"${LISTEN_FDS-no} ${LISTEN_PID-no} ${LISTEN_FDNAMES-no}\"; \
    for fd in 3 4 5; do if test -e /proc/$$/fd/$fd; then cat <&$fd; fi; done";

/// Opens the files `fd3` to `fd5` and executes the runtime.
fn with_descriptors(lab: &Lab, environment: &str) -> String {
    for number in 3..6 {
        let path = lab.dir().join(format!("fd{number}"));
        fs::write(path, format!("number {number}\n")).expect("write a file");
    }
    format!("export {environment}; exec \"$@\" 3<{0}/fd3 4<{0}/fd4 5<{0}/fd5", lab.dir().display())
}

#[test]
fn sockets_that_are_another_processes_stay_outside() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh(TELLS_SOCKETS));
    for environment in [
        "LISTEN_FDS=3 LISTEN_PID=$PPID",
        "LISTEN_FDS=3 LISTEN_PID=1 LISTEN_FDNAMES=a:b:c",
        "LISTEN_FDS=3 LISTEN_PID=",
        "LISTEN_FDS=3 LISTEN_PID=0$$",
        "LISTEN_FDS=3",
        "LISTEN_FDS=many",
        "LISTEN_PID=$$",
        "LISTEN_FDS=0 LISTEN_PID=$$",
    ] {
        c.run_from(&with_descriptors(&lab, environment)).ok().prints("no no no");
    }
}

#[test]
fn sockets_that_are_brigs_are_the_programs_and_counted_once() {
    need!(Brig);
    let lab = Lab::new();
    let bundle = lab.bundle().set("/process/env/-", "LISTEN_FDNAMES=old");
    let c = lab.container(bundle.sh(TELLS_SOCKETS));
    let script = with_descriptors(&lab, "LISTEN_FDS=1 LISTEN_PID=$$");
    c.run_from(&script).ok().prints("1 1 no\nnumber 3");
    let named = with_descriptors(&lab, "LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=a:b");
    c.run_from(&named).ok().prints("2 1 a:b\nnumber 3\nnumber 4");
    // What is preserved comes after them, whether said once or twice.
    let call = |preserved: &[&str]| {
        let call = lab.call("/bin/sh").args(["-c", &script, "sh"]).arg(binaries::runtime());
        let call = call.arg("--root").arg(lab.root()).arg("run").args(preserved);
        call.arg("--bundle").arg(&c.bundle.dir).arg(c.id()).go()
    };
    call(&["--preserve-fds", "1"]).ok().prints("1 1 no\nnumber 3\nnumber 4");
    let twice = ["--preserve-fds", "1", "--preserve-fds", "1"];
    call(&twice).ok().prints("1 1 no\nnumber 3\nnumber 4");
    call(&["--preserve-fds", "4294967295"]).failed().says("descriptor 6 is not open");
}

#[test]
fn sockets_that_are_brigs_and_make_no_sense_are_refused() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh(TELLS_SOCKETS));
    for (environment, fault) in [
        ("LISTEN_FDS=many LISTEN_PID=$$", "LISTEN_FDS=many: is not a number"),
        ("LISTEN_FDS=+1 LISTEN_PID=$$", "LISTEN_FDS=+1: is not a number"),
        ("LISTEN_FDS=-1 LISTEN_PID=$$", "LISTEN_FDS=-1: is not a number"),
        ("LISTEN_FDS=4 LISTEN_PID=$$", "LISTEN_FDS: descriptor 6 is not open"),
        ("LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=a:b", "are not the names of 1 sockets"),
    ] {
        c.run_from(&with_descriptors(&lab, environment)).failed().says(fault);
    }
    lab.assert_clean();
}

#[test]
fn exec_and_try_take_no_sockets() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let script = with_descriptors(&lab, "LISTEN_FDS=3 LISTEN_PID=$$");
    let shell = |verb: &[&str]| {
        let call = lab.call("/bin/sh").args(["-c", &script, "sh"]).arg(binaries::runtime());
        call.arg("--root").arg(lab.root()).args(verb).args(["/bin/sh", "-c", TELLS_SOCKETS]).go()
    };
    shell(&["exec", c.id()]).ok().prints("no no no");
    shell(&["try", "--quiet", "--"]).ok().prints("no no no");
    c.delete_force().ok();
    lab.assert_clean();
}

/// What a caller may have brig ignore: bash hands it down.
const IGNORES: &str = "trap '' CHLD HUP INT QUIT TERM USR1 PIPE RTMIN+5";

/// Lists the signals that it ignores.
const LISTS_IGNORED: [&str; 3] = ["/bin/grep", "SigIgn", "/proc/self/status"];
const NONE_IGNORED: &str = "SigIgn:\t0000000000000000";

/// `verb` of the runtime, called by who ignores signals.
fn called_by_the_deaf(lab: &Lab, verb: &[&str]) -> Call {
    let call = lab.call("/bin/bash").args(["-c", &format!("{IGNORES}; exec \"$@\""), "bash"]);
    call.arg(binaries::runtime()).arg("--root").arg(lab.root()).args(verb)
}

#[test]
fn signals_that_the_caller_ignores_are_not_ignored_inside() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().args(LISTS_IGNORED));
    let bundle = c.bundle.dir.to_string_lossy().into_owned();
    called_by_the_deaf(&lab, &["run", "--bundle", &bundle, c.id()]).go().ok().prints(NONE_IGNORED);
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let exec = [&["exec", c.id()][..], &LISTS_IGNORED].concat();
    called_by_the_deaf(&lab, &exec).go().ok().prints(NONE_IGNORED);
    called_by_the_deaf(&lab, &["exec", c.id(), "sh", "-c", "exit 5"]).go().code(5);
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn a_caller_that_ignores_the_ends_of_its_children_hears_of_the_containers() {
    need!(Brig);
    let lab = Lab::new();
    let heard = lab.path("heard");
    let hook = |script: String| json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let bundle = lab
        .bundle()
        .sh("exit 7")
        .set("/hooks/prestart", hook(format!("grep SigIgn /proc/self/status >{}", heard.display())))
        .set("/hooks/startContainer", hook("exec grep SigIgn /proc/self/status >/heard".into()))
        .set("/hooks/poststop", hook("exit 0".into()));
    let c = lab.container(bundle);
    let bundle = c.bundle.dir.to_string_lossy().into_owned();
    called_by_the_deaf(&lab, &["run", "--bundle", &bundle, c.id()]).go().code(7);
    for file in [heard, c.host_path("/heard")] {
        let heard = fs::read_to_string(&file).expect("the hook has run");
        assert_eq!(heard.trim(), NONE_IGNORED, "{}", file.display());
    }
    lab.assert_clean();
}

#[test]
fn an_executed_process_has_the_containers_oom_score_whatever_the_callers_is() {
    need!(Brig); // as runc of today does, and older ones not
    let lab = Lab::new();
    let c = lab.container(lab.bundle().set("/process/oomScoreAdj", 500).idle());
    c.run_detached();
    let file = lab.path("process");
    let score = |more: brig_integration::Value| {
        let mut process = json!({"args": ["cat", "/proc/self/oom_score_adj"], "cwd": "/",
            "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
        for (key, value) in more.as_object().expect("an object") {
            process[key] = value.clone();
        }
        fs::write(&file, process.to_string()).expect("write the process");
        let exec = c.call("exec", ["--process", &file.to_string_lossy()]);
        exec.under(["/bin/sh", "-c", "echo 300 >/proc/$$/oom_score_adj; exec \"$@\"", "sh"])
            .go()
            .ok()
    };
    score(json!({})).prints("500");
    score(json!({"oomScoreAdj": 600})).prints("600");
    c.delete_force().ok();
}

/// Its pids are others: from there nobody can tell whether a container lives, or which process is meant.
#[test]
fn from_another_pid_namespace_nothing_is_done_to_a_container() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    let elsewhere = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let refused = |verb: &str, options: &[&str], rest: &[&str]| {
        let call = c.call(verb, options.iter().copied()).args(rest).under(elsewhere);
        call.go().failed().says("was created in another pid namespace");
    };
    for status in ["created", "running"] {
        if status == "created" {
            c.create().ok();
        } else {
            c.start().ok();
        }
        for verb in ["state", "start", "delete", "pause", "resume", "ps"] {
            refused(verb, &[], &[]);
        }
        refused("delete", &["--force"], &[]);
        refused("kill", &[], &["KILL"]);
        refused("kill", &["--all"], &["KILL"]);
        refused("exec", &[], &["/bin/true"]);
        refused("update", &["--pids-limit", "7"], &[]);
        refused("events", &["--stats"], &[]);
        assert_eq!(c.status(), status);
    }
    let pid = c.pid();
    c.delete_force().ok();
    assert!(!machine::is_alive(pid));
    // The other way round: the host sees the process, under another pid.
    let script = "\"$@\" run --detach --bundle \"$BUNDLE\" \"$ID\" </dev/null >/dev/null 2>&1 && exec sleep 1000";
    let bundle = &c.bundle;
    bundle.write();
    let inside = lab.call("/bin/sh").env("BUNDLE", &bundle.dir).env("ID", c.id());
    let inside =
        inside.args(["-c", script, "sh"]).arg(binaries::runtime()).arg("--root").arg(lab.root());
    let mut inside = inside.under(elsewhere).spawn();
    let record = lab.root().join(c.id()).join("process.json");
    assert!(wait_until(PATIENCE, || fs::read_to_string(&record)
        .is_ok_and(|text| text.contains("namespace"))));
    c.verb("state").failed().says("was created in another pid namespace");
    c.delete_force().failed().says("process.json, and delete it by force");
    inside.kill();
    inside.wait();
    // With its pid namespace the container has ended, which its record does not tell: as the hint says.
    fs::remove_file(record).expect("the record");
    c.delete_force().ok();
    lab.assert_clean();
}
