//! The same profile under libseccomp, used as runc uses it: every difference has a name.
//!
//! Compares random profiles over random calls, as many as `BRIG_SECCOMP_POINTS` says: 60,000 unless
//! told otherwise, 1,000,000 and more nightly (CONTRIBUTING.md); and every profile that exists over
//! every known call, with arguments that its conditions can tell apart.

#![cfg(all(target_arch = "x86_64", target_env = "gnu"))]

mod oracle;
mod real;

use std::collections::BTreeMap;
use std::io::Read as _;

use brig_seccomp::interpret::{SeccompData, run};
use brig_seccomp::verdict::Verdicts;
use brig_seccomp::{Arch, Instruction, KILL_PROCESS, compile};
use libseccomp::error::SeccompError;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use oci_spec::runtime::{
    Arch as OciArch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompOperator as Op,
};
use oracle::{Answer, Reason};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const CALLS_PER_PROFILE: usize = 60;

fn action(action: Action, errno: Option<u32>) -> ScmpAction {
    let data = errno.unwrap_or(1) as u16;
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => ScmpAction::KillThread,
        Action::ScmpActKillProcess => ScmpAction::KillProcess,
        Action::ScmpActTrap => ScmpAction::Trap,
        Action::ScmpActErrno => ScmpAction::Errno(i32::from(data)),
        Action::ScmpActTrace => ScmpAction::Trace(data),
        Action::ScmpActNotify => ScmpAction::Notify,
        Action::ScmpActLog => ScmpAction::Log,
        Action::ScmpActAllow => ScmpAction::Allow,
    }
}

fn compare(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let (op, datum) = match arg.op() {
        Op::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        Op::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        Op::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        Op::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        Op::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        Op::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        Op::ScmpCmpMaskedEq => {
            (ScmpCompareOp::MaskedEqual(arg.value()), arg.value_two().unwrap_or(0))
        }
    };
    ScmpArgCompare::new(arg.index() as u32, op, datum)
}

/// The program libseccomp makes of a profile, or none where it refuses the profile.
fn build(profile: &LinuxSeccomp) -> Result<Vec<Instruction>, SeccompError> {
    let default = action(profile.default_action(), profile.default_errno_ret());
    let mut filter = ScmpFilterContext::new(default)?;
    filter.set_act_badarch(ScmpAction::KillProcess)?;
    for arch in profile.architectures().iter().flatten() {
        filter.add_arch(match arch {
            OciArch::ScmpArchX86 => ScmpArch::X86,
            OciArch::ScmpArchX32 => ScmpArch::X32,
            OciArch::ScmpArchAarch64 => ScmpArch::Aarch64,
            _ => continue,
        })?;
    }
    for rule in profile.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret());
        if action == default {
            continue;
        }
        let compares: Vec<ScmpArgCompare> = rule.args().iter().flatten().map(compare).collect();
        for name in rule.names() {
            let Ok(call) = ScmpSyscall::from_name(name) else {
                continue;
            };
            if oracle::repeats(rule.args().as_deref().unwrap_or_default()) {
                for compare in &compares {
                    filter.add_rule_conditional(action, call, &[*compare])?;
                }
            } else if compares.is_empty() {
                filter.add_rule(action, call)?;
            } else {
                filter.add_rule_conditional(action, call, &compares)?;
            }
        }
    }
    // At most 4096 instructions, which a pipe holds.
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    filter.export_bpf(&writer)?;
    drop(writer);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("the pipe is readable");
    let instruction = |b: &[u8]| Instruction {
        code: u16::from_ne_bytes([b[0], b[1]]),
        jt: b[2],
        jf: b[3],
        k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
    };
    Ok(bytes.chunks_exact(8).map(instruction).collect())
}

/// Whether libseccomp's program never loads the number of calls of an architecture: seen in
/// 2.5.4 where several are listed and the first call it tests for has conditions. It then
/// compares the `AUDIT_ARCH` with system call numbers, so no rule ever holds.
fn forgets_the_number(theirs: &[Instruction], audit: u32) -> bool {
    let Some(dispatch) = theirs.iter().position(|i| i.code == 0x15 && i.k == audit) else {
        return false;
    };
    let first = theirs.get(dispatch + 1 + usize::from(theirs[dispatch].jt));
    first.is_some_and(|i| (i.code, i.k) != (0x20, 0) && i.code != 0x06)
}

/// The name of a difference that is meant, or of a known defect of libseccomp.
fn explain(profile: &LinuxSeccomp, data: &SeccompData, answer: Answer) -> Option<&'static str> {
    let clauses = oracle::clauses(profile, Arch::X86_64, data);
    let is_order = |arg: &LinuxSeccompArg| {
        matches!(arg.op(), Op::ScmpCmpLt | Op::ScmpCmpLe | Op::ScmpCmpGt | Op::ScmpCmpGe)
    };
    // Several rules with conditions on the same argument, and an order among them: libseccomp
    // before 2.6.1 merges the comparisons of their words wrongly (GHSA-4q85-33p6-j5g6).
    let conditions = || clauses.iter().flatten();
    let shared = conditions()
        .any(|arg| conditions().filter(|other| other.index() == arg.index()).count() > 1);
    let merged = shared && conditions().any(is_order);
    let no_low_bits = clauses
        .iter()
        .flatten()
        .any(|arg| arg.op() == Op::ScmpCmpMaskedEq && arg.value() & 0xffff_ffff == 0);
    // A rule with NE and a further condition, and another rule on NE's argument: where NE holds,
    // libseccomp does not come to the other one (a test below has it by itself).
    let beside_ne = clauses.iter().enumerate().any(|(at, clause)| {
        let mut differs = clause.iter().filter(|arg| clause.len() > 1 && arg.op() == Op::ScmpCmpNe);
        differs.any(|ne| {
            let mut others = clauses.iter().enumerate().filter(|(other, _)| *other != at);
            others.any(|(_, other)| other.iter().any(|arg| arg.index() == ne.index()))
        })
    });
    match answer.reason {
        Reason::Newer => Some("newer than the profile: ENOSYS, as runc adds to libseccomp"),
        Reason::UnlistedArchitecture if data.arch == Arch::Aarch64.audit() => {
            Some("aarch64, which a kernel of x86-64 never reports, is not compiled in")
        }
        Reason::UnlistedNumbers => Some("x32 not listed: ENOSYS instead of killing"),
        Reason::Disagreement => Some("matching rules disagree: the most restrictive decides"),
        _ if answer.multiplexed_arguments => Some("arguments behind socketcall and ipc"),
        _ if beside_ne => Some("libseccomp 2.5.4 does not come to a rule beside one with NE"),
        _ if merged => Some("libseccomp 2.5.4 merges order comparisons wrongly"),
        _ if !knows(data) => Some("a call that libseccomp 2.5.4 does not know"),
        _ if no_low_bits => Some("a mask with no low bits is a condition on 32 bits too"),
        _ => None,
    }
}

fn points() -> usize {
    let wanted = std::env::var("BRIG_SECCOMP_POINTS").ok();
    wanted.map_or(60_000, |points| points.parse().expect("BRIG_SECCOMP_POINTS is a number"))
}

/// Differences by name, and those without one.
#[derive(Default)]
struct Findings {
    compared: usize,
    explained: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

impl Findings {
    /// Compares what two programs decide for a call.
    fn compare(
        &mut self,
        profile: &LinuxSeccomp,
        ours: &[Instruction],
        theirs: &[Instruction],
        data: &SeccompData,
    ) {
        self.compared += 1;
        let our_verdict = run(ours, data).expect("our program runs");
        let their_verdict = run(theirs, data).expect("their program runs");
        if our_verdict == their_verdict {
            return;
        }
        let answer = oracle::evaluate(profile, Arch::X86_64, data);
        // Whatever a difference is called, ours is what the profile says.
        assert_eq!(our_verdict, answer.verdict, "{data:x?} {profile:?}");
        let defect = forgets_the_number(theirs, data.arch)
            .then_some("libseccomp 2.5.4 forgets to load the number");
        match defect.or_else(|| explain(profile, data, answer)) {
            Some(name) => *self.explained.entry(name).or_default() += 1,
            None => self.unexplained.push(format!(
                "{data:x?}: ours {our_verdict:x}, theirs {their_verdict:x}, {answer:x?} in {}",
                serde_json::to_string(profile).expect("JSON")
            )),
        }
    }

    fn end(&self) {
        println!("{} calls: {:#?}", self.compared, self.explained);
        let few: Vec<_> = self.unexplained.iter().take(3).collect();
        let count = self.unexplained.len();
        assert!(count == 0, "{count} unexplained differences: {few:#?}");
    }
}

/// Whether this libseccomp has a call of this number.
fn knows(data: &SeccompData) -> bool {
    let arch = match data.arch {
        0xc000_003e if data.nr >= 0x4000_0000 => ScmpArch::X32,
        0xc000_003e => ScmpArch::X8664,
        0x4000_0003 => ScmpArch::X86,
        _ => return true,
    };
    ScmpSyscall::from_raw_syscall(data.nr.cast_signed()).get_name_by_arch(arch).is_ok()
}

#[test]
fn real_profiles_decide_as_under_libseccomp() {
    for (name, mut profile) in real::all() {
        let own = profile.architectures().clone();
        let with_all =
            [OciArch::ScmpArchX86_64, OciArch::ScmpArchX86, OciArch::ScmpArchX32].to_vec();
        for architectures in [own, Some(vec![OciArch::ScmpArchX86_64]), Some(with_all)] {
            profile.set_architectures(architectures);
            let mut findings = Findings::default();
            let ours = compile(&profile, Arch::X86_64).expect("it compiles");
            let theirs = build(&profile).expect("libseccomp takes it");
            for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
                let wide = arch == Arch::X86_64;
                let verdicts = Verdicts::new(&profile, Arch::X86_64, arch).expect("it compiles");
                for (_, nr, verdict) in verdicts.iter() {
                    for args in real::telling_arguments(verdict, wide) {
                        let data =
                            SeccompData { nr, arch: arch.audit(), args, ..SeccompData::default() };
                        findings.compare(&profile, &ours.instructions, &theirs, &data);
                    }
                }
            }
            println!(
                "{name}: {} instructions, libseccomp {}",
                ours.instructions.len(),
                theirs.len()
            );
            findings.end();
        }
    }
}

/// Found by the nightly search. The second rule is lost: under libseccomp the call is made, though
/// its first argument is the one for which the profile kills.
#[test]
fn libseccomp_does_not_come_to_a_rule_beside_one_with_ne() {
    let json = r#"{"defaultAction":"SCMP_ACT_LOG","syscalls":[
        {"names":["read"],"action":"SCMP_ACT_ALLOW","args":[
            {"index":0,"value":41,"op":"SCMP_CMP_NE"},{"index":4,"value":5,"op":"SCMP_CMP_EQ"}]},
        {"names":["read"],"action":"SCMP_ACT_KILL_PROCESS","args":[
            {"index":0,"value":40,"op":"SCMP_CMP_EQ"}]}]}"#;
    let profile: LinuxSeccomp = serde_json::from_str(json).expect("a profile");
    let args = [40, 0, 0, 0, 0, 0];
    let data = SeccompData { nr: 0, arch: Arch::X86_64.audit(), instruction_pointer: 0, args };
    let ours = compile(&profile, Arch::X86_64).expect("it compiles");
    assert_eq!(run(&ours.instructions, &data), Ok(KILL_PROCESS));
    let theirs = build(&profile).expect("libseccomp takes it");
    let name = match run(&theirs, &data).expect("their program runs") {
        KILL_PROCESS => None,
        _ => explain(&profile, &data, oracle::evaluate(&profile, Arch::X86_64, &data)),
    };
    println!("{name:?}");
    assert!(name.is_none_or(|name| name.contains("beside one with NE")), "{name:?}");
}

#[test]
fn every_difference_to_libseccomp_has_a_name() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut findings = Findings::default();
    let (mut profiles, mut refused) = (0, 0);
    while findings.compared < points() {
        let profile =
            oracle::generate::profile().new_tree(&mut runner).expect("a profile").current();
        let Ok(theirs) = build(&profile) else {
            refused += 1;
            continue;
        };
        profiles += 1;
        let ours = compile(&profile, Arch::X86_64).expect("generated profiles are correct");
        for _ in 0..CALLS_PER_PROFILE {
            let probe = oracle::generate::probe().new_tree(&mut runner).expect("a call").current();
            findings.compare(&profile, &ours.instructions, &theirs, &probe.data(&profile));
        }
    }
    println!("{profiles} profiles, {refused} refused by libseccomp");
    findings.end();
    assert!(refused < profiles, "libseccomp refuses most: little is compared");
}
