//! What the node has decided about one thing that was asked for.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::profile::{ChosenProfile, Mode};

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds as it was asked for; the rule only watches.
    Audited,
    /// Less of it holds than was asked for.
    Limited,
    /// The container is not made.
    Refused,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Audited => "audited",
            Self::Limited => "limited",
            Self::Refused => "refused",
        })
    }
}

/// A decision: one for each thing that a rule does not allow as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The rule.
    pub rule: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The field of config.json.
    pub field: String,
    /// What it asks for, in words.
    pub asked: String,
    /// What the rule allows in its place, in words; none where nothing can take its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, outcome, field, asked, allowed } = self;
        write!(f, "{field}: {asked} is {outcome} by the rule {rule}")?;
        match allowed {
            Some(allowed) => write!(f, ", which allows {allowed}"),
            None => Ok(()),
        }
    }
}

/// By which profile a container was made, and what that has decided: what later commands judge by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// The profile, as it was then.
    pub profile: ChosenProfile,
    /// What it did not grant as it was asked for.
    pub verdicts: Vec<Verdict>,
}

/// The decisions about one container, in the order of the rules.
#[derive(Debug, Default)]
pub(crate) struct Verdicts(pub(crate) Vec<Verdict>);

/// A rule that judges: its name, and its mode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule(pub(crate) &'static str, pub(crate) Mode);

impl Verdicts {
    /// A rule allows less of a field than `asked`. Whether `allowed` is to take its place.
    pub(crate) fn limit(
        &mut self,
        rule: Rule,
        field: impl Into<String>,
        asked: impl Into<String>,
        allowed: impl Into<String>,
    ) -> bool {
        let outcome = match rule.1 {
            Mode::Off => return false,
            Mode::Audit => Outcome::Audited,
            Mode::Enforce => Outcome::Limited,
            Mode::Refuse => Outcome::Refused,
        };
        self.add(rule, outcome, field.into(), asked.into(), Some(allowed.into()));
        outcome == Outcome::Limited
    }

    /// A rule does not allow what a field asks for, and nothing less would be of use: to enforce it is to refuse.
    pub(crate) fn refuse(
        &mut self,
        rule: Rule,
        field: impl Into<String>,
        asked: impl Into<String>,
    ) {
        let outcome = match rule.1 {
            Mode::Off => return,
            Mode::Audit => Outcome::Audited,
            Mode::Enforce | Mode::Refuse => Outcome::Refused,
        };
        self.add(rule, outcome, field.into(), asked.into(), None);
    }

    /// A rule asks for more than the kernel can do: refused where it has to be exactly so, or where nothing else does it.
    pub(crate) fn lack(
        &mut self,
        rule: Rule,
        field: impl Into<String>,
        asked: impl Into<String>,
        is_held_otherwise: bool,
    ) {
        let outcome = match rule.1 {
            Mode::Off => return,
            Mode::Enforce if !is_held_otherwise => Outcome::Refused,
            Mode::Audit | Mode::Enforce => Outcome::Audited,
            Mode::Refuse => Outcome::Refused,
        };
        self.add(rule, outcome, field.into(), asked.into(), None);
    }

    /// A rule gives what this machine, or this container, cannot have: recorded, and refused only where it must be.
    pub(crate) fn miss(
        &mut self,
        rule: Rule,
        field: impl Into<String>,
        asked: impl Into<String>,
        why: &str,
    ) {
        let outcome = match rule.1 {
            Mode::Off => return,
            Mode::Audit | Mode::Enforce => Outcome::Audited,
            Mode::Refuse => Outcome::Refused,
        };
        let allowed = format!("others, which cannot be had: {why}");
        self.add(rule, outcome, field.into(), asked.into(), Some(allowed));
    }

    fn add(
        &mut self,
        rule: Rule,
        outcome: Outcome,
        field: String,
        asked: String,
        allowed: Option<String>,
    ) {
        let rule = rule.0.to_owned();
        self.0.push(Verdict { rule, outcome, field, asked, allowed });
    }
}
