//! A profile: which rules there are, and what each allows.

use std::collections::BTreeMap;

use brig_spec::{NamespaceType, RlimitType};
use serde::{Deserialize, Serialize};

use crate::conditions::Annotation;
use crate::schema::Form;
use crate::value::{
    Bytes, Capabilities, Device, DiskRates, EngineProgram, FilterName, HookProgram, MappedRoot,
    Megabits, Mitigation, Only, Processors, Scope, SwitchedOff, Unmappable,
};

/// How a rule is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Not at all.
    #[default]
    Off,
    /// What it does not allow holds, and is recorded.
    Audit,
    /// What it does not allow is limited to what it allows, and recorded; refused where nothing less would be of use.
    Enforce,
    /// A container that asks for what it does not allow is not made.
    Refuse,
}

impl Mode {
    /// As a policy file spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Audit => "audit",
            Self::Enforce => "enforce",
            Self::Refuse => "refuse",
        }
    }
}

/// A rule, for documents and for people who ask why.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name in a policy file.
    pub name: &'static str,
    /// What it is about.
    pub what: &'static str,
    /// What it answers: NIST SP 800-190, the CIS Docker Benchmark, the Pod Security Standards, CVEs.
    pub answers: &'static str,
}

/// Every rule with a mode and its values, all of which may be left to the profile that is extended.
macro_rules! rules {
    ($($name:ident: $type:ident {$($(#[$doc:meta])* $value:ident: $of:ty,)*} $what:literal, $answers:literal;)*) => {
        /// A set of rules. Read from a policy file a rule may lack its mode or a value; in one that
        /// [`crate::Policy::profile`] gives, none lacks a value that its mode needs.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Profile {
            /// The profile that has what this one does not say.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub extends: Option<String>,
            $(#[doc = $what] #[serde(skip_serializing_if = "is_default")] pub $name: $type,)*
        }

        $(
            #[doc = $what]
            #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
            #[serde(deny_unknown_fields, default)]
            pub struct $type {
                /// How it is applied; absent, not at all.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub mode: Option<Mode>,
                $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $value: Option<$of>,)*
            }

            impl $type {
                fn over(self, base: Self) -> Self {
                    Self { mode: self.mode.or(base.mode), $($value: self.$value.or(base.$value),)* }
                }

                /// The value that its mode needs and that it lacks.
                fn lacks(&self) -> Option<&'static str> {
                    if self.mode.unwrap_or_default() == Mode::Off {
                        return None;
                    }
                    $(if self.$value.is_none() {
                        return Some(stringify!($value));
                    })*
                    None
                }
            }
        )*

        /// Every rule, in the order in which they judge.
        pub const RULES: &[About] = &[
            $(About { name: stringify!($name), what: $what, answers: $answers },)*
        ];

        impl Profile {
            /// This profile, with what `base` says where it says nothing.
            pub(crate) fn over(self, base: Self) -> Self {
                Self { extends: None, $($name: self.$name.over(base.$name),)* }
            }

            /// Of its rules those that `of` says, by their names; it extends nothing.
            pub(crate) fn part(&self, of: impl Fn(&str) -> bool) -> Self {
                let mut part = Self::default();
                $(if of(stringify!($name)) {
                    part.$name.clone_from(&self.$name);
                })*
                part
            }

            /// Each rule, and each of its values with the form that it has in a policy file.
            pub(crate) fn forms() -> Vec<(&'static About, Vec<(&'static str, String)>)> {
                let values = vec![$(vec![$((stringify!($value), <$of as Form>::form()),)*],)*];
                RULES.iter().zip(values).collect()
            }

            /// A rule and a value that it lacks.
            pub(crate) fn lacks(&self) -> Option<(&'static str, &'static str)> {
                $(if let Some(value) = self.$name.lacks() {
                    return Some((stringify!($name), value));
                })*
                None
            }

            /// The mode of each rule by its name, in the order of [`RULES`].
            #[must_use]
            pub fn modes(&self) -> Vec<(&'static str, Mode)> {
                vec![$((stringify!($name), self.$name.mode.unwrap_or_default()),)*]
            }
        }
    };
}

rules! {
    remapping: Remapping {
        /// What becomes of a root that is an overlay, of which no part can be written with other owners.
        root: MappedRoot,
        /// How much an ephemeral root may hold.
        size: Bytes,
        /// What becomes of a mount whose file system cannot give its files other owners.
        unmappable: Unmappable,
    }
        "the container's users are nobody else's on the host: its root is not the host's",
        "PSS: hostUsers; CIS 2.9; SP 800-190 4.4.3; CVE-2019-5736, CVE-2024-21626";
    no_new_privileges: NoNewPrivileges {}
        "no execve(2) gains privileges",
        "PSS restricted: allowPrivilegeEscalation; CIS 5.25";
    capabilities: CapabilitySets {
        /// Those that may be asked for.
        allow: Capabilities,
    }
        "which parts of root's power a process may have",
        "PSS baseline and restricted: capabilities; CIS 5.3; SP 800-190 4.4.3; CVE-2022-0492";
    ambient_capabilities: AmbientCapabilities {
        /// Those that may be ambient.
        allow: Capabilities,
    }
        "which of them a user other than root holds (capabilities(7), \"Ambient\")",
        "PSS restricted: capabilities; CVE-2022-24769, CVE-2025-27612";
    securebits: Securebits {}
        "a process that is not root with capabilities gains none by being root (capabilities(7), \"securebits\"; locked)",
        "SP 800-190 4.4.3; CIS 5.3";
    security_label: SecurityLabel {
        /// AppArmor profiles that may be asked for, by name; `*` at an end stands for anything but `unconfined`.
        apparmor: Vec<String>,
        /// Types that a SELinux label may have, in the same way.
        selinux_types: Vec<String>,
        /// Whether there has to be a label of each of the two modules that the host has.
        required: bool,
    }
        "which AppArmor profile and which type of SELinux confine a process",
        "PSS baseline: appArmorProfile, seLinuxOptions; CIS 5.1, 5.2; SP 800-190 4.4.3";
    users: Users {
        /// The least user id that may be asked for without a user namespace.
        min_uid: u32,
        /// The least group id, of additional groups too.
        min_gid: u32,
    }
        "which user the program is on the host, by its numeric id in the final configuration",
        "PSS restricted: runAsNonRoot; SP 800-190 4.4.3; CVE-2024-40635, CVE-2026-46680";
    namespaces: Namespaces {
        /// Those that must not be the host's. A mount namespace must be the container's alone.
        private: Vec<NamespaceType>,
    }
        "which namespaces must be the container's own, or but for mounts a pod's",
        "PSS baseline: host namespaces; CIS 5.9, 5.15, 5.16, 5.20";
    cgroup_namespace: CgroupNamespace {}
        "the container sees its own cgroup as the root of all",
        "CIS 5.24";
    read_only_root: ReadOnlyRoot {
        /// Where an empty tmpfs goes, unless a mount is there already or above.
        tmpfs: Vec<String>,
        /// How large each may become.
        size: Bytes,
    }
        "the root file system is read-only, with empty directories to write in",
        "CIS 5.12; SP 800-190 4.4.4";
    masked_paths: MaskedPaths {
        /// Hidden, whatever else is.
        paths: Vec<String>,
    }
        "which files of the kernel are hidden",
        "PSS baseline: procMount";
    read_only_paths: ReadOnlyPaths {
        /// Read-only, whatever else is.
        paths: Vec<String>,
    }
        "which files of the kernel are read-only",
        "PSS baseline: procMount";
    mount_types: MountTypes {
        /// Types of file systems, and `bind`.
        allow: Vec<String>,
    }
        "what may be mounted",
        "PSS restricted: volume types; SP 800-190 4.4.3";
    bind_sources: BindSources {
        /// Directories and files that may be bound, with what is in them; in each list `*` at the end of a name stands for
        /// anything.
        allow: Vec<String>,
        /// What may not; of two that a source is in the nearer decides.
        deny: Vec<String>,
        /// What engines bind into their containers by themselves; as if it were in `allow`.
        engines: Vec<String>,
        /// What engines keep for the root of a container: each by itself, not what they are together in.
        images: Vec<String>,
    }
        "which files of the host may be bound into the container, or be its root: by what they are, not by their paths",
        "PSS baseline: hostPath volumes; CIS 5.6, 5.32; CVE-2017-1002101, CVE-2021-25741";
    kernel_mounts: KernelMounts {}
        "proc and sysfs are only at /proc and /sys, where parts of them are hidden; sysfs and cgroups are read-only",
        "PSS baseline: procMount, privileged; CVE-2022-0492";
    proc_view: ProcView {
        /// Only a user's own processes are seen (`hidepid=invisible`).
        own_processes: bool,
        /// Only processes are seen, and nothing else of the kernel (`subset=pid`, Linux 5.8).
        processes_only: bool,
    }
        "what /proc shows: processes of others, and what is not about processes",
        "SP 800-190 4.4.3; PSS baseline: procMount";
    mount_flags: MountFlags {
        /// Mounts by destination that may have set-user-id programs and devices.
        except: Vec<String>,
    }
        "mounts have no set-user-id programs and no devices, but for brig's own /dev",
        "CIS 5.12";
    mount_propagation: MountPropagation {}
        "what is mounted inside does not appear on the host",
        "CIS 5.19";
    devices: Devices {
        /// Besides those that every container has.
        allow: Vec<Device>,
    }
        "which devices there are, and may be opened",
        "PSS baseline: privileged; CIS 5.4, 5.17";
    sysctls: Sysctls {
        /// By name.
        allow: Vec<String>,
    }
        "which kernel parameters may be set",
        "PSS baseline: sysctls; CVE-2022-0811";
    memory: Memory {
        /// The limit where none, or more, is asked for; with swap.
        max: Bytes,
    }
        "how much memory the container may use",
        "CIS 5.10; SP 800-190 4.4.3";
    memory_high: MemoryHigh {
        /// From where on the container's memory is reclaimed (`memory.high`), where no such place, or a higher one, is asked for.
        max: Bytes,
    }
        "from where on it is slowed down for using memory; on cgroup v2",
        "CIS 5.10; SP 800-190 4.4.3";
    swap: Swap {
        /// The limit where none, or more, is asked for: beside the memory.
        max: Bytes,
    }
        "how much of its memory may be swapped to disk",
        "CIS 5.10; SP 800-190 4.4.3";
    oom_group: OomGroup {}
        "out of memory, all of the container is killed and not a part of it (`memory.oom.group`); on cgroup v2",
        "CIS 5.10";
    hugetlb: HugeTlb {
        /// The limit for each size of page, where none, or more, is asked for.
        max: Bytes,
    }
        "how many of the host's huge pages it may use, for which no privilege is needed",
        "SP 800-190 4.4.3";
    io: Io {
        /// The most weight that may be asked for, from 10 to 1000; the usual one holds where none is.
        weight: u16,
        /// Disks with rates that hold where none, or more, is asked for.
        disks: Vec<DiskRates>,
    }
        "how much of a disk it gets: weight, bytes and operations per second",
        "SP 800-190 4.4.3";
    cgroup_tree: CgroupTree {
        /// How many cgroups it may make.
        max_descendants: u32,
        /// How many levels below its own.
        max_depth: u32,
    }
        "how many cgroups it may make, where it may make any; on cgroup v2",
        "SP 800-190 4.4.3";
    processors: Cpu {
        /// The limit where none, or more, is asked for.
        max: Processors,
    }
        "how much processor time the container may use",
        "CIS 5.11";
    pids: Pids {
        /// The limit where none, or more, is asked for.
        max: u32,
    }
        "how many tasks the container may have",
        "CIS 5.28";
    cgroup_files: CgroupFiles {
        /// Names of files, beside those of the limits that have rules of their own.
        allow: Vec<String>,
    }
        "which files of the cgroup may be written by name (`linux.resources.unified`)",
        "SP 800-190 4.4.3";
    rlimits: Rlimits {
        /// The most of each that may be asked for, or that a process has from brig's caller.
        max: BTreeMap<RlimitType, u64>,
    }
        "resource limits of the process",
        "CIS 5.18";
    oom_score: OomScore {
        /// The least value of oom_score_adj.
        min: i32,
    }
        "how readily the kernel ends the container when memory runs out",
        "CIS 5.10";
    scheduling: Scheduling {}
        "no real-time scheduling, no priority above the usual one",
        "SP 800-190 4.4.3";
    personality: Personality {}
        "no other execution domain (personality(2))",
        "SP 800-190 4.4.3";
    cgroup_parent: CgroupParent {
        /// Paths of cgroups, or slices, below which containers may be.
        allow: Vec<String>,
    }
        "below which cgroups containers may be",
        "CIS 5.24; CVE-2025-47291";
    seccomp: Seccomp {
        /// A filter that comes with brig.
        profile: FilterName,
    }
        "a filter of system calls beside the container's own: a call has to pass both",
        "PSS restricted: seccompProfile; CIS 5.22; SP 800-190 4.4.3; CVE-2026-43499, CVE-2026-43284";
    mitigations: Mitigations {
        /// Further ones, closed by a filter beside the others: by name, or by CVE.
        on: Vec<Mitigation>,
        /// Those that the node's filter is to do without.
        off: Vec<SwitchedOff>,
    }
        "which ways into known holes of the kernel are closed, one by one (`brig seccomp mitigations`)",
        "SP 800-190 4.4.3; CVE-2026-31431, CVE-2026-43284, CVE-2026-43499";
    nested_user_namespaces: NestedUserNamespaces {}
        "nobody in the container makes a user namespace, in which he would be root to the kernel",
        "SP 800-190 4.4.3; CVE-2022-0185, CVE-2024-1086, CVE-2026-43284";
    seccomp_listener: SeccompListener {
        /// Sockets, by path.
        allow: Vec<String>,
    }
        "who on the host may be told of the container's system calls (`linux.seccomp.listenerPath`)",
        "SP 800-190 4.4.3";
    landlock: Landlock {
        /// Where the root is read-only, whether files are written only in mounts that can be written to.
        files: bool,
        /// Whether nothing is executed but what is in the image: not what is in mounts, nor in memory.
        exec_only_from_image: bool,
        /// What is out of reach outside the processes that share a ruleset.
        scopes: Vec<Scope>,
        /// Ports that a TCP socket may listen at; 0 is any that the kernel chooses.
        tcp_bind: Only<u16>,
        /// Ports that it may be connected to.
        tcp_connect: Only<u16>,
        /// Ports that a UDP socket may have.
        udp_bind: Only<u16>,
        /// Ports that it may send to.
        udp_connect: Only<u16>,
        /// Where sockets may be connected to that other containers or the host have made.
        sockets: Only<String>,
    }
        "a Landlock ruleset: where files are written and executed, and what is reached of the network",
        "SP 800-190 4.4.2, 4.4.3; CIS 5.12; CVE-2026-41326";
    write_xor_execute: WriteXorExecute {}
        "no memory that is written and executed, in no process (prctl(2), `PR_SET_MDWE`, Linux 6.3); just-in-time compilers need it",
        "SP 800-190 4.4.4";
    hooks: Hooks {
        /// Programs that may be prestart, createRuntime, poststart and poststop hooks.
        allow: Vec<HookProgram>,
        /// Programs of engines that may be, by where they are.
        engines: Vec<EngineProgram>,
        /// How long each may take, in seconds.
        seconds: u32,
    }
        "which programs of the host may run beside the container, by their content; none in it",
        "CVE-2024-0132, CVE-2025-23266";
    net_devices: NetDevices {}
        "no network interfaces of the host",
        "SP 800-190 4.4.3";
    intel_rdt: IntelRdt {}
        "no shares of the processor's caches",
        "SP 800-190 4.4.3";
    bandwidth: NetworkBandwidth {
        /// What each interface may send, in megabits (1,000,000) a second.
        egress_mbit: Megabits,
        /// What each interface may receive.
        ingress_mbit: Megabits,
    }
        "how much a container's interfaces send and receive; they are the host's only where it has no network of its own",
        "SP 800-190 4.4.3; PSS baseline: host namespaces";
    images: Images {
        /// Names of images, as Kubernetes' engines write them into annotations; `*` at an end stands for anything.
        allow: Vec<String>,
    }
        "which images containers may be of, by the name that they were asked for",
        "CIS 4.2, 4.5; SP 800-190 4.1.5";
    annotations: Annotations {
        /// Those of brig's own (`io.brig.`) that a container may have.
        allow: Vec<Annotation>,
        /// Profiles that the annotation `io.brig.profile` may name.
        profiles: Vec<String>,
    }
        "which annotations may ask brig for less; any other one that is meant for it is refused",
        "CVE-2026-44210";
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
