//! The lines of a report: how each thing is, in words, whatever should hold.

use std::collections::BTreeSet;

use brig_cgroup::{Bound, DeviceControl, Readback};

use super::descriptors::What;
use super::held::{Seen, Unseen};
use super::lines::{Lines, all_seen, points, some_of, those};
use super::machine::Whose;
use super::mounts::{Mount, Table};
use super::process::NAMESPACES;
use super::snapshot::Snapshot;
use crate::spec::capability::{self, Sets};

pub(super) fn tell(snapshot: &Snapshot<'_>, lines: &mut Lines) {
    let first = snapshot.first();
    let details = &first.details;
    lines.tell("namespaces", Ok(namespaces(&first.whose)));
    lines.tell("users", Ok(users(snapshot)));
    lines.tell("id maps", details.id_maps.as_ref().map(id_maps).map_err(|unseen| *unseen));
    lines.tell("capabilities", Ok(capabilities(&all_capabilities(snapshot))));
    let missing = |without: Option<String>| match without {
        None => "in all processes".to_owned(),
        Some(who) => format!("not in pid {who}"),
    };
    let members = &snapshot.members;
    let without = those(members, &|member| !member.process.rights.no_new_privs);
    lines.tell("no_new_privs", Ok(missing(without)));
    let without = those(members, &|member| !member.process.rights.is_filtered());
    let filters =
        first.process.rights.filters.map(|filters| format!("; of the first {filters} filters"));
    lines.tell("seccomp", Ok(missing(without) + &filters.unwrap_or_default()));
    lines.tell(
        "label",
        details.label.clone().map(|label| match label.as_str() {
            "" => "none: no security module has labels here".to_owned(),
            label => label.to_owned(),
        }),
    );
    files(snapshot, lines);
    cgroup(snapshot, lines);
    lines.tell("descriptors", descriptors(snapshot));
    lines.tell(
        "rlimits",
        details.rlimits.as_ref().map_err(|unseen| *unseen).map(|limits| {
            let bound =
                |value: &u64| if *value == u64::MAX { "-".to_owned() } else { value.to_string() };
            let words =
                limits.iter().filter(|(_, _, hard)| *hard != u64::MAX).map(|(kind, soft, hard)| {
                    format!(
                        "{} {}:{}",
                        kind.name().trim_start_matches("RLIMIT_"),
                        bound(soft),
                        bound(hard)
                    )
                });
            words.collect::<Vec<_>>().join(", ")
        }),
    );
    lines.tell("oom_score_adj", details.oom_score_adj.map(|score| score.to_string()));
    lines.tell(
        "dumpable",
        Ok(match details.dumpable {
            Some(true) => "yes: others of its user may look into it".to_owned(),
            Some(false) => "no".to_owned(),
            None => "not known of root's processes".to_owned(),
        }),
    );
    // prctl(2) answers for the caller alone, and Landlock for nobody.
    lines.tell("securebits", Ok("unknown: the kernel shows them to nobody else".to_owned()));
    lines.tell("landlock", Ok("unknown: the kernel does not show it".to_owned()));
}

fn namespaces(whose: &[Whose; 8]) -> String {
    let those = |wanted: Whose| {
        let found = NAMESPACES.iter().zip(whose).filter(move |(_, whose)| **whose == wanted);
        found.map(|((name, _), _)| *name).collect::<Vec<_>>().join(" ")
    };
    let mut words = Vec::new();
    for (wanted, title) in
        [(Whose::Own, "own"), (Whose::Hosts, "the host's"), (Whose::Unknown, "unknown")]
    {
        let names = those(wanted);
        if !names.is_empty() {
            words.push(format!("{title}: {names}"));
        }
    }
    words.join("; ")
}

fn users(snapshot: &Snapshot<'_>) -> String {
    let all: BTreeSet<u32> =
        snapshot.members.iter().flat_map(|member| member.process.rights.uids).collect();
    format!("{} on the host", some_of(&mut all.iter().map(ToString::to_string)))
}

fn id_maps(maps: &[Vec<[u32; 3]>; 2]) -> String {
    let map = |map: &Vec<[u32; 3]>| {
        some_of(
            &mut map.iter().map(|[inside, outside, count]| format!("{inside}:{outside}:{count}")),
        )
    };
    format!("uids {}, gids {}", map(&maps[0]), map(&maps[1]))
}

/// Of each set all that any process has.
pub(super) fn all_capabilities(snapshot: &Snapshot<'_>) -> Sets {
    let mut all = Sets::default();
    for member in &snapshot.members {
        let sets = &member.process.rights.capabilities;
        all.effective |= sets.effective;
        all.permitted |= sets.permitted;
        all.inheritable |= sets.inheritable;
        all.bounding |= sets.bounding;
        all.ambient |= sets.ambient;
    }
    all
}

/// Capabilities as words.
pub(super) fn names(mask: u64) -> String {
    let names = capability::names(mask);
    match names.len() {
        0 => "none".to_owned(),
        many if many > 35 => format!("{many} of {}", capability::NAMES.len()),
        _ => names.join(" ").replace("CAP_", ""),
    }
}

fn capabilities(sets: &Sets) -> String {
    let mut words =
        format!("effective {}; bounding {}", names(sets.effective), names(sets.bounding));
    for (name, set, usual) in [
        ("permitted", sets.permitted, sets.effective),
        ("inheritable", sets.inheritable, 0),
        ("ambient", sets.ambient, 0),
    ] {
        if set != usual {
            words.push_str(&format!("; {name} {}", names(set)));
        }
    }
    words
}

fn files(snapshot: &Snapshot<'_>, lines: &mut Lines) {
    let table = snapshot.mounts.as_ref().map_err(|unseen| *unseen);
    let with =
        |words: fn(&Table, &Snapshot<'_>) -> String| table.map(|table| words(table, snapshot));
    lines.tell(
        "root",
        with(|table, _| match table.root() {
            Some(root) if root.read_only => format!("read-only {}", root.kind),
            Some(root) => format!("writable {}", root.kind),
            None => "not in its table of mounts".to_owned(),
        }),
    );
    lines.tell(
        "mounts",
        with(|table, snapshot| {
            let writable = table
                .mounts
                .iter()
                .filter(|mount| !mount.read_only && mount.point.as_os_str() != "/");
            let mut writable = writable.map(|mount| describe(mount, snapshot));
            format!("{} reachable; writable: {}", table.mounts.len(), some_of(&mut writable))
        }),
    );
    lines.tell(
        "kernel files",
        with(|table, _| {
            let mut writable =
                table.mounts.iter().filter(|mount| mount.is_of_the_kernel() && !mount.read_only);
            let mut hidden = table.mounts.iter().filter(|mount| {
                !mount.is_of_the_kernel()
                    && mount.read_only
                    && (mount.point.starts_with("/proc") || mount.point.starts_with("/sys"))
            });
            let mut read_only =
                table.mounts.iter().filter(|mount| mount.is_of_the_kernel() && mount.read_only);
            format!(
                "writable: {}; read-only: {}; masked: {}",
                points(&mut writable),
                points(&mut read_only),
                points(&mut hidden),
            )
        }),
    );
    let nodes = snapshot.nodes.as_ref().map_err(|unseen| *unseen);
    lines.tell(
        "devices",
        nodes.map(|nodes| {
            let further: Vec<_> = nodes.iter().filter(|node| !node.is_usual()).collect();
            format!(
                "{} nodes in /dev, beside the usual: {}",
                nodes.len(),
                some_of(&mut further.iter().map(ToString::to_string))
            )
        }),
    );
}

fn describe(mount: &Mount, snapshot: &Snapshot<'_>) -> String {
    let mut words = mount.point.display().to_string();
    let flags = [(mount.nosuid, "suid"), (mount.nodev, "dev"), (mount.noexec, "exec")];
    let missing: Vec<_> = flags.iter().filter(|(has, _)| !has).map(|(_, name)| *name).collect();
    let mut more = missing.join(",");
    if let Some(path) = host_path(mount, snapshot) {
        more = format!("{more} of {}", path.display()).trim_start().to_owned();
    }
    if !more.is_empty() {
        words.push_str(&format!(" ({more})"));
    }
    words
}

/// Where the host has the directory that a mount shows, of a file system that holds more than the container.
pub(super) fn host_path(mount: &Mount, snapshot: &Snapshot<'_>) -> Option<std::path::PathBuf> {
    let host = snapshot.host.mounts.as_ref().ok()?;
    if mount.is_of_the_kernel() || ["devpts", "mqueue", "overlay"].contains(&mount.kind.as_str()) {
        return None;
    }
    host.path_of(mount)
}

fn cgroup(snapshot: &Snapshot<'_>, lines: &mut Lines) {
    // A cgroup that is not found is one whose limits are not known.
    let read = snapshot.cgroup.as_ref().map_err(|_| Unseen(rustix::io::Errno::NOENT));
    let with = |words: &dyn Fn(&Readback) -> String| -> Seen<String> { read.map(words) };
    lines.tell(
        "cgroup",
        match &snapshot.cgroup {
            Ok(read) => Ok(read.path.display().to_string()),
            Err(_) => with(&|_| String::new()),
        },
    );
    lines.tell(
        "device rules",
        with(&|read| match &read.devices {
            DeviceControl::List(rules) if rules.iter().any(|rule| rule == "a *:* rwm") => {
                "none: any device may be opened".to_owned()
            }
            DeviceControl::List(rules) => {
                some_of(&mut rules.iter().map(|rule| rule.replace(' ', "·")))
            }
            DeviceControl::Programs(0) => "none: any device may be opened".to_owned(),
            DeviceControl::Programs(count) => {
                format!("{count} BPF programs decide; the kernel does not show what they allow")
            }
            DeviceControl::Unknown => "unknown: not shown to this user".to_owned(),
        }),
    );
    lines.tell(
        "memory",
        with(&|read| format!("{}; {} used", bound(read.memory, bytes), bytes(read.memory_used))),
    );
    lines.tell(
        "swap",
        with(&|read| match read.swap {
            Some(swap) => bound(swap, bytes),
            None => "the kernel does not account for it".to_owned(),
        }),
    );
    lines.tell(
        "pids",
        with(&|read| format!("{}; {} used", bound(read.pids, |n| n.to_string()), read.pids_used)),
    );
    lines.tell(
        "cpu",
        with(&|read| {
            format!("{}; {} s used", bound(read.cpu, processors), read.cpu_used_us / 1_000_000)
        }),
    );
    lines.tell(
        "io",
        with(&|read| {
            let limits = if read.io.is_empty() {
                "no limit".to_owned()
            } else {
                some_of(&mut read.io.iter().cloned())
            };
            format!("{limits}; {} used", bytes(read.io_used))
        }),
    );
}

/// A limit in words.
pub(super) fn bound(bound: Bound, words: impl Fn(u64) -> String) -> String {
    match bound {
        Bound { in_force: u64::MAX, .. } => "no limit".to_owned(),
        Bound { own, in_force } if own == in_force => words(own),
        Bound { in_force, .. } => format!("{} by a cgroup above", words(in_force)),
    }
}

/// Bytes in words.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        u64::MAX => "no limit".to_owned(),
        bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        bytes => format!("{} KiB", bytes >> 10),
    }
}

/// Thousandths of processors in words.
pub(super) fn processors(thousandths: u64) -> String {
    match thousandths {
        u64::MAX => "no limit".to_owned(),
        _ => format!("{}.{:03} processors", thousandths / 1000, thousandths % 1000),
    }
}

fn descriptors(snapshot: &Snapshot<'_>) -> Seen<String> {
    all_seen(&snapshot.members, &|member| member.outside.as_ref().err().copied())?;
    let found = leading_out(snapshot, &[What::Directory, What::Device, What::File, What::Socket]);
    Ok(if found.is_empty() {
        "none leads out".to_owned()
    } else {
        format!("lead out: {}", some_of(&mut found.into_iter()))
    })
}

/// Descriptors of these kinds that lead out.
pub(super) fn leading_out(snapshot: &Snapshot<'_>, kinds: &[What]) -> Vec<String> {
    let mut found = Vec::new();
    for member in &snapshot.members {
        let outside = member.outside.iter().flatten().filter(|one| kinds.contains(&one.what));
        found.extend(outside.map(|one| format!("pid {} {one}", member.process.pid)));
    }
    found
}
