//! User namespaces: maps, joining, and running as an ordinary user.

use brig_integration::command::Call;
use brig_integration::{Container, Lab, PATIENCE, binaries, json, machine, need, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn root_inside_is_nobody_outside() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().user_namespace(200_000).idle());
    c.run_detached();
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).expect("status");
    assert!(status.contains("Uid:\t200000\t200000\t200000\t200000"), "{status}");
    assert!(status.contains("Gid:\t200000\t200000\t200000\t200000"), "{status}");
    let view = c.exec(&["/probe"]).ok().json();
    assert_eq!(view["ids"]["uid"][0], 0);
    assert_eq!(view["uid_map"], json!(["0 200000 65536"]));
    assert_eq!(view["gid_map"], json!(["0 200000 65536"]));
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn several_ranges_are_mapped() {
    let lab = Lab::new();
    let map = json!([{"containerID": 0, "hostID": 200_000, "size": 1000}, {"containerID": 5000, "hostID": 300_000, "size": 10}]);
    let b = lab
        .bundle()
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    let view = lab.view(b.set("/process/user", json!({"uid": 5003, "gid": 5004})));
    assert_eq!(view["uid_map"], json!(["0 200000 1000", "5000 300000 10"]));
    assert_eq!(view["ids"]["uid"][0], 5003);
    assert_eq!(view["ids"]["gid"][0], 5004);
}

#[test]
fn a_user_with_groups_inside_a_user_namespace() {
    let lab = Lab::new();
    let b = lab
        .bundle()
        .user_namespace(200_000)
        .set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [6]}));
    let view = lab.view(b);
    assert_eq!(view["ids"]["groups"], json!([6]));
    assert_eq!(view["caps"]["effective"], "0000000000000000");
}

#[test]
fn everything_of_a_container_is_owned_by_its_user_namespace() {
    let lab = Lab::new();
    let b = lab.bundle().user_namespace(200_000).caps(&["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
    let c = lab.container(
        b.sh("hostname other && ip link set lo down && ip link set lo up && echo powerful"),
    );
    c.run().ok().prints("powerful");
}

#[test]
fn dev_and_its_nodes_in_a_user_namespace() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().user_namespace(200_000).sh("echo x >/dev/null && head -c 3 /dev/zero | wc -c && ls -ld /dev/pts >/dev/null && echo fine"));
    c.run().ok().prints("3\nfine");
}

/// No procfs can be mounted for it.
#[test]
fn kernel_parameters_are_set_in_the_hosts_pid_namespace() {
    let lab = Lab::new();
    let b = lab.bundle().user_namespace(200_000).without_namespace("pid").edit(|spec| {
        for mount in spec["mounts"].as_array_mut().expect("mounts") {
            if mount["destination"] == "/proc" {
                *mount = json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]});
            }
        }
    });
    let b =
        b.set("/linux/sysctl", json!({"net.ipv4.ip_default_ttl": "33", "kernel.msgmax": "4321"}));
    let script = "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax; test $$ != 1 && echo shared";
    lab.container(b.sh(script)).run().ok().prints("33\n4321\nshared");
    lab.assert_clean();
}

#[test]
fn message_queues_belong_to_its_root() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().user_namespace(200_000).sh("stat -c %u:%g /dev/mqueue"));
    c.run().ok().prints("0:0");
}

#[test]
fn files_on_the_host_are_not_roots() {
    let lab = Lab::new();
    let source = lab.path("source");
    fs::create_dir(&source).expect("make");
    fs::write(source.join("secret"), "s").expect("write");
    fs::set_permissions(source.join("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("chmod");
    let b = lab.bundle().user_namespace(200_000).caps(&["CAP_DAC_OVERRIDE", "CAP_CHOWN"]).bind(
        &source,
        "/data",
        &["rw"],
    );
    lab.container(b.sh("cat /data/secret")).run().code(1).says("ermission denied");
}

#[test]
fn a_user_namespace_is_joined_by_path() {
    need!(Brig); // runc 1.1 asks for maps here too
    let lab = Lab::new();
    let first = lab.container(lab.bundle().user_namespace(200_000).idle());
    first.run_detached();
    let link = fs::read_link(format!("/proc/{}/ns/user", first.pid())).expect("a link");
    let b = lab.bundle().namespace("user", Some(&format!("/proc/{}/ns/user", first.pid())));
    let view = lab.view(b);
    assert_eq!(view["namespaces"]["user"], link.to_string_lossy().as_ref());
    assert_eq!(view["uid_map"], json!(["0 200000 65536"]));
}

#[test]
fn a_pod_with_a_user_namespace() {
    need!(Brig); // runc 1.1 asks for maps here too
    let lab = Lab::new();
    let sandbox = lab.container(lab.bundle().user_namespace(200_000).idle());
    sandbox.run_detached();
    let at = |kind: &str| Some(format!("/proc/{}/ns/{kind}", sandbox.pid()));
    let b = lab
        .bundle()
        .unset("/hostname")
        .namespace("user", at("user").as_deref())
        .namespace("network", at("net").as_deref())
        .namespace("ipc", at("ipc").as_deref())
        .namespace("uts", at("uts").as_deref());
    let view = lab.view(b);
    assert_eq!(view["hostname"], "box");
    assert_eq!(view["ids"]["uid"][0], 0);
}

#[test]
fn a_network_namespace_of_the_host_with_a_user_namespace() {
    let lab = Lab::new();
    // As CNI makes it: owned by the host's user namespace, so sysfs cannot be mounted in it.
    let mut owner = lab.call("unshare").args(["--net", "sleep", "1000"]).spawn();
    let pid = owner.pid();
    assert!(wait_until(PATIENCE, || machine::process(pid).is_some_and(|p| p.name == "sleep")));
    let b = lab.bundle().user_namespace(200_000).namespace("network", Some(&format!("/proc/{pid}/ns/net"))).edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().expect("mounts");
        for mount in mounts.iter_mut().filter(|m| m["destination"] == "/sys") {
            *mount = json!({"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
        }
    });
    let link = fs::read_link(format!("/proc/{pid}/ns/net")).expect("a namespace");
    let output = lab.container(b.sh("readlink /proc/self/ns/net")).run();
    owner.kill();
    owner.wait();
    output.ok().prints(&link.to_string_lossy());
}

#[test]
fn exec_enters_the_user_namespace() {
    let lab = Lab::new();
    let bundle = lab.bundle().user_namespace(200_000).namespace("cgroup", None);
    let c = lab.container(bundle.idle());
    c.run_detached();
    let view = c.exec_call(&["--user", "7:8"], &["/probe"]).go().ok().json();
    assert_eq!(view["ids"]["uid"][0], 7);
    assert_eq!(view["uid_map"], json!(["0 200000 65536"]));
}

#[test]
fn a_terminal_in_a_user_namespace() {
    let lab = Lab::new();
    let c = lab.container(
        lab.bundle()
            .user_namespace(200_000)
            .set("/process/terminal", true)
            .sh("tty; stat -c 'owner %u' $(tty); sleep 0.2"),
    );
    let mut console = c.run_on_terminal();
    console.shows("owner 0");
    c.wait_status("stopped");
}

/// What `spec --rootless` writes runs as it is, with its cgroup mount, and can be entered.
#[test]
fn the_rootless_template_runs_as_it_is() {
    need!(Brig); // runc 1.1 writes no cgroup mount here, and no cgroup namespace
    let lab = Lab::new();
    let bundle = lab.plain_bundle();
    let runtime = lab.dir().join("runtime");
    fs::copy(binaries::runtime(), &runtime).expect("copy the runtime to where the user reaches it");
    lab.call("chown").args(["-R", "12345:12345"]).arg(lab.dir()).go().ok();
    let script = "cd \"$1\" && rm -f config.json && \"$2\" spec --rootless && \
        sed -i 's/\"terminal\": true/\"terminal\": false/; s/\"sh\"/\"sleep\", \"60\"/' config.json && \
        \"$2\" run --detach rootless && \"$2\" exec rootless id -u; \
        \"$2\" exec rootless ls /sys/fs/cgroup | wc -l; \"$2\" delete --force rootless";
    let user = ["--reuid", "12345", "--regid", "12345", "--clear-groups"];
    let call = lab.call("setpriv").env("XDG_RUNTIME_DIR", lab.dir()).args(user);
    let call = call.args(["/bin/sh", "-c", script, "sh"]).arg(&bundle.dir).arg(&runtime);
    let text = call.go().ok().stdout();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("0"), "{text}");
    assert!(lines.next().is_some_and(|count| count.trim() != "0"), "{text}");
    lab.assert_clean();
}

/// The owner of a file may chmod it, in a container too: that nobody may write it now is no protection.
#[test]
fn an_ordinary_users_own_brig_runs_from_a_sealed_copy_whatever_its_mode() {
    need!(Brig);
    let lab = Lab::new();
    let bundle = lab.plain_bundle();
    let runtime = lab.dir().join("runtime");
    fs::copy(binaries::runtime(), &runtime).expect("copy the runtime to where the user reaches it");
    lab.call("chown").args(["-R", "12345:12345"]).arg(lab.dir()).go().ok();
    lab.call("chmod").arg("0555").arg(&runtime).go().ok();
    let script = "cd \"$1\" && rm -f config.json && \"$2\" spec --rootless && \
        sed -i 's/\"terminal\": true/\"terminal\": false/' config.json && \
        \"$2\" create --pid-file pid rootless";
    let user = ["--reuid", "12345", "--regid", "12345", "--clear-groups"];
    let as_user = || lab.call("setpriv").env("XDG_RUNTIME_DIR", lab.dir()).args(user);
    let call = as_user().args(["/bin/sh", "-c", script, "sh"]).arg(&bundle.dir).arg(&runtime);
    call.go().ok();
    let pid = fs::read_to_string(bundle.dir.join("pid")).expect("the pid file");
    // As root: the user may not look at a process that waits to be started.
    let program = fs::read_link(format!("/proc/{pid}/exe")).expect("brig's program");
    as_user().arg(&runtime).args(["delete", "--force", "rootless"]).go().ok();
    assert_eq!(program.to_str(), Some("/memfd:brig (deleted)"));
    lab.assert_clean();
}

/// `run` of a container by that user.
fn run_by_ordinary_user(lab: &Lab, c: &Container) -> Call {
    lab.call("chown").args(["-R", "12345:12345"]).arg(lab.dir()).go().ok();
    let call = lab.call("setpriv").args([
        "--reuid",
        "12345",
        "--regid",
        "12345",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]);
    let runtime = lab.dir().join("runtime");
    fs::copy(binaries::runtime(), &runtime).expect("copy the runtime to where the user reaches it");
    let call = call.env("XDG_RUNTIME_DIR", lab.dir()).arg(&runtime).arg("--root").arg(lab.root());
    call.args(["run", "--bundle"]).arg(&c.bundle.dir).arg(c.id())
}

/// An ordinary user runs a container in a user namespace with a map of one id, without cgroups.
#[test]
fn an_ordinary_user_runs_a_container() {
    let lab = Lab::new();
    let b = lab
        .plain_bundle()
        .of_ordinary_user(12_345, 1)
        .args(["/probe", "ids", "uid_map", "hostname"]);
    let c = lab.container(b);
    let view = run_by_ordinary_user(&lab, &c).go().ok().json();
    assert_eq!(view["ids"]["uid"][0], 0);
    assert_eq!(view["uid_map"], json!(["0 12345 1"]));
    lab.assert_clean();
}

/// Ranges of ids may come from a directory service that does not answer.
#[test]
fn brig_hears_that_it_is_to_stop_while_ids_are_looked_up() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.plain_bundle().of_ordinary_user(12_345, 2).args(["/bin/true"]));
    let programs = lab.path("programs");
    fs::create_dir(&programs).expect("make");
    let program = programs.join("newuidmap");
    fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").expect("write");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let brig = run_by_ordinary_user(&lab, &c).env("PATH", path).spawn();
    let sleeps = || machine::descendants(brig.pid()).into_iter().find(|p| p.name == "sleep");
    assert!(wait_until(PATIENCE, || sleeps().is_some()), "{}", brig.stderr());
    kill(Pid::from_raw(brig.pid()), Signal::SIGTERM).expect("brig runs");
    brig.wait().code(143).says("newuidmap was killed, as brig was asked to stop");
    lab.assert_clean();
}

/// What root's brig keeps in /run must not be in the way: in a user namespace it could not be left out.
#[test]
fn an_ordinary_user_binds_the_hosts_root_after_roots_brig_has_run() {
    need!(Brig);
    let lab = Lab::new();
    lab.container(lab.bundle().sh("true")).run().ok();
    let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("the mounts");
    let kept = table.lines().find(|line| line.contains(" /run/brig/ns/mnt ")).expect("it is kept");
    assert!(kept.contains(" unbindable "), "{kept}");
    let all = json!({"destination": "/host", "source": "/", "options": ["rbind", "rslave", "ro"]});
    let b = lab.plain_bundle().of_ordinary_user(12_345, 1).mount(all);
    let c = lab.container(b.sh("test -d /host/run/brig && echo bound"));
    run_by_ordinary_user(&lab, &c).go().ok().prints("bound");
    lab.assert_clean();
}

#[test]
fn killing_reaches_a_user_namespace() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().user_namespace(200_000).sh("sleep 1000 & exec sleep 1000"));
    c.run_detached();
    let pid = c.pid();
    c.kill("KILL").ok();
    assert!(wait_until(PATIENCE, || !machine::is_alive(pid)));
    c.delete_force().ok();
    lab.assert_clean();
}
