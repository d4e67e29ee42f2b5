//! Root of a user namespace that an ordinary user has made (rootless Podman, `unshare --map-root-user`): user 0 that may
//! write no cgroup and no directory of the host's root.

use brig_integration::command::Call;
use brig_integration::{Bundle, Container, Lab, binaries, json, need};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// Its id outside.
const USER: &str = "12345";

/// A bundle of that user's, which asks for no cgroup, and for no group but its own.
fn bundle(lab: &Lab) -> Bundle {
    let bundle = lab.plain_bundle().unset("/linux/cgroupsPath").unset("/linux/resources");
    bundle.without_namespace("network").edit(|spec| {
        for mount in spec["mounts"].as_array_mut().expect("mounts") {
            if mount["destination"] == "/dev/pts" {
                mount["options"] = json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
            }
            if mount["destination"] == "/sys" {
                let options = ["rbind", "nosuid", "noexec", "nodev", "ro"];
                *mount = json!({"destination": "/sys", "type": "none", "source": "/sys", "options": options});
            }
        }
    })
}

/// One with a user namespace below the caller's.
fn nested(lab: &Lab) -> Bundle {
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let nested = bundle(lab).namespace("user", None);
    nested.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
}

/// `/bin/sh -c script` as root of a new user namespace with the others that `unshare` names: `$1` is the runtime, `$2`
/// the bundle, `$3` the container's id.
fn as_root_inside(lab: &Lab, unshare: &str, runtime: &Path, c: &Container, script: &str) -> Call {
    c.bundle.write();
    let copy = lab.path("runtime");
    fs::copy(runtime, &copy).expect("copy the runtime to where the user reaches it");
    lab.call("chown").args(["-R", "12345:12345"]).arg(lab.dir()).go().ok();
    lab.call("setpriv")
        .args([
            "--reuid",
            USER,
            "--regid",
            USER,
            "--clear-groups",
            "--bounding-set=-all",
            "--inh-caps=-all",
        ])
        .args(["env", "-u", "USER"])
        .arg(format!("XDG_RUNTIME_DIR={}", lab.dir().display()))
        .arg("unshare")
        .args(unshare.split(' '))
        .args(["/bin/sh", "-c", script, "sh"])
        .arg(&copy)
        .arg(&c.bundle.dir)
        .arg(c.id())
}

/// What the script says under the runtime under test, which is what it says under runc.
fn alike(lab: &Lab, unshare: &str, c: &Container, script: &str) -> String {
    let under =
        |runtime: &Path| as_root_inside(lab, unshare, runtime, c, script).go().ok().stdout();
    let said = under(binaries::runtime());
    assert_eq!(said, under(Path::new("/usr/sbin/runc")), "runc differs ({unshare})");
    said
}

const RUN: &str = "exec \"$1\" run --bundle \"$2\" \"$3\"";

#[test]
fn a_container_runs() {
    let lab = Lab::new();
    let ids = "id -u; cat /proc/self/uid_map";
    let plain = lab.container(bundle(&lab).sh(ids));
    for unshare in ["-Ur", "-Urm", "-Urn", "-Urmpf --mount-proc"] {
        let said = alike(&lab, unshare, &plain, RUN);
        assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["0", "0", USER, "1"], "{unshare}");
    }
    let own_network = lab
        .container(bundle(&lab).namespace("network", None).sh("ip link | grep -c ether; echo ran"));
    assert!(alike(&lab, "-Urm", &own_network, RUN).contains("ran"));
    let nested = lab.container(nested(&lab).sh(ids));
    let said = alike(&lab, "-Urm", &nested, RUN);
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["0", "0", "0", "1"]);
    lab.assert_clean();
}

/// Each verb, from a process of its own.
#[test]
fn a_container_lives_and_ends() {
    const LIFE: &str = r#"
        status() { "$run" state "$id" | grep -o '"status": *"[a-z]*"' | tr -d ' '; }
        run=$1 id=$3
        "$run" create --bundle "$2" "$id" </dev/null >/dev/null || exit 1
        status
        "$run" start "$id" || exit 2
        status
        "$run" exec "$id" /bin/sh -c 'id -u; cat /proc/self/uid_map' || exit 3
        "$run" exec "$id" /bin/sh -c 'exit 5'
        echo "exec $?"
        "$run" pause "$id" 2>/dev/null
        echo "pause $?"
        "$run" delete "$id" 2>/dev/null
        echo "delete $?"
        "$run" kill "$id" KILL || exit 4
        for i in $(seq 500); do status | grep -q stopped && break; sleep 0.02; done
        status
        "$run" delete "$id" || exit 5
        "$run" state "$id" 2>/dev/null
        echo "state $?""#;
    let lab = Lab::new();
    for bundle in [bundle(&lab), nested(&lab)] {
        let c = lab.container(bundle.idle());
        let said = alike(&lab, "-Urm", &c, LIFE);
        for line in
            ["\"status\":\"created\"", "\"status\":\"running\"", "exec 5", "delete 1", "state 1"]
        {
            assert!(said.contains(line), "{line} is missing:\n{said}");
        }
    }
    lab.assert_clean();
}

/// One in the pid namespace of its caller, which a procfs of its own cannot be mounted for, with a network and a parameter
/// of it.
fn of_the_callers_pids(bundle: Bundle) -> Bundle {
    let bundle = bundle.without_namespace("pid").namespace("network", None);
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_default_ttl": "33"})).edit(|spec| {
        for mount in spec["mounts"].as_array_mut().expect("mounts") {
            if mount["destination"] == "/proc" {
                *mount = json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]});
            }
        }
    })
}

#[test]
fn kernel_parameters_are_set_without_a_pid_namespace() {
    let lab = Lab::new();
    let script = "cat /proc/sys/net/ipv4/ip_default_ttl; test $$ != 1 && echo shared";
    let c = lab.container(of_the_callers_pids(bundle(&lab)).sh(script));
    assert_eq!(alike(&lab, "-Urm", &c, RUN), "33\nshared\n");
    // What is mounted there is not taken for the kernel's.
    let covered = format!("mount -t tmpfs x /proc/sys/net && mkdir -p /proc/sys/net/ipv4 && {RUN}");
    let call = as_root_inside(&lab, "-Urm", binaries::runtime(), &c, &covered);
    call.go().failed();
    lab.assert_clean();
}

/// Without a cgroup, where the processes share the mounts that were made for the container.
#[test]
fn processes_are_listed_without_a_cgroup() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(bundle(&lab).sh("sleep 4242 & exec sleep 4243"));
    let script = "\"$1\" create --bundle \"$2\" \"$3\" </dev/null >/dev/null && \"$1\" start \"$3\" && \
                  for i in $(seq 500); do test $(\"$1\" ps \"$3\" -o pid,args | grep -c '[0-9] sleep') = 2 && break; sleep 0.02; done; \
                  \"$1\" ps \"$3\" -o pid,args | sed 's/^ *[0-9]* //' | sort; \
                  \"$1\" pause \"$3\"; \"$1\" delete --force \"$3\"";
    let said = as_root_inside(&lab, "-Urm", binaries::runtime(), &c, script).go().ok();
    assert_eq!(said.stdout(), "PID COMMAND\nsleep 4242\nsleep 4243\n", "{}", said.stderr());
    said.says("has no cgroup");
    lab.assert_clean();
}

/// What is asked of a cgroup is not left out in silence where there can be none.
#[test]
fn a_limit_that_cannot_be_set_is_an_error() {
    need!(Brig);
    let lab = Lab::new();
    let runtime = binaries::runtime();
    let limited = lab
        .container(bundle(&lab).set("/linux/resources", json!({"pids": {"limit": 7}})).sh("true"));
    as_root_inside(&lab, "-Urm", runtime, &limited, RUN).go().failed().says("cgroup");
    let placed = lab.container(bundle(&lab).set("/linux/cgroupsPath", "/elsewhere").sh("true"));
    as_root_inside(&lab, "-Urm", runtime, &placed, RUN).go().failed().says("cgroup");
    lab.assert_clean();
}

/// An ordinary user's map of one group allows no change of groups: asked for, it is refused by the field's name.
#[test]
fn more_groups_are_refused_where_none_can_be_set() {
    need!(Brig);
    let lab = Lab::new();
    let user = json!({"uid": 0, "gid": 0, "additionalGids": [0]});
    let c = lab.container(bundle(&lab).set("/process/user", user).sh("true"));
    let call = as_root_inside(&lab, "-Urm", binaries::runtime(), &c, RUN);
    call.go().failed().says("process.user.additionalGids");
    lab.assert_clean();
}

/// Root of the machine has to have its cgroup, and its device rules, wherever that may be.
#[test]
fn root_of_the_machine_does_without_nothing() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(bundle(&lab).sh("true"));
    c.bundle.write();
    // Nobody can write below a cgroup file system that is read-only.
    let script = "mount --make-rprivate / && for m in $(awk '$5 ~ \"^/sys/fs/cgroup\" { print $5 }' /proc/self/mountinfo); \
                  do mount -o remount,bind,ro \"$m\"; done; exec \"$@\"";
    let call =
        lab.call("unshare").args(["-m", "/bin/sh", "-c", script, "sh"]).arg(binaries::runtime());
    let call =
        call.arg("--root").arg(lab.root()).args(["run", "--bundle"]).arg(&c.bundle.dir).arg(c.id());
    call.go().failed().says("Read-only file system");
    lab.assert_clean();
}

/// Podman makes the user namespace, and calls the runtime in it.
#[test]
fn podman_without_root_runs_a_container() {
    let lab = Lab::new();
    let dir = lab.path("podman");
    fs::create_dir(&dir).expect("make a directory");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("chmod");
    fs::copy(binaries::runtime(), dir.join("runtime")).expect("copy the runtime");
    fs::copy(binaries::rootfs("image").join("box.tar"), dir.join("box.tar")).expect("copy");
    let config = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n";
    fs::write(dir.join("containers.conf"), config).expect("write the configuration");
    lab.call("chown").args(["-R", "12345:12345"]).arg(lab.dir()).go().ok();
    let podman = |args: &[&str]| {
        let call = lab.call("setpriv").cwd(&dir).env("HOME", &dir).env("XDG_RUNTIME_DIR", &dir);
        let call = call.env("CONTAINERS_CONF", dir.join("containers.conf"));
        let call = call.args(["--reuid", USER, "--regid", USER, "--clear-groups", "podman"]);
        let place = |call: Call, option: &str, name: &str| call.arg(option).arg(dir.join(name));
        let call =
            place(place(place(call, "--root", "root"), "--runroot", "run"), "--tmpdir", "tmp");
        let call = place(call, "--runtime", "runtime");
        let call = call.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        call.args(["--storage-driver", "vfs"]).args(args).limit(Duration::from_secs(120)).go()
    };
    podman(&["load", "--quiet", "--input", "box.tar"]).ok();
    let image = "localhost/box:latest";
    let script = "id -u; cat /proc/self/uid_map; exit 9";
    let map = podman(&["run", "--rm", "--network", "none", image, "/bin/sh", "-c", script])
        .code(9)
        .stdout();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "0", USER, "1"]);
    podman(&["run", "--detach", "--name", "box", "--network", "none", image, "/bin/idle"]).ok();
    podman(&["exec", "box", "id", "-u"]).ok().prints("0");
    podman(&["rm", "--force", "--time", "0", "box"]).ok();
    // Podman leaves a process that keeps its user namespace.
    let pause = fs::read_to_string(dir.join("tmp/pause.pid"));
    if let Some(pid) = pause.ok().and_then(|pid| pid.trim().parse().ok()) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it waits");
    }
    lab.assert_clean();
}
