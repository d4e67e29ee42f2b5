//! `brig seccomp`: a file for each of its verbs.
//!
//! The verbs read a profile, ask the crate `brig_seccomp`, and print its answer: nothing is loaded
//! into the kernel, and no profile is changed. But for `record`, which runs a program.

mod check;
mod diff;
mod explain;
mod export;
mod mitigations;
mod profile;
mod record;
mod show;
mod watch;
mod words;

use brig_seccomp::Arch;

use super::arguments::Usage;
use super::flags::NONE;
use super::verb::{Does, Verb};

pub(super) const VERB: Verb = Verb {
    name: "seccomp",
    summary: "look at seccomp profiles, check, compare, export and record them",
    help: "\
usage: brig seccomp VERB [OPTION...] [ARGUMENT...]

PROFILE is a built-in profile (nested, default, restricted, sandbox or compute), or a JSON file: a
linux.seccomp object of the OCI runtime specification, or a config.json that has one; - is standard
input. A file with the name of a built-in profile is ./NAME. `brig seccomp VERB --help` says more.

exit status: 0, 1 for errors, 2 for usage
",
    flags: &NONE,
    does: Does::Verbs(&[
        show::VERB,
        check::VERB,
        diff::VERB,
        explain::VERB,
        mitigations::VERB,
        export::VERB,
        record::VERB,
    ]),
};

/// The value of `--arch`.
fn arch(name: &str) -> Result<Arch, Usage> {
    Arch::from_name(name).ok_or_else(|| {
        let known = Arch::ALL.map(Arch::name).join(", ");
        Usage::new(format!("--arch: brig has no table for {name:?}, only for {known}"))
    })
}

/// The kernel under which calls of an architecture are looked at: this one, where it can have such
/// calls, else a 64-bit one of the family.
fn kernel_of(arch: Arch) -> Arch {
    let native = Arch::native();
    if native.kernel() == arch.kernel() { native } else { arch.kernel() }
}
