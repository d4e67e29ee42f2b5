//! The node's policy on whom of the host a container calls: programs of hooks, and who listens to its filter.

use brig_integration::{Lab, PATIENCE, json, need, wait_until};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const FILE: &str = "/etc/brig/policy.toml";

fn rule(text: &str) {
    fs::create_dir_all("/etc/brig").expect("make a directory");
    let text = format!("version = 1\ndefault = \"it\"\n[profile.it]\n{text}\n");
    fs::write(FILE, text).expect("write a policy");
    fs::set_permissions(FILE, fs::Permissions::from_mode(0o644)).expect("its mode");
}

/// The node allows this program as it is now.
fn allow(lab: &Lab, program: &Path, more: &str) {
    let sum = lab.call("sha256sum").arg(program).go().ok().stdout();
    let digest = sum.split_whitespace().next().expect("a digest").to_uppercase();
    rule(&format!(
        "hooks = {{ mode = \"refuse\", seconds = 1, engines = [], allow = [{{ path = {program:?}, sha256 = {digest:?}{more} }}] }}"
    ));
}

fn script(lab: &Lab, name: &str, text: &str) -> PathBuf {
    let path = lab.path(name);
    write(&path, text);
    path
}

fn write(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
}

#[test]
fn a_hook_is_a_program_that_the_node_lists() {
    need!(Brig);
    let lab = Lab::new();
    let out = lab.path("made");
    let tell = format!(
        "{{ pwd; echo \"[$LD_PRELOAD]\"; grep NoNewPrivs: /proc/self/status; grep -o '\"status\":\"[a-z]*\"'; }} > {} 2>&1",
        out.display()
    );
    let program = script(&lab, "program", &tell);
    allow(&lab, &program, "");
    let hooked = |stage: &str, path: &Path| {
        let hook = json!([{"path": path, "env": ["LD_PRELOAD=/x"]}]);
        lab.container(lab.bundle().set("/hooks", json!({stage: hook})).sh("true"))
    };
    let told = || {
        let told = fs::read_to_string(&out).unwrap_or_default();
        drop(fs::remove_file(&out));
        told
    };
    let link = lab.path("link");
    symlink(&program, &link).expect("link");
    for (stage, status) in [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ] {
        for path in [&program, &link] {
            hooked(stage, path).run().ok();
            let expected = format!("/\n[]\nNoNewPrivs:\t1\n\"status\":\"{status}\"\n");
            assert_eq!(told(), expected, "{stage}");
        }
    }
    for stage in ["createContainer", "startContainer"] {
        hooked(stage, &program)
            .run()
            .failed()
            .says("in the container, is refused by the rule hooks");
    }
    let refused = |words: &str| {
        hooked("prestart", &program).run().failed().says(words).says("rule hooks");
        assert_eq!(told(), "");
    };
    let other = script(&lab, "other", &tell);
    hooked("prestart", &other).run().failed().says("other").says(" is refused by the rule hooks");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o775)).expect("its mode");
    refused("which others than its owner may write,");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    chown(&program, Some(1000), None).expect("its owner");
    refused("of user 1000, SHA-256");
    allow(&lab, &program, ", owner = 1000");
    hooked("prestart", &program).run().ok();
    assert_ne!(told(), "");
    fs::write(&program, "#!/bin/sh\nexit 0\n").expect("write");
    refused("of user 1000, SHA-256");
    let slow = script(&lab, "slow", "exec sleep 100");
    allow(&lab, &slow, "");
    hooked("prestart", &slow).run().failed().says("timed out after 1 s");
    // Not only scripts.
    let binary = lab.path("touch");
    fs::copy("/usr/bin/touch", &binary).expect("copy");
    allow(&lab, &binary, "");
    let hook = json!([{"path": binary, "args": ["touch", out]}]);
    lab.container(lab.bundle().set("/hooks", json!({"prestart": hook})).sh("true")).run().ok();
    assert!(out.exists());
    lab.assert_clean();
}

/// What is not what the engine calls its program with: an argument less, or more, or one that is no id.
fn other_words() -> Vec<Vec<&'static str>> {
    let words = ["", "--data-root=/tmp/x", "../it", "-x", "/it", "it it"];
    let mut all = Vec::from(words.map(|word| vec!["engine", "connect", word]));
    all.push(vec!["engine", "connect"]);
    all.push(vec!["engine", "run", "connect", "it"]);
    all.push(vec!["engine", "connect", "it", "it"]);
    all
}

/// An engine's program is known by its place, which only root can have put it to, and by what it is called with.
#[test]
fn a_hook_is_an_engines_program_at_its_place() {
    need!(Brig);
    let lab = Lab::new();
    let (out, directory) = (lab.path("made"), lab.path("bin"));
    fs::create_dir(&directory).expect("make a directory");
    let program = directory.join("engine");
    let tell = format!("{{ echo \"$0 $*\"; echo \"$PATH [$LD_PRELOAD]\"; }} >{}", out.display());
    write(&program, &tell);
    rule(&format!(
        "hooks = {{ mode = \"refuse\", seconds = 9, allow = [], engines = [{{ path = {program:?}, args = [\"engine\", \"connect\", \"*\"] }}] }}"
    ));
    let hooked = |path: &Path, args: &[&str]| {
        let env = ["PATH=/tmp", "LD_PRELOAD=/x"];
        let hook = json!([{"path": path, "args": args, "env": env}]);
        lab.container(lab.bundle().set("/hooks", json!({"prestart": hook})).sh("true")).run()
    };
    let told = || {
        let told = fs::read_to_string(&out).unwrap_or_default();
        drop(fs::remove_file(&out));
        told
    };
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let link = lab.path("link");
    symlink(&program, &link).expect("link");
    for way in [&program, &link] {
        hooked(way, &["engine", "connect", "it"]).ok();
        let told = told();
        assert!(told.ends_with(&format!(" connect it\n{path} []\n")), "{told}");
    }
    let refused = |path: &Path, args: &[&str]| {
        hooked(path, args).failed().says("is refused by the rule hooks");
        assert_eq!(told(), "", "{path:?} {args:?}");
    };
    let good = ["engine", "connect", "c0ffee_1"];
    hooked(&program, &good).ok();
    assert_ne!(told(), "");
    refused(&program, &["engine", "other"]);
    refused(&program, &[]);
    for args in other_words() {
        refused(&program, &args);
    }
    // The same elsewhere; and what another mount namespace has at that place, which the kernel calls by the same path.
    let copy = script(&lab, "engine", &tell);
    refused(&copy, &good);
    let decoy = format!(
        "mount -t tmpfs x {0} && cp {1} {0}/engine && echo there && exec sleep 100",
        directory.display(),
        copy.display()
    );
    let mut other = lab.call("unshare").args(["-m", "sh", "-c", &decoy]).spawn();
    assert!(wait_until(PATIENCE, || other.stdout() == "there\n"), "{}", other.stderr());
    let seen = PathBuf::from(format!("/proc/{}/root{}", other.pid(), program.display()));
    refused(&seen, &good);
    other.kill();
    other.wait();
    for (what, mode, owner) in [
        (&program, 0o775, 0),
        (&directory, 0o777, 0),
        (&program, 0o755, 1000),
        (&directory, 0o755, 1000),
    ] {
        fs::set_permissions(what, fs::Permissions::from_mode(mode)).expect("its mode");
        chown(what, Some(owner), None).expect("its owner");
        refused(&program, &good);
        fs::set_permissions(what, fs::Permissions::from_mode(0o755)).expect("its mode");
        chown(what, Some(0), None).expect("its owner");
    }
    hooked(&program, &good).ok();
}

/// Later verbs judge anew what they run.
#[test]
fn a_hook_that_has_become_another_program_does_not_run() {
    need!(Brig);
    let lab = Lab::new();
    let out = lab.path("made");
    let program = script(&lab, "program", "true");
    allow(&lab, &program, "");
    let hook = json!([{"path": program}]);
    let both = json!({"poststop": hook});
    let c = lab.container(lab.bundle().set("/hooks", both).idle());
    c.create().ok();
    write(&program, &format!("touch {}", out.display()));
    c.delete_force().ok().says("is refused by the rule hooks");
    assert!(!out.exists());
    write(&program, "true");
    allow(&lab, &program, "");
    let c = lab.container(lab.bundle().set("/hooks", json!({"poststart": hook})).idle());
    c.create().ok();
    write(&program, &format!("touch {}", out.display()));
    c.start().failed().says("is refused by the rule hooks");
    assert!(!out.exists());
    c.delete_force().ok();
}

#[test]
fn a_hook_that_is_exchanged_meanwhile_is_the_one_that_was_judged() {
    need!(Brig);
    let lab = Lab::new();
    let [good, bad] = ["good", "bad"].map(|name| lab.path(name));
    let program = script(&lab, "program", &format!("touch {}", good.display()));
    let other = script(&lab, "other", &format!("touch {}", bad.display()));
    allow(&lab, &program, "");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, &program, CWD, &other, RenameFlags::EXCHANGE).expect("exchange");
            }
        });
        for _ in 0..15 {
            let hook = json!([{"path": program}]);
            let bundle = lab.bundle().set("/hooks", json!({"prestart": hook}));
            let _either = lab.container(bundle.sh("true")).run();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(good.exists(), "it never ran");
    assert!(!bad.exists(), "what nobody has listed ran");
}

#[test]
fn a_listener_is_a_socket_that_the_node_lists() {
    need!(Brig);
    let lab = Lab::new();
    let [listed, other, link] = ["listed", "other", "link"].map(|name| lab.path(name));
    let _listening = [&listed, &other].map(|path| UnixListener::bind(path).expect("bind"));
    symlink(&listed, &link).expect("link");
    rule(&format!("seccomp_listener = {{ mode = \"refuse\", allow = [{listed:?}] }}"));
    let run = |path: &Path| {
        let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "syscalls": [
            {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]});
        lab.container(lab.bundle().set("/linux/seccomp", filter).sh("true")).run()
    };
    run(&listed).ok();
    run(&link).ok();
    run(&other)
        .failed()
        .says("linux.seccomp.listenerPath: the socket")
        .says("rule seccomp_listener");
    fs::remove_file(&link).expect("remove");
    symlink(&other, &link).expect("link");
    run(&link).failed().says("rule seccomp_listener");
    rule("seccomp_listener = { mode = \"audit\", allow = [] }");
    run(&other).ok();
    lab.assert_clean();
}
