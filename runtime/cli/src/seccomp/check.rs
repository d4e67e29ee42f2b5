//! `brig seccomp check`.

use brig::printable;
use brig_seccomp::Arch;
use brig_seccomp::lint::{Finding, Severity, lint, rule_of};
use serde_json::{Value, json};

use super::profile::Profile;
use super::words::pretty;
use super::{arch, kernel_of};
use crate::arguments::{Arguments, Format};
use crate::flags::{Flag, Flags, format, json, switch, value};
use crate::global::Global;
use crate::unusable::UnusableInput;
use crate::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "seccomp check",
    summary: "lint profiles: rules without effect, contradictions, dangerous calls",
    help: "\
usage: brig seccomp check [OPTION...] PROFILE...

Prints what is wrong, or risky, in the profiles, each finding with its line: what runtimes refuse or
ignore, rules without effect or in contradiction to others, unknown system call names, misleading
conditions, dangerous calls that are allowed, and 32-bit calls that bypass a restriction.

exit status: 0 without errors, 1 where there is one, 2 for usage
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
    switch("--strict  warnings count as errors", |it| &mut it.strict),
    format("-f, --format FORMAT  table (default) or json", |it| &mut it.format),
    json(|it| &mut it.format),
];

#[derive(Debug, Default)]
struct ParsedFlags {
    arch: Option<Arch>,
    strict: bool,
    format: Format,
}

/// A finding and where it is.
struct Found {
    file: String,
    line: Option<usize>,
    finding: Finding,
}

fn run(_: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    let kernel = kernel_of(parsed.arch.unwrap_or(Arch::native()));
    let mut names = vec![arguments.positional("PROFILE")?];
    while let Some(name) = arguments.optional("PROFILE")? {
        names.push(name);
    }
    let found: Vec<Found> = names.iter().flat_map(|name| findings(name, kernel)).collect();
    print(&match parsed.format {
        Format::Table => found.iter().map(Found::line).collect(),
        Format::Json => pretty(&found.iter().map(Found::json).collect())?,
    })?;
    let worst = found.iter().map(|one| one.finding.severity).max();
    let bad = if parsed.strict { Severity::Warning } else { Severity::Error };
    Ok(u8::from(worst >= Some(bad)))
}

fn findings(name: &str, kernel: Arch) -> Vec<Found> {
    let profile = match Profile::read(name) {
        Ok(profile) => profile,
        Err(refused) => return vec![Found::refused(refused)],
    };
    let found = lint(&profile.seccomp, kernel).into_iter();
    found
        .map(|mut finding| {
            let line = profile.line(&finding.field);
            finding.field = profile.shown(&finding.field);
            Found { file: profile.file.clone(), line, finding }
        })
        .collect()
}

impl Found {
    /// A profile that cannot even be read is a finding too: the others are still checked.
    fn refused(refused: UnusableInput) -> Self {
        let hint = refused.hint().unwrap_or_default().to_owned();
        let UnusableInput { file, line, field, message, .. } = refused;
        let rule = rule_of(&field);
        let (severity, code, call) = (Severity::Error, "refused", None);
        Self { file, line, finding: Finding { severity, code, field, rule, call, message, hint } }
    }

    /// As compilers write it, so that editors can jump there.
    fn line(&self) -> String {
        let Finding { severity, code, rule, call, message, hint, .. } = &self.finding;
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        let rule = rule.map(|rule| format!("rule {rule}: ")).unwrap_or_default();
        let call = call.as_ref().map(|call| format!("{call}: ")).unwrap_or_default();
        let severity = word(*severity);
        let first = format!("{}{line}: {severity}: {rule}{call}{message} [{code}]", self.file);
        format!("{}\n  hint: {}\n", printable::line(&first), printable::line(hint))
    }

    fn json(&self) -> Value {
        let Finding { severity, code, field, rule, call, message, hint } = &self.finding;
        json!({
            "file": self.file,
            "line": self.line,
            "severity": word(*severity),
            "code": code,
            "field": field,
            "rule": rule,
            "call": call,
            "message": message,
            "hint": hint,
        })
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}
