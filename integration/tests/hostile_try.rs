//! `brig try` over the root file system of a host with mounts of every kind: what a mount hides on the host
//! stays hidden in the sandbox, and a file system whose server does not answer is nobody's to wait for.

use brig_integration::command::Call;
use brig_integration::{Lab, need};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

/// A directory of the host, which is a file system of its own that the sandbox has, too.
const AREA: &str = "/mnt";

/// A lab in whose mount namespace [`AREA`] is another file system; no byte of the host's is changed.
struct Host {
    lab: Lab,
}

impl Host {
    fn new() -> Host {
        let lab = Lab::new();
        let dirs = ["lower", "upper", "work"].map(|name| lab.dir().join(name));
        for dir in &dirs {
            fs::create_dir(dir).expect("make");
        }
        let [lower, upper, work] = dirs.each_ref().map(|dir| dir.display());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        mounted("overlay", AREA, "overlay", &options);
        Host { lab }
    }

    /// A directory with a file that everybody may read.
    fn directory(&self, name: &str) -> String {
        let dir = format!("{AREA}/{name}");
        fs::create_dir_all(&dir).expect("make");
        fs::write(format!("{dir}/secret"), "hidden by a mount").expect("write");
        dir
    }

    fn sh(&self, cwd: &Path, script: &str) -> Call {
        let call = self.lab.runtime().args(["try", "--quiet", "--", "/bin/sh", "-c", script]);
        call.cwd(cwd).limit(Duration::from_secs(20))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        while umount2(AREA, MntFlags::MNT_DETACH).is_ok() {}
    }
}

fn mounted(source: &str, at: &str, kind: &str, options: &str) {
    mount(Some(source), at, Some(kind), MsFlags::empty(), Some(options)).expect("mount");
}

fn bound(source: &str, at: &str) {
    mount(Some(source), at, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("bind");
}

#[test]
fn what_a_mount_hides_on_the_host_stays_hidden() {
    need!(Brig);
    let host = Host::new();
    let (memory, below) = (host.directory("memory"), host.directory("disk/below"));
    fs::write(format!("{AREA}/disk/seen"), "of the disk").expect("write");
    bound(&format!("{AREA}/disk"), &format!("{AREA}/disk"));
    mounted("none", &memory, "tmpfs", "");
    mounted("none", &below, "tmpfs", "");
    // A file under a file.
    let file = format!("{AREA}/file");
    fs::write(&file, "hidden by a mount").expect("write");
    fs::write(format!("{memory}/other"), "in memory").expect("write");
    bound(&format!("{memory}/other"), &file);
    let script = format!(
        "cat {AREA}/disk/seen {AREA}/*/secret {AREA}/*/*/secret {file}; ls -A {memory} {below}"
    );
    let out = host.sh(Path::new("/"), &script).go();
    let said = out.stdout();
    assert!(said.contains("of the disk"), "the file systems come along: {said} {}", out.stderr());
    assert!(!said.contains("hidden"), "{said}");
    assert!(!said.contains("secret") && !said.contains("other"), "they are empty: {said}");
}

#[test]
fn a_mount_over_another_is_the_one_that_counts() {
    need!(Brig);
    let host = Host::new();
    let over = host.directory("over");
    // What was mounted on a directory that is hidden now is out of reach, whatever its path says.
    host.directory("over/inside");
    bound(&format!("{AREA}/over/inside"), &format!("{AREA}/over/inside"));
    mounted("none", &over, "tmpfs", "");
    fs::create_dir(format!("{over}/inside")).expect("make");
    let out = host.sh(Path::new("/"), &format!("ls -AR {over}; cat {over}/inside/secret")).go();
    assert!(
        !out.stdout().contains("secret") && !out.stdout().contains("hidden"),
        "{}",
        out.stdout()
    );
}

#[test]
fn the_file_system_of_the_current_directory_is_there() {
    need!(Brig);
    let host = Host::new();
    let memory = host.directory("memory");
    mounted("none", &memory, "tmpfs", "");
    fs::create_dir(format!("{memory}/work")).expect("make");
    fs::write(format!("{memory}/work/mine"), "the caller's\n").expect("write");
    let script = "cat mine; touch mine 2>/dev/null || echo refused";
    let there = host.sh(Path::new(&format!("{memory}/work")), script).go();
    there.ok().prints("the caller's\nrefused");
}

#[test]
fn what_cannot_be_bound_in_the_current_directory_uncovers_nothing() {
    need!(Brig);
    let host = Host::new();
    // In a directory that is hidden the current directory is bound with all that is in it.
    let work = host.lab.dir().join("work-here");
    let inside = work.join("inside");
    fs::create_dir_all(&inside).expect("make");
    fs::write(inside.join("secret"), "hidden by a mount").expect("write");
    mounted("none", &inside.to_string_lossy(), "tmpfs", "");
    let unbindable = MsFlags::MS_UNBINDABLE;
    mount(None::<&str>, &inside, None::<&str>, unbindable, None::<&str>).expect("unbindable");
    let out = host.sh(&work, "ls; cat inside/secret").go();
    umount2(&inside, MntFlags::MNT_DETACH).expect("umount");
    assert!(
        out.stdout().contains("inside") && !out.stdout().contains("hidden"),
        "{}",
        out.stdout()
    );
}

#[test]
fn a_file_system_that_does_not_answer_stops_nobody() {
    need!(Brig);
    let host = Host::new();
    let hung = host.directory("hung");
    // Requests queue up here; nobody reads them.
    let device = File::options().read(true).write(true).open("/dev/fuse").expect("/dev/fuse");
    let fd = device.as_raw_fd();
    mounted("none", &hung, "fuse", &format!("fd={fd},rootmode=40000,user_id=0,group_id=0"));
    let out = host.sh(Path::new("/"), &format!("ls -A {hung}; cat {hung}/secret; echo on")).go();
    umount2(&*hung, MntFlags::MNT_DETACH).expect("umount");
    drop(device);
    out.ok().prints("on");
}
