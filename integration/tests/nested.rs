//! The level `nested`: containers in a container, whose root is nobody on the host.

use brig_integration::{Bundle, Lab, binaries, json, need};
use std::fs;

/// A bundle that asks for more than the level has, with brig and a bundle for it in the root.
fn outer(lab: &Lab) -> Bundle {
    let bundle = lab.plain_bundle();
    let inner = bundle.rootfs.join("inner");
    fs::create_dir(&inner).expect("make a directory");
    lab.call("cp").arg("-a").arg(binaries::rootfs("busybox")).arg(inner.join("rootfs")).go().ok();
    fs::copy(binaries::runtime(), bundle.rootfs.join("bin/brig")).expect("copy brig");
    let names = "AUDIT_WRITE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL NET_ADMIN NET_BIND_SERVICE NET_RAW SETFCAP \
                 SETGID SETPCAP SETUID SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_PTRACE";
    let all: Vec<String> = names.split(' ').map(|name| format!("CAP_{name}")).collect();
    let bundle = bundle
        .set("/process/capabilities", json!({"bounding": all, "permitted": all, "effective": all}))
        .mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}))
        .set("/process/noNewPrivileges", false)
        .set("/root/readonly", false)
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]));
    bundle.unset("/linux/seccomp").unset("/linux/resources")
}

fn level(name: &str) {
    let text = format!("version = 1\ndefault = {name:?}\n");
    fs::write("/etc/brig/policy.toml", text).expect("write a policy");
}

/// On the host its root is nobody; the kernel lets it mount and make namespaces, as brig does that is started there, whose
/// container is restricted like any other.
#[test]
fn a_brig_in_a_container_runs_a_container() {
    need!(Brig);
    let lab = Lab::new();
    let script = "mkdir -p /tmp/m && mount -t tmpfs x /tmp/m && unshare -m -u true && hostname other && echo mounts
        has() { [ $((0x$(sed -n 's/CapBnd:.//p' /proc/self/status) >> $1 & 1)) = 1 ]; }
        has 21 && ! has 16 && echo no-modules
        read inside outside count </proc/self/uid_map; [ $outside -ge 2000224256 ] && echo remapped
        cd /inner && brig spec && sed -i 's/\"terminal\": true/\"terminal\": false/' config.json
        echo 'id -u; grep -c NoNewPrivs:.1 /proc/self/status; mount -t tmpfs x /tmp 2>/dev/null || echo no mounts' |
            brig --root /tmp/state run inner";
    level("nested");
    let c = lab.container(outer(&lab).sh(script));
    c.run().ok().prints("mounts\nno-modules\nremapped\n0\n1\nno mounts");
    // What this level lets it do, and others do not.
    level("baseline");
    let c = lab
        .container(outer(&lab).sh(
            "mount -t tmpfs x /tmp 2>/dev/null || unshare -m true 2>/dev/null || echo neither",
        ));
    c.run().ok().prints("neither");
    lab.assert_clean();
}

/// Without a user namespace of which nobody is root of the host, what the level lets root do would be done to the host.
#[test]
fn root_of_the_host_makes_no_containers_in_a_container() {
    need!(Brig);
    let lab = Lab::new();
    level("nested");
    let c = lab.container(outer(&lab).user_namespace(0).sh("true"));
    c.run().failed().says("a map to user 0 of the host is refused by the rule remapping");
    // Files that cannot be given other owners: elsewhere the container has those of the host then.
    let (there, bundle) = (lab.path("ramfs"), lab.plain_bundle());
    fs::create_dir(&there).expect("make a directory");
    lab.call("mount").args(["-t", "ramfs", "ramfs"]).arg(&there).go().ok();
    lab.call("cp").arg("-a").arg(&bundle.rootfs).arg(&there).go().ok();
    let root = there.join("rootfs").to_string_lossy().into_owned();
    let c = lab.container(bundle.set("/root/path", root).sh("true"));
    c.run().failed().says("is refused by the rule remapping").says("ramfs");
    level("baseline");
    c.run().ok();
    lab.call("umount").arg(&there).go().ok();
    lab.assert_clean();
}

/// On cgroup v2 the container's own is given to its root, who may divide it, and not lift its limits.
#[test]
fn cgroups_are_made_in_a_container() {
    need!(Brig);
    need!(CgroupV2);
    let lab = Lab::new();
    level("nested");
    let script = "cd /sys/fs/cgroup && mkdir -p own/deeper && echo $$ >own/deeper/cgroup.procs && cat /proc/self/cgroup
        echo +pids >cgroup.subtree_control && [ -e own/pids.max ] && echo divided
        { echo max >pids.max; } 2>/dev/null || echo limited";
    let c = lab.container(outer(&lab).sh(script));
    c.run().ok().prints("0::/own/deeper\ndivided\nlimited");
    lab.assert_clean();
}
