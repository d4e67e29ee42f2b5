//! `brig seccomp mitigations`.

use brig_seccomp::Arch;
use brig_seccomp::mitigation::{MITIGATIONS, Mitigation, State, states};
use serde_json::{Value, json};

use super::profile::Profile;
use super::words::pretty;
use super::{arch, kernel_of};
use crate::arguments::{Arguments, Format};
use crate::flags::{Flag, Flags, format, json, value};
use crate::global::Global;
use crate::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "seccomp mitigations",
    summary: "which known kernel vulnerabilities a profile blocks",
    help: "\
usage: brig seccomp mitigations [OPTION...] PROFILE

Prints known kernel vulnerabilities that are reached by a system call which a filter can deny, and
whether the profile denies it: as a native call, and as a 32-bit call. Programs under the profile
cannot reach a vulnerability in this way if it is closed. The list is not complete.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[("options", OPTIONS)]);

const OPTIONS: &[Flag<ParsedFlags>] = &[
    value("-a, --arch ARCH  the kernel's architecture (default: this machine's)", |it, given| {
        it.arch = Some(arch(&given.text()?)?);
        Ok(())
    }),
    format("-f, --format FORMAT  table (default) or json", |it| &mut it.format),
    json(|it| &mut it.format),
];

#[derive(Debug, Default)]
struct ParsedFlags {
    arch: Option<Arch>,
    format: Format,
}

fn run(_: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    let kernel = kernel_of(parsed.arch.unwrap_or(Arch::native()));
    let profile = Profile::read(&arguments.positional("PROFILE")?)?;
    arguments.end()?;
    let states = states(&profile.seccomp, kernel).map_err(brig::supervise::Error::from)?;
    let all = || MITIGATIONS.iter().zip(&states);
    print(&match parsed.format {
        Format::Table => all().map(|(one, state)| lines(one, *state)).collect(),
        Format::Json => pretty(&all().map(|(one, state)| as_json(one, *state)).collect())?,
    })?;
    Ok(0)
}

fn lines(one: &Mitigation, state: State) -> String {
    format!(
        "{:26} {}\n{:26} {}\n{:26} {}\n",
        one.name,
        state.name(),
        "",
        one.cves.join(" "),
        "",
        one.why
    )
}

fn as_json(one: &Mitigation, state: State) -> Value {
    let steps = one.steps.iter();
    let steps: Vec<Vec<&str>> =
        steps.map(|step| step.iter().map(|entry| entry.words).collect()).collect();
    json!({"name": one.name, "cves": one.cves, "state": state.name(), "steps": steps, "why": one.why, "source": one.source})
}
