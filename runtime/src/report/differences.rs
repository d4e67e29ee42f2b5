//! Processes of a container that are less confined than its first one: what came in later, by another way.

use super::lines::{Lines, Verdict, all_seen, complain, those};
use super::machine::{Whose, cgroup_of};
use super::process::{NAMESPACES, Rights, USER};
use super::snapshot::{Member, Snapshot};

const FIRST: &str = "first process";

pub(super) fn check(snapshot: &Snapshot<'_>, lines: &mut Lines) {
    let (Some(first), Some(others)) = (snapshot.members.first(), snapshot.members.get(1..)) else {
        return;
    };
    if others.is_empty() {
        return;
    }
    let rights = first.process.rights;
    let mut must = |item: &str, what: &str, holds: &dyn Fn(&Member<'_>) -> bool| {
        lines.must(item, FIRST, Ok(complain(others, what, holds)));
    };
    must("capabilities", "more than the first process may have", &|other| {
        !is_of_a_user_namespace_inside(other, first) && exceeds(&other.process.rights, &rights)
    });
    must("no_new_privs", "missing", &|other| {
        rights.no_new_privs && !other.process.rights.no_new_privs
    });
    must("seccomp", "fewer filters", &|other| {
        let other = other.process.rights;
        other.seccomp < rights.seccomp || other.filters < rights.filters
    });
    must("users", "root of the host", &|other| {
        other.process.rights.uids.contains(&0) && !rights.uids.contains(&0)
    });
    must("cgroup", "outside of it", &|other| !is_below(other, first));
    for (place, (name, _)) in NAMESPACES.iter().enumerate() {
        if first.whose[place] != Whose::Own {
            continue;
        }
        if let Some(who) = those(others, &|other| other.whose[place] == Whose::Hosts) {
            lines.check(
                "namespaces",
                FIRST,
                Verdict::Drifted,
                &format!("{name} of the host: pid {who}"),
            );
        }
    }
    let labels =
        || all_seen(&snapshot.members, &|member| member.details.label.as_ref().err().copied());
    lines.must(
        "label",
        FIRST,
        labels().map(|()| {
            complain(others, "another label", &|other| other.details.label != first.details.label)
        }),
    );
    let scores = || {
        all_seen(&snapshot.members, &|member| member.details.oom_score_adj.as_ref().err().copied())
    };
    lines.must(
        "oom_score_adj",
        FIRST,
        scores().map(|()| {
            let least = first.details.oom_score_adj.unwrap_or_default();
            complain(others, "less", &|other| {
                other.details.oom_score_adj.is_ok_and(|score| score < least)
            })
        }),
    );
}

/// Whether a process is in a user namespace of its own: what it may there, it may over that alone (user_namespaces(7)).
pub(super) fn is_of_a_user_namespace_inside(other: &Member<'_>, first: &Member<'_>) -> bool {
    let namespace = |member: &Member<'_>| member.process.namespaces[USER];
    other.whose[USER] == Whose::Own
        && namespace(other).is_ok()
        && namespace(other) != namespace(first)
}

/// Whether a process has, or can gain, a capability that another one cannot.
fn exceeds(other: &Rights, first: &Rights) -> bool {
    let (other, first) = (&other.capabilities, &first.capabilities);
    let within = first.bounding | first.permitted;
    (other.effective | other.permitted | other.bounding | other.ambient) & !within != 0
        || other.inheritable & !(within | first.inheritable) != 0
}

/// Whether a process is in the cgroup of another, or below; where that tells nothing, it is.
pub(super) fn is_below(other: &Member<'_>, first: &Member<'_>) -> bool {
    let (Some(above), other) = (cgroup_of(first.process), cgroup_of(other.process)) else {
        return true;
    };
    let rest = other.and_then(|other| other.strip_prefix(above));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
