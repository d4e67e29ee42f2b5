//! Verdicts are those of the compiled program, for random profiles and for those that exist.

mod oracle;

use brig_seccomp::compare::outcomes;
use brig_seccomp::interpret::{SeccompData, run};
use brig_seccomp::verdict::Verdicts;
use brig_seccomp::{Arch, Condition, builtin, compile};
use oci_spec::runtime::{Arch as OciArch, LinuxSeccomp, LinuxSeccompOperator};
use oracle::generate::{probe, profile};
use proptest::collection::vec;
use proptest::prelude::*;

/// The architecture whose part of the number space holds a number.
fn arch_of(data: &SeccompData) -> Option<Arch> {
    let is_x32 = data.arch == Arch::X86_64.audit() && data.nr >= 0x4000_0000;
    match is_x32 {
        true => Some(Arch::X32),
        false => Arch::ALL.into_iter().find(|arch| arch.audit() == data.arch),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn verdicts_are_the_programs(profile in profile(), probes in vec(probe(), 25)) {
        for kernel in [Arch::X86_64, Arch::Aarch64, Arch::X86] {
            let (Ok(program), Ok(_)) =
                (compile(&profile, kernel), Verdicts::new(&profile, kernel, kernel)) else { continue };
            for probe in &probes {
                let data = probe.data(&profile);
                let Some(arch) = arch_of(&data) else { continue };
                let verdicts = Verdicts::new(&profile, kernel, arch).expect("it was good before");
                let said = verdicts.of_number(data.nr).decide(&data.args);
                let decided = run(&program.instructions, &data).expect("it runs");
                prop_assert_eq!(said, decided, "{:?} {:?}", arch, data);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// What tools say about a call of which some arguments are known.
    #[test]
    fn outcomes_are_the_programs(profile in profile(), probes in vec(probe(), 10), known in 0..4usize) {
        let kernel = Arch::X86_64;
        let Ok(program) = compile(&profile, kernel) else { return Ok(()) };
        for probe in &probes {
            let data = probe.data(&profile);
            let Some(arch) = arch_of(&data) else { continue };
            let verdicts = Verdicts::new(&profile, kernel, arch).expect("it was good before");
            let verdict = verdicts.of_number(data.nr);
            // On x32 the upper halves are there, and are ignored.
            let seen = if arch.has_wide_arguments() { u64::MAX } else { u64::from(u32::MAX) };
            let equal = |index: usize| Condition {
                index: index as u32,
                op: LinuxSeccompOperator::ScmpCmpEq,
                value: data.args[index] & seen,
                mask: u64::MAX,
            };
            let known: Vec<Condition> = (0..known).map(equal).collect();
            let all = outcomes(verdict, &known, arch.has_wide_arguments());
            // What happens to this very call is among them, and each happens to its example.
            let decided = run(&program.instructions, &data).expect("it runs");
            prop_assert!(all.iter().any(|one| one.action == decided), "{:?}", data);
            for one in all {
                let args = one.example.expect("never given up");
                let example = SeccompData { args, ..data };
                prop_assert_eq!(run(&program.instructions, &example), Ok(one.action));
                prop_assert!(known.iter().all(|one| one.holds(&args)));
            }
        }
    }
}

/// Docker's default profile, with the architectures that Docker lists on x86-64.
fn docker() -> LinuxSeccomp {
    let json = include_str!("data/docker-default.json");
    let mut file: serde_json::Value = serde_json::from_str(json).expect("fixture is JSON");
    serde_json::from_value(file["seccomp"].take()).expect("fixture is a profile")
}

#[test]
fn every_known_call_of_real_profiles_is_decided_as_compiled() {
    let mut default_with_all = builtin("default").expect("there is one");
    default_with_all.set_architectures(Some(vec![OciArch::ScmpArchX86, OciArch::ScmpArchX32]));
    for profile in [docker(), builtin("default").expect("there is one"), default_with_all] {
        let program = compile(&profile, Arch::X86_64).expect("it compiles");
        for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64] {
            let verdicts = Verdicts::new(&profile, Arch::X86_64, arch).expect("it is good");
            let mut count = 0;
            for (name, nr, verdict) in verdicts.iter() {
                // Those that conditions can tell apart, and some that they cannot.
                let conditions = verdict.alternatives.iter().flat_map(|one| &one.conditions);
                let near = conditions.flat_map(|one| {
                    [one.value.wrapping_sub(1), one.value, one.value.wrapping_add(1), one.mask]
                });
                for value in near.chain([0, 1, 17, 40, 0x1000_0000, 0xffff_ffff]) {
                    let args = [value & 0xffff_ffff; 6];
                    let data =
                        SeccompData { nr, arch: arch.audit(), args, ..SeccompData::default() };
                    let decided = run(&program.instructions, &data).expect("it runs");
                    assert_eq!(verdict.decide(&args), decided, "{arch:?} {name} {value:#x}");
                }
                count += 1;
            }
            assert!(count > 300, "{arch:?}: {count}");
        }
    }
}
