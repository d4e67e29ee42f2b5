//! Whatever is in config.json or on the command line: an error that names the field, exit code 1,
//! and nothing left; never a panic, a hang or a container that is not what was asked for.

use brig_integration::{Bundle, Lab, json, need};
use std::os::unix::fs::symlink;

/// `create` fails with code 1, names `field`, and leaves nothing.
#[track_caller]
fn refused(lab: &Lab, bundle: Bundle, field: &str) {
    let c = lab.container(bundle);
    let output = c.create().code(1).says(field);
    assert!(!output.stderr().contains("panicked"), "{}", output.stderr());
    assert_eq!(c.status(), "gone");
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

/// One test for each entry: a name, an edit of the default bundle, and the field to be named.
macro_rules! refusals {
    ($($(#[$attribute:meta])* $name:ident: |$bundle:ident| $edit:expr, $field:expr;)+) => {$(
        #[test]
        $(#[$attribute])*
        fn $name() {
            need!(Brig);
            let lab = Lab::new();
            let $bundle = lab.bundle();
            refused(&lab, $edit, $field);
        }
    )+};
}

// That an error names the field as in config.json is brig's promise; others word it their own way.
refusals! {
    json_that_ends_early: |b| b.raw(&br#"{"ociVersion": "1.0.2", "process": {"#[..]), "config.json";
    json_that_is_no_json: |b| b.raw(&b"\x7fELF\x02\x01\x01"[..]), "config.json";
    json_that_is_no_object: |b| b.raw(&b"[]"[..]), "config.json";
    json_with_something_behind_it: |b| { let t = format!("{} {{}}", b.spec); b.raw(t) }, "config.json";
    json_that_is_not_utf8: |b| b.raw(&b"{\"ociVersion\": \"\xff\xfe\"}"[..]), "config.json";
    empty_file: |b| b.raw(&b""[..]), "config.json";
    duplicate_keys: |b| { let t = b.spec.to_string().replacen('{', r#"{"hostname": "other","#, 1); b.raw(t) }, "hostname";
    oci_version_missing: |b| b.unset("/ociVersion"), "ociVersion";
    oci_version_of_another_major: |b| b.set("/ociVersion", "2.0.0"), "ociVersion";
    oci_version_that_is_none: |b| b.set("/ociVersion", "one"), "ociVersion";
    process_args_empty: |b| b.set("/process/args", json!([])), "process.args";
    process_args_missing: |b| b.unset("/process/args"), "process.args";
    process_args_with_nul: |b| b.args(["a\0b"]), "process.args[0]";
    process_cwd_relative: |b| b.set("/process/cwd", "tmp"), "process.cwd";
    process_cwd_with_nul: |b| b.set("/process/cwd", "/a\0b"), "process.cwd";
    process_env_with_nul: |b| b.set("/process/env", json!(["A=b", "C=\0"])), "process.env[1]";
    uid_negative: |b| b.set("/process/user/uid", -1), "process.user.uid";
    uid_beyond_32_bits: |b| b.set("/process/user/uid", 4_294_967_296_u64), "process.user.uid";
    uid_invalid: |b| b.set("/process/user/uid", 4_294_967_295_u64), "process.user.uid";
    uid_as_text: |b| b.set("/process/user/uid", "0"), "process.user.uid";
    gid_invalid: |b| b.set("/process/user/gid", 4_294_967_295_u64), "process.user.gid";
    additional_gid_invalid: |b| b.set("/process/user/additionalGids", json!([1, 4_294_967_295_u64])), "process.user.additionalGids[1]";
    rlimit_unknown: |b| b.set("/process/rlimits", json!([{"type": "RLIMIT_LUCK", "hard": 1, "soft": 1}])), "process.rlimits[0]";
    rlimit_twice: |b| b.set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "hard": 1, "soft": 1}, {"type": "RLIMIT_CORE", "hard": 2, "soft": 2}])), "process.rlimits[1]";
    rlimit_soft_above_hard: |b| b.set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "hard": 1, "soft": 2}])), "process.rlimits[0]";
    hook_timeout_of_zero: |b| b.set("/hooks/createRuntime", json!([{"path": "/bin/true", "timeout": 0}])), "hooks.createRuntime[0].timeout";
    annotation_with_an_empty_key: |b| b.set("/annotations", json!({"": "x"})), "annotations";
    oom_score_out_of_range: |b| b.set("/process/oomScoreAdj", 1001), "process.oomScoreAdj";
    umask_out_of_range: |b| b.set("/process/user/umask", 0o1777), "process.user.umask";
    root_missing: |b| b.unset("/root"), "root";
    root_path_empty: |b| b.set("/root/path", ""), "root.path";
    root_path_with_nul: |b| b.set("/root/path", "/a\0b"), "root.path";
    root_path_missing_on_disk: |b| b.set("/root/path", "/no/such/rootfs"), "root.path";
    root_path_is_a_file: |b| b.set("/root/path", "/etc/passwd"), "root.path";
    hostname_too_long: |b| b.set("/hostname", "x".repeat(65)), "hostname";
    hostname_without_uts_namespace: |b| b.without_namespace("uts"), "hostname";
    domainname_too_long: |b| b.set("/domainname", "x".repeat(65)), "domainname";
    mount_destination_with_dots: |b| b.mount(json!({"destination": "/a/../../etc", "type": "tmpfs", "source": "tmpfs"})), "mounts[6].destination";
    mount_destination_with_nul: |b| b.mount(json!({"destination": "/a\0", "type": "tmpfs", "source": "tmpfs"})), "mounts[6].destination";
    mount_destination_empty: |b| b.mount(json!({"destination": "", "type": "tmpfs", "source": "tmpfs"})), "mounts[6].destination";
    mount_source_missing: |b| b.mount(json!({"destination": "/data", "type": "bind", "source": "/no/such/source", "options": ["bind"]})), "mounts[6]";
    mount_type_unknown: |b| b.mount(json!({"destination": "/data", "type": "nosuchfs", "source": "x"})), "mounts[6]";
    mount_option_unknown: |b| b.mount(json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["frobnicate"]})), "mounts[6]";
    mount_options_that_contradict: |b| b.mount(json!({"destination": "/data", "type": "bind", "source": "/tmp", "options": ["bind", "idmap"], "uidMappings": []})), "mounts[6]";
    mount_idmap_without_maps_or_user_namespace: |b| b.mount(json!({"destination": "/data", "type": "bind", "source": "/tmp", "options": ["bind", "idmap"]})), "mounts[6].options";
    mount_maps_of_users_alone: |b| b.mount(json!({"destination": "/data", "type": "bind", "source": "/tmp", "options": ["bind"], "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]})), "mounts[6]";
    mount_namespace_missing: |b| b.without_namespace("mount"), "linux.namespaces";
    namespace_unknown: |b| b.set("/linux/namespaces/-", json!({"type": "dream"})), "linux.namespaces[5]";
    namespace_twice: |b| b.set("/linux/namespaces/-", json!({"type": "pid"})), "linux.namespaces[5]";
    namespace_path_relative: |b| b.namespace("network", Some("proc/self/ns/net")), "linux.namespaces[4].path";
    namespace_path_missing: |b| b.namespace("network", Some("/no/such/ns")), "linux.namespaces[4].path";
    namespace_path_of_another_kind: |b| b.namespace("network", Some("/proc/self/ns/ipc")), "linux.namespaces[4].path";
    namespace_path_to_a_file: |b| b.namespace("network", Some("/etc/passwd")), "linux.namespaces[4].path";
    user_namespace_without_maps: |b| b.namespace("user", None), "linux.uidMappings";
    maps_without_user_namespace: |b| b.set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 0, "size": 1}])), "linux.uidMappings";
    maps_that_overlap: |b| b.user_namespace(100_000).set("/linux/uidMappings/-", json!({"containerID": 10, "hostID": 500_000, "size": 5})), "linux.uidMappings[1]";
    maps_that_overlap_on_the_host: |b| b.user_namespace(100_000).set("/linux/gidMappings/-", json!({"containerID": 70_000, "hostID": 100_010, "size": 5})), "linux.gidMappings[1]";
    map_of_nothing: |b| b.user_namespace(100_000).set("/linux/uidMappings/0/size", 0), "linux.uidMappings[0]";
    map_beyond_32_bits: |b| b.user_namespace(100_000).set("/linux/uidMappings/0/hostID", 4_294_967_290_u64), "linux.uidMappings[0]";
    user_not_in_the_map: |b| b.user_namespace(100_000).set("/process/user/uid", 70_000), "process.user.uid";
    seccomp_in_another_case: |b| b.set("/linux/Seccomp", json!({"defaultAction": "SCMP_ACT_ERRNO"})), "linux.Seccomp";
    no_new_privileges_in_another_case: |b| b.set("/process/nonewprivileges", true), "process.nonewprivileges";
    seccomp_action_unknown: |b| b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_PRAY"})), "linux.seccomp.defaultAction";
    seccomp_architecture_unknown: |b| b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"]})), "linux.seccomp.architectures[0]";
    seccomp_operator_unknown: |b| b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_ODD"}]}]})), "linux.seccomp.syscalls[0].args[0].op";
    seccomp_argument_out_of_range: |b| b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]})), "linux.seccomp.syscalls[0].args[0].index";
    seccomp_flag_unknown: |b| b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_FUN"]})), "linux.seccomp.flags[0]";
    seccomp_errno_out_of_range: |b| b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000})), "linux.seccomp.defaultErrnoRet";
    seccomp_errno_for_an_action_without: |b| b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_KILL", "errnoRet": 1}]})), "linux.seccomp.syscalls[0].errnoRet";
    seccomp_default_errno_for_an_action_without: |b| b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1})), "linux.seccomp.defaultErrnoRet";
    seccomp_metadata_without_listener: |b| b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"})), "linux.seccomp.listenerMetadata";
    seccomp_rule_without_names: |b| b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]})), "linux.seccomp.syscalls[0].names";
    seccomp_denies_a_call_that_no_architecture_has: |b| b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read", "mkdirr"], "action": "SCMP_ACT_ERRNO"}]})), "config.json:1: linux.seccomp.syscalls[0].names[1]";
    seccomp_too_long_for_the_kernel: |b| { let arg = |rule: u64, index: u64| json!({"index": index, "value": (rule + 1) * 0x1_0000_0001 + index, "op": "SCMP_CMP_EQ"}); let rules: Vec<_> = (0..700_u64).map(|rule| json!({"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": rule % 100 + 1, "args": (0..6).map(|index| arg(rule, index)).collect::<Vec<_>>()})).collect(); b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})) }, "config.json:1: linux.seccomp";
    seccomp_notify_without_listener: |b| b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_NOTIFY"}]})), "linux.seccomp.listenerPath";
    sysctl_of_the_host: |b| b.set("/linux/sysctl", json!({"kernel.panic": "1"})), "linux.sysctl";
    sysctl_of_a_namespace_not_made: |b| b.without_namespace("network").set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"})), "linux.sysctl";
    sysctl_with_a_path: |b| b.set("/linux/sysctl", json!({"net/../kernel/panic": "1"})), "linux.sysctl";
    device_type_unknown: |b| b.set("/linux/devices", json!([{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}])), "linux.devices[0].type";
    device_path_relative: |b| b.set("/linux/devices", json!([{"path": "dev/x", "type": "c", "major": 1, "minor": 3}])), "linux.devices[0].path";
    device_path_with_dots: |b| b.set("/linux/devices", json!([{"path": "/dev/../../x", "type": "c", "major": 1, "minor": 3}])), "linux.devices[0].path";
    masked_path_relative: |b| b.set("/linux/maskedPaths", json!(["proc/kcore"])), "linux.maskedPaths[0]";
    readonly_path_relative: |b| b.set("/linux/readonlyPaths", json!(["proc/sys"])), "linux.readonlyPaths[0]";
    rootfs_propagation_unknown: |b| b.set("/linux/rootfsPropagation", "everywhere"), "linux.rootfsPropagation";
    cgroups_path_with_dots: |b| b.set("/linux/cgroupsPath", "/../../escape"), "linux.cgroupsPath";
    cgroups_path_with_nul: |b| b.set("/linux/cgroupsPath", "/a\0b"), "linux.cgroupsPath";
    memory_limit_below_minus_one: |b| b.set("/linux/resources/memory", json!({"limit": -2})), "linux.resources.memory.limit";
    memory_swap_below_memory: |b| b.set("/linux/resources/memory", json!({"limit": 67_108_864, "swap": 1_048_576})), "linux.resources.memory.swap";
    cpu_set_malformed: |b| b.set("/linux/resources/cpu", json!({"cpus": "0-"})), "linux.resources.cpu.cpus";
    device_access_unknown: |b| b.set("/linux/resources/devices/-", json!({"allow": true, "access": "x"})), "linux.resources.devices[1].access";
    cpu_burst_above_the_quota: |b| b.set("/linux/resources/cpu", json!({"quota": 10_000, "period": 100_000, "burst": 20_000})), "linux.resources.cpu.burst";
    block_weight_of_a_device_without_weights: |b| b.set("/linux/resources/blockIO", json!({"weightDevice": [{"major": 7, "minor": 0}]})), "linux.resources.blockIO.weightDevice[0]";
    rdma_without_a_limit: |b| b.set("/linux/resources/rdma", json!({"mlx5_1": {}})), "linux.resources.rdma";
    unified_with_a_controller_that_is_not_there: |b| b.set("/linux/resources/unified", json!({"dream.max": "1"})), "linux.resources.unified";
    memory_bandwidth_schema_without_its_prefix: |b| b.set("/linux/intelRdt", json!({"closID": "x", "memBwSchema": "L3:0=f"})), "linux.intelRdt.memBwSchema";
    unified_with_a_path: |b| b.set("/linux/resources/unified", json!({"../memory.max": "1"})), "linux.resources.unified";
    personality_unknown: |b| b.set("/linux/personality", json!({"domain": "MULTICS"})), "linux.personality.domain";
    scheduler_unknown: |b| b.set("/process/scheduler", json!({"policy": "SCHED_LOTTERY"})), "process.scheduler.policy";
    io_priority_out_of_range: |b| b.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8})), "process.ioPriority.priority";
    time_offset_for_an_unknown_clock: |b| b.namespace("time", None).set("/linux/timeOffsets", json!({"sundial": {"secs": 1}})), "linux.timeOffsets";
}

// What follows holds for every runtime, in whatever words.

#[test]
fn a_config_of_two_megabytes_is_refused() {
    need!(Brig);
    let lab = Lab::new();
    let b = lab.bundle().set("/annotations", json!({"a": "x".repeat(2 << 20)}));
    refused(&lab, b, "config.json");
}

#[test]
fn deeply_nested_json_is_refused_without_a_crash() {
    let lab = Lab::new();
    let deep = format!("{{\"ociVersion\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let c = lab.container(lab.bundle().raw(deep));
    c.create().code(1);
    lab.assert_clean();
}

#[test]
fn a_config_that_is_a_fifo_a_directory_or_missing_is_refused() {
    let lab = Lab::new();
    let missing = lab.container(lab.bundle());
    std::fs::remove_file(missing.bundle.dir.join("config.json")).expect("remove");
    missing.create().code(1).says("config.json");
    std::fs::create_dir(missing.bundle.dir.join("config.json")).expect("make");
    missing.create().code(1);
    lab.assert_clean();
}

#[test]
fn a_config_that_is_a_fifo_does_not_hang_brig() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle());
    let path = c.bundle.dir.join("config.json");
    std::fs::remove_file(&path).expect("remove");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("mkfifo");
    c.create().code(1).says("config.json");
    lab.assert_clean();
}

#[test]
fn ids_that_are_paths_are_refused() {
    let lab = Lab::new();
    for id in ["../escape", "a/b", "/abs", "..", ".", "", "a b", "a\nb", "a*b", "naïve"] {
        let c = lab.container_named(id, lab.bundle());
        c.create().failed();
    }
    assert!(!lab.dir().join("escape").exists());
    lab.assert_clean();
}

#[test]
fn ids_of_1025_characters_are_refused() {
    let lab = Lab::new();
    let c = lab.container_named(&"x".repeat(1025), lab.bundle());
    c.create().code(1);
    lab.assert_clean();
}

#[test]
fn other_verbs_refuse_such_ids_too() {
    let lab = Lab::new();
    let victim = lab.dir().join("victim");
    std::fs::create_dir(&victim).expect("make");
    std::fs::write(victim.join("state.json"), "{}").expect("write");
    for verb in ["state", "start", "delete", "pause", "resume"] {
        lab.runtime().arg(verb).arg("../victim").go().failed();
    }
    lab.runtime().args(["delete", "--force", "../victim"]).go().failed();
    assert!(victim.join("state.json").exists(), "an id led out of the root directory");
}

#[test]
fn a_missing_bundle_is_an_error() {
    let lab = Lab::new();
    lab.runtime().args(["create", "--bundle", "/no/such/bundle"]).arg(lab.id()).go().code(1);
    lab.assert_clean();
}

#[test]
fn a_missing_rootfs_is_an_error() {
    let lab = Lab::new();
    lab.container(lab.bundle().set("/root/path", "/no/such/rootfs")).create().code(1);
    lab.assert_clean();
}

#[test]
fn a_root_that_is_a_symbolic_link_to_the_host_is_not_followed_blindly() {
    need!(Brig);
    let lab = Lab::new();
    let b = lab.bundle();
    let link = b.dir.join("link");
    symlink("/", &link).expect("symlink");
    refused(&lab, b.set("/root/path", "link"), "root.path");
}

#[test]
fn what_cannot_be_executed_fails_at_create_or_start() {
    let lab = Lab::new();
    for (program, why) in
        [("/no/such", "no such file"), ("/etc/passwd", "ermission denied"), ("/tmp", "")]
    {
        let c = lab.container(lab.bundle().args([program]));
        c.run().failed().says(why);
        lab.assert_clean();
    }
}

#[test]
fn a_working_directory_that_is_a_file_is_an_error() {
    let lab = Lab::new();
    lab.container(lab.bundle().set("/process/cwd", "/etc/passwd")).run().failed();
    lab.assert_clean();
}

#[test]
fn a_process_file_for_exec_is_checked_too() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let file = lab.path("process");
    for (text, field) in [
        (json!({"args": [], "cwd": "/"}), "args"),
        (json!({"args": ["/bin/true"], "cwd": "tmp"}), "cwd"),
        (json!({"args": ["/bin/true"], "cwd": "/", "user": {"uid": -1, "gid": 0}}), "user.uid"),
    ] {
        std::fs::write(&file, text.to_string()).expect("write");
        c.call("exec", ["--process", &file.to_string_lossy()]).go().failed().says(field);
    }
    std::fs::write(&file, "{").expect("write");
    c.call("exec", ["--process", &file.to_string_lossy()]).go().failed();
}

#[test]
fn exec_options_are_checked() {
    need!(Brig); // runc 1.1 lets numbers wrap
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    for options in [
        ["--user", "4294967296"],
        ["--user", "4294967295"],
        ["--user", "0:-1"],
        ["--user", "root"],
        ["--cwd", "relative"],
        ["--env", "=x"],
    ] {
        c.exec_call(&options, &["/bin/true"]).go().failed();
    }
    for options in [["--cap", "CAP_FLY"], ["--additional-gids", "x"]] {
        c.exec_call(&options, &["/bin/true"]).go().failed();
    }
    c.call("exec", [""; 0]).go().failed();
    c.exec_call(&["--preserve-fds", "1000"], &["/bin/true"]).go().failed();
}
