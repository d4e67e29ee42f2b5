//! Profiles and calls to ask about.

use brig_seccomp::Arch;
use brig_seccomp::interpret::SeccompData;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompBuilder, LinuxSeccompOperator as Op, LinuxSyscall, LinuxSyscallBuilder,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{ARCHES, multiplexer};

/// Calls that are interesting: on several architectures, multiplexed, absent somewhere.
const NAMES: [&str; 24] = [
    "read",
    "write",
    "close",
    "ioctl",
    "socket",
    "socketpair",
    "accept",
    "sendmmsg",
    "shmget",
    "semtimedop",
    "socketcall",
    "ipc",
    "mmap",
    "mmap2",
    "clone",
    "clone3",
    "personality",
    "execve",
    "uselib",
    "break",
    "close_range",
    "riscv_hwprobe",
    "newfstatat",
    "set_tls",
];

const VALUES: [u64; 16] = [
    0,
    1,
    2,
    5,
    38,
    39,
    40,
    0x7e02_0000,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0005,
    0x8000_0000_0000_0000,
    0xffff_ffff_0000_0000,
    u64::MAX,
];

const OPS: [Op; 7] = [
    Op::ScmpCmpNe,
    Op::ScmpCmpLt,
    Op::ScmpCmpLe,
    Op::ScmpCmpEq,
    Op::ScmpCmpGe,
    Op::ScmpCmpGt,
    Op::ScmpCmpMaskedEq,
];

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![6 => select(&VALUES[..]), 1 => any::<u64>(), 2 => 0..64u64]
}

fn arg() -> impl Strategy<Value = LinuxSeccompArg> {
    (prop_oneof![3 => Just(0usize), 1 => 0..6usize], value(), value(), select(&OPS[..])).prop_map(
        |(index, value, two, op)| {
            let arg = LinuxSeccompArgBuilder::default().index(index).value(value).op(op);
            let arg = if op == Op::ScmpCmpMaskedEq { arg.value_two(two) } else { arg };
            arg.build().expect("nothing is missing")
        },
    )
}

fn action() -> impl Strategy<Value = (Action, Option<u32>)> {
    prop_oneof![
        6 => Just((Action::ScmpActAllow, None)),
        3 => Just((Action::ScmpActErrno, None)),
        2 => (0..4096u32).prop_map(|errno| (Action::ScmpActErrno, Some(errno))),
        1 => Just((Action::ScmpActErrno, Some(38))),
        1 => (0..0x1_0000u32).prop_map(|data| (Action::ScmpActTrace, Some(data))),
        1 => Just((Action::ScmpActKill, None)),
        1 => Just((Action::ScmpActKillThread, None)),
        1 => Just((Action::ScmpActKillProcess, None)),
        1 => Just((Action::ScmpActTrap, None)),
        1 => Just((Action::ScmpActLog, None)),
        1 => Just((Action::ScmpActNotify, None)),
    ]
}

/// All names that exist on x86-64 or i386, which the libseccomp of 2022 knows too.
fn any_name() -> impl Strategy<Value = String> {
    (any::<bool>(), 0..451u32).prop_map(|(is_64, nr)| {
        let arch = if is_64 { Arch::X86_64 } else { Arch::X86 };
        let name = arch.syscall_name(nr).filter(|name| !["uretprobe", "uprobe"].contains(name));
        name.unwrap_or("read").to_owned()
    })
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        4 => vec(select(&NAMES[..]).prop_map(str::to_owned), 1..4),
        1 => vec(any_name(), 1..60),
    ]
}

fn syscall() -> impl Strategy<Value = LinuxSyscall> {
    (names(), action(), prop_oneof![2 => vec(arg(), 0..=0), 5 => vec(arg(), 1..4)]).prop_map(
        |(names, (action, errno), args)| {
            let rule = LinuxSyscallBuilder::default().names(names).action(action);
            let rule = match errno {
                Some(errno) => rule.errno_ret(errno),
                None => rule,
            };
            let rule = if args.is_empty() { rule } else { rule.args(args) };
            rule.build().expect("nothing is missing")
        },
    )
}

/// A profile.
pub(crate) fn profile() -> impl Strategy<Value = LinuxSeccomp> {
    let arches = vec(select(&ARCHES[..]).prop_map(|(_, arch)| arch), 0..4);
    (action(), arches, vec(syscall(), 0..10)).prop_map(|((action, errno), arches, syscalls)| {
        let profile = LinuxSeccompBuilder::default()
            .default_action(action)
            .architectures(arches)
            .syscalls(syscalls);
        let profile = match errno {
            Some(errno) => profile.default_errno_ret(errno),
            None => profile,
        };
        profile.build().expect("nothing is missing")
    })
}

/// How to choose a call which a profile says something about.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    arch: Arch,
    name: Index,
    number: Option<u32>,
    step: i8,
    args: [(u8, u64, Index); 6],
}

/// A way to choose a call.
pub(crate) fn probe() -> impl Strategy<Value = Probe> {
    let arch = prop_oneof![
        6 => Just(Arch::X86_64),
        3 => Just(Arch::X86),
        2 => Just(Arch::X32),
        1 => Just(Arch::Aarch64),
        1 => Just(Arch::Arm),
    ];
    let number = prop_oneof![
        8 => Just(None),
        1 => (0..480u32).prop_map(Some),
        1 => any::<u32>().prop_map(Some),
        1 => select(vec![102, 117, u32::MAX, 0x4000_0000, 0x3fff_ffff, 0x8000_0000]).prop_map(Some),
    ];
    let step = prop_oneof![8 => Just(0i8), 1 => -1..=1i8];
    let arg = || (0..8u8, value(), any::<Index>());
    (arch, any::<Index>(), number, step, [arg(), arg(), arg(), arg(), arg(), arg()])
        .prop_map(|(arch, name, number, step, args)| Probe { arch, name, number, step, args })
}

impl Probe {
    /// The call.
    pub(crate) fn data(&self, profile: &LinuxSeccomp) -> SeccompData {
        let rules = profile.syscalls().as_deref().unwrap_or_default();
        let names: Vec<&String> = rules.iter().flat_map(LinuxSyscall::names).collect();
        let named = (!names.is_empty()).then(|| self.name.get(&names).as_str());
        let nr = self
            .number
            .or_else(|| self.arch.syscall_number(named?))
            .or_else(|| multiplexer(self.arch, named?).map(|(through, ..)| through))
            .unwrap_or(0)
            .wrapping_add_signed(i32::from(self.step));
        let wide = !matches!(self.arch, Arch::X86 | Arch::Arm);
        let conditions: Vec<&LinuxSeccompArg> =
            rules.iter().flat_map(|rule| rule.args().iter().flatten()).collect();
        let args = self.args.map(|(kind, value, index)| {
            let like = (!conditions.is_empty()).then(|| index.get(&conditions));
            let value = match (kind, like) {
                (0, Some(like)) => like.value(),
                (1, Some(like)) => like.value().wrapping_add(1),
                (2, Some(like)) => like.value().wrapping_sub(1),
                (3, Some(like)) => like.value_two().unwrap_or(0),
                (4, Some(like)) => like.value_two().unwrap_or(0) & like.value(),
                (5, _) => value % 24,
                _ => value,
            };
            // The kernel hands over 32-bit arguments with the upper half clear.
            if wide { value } else { value & 0xffff_ffff }
        });
        SeccompData { nr, arch: self.arch.audit(), instruction_pointer: 0, args }
    }
}
