//! The lines of a report, and what each comes to.
//!
//! Promises: what is not known does not hold; what others have named is escaped.

use serde::Serialize;

use super::held::{Seen, Unseen};
use super::process::NAMESPACES;
use super::snapshot::Member;
use crate::printable;

/// What comes of holding something against what should hold. The later ones say more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// There is nothing that it is held against.
    Told,
    /// It is as it should be.
    Holds,
    /// It cannot be known whether it is.
    Unknown,
    /// It is not.
    Drifted,
}

/// What confines a container in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its name.
    pub item: &'static str,
    /// How it is, in words.
    pub found: String,
    /// The worst of the checks.
    pub verdict: Verdict,
    /// What it is held against.
    pub checks: Vec<Check>,
}

/// What an item is held against, and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `configuration`, `first process`, or a rule of the node's policy.
    pub against: String,
    /// What comes of it.
    pub verdict: Verdict,
    /// Why, where it does not hold.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// The items that are told of, in the order of the report.
#[derive(Debug, Default)]
pub(super) struct Lines(pub(super) Vec<Item>);

impl Lines {
    /// How something is. What is not known is no more than that, whatever it is held against.
    pub(super) fn tell(&mut self, item: &'static str, found: Seen<String>) {
        let (found, verdict) = match found {
            Ok(found) => (printable::line(&found).into_owned(), Verdict::Told),
            Err(unseen) => (format!("unknown: {unseen}"), Verdict::Unknown),
        };
        self.0.push(Item { item, found, verdict, checks: Vec::new() });
    }

    /// What comes of holding an item against something; `why` where it does not hold.
    pub(super) fn check(&mut self, name: &str, against: &str, verdict: Verdict, why: &str) {
        let Some(item) = self.0.iter_mut().find(|item| item.item == name) else { return };
        let why = printable::line(why).into_owned();
        item.verdict = item.verdict.max(verdict);
        item.checks.push(Check { against: against.to_owned(), verdict, why });
    }

    /// The same: it holds where there is nothing to complain of.
    pub(super) fn must(&mut self, item: &str, against: &str, complaint: Seen<Option<String>>) {
        match complaint {
            Ok(None) => self.check(item, against, Verdict::Holds, ""),
            Ok(Some(why)) => self.check(item, against, Verdict::Drifted, &why),
            Err(unseen) => self.check(item, against, Verdict::Unknown, &unseen.to_string()),
        }
    }
}

/// Names in a row; of many only the first.
pub(super) fn some_of<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    const MOST: usize = 12;
    let mut names = names.into_iter();
    let shown: Vec<String> = names.by_ref().take(MOST).map(|name| name.to_string()).collect();
    let words = shown.join(" ");
    match names.count() {
        0 => words,
        more => format!("{words} and {more} more"),
    }
}

/// Processes of which something holds, as words; `None` where of none.
pub(super) fn those<'s>(
    members: impl IntoIterator<Item = &'s Member<'s>>,
    holds: impl Fn(&Member<'_>) -> bool,
) -> Option<String> {
    let found: Vec<_> = members.into_iter().filter(|member| holds(member)).collect();
    let words =
        || some_of(found.iter().map(|it| format!("{} ({})", it.process.pid, it.process.name)));
    (!found.is_empty()).then(words)
}

/// A complaint about processes of which something holds.
pub(super) fn complain<'s>(
    members: impl IntoIterator<Item = &'s Member<'s>>,
    what: &str,
    holds: impl Fn(&Member<'_>) -> bool,
) -> Option<String> {
    those(members, holds).map(|who| format!("{what}: pid {who}"))
}

/// The first of several answers that is no answer, as the answer to all.
pub(super) fn first_unseen<'a, T: 'a>(seen: impl IntoIterator<Item = &'a Seen<T>>) -> Seen<()> {
    let unseen: Option<Unseen> = seen.into_iter().find_map(|one| one.as_ref().err().copied());
    unseen.map_or(Ok(()), Err)
}

/// The place of a namespace by the name that config.json has for it.
pub(super) fn place_of(name: &str) -> usize {
    let name = match name {
        "mount" => "mnt",
        "network" => "net",
        name => name,
    };
    NAMESPACES.iter().position(|(known, _)| *known == name).unwrap_or_default()
}
