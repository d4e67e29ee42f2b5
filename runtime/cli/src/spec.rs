//! `brig spec`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use nix::unistd::{getegid, geteuid};

use super::arguments::Arguments;
use super::flags::{Flags, path, switch};
use super::global::Global;
use super::verb::{Does, Outcome, Verb};

pub(super) const VERB: Verb = Verb {
    name: "spec",
    summary: "write a config.json to start from",
    help: "\
usage: brig spec [OPTION...]

Writes a new config.json into the bundle.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[(
    "options",
    &[
        path("-b, --bundle DIR  the bundle (default: the current directory)", |it| &mut it.bundle),
        switch("--rootless  for an ordinary user: with a user namespace", |it| &mut it.rootless),
    ],
)]);

#[derive(Debug, Default)]
struct ParsedFlags {
    bundle: Option<PathBuf>,
    rootless: bool,
}

fn run(_: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    arguments.end()?;
    let ids = parsed.rootless.then(|| (geteuid().as_raw(), getegid().as_raw()));
    let bundle = parsed.bundle.unwrap_or_else(|| PathBuf::from("."));
    let path = bundle.join(brig::configuration::CONFIG_FILE);
    let doing = || format!("writing {}", path.display());
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(&path).with_context(doing)?;
    file.write_all(brig::template::text(ids).as_bytes()).with_context(doing)?;
    Ok(0)
}
