//! Processes of a container that watch brig's own: they neither write its program nor take it over.
//! CVE-2019-5736 and CVE-2016-9962 are the classes.

use brig_integration::command::{Call, Running};
use brig_integration::{
    Bundle, Container, Lab, PATIENCE, binaries, json, machine, need, wait_until,
};
use nix::mount::{MsFlags, mount};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

const NONE: Option<&str> = None;

/// A copy of brig on a mount of its own.
fn installed(lab: &Lab, kind: &str) -> PathBuf {
    let dir = lab.path("bin");
    fs::create_dir(&dir).expect("make a directory");
    match kind {
        "bind" => mount(Some(&dir), &dir, NONE, MsFlags::MS_BIND, NONE).expect("bind"),
        _ => mount(NONE, &dir, Some("tmpfs"), MsFlags::empty(), NONE).expect("mount"),
    }
    let brig = dir.join("brig");
    fs::copy(binaries::runtime(), &brig).expect("copy");
    brig
}

/// Changes the mount, or its file system, below which `brig` is.
fn remount(brig: &Path, kind: &str, flags: MsFlags) {
    let dir = brig.parent().expect("a directory");
    let bind = if kind == "bind" { MsFlags::MS_BIND } else { MsFlags::empty() };
    mount(NONE, dir, NONE, MsFlags::MS_REMOUNT | bind | flags, NONE).expect("remount");
}

/// What runs until it is told to end.
const UNTIL_TOLD: &str = "touch /runs; while [ ! -e /end ]; do sleep 0.05; done";

fn until_told(lab: &Lab) -> Container<'_> {
    lab.container(lab.bundle().sh(UNTIL_TOLD))
}

/// `program run` of the container, with the running brig's file held.
fn held(lab: &Lab, program: &Path, c: &Container<'_>) -> (Running, File) {
    held_of(lab.call(program).arg("--root").arg(lab.root()), c)
}

fn held_of(brig: Call, c: &Container<'_>) -> (Running, File) {
    let brig = brig.args(["run", "--bundle"]).arg(&c.bundle.dir).arg(c.id()).spawn();
    assert!(wait_until(PATIENCE, || c.host_path("/runs").exists()), "{}", brig.stderr());
    let exe = File::open(format!("/proc/{}/exe", brig.pid())).expect("open brig's file");
    fs::write(c.host_path("/end"), "").expect("tell it to end");
    (brig, exe)
}

/// Whoever holds brig's file opens it anew, and writes. A sealed copy in memory may be opened.
fn write_again(held: &File) -> std::io::Result<()> {
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    OpenOptions::new().write(true).open(path)?.write_all(b"X")
}

#[test]
fn a_read_only_mount_that_becomes_writable_again_does_not_open_brigs_program() {
    need!(Brig); // others copy themselves
    for kind in ["bind", "file system"] {
        let lab = Lab::new();
        let program = installed(&lab, kind);
        remount(&program, kind, MsFlags::MS_RDONLY);
        let c = until_told(&lab);
        let (brig, exe) = held(&lab, &program, &c);
        brig.wait().ok();
        remount(&program, kind, MsFlags::empty());
        let error = write_again(&exe).expect_err(kind);
        assert_eq!(error.raw_os_error(), Some(nix::errno::Errno::EROFS as i32), "{kind}: {error}");
        let at_path = OpenOptions::new().write(true).open(&program);
        assert!(at_path.is_ok(), "{kind}: the host itself may update it");
        drop(at_path);
        nix::mount::umount(program.parent().expect("a directory")).expect("unmount");
        lab.assert_clean();
    }
}

#[test]
fn a_detached_mount_that_can_be_written_is_not_taken_for_brigs_own() {
    need!(Brig);
    let lab = Lab::new();
    let program = installed(&lab, "bind");
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let detached = open_tree(rustix::fs::CWD, &program, flags).expect("open_tree");
    let c = until_told(&lab);
    let (brig, exe) =
        held(&lab, &PathBuf::from(format!("/proc/self/fd/{}", detached.as_raw_fd())), &c);
    drop(detached);
    brig.wait().ok();
    write_again(&exe).expect_err("it can be written");
    nix::mount::umount(program.parent().expect("a directory")).expect("unmount");
    lab.assert_clean();
}

const USER: u32 = 12345;

/// One that sees the host's processes, and may trace what is its own.
fn rootless_with_the_hosts_processes(lab: &Lab, script: &str) -> Bundle {
    let caps = json!(["CAP_SYS_PTRACE", "CAP_KILL", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"]);
    ["bounding", "effective", "permitted"]
        .iter()
        .fold(lab.plain_bundle().of_ordinary_user(USER, 1), |b, set| b.set(&format!("/process/capabilities/{set}"), caps.clone()))
        .without_namespace("pid")
        .unset("/linux/maskedPaths")
        .unset("/linux/readonlyPaths")
        .edit(|spec| {
            let mounts = spec["mounts"].as_array_mut().expect("mounts");
            let proc = mounts.iter_mut().find(|mount| mount["destination"] == "/proc");
            *proc.expect("/proc") =
                json!({"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"]});
        })
        .sh(script)
}

/// As an ordinary user, with a copy of brig that this user can execute.
fn as_user(lab: &Lab, wrapper: &[&str]) -> Call {
    let brig = lab.dir().join("runtime");
    if !brig.exists() {
        fs::copy(binaries::runtime(), &brig).expect("copy");
        give_to_user(lab);
    }
    as_user_with(lab, &brig, wrapper)
}

fn give_to_user(lab: &Lab) {
    lab.call("chown").args(["-R", &format!("{USER}:{USER}")]).arg(lab.dir()).go().ok();
}

fn as_user_with(lab: &Lab, brig: &Path, wrapper: &[&str]) -> Call {
    let id = USER.to_string();
    let call = lab.call("setpriv").args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    let call = call.args(["--inh-caps=-all", "--bounding-set=-all"]).args(wrapper);
    call.env("XDG_RUNTIME_DIR", lab.dir()).arg(brig).arg("--root").arg(lab.root())
}

/// CVE-2016-9962: what enters a container can be traced from there, and then holds what it has of the host.
#[test]
fn exec_of_an_ordinary_user_is_hidden_from_the_container_from_the_first_namespace_on() {
    need!(Brig); // runc 1.1 hides later, too
    let lab = Lab::new();
    // Whose program can be seen can be traced: the kernel asks the same (ptrace(2), "Ptrace access mode").
    let watch = "touch /runs; while [ ! -e /end ]; do for p in /proc/[0-9]*; do \
        e=$(readlink $p/exe) || continue; \
        [ \"$e\" = /bin/busybox ] || echo \"$p $e $(ls $p/fd)\" >>/found; done; done 2>/dev/null";
    let c = lab.container(rootless_with_the_hosts_processes(&lab, watch));
    let call = as_user(&lab, &[]).args(["run", "--detach", "--bundle"]).arg(&c.bundle.dir);
    call.arg(c.id()).go().ok();
    assert!(wait_until(PATIENCE, || c.host_path("/runs").exists()));
    let slow = [
        "strace",
        "-DD",
        "-f",
        "-qqq",
        "-o",
        "/dev/null",
        "-e",
        "trace=setns,clone3,setresuid,setresgid",
        "-e",
        "inject=setns,clone3,setresuid,setresgid:delay_exit=400000",
    ];
    as_user(&lab, &slow).args(["exec", c.id(), "/bin/true"]).go().ok();
    let found = fs::read_to_string(c.host_path("/found")).unwrap_or_default();
    fs::write(c.host_path("/end"), "").expect("tell it to end");
    as_user(&lab, &[]).args(["delete", "--force", c.id()]).go().ok();
    assert_eq!(found, "", "seen from inside");
    lab.assert_clean();
}

/// It has not loaded its filter yet, and would run what they make of it without one.
#[test]
fn what_is_executed_in_a_created_container_of_an_ordinary_user_cannot_trace_its_first_process() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.plain_bundle().of_ordinary_user(USER, 1).sh("touch /ran"));
    as_user(&lab, &[]).args(["create", "--bundle"]).arg(&c.bundle.dir).arg(c.id()).go().ok();
    let script = "if (: 3<>/proc/1/mem); then echo its memory is open; fi; ls /proc/1/fd";
    let seen = as_user(&lab, &[]).args(["exec", c.id(), "/bin/sh", "-c", script]).go();
    as_user(&lab, &[]).args(["start", c.id()]).go().ok();
    assert!(wait_until(PATIENCE, || c.host_path("/ran").exists()), "it starts all the same");
    as_user(&lab, &[]).args(["delete", "--force", c.id()]).go().ok();
    assert_eq!(seen.failed().prints("").stdout(), "");
    lab.assert_clean();
}

/// A file of root's whose mode allows others to write it is no safer for lying on a read-only mount.
#[test]
fn an_ordinary_users_brig_that_only_a_read_only_mount_protects_runs_from_a_copy() {
    need!(Brig);
    for kind in ["bind", "file system"] {
        let lab = Lab::new();
        let c = lab.container(lab.plain_bundle().of_ordinary_user(USER, 1).sh(UNTIL_TOLD));
        give_to_user(&lab);
        let program = installed(&lab, kind);
        lab.call("chmod").arg("0777").arg(&program).go().ok();
        remount(&program, kind, MsFlags::MS_RDONLY);
        let (brig, exe) = held_of(as_user_with(&lab, &program, &[]), &c);
        brig.wait().ok();
        remount(&program, kind, MsFlags::empty());
        write_again(&exe).expect_err(kind);
        let (now, then) = (fs::read(&program), fs::read(binaries::runtime()));
        assert!(now.expect("read") == then.expect("read"), "{kind}: brig's program was written");
        nix::mount::umount(program.parent().expect("a directory")).expect("unmount");
        lab.assert_clean();
    }
}

/// Without a cgroup and a pid namespace of its own: one process, and one that it has left behind.
fn scattered<'l>(lab: &'l Lab, script: &str) -> Container<'l> {
    lab.container(rootless_with_the_hosts_processes(lab, &format!("sleep 2222 & {script}")))
}

/// The pids of what `scattered` runs: they are this test's, as it adopts orphans.
fn sleepers() -> Vec<i32> {
    let sleeps = |pid: i32| {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.starts_with("sleep\0")
    };
    let all = machine::descendants(std::process::id().cast_signed());
    all.iter().map(|process| process.pid).filter(|pid| sleeps(*pid)).collect()
}

#[test]
fn what_no_cgroup_tells_of_a_container_is_killed_with_its_first_process() {
    need!(Brig);
    let lab = Lab::new();
    for verb in [&["kill"][..], &["kill", "--all"], &["delete", "--force"]] {
        let c = scattered(&lab, "sleep 3333");
        give_to_user(&lab);
        let user = |verb: &[&str]| as_user(&lab, &[]).args(verb).arg(c.id());
        let bundle = c.bundle.dir.to_string_lossy().into_owned();
        user(&["run", "--detach", "--bundle", &bundle]).go().ok();
        assert!(wait_until(PATIENCE, || sleepers().len() == 2), "it does not run");
        user(&["kill", "--all"]).arg("TERM").go().failed().says("has no cgroup");
        let call = user(verb);
        if verb[0] == "kill" { call.arg("KILL") } else { call }.go().ok();
        assert!(wait_until(PATIENCE, || sleepers().is_empty()), "{verb:?} leaves {:?}", sleepers());
        user(&["delete", "--force"]).go().ok();
        lab.assert_clean();
    }
}

#[test]
fn what_exec_has_started_is_killed_where_the_first_process_has_ended() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(rootless_with_the_hosts_processes(&lab, "exec tail -f /dev/null"));
    give_to_user(&lab);
    let user = |verb: &[&str]| as_user(&lab, &[]).args(verb).arg(c.id());
    let bundle = c.bundle.dir.to_string_lossy().into_owned();
    user(&["run", "--detach", "--bundle", &bundle]).go().ok();
    let records = || {
        let state = fs::read_dir(lab.root().join(c.id())).expect("read").filter_map(Result::ok);
        let names = state.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("exec-")).count()
    };
    user(&["exec"]).args(["/bin/true"]).go().ok();
    assert_eq!(records(), 0, "it has been waited for");
    user(&["exec", "--detach"]).args(["/bin/true"]).go().ok();
    user(&["exec", "--detach"]).args(["/bin/sh", "-c", "sleep 2222 & exec sleep 3333"]).go().ok();
    assert!(wait_until(PATIENCE, || sleepers().len() == 2), "it does not run");
    assert!((1..=2).contains(&records()), "{}", records());
    user(&["kill"]).arg("TERM").go().ok();
    let stopped = || user(&["state"]).go().stdout().contains("stopped");
    assert!(wait_until(PATIENCE, stopped), "it does not end");
    user(&["delete", "--force"]).go().ok();
    assert!(wait_until(PATIENCE, || sleepers().is_empty()), "left: {:?}", sleepers());
    lab.assert_clean();
}

#[test]
fn a_container_whose_processes_nothing_tells_is_known_as_long_as_one_may_live() {
    need!(Brig);
    let lab = Lab::new();
    let c = scattered(&lab, "exit 0");
    give_to_user(&lab);
    let user = |verb: &[&str]| as_user(&lab, &[]).args(verb).arg(c.id());
    let bundle = c.bundle.dir.to_string_lossy().into_owned();
    user(&["run", "--detach", "--bundle", &bundle]).go().ok();
    let stopped = || user(&["state"]).go().stdout().contains("stopped");
    assert!(wait_until(PATIENCE, stopped), "it does not end");
    for verb in [&["delete"][..], &["delete", "--force"]] {
        user(verb).go().failed().says("still use the root file system");
        user(&["state"]).go().ok();
    }
    for pid in sleepers() {
        lab.call("kill").args(["-KILL", &pid.to_string()]).go().ok();
    }
    assert!(wait_until(PATIENCE, || sleepers().is_empty()), "it is killed");
    user(&["delete"]).go().ok();
    lab.assert_clean();
}
