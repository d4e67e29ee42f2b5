//! What a profile means, said as plainly as possible.
//!
//! The reference knows nothing of graphs, words or ranges: it walks the profile's rules for one
//! call at a time, as the crate's documentation has it.

// Each test binary uses its part.
#![allow(dead_code)]

use brig_seccomp::interpret::SeccompData;
use brig_seccomp::{ALLOW, Arch, ERRNO, KILL_PROCESS, KILL_THREAD, LOG, TRACE, TRAP, USER_NOTIF};
use oci_spec::runtime::{
    Arch as OciArch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompOperator as Op, LinuxSyscall,
};

pub(crate) mod generate;

pub(crate) const ENOSYS: u32 = ERRNO | 38;

const ARCHES: [(Arch, OciArch); 5] = [
    (Arch::X86_64, OciArch::ScmpArchX86_64),
    (Arch::X86, OciArch::ScmpArchX86),
    (Arch::X32, OciArch::ScmpArchX32),
    (Arch::Aarch64, OciArch::ScmpArchAarch64),
    (Arch::Arm, OciArch::ScmpArchArm),
];

/// Why a verdict is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The architecture is not the native one and not listed.
    UnlistedArchitecture,
    /// The number is one of x32, or of x86-64 under native x32, which is not listed.
    UnlistedNumbers,
    /// Newer than all that the profile names.
    Newer,
    /// A rule without conditions.
    Unconditional,
    /// All matching rules with conditions agree.
    Conditional,
    /// Some of the matching rules with conditions disagree.
    Disagreement,
    /// No rule matches.
    Default,
}

/// What the reference says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) verdict: u32,
    pub(crate) reason: Reason,
    /// Whether the call is `socketcall` or `ipc` and a rule for a call behind it has conditions.
    pub(crate) multiplexed_arguments: bool,
}

pub(crate) fn action_value(action: Action, errno: Option<u32>) -> u32 {
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => KILL_THREAD,
        Action::ScmpActKillProcess => KILL_PROCESS,
        Action::ScmpActTrap => TRAP,
        Action::ScmpActErrno => ERRNO | errno.unwrap_or(1),
        Action::ScmpActTrace => TRACE | errno.unwrap_or(1),
        Action::ScmpActNotify => USER_NOTIF,
        Action::ScmpActLog => LOG,
        Action::ScmpActAllow => ALLOW,
    }
}

/// From the most to the least restrictive, `seccomp(2)`: "return values, in decreasing order of
/// precedence".
const PRECEDENCE: [u32; 8] =
    [KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, USER_NOTIF, TRACE, LOG, ALLOW];

fn rank(verdict: u32) -> usize {
    PRECEDENCE
        .iter()
        .position(|&base| base == verdict & 0xffff_0000)
        .expect("a verdict of the kernel's")
}

/// The multiplexer of a call: its number, its first argument, and the significant bits of that
/// when restricting. `linux/net.h` and `linux/ipc.h`.
fn multiplexer(arch: Arch, name: &str) -> Option<(u32, u64, u64)> {
    const SOCKETCALL: [&str; 20] = [
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ];
    const IPC: [(&str, u64); 12] = [
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ];
    if arch != Arch::X86 {
        return None;
    }
    let socket = (1..).zip(SOCKETCALL).find(|(_, other)| *other == name);
    let ipc = IPC.iter().find(|(other, _)| *other == name);
    match (socket, ipc) {
        (Some((call, _)), _) => Some((102, call, 0xffff_ffff)),
        (_, Some((_, call))) => Some((117, *call, 0xffff)),
        _ => None,
    }
}

fn holds(arg: &LinuxSeccompArg, args: &[u64; 6], wide: bool) -> bool {
    let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let actual = cut(args[arg.index()]);
    let value = cut(arg.value());
    let two = cut(arg.value_two().unwrap_or(0));
    match arg.op() {
        Op::ScmpCmpNe => actual != value,
        Op::ScmpCmpLt => actual < value,
        Op::ScmpCmpLe => actual <= value,
        Op::ScmpCmpEq => actual == value,
        Op::ScmpCmpGe => actual >= value,
        Op::ScmpCmpGt => actual > value,
        Op::ScmpCmpMaskedEq => actual & value == two & value,
    }
}

/// Whether a rule's conditions hold; repeated arguments make each condition enough.
fn all_hold(rule: &LinuxSyscall, args: &[u64; 6], wide: bool) -> bool {
    let conditions = rule.args().as_deref().unwrap_or_default();
    if repeats(conditions) {
        conditions.iter().any(|arg| holds(arg, args, wide))
    } else {
        conditions.iter().all(|arg| holds(arg, args, wide))
    }
}

pub(crate) fn repeats(conditions: &[LinuxSeccompArg]) -> bool {
    (0..6).any(|index| conditions.iter().filter(|arg| arg.index() == index).count() > 1)
}

fn arch_of(data: &SeccompData) -> Option<Arch> {
    match data.arch {
        0xc000_003e if data.nr & 0x4000_0000 == 0 && data.nr >> 31 == 0 => Some(Arch::X86_64),
        0xc000_003e => Some(Arch::X32),
        _ => ARCHES.iter().map(|(arch, _)| *arch).find(|arch| arch.audit() == data.arch),
    }
}

fn is_listed(profile: &LinuxSeccomp, native: Arch, arch: Arch) -> bool {
    let is_x86 = |arch| matches!(arch, Arch::X86_64 | Arch::X86 | Arch::X32);
    let list = profile.architectures().as_deref().unwrap_or_default();
    let name = ARCHES.iter().find(|(other, _)| *other == arch).map(|(_, name)| *name);
    arch == native || (is_x86(arch) == is_x86(native) && list.contains(&name.expect("listed")))
}

/// Whether the default denies, and a number is above all that the profile names.
fn is_newer(profile: &LinuxSeccomp, default: u32, arch: Arch, nr: u32) -> bool {
    let denies = [KILL_PROCESS, KILL_THREAD, TRAP, ERRNO].contains(&(default & 0xffff_0000));
    let private = |nr: u32| arch == Arch::Arm && nr >= 0x000f_0000;
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    let named = rules.iter().flat_map(LinuxSyscall::names);
    let numbers = named.filter_map(|name| arch.syscall_number(name));
    let newest = numbers.filter(|nr| !private(*nr)).max();
    denies && default != ENOSYS && !private(nr) && newest.is_some_and(|newest| nr > newest)
}

/// What the profile says about a call.
pub(crate) fn evaluate(profile: &LinuxSeccomp, native: Arch, data: &SeccompData) -> Answer {
    let answer = |verdict, reason| Answer { verdict, reason, multiplexed_arguments: false };
    let listed = |arch| is_listed(profile, native, arch);
    let shares_audit = |arch: &Arch| arch.audit() == data.arch && listed(*arch);
    if !ARCHES.iter().any(|(arch, _)| shares_audit(arch)) {
        return answer(KILL_PROCESS, Reason::UnlistedArchitecture);
    }
    let arch = arch_of(data).expect("some architecture is listed");
    if !listed(arch) {
        return answer(ENOSYS, Reason::UnlistedNumbers);
    }
    let default = action_value(profile.default_action(), profile.default_errno_ret());
    if is_newer(profile, default, arch, data.nr) {
        return answer(ENOSYS, Reason::Newer);
    }
    let wide = matches!(arch, Arch::X86_64 | Arch::Aarch64);
    let mut matching = Vec::new();
    let mut multiplexed_arguments = false;
    for rule in profile.syscalls().as_deref().unwrap_or_default() {
        let action = action_value(rule.action(), rule.errno_ret());
        let conditional = rule.args().as_ref().is_some_and(|args| !args.is_empty());
        if action == default && !conditional {
            continue;
        }
        for name in rule.names() {
            if arch.syscall_number(name) == Some(data.nr) {
                if !conditional {
                    return Answer {
                        verdict: first_unconditional(profile, default, arch, data.nr),
                        reason: Reason::Unconditional,
                        multiplexed_arguments: false,
                    };
                }
                if all_hold(rule, &data.args, wide) {
                    matching.push(action);
                }
            }
            if let Some((through, call, mask)) = multiplexer(arch, name)
                && through == data.nr
            {
                multiplexed_arguments |= conditional;
                let restricts = rank(action) < rank(default);
                let mask = if restricts { mask } else { 0xffff_ffff };
                if (restricts || !conditional) && data.args[0] & mask == call {
                    matching.push(action);
                }
            }
        }
    }
    // A later rule without conditions decides over earlier ones with.
    matching.sort_by_key(|action| rank(*action));
    let reason = match matching.as_slice() {
        [] => Reason::Default,
        all if all.iter().all(|action| *action == all[0]) => Reason::Conditional,
        _ => Reason::Disagreement,
    };
    let verdict = matching.first().copied().unwrap_or(default);
    Answer { verdict, reason, multiplexed_arguments }
}

/// The alternatives with conditions that a profile has for a call, as they are written.
pub(crate) fn clauses(
    profile: &LinuxSeccomp,
    native: Arch,
    data: &SeccompData,
) -> Vec<Vec<LinuxSeccompArg>> {
    let Some(arch) = arch_of(data).filter(|arch| is_listed(profile, native, *arch)) else {
        return Vec::new();
    };
    let rules = profile.syscalls().iter().flatten();
    rules
        .filter(|rule| rule.names().iter().any(|name| arch.syscall_number(name) == Some(data.nr)))
        .filter_map(|rule| rule.args().as_ref())
        .flat_map(|args| match repeats(args) {
            true => args.iter().map(|arg| vec![*arg]).collect(),
            false => vec![args.clone()],
        })
        .collect()
}

fn first_unconditional(profile: &LinuxSeccomp, default: u32, arch: Arch, nr: u32) -> u32 {
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    rules
        .iter()
        .filter(|rule| rule.args().as_ref().is_none_or(Vec::is_empty))
        .filter(|rule| rule.names().iter().any(|name| arch.syscall_number(name) == Some(nr)))
        .map(|rule| action_value(rule.action(), rule.errno_ret()))
        .find(|action| *action != default)
        .expect("there is one")
}
