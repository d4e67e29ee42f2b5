//! Images, and directories that others may write, against what brig checks before it acts: what was looked
//! at is what is used, and what succeeds has an effect.

use brig_integration::{Bundle, Lab, json, need};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A container that tries to write to its root.
fn writes(bundle: Bundle) -> Bundle {
    bundle.sh("echo x >/written && echo the root is writable")
}

#[test]
fn a_mount_on_the_root_is_refused_by_its_words() {
    need!(Brig);
    let lab = Lab::new();
    for root in ["/", "/.", "//", "."] {
        let b = lab.bundle();
        let source = b.rootfs.clone();
        let b = writes(b.bind(&source, root, &["ro"]));
        let index = b.spec["mounts"].as_array().map_or(0, Vec::len) - 1;
        let out = lab.container(b).run().failed();
        let out = out.says(&format!("mounts[{index}].destination")).says("the container's root");
        assert!(!out.stdout().contains("writable"), "{root}: {}", out.stdout());
    }
    // A remount of the root has an effect.
    let b = writes(lab.bundle().mount(json!({"destination": "/", "options": ["remount", "ro"]})));
    lab.container(b).run().failed().says("Read-only file system");
    lab.assert_clean();
}

#[test]
fn a_mount_that_a_link_leads_to_the_root_is_refused() {
    need!(Brig);
    let lab = Lab::new();
    for to in ["/", "..", "../../x/..", "self/self"] {
        let b = lab.bundle();
        fs::create_dir(b.rootfs.join("x")).expect("make");
        symlink("/", b.rootfs.join("self")).expect("symlink");
        symlink(to, b.rootfs.join("data")).expect("symlink");
        let source = b.rootfs.clone();
        let bound = writes(b.clone().bind(&source, "/data", &["ro"]));
        let index = bound.spec["mounts"].as_array().map_or(0, Vec::len) - 1;
        let out = lab.container(bound).run().failed();
        let out = out.says(&format!("mounts[{index}]")).says("leads to the container's root");
        assert!(!out.stdout().contains("writable"), "{to}: {}", out.stdout());
        let tmpfs = json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs"});
        lab.container(writes(b.mount(tmpfs))).run().failed().says("leads to the container's root");
    }
    lab.assert_clean();
}

#[test]
fn a_masked_or_read_only_path_that_leads_to_the_root_is_refused() {
    need!(Brig);
    let lab = Lab::new();
    for field in ["maskedPaths", "readonlyPaths"] {
        let pointer = format!("/linux/{field}");
        let out = lab.container(writes(lab.bundle().set(&pointer, json!(["/"])))).run();
        out.failed().says(&format!("linux.{field}[0]")).says("the container's root");
        let b = lab.bundle().set(&pointer, json!(["/link"]));
        symlink("/", b.rootfs.join("link")).expect("symlink");
        lab.container(writes(b)).run().failed().says("leads to the container's root");
    }
    lab.assert_clean();
}

#[test]
fn a_device_may_be_in_a_directory_that_is_a_link_to_the_root() {
    let lab = Lab::new();
    let node = json!({"path": "/link/zero-here", "type": "c", "major": 1, "minor": 5});
    let b = lab.bundle().set("/linux/devices", json!([node])).sh("head -c 3 /zero-here | wc -c");
    symlink("/", b.rootfs.join("link")).expect("symlink");
    lab.container(b).run().ok().prints("3");
}

/// Watches a device node: to open it is to use the device (`O_PATH` opens nothing).
struct Watch(OwnedFd);

impl Watch {
    /// Makes the node at `path`, which nothing but brig has a reason to open.
    fn node(path: &Path) -> Watch {
        // /dev/full: harmless, and no filter or device rule of the host's own stands in the way.
        let mode = Mode::from_bits_truncate(0o644);
        mknod(path, SFlag::S_IFCHR, mode, makedev(1, 7)).expect("mknod");
        let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).expect("inotify");
        add_watch(&watch, path, WatchFlags::OPEN).expect("watch");
        Watch(watch)
    }

    fn was_opened(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        Reader::new(&self.0, &mut buffer).next().is_ok()
    }
}

/// Where the node is, and what leads to it.
fn images(lab: &Lab) -> Vec<(&'static str, Bundle, Watch)> {
    let bundle = || {
        // Without HOME brig looks for it.
        let bundle = lab.bundle().sh("echo $HOME").set("/process/env", json!(["PATH=/bin"]));
        fs::remove_file(bundle.rootfs.join("etc/passwd")).expect("remove");
        bundle
    };
    let (plain, link, directory) = (bundle(), bundle(), bundle());
    let in_plain = Watch::node(&plain.rootfs.join("etc/passwd"));
    let in_link = Watch::node(&link.rootfs.join("device"));
    symlink("../device", link.rootfs.join("etc/passwd")).expect("symlink");
    fs::remove_dir_all(directory.rootfs.join("etc")).expect("remove");
    fs::create_dir(directory.rootfs.join("other")).expect("make");
    symlink("/other", directory.rootfs.join("etc")).expect("symlink");
    let in_directory = Watch::node(&directory.rootfs.join("other/passwd"));
    vec![
        ("/etc/passwd is a device", plain, in_plain),
        ("/etc/passwd leads to a device", link, in_link),
        ("/etc leads elsewhere", directory, in_directory),
    ]
}

#[test]
fn a_passwd_file_that_is_a_device_is_not_opened_by_run() {
    need!(Brig); // runc opens it inside the container
    let lab = Lab::new();
    for (what, bundle, watch) in images(&lab) {
        lab.container(bundle).run().ok().prints("/");
        assert!(!watch.was_opened(), "{what}");
    }
    lab.assert_clean();
}

#[test]
fn a_passwd_file_that_is_a_device_is_not_opened_by_create_plan_and_exec() {
    need!(Brig);
    let lab = Lab::new();
    for (what, bundle, watch) in images(&lab) {
        let c = lab.container(bundle.sh("sleep 1000"));
        lab.runtime().args(["plan", "--bundle"]).arg(&c.bundle.dir).go().ok();
        assert!(!watch.was_opened(), "{what}: plan");
        c.create().ok();
        assert!(!watch.was_opened(), "{what}: create");
        c.start().ok();
        c.exec_sh("echo $HOME").ok().prints("/");
        assert!(!watch.was_opened(), "{what}: exec");
        c.delete_force().ok();
    }
    lab.assert_clean();
}

#[test]
fn a_watch_sees_an_open() {
    let lab = Lab::new();
    let node = lab.path("node");
    let watch = Watch::node(&node);
    assert!(!watch.was_opened());
    fs::File::open(&node).expect("open");
    assert!(watch.was_opened());
}

#[test]
fn a_configuration_that_is_a_device_is_not_opened() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle());
    let call = c.run_call(&[]);
    let config = c.bundle.dir.join("config.json");
    fs::remove_file(&config).expect("remove");
    let watch = Watch::node(&config);
    call.go().failed().says("config.json is not a regular file");
    assert!(!watch.was_opened());
}

#[test]
fn a_namespace_that_is_a_device_is_not_opened() {
    need!(Brig);
    let lab = Lab::new();
    let at = lab.path("namespace");
    let watch = Watch::node(&at);
    let b = lab.bundle().namespace("network", Some(&at.to_string_lossy()));
    lab.container(b).run().failed().says("linux.namespaces").says("is not a namespace");
    assert!(!watch.was_opened());
    lab.assert_clean();
}

#[test]
fn a_terminal_multiplexer_of_the_workload_is_not_opened_by_an_exec() {
    need!(Brig);
    let lab = Lab::new();
    // /dev/pts is what the workload makes of it.
    let b = lab.bundle().idle().edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| !mount["destination"].as_str().unwrap_or("").starts_with("/dev/"));
    });
    let c = lab.container(b);
    c.run_detached();
    let pts = PathBuf::from(format!("/proc/{}/root/dev/pts", c.pid()));
    fs::create_dir(&pts).expect("make");
    let watch = Watch::node(&pts.join("ptmx"));
    let socket = lab.console();
    let path = socket.path().to_string_lossy().into_owned();
    let exec = c.exec_call(&["--tty", "--detach", "--console-socket", &path], &["/bin/true"]);
    exec.go().failed().says("console");
    assert!(!watch.was_opened());
    c.delete_force().ok();
}

#[test]
fn a_list_of_users_gives_the_home() {
    let lab = Lab::new();
    let b = lab.bundle().set("/process/env", json!(["PATH=/bin"]));
    fs::write(b.rootfs.join("etc/passwd"), "root:x:0:0::/home/of/root:/bin/sh\n").expect("write");
    lab.container(b.clone().sh("echo $HOME")).run().ok().prints("/home/of/root");
    let c = lab.container(b.idle());
    c.run_detached();
    c.exec_sh("echo $HOME").ok().prints("/home/of/root");
    c.delete_force().ok();
}
