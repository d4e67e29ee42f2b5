//! `process`: the program, and what it runs as.

use std::collections::BTreeSet;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::{
    IoPriorityClass, RlimitType, SchedulerFlag, SchedulerPolicy, not_empty, nullable, unset,
};
use crate::capability::{self, Capabilities, Sets};

/// `process`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// It gets a terminal of its own.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub terminal: bool,
    /// The size of that terminal.
    #[serde(skip_serializing_if = "unset")]
    pub console_size: Option<ConsoleSize>,
    /// Whose rights it has; absent, root's.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub user: User,
    /// The program and its arguments.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub args: Vec<String>,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub env: Vec<String>,
    /// The working directory, absolute.
    pub cwd: String,
    /// The five sets; absent, all are empty.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub capabilities: Capabilities,
    /// In the order given.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub rlimits: Vec<Rlimit>,
    /// No execve(2) gains privileges.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub no_new_privileges: bool,
    /// `/proc/self/oom_score_adj`, -1000 to 1000; absent, that of the caller stays.
    #[serde(skip_serializing_if = "unset")]
    pub oom_score_adj: Option<i32>,
    /// For ioprio_set(2).
    #[serde(skip_serializing_if = "unset")]
    pub io_priority: Option<IoPriority>,
    /// For sched_setattr(2).
    #[serde(skip_serializing_if = "unset")]
    pub scheduler: Option<Scheduler>,
    /// The processors of a process of `exec`.
    #[serde(rename = "execCPUAffinity", skip_serializing_if = "unset")]
    pub exec_cpu_affinity: Option<ExecCpuAffinity>,
    /// The AppArmor profile that it changes to.
    #[serde(default, deserialize_with = "not_empty", skip_serializing_if = "unset")]
    pub apparmor_profile: Option<String>,
    /// The SELinux context that it changes to.
    #[serde(default, deserialize_with = "not_empty", skip_serializing_if = "unset")]
    pub selinux_label: Option<String>,
}

/// `process.consoleSize`, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConsoleSize {
    /// Lines.
    pub height: u64,
    /// Columns.
    pub width: u64,
}

/// `process.user`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct User {
    /// User, as seen in the container.
    #[serde(deserialize_with = "nullable")]
    pub uid: u32,
    /// Group, as seen in the container.
    #[serde(deserialize_with = "nullable")]
    pub gid: u32,
    /// umask(2); absent, 022.
    #[serde(skip_serializing_if = "unset")]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub additional_gids: Vec<u32>,
}

/// One of `process.rlimits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rlimit {
    /// What is limited.
    #[serde(rename = "type")]
    pub kind: RlimitType,
    /// What holds.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

/// `process.ioPriority`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IoPriority {
    /// The class; absent, best effort.
    #[serde(default = "best_effort")]
    pub class: IoPriorityClass,
    /// 0 (highest) to 7.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub priority: i64,
}

fn best_effort() -> IoPriorityClass {
    IoPriorityClass::BestEffort
}

/// `process.scheduler`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Scheduler {
    /// The policy.
    pub policy: SchedulerPolicy,
    /// Of `SCHED_OTHER` and `SCHED_BATCH`.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub nice: i32,
    /// Of `SCHED_FIFO` and `SCHED_RR`.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub priority: i32,
    /// In the order given.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub flags: Vec<SchedulerFlag>,
    /// Of `SCHED_DEADLINE`, nanoseconds.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub runtime: u64,
    /// Of `SCHED_DEADLINE`, nanoseconds.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub deadline: u64,
    /// Of `SCHED_DEADLINE`, nanoseconds; 0 is the deadline.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub period: u64,
}

/// `process.execCPUAffinity`: lists as [`crate::NumberList`] reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ExecCpuAffinity {
    /// Before it joins the container's cgroup.
    #[serde(deserialize_with = "not_empty", skip_serializing_if = "unset")]
    pub initial: Option<String>,
    /// After that.
    #[serde(rename = "final", deserialize_with = "not_empty", skip_serializing_if = "unset")]
    pub last: Option<String>,
}

/// A set of capabilities by name, as `process.capabilities` has it, and the names that nothing has.
#[derive(Default)]
struct Named(u64, BTreeSet<String>);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name(Result<u64, String>);
        impl<'de> Deserialize<'de> for Name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = Name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a string")
                    }
                    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Name, E> {
                        let bit = capability::exact(name).map(|number| 1 << number);
                        Ok(Name(bit.ok_or_else(|| name.to_owned())))
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
        let mut named = Self::default();
        for Name(name) in Vec::<Name>::deserialize(deserializer)? {
            match name {
                Ok(bit) => named.0 |= bit,
                Err(unknown) => drop(named.1.insert(unknown)),
            }
        }
        Ok(named)
    }
}

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        struct Text {
            #[serde(deserialize_with = "nullable")]
            bounding: Named,
            #[serde(deserialize_with = "nullable")]
            effective: Named,
            #[serde(deserialize_with = "nullable")]
            inheritable: Named,
            #[serde(deserialize_with = "nullable")]
            permitted: Named,
            #[serde(deserialize_with = "nullable")]
            ambient: Named,
        }
        let text = Text::deserialize(deserializer)?;
        let sets = Sets {
            bounding: text.bounding.0,
            effective: text.effective.0,
            permitted: text.permitted.0,
            inheritable: text.inheritable.0,
            ambient: text.ambient.0,
        };
        let mut unknown = text.bounding.1;
        for set in [text.effective, text.inheritable, text.permitted, text.ambient] {
            unknown.extend(set.1);
        }
        Ok(Self::of_text(sets, &unknown))
    }
}

impl Serialize for Capabilities {
    /// What is left out is not asked for any more.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Sets { bounding, effective, inheritable, permitted, ambient } = self.sets;
        let sets = [
            ("bounding", bounding),
            ("effective", effective),
            ("inheritable", inheritable),
            ("permitted", permitted),
            ("ambient", ambient),
        ];
        serializer.collect_map(sets.map(|(name, mask)| (name, capability::names(mask))))
    }
}
