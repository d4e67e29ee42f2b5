//! The rule `landlock`: what its ruleset, and what goes with it, lets a container do, in every process that brig starts there.

use brig_integration::{Bundle, Lab, POLICY, json, need};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const FILE: &str = "/etc/brig/policy.toml";

fn policy(text: &str) {
    fs::create_dir_all("/etc/brig").expect("make a directory");
    fs::write(FILE, text).expect("write a policy");
    fs::set_permissions(FILE, fs::Permissions::from_mode(0o644)).expect("its mode");
}

/// A node whose one profile has this rule alone.
fn rule(values: &str) {
    policy(&format!("version = 1\ndefault = \"it\"\n[profile.it.landlock]\n{values}\n"));
}

/// The values that restrict nothing.
const NOTHING: &str = "mode = \"enforce\"\nfiles = false\nexec_only_from_image = false\nscopes = []\nsockets = \"any\"\n\
                       tcp_bind = \"any\"\ntcp_connect = \"any\"\nudp_bind = \"any\"\nudp_connect = \"any\"\n";

/// [`NOTHING`], but for this.
fn with(line: &str) -> String {
    let (name, _) = line.split_once(" =").expect("a value");
    let others = NOTHING.lines().filter(|other| !other.starts_with(name));
    others.chain([line]).map(|line| format!("{line}\n")).collect()
}

fn volume(lab: &Lab, name: &str) -> PathBuf {
    let path = lab.path(name);
    fs::create_dir(&path).expect("make a directory");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("its mode");
    path
}

fn read_only(bundle: Bundle) -> Bundle {
    let tmpfs = json!({"destination": "/tmp", "type": "tmpfs", "source": "x"});
    bundle.set("/root/readonly", true).mount(tmpfs)
}

/// Puts a drop-in with the rule alone beside the policy.
fn drop_in(values: &str) {
    let path = "/etc/brig/policy.d/50-landlock.toml";
    fs::create_dir_all("/etc/brig/policy.d").expect("make a directory");
    fs::write(path, format!("version = 1\n[rules.landlock]\n{values}\n")).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("its mode");
}

#[test]
fn a_drop_in_restricts_what_the_profile_does_not_in_every_process() {
    need!(Brig);
    let lab = Lab::new();
    let script = "mount -t tmpfs x /tmp 2>/dev/null && echo mounted; echo > /tmp/x && echo written";
    let run = || {
        let bundle = || read_only(lab.bundle()).caps(&["CAP_SYS_ADMIN"]).unset("/linux/seccomp");
        let first = lab.container(bundle().sh(script)).run().ok().stdout();
        let c = lab.container(bundle().idle());
        c.run_detached().ok();
        let said = c.exec_sh(script).ok().stdout();
        c.delete_force().ok();
        assert_eq!(first, said);
        said
    };
    rule(NOTHING);
    assert_eq!(run(), "mounted\nwritten\n");
    drop_in(&with("files = true"));
    assert_eq!(run(), "written\n");
    // What the profile restricts stays so.
    rule(&with("files = true"));
    drop_in(NOTHING);
    assert_eq!(run(), "written\n");
    lab.assert_clean();
}

/// A descriptor of a directory of the host, as a caller may pass one on, leads past every mount of the container; and
/// whoever may mount can make the root writable.
#[test]
fn files_are_written_in_writable_mounts_alone() {
    need!(Brig);
    let lab = Lab::new();
    let (data, beyond) = (volume(&lab, "data"), volume(&lab, "beyond"));
    let file = lab.path("file");
    fs::write(&file, "").expect("write");
    let script = "touch /tmp/x /data/x /dev/shm/x && mv /data/x /data/y && echo >/dev/null && echo > /file && echo written; \
                  (echo > /proc/self/fd/3/x) 2>/dev/null && echo beyond; mount -o remount,rw / 2>/dev/null && echo remounted; \
                  echo done";
    let bundle = || {
        read_only(lab.bundle())
            .caps(&["CAP_SYS_ADMIN"])
            .unset("/linux/seccomp")
            .bind(&data, "/data", &["rw"])
            .bind(&file, "/file", &["rw"])
            .sh(script)
    };
    let run = |bundle: Bundle| {
        let open = format!("exec \"$@\" 3< {}", beyond.display());
        let c = lab.container(bundle);
        c.run_call(&["--preserve-fds", "1"]).under(["sh", "-c", &open, "sh"]).go().ok().stdout()
    };
    rule(NOTHING);
    assert_eq!(run(bundle()), "written\nbeyond\nremounted\ndone\n");
    rule(&with("files = true"));
    assert_eq!(run(bundle()), "written\ndone\n");
    assert_eq!(run(bundle().set("/process/noNewPrivileges", false)), "written\ndone\n");
    // With a root to write to there is nothing to keep.
    let writable = run(bundle().set("/root/readonly", false));
    assert_eq!(writable, "written\nbeyond\nremounted\ndone\n");
    lab.assert_clean();
}

/// A copy of a program in a directory, by each way to start one.
const PROGRAMS: &str = r#"
cp /usr/bin/true $1/x || exit
$1/x 2>/dev/null && echo execve
/lib64/ld-linux-x86-64.so.2 $1/x 2>/dev/null && echo loader
python3 -c '
import os
fd = os.memfd_create("x", 0x10)
os.write(fd, open("/usr/bin/true", "rb").read())
os.execve(fd, ["x"], {})
' 2>/dev/null && echo memory
python3 -c 'import os; os.memfd_create("x")' && /usr/bin/true && echo usual
"#;

#[test]
fn nothing_is_executed_but_what_is_in_the_image() {
    need!(Brig);
    let lab = Lab::new();
    let data = volume(&lab, "data");
    let bundle = |at: &str| {
        let bundle = read_only(lab.debian()).bind(&data, "/data", &["rbind", "rw", "exec"]);
        bundle.args(["sh", "-c", PROGRAMS, "sh", at])
    };
    rule(NOTHING);
    lab.container(bundle("/tmp")).run().ok().prints("execve\nloader\nmemory\nusual");
    rule(&with("exec_only_from_image = true"));
    for at in ["/tmp", "/data", "/dev/shm", "/dev"] {
        lab.container(bundle(at)).run().ok().prints("usual");
    }
    let again = json!({"destination": "/tmp", "options": ["remount", "exec"]});
    lab.container(bundle("/tmp").mount(again)).run().ok().prints("usual");
    // What is the pid namespace's of others stays as they have it.
    let other = lab.container(lab.bundle().idle());
    rule(NOTHING);
    other.run_detached().ok();
    rule(&with("exec_only_from_image = true"));
    let path = format!("/proc/{}/ns/pid", other.pid());
    lab.container(bundle("/tmp").namespace("pid", Some(&path))).run().ok().prints("memory\nusual");
    other.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn ports_are_those_that_are_listed() {
    need!(Brig);
    let lab = Lab::new();
    let script = "
import socket
def tell(what, do, port):
    s = socket.socket()
    try:
        getattr(s, do)(('127.0.0.1', port)); print(what, port)
    except PermissionError: pass
    except ConnectionRefusedError: print(what, port)
for port in 8080, 8081: tell('bound', 'bind', port); tell('connected', 'connect', port)
";
    let run = || lab.container(lab.debian().args(["python3", "-c", script])).run();
    rule(&with("tcp_bind = [8080]").replace("tcp_connect = \"any\"", "tcp_connect = [8081, 9]"));
    run().ok().prints("bound 8080\nconnected 8081");
    rule(&with("tcp_connect = []"));
    run().ok().prints("bound 8080\nbound 8081");
}

#[test]
fn what_this_kernel_cannot_do_is_refused() {
    need!(Brig);
    let lab = Lab::new();
    let run = || lab.container(lab.bundle().sh("true")).run();
    for (line, what, version, since) in [
        ("udp_bind = [53]", "UDP ports", 10, (7, 2)),
        ("sockets = [\"/run\"]", "sockets", 9, (7, 1)),
    ] {
        rule(&with(line));
        let ran = run();
        if kernel() < since {
            ran.failed()
                .says(&format!("process: no limit of {what} (the kernel has Landlock "))
                .says(&format!("not {version}) is refused by the rule landlock"));
        } else {
            ran.ok();
        }
    }
}

/// The kernel's major and minor version.
fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split('.').filter_map(|number| number.parse().ok());
    numbers.next().zip(numbers.next()).expect("a version")
}

/// `exec` makes the ruleset anew from what is kept of the container; startContainer hooks run under it as the program does.
#[test]
fn every_process_of_the_container_has_the_ruleset() {
    need!(Brig);
    let lab = Lab::new();
    let remount =
        "mount -o remount,rw / 2>/dev/null && echo remounted; touch /tmp/x && echo written";
    let bundle = || read_only(lab.bundle()).caps(&["CAP_SYS_ADMIN"]).unset("/linux/seccomp");
    rule(&with("files = true"));
    let c = lab.container(bundle().idle());
    c.run_detached().ok();
    fs::write(FILE, POLICY).expect("write a policy");
    c.exec_sh(remount).ok().prints("written");
    let all = ["CAP_SYS_ADMIN"];
    let process = json!({"cwd": "/", "args": ["sh", "-c", remount], "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0}, "noNewPrivileges": false,
        "capabilities": {"bounding": all, "permitted": all, "effective": all}});
    let file = lab.path("process.json");
    fs::write(&file, process.to_string()).expect("write");
    c.exec_call(&["--process", &file.to_string_lossy()], &[]).go().ok().prints("written");
    c.delete_force().ok();
    let script = "mount -o remount,rw / && touch /x; exit 0";
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let run = || {
        let bundle = bundle().set("/hooks", json!({"startContainer": hook.clone()}));
        lab.container(bundle.sh("[ -e /x ] && echo made || echo none")).run().ok()
    };
    run().prints("made");
    rule(&with("files = true"));
    run().prints("none");
    lab.assert_clean();
}

/// An ordinary way to work stays possible at the level that has the rule: another process reaches what the first one serves.
#[test]
fn restricted_containers_signal_and_are_reached() {
    need!(Brig);
    let lab = Lab::new();
    let level = |name: &str| policy(&format!("version = 1\ndefault = \"{name}\"\n"));
    level("restricted");
    let serve = "
import socket, os, signal
s = socket.socket(socket.AF_UNIX); s.bind('/tmp/s'); s.listen(); os.mkdir('/tmp/ready')
c, _ = s.accept(); c.send(b'served')
signal.pause()
";
    let user = json!({"uid": 1000, "gid": 1000});
    let bundle = lab.debian().set("/process/user", user).args(["python3", "-c", serve]);
    let c = lab.container(bundle);
    c.run_detached().ok();
    c.wait_until_ok("[ -d /tmp/ready ]");
    let ask = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/tmp/s'); print(s.recv(9).decode())";
    c.exec(&["python3", "-c", ask]).ok().prints("served");
    c.exec_sh("kill -CONT 1").ok();
    c.delete_force().ok();
    // A scope ends at the ruleset, and each process that brig starts has one of its own.
    level("sandbox");
    let c = lab.container(c.bundle.clone());
    c.run_detached().ok();
    c.wait_until_ok("[ -d /tmp/ready ]");
    c.exec_sh("kill -CONT 1 2>/dev/null || echo out of reach").ok().prints("out of reach");
    c.delete_force().ok();
}
