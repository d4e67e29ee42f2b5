//! `brig seccomp export`.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context;
use brig::printable;
use brig_seccomp::{Arch, Program};
use serde_json::{Value, json};

use super::profile::Profile;
use super::words::pretty;
use super::{Arguments, Global, Outcome, Usage, Verb, arch, print};

pub(super) const VERB: Verb = Verb {
    name: "export",
    summary: "write the program of a profile",
    help: "\
usage: brig seccomp export [OPTION...] PROFILE

Writes the profile's program as the kernel takes it: an array of struct sock_filter (8 bytes an
instruction), without a header. With bubblewrap:

    brig seccomp export -o filter.bpf default
    bwrap --ro-bind / / --seccomp 3 sh 3<filter.bpf

Whoever loads it must set no_new_privs or have CAP_SYS_ADMIN. The flags of a profile are no part of
its program; --format json has them.

options:
  -o, --output FILE       write to FILE instead of standard output
  -a, --arch ARCH         for a kernel of x86_64, x86, x32, aarch64 or arm (default: this machine's)
  -f, --format FORMAT     raw (default) or json
      --json              as --format json
",
    run,
};

fn run(_: &Global, mut arguments: Arguments) -> Outcome {
    let (mut kernel, mut output, mut is_json) = (Arch::native(), None, false);
    while let Some(flag) = arguments.next_flag()? {
        match flag.as_str() {
            "-o" | "--output" => output = Some(PathBuf::from(arguments.value()?)),
            "-a" | "--arch" => kernel = arch(&mut arguments)?,
            "-f" | "--format" => is_json = reads_json(&arguments.text()?)?,
            "--json" => is_json = true,
            _ => return Err(arguments.unknown().into()),
        }
    }
    let name = arguments.positional("PROFILE")?;
    arguments.end()?;
    if output.is_none() && !is_json && std::io::stdout().is_terminal() {
        let what = "the program is no text, and standard output is a terminal: use --output FILE";
        return Err(Usage::new(what).into());
    }
    let (_, program) = Profile::compiled(&name, kernel)?;
    if program.notify && !is_json {
        let what = "some calls notify: without a listener they fail with ENOSYS";
        printable::note(&format!("warning: {name}: {what}"));
    }
    match (output, is_json) {
        (Some(path), true) => write(&path, pretty(&in_json(&program))?.as_bytes())?,
        (Some(path), false) => write(&path, &program.to_bytes())?,
        (None, true) => print(&pretty(&in_json(&program))?)?,
        (None, false) => {
            let mut stdout = std::io::stdout().lock();
            let written = stdout.write_all(&program.to_bytes()).and_then(|()| stdout.flush());
            written.context("writing to standard output")?;
        }
    }
    Ok(0)
}

fn reads_json(format: &str) -> Result<bool, Usage> {
    match format {
        "raw" => Ok(false),
        "json" => Ok(true),
        other => Err(Usage::new(format!("--format: {other:?} is neither raw nor json"))),
    }
}

fn write(path: &std::path::Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

fn in_json(program: &Program) -> Value {
    let instructions = program.instructions.iter();
    let instructions: Vec<Value> =
        instructions.map(|one| json!([one.code, one.jt, one.jf, one.k])).collect();
    json!({ "flags": program.flags, "notify": program.notify, "instructions": instructions })
}
