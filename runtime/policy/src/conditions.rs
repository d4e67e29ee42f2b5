//! What of a container's annotations tightens what it is granted.
//!
//! Whoever writes config.json writes its annotations, and brig cannot tell who that was: so they only ever add rules, which
//! take away. Promises: no annotation chooses the profile, or gives anything.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chosen::Further;
use crate::harden::{NodePolicy, rule};
use crate::profile::Profile;
use crate::value::matches;
use crate::verdict::Verdicts;

/// The beginning of the names of annotations that are for brig.
const OWN: &str = "io.brig.";

/// An annotation by which a pod may ask brig for less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Annotation {
    /// Names a profile whose rules hold besides.
    #[serde(rename = "io.brig.profile")]
    Profile,
}

impl Annotation {
    /// Each of them.
    pub(crate) const ALL: [Self; 1] = [Self::Profile];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Profile => "io.brig.profile",
        }
    }
}

/// Rules that hold besides where an annotation has one of these values.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Its name.
    pub annotation: String,
    /// The values.
    pub values: Vec<String>,
    /// The rules.
    pub further: Further,
}

/// A condition as a policy file has it: `[tighten.NAME]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tighten {
    /// The annotation.
    pub(crate) annotation: String,
    /// Its values for which it holds.
    pub(crate) values: Vec<String>,
    /// The profile whose rules hold besides.
    pub(crate) profile: String,
}

impl NodePolicy {
    /// What holds for a container with these annotations.
    #[must_use]
    pub fn of_container(&self, annotations: &BTreeMap<String, String>) -> Cow<'_, Self> {
        let is_met = |condition: &&Condition| {
            annotations.get(&condition.annotation).is_some_and(|one| condition.values.contains(one))
        };
        let mut node = Cow::Borrowed(self);
        for condition in self.conditions.iter().filter(is_met) {
            let Further { by, rules } = condition.further.clone();
            node.to_mut().profile.add(by, rules);
        }
        node
    }
}

/// Annotations that are for brig: those that the rule does not allow are refused, and values that mean nothing.
pub(crate) fn judge(
    annotations: &BTreeMap<String, String>,
    profile: &Profile,
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, annotations);
    let allowed = profile.annotations.allow.as_deref().unwrap_or_default();
    let profiles = profile.annotations.profiles.as_deref().unwrap_or_default();
    for (name, value) in annotations.iter().filter(|(name, _)| name.starts_with(OWN)) {
        let is_known = allowed.iter().any(|one| one.name() == name);
        if !(is_known && profiles.contains(value)) {
            verdicts.refuse(rule, format!("annotations[{name:?}]"), format!("{value:?}"));
        }
    }
}

/// Where Kubernetes' engines write by which name an image was asked for: containerd's CRI plugin, for a container and for a
/// pod's first; CRI-O.
const IMAGES: [&str; 3] = [
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri.sandbox-image-name",
    "io.kubernetes.cri-o.ImageName",
];

/// Images by their names. One of which nothing is known is not on the list.
pub(crate) fn judge_image(
    annotations: &BTreeMap<String, String>,
    profile: &Profile,
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, images);
    let allowed = profile.images.allow.as_deref().unwrap_or_default();
    let mut named = IMAGES.iter().filter_map(|key| Some((key, annotations.get(*key)?))).peekable();
    if named.peek().is_none() {
        verdicts.refuse(rule, "annotations", "an image that nobody names");
    }
    for (key, name) in named.filter(|(_, name)| !allowed.iter().any(|one| matches(one, name))) {
        verdicts.refuse(rule, format!("annotations[{key:?}]"), format!("the image {name:?}"));
    }
}
