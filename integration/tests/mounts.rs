//! Mounts as images and other mounts have shaped their places.

use brig_integration::command::{Call, flavour};
use brig_integration::{Bundle, Lab, json, need};
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::Duration;

/// A link of the image at `path`, in the place of what is there.
fn link(rootfs: &Path, path: &str, to: &str) {
    let at = rootfs.join(path);
    let _ = fs::remove_file(&at);
    fs::create_dir_all(at.parent().expect("a parent")).expect("make directories");
    symlink(to, &at).expect("make a link");
}

#[test]
fn what_a_link_at_a_mounts_place_names_is_made() {
    need!(Brig); // runc 1.1 makes neither what is relative nor what is behind an earlier mount
    let lab = Lab::new();
    let source = lab.path("source");
    fs::write(&source, "mounted").expect("write");
    for (place, to, made) in [
        (
            "/etc/resolv.conf",
            "../run/systemd/resolve/stub-resolv.conf",
            "/run/systemd/resolve/stub-resolv.conf",
        ),
        ("/etc/localtime", "/usr/share/zoneinfo/Mars/Olympus", "/usr/share/zoneinfo/Mars/Olympus"),
        ("/etc/up", "../../../../var/up", "/var/up"),
        ("/etc/dots", "./new/../other", "/etc/other"),
        ("/etc/first", "second", "/etc/third"),
    ] {
        let run = json!({"destination": "/run", "type": "tmpfs", "source": "tmpfs"});
        let bundle = lab.bundle().mount(run).bind(&source, place, &["ro"]);
        link(&bundle.rootfs, place.trim_start_matches('/'), to);
        link(&bundle.rootfs, "etc/second", "third");
        let bundle = bundle.sh(&format!(
            "cat {place}; echo; readlink -f {place}; grep -c ' {made} ' /proc/self/mountinfo"
        ));
        lab.container(bundle).run().ok().prints(&format!("mounted\n{made}\n1"));
        lab.assert_clean();
    }
}

#[test]
fn what_a_link_in_an_earlier_mount_names_is_made_there() {
    need!(Brig);
    let lab = Lab::new();
    let (volume, source) = (lab.path("volume"), lab.path("source"));
    for dir in [&volume, &source] {
        fs::create_dir(dir).expect("make a directory");
    }
    symlink("inner/deep", volume.join("link")).expect("make a link");
    symlink("/outer", volume.join("absolute")).expect("make a link");
    let bundle = lab
        .bundle()
        .bind(&volume, "/volume", &["rw"])
        .bind(&source, "/volume/link/place", &["rw"])
        .bind(&source, "/volume/absolute", &["rw"])
        .sh("touch /volume/link/place/a /outer/b; ls /volume/inner/deep/place");
    let root = bundle.rootfs.clone();
    lab.container(bundle).run().ok().prints("a\nb");
    assert!(volume.join("inner/deep/place").is_dir() && root.join("outer").is_dir());
    lab.assert_clean();
}

#[test]
fn links_that_lead_to_each_other_are_refused() {
    need!(Brig);
    let lab = Lab::new();
    let source = lab.path("source");
    fs::write(&source, "mounted").expect("write");
    for links in [[("etc/a", "b"), ("etc/b", "a")], [("etc/a", "a/x"), ("etc/b", "x")]] {
        let bundle = lab.bundle().bind(&source, "/etc/a", &["ro"]).sh("true");
        for (at, to) in links {
            link(&bundle.rootfs, at, to);
        }
        lab.container(bundle).run().code(1).says("mounts[6]").says("os error 40");
        lab.assert_clean();
    }
}

#[test]
fn a_long_chain_of_links_is_followed_as_far_as_the_kernel_does() {
    need!(Brig);
    let lab = Lab::new();
    let source = lab.path("source");
    fs::write(&source, "mounted").expect("write");
    for (length, follows) in [(39, true), (45, false)] {
        let bundle = lab.bundle().bind(&source, "/etc/0", &["ro"]).sh("cat /etc/0");
        for number in 0..length {
            link(&bundle.rootfs, &format!("etc/{number}"), &(number + 1).to_string());
        }
        let output = lab.container(bundle).run();
        if follows {
            output.ok().prints("mounted")
        } else {
            output.code(1).says("mounts[6]")
        };
        lab.assert_clean();
    }
}

/// What stat(1) says of `place` under a tmpfs with these options, whose directory the image has with mode 0750.
fn under_a_tmpfs(lab: &Lab, place: &str, options: &[&str]) -> String {
    let tmpfs =
        json!({"destination": place, "type": "tmpfs", "source": "tmpfs", "options": options});
    let bundle = lab
        .bundle()
        .caps(&["CAP_DAC_OVERRIDE"])
        .mount(tmpfs)
        .sh(&format!("stat -c '%a %u %g' {place}; ls {place}"));
    let there = bundle.rootfs.join("there");
    fs::create_dir(&there).expect("make a directory");
    fs::write(there.join("file"), "x").expect("write");
    fs::set_permissions(&there, fs::Permissions::from_mode(0o750)).expect("change its mode");
    chown(&there, Some(7), Some(8)).expect("change its owner");
    lab.container(bundle).run().ok().stdout()
}

#[test]
fn a_tmpfs_takes_the_mode_of_the_directory_that_it_covers() {
    let lab = Lab::new();
    assert_eq!(under_a_tmpfs(&lab, "/there", &["nosuid", "size=1m"]), "750 0 0\n");
    assert_eq!(under_a_tmpfs(&lab, "/there", &["ro"]), "750 0 0\n");
    if flavour().is_brig() {
        // runc 1.1 takes the directory's here too.
        assert_eq!(under_a_tmpfs(&lab, "/there", &["mode=711"]), "711 0 0\n");
    }
    // Where there is none it is as tmpfs(5) has it.
    assert_eq!(under_a_tmpfs(&lab, "/new/place", &[]), "1777 0 0\n");
    lab.assert_clean();
}

#[test]
fn a_filled_tmpfs_has_what_its_options_say() {
    need!(Brig);
    let lab = Lab::new();
    assert_eq!(under_a_tmpfs(&lab, "/there", &["tmpcopyup"]), "750 7 8\nfile\n");
    assert_eq!(
        under_a_tmpfs(&lab, "/there", &["tmpcopyup", "mode=711", "uid=5"]),
        "711 5 8\nfile\n"
    );
    assert_eq!(under_a_tmpfs(&lab, "/there", &["mode=711,gid=5", "tmpcopyup"]), "711 7 5\nfile\n");
    // Podman's /run/lock for systemd: what is made for the mount says nothing of it.
    assert_eq!(under_a_tmpfs(&lab, "/new/place", &["tmpcopyup"]), "1777 0 0\n");
}

#[test]
fn an_empty_mount_option_is_nothing() {
    let lab = Lab::new();
    let source = lab.path("source");
    fs::create_dir(&source).expect("make a directory");
    let bundle =
        lab.bundle().bind(&source, "/data", &["", "ro"]).sh("touch /data/x || echo read-only");
    lab.container(bundle).run().ok().prints("read-only");
}

#[test]
fn a_device_is_in_the_mount_that_its_path_leads_into() {
    let lab = Lab::new();
    let device =
        |path: &str| json!({"path": path, "type": "c", "major": 1, "minor": 3, "fileMode": 0o640});
    let extra = json!({"destination": "/dev/extra", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]});
    let bundle = lab
        .bundle()
        .mount(extra)
        .set(
            "/linux/devices",
            json!([device("/dev/shm/x"), device("/dev/extra/deep/y"), device("/dev/plain")]),
        )
        .sh("stat -c '%n %F %a' /dev/shm/x /dev/extra/deep/y /dev/plain");
    let nodes = "/dev/shm/x character special file 640\n/dev/extra/deep/y character special file 640\n\
        /dev/plain character special file 640";
    lab.container(bundle).run().ok().prints(nodes);
    lab.assert_clean();
}

#[test]
fn a_path_that_is_masked_twice_is_masked_once() {
    need!(Brig);
    let lab = Lab::new();
    let paths = json!(["/proc/version", "/proc/acpi", "/proc/version/", "/proc/version"]);
    let bundle = lab
        .bundle()
        .set("/linux/maskedPaths", paths)
        .sh("grep -c ' /proc/version ' /proc/self/mountinfo");
    lab.container(bundle).run().ok().prints("1");
}

/// A bundle with so many bind mounts of one directory.
fn many(lab: &Lab, count: usize) -> Bundle {
    let source = lab.path("source");
    fs::create_dir_all(&source).expect("make a directory");
    let source = source.to_string_lossy().into_owned();
    let mounts = (0..count).map(|n| {
        json!({"destination": format!("/many/{n}"), "type": "bind", "source": source, "options": ["bind"]})
    });
    let mounts: Vec<_> = mounts.collect();
    // Their places are made in memory: a disk takes longer for them than brig.
    let places = json!({"destination": "/many", "type": "tmpfs", "source": "tmpfs"});
    lab.bundle().mount(places).edit(|spec| {
        spec["mounts"].as_array_mut().expect("mounts").extend(mounts);
        spec["process"].as_object_mut().expect("an object").remove("rlimits");
    })
}

/// `call` with these limits of descriptors, soft and hard.
fn with_limits(call: Call, soft: u64, hard: u64) -> Call {
    call.under(["prlimit".to_owned(), format!("--nofile={soft}:{hard}")])
}

/// As many as a test may have: more takes a capability that not every machine gives.
fn hard_limit() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20).min(1 << 20)
}

#[test]
fn thousands_of_mounts_are_made_and_the_program_has_the_callers_limit() {
    need!(Brig); // the program of runc 1.1 has the hard limit, which Go's start-up takes
    let lab = Lab::new();
    let script = "grep -c ' /many/' /proc/self/mountinfo; ulimit -Sn; ulimit -Hn";
    let hard = hard_limit();
    for (count, soft) in [(1_100, 1024), (10_000, 256)] {
        let c = lab.container(many(&lab, count).sh(script));
        let call = with_limits(c.run_call(&[]), soft, hard).limit(Duration::from_secs(100));
        call.go().ok().prints(&format!("{count}\n{soft}\n{hard}"));
        lab.assert_clean();
    }
}

#[test]
fn more_mounts_than_there_are_descriptors_are_refused_before_anything_is_made() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(many(&lab, 3_000).sh("true"));
    let output = with_limits(c.run_call(&[]), 512, 1024).go().code(1);
    output.says("mounts: 3007 mounts").says("of which brig may have 1024").says("LimitNOFILE");
    lab.assert_clean();
}

#[test]
fn as_many_paths_as_fit_are_masked_in_time_or_refused() {
    need!(Brig);
    let lab = Lab::new();
    let paths: Vec<String> = (0..4_000).map(|n| format!("/there/{n}")).collect();
    let bundle =
        lab.bundle().set("/linux/maskedPaths", paths.clone()).set("/linux/readonlyPaths", paths);
    let c = lab.container(bundle.sh("true"));
    let output = with_limits(c.run_call(&[]), 512, 4096).go().code(1);
    output.says("8000 masked and read-only paths");
    with_limits(c.run_call(&[]), 512, hard_limit()).limit(Duration::from_secs(20)).go().ok();
    lab.assert_clean();
}

#[test]
fn an_overlay_of_many_layers_is_made_and_what_is_too_long_is_named() {
    need!(Brig);
    let lab = Lab::new();
    let layers: Vec<String> = (0..12)
        .map(|n| {
            let dir = lab.path(&format!("layer-with-a-long-name-{n}-"));
            fs::create_dir(&dir).expect("make a layer");
            fs::write(dir.join(format!("file{n}")), "x").expect("write");
            dir.to_string_lossy().into_owned()
        })
        .collect();
    let overlay = |options: Vec<String>| {
        let mount = json!({"destination": "/data", "type": "overlay", "source": "overlay", "options": options});
        lab.container(lab.bundle().mount(mount).sh("ls /data | wc -l"))
    };
    let list = layers.join(":");
    assert!(list.len() > 255);
    overlay(vec![format!("lowerdir={list}")]).run().ok().prints("12");
    let long = format!("upperdir=/{}", "u".repeat(300));
    let refused = overlay(vec![format!("lowerdir={list}"), long]).run().code(1);
    refused.says("mounts[6].options: the value of \"upperdir\" has 301 bytes");
    lab.assert_clean();
}

#[test]
fn a_source_that_an_earlier_mount_makes_is_found_when_its_turn_comes() {
    need!(Brig);
    let lab = Lab::new();
    let source = lab.path("source");
    fs::create_dir_all(source.join("below")).expect("make");
    fs::write(source.join("below/file"), "the volume's\n").expect("write");
    let b = lab.plain_bundle();
    // What lies there in the image is not what is meant.
    fs::create_dir_all(b.rootfs.join("data/below")).expect("make");
    let [below, file, link] =
        ["data/below", "data/below/file", "data/below/link"].map(|path| b.rootfs.join(path));
    std::os::unix::fs::symlink("/etc/hostname", source.join("below/link")).expect("link");
    fs::create_dir_all(b.rootfs.join("etc")).expect("make");
    fs::write(b.rootfs.join("etc/hostname"), "the image's\n").expect("write");
    let b = b
        .bind(&source, "/data", &["ro"])
        .bind(&below, "/second", &["ro"])
        .bind(&file, "/third", &["ro"])
        .bind(&link, "/fourth", &["ro"]);
    let script = "cat /second/file /third /fourth; grep -c ' /second ' /proc/self/mountinfo";
    lab.container(b.sh(script)).run().ok().prints("the volume's\nthe volume's\nthe image's\n1");
}

/// Masks and read-only paths that are a mount as a whole, or a file that is mounted in procfs.
#[test]
fn what_is_hidden_may_be_a_mount_itself() {
    let lab = Lab::new();
    let source = lab.path("source");
    fs::write(&source, "bound").expect("write");
    let b = lab
        .bundle()
        .bind(&source, "/proc/uptime", &["ro"])
        .bind(&source, "/proc/version", &["ro"])
        .set("/linux/maskedPaths", json!(["/sys/", "/proc//uptime", "/proc/./cmdline"]))
        .set("/linux/readonlyPaths", json!(["/dev/mqueue", "/proc/self"]));
    let script = "ls -A /sys; cat /proc/uptime /proc/cmdline; cat /proc/version; \
        touch /dev/mqueue/x 2>/dev/null || echo; grep -c ' /sys ' /proc/mounts";
    lab.container(b.sh(script)).run().ok().prints("bound\n2");
}
