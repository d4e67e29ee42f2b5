//! Properties of recorded profiles: they allow what was observed and no more.

use oci_spec::runtime::{Arch as OciArch, LinuxSeccompAction, LinuxSyscall};
use proptest::prelude::*;

use super::*;
use crate::compile::compile;
use crate::interpret::run;
use crate::{ALLOW, ERRNO, USER_NOTIF};

const NATIVE: Arch = Arch::X86_64;
const HANDOVER: u32 = 0x5a00;

fn call(name: &str, args: [u64; 6]) -> SeccompData {
    let nr = NATIVE.syscall_number(name).expect(name);
    SeccompData { nr, arch: NATIVE.audit(), instruction_pointer: 0x1000, args }
}

fn observed(calls: &[SeccompData]) -> Observations {
    let mut observations = Observations::new(NATIVE);
    for data in calls {
        observations.observe(data);
    }
    observations
}

fn profile_of(calls: &[SeccompData]) -> LinuxSeccomp {
    synthesize(&observed(calls), Privileges::NoNewPrivileges, &[]).expect("a profile")
}

fn verdict(profile: &LinuxSeccomp, data: &SeccompData) -> u32 {
    let program = compile(profile, NATIVE).expect("it compiles");
    run(&program.instructions, data).expect("it runs")
}

/// What two calls have in common where the profile cannot tell them apart.
fn key(data: &SeccompData) -> (u32, Vec<u64>) {
    let checks = NATIVE.syscall_name(data.nr).map_or(&[][..], arguments::of);
    (data.nr, checks.iter().map(|check| data.args[check.index] & check.mask).collect())
}

fn is_base(nr: u32) -> bool {
    let mut names = base::calls(Privileges::NoNewPrivileges);
    names.any(|call| NATIVE.syscall_number(call.name) == Some(nr))
}

fn calls() -> impl Strategy<Value = SeccompData> {
    let interesting = prop_oneof![
        Just("socket"),
        Just("prctl"),
        Just("ioctl"),
        Just("mmap"),
        Just("clone"),
        Just("setsockopt"),
        Just("unshare"),
        Just("personality"),
        Just("seccomp"),
    ];
    let number = prop_oneof![
        1 => 0u32..470,
        2 => interesting.prop_map(|name| NATIVE.syscall_number(name).expect(name)),
    ];
    let small = prop_oneof![6 => 0u64..8, 1 => any::<u64>(), 1 => Just(0x1000_0000u64)];
    (number, prop::array::uniform6(small)).prop_map(|(nr, args)| SeccompData {
        nr,
        arch: NATIVE.audit(),
        instruction_pointer: 0,
        args,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_was_observed_is_allowed_and_nothing_else(
        seen in prop::collection::vec(calls(), 0..40),
        others in prop::collection::vec(calls(), 40),
    ) {
        let mut observations = Observations::new(NATIVE);
        let named: Vec<_> = seen
            .iter()
            .filter(|data| observations.observe(data) == Answer::Continue)
            .filter(|data| NATIVE.syscall_name(data.nr) != Some("clone3"))
            .collect();
        let profile = synthesize(&observations, Privileges::NoNewPrivileges, &[]).expect("ok");
        let program = compile(&profile, NATIVE).expect("it compiles");
        let verdict = |data: &SeccompData| run(&program.instructions, data).expect("it runs");
        for data in &named {
            prop_assert_eq!(verdict(data), ALLOW, "{:?}", data);
        }
        for data in &others {
            let known = named.iter().any(|seen| key(seen) == key(data));
            // With more alternatives than a profile lists, values that were not seen are allowed.
            let alternatives = named.iter().filter(|seen| seen.nr == data.nr).count();
            // mmap's two bits are not compared when all four values were seen.
            if !known && !is_base(data.nr) && alternatives < 4 {
                prop_assert_ne!(verdict(data), ALLOW, "{:?}", data);
            }
        }
    }

    #[test]
    fn the_order_of_calls_and_of_runs_does_not_matter(
        first in prop::collection::vec(calls(), 0..60),
        second in prop::collection::vec(calls(), 0..60),
    ) {
        let whole = observed(&[first.clone(), second.clone()].concat());
        let mut merged = observed(&second);
        merged.merge(&observed(&first));
        prop_assert_eq!(&merged, &whole);
    }

    #[test]
    fn merging_a_profile_keeps_all_that_it_allows(
        first in prop::collection::vec(calls(), 0..30),
        second in prop::collection::vec(calls(), 0..30),
    ) {
        let old = profile_of(&first);
        let new = synthesize(&observed(&second), Privileges::NoNewPrivileges, std::slice::from_ref(&old))
            .expect("it merges");
        let (old, new) = (compile(&old, NATIVE).expect("old"), compile(&new, NATIVE).expect("new"));
        for data in first.iter().chain(&second) {
            let of = |program: &crate::BpfProgram| run(&program.instructions, data).expect("runs");
            prop_assert!(of(&old) != ALLOW || of(&new) == ALLOW, "{:?}", data);
        }
    }

    #[test]
    fn verifying_refuses_what_the_profile_refuses(
        seen in prop::collection::vec(calls(), 0..30),
        tried in prop::collection::vec(calls(), 20),
    ) {
        let profile = profile_of(&seen);
        let (mut verification, filter) =
            Verification::new(&profile, NATIVE, HANDOVER).expect("it compiles");
        let filter = compile(&filter, NATIVE).expect("it compiles");
        prop_assert!(filter.notify);
        for data in &tried {
            let expected = verdict(&profile, data);
            let met = match run(&filter.instructions, data).expect("it runs") {
                USER_NOTIF => match verification.answer(data) {
                    Answer::Continue => ALLOW,
                    Answer::Fail(errno) => ERRNO | errno.cast_unsigned(),
                },
                met => met,
            };
            prop_assert_eq!(met, expected, "{:?}", data);
        }
    }
}

#[test]
fn arguments_that_matter_are_restricted_to_what_was_seen() {
    // SOCK_CLOEXEC is 0o2000000.
    let profile = profile_of(&[
        call("socket", [1, 1 | 0o2_000_000, 0, 0, 0, 0]),
        call("socket", [2, 1, 6, 0, 0, 0]),
        call("clone", [0x3d_0f00, 1, 2, 3, 4, 5]),
        call("ioctl", [3, 0x5401, 7, 0, 0, 0]),
    ]);
    let decides = |name, args| verdict(&profile, &call(name, args));
    assert_eq!(decides("socket", [1, 1, 0, 0, 0, 0]), ALLOW);
    assert_eq!(decides("socket", [2, 1, 6, 9, 9, 9]), ALLOW);
    assert_eq!(decides("socket", [2, 1, 0, 0, 0, 0]), ERRNO | 1);
    assert_eq!(decides("socket", [1, 1, 6, 0, 0, 0]), ERRNO | 1);
    assert_eq!(decides("socket", [16, 3, 0, 0, 0, 0]), ERRNO | 1);
    // Another library's flags for a thread, and a new user namespace.
    assert_eq!(decides("clone", [0x7d_0f00, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(decides("clone", [0x1000_0011, 0, 0, 0, 0, 0]), ERRNO | 1);
    assert_eq!(decides("clone3", [0; 6]), ERRNO | 38);
    assert_eq!(decides("ioctl", [9, 0x5401, 0, 0, 0, 0]), ALLOW);
    assert_eq!(decides("ioctl", [9, 0xffff_ffff_0000_5401, 0, 0, 0, 0]), ALLOW);
    assert_eq!(decides("ioctl", [9, 0x5412, 0, 0, 0, 0]), ERRNO | 1);
    assert_eq!(decides("file_setattr", [0; 6]), ERRNO | 38);
}

#[test]
fn too_many_values_give_up_the_last_argument_first() {
    let options: Vec<_> = (0..=MAX_ALTERNATIVES as u64)
        .map(|option| call("setsockopt", [3, 6, option, 0, 0, 0]))
        .collect();
    let profile = profile_of(&options);
    assert_eq!(verdict(&profile, &call("setsockopt", [3, 6, 999, 0, 0, 0])), ALLOW);
    assert_eq!(verdict(&profile, &call("setsockopt", [3, 0, 1, 0, 0, 0])), ERRNO | 1);
    let commands: Vec<_> =
        (0..=MAX_ALTERNATIVES as u64).map(|cmd| call("ioctl", [0, cmd, 0, 0, 0, 0])).collect();
    assert_eq!(verdict(&profile_of(&commands), &call("ioctl", [0, 0x5412, 0, 0, 0, 0])), ALLOW);
}

#[test]
fn memory_becomes_code_only_where_it_did() {
    let (none, write, code) = (0, 3, 5);
    let protect = |prot| call("mprotect", [0, 4096, prot, 0, 0, 0]);
    let profile = profile_of(&[protect(1), protect(write)]);
    assert_eq!(verdict(&profile, &protect(none)), ALLOW);
    assert_eq!(verdict(&profile, &protect(code)), ERRNO | 1);
    assert_eq!(verdict(&profile, &protect(7)), ERRNO | 1);
    // All four values: there is nothing left to restrict, and no rule that costs.
    let all = profile_of(&[protect(1), protect(write), protect(code), protect(7)]);
    assert!(all.syscalls().as_ref().expect("rules")[0].names().contains(&"mprotect".to_owned()));
}

#[test]
fn calls_of_other_architectures_and_unknown_ones_fail_in_recording() {
    let mut observations = Observations::new(NATIVE);
    let of = |arch: Arch, nr| SeccompData { nr, arch: arch.audit(), ..SeccompData::default() };
    assert_eq!(observations.observe(&of(Arch::X86, 4)), Answer::Fail(38));
    assert_eq!(observations.observe(&of(Arch::X32, 0x4000_0001)), Answer::Fail(38));
    assert_eq!(observations.observe(&of(NATIVE, 9000)), Answer::Fail(38));
    assert_eq!(observations.observe(&of(NATIVE, 4)), Answer::Continue);
    // The same number as one that was seen, but of another architecture.
    assert_eq!(observations.observe(&of(Arch::X86, 4)), Answer::Fail(38));
    let foreign: Vec<_> = observations.foreign().iter().map(|f| (f.arch, f.name)).collect();
    assert_eq!(foreign, [("x32", Some("write")), ("x86 (32-bit)", Some("write"))]);
    assert_eq!(observations.newer(), [9000]);
    assert_eq!(observations.distinct(), 1);
    assert_eq!(observations.made(), 5);
}

#[test]
fn a_program_that_makes_up_numbers_costs_no_memory() {
    let mut observations = Observations::new(NATIVE);
    for nr in 1000..100_000 {
        for arch in [NATIVE, Arch::X86] {
            let data = SeccompData { nr, arch: arch.audit(), ..SeccompData::default() };
            assert_eq!(observations.observe(&data), Answer::Fail(38));
        }
    }
    assert_eq!((observations.newer().len(), observations.foreign().len()), (16, 16));
}

#[test]
fn what_other_runtimes_call_under_the_filter_is_allowed_with_any_arguments() {
    let observations = observed(&[call("prctl", [15, 0, 0, 0, 0, 0])]);
    let profile = synthesize(&observations, Privileges::MayGain, &[]).expect("a profile");
    assert_eq!(verdict(&profile, &call("prctl", [1, 0, 0, 0, 0, 0])), ALLOW);
    assert_eq!(verdict(&profile, &call("capset", [0; 6])), ALLOW);
    assert_eq!(verdict(&profile_of(&[]), &call("capset", [0; 6])), ERRNO | 1);
}

#[test]
fn watching_reports_everything_but_the_handover_and_clone3() {
    let filter = compile(&watching(HANDOVER), NATIVE).expect("it compiles");
    assert!(filter.notify);
    let decides = |data: &SeccompData| run(&filter.instructions, data).expect("it runs");
    for nr in 0..500 {
        let expected =
            if Some(nr) == NATIVE.syscall_number("clone3") { ERRNO | 38 } else { USER_NOTIF };
        let data = SeccompData { nr, arch: NATIVE.audit(), ..SeccompData::default() };
        assert_eq!(decides(&data), expected, "{nr}");
    }
    assert_eq!(decides(&call("sendmsg", [3, 9, u64::from(HANDOVER), 0, 0, 0])), ALLOW);
    assert_eq!(decides(&call("sendmsg", [3, 9, 0x4000, 0, 0, 0])), USER_NOTIF);
    let of = |arch: Arch, nr| SeccompData { nr, arch: arch.audit(), ..SeccompData::default() };
    assert_eq!(decides(&of(Arch::X86, 4)), USER_NOTIF);
    assert_eq!(decides(&of(Arch::X32, 0x4000_0001)), USER_NOTIF);
}

#[test]
fn watching_the_rest_reports_only_what_is_not_allowed() {
    let profile = profile_of(&[call("socket", [1, 1, 0, 0, 0, 0]), call("read", [0; 6])]);
    let filter = compile(&watching_the_rest(&profile, HANDOVER), NATIVE).expect("it compiles");
    assert!(filter.notify);
    let decides = |data: &SeccompData| run(&filter.instructions, data).expect("it runs");
    assert_eq!(decides(&call("read", [9; 6])), ALLOW);
    assert_eq!(decides(&call("socket", [1, 1, 0, 0, 0, 0])), ALLOW);
    assert_eq!(decides(&call("socket", [2, 1, 0, 0, 0, 0])), USER_NOTIF);
    assert_eq!(decides(&call("mount", [0; 6])), USER_NOTIF);
    assert_eq!(decides(&call("file_setattr", [0; 6])), USER_NOTIF);
    assert_eq!(decides(&call("clone3", [0; 6])), ERRNO | 38);
    assert_eq!(decides(&call("sendmsg", [3, 9, u64::from(HANDOVER), 0, 0, 0])), ALLOW);
    assert_eq!(decides(&call("sendmsg", [3, 9, 0, 0, 0, 0])), USER_NOTIF);
}

#[test]
fn clone3_stays_away_whatever_is_merged() {
    let mut other = profile_of(&[]);
    let mut rule = LinuxSyscall::default();
    rule.set_names(vec!["clone3".to_owned(), "mkdir".to_owned()]);
    rule.set_action(LinuxSeccompAction::ScmpActAllow);
    other.set_syscalls(Some(vec![rule]));
    let merged = synthesize(&observed(&[]), Privileges::NoNewPrivileges, &[other]).expect("merges");
    assert_eq!(verdict(&merged, &call("mkdir", [0; 6])), ALLOW);
    assert_eq!(verdict(&merged, &call("clone3", [0; 6])), ERRNO | 38);
}

#[test]
fn what_deserves_a_remark_is_known() {
    let mut observations = observed(&[call("seccomp", [1, 1 << 3, 0, 0, 0, 0])]);
    assert!(observations.wants_own_listener());
    observations.observe(&call("io_uring_setup", [0; 6]));
    assert!(observations.has("io_uring_setup"));
    assert!(!observed(&[call("seccomp", [1, 0, 0, 0, 0, 0])]).wants_own_listener());
}

#[test]
fn profiles_that_forbid_cannot_be_merged() {
    let merge = |profile: LinuxSeccomp| {
        synthesize(&observed(&[]), Privileges::NoNewPrivileges, &[profile])
            .expect_err("refused")
            .1
            .to_string()
    };
    assert!(merge(LinuxSeccomp::default()).contains("defaultAction"));
    let mut forbids = profile_of(&[]);
    let mut rule = LinuxSyscall::default();
    rule.set_names(vec!["mount".to_owned()]);
    rule.set_action(LinuxSeccompAction::ScmpActKill);
    forbids.set_syscalls(Some(vec![rule.clone()]));
    assert!(merge(forbids.clone()).contains("syscalls[0].action: SCMP_ACT_KILL"));
    rule.set_action(LinuxSeccompAction::ScmpActAllow);
    rule.set_args(Some(vec![masked(6, 1, 1)]));
    forbids.set_syscalls(Some(vec![rule.clone()]));
    assert!(merge(forbids.clone()).contains("syscalls[0].args[0].index"));
    rule.set_args(Some(vec![masked(1, 1, 1), masked(1, 2, 2)]));
    forbids.set_syscalls(Some(vec![rule]));
    assert!(merge(forbids).contains("syscalls[0].args"));
}

#[test]
fn merged_profiles_keep_their_architectures() {
    let mut other = profile_of(&[]);
    other.set_architectures(Some(vec![OciArch::ScmpArchX86]));
    let merged =
        synthesize(&observed(&[]), Privileges::NoNewPrivileges, &[other]).expect("it merges");
    let architectures = merged.architectures().clone().expect("architectures");
    assert_eq!(architectures, [OciArch::ScmpArchX86_64, OciArch::ScmpArchX86]);
}

#[test]
fn profiles_survive_being_written_and_read() {
    let profile = profile_of(&[call("socket", [1, 1, 0, 0, 0, 0]), call("read", [0; 6])]);
    let text = serde_json::to_string(&profile).expect("it can be written");
    assert_eq!(serde_json::from_str::<LinuxSeccomp>(&text).expect("it can be read"), profile);
    assert_eq!(allowed_calls(&profile, NATIVE).1, 3, "socket, and mmap and clone of the base");
}
