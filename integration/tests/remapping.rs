//! Ids of the node's pool: containers of which nobody's users are another's, nor the host's.

use brig_integration::command::Call;
use brig_integration::engine::{Docker, Podman};
use brig_integration::{Bundle, Container, Lab, PATIENCE, json, machine, need, wait_until};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

const CLAIMS: &str = "/run/brig/ids";
/// The first range of the pool of this test, whose process is its own: what lives in another's is seen by this one, as on a
/// node.
fn first() -> u32 {
    33_000 + std::process::id() % 3_000 * 10
}

/// A policy with the rule and a pool of so many ranges, which nobody but this test sees.
fn remapping(ranges: u32, more: &str) {
    remapping_by("enforce", ranges, more);
}

fn remapping_by(mode: &str, ranges: u32, more: &str) {
    let (first, count) = (first() * 65_536, ranges * 65_536);
    let text = format!(
        "version = 1\ndefault = \"it\"\n[ids]\nfirst = {first}\ncount = {count}\n[profile.it]\nextends = \"base\"\n{more}\n\
         [profile.base]\nremapping = {{ mode = \"{mode}\", root = \"read-only\", size = \"1MiB\", unmappable = \
         \"refuse\" }}\n"
    );
    fs::create_dir_all("/etc/brig").expect("make a directory");
    fs::write("/etc/brig/policy.toml", text).expect("write a policy");
    fs::set_permissions("/etc/brig/policy.toml", fs::Permissions::from_mode(0o644)).expect("chmod");
}

/// The first id on the host of a process's map of users, divided by 65,536; the map is the same for groups.
fn range(pid: i32) -> u32 {
    range_if_any(pid).expect("it runs, and has a range")
}

fn range_if_any(pid: i32) -> Option<u32> {
    let map = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    let (users, groups) = (map("uid_map")?, map("gid_map")?);
    let numbers: Vec<u32> = users.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    let [0, first, 65_536] = *numbers else { return None };
    assert_eq!(users, groups);
    Some(first / 65_536)
}

fn claims() -> BTreeSet<String> {
    let names = fs::read_dir(CLAIMS).into_iter().flatten();
    let names =
        names.map(|entry| entry.expect("a name").file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "pool").collect()
}

fn running<'l>(lab: &'l Lab, bundle: Bundle) -> Container<'l> {
    let container = lab.container(bundle.idle());
    container.run_detached().ok();
    container
}

/// In the namespaces of a process of another container.
fn in_pod(bundle: Bundle, pid: i32) -> Bundle {
    let kinds = [("ipc", "ipc"), ("uts", "uts"), ("network", "net")];
    let bundle = bundle.unset("/hostname");
    kinds.iter().fold(bundle, |bundle, (kind, file)| {
        bundle.namespace(kind, Some(&format!("/proc/{pid}/ns/{file}")))
    })
}

/// Puts a drop-in with the rule beside the policy.
fn drop_in(mode: &str) {
    let path = Path::new("/etc/brig/policy.d/50-ids.toml");
    let text = format!(
        "version = 1\n[rules]\nremapping = {{ mode = \"{mode}\", root = \"read-only\", size = 0, unmappable = \"refuse\" }}\n"
    );
    fs::create_dir_all("/etc/brig/policy.d").expect("make a directory");
    fs::write(path, text).expect("write a drop-in");
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("chmod");
}

#[test]
fn a_drop_in_gives_ids_where_the_profile_gives_none_and_takes_none_that_it_gives() {
    need!(Brig);
    let lab = Lab::new();
    for (own, further) in [("off", "enforce"), ("enforce", "off"), ("enforce", "refuse")] {
        remapping_by(own, 3, "");
        drop_in(further);
        let c = running(&lab, lab.plain_bundle());
        assert!((first()..first() + 3).contains(&range(c.pid())), "{own} {further}");
        assert_eq!(claims().len(), 1);
        c.exec_sh("id -u").ok().prints("0");
        let map = c.exec_sh("cat /proc/self/uid_map").ok().stdout();
        assert_ne!(map.split_whitespace().nth(1), Some("0"), "{own} {further}");
        // Of its pod, also by the drop-in.
        let sidecar = running(&lab, in_pod(lab.plain_bundle(), c.pid()));
        assert_eq!(range(sidecar.pid()), range(c.pid()));
        sidecar.delete_force().ok();
        c.delete_force().ok();
        assert!(claims().is_empty());
        // Root of the host is nobody's, whoever asks for it.
        let map = json!([{"containerID": 0, "hostID": 0, "size": 10}]);
        let bundle =
            lab.plain_bundle().namespace("user", None).set("/linux/uidMappings", map.clone());
        let refused = lab.container(bundle.set("/linux/gidMappings", map).sh("true"));
        refused.run().failed().says("a map to user 0 of the host is refused by the rule remapping");
    }
    lab.assert_clean();
}

#[test]
fn users_of_a_container_are_nobodys_else_and_nothing_on_disk_is_changed() {
    need!(Brig);
    let lab = Lab::new();
    remapping(3, "");
    let volume = lab.path("volume");
    fs::create_dir(&volume).expect("make a directory");
    let bundle = lab
        .plain_bundle()
        .bind(&volume, "/tmp", &["rw"])
        .set("/root/readonly", false)
        .caps(&["CAP_CHOWN"]);
    let rootfs = bundle.rootfs.clone();
    let before = fs::metadata(rootfs.join("bin/busybox")).expect("it is there").uid();
    let c = running(&lab, bundle);
    assert_eq!(range(c.pid()), first());
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).expect("it runs");
    let id = first() * 65_536;
    for name in ["Uid", "Gid"] {
        assert!(status.contains(&format!("{name}:\t{id}\t{id}\t{id}\t{id}\n")), "{status}");
    }
    let script = "id -u; stat -c %u:%g / /bin/busybox; touch /x /tmp/y && chown 5:6 /tmp/y && stat -c %u:%g /x /tmp/y";
    c.exec_sh(script).ok().prints("0\n0:0\n0:0\n0:0\n5:6");
    let owner =
        |path: &Path| fs::metadata(path).map(|it| (it.uid(), it.gid())).expect("it is there");
    assert_eq!(owner(&rootfs.join("x")), (0, 0));
    assert_eq!(owner(&volume.join("y")), (5, 6));
    assert_eq!(owner(&rootfs.join("bin/busybox")).0, before);
    assert_eq!(claims(), [format!("{}-0", first())].map(String::from).into());
    // What later verbs see is what holds.
    let kept = fs::read_to_string(lab.root().join(c.id()).join("config.json")).expect("it is kept");
    assert!(kept.contains(&format!("\"hostID\":{id}")), "{kept}");
    c.call("update", ["--pids-limit", "50"]).go().ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    assert!(claims().is_empty());
    // Given in turn: the one that was given back comes last.
    let other = running(&lab, lab.plain_bundle());
    assert_eq!(range(other.pid()), first() + 1);
    other.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn many_at_once_have_ids_of_their_own() {
    need!(Brig);
    let lab = Lab::new();
    remapping(9, "");
    let containers: Vec<_> = (0..8).map(|_| lab.container(lab.plain_bundle().idle())).collect();
    let calls: Vec<_> = containers.iter().map(|c| c.create_call(&[]).spawn()).collect();
    for call in calls {
        call.wait().ok();
    }
    let ranges: BTreeSet<u32> = containers.iter().map(|c| range(c.pid())).collect();
    assert_eq!(ranges.len(), 8, "{ranges:?}");
    for c in containers {
        c.delete_force().ok();
    }
    lab.assert_clean();
}

#[test]
fn a_pod_has_one_range_until_its_last_container_is_gone() {
    need!(Brig);
    let lab = Lab::new();
    remapping(1, "");
    let sandbox = running(&lab, lab.plain_bundle());
    let member = running(&lab, in_pod(lab.plain_bundle(), sandbox.pid()));
    assert_eq!(range(member.pid()), first());
    let user = |c: &Container<'_>| fs::read_link(format!("/proc/{}/ns/user", c.pid()));
    assert_eq!(user(&sandbox).expect("it runs"), user(&member).expect("it runs"));
    // It has the rights over the pod's namespaces that a container has over its own.
    member.exec_sh("mount | grep -c -E 'sysfs|mqueue'; hostname").ok();
    // Whoever joins nothing that belongs to a remapped container is by itself.
    let own_pid = std::process::id() as i32;
    let alone = lab.container(in_pod(lab.plain_bundle(), own_pid).sh("true"));
    let exhausted = format!("all 1 ranges of ids from {} on are in use", first() * 65_536);
    alone.run().failed().says(&exhausted);
    sandbox.delete_force().ok();
    let c = lab.container(lab.plain_bundle().sh("cut -c 1-40 /proc/self/uid_map"));
    c.run().failed().says(&exhausted).says("[ids]");
    member.delete_force().ok();
    c.run().ok();
    assert!(claims().is_empty());
    lab.assert_clean();
}

#[test]
fn a_process_that_outlives_the_record_keeps_its_ids() {
    need!(Brig);
    let lab = Lab::new();
    remapping(1, "");
    let c = running(&lab, lab.plain_bundle());
    let pid = c.pid();
    let (directory, away) = (lab.root().join(c.id()), lab.path("away"));
    fs::rename(&directory, &away).expect("take the record away");
    let other = lab.container(lab.plain_bundle().sh("true"));
    other.run().failed().says("are in use");
    assert!(machine::is_alive(pid));
    fs::rename(&away, &directory).expect("bring it back");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    // As it is recorded, it may be anything.
    other.run().failed().says("are in use");
    fs::rename(&directory, &away).expect("take the record away");
    other.run().ok();
    fs::rename(&away, &directory).expect("bring it back");
    c.delete().ok();
    lab.assert_clean();
}

/// What an engine has mounted is mapped where nothing is written to it.
#[test]
fn an_overlay_is_read_only_or_gone_with_the_container() {
    need!(Brig);
    let lab = Lab::new();
    remapping(2, "");
    let script = "stat -c %u /bin/busybox; touch /x 2>/dev/null && echo written || echo read-only";
    let bundle = lab.bundle().set("/root/readonly", false).sh(script);
    let (c, rootfs) = (lab.container(bundle.clone()), bundle.rootfs.clone());
    c.run().ok().prints("0\nread-only");
    remapping(2, "remapping.root = \"ephemeral\"");
    c.run().ok().prints("0\nwritten");
    assert!(!rootfs.join("x").exists());
    let c = lab.container(bundle.idle());
    c.run_detached().ok();
    let said = lab.runtime().args(["policy", "explain", "--id", c.id()]).go().ok().stdout();
    assert!(said.contains("what is written is gone with the container"), "{said}");
    c.delete_force().ok();
    remapping(2, "read_only_root = { mode = \"enforce\", tmpfs = [\"/tmp\"], size = \"1MiB\" }");
    let c = lab.container(
        lab.bundle().set("/root/readonly", false).sh("touch /tmp/x && stat -c %u /tmp/x"),
    );
    c.run().ok().prints("0");
    lab.assert_clean();
}

/// Two containers that live have never one range, and none is lost.
#[test]
fn a_brig_that_is_killed_loses_no_range_and_gives_none_twice() {
    need!(Brig);
    const POINTS: u32 = 25;
    let lab = Lab::new();
    remapping(2, "");
    let (c, other) =
        (lab.container(lab.plain_bundle().idle()), lab.container(lab.plain_bundle().idle()));
    let begun = Instant::now();
    c.create_call(&[]).go().ok();
    let whole = begun.elapsed();
    c.delete_force().ok();
    let mut claimed = 0;
    for point in 0..POINTS {
        killed_after(c.create_call(&[]), whole * point / POINTS);
        claimed += u32::from(!claims().is_empty());
        other.run_detached().ok();
        let left = machine::cgroup_dir("pids", c.bundle.cgroup()).join("cgroup.procs");
        for pid in fs::read_to_string(left).unwrap_or_default().lines() {
            let left = range_if_any(pid.parse().expect("a pid"));
            assert_ne!(left, Some(range(other.pid())), "killed at {point} of {POINTS}");
        }
        other.delete_force().ok();
        c.delete_force().ok();
    }
    assert!(claimed > 0, "none was killed between its claim and its record");
    // All are to be had again.
    for container in [&c, &other] {
        container.run_detached().ok();
    }
    for container in [&c, &other] {
        container.delete_force().ok();
    }
    assert!(claims().is_empty(), "{:?}", claims());
    lab.assert_clean();
}

fn killed_after(call: Call, delay: Duration) {
    let begun = Instant::now();
    let mut running = call.spawn();
    while begun.elapsed() < delay {
        std::hint::spin_loop();
    }
    running.kill();
    running.wait();
}

#[test]
fn what_a_joined_network_needs_of_the_host_is_done_outside() {
    need!(Brig);
    let lab = Lab::new();
    remapping(1, "namespaces = { mode = \"refuse\", private = [\"network\"] }");
    let mut holder = lab.call("unshare").args(["--net", "--ipc", "sleep", "100"]).spawn();
    let pid = holder.pid();
    let host = fs::read_link("/proc/self/ns/net").expect("it is there");
    let is_apart = || fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|net| net != host);
    assert!(wait_until(PATIENCE, is_apart));
    let script = "ls /sys/class/net; touch /sys/x 2>/dev/null || echo read-only; \
                  cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/net/ipv4/ip_unprivileged_port_start \
                  /proc/sys/kernel/shm_rmid_forced; nc -l -p 80 & sleep 0.2; netstat -ltn | grep -c :80; kill $!";
    let bundle = lab
        .plain_bundle()
        .namespace("network", Some(&format!("/proc/{pid}/ns/net")))
        .namespace("ipc", Some(&format!("/proc/{pid}/ns/ipc")))
        .caps(&["CAP_NET_BIND_SERVICE"])
        .set(
            "/linux/sysctl",
            json!({"net.ipv4.ip_local_port_range": "2000 3000", "kernel.shm_rmid_forced": "1"}),
        );
    let c = lab.container(bundle.sh(script));
    c.run().ok().prints("lo\nread-only\n2000\t3000\n0\n1\n1");
    holder.kill();
    holder.wait();
    lab.assert_clean();
}

/// Whose a namespace is decides, not whose process leads to it.
#[test]
fn a_network_of_the_hosts_makes_no_pod() {
    need!(Brig);
    let lab = Lab::new();
    remapping(2, "");
    let mut holder = lab.call("unshare").args(["--net", "sleep", "100"]).spawn();
    let of = |pid: i32| format!("/proc/{pid}/ns/net");
    let host = fs::read_link("/proc/self/ns/net").expect("it is there");
    let is_apart = || fs::read_link(of(holder.pid())).is_ok_and(|net| net != host);
    assert!(wait_until(PATIENCE, is_apart));
    let joining = |pid| lab.plain_bundle().namespace("network", Some(&of(pid)));
    let one = running(&lab, joining(holder.pid()));
    let other = running(&lab, joining(one.pid()));
    assert_eq!([range(one.pid()), range(other.pid())], [first(), first() + 1]);
    one.delete_force().ok();
    other.delete_force().ok();
    holder.kill();
    holder.wait();
    lab.assert_clean();
}

#[test]
fn maps_that_reach_the_host_or_the_pool_are_refused() {
    need!(Brig);
    let lab = Lab::new();
    remapping(2, "");
    let run = |base: u32| lab.container(lab.plain_bundle().user_namespace(base).sh("true")).run();
    run(0).failed().says("linux.uidMappings[0]: a map to user 0 of the host is refused");
    run((first() + 1) * 65_536).failed().says("which is of the node's pool");
    run(300_000).ok();
    let host = lab.plain_bundle().namespace("user", Some("/proc/self/ns/user")).sh("true");
    lab.container(host).run().failed();
    assert!(claims().is_empty());
}

#[test]
fn a_root_that_cannot_be_mapped_is_recorded_and_users_are_judged_as_they_are() {
    need!(Brig);
    let lab = Lab::new();
    let bundle = lab.plain_bundle();
    let there = lab.path("ramfs");
    fs::create_dir(&there).expect("make a directory");
    lab.call("mount").args(["-t", "ramfs", "ramfs"]).arg(&there).go().ok();
    lab.call("cp").arg("-a").arg(&bundle.rootfs).arg(&there).go().ok();
    let bundle = bundle.set("/root/path", there.join("rootfs").to_string_lossy().into_owned());
    let c = lab.container(bundle.idle());
    remapping(1, "");
    c.run_detached().ok();
    assert_eq!(range_if_any(c.pid()), None);
    let said = lab.runtime().args(["policy", "explain", "--id", c.id()]).go().ok().stdout();
    assert!(said.contains("cannot be had") && said.contains("ramfs"), "{said}");
    c.delete_force().ok();
    remapping(1, "users = { mode = \"refuse\", min_uid = 1, min_gid = 0 }");
    c.run_call(&["--detach"]).go().failed().says("user 0 of the host is refused by the rule users");
    remapping_by("refuse", 1, "");
    c.run_call(&["--detach"]).go().failed().says("is refused by the rule remapping").says("ramfs");
    assert!(claims().is_empty());
    lab.call("umount").arg(&there).go().ok();
}

/// The level restricted with a pool of the test's own, for engines that keep their files where tests do. Docker 20.10 sets up
/// networks by a hook.
fn restricted(lab: &Lab) {
    let allowed = lab.dir();
    remapping(9, "");
    let text = fs::read_to_string("/etc/brig/policy.toml").expect("it is there");
    let pool = text.split("[profile.it]").next().expect("a part");
    let rules = format!(
        "{pool}[profile.it]\nextends = \"restricted\"\nbind_sources.allow = [{allowed:?}]\nhooks.mode = \"off\"\n"
    );
    fs::write("/etc/brig/policy.toml", rules).expect("write a policy");
}

const WHO: &str = "id -u; tr -s ' ' < /proc/self/uid_map; stat -c %u /bin/busybox; touch /tmp/x && stat -c %u /tmp/x; \
                   touch /x 2>/dev/null || echo read-only";

fn said(range: u32) -> String {
    format!("0\n 0 {} 65536\n0\n0\nread-only", range * 65_536)
}

#[test]
fn root_of_podmans_containers_is_nobody_on_the_host() {
    need!(Brig);
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    restricted(&lab);
    podman.run("one", &["--rm"], &["/bin/sh", "-c", WHO]).go().ok().prints(&said(first()));
    podman.says("pod create --name pod --network none").ok();
    let in_pod = |name: &str| {
        podman
            .call(&["run", "--rm", "--pod", "pod", "--cgroups", "no-conmon", "--name", name])
            .args(["localhost/box:1", "/bin/sh", "-c", WHO])
    };
    in_pod("two").go().ok().prints(&said(first() + 1));
    in_pod("three").go().ok().prints(&said(first() + 1));
    podman.says("pod rm --force --time 0 pod").ok();
    assert!(claims().is_empty(), "{:?}", claims());
    drop(podman);
    lab.assert_clean();
}

#[test]
fn root_of_dockers_containers_is_nobody_on_the_host() {
    need!(Brig);
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    restricted(&lab);
    docker.run("--rm --network none", &["/bin/sh", "-c", WHO]).go().ok().prints(&said(first()));
    assert!(claims().is_empty(), "{:?}", claims());
    drop(docker);
    lab.assert_clean();
}
