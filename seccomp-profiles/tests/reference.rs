//! The compiled program decides as the plain reading of the profile does.

mod oracle;

use brig_seccomp::interpret::run;
use brig_seccomp::{Arch, compile};
use proptest::collection::vec;
use proptest::prelude::*;

fn native() -> impl Strategy<Value = Arch> {
    prop_oneof![
        6 => Just(Arch::X86_64),
        1 => Just(Arch::X86),
        1 => Just(Arch::X32),
        2 => Just(Arch::Aarch64),
        1 => Just(Arch::Arm),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn program_decides_as_the_profile_reads(
        profile in oracle::generate::profile(),
        native in native(),
        probes in vec(oracle::generate::probe(), 40),
    ) {
        let program = compile(&profile, native).expect("generated profiles are correct");
        for probe in probes {
            let data = probe.data(&profile);
            let answer = oracle::evaluate(&profile, native, &data);
            let verdict = run(&program.instructions, &data).expect("the program runs");
            prop_assert_eq!(verdict, answer.verdict, "{:x?} {:?}", data, answer);
        }
    }

    #[test]
    fn compiling_is_deterministic(profile in oracle::generate::profile()) {
        prop_assert_eq!(compile(&profile, Arch::X86_64), compile(&profile, Arch::X86_64));
    }
}
