//! Rules about a process: the first one, and those of `exec`.

use brig_spec::capability::{self, Sets};
use brig_spec::{
    Config, IdMapping, IoPriority, IoPriorityClass, Linux, NamespaceType, Process, Rlimit,
    RlimitType, Scheduler, SchedulerPolicy,
};

use super::{CallerFacts, bandwidth, is_on, rule, securebits};
use crate::profile::{Mode, Profile};
use crate::verdict::Verdicts;

pub(super) fn judge(
    process: &mut Process,
    linux: &Linux,
    profile: &Profile,
    caller: &CallerFacts,
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, no_new_privileges);
    if !process.no_new_privileges
        && verdicts.limit(rule, "process.noNewPrivileges", "false", "true")
    {
        process.no_new_privileges = true;
    }
    let maps = on_host(linux, caller);
    let beyond = beyond_users(maps.as_ref(), profile);
    capabilities(&mut process.capabilities.sets, beyond, profile, verdicts);
    ambient(process, profile, verdicts);
    securebits::judge(process, profile, verdicts);
    bandwidth::judge(process, linux, profile, verdicts);
    users(process, maps.as_ref(), profile, verdicts);
    rlimits(&mut process.rlimits, profile, caller, verdicts);
    let rule = rule!(profile, oom_score);
    let score = process.oom_score_adj.or(caller.oom_score);
    if let (Some(score), Some(min)) = (score, profile.oom_score.min)
        && score < min
        && verdicts.limit(rule, "process.oomScoreAdj", score.to_string(), min.to_string())
    {
        process.oom_score_adj = Some(min);
    }
    scheduling(process, profile, caller, verdicts);
}

/// CAP_SETGID and CAP_SETUID (linux/capability.h).
const SET_IDS: [u64; 2] = [1 << 6, 1 << 7];

/// The capabilities by which a process that the rule about users lets be becomes one that it does not: without a user
/// namespace, and in one that maps such a user.
fn beyond_users(maps: Option<&Maps>, profile: &Profile) -> u64 {
    let rule = rule!(profile, users);
    let of = |capability, map: Option<&Vec<IdMapping>>, least: Option<u32>| {
        let least = least.unwrap_or_default();
        let reaches = map.is_none_or(|map| map.iter().any(|line| line.outside < least));
        if least > 0 && reaches && rule.1 >= Mode::Enforce { capability } else { 0 }
    };
    let [groups, users] = SET_IDS;
    of(groups, maps.map(|[_, groups]| groups), profile.users.min_gid)
        | of(users, maps.map(|[users, _]| users), profile.users.min_uid)
}

fn capabilities(sets: &mut Sets, beyond: u64, profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, capabilities);
    if !is_on(rule) {
        return;
    }
    let allowed = profile.capabilities.allow.unwrap_or_default().0 & !beyond;
    for (name, set) in [
        ("bounding", &mut sets.bounding),
        ("effective", &mut sets.effective),
        ("permitted", &mut sets.permitted),
        ("inheritable", &mut sets.inheritable),
        ("ambient", &mut sets.ambient),
    ] {
        let excess = capability::names(*set & !allowed);
        if !excess.is_empty() {
            let rest = capability::names(*set & allowed);
            let rest = if rest.is_empty() { "none".to_owned() } else { rest.join(", ") };
            let field = format!("process.capabilities.{name}");
            if verdicts.limit(rule, field, excess.join(", "), rest) {
                *set &= allowed;
            }
        }
    }
}

/// What is ambient is all that execve(2) leaves to a user other than root whose program has none of its own.
fn ambient(process: &mut Process, profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, ambient_capabilities);
    let allowed = profile.ambient_capabilities.allow.unwrap_or_default().0;
    let ambient = &mut process.capabilities.sets.ambient;
    let excess = capability::names(*ambient & !allowed);
    if process.user.uid == 0 || excess.is_empty() {
        return;
    }
    let rest = capability::names(*ambient & allowed);
    let rest = if rest.is_empty() { "none".to_owned() } else { rest.join(", ") };
    if verdicts.limit(rule, "process.capabilities.ambient", excess.join(", "), rest) {
        *ambient &= allowed;
    }
}

/// Decided by the numbers, which are what counts after all that an engine has looked up, and as the host sees them: a
/// user namespace may map root to root.
fn users(process: &Process, maps: Option<&Maps>, profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, users);
    let user = &process.user;
    let (users, groups) = (maps.map(|[users, _]| users), maps.map(|[_, groups]| groups));
    let mut judge = |field: String, kind: &str, id, map: Option<&Vec<_>>, least: Option<u32>| {
        let outside = map.map_or(Some(id), |map| IdMapping::outside_of(map, id));
        match outside {
            Some(outside) if outside >= least.unwrap_or_default() => {}
            Some(outside) => verdicts.refuse(rule, field, format!("{kind} {outside} of the host")),
            None => verdicts.refuse(rule, field, format!("{kind} {id} (not mapped)")),
        }
    };
    let field = |name: &str| format!("process.user.{name}");
    judge(field("uid"), "user", user.uid, users, profile.users.min_uid);
    let mut group = |name: &str, id| {
        judge(field(name), "group", id, groups, profile.users.min_gid);
    };
    group("gid", user.gid);
    for (index, id) in user.additional_gids.iter().enumerate() {
        group(&format!("additionalGids[{index}]"), *id);
    }
}

/// What ids, of users and of groups, are on the host.
type Maps = [Vec<IdMapping>; 2];

/// The maps of a container's ids: those of its user namespace, in which those of the caller's go on. None where its ids are
/// the host's.
fn on_host(linux: &Linux, caller: &CallerFacts) -> Option<Maps> {
    let own = [&linux.uid_mappings, &linux.gid_mappings];
    let has_own = linux.namespace(NamespaceType::User).is_some();
    match (has_own, &caller.maps) {
        (false, maps) => maps.clone(),
        (true, None) => Some(own.map(Clone::clone)),
        (true, Some([users, groups])) => Some([go_on(own[0], users), go_on(own[1], groups)]),
    }
}

/// A map whose ids outside are those inside of another one.
fn go_on(map: &[IdMapping], further: &[IdMapping]) -> Vec<IdMapping> {
    let mut lines = Vec::new();
    for (line, next) in map.iter().flat_map(|line| further.iter().map(move |next| (line, next))) {
        let first = line.outside.max(next.inside);
        let end = |first: u32, count: u32| u64::from(first) + u64::from(count);
        let end = end(line.outside, line.count).min(end(next.inside, next.count));
        let count = u32::try_from(end.saturating_sub(first.into())).unwrap_or(u32::MAX);
        let inside = line.inside.checked_add(first - line.outside);
        let outside = next.outside.checked_add(first - next.inside);
        if let (1.., Some(inside), Some(outside)) = (count, inside, outside) {
            lines.push(IdMapping { inside, outside, count });
        }
    }
    lines
}

/// The maps that a user namespace has which is joined: users were judged by those of the configuration.
pub(super) fn joined_maps(
    linux: &Linux,
    found: [&[IdMapping]; 2],
    profile: &Profile,
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, users);
    let rule = if is_on(rule) { rule } else { rule!(profile, remapping) };
    let [users, groups] = found;
    for (name, asked, found) in
        [("uidMappings", &linux.uid_mappings, users), ("gidMappings", &linux.gid_mappings, groups)]
    {
        for (index, line) in asked.iter().enumerate() {
            let last = line.inside.saturating_add(line.count - 1);
            let has = |one: &IdMapping| {
                IdMapping::outside_of(&[*one], line.inside) == Some(line.outside)
                    && IdMapping::outside_of(&[*one], last).is_some()
            };
            if !found.iter().any(has) {
                let asked = "a map that the user namespace does not have";
                verdicts.refuse(rule, format!("linux.{name}[{index}]"), asked);
            }
        }
    }
}

/// Mounts with a map of their own: who writes there is another user on the disk. As the container's user namespace maps is
/// as its root is meant to be.
pub(super) fn mapped_mounts(config: &Config, profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, users);
    for (index, mount) in config.mounts.iter().enumerate() {
        let maps = mount.idmap.as_ref().and_then(|idmap| idmap.mappings.as_ref());
        let Some((users, groups)) = maps else { continue };
        let (linux, least) = (&config.linux, &profile.users);
        for (kind, name, map, own, least) in [
            ("user", "uidMappings", users, &linux.uid_mappings, least.min_uid),
            ("group", "gidMappings", groups, &linux.gid_mappings, least.min_gid),
        ] {
            let below = map.iter().find(|line| line.inside < least.unwrap_or_default());
            if let Some(line) = below.filter(|_| map != own) {
                let asked = format!("a map to {kind} {}", line.inside);
                verdicts.refuse(rule, format!("mounts[{index}].{name}"), asked);
            }
        }
    }
}

fn rlimits(
    rlimits: &mut Vec<Rlimit>,
    profile: &Profile,
    caller: &CallerFacts,
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, rlimits);
    for (&kind, &max) in profile.rlimits.max.iter().flatten() {
        match rlimits.iter_mut().enumerate().find(|(_, limit)| limit.kind == kind) {
            Some((index, limit)) if limit.soft > max || limit.hard > max => {
                let field = format!("process.rlimits[{index}]");
                let asked = format!("{} of {}, {}", kind.name(), limit.soft, limit.hard);
                if verdicts.limit(rule, field, asked, format!("{max} at most")) {
                    limit.soft = limit.soft.min(max);
                    limit.hard = limit.hard.min(max);
                }
            }
            // Where nothing is asked for, the caller's holds: 0 is less in any case.
            None => {
                let own = caller.rlimits.iter().find(|(own, ..)| *own == kind);
                let (soft, hard) = own.map_or((max, max), |(_, soft, hard)| (*soft, *hard));
                let is_more = max == 0 || soft > max || hard > max;
                let asked = format!("no {}", kind.name());
                if is_more && verdicts.limit(rule, "process.rlimits", asked, max.to_string()) {
                    rlimits.push(Rlimit { kind, soft: soft.min(max), hard: hard.min(max) });
                }
            }
            Some(_) => {}
        }
    }
}

fn scheduling(
    process: &mut Process,
    profile: &Profile,
    caller: &CallerFacts,
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, scheduling);
    if let Some(scheduler) = &process.scheduler {
        let is_usual = matches!(
            scheduler.policy,
            SchedulerPolicy::Other | SchedulerPolicy::Batch | SchedulerPolicy::Idle
        );
        let asked = match (is_usual, scheduler.nice) {
            (false, _) => Some(scheduler.policy.name().to_owned()),
            (true, nice @ ..0) => Some(format!("nice {nice}")),
            (true, _) => None,
        };
        if let Some(asked) = asked
            && verdicts.limit(rule, "process.scheduler", asked, "the usual priority")
        {
            process.scheduler = None;
        }
    }
    if process.io_priority.is_some_and(|priority| priority.class == IoPriorityClass::RealTime)
        && verdicts.limit(rule, "process.ioPriority", "IOPRIO_CLASS_RT", "the usual priority")
    {
        process.io_priority = None;
    }
    // With them the process could choose by itself (getrlimit(2); 20 is nice 0).
    for (index, limit) in process.rlimits.iter_mut().enumerate() {
        let most = match limit.kind {
            RlimitType::Rtprio => 0,
            RlimitType::Nice => 20,
            _ => continue,
        };
        let asked = format!("{} of {}", limit.kind.name(), limit.hard);
        if limit.hard > most
            && verdicts.limit(rule, format!("process.rlimits[{index}]"), asked, most.to_string())
        {
            (limit.soft, limit.hard) = (limit.soft.min(most), most);
        }
    }
    // What nobody asks for is the caller's.
    if process.scheduler.is_none() && (caller.is_real_time || caller.nice < 0) {
        let asked = match caller.is_real_time {
            true => "the caller's real-time scheduling".to_owned(),
            false => format!("the caller's nice {}", caller.nice),
        };
        if verdicts.limit(rule, "process.scheduler", asked, "the usual priority") {
            process.scheduler = Some(usual_scheduler());
        }
    }
    if process.io_priority.is_none()
        && caller.has_real_time_io
        && verdicts.limit(
            rule,
            "process.ioPriority",
            "the caller's IOPRIO_CLASS_RT",
            "the usual priority",
        )
    {
        let (class, priority) = (IoPriorityClass::BestEffort, USUAL_IO_PRIORITY);
        process.io_priority = Some(IoPriority { class, priority });
    }
}

fn usual_scheduler() -> Scheduler {
    let policy = SchedulerPolicy::Other;
    let (nice, priority, flags) = (0, 0, Vec::new());
    Scheduler { policy, nice, priority, flags, runtime: 0, deadline: 0, period: 0 }
}

/// That of a process with nice 0 (ioprio_set(2)).
const USUAL_IO_PRIORITY: i64 = 4;
