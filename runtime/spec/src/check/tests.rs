//! Every rule from both sides. A case is a change to a configuration that passes.
#![allow(clippy::needless_pass_by_value, reason = "a case reads best as a literal")]

use serde_json::{Value, json};

use super::super::capability::Capabilities;
use super::super::{Asked, Error};

/// A configuration that passes, small enough that each rule stands alone.
fn base() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
        "mounts": [],
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"}],
            "resources": {}
        }
    })
}

/// RFC 7386.
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    into.remove(key);
                } else if value.is_object() {
                    merge(into.entry(key.clone()).or_insert(json!({})), value);
                } else {
                    into.insert(key.clone(), value.clone());
                }
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

fn check_with(patch: &Value) -> Result<(), Error> {
    let mut spec = base();
    merge(&mut spec, patch);
    Asked::read(spec.to_string().as_bytes()).map(drop)
}

fn accepts(patches: &[Value]) {
    for patch in patches {
        assert_eq!(check_with(patch), Ok(()), "{patch}");
    }
}

fn refuses(cases: &[(Value, &str)]) {
    for (patch, expected) in cases {
        let error = check_with(patch).expect_err(expected);
        assert_eq!(&error.to_string(), expected, "{patch}");
        assert!(error.hint().is_some());
    }
}

fn process(patch: Value) -> Value {
    json!({"process": patch})
}

fn linux(patch: Value) -> Value {
    json!({"linux": patch})
}

fn resources(patch: Value) -> Value {
    json!({"linux": {"resources": patch}})
}

#[test]
fn version_and_required_fields() {
    accepts(&[
        json!({}),
        json!({"ociVersion": "1.0.2-dev"}),
        json!({"ociVersion": "1.9.0+x"}),
        json!({"linux": null, "mounts": null}),
    ]);
    refuses(&[
        (json!({"ociVersion": null}), "ociVersion: required but missing"),
        (
            json!({"ociVersion": "2.0.0"}),
            "ociVersion: \"2.0.0\" is not a version 1 of the specification",
        ),
        (
            json!({"ociVersion": "0.9.0"}),
            "ociVersion: \"0.9.0\" is not a version 1 of the specification",
        ),
        (json!({"ociVersion": "1.0"}), "ociVersion: \"1.0\" is not a semantic version"),
        (json!({"ociVersion": "1..0"}), "ociVersion: \"1..0\" is not a semantic version"),
        (json!({"ociVersion": "one"}), "ociVersion: \"one\" is not a semantic version"),
        (json!({"root": null}), "root: required but missing"),
        (json!({"root": {"path": null}}), "root.path: required but missing"),
        (json!({"root": {"path": ""}}), "root.path: required but missing"),
        (json!({"root": {"path": "a\0b"}}), "root.path: \"a\\0b\" has a NUL byte in it"),
        (json!({"process": null}), "process: required but missing"),
        (json!({"annotations": {"": "x"}}), "annotations: has an empty key"),
    ]);
}

#[test]
fn arguments_environment_and_directory() {
    accepts(&[process(json!({"env": ["A=", "A=b=c"]})), process(json!({"cwd": "/a/../b"}))]);
    refuses(&[
        (process(json!({"args": null})), "process.args: required but missing"),
        (process(json!({"args": []})), "process.args: required but missing"),
        (process(json!({"args": [""]})), "process.args[0]: required but missing"),
        (process(json!({"args": ["sh", "a\0"]})), "process.args[1]: \"a\\0\" has a NUL byte in it"),
        (
            process(json!({"env": ["A=b", "C"]})),
            "process.env[1]: \"C\" is not of the form NAME=value",
        ),
        (process(json!({"env": ["=b"]})), "process.env[0]: \"=b\" has no name before the `=`"),
        (process(json!({"env": ["A=\0"]})), "process.env[0]: \"A=\\0\" has a NUL byte in it"),
        (process(json!({"cwd": "x"})), "process.cwd: \"x\" is not an absolute path"),
        (process(json!({"cwd": ""})), "process.cwd: required but missing"),
        (process(json!({"cwd": "/\0"})), "process.cwd: \"/\\0\" has a NUL byte in it"),
    ]);
}

#[test]
fn users() {
    accepts(&[process(
        json!({"user": {"uid": 4294967294u32, "umask": 511, "additionalGids": [0, 1]}}),
    )]);
    refuses(&[
        (
            process(json!({"user": {"uid": 4294967295u32}})),
            "process.user.uid: 4294967295 is out of range: 0 to 4294967294",
        ),
        (
            process(json!({"user": {"gid": 4294967295u32}})),
            "process.user.gid: 4294967295 is out of range: 0 to 4294967294",
        ),
        (
            process(json!({"user": {"additionalGids": [1, 4294967295u32]}})),
            "process.user.additionalGids[1]: 4294967295 is out of range: 0 to 4294967294",
        ),
        (
            process(json!({"user": {"umask": 512}})),
            "process.user.umask: 0o1000 is out of range: 0 to 0o777 (511)",
        ),
        (
            process(json!({"user": {"additionalGids": vec![1; 65_537]}})),
            "process.user.additionalGids: 65537 is out of range: at most 65536 groups",
        ),
    ]);
}

/// What is granted of capabilities, and what is said about the others.
fn granted(capabilities: &Value) -> Capabilities {
    let text = json!({"cwd": "/", "args": ["a"], "capabilities": capabilities}).to_string();
    crate::process(text.as_bytes()).expect("it is acceptable").capabilities
}

#[test]
fn capabilities_that_can_be_granted_are_all_granted() {
    let all = json!(["CAP_KILL", "CAP_CHOWN"]);
    for asked in [
        json!({}),
        json!({"bounding": all, "permitted": all, "effective": all, "inheritable": all, "ambient": all}),
        // Ambient without inheritable: as in runc's template.
        json!({"permitted": all, "ambient": all}),
        json!({"permitted": all, "effective": ["CAP_KILL"]}),
    ] {
        let Capabilities { sets, left_out } = granted(&asked);
        assert_eq!(left_out, [""; 0]);
        let has = |set: &str, mask: u64| {
            let named = asked.get(set).and_then(Value::as_array).map_or(0, Vec::len);
            assert_eq!(mask.count_ones() as usize, named, "{set} of {asked}");
        };
        has("bounding", sets.bounding);
        has("permitted", sets.permitted);
        has("effective", sets.effective);
        has("inheritable", sets.inheritable);
        has("ambient", sets.ambient);
    }
}

#[test]
fn capabilities_that_cannot_be_granted_are_left_out_and_told() {
    let all = json!(["CAP_KILL", "CAP_CHOWN"]);
    for (asked, told) in [
        (
            json!({"effective": all, "permitted": ["CAP_CHOWN"]}),
            "process.capabilities.effective: CAP_KILL is left out, not being in permitted",
        ),
        (
            json!({"ambient": all, "inheritable": all, "bounding": all}),
            "process.capabilities.ambient: CAP_CHOWN, CAP_KILL are left out, not being in permitted",
        ),
        (
            json!({"inheritable": all, "bounding": ["CAP_CHOWN"]}),
            "process.capabilities.inheritable: CAP_KILL is left out, not being in bounding",
        ),
        (
            json!({"bounding": ["CAP_CHWON"], "effective": ["CAP_CHWON"]}),
            "process.capabilities: unknown capability \"CAP_CHWON\" is left out: did you mean CAP_CHOWN?",
        ),
        // In another spelling than the kernel's, as for runc.
        (
            json!({"bounding": ["kill"]}),
            "process.capabilities: unknown capability \"kill\" is left out: did you mean CAP_KILL?",
        ),
    ] {
        let Capabilities { sets, left_out } = granted(&asked);
        assert_eq!(left_out, [told]);
        assert_eq!(sets.effective & !sets.permitted, 0, "{asked}");
        assert_eq!(sets.ambient & !sets.permitted, 0, "{asked}");
        assert_eq!(sets.inheritable & !sets.bounding, 0, "{asked}");
        assert_eq!(sets.bounding & (1 << 5), if told.contains("ambient") { 1 << 5 } else { 0 });
    }
    let many: Vec<String> = (0..1000).map(|number| format!("CAP_{number}")).collect();
    let left_out = granted(&json!({"bounding": many})).left_out;
    assert_eq!(left_out.len(), 9, "few lines");
    assert_eq!(left_out[8], "process.capabilities: 992 more unknown names are left out");
}

#[test]
fn resource_limits_and_scores() {
    let limit = |typ: &str, soft: u64, hard: u64| json!({"type": typ, "soft": soft, "hard": hard});
    accepts(&[
        process(json!({"rlimits": [limit("RLIMIT_CORE", 0, 0), limit("RLIMIT_CPU", 1, u64::MAX)]})),
        process(json!({"oomScoreAdj": -1000})),
        process(json!({"oomScoreAdj": 1000})),
        process(json!({"consoleSize": {"height": 65535, "width": 0}})),
    ]);
    refuses(&[
        (
            process(json!({"rlimits": [limit("RLIMIT_CORE", 0, 0), limit("RLIMIT_CORE", 1, 1)]})),
            "process.rlimits[1].type: RLIMIT_CORE is limited twice",
        ),
        (
            process(json!({"rlimits": [limit("RLIMIT_CORE", 2, 1)]})),
            "process.rlimits[0].soft: 2 is above the hard limit of 1",
        ),
        (
            process(json!({"oomScoreAdj": -1001})),
            "process.oomScoreAdj: -1001 is out of range: -1000 to 1000",
        ),
        (
            process(json!({"oomScoreAdj": 1001})),
            "process.oomScoreAdj: 1001 is out of range: -1000 to 1000",
        ),
        (
            process(json!({"consoleSize": {"height": 65536, "width": 0}})),
            "process.consoleSize.height: 65536 is out of range: 0 to 65535",
        ),
        (
            process(json!({"apparmorProfile": "a\nb"})),
            "process.apparmorProfile: \"a\\nb\" has a NUL byte or a line break in it",
        ),
        (
            process(json!({"selinuxLabel": "a\0"})),
            "process.selinuxLabel: \"a\\0\" has a NUL byte or a line break in it",
        ),
    ]);
}

#[test]
fn scheduling() {
    let scheduler = |patch: Value| process(json!({"scheduler": patch}));
    accepts(&[
        scheduler(json!({"policy": "SCHED_OTHER", "nice": -20})),
        scheduler(json!({"policy": "SCHED_BATCH", "nice": 19, "priority": 0})),
        scheduler(json!({"policy": "SCHED_IDLE"})),
        scheduler(
            json!({"policy": "SCHED_FIFO", "priority": 1, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
        ),
        scheduler(json!({"policy": "SCHED_RR", "priority": 99, "nice": 0})),
        scheduler(json!({"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 1024})),
        scheduler(
            json!({"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 2048, "period": 2048}),
        ),
        process(json!({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 7}})),
        process(json!({"ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 9}})),
        process(json!({"execCPUAffinity": {"initial": "0", "final": "0-3,7"}})),
    ]);
    refuses(&[
        (
            scheduler(json!({"policy": "SCHED_ISO"})),
            "process.scheduler.policy: \"SCHED_ISO\" is reserved and not in any kernel",
        ),
        (
            scheduler(json!({"policy": "SCHED_OTHER", "nice": 20})),
            "process.scheduler.nice: 20 is out of range: -20 to 19 for SCHED_OTHER",
        ),
        (
            scheduler(json!({"policy": "SCHED_FIFO", "priority": 1, "nice": 1})),
            "process.scheduler.nice: 1 is out of range: 0 to 0 for SCHED_FIFO",
        ),
        (
            scheduler(json!({"policy": "SCHED_FIFO"})),
            "process.scheduler.priority: 0 is out of range: 1 to 99 for SCHED_FIFO",
        ),
        (
            scheduler(json!({"policy": "SCHED_RR", "priority": 100})),
            "process.scheduler.priority: 100 is out of range: 1 to 99 for SCHED_RR",
        ),
        (
            scheduler(json!({"policy": "SCHED_BATCH", "priority": 1})),
            "process.scheduler.priority: 1 is out of range: 0 to 0 for SCHED_BATCH",
        ),
        (
            scheduler(json!({"policy": "SCHED_OTHER", "period": 1})),
            "process.scheduler.period: is only for SCHED_DEADLINE, not SCHED_OTHER",
        ),
    ]);
}

#[test]
fn deadlines_io_priority_and_affinity() {
    let scheduler = |patch: Value| process(json!({"scheduler": patch}));
    refuses(&[
        (
            scheduler(json!({"policy": "SCHED_DEADLINE"})),
            "process.scheduler.runtime: 0 is out of range: at least 1024 nanoseconds",
        ),
        (
            scheduler(json!({"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 1999})),
            "process.scheduler.runtime: 2000 is more than the deadline of 1999",
        ),
        (
            scheduler(
                json!({"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 2001, "period": 2000}),
            ),
            "process.scheduler.deadline: 2001 is more than the period of 2000",
        ),
        (
            scheduler(json!({"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 1u64 << 63})),
            "process.scheduler.deadline: 9223372036854775808 is out of range: below 2^63 nanoseconds",
        ),
        (
            process(json!({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}})),
            "process.ioPriority.priority: 8 is out of range: 0 to 7",
        ),
        (
            process(json!({"ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": -1}})),
            "process.ioPriority.priority: -1 is out of range: 0 to 7",
        ),
        (
            process(json!({"execCPUAffinity": {"final": "3-0"}})),
            "process.execCPUAffinity.final: \"3-0\" is not a list of numbers below 8192 and ranges",
        ),
    ]);
}

#[test]
fn names_of_the_host() {
    accepts(&[json!({"hostname": "a".repeat(64)}), json!({"domainname": "b"})]);
    let no_uts = json!([{"type": "mount"}]);
    refuses(&[
        (
            json!({"hostname": "a", "linux": {"namespaces": no_uts}}),
            "hostname: needs a UTS namespace, or it would be the host's",
        ),
        (
            json!({"domainname": "a", "linux": {"namespaces": no_uts}}),
            "domainname: needs a UTS namespace, or it would be the host's",
        ),
        (
            json!({"hostname": "a", "linux": null}),
            "hostname: needs a UTS namespace, or it would be the host's",
        ),
        (
            json!({"domainname": "b".repeat(65)}),
            &format!("domainname: \"{}\" is longer than 64 bytes", "b".repeat(65)),
        ),
        (json!({"hostname": "a\0"}), "hostname: \"a\\0\" has a NUL byte in it"),
    ]);
}

#[test]
fn hooks() {
    let hook = |patch: Value| json!({"hooks": {"createRuntime": [{"path": "/bin/true"}, patch]}});
    accepts(&[hook(json!({"path": "/a", "args": ["a"], "env": ["A=b"], "timeout": 1}))]);
    refuses(&[
        (hook(json!({"path": "a"})), "hooks.createRuntime[1].path: \"a\" is not an absolute path"),
        (
            hook(json!({"path": "/a", "timeout": 0})),
            "hooks.createRuntime[1].timeout: 0 is out of range: more than 0 seconds",
        ),
        (
            hook(json!({"path": "/a", "timeout": -1})),
            "hooks.createRuntime[1].timeout: -1 is out of range: more than 0 seconds",
        ),
        (
            hook(json!({"path": "/a", "env": ["A"]})),
            "hooks.createRuntime[1].env[0]: \"A\" is not of the form NAME=value",
        ),
        (
            hook(json!({"path": "/a", "args": ["\0"]})),
            "hooks.createRuntime[1].args[0]: \"\\0\" has a NUL byte in it",
        ),
    ]);
    for name in crate::Hooks::names() {
        let error = check_with(&json!({"hooks": {name: [{"path": "x"}]}})).expect_err(name);
        assert_eq!(error.field(), format!("hooks.{name}[0].path"));
    }
}

#[test]
fn namespaces() {
    accepts(&[linux(
        json!({"namespaces": [{"type": "pid", "path": "/proc/1/ns/pid"}, {"type": "ipc", "path": ""}]}),
    )]);
    refuses(&[
        (
            linux(
                json!({"namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "pid", "path": "/x"}]}),
            ),
            "linux.namespaces[2].type: the pid namespace is listed twice",
        ),
        (
            linux(json!({"namespaces": [{"type": "network", "path": "netns"}]})),
            "linux.namespaces[0].path: \"netns\" is not an absolute path",
        ),
        (
            linux(json!({"namespaces": [{"type": "uts"}], "maskedPaths": ["/proc/kcore"]})),
            "linux.maskedPaths: needs a mount namespace",
        ),
        (
            linux(json!({"namespaces": [{"type": "uts"}], "readonlyPaths": ["/proc/sys"]})),
            "linux.readonlyPaths: needs a mount namespace",
        ),
    ]);
}

fn mapping(container: u32, host: u32, size: u32) -> Value {
    json!({"containerID": container, "hostID": host, "size": size})
}

#[test]
fn id_mappings() {
    let user = json!([{"type": "user"}]);
    let mapped = |users: Value, groups: Value| {
        linux(json!({"namespaces": user, "uidMappings": users, "gidMappings": groups}))
    };
    let one = json!([mapping(0, 1000, 1)]);
    let many: Vec<Value> = (0..341).map(|n| mapping(n, n, 1)).collect();
    accepts(&[
        mapped(one.clone(), one.clone()),
        mapped(json!([mapping(0, 1000, 10), mapping(10, 5, 1)]), one.clone()),
        mapped(json!([mapping(0, 0, 4_294_967_295)]), one.clone()),
        mapped(json!(many[..340]), one.clone()),
        linux(json!({"namespaces": [{"type": "user", "path": "/proc/1/ns/user"}]})),
    ]);
    refuses(&[
        (linux(json!({"uidMappings": one})), "linux.uidMappings: needs a user namespace"),
        (linux(json!({"gidMappings": one})), "linux.gidMappings: needs a user namespace"),
        (linux(json!({"namespaces": user})), "linux.uidMappings: required but missing"),
        (
            linux(json!({"namespaces": user, "uidMappings": one})),
            "linux.gidMappings: required but missing",
        ),
        (
            mapped(json!([mapping(0, 1, 0)]), one.clone()),
            "linux.uidMappings[0].size: 0 is out of range: at least 1",
        ),
        (
            mapped(json!([mapping(1, 0, 4_294_967_295)]), one.clone()),
            "linux.uidMappings[0].containerID: 1 and size 4294967295 exceed the last id, 4294967294",
        ),
        (
            mapped(one.clone(), json!([mapping(0, 4_294_967_295, 1)])),
            "linux.gidMappings[0].hostID: 4294967295 and size 1 exceed the last id, 4294967294",
        ),
        (
            mapped(json!([mapping(0, 0, 10), mapping(9, 100, 1)]), one.clone()),
            "linux.uidMappings[1].containerID: overlaps with that of linux.uidMappings[0]",
        ),
        (
            mapped(json!([mapping(50, 7, 1), mapping(9, 0, 8)]), one.clone()),
            "linux.uidMappings[1].hostID: overlaps with that of linux.uidMappings[0]",
        ),
        (
            mapped(json!(many), one.clone()),
            "linux.uidMappings: 341 mappings is out of range: at most 340",
        ),
    ]);
}

#[test]
fn users_outside_the_mappings() {
    let one = json!([mapping(0, 1000, 1)]);
    let outside = |user: Value| json!({"process": {"user": user}, "linux": {"namespaces": [{"type": "user"}], "uidMappings": one, "gidMappings": [mapping(0, 0, 2)]}});
    accepts(&[outside(json!({"uid": 0, "gid": 1, "additionalGids": [1]}))]);
    refuses(&[
        (outside(json!({"uid": 1})), "process.user.uid: 1 is not mapped in linux.uidMappings"),
        (outside(json!({"gid": 2})), "process.user.gid: 2 is not mapped in linux.gidMappings"),
        (
            outside(json!({"additionalGids": [1, 5]})),
            "process.user.additionalGids[1]: 5 is not mapped in linux.gidMappings",
        ),
    ]);
}

#[test]
fn sysctls() {
    let sysctl = |name: &str| linux(json!({"sysctl": {name: "1"}}));
    accepts(&[
        sysctl("net.ipv4.ip_forward"),
        sysctl("net/ipv4/conf/eth0.1/forwarding"),
        sysctl("kernel.shmmax"),
        sysctl("fs.mqueue.msg_max"),
        sysctl("kernel.domainname"),
    ]);
    refuses(&[
        (
            sysctl("kernel.hostname"),
            "linux.sysctl[\"kernel.hostname\"]: is not a namespaced sysctl here: `hostname` sets it",
        ),
        (
            sysctl("kernel.core_pattern"),
            "linux.sysctl[\"kernel.core_pattern\"]: is a parameter of the whole host",
        ),
        (
            sysctl("vm.swappiness"),
            "linux.sysctl[\"vm.swappiness\"]: is a parameter of the whole host",
        ),
        (sysctl("network.x"), "linux.sysctl[\"network.x\"]: is a parameter of the whole host"),
        (
            sysctl("net/../kernel/core_pattern"),
            "linux.sysctl[\"net/../kernel/core_pattern\"]: is not the name of a kernel parameter",
        ),
        (sysctl("net"), "linux.sysctl[\"net\"]: is not the name of a kernel parameter"),
        (sysctl("net."), "linux.sysctl[\"net.\"]: is not the name of a kernel parameter"),
        (
            linux(json!({"sysctl": {"net.a": "\0"}})),
            "linux.sysctl[\"net.a\"]: \"\\0\" has a NUL byte in it",
        ),
    ]);
}

#[test]
fn sysctls_without_their_namespace() {
    let without = |namespace: &str, name: &str| {
        let all = ["mount", "uts", "ipc", "network"];
        let rest: Vec<Value> =
            all.iter().filter(|n| **n != namespace).map(|n| json!({"type": n})).collect();
        linux(json!({"namespaces": rest, "sysctl": {name: "1"}}))
    };
    refuses(&[
        (
            without("network", "net.core.somaxconn"),
            "linux.sysctl[\"net.core.somaxconn\"]: needs a network namespace, or it would be the host's",
        ),
        (
            without("ipc", "kernel.sem"),
            "linux.sysctl[\"kernel.sem\"]: needs an ipc namespace, or it would be the host's",
        ),
        (
            without("ipc", "fs.mqueue.msg_max"),
            "linux.sysctl[\"fs.mqueue.msg_max\"]: needs an ipc namespace, or it would be the host's",
        ),
        (
            without("pid", "kernel.pid_max"),
            "linux.sysctl[\"kernel.pid_max\"]: needs a pid namespace, or it would be the host's",
        ),
        (
            without("uts", "kernel.domainname"),
            "linux.sysctl[\"kernel.domainname\"]: needs a uts namespace, or it would be the host's",
        ),
        (
            without("mount", "user.max_user_namespaces"),
            "linux.sysctl[\"user.max_user_namespaces\"]: needs a user namespace, or it would be the host's",
        ),
    ]);
}

#[test]
fn devices() {
    let device = |patch: Value| {
        let mut device = json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 3});
        merge(&mut device, &patch);
        linux(json!({"devices": [device]}))
    };
    accepts(&[
        device(json!({"major": 4095, "minor": 1_048_575, "fileMode": 4095})),
        device(json!({"fileMode": 0o020_666})),
        device(json!({"type": "p", "major": -1, "minor": -1})),
        device(json!({"type": "b", "fileMode": 0o060_660})),
        // os.FileMode of Go: ModeDevice, ModeCharDevice, ModeNamedPipe.
        device(json!({"fileMode": 1 << 26 | 1 << 21 | 0o666})),
        device(json!({"fileMode": 1 << 26 | 0o666})),
        device(json!({"type": "b", "fileMode": 1 << 26 | 0o660})),
        device(json!({"type": "p", "fileMode": 1 << 25 | 0o600})),
    ]);
    refuses(&[
        (
            device(json!({"type": "a"})),
            "linux.devices[0].type: \"a\" is only for linux.resources.devices",
        ),
        (
            device(json!({"path": "dev/x"})),
            "linux.devices[0].path: \"dev/x\" is not an absolute path",
        ),
        (
            device(json!({"path": "/dev/../etc/x"})),
            "linux.devices[0].path: \"/dev/../etc/x\" has a `..` in it",
        ),
        (device(json!({"path": null})), "linux.devices[0].path: required but missing"),
        (device(json!({"major": 4096})), "linux.devices[0].major: 4096 is out of range: 0 to 4095"),
        (device(json!({"minor": -1})), "linux.devices[0].minor: -1 is out of range: 0 to 1048575"),
        (
            device(json!({"fileMode": 0o060_666})),
            "linux.devices[0].fileMode: 0o60666 is out of range: 0 to 0o7777 (4095)",
        ),
        (
            device(json!({"type": "b", "fileMode": 1 << 26 | 1 << 21 | 0o666})),
            "linux.devices[0].fileMode: 0o410000666 is out of range: 0 to 0o7777 (4095)",
        ),
        (
            // ModeDir.
            device(json!({"fileMode": 1_u32 << 31 | 0o666})),
            "linux.devices[0].fileMode: 0o20000000666 is out of range: 0 to 0o7777 (4095)",
        ),
        (
            device(json!({"fileMode": 0o200_000})),
            "linux.devices[0].fileMode: 0o200000 is out of range: 0 to 0o7777 (4095)",
        ),
        (
            device(json!({"uid": 4294967295u32})),
            "linux.devices[0].uid: 4294967295 is out of range: 0 to 4294967294",
        ),
    ]);
}

#[test]
fn paths_and_labels() {
    accepts(&[
        linux(json!({"cgroupsPath": "system.slice:brig:web"})),
        linux(json!({"cgroupsPath": "/a/b..c/..d"})),
        linux(json!({"maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"]})),
        linux(json!({"rootfsPropagation": "rslave"})),
    ]);
    refuses(&[
        (
            linux(json!({"cgroupsPath": "/a/../../b"})),
            "linux.cgroupsPath: \"/a/../../b\" has a `..` in it",
        ),
        (linux(json!({"cgroupsPath": "a\0"})), "linux.cgroupsPath: \"a\\0\" has a NUL byte in it"),
        (
            linux(json!({"maskedPaths": ["/a", "/./"]})),
            "linux.maskedPaths[1]: \"/./\" is the container's root, which cannot be masked or made read-only here",
        ),
        (
            linux(json!({"readonlyPaths": ["/"]})),
            "linux.readonlyPaths[0]: \"/\" is the container's root, which cannot be masked or made read-only here",
        ),
        (
            linux(json!({"maskedPaths": ["/a", "b"]})),
            "linux.maskedPaths[1]: \"b\" is not an absolute path",
        ),
        (
            linux(json!({"readonlyPaths": ["/a/../b"]})),
            "linux.readonlyPaths[0]: \"/a/../b\" has a `..` in it",
        ),
        (
            linux(json!({"rootfsPropagation": "rslav"})),
            "linux.rootfsPropagation: unknown propagation \"rslav\"",
        ),
        (
            linux(json!({"rootfsPropagation": "ro"})),
            "linux.rootfsPropagation: unknown propagation \"ro\"",
        ),
        (
            linux(json!({"mountLabel": "a\n"})),
            "linux.mountLabel: \"a\\n\" has a NUL byte or a line break in it",
        ),
    ]);
}

#[test]
fn mounts() {
    let mount = |patch: Value| json!({"mounts": [{"destination": "/proc", "type": "proc"}, patch]});
    let ids = json!([mapping(0, 1000, 1)]);
    let bind = |patch: Value| {
        let mut bind = json!({"destination": "/a", "source": "/b", "options": ["bind"]});
        merge(&mut bind, &patch);
        mount(bind)
    };
    accepts(&[bind(json!({})), bind(json!({"uidMappings": ids, "gidMappings": ids}))]);
    refuses(&[
        (bind(json!({"source": "/\0"})), "mounts[1].source: \"/\\0\" has a NUL byte in it"),
        (
            bind(json!({"options": ["bind", "idmap"]})),
            "mounts[1].options: idmap without mappings or a user namespace",
        ),
        (bind(json!({"uidMappings": ids})), "mounts[1].gidMappings: required but missing"),
        (bind(json!({"gidMappings": ids})), "mounts[1].uidMappings: required but missing"),
        (
            bind(json!({"uidMappings": [mapping(0, 0, 0)], "gidMappings": ids})),
            "mounts[1].uidMappings[0].size: 0 is out of range: at least 1",
        ),
        (
            bind(json!({"options": ["remount"], "uidMappings": ids, "gidMappings": ids})),
            "mounts[1].options: a remount cannot change the mapping of ids",
        ),
    ]);
    let with_user = json!({
        "mounts": [{"destination": "/a", "source": "/b", "options": ["rbind", "ridmap"]}],
        "linux": {"namespaces": [{"type": "user"}], "uidMappings": ids, "gidMappings": ids}
    });
    accepts(&[with_user]);
}

#[test]
fn resource_values() {
    accepts(&[
        resources(
            json!({"memory": {"limit": -1, "swap": -1, "reservation": 0, "swappiness": 200}}),
        ),
        resources(json!({"memory": {"limit": 10, "swap": 10}, "pids": {"limit": -1}})),
        resources(json!({"cpu": {"cpus": "0-3,7", "mems": "0", "quota": -1, "idle": 1}})),
        resources(json!({"cpu": {"cpus": ""}})),
        resources(json!({"cpu": {"cpus": "0,,1", "mems": "0 1\n"}})),
        resources(json!({"cpu": {"cpus": "0-31:2/4"}})),
        resources(json!({"blockIO": {"weight": 0, "leafWeight": 1000}})),
        resources(
            json!({"devices": [{"allow": true, "type": "c", "major": -1, "minor": 5, "access": "rw"}]}),
        ),
        resources(json!({"devices": [{"allow": true, "access": "rwmx"}]})),
        resources(json!({"unified": {"memory.high": "max"}})),
    ]);
    refuses(&[
        (
            resources(json!({"devices": [{"allow": true, "access": "xy"}]})),
            "linux.resources.devices[0].access: \"xy\" has none of r, w and m in it",
        ),
        (
            resources(json!({"memory": {"limit": -2}})),
            "linux.resources.memory.limit: -2 is out of range: -1 (no limit) or more",
        ),
        (
            resources(json!({"memory": {"swappiness": 201}})),
            "linux.resources.memory.swappiness: 201 is out of range: 0 to 200",
        ),
        (
            resources(json!({"memory": {"limit": 10, "swap": 9}})),
            "linux.resources.memory.swap: 9 is less than the memory limit of 10, which it includes",
        ),
        (
            resources(json!({"pids": {"limit": -2}})),
            "linux.resources.pids.limit: -2 is out of range: -1 (no limit) or more",
        ),
        (
            resources(json!({"cpu": {"cpus": ","}})),
            "linux.resources.cpu.cpus: \",\" is not a list of numbers below 8192 and ranges",
        ),
        (
            resources(json!({"cpu": {"mems": "0 - 1"}})),
            "linux.resources.cpu.mems: \"0 - 1\" is not a list of numbers below 8192 and ranges",
        ),
        (
            resources(json!({"cpu": {"cpus": "99999"}})),
            "linux.resources.cpu.cpus: \"99999\" is not a list of numbers below 8192 and ranges",
        ),
    ]);
}

#[test]
fn resource_names_and_numbers() {
    refuses(&[
        (
            resources(json!({"cpu": {"idle": 2}})),
            "linux.resources.cpu.idle: 2 is out of range: 0 or 1",
        ),
        (
            resources(json!({"cpu": {"quota": -5}})),
            "linux.resources.cpu.quota: -5 is out of range: -1 (no limit) or more",
        ),
        (
            resources(json!({"blockIO": {"weight": 9}})),
            "linux.resources.blockIO.weight: 9 is out of range: 10 to 1000",
        ),
        (
            resources(
                json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 1001}]}}),
            ),
            "linux.resources.blockIO.weightDevice[0].leafWeight: 1001 is out of range: 10 to 1000",
        ),
        (
            resources(
                json!({"blockIO": {"throttleReadIOPSDevice": [{"major": 8, "minor": -1, "rate": 1}]}}),
            ),
            "linux.resources.blockIO.throttleReadIOPSDevice[0].minor: -1 is out of range: 0 to 1048575",
        ),
        (
            resources(json!({"hugepageLimits": [{"pageSize": "2M", "limit": 1}]})),
            "linux.resources.hugepageLimits[0].pageSize: \"2M\" is not a page size",
        ),
        (
            resources(json!({"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]})),
            "linux.resources.hugepageLimits[0].pageSize: \"../2MB\" is not a page size",
        ),
        (
            resources(json!({"network": {"priorities": [{"name": "a/b", "priority": 1}]}})),
            "linux.resources.network.priorities[0].name: \"a/b\" is not the name of a network interface",
        ),
        (
            resources(json!({"rdma": {"mlx": {}}})),
            "linux.resources.rdma[\"mlx\"]: required but missing",
        ),
        (
            resources(json!({"rdma": {"m x": {"hcaHandles": 1}}})),
            "linux.resources.rdma[\"m x\"]: is not the name of an RDMA device",
        ),
        (
            resources(json!({"unified": {"../x": "1"}})),
            "linux.resources.unified[\"../x\"]: is not the name of a cgroup file",
        ),
        (
            resources(json!({"unified": {"cgroup.procs": "1"}})),
            "linux.resources.unified[\"cgroup.procs\"]: is not a resource limit",
        ),
        (
            resources(json!({"unified": {"memory.max": "\0"}})),
            "linux.resources.unified[\"memory.max\"]: \"\\0\" has a NUL byte in it",
        ),
        (
            resources(json!({"devices": [{"allow": true, "type": "p"}]})),
            "linux.resources.devices[0].type: \"p\" is not a, b or c",
        ),
        (
            resources(json!({"devices": [{"allow": true, "minor": 1_048_576}]})),
            "linux.resources.devices[0].minor: 1048576 is out of range: 0 to 1048575",
        ),
    ]);
}

#[test]
fn memory_policy_rdt_and_personality() {
    let policy = |patch: Value| linux(json!({"memoryPolicy": patch}));
    accepts(&[
        policy(json!({"mode": "MPOL_DEFAULT"})),
        policy(json!({"mode": "MPOL_PREFERRED", "nodes": ""})),
        policy(
            json!({"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES"]}),
        ),
        linux(json!({"intelRdt": {"closID": "/", "enableMonitoring": true}})),
        linux(
            json!({"intelRdt": {"closID": "web", "schemata": ["L3:0=f"], "l3CacheSchema": "L3:0=f\nMB:0=10"}}),
        ),
        linux(json!({"personality": {"domain": "LINUX32", "flags": []}})),
    ]);
    refuses(&[
        (policy(json!({"mode": "MPOL_BIND"})), "linux.memoryPolicy.nodes: required but missing"),
        (
            policy(json!({"mode": "MPOL_LOCAL", "nodes": "0"})),
            "linux.memoryPolicy.nodes: must be empty for MPOL_LOCAL",
        ),
        (
            policy(json!({"mode": "MPOL_BIND", "nodes": "all"})),
            "linux.memoryPolicy.nodes: \"all\" is not a list of numbers below 8192 and ranges",
        ),
        (
            policy(
                json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}),
            ),
            "linux.memoryPolicy.flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other",
        ),
        (
            policy(
                json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}),
            ),
            "linux.memoryPolicy.flags: MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY, not MPOL_INTERLEAVE",
        ),
        (
            policy(json!({"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_STATIC_NODES"]})),
            "linux.memoryPolicy.flags: flags need nodes, and MPOL_PREFERRED has none here",
        ),
        (
            linux(json!({"intelRdt": {"closID": "../x"}})),
            "linux.intelRdt.closID: \"../x\" is not the name of a resctrl group",
        ),
        (
            linux(json!({"intelRdt": {"closID": "/x"}})),
            "linux.intelRdt.closID: \"/x\" is not the name of a resctrl group",
        ),
        (
            linux(json!({"intelRdt": {"closID": "info"}})),
            "linux.intelRdt.closID: \"info\" is not the name of a resctrl group",
        ),
        (
            linux(json!({"intelRdt": {"schemata": ["L3:0=f", "x\ny"]}})),
            "linux.intelRdt.schemata[1]: \"x\\ny\" is not one line of a schemata file",
        ),
        (
            linux(json!({"personality": {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}})),
            "linux.personality.flags[0]: unknown personality flag \"ADDR_NO_RANDOMIZE\"",
        ),
    ]);
}

#[test]
fn network_devices_and_time() {
    let devices = |patch: Value| linux(json!({"netDevices": patch}));
    let time =
        |patch: Value| linux(json!({"namespaces": [{"type": "time"}], "timeOffsets": patch}));
    accepts(&[
        devices(json!({"eth0": {}, "ens4": {"name": "abcdefghijklmno"}})),
        time(json!({"monotonic": {"secs": -1, "nanosecs": 999_999_999}, "boottime": {}})),
    ]);
    refuses(&[
        (
            devices(json!({"a/b": {}})),
            "linux.netDevices[\"a/b\"]: \"a/b\" is not the name of a network interface",
        ),
        (
            devices(json!({"eth0": {"name": "abcdefghijklmnop"}})),
            "linux.netDevices[\"eth0\"].name: \"abcdefghijklmnop\" is not the name of a network interface",
        ),
        (
            devices(json!({"eth0": {"name": ".."}})),
            "linux.netDevices[\"eth0\"].name: \"..\" is not the name of a network interface",
        ),
        (
            devices(json!({"eth0": {"name": "x"}, "x": {}})),
            "linux.netDevices: two devices would be \"x\"",
        ),
        (
            linux(json!({"namespaces": [], "netDevices": {"eth0": {}}})),
            "linux.netDevices: needs a network namespace to move the devices to",
        ),
        (
            linux(json!({"timeOffsets": {"monotonic": {"secs": 1}}})),
            "linux.timeOffsets: needs a time namespace",
        ),
        (
            linux(
                json!({"namespaces": [{"type": "time", "path": "/x"}], "timeOffsets": {"monotonic": {}}}),
            ),
            "linux.timeOffsets: cannot change a time namespace that exists already",
        ),
        (time(json!({"realtime": {"secs": 1}})), "linux.timeOffsets: unknown clock \"realtime\""),
        (
            time(json!({"boottime": {"nanosecs": 1_000_000_000}})),
            "linux.timeOffsets.boottime.nanosecs: 1000000000 is out of range: 0 to 999999999",
        ),
    ]);
}
