//! Enumerations of the specification, each name with the number that the kernel has for it.

/// An enumeration by name. Its `name` is the specification's, its `number` the kernel's.
macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($variant:ident = $number:expr, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $type {
            $(#[doc = concat!("`", $text, "`.")] #[serde(rename = $text)] $variant = $number,)*
        }

        impl $type {
            /// Each of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As the specification spells it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The kernel's number.
            #[must_use]
            pub fn number(self) -> u32 {
                self as u32
            }
        }
    };
}

names! {
    /// A resource of setrlimit(2) (`asm-generic/resource.h`).
    RlimitType {
        Cpu = 0, "RLIMIT_CPU";
        Fsize = 1, "RLIMIT_FSIZE";
        Data = 2, "RLIMIT_DATA";
        Stack = 3, "RLIMIT_STACK";
        Core = 4, "RLIMIT_CORE";
        Rss = 5, "RLIMIT_RSS";
        Nproc = 6, "RLIMIT_NPROC";
        Nofile = 7, "RLIMIT_NOFILE";
        Memlock = 8, "RLIMIT_MEMLOCK";
        As = 9, "RLIMIT_AS";
        Locks = 10, "RLIMIT_LOCKS";
        Sigpending = 11, "RLIMIT_SIGPENDING";
        Msgqueue = 12, "RLIMIT_MSGQUEUE";
        Nice = 13, "RLIMIT_NICE";
        Rtprio = 14, "RLIMIT_RTPRIO";
        Rttime = 15, "RLIMIT_RTTIME";
    }
}

names! {
    /// A class of ioprio_set(2) (`linux/ioprio.h`).
    IoPriorityClass {
        RealTime = 1, "IOPRIO_CLASS_RT";
        BestEffort = 2, "IOPRIO_CLASS_BE";
        Idle = 3, "IOPRIO_CLASS_IDLE";
    }
}

names! {
    /// A policy of sched(7) (`linux/sched.h`).
    SchedulerPolicy {
        Other = 0, "SCHED_OTHER";
        Fifo = 1, "SCHED_FIFO";
        RoundRobin = 2, "SCHED_RR";
        Batch = 3, "SCHED_BATCH";
        Iso = 4, "SCHED_ISO";
        Idle = 5, "SCHED_IDLE";
        Deadline = 6, "SCHED_DEADLINE";
    }
}

names! {
    /// A flag of sched_setattr(2) (`linux/sched.h`).
    SchedulerFlag {
        ResetOnFork = 0x01, "SCHED_FLAG_RESET_ON_FORK";
        Reclaim = 0x02, "SCHED_FLAG_RECLAIM";
        DeadlineOverrun = 0x04, "SCHED_FLAG_DL_OVERRUN";
        KeepPolicy = 0x08, "SCHED_FLAG_KEEP_POLICY";
        KeepParams = 0x10, "SCHED_FLAG_KEEP_PARAMS";
        UtilClampMin = 0x20, "SCHED_FLAG_UTIL_CLAMP_MIN";
        UtilClampMax = 0x40, "SCHED_FLAG_UTIL_CLAMP_MAX";
    }
}

names! {
    /// A namespace's type; its number is the flag of clone(2) (`linux/sched.h`).
    NamespaceType {
        Mount = 0x0002_0000, "mount";
        Cgroup = 0x0200_0000, "cgroup";
        Uts = 0x0400_0000, "uts";
        Ipc = 0x0800_0000, "ipc";
        User = 0x1000_0000, "user";
        Pid = 0x2000_0000, "pid";
        Network = 0x4000_0000, "network";
        Time = 0x0000_0080, "time";
    }
}

names! {
    /// A domain of personality(2) (`linux/personality.h`).
    PersonalityDomain {
        Linux = 0x0000, "LINUX";
        Linux32 = 0x0008, "LINUX32";
    }
}

names! {
    /// A mode of set_mempolicy(2) (`linux/mempolicy.h`).
    MemoryPolicyMode {
        Default = 0, "MPOL_DEFAULT";
        Preferred = 1, "MPOL_PREFERRED";
        Bind = 2, "MPOL_BIND";
        Interleave = 3, "MPOL_INTERLEAVE";
        Local = 4, "MPOL_LOCAL";
        PreferredMany = 5, "MPOL_PREFERRED_MANY";
        WeightedInterleave = 6, "MPOL_WEIGHTED_INTERLEAVE";
    }
}

names! {
    /// A flag of set_mempolicy(2) (`linux/mempolicy.h`).
    MemoryPolicyFlag {
        NumaBalancing = 0x2000, "MPOL_F_NUMA_BALANCING";
        RelativeNodes = 0x4000, "MPOL_F_RELATIVE_NODES";
        StaticNodes = 0x8000, "MPOL_F_STATIC_NODES";
    }
}

/// The type of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DeviceType {
    /// All of them; in rules only.
    #[serde(rename = "a")]
    All,
    /// A block device.
    #[serde(rename = "b")]
    Block,
    /// A character device.
    #[serde(rename = "c")]
    Char,
    /// An unbuffered character device: to Linux the same.
    #[serde(rename = "u")]
    Unbuffered,
    /// A FIFO; in nodes only.
    #[serde(rename = "p")]
    Fifo,
}

impl DeviceType {
    /// The file type of mknod(2); none for all of them.
    #[must_use]
    pub fn file_type(self) -> Option<u32> {
        match self {
            Self::All => None,
            Self::Block => Some(0o060_000),
            Self::Char | Self::Unbuffered => Some(0o020_000),
            Self::Fifo => Some(0o010_000),
        }
    }
}
