//! A drop-in: rules of a file of their own, which hold besides a profile's.
//!
//!     version = 1
//!     profiles = ["web"]
//!
//!     [rules]
//!     memory = { mode = "enforce", max = "512MiB" }
//!
//! Promises: a drop-in takes away from what its profiles grant; only an exception of the policy file lets a rule of it
//! decide in the place of the profile's.

use serde::Deserialize;

use crate::chosen::ChosenProfile;
use crate::exception::{Date, Exception, Exempted};
use crate::profile::Profile;

/// A drop-in that has been read, with what it extends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DropIn {
    /// The name of its file.
    pub(crate) name: String,
    /// The profiles for which it holds, and for those that extend them; none is all.
    pub(crate) profiles: Option<Vec<String>>,
    pub(crate) rules: Profile,
}

/// Its text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    #[serde(rename = "version")]
    _version: u32,
    #[serde(default)]
    pub(crate) profiles: Option<Vec<String>>,
    pub(crate) rules: Profile,
}

/// Where drop-ins are, beside the policy file.
pub(crate) const DIRECTORY: &str = "policy.d";

impl DropIn {
    /// Lets it hold for a profile; `exceptions` are those of the policy file that are for the profile.
    pub(crate) fn apply<'e>(
        &self,
        chosen: &mut ChosenProfile,
        exceptions: impl Iterator<Item = (&'e String, &'e Exception)>,
        today: Option<Date>,
    ) {
        let by = format!("{DIRECTORY}/{}", self.name);
        let mut excepted: Vec<&String> = Vec::new();
        for (name, exception) in exceptions.filter(|(_, one)| one.drop_in == self.name) {
            let holds = exception.holds(today);
            if holds {
                excepted.extend(&exception.rules);
            }
            chosen.exceptions.push(Exempted {
                name: name.clone(),
                reason: exception.reason.clone(),
                expires: exception.expires,
                by: by.clone(),
                rules: exception.rules.clone(),
                holds,
            });
        }
        let is_excepted = |rule: &str| excepted.iter().any(|one| *one == rule);
        chosen.replace(self.rules.part(is_excepted));
        chosen.add(by, self.rules.part(|rule| !is_excepted(rule)));
    }
}
