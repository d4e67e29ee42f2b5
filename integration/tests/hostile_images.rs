//! Images, and directories that others may write, against what brig checks before it acts: what was looked
//! at is what is used, and what succeeds has an effect.

use brig_integration::{Bundle, Lab, json, need};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

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
    // An empty one is none.
    let b = b.set("/process/env", json!(["HOME=/a", "PATH=/bin", "HOME="])).sh("echo $HOME; env");
    let said = lab.container(b.clone()).run().ok().stdout();
    assert_eq!(said.matches("HOME=").count(), 1, "{said}");
    assert!(said.starts_with("/home/of/root\n"), "{said}");
    let c = lab.container(b.idle());
    c.run_detached();
    c.exec_sh("echo $HOME").ok().prints("/home/of/root");
    let exec =
        |home: &str| c.exec_call(&["--env", home], &["/bin/sh", "-c", "echo $HOME"]).go().ok();
    exec("HOME=").prints("/home/of/root");
    exec("HOME=/b").prints("/b");
    c.delete_force().ok();
}

/// Exchanges two entries of a directory, again and again, until it is dropped.
struct Exchange {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Exchange {
    fn start(one: &Path, other: &Path) -> Exchange {
        let stop = Arc::new(AtomicBool::new(false));
        let (one, other, ends) = (one.to_owned(), other.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("exchange");
                // Both sides get their turn: brig's look and its use are within a millisecond.
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        Exchange { stop, thread: Some(thread) }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Root file systems by the same name in two directories of an attacker's, one the image's and one that is
/// the host's: the path of each directory.
fn two_roots(lab: &Lab, rootfs: &Path) -> (PathBuf, PathBuf) {
    let (image, other) = (lab.path("image"), lab.path("other"));
    for (name, dir) in [("the image", &image), ("the host", &other)] {
        fs::create_dir(dir).expect("make");
        lab.call("cp").args(["-a"]).arg(rootfs).arg(dir.join("below")).go().ok();
        fs::write(dir.join("below/name"), name).expect("write");
        let passwd = format!("root:x:0:0::/home/of/{name}:/bin/sh\n");
        fs::write(dir.join("below/etc/passwd"), passwd).expect("write");
    }
    (image, other)
}

/// Runs containers with the root file system below `image` while that is exchanged with `other`: what
/// those say that start.
fn while_exchanged(lab: &Lab, bundle: Bundle, image: &Path, other: &Path) -> Vec<String> {
    let bundle = bundle.set("/root/path", image.join("below").to_string_lossy().into_owned());
    let c =
        lab.container(bundle.set("/process/env", json!(["PATH=/bin"])).sh("echo $HOME; cat /name"));
    let exchange = Exchange::start(image, other);
    let (mut said, mut tried) = (Vec::new(), 0);
    // Most starts see both; how many do not is a matter of the machine.
    while tried < 60 || said.is_empty() && tried < 600 {
        said.extend(Some(c.run().stdout()).filter(|said| !said.is_empty()));
        tried += 1;
    }
    drop(exchange);
    lab.assert_clean();
    assert!(!said.is_empty(), "nothing has started in {tried} attempts");
    said
}

/// The image's directory is exchanged for a link to the host's, which no root.path may lead over.
fn never_shows_the_host(bundle: impl Fn(&Lab) -> Bundle) {
    need!(Brig);
    let lab = Lab::new();
    let b = bundle(&lab);
    let (image, other) = two_roots(&lab, &b.rootfs);
    let link = lab.path("link");
    symlink(&other, &link).expect("symlink");
    let said = while_exchanged(&lab, b, &image, &link);
    assert!(said.len() < 60, "everything has started: nothing was tried");
    for said in said {
        assert!(!said.contains("the host"), "a directory of the host is the root: {said}");
    }
}

#[test]
fn a_root_that_is_exchanged_for_a_link_is_not_followed() {
    never_shows_the_host(Lab::bundle);
}

#[test]
fn a_root_that_is_exchanged_for_a_directory_is_the_same_from_first_to_last() {
    need!(Brig);
    let lab = Lab::new();
    let b = lab.bundle();
    let (image, other) = two_roots(&lab, &b.rootfs);
    let said = while_exchanged(&lab, b, &image, &other);
    for said in said {
        let lines: Vec<_> = said.lines().collect();
        assert!(matches!(lines[..], [home, name] if home == format!("/home/of/{name}")), "{said}");
    }
}

#[test]
fn a_root_that_is_exchanged_is_noticed_with_a_user_namespace() {
    never_shows_the_host(|lab| lab.bundle().user_namespace(0));
}

#[test]
fn a_root_that_is_exchanged_is_noticed_with_hooks() {
    // These containers are put together in a copy of the host's mounts.
    let hook = json!([{"path": "/bin/true"}]);
    never_shows_the_host(|lab| lab.bundle().set("/hooks/createRuntime", hook.clone()));
}

#[test]
fn the_home_of_an_exec_is_of_the_root_that_the_container_has() {
    need!(Brig);
    let lab = Lab::new();
    let b = lab.bundle().set("/process/env", json!(["PATH=/bin"]));
    let (image, other) = two_roots(&lab, &b.rootfs);
    let path = image.join("below").to_string_lossy().into_owned();
    let c = lab.container(b.set("/root/path", path).idle());
    c.run_detached();
    renameat_with(CWD, &image, CWD, &other, RenameFlags::EXCHANGE).expect("exchange");
    c.exec_sh("echo $HOME").ok().prints("/home/of/the image");
    c.delete_force().ok();
}

/// A bundle whose /data is a tmpfs with what the image has there.
fn copied_up(lab: &Lab, options: &[&str]) -> Bundle {
    let b = lab.plain_bundle();
    fs::create_dir(b.rootfs.join("data")).expect("make");
    let options = [&["tmpcopyup"], options].concat();
    b.mount(json!({"destination": "/data", "type": "tmpfs", "source": "x", "options": options}))
}

#[test]
fn the_holes_of_a_file_stay_holes_when_it_is_copied_up() {
    let lab = Lab::new();
    let b = copied_up(&lab, &[]).sh("stat -c '%s %b' /data/sparse; head -c 4 /data/sparse; \
        tail -c +1048577 /data/sparse | head -c 6; tail -c 4 /data/sparse | wc -c; ls -la /data/empty");
    let file = fs::File::create(b.rootfs.join("data/sparse")).expect("make");
    file.write_all_at(b"head", 0).expect("write");
    file.write_all_at(b"middle", 1 << 20).expect("write");
    file.set_len(1 << 29).expect("a size");
    let empty = fs::File::create(b.rootfs.join("data/empty")).expect("make");
    empty.set_len(1 << 31).expect("a size");
    // Two pages, of 8 blocks each.
    let out = lab.container(b).run().ok();
    let said = out.stdout();
    let mut words = said.split_whitespace();
    assert_eq!(words.next(), Some("536870912"), "{said}");
    let blocks: u64 = words.next().and_then(|word| word.parse().ok()).expect("blocks");
    assert!(blocks <= 256, "{blocks} blocks of memory: {said}");
    out.says("headmiddle4").says(&(1u64 << 31).to_string());
}

#[test]
fn an_image_does_not_fill_the_memory_by_tmpcopyup() {
    need!(Brig);
    let lab = Lab::new();
    let bytes = copied_up(&lab, &[]);
    fs::write(bytes.rootfs.join("data/0"), vec![b'x'; 16 << 20]).expect("write");
    // What takes no room in the image does in the copy.
    for link in 1..=16 {
        let to = bytes.rootfs.join(format!("data/{link}"));
        fs::hard_link(bytes.rootfs.join("data/0"), to).expect("link");
    }
    let index = bytes.spec["mounts"].as_array().map_or(0, Vec::len) - 1;
    let out = lab.container(bytes.clone()).run().failed();
    out.says(&format!("mounts[{index}]")).says("more than 256 MiB in /data").says("size=");
    let with_size = bytes.clone().set(&format!("/mounts/{index}/options/-"), "size=300m");
    lab.container(with_size.sh("ls /data | wc -l")).run().ok().prints("17");
    let too_small = bytes.set(&format!("/mounts/{index}/options/-"), "size=1m");
    lab.container(too_small).run().failed().says("does not fit into the tmpfs");
    lab.assert_clean();
}

#[test]
fn an_image_does_not_fill_the_memory_with_names_by_tmpcopyup() {
    need!(Brig);
    let lab = Lab::new();
    let b = copied_up(&lab, &["size=1m"]);
    for directory in 0..3 {
        let dir = b.rootfs.join(format!("data/{directory}"));
        fs::create_dir(&dir).expect("make");
        fs::write(dir.join("first"), "").expect("write");
        for link in 0..44_000 {
            fs::hard_link(dir.join("first"), dir.join(link.to_string())).expect("link");
        }
    }
    lab.container(b).run().failed().says("more than 131072 files").says("nr_inodes=");
    let deep = copied_up(&lab, &[]);
    fs::create_dir_all(deep.rootfs.join(format!("data{}", "/d".repeat(30)))).expect("make");
    lab.container(deep).run().failed().says("more than 24 deep");
    lab.assert_clean();
}

#[test]
fn interfaces_move_to_the_namespace_that_is_joined() {
    need!(Brig);
    let lab = Lab::new();
    let [one, other] = ["one", "other"].map(|name| {
        let (file, link) = (lab.path(name), lab.path("link"));
        fs::write(&file, "").expect("write");
        let unshare = format!("unshare --net={} true", file.display());
        lab.call("sh").args(["-c", &unshare]).go().ok();
        symlink(&file, &link).expect("symlink");
        (file, link)
    });
    let b = lab.bundle().namespace("network", Some(&one.1.to_string_lossy()));
    let exchange = Exchange::start(&one.1, &other.1);
    // brig in a network of its own; with it the pair of interfaces ends.
    let script = "ip link add brig0 type veth peer name peer && \"$@\"";
    let network = ["unshare", "--net", "sh", "-c", script, "sh"];
    let said: Vec<_> = (0..40)
        .map(|run| {
            // The kernel takes its time to end what was there before.
            let name = format!("moved{run}");
            let see = format!("grep -q {name}: /proc/net/dev && echo here || echo elsewhere");
            let b = b.clone().set("/linux/netDevices", json!({"brig0": {"name": name}})).sh(&see);
            lab.container(b).run_call(&[]).under(network).go()
        })
        .collect();
    drop(exchange);
    for (file, _) in [one, other] {
        umount2(&file, MntFlags::MNT_DETACH).expect("umount");
    }
    lab.assert_clean();
    for output in said {
        output.ok().prints("here");
    }
}
