//! The lines of a report, and what each comes to.
//!
//! Promises: what is not known does not hold; what others have named is escaped.

use super::held::{Seen, Unseen};
use super::mounts::Mount;
use super::process::NAMESPACES;
use super::snapshot::Member;
use crate::printable;

/// What comes of holding something against what should hold. The later ones say more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

impl Verdict {
    /// As a report spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Holds => "holds",
            Self::Unknown => "unknown",
            Self::Drifted => "drifted",
        }
    }
}

/// What confines a container in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// `configuration`, `first process`, or a rule of the node's policy.
    pub against: String,
    /// What comes of it.
    pub verdict: Verdict,
    /// Why, where it does not hold.
    pub why: String,
}

/// The items that are told of, in the order of the report.
#[derive(Debug, Default)]
pub(super) struct Lines(pub(super) Vec<Item>);

impl Lines {
    /// How something is. What is not known is no more than that, whatever it is held against.
    #[inline(never)]
    pub(super) fn tell(&mut self, item: &'static str, found: Seen<String>) {
        let (found, verdict) = match found {
            Ok(found) => (printable::line(&found).into_owned(), Verdict::Told),
            Err(unseen) => (format!("unknown: {unseen}"), Verdict::Unknown),
        };
        self.0.push(Item { item, found, verdict, checks: Vec::new() });
    }

    /// What comes of holding an item against something; `why` where it does not hold.
    #[inline(never)]
    pub(super) fn check(&mut self, name: &str, against: &str, verdict: Verdict, why: &str) {
        let Some(item) = self.0.iter_mut().find(|item| item.item == name) else { return };
        let why = printable::line(why).into_owned();
        item.verdict = item.verdict.max(verdict);
        item.checks.push(Check { against: against.to_owned(), verdict, why });
    }

    /// The same: it holds where there is nothing to complain of.
    #[inline(never)]
    pub(super) fn must(&mut self, item: &str, against: &str, complaint: Seen<Option<String>>) {
        match complaint {
            Ok(None) => self.check(item, against, Verdict::Holds, ""),
            Ok(Some(why)) => self.check(item, against, Verdict::Drifted, &why),
            Err(unseen) => self.check(item, against, Verdict::Unknown, &unseen.to_string()),
        }
    }
}

/// Names in a row; of many only the first.
#[inline(never)]
pub(super) fn some_of(names: &mut dyn Iterator<Item = String>) -> String {
    const MOST: usize = 12;
    let mut words = String::new();
    let mut more = 0;
    for (index, name) in names.enumerate() {
        match index {
            0 => words = name,
            index if index < MOST => {
                words.push(' ');
                words.push_str(&name);
            }
            _ => more += 1,
        }
    }
    match more {
        0 => words,
        more => format!("{words} and {more} more"),
    }
}

/// The same of paths of mounts.
pub(super) fn points(mounts: &mut dyn Iterator<Item = &Mount>) -> String {
    some_of(&mut mounts.map(|mount| mount.point.display().to_string()))
}

/// Processes of which something holds, as words; `None` where of none.
#[inline(never)]
pub(super) fn those(members: &[Member<'_>], holds: &dyn Fn(&Member<'_>) -> bool) -> Option<String> {
    let mut found = members.iter().filter(|member| holds(member)).peekable();
    found.peek()?;
    Some(some_of(&mut found.map(|it| format!("{} ({})", it.process.pid, it.process.name))))
}

/// A complaint about processes of which something holds.
#[inline(never)]
pub(super) fn complain(
    members: &[Member<'_>],
    what: &str,
    holds: &dyn Fn(&Member<'_>) -> bool,
) -> Option<String> {
    those(members, holds).map(|who| format!("{what}: pid {who}"))
}

/// What is not known of any process is not known of the container.
#[inline(never)]
pub(super) fn all_seen(
    members: &[Member<'_>],
    unseen: &dyn Fn(&Member<'_>) -> Option<Unseen>,
) -> Seen<()> {
    members.iter().find_map(unseen).map_or(Ok(()), Err)
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
