//! Root file systems made by an attacker: whatever is a symbolic link, a device or a fifo in them,
//! nothing on the host is opened, made, changed or shown. CVE-2019-16884, CVE-2021-30465,
//! CVE-2023-27561, CVE-2023-28642, CVE-2024-21626, CVE-2024-45310 and CVE-2025-31133 are the class.

use brig_integration::command::flavour;
use brig_integration::{Bundle, Lab, Output, PATIENCE, json, need, wait_until};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// A directory on the host, full of things that must stay as they are.
struct Victim {
    dir: PathBuf,
    before: Vec<String>,
}

impl Victim {
    fn new(lab: &Lab) -> Victim {
        let dir = lab.path("victim");
        fs::create_dir(&dir).expect("make");
        fs::write(dir.join("secret"), "the host's secret").expect("write");
        fs::write(dir.join("null"), "was here").expect("write");
        fs::create_dir(dir.join("pts")).expect("make");
        let before = Victim::look(&dir);
        Victim { dir, before }
    }

    fn look(dir: &Path) -> Vec<String> {
        let mut found: Vec<String> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| {
                let meta = fs::symlink_metadata(e.path()).expect("metadata");
                // Only files that are files: what a runtime puts here may be endless.
                let is_file = fs::symlink_metadata(e.path()).is_ok_and(|m| m.is_file());
                let text = if is_file {
                    fs::read_to_string(e.path()).unwrap_or_default()
                } else {
                    String::new()
                };
                format!(
                    "{:?} {:o} {} {} {text}",
                    e.file_name(),
                    meta.mode(),
                    meta.uid(),
                    meta.rdev()
                )
            })
            .collect();
        found.sort();
        found
    }

    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(Victim::look(&self.dir), self.before, "the host was changed");
    }
}

/// Replaces a path of the root file system with a link.
fn link(bundle: &Bundle, path: &str, to: &Path) {
    let at = bundle.rootfs.join(path.trim_start_matches('/'));
    let _ = fs::remove_file(&at);
    let _ = fs::remove_dir_all(&at);
    fs::create_dir_all(at.parent().expect("a parent")).expect("make");
    symlink(to, &at).expect("symlink");
}

/// Runs the bundle, and looks at the victim and the leftovers.
#[track_caller]
fn tried(lab: &Lab, bundle: Bundle, victim: &Victim) -> Output {
    let output = lab.container(bundle).run();
    victim.is_untouched();
    lab.assert_clean();
    assert!(!output.stdout().contains("the host's secret"), "{}", output.stdout());
    output
}

/// The same: brig refuses the bundle, names the field, and says what is wrong with the image. What another runtime
/// makes of it is its own affair, as long as the host stays as it is.
#[track_caller]
fn refused(lab: &Lab, bundle: Bundle, victim: &Victim, field: &str) {
    let output = tried(lab, bundle, victim);
    if flavour().is_brig() {
        output.code(1).prints("").says(field).says("leads nowhere inside");
    }
}

/// The same: brig runs the bundle, whose program prints `text`.
#[track_caller]
fn ran(lab: &Lab, bundle: Bundle, victim: &Victim, text: &str) {
    let output = tried(lab, bundle, victim);
    if flavour().is_brig() {
        output.ok().prints(text);
    }
}

const LOOK: &str =
    "ls -la / /dev /tmp; cat /dev/secret /data/secret /proc/secret /sys/secret /etc/secret; true";

#[test]
fn dev_is_a_link_to_the_host() {
    need!(Brig); // runc 1.1 makes its links on the host
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    let b = lab.bundle().sh("test -c /dev/null && readlink -f /dev/null");
    link(&b, "/dev", &victim.dir);
    ran(&lab, b, &victim, &victim.dir.join("null").to_string_lossy());
}

#[test]
fn dev_is_a_relative_link_out_of_the_root() {
    need!(Brig); // runc 1.1 makes its links on the host
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    let b = lab.bundle().sh("test -c /dev/null && readlink -f /dev/null");
    let up = format!("{}{}", "../".repeat(20), victim.dir.display());
    link(&b, "/dev", Path::new(&up));
    ran(&lab, b, &victim, &victim.dir.join("null").to_string_lossy());
}

#[test]
fn proc_is_a_link() {
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    let b = lab.bundle().sh(LOOK);
    link(&b, "/proc", &victim.dir);
    refused(&lab, b, &victim, "mounts[0]");
    let b = lab.bundle().sh("cat /proc/self/comm");
    link(&b, "/proc", Path::new("/tmp"));
    refused(&lab, b, &victim, "mounts[0]");
}

#[test]
fn sys_is_a_link() {
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    let b = lab.bundle().sh(LOOK);
    link(&b, "/sys", &victim.dir);
    refused(&lab, b, &victim, "mounts[5]");
}

#[test]
fn etc_is_a_link() {
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    let b = lab.bundle().sh("cat /etc/secret; cat /etc/shadow; readlink /etc");
    link(&b, "/etc", &victim.dir);
    let inside = victim.dir.display().to_string();
    ran(&lab, b, &victim, &inside);
}

#[test]
fn a_mount_target_is_a_link_to_the_host() {
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    let source = lab.path("source");
    fs::create_dir(&source).expect("make");
    let b = lab
        .bundle()
        .bind(&source, "/data/deep", &["rw"])
        .sh("touch /data/deep/mark; readlink -f /data/deep");
    link(&b, "/data", &victim.dir);
    ran(&lab, b, &victim, &victim.dir.join("deep").to_string_lossy());
    assert!(source.join("mark").exists());
}

#[test]
fn a_mount_target_is_a_chain_of_links() {
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    let b = lab
        .bundle()
        .mount(json!({"destination": "/a/b/c", "type": "tmpfs", "source": "tmpfs"}))
        .sh("readlink -f /a/b/c; grep -c '/victim0/b/c ' /proc/self/mountinfo");
    link(&b, "/a", Path::new("/x"));
    link(&b, "/x", Path::new("y"));
    link(&b, "/y", &victim.dir);
    let inside = victim.dir.join("b/c");
    ran(&lab, b, &victim, &format!("{}\n1", inside.display()));
}

#[test]
fn a_mount_target_is_a_loop_of_links() {
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    let b = lab.bundle().mount(json!({"destination": "/loop", "type": "tmpfs", "source": "tmpfs"}));
    link(&b, "/loop", Path::new("loop"));
    refused(&lab, b, &victim, "mounts[6]");
}

#[test]
fn a_file_mount_target_is_a_link_to_a_host_file() {
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    let source = lab.path("resolv");
    fs::write(&source, "mounted").expect("write");
    let b = lab
        .bundle()
        .bind(&source, "/etc/resolv.conf", &["rw"])
        .sh("cat /etc/resolv.conf; echo x >/etc/resolv.conf");
    link(&b, "/etc/resolv.conf", &victim.dir.join("secret"));
    ran(&lab, b, &victim, "mounted");
}

#[test]
fn dev_nodes_are_links_to_the_host() {
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    // Where config.json has nothing at /dev, runc uses the image's own; brig never does.
    let b = lab
        .bundle()
        .sh("echo overwritten >/dev/null; test -c /dev/null && echo a device")
        .edit(|spec| {
            spec["mounts"]
                .as_array_mut()
                .expect("mounts")
                .retain(|m| !m["destination"].as_str().unwrap_or("").starts_with("/dev"));
        });
    link(&b, "/dev/null", &victim.dir.join("null"));
    ran(&lab, b, &victim, "a device");
}

#[test]
fn the_console_is_a_link_to_the_host() {
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    let b = lab.bundle().set("/process/terminal", true).sh("echo x >/dev/console").edit(|spec| {
        spec["mounts"].as_array_mut().expect("mounts").retain(|m| m["destination"] != "/dev");
    });
    link(&b, "/dev/console", &victim.dir.join("null"));
    let c = lab.container(b);
    if flavour().is_brig() {
        assert_eq!(c.run_on_terminal().rest(), "x\r\n");
    } else {
        let socket = lab.console();
        let options = ["--detach", "--console-socket", &socket.path().to_string_lossy()];
        c.run_call(&options).go();
    }
    victim.is_untouched();
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn ptmx_is_a_link_to_the_host() {
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    let b = lab.bundle().sh("readlink /dev/ptmx; test -c /dev/pts/ptmx && echo a device").edit(
        |spec| {
            spec["mounts"].as_array_mut().expect("mounts").retain(|m| m["destination"] != "/dev");
        },
    );
    link(&b, "/dev/ptmx", &victim.dir.join("null"));
    link(&b, "/dev/pts", &victim.dir.join("pts"));
    ran(&lab, b, &victim, "pts/ptmx\na device");
}

#[test]
fn masked_paths_are_links_to_the_host() {
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    let b = lab
        .bundle()
        .sh("cat /data/secret; cat /file; cat /ro/secret; echo looked")
        .set("/linux/maskedPaths", json!(["/data", "/file"]))
        .set("/linux/readonlyPaths", json!(["/ro"]));
    link(&b, "/data", &victim.dir);
    link(&b, "/file", &victim.dir.join("secret"));
    link(&b, "/ro", &victim.dir);
    ran(&lab, b, &victim, "looked");
}

#[test]
fn a_null_device_of_the_image_is_not_used_for_masks() {
    need!(Brig); // runc 1.1 uses it
    let lab = Lab::new();
    // CVE-2025-31133: the source of a mask must be the real null device.
    let b = lab.bundle().sh("head -c 10 /proc/kcore | wc -c; wc -c </proc/keys").edit(|spec| {
        spec["mounts"]
            .as_array_mut()
            .expect("mounts")
            .retain(|m| !m["destination"].as_str().unwrap_or("").starts_with("/dev"));
    });
    fs::write(b.rootfs.join("dev/null"), "not a device").expect("write");
    lab.container(b).run().ok().prints("0\n0");
    lab.assert_clean();
}

#[test]
fn the_working_directory_is_a_descriptor_of_the_host() {
    let lab = Lab::new();
    // CVE-2024-21626.
    for fd in 3..12 {
        let b = lab
            .bundle()
            .set("/process/cwd", format!("/proc/self/fd/{fd}"))
            .sh("pwd; ls -d ../../../../../../../root/.cache");
        let output = lab.container(b).run().failed().prints("");
        if flavour().is_brig() {
            output.code(1).says("process.cwd: chdir");
        }
    }
    lab.assert_clean();
}

#[test]
fn the_working_directory_of_an_exec_is_a_descriptor_of_the_host() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    for fd in 3..12 {
        let output = c
            .exec_call(
                &["--cwd", &format!("/proc/self/fd/{fd}")],
                &["/bin/sh", "-c", "ls -d ../../../../../../../root/.cache"],
            )
            .go();
        let output = output.failed().prints("");
        if flavour().is_brig() {
            output.code(255).says("process.cwd: chdir");
        }
    }
}

#[test]
fn a_working_directory_that_is_a_link_stays_inside() {
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    let b = lab.bundle().set("/process/cwd", "/work").sh("pwd -P; cat secret");
    link(&b, "/work", &victim.dir);
    // A directory inside, which is empty.
    let output = tried(&lab, b, &victim).failed();
    if flavour().is_brig() {
        output.code(1).prints(&victim.dir.to_string_lossy());
    }
}

#[test]
fn the_program_is_a_link_to_the_runtime() {
    let lab = Lab::new();
    // CVE-2019-5736: /proc/self/exe as the program is the runtime's binary, which must not be
    // writable through it.
    let runtime = brig_integration::binaries::runtime();
    let before = fs::metadata(runtime).expect("metadata");
    let b = lab.bundle().sh("for i in 1 2 3; do for p in /proc/[0-9]*; do (echo x >$p/exe) 2>/dev/null && echo wrote $p; done; done; true");
    let c = lab.container(b);
    c.run().ok().prints("");
    let b = lab.bundle().args(["/proc/self/exe", "--version"]);
    let output = lab.container(b).run();
    if flavour().is_brig() {
        // It can be executed, but not be changed.
        output.ok().says("version");
    }
    let after = fs::metadata(runtime).expect("metadata");
    assert_eq!((before.len(), before.mtime()), (after.len(), after.mtime()));
}

#[test]
fn the_runtimes_binary_cannot_be_written_from_an_exec() {
    let lab = Lab::new();
    let runtime = brig_integration::binaries::runtime();
    let before = fs::read(runtime).expect("the binary");
    // The container holds what newcomers execute, and writes there once they have ended.
    let script = r"
        try() {
            exec 9<$1/exe
            if test /proc/self/fd/9 -ef /bin/busybox; then exit; fi
            touch /held
            for i in 1 2 3 4 5 6 7 8 9 10; do echo pwned >>/proc/self/fd/9; sleep 0.1; done
            touch /tried
        }
        while :; do for p in /proc/[0-9]*; do test $p = /proc/1 || (try $p); done; done 2>/dev/null";
    let c = lab.container(
        lab.bundle().caps(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_KILL"]).sh(script),
    );
    c.run_detached();
    let held = wait_until(PATIENCE, || {
        c.exec(&["/bin/true"]).ok();
        c.host_path("/held").exists()
    });
    assert!(held, "the container never met the runtime");
    assert!(wait_until(PATIENCE, || c.host_path("/tried").exists()), "it still tries to write");
    c.delete_force().ok();
    assert!(fs::read(runtime).expect("the binary") == before, "the runtime's binary was changed");
}

#[test]
fn a_setuid_file_on_a_nosuid_mount_gives_nothing() {
    let lab = Lab::new();
    let source = lab.path("source");
    fs::create_dir(&source).expect("make");
    fs::copy("/bin/busybox", source.join("id")).expect("copy");
    fs::set_permissions(source.join("id"), std::os::unix::fs::PermissionsExt::from_mode(0o4755))
        .expect("chmod");
    let b = lab
        .bundle()
        .bind(&source, "/suid", &["nosuid", "ro"])
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/noNewPrivileges", false)
        .args(["/suid/id", "-u"]);
    lab.container(b).run().ok().prints("1000");
}

#[test]
fn a_fifo_where_a_file_is_expected_does_not_hang() {
    let lab = Lab::new();
    let source = lab.path("hosts");
    fs::write(&source, "hosts").expect("write");
    let b = lab.bundle().bind(&source, "/etc/hosts", &["ro"]).sh("cat /etc/hosts");
    let at = b.rootfs.join("etc/hosts");
    nix::unistd::mkfifo(&at, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("mkfifo");
    lab.container(b).run().ok().prints("hosts");
    lab.assert_clean();
}

#[test]
fn image_devices_are_not_usable() {
    let lab = Lab::new();
    let b = lab.bundle().sh("cat /kmsg-here 2>&1 | head -c 100");
    nix::sys::stat::mknod(
        &b.rootfs.join("kmsg-here"),
        nix::sys::stat::SFlag::S_IFCHR,
        nix::sys::stat::Mode::from_bits_truncate(0o666),
        nix::sys::stat::makedev(1, 11),
    )
    .expect("mknod");
    // The root's own nodev or the devices cgroup: either will do.
    lab.container(b).run().says("not permitted");
}

#[test]
fn root_links_in_a_hostile_image_show_brigs_refusal() {
    need!(Brig);
    let lab = Lab::new();
    let victim = Victim::new(&lab);
    let b = lab.bundle();
    link(&b, "/proc", &victim.dir);
    tried(&lab, b, &victim).code(1).says("mounts[0]");
}
