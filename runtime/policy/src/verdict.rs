//! What the node has decided about one thing that was asked for.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::chosen::{ChosenProfile, RuleSet};
use crate::exception::Exempted;
use crate::profile::{Mode, Profile};

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
    /// Other rules hold in the place of the profile's, by an exception of the policy file.
    Excepted,
    /// The exception has expired, and the profile's rules hold.
    Expired,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Audited => "audited",
            Self::Limited => "limited",
            Self::Refused => "refused",
            Self::Excepted => "excepted",
            Self::Expired => "no longer excepted",
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
    /// Where the rule comes from, if not from the profile: `policy.d/50-limits.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What of a pod the field comes from, where the container is a pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, outcome, field, asked, allowed, by, pod } = self;
        let word = match outcome {
            Outcome::Excepted | Outcome::Expired => "from",
            _ => "by",
        };
        f.write_str(field)?;
        if let Some(pod) = pod {
            write!(f, " (in the pod: {pod})")?;
        }
        write!(f, ": {asked} is {outcome} {word} the rule {rule}")?;
        if let Some(by) = by {
            write!(f, " of {by}")?;
        }
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

/// The decisions about one container, in the order of the sets of rules, and in each of the rules.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    pub(crate) all: Vec<Verdict>,
    /// Where the rules come from that decide next.
    by: Option<String>,
}

/// A rule that judges: its name, and its mode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule(pub(crate) &'static str, pub(crate) Mode);

impl Verdicts {
    /// What the sets of rules of a profile decide, one after the other.
    pub(crate) fn of(
        profile: &ChosenProfile,
        decide: impl FnMut(usize, &Profile, &mut Self),
    ) -> Self {
        let mut verdicts = Self::default();
        verdicts.add_by(profile, decide);
        verdicts
    }

    /// Adds what the sets decide in a further round.
    pub(crate) fn add_by(
        &mut self,
        profile: &ChosenProfile,
        mut decide: impl FnMut(usize, &Profile, &mut Self),
    ) {
        for (index, RuleSet { by, rules }) in profile.sets().enumerate() {
            self.by = by.map(str::to_owned);
            decide(index, rules, self);
        }
        self.by = None;
    }

    /// Whether a rule has limited a field, of whichever set it is.
    pub(crate) fn has_limited(&self, rule: Rule, field: &str) -> bool {
        let is_limited = |one: &Verdict| one.outcome == Outcome::Limited && one.field == field;
        self.all.iter().any(|one| one.rule == rule.0 && is_limited(one))
    }

    /// What is told of the exceptions of a profile, before all else.
    pub(crate) fn tell(&mut self, exceptions: &[Exempted]) {
        let told =
            exceptions.iter().flat_map(|Exempted { name, reason, expires, by, rules, holds }| {
                rules.iter().map(move |rule| Verdict {
                    rule: rule.clone(),
                    outcome: if *holds { Outcome::Excepted } else { Outcome::Expired },
                    field: format!("exception.{name}"),
                    asked: format!("{by} (until {expires}: {reason})"),
                    allowed: None,
                    by: None,
                    pod: None,
                })
            });
        self.all.splice(..0, told);
    }

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

    /// A rule does less than it could, as the node wants it.
    pub(crate) fn tell_of(&mut self, rule: Rule, field: &str, what: String) {
        self.add(rule, Outcome::Audited, field.to_owned(), what, None);
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
        let (rule, by) = (rule.0.to_owned(), self.by.clone());
        self.all.push(Verdict { rule, outcome, field, asked, allowed, by, pod: None });
    }
}
