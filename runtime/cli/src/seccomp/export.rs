//! `brig seccomp export`.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context;
use brig::printable;
use brig_seccomp::{Arch, BpfProgram};
use serde_json::{Value, json};

use super::arch;
use super::profile::Profile;
use super::words::pretty;
use crate::arguments::{Arguments, Format, Usage};
use crate::flags::{Flag, Flags, json, path, value};
use crate::global::Global;
use crate::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "seccomp export",
    summary: "the program's bytes, for bubblewrap's --seccomp and others",
    help: "\
usage: brig seccomp export [OPTION...] PROFILE

Writes the profile's program as the kernel takes it: an array of struct sock_filter (8 bytes an
instruction), without a header. With bubblewrap:

    brig seccomp export -o filter.bpf default
    bwrap --ro-bind / / --seccomp 3 sh 3<filter.bpf

The process that loads it must set no_new_privs or have CAP_SYS_ADMIN. The flags of a profile are
not part of the program; --format json has them.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[("options", OPTIONS)]);

const OPTIONS: &[Flag<ParsedFlags>] = &[
    path("-o, --output FILE  write to FILE instead of standard output", |it| &mut it.output),
    value(
        "-a, --arch ARCH  for a kernel of x86_64, x86, x32, aarch64 or arm (default: this machine's)",
        |it, given| {
            it.arch = Some(arch(&given.text()?)?);
            Ok(())
        },
    ),
    value("-f, --format FORMAT  raw (default) or json", |it, given| {
        it.format = raw_or_json(&given.text()?)?;
        Ok(())
    }),
    json(|it| &mut it.format),
];

#[derive(Debug, Default)]
struct ParsedFlags {
    output: Option<PathBuf>,
    arch: Option<Arch>,
    /// A table stands for raw bytes.
    format: Format,
}

fn run(_: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    let (output, is_json) = (parsed.output, parsed.format == Format::Json);
    let name = arguments.positional("PROFILE")?;
    arguments.end()?;
    if output.is_none() && !is_json && std::io::stdout().is_terminal() {
        let what = "the program is no text, and standard output is a terminal: use --output FILE";
        return Err(Usage::new(what).into());
    }
    let (_, program) = Profile::compiled(&name, parsed.arch.unwrap_or(Arch::native()))?;
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

fn raw_or_json(format: &str) -> Result<Format, Usage> {
    match format {
        "raw" => Ok(Format::Table),
        "json" => Ok(Format::Json),
        other => Err(Usage::new(format!("--format: {other:?} is neither raw nor json"))),
    }
}

fn write(path: &std::path::Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

fn in_json(program: &BpfProgram) -> Value {
    let instructions = program.instructions.iter();
    let instructions: Vec<Value> =
        instructions.map(|one| json!([one.code, one.jt, one.jf, one.k])).collect();
    json!({ "flags": program.flags, "notify": program.notify, "instructions": instructions })
}
