//! `brig seccomp mitigations`.

use brig_seccomp::Arch;
use brig_seccomp::mitigation::{MITIGATIONS, Mitigation, states};
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
usage: brig seccomp mitigations [OPTION...] [PROFILE]

Prints known kernel vulnerabilities that are reached by a system call which a filter can deny, with
these calls, and whether the profile denies them: as native calls, and as 32-bit calls. Programs
under the profile cannot reach a vulnerability in this way if it is closed. The list is not
complete. The node's policy switches each on or off by its name, or by a CVE (rule `mitigations`).
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
    let profile = arguments.optional("PROFILE")?;
    arguments.end()?;
    let states = match profile {
        None => vec![None; MITIGATIONS.len()],
        Some(profile) => {
            let profile = Profile::read(&profile)?;
            let states = states(&profile.seccomp, kernel).map_err(brig::supervise::Error::from)?;
            states.into_iter().map(|state| Some(state.name())).collect()
        }
    };
    let all = || MITIGATIONS.iter().zip(&states);
    print(&match parsed.format {
        Format::Table => all().map(|(one, state)| lines(one, *state)).collect(),
        Format::Json => pretty(&all().map(|(one, state)| as_json(one, *state)).collect())?,
    })?;
    Ok(0)
}

fn lines(one: &Mitigation, state: Option<&str>) -> String {
    let steps: Vec<String> = steps(one).iter().map(|step| step.join(" or ")).collect();
    let facts = [state.unwrap_or_default(), &one.cves.join(" "), &steps.join("; then "), one.why];
    let mut name = one.name;
    let mut lines = String::new();
    for fact in facts.into_iter().filter(|fact| !fact.is_empty()) {
        lines.push_str(&format!("{name:26} {fact}\n"));
        name = "";
    }
    lines
}

fn steps(one: &Mitigation) -> Vec<Vec<&'static str>> {
    one.steps.iter().map(|step| step.iter().map(|entry| entry.words).collect()).collect()
}

fn as_json(one: &Mitigation, state: Option<&str>) -> Value {
    json!({"name": one.name, "cves": one.cves, "state": state, "steps": steps(one), "why": one.why, "source": one.source})
}
