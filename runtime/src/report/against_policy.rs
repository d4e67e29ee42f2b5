//! A container held against the rules of the node's policy, as far as the kernel shows what they are about.
//!
//! For a container that brig has made under that profile a rule that does not hold has been undone; for any other it is the
//! answer to: would it hold? Promises: a rule that is switched off or only watches is not held against anything.

use brig_cgroup::Readback;

use super::held::{Seen, Unseen};
use super::lines::{Lines, Verdict, all_seen, complain, place_of, points, some_of};
use super::machine::Whose;
use super::mounts::{Mount, Table};
use super::process::USER;
use super::snapshot::{Host, Member, Snapshot};
use super::told::{bytes, names, processors};
use crate::policy::{Mode, Profile, RuleSet};
use crate::spec::DeviceType;

pub(super) fn check(snapshot: &Snapshot<'_>, set: RuleSet<'_>, lines: &mut Lines) {
    let profile = set.rules;
    let of = set.by.map(|by| format!(" of {by}")).unwrap_or_default();
    let mut unseen = Vec::new();
    for (rule, mode) in profile.modes() {
        if !matches!(mode, Mode::Enforce | Mode::Refuse) {
            continue;
        }
        let complaint = match rule {
            "no_new_privileges" | "capabilities" | "users" | "seccomp" | "rlimits"
            | "oom_score" => of_processes(rule, snapshot, profile),
            "namespaces" | "cgroup_namespace" => namespaces(rule, snapshot, profile),
            "memory" | "swap" | "processors" | "pids" => limits(rule, snapshot, profile),
            "devices" => devices(snapshot, profile),
            "read_only_root" | "masked_paths" | "read_only_paths" | "mount_types"
            | "mount_flags" | "kernel_mounts" | "mount_propagation" => {
                let table = snapshot.mounts.as_ref().map_err(|unseen| *unseen);
                table.map(|table| of_mounts(rule, table, snapshot.host, profile))
            }
            "securebits" | "landlock" => {
                let why = "the kernel shows it to nobody else";
                lines.check(item_of(rule), &format!("rule {rule}{of}"), Verdict::Unknown, why);
                continue;
            }
            // What was done before, or elsewhere, leaves nothing that could be read.
            _ => {
                unseen.push(rule);
                continue;
            }
        };
        lines.must(item_of(rule), &format!("rule {rule}{of}"), complaint);
    }
    if !unseen.is_empty() {
        lines.tell("other rules", Ok(unseen.join(" ")));
        let why = "not to be seen in a running container";
        lines.check("other rules", "policy", Verdict::Unknown, why);
    }
}

/// The line that a rule is about.
fn item_of(rule: &str) -> &'static str {
    match rule {
        "no_new_privileges" => "no_new_privs",
        "capabilities" => "capabilities",
        "users" => "users",
        "securebits" => "securebits",
        "landlock" => "landlock",
        "seccomp" => "seccomp",
        "rlimits" => "rlimits",
        "oom_score" => "oom_score_adj",
        "namespaces" | "cgroup_namespace" => "namespaces",
        "memory" => "memory",
        "swap" => "swap",
        "processors" => "cpu",
        "pids" => "pids",
        "devices" => "devices",
        "read_only_root" => "root",
        "masked_paths" | "read_only_paths" => "kernel files",
        _ => "mounts",
    }
}

fn of_processes(rule: &str, snapshot: &Snapshot<'_>, profile: &Profile) -> Seen<Option<String>> {
    let members = &snapshot.members;
    match rule {
        "no_new_privileges" => {
            Ok(complain(members, "missing", &|it| !it.process.rights.no_new_privs))
        }
        "seccomp" => Ok(complain(members, "no filter", &|it| !it.process.rights.is_filtered())),
        "capabilities" => {
            let allowed = profile.capabilities.allow.unwrap_or_default().0;
            let beyond = |it: &Member<'_>| {
                let sets = &it.process.rights.capabilities;
                let gained = sets.bounding | sets.ambient | sets.inheritable;
                (sets.effective | sets.permitted | gained) & !allowed
            };
            let more = members.iter().fold(0, |more, it| more | beyond(it));
            Ok(complain(members, &names(more), &|it| beyond(it) != 0))
        }
        "users" => {
            if members.iter().any(|it| it.whose[USER] == Whose::Unknown) {
                return Err(Unseen(rustix::io::Errno::ACCESS));
            }
            let least = (profile.users.min_uid.unwrap_or(0), profile.users.min_gid.unwrap_or(0));
            Ok(complain(members, "a user or group of the host below the least", &|it| {
                let rights = it.process.rights;
                let below = |ids: [u32; 4], least| ids.iter().any(|id| *id < least);
                let is_mapped = it.whose[USER] == Whose::Own;
                (!is_mapped || rights.uids.contains(&0))
                    && (below(rights.uids, least.0) || below(rights.gids, least.1))
            }))
        }
        "rlimits" => {
            all_seen(members, &|it| it.details.rlimits.as_ref().err().copied())?;
            let max = profile.rlimits.max.clone().unwrap_or_default();
            Ok(max.iter().find_map(|(kind, most)| {
                complain(members, &format!("{} more than {most}", kind.name()), &|it| {
                    it.details
                        .rlimits
                        .iter()
                        .flatten()
                        .any(|(of, _, hard)| of == kind && hard > most)
                })
            }))
        }
        _ => {
            all_seen(members, &|it| it.details.oom_score_adj.as_ref().err().copied())?;
            let least = profile.oom_score.min.unwrap_or_default();
            Ok(complain(members, &format!("less than {least}"), &|it| {
                it.details.oom_score_adj.is_ok_and(|score| score < least)
            }))
        }
    }
}

fn namespaces(rule: &str, snapshot: &Snapshot<'_>, profile: &Profile) -> Seen<Option<String>> {
    let private = profile.namespaces.private.clone().unwrap_or_default();
    let wanted: Vec<&str> = match rule {
        "namespaces" => private.iter().map(|kind| kind.name()).collect(),
        _ => vec!["cgroup"],
    };
    let mut hosts = Vec::new();
    for name in wanted {
        let is = |whose| move |it: &Member<'_>| it.whose[place_of(name)] == whose;
        if snapshot.members.iter().any(is(Whose::Unknown)) {
            return Err(Unseen(rustix::io::Errno::ACCESS));
        }
        hosts.extend(complain(
            &snapshot.members,
            &format!("{name} of the host"),
            &is(Whose::Hosts),
        ));
    }
    Ok((!hosts.is_empty()).then(|| hosts.join("; ")))
}

fn limits(rule: &str, snapshot: &Snapshot<'_>, profile: &Profile) -> Seen<Option<String>> {
    let read = snapshot.cgroup.as_ref().map_err(|_| Unseen(rustix::io::Errno::NOENT))?;
    let more = |read: &Readback| match rule {
        "memory" => {
            let most = u64::try_from(profile.memory.max.unwrap_or_default().0).unwrap_or(0);
            (read.memory.in_force > most).then(|| (bytes(read.memory.in_force), bytes(most)))
        }
        "swap" => {
            let most = u64::try_from(profile.swap.max.unwrap_or_default().0).unwrap_or(0);
            let found = read.swap.map_or(most, |swap| swap.in_force);
            (found > most).then(|| (bytes(found), bytes(most)))
        }
        "processors" => {
            let most = u64::from(profile.processors.max.unwrap_or_default().0);
            (read.cpu.in_force > most).then(|| (processors(read.cpu.in_force), processors(most)))
        }
        _ => {
            let most = u64::from(profile.pids.max.unwrap_or(0));
            let found = read.pids.in_force;
            let words = if found == u64::MAX { "no limit".to_owned() } else { found.to_string() };
            (found > most).then(|| (words, most.to_string()))
        }
    };
    Ok(more(read).map(|(found, most)| format!("{found}, more than {most}")))
}

fn devices(snapshot: &Snapshot<'_>, profile: &Profile) -> Seen<Option<String>> {
    let nodes = snapshot.nodes.as_ref().map_err(|unseen| *unseen)?;
    let allowed = profile.devices.allow.clone().unwrap_or_default();
    let more: Vec<_> = nodes
        .iter()
        .filter(|node| {
            let kind = if node.is_block { DeviceType::Block } else { DeviceType::Char };
            let is = |one: &crate::policy::value::Device| {
                one.is(kind, node.major.into(), node.minor.into())
            };
            !node.is_usual() && !allowed.iter().any(is)
        })
        .collect();
    Ok((!more.is_empty()).then(|| some_of(&mut more.iter().map(ToString::to_string))))
}

fn of_mounts(rule: &str, table: &Table, host: &Host, profile: &Profile) -> Option<String> {
    let paths = |what: &str, paths: &Option<Vec<String>>, holds: &dyn Fn(&String) -> bool| {
        let found: Vec<_> = paths.iter().flatten().filter(|path| !holds(path)).collect();
        (!found.is_empty()).then(|| format!("{what}: {}", some_of(&mut found.into_iter().cloned())))
    };
    let those = |what: &str, is_wrong: &dyn Fn(&Mount) -> bool| {
        let found: Vec<_> = table.mounts.iter().filter(|mount| is_wrong(mount)).collect();
        let words = || points(&mut found.iter().copied());
        (!found.is_empty()).then(|| format!("{what}: {}", words()))
    };
    match rule {
        "read_only_root" => {
            (!table.root().is_some_and(|root| root.read_only)).then(|| "writable".to_owned())
        }
        "masked_paths" => {
            paths("not hidden", &profile.masked_paths.paths, &|path| host.is_hidden(table, path))
        }
        "read_only_paths" => paths("not read-only", &profile.read_only_paths.paths, &|path| {
            host.is_read_only(table, path)
        }),
        "mount_types" => {
            let allowed = profile.mount_types.allow.as_deref().unwrap_or_default();
            let is = |name: &str| allowed.iter().any(|one| one == name);
            // A bind mount has the type of what is bound.
            those("types", &|mount| {
                mount.point.as_os_str() != "/" && !is(&mount.kind) && !is("bind")
            })
        }
        "mount_flags" => {
            let except = profile.mount_flags.except.as_deref().unwrap_or_default();
            those("suid or dev", &|mount| {
                let point = mount.point.as_path();
                let has_devices = mount.kind == "devpts" || point.starts_with("/dev");
                let is_excepted = point.as_os_str() == "/"
                    || except.iter().any(|path| point.as_os_str() == path.as_str());
                !is_excepted && (!mount.nosuid || !mount.nodev && !has_devices)
            })
        }
        "kernel_mounts" => those("where they are not hidden, or writable", &|mount| {
            let within = |path: &str| mount.point.starts_with(path);
            match mount.kind.as_str() {
                "proc" => !within("/proc"),
                "sysfs" => !within("/sys") || !mount.read_only,
                _ => mount.is_of_the_kernel() && !mount.read_only,
            }
        }),
        _ => those("shared", &|mount| mount.shared),
    }
}
