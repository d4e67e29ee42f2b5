//! `brig seccomp`: a file for each of its verbs.
//!
//! The verbs read a profile, ask the crate `brig_seccomp`, and print its answer: nothing is loaded
//! into the kernel, and no profile is changed. But for `record`, which runs a program.

mod check;
mod diff;
mod explain;
mod export;
mod profile;
mod record;
mod show;
mod words;

use super::{Arguments, Global, Outcome, Usage, Verb, print};
use brig_seccomp::Arch;
pub(super) use profile::Refused;

pub(super) const VERB: Verb = Verb {
    name: "seccomp",
    summary: "look at seccomp profiles, check, compare, export and record them",
    help: "\
usage: brig seccomp VERB [OPTION...] [ARGUMENT...]

verbs:
  show PROFILE                      what a profile decides, by kind of call; --bpf: its program
  check PROFILE...                  what in it does not do what its author will have meant
  diff A B                          what B lets through that A does not
  explain PROFILE CALL [ARG...]     what is decided about a call, and which rule decides
  export PROFILE                    the program's bytes, for bubblewrap's --seccomp and others
  record COMMAND|--bundle DIR       learns what a program calls, and writes the profile for that

PROFILE is the name of a profile that brig brings (default), or a JSON file: a linux.seccomp object
of the OCI runtime specification, or a config.json which has one; - is standard input. A file that
has the name of brig's own is ./NAME. `brig seccomp VERB --help` says more.

exit status: 0, 1 for errors, 2 for usage
",
    run,
};

/// All verbs of this verb.
const VERBS: &[Verb] =
    &[show::VERB, check::VERB, diff::VERB, explain::VERB, export::VERB, record::VERB];

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let Some(name) = arguments.verb() else {
        return Err(Usage::new("no verb of seccomp is given").into());
    };
    let Some(verb) = VERBS.iter().find(|verb| name == verb.name) else {
        return Err(Usage::new(format!("unknown verb {name:?} of seccomp")).into());
    };
    if arguments.wants_help() {
        print(verb.help)?;
        return Ok(0);
    }
    (verb.run)(global, arguments)
}

/// The value of `--arch`.
fn arch(arguments: &mut Arguments) -> Result<Arch, Usage> {
    let name = arguments.text()?;
    Arch::from_name(&name).ok_or_else(|| {
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

#[cfg(test)]
mod tests {
    use super::{VERB, VERBS};

    #[test]
    fn help_names_every_verb() {
        for verb in VERBS {
            assert!(VERB.help.contains(&format!("\n  {} ", verb.name)), "{}", verb.name);
            assert!(verb.help.starts_with(&format!("usage: brig seccomp {} ", verb.name)));
        }
    }
}
