//! The architectures, as data: adding one is an entry in [`TABLE`].
//!
//! Promises what the kernel reports in `seccomp_data` (`AUDIT_ARCH_*` of `linux/audit.h`) and
//! the system call numbers of Linux 6.17. Numbers come from the `syscalls` crate, corrected by
//! the lists here where it differs from the kernel's tables.

use oci_spec::runtime::Arch as Oci;

use crate::calls::{self, CallTable};

/// A system call convention that brig compiles filters for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit x86 with 32-bit pointers; shares its `AUDIT_ARCH` with [`Arch::X86_64`].
    X32,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm, EABI.
    Arm,
}

#[cfg(target_arch = "x86_64")]
const NATIVE: Arch = Arch::X86_64;
#[cfg(target_arch = "x86")]
const NATIVE: Arch = Arch::X86;
#[cfg(target_arch = "aarch64")]
const NATIVE: Arch = Arch::Aarch64;
#[cfg(target_arch = "arm")]
const NATIVE: Arch = Arch::Arm;
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "x86",
    target_arch = "aarch64",
    target_arch = "arm"
)))]
compile_error!("brig-seccomp has no table for this architecture: add one to arch.rs");

/// Names by which people and other tools call the architectures; the first is brig's own.
const NAMES: [(Arch, &[&str]); 5] = [
    (Arch::X86_64, &["x86_64", "amd64", "x86-64"]),
    (Arch::X86, &["x86", "i386", "i686"]),
    (Arch::X32, &["x32"]),
    (Arch::Aarch64, &["aarch64", "arm64"]),
    (Arch::Arm, &["arm", "armhf"]),
];

impl Arch {
    /// All that brig compiles for.
    pub const ALL: [Self; 5] = [Self::X86_64, Self::X86, Self::X32, Self::Aarch64, Self::Arm];

    /// The name in lower case, such as `x86_64`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1[0]
    }

    /// The architecture of a name: brig's own, a usual other one, or that of the OCI format.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let plain = name.strip_prefix("SCMP_ARCH_").unwrap_or(name).to_ascii_lowercase();
        NAMES.iter().find(|(_, names)| names.contains(&plain.as_str())).map(|(arch, _)| *arch)
    }

    /// The 64-bit architecture whose kernels run this one's programs; itself, where it is one.
    #[must_use]
    pub fn kernel(self) -> Self {
        match self.table().family {
            Family::X86 => Self::X86_64,
            Family::Arm => Self::Aarch64,
        }
    }

    /// Whether the kernel hands over 64 bits of every argument.
    #[must_use]
    pub fn has_wide_arguments(self) -> bool {
        self.table().wide
    }

    /// The architecture this code was built for.
    #[must_use]
    pub const fn native() -> Self {
        NATIVE
    }

    /// The `AUDIT_ARCH_*` value the kernel puts in `seccomp_data.arch`.
    #[must_use]
    pub fn audit(self) -> u32 {
        self.table().audit
    }

    /// The number of a system call, as `seccomp_data.nr` has it (for x32: with bit 30 set).
    #[must_use]
    pub fn syscall_number(self, name: &str) -> Option<u32> {
        let table = self.table();
        table.calls.number(name).map(|number| number + table.numbers.0)
    }

    /// The name of a system call number, as `seccomp_data.nr` has it.
    #[must_use]
    pub fn syscall_name(self, number: u32) -> Option<&'static str> {
        let table = self.table();
        table.calls.name(number.checked_sub(table.numbers.0)?)
    }

    pub(crate) fn table(self) -> &'static ArchTable {
        &TABLE[self as usize]
    }
}

/// Kernels which run each other's programs: what is not of the native family can never occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    X86,
    Arm,
}

/// Everything the compiler knows about one architecture.
pub(crate) struct ArchTable {
    pub(crate) arch: Arch,
    pub(crate) oci: Oci,
    pub(crate) family: Family,
    pub(crate) audit: u32,
    /// First and last number of the architecture's part of the number space of its `audit`
    /// value. x86-64 and x32 share one, told apart by bit 30 (`__X32_SYSCALL_BIT`).
    pub(crate) numbers: (u32, u32),
    /// Numbers from here on, counted from `numbers.0`, are not handed out in order of age.
    pub(crate) unordered_from: Option<u32>,
    /// Whether the kernel hands over 64 bits of every argument.
    pub(crate) wide: bool,
    pub(crate) calls: &'static CallTable,
    pub(crate) multiplexed: &'static [Multiplexed],
}

/// A call that can also be made through `socketcall(2)` or `ipc(2)`, whose first argument says
/// which call is meant and whose others are out of a filter's sight.
pub(crate) struct Multiplexed {
    pub(crate) name: &'static str,
    /// The multiplexer's number.
    pub(crate) through: u32,
    /// The first argument.
    pub(crate) call: u32,
    /// The bits of the first argument which the kernel looks at: `ipc` has a version in the
    /// upper half (`ksys_ipc`, `ipc/syscall.c`).
    pub(crate) mask: u32,
}

/// Indexed by [`Arch`].
pub(crate) static TABLE: [ArchTable; 5] = [
    ArchTable {
        arch: Arch::X86_64,
        oci: Oci::ScmpArchX86_64,
        family: Family::X86,
        audit: 0xc000_003e,
        numbers: (0, X32_BIT - 1),
        unordered_from: None,
        wide: true,
        calls: &calls::X86_64,
        multiplexed: &[],
    },
    ArchTable {
        arch: Arch::X86,
        oci: Oci::ScmpArchX86,
        family: Family::X86,
        audit: 0x4000_0003,
        numbers: (0, u32::MAX),
        unordered_from: None,
        wide: false,
        calls: &calls::X86,
        multiplexed: &X86_MULTIPLEXED,
    },
    ArchTable {
        arch: Arch::X32,
        oci: Oci::ScmpArchX32,
        family: Family::X86,
        audit: 0xc000_003e,
        numbers: (X32_BIT, u32::MAX),
        unordered_from: None,
        wide: false,
        calls: &calls::X32,
        multiplexed: &[],
    },
    ArchTable {
        arch: Arch::Aarch64,
        oci: Oci::ScmpArchAarch64,
        family: Family::Arm,
        audit: 0xc000_00b7,
        numbers: (0, u32::MAX),
        unordered_from: None,
        wide: true,
        calls: &calls::AARCH64,
        multiplexed: &[],
    },
    ArchTable {
        arch: Arch::Arm,
        oci: Oci::ScmpArchArm,
        family: Family::Arm,
        audit: 0x4000_0028,
        numbers: (0, u32::MAX),
        // __ARM_NR_BASE, arch/arm/include/uapi/asm/unistd.h.
        unordered_from: Some(0x000f_0000),
        wide: false,
        calls: &calls::ARM,
        multiplexed: &[],
    },
];

/// `__X32_SYSCALL_BIT`, `arch/x86/include/uapi/asm/unistd.h`.
const X32_BIT: u32 = 0x4000_0000;

const fn socketcall(name: &'static str, call: u32) -> Multiplexed {
    Multiplexed { name, through: 102, call, mask: u32::MAX }
}

const fn ipc(name: &'static str, call: u32) -> Multiplexed {
    Multiplexed { name, through: 117, call, mask: 0xffff }
}

/// Call numbers of `linux/net.h` (`SYS_SOCKET`…) and `linux/ipc.h` (`SEMOP`…).
static X86_MULTIPLEXED: [Multiplexed; 32] = [
    socketcall("socket", 1),
    socketcall("bind", 2),
    socketcall("connect", 3),
    socketcall("listen", 4),
    socketcall("accept", 5),
    socketcall("getsockname", 6),
    socketcall("getpeername", 7),
    socketcall("socketpair", 8),
    socketcall("send", 9),
    socketcall("recv", 10),
    socketcall("sendto", 11),
    socketcall("recvfrom", 12),
    socketcall("shutdown", 13),
    socketcall("setsockopt", 14),
    socketcall("getsockopt", 15),
    socketcall("sendmsg", 16),
    socketcall("recvmsg", 17),
    socketcall("accept4", 18),
    socketcall("recvmmsg", 19),
    socketcall("sendmmsg", 20),
    ipc("semop", 1),
    ipc("semget", 2),
    ipc("semctl", 3),
    ipc("semtimedop", 4),
    ipc("msgsnd", 11),
    ipc("msgrcv", 12),
    ipc("msgget", 13),
    ipc("msgctl", 14),
    ipc("shmat", 21),
    ipc("shmdt", 22),
    ipc("shmget", 23),
    ipc("shmctl", 24),
];

/// The name of an `AUDIT_ARCH_*` value, of the first architecture which has it.
pub(crate) fn audit_name(audit: u32) -> Option<&'static str> {
    let table = TABLE.iter().find(|table| table.audit == audit)?;
    Some(match table.arch {
        Arch::X86_64 | Arch::X32 => "x86_64",
        Arch::X86 => "x86",
        Arch::Aarch64 => "aarch64",
        Arch::Arm => "arm",
    })
}

#[cfg(test)]
mod tests {
    use super::{Arch, TABLE};

    #[test]
    fn table_is_indexed_by_architecture() {
        for (at, table) in TABLE.iter().enumerate() {
            assert_eq!(table.arch as usize, at);
            assert_eq!(table.arch.table().oci, table.oci);
            assert_eq!(Arch::ALL[at], table.arch);
            assert_eq!(Arch::from_name(table.arch.name()), Some(table.arch));
            assert_eq!(Arch::from_name(&table.oci.to_string()), Some(table.arch));
            assert_eq!(table.arch.kernel().table().family, table.family);
        }
    }

    #[test]
    fn numbers_are_the_kernels() {
        // asm/unistd_64.h, unistd_32.h, unistd_x32.h; asm-generic/unistd.h; arm's syscall.tbl.
        let cases = [
            (Arch::X86_64, "read", Some(0)),
            (Arch::X86_64, "clone3", Some(435)),
            (Arch::X86_64, "file_setattr", Some(469)),
            (Arch::X86_64, "mmap2", None),
            (Arch::X86, "socketcall", Some(102)),
            (Arch::X86, "break", Some(17)),
            (Arch::X86, "socket", Some(359)),
            (Arch::X86, "accept", None),
            (Arch::X32, "read", Some(0x4000_0000)),
            (Arch::X32, "execve", Some(0x4000_0208)),
            (Arch::X32, "uselib", None),
            (Arch::Aarch64, "newfstatat", Some(79)),
            (Arch::Aarch64, "clock_gettime64", None),
            (Arch::Aarch64, "openat", Some(56)),
            (Arch::Arm, "set_tls", Some(983_045)),
            (Arch::Arm, "mmap2", Some(192)),
        ];
        for (arch, name, number) in cases {
            assert_eq!(arch.syscall_number(name), number, "{arch:?} {name}");
            if let Some(number) = number {
                assert_eq!(arch.syscall_name(number), Some(name));
            }
        }
    }
}
