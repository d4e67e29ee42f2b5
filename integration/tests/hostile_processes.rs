//! Processes of a container that watch brig's own: they neither write its program nor take it over.
//! CVE-2019-5736 and CVE-2016-9962 are the classes.

use brig_integration::command::Running;
use brig_integration::{Container, Lab, PATIENCE, binaries, need, wait_until};
use nix::mount::{MsFlags, mount};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::fs::{self, File, OpenOptions};
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
fn until_told(lab: &Lab) -> Container<'_> {
    lab.container(lab.bundle().sh("touch /runs; while [ ! -e /end ]; do sleep 0.05; done"))
}

/// `program run` of the container, with the running brig's file held.
fn held(lab: &Lab, program: &Path, c: &Container<'_>) -> (Running, File) {
    let call = lab.call(program).arg("--root").arg(lab.root()).arg("run").arg("--bundle");
    let brig = call.arg(&c.bundle.dir).arg(c.id()).spawn();
    assert!(wait_until(PATIENCE, || c.host_path("/runs").exists()), "{}", brig.stderr());
    let exe = File::open(format!("/proc/{}/exe", brig.pid())).expect("open brig's file");
    fs::write(c.host_path("/end"), "").expect("tell it to end");
    (brig, exe)
}

/// Whoever holds brig's file opens it anew, to write it.
fn write_again(held: &File) -> std::io::Result<File> {
    OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", held.as_raw_fd()))
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
