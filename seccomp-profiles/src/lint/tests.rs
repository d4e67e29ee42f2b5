//! One profile for each kind of finding, and what real profiles get.

use oci_spec::runtime::{Arch as OciArch, LinuxSeccomp};

use super::{Severity, contradiction, lint};
use crate::{Arch, builtin};

fn profile(default: &str, more: &str, rules: &str) -> LinuxSeccomp {
    let json = format!(r#"{{"defaultAction":"SCMP_ACT_{default}",{more}"syscalls":[{rules}]}}"#);
    serde_json::from_str(&json).expect("a profile")
}

fn allow(names: &str) -> String {
    format!(r#"{{"names":[{names}],"action":"SCMP_ACT_ALLOW"}}"#)
}

fn allow_if(name: &str, op: &str, value: u64, two: u64) -> String {
    format!(
        r#"{{"names":["{name}"],"action":"SCMP_ACT_ALLOW","args":[
        {{"index":0,"value":{value},"valueTwo":{two},"op":"SCMP_CMP_{op}"}}]}}"#
    )
}

/// Code, field below `linux.seccomp`, call and message of each finding.
fn found(profile: &LinuxSeccomp) -> Vec<String> {
    lint(profile, Arch::X86_64)
        .into_iter()
        .map(|one| {
            let field = one.field.trim_start_matches("linux.seccomp").trim_start_matches('.');
            assert!(!one.message.is_empty() && !one.hint.is_empty());
            let call = one.call.unwrap_or_default();
            format!("{} {field} {call}: {}", one.code, one.message)
        })
        .collect()
}

#[test]
fn a_good_profile_gets_nothing() {
    let good = profile(
        "ERRNO",
        "",
        &format!("{},{}", allow(r#""read","write""#), allow_if("personality", "EQ", 0, 0)),
    );
    assert_eq!(found(&good), Vec::<String>::new());
}

#[test]
fn misspelt_names_get_a_suggestion() {
    let all = lint(
        &profile("ERRNO", "", &allow(r#""raed","read","frobnicate","riscv_hwprobe""#)),
        Arch::X86_64,
    );
    let hints: Vec<_> = all.iter().map(|one| (one.field.as_str(), one.hint.as_str())).collect();
    assert_eq!(
        hints,
        [
            ("linux.seccomp.syscalls[0].names[0]", r#"did you mean "read"?"#),
            (
                "linux.seccomp.syscalls[0].names[2]",
                "correct or remove the name; a newer brig may know it"
            ),
        ]
    );
}

#[test]
fn what_the_compiler_refuses_is_an_error_with_its_rule() {
    let rules = format!(r#"{},{{"names":["ptrce"],"action":"SCMP_ACT_KILL"}}"#, allow(r#""read""#));
    let all = lint(&profile("ERRNO", "", &rules), Arch::X86_64);
    let first = all.iter().find(|one| one.severity == Severity::Error).expect("an error");
    assert_eq!((first.code, first.rule), ("refused", Some(1)));
    assert_eq!(first.message, r#"unknown system call "ptrce""#);
    let mut many: Vec<String> = vec![allow(r#""read""#)];
    many.extend((0..3000).map(|at: u64| allow_if("ioctl", "MASKED_EQ", !at, at << 20)));
    let all = lint(&profile("ERRNO", "", &many.join(",")), Arch::X86_64);
    let long = all.iter().find(|one| one.code == "refused").expect("too long");
    assert_eq!(long.rule, Some(1));
    assert!(long.message.contains("the kernel takes 4096"), "{}", long.message);
}

#[test]
fn contradictions_are_errors_but_repetitions_are_not() {
    let rules = |second: &str| {
        format!(
            r#"{},{{"names":["read","ptrace"],"action":"SCMP_ACT_{second}"}}"#,
            allow(r#""ptrace""#)
        )
    };
    // The second would be dropped silently: it has the default action.
    let denied = profile("ERRNO", "", &rules("ERRNO"));
    let one = contradiction(&denied).expect("there is one");
    assert_eq!(
        one.to_string(),
        "linux.seccomp.syscalls[1].names[1]: SCMP_ACT_ERRNO for ptrace, but rule 0 says SCMP_ACT_ALLOW"
    );
    assert!(one.hint().is_some());
    assert!(
        found(&denied)
            .iter()
            .any(|one| one.starts_with("contradiction syscalls[1].names[1] ptrace"))
    );
    let same = profile("ERRNO", "", &rules("ALLOW"));
    assert_eq!(contradiction(&same), None);
    // EPERM is what an errno is that is not given.
    let errno = |errno: &str| format!(r#"{{"names":["read"],"action":"SCMP_ACT_ERRNO"{errno}}}"#);
    let twice = |second: &str| profile("ALLOW", "", &[errno(""), errno(second)].join(","));
    assert_eq!(contradiction(&twice(r#","errnoRet":1"#)), None);
    assert!(contradiction(&twice(r#","errnoRet":2"#)).is_some());
    assert!(
        found(&same).iter().any(|one| one.starts_with("unreachable syscalls[1].names[1] ptrace"))
    );
    assert_eq!(contradiction(&builtin("default").expect("there is one")), None);
}

#[test]
fn rules_that_decide_nothing_are_found() {
    let unreachable = |default: &str, rules: &[String]| {
        let all = found(&profile(default, "", &rules.join(",")));
        all.into_iter().filter(|one| one.starts_with("unreachable")).collect::<Vec<_>>()
    };
    let errno = |name: &str| format!(r#"{{"names":["{name}"],"action":"SCMP_ACT_ERRNO"}}"#);
    assert_eq!(
        unreachable("ERRNO", &[allow(r#""read""#), allow_if("read", "EQ", 1, 0), errno("mount")]),
        [
            "unreachable syscalls[1].names[0] read: decides nothing: rule 0 decides this call, whatever its arguments",
            "unreachable syscalls[2].names[0] mount: decides nothing: it is errno 1 by default",
        ]
    );
    assert_eq!(
        unreachable(
            "ERRNO",
            &[
                allow_if("read", "LT", 0, 0),
                allow_if("write", "LE", 9, 0),
                allow_if("write", "EQ", 7, 0)
            ]
        ),
        [
            "unreachable syscalls[0].names[0] read: decides nothing: its conditions can never hold",
            "unreachable syscalls[2].names[0] write: decides nothing: rules at least as strict decide wherever its conditions hold",
        ]
    );
    // Together, but none alone, they cover the last one.
    let halves =
        [allow_if("read", "LT", 5, 0), allow_if("read", "GE", 5, 0), allow_if("read", "NE", 5, 0)];
    assert_eq!(unreachable("ERRNO", &halves).len(), 1);
    assert_eq!(unreachable("ERRNO", &halves[..2]), Vec::<String>::new());
}

#[test]
fn conditions_that_mislead_are_found() {
    let twice = r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[
        {"index":0,"value":1,"op":"SCMP_CMP_NE"},{"index":1,"value":1,"op":"SCMP_CMP_NE"},
        {"index":0,"value":2,"op":"SCMP_CMP_NE"}]}"#;
    let all =
        found(&profile("ERRNO", "", &format!("{twice},{}", allow_if("write", "MASKED_EQ", 3, 4))));
    assert!(all.iter().any(|one| one.starts_with("any-condition syscalls[0].args[2]")), "{all:?}");
    assert!(all.iter().any(|one| one.starts_with("mask syscalls[1].args[0].valueTwo")), "{all:?}");
}

#[test]
fn dangers_are_found_by_what_gets_through() {
    let dangers = |rules: &str| {
        let all = found(&profile("ERRNO", "", rules));
        all.into_iter().filter(|one| one.starts_with("dangerous")).collect::<Vec<_>>()
    };
    assert_eq!(
        dangers(&allow(r#""read","bpf""#)),
        [
            "dangerous syscalls[0].names[1] bpf: allowed: gives the kernel's verifier programs; many escapes began here"
        ]
    );
    assert_eq!(dangers(&allow_if("clone", "MASKED_EQ", 0x7e02_0000, 0)), Vec::<String>::new());
    assert!(
        dangers(&allow_if("clone", "MASKED_EQ", 0x0e02_0000, 0))[0].contains("with CLONE_NEWUSER")
    );
    assert_eq!(dangers(&allow_if("socket", "LE", 17, 0)), Vec::<String>::new());
    assert!(dangers(&allow_if("socket", "NE", 40, 0))[0].contains("with AF_ALG"));
    // The kernel drops the upper half of a family: a comparison of 64 bits is gone round.
    let gone_round = &dangers(&allow_if("socket", "NE", 38, 0))[0];
    assert!(
        gone_round.contains("upper half") && gone_round.contains("with AF_ALG"),
        "{gone_round}"
    );
    let builtin: Vec<_> = found(&builtin("restricted").expect("there is one"));
    assert_eq!(builtin, Vec::<String>::new());
}

#[test]
fn the_profile_as_a_whole_is_looked_at() {
    let flags = r#""flags":["SECCOMP_FILTER_FLAG_SPEC_ALLOW"],"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X32"],"#;
    let notify = r#"{"names":["mount"],"action":"SCMP_ACT_NOTIFY"}"#;
    let codes: Vec<String> = lint(&profile("ALLOW", flags, notify), Arch::X86_64)
        .into_iter()
        .map(|one| format!("{} {}", one.code, one.field))
        .collect();
    for expected in [
        "default-allows linux.seccomp.defaultAction",
        "speculation linux.seccomp.flags",
        "no-listener linux.seccomp.listenerPath",
        "32-bit linux.seccomp.architectures[1]",
    ] {
        assert!(codes.iter().any(|one| one == expected), "{expected}: {codes:?}");
    }
}

#[test]
fn ways_round_by_32_bit_calls_are_found() {
    let x86 = r#""architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],"#;
    let holes = |default: &str, rules: &str| {
        let all = found(&profile(default, x86, rules));
        all.into_iter().filter(|one| one.starts_with("32-bit-hole")).collect::<Vec<_>>()
    };
    let families =
        format!("{},{}", allow(r#""read","socketcall""#), allow_if("socket", "EQ", 2, 0));
    assert_eq!(
        holes("ERRNO", &families),
        [
            "32-bit-hole syscalls[1] socket: socket and 17 more are restricted, but x86 programs can use socketcall instead"
        ]
    );
    // A restriction is carried over to the multiplexer, but not to other names.
    let deny = |name: &str| format!(r#"{{"names":["{name}"],"action":"SCMP_ACT_ERRNO"}}"#);
    assert_eq!(holes("ALLOW", &deny("socket")), Vec::<String>::new());
    assert_eq!(
        holes("ALLOW", &deny("setuid")),
        [
            "32-bit-hole syscalls[0] setuid: setuid is restricted, but x86 programs can use setuid32 instead"
        ]
    );
    let mut closed = builtin("restricted").expect("there is one");
    closed.set_architectures(Some(vec![OciArch::ScmpArchX86_64]));
    assert_eq!(found(&closed), Vec::<String>::new());
}
