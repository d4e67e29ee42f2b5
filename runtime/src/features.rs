//! What `brig features` says: what this binary understands, whatever the host.
//!
//! Every list comes from the table that the code itself works with, so that it cannot drift. Nothing
//! here looks at the host: the specification wants "compiled in", not "available".
//!
//! Reference: OCI runtime specification, features.md.

use std::collections::HashMap;

use oci_spec::runtime::{
    Apparmor, Arch, Cgroup, Features, IDMap, IntelRdt, LinuxFeature, LinuxNamespaceType,
    LinuxSeccompAction, MemoryPolicy, MountExtensions, NetDevices, Seccomp, Selinux,
};

use crate::spec::{self, capability, mount};

/// The oldest version of the specification that brig reads.
const VERSION_MIN: &str = "1.0.0";

/// What other parts of the binary can do; they know, so they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The architectures that the seccomp compiler makes filters for.
    pub seccomp_architectures: Vec<Arch>,
    /// The filter flags that reach seccomp(2), `SECCOMP_FILTER_FLAG_…`.
    pub seccomp_flags: Vec<&'static str>,
    /// The systemd cgroup driver, for the system's manager.
    pub systemd: bool,
    /// The systemd cgroup driver, for a user's manager.
    pub systemd_user: bool,
    /// `linux.intelRdt`.
    pub intel_rdt: bool,
    /// `linux.netDevices`.
    pub net_devices: bool,
    /// `linux.memoryPolicy`.
    pub memory_policy: bool,
}

impl Default for Compiled {
    /// The full binary.
    fn default() -> Self {
        Self {
            seccomp_architectures: vec![
                Arch::ScmpArchAarch64,
                Arch::ScmpArchArm,
                Arch::ScmpArchX32,
                Arch::ScmpArchX86,
                Arch::ScmpArchX86_64,
            ],
            seccomp_flags: vec![
                "SECCOMP_FILTER_FLAG_LOG",
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                "SECCOMP_FILTER_FLAG_TSYNC",
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
            ],
            systemd: true,
            systemd_user: false,
            intel_rdt: true,
            net_devices: true,
            memory_policy: true,
        }
    }
}

/// The answer to `brig features`.
#[must_use]
pub fn features(compiled: &Compiled) -> Features {
    let mut features = Features::default();
    features.set_oci_version_min(VERSION_MIN.to_owned());
    features.set_oci_version_max(spec::VERSION.to_owned());
    features.set_hooks(Some(owned(&spec::Hooks::names())));
    features.set_mount_options(Some(owned(&mount::option_names())));
    features.set_linux(Some(linux(compiled)));
    let version = ("io.brig.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    features.set_annotations(Some(HashMap::from([version])));
    // A long time-out of a scope holds up the host's own end. Other annotations name profiles that the node lists, which
    // only tighten.
    let unsafe_annotations = vec!["org.systemd.property.".to_owned()];
    features.set_potentially_unsafe_config_annotations(Some(unsafe_annotations));
    features
}

fn linux(compiled: &Compiled) -> LinuxFeature {
    let mut linux = LinuxFeature::default();
    linux.set_namespaces(Some(vec![
        LinuxNamespaceType::Cgroup,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Time,
        LinuxNamespaceType::User,
        LinuxNamespaceType::Uts,
    ]));
    linux.set_capabilities(Some(owned(&capability::NAMES)));
    linux.set_cgroup(Some(cgroup(compiled)));
    linux.set_seccomp(Some(seccomp(compiled)));
    let mut apparmor = Apparmor::default();
    apparmor.set_enabled(Some(true));
    linux.set_apparmor(Some(apparmor));
    let mut selinux = Selinux::default();
    selinux.set_enabled(Some(true));
    linux.set_selinux(Some(selinux));
    let mut rdt = IntelRdt::default();
    rdt.set_enabled(Some(compiled.intel_rdt));
    rdt.set_schemata(Some(compiled.intel_rdt));
    rdt.set_monitoring(Some(compiled.intel_rdt));
    linux.set_intel_rdt(Some(rdt));
    linux.set_memory_policy(Some(memory_policy(compiled)));
    let mut idmap = IDMap::default();
    idmap.set_enabled(Some(true));
    let mut extensions = MountExtensions::default();
    extensions.set_idmap(Some(idmap));
    linux.set_mount_extensions(Some(extensions));
    let mut net_devices = NetDevices::default();
    net_devices.set_enabled(Some(compiled.net_devices));
    linux.set_net_devices(Some(net_devices));
    linux
}

fn cgroup(compiled: &Compiled) -> Cgroup {
    let mut cgroup = Cgroup::default();
    cgroup.set_v1(Some(true));
    cgroup.set_v2(Some(true));
    cgroup.set_systemd(Some(compiled.systemd));
    cgroup.set_systemd_user(Some(compiled.systemd_user));
    cgroup.set_rdma(Some(true));
    cgroup
}

fn seccomp(compiled: &Compiled) -> Seccomp {
    let mut seccomp = Seccomp::default();
    seccomp.set_enabled(Some(true));
    seccomp.set_actions(Some(vec![
        LinuxSeccompAction::ScmpActAllow,
        LinuxSeccompAction::ScmpActErrno,
        LinuxSeccompAction::ScmpActKill,
        LinuxSeccompAction::ScmpActKillProcess,
        LinuxSeccompAction::ScmpActKillThread,
        LinuxSeccompAction::ScmpActLog,
        LinuxSeccompAction::ScmpActNotify,
        LinuxSeccompAction::ScmpActTrace,
        LinuxSeccompAction::ScmpActTrap,
    ]));
    seccomp.set_operators(Some(owned(&[
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_LE",
        "SCMP_CMP_LT",
        "SCMP_CMP_MASKED_EQ",
        "SCMP_CMP_NE",
    ])));
    seccomp.set_archs(Some(compiled.seccomp_architectures.clone()));
    seccomp.set_known_flags(Some(owned(&compiled.seccomp_flags)));
    seccomp.set_supported_flags(Some(owned(&compiled.seccomp_flags)));
    seccomp
}

fn memory_policy(compiled: &Compiled) -> MemoryPolicy {
    const MODES: [&str; 7] = [
        "MPOL_BIND",
        "MPOL_DEFAULT",
        "MPOL_INTERLEAVE",
        "MPOL_LOCAL",
        "MPOL_PREFERRED",
        "MPOL_PREFERRED_MANY",
        "MPOL_WEIGHTED_INTERLEAVE",
    ];
    const FLAGS: [&str; 3] =
        ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];
    let mut policy = MemoryPolicy::default();
    let known = compiled.memory_policy;
    policy.set_modes(Some(if known { owned(&MODES) } else { Vec::new() }));
    policy.set_flags(Some(if known { owned(&FLAGS) } else { Vec::new() }));
    policy
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn report() -> serde_json::Value {
        serde_json::to_value(features(&Compiled::default())).expect("it serialises")
    }

    fn strings(value: &serde_json::Value) -> BTreeSet<String> {
        let list = value.as_array().expect("a list").iter();
        list.map(|name| name.as_str().expect("a name").to_owned()).collect()
    }

    /// What callers of runc 1.1.5 find in `runc features`, they find here, but for what the specification took out.
    #[test]
    fn nothing_that_runc_knows_is_missing() {
        let runc: serde_json::Value =
            serde_json::from_str(include_str!("testdata/runc-features.json")).expect("JSON");
        let ours = report();
        for list in [
            "/hooks",
            "/mountOptions",
            "/linux/namespaces",
            "/linux/capabilities",
            "/linux/seccomp/actions",
            "/linux/seccomp/operators",
        ] {
            let theirs = strings(runc.pointer(list).expect(list));
            let ours = strings(ours.pointer(list).expect(list));
            let missing: Vec<&String> = theirs.difference(&ours).collect();
            let expected: &[&str] = if list == "/mountOptions" { &["acl", "noacl"] } else { &[] };
            assert_eq!(missing, expected, "{list}");
        }
    }

    #[test]
    fn names_are_those_that_the_configuration_takes() {
        let ours = report();
        for typ in strings(&ours["linux"]["namespaces"]) {
            let namespace = serde_json::json!({"type": typ});
            assert!(serde_json::from_value::<oci_spec::runtime::LinuxNamespace>(namespace).is_ok());
        }
        for mode in strings(&ours["linux"]["memoryPolicy"]["modes"]) {
            let policy =
                serde_json::json!({"mode": mode, "flags": ours["linux"]["memoryPolicy"]["flags"]});
            assert!(serde_json::from_value::<oci_spec::runtime::LinuxMemoryPolicy>(policy).is_ok());
        }
        let seccomp = &ours["linux"]["seccomp"];
        for op in strings(&seccomp["operators"]) {
            let arg = serde_json::json!({"index": 0, "value": 0, "op": op});
            assert!(serde_json::from_value::<oci_spec::runtime::LinuxSeccompArg>(arg).is_ok());
        }
        for flag in strings(&seccomp["knownFlags"]) {
            let flag = serde_json::Value::from(flag);
            assert!(
                serde_json::from_value::<oci_spec::runtime::LinuxSeccompFilterFlag>(flag).is_ok()
            );
        }
    }

    #[test]
    fn says_only_what_was_compiled_in() {
        let without = Compiled {
            systemd: false,
            intel_rdt: false,
            net_devices: false,
            memory_policy: false,
            seccomp_architectures: vec![Arch::ScmpArchAarch64],
            ..Compiled::default()
        };
        let ours = serde_json::to_value(features(&without)).expect("it serialises");
        assert_eq!(ours["ociVersionMin"], "1.0.0");
        assert_eq!(ours["ociVersionMax"], "1.3.0");
        assert_eq!(ours["linux"]["cgroup"]["systemd"], false);
        assert_eq!(ours["linux"]["intelRdt"]["enabled"], false);
        assert_eq!(ours["linux"]["netDevices"]["enabled"], false);
        assert_eq!(ours["linux"]["memoryPolicy"]["modes"], serde_json::json!([]));
        assert_eq!(ours["linux"]["seccomp"]["archs"], serde_json::json!(["SCMP_ARCH_AARCH64"]));
        assert_eq!(ours["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    }
}
