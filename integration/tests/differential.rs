//! The same bundle under the runtime under test, under Debian's runc, and under libcontainer: what a
//! process sees of itself must be the same, but for what [`conformance::EXPLAINED`] says.

use brig_integration::command::flavour;
use brig_integration::conformance::{self, Reference};
use brig_integration::requirements::{FLAGS, of_runc};
use brig_integration::{Bundle, Lab, Output, Value, binaries, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What is compared with: another runtime than brig is held to runc alone, as the explanations are
/// of brig's differences.
fn references() -> &'static [Reference] {
    if flavour().is_brig() {
        &[Reference::Runc, Reference::Libcontainer]
    } else {
        &[Reference::Runc]
    }
}

fn program(reference: Reference) -> &'static Path {
    match reference {
        Reference::Runc => Path::new("/usr/sbin/runc"),
        Reference::Libcontainer => binaries::reference(),
    }
}

/// What comes of `bundle` under the runtime at `program`.
fn run(lab: &Lab, bundle: &Bundle, program: &Path, id: &str) -> Output {
    bundle.write();
    lab.call(program)
        .arg("--root")
        .arg(lab.path("reference-root"))
        .args(["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(id)
        .go()
}

/// What the probe sees in `bundle` under the runtime at `program`.
#[track_caller]
fn view(lab: &Lab, bundle: &Bundle, program: &Path) -> Value {
    let id = lab.id();
    let view = run(lab, bundle, program, &id).ok().json();
    conformance::normalised(&view, &own_namespaces(), &id)
}

fn own_namespaces() -> Value {
    let mut found = json!({});
    for entry in fs::read_dir("/proc/thread-self/ns").expect("namespaces").flatten() {
        let link = fs::read_link(entry.path()).expect("a namespace");
        found[entry.file_name().to_string_lossy().as_ref()] = json!(link.to_string_lossy());
    }
    found
}

#[track_caller]
fn same(lab: &Lab, name: &str, bundle: Bundle) {
    let bundle = bundle.probe();
    let tested = view(lab, &bundle, binaries::runtime());
    let mut unexplained = Vec::new();
    for &reference in references() {
        if let Some(refused) = conformance::refusal(reference, name) {
            run(lab, &bundle, program(reference), &lab.id()).failed().says(refused.says);
            continue;
        }
        let seen = view(lab, &bundle, program(reference));
        let found = conformance::differences(&seen, &tested).into_iter();
        unexplained.extend(
            found.filter(|(path, ..)| conformance::explanation(reference, path).is_none()).map(
                |(path, left, right)| {
                    format!("{path}\n    {}: {left}\n    here: {right}", reference.name())
                },
            ),
        );
    }
    assert!(
        unexplained.is_empty(),
        "{} unexplained differences:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    lab.assert_clean();
}

/// A test for each bundle, and the list of all their names.
macro_rules! bundles {
    ($($name:ident: |$lab:ident, $bundle:ident| $edit:expr;)+) => {
        $(#[test] fn $name() {
            let $lab = Lab::new();
            let $bundle = $lab.bundle();
            let bundle = $edit;
            same(&$lab, stringify!($name), bundle);
        })+
        const NAMES: &[&str] = &[$(stringify!($name)),+];
    };
}

/// Docker's fourteen capabilities.
const DOCKER: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

bundles! {
    the_default: |lab, b| b;
    an_ordinary_user: |lab, b| b.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    a_user_with_groups: |lab, b| b.set("/process/user", json!({"uid": 1000, "gid": 100, "additionalGids": [5, 6, 100]}));
    a_user_with_ambient_capabilities: |lab, b| {
        let set = json!(["CAP_NET_BIND_SERVICE", "CAP_CHOWN"]);
        b.set("/process/user", json!({"uid": 1000, "gid": 1000}))
            .set("/process/capabilities", json!({"bounding": set, "effective": set, "permitted": set, "inheritable": set, "ambient": set}))
    };
    no_capabilities: |lab, b| b.caps(&[]);
    dockers_capabilities: |lab, b| b.caps(&DOCKER);
    many_capabilities: |lab, b| b.caps(&["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_PTRACE", "CAP_BPF", "CAP_PERFMON"]);
    new_privileges_allowed: |lab, b| b.set("/process/noNewPrivileges", false);
    limits: |lab, b| b.set("/process/rlimits", json!([
        {"type": "RLIMIT_CORE", "hard": 0, "soft": 0}, {"type": "RLIMIT_NPROC", "hard": 100, "soft": 90},
        {"type": "RLIMIT_NOFILE", "hard": 1000, "soft": 1000}]));
    an_oom_score: |lab, b| b.set("/process/oomScoreAdj", 500);
    a_umask: |lab, b| b.set("/process/user/umask", 0o027);
    a_working_directory: |lab, b| b.set("/process/cwd", "/var");
    an_environment: |lab, b| b.set("/process/env", json!(["A=1", "B=", "PATH=/bin"]));
    no_environment: |lab, b| b.set("/process/env", json!([]));
    a_readonly_root: |lab, b| b.set("/root/readonly", true);
    host_network: |lab, b| b.without_namespace("network");
    host_pids: |lab, b| b.without_namespace("pid").edit(|_| {});
    host_ipc: |lab, b| b.without_namespace("ipc");
    host_uts: |lab, b| b.without_namespace("uts").unset("/hostname");
    a_cgroup_namespace: |lab, b| b.namespace("cgroup", None);
    a_user_namespace: |lab, b| b.user_namespace(100_000);
    a_user_in_a_user_namespace: |lab, b| b.user_namespace(100_000).set("/process/user", json!({"uid": 12, "gid": 34, "additionalGids": [56]}));
    sysctls: |lab, b| b.set("/linux/sysctl", json!({"kernel.shmmax": "1000000", "net.ipv4.ip_forward": "1", "fs.mqueue.msg_max": "20"}));
    devices: |lab, b| b.set("/linux/devices", json!([
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 0, "gid": 0},
        {"path": "/dev/block0", "type": "b", "major": 7, "minor": 0, "fileMode": 0o660, "uid": 0, "gid": 6},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o600}]));
    a_tmpfs: |lab, b| b.mount(json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "noexec", "size=1m", "mode=1777"]}));
    bind_mounts: |lab, b| { fs::create_dir(lab.dir().join("s")).expect("make"); b.bind(&lab.dir().join("s"), "/s", &["ro", "nosuid", "nodev"]).bind(Path::new("/etc/hostname"), "/etc/hostname", &["ro"]) };
    a_recursive_bind: |lab, b| { lab.tmpfs(&lab.dir().join("s/t")); b.mount(json!({"destination": "/s", "type": "none", "source": lab.dir().join("s"), "options": ["rbind", "rw"]})) };
    bind_mounts_with_propagation: |lab, b| { lab.tmpfs(&lab.dir().join("s")); b.set("/linux/rootfsPropagation", "slave").bind(&lab.dir().join("s"), "/a", &["rslave"]).bind(&lab.dir().join("s"), "/b", &["rprivate"]) };
    more_masks: |lab, b| b.set("/linux/maskedPaths", json!(["/proc/kcore", "/home", "/sys/firmware", "/no/such/path"]));
    no_masks: |lab, b| b.set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([]));
    more_readonly_paths: |lab, b| b.set("/linux/readonlyPaths", json!(["/var", "/proc/sys", "/proc/bus"]));
    a_seccomp_filter: |lab, b| b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mount", "ptrace", "kexec_load"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}));
    resources: |lab, b| b.edit(|spec| {
        spec["linux"]["resources"]["memory"] = json!({"limit": 134_217_728});
        spec["linux"]["resources"]["cpu"] = json!({"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0"});
        spec["linux"]["resources"]["pids"] = json!({"limit": 64});
    });
    a_cgroup_mount: |lab, b| b.namespace("cgroup", None).mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}));
    a_hostname: |lab, b| b.set("/hostname", "another-name.example.org");
    a_docker_like_bundle: |lab, b| b.caps(&DOCKER).namespace("cgroup", None).set("/process/noNewPrivileges", false).set("/process/oomScoreAdj", 0);
}

#[test]
fn the_references_differ_from_what_they_are_not() {
    // The comparison itself: a bundle against another one.
    let lab = Lab::new();
    for reference in [Reference::Runc, Reference::Libcontainer] {
        let program = program(reference);
        let left = view(&lab, &lab.bundle().probe(), program);
        let other = lab.bundle().probe().set("/hostname", "other").caps(&[]);
        let right = view(&lab, &other, program);
        let found = conformance::differences(&left, &right);
        for path in ["hostname", "caps.bounding"] {
            assert!(found.iter().any(|d| d.0 == path), "{}: {found:?}", reference.name());
        }
    }
}

#[test]
fn what_a_reference_refuses_is_a_bundle() {
    for refused in conformance::REFUSED {
        assert!(NAMES.contains(&refused.bundle), "{} is no bundle", refused.bundle);
    }
}

#[test]
fn the_document_lists_every_explained_difference() {
    let path = binaries::workspace().join("docs/conformance.md");
    let expected = conformance::document(NAMES);
    if std::env::var_os("BRIG_BLESS").is_some_and(|v| v == "1") {
        fs::create_dir_all(path.parent().expect("docs")).expect("make docs");
        fs::write(&path, &expected).expect("write the document");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/conformance.md is not what integration/src/conformance.rs says: run with BRIG_BLESS=1"
    );
}

#[test]
fn every_flag_of_runc_is_accounted_for() {
    let lab = Lab::new();
    let verbs = "checkpoint create delete events exec features kill list pause ps restore resume run spec start state update";
    for verb in std::iter::once("").chain(verbs.split(' ')) {
        let words = [verb, "--help"].into_iter().filter(|word| !word.is_empty());
        let help = lab.call("/usr/sbin/runc").args(words).go().ok().stdout();
        let told = FLAGS.iter().filter(|flags| flags.verb == verb);
        let told: BTreeSet<&str> = told.flat_map(|flags| flags.names.split(' ')).collect();
        let missing: Vec<&str> = of_runc(&help).difference(&told).copied().collect();
        assert!(
            missing.is_empty(),
            "runc {verb}: {missing:?} in integration/src/requirements/flags.rs"
        );
    }
}
