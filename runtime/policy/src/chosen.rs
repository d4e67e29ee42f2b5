//! What holds for a container by a policy: a profile, and rules besides it that only take away.

use brig_spec::Config;
use serde::{Deserialize, Serialize};

use crate::exception::Exempted;
use crate::harden::seccomp::{self, NodeFilter};
use crate::profile::{Mode, Profile};

/// The profile that is chosen for a container, with all that holds besides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChosenProfile {
    /// Its name, of a level with its version.
    pub name: String,
    /// Its rules.
    rules: Profile,
    /// Further rules, each set applied to what the ones before it have left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    further: Vec<Further>,
    /// Where a further set gives more than the profile, or gave it once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exempted>,
}

/// Rules that hold besides a profile's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Further {
    /// Where they come from: `policy.d/50-limits.toml`.
    pub by: String,
    /// The rules.
    pub rules: Profile,
}

/// One of the sets of rules that hold for a container.
#[derive(Clone, Copy, Debug)]
pub struct RuleSet<'p> {
    /// Where it comes from; the profile has none.
    pub by: Option<&'p str>,
    /// The rules.
    pub rules: &'p Profile,
}

impl ChosenProfile {
    /// A profile, with nothing besides.
    #[must_use]
    pub fn new(name: impl Into<String>, rules: Profile) -> Self {
        Self { name: name.into(), rules, further: Vec::new(), exceptions: Vec::new() }
    }

    /// The one that changes nothing.
    #[must_use]
    pub fn oci() -> Self {
        Self::new(crate::level::OCI, Profile::default())
    }

    /// The profile's own rules; for documents. What holds is [`ChosenProfile::sets`].
    #[must_use]
    pub fn rules(&self) -> &Profile {
        &self.rules
    }

    /// Whether no rule has anything to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sets().all(|set| set.rules.modes().iter().all(|(_, mode)| *mode == Mode::Off))
    }

    /// Every set of rules that holds, the profile's first. Who gives effect to a rule looks at all of them.
    pub fn sets(&self) -> impl Iterator<Item = RuleSet<'_>> + Clone {
        let own = RuleSet { by: None, rules: &self.rules };
        let further = self.further.iter();
        std::iter::once(own)
            .chain(further.map(|one| RuleSet { by: Some(&one.by), rules: &one.rules }))
    }

    /// Whether a rule has something to say in one of the sets: `|rules| rules.memory.mode`.
    pub fn has(&self, mode: impl Fn(&Profile) -> Option<Mode>) -> bool {
        self.sets().any(|set| mode(set.rules).unwrap_or_default() != Mode::Off)
    }

    /// The filters that its rules put beside the own one of a container, each once.
    #[must_use]
    pub fn filters(&self, spec: &Config) -> Vec<NodeFilter> {
        let mut filters = Vec::new();
        for filter in self.sets().flat_map(|set| seccomp::of_set(set.rules, spec)).flatten() {
            if !filters.contains(&filter) {
                filters.push(filter);
            }
        }
        filters
    }

    /// Leaves out the rule about sources of bind mounts, for who has no bundle of somebody else's.
    #[must_use]
    pub fn without_bind_sources(mut self) -> Self {
        let further = self.further.iter_mut().map(|one| &mut one.rules);
        for rules in further.chain([&mut self.rules]) {
            rules.bind_sources.mode = Some(Mode::Off);
        }
        self
    }

    /// Adds rules that hold besides those that are there. Where they have nothing to say none are added.
    pub(crate) fn add(&mut self, by: String, rules: Profile) {
        if rules.modes().iter().any(|(_, mode)| *mode != Mode::Off) {
            self.further.push(Further { by, rules });
        }
    }

    /// Lets rules hold in the place of the profile's own of the same names.
    pub(crate) fn replace(&mut self, rules: Profile) {
        self.rules = rules.over(std::mem::take(&mut self.rules));
    }
}
