//! `brig spec`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use nix::unistd::{getegid, geteuid};

use super::{Arguments, Global, Outcome, Verb};

pub(super) const VERB: Verb = Verb {
    name: "spec",
    summary: "write a config.json to start from",
    help: "\
usage: brig spec [OPTION...]

Writes a new config.json into the bundle.

options:
  -b, --bundle DIR        the bundle (default: the current directory)
      --rootless          for an ordinary user: with a user namespace
",
    run,
};

fn run(_: &Global, mut arguments: Arguments) -> Outcome {
    let (mut bundle, mut rootless) = (PathBuf::from("."), false);
    while let Some(flag) = arguments.next_flag()? {
        match flag.as_str() {
            "-b" | "--bundle" => bundle = PathBuf::from(arguments.value()?),
            "--rootless" => rootless = arguments.switch()?,
            _ => return Err(arguments.unknown().into()),
        }
    }
    arguments.end()?;
    let ids = rootless.then(|| (geteuid().as_raw(), getegid().as_raw()));
    let path = bundle.join(brig::bundle::CONFIG_FILE);
    let doing = || format!("writing {}", path.display());
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(&path).with_context(doing)?;
    file.write_all(brig::template::text(ids).as_bytes()).with_context(doing)?;
    Ok(0)
}
