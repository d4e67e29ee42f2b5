//! The profiles that exist: brig's own, and those that engines ship (`data/README.md`).

// Each test binary uses its part.
#![allow(dead_code)]

use brig_seccomp::interpret::{SeccompData, run};
use brig_seccomp::verdict::{Verdict, Verdicts};
use brig_seccomp::{Arch, BUILTIN, BpfProgram, builtin};
use oci_spec::runtime::LinuxSeccomp;

const ENGINES: [(&str, &str); 4] = [
    ("docker-default", include_str!("../data/docker-default.json")),
    ("podman-default", include_str!("../data/podman-default.json")),
    ("podman-no-capabilities", include_str!("../data/podman-no-capabilities.json")),
    ("containerd-default", include_str!("../data/containerd-default.json")),
];

/// A profile of `data`.
pub(crate) fn of_engine(name: &str) -> LinuxSeccomp {
    let (_, json) = ENGINES.iter().find(|(other, _)| *other == name).expect("it is in data");
    let mut file: serde_json::Value = serde_json::from_str(json).expect("fixture is JSON");
    serde_json::from_value(file["seccomp"].take()).expect("fixture is a profile")
}

/// A profile of brig's.
pub(crate) fn own(name: &str) -> LinuxSeccomp {
    builtin(name).expect("it comes with brig")
}

/// All, by name.
pub(crate) fn all() -> Vec<(&'static str, LinuxSeccomp)> {
    let own = BUILTIN.iter().map(|name| (*name, own(name)));
    own.chain(ENGINES.iter().map(|(name, _)| (*name, of_engine(name)))).collect()
}

/// Values for every argument of a call that its conditions can tell apart, and some others.
pub(crate) fn telling_values(verdict: &Verdict) -> Vec<u64> {
    let mut values = vec![0, 1, 2, 10, 16, 17, 29, 38, 40, 0x5412, 0x541c, 0xffff_ffff];
    values.extend([1 << 32, 0x1000_0000, 38 | 1 << 32, 0x5412 | 7 << 40, u64::MAX]);
    for condition in verdict.alternatives.iter().flat_map(|one| &one.conditions) {
        let value = condition.value;
        values.extend([value.wrapping_sub(1), value, value.wrapping_add(1), value | 1 << 32]);
        values.extend([condition.mask, value ^ condition.mask]);
    }
    values.sort_unstable();
    values.dedup();
    values
}

/// Every way to give the telling values to a call: the first three arguments are told apart.
pub(crate) fn telling_arguments(verdict: &Verdict, wide: bool) -> Vec<[u64; 6]> {
    let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let values = telling_values(verdict);
    let mut all: Vec<[u64; 6]> = values.iter().map(|value| [cut(*value); 6]).collect();
    for one in &verdict.alternatives {
        // One that holds, and one for each argument in which it may not.
        let mut holds = [0; 6];
        for condition in &one.conditions {
            holds[condition.index as usize] = cut(condition.value);
        }
        all.push(holds);
        for at in 0..3 {
            all.extend(values.iter().map(|value| {
                let mut args = holds;
                args[at] = cut(*value);
                args
            }));
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Asserts that the program decides as the verdicts say, for every known call, numbers between
/// and beyond them, and arguments that tell.
pub(crate) fn agree(name: &str, program: &BpfProgram, verdicts: &Verdicts) {
    let arch = verdicts.arch();
    let wide = matches!(arch, Arch::X86_64 | Arch::Aarch64);
    let base = arch.syscall_number("read").expect("everyone reads") & 0x4000_0000;
    let known = verdicts.iter().map(|(_, nr, _)| nr);
    let mut numbers: Vec<u32> = known.chain(base..base + 600).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for nr in numbers {
        let verdict = verdicts.of_number(nr);
        for args in telling_arguments(verdict, wide) {
            let data = SeccompData { nr, arch: arch.audit(), instruction_pointer: 0, args };
            let decided = run(&program.instructions, &data).expect("it runs");
            assert_eq!(decided, verdict.decide(&args), "{name} {arch:?} {nr} {args:x?}: {verdict}");
        }
    }
}
