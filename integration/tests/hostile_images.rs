//! Images, and directories that others may write, against what brig checks before it acts: what was looked
//! at is what is used, and what succeeds has an effect.

use brig_integration::{Bundle, Lab, json, need};
use std::fs;
use std::os::unix::fs::symlink;

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
