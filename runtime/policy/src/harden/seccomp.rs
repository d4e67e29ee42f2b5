//! Rules about system calls. The node's filters are loaded beside the container's own, so what they take away is only said
//! where it has none.

use brig_spec::{Config, NamespaceType};

use super::{is_on, rule};
use crate::profile::{Mode, Profile};
use crate::value::FilterName;
use crate::verdict::{Rule, Verdicts};

/// In a user namespace: nobody makes another one below it (namespaces(7)).
pub(super) const NO_USER_NAMESPACES: (&str, &str) = ("user.max_user_namespaces", "0");
/// The mitigation that does so where the container has no user namespace of its own.
const USER_NAMESPACES: &str = "user-namespaces";

/// A filter of the node's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeFilter {
    /// One that comes with brig.
    Builtin {
        /// Which.
        name: FilterName,
        /// Mitigations, by name, that it is to do without.
        without: Vec<&'static str>,
    },
    /// One that refuses what these mitigations are about, and nothing else.
    Refusing(Vec<&'static str>),
}

/// What one set of rules comes to.
pub(crate) fn of_set(rules: &Profile, spec: &Config) -> [Option<NodeFilter>; 2] {
    let (name, without, mut refused) = switched(rules);
    let nested = rule!(rules, nested_user_namespaces).1 >= Mode::Enforce;
    if nested && !closes_user_namespaces(rules) && !has_own_user_namespace(spec) {
        refused.push(USER_NAMESPACES);
    }
    [
        name.map(|name| NodeFilter::Builtin { name, without }),
        (!refused.is_empty()).then_some(NodeFilter::Refusing(refused)),
    ]
}

type Names = Vec<&'static str>;

/// The filter that is asked for, and the mitigations that are switched off and on.
fn switched(rules: &Profile) -> (Option<FilterName>, Names, Names) {
    let is_enforced = |rule: Rule| rule.1 >= Mode::Enforce;
    let name = rules.seccomp.profile.filter(|_| is_enforced(rule!(rules, seccomp)));
    if !is_enforced(rule!(rules, mitigations)) {
        return (name, Vec::new(), Vec::new());
    }
    let off = rules.mitigations.off.iter().flatten().map(|one| one.name.0);
    let on = rules.mitigations.on.iter().flatten().map(|one| one.0);
    (name, off.collect(), on.collect())
}

/// Every filter of brig's but one does; one that opens another way may open this one.
fn closes_user_namespaces(rules: &Profile) -> bool {
    let (name, without, refused) = switched(rules);
    name.is_some_and(|name| name != FilterName::Nested) && without.is_empty()
        || refused.contains(&USER_NAMESPACES)
}

/// One that is joined may be others' as well, who have no such rule.
fn has_own_user_namespace(spec: &Config) -> bool {
    spec.linux.namespace(NamespaceType::User).is_some_and(|own| own.path.is_none())
}

pub(super) fn judge(config: &Config, profile: &Profile, verdicts: &mut Verdicts) {
    let has_none = config.seccomp.is_none();
    if let Some(name) = profile.seccomp.profile.filter(|_| has_none) {
        let allowed = format!("the filter {}", name.name());
        verdicts.limit(rule!(profile, seccomp), "linux.seccomp", "no filter", allowed);
    }
    let rule = rule!(profile, mitigations);
    for one in profile.mitigations.on.iter().flatten().filter(|_| has_none) {
        let allowed = format!("none of the calls of {}", one.0);
        verdicts.limit(rule, "linux.seccomp", "no filter", allowed);
    }
    if is_on(rule) && rule!(profile, seccomp).1 >= Mode::Enforce {
        for off in profile.mitigations.off.iter().flatten() {
            let what = format!("{}, switched off ({}),", off.name.0, off.reason);
            verdicts.tell_of(rule, "linux.seccomp", what);
        }
    }
}

/// After all that judges parameters, as nobody asked for the one that this sets: where no filter of the set does it already, for
/// which a start would pay with a procfs.
pub(super) fn nested(config: &mut Config, profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, nested_user_namespaces);
    if !is_on(rule) || closes_user_namespaces(profile) {
        return;
    }
    let (name, value) = NO_USER_NAMESPACES;
    if has_own_user_namespace(config) {
        let is_done = config.linux.sysctl.get(name).is_some_and(|asked| asked == value);
        if !is_done && verdicts.limit(rule, "linux.sysctl", format!("no {name}"), value) {
            config.linux.sysctl.insert(name.to_owned(), value.to_owned());
        }
    } else if config.seccomp.is_none() {
        verdicts.limit(rule, "linux.seccomp", "new user namespaces", "none");
    }
}
