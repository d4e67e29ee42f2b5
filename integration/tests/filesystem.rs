//! The root file system and the mounts, seen from inside.

use brig_integration::{Lab, Value, json, machine, need};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// The mount at `target`, the last one if there are several.
fn mount_at<'v>(view: &'v Value, target: &str) -> &'v Value {
    let mounts = view["mounts"].as_array().expect("mounts");
    mounts
        .iter()
        .rfind(|m| m["target"] == target)
        .unwrap_or_else(|| panic!("no mount at {target}: {mounts:?}"))
}

#[track_caller]
fn has(mount: &Value, options: &[&str]) {
    let all: Vec<&str> = mount["options"].as_str().expect("options").split(',').collect();
    for option in options {
        assert!(all.contains(option), "{option} is missing in {mount}");
    }
}

#[test]
fn the_root_is_the_images_and_nothing_else() {
    let lab = Lab::new();
    let view = lab.view(lab.bundle());
    let root = view["root"].to_string();
    assert!(
        root.contains("probe") && !root.contains("boot") && !root.contains("lost+found"),
        "{root}"
    );
    assert_eq!(mount_at(&view, "/")["type"], "overlay");
    // No mount shows anything of the host's tree.
    for mount in view["mounts"].as_array().expect("mounts") {
        let target = mount["target"].as_str().unwrap_or_default();
        assert!(!target.starts_with("/tmp/bt") && !target.contains(".pivot"), "{mount}");
    }
}

#[test]
fn a_readonly_root_is() {
    let lab = Lab::new();
    let b = lab.bundle().set("/root/readonly", true);
    has(mount_at(&lab.view(b), "/"), &["ro"]);
    let b = lab.bundle().set("/root/readonly", true).sh("touch /x");
    lab.container(b).run().code(1).says("Read-only");
    let b = lab.bundle().set("/root/readonly", true).sh("touch /dev/shm/x && echo ok");
    lab.container(b).run().ok().prints("ok");
}

#[test]
fn default_mounts_have_their_options() {
    let lab = Lab::new();
    let view = lab.view(lab.bundle());
    has(mount_at(&view, "/proc"), &["rw", "nosuid", "nodev", "noexec"]);
    has(mount_at(&view, "/sys"), &["ro", "nosuid", "nodev", "noexec"]);
    has(mount_at(&view, "/dev"), &["nosuid"]);
    has(mount_at(&view, "/dev/pts"), &["nosuid", "noexec"]);
    has(mount_at(&view, "/dev/shm"), &["nosuid", "nodev", "noexec"]);
    assert_eq!(mount_at(&view, "/dev/mqueue")["type"], "mqueue");
    assert!(mount_at(&view, "/dev/shm")["data"].as_str().expect("data").contains("size=65536k"));
}

#[test]
fn dev_has_the_standard_nodes_and_links() {
    let lab = Lab::new();
    let dev = &lab.view(lab.bundle())["dev"];
    for (name, number) in [
        ("null", "1:3"),
        ("zero", "1:5"),
        ("full", "1:7"),
        ("random", "1:8"),
        ("urandom", "1:9"),
        ("tty", "5:0"),
    ] {
        assert_eq!(dev[format!("/dev/{name}")], format!("c {number} 666 0:0"), "{name}");
    }
    for (name, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        assert_eq!(dev[format!("/dev/{name}")], format!("-> {to}"), "{name}");
    }
    assert_eq!(dev["/dev/mem"], Value::Null);
    assert_eq!(dev["/dev/vda"], Value::Null);
}

#[test]
fn listed_devices_are_made() {
    let lab = Lab::new();
    let devices = json!([{"path": "/dev/fuse-like", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3, "gid": 4}]);
    let dev = &lab.view(lab.bundle().set("/linux/devices", devices))["dev"];
    assert_eq!(dev["/dev/fuse-like"], "c 10:229 640 3:4");
}

/// As the lists of devices for privileged containers have it.
#[test]
fn a_listed_terminal_multiplexer_is_that_of_the_container() {
    let lab = Lab::new();
    let devices = json!([{"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}]);
    for bundle in [lab.bundle(), lab.bundle().user_namespace(200_000)] {
        let script = "readlink /dev/ptmx; exec 3<>/dev/ptmx && ls /dev/pts";
        let c = lab.container(bundle.set("/linux/devices", devices.clone()).sh(script));
        c.run().ok().prints("pts/ptmx\n0\nptmx");
    }
    lab.assert_clean();
}

#[test]
fn devices_can_be_used_as_allowed_only() {
    let lab = Lab::new();
    let devices =
        json!([{"path": "/dev/kmsg2", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]);
    let b = lab.bundle().set("/linux/devices", devices.clone()).sh(": >>/dev/kmsg2");
    lab.container(b).run().code(1).says("not permitted");
    let b = lab
        .bundle()
        .set("/linux/devices", devices)
        .set(
            "/linux/resources/devices/-",
            json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw"}),
        )
        .sh(": >>/dev/kmsg2 && echo open");
    lab.container(b).run().ok().prints("open");
}

#[test]
fn standard_devices_work() {
    let lab = Lab::new();
    let script = "echo x >/dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c && ! echo x >/dev/full";
    lab.container(lab.bundle().sh(script)).run().ok().says("4\n4");
}

#[test]
fn masked_and_readonly_paths() {
    let lab = Lab::new();
    let b = lab
        .bundle()
        .set("/linux/maskedPaths", json!(["/etc/passwd", "/home", "/no/such"]))
        .set("/linux/readonlyPaths", json!(["/var", "/no/such"]));
    fs::write(b.rootfs.join("home/file"), "x").expect("write");
    let script = "wc -c </etc/passwd; ls /home | wc -l; touch /var/x 2>&1; touch /home/x 2>&1; echo y >>/etc/passwd; wc -c </etc/passwd";
    let output = lab.container(b.sh(script)).run();
    let text = output.stdout();
    assert!(text.starts_with("0\n0\n"), "{text}");
    assert_eq!(
        text.matches("Read-only").count() + output.stderr().matches("Read-only").count(),
        2,
        "{text}"
    );
    assert!(text.trim_end().ends_with('0'), "{text}");
}

#[test]
fn bind_mounts_of_directories_and_files() {
    let lab = Lab::new();
    let source = lab.path("source");
    fs::create_dir(&source).expect("make");
    fs::write(source.join("file"), "content").expect("write");
    let b = lab
        .bundle()
        .bind(&source, "/data/here", &["rw"])
        .bind(&source.join("file"), "/etc/file", &["ro"])
        .sh("cat /data/here/file /etc/file; echo new >/data/here/new; echo x >/etc/file");
    lab.container(b).run().code(1).says("contentcontent").says("Read-only");
    assert_eq!(fs::read_to_string(source.join("new")).expect("new"), "new\n");
    assert_eq!(fs::read_to_string(source.join("file")).expect("file"), "content");
}

#[test]
fn bind_mounts_obey_their_options() {
    let lab = Lab::new();
    let source = lab.path("source");
    fs::create_dir(&source).expect("make");
    let b = lab
        .bundle()
        .bind(&source, "/ro", &["ro", "nosuid", "nodev", "noexec"])
        .bind(&source, "/noatime", &["rw", "noatime"])
        .bind(&source, "/strict", &["rw", "nosuid", "strictatime"]);
    let view = lab.view(b);
    has(mount_at(&view, "/ro"), &["ro", "nosuid", "nodev", "noexec"]);
    has(mount_at(&view, "/noatime"), &["rw", "noatime"]);
    has(mount_at(&view, "/strict"), &["rw", "nosuid"]);
}

#[test]
fn a_recursive_bind_takes_what_is_mounted_below() {
    let lab = Lab::new();
    let source = lab.path("source");
    lab.tmpfs(&source.join("below"));
    fs::write(source.join("below/file"), "deep").expect("write");
    let b = lab.bundle().mount(json!({"destination": "/r", "type": "none", "source": source, "options": ["rbind", "ro"]})).sh("cat /r/below/file");
    lab.container(b).run().ok().prints("deep");
    let b = lab.bundle().bind(&source, "/r", &["ro"]).sh("ls /r/below");
    lab.container(b).run().ok().prints("");
}

#[test]
fn recursive_options_reach_what_is_mounted_below() {
    need!(Brig);
    let lab = Lab::new();
    let source = lab.path("source");
    lab.tmpfs(&source.join("below"));
    let b = lab.bundle().mount(json!({"destination": "/r", "type": "none", "source": source, "options": ["rbind", "rro", "rnosuid"]}));
    let view = lab.view(b);
    has(mount_at(&view, "/r/below"), &["ro", "nosuid"]);
}

#[test]
fn tmpfs_options() {
    let lab = Lab::new();
    let b = lab.bundle().mount(json!({"destination": "/t", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "size=1m", "mode=1777", "uid=7", "gid=8"]}));
    let c = lab
        .container(b.sh("stat -c '%a %u %g' /t; head -c 2000000 /dev/zero >/t/big; wc -c </t/big"));
    c.run().ok().prints("1777 7 8\n1048576");
}

#[test]
fn tmpcopyup_keeps_what_the_image_has() {
    need!(Brig);
    let lab = Lab::new();
    let b = lab.bundle().mount(json!({"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}));
    lab.container(b.sh("grep -c root /etc/passwd && touch /etc/new")).run().ok();
}

#[test]
fn mounts_come_in_the_listed_order() {
    let lab = Lab::new();
    let source = lab.path("source");
    fs::create_dir(&source).expect("make");
    let b = lab
        .bundle()
        .mount(json!({"destination": "/m", "type": "tmpfs", "source": "tmpfs"}))
        .bind(&source, "/m/inner", &["rw"])
        .mount(json!({"destination": "/m/inner/innermost", "type": "tmpfs", "source": "tmpfs"}));
    let view = lab.view(b);
    for target in ["/m", "/m/inner", "/m/inner/innermost"] {
        mount_at(&view, target);
    }
}

#[test]
fn a_relative_destination_is_below_the_root() {
    let lab = Lab::new();
    // Deprecated by the specification, and still found in the field.
    let b = lab.bundle().set("/process/cwd", "/tmp");
    mount_at(
        &lab.view(b.mount(json!({"destination": "data", "type": "tmpfs", "source": "tmpfs"}))),
        "/data",
    );
}

/// Also where it is on a root, or a mount, that can no longer be written to in the end.
#[test]
fn a_working_directory_is_made_where_it_is_missing() {
    let lab = Lab::new();
    let tmpfs = |options: &[&str]| json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": options});
    for (read_only, options) in
        [(false, ["nodev"]), (true, ["nodev"]), (false, ["ro"]), (true, ["ro"])]
    {
        for cwd in ["/new/dir", "/tmp/new", "/link/new", "/usr"] {
            let b = lab.bundle().set("/root/readonly", read_only).mount(tmpfs(&options));
            std::os::unix::fs::symlink("/made/by", b.rootfs.join("link")).expect("symlink");
            let b = b.set("/process/cwd", cwd).sh("pwd -P; stat -c %a:%u .; touch x 2>&1");
            let output = lab.container(b).run();
            let said = output.stdout();
            let mut lines = said.lines();
            let real = cwd.replace("/link", "/made/by");
            assert_eq!(lines.next(), Some(&*real), "{cwd}, {read_only}, {options:?}: {said}");
            assert_eq!(lines.next(), Some("755:0"), "{cwd}: {said}");
            let fixed = if cwd.starts_with("/tmp") { options == ["ro"] } else { read_only };
            assert_eq!(
                said.contains("Read-only"),
                fixed,
                "{cwd}, {read_only}, {options:?}: {said}"
            );
        }
    }
    lab.assert_clean();
}

#[test]
fn a_mount_over_a_link_in_the_image_stays_in_the_image() {
    let lab = Lab::new();
    let b =
        lab.bundle().mount(json!({"destination": "/link/sub", "type": "tmpfs", "source": "tmpfs"}));
    std::os::unix::fs::symlink("/var", b.rootfs.join("link")).expect("symlink");
    mount_at(&lab.view(b), "/var/sub");
}

#[test]
fn nothing_inside_propagates_to_the_host() {
    let lab = Lab::new();
    let source = lab.path("source");
    fs::create_dir(&source).expect("make");
    let b = lab
        .bundle()
        .caps(&["CAP_SYS_ADMIN"])
        .bind(&source, "/data", &["rw"])
        .sh("mount -t tmpfs x /data && mount -t tmpfs x /var && echo mounted");
    let c = lab.container(b);
    c.run().ok().prints("mounted");
    lab.assert_clean();
}

/// The mounts below the source are the host's as well, whatever the one on top becomes.
#[test]
fn what_is_mounted_below_a_slave_does_not_propagate_to_the_host() {
    let lab = Lab::new();
    let source = lab.path("source");
    lab.tmpfs(&source);
    lab.tmpfs(&source.join("sub"));
    fs::create_dir(source.join("sub/point")).expect("make");
    let hook = json!([{"path": "/bin/true"}]);
    for (option, hooks) in
        [("slave", json!({})), ("slave", json!({"createRuntime": hook})), ("private", json!({}))]
    {
        let b = lab
            .bundle()
            .caps(&["CAP_SYS_ADMIN"])
            .set("/hooks", hooks)
            .mount(json!({"destination": "/data", "source": source, "options": ["rbind", option]}))
            .sh("mount -t tmpfs x /data/sub/point && touch /data/sub/point/inside && echo mounted");
        lab.container(b).run().ok().prints("mounted");
        assert!(!source.join("sub/point/inside").exists(), "{option}: is on the host");
    }
    lab.assert_clean();
}

/// A tree with a bound mount namespace cannot be moved into a container: brig's own must not be in the way.
#[test]
fn the_hosts_run_and_root_can_be_bound() {
    let lab = Lab::new();
    // As it may be from an earlier brig; this is the lab's view of it alone.
    let _ = nix::mount::umount2("/run/brig/ns", nix::mount::MntFlags::MNT_DETACH);
    let hook = json!([{"path": "/bin/true"}]);
    for (source, hooks) in
        [("/run", json!({})), ("/", json!({})), ("/", json!({"createRuntime": hook}))]
    {
        let b = lab
            .bundle()
            .set("/hooks", hooks)
            .mount(json!({"destination": "/host", "source": source, "options": ["rbind", "rslave", "ro"]}))
            .sh("test -d /host && echo bound");
        lab.container(b).run().ok().prints("bound");
    }
    lab.assert_clean();
}

#[test]
fn propagation_is_as_specified() {
    let lab = Lab::new();
    let source = lab.path("source");
    lab.tmpfs(&source);
    let b = lab
        .bundle()
        .bind(&source, "/private", &["private"])
        .bind(&source, "/slave", &["rslave"])
        .bind(&source, "/shared", &["rshared"]);
    let view = lab.view(b.set("/linux/rootfsPropagation", "slave"));
    let tags = |target: &str| mount_at(&view, target)["propagation"].to_string();
    assert_eq!(tags("/private"), "[]");
    assert!(tags("/slave").contains("master"), "{}", tags("/slave"));
    assert!(tags("/shared").contains("shared"), "{}", tags("/shared"));
}

#[test]
fn the_roots_propagation_is_as_specified() {
    need!(Brig); // a shared root is a slave, too, under runc 1.1
    let lab = Lab::new();
    let words = |wanted: &str| {
        let view = lab.view(lab.bundle().set("/linux/rootfsPropagation", wanted));
        let tags = mount_at(&view, "/")["propagation"].as_array().expect("a list").clone();
        let words = tags.iter().map(|tag| tag.as_str().unwrap_or_default().to_owned());
        let word = |tag: String| tag.split(':').next().unwrap_or_default().to_owned();
        words.map(word).collect::<Vec<_>>()
    };
    assert_eq!(words("shared"), ["shared"]);
    assert_eq!(words("private"), [""; 0]);
    assert_eq!(words("unbindable"), ["unbindable"]);
    let slave = words("slave");
    assert!(!slave.contains(&"shared".to_owned()), "{slave:?}");
}

#[test]
fn a_slave_mount_follows_the_host() {
    let lab = Lab::new();
    let source = lab.path("source");
    lab.tmpfs(&source);
    fs::create_dir(source.join("later")).expect("make");
    let b = lab
        .bundle()
        .set("/linux/rootfsPropagation", "slave")
        .bind(&source, "/data", &["rslave"])
        .sh("echo up >/up; while ! test -e /data/later/file; do sleep 0.02; done; echo seen");
    let c = lab.container(b);
    let output = c.run_detached();
    assert!(brig_integration::wait_until(brig_integration::PATIENCE, || c
        .host_path("/up")
        .exists()));
    lab.tmpfs(&source.join("later"));
    fs::write(source.join("later/file"), "").expect("write");
    c.wait_status("stopped");
    output.prints("seen");
}

#[test]
fn cgroup_mount_shows_the_containers_own() {
    let lab = Lab::new();
    let b = lab
        .bundle()
        .namespace("cgroup", None)
        .mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}));
    let c = lab.container(b.sh("ls -d /sys/fs/cgroup/*/tasks /sys/fs/cgroup/cgroup.procs 2>/dev/null | head -1; touch /sys/fs/cgroup/x 2>&1; cat /proc/self/cgroup"));
    let text = c.run().stdout();
    assert!(text.contains("/sys/fs/cgroup"), "{text}");
    assert!(text.contains("Read-only") || text.contains("denied"), "{text}");
    assert!(!text.contains(lab.token()), "the cgroup namespace hides the path: {text}");
}

/// In a cgroup namespace of its own the kernel takes the option and changes nothing (cgroup-v2.rst, "Mounting"); without one
/// it would be set, and every other that is not named taken off, for the whole machine.
#[test]
fn cgroup_mounts_set_nothing_for_the_machine() {
    need!(Brig); // runc and crun set it
    let lab = Lab::new();
    let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "ro", "nsdelegate"]});
    let machines = || -> Vec<String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        mounts.lines().filter(|line| line.contains("cgroup")).map(str::to_owned).collect()
    };
    let before = machines();
    let bundle = || lab.bundle().mount(mount.clone()).args(["/bin/true"]);
    let own = lab.container(bundle().namespace("cgroup", None)).run();
    match machine::layout() {
        machine::Layout::V2 => drop(own.ok()),
        _ => drop(own.code(1).says("\"nsdelegate\" cannot be set")),
    }
    let hosts = lab.container(bundle()).run();
    hosts.code(1).says("\"nsdelegate\" cannot be set: the cgroup mounts are the host's");
    assert_eq!(machines(), before);
    lab.assert_clean();
}

#[test]
fn idmapped_mounts() {
    need!(Oci11, Idmap);
    let lab = Lab::new();
    let source = lab.path("source");
    fs::create_dir(&source).expect("make");
    fs::write(source.join("file"), "x").expect("write");
    let b = lab.plain_bundle().user_namespace(300_000).mount(
        json!({"destination": "/data", "type": "bind", "source": source,
        "options": ["bind", "rw", "idmap"],
        "uidMappings": [{"containerID": 0, "hostID": 300_000, "size": 65536}],
        "gidMappings": [{"containerID": 0, "hostID": 300_000, "size": 65536}]}),
    );
    // The root is not the user's, who could not make the mount point.
    fs::create_dir_all(b.rootfs.join("data")).expect("make");
    let c = lab.container(b.sh("stat -c '%u %g' /data/file; touch /data/new"));
    c.run().ok().prints("0 0");
    assert_eq!(fs::metadata(source.join("new")).expect("new").uid(), 0);
}

#[test]
fn mounts_mapped_as_the_container_and_otherwise() {
    need!(Oci11, Idmap, Brig); // runc 1.1 knows no `idmap` without maps
    let lab = Lab::new();
    let sources = ["own", "other"].map(|name| lab.path(name));
    for source in &sources {
        fs::create_dir(source).expect("make");
        fs::write(source.join("file"), "x").expect("write");
    }
    std::os::unix::fs::chown(sources[1].join("file"), Some(5), Some(5)).expect("chown");
    let other = json!([{"containerID": 5, "hostID": 300_007, "size": 1}]);
    let b = lab
        .plain_bundle()
        .user_namespace(300_000)
        .mount(json!({"destination": "/own", "type": "bind", "source": sources[0],
            "options": ["bind", "ro", "idmap"]}))
        .mount(json!({"destination": "/other", "type": "bind", "source": sources[1],
            "options": ["bind", "ro"], "uidMappings": other, "gidMappings": other}));
    for point in ["own", "other"] {
        fs::create_dir_all(b.rootfs.join(point)).expect("make");
    }
    let c = lab.container(b.idle());
    c.run_detached().ok();
    let look = "stat -c '%u %g' /own/file /other/file; id -u; cat /proc/self/uid_map | tr -s ' '";
    let map = fs::read_to_string(format!("/proc/{}/uid_map", c.pid())).expect("its map");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "300000", "65536"]);
    c.exec_sh(look).ok().prints("0 0\n7 7\n0\n 0 300000 65536");
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn a_mount_is_mapped_as_a_user_namespace_that_is_joined() {
    need!(Oci11, Idmap, Brig);
    let lab = Lab::new();
    let source = lab.path("source");
    fs::create_dir(&source).expect("make");
    fs::write(source.join("file"), "x").expect("write");
    let first = lab.container(lab.bundle().user_namespace(300_000).idle());
    first.run_detached();
    let b = lab
        .plain_bundle()
        .namespace("user", Some(&format!("/proc/{}/ns/user", first.pid())))
        .mount(json!({"destination": "/data", "type": "bind", "source": source,
            "options": ["bind", "rw", "idmap"]}));
    fs::create_dir_all(b.rootfs.join("data")).expect("make");
    let script = "stat -c '%u %g' /data/file; touch /data/new; tr -s ' ' </proc/self/uid_map";
    lab.container(b.sh(script)).run().ok().prints("0 0\n 0 300000 65536");
    assert_eq!(fs::metadata(source.join("new")).expect("new").uid(), 0);
}

#[test]
fn the_root_file_system_gets_only_mount_points() {
    let lab = Lab::new();
    let b = lab
        .plain_bundle()
        .mount(json!({"destination": "/new/deep", "type": "tmpfs", "source": "tmpfs"}));
    let c = lab.container(b);
    c.run().ok();
    assert!(c.host_path("/new/deep").is_dir());
    assert_eq!(
        fs::read_dir(c.host_path("/dev")).expect("dev").count(),
        0,
        "the image's /dev was written to"
    );
    let mode = fs::metadata(c.host_path("/new")).expect("new").mode() & 0o7777;
    assert_eq!(mode, 0o755);
}
