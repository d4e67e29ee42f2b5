//! Attempts to get from a node more than its policy grants, a row for each: odd spellings, other ways to the same place, huge
//! numbers, what an image or a pod may write, and later verbs that ask for more. A row says what must be seen.

use brig_integration::{Bundle, Lab, json, need};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const FILE: &str = "/etc/brig/policy.toml";

/// The level, but for the ids of its own that a container gets: without these, more has to be refused.
const RESTRICTED: &str = "version = 1\ndefault = \"it\"\n[profile.it]\nextends = \"restricted\"\nremapping.mode = \"off\"\n";

fn policy(text: &str) {
    fs::create_dir_all("/etc/brig").expect("make a directory");
    fs::write(FILE, text).expect("write a policy");
    fs::set_permissions(FILE, fs::Permissions::from_mode(0o644)).expect("its mode");
}

/// What comes of a configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    /// It is granted, as the one without the change is.
    AsBefore,
    /// This rule grants less.
    Limited(&'static str),
    /// This rule denies it.
    Refused(&'static str),
    /// It is no configuration at all; the error says this.
    NoConfiguration(&'static str),
}
use Seen::{AsBefore, Limited, NoConfiguration, Refused};

/// A change of a configuration that is granted: the value at a JSON pointer, as text.
type Row = (&'static str, &'static str, Seen);

const ROWS: &[Row] = &[
    // Users, by whatever number.
    ("/process/user/uid", "0", Refused("users")),
    ("/process/user/uid", "-0", NoConfiguration("uid")),
    ("/process/user/uid", "4294967296", NoConfiguration("uid")),
    ("/process/user/uid", "-1", NoConfiguration("uid")),
    ("/process/user/uid", "0.0", NoConfiguration("uid")),
    ("/process/user/uid", "0e0", NoConfiguration("uid")),
    ("/process/user/uid", "+0", NoConfiguration("line 1")),
    ("/process/user/uid", "00", NoConfiguration("line 1")),
    ("/process/user/uid", "\"0\"", NoConfiguration("uid")),
    ("/process/user/uid", "1000, \"uid\": 0", NoConfiguration("uid")),
    ("/process/user/uid", "1000, \"\\u0075id\": 0", NoConfiguration("uid")),
    ("/process/user/uid", "1000, \"Uid\": 0", NoConfiguration("Uid")),
    ("/process/user/uid", "1000}, \"user\": {\"uid\": 0, \"gid\": 0", NoConfiguration("user")),
    ("/process/user/username", "\"root\"", AsBefore),
    // Privileges.
    ("/process/noNewPrivileges", "false", Limited("no_new_privileges")),
    ("/process/noNewPrivileges", "null", Limited("no_new_privileges")),
    ("/process/noNewPrivileges", "\"true\"", NoConfiguration("noNewPrivileges")),
    ("/process/capabilities", "{\"bounding\": [\"CAP_SYS_ADMIN\"]}", Limited("capabilities")),
    (
        "/process/capabilities",
        "{\"bounding\": [\"CAP_SYS_PTRACE\"], \"permitted\": [\"CAP_SYS_PTRACE\"], \"inheritable\": [\"CAP_SYS_PTRACE\"]}",
        Limited("capabilities"),
    ),
    (
        "/process/capabilities",
        "{\"bounding\": [\"CAP_NET_ADMIN\"], \"permitted\": [\"CAP_NET_ADMIN\"], \"inheritable\": [\"CAP_NET_ADMIN\"], \"ambient\": [\"CAP_NET_ADMIN\"]}",
        Limited("capabilities"),
    ),
    (
        "/process/capabilities",
        "{\"bounding\": [\"CAP_SYS_\\u0041DMIN\"], \"permitted\": [\"CAP_SYS_\\u0041DMIN\"], \"effective\": [\"CAP_SYS_\\u0041DMIN\"]}",
        Limited("capabilities"),
    ),
    (
        "/process/rlimits",
        "[{\"type\": \"RLIMIT_CORE\", \"soft\": 1, \"hard\": 18446744073709551615}]",
        Limited("rlimits"),
    ),
    ("/process/oomScoreAdj", "-1000", Limited("oom_score")),
    ("/process/scheduler", "{\"policy\": \"SCHED_RR\", \"priority\": 99}", Limited("scheduling")),
    (
        "/process/ioPriority",
        "{\"class\": \"IOPRIO_CLASS_RT\", \"priority\": 0}",
        Limited("scheduling"),
    ),
    // Namespaces.
    (
        "/linux/namespaces",
        "[{\"type\": \"mount\"}, {\"type\": \"uts\"}, {\"type\": \"ipc\"}]",
        Refused("namespaces"),
    ),
    (
        "/linux/namespaces",
        "[{\"type\": \"mount\"}, {\"type\": \"PID\"}]",
        NoConfiguration("namespaces"),
    ),
    (
        "/linux/namespaces",
        "[{\"type\": \"mount\"}, {\"type\": \"pid\"}, {\"type\": \"pid\", \"path\": \"/proc/1/ns/pid\"}]",
        NoConfiguration("namespaces"),
    ),
    // Mounts.
    ("/mounts/-", BIND_ROOT, Refused("bind_sources")),
    (
        "/mounts/-",
        "{\"destination\": \"/d\", \"type\": \"none\", \"source\": \"/etc\", \"options\": [\"rbind\"]}",
        Refused("bind_sources"),
    ),
    (
        "/mounts/-",
        "{\"destination\": \"/d\", \"type\": \"tmpfs\", \"source\": \"/etc\", \"options\": [\"bind\"]}",
        Refused("bind_sources"),
    ),
    (
        "/mounts/-",
        "{\"destination\": \"/d\", \"source\": \"/etc\", \"options\": [\"ro\", \"bind\"]}",
        Refused("bind_sources"),
    ),
    (
        "/mounts/-",
        "{\"destination\": \"/d\", \"type\": \"overlay\", \"source\": \"x\", \"options\": [\"lowerdir=/etc\"]}",
        Refused("mount_types"),
    ),
    (
        "/mounts/-",
        "{\"destination\": \"/d\", \"type\": \"Overlay\", \"source\": \"x\"}",
        Refused("mount_types"),
    ),
    (
        "/mounts/-",
        "{\"destination\": \"/d\", \"type\": \"debugfs\", \"source\": \"x\"}",
        Refused("mount_types"),
    ),
    (
        "/mounts/-",
        "{\"destination\": \"/d\", \"type\": \"bpf\", \"source\": \"x\"}",
        Refused("mount_types"),
    ),
    (
        "/mounts/-",
        "{\"destination\": \"/d\", \"type\": \"ext4\", \"source\": \"/dev/sda\"}",
        Refused("mount_types"),
    ),
    (
        "/mounts/-",
        "{\"destination\": \"/d\", \"type\": \"proc\", \"source\": \"proc\"}",
        Refused("kernel_mounts"),
    ),
    (
        "/mounts/-",
        "{\"destination\": \"/proc/x/..\", \"type\": \"proc\", \"source\": \"proc\"}",
        NoConfiguration("destination"),
    ),
    (
        "/mounts/-",
        "{\"destination\": \"/d\", \"type\": \"sysfs\", \"source\": \"x\", \"options\": [\"ro\"]}",
        Refused("kernel_mounts"),
    ),
    (
        "/mounts/-",
        "{\"destination\": \"/sys/\", \"type\": \"sysfs\", \"source\": \"x\", \"options\": [\"ro\", \"rw\"]}",
        Limited("kernel_mounts"),
    ),
    (
        "/mounts/-",
        "{\"destination\": \"/d\", \"type\": \"tmpfs\", \"source\": \"x\", \"options\": [\"nosuid\", \"nodev\", \"suid\", \"dev\"]}",
        Limited("mount_flags"),
    ),
    (
        "/mounts/-",
        "{\"destination\": \"/d\", \"type\": \"tmpfs\", \"source\": \"x\", \"options\": [\"nosuid\", \"nodev\", \"rshared\"]}",
        Limited("mount_propagation"),
    ),
    (
        "/mounts/-",
        "{\"destination\": \"/proc\", \"options\": [\"remount\", \"rw\", \"suid\"]}",
        Limited("mount_flags"),
    ),
    // Devices.
    (
        "/linux/devices",
        "[{\"path\": \"/dev/kmsg\", \"type\": \"c\", \"major\": 1, \"minor\": 11}]",
        Limited("devices"),
    ),
    (
        "/linux/devices",
        "[{\"path\": \"/dev/null\", \"type\": \"u\", \"major\": 1, \"minor\": 1}]",
        Limited("devices"),
    ),
    (
        "/linux/devices",
        "[{\"path\": \"/dev/null\", \"type\": \"b\", \"major\": 1, \"minor\": 3}]",
        Limited("devices"),
    ),
    ("/linux/resources/devices", "[{\"allow\": true, \"access\": \"rwm\"}]", Limited("devices")),
    (
        "/linux/resources/devices",
        "[{\"allow\": true, \"type\": \"a\", \"major\": -1, \"minor\": -1, \"access\": \"rw\"}]",
        Limited("devices"),
    ),
    (
        "/linux/resources/devices",
        "[{\"allow\": true, \"type\": \"c\", \"major\": 1, \"access\": \"rw\"}]",
        Limited("devices"),
    ),
    // Kernel parameters.
    ("/linux/sysctl", "{\"net.ipv4.ip_forward\": \"1\"}", Refused("sysctls")),
    ("/linux/sysctl", "{\"net/ipv4/ip_forward\": \"1\"}", Refused("sysctls")),
    ("/linux/sysctl", "{\"kernel.core_pattern\": \"|/x\"}", NoConfiguration("core_pattern")),
    ("/linux/sysctl", "{\"net/../kernel/core_pattern\": \"|/x\"}", NoConfiguration("core_pattern")),
    ("/linux/sysctl", "{\"vm.memfd_noexec\": \"0\"}", Refused("sysctls")),
    // Limits.
    ("/linux/resources/memory", "{\"limit\": -1}", Limited("memory")),
    ("/linux/resources/memory", "{\"limit\": 0}", Limited("memory")),
    ("/linux/resources/memory", "{\"limit\": 9223372036854775807}", Limited("memory")),
    ("/linux/resources/memory", "{\"limit\": 9223372036854775808}", NoConfiguration("limit")),
    ("/linux/resources/memory", "{\"limit\": 1048576, \"swap\": -1}", Limited("memory")),
    ("/linux/resources/cpu", "{\"quota\": -1}", Limited("processors")),
    ("/linux/resources/cpu", "{\"quota\": 100000, \"period\": 1000}", Limited("processors")),
    ("/linux/resources/pids", "{\"limit\": -1}", Limited("pids")),
    ("/linux/resources/unified", "{\"memory.max\": \"max\"}", Limited("memory")),
    ("/linux/resources/unified", "{\"memory.max\": \"0x7fffffff\"}", Limited("memory")),
    ("/linux/resources/unified", "{\"pids.max\": \"+513\"}", Limited("pids")),
    ("/linux/resources/unified", "{\"cpu.max\": \"max 1000\"}", Limited("processors")),
    ("/linux/resources/unified", "{\"cgroup.procs\": \"1\"}", NoConfiguration("cgroup.procs")),
    (
        "/linux/resources/unified",
        "{\"cgroup.subtree_control\": \"+memory\"}",
        Limited("cgroup_files"),
    ),
    // What is hidden.
    ("/linux/maskedPaths", "[]", Limited("masked_paths")),
    ("/linux/readonlyPaths", "[\"/proc/sys/kernel\"]", Limited("read_only_paths")),
    ("/root/readonly", "false", Limited("read_only_root")),
    ("/root/path", "\"/\"", Refused("bind_sources")),
    ("/root/path", "\"/etc\"", Refused("bind_sources")),
    // Programs and things of the host.
    ("/hooks", "{\"prestart\": [{\"path\": \"/bin/true\"}]}", Refused("hooks")),
    ("/hooks", "{\"createContainer\": [{\"path\": \"/bin/true\"}]}", Refused("hooks")),
    ("/hooks", "{\"startContainer\": [{\"path\": \"/bin/true\"}]}", Refused("hooks")),
    ("/Hooks", "{\"prestart\": [{\"path\": \"/bin/true\"}]}", NoConfiguration("Hooks")),
    ("/linux/netDevices", "{\"eth0\": {}}", Refused("net_devices")),
    ("/linux/intelRdt", "{\"closID\": \"x\"}", Refused("intel_rdt")),
    ("/linux/cgroupsPath", "\"/a/../../b\"", NoConfiguration("cgroupsPath")),
    ("/linux/seccomp", "null", Limited("seccomp")),
    // What pods, images and engines write: nothing of it is asked.
    ("/annotations", "{\"io.kubernetes.cri.container-type\": \"sandbox\"}", AsBefore),
    (
        "/annotations",
        "{\"org.opencontainers.image.title\": \"oci\", \"brig.profile\": \"oci\"}",
        AsBefore,
    ),
];

const BIND_ROOT: &str = "{\"destination\": \"/d\", \"type\": \"bind\", \"source\": \"/\", \"options\": [\"rbind\", \"ro\"]}";

/// Ways to /etc and to the host's root, which nobody may bind.
const PLACES: &[&str] = &[
    "//etc//",
    "/./etc/.",
    "/srv/../etc",
    "/proc/self/root/etc",
    "/proc/1/root",
    "/proc/self/cwd",
    "/proc/thread-self/root/",
    "/dev/fd/../../../etc",
    "../../../../../../../../etc",
    "/sys",
    "/proc",
    "/dev/mem",
    "/dev/null",
    "/run",
    "/var/run",
    "/missing",
    "/usr/bin",
    "/bin",
];

/// A configuration that the level grants as it is but for limits.
fn granted(bundle: Bundle) -> Bundle {
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}))
}

/// The change as text: a JSON text need not be one that a library would write.
fn changed(bundle: Bundle, pointer: &str, text: &str) -> String {
    const MARK: &str = "\"brig-tamper\"";
    let bundle = bundle.set(pointer, "brig-tamper");
    bundle.spec.to_string().replacen(MARK, text, 1)
}

/// What the node says of a configuration.
fn explain(lab: &Lab, bundle: &Bundle, text: &str) -> Result<Value, String> {
    fs::create_dir_all(&bundle.dir).expect("make a directory");
    fs::write(bundle.dir.join("config.json"), text).expect("write");
    let call = lab.runtime().args(["policy", "explain", "--json", "--bundle"]).arg(&bundle.dir);
    let output = call.go();
    match output.stdout().is_empty() {
        true => Err(output.stderr()),
        false => Ok(output.json()),
    }
}

fn judged(explained: &Value) -> Vec<(String, String)> {
    let verdicts = explained["verdicts"].as_array().expect("a list");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    verdicts.iter().map(|one| (text(&one["outcome"]), text(&one["rule"]))).collect()
}

/// Whether what is seen is what has to be; in words, where not.
fn check(
    seen: Seen,
    explained: &Result<Value, String>,
    before: &[(String, String)],
) -> Option<String> {
    let is_seen = match (seen, explained) {
        (NoConfiguration(words), Err(error)) => {
            error.contains("not acceptable") && error.contains(words)
        }
        (AsBefore, Ok(explained)) => {
            explained["profile"]["name"] == "it" && judged(explained) == before
        }
        (Limited(rule), Ok(explained)) => {
            let judged = judged(explained);
            let limits = |list: &[(String, String)]| {
                list.iter().filter(|(how, of)| how == "limited" && of == rule).count()
            };
            !judged.iter().any(|(how, _)| how == "refused") && limits(&judged) > 0
        }
        (Refused(rule), Ok(explained)) => {
            judged(explained).iter().any(|(how, of)| how == "refused" && of == rule)
        }
        _ => false,
    };
    (!is_seen).then(|| match explained {
        Ok(explained) => format!("{:?}", judged(explained)),
        Err(error) => error.clone(),
    })
}

#[test]
fn no_configuration_gets_more_than_the_node_grants() {
    need!(Brig);
    let lab = Lab::new();
    policy(RESTRICTED);
    let bundle = granted(lab.bundle());
    let before = explain(&lab, &bundle, &bundle.spec.to_string()).expect("it is read");
    let before = judged(&before);
    assert!(
        !before.iter().any(|(how, _)| how == "refused"),
        "the untampered one is granted: {before:?}"
    );
    let mut wrong = Vec::new();
    for (pointer, value, seen) in ROWS {
        let text = changed(bundle.clone(), pointer, value);
        let explained = explain(&lab, &bundle, &text);
        if let Some(said) = check(*seen, &explained, &before) {
            wrong.push(format!("{pointer} {value}: wants {seen:?}, is {said}"));
        }
    }
    for place in PLACES {
        let tampered = bundle.clone().bind(Path::new(place), "/d", &["rbind"]);
        let explained = explain(&lab, &bundle, &tampered.spec.to_string());
        if let Some(said) = check(Refused("bind_sources"), &explained, &before) {
            wrong.push(format!("{place}: {said}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        ROWS.len() + PLACES.len(),
        wrong.join("\n")
    );
    assert!(ROWS.len() + PLACES.len() >= 60);
}

/// The table is no use if what it is held against is refused whatever it says.
#[test]
fn the_same_configurations_are_granted_without_a_policy() {
    need!(Brig);
    let lab = Lab::new();
    let bundle = granted(lab.bundle());
    for (pointer, text, seen) in ROWS.iter().filter(|row| !matches!(row.2, NoConfiguration(_))) {
        let text = changed(bundle.clone(), pointer, text);
        let explained = explain(&lab, &bundle, &text).expect(pointer);
        assert_eq!(judged(&explained), [], "{pointer} {seen:?}");
    }
}

#[test]
fn what_is_not_one_text_is_no_configuration() {
    need!(Brig);
    let lab = Lab::new();
    policy(RESTRICTED);
    let bundle = granted(lab.bundle());
    let good = bundle.spec.to_string();
    for text in [
        format!("{good}{good}"),
        format!("\u{feff}{good}"),
        format!("{good}\0"),
        good.replacen('{', "{\"a\": {\"b\": 1, \"b\": 2},", 1),
        good.replacen(
            '{',
            &format!("{{\"annotations\": {}1{},", "[".repeat(100), "]".repeat(100)),
            1,
        ),
        format!("{good}{}", " ".repeat(1 << 20)),
        good.replace("\"uid\":1000", "\"uid\":1000,//\n\"x\":0"),
        good.replace("1000", "NaN"),
    ] {
        explain(&lab, &bundle, &text).expect_err(text.get(..80).unwrap_or_default());
    }
}

/// A link that leads to an allowed place until it has been judged.
#[test]
fn a_link_is_what_it_leads_to() {
    need!(Brig);
    let lab = Lab::new();
    let [volume, link] = ["volume", "link"].map(|name| lab.path(name));
    fs::create_dir(&volume).expect("make a directory");
    policy(&format!("{RESTRICTED}bind_sources.allow = [{volume:?}]\n"));
    let bundle = granted(lab.bundle()).bind(&link, "/d", &["rbind"]);
    for (leads_to, is_granted) in [(&*volume, true), (Path::new("/etc"), false)] {
        drop(fs::remove_file(&link));
        symlink(leads_to, &link).expect("link");
        let explained = explain(&lab, &bundle, &bundle.spec.to_string()).expect("it is read");
        let is_refused = judged(&explained).iter().any(|(how, _)| how == "refused");
        assert_eq!(is_refused, !is_granted, "{}", leads_to.display());
    }
}

#[test]
fn later_verbs_get_no_more() {
    need!(Brig);
    let lab = Lab::new();
    policy(RESTRICTED);
    let c = lab.container(granted(lab.bundle()).idle());
    c.run_detached().ok();
    policy("version = 1\ndefault = \"oci\"\n");
    for user in ["0", "0:0", "00"] {
        c.exec_call(&["--user", user], &["id"]).go().failed().says("user 0 of the host");
    }
    for user in ["+0", "-1", "4294967296", "root", " 0", "0x0", "1000:"] {
        c.exec_call(&["--user", user], &["id"]).go().failed();
    }
    let status = ["grep", "-cE", "NoNewPrivs:.1|Seccomp:.2|Cap(Eff|Amb):.0+$", "/proc/self/status"];
    for more in [&["--cap", "CAP_SYS_ADMIN"][..], &["--cap", "cap_sys_admin"], &[]] {
        let output = c.exec_call(more, &status).go();
        if output.succeeded() {
            output.prints("4");
        }
    }
    let limit = || c.cgroup_file("pids", "pids.max").trim().to_owned();
    for more in ["-1", "513", "9223372036854775807"] {
        c.call("update", ["--pids-limit", more]).go().ok();
        assert_eq!(limit(), "512", "{more}");
    }
    c.delete_force().ok();
}
