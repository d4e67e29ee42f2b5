//! A container that the node does not make.

use std::fmt;

use crate::verdict::{Outcome, Verdict, Verdicts};

/// Why what is asked for is not granted: all that the profile refuses of it, not only the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The profile.
    pub profile: String,
    /// What it refuses; at least one.
    pub refused: Vec<Verdict>,
}

impl Denial {
    /// The decisions where nothing is refused.
    pub(crate) fn or(profile: &str, verdicts: Verdicts) -> Result<Vec<Verdict>, Self> {
        let is_refused = |verdict: &Verdict| verdict.outcome == Outcome::Refused;
        if !verdicts.all.iter().any(is_refused) {
            return Ok(verdicts.all);
        }
        let refused = verdicts.all.into_iter().filter(is_refused).collect();
        Err(Self { profile: profile.to_owned(), refused })
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        "ask for less in the fields that are named, or have the node's administrator choose another profile or rule in \
         the policy file"
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the node's profile {:?} denies the request", self.profile)?;
        for (at, verdict) in self.refused.iter().enumerate() {
            write!(f, "{} {verdict}", if at == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Denial {}
