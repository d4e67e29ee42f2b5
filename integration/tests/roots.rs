//! The kinds of roots that the library takes, and roots and volumes whose files have the container's ids without chown.

use brig::deadline::Deadline;
use brig::execute::Exit;
use brig::plan::{Ids, Layer, Layers, RootMount, RootMountKind, Tree, Writes};
use brig::spec::ContainerId;
use brig::supervise::{
    Blueprint, ErrorKind, Force, Io, Node, Options, Remap, RemapRoot, Root, Unmappable,
};
use brig_integration::bundle::Bundle;
use brig_integration::{Lab, json, leftovers, need};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// The first of the host's ids that are the container's.
const BASE: u32 = 300_000;
const MIB: u64 = 1 << 20;

fn lab() -> Lab {
    let lab = Lab::new();
    leftovers::leave_children_to_the_test();
    lab
}

fn blueprint(bundle: &Bundle) -> Blueprint {
    bundle.write();
    let node = Node::new(bundle.dir.join("state"));
    node.blueprint(&id("root"), &bundle.dir).expect("a bundle")
}

fn id(name: &str) -> ContainerId {
    ContainerId::parse(name).expect("an id")
}

/// What the program says, and how it ends.
fn ran(lab: &Lab, blueprint: Blueprint) -> (String, Exit) {
    try_to_run(lab, blueprint).expect("it runs")
}

fn try_to_run(lab: &Lab, blueprint: Blueprint) -> Result<(String, Exit), brig::supervise::Error> {
    let node = Node::new(lab.root());
    let name = id(&lab.id());
    let options = Options { preserve_fds: 0, sockets: None, notify: None, new_keyring: true };
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let both = writer.try_clone().expect("a descriptor");
    let standard = [None, Some(writer.into()), Some(both.into())];
    let io = Io { standard, ..Io::default() };
    let mut patient = Deadline::NEVER;
    let (container, process) = node.create(&name, blueprint, &options, io, &mut patient)?;
    container.start(&mut patient)?;
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("it says something");
    let mut set = [PollFd::new(&process, PollFlags::IN)];
    let limit = Timespec { tv_sec: 30, tv_nsec: 0 };
    assert_eq!(poll(&mut set, Some(&limit)), Ok(1), "it has not ended");
    let exit = process.try_wait().expect("it is ours").expect("it has ended");
    container.delete(Force::Yes)?;
    Ok((said, exit))
}

#[track_caller]
fn says(lab: &Lab, blueprint: Blueprint, lines: &[&str]) {
    let (said, exit) = ran(lab, blueprint);
    assert_eq!(said.lines().collect::<Vec<_>>(), lines);
    assert_eq!(exit, Exit::Code(0), "{said}");
}

/// A file of this owner and mode.
fn owned(path: &Path, owner: u32, mode: u32) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("make");
    fs::write(path, "x").expect("write");
    chown(path, Some(owner), Some(owner)).expect("chown");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Every file below a directory, with its owner, mode and size.
fn listed(dir: &Path) -> Vec<(PathBuf, u32, u32, u32, u64)> {
    let mut found = Vec::new();
    let mut ahead = vec![dir.to_owned()];
    while let Some(dir) = ahead.pop() {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            let meta = fs::symlink_metadata(entry.path()).expect("it is there");
            if meta.is_dir() {
                ahead.push(entry.path());
            }
            found.push((entry.path(), meta.uid(), meta.gid(), meta.mode(), meta.size()));
        }
    }
    found.sort();
    found
}

/// Root inside is an ordinary user outside, with what root has over its own files.
fn mapped(bundle: Bundle) -> Bundle {
    bundle.user_namespace(BASE).caps(&[
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_MKNOD",
        "CAP_SETUID",
        "CAP_SETGID",
    ])
}

/// A bundle over a plain directory, with files of the ids that images have.
fn with_owners(lab: &Lab) -> Bundle {
    let bundle = lab.plain_bundle();
    owned(&bundle.rootfs.join("srv/root"), 0, 0o600);
    owned(&bundle.rootfs.join("srv/games"), 5, 0o640);
    owned(&bundle.rootfs.join("srv/www"), 33, 0o4755);
    mapped(bundle)
}

const OWNERS: &str = "cd /srv; stat -c '%n %u:%g %a' root games www";
const OF_IMAGE: [&str; 3] = ["root 0:0 600", "games 5:5 640", "www 33:33 4755"];

const fn remap(root: RemapRoot) -> Remap {
    Remap { root, unmappable: Unmappable::Refuse }
}

const EPHEMERAL: Remap = remap(RemapRoot::Ephemeral { size_bytes: 4 * MIB });

fn layer(path: &Path, ids: Ids) -> Layer {
    Layer { path: path.to_string_lossy().into_owned(), object: None, ids }
}

fn overlay(lower: Vec<Layer>, writes: Writes) -> Root {
    let kind = RootMountKind::Overlay(Layers { lower, writes, options: Vec::new() });
    Root::mounts(vec![RootMount { target: "/".to_owned(), attributes: 0, kind }]).expect("layers")
}

#[test]
fn a_directory_shows_the_ids_of_its_files() {
    need!(Brig);
    let lab = lab();
    let bundle = with_owners(&lab).sh(&format!("{OWNERS}; echo no >root"));
    let before = listed(&bundle.rootfs);
    let mut sealed = blueprint(&bundle);
    sealed.remap(&remap(RemapRoot::ReadOnly)).expect("it can be mapped");
    let (said, exit) = ran(&lab, sealed);
    assert_eq!(said.lines().take(3).collect::<Vec<_>>(), OF_IMAGE);
    assert!(said.contains("Read-only file system"), "{said}");
    assert_eq!(exit, Exit::Code(1));
    assert_eq!(listed(&bundle.rootfs), before);
    lab.assert_clean();
}

#[test]
fn what_is_written_in_place_has_the_ids_that_it_has_inside() {
    need!(Brig);
    let lab = lab();
    let bundle =
        with_owners(&lab).sh("echo new >/srv/new && chown 7:8 /srv/new && stat -c %u:%g /srv/new");
    let mut it = blueprint(&bundle);
    it.remap(&remap(RemapRoot::InPlace)).expect("it can be mapped");
    says(&lab, it, &["7:8"]);
    let made = fs::metadata(bundle.rootfs.join("srv/new")).expect("it is there");
    assert_eq!((made.uid(), made.gid()), (7, 8));
    lab.assert_clean();
}

#[test]
fn what_is_written_to_an_ephemeral_root_is_as_on_a_disk_and_ends_with_it() {
    need!(Brig);
    let lab = lab();
    let script = format!(
        "{OWNERS}
        stat -c '%u:%g %a' / /srv
        chown 1000:1001 games; stat -c %u:%g games
        echo more >>www; stat -c '%u:%g %a' www; chmod 4755 www; stat -c %a www
        rm root; ls
        mkdir dir; touch dir/file; rm -r dir; mkdir dir; ls dir
        rm -r /mnt; mkdir /mnt; echo new >/mnt/new; stat -c '%u:%g' /mnt/new
        dd if=/dev/zero of=/mnt/large bs=1M count=8 2>&1 | grep -c 'No space'"
    );
    let bundle = with_owners(&lab).sh(&script);
    owned(&bundle.rootfs.join("mnt/old"), 33, 0o644);
    let before = listed(&bundle.rootfs);
    let run = || {
        let mut it = blueprint(&bundle);
        it.remap(&EPHEMERAL).expect("it can be mapped");
        let after = [
            "0:0 755",
            "0:0 755",
            "1000:1001",
            "33:33 755",
            "4755",
            "dir",
            "games",
            "www",
            "0:0",
            "1",
        ];
        // What a directory lists is in no order of the tests.
        let after = [&OF_IMAGE[..], &after[..5], &["games", "www"], &after[8..]].concat();
        says(&lab, it, &after);
    };
    run();
    run();
    assert_eq!(listed(&bundle.rootfs), before, "nothing of it is on disk");
    lab.assert_clean();
}

/// A program with the set-user-id bit of a user of the image makes this user of whoever executes it.
#[test]
fn a_set_user_id_program_becomes_the_user_of_the_image() {
    need!(Brig);
    let lab = lab();
    let bundle = with_owners(&lab).set("/process/noNewPrivileges", false).probe();
    let bundle = bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let probe = bundle.rootfs.join("probe");
    chown(&probe, Some(33), Some(33)).expect("chown");
    fs::set_permissions(&probe, fs::Permissions::from_mode(0o4755)).expect("chmod");
    let mut it = blueprint(&bundle);
    it.remap(&EPHEMERAL).expect("it can be mapped");
    let (said, _) = ran(&lab, it);
    let view: serde_json::Value = serde_json::from_str(&said).expect("the probe's view");
    assert_eq!(view["ids"]["uid"], json!([1000, 33, 33, 33]));
    lab.assert_clean();
}

#[test]
fn layers_show_their_ids_in_their_order() {
    need!(Brig);
    let lab = lab();
    let bundle =
        with_owners(&lab).sh("cat /srv/which; stat -c %u:%g /srv/which; ls /gone 2>&1; ls /full");
    let rootfs = bundle.rootfs.clone();
    let layers: Vec<_> = (0..40).map(|number| lab.path(&format!("layer{number}"))).collect();
    for (number, path) in layers.iter().enumerate() {
        owned(&path.join("srv/which"), number as u32, 0o644);
        fs::write(path.join("srv/which"), number.to_string()).expect("write");
    }
    owned(&rootfs.join("gone"), 0, 0o644);
    owned(&rootfs.join("full/old"), 0, 0o644);
    rustix::fs::mknodat(
        CWD,
        layers[3].join("gone"),
        rustix::fs::FileType::CharacterDevice,
        Mode::empty(),
        0,
    )
    .expect("a whiteout");
    fs::create_dir(layers[2].join("full")).expect("make");
    rustix::fs::setxattr(
        layers[2].join("full"),
        "trusted.overlay.opaque",
        b"y",
        rustix::fs::XattrFlags::empty(),
    )
    .expect("opaque");
    let all = layers.iter().chain([&rootfs]);
    let lower: Vec<_> = all.map(|path| layer(path, Ids::Mapped)).collect();
    for writes in [Writes::Ephemeral { size_bytes: MIB }, Writes::MountPoints, Writes::Nowhere] {
        let it = blueprint(&bundle).with_root(overlay(lower.clone(), writes));
        says(&lab, it, &["00:0", "ls: /gone: No such file or directory"]);
    }
    lab.assert_clean();
}

#[test]
fn an_upper_layer_keeps_on_disk_the_ids_of_the_image() {
    need!(Brig);
    let lab = lab();
    let script = "cd /srv && chown 7:8 games && echo new >new && chown 33:33 new && rm root && rm -r /mnt && mkdir /mnt && stat -c %u:%g new games";
    let bundle = with_owners(&lab).sh(script);
    owned(&bundle.rootfs.join("mnt/old"), 0, 0o644);
    let before = listed(&bundle.rootfs);
    let directory = lab.path("writable");
    for name in ["fs", "work"] {
        fs::create_dir_all(directory.join(name)).expect("make");
    }
    let writes = Writes::Layer {
        directory: layer(&directory, Ids::Mapped),
        upper: "fs".to_owned(),
        work: "work".to_owned(),
    };
    let lower = vec![layer(&bundle.rootfs, Ids::Mapped)];
    says(&lab, blueprint(&bundle).with_root(overlay(lower, writes)), &["33:33", "7:8"]);
    assert_eq!(listed(&bundle.rootfs), before);
    let upper = directory.join("fs");
    let at = |name: &str| fs::symlink_metadata(upper.join(name)).expect("it was copied up");
    assert_eq!((at("srv/games").uid(), at("srv/games").gid()), (7, 8));
    assert_eq!(at("srv/new").uid(), 33);
    assert_eq!(at("srv/root").rdev(), 0, "a whiteout");
    assert_eq!(at("mnt").uid(), 0);
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(upper.join("mnt"), "trusted.overlay.opaque", &mut value);
    assert_eq!(&value[..length.expect("it is opaque")], b"y");
    lab.assert_clean();
}

/// What the node wants of the root holds for a list of mounts, too: the upper layer is shown, and not written.
#[test]
fn a_list_of_mounts_is_written_as_the_node_says() {
    need!(Brig);
    let lab = lab();
    let bundle = with_owners(&lab)
        .sh("stat -c %u:%g /srv/upper /srv/www && echo new >/srv/upper && touch /srv/new");
    let directory = lab.path("writable");
    fs::create_dir_all(directory.join("work")).expect("make");
    owned(&directory.join("fs/srv/upper"), 5, 0o644);
    let before = listed(&directory);
    let (upper, work) = ("fs".to_owned(), "work".to_owned());
    let writes = Writes::Layer { directory: layer(&directory, Ids::Host), upper, work };
    let root = || overlay(vec![layer(&bundle.rootfs, Ids::Host)], writes.clone());
    let mut it = blueprint(&bundle).with_root(root());
    it.remap(&EPHEMERAL).expect("it can be mapped");
    says(&lab, it, &["5:5", "33:33"]);
    let mut it = blueprint(&bundle).with_root(root());
    it.remap(&remap(RemapRoot::ReadOnly)).expect("it can be mapped");
    let (said, exit) = ran(&lab, it);
    assert!(said.contains("Read-only file system"), "{said}");
    assert_eq!(exit, Exit::Code(1));
    assert_eq!(listed(&directory), before);
    let tmpfs = RootMountKind::FileSystem { kind: "tmpfs".to_owned(), options: Vec::new() };
    let tmpfs = vec![RootMount { target: "/".to_owned(), attributes: 0, kind: tmpfs }];
    let tree = Root::tree(Tree::Detached, clone_of(&bundle.rootfs));
    for root in [Root::mounts(tmpfs).expect("no layers"), tree] {
        let error = blueprint(&bundle).with_root(root).remap(&EPHEMERAL).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Refused);
    }
    lab.assert_clean();
}

/// What a brig leaves that is killed at this point is what is there now, but for the process.
#[test]
fn no_mount_of_a_root_is_in_the_hosts_table() {
    need!(Brig);
    let lab = lab();
    let bundle = with_owners(&lab).idle();
    let mut it = blueprint(&bundle);
    let before = leftovers::mounts();
    it.remap(&EPHEMERAL).expect("it can be mapped");
    let node = Node::new(lab.root());
    let name = id(&lab.id());
    let options = Options { preserve_fds: 0, sockets: None, notify: None, new_keyring: true };
    let mut patient = Deadline::NEVER;
    let made = node.create(&name, it, &options, Io::default(), &mut patient);
    let (container, process) = made.expect("it is made");
    assert_eq!(leftovers::mount_changes(&before, &leftovers::mounts()), [""; 0]);
    container.delete(Force::Yes).expect("it is ended");
    drop(process);
    lab.assert_clean();
}

fn clone_of(path: &Path) -> std::os::fd::OwnedFd {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, path, flags).expect("a detached mount")
}

#[test]
fn a_tree_by_descriptor_is_the_root_whatever_is_at_a_path() {
    need!(Brig);
    let lab = lab();
    let image = lab.plain_bundle().rootfs;
    fs::write(image.join("which"), "held").expect("write");
    let bundle = lab.bundle().sh("cat /which");
    let open = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, &image, flags, Mode::empty()).expect("it opens")
    };
    let detached = Root::tree(Tree::Detached, clone_of(&image));
    let directory = Root::tree(Tree::Directory, open());
    let moved = image.with_file_name("moved");
    fs::rename(&image, &moved).expect("rename");
    for root in [detached, directory] {
        says(&lab, blueprint(&bundle).with_root(root), &["held"]);
    }
    // In a user namespace, with mapped files.
    let bundle = mapped(lab.bundle()).sh("stat -c %u:%g /which");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = openat(CWD, &moved, flags, Mode::empty()).expect("it opens");
    for root in [Root::tree(Tree::Detached, clone_of(&moved)), Root::tree(Tree::Directory, open)] {
        let mut it = blueprint(&bundle).with_root(root);
        it.remap(&remap(RemapRoot::InPlace)).expect("it can be mapped");
        says(&lab, it, &["0:0"]);
    }
    lab.assert_clean();
}

#[test]
fn a_list_of_mounts_is_the_root() {
    need!(Brig);
    let lab = lab();
    let bundle = lab.bundle().sh("cat /data/in/which && ls /scratch && echo no >/data/in/which");
    let (image, data) = (lab.plain_bundle().rootfs, lab.path("data"));
    owned(&data.join("which"), 0, 0o644);
    let bind = |path: &Path| RootMountKind::Bind { source: layer(path, Ids::Host), sealed: false };
    let tmpfs = RootMountKind::FileSystem {
        kind: "tmpfs".to_owned(),
        options: vec![("size".to_owned(), Some("64k".to_owned()))],
    };
    const READ_ONLY: u32 = 1;
    let mount =
        |target: &str, attributes, kind| RootMount { target: target.to_owned(), attributes, kind };
    let list = vec![
        mount("/", 0, bind(&image)),
        mount("/data/in", READ_ONLY, bind(&data)),
        mount("/scratch", 0, tmpfs),
    ];
    let (said, exit) = ran(&lab, blueprint(&bundle).with_root(Root::mounts(list).expect("mounts")));
    assert!(said.starts_with('x') && said.contains("Read-only file system"), "{said}");
    assert_eq!(exit, Exit::Code(1));
    lab.assert_clean();
}

/// Between looking at a layer and the child's opening it another directory is put there.
#[test]
fn another_directory_at_the_path_of_a_layer_is_refused() {
    need!(Brig);
    let lab = lab();
    let bundle = with_owners(&lab).sh("true");
    let path = lab.path("layer");
    fs::create_dir(&path).expect("make");
    let lower = vec![layer(&path, Ids::Mapped), layer(&bundle.rootfs, Ids::Mapped)];
    let it = blueprint(&bundle).with_root(overlay(lower, Writes::MountPoints));
    fs::rename(&path, lab.path("moved")).expect("rename");
    fs::create_dir(&path).expect("make");
    let error = try_to_run(&lab, it).expect_err("it is another");
    assert!(error.to_string().contains("layer"), "{error}");
    lab.assert_clean();
}

#[test]
fn volumes_show_the_ids_of_their_files() {
    need!(Brig);
    let lab = lab();
    let source = lab.path("volume");
    owned(&source.join("www"), 33, 0o600);
    let bundle = with_owners(&lab)
        .bind(&source, "/data", &["rbind", "rw"])
        .bind(&source.join("www"), "/file", &["bind", "ro"])
        .sh("stat -c %u:%g /data/www /file && cat /data/www && echo && echo new >/data/new && stat -c %u:%g /data/new");
    let mut it = blueprint(&bundle);
    it.remap(&EPHEMERAL).expect("it can be mapped");
    says(&lab, it, &["33:33", "33:33", "x", "0:0"]);
    assert_eq!(fs::metadata(source.join("new")).expect("it was written").uid(), 0);
    lab.assert_clean();
}

#[test]
fn a_volume_that_cannot_be_mapped_is_named_or_read_only() {
    need!(Brig);
    let lab = lab();
    // An overlay, which no kernel maps.
    let source = lab.bundle().rootfs;
    fs::write(source.join("note"), "kept").expect("write");
    let bundle = with_owners(&lab)
        .bind(&source, "/data", &["rbind", "rw"])
        .bind(Path::new("/proc/sys"), "/host", &["rbind", "ro"])
        .sh("cat /data/note && echo && test -e /host/kernel && echo no >/data/note");
    let error = blueprint(&bundle).remap(&EPHEMERAL).expect_err("it cannot be mapped");
    assert_eq!(error.kind(), ErrorKind::Refused);
    let words = error.to_string();
    assert!(words.contains("mounts[6].source") && words.contains("on overlay"), "{words}");
    let mut it = blueprint(&bundle);
    it.remap(&Remap { unmappable: Unmappable::ReadOnly, ..EPHEMERAL }).expect("it is read-only");
    let (said, exit) = ran(&lab, it);
    assert!(said.starts_with("kept\n") && said.contains("Read-only file system"), "{said}");
    assert_eq!(exit, Exit::Code(1));
    lab.assert_clean();
}

#[test]
fn a_container_without_a_user_namespace_of_its_own_is_not_mapped() {
    need!(Brig);
    let lab = lab();
    let error = blueprint(&lab.plain_bundle().idle()).remap(&EPHEMERAL).expect_err("no maps");
    assert_eq!(error.kind(), ErrorKind::Refused);
    let joined = lab.plain_bundle().namespace("user", Some("/proc/self/ns/user"));
    let joined = joined.set("/linux/uidMappings", json!([])).idle();
    let error = blueprint(&joined).remap(&EPHEMERAL).expect_err("they are others'");
    assert_eq!(error.kind(), ErrorKind::Refused);
    lab.assert_clean();
}

/// What engines have mounted: an image of many layers with files of several owners, and a layer for what is written.
struct Engine {
    store: PathBuf,
    bundle: Bundle,
}

/// Docker's names of layers have 26 letters.
fn link(number: usize) -> String {
    format!("l/{number:0>26}")
}

impl Engine {
    /// 40 layers, each with a file of its own; the lowest is an image with files of three owners, of which one was changed
    /// and another removed in the upper one.
    fn new(lab: &Lab) -> Self {
        const NODE: rustix::fs::FileType = rustix::fs::FileType::CharacterDevice;
        let store = lab.path("store");
        let bundle = with_owners(lab);
        for directory in ["l", "3/diff/srv", "3/work", "3/merged"] {
            fs::create_dir_all(store.join(directory)).expect("make");
        }
        for number in 1..40 {
            let layer = store.join(format!("layer{number}/diff"));
            owned(&layer.join(format!("srv/of{number}")), number, 0o644);
        }
        // One that has nothing, as of `RUN true`.
        fs::remove_dir_all(store.join("layer7/diff/srv")).expect("remove");
        fs::create_dir(store.join("layer0")).expect("make");
        fs::rename(&bundle.rootfs, store.join("layer0/diff")).expect("rename");
        for number in 0..40 {
            let at = store.join(link(number));
            std::os::unix::fs::symlink(format!("../layer{number}/diff"), at).expect("link");
        }
        owned(&store.join("3/diff/srv/www"), 34, 0o600);
        rustix::fs::mknodat(CWD, store.join("3/diff/srv/games"), NODE, Mode::empty(), 0)
            .expect("a whiteout");
        fs::create_dir(&bundle.rootfs).expect("make");
        Self { store, bundle }
    }

    /// Mounts it at `at`, by options in which `{lower}` is the list of layers, from the store.
    fn mount(self, at: &Path, options: &str, flags: nix::mount::MsFlags) -> Bundle {
        let lower: Vec<_> = (0..40).rev().map(link).collect();
        let options = options.replace("{lower}", &lower.join(":"));
        // Only this thread is in the lab's namespace, and has a working directory of its own.
        std::env::set_current_dir(&self.store).expect("it is there");
        nix::mount::mount(Some("overlay"), at, Some("overlay"), flags, Some(&*options))
            .expect("an overlay");
        std::env::set_current_dir("/").expect("it is there");
        self.bundle.set("/root/path", at.to_string_lossy().into_owned())
    }
}

/// As Docker and Podman do with an image of many layers: all names are relative to the store.
fn docker(engine: Engine) -> Bundle {
    let at = engine.store.join("3/merged");
    let options = "lowerdir={lower},upperdir=3/diff,workdir=3/work,index=off";
    engine.mount(&at, options, nix::mount::MsFlags::MS_NODEV)
}

fn unmounted(at: &Path) {
    nix::mount::umount(at).expect("it is mounted");
}

const OF_LAYERS: &str =
    "cd /srv; stat -c '%n %u:%g %a' root www of1 of33; ls games 2>&1 | grep -c No; ls | wc -l";
const SHOWN: [&str; 6] =
    ["root 0:0 600", "www 34:34 600", "of1 1:1 644", "of33 33:33 644", "1", "40"];

#[test]
fn an_engines_overlay_is_made_anew_of_its_layers() {
    need!(Brig);
    let lab = lab();
    let engine = Engine::new(&lab);
    let (store, at) = (engine.store.clone(), engine.store.join("3/merged"));
    let script = format!(
        "{OF_LAYERS}; echo new >of1 && echo new >/new && rm root && grep -c ' / / .*nodev' /proc/self/mountinfo"
    );
    let bundle = docker(engine).sh(&script);
    let before = listed(&store);
    for _ in 0..2 {
        let mut it = blueprint(&bundle);
        it.remap(&EPHEMERAL).expect("it can be mapped");
        says(&lab, it, &[&SHOWN[..], &["1"]].concat());
    }
    assert_eq!(listed(&store), before, "nothing of it is on disk");
    let mut sealed = blueprint(&bundle.sh("cd /srv; echo new >of1"));
    sealed.remap(&remap(RemapRoot::ReadOnly)).expect("it can be mapped");
    let (said, _) = ran(&lab, sealed);
    assert!(said.contains("Read-only file system"), "{said}");
    unmounted(&at);
    lab.assert_clean();
}

#[test]
fn layers_are_found_by_relative_names_of_containerd_and_by_those_of_new_kernels() {
    need!(Brig);
    let lab = lab();
    let engine = Engine::new(&lab);
    let (at, upper) = (engine.bundle.rootfs.clone(), engine.store.join("3"));
    let options = format!("lowerdir={{lower}},upperdir={0}/diff,workdir={0}/work", upper.display());
    let bundle = engine.mount(&at, &options, nix::mount::MsFlags::empty()).sh(OF_LAYERS);
    let mut it = blueprint(&bundle);
    it.remap(&EPHEMERAL).expect("it can be mapped");
    says(&lab, it, &SHOWN);
    unmounted(&at);
    let odd = lab.path("a:b,c d\\e");
    owned(&odd.join("srv/odd"), 5, 0o644);
    let lower = [odd, upper.with_file_name("layer0/diff")];
    mount_layer_by_layer(&lower, &at);
    let mut it = blueprint(&bundle.sh("stat -c '%u:%g' /srv/odd /srv/www"));
    it.remap(&EPHEMERAL).expect("it can be mapped");
    says(&lab, it, &["5:5", "33:33"]);
    unmounted(&at);
    lab.assert_clean();
}

fn mount_layer_by_layer(lower: &[PathBuf], at: &Path) {
    use rustix::mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create,
        fsconfig_set_string, fsmount, fsopen, move_mount,
    };
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).expect("overlayfs");
    for layer in lower {
        fsconfig_set_string(&overlay, "lowerdir+", layer).expect("a layer");
    }
    fsconfig_create(&overlay).expect("an overlay");
    let mount = fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty());
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount.expect("a mount"), "", CWD, at, flags).expect("it is mounted");
}

/// Each thing that an overlay must not be, with what the refusal says.
#[test]
fn an_overlay_whose_layers_are_not_proven_is_refused() {
    need!(Brig);
    let lab = lab();
    let engine = Engine::new(&lab);
    let (store, at) = (engine.store.clone(), engine.store.join("3/merged"));
    let bundle = docker(engine).sh("true");
    let refused = |bundle: &Bundle, root, says: &str| {
        let error = blueprint(bundle).remap(&remap(root)).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains(says), "{error}");
    };
    refused(&bundle, RemapRoot::InPlace, "written from two mounts");
    let inner = bundle.clone().set("/root/path", at.join("srv").to_string_lossy().into_owned());
    refused(&inner, RemapRoot::ReadOnly, "part of an overlay");
    lab.tmpfs(&at.join("srv"));
    refused(&bundle, RemapRoot::ReadOnly, "has another mount below it");
    unmounted(&at.join("srv"));
    // Another directory at the name of a layer, with a copy of what is in it.
    let layer = store.join("layer9");
    fs::rename(&layer, store.join("moved")).expect("rename");
    lab.call("cp").arg("-a").arg(store.join("moved")).arg(&layer).go().ok();
    refused(&bundle, RemapRoot::ReadOnly, "layer9/diff may not be a layer of it");
    fs::remove_dir_all(&layer).expect("remove");
    refused(&bundle, RemapRoot::ReadOnly, "not where the table of mounts says");
    fs::rename(store.join("moved"), &layer).expect("rename");
    blueprint(&bundle).remap(&remap(RemapRoot::ReadOnly)).expect("it is as it was");
    unmounted(&at);
    lab.assert_clean();
}
