//! `brig policy test`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use brig::configuration::{CONFIG_FILE, read_small};
use brig::policy::{self, NodePolicy, Outcome as Decided, Sources, Verdict};
use brig::printable;
use brig::spec::{Asked, SIZE_LIMIT_BYTES};
use serde_json::{Value, json};

use crate::arguments::{Arguments, Format};
use crate::flags::{Flag, Flags, format, json, path};
use crate::global::Global;
use crate::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "policy test",
    summary: "judge a directory of configurations, and compare with what is expected",
    help: "\
usage: brig policy test [OPTION...] DIR

Judges every file NAME.json of DIR, and the config.json of every directory in it, by the node's
policy or another file. Those of the form NAME.refused.json or NAME.refused/config.json are
expected to be refused, all others not. Nothing is run, and no privilege is needed. The rule
bind_sources is left out: it judges what is on the node itself.

exit status: 0, 1 where something is not as expected, 2 for usage
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[("options", OPTIONS)]);

const OPTIONS: &[Flag<ParsedFlags>] = &[
    path("--policy FILE  a policy file (default: the node's)", |it| &mut it.policy),
    format("-f, --format FORMAT  table (default) or json", |it| &mut it.format),
    json(|it| &mut it.format),
];

#[derive(Debug, Default)]
struct ParsedFlags {
    policy: Option<PathBuf>,
    format: Format,
}

/// A configuration, judged.
struct Judged {
    name: String,
    verdicts: Vec<Verdict>,
}

impl Judged {
    fn is_refused(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.outcome == Decided::Refused)
    }

    fn is_to_be_refused(&self) -> bool {
        let stem = self.name.trim_end_matches(".json");
        stem.trim_end_matches(&format!("/{}", CONFIG_FILE.trim_end_matches(".json")))
            .ends_with(".refused")
    }

    fn is_as_expected(&self) -> bool {
        self.is_refused() == self.is_to_be_refused()
    }

    fn line(&self) -> String {
        let expected = match (self.is_as_expected(), self.is_refused()) {
            (true, _) => "",
            (false, true) => ", unexpected",
            (false, false) => ", should be refused",
        };
        let outcome = if self.is_refused() { "refused" } else { "accepted" };
        let mut text = format!("{}: {outcome}{expected}\n", printable::line(&self.name));
        for verdict in &self.verdicts {
            text.push_str(&format!("  {}\n", printable::line(&verdict.to_string())));
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "file": self.name, "refused": self.is_refused(), "expected": self.is_as_expected(),
            "verdicts": self.verdicts,
        })
    }
}

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    let directory = PathBuf::from(arguments.positional("DIR")?);
    arguments.end()?;
    let node = match &parsed.policy {
        Some(file) => global.policy_of(file)?,
        None => global.stateless_node().policy()?,
    };
    let judged = configurations(&directory)?
        .into_iter()
        .map(|name| judge(&directory, name, &node))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if judged.is_empty() {
        anyhow::bail!("there is no configuration in {}", directory.display());
    }
    let expected = judged.iter().filter(|one| one.is_as_expected()).count();
    print(&match parsed.format {
        Format::Json => {
            let all: Vec<_> = judged.iter().map(Judged::json).collect();
            format!("{}\n", serde_json::to_string_pretty(&all)?)
        }
        Format::Table => {
            let lines: String = judged.iter().map(Judged::line).collect();
            let name = &node.profile.name;
            format!("{lines}profile {name}: {expected} of {} as expected\n", judged.len())
        }
    })?;
    Ok(u8::from(expected < judged.len()))
}

/// The names of the configurations in a directory, sorted.
fn configurations(directory: &Path) -> anyhow::Result<Vec<String>> {
    let reading = || format!("reading {}", directory.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().join(CONFIG_FILE).is_file() {
            names.push(format!("{name}/{CONFIG_FILE}"));
        } else if name.ends_with(".json") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn judge(directory: &Path, name: String, node: &NodePolicy) -> anyhow::Result<Judged> {
    let path = directory.join(&name);
    let bytes = read_small(&path, SIZE_LIMIT_BYTES)?;
    let asked =
        Asked::read(&bytes).with_context(|| format!("{} is not acceptable", path.display()))?;
    // Also of the profiles that an annotation brings.
    let mut node = node.of_container(&asked.config().annotations).into_owned();
    node.profile = node.profile.without_bind_sources();
    let verdicts = policy::judge(asked, &node, &Sources::default());
    Ok(Judged { name, verdicts })
}
