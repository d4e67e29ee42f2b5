//! Namespaces: new ones, the host's, and others' by path; what belongs to each of them.

use brig_integration::{Lab, Value, json, machine, need};
use std::fs;

fn own(kind: &str) -> String {
    fs::read_link(format!("/proc/thread-self/ns/{kind}"))
        .map_or_else(|_| String::new(), |l| l.to_string_lossy().into_owned())
}

fn seen<'v>(view: &'v Value, kind: &str) -> &'v str {
    view["namespaces"][kind].as_str().unwrap_or_default()
}

const KINDS: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
];

#[test]
fn listed_namespaces_are_new() {
    let lab = Lab::new();
    let view = lab.view(lab.bundle().namespace("cgroup", None));
    for (_, kind) in KINDS {
        assert!(!seen(&view, kind).is_empty());
        assert_ne!(seen(&view, kind), own(kind), "{kind}");
    }
    assert_eq!(seen(&view, "user"), own("user"));
}

#[test]
fn namespaces_not_listed_are_the_hosts() {
    let lab = Lab::new();
    for (name, kind) in KINDS {
        if name == "mount" {
            continue;
        }
        let b = lab.bundle().without_namespace(name);
        let b = if name == "uts" { b.unset("/hostname") } else { b };
        assert_eq!(seen(&lab.view(b), kind), own(kind), "{name}");
    }
}

#[test]
fn namespaces_are_joined_by_path() {
    let lab = Lab::new();
    let first = lab.container(lab.bundle().idle().namespace("cgroup", None));
    first.run_detached();
    let pid = first.pid();
    for (name, kind) in KINDS {
        if name == "mount" {
            continue;
        }
        let b = lab.bundle().namespace(name, Some(&format!("/proc/{pid}/ns/{kind}")));
        let b = if name == "uts" { b.unset("/hostname") } else { b };
        let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a link");
        assert_eq!(seen(&lab.view(b), kind), link.to_string_lossy(), "{name}");
    }
    // With a pid namespace, which a second process enters.
    let at = |kind: &str| format!("/proc/{pid}/ns/{kind}");
    let b =
        lab.bundle().namespace("pid", Some(&at("pid"))).namespace("cgroup", Some(&at("cgroup")));
    let link = fs::read_link(at("cgroup")).expect("a link");
    assert_eq!(seen(&lab.view(b), "cgroup"), link.to_string_lossy());
}

#[test]
fn a_pod_shares_what_kubernetes_shares() {
    let lab = Lab::new();
    let sandbox = lab.container(lab.bundle().idle());
    sandbox.run_detached();
    let pid = sandbox.pid();
    let at = |kind: &str| format!("/proc/{pid}/ns/{kind}");
    let b = lab
        .bundle()
        .unset("/hostname")
        .namespace("network", Some(&at("net")))
        .namespace("ipc", Some(&at("ipc")))
        .namespace("uts", Some(&at("uts")));
    let view = lab.view(b);
    assert_eq!(view["hostname"], "box");
    assert_eq!(view["pid"], 1);
    // The sandbox outlives its member.
    assert!(sandbox.is_alive());
}

#[test]
fn a_joined_pid_namespace_shows_its_processes() {
    let lab = Lab::new();
    let first = lab.container(lab.bundle().idle());
    first.run_detached();
    let b = lab.bundle().namespace("pid", Some(&format!("/proc/{}/ns/pid", first.pid())));
    let view = lab.view(b);
    assert!(view["pid"].as_u64().is_some_and(|p| p > 1), "{}", view["pid"]);
    assert!(view["processes"].as_u64().is_some_and(|n| n >= 2));
}

/// With a hook the container starts from a copy of the host's mounts, with the joined pid namespace
/// by way of a second process: it is the copy that becomes a slave, not what it was copied from.
#[test]
fn joining_leaves_the_hosts_mounts_shared() {
    let lab = Lab::new();
    let first = lab.container(lab.bundle().idle());
    first.run_detached();
    let path = format!("/proc/{}/ns/pid", first.pid());
    let hook = json!([{"path": "/bin/true"}]);
    let b = lab.bundle().namespace("pid", Some(&path)).set("/hooks/createRuntime", hook);
    lab.container(b.sh("true")).run().ok();
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").expect("mounts");
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).expect("a root");
    assert!(root.contains(" shared:"), "{root}");
    first.delete_force().ok();
    lab.assert_clean();
}

/// The container would be put together among the host's mounts.
#[test]
fn the_hosts_own_mount_namespace_is_no_containers() {
    need!(Brig);
    let lab = Lab::new();
    let b = lab.bundle().namespace("mount", Some("/proc/self/ns/mnt"));
    let at = b.spec["linux"]["namespaces"].as_array().map_or(0, Vec::len) - 1;
    let field = format!("linux.namespaces[{at}]");
    lab.container(b).run().failed().says("brig's own mount namespace").says(&field);
    lab.assert_clean();
}

#[test]
fn deleting_a_member_of_a_pid_namespace_spares_the_owner() {
    if machine::layout() == machine::Layout::V2 {
        need!(Brig); // runc 1.1 removes the cgroup too early, and leaves it
    }
    let lab = Lab::new();
    let first = lab.container(lab.bundle().idle());
    first.run_detached();
    let member = lab.container(
        lab.bundle()
            .namespace("pid", Some(&format!("/proc/{}/ns/pid", first.pid())))
            .sh("sleep 1000 & exec sleep 1000"),
    );
    member.run_detached();
    member.delete_force().ok();
    assert!(first.is_alive());
    first.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn hostname_and_domainname() {
    let lab = Lab::new();
    let view = lab.view(lab.bundle().set("/hostname", "a-name"));
    assert_eq!(view["hostname"], "a-name");
    assert_ne!(fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname").trim(), "a-name");
}

#[test]
fn domainname_of_the_uts_namespace() {
    need!(Oci11);
    let lab = Lab::new();
    assert_eq!(
        lab.view(lab.bundle().set("/domainname", "example.org"))["domainname"],
        "example.org"
    );
}

#[test]
fn a_new_network_namespace_has_a_loopback_that_is_up() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("ip -o addr show lo; cat /proc/net/dev | tail -n +3 | wc -l; ping -c 1 -w 2 127.0.0.1 >/dev/null && echo reaches"));
    let text = c.run().stdout();
    assert!(text.contains("127.0.0.1"), "{text}");
}

#[test]
fn sysctls_are_set_inside_only() {
    let lab = Lab::new();
    let before = fs::read_to_string("/proc/sys/kernel/msgmax").expect("msgmax");
    let b = lab.bundle().set("/linux/sysctl", json!({"kernel.msgmax": "9999", "net.ipv4.ip_unprivileged_port_start": "80", "net.ipv4.ping_group_range": "0 0", "kernel.shm_rmid_forced": "1"}));
    let sysctls = &lab.view(b)["sysctls"];
    assert_eq!(sysctls["kernel.msgmax"], "9999");
    assert_eq!(sysctls["net.ipv4.ip_unprivileged_port_start"], "80");
    assert_eq!(sysctls["net.ipv4.ping_group_range"], "0 0");
    assert_eq!(sysctls["kernel.shm_rmid_forced"], "1");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/msgmax").expect("msgmax"), before);
}

/// runc 1.1 refuses it on every kernel.
#[test]
fn the_largest_pid_is_set_inside_only_or_not_at_all() {
    need!(Brig);
    let lab = Lab::new();
    let of_host = || fs::read_to_string("/proc/sys/kernel/pid_max").expect("pid_max");
    let before = of_host();
    let b = lab.bundle().set("/linux/sysctl", json!({"kernel.pid_max": "999"}));
    let output = lab.container(b.clone().sh("cat /proc/sys/kernel/pid_max")).run();
    match output.succeeded() {
        true => drop(output.prints("999")),
        false => drop(output.says("is a parameter of the whole host before Linux 6.14")),
    }
    assert_eq!(of_host(), before);
    lab.container(b.clone().without_namespace("pid")).run().failed().says("needs a pid namespace");
    let own = "/proc/self/ns/pid";
    lab.container(b.namespace("pid", Some(own)).sh("true")).run().failed().says("kernel.pid_max");
    assert_eq!(of_host(), before);
    lab.assert_clean();
}

#[test]
fn a_sysctl_that_the_kernel_refuses_is_an_error() {
    let lab = Lab::new();
    let b = lab.bundle().set("/linux/sysctl", json!({"net.ipv4.ip_forward": "many"}));
    lab.container(b).run().code(1);
    lab.assert_clean();
}

#[test]
fn time_namespace_and_its_offsets() {
    need!(Oci11);
    let lab = Lab::new();
    let b = lab.bundle().namespace("time", None).set(
        "/linux/timeOffsets",
        json!({"monotonic": {"secs": 1000}, "boottime": {"secs": 100_000, "nanosecs": 5}}),
    );
    let view = lab.view(b);
    assert_ne!(seen(&view, "time"), own("time"));
    assert_eq!(view["timens_offsets"], json!(["monotonic 1000 0", "boottime 100000 5"]));
}

#[test]
fn ipc_is_private() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("cat /proc/sysvipc/msg | wc -l; ls /dev/mqueue | wc -l"));
    c.run().ok().prints("1\n0");
}

#[test]
fn the_memory_policy_and_affinity_are_the_callers() {
    let lab = Lab::new();
    let view = lab.view(lab.bundle());
    let own = fs::read_to_string("/proc/self/status").expect("status");
    let field = own
        .lines()
        .find_map(|l| l.strip_prefix("Cpus_allowed_list:"))
        .expect("cpus")
        .trim()
        .to_owned();
    assert_eq!(view["cpus_allowed"], field);
}

/// As in a pod: from within another's cgroup namespace the own cgroup is outside.
#[test]
fn a_cgroup_namespace_is_joined_by_path() {
    let lab = Lab::new();
    let first = lab.container(lab.bundle().namespace("cgroup", None).idle());
    first.run_detached();
    let at = |kind: &str| Some(format!("/proc/{}/ns/{kind}", first.pid()));
    let b = lab
        .bundle()
        .namespace("pid", at("pid").as_deref())
        .namespace("cgroup", at("cgroup").as_deref());
    let c = lab.container(b.idle());
    c.run_detached();
    let link = |pid| fs::read_link(format!("/proc/{pid}/ns/cgroup")).expect("a namespace");
    assert_eq!(link(c.pid()), link(first.pid()));
    let own = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).expect("the cgroups");
    assert!(own.lines().any(|line| line.ends_with(c.bundle.cgroup())), "{own}");
}
