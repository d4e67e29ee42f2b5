//! The rule that gives a container ids of its own.
//!
//! One without a user namespace gets one, with a range of ids that nobody else on the node has. One that has a user namespace
//! is judged by what its ids are on the host.

use brig_spec::{Config, IdMapping, Linux, Namespace, NamespaceType, Process, sysctl};

use super::{Facts, is_on, rule};
use crate::chosen::ChosenProfile;
use crate::ids::RANGE_IDS;
use crate::profile::{Mode, Profile};
use crate::value::MappedRoot;
use crate::verdict::{Rule, Verdicts};

/// Which ids a container may have that brings none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Remap {
    /// Nothing is claimed for it: it is to be judged, not to be made.
    #[default]
    Unclaimed,
    /// A range of the node's pool, from this id on.
    Range(u32),
    /// The range of a pod, whose user namespace is at this path.
    Pod {
        /// The first id.
        first: u32,
        /// The user namespace.
        path: String,
    },
    /// Brig is not root of the machine: the kernel lets it map no ids but its caller's, and what these are on the host it
    /// cannot tell.
    Unprivileged,
    /// This machine cannot give this container's files other owners, for this reason.
    Impossible(String),
}

/// Whether a range has to be claimed for a container that is to be made.
#[must_use]
pub fn wants_range(config: &Config, profile: &ChosenProfile, facts: &Facts) -> bool {
    profile.sets().any(|set| rule!(set.rules, remapping).1 >= Mode::Enforce)
        && facts.remap == Remap::Unclaimed
        && config.linux.namespace(NamespaceType::User).is_none()
}

pub(super) fn judge(
    config: &mut Config,
    profile: &Profile,
    facts: &Facts,
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, remapping);
    if !is_on(rule) {
        return;
    }
    match config.linux.namespace(NamespaceType::User) {
        // What an earlier set of rules has given.
        Some(_) if is_given(verdicts) => {}
        Some(_) => own(&config.linux, rule, facts, verdicts),
        None => remap(config, rule, facts, verdicts),
    }
}

/// The field of maps, what its ids are, and a map.
fn maps(linux: &Linux) -> [(&'static str, &'static str, &[IdMapping]); 2] {
    [
        ("linux.uidMappings", "user", &linux.uid_mappings),
        ("linux.gidMappings", "group", &linux.gid_mappings),
    ]
}

/// Ids below are the host's own: users, services, those of systemd (systemd's UIDS-GIDS.md).
const HOSTS: u32 = 65_536;

/// A user namespace that is asked for: nobody in it may be root of the host, or who a container of the pool is.
fn own(linux: &Linux, rule: Rule, facts: &Facts, verdicts: &mut Verdicts) {
    if facts.remap == Remap::Unprivileged {
        return;
    }
    let given = match facts.remap {
        Remap::Range(first) | Remap::Pod { first, .. } => Some(first),
        Remap::Unclaimed | Remap::Unprivileged | Remap::Impossible(_) => None,
    };
    for (field, kind, map) in maps(linux) {
        if map.is_empty() {
            verdicts.refuse(rule, field, "a user namespace of which no map is known");
        }
        let is_given = given.is_some_and(|first| map == [range(first)]);
        for (index, line) in map.iter().enumerate().filter(|_| !is_given) {
            let asked = match line.outside {
                0 => format!("a map to {kind} 0 of the host"),
                first if facts.pool.overlaps(first, line.count) => {
                    format!("a map to {kind} {first} of the host, which is of the node's pool")
                }
                first @ ..HOSTS => {
                    format!("a map to {kind} {first} of the host, which is one of its own")
                }
                _ => continue,
            };
            verdicts.refuse(rule, format!("{field}[{index}]"), asked);
        }
    }
}

/// The map to a range.
fn range(first: u32) -> IdMapping {
    IdMapping { inside: 0, outside: first, count: RANGE_IDS }
}

/// Where a verdict says that a container gets ids.
const FIELD: &str = "linux.namespaces";

/// Whether a set of rules has given the container ids.
fn is_given(verdicts: &Verdicts) -> bool {
    verdicts.has_limited(Rule("remapping", Mode::Enforce), FIELD)
}

fn remap(config: &mut Config, rule: Rule, facts: &Facts, verdicts: &mut Verdicts) {
    const ASKED: &str = "the ids of the host";
    let (first, path) = match &facts.remap {
        Remap::Unclaimed => (facts.pool.ranges().start * RANGE_IDS, None),
        Remap::Range(first) => (*first, None),
        Remap::Pod { first, path } => (*first, Some(path.clone())),
        // It has none of the host's ids that matter, and shares those that it has with what else its caller runs.
        Remap::Unprivileged if facts.caller.is_remapped() => return,
        Remap::Unprivileged => {
            return verdicts.miss(rule, FIELD, ASKED, "brig is not root of the machine");
        }
        Remap::Impossible(why) => return verdicts.miss(rule, FIELD, ASKED, why),
    };
    unmapped(&config.process, rule, verdicts);
    let allowed = match &facts.remap {
        Remap::Unclaimed => format!("{RANGE_IDS} of the node's pool, of its own"),
        Remap::Pod { .. } => format!("{RANGE_IDS} from {first} on, of its pod"),
        _ => format!("{RANGE_IDS} from {first} on, of its own"),
    };
    // What can be had is given, also where it must be: then what is refused is to go without.
    let rule = Rule(rule.0, rule.1.min(Mode::Enforce));
    if verdicts.limit(rule, FIELD, ASKED, allowed) {
        let linux = &mut config.linux;
        linux.namespaces.push(Namespace { kind: NamespaceType::User, path });
        linux.uid_mappings = vec![range(first)];
        linux.gid_mappings = vec![range(first)];
        ping_groups(&mut config.linux, rule, verdicts);
    }
}

/// Docker lets all groups of the host send echo requests in a container's own network; there are no others in it than these,
/// and the kernel takes no group that is not mapped.
fn ping_groups(linux: &mut Linux, rule: Rule, verdicts: &mut Verdicts) {
    let is_own = |namespace: &Namespace| namespace.path.is_none();
    if !linux.namespace(NamespaceType::Network).is_some_and(is_own) {
        return;
    }
    for (name, value) in &mut linux.sysctl {
        let path = sysctl::parse(name).map(|parameter| parameter.path);
        let mut numbers = value.split_ascii_whitespace().map(str::parse::<u32>);
        let (Ok("net/ipv4/ping_group_range"), Some(Ok(first)), Some(Ok(RANGE_IDS..))) =
            (path.as_deref(), numbers.next(), numbers.next())
        else {
            continue;
        };
        let allowed = format!("{first} {}", RANGE_IDS - 1);
        let field = format!("linux.sysctl[{name:?}]");
        if verdicts.limit(rule, field, format!("{value:?}"), &*allowed) {
            *value = allowed;
        }
    }
}

/// CAP_NET_BIND_SERVICE (linux/capability.h).
const NET_BIND_SERVICE: u64 = 1 << 10;
const FIRST_PORT: &str = "net.ipv4.ip_unprivileged_port_start";

/// A network namespace that is joined is of another user namespace, in which the container has no capabilities any more. Who
/// may have the one for ports below 1024 gets these all the same. Only where the namespace cannot be the host's, and by a
/// parameter that it could ask for; by every set of rules, and after they have taken away what they do not allow.
pub(super) fn keep_ports(config: &mut Config, profile: &ChosenProfile, verdicts: &Verdicts) {
    let joins = |namespace: &Namespace| {
        namespace.kind == NamespaceType::Network && namespace.path.is_some()
    };
    let is_private = |rules: &Profile| {
        let rule = &rules.namespaces;
        rule.mode >= Some(Mode::Enforce)
            && rule.private.iter().flatten().any(|kind| *kind == NamespaceType::Network)
    };
    let is_allowed = |Profile { capabilities, sysctls, .. }: &Profile| {
        let may_bind = is_off(capabilities.mode)
            || capabilities.allow.is_none_or(|allow| allow.0 & NET_BIND_SERVICE != 0);
        let may_set =
            is_off(sysctls.mode) || sysctls.allow.iter().flatten().any(|name| name == FIRST_PORT);
        may_bind && may_set
    };
    let mut sets = profile.sets().map(|set| set.rules);
    let may = sets.clone().any(is_private) && sets.all(is_allowed);
    let has = config.process.capabilities.sets.bounding & NET_BIND_SERVICE != 0;
    if has && may && is_given(verdicts) && config.linux.namespaces.iter().any(joins) {
        config.linux.sysctl.entry(FIRST_PORT.to_owned()).or_insert_with(|| "0".to_owned());
    }
}

fn is_off(mode: Option<Mode>) -> bool {
    mode.unwrap_or_default() < Mode::Enforce
}

/// The root of a container that has been given ids, if it is an overlay.
pub(super) fn judge_root(
    config: &mut Config,
    profile: &Profile,
    facts: &Facts,
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, remapping);
    let can_be_given = !matches!(facts.remap, Remap::Unprivileged | Remap::Impossible(_));
    let is_told = can_be_given && verdicts.all.iter().any(|verdict| verdict.rule == rule.0);
    if !is_told || !facts.overlay_root || config.root.readonly {
        return;
    }
    let rule = Rule(rule.0, rule.1.min(Mode::Enforce));
    const FIELD: &str = "root.readonly";
    let is_ephemeral = profile.remapping.root == Some(MappedRoot::Ephemeral);
    if is_ephemeral && verdicts.has_limited(rule, FIELD) {
        return;
    }
    let allowed = match profile.remapping.root {
        Some(MappedRoot::Ephemeral) => "what is written is gone with the container",
        Some(MappedRoot::ReadOnly) | None => "true",
    };
    if verdicts.limit(rule, FIELD, "false, of an overlay,", allowed) {
        config.root.readonly = !is_ephemeral;
    }
}

/// Ids of the process that no range has.
fn unmapped(process: &Process, rule: Rule, verdicts: &mut Verdicts) {
    let user = &process.user;
    let more = user.additional_gids.iter().enumerate();
    let more = more.map(|(index, id)| (format!("additionalGids[{index}]"), *id));
    let ids = [("uid".to_owned(), user.uid), ("gid".to_owned(), user.gid)].into_iter().chain(more);
    for (name, id) in ids.filter(|(_, id)| *id >= RANGE_IDS) {
        verdicts.refuse(rule, format!("process.user.{name}"), format!("id {id} of {RANGE_IDS}"));
    }
}

/// A user namespace that is joined, by the maps of a process in it: it may have more than those of the configuration.
pub(super) fn joined_maps(found: [&[IdMapping]; 2], profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, remapping);
    for (kind, map) in ["user", "group"].into_iter().zip(found) {
        if map.iter().any(|line| line.outside == 0) {
            let asked = format!("a user namespace that has {kind} 0 of the host");
            verdicts.refuse(rule, "linux.namespaces", asked);
        }
    }
}
