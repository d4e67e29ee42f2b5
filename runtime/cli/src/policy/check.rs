//! `brig policy check`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use brig::node_policy;
use brig::policy::Policy;
use brig::printable;

use crate::arguments::Arguments;
use crate::flags::NONE;
use crate::global::Global;
use crate::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "policy check",
    summary: "validate a policy file",
    help: "\
usage: brig policy check [FILE [DROP-IN...]]

Validates a policy file with every profile in it, and drop-ins beside it, by default the node's, and
prints errors with line, column and a hint. While the node's own are not valid no container is made.
",
    flags: &NONE,
    does: Does::Run(run),
};

fn run(_: &Global, mut arguments: Arguments) -> Outcome {
    NONE.read(&mut arguments, &mut ())?;
    let Some(file) = arguments.optional("FILE")?.map(PathBuf::from) else {
        arguments.end()?;
        return nodes();
    };
    let read = |file: &Path| {
        std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
    };
    let wrong = |file: &Path, error| node_policy::explain(file, &error);
    let mut policy = Policy::read(&read(&file)?).map_err(|error| wrong(&file, error))?;
    let mut text = format!("{}: valid\n", file.display());
    while let Some(drop_in) = arguments.optional("DROP-IN")?.map(PathBuf::from) {
        let name = drop_in.file_name().unwrap_or_default().to_string_lossy();
        let added = policy.add_drop_in(&name, &read(&drop_in)?);
        added.map_err(|error| wrong(&drop_in, error))?;
        text.push_str(&format!("{}: valid\n", drop_in.display()));
    }
    arguments.end()?;
    print(&text)?;
    Ok(0)
}

/// The node's own, read as they are for a container.
fn nodes() -> Outcome {
    let directory = Path::new(node_policy::DIRECTORY);
    let file = directory.join(node_policy::FILE);
    node_policy::check()?;
    let state = match file.exists() {
        true => "valid".to_owned(),
        false => format!("there is none: {} holds", Policy::without_file().default_name()),
    };
    let mut text = format!("{}: {state}\n", file.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory.join(node_policy::DROP_INS)).into_iter().flatten() {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    for name in names {
        let state = match node_policy::is_drop_in(&name) {
            true => "valid",
            false => "ignored, as its name does not end in .toml or begins with a dot",
        };
        let path = directory.join(node_policy::DROP_INS).join(name);
        text.push_str(&format!("{}: {state}\n", printable::line(&path.to_string_lossy())));
    }
    print(&text)?;
    Ok(0)
}
