//! The rule about bandwidth: what is sent and received in a network namespace of the container's own, or a pod's.

use brig_spec::{Linux, NamespaceType, Process};

use super::rule;
use crate::chosen::ChosenProfile;
use crate::profile::{Mode, Profile};
use crate::value::Megabits;
use crate::verdict::Verdicts;

/// CAP_NET_ADMIN and CAP_NET_RAW (linux/capability.h): the latter for sockets of packet(7), which may go round the queue
/// (`PACKET_QDISC_BYPASS`).
const BEYOND: [(u64, &str); 2] = [(1 << 12, "CAP_NET_ADMIN"), (1 << 13, "CAP_NET_RAW")];

/// How much a container may send and receive, in bytes a second; `None` is without a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// What it sends.
    pub egress: Option<u64>,
    /// What it receives.
    pub ingress: Option<u64>,
}

/// The limits of a profile: the least of each direction of all its sets of rules. `None` where there is none.
#[must_use]
pub fn bandwidth(profile: &ChosenProfile) -> Option<Bandwidth> {
    let sets = profile.sets().map(|set| &set.rules.bandwidth);
    let enforced = sets.filter(|rule| rule.mode.unwrap_or_default() >= Mode::Enforce);
    let least = |one: Option<u64>, other: Option<Megabits>| {
        one.into_iter().chain(other.and_then(Megabits::bytes_a_second)).min()
    };
    let limits = enforced.fold(Bandwidth::default(), |limits, rule| Bandwidth {
        egress: least(limits.egress, rule.egress_mbit),
        ingress: least(limits.ingress, rule.ingress_mbit),
    });
    (limits != Bandwidth::default()).then_some(limits)
}

pub(super) fn judge(process: &Process, linux: &Linux, profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, bandwidth);
    let is_limited = |limit: Option<Megabits>| limit.and_then(Megabits::bytes_a_second).is_some();
    let egress = is_limited(profile.bandwidth.egress_mbit);
    if !egress && !is_limited(profile.bandwidth.ingress_mbit) {
        return;
    }
    if linux.namespace(NamespaceType::Network).is_none() {
        verdicts.refuse(rule, "linux.namespaces", "the host's network, which cannot be limited,");
    }
    for (bit, name) in BEYOND {
        if egress && process.capabilities.sets.bounding & bit != 0 {
            let asked = format!("{name}, which gets round the limit on what is sent,");
            verdicts.refuse(rule, "process.capabilities.bounding", asked);
        }
    }
}
