//! What a verdict says in words; that it is the program's is tested in `tests/verdicts.rs`.

use oci_spec::runtime::LinuxSeccomp;

use super::{Reason, Verdicts};
use crate::{ALLOW, Arch, ERRNO, KILL_PROCESS};

fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).expect("a profile")
}

fn mixed() -> LinuxSeccomp {
    profile(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[
        {"names":["read","openat2"],"action":"SCMP_ACT_ALLOW"},
        {"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[
            {"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]},
        {"names":["ioctl"],"action":"SCMP_ACT_ALLOW","args":[
            {"index":1,"value":21505,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_LE"}]},
        {"names":["ioctl"],"action":"SCMP_ACT_KILL_PROCESS","args":[
            {"index":1,"value":21522,"op":"SCMP_CMP_EQ"}]},
        {"names":["lseek"],"action":"SCMP_ACT_ALLOW","args":[
            {"index":0,"value":0,"op":"SCMP_CMP_LT"}]},
        {"names":["fcntl"],"action":"SCMP_ACT_ALLOW","args":[
            {"index":1,"value":0,"op":"SCMP_CMP_GE"}]},
        {"names":["fcntl"],"action":"SCMP_ACT_TRAP","args":[
            {"index":1,"value":7,"op":"SCMP_CMP_EQ"}]}]}"#,
    )
}

#[test]
fn verdicts_read_well() {
    let verdicts = Verdicts::new(&mixed(), Arch::X86_64, Arch::X86_64).expect("it is good");
    let of = |name| verdicts.of(name).map(|verdict| verdict.to_string()).unwrap_or_default();
    assert_eq!(of("read"), "allow");
    assert_eq!(of("mount"), "errno 1");
    assert_eq!(of("clone"), "allow if arg0 & 0x7e020000 == 0; otherwise errno 1");
    assert_eq!(
        of("ioctl"),
        "kill process if arg1 == 0x5412; allow if arg1 == 0x5401 and arg0 <= 2; otherwise errno 1"
    );
    // A condition that never holds is none.
    assert_eq!(of("lseek"), "errno 1");
    assert_eq!(of("fcntl"), "trap if arg1 == 7; otherwise allow");
    assert_eq!(of("no_such_call"), "");
}

#[test]
fn reasons_are_told() {
    let verdicts = Verdicts::new(&mixed(), Arch::X86_64, Arch::X86_64).expect("it is good");
    let reason = |name| verdicts.of(name).map(|verdict| verdict.reason);
    assert_eq!(reason("openat2"), Some(Reason::Rule(0)));
    assert_eq!(reason("mount"), Some(Reason::Default));
    assert_eq!(reason("fcntl"), Some(Reason::Rule(5)));
    assert_eq!(reason("faccessat2"), Some(Reason::Newer));
    assert_eq!(verdicts.of_number(100_000).otherwise, ERRNO | 38);
    for (arch, listed, read) in [
        (Arch::X86, true, ALLOW),
        (Arch::X32, false, ERRNO | 38),
        (Arch::Aarch64, false, KILL_PROCESS),
    ] {
        let verdicts = Verdicts::new(&mixed(), Arch::X86_64, arch).expect("it is good");
        assert_eq!(verdicts.is_listed(), listed, "{arch:?}");
        assert_eq!(verdicts.of("read").map(|read| read.otherwise), Some(read), "{arch:?}");
    }
}

#[test]
fn arguments_choose_among_alternatives() {
    let verdicts = Verdicts::new(&mixed(), Arch::X86_64, Arch::X86_64).expect("it is good");
    let ioctl = verdicts.of("ioctl").expect("there is one");
    assert_eq!(ioctl.decide(&[1, 0x5401, 0, 0, 0, 0]), ALLOW);
    assert_eq!(ioctl.decide(&[3, 0x5401, 0, 0, 0, 0]), ERRNO | 1);
    assert_eq!(ioctl.decide(&[1, 0x5412, 0, 0, 0, 0]), KILL_PROCESS);
    assert_eq!(ioctl.loosest(), ALLOW);
    assert!(!ioctl.is_unconditional());
}

#[test]
fn many_rules_that_leave_out_a_few_values_are_told_by_these() {
    let profile = crate::builtin("default").expect("a profile");
    let verdicts = Verdicts::new(&profile, Arch::X86_64, Arch::X86_64).expect("it is good");
    let ioctl = verdicts.of_number(16);
    let expected = "errno 1 if arg1 & 0xffffffff == 0x5412 or if arg1 & 0xffffffff == 0x541c; \
        otherwise allow";
    assert_eq!(ioctl.to_string(), expected);
    let few = verdicts.of_number(135);
    assert_eq!(few.left_out(), None, "five values of personality are told as they are: {few}");
}
