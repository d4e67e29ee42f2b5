//! A verb: what it is called, what help says of it, and what it does.

use std::ffi::OsStr;

use anyhow::Context;
use brig::printable;
use brig::spec::nearest;
use serde::Serialize;
use serde_json::Value;

use super::arguments::{Arguments, HelpWanted, Table, Usage};
use super::flags::NONE;
use super::global::Global;
use super::layout::wrapped;

/// How a verb ends when it does not fail: with an exit code.
pub(super) type Outcome = anyhow::Result<u8>;

/// A verb.
pub(super) struct Verb {
    /// As it is typed: `create`, or `seccomp show`.
    pub(super) name: &'static str,
    /// One line for the list of verbs.
    pub(super) summary: &'static str,
    /// How it is called, and what it does: the help without the flags.
    pub(super) help: &'static str,
    pub(super) flags: &'static dyn Table,
    pub(super) does: Does,
}

pub(super) enum Does {
    Run(fn(&Global, Arguments) -> Outcome),
    /// One of these follows, and does it.
    Verbs(&'static [Verb]),
}

impl Verb {
    /// The one of `verbs` that is typed so.
    pub(super) fn find(verbs: &'static [Self], typed: &OsStr) -> Result<&'static Self, Usage> {
        if let Some(verb) = verbs.iter().find(|verb| typed == verb.word()) {
            return Ok(verb);
        }
        let usage = Usage::new(format!("unknown verb {typed:?}"));
        let known = verbs.iter().map(Self::word);
        Err(match typed.to_str().and_then(|typed| nearest(typed, known)) {
            Some(near) => usage.with_hint(format!("did you mean {near}?")),
            None => usage,
        })
    }

    /// Its name without that of the verb it belongs to.
    pub(super) fn word(&self) -> &'static str {
        self.name.rsplit(' ').next().unwrap_or(self.name)
    }

    /// Does what it is for, or prints its help.
    pub(super) fn call(&self, global: &Global, arguments: Arguments) -> Outcome {
        match self.outcome(global, arguments) {
            Err(error) if error.is::<HelpWanted>() => print(&self.help()).map(|()| 0),
            Err(error) => Err(match error.downcast::<Usage>() {
                Ok(usage) if usage.hint().is_none() => {
                    usage.with_hint(format!("see `brig {} --help`", self.name)).into()
                }
                Ok(usage) => usage.into(),
                Err(error) => error,
            }),
            done => done,
        }
    }

    fn outcome(&self, global: &Global, mut arguments: Arguments) -> Outcome {
        match self.does {
            Does::Run(run) => run(global, arguments),
            Does::Verbs(verbs) => {
                NONE.read_leading(&mut arguments, &mut ())?;
                let name = arguments.verb();
                let name =
                    name.ok_or_else(|| Usage::new(format!("no verb of {} is given", self.name)))?;
                Self::find(verbs, &name)?.call(global, arguments)
            }
        }
    }

    /// The whole help.
    pub(super) fn help(&self) -> String {
        let verbs = match self.does {
            Does::Verbs(verbs) => format!("\nverbs:\n{}", list(verbs)),
            Does::Run(_) => String::new(),
        };
        format!("{}{verbs}{}", self.help, of_flags(self.flags))
    }
}

/// Prints what a verb has to say; that nobody could read it is a failure.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    printable::print(text).context("writing to standard output")
}

/// Prints a value as JSON, the keys in order.
pub(super) fn print_sorted(value: &impl Serialize) -> anyhow::Result<()> {
    let value: Value = serde_json::from_str(&serde_json::to_string(value)?)?;
    print(&format!("{}\n", serde_json::to_string_pretty(&value)?))
}

/// Where what is said of a flag begins.
const COLUMN: usize = 28;

/// What help says of flags, a blank line and a title before each group that has one.
pub(super) fn of_flags(flags: &dyn Table) -> String {
    let mut text = String::new();
    for (title, about) in flags.iter() {
        if let Some(title) = title.filter(|title| !title.is_empty()) {
            text.push_str(&format!("\n{title}:\n"));
        }
        // Long names stand below each other.
        let indent = if about.names.starts_with("--") { 6 } else { 2 };
        let label = format!("{:indent$}{} {}", "", about.names, about.value);
        let mut label = label.trim_end().to_owned();
        if label.len() + 1 >= COLUMN {
            text.push_str(&label);
            text.push('\n');
            label.clear();
        }
        text.push_str(&wrapped(&format!("{label:COLUMN$}"), about.help.split(' ')));
    }
    text
}

/// A list of verbs, each with its line.
pub(super) fn list(verbs: &[Verb]) -> String {
    let line = |verb: &Verb| format!("  {:<19} {}\n", verb.word(), verb.summary);
    verbs.iter().map(line).collect()
}
