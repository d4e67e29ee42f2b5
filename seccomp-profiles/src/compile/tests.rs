//! Every construct of a profile, through the interpreter.

use oci_spec::runtime::LinuxSeccomp;

use super::compile;
use crate::arch::Arch;
use crate::disassemble::disassemble;
use crate::error::CompileError;
use crate::interpret::{SeccompData, run};
use crate::{ALLOW, ERRNO, KILL_PROCESS, KILL_THREAD, LOG, TRACE, TRAP, USER_NOTIF};

fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).expect("a profile")
}

fn rules(default: &str, rules: &str) -> LinuxSeccomp {
    profile(&format!(r#"{{"defaultAction":"SCMP_ACT_{default}","syscalls":[{rules}]}}"#))
}

fn verdict(profile: &LinuxSeccomp, arch: Arch, name: &str, args: [u64; 6]) -> u32 {
    let program = compile(profile, Arch::X86_64).expect("it compiles");
    let nr = arch.syscall_number(name).expect(name);
    let data = SeccompData { nr, arch: arch.audit(), args, ..SeccompData::default() };
    run(&program.instructions, &data).expect("it runs")
}

fn error(default: &str, json: &str) -> (String, String) {
    let error = compile(&rules(default, json), Arch::X86_64).expect_err("refused");
    (error.to_string(), error.hint().expect("every error has a hint"))
}

#[test]
fn every_action_is_the_kernels() {
    for (action, errno, value) in [
        ("ALLOW", "", ALLOW),
        ("LOG", "", LOG),
        ("TRAP", "", TRAP),
        ("KILL", "", KILL_THREAD),
        ("KILL_THREAD", "", KILL_THREAD),
        ("KILL_PROCESS", "", KILL_PROCESS),
        ("NOTIFY", "", USER_NOTIF),
        ("ERRNO", "", ERRNO | 1),
        ("ERRNO", r#","errnoRet":0"#, ERRNO),
        ("ERRNO", r#","errnoRet":4095"#, ERRNO | 4095),
        ("TRACE", "", TRACE | 1),
        ("TRACE", r#","errnoRet":65535"#, TRACE | 65535),
    ] {
        let rule = format!(r#"{{"names":["mount"],"action":"SCMP_ACT_{action}"{errno}}}"#);
        let profile = rules("LOG", &rule);
        assert_eq!(verdict(&profile, Arch::X86_64, "mount", [0; 6]), value, "{action}");
        assert_eq!(verdict(&profile, Arch::X86_64, "read", [0; 6]), LOG);
    }
}

#[test]
fn every_operator_compares_64_bits() {
    let big: u64 = 5 | 7 << 32;
    for (op, value, two, holds, fails) in [
        ("EQ", big, 0, vec![big], vec![5, 7 << 32, big + 1]),
        ("NE", big, 0, vec![5, 7 << 32], vec![big]),
        ("LT", big, 0, vec![big - 1, 9, 6 << 32 | 9], vec![big, 8 << 32]),
        ("LE", big, 0, vec![big, 9], vec![big + 1, 8 << 32]),
        ("GT", big, 0, vec![big + 1, 8 << 32], vec![big, 6 << 32 | 9, 9]),
        ("GE", big, 0, vec![big, 8 << 32], vec![big - 1, 9]),
        ("GT", u64::MAX, 0, vec![], vec![u64::MAX, 0]),
        ("LE", u64::MAX, 0, vec![u64::MAX, 0], vec![]),
        (
            "MASKED_EQ",
            1u64 << 40 | 3,
            1u64 << 40 | 1,
            vec![1u64 << 40 | 1, 1u64 << 40 | 5],
            vec![1, 1u64 << 40 | 3],
        ),
        ("MASKED_EQ", 0, 0, vec![0, 1], vec![]),
    ] {
        let profile = rules(
            "ERRNO",
            &format!(
                r#"{{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[
            {{"index":5,"value":{value},"valueTwo":{two},"op":"SCMP_CMP_{op}"}}]}}"#
            ),
        );
        let of = |value| verdict(&profile, Arch::X86_64, "read", [0, 0, 0, 0, 0, value]);
        for value in holds {
            assert_eq!(of(value), ALLOW, "{value:#x} {op}");
        }
        for value in fails {
            assert_eq!(of(value), ERRNO | 1, "{value:#x} {op}");
        }
    }
}

#[test]
fn conditions_of_a_rule_are_all_needed_unless_they_share_an_argument() {
    let rule = |second: u32| {
        format!(
            r#"{{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[
        {{"index":0,"value":1,"op":"SCMP_CMP_EQ"}},
        {{"index":{second},"value":2,"op":"SCMP_CMP_EQ"}}]}}"#
        )
    };
    let both = rules("ERRNO", &rule(1));
    assert_eq!(verdict(&both, Arch::X86_64, "read", [1, 2, 0, 0, 0, 0]), ALLOW);
    assert_eq!(verdict(&both, Arch::X86_64, "read", [1, 0, 0, 0, 0, 0]), ERRNO | 1);
    let split = rules("ERRNO", &rule(0));
    assert_eq!(verdict(&split, Arch::X86_64, "read", [1, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(verdict(&split, Arch::X86_64, "read", [2, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(verdict(&split, Arch::X86_64, "read", [3, 0, 0, 0, 0, 0]), ERRNO | 1);
}

#[test]
fn a_restriction_also_holds_behind_a_multiplexer() {
    let mut profile = rules(
        "ALLOW",
        r#"{"names":["socket"],"action":"SCMP_ACT_ERRNO","args":[
            {"index":0,"value":38,"op":"SCMP_CMP_EQ"}]},
        {"names":["shmget"],"action":"SCMP_ACT_ERRNO"}"#,
    );
    profile.set_architectures(Some(vec![oci_spec::runtime::Arch::ScmpArchX86]));
    let of = |name, call| verdict(&profile, Arch::X86, name, [call, 0, 0, 0, 0, 0]);
    assert_eq!(of("socketcall", 1), ERRNO | 1);
    assert_eq!(of("socketcall", 2), ALLOW);
    assert_eq!(of("socket", 38), ERRNO | 1);
    assert_eq!(of("socket", 2), ALLOW);
    assert_eq!(of("ipc", 23), ERRNO | 1);
    assert_eq!(of("ipc", 1 << 16 | 23), ERRNO | 1);
}

#[test]
fn errors_name_the_field_and_the_way_out() {
    let allowed = r#"{"names":["read"],"action":"SCMP_ACT_ALLOW"},"#;
    assert_eq!(
        error("ALLOW", &format!(r#"{allowed}{{"names":["read","ptrce"],"action":"SCMP_ACT_KILL"}}"#)),
        (
            r#"linux.seccomp.syscalls[1].names[1]: unknown system call "ptrce""#.into(),
            r#"did you mean "ptrace"? a restriction of a call that does not exist protects nothing"#.into(),
        )
    );
    assert_eq!(
        error("ERRNO", &format!(
            r#"{allowed}{{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[
            {{"index":0,"value":0,"op":"SCMP_CMP_EQ"}},{{"index":6,"value":0,"op":"SCMP_CMP_EQ"}}]}}"#
        )).0,
        "linux.seccomp.syscalls[1].args[1].index: no argument 6"
    );
    assert_eq!(
        error("ALLOW", r#"{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":4096}"#).0,
        "linux.seccomp.syscalls[0].errnoRet: 4096 is above 4095"
    );
    assert_eq!(
        error("ALLOW", r#"{"names":["read"],"action":"SCMP_ACT_KILL","errnoRet":1}"#).0,
        "linux.seccomp.syscalls[0].errnoRet: SCMP_ACT_KILL returns no errno"
    );
    assert_eq!(
        error("ALLOW", r#"{"names":[],"action":"SCMP_ACT_KILL"}"#).0,
        "linux.seccomp.syscalls[0].names: is empty"
    );
    let default = profile(r#"{"defaultAction":"SCMP_ACT_KILL","defaultErrnoRet":1}"#);
    let error = compile(&default, Arch::X86_64).expect_err("refused");
    assert_eq!(error.field(), "linux.seccomp.defaultErrnoRet");
}

#[test]
fn unknown_names_are_ignored_where_nothing_is_lost() {
    for (default, rule) in [
        ("ERRNO", r#"{"names":["no_such_call"],"action":"SCMP_ACT_ALLOW"}"#),
        ("ERRNO", r#"{"names":["no_such_call"],"action":"SCMP_ACT_ERRNO","errnoRet":38}"#),
        ("ALLOW", r#"{"names":["spu_run","swapcontext"],"action":"SCMP_ACT_ERRNO"}"#),
        ("ALLOW", r#"{"names":["socketcall","accept"],"action":"SCMP_ACT_ERRNO"}"#),
    ] {
        assert!(compile(&rules(default, rule), Arch::X86_64).is_ok(), "{rule}");
    }
}

#[test]
fn too_many_conditions_are_an_error() {
    let rule = |at: u64| {
        format!(
            r#"{{"names":["read"],"action":"SCMP_ACT_ERRNO","args":[
        {{"index":1,"value":{},"valueTwo":{},"op":"SCMP_CMP_MASKED_EQ"}}]}}"#,
            u64::MAX - 1 - (at << 1),
            at << 33,
        )
    };
    let all: Vec<String> = (0..3000).map(rule).collect();
    let error = compile(&rules("ALLOW", &all.join(",")), Arch::X86_64).expect_err("too long");
    assert!(matches!(error, CompileError::TooLong { instructions } if instructions > 4096));
    assert!(error.hint().is_some());
}

#[test]
fn what_is_too_long_is_refused_at_the_first_call_that_makes_it_so() {
    let names = ["read", "write", "open", "close", "ioctl", "lseek", "dup", "pipe"];
    let rule = |at: usize| {
        format!(
            r#"{{"names":["{}"],"action":"SCMP_ACT_ERRNO","errnoRet":{},"args":[
        {{"index":0,"value":{at},"op":"SCMP_CMP_EQ"}},{{"index":1,"value":{},"op":"SCMP_CMP_GT"}}]}}"#,
            names[at % names.len()],
            at % 4000,
            at * 7,
        )
    };
    let all: Vec<String> = (0..4000).map(rule).collect();
    let error = compile(&rules("ALLOW", &all.join(",")), Arch::X86_64).expect_err("too long");
    // All eight calls would need several times as many.
    assert!(
        matches!(error, CompileError::TooLong { instructions } if (4097..8192).contains(&instructions)),
        "{error}"
    );
}

#[test]
fn jumps_reach_over_long_programs() {
    let rule = |at: u64| {
        format!(
            r#"{{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":{at},"args":[
        {{"index":1,"value":{},"valueTwo":{at},"op":"SCMP_CMP_MASKED_EQ"}}]}}"#,
            0xff00_0000_0fffu64,
        )
    };
    let all: Vec<String> = (1..=400).map(rule).collect();
    let profile = rules("ALLOW", &all.join(","));
    let program = compile(&profile, Arch::X86_64).expect("it compiles");
    assert!(program.instructions.len() > 2000);
    let of = |name, first, second| {
        let nr = Arch::X86_64.syscall_number(name).expect(name);
        let args = [first, second, 0, 0, 0, 0];
        let arch = Arch::X86_64.audit();
        let data = SeccompData { nr, arch, args, ..SeccompData::default() };
        run(&program.instructions, &data).expect("it runs")
    };
    for at in 1..=400 {
        assert_eq!(of("read", 0, at | 7 << 52), ERRNO | at as u32);
    }
    assert_eq!(of("read", 0, 0), ALLOW);
    assert_eq!(of("write", 0, 0), ALLOW);
}

#[test]
fn many_values_of_one_argument_are_a_search() {
    let rule = |at: u64| {
        format!(
            r#"{{"names":["ioctl"],"action":"SCMP_ACT_ALLOW","args":[
        {{"index":1,"value":{},"op":"SCMP_CMP_EQ"}}]}}"#,
            0x5400 + at * 3,
        )
    };
    let all: Vec<String> = (0..300).map(rule).collect();
    let program = compile(&rules("ERRNO", &all.join(",")), Arch::X86_64).expect("it compiles");
    assert!(program.instructions.len() < 400, "{}", program.instructions.len());
}

#[test]
fn flags_are_those_of_the_profile_and_those_the_kernel_demands() {
    let flags = |flags: &str, action: &str| {
        let program = compile(
            &profile(&format!(
                r#"{{"defaultAction":"SCMP_ACT_ALLOW","flags":[{flags}],"syscalls":[
                {{"names":["mount"],"action":"SCMP_ACT_{action}"}}]}}"#
            )),
            Arch::X86_64,
        )
        .expect("it compiles");
        assert_eq!(program.notify, action == "NOTIFY");
        program.flags
    };
    let (tsync, log) = (r#""SECCOMP_FILTER_FLAG_TSYNC""#, r#""SECCOMP_FILTER_FLAG_LOG""#);
    let (spec, wait) =
        (r#""SECCOMP_FILTER_FLAG_SPEC_ALLOW""#, r#""SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV""#);
    assert_eq!(flags("", "ERRNO"), 0);
    assert_eq!(flags(&format!("{tsync},{log},{spec},{wait}"), "ERRNO"), 0b111);
    assert_eq!(flags("", "NOTIFY"), 0b1000);
    assert_eq!(flags(tsync, "NOTIFY"), 0b1_1001);
    assert_eq!(flags(wait, "NOTIFY"), 0b10_1000);
}

#[test]
fn a_small_program_reads_well() {
    let mut profile = rules(
        "ERRNO",
        r#"{"names":["read","write","close","clone3"],"action":"SCMP_ACT_ALLOW"},
        {"names":["socket"],"action":"SCMP_ACT_NOTIFY","args":[
            {"index":0,"value":38,"op":"SCMP_CMP_EQ"}]}"#,
    );
    profile.set_default_errno_ret(Some(13));
    let program = compile(&profile, Arch::X86_64).expect("it compiles");
    assert_eq!(disassemble(&program.instructions), SMALL);
}

const SMALL: &str = "\
\x20  0: load arch
   1: if == x86_64 goto 2 else 16
   2: load nr
   3: if >= 435 goto 4 else 5
   4: if >= 436 goto 15 else 13
   5: if >= 4 goto 6 else 7
   6: if == 41 goto 8 else 14
   7: if == 2 goto 14 else 13
   8: load args[0].high
   9: if == 0 goto 10 else 14
  10: load args[0].low
  11: if == 38 goto 12 else 14
  12: return notify
  13: return allow
  14: return errno 13
  15: return errno 38
  16: return kill process
";
