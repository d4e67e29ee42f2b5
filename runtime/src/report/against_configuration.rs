//! A container that brig has made, held against the configuration that has held for it since create.
//!
//! Promises: less than what it grants is no drift, more is, whoever has given it: `brig update` too, which the configuration
//! does not record.

use std::collections::BTreeSet;
use std::path::PathBuf;

use brig_cgroup::{Bound, Readback};

use super::differences::is_of_a_user_namespace_inside;
use super::held::{Seen, Unseen};
use super::lines::{Lines, Verdict, all_seen, complain, place_of, points, some_of};
use super::machine::Whose;
use super::mounts::Table;
use super::snapshot::{Host, Member, Snapshot};
use super::told::{bytes, processors};
use crate::policy::{ChosenProfile, Hardened};
use crate::spec::mount::{Kind, MOUNT_ATTR_RDONLY, MountRequest, Scope};

const CONFIGURATION: &str = "configuration";

pub(super) fn check(
    snapshot: &Snapshot<'_>,
    spec: &Hardened,
    profile: &ChosenProfile,
    lines: &mut Lines,
) {
    process(snapshot, spec, profile, lines);
    let mut must = |item: &str, complaint| lines.must(item, CONFIGURATION, complaint);
    must("namespaces", namespaces(snapshot, spec));
    let table = snapshot.mounts.as_ref().map_err(|unseen| *unseen);
    must(
        "root",
        table.map(|table| {
            let is_read_only = table.root().is_some_and(|root| root.read_only);
            (spec.root.readonly && !is_read_only)
                .then(|| "writable, asked for read-only".to_owned())
        }),
    );
    must("kernel files", table.map(|table| kernel_files(table, snapshot.host, spec)));
    must(
        "devices",
        snapshot.nodes.as_ref().map_err(|unseen| *unseen).map(|nodes| {
            let is_asked = |node: &super::nodes::Node| {
                let of = |device: &crate::spec::Device| {
                    (device.major, device.minor) == (i64::from(node.major), i64::from(node.minor))
                };
                node.is_usual() || spec.linux.devices.iter().any(of)
            };
            let more: Vec<_> = nodes.iter().filter(|node| !is_asked(node)).collect();
            (!more.is_empty()).then(|| {
                format!("not asked for: {}", some_of(&mut more.iter().map(ToString::to_string)))
            })
        }),
    );
    match table {
        Ok(table) => mounts(table, spec, lines),
        Err(unseen) => lines.must("mounts", CONFIGURATION, Err(unseen)),
    }
    limits(snapshot, spec, lines);
}

fn process(snapshot: &Snapshot<'_>, spec: &Hardened, profile: &ChosenProfile, lines: &mut Lines) {
    let mut must = |item: &str, complaint| lines.must(item, CONFIGURATION, complaint);
    let (asked, members) = (&spec.process, &snapshot.members);
    let first = snapshot.first();
    let sets = &asked.capabilities.sets;
    let exceeds = |member: &Member<'_>| {
        let has = &member.process.rights.capabilities;
        // Root gains by execve what is in the bounding set.
        let within = sets.bounding | sets.permitted;
        let more = (has.bounding | has.permitted | has.effective | has.ambient) & !within;
        let inherits = has.inheritable & !(within | sets.inheritable);
        more | inherits != 0 && !is_of_a_user_namespace_inside(member, first)
    };
    must("capabilities", Ok(complain(members, "more than it has", &exceeds)));
    must(
        "no_new_privs",
        Ok(complain(members, "missing", &|member| {
            asked.no_new_privileges && !member.process.rights.no_new_privs
        })),
    );
    let of_policy = u32::try_from(profile.filters(spec).len()).unwrap_or(u32::MAX);
    let filters = u32::from(spec.seccomp.is_some()).saturating_add(of_policy);
    must(
        "seccomp",
        Ok(complain(members, &format!("fewer than {filters} filters"), &|member| {
            let rights = member.process.rights;
            filters > 0 && !rights.is_filtered() || rights.filters.is_some_and(|has| has < filters)
        })),
    );
    let outside = |uid: u32| {
        let maps = &spec.linux.uid_mappings;
        let map = maps.iter().find(|map| uid >= map.inside && uid - map.inside < map.count);
        map.map_or(uid, |map| map.outside + (uid - map.inside))
    };
    let (user, root) = (outside(asked.user.uid), outside(0));
    must(
        "users",
        Ok(complain(members, "root", &|member| {
            let uids = member.process.rights.uids;
            asked.user.uid != 0 && uids.contains(&root) || user != 0 && uids.contains(&0)
        })),
    );
    let labels = all_seen(members, &|member| member.details.label.as_ref().err().copied());
    must(
        "label",
        labels.map(|()| {
            let wanted = asked.apparmor_profile.as_ref().or(asked.selinux_label.as_ref())?;
            complain(members, &format!("not {wanted}"), &|member| {
                let label = member.details.label.as_deref().unwrap_or_default();
                label.split(" (").next() != Some(wanted)
            })
        }),
    );
    let scores = all_seen(members, &|member| member.details.oom_score_adj.as_ref().err().copied());
    must(
        "oom_score_adj",
        scores.map(|()| {
            let wanted = asked.oom_score_adj?;
            complain(members, &format!("less than {wanted}"), &|member| {
                member.details.oom_score_adj.is_ok_and(|score| score < wanted)
            })
        }),
    );
    let limits = all_seen(members, &|member| member.details.rlimits.as_ref().err().copied());
    must("rlimits", limits.map(|()| rlimits(members, asked)));
}

fn rlimits(members: &[Member<'_>], asked: &crate::spec::Process) -> Option<String> {
    asked.rlimits.iter().find_map(|wanted| {
        let what = format!("{} more than {}", wanted.kind.name(), wanted.hard);
        complain(members, &what, &|member| {
            let mut limits = member.details.rlimits.iter().flatten();
            limits.any(|(kind, _, hard)| *kind == wanted.kind && *hard > wanted.hard)
        })
    })
}

fn namespaces(snapshot: &Snapshot<'_>, spec: &Hardened) -> Seen<Option<String>> {
    let mut complaints = Vec::new();
    for namespace in spec.linux.namespaces.iter().filter(|namespace| namespace.path.is_none()) {
        let place = place_of(namespace.kind.name());
        if snapshot.members.iter().any(|member| member.whose[place] == Whose::Unknown) {
            return Err(Unseen(rustix::io::Errno::ACCESS));
        }
        let what = format!("{} of the host", namespace.kind.name());
        complaints.extend(complain(&snapshot.members, &what, &|member| {
            member.whose[place] == Whose::Hosts
        }));
    }
    Ok((!complaints.is_empty()).then(|| complaints.join("; ")))
}

fn kernel_files(table: &Table, host: &Host, spec: &Hardened) -> Option<String> {
    let seen: Vec<_> =
        spec.linux.masked_paths.iter().filter(|path| !host.is_hidden(table, path)).collect();
    let written = spec.linux.readonly_paths.iter();
    let written: Vec<_> = written.filter(|path| !host.is_read_only(table, path)).collect();
    match (seen.is_empty(), written.is_empty()) {
        (true, true) => None,
        (false, _) => Some(format!("not hidden: {}", some_of(&mut seen.into_iter().cloned()))),
        (true, false) => {
            Some(format!("not read-only: {}", some_of(&mut written.into_iter().cloned())))
        }
    }
}

/// Mounts that nothing in the configuration accounts for, and such as can be written to against what it says.
fn mounts(table: &Table, spec: &Hardened, lines: &mut Lines) {
    let asked: Vec<&MountRequest> =
        spec.mounts.iter().filter(|mount| mount.kind != Kind::Remount).collect();
    let mut known: BTreeSet<PathBuf> =
        asked.iter().map(|mount| mount.destination.clone()).collect();
    let paths = spec.linux.masked_paths.iter().chain(&spec.linux.readonly_paths);
    known.extend(paths.map(PathBuf::from));
    known.extend(spec.linux.devices.iter().map(|device| PathBuf::from(&device.path)));
    known.extend(
        [
            "/",
            "/dev/console",
            "/dev/null",
            "/dev/zero",
            "/dev/full",
            "/dev/random",
            "/dev/urandom",
            "/dev/tty",
        ]
        .map(PathBuf::from),
    );
    // What comes with a tree, and the hierarchies of v1 below what looks like one mount.
    let trees = asked.iter().filter(|mount| match &mount.kind {
        Kind::Bind(scope) => *scope == Scope::Tree,
        Kind::Filesystem(kind) => kind == "cgroup",
        Kind::Remount => false,
    });
    let trees: Vec<_> = trees.map(|mount| &mount.destination).collect();
    let more: Vec<_> = table
        .mounts
        .iter()
        .filter(|mount| {
            !known.contains(&mount.point) && !trees.iter().any(|tree| mount.point.starts_with(tree))
        })
        .collect();
    // A destination that leads through a link of the image is another path in the end.
    let missing = asked.iter().filter(|mount| table.at(&mount.destination).is_none()).count();
    let names = || points(&mut more.iter().copied());
    let mut check = |verdict, why: &str| lines.check("mounts", CONFIGURATION, verdict, why);
    match more.len() {
        0 => check(Verdict::Holds, ""),
        count if count > missing => check(Verdict::Drifted, &format!("not asked for: {}", names())),
        _ => check(Verdict::Unknown, &format!("{} may be asked for by another path", names())),
    }
    let written: Vec<_> = asked
        .iter()
        .filter(|asked| {
            let wants = (asked.attributes.set | asked.recursive.set) & MOUNT_ATTR_RDONLY != 0;
            wants && table.at(&asked.destination).is_some_and(|mount| !mount.read_only)
        })
        .collect();
    if !written.is_empty() {
        let names =
            some_of(&mut written.iter().map(|mount| mount.destination.display().to_string()));
        check(Verdict::Drifted, &format!("writable, asked for read-only: {names}"));
    }
}

fn limits(snapshot: &Snapshot<'_>, spec: &Hardened, lines: &mut Lines) {
    let resources = spec.linux.resources.clone().unwrap_or_default();
    let memory = resources.memory.unwrap_or_default();
    let cpu = resources.cpu.unwrap_or_default();
    let limit = |asked: Option<i64>| {
        asked.and_then(|asked| u64::try_from(asked).ok()).filter(|asked| *asked > 0)
    };
    let quota = limit(cpu.quota)
        .map(|quota| quota.saturating_mul(1000) / cpu.period.unwrap_or(100_000).max(1));
    // config.json has memory and swap together.
    let swap = limit(memory.swap)
        .zip(limit(memory.limit))
        .map(|(both, memory)| both.saturating_sub(memory));
    let tasks = |tasks: u64| tasks.to_string();
    type Of = fn(&Readback) -> Option<Bound>;
    type Row<'w> = (&'static str, Option<u64>, Of, &'w dyn Fn(u64) -> String);
    let all: [Row<'_>; 4] = [
        ("memory", limit(memory.limit), |read| Some(read.memory), &bytes),
        ("swap", swap, |read| read.swap, &bytes),
        ("pids", limit(resources.pids.and_then(|pids| pids.limit)), |read| Some(read.pids), &tasks),
        ("cpu", quota, |read| Some(read.cpu), &processors),
    ];
    for (item, asked, of, words) in all {
        let Some(asked) = asked else { continue };
        let read = snapshot.cgroup.as_ref().map_err(|_| Unseen(rustix::io::Errno::NOENT));
        lines.must(
            item,
            CONFIGURATION,
            read.map(|read| {
                // The kernel rounds memory down to pages.
                let bound = of(read).filter(|bound| bound.own > asked)?;
                Some(format!("{}, where {} holds since create", words(bound.own), words(asked)))
            }),
        );
    }
}
