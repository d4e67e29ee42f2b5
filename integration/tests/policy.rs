//! The node's policy: /etc/brig/policy.toml, what it makes of what is asked for at each verb, and what it is told by.

use brig_integration::machine::{self, Layout};
use brig_integration::{Bundle, Console, Container, Lab, PATIENCE, POLICY, json, need, wait_until};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const FILE: &str = "/etc/brig/policy.toml";
const DROP_INS: &str = "/etc/brig/policy.d";

/// Puts a policy in the place of the node's, which nobody but this test sees.
fn policy(text: &str) {
    fs::create_dir_all("/etc/brig").expect("make a directory");
    fs::write(FILE, text).expect("write a policy");
    fs::set_permissions(FILE, fs::Permissions::from_mode(0o644)).expect("change its mode");
}

/// A policy of one profile with these rules.
fn rules(text: &str) {
    policy(&format!("version = 1\ndefault = \"it\"\n[profile.it]\n{text}\n"));
}

/// What a rule is tried with, and what comes of it in a container that is run.
struct Case {
    rule: &'static str,
    values: &'static str,
    asks: fn(Bundle) -> Bundle,
    comes_to: ComesTo,
}

enum ComesTo {
    /// This script prints this.
    Inside(&'static str, &'static str),
    /// The container is not made, and the error says this.
    Refused(&'static str),
}
use ComesTo::{Inside, Refused};

const fn case(
    rule: &'static str,
    values: &'static str,
    asks: fn(Bundle) -> Bundle,
    comes_to: ComesTo,
) -> Case {
    Case { rule, values, asks, comes_to }
}

fn with_cgroups(bundle: Bundle) -> Bundle {
    bundle.mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}))
}

const CASES: &[Case] = &[
    case(
        "remapping",
        "root = \"read-only\", size = \"1MiB\", unmappable = \"refuse\"",
        |bundle| bundle.user_namespace(0),
        Refused(
            "linux.uidMappings[0]: a map to user 0 of the host is refused by the rule remapping",
        ),
    ),
    case(
        "no_new_privileges",
        "",
        |bundle| bundle.set("/process/noNewPrivileges", false),
        Inside("grep -c 'NoNewPrivs:.1' /proc/self/status", "1"),
    ),
    case(
        "capabilities",
        "allow = [\"CAP_KILL\"]",
        |bundle| bundle.caps(&["CAP_KILL", "CAP_SYS_ADMIN"]),
        Inside("grep -c 'Cap[PEB].*:.0000000000000020' /proc/self/status", "3"),
    ),
    case(
        "ambient_capabilities",
        "allow = [\"CAP_KILL\"]",
        |bundle| {
            let all = ["bounding", "permitted", "effective", "inheritable", "ambient"];
            let all = all.map(|set| (set.to_owned(), json!(["CAP_KILL", "CAP_CHOWN"])));
            let all: serde_json::Map<_, _> = all.into_iter().collect();
            bundle.set("/process/user/uid", 1000).set("/process/capabilities", all)
        },
        Inside("grep -c 'Cap[EA].*:.0000000000000020' /proc/self/status", "2"),
    ),
    case(
        "securebits",
        "",
        |bundle| {
            bundle
                .set("/process/capabilities", json!({"bounding": ["CAP_KILL"]}))
                .set("/process/noNewPrivileges", false)
        },
        Inside("sh -c 'grep -c Cap[PE].*:.0000000000000000 /proc/self/status'", "2"),
    ),
    case(
        "security_label",
        "apparmor = [\"*\"], selinux_types = [\"container_t\"], required = false",
        |bundle| bundle.set("/process/apparmorProfile", "unconfined"),
        Refused("process.apparmorProfile: \"unconfined\" is refused by the rule security_label"),
    ),
    case(
        "users",
        "min_uid = 1000, min_gid = 0",
        |bundle| bundle.set("/process/user/uid", 999),
        Refused("process.user.uid: user 999 of the host is refused by the rule users"),
    ),
    case(
        "namespaces",
        "private = [\"ipc\"]",
        |bundle| bundle.without_namespace("ipc"),
        Inside("[ $(readlink /proc/self/ns/ipc) = $HOST_IPC ] || echo own", "own"),
    ),
    case(
        "cgroup_namespace",
        "",
        |bundle| bundle.without_namespace("cgroup"),
        Inside("grep -vc ':/$' /proc/self/cgroup || true", "0"),
    ),
    case(
        "read_only_root",
        "tmpfs = [\"/tmp\"], size = \"1MiB\"",
        |bundle| bundle.set("/root/readonly", false),
        Inside("touch /x 2>/dev/null; touch /tmp/x && ls /x /tmp/x 2>/dev/null || true", "/tmp/x"),
    ),
    case(
        "masked_paths",
        "paths = [\"/proc/version\"]",
        |bundle| bundle.set("/linux/maskedPaths", json!([])),
        Inside("cat /proc/version; echo hidden", "hidden"),
    ),
    case(
        "read_only_paths",
        "paths = [\"/tmp\"]",
        |bundle| bundle.set("/linux/readonlyPaths", json!([])),
        Inside("touch /tmp/x 2>/dev/null || echo read-only", "read-only"),
    ),
    case(
        "mount_types",
        "allow = [\"proc\", \"tmpfs\", \"devpts\", \"sysfs\", \"cgroup\", \"mqueue\"]",
        |bundle| bundle.bind(Path::new("/usr"), "/tmp", &["ro"]),
        Refused("\"bind\" is refused by the rule mount_types"),
    ),
    case(
        "bind_sources",
        "allow = [\"/usr\"], deny = [\"/usr/share\"], engines = [], images = []",
        |bundle| bundle.bind(Path::new("/usr/share"), "/tmp", &["ro"]),
        Refused(".source: /usr/share is refused by the rule bind_sources"),
    ),
    case(
        "kernel_mounts",
        "",
        |bundle| {
            with_cgroups(bundle.set("/mounts/5/options", json!([])))
                .mount(json!({"destination": "/sys", "options": ["remount", "rw"]}))
                .mount(
                    json!({"destination": "/sys/fs/cgroup", "options": ["remount", "rw", "rrw"]}),
                )
        },
        Inside(
            "for file in kernel/profiling fs/cgroup/cgroup.procs fs/cgroup/pids/cgroup.procs; do \
             (: >> /sys/$file) 2>/dev/null && echo $file; done; echo checked",
            "checked",
        ),
    ),
    case(
        "proc_view",
        "own_processes = true, processes_only = true",
        |bundle| bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})),
        Inside(
            "ls /proc/meminfo 2>/dev/null || echo hidden; grep -c hidepid=invisible /proc/self/mounts",
            "hidden\n1",
        ),
    ),
    case(
        "mount_flags",
        "except = []",
        |bundle| {
            bundle.mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "x", "options": ["suid", "dev"]}))
        },
        Inside("grep -c ' /tmp .*nosuid,nodev' /proc/self/mountinfo", "1"),
    ),
    case(
        "mount_propagation",
        "",
        |bundle| bundle.bind(Path::new("/usr"), "/tmp", &["rshared"]),
        Inside("grep -c ' /tmp .* shared:' /proc/self/mountinfo || true", "0"),
    ),
    case(
        "devices",
        "allow = []",
        |bundle| {
            bundle.set(
                "/linux/devices",
                json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]),
            )
        },
        Inside("[ -e /dev/kmsg ] || echo none", "none"),
    ),
    case(
        "sysctls",
        "allow = []",
        |bundle| bundle.set("/linux/sysctl", json!({"kernel/msgmax": "4096"})),
        Inside("[ $(cat /proc/sys/kernel/msgmax) = 4096 ] || echo default", "default"),
    ),
    case(
        "memory",
        "max = \"64MiB\"",
        |bundle| with_cgroups(bundle).set("/linux/resources/memory", json!({"limit": 1 << 30})),
        Inside(
            "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max",
            "67108864",
        ),
    ),
    case(
        "memory_high",
        "max = \"60MiB\"",
        with_cgroups,
        Inside("cat /sys/fs/cgroup/memory.high 2>/dev/null || echo 62914560", "62914560"),
    ),
    case(
        "swap",
        "max = \"16MiB\"",
        |bundle| {
            let memory = json!({"limit": 64 << 20, "swap": 128 << 20});
            with_cgroups(bundle).set("/linux/resources/memory", memory)
        },
        Inside(
            "cd /sys/fs/cgroup; { cat memory/memory.memsw.limit_in_bytes 2>/dev/null || cat memory.swap.max; } | \
             sed s/83886080/16777216/",
            "16777216",
        ),
    ),
    case(
        "oom_group",
        "",
        with_cgroups,
        Inside("cat /sys/fs/cgroup/memory.oom.group 2>/dev/null || echo 1", "1"),
    ),
    case(
        "hugetlb",
        "max = \"2MiB\"",
        with_cgroups,
        Inside(
            "cd /sys/fs/cgroup; cat hugetlb.2MB.max unified/hugetlb.2MB.max hugetlb/hugetlb.2MB.limit_in_bytes \
             2>/dev/null || [ -d /sys/kernel/mm/hugepages ] || echo 2097152",
            "2097152",
        ),
    ),
    case(
        "io",
        "weight = 100, disks = [{ device = \"b $DISK\", write_iops = 7 }]",
        with_cgroups,
        Inside(
            "cd /sys/fs/cgroup; cat blkio/blkio.throttle.write_iops_device io.max 2>/dev/null | \
             grep -c '^$DISK .*\\b7$'",
            "1",
        ),
    ),
    case(
        "cgroup_tree",
        "max_descendants = 3, max_depth = 2",
        |bundle| with_cgroups(bundle.user_namespace(500_000)),
        Inside("cat /sys/fs/cgroup/cgroup.max.d* 2>/dev/null || printf '2\\n3\\n'", "2\n3"),
    ),
    case(
        "processors",
        "max = 0.5",
        with_cgroups,
        Inside(
            "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || sed 's/ .*//' /sys/fs/cgroup/cpu.max",
            "50000",
        ),
    ),
    case(
        "pids",
        "max = 33",
        |bundle| with_cgroups(bundle).set("/linux/resources/pids", json!({"limit": -1})),
        Inside("cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max", "33"),
    ),
    case(
        "cgroup_files",
        "allow = []",
        |bundle| {
            with_cgroups(bundle).set("/linux/resources/unified", json!({"memory.oom.group": "1"}))
        },
        Inside("cat /sys/fs/cgroup/memory.oom.group 2>/dev/null || echo 0", "0"),
    ),
    case(
        "rlimits",
        "max = { RLIMIT_NOFILE = 100, RLIMIT_CORE = 0 }",
        |bundle| {
            bundle.set(
                "/process/rlimits",
                json!([{"type": "RLIMIT_NOFILE", "soft": 1000, "hard": 1000}]),
            )
        },
        Inside("ulimit -n; ulimit -c", "100\n0"),
    ),
    case(
        "oom_score",
        "min = 0",
        |bundle| bundle.set("/process/oomScoreAdj", -1),
        Inside("cat /proc/self/oom_score_adj", "0"),
    ),
    case(
        "scheduling",
        "",
        |bundle| bundle.set("/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 5})),
        Inside("awk '{ print $41 }' /proc/self/stat", "0"),
    ),
    case(
        "personality",
        "",
        |bundle| bundle.set("/linux/personality", json!({"domain": "LINUX32"})),
        Refused("linux.personality.domain: another execution domain than LINUX is refused"),
    ),
    case(
        "cgroup_parent",
        "allow = [\"/kubepods\"]",
        |bundle| bundle,
        Refused("is refused by the rule cgroup_parent"),
    ),
    case(
        "seccomp",
        "profile = \"sandbox\"",
        |bundle| bundle.caps(&["CAP_SYS_CHROOT"]).unset("/linux/seccomp"),
        Inside(
            "grep -c 'Seccomp:.2' /proc/self/status; chroot / true 2>/dev/null || echo refused",
            "1\nrefused",
        ),
    ),
    case(
        "mitigations",
        "on = [\"CVE-2023-0386\"], off = []",
        |bundle| bundle.caps(&["CAP_SYS_ADMIN"]).unset("/linux/seccomp"),
        Inside("mount -t tmpfs x /tmp 2>/dev/null && echo mounted || echo refused", "refused"),
    ),
    case(
        "nested_user_namespaces",
        "",
        |bundle| bundle.user_namespace(500_000).unset("/linux/seccomp"),
        Inside("unshare -U true 2>/dev/null && echo made || echo refused", "refused"),
    ),
    case(
        "seccomp_listener",
        "allow = [\"/dev/zero\"]",
        |bundle| {
            let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/dev/null", "syscalls": [
                {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]});
            bundle.set("/linux/seccomp", filter)
        },
        Refused("linux.seccomp.listenerPath: the socket \"/dev/null\" is refused by the rule"),
    ),
    case(
        "landlock",
        "files = true, exec_only_from_image = true, scopes = [], tcp_bind = \"any\", tcp_connect = \"any\", \
         udp_bind = \"any\", udp_connect = \"any\", sockets = \"any\"",
        |bundle| bundle.mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "x"})),
        Inside(
            "cp /bin/busybox /tmp/sh; /tmp/sh -c 'echo run' 2>/dev/null || echo denied",
            "denied",
        ),
    ),
    case("write_xor_execute", "", |bundle| bundle, Inside("/probe mdwe | grep -c true", "1")),
    case(
        "hooks",
        "allow = [], engines = [], seconds = 1",
        |bundle| bundle.set("/hooks/prestart", json!([{"path": "/bin/true"}])),
        Refused("hooks.prestart[0]: the program \"/bin/true\" is refused by the rule hooks"),
    ),
    case(
        "net_devices",
        "",
        |bundle| bundle.set("/linux/netDevices", json!({"eth9": {}})),
        Refused("linux.netDevices[\"eth9\"]: an interface of the host is refused"),
    ),
    case(
        "intel_rdt",
        "",
        |bundle| bundle.set("/linux/intelRdt", json!({"closID": "x"})),
        Refused("linux.intelRdt: a group of resctrl is refused"),
    ),
    case(
        "bandwidth",
        "egress_mbit = 10, ingress_mbit = 10",
        |bundle| bundle.without_namespace("network"),
        Refused("linux.namespaces: the host's network, which cannot be limited, is refused"),
    ),
    case(
        "images",
        "allow = [\"registry.example/team/*\"]",
        |bundle| {
            bundle.set(
                "/annotations",
                json!({"io.kubernetes.cri.image-name": "docker.io/library/x:1"}),
            )
        },
        Refused(
            "annotations[\"io.kubernetes.cri.image-name\"]: the image \"docker.io/library/x:1\" is refused",
        ),
    ),
    case(
        "annotations",
        "allow = [], profiles = []",
        |bundle| bundle.set("/annotations", json!({"io.brig.profile": "sandbox"})),
        Refused("annotations[\"io.brig.profile\"]: \"sandbox\" is refused by the rule annotations"),
    ),
];

/// The numbers of a disk of this machine, whichever.
fn any_disk() -> String {
    let disks = fs::read_dir("/sys/block").expect("disks");
    let mut disks =
        disks.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("dev")).ok());
    disks.next().expect("a disk").trim().to_owned()
}

#[test]
fn every_rule_holds_in_a_container_that_is_run() {
    need!(Brig);
    let known: Vec<_> = brig::policy::RULES.iter().map(|rule| rule.name).collect();
    let tried: Vec<_> = CASES.iter().map(|case| case.rule).collect();
    assert_eq!(tried, known, "a rule without a case");
    let lab = Lab::new();
    let ipc = fs::read_link("/proc/self/ns/ipc").expect("a namespace");
    let disk = any_disk();
    for Case { rule, values, asks, comes_to } in CASES {
        let values = values.replace("$DISK", &disk);
        let set = |mode: &str| {
            let values = if values.is_empty() { String::new() } else { format!(", {values}") };
            rules(&format!("{rule} = {{ mode = \"{mode}\"{values} }}"));
        };
        let script = match comes_to {
            Inside(script, _) => {
                script.replace("$HOST_IPC", &format!("'{}'", ipc.display())).replace("$DISK", &disk)
            }
            Refused(_) => "true".to_owned(),
        };
        let container = lab.container(asks(lab.bundle()).sh(&script));
        set("enforce");
        match comes_to {
            Inside(_, printed) => drop(container.run().ok().prints(printed)),
            Refused(words) => drop(container.run().failed().says(words)),
        }
        set("refuse");
        container.run().failed().says("the node's profile \"it\" denies the request").says(rule);
        lab.assert_clean();
    }
}

#[test]
fn there_is_no_second_proc_or_sysfs() {
    need!(Brig);
    let lab = Lab::new();
    policy("version = 1\ndefault = \"baseline\"\n");
    for kind in ["proc", "sysfs"] {
        let second = json!({"destination": "/tmp", "type": kind, "source": kind});
        let refused =
            format!("destination: a {kind} at \"/tmp\" is refused by the rule kernel_mounts");
        lab.container(lab.bundle().mount(second).sh("true")).run().failed().says(&refused);
    }
    // The same place in other words, and one over the other.
    let again = json!({"destination": "//proc/.", "type": "proc", "source": "proc"});
    let script = "(: >> /proc/sys/kernel/core_pattern) 2>/dev/null || echo read-only";
    lab.container(lab.bundle().mount(again).sh(script)).run().ok().prints("read-only");
}

#[test]
fn later_mounts_undo_nothing() {
    need!(Brig);
    let lab = Lab::new();
    rules("extends = \"restricted\"\nmasked_paths.paths = [\"/proc/version\"]");
    let again = |place: &str, options: &[&str]| json!({"destination": place, "options": options});
    let bundle = lab
        .bundle()
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .mount(again("/", &["remount", "rw", "suid", "dev"]))
        .mount(again("/proc", &["remount", "rw", "suid", "dev", "exec"]))
        .mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "x", "options": ["suid", "dev", "exec"]}))
        .mount(again("/tmp", &["remount", "suid", "dev"]))
        .sh("touch /x 2>/dev/null && echo root; cat /proc/version; [ -w /proc/sys/kernel/msgmax ] && echo sysctl; \
            awk '$5 == \"/tmp\" || $5 == \"/\" || $5 == \"/proc\" { print $5, $6 }' /proc/self/mountinfo");
    let said = lab.container(bundle).run().ok().stdout();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines.iter().any(|line| line.starts_with("/ ro,")), "{said}");
    for place in ["/proc ", "/tmp "] {
        let line = lines.iter().find(|line| line.starts_with(place)).expect(place);
        assert!(line.contains("nosuid,nodev"), "{said}");
    }
}

/// What a mount shows is masked and read-only by its path.
/// Podman binds files into /run, and Kubernetes a token into /var/run, which is a link to /run in most images.
#[test]
fn places_to_write_in_hide_nothing_that_is_asked_for() {
    need!(Brig);
    let lab = Lab::new();
    rules(
        "read_only_root = { mode = \"enforce\", tmpfs = [\"/run\", \"/tmp\", \"/data/in\"], size = \"1MiB\" }",
    );
    let (secrets, data) = (lab.path("secrets"), lab.path("data"));
    for dir in [&secrets, &data] {
        fs::create_dir(dir).expect("make a directory");
        fs::write(dir.join("token"), "it is here").expect("write");
    }
    let bundle = lab.bundle();
    symlink("../run", bundle.rootfs.join("var/run")).expect("link");
    let bundle = bundle
        .bind(&secrets, "/var/run/secrets", &["ro"])
        .bind(&secrets.join("token"), "/run/.containerenv", &["ro"])
        .bind(&data, "/data", &["rw"])
        .sh("cat /run/.containerenv /run/secrets/token; touch /run/x /tmp/x /data/in 2>&1; ls /run/x /tmp/x /data; touch /x 2>/dev/null || echo read-only");
    let output = lab.container(bundle).run().ok();
    output.prints("it is hereit is here/run/x\n/tmp/x\n\n/data:\nin\ntoken\nread-only");
    lab.assert_clean();
}

#[test]
fn no_mount_shows_again_what_an_earlier_one_does() {
    need!(Brig);
    let lab = Lab::new();
    let b = lab.bundle();
    let proc = b.rootfs.join("proc");
    let b =
        b.bind(&proc, "/tmp", &["rbind", "rw"]).sh("[ -e /tmp/self ] && echo proc || echo image");
    rules("");
    lab.container(b.clone()).run().ok().prints("proc");
    rules("masked_paths = { mode = \"enforce\", paths = [\"/proc/version\"] }");
    lab.container(b).run().ok().prints("image");
}

/// Rules about sources: nothing but what is in `allow`, and not what is in `deny`.
fn sources(allow: &[&Path], deny: &[&Path]) {
    rules(&format!(
        "bind_sources = {{ mode = \"refuse\", allow = {allow:?}, deny = {deny:?}, engines = [], images = [] }}"
    ));
}

#[test]
fn a_source_is_judged_by_what_it_is_not_by_its_path() {
    need!(Brig);
    let lab = Lab::new();
    let [volume, secret] = ["volume", "secret"].map(|name| lab.path(name));
    for directory in [&volume, &secret, &volume.join("alias"), &secret.join("inner")] {
        fs::create_dir(directory).expect("make a directory");
    }
    for (name, leads_to) in [
        ("link", &*secret),
        ("inner", &secret.join("inner")),
        ("round", Path::new("/proc/self/root")),
    ] {
        symlink(leads_to, volume.join(name)).expect("link");
    }
    let _socket = std::os::unix::net::UnixListener::bind(volume.join("socket")).expect("bind");
    lab.call("mknod").arg(volume.join("null")).args(["c", "1", "3"]).go().ok();
    sources(&[&volume, Path::new("/proc")], &[&secret]);
    let run = |source: &Path| {
        let bundle = lab.bundle().bind(source, "/tmp", &["rbind"]).sh("true");
        lab.container(bundle).run()
    };
    run(&volume).ok();
    let alias = volume.join("alias");
    lab.call("mount").arg("--bind").args([&secret, &alias]).go().ok();
    let is_secret = format!("source: {} is refused", secret.display());
    let in_secret = format!("which is in {}, is refused", secret.display());
    let has_secret = format!("which has {} in it, is refused", secret.display());
    for (source, words) in [
        (secret.clone(), &*is_secret),
        (volume.join("link"), &is_secret),
        (volume.join("..").join(secret.file_name().expect("a name")).join("."), &is_secret),
        (volume.join("inner"), &in_secret),
        (volume.join("link/inner"), &in_secret),
        // By another mount of it.
        (alias.clone(), "volume0/alias is refused"),
        (alias.join("inner"), &in_secret),
        (volume.join("round"), &has_secret),
        ("/".into(), &has_secret),
        (volume.join(".."), &has_secret),
        (volume.join("socket"), "volume0/socket, a socket, is refused"),
        (volume.join("null"), "volume0/null, a device, is refused"),
        ("/proc/sys".into(), "/proc/sys, of the file system proc, is refused"),
        ("/usr".into(), "/usr, which is in nothing that may be bound, is refused"),
        (volume.join("missing"), "missing, which cannot be looked at (No such file"),
    ] {
        run(&source).failed().says(words).says("bind_sources");
    }
    lab.call("umount").arg(&alias).go().ok();
    let rooted = lab.bundle().set("/root/path", "/").sh("true");
    lab.container(rooted).run().failed().says("root.path: /, which has").says("bind_sources");
    lab.assert_clean();
}

/// Engines have their sockets, and everybody's containers, in the directories that roots are in.
#[test]
fn a_root_is_that_of_one_container_and_no_engines_directory() {
    need!(Brig);
    let lab = Lab::new();
    let image = lab.bundle().rootfs;
    for place in ["/run", "/var/lib", "/home", "/srv"] {
        lab.tmpfs(Path::new(place));
    }
    policy("version = 1\ndefault = \"restricted\"\n");
    for directory in ["/run/containerd", "/run/user/1000/podman"] {
        fs::create_dir_all(directory).expect("make directories");
    }
    let sockets = ["/run/containerd/containerd.sock", "/run/user/1000/podman/podman.sock"];
    let _sockets = sockets.map(|path| std::os::unix::net::UnixListener::bind(path).expect("bind"));
    let is_in =
        |directory: &str| format!(", which is in {directory}, is refused by the rule bind_");
    let is_elsewhere = ", which is neither in the bundle nor in anything".to_owned();
    for (path, why) in [
        ("/run/containerd", is_in("/run")),
        ("/run/containerd/io.containerd.runtime.v2.task", is_in("/run")),
        ("/run/containerd/io.containerd.runtime.v2.task/k8s.io", is_in("/run")),
        ("/run/containerd/io.containerd.runtime.v2.task/k8s.io/one", is_in("/run")),
        ("/run/user", is_in("/run")),
        ("/run/user/1000", is_in("/run")),
        ("/var/lib/containers", "/var/lib/containers is refused by the rule bind_".to_owned()),
        ("/var/lib/docker", "/var/lib/docker is refused by the rule bind_".to_owned()),
        ("/var/lib", ", which has /var/lib/".to_owned()),
        ("/var/lib/docker/overlay2", is_in("/var/lib/docker")),
        ("/var/lib/docker/overlay2/one", is_in("/var/lib/docker")),
        ("/home", is_elsewhere.clone()),
        ("/home/me", is_elsewhere.clone()),
        ("/tmp", is_elsewhere.clone()),
        ("/var/backups", is_elsewhere),
    ] {
        fs::create_dir_all(path).expect("make a directory");
        let bundle = lab.bundle().set("/root/path", path).sh("true");
        lab.container(bundle).run().failed().says(&format!("root.path: {path}")).says(&why);
    }
    let root = |path: &str| {
        lab.show_at(Path::new(path), &image);
        lab.container(lab.bundle().set("/root/path", path).sh("echo runs")).run()
    };
    // Docker and Podman mount them outside of the bundle; what may be bound may be one too.
    for path in [
        "/run/containerd/io.containerd.runtime.v2.task/k8s.io/one/rootfs",
        "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/one/rootfs",
        "/var/lib/buildkit/runc-overlayfs/executor/one/rootfs",
        "/var/lib/docker/overlay2/one/merged",
        "/var/lib/docker/rootfs/overlayfs/one",
        "/var/lib/containers/storage/overlay/one/merged",
        "/home/me/.local/share/containers/storage/overlay/one/merged",
        "/srv/image",
    ] {
        root(path).ok().prints("runs");
    }
    let bundle = lab.bundle();
    let itself = bundle.dir.to_string_lossy().into_owned();
    let why = ", which is neither in the bundle nor";
    lab.container(bundle.set("/root/path", itself).sh("true")).run().failed().says(why);
    lab.container(lab.bundle().set("/root/path", "rootfs").sh("echo runs"))
        .run()
        .ok()
        .prints("runs");
}

/// Beside what engines bind into a container is what is theirs, and other containers'.
#[test]
fn what_engines_bind_may_be_bound_and_nothing_beside_it() {
    need!(Brig);
    let lab = Lab::new();
    for place in ["/run", "/var/lib", "/home"] {
        lab.tmpfs(Path::new(place));
    }
    policy("version = 1\ndefault = \"restricted\"\n");
    let run = |paths: &[String]| {
        let bundle = paths.iter().enumerate().fold(lab.bundle(), |bundle, (index, path)| {
            bundle.bind(Path::new(path), &format!("/tmp/{index}"), &["rbind", "rw"])
        });
        lab.container(bundle.sh("cat /tmp/*/told")).run()
    };
    let cri = "io.containerd.grpc.v1.cri";
    let bound = [
        "/var/lib/kubelet/pods/one/volumes/kubernetes.io~projected/token".to_owned(),
        "/var/lib/kubelet/pods/one/volumes/kubernetes.io~empty-dir/data/in".to_owned(),
        "/var/lib/kubelet/pods/one/volume-subpaths/data/it/0".to_owned(),
        "/var/lib/kubelet/pods/one/containers/it/0123abcd".to_owned(),
        format!("/run/containerd/{cri}/sandboxes/one/shm"),
        format!("/var/lib/containerd/{cri}/containers/one/volumes/0123"),
        "/var/lib/docker/volumes/one/_data".to_owned(),
        "/var/lib/docker/containers/one/mounts/shm".to_owned(),
        "/var/lib/containers/storage/volumes/one/_data".to_owned(),
        "/var/lib/containers/storage/overlay-containers/one/userdata/shm".to_owned(),
        "/run/containers/storage/overlay-containers/one/userdata/run".to_owned(),
        "/run/user/1000/containers/overlay-containers/one/userdata/run".to_owned(),
        "/home/me/.local/share/containers/storage/volumes/one/_data".to_owned(),
        "/var/lib/nerdctl/1935db59/volumes/default/one/_data".to_owned(),
    ];
    for path in &bound {
        fs::create_dir_all(path).expect("make directories");
        fs::write(Path::new(path).join("told"), "told\n").expect("write");
    }
    run(&bound).ok().prints(&["told"; 14].join("\n"));
    let files =
        ["/var/lib/docker/containers/one/config.v2.json", "/run/user/1000/containers/auth.json"];
    files.iter().for_each(|file| fs::write(file, "secret").expect("write"));
    for path in [
        "/var/lib/kubelet/pods",
        "/var/lib/kubelet/pods/one",
        "/var/lib/kubelet/pods/one/volumes",
        "/var/lib/kubelet/pods/one/volumes/kubernetes.io~projected",
        &format!("/run/containerd/{cri}/sandboxes"),
        &format!("/run/containerd/{cri}/sandboxes/one"),
        &format!("/var/lib/containerd/{cri}/containers/one/volumes"),
        "/var/lib/docker/volumes",
        "/var/lib/docker/containers",
        "/var/lib/docker/containers/one/config.v2.json",
        "/var/lib/containers/storage/volumes/one",
        "/var/lib/containers/storage/overlay-containers/one/userdata",
        "/run/containers/storage",
        "/run/user/1000/containers",
        "/run/user/1000/containers/auth.json",
        "/home/me/.local/share/containers/storage/volumes",
        "/var/lib/nerdctl/1935db59/volumes/default",
    ] {
        run(&[path.to_owned()]).failed().says(&format!("source: {path}, which is in "));
    }
}

/// Who may write to a home has no say in which other directories are Podman's.
#[test]
fn a_link_in_a_home_lets_nothing_be_bound() {
    need!(Brig);
    let lab = Lab::new();
    for place in ["/run", "/home"] {
        lab.tmpfs(Path::new(place));
    }
    policy("version = 1\ndefault = \"restricted\"\n");
    for directory in ["/home/other/.local/share/containers", "/run/secret/volumes/x/_data"] {
        fs::create_dir_all(directory).expect("make directories");
    }
    symlink("/run/secret", "/home/other/.local/share/containers/storage").expect("link");
    let linked = Path::new("/home/other/.local/share/containers/storage/volumes/x/_data");
    let bundle = lab.bundle().bind(linked, "/tmp", &["rbind"]).sh("true");
    let said = "source: /run/secret/volumes/x/_data, which is in /run";
    lab.container(bundle).run().failed().says(said);
}

#[test]
fn what_is_denied_is_not_bound_with_what_it_is_really_in() {
    need!(Brig);
    let lab = Lab::new();
    let [disk, moved] = ["disk", "moved"].map(|name| lab.path(name));
    fs::create_dir_all(disk.join("all/engine")).expect("make directories");
    symlink(disk.join("all/engine"), &moved).expect("link");
    sources(&[&disk], &[&moved]);
    let run =
        |source: &Path| lab.container(lab.bundle().bind(source, "/tmp", &[]).sh("true")).run();
    for source in [disk.clone(), disk.join("all")] {
        run(&source).failed().says("which has ").says("in it, is refused by the rule bind_sources");
    }
    fs::create_dir(disk.join("other")).expect("make a directory");
    run(&disk.join("other")).ok();
    policy("version = 1\ndefault = \"baseline\"\n");
    for program in ["/usr", "/bin/sh"] {
        run(Path::new(program)).failed().says("is refused by the rule bind_sources");
    }
}

#[test]
fn a_source_that_is_exchanged_after_it_was_judged_is_not_mounted() {
    need!(Brig);
    let lab = Lab::new();
    let [volume, secret] = ["volume", "secret"].map(|name| lab.path(name));
    let [one, other] = ["one", "other"].map(|name| volume.join(name));
    for directory in [&volume, &secret, &one] {
        fs::create_dir(directory).expect("make a directory");
    }
    symlink(&secret, &other).expect("link");
    fs::write(one.join("which"), "the volume").expect("write");
    fs::write(secret.join("which"), "the secret").expect("write");
    sources(&[&volume], &[&secret]);
    let bundle = lab.bundle().bind(&one, "/tmp", &["bind", "ro"]).sh("cat /tmp/which");
    let container = lab.container(bundle);
    let done = AtomicBool::new(false);
    let outcomes = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let both = (&one, &other);
                renameat_with(CWD, both.0, CWD, both.1, RenameFlags::EXCHANGE).expect("exchange");
                // Not all the time: the containers need the processor too.
                thread::sleep(Duration::from_micros(100));
            }
        });
        let outcomes: Vec<_> = (0..200).map(|_| container.run()).collect();
        done.store(true, Ordering::Relaxed);
        outcomes
    });
    let (mut mounted, mut denied, mut exchanged) = (0, 0, 0);
    for outcome in &outcomes {
        let (out, err) = (outcome.stdout(), outcome.stderr());
        assert!(!out.contains("the secret"), "{out}");
        match () {
            () if out.contains("the volume") => mounted += 1,
            () if err.contains("refused by the rule bind_sources") => denied += 1,
            () if err.contains("another file or directory has replaced it") => exchanged += 1,
            () => panic!("{out}{err}"),
        }
    }
    println!("mounted {mounted}, denied {denied}, exchanged meanwhile {exchanged}");
    assert!(mounted > 0 && denied > 0 && exchanged > 0, "{mounted} {denied} {exchanged}");
    lab.assert_clean();
}

#[test]
fn the_nodes_filter_is_loaded_beside_the_containers_own() {
    need!(Brig);
    let lab = Lab::new();
    rules("seccomp = { mode = \"enforce\", profile = \"sandbox\" }");
    let script = "grep Seccomp_filters /proc/self/status; for way in chroot mkdir; do $way / true 2>&1; done; true";
    let own = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        // What loads another filter is refused too: the container's own comes last.
        {"names": ["mkdir", "mkdirat", "seccomp", "prctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]});
    for no_new_privileges in [true, false] {
        let bundle = lab
            .bundle()
            .caps(&["CAP_SYS_CHROOT"])
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/linux/seccomp", own.clone())
            .set("/hooks", json!({"startContainer": [{
                "path": "/bin/sh", "args": ["sh", "-c", "chroot / true && exit 1; mkdir /tmp/x && exit 2; exit 0"]}]}));
        let twice = |said: &str| {
            assert!(said.contains("Seccomp_filters:\t2"), "{said}");
            assert!(said.contains("Operation not permitted"), "the node's: {said}");
            assert!(said.contains("No space left"), "its own: {said}");
        };
        let c = lab.container(bundle.idle());
        c.run_detached().ok();
        twice(&c.exec_call(&[], &["sh", "-c", script]).go().ok().stdout());
        c.delete_force().ok();
        let c = lab.container(c.bundle.clone().sh(script));
        twice(&c.run().ok().stdout());
        lab.assert_clean();
    }
    // Without one of its own, and with root's power to load none after that.
    let bundle = lab.bundle().set("/process/noNewPrivileges", false).unset("/linux/seccomp");
    let c = lab.container(bundle.sh("grep -c 'Seccomp_filters:.1' /proc/self/status"));
    c.run().ok().prints("1");
    let notifying = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": lab.path("nobody"), "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]});
    let c = lab.container(lab.bundle().set("/linux/seccomp", notifying).sh("true"));
    c.run().failed().says("linux.seccomp.listenerPath");
    lab.assert_clean();
}

#[test]
fn ways_into_the_kernel_are_closed_and_opened_one_by_one() {
    need!(Brig);
    let lab = Lab::new();
    let script = "unshare -U true 2>/dev/null && echo made; unshare -r -m mount -t tmpfs x /tmp 2>/dev/null && \
                  echo mounted; true";
    let default = "seccomp = { mode = \"enforce\", profile = \"default\" }\n";
    let off = "mitigations = { mode = \"enforce\", on = [], off = [{ name = \"user-namespaces\", reason = \"x\" }] }\n";
    let on =
        "mitigations = { mode = \"enforce\", on = [\"mounts-in-user-namespaces\"], off = [] }\n";
    let nested = "nested_user_namespaces = { mode = \"enforce\" }\n";
    for (text, said) in [
        (String::new(), "made\nmounted\n"),
        (default.to_owned(), ""),
        (format!("{default}{off}"), "made\n"),
        (on.to_owned(), "made\n"),
        (nested.to_owned(), ""),
        (format!("{default}{off}{nested}"), ""),
    ] {
        rules(&text);
        // Root would need CAP_SETFCAP to be root there too.
        let user = json!({"uid": 1000, "gid": 1000});
        let bundle = lab.bundle().unset("/linux/seccomp").set("/process/user", user);
        assert_eq!(lab.container(bundle.clone().sh(script)).run().ok().stdout(), said, "{text}");
        let c = lab.container(bundle.idle());
        c.run_detached().ok();
        fs::remove_file(FILE).expect("remove the policy");
        assert_eq!(c.exec_sh(script).ok().stdout(), said, "exec: {text}");
        c.delete_force().ok();
    }
    lab.assert_clean();
}

/// A container that runs under these rules; they are gone then, as what was decided stays.
fn running<'l>(lab: &'l Lab, text: &str) -> Container<'l> {
    rules(text);
    let container = lab.container(
        lab.bundle()
            .caps(&["CAP_KILL", "CAP_CHOWN"])
            .set("/process/user", json!({"uid": 1000, "gid": 1000}))
            .idle(),
    );
    container.run_detached().ok();
    fs::write(FILE, POLICY).expect("write a policy");
    container
}

#[test]
fn exec_gets_no_more_than_the_container_could() {
    need!(Brig);
    let lab = Lab::new();
    let c = running(
        &lab,
        "no_new_privileges = { mode = \"enforce\" }\ncapabilities = { mode = \"enforce\", allow = [\"CAP_KILL\"] }\n\
         users = { mode = \"refuse\", min_uid = 1000, min_gid = 1000 }\n\
         rlimits = { mode = \"enforce\", max = { RLIMIT_CORE = 0 } }",
    );
    let status = ["grep", "-E", "NoNewPrivs|CapBnd", "/proc/self/status"];
    c.exec_call(&["--cap", "CAP_SYS_ADMIN", "--cap", "CAP_KILL"], &status)
        .go()
        .ok()
        .prints("CapBnd:\t0000000000000020\nNoNewPrivs:\t1");
    c.exec_call(&["--user", "0"], &status)
        .go()
        .failed()
        .says("process.user.uid: user 0 of the host is refused");
    c.exec_call(&["--additional-gids", "0"], &status)
        .go()
        .failed()
        .says("process.user.additionalGids[0]: group 0 of the host is refused");
    let process = json!({
        "cwd": "/", "args": ["sh", "-c", "ulimit -c; grep CapEff /proc/self/status"],
        "user": {"uid": 1000, "gid": 1000}, "noNewPrivileges": false,
        "capabilities": {"bounding": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN"], "effective": ["CAP_SYS_ADMIN"]},
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 5, "hard": 5}],
    });
    let file = lab.path("process.json");
    fs::write(&file, process.to_string()).expect("write");
    let file = file.to_string_lossy().into_owned();
    c.exec_call(&["--process", &file], &[]).go().ok().prints("0\nCapEff:\t0000000000000000");
    c.delete_force().ok();
}

#[test]
fn update_raises_no_limit_above_the_policys() {
    need!(Brig);
    let lab = Lab::new();
    let c = running(
        &lab,
        "pids = { mode = \"enforce\", max = 50 }\nmemory = { mode = \"enforce\", max = \"4GiB\" }",
    );
    let pids = || c.cgroup_file("pids", "pids.max").trim().to_owned();
    assert_eq!(pids(), "50");
    c.call("update", ["--pids-limit", "20"]).go().ok();
    assert_eq!(pids(), "20");
    for more in ["-1", "51"] {
        c.call("update", ["--pids-limit", more]).go().ok();
        assert_eq!(pids(), "50", "{more}");
    }
    c.delete_force().ok();
}

/// Files of cgroup v1 and v2, and a part of what is in them.
const CONTROLS: [(&str, &str, &str); 8] = [
    ("memory", "memory.memsw.limit_in_bytes", "83886080"),
    ("blkio", "blkio.throttle.write_iops_device", " 7"),
    ("memory", "memory.swap.max", "16777216"),
    ("memory", "memory.high", "62914560"),
    ("memory", "memory.oom.group", "1"),
    ("io", "io.max", " wiops=7"),
    ("memory", "cgroup.max.descendants", "3"),
    ("memory", "cgroup.max.depth", "2"),
];

#[test]
fn controls_are_within_the_policy_when_made_and_when_changed() {
    need!(Brig);
    let lab = Lab::new();
    let disk = any_disk();
    rules(&format!(
        "memory_high = {{ mode = \"enforce\", max = \"60MiB\" }}\nswap = {{ mode = \"enforce\", max = \"16MiB\" }}\n\
         oom_group = {{ mode = \"enforce\" }}\ncgroup_tree = {{ mode = \"enforce\", max_descendants = 3, max_depth = 2 }}\n\
         io = {{ mode = \"enforce\", weight = 500, disks = [{{ device = \"b {disk}\", write_iops = 7 }}] }}"
    ));
    let bundle = lab.bundle().user_namespace(500_000).idle();
    let c = lab.container(bundle.set("/linux/resources/memory", json!({"limit": 64 << 20})));
    c.run_detached().ok();
    fs::write(FILE, POLICY).expect("write a policy");
    let is_v2 = machine::layout() == Layout::V2;
    let read = || -> Vec<_> {
        let (v1, v2) = CONTROLS.split_at(2);
        let files = if is_v2 { v2 } else { v1 };
        files.iter().map(|(controller, file, of)| (c.cgroup_file(controller, file), *of)).collect()
    };
    let made = read();
    assert!(made.iter().all(|(found, of)| found.contains(of)), "{made:?}");
    let (major, minor) = disk.split_once(':').expect("numbers");
    let number = |text: &str| text.parse::<i64>().expect("a number");
    let mut more = json!({"memory": {"limit": 64 << 20, "swap": 1 << 30}, "blockIO": {
        "throttleWriteIOPSDevice": [{"major": number(major), "minor": number(minor), "rate": 0}]}});
    if is_v2 {
        more["unified"] = json!({"memory.high": "max", "memory.oom.group": "0", "cgroup.max.depth": "9",
            "cgroup.max.descendants": "max", "memory.swap.max": "max", "io.max": format!("{disk} wiops=max")});
    }
    let more = more.to_string();
    c.call("update", ["--resources", "-"]).stdin(more.as_bytes()).go().ok();
    assert_eq!(read(), made);
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn a_quota_is_judged_by_the_period_that_stays() {
    need!(Brig);
    let lab = Lab::new();
    rules("processors = { mode = \"enforce\", max = 1 }");
    let limits = json!({"period": 1000, "quota": 1000});
    let c = lab.container(lab.bundle().set("/linux/resources/cpu", limits).idle());
    c.run_detached().ok();
    let cgroup = c.cgroup("cpu");
    let read = || {
        ["cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max"]
            .map(|file| fs::read_to_string(cgroup.join(file)).unwrap_or_default())
            .concat()
    };
    let limit = read();
    c.call("update", ["--cpu-quota", "100000"]).go().ok();
    assert_eq!(read(), limit);
    c.delete_force().ok();
}

#[test]
fn a_namespace_of_the_host_is_none_of_a_containers_own_by_whatever_path() {
    need!(Brig);
    let lab = Lab::new();
    for (kind, name) in [("ipc", "ipc"), ("network", "net"), ("uts", "uts"), ("cgroup", "cgroup")] {
        rules(&match kind {
            "cgroup" => "cgroup_namespace = { mode = \"enforce\" }".to_owned(),
            kind => format!("namespaces = {{ mode = \"enforce\", private = [\"{kind}\"] }}"),
        });
        let path = lab.path(name);
        symlink(format!("/proc/self/ns/{name}"), &path).expect("link");
        for path in [format!("/proc/self/ns/{name}"), path.to_string_lossy().into_owned()] {
            let bundle = lab.bundle().unset("/hostname").namespace(kind, Some(&path)).sh("true");
            lab.container(bundle).run().failed().says("namespace is refused by the rule ");
            lab.assert_clean();
        }
    }
}

#[test]
fn who_asks_for_no_score_has_not_the_callers() {
    need!(Brig);
    let lab = Lab::new();
    rules("oom_score = { mode = \"enforce\", min = 100 }");
    let score = ["cat", "/proc/self/oom_score_adj"];
    lab.container(lab.bundle().args(score)).run().ok().prints("100");
    let c = running(&lab, "oom_score = { mode = \"enforce\", min = 100 }");
    c.exec(&score).ok().prints("100");
    c.delete_force().ok();
}

#[test]
fn who_asks_for_no_limit_nor_priority_has_not_the_callers() {
    need!(Brig);
    let lab = Lab::new();
    let script = "ulimit -n; awk '{ print $19, $41 }' /proc/self/stat; ionice";
    // More than the usual, as a service of the host's may have it.
    let usual = "rlimits = { mode = \"enforce\", max = { RLIMIT_NOFILE = 1000 } }\nscheduling = { mode = \"enforce\" }";
    let favoured: &[&str] =
        &["nice", "-n", "-5", "prlimit", "--nofile=5000:6000", "ionice", "-c1", "-n0"];
    // Less is meant for the program.
    let modest: &[&str] = &["nice", "-n", "5", "prlimit", "--nofile=500:600"];
    for (text, caller, said) in [
        ("", favoured, "5000\n-5 0\nrealtime: prio 0"),
        (usual, favoured, "1000\n0 0\nbest-effort: prio 4"),
        ("", modest, "500\n5 0\nnone: prio 0"),
        (usual, modest, "500\n5 0\nnone: prio 0"),
    ] {
        rules(text);
        let c = lab.container(lab.bundle().set("/process/rlimits", json!([])).sh(script));
        c.run_call(&[]).under(caller).go().ok().prints(said);
        let c = lab.container(lab.bundle().set("/process/rlimits", json!([])).idle());
        c.run_call(&["--detach"]).under(caller).go().ok();
        c.exec_call(&[], &["sh", "-c", script]).under(caller).go().ok().prints(said);
        c.delete_force().ok();
    }
    lab.assert_clean();
}

#[test]
fn nobody_becomes_a_user_that_is_refused() {
    need!(Brig);
    let lab = Lab::new();
    let sets = ["bounding", "permitted", "effective", "inheritable", "ambient"]
        .map(|set| (set.to_owned(), json!(["CAP_SETUID", "CAP_KILL"])));
    let sets: serde_json::Map<_, _> = sets.into_iter().collect();
    let bundle = lab
        .bundle()
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/capabilities", sets)
        .sh("grep CapAmb /proc/self/status");
    let c = lab.container(bundle);
    c.run().ok().prints("CapAmb:\t00000000000000a0");
    rules(
        "extends = \"restricted\"\nremapping.mode = \"off\"\nambient_capabilities.mode = \"off\"",
    );
    c.run().ok().prints("CapAmb:\t0000000000000020");
    // Of its own ids it may have any.
    rules("extends = \"restricted\"\nambient_capabilities.mode = \"off\"");
    c.run().ok().prints("CapAmb:\t00000000000000a0");
    policy("version = 1\ndefault = \"restricted\"\n");
    c.run().ok().prints("CapAmb:\t0000000000000000");
}

#[test]
fn proc_is_as_the_rule_says_however_often_an_option_is_named() {
    need!(Brig);
    let lab = Lab::new();
    let bundle =
        lab.bundle().set("/process/user", json!({"uid": 1000, "gid": 1000})).edit(|spec| {
            let proc = json!({"destination": "/proc", "type": "proc", "source": "proc",
            "options": ["hidepid=invisible", "hidepid=0", "subset=pid"]});
            let mounts = spec["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|mount| mount["destination"] != "/proc");
            mounts.insert(0, proc);
        });
    let rule = |mode| {
        rules(&format!(
            "proc_view = {{ mode = \"{mode}\", own_processes = true, processes_only = false }}"
        ));
    };
    rule("enforce");
    let c = lab.container(bundle.sh("grep -o hidepid=invisible /proc/self/mounts"));
    c.run().ok().prints("hidepid=invisible");
    rule("refuse");
    c.run().failed().says("rule proc_view");
}

/// A terminal of the host that anybody may write to is none of the container's, whoever it maps.
#[test]
fn terminals_and_the_console_of_the_host_are_no_devices() {
    need!(Brig);
    let lab = Lab::new();
    let (_master, terminal) = Console::open();
    let path = rustix::termios::ttyname(&terminal, Vec::new()).expect("a terminal");
    let path = path.to_str().expect("a name").to_owned();
    let number: u32 = path.trim_start_matches("/dev/pts/").parse().expect("a number");
    let listed = json!([{"path": path.as_str(), "type": "c", "major": 136, "minor": number, "fileMode": 0o666},
        {"path": "/dev/hc", "type": "c", "major": 5, "minor": 1, "fileMode": 0o666}]);
    let bundle = lab.bundle().set("/linux/devices", listed).edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != "/dev/pts");
    });
    let script = format!("ls {path} /dev/hc 2>/dev/null; echo none");
    rules("extends = \"baseline\"");
    for bundle in [bundle.clone(), bundle.user_namespace(500_000)] {
        lab.container(bundle.sh(&script)).run().ok().prints("none");
    }
}

/// What an image brings: a device that every container may open, and a set-user-id program.
#[test]
fn the_root_has_no_devices_and_no_set_user_id_programs() {
    need!(Brig);
    let lab = Lab::new();
    let bundle = lab.bundle();
    let node = bundle.rootfs.join("null");
    lab.call("mknod").arg("-m").arg("666").arg(&node).args(["c", "1", "3"]).go().ok();
    let script =
        "(: </null) 2>/dev/null && echo opens; grep ' / ' /proc/self/mounts | grep -c nosuid,nodev";
    rules("mount_flags = { mode = \"enforce\", except = [] }");
    lab.container(bundle.clone().sh(script)).run().prints("1");
    rules("mount_flags = { mode = \"enforce\", except = [\"/\"] }");
    lab.container(bundle.sh(script)).run().prints("opens\n0");
}

#[test]
fn labels_and_memory_are_judged_in_exec_too() {
    need!(Brig);
    let lab = Lab::new();
    let label = "security_label = { mode = \"refuse\", apparmor = [\"*\"], selinux_types = [\"container_t\"], required = false }";
    rules(&format!("{label}\nwrite_xor_execute = {{ mode = \"enforce\" }}"));
    let c = lab.container(lab.bundle().idle());
    c.run_detached().ok();
    assert_eq!(c.exec(&["/probe", "mdwe"]).ok().json()["mdwe"], true);
    let refused = "is refused by the rule security_label";
    c.exec_call(&["--apparmor", "unconfined"], &["true"]).go().failed().says(refused);
    let label = "system_u:system_r:unconfined_t:s0";
    c.exec_call(&["--process-label", label], &["true"]).go().failed().says(refused);
    c.ends_well();
}

/// NOROOT, NO_SETUID_FIXUP and KEEP_CAPS of linux/securebits.h, locked: on, on, off.
const LOCKED: u64 = 0x2f;
/// The same, but for what a change of the user does.
const LOCKED_BUT_FIXUP: u64 = 0x2b;

#[test]
fn securebits_are_locked_in_every_process_but_roots_with_capabilities() {
    need!(Brig);
    let lab = Lab::new();
    let sets = |names: &[&str]| {
        let all = ["bounding", "permitted", "effective", "inheritable", "ambient"];
        let all = all.map(|set| (set.to_owned(), json!(names)));
        json!(all.into_iter().collect::<serde_json::Map<_, _>>())
    };
    let (none, bounded) = (json!({}), json!({"bounding": ["CAP_CHOWN", "CAP_KILL"]}));
    let roots =
        json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]});
    let of_user = sets(&["CAP_NET_BIND_SERVICE"]);
    for (uid, capabilities, no_new_privileges, bits, held) in [
        (0, &none, true, LOCKED, 0),
        (0, &bounded, false, LOCKED_BUT_FIXUP, 0),
        (1000, &none, true, LOCKED, 0),
        (1000, &bounded, false, LOCKED_BUT_FIXUP, 0),
        (1000, &of_user, true, LOCKED, 1 << 10),
        // Over execve(2), and with their uid, these two hold and lose them as ever.
        (0, &roots, true, 0, 1 << 5),
        (1000, &sets(&["CAP_SETUID"]), true, 0, 1 << 7),
    ] {
        rules("securebits = { mode = \"enforce\" }");
        let bundle = lab
            .bundle()
            .set("/process/user", json!({"uid": uid, "gid": uid}))
            .set("/process/capabilities", capabilities.clone())
            .set("/process/noNewPrivileges", no_new_privileges);
        let expected = json!({
            "securebits": bits, "effective": format!("{held:016x}"), "permitted": format!("{held:016x}"),
        });
        let seen = |view: serde_json::Value| {
            json!({
                "securebits": view["securebits"], "effective": view["caps"]["effective"],
                "permitted": view["caps"]["permitted"],
            })
        };
        let ask = ["/probe", "securebits", "caps"];
        let in_a_namespace = bundle.clone().user_namespace(500_000).args(ask);
        assert_eq!(seen(lab.container(in_a_namespace).run().ok().json()), expected);
        let c = lab.container(bundle.idle());
        c.run_detached().ok();
        fs::write(FILE, POLICY).expect("write a policy");
        assert_eq!(seen(c.exec(&ask).ok().json()), expected, "exec");
        c.delete_force().ok();
    }
    // Who asks for more than the container has, is judged by what it is itself.
    let c = running(&lab, "securebits = { mode = \"refuse\" }");
    let more = ["--user", "0", "--cap", "CAP_KILL"];
    let refused = "process.capabilities.permitted: CAP_CHOWN, CAP_KILL of root";
    c.exec_call(&more, &["/probe"]).go().failed().says(refused).says("the rule securebits");
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn a_mount_namespace_of_others_is_none_of_a_containers_own() {
    need!(Brig);
    let lab = Lab::new();
    // As systemd's services have them: all that is the host's is there.
    let mut service = lab.call("unshare").args(["--mount", "sleep", "100"]).spawn();
    let path = format!("/proc/{}/ns/mnt", service.pid());
    let own = fs::read_link("/proc/self/ns/mnt").expect("a namespace");
    assert!(wait_until(PATIENCE, || fs::read_link(&path).is_ok_and(|link| link != own)));
    let joined = || lab.bundle().namespace("mount", Some(&path)).sh("echo joined");
    lab.container(joined()).run().ok().prints("joined");
    policy("version = 1\ndefault = \"baseline\"\n");
    lab.container(joined()).run().failed().says("linux.namespaces: a mount namespace of others");
    service.kill();
    drop(service.wait());
}

#[test]
fn a_user_namespace_is_judged_by_the_maps_that_it_has() {
    need!(Brig);
    let lab = Lab::new();
    // Another container's, in which root is root of the host.
    let all = json!([{"containerID": 0, "hostID": 0, "size": 4_294_967_295_u32}]);
    let maps = |bundle: Bundle, map: &serde_json::Value| {
        bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map.clone())
    };
    let other = lab.container(maps(lab.bundle().namespace("user", None), &all).idle());
    other.run_detached().ok();
    rules("users = { mode = \"refuse\", min_uid = 1000, min_gid = 1000 }");
    let path = format!("/proc/{}/ns/user", other.pid());
    let joined = |map| maps(lab.bundle().namespace("user", Some(&path)), &map).sh("id -u");
    let pretended = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    lab.container(joined(pretended))
        .run()
        .failed()
        .says("linux.uidMappings[0]: a map that the user namespace does not have is refused");
    fs::write(FILE, POLICY).expect("write a policy");
    lab.container(joined(all)).run().ok().prints("0");
    other.delete_force().ok();
}

#[test]
fn what_was_asked_and_what_holds_are_kept() {
    need!(Brig);
    let lab = Lab::new();
    let c = running(&lab, "extends = \"restricted\"");
    let read = |name: &str| fs::read_to_string(lab.root().join(c.id()).join(name));
    let value = |name: &str| -> serde_json::Value {
        serde_json::from_str(&read(name).expect(name)).expect(name)
    };
    assert_eq!(value("asked.json")["root"]["readonly"], false);
    assert_eq!(value("config.json")["root"]["readonly"], true);
    assert_eq!(value("policy.json")["profile"]["name"], "it");
    let explained =
        lab.runtime().args(["policy", "explain", "--json", "--id", c.id()]).go().ok().json();
    assert_eq!(explained, value("policy.json"));
    c.delete_force().ok();
    // Where nothing is changed nothing more is kept.
    let c = running(&lab, "extends = \"oci\"");
    assert!(read("asked.json").is_err() && read("policy.json").is_err());
    c.delete_force().ok();
}

#[test]
fn a_policy_that_cannot_be_trusted_or_read_lets_nothing_start() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("true"));
    let good = "version = 1\ndefault = \"restricted\"\n";
    for (text, words) in [
        (
            "version = 1\ndefault = \"restricted\"\npids = 5\n",
            "line 3 column 1: unknown field `pids`",
        ),
        ("version = 2\ndefault = \"restricted\"\n", "version: 2 is not known"),
        ("version = 1\ndefault = \"restrictd\"\n", "did you mean restricted?"),
        ("", "version: required but missing"),
        ("\u{0}", "line 1 column 2"),
    ] {
        policy(text);
        c.run().failed().says("/etc/brig/policy.toml: ").says(words);
    }
    policy(good);
    fs::set_permissions(FILE, fs::Permissions::from_mode(0o664)).expect("change its mode");
    c.run().failed().says("/etc/brig/policy.toml");
    policy(good);
    chown(FILE, Some(1000), None).expect("change its owner");
    c.run().failed().says("/etc/brig/policy.toml");
    fs::remove_file(FILE).expect("remove");
    fs::write("/etc/brig/other", good).expect("write");
    symlink("other", FILE).expect("link");
    c.run().failed().says("/etc/brig/policy.toml is a symbolic link");
    fs::remove_file(FILE).expect("remove");
    fs::create_dir(FILE).expect("make a directory");
    c.run().failed().says("/etc/brig/policy.toml");
    fs::remove_dir(FILE).expect("remove");
    c.run().ok();
    fs::remove_dir_all("/etc/brig").expect("remove");
    symlink("/etc/not-mounted-yet", "/etc/brig").expect("link");
    c.run().failed().says("/etc/brig is a link that leads to nothing");
}

/// Puts a drop-in beside the policy.
fn drop_in(name: &str, rules: &str) {
    let directory = Path::new(DROP_INS);
    fs::create_dir_all(directory).expect("make a directory");
    fs::write(directory.join(name), format!("version = 1\n{rules}\n")).expect("write a drop-in");
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(directory.join(name), mode).expect("change its mode");
}

#[test]
fn drop_ins_take_away_from_what_the_file_grants_at_every_verb() {
    need!(Brig);
    let lab = Lab::new();
    let pids = |max: u32| format!("[rules]\npids = {{ mode = \"enforce\", max = {max} }}");
    fs::create_dir_all("/etc/brig").expect("make a directory");
    // Without a file, too; the least of all holds, in whatever order; and what is no drop-in by its name is none.
    drop_in(
        "10-few.toml",
        &format!(
            "{}\nseccomp = {{ mode = \"enforce\", profile = \"compute\" }}\ncapabilities = {{ mode = \"enforce\", allow = \
             [\"CAP_KILL\"] }}",
            pids(40)
        ),
    );
    let filters = "grep -c 'Seccomp_filters:.1' /proc/self/status";
    let c = lab.container(lab.bundle().unset("/linux/seccomp").idle());
    c.run_detached().ok();
    c.exec(&["sh", "-c", filters]).ok().prints("1");
    assert_eq!(c.cgroup_file("pids", "pids.max").trim(), "40");
    c.delete_force().ok();
    drop_in("20-more.toml", &pids(1000));
    drop_in("30-off.toml", "[rules]\npids.mode = \"off\"\nseccomp.mode = \"off\"");
    drop_in("40-none.toml~", "no TOML");
    let c = running(&lab, "extends = \"baseline\"");
    assert_eq!(c.cgroup_file("pids", "pids.max").trim(), "40");
    c.call("update", ["--pids-limit", "50"]).go().ok();
    assert_eq!(c.cgroup_file("pids", "pids.max").trim(), "40");
    // The profile's filter and the drop-in's.
    c.exec(&["sh", "-c", "grep -c 'Seccomp_filters:.2' /proc/self/status"]).ok().prints("1");
    let bounding = ["sh", "-c", "grep CapBnd /proc/self/status"];
    c.exec_call(&["--cap", "CAP_CHOWN", "--cap", "CAP_KILL"], &bounding)
        .go()
        .ok()
        .prints("CapBnd:\t0000000000000020");
    let explain = |more: &[&str]| {
        lab.runtime().args(["policy", "explain", "--id", c.id()]).args(more).go().ok()
    };
    explain(&[]).says("and policy.d/10-few.toml").says("and policy.d/20-more.toml");
    let said = explain(&["--json"]).json();
    let verdicts = said["verdicts"].as_array().expect("verdicts").iter();
    let by: Vec<_> = verdicts.filter(|one| one["rule"] == "pids").map(|one| &one["by"]).collect();
    assert_eq!(by, [&json!(null), &json!("policy.d/10-few.toml")]);
    c.delete_force().ok();
    lab.runtime().args(["policy", "show"]).go().ok().says("and policy.d/10-few.toml");
    policy("version = 1\ndefault = \"oci\"\n");
    lab.runtime()
        .args(["policy", "check"])
        .go()
        .ok()
        .says("/etc/brig/policy.toml: valid")
        .says("/etc/brig/policy.d/10-few.toml: valid")
        .says("/etc/brig/policy.d/40-none.toml~: ignored");
}

#[test]
fn a_drop_in_that_cannot_be_trusted_or_read_lets_nothing_start() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("true"));
    policy("version = 1\ndefault = \"oci\"\n");
    let path = format!("{DROP_INS}/x.toml");
    let good = || drop_in("x.toml", "[rules]");
    drop_in("x.toml", "[rule]");
    c.run().failed().says("/etc/brig/policy.d/x.toml: line 2 column 2: unknown field `rule`");
    let check = lab.runtime().args(["policy", "check", FILE, &path]);
    check.go().failed().says("x.toml: line 2 column 2: unknown field `rule`");
    good();
    c.run().ok();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).expect("change its mode");
    c.run().failed().says("/etc/brig/policy.d/x.toml may be written by others");
    good();
    chown(&path, Some(1000), None).expect("change its owner");
    c.run().failed().says("/etc/brig/policy.d/x.toml belongs to user 1000");
    fs::rename(&path, "/etc/brig/other").expect("rename");
    symlink("../other", &path).expect("link");
    c.run().failed().says("/etc/brig/policy.d/x.toml is a symbolic link");
    fs::remove_file(&path).expect("remove");
    c.run().ok();
    fs::set_permissions(DROP_INS, fs::Permissions::from_mode(0o775)).expect("change its mode");
    c.run().failed().says("/etc/brig/policy.d can be written by others");
    fs::rename(DROP_INS, "/etc/brig/elsewhere").expect("rename");
    symlink("elsewhere", DROP_INS).expect("link");
    c.run().failed().says("/etc/brig/policy.d is a symbolic link");
    fs::remove_file(DROP_INS).expect("remove");
    fs::write(DROP_INS, "").expect("write");
    c.run().failed().says("/etc/brig/policy.d");
}

#[test]
fn an_exception_holds_until_its_day_and_is_told_of() {
    need!(Brig);
    let lab = Lab::new();
    let excepted = |expires: &str| {
        policy(&format!(
            "version = 1\ndefault = \"baseline\"\n[exception.fuse]\nreason = \"builds\"\nexpires = {expires}\n\
             drop_in = \"50-fuse.toml\"\nrules = [\"devices\"]\nprofiles = [\"baseline\"]\n"
        ));
    };
    drop_in("50-fuse.toml", "[rules]\ndevices = { mode = \"enforce\", allow = [\"c 10:229\"] }");
    let fuse = json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]);
    let bundle = lab.bundle().set("/linux/devices", fuse).sh("[ -c /dev/fuse ] || echo none");
    bundle.write();
    let dir = bundle.dir.to_string_lossy().into_owned();
    let c = lab.container(bundle);
    let told = |state: &str| {
        let words =
            format!("exception fuse, {state}: policy.d/50-fuse.toml decides on devices (builds)");
        lab.runtime().args(["policy", "show"]).go().ok().says(&words);
        lab.runtime().args(["policy", "explain", "--bundle", &dir]).go().ok().says(&words);
    };
    excepted("2099-12-31");
    c.run().ok().prints("");
    told("until 2099-12-31");
    excepted("2026-11-01");
    c.run().ok().prints("none");
    told("EXPIRED on 2026-11-01");
    let debug = lab.runtime().args(["--debug", "run", "--bundle", &dir]).arg(lab.id()).go().ok();
    debug.says("is no longer excepted from the rule devices");
}

#[test]
fn a_pod_may_ask_for_less_by_an_annotation_that_the_node_lists() {
    need!(Brig);
    let lab = Lab::new();
    policy(
        "version = 1\ndefault = \"it\"\n[profile.few]\npids = { mode = \"enforce\", max = 9 }\n[profile.it]\n\
         annotations = { mode = \"refuse\", allow = [\"io.brig.profile\"], profiles = [\"few\"] }\n",
    );
    let annotations =
        json!({"io.brig.profile": "few", "io.kubernetes.cri.container-type": "container"});
    let c = lab.container(lab.bundle().set("/annotations", annotations).idle());
    c.run_detached().ok();
    assert_eq!(c.cgroup_file("pids", "pids.max").trim(), "9");
    c.call("update", ["--pids-limit", "10"]).go().ok();
    assert_eq!(c.cgroup_file("pids", "pids.max").trim(), "9");
    let said = lab.runtime().args(["policy", "explain", "--id", c.id()]).go().ok();
    said.says("and the annotation io.brig.profile")
        .says("in the pod     podPidsLimit of the kubelet");
    c.delete_force().ok();
    let bundle = lab.bundle().set("/annotations", json!({"io.brig.profile": "oci"})).sh("true");
    lab.container(bundle).run().failed().says("\"oci\" is refused by the rule annotations");
}

#[test]
fn a_profile_is_selected_on_the_nodes_side() {
    need!(Brig);
    let lab = Lab::new();
    policy("version = 1\ndefault = \"oci\"\nselectable = [\"sandbox\"]\n");
    let bundle = lab
        .bundle()
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .sh("cat /proc/self/status");
    bundle.write();
    let (dir, id) = (bundle.dir.clone(), lab.id());
    let run = |flags: &[&str]| {
        lab.runtime().args(flags).args(["run", "--bundle"]).arg(&dir).arg(&id).go()
    };
    run(&["--profile", "sandbox"]).ok().says("CapBnd:\t0000000000000000");
    run(&["--profile", "baseline"])
        .failed()
        .says("the profile \"baseline\" is not one that may be selected");
    run(&[]).ok();
}

#[test]
fn a_bundle_is_explained_without_privilege() {
    need!(Brig);
    let lab = Lab::new();
    policy("version = 1\ndefault = \"restricted\"\n");
    let bundle = lab.bundle().set("/hooks/poststop", json!([{"path": "/bin/x"}]));
    bundle.write();
    let dir = bundle.dir.to_string_lossy().into_owned();
    let explain = lab.runtime().args(["policy", "explain", "--bundle", &dir]);
    let said =
        explain.under(["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]).go().code(1);
    said.says("refused: hooks.poststop[0]").says("refused: process.user.uid");
    lab.runtime().args(["policy", "check"]).go().ok();
}

#[test]
fn a_corpus_is_judged_and_compared_with_what_is_expected() {
    let lab = Lab::new();
    let (file, corpus) = (lab.path("policy.toml"), lab.path("corpus"));
    let text = "version = 1\ndefault = \"it\"\nselectable = [\"oci\"]\n[profile.it]\nextends = \"baseline\"\n\
                cgroup_parent = { mode = \"off\" }\n";
    fs::write(&file, text).expect("write");
    let configuration = |name: &str, bundle: Bundle| {
        bundle.write();
        let to = corpus.join(name);
        fs::create_dir_all(to.parent().expect("a directory")).expect("make a directory");
        fs::copy(bundle.dir.join("config.json"), to).expect("copy");
    };
    configuration("plain.json", lab.bundle());
    configuration("host-network.refused.json", lab.bundle().without_namespace("network"));
    configuration("bundle/config.json", lab.bundle());
    configuration(
        "module.refused/config.json",
        lab.bundle().set("/linux/sysctl", json!({"net.x": "1"})),
    );
    let test = |more: &[&str]| {
        let call = lab.runtime().args(more).args(["policy", "test", "--policy"]).arg(&file);
        call.arg(&corpus).go()
    };
    test(&[]).ok().says("profile it: 4 of 4 as expected").says("bundle/config.json: accepted");
    test(&["--profile", "oci"])
        .code(1)
        .says("host-network.refused.json: accepted, should be refused")
        .says("profile oci-1: 2 of 4 as expected");
    configuration("other.json", lab.bundle().without_namespace("ipc"));
    test(&[]).code(1).says("other.json: refused, unexpected").says("4 of 5");
    fs::write(corpus.join("other.json"), "{").expect("write");
    test(&[]).failed().says("other.json is not acceptable");
}
