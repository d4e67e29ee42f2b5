//! `filters`: what brig-seccomp's filter costs next to libseccomp's; see `docs/performance.md`.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::io::{Read as _, Seek as _};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use brig_benches::filters::{Subject, measure};
use brig_benches::programs::filter_program;
use brig_benches::report::{Machine, Style};
use lexopt::{Arg, Parser, ValueExt};
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompOperator};

const USAGE: &str = "\
usage: filters [OPTION...]

Measures Docker's default seccomp profile as compiled by brig-seccomp and by libseccomp with its
binary tree: compiling, loading, and single calls, next to no filter.

  --iterations N       measurements of each (default 200)
  --markdown           write the tables as Markdown
  --check              status 1 when a budget is missed
";

/// The profile in a bundle as Docker makes it.
const BUNDLE: &str = include_str!("../../bundles/docker.json");

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let (mut iterations, mut style, mut is_check) = (200usize, Style::Text, false);
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => {
                print!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            Arg::Long("iterations") => iterations = parser.value()?.parse()?,
            Arg::Long("markdown") => style = Style::Markdown,
            Arg::Long("check") => is_check = true,
            _ => return Err(argument.unexpected().into()),
        }
    }
    ensure!(iterations > 0, "--iterations must be at least 1");
    let mut bundle: serde_json::Value = serde_json::from_str(BUNDLE)?;
    let profile: LinuxSeccomp = serde_json::from_value(bundle["linux"]["seccomp"].take())
        .context("the bundle's linux.seccomp")?;
    let program = filter_program()?;
    let machine = Machine::look();
    let results = measure(iterations, &program, &|subject| {
        Ok(match subject {
            Subject::None => None,
            Subject::Brig => Some(timed(|| brig(&profile))?),
            Subject::Libseccomp => Some(timed(|| libseccomp(&profile))?),
        })
    })?;
    print!("{}", results.render(&machine, style));
    let missed = results.missed();
    for budget in missed.iter().filter(|_| is_check) {
        eprintln!("missed: {budget}");
    }
    Ok(if is_check && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The nanoseconds of the least disturbed of three in a row.
fn timed(compile: impl Fn() -> Result<Vec<u8>>) -> Result<(f64, Vec<u8>)> {
    let mut least = (f64::INFINITY, Vec::new());
    for _ in 0..3 {
        let start = Instant::now();
        let bytes = black_box(compile()?);
        let taken = start.elapsed().as_secs_f64() * 1e9;
        if taken < least.0 {
            least = (taken, bytes);
        }
    }
    Ok(least)
}

fn brig(profile: &LinuxSeccomp) -> Result<Vec<u8>> {
    let program = brig_seccomp::compile(black_box(profile), brig_seccomp::Arch::native())?;
    Ok(program.to_bytes())
}

/// As runc and crun call it: a rule for each name. The program goes through a file, for which the
/// library asks.
fn libseccomp(profile: &LinuxSeccomp) -> Result<Vec<u8>> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut filter = ScmpFilterContext::new(default)?;
    filter
        .set_ctl_optimize(2)
        .context("this libseccomp has no binary tree: it is older than 2.5")?;
    for arch in profile.architectures().iter().flatten() {
        filter.add_arch(match arch {
            Arch::ScmpArchX86_64 => ScmpArch::X8664,
            Arch::ScmpArchX86 => ScmpArch::X86,
            Arch::ScmpArchX32 => ScmpArch::X32,
            _ => continue,
        })?;
    }
    for rule in profile.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret())?;
        if action == default {
            continue;
        }
        let compares: Vec<ScmpArgCompare> = rule.args().iter().flatten().map(compare).collect();
        for name in rule.names() {
            // Names that the library does not know are left out, as the runtimes do.
            if let Ok(call) = ScmpSyscall::from_name(name) {
                filter.add_rule_conditional(action, call, &compares)?;
            }
        }
    }
    let mut file = tempfile::tempfile()?;
    filter.export_bpf(&file)?;
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<ScmpAction> {
    Ok(match action {
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
        LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(errno.unwrap_or(1).try_into()?),
        other => anyhow::bail!("Docker's profile has no {other:?}"),
    })
}

fn compare(arg: &oci_spec::runtime::LinuxSeccompArg) -> ScmpArgCompare {
    let (op, datum) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            (ScmpCompareOp::MaskedEqual(arg.value()), arg.value_two().unwrap_or(0))
        }
    };
    ScmpArgCompare::new(u32::try_from(arg.index()).unwrap_or(u32::MAX), op, datum)
}
