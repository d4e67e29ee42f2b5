//! Where a container is exposed: a list of what is missing, each with a weight, and the sum of them.
//!
//! The model has a version: a weight, or what counts, changes with it. docs/report.md says how weights are chosen and what
//! is not counted. Promises: what is not known is on the list as such, and in the sum only of what may be at most.

use brig_cgroup::{DeviceControl, Readback};

use super::descriptors::What;
use super::lines::{all_seen, some_of, those};
use super::machine::Whose;
use super::mounts::{Mount, Table};
use super::process::{NAMESPACES, USER};
use super::snapshot::{Snapshot, TELLING};
use super::told::{host_path, leading_out, names};
use crate::printable;

/// The version of the model.
pub const MODEL: u32 = 1;

/// What the number is not.
pub(super) const NOTE: &str = "This is no vulnerability score: it counts protections that are missing, not flaws, and says nothing \
                        about what the programs do.";

/// Something that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Its name.
    pub item: &'static str,
    /// How heavy it is, 1 to 10.
    pub weight: u32,
    /// What was found; absent where it is not known whether anything is.
    pub what: Option<String>,
    /// What it leads to.
    pub why: &'static str,
    /// What to do about it.
    pub fix: &'static str,
}

impl Exposure {
    /// Whether it is known to be there.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.what.is_some()
    }
}

/// Something that is looked for.
#[derive(Debug)]
pub struct Sought {
    /// Its name.
    pub item: &'static str,
    /// How heavy it is.
    pub weight: u32,
    /// What it leads to.
    pub why: &'static str,
    /// What to do about it.
    pub fix: &'static str,
    look: fn(&Snapshot<'_>) -> Found,
}

/// What was found: nothing, something, or that it is not known.
enum Found {
    Nothing,
    This(String),
    Unknown,
}
use Found::{Nothing, This, Unknown};

impl From<Option<String>> for Found {
    fn from(found: Option<String>) -> Self {
        found.map_or(Nothing, This)
    }
}

/// Where a container is exposed, the heaviest first.
pub(super) fn of(snapshot: &Snapshot<'_>) -> Vec<Exposure> {
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for &Sought { item, weight, why, fix, look } in SOUGHT {
        match look(snapshot) {
            Nothing => {}
            This(what) => {
                let what = Some(printable::line(&what).into_owned());
                found.push(Exposure { item, weight, what, why, fix });
            }
            Unknown => unknown.push(Exposure { item, weight, what: None, why, fix }),
        }
    }
    found.append(&mut unknown);
    found
}

/// All that is looked for, the heaviest first.
pub const SOUGHT: &[Sought] = &[
    Sought {
        item: "host mounts",
        weight: 10,
        why: "every file of the host is there",
        fix: "give it a mount namespace of its own",
        look: |it| whose(it, "mnt"),
    },
    Sought {
        item: "way out by descriptor",
        weight: 10,
        why: "a directory of the host that is open leads to all that is below and above it",
        fix: "find who hands it down, and close it before the start",
        look: |it| descriptors(it, &[What::Directory]),
    },
    Sought {
        item: "engine's socket",
        weight: 10,
        why: "who can talk to the engine has it start anything, as root",
        fix: "take the socket out of the mounts",
        look: |it| {
            mounts(it, |mount, _| ends_in_engine(&mount.root) || ends_in_engine(&mount.point))
        },
    },
    Sought {
        item: "host's own directories",
        weight: 9,
        why: "what the host runs, or is configured by, can be read or written",
        fix: "mount only the directory that is needed, read-only",
        look: |it| {
            mounts(it, |mount, it| {
                host_path(mount, it).is_some_and(|path| is_sensitive(mount, &path))
            })
        },
    },
    Sought {
        item: "capabilities over the host",
        weight: 9,
        why: "each of them is enough to become root of the host, or to reach its devices, memory or modules",
        fix: "drop them, or give it a user namespace",
        look: powerful,
    },
    Sought {
        item: "devices",
        weight: 8,
        why: "a device that is the host's is open to whoever may open the node",
        fix: "take the devices out that are not needed",
        look: |it| match &it.nodes {
            Ok(nodes) => {
                words(&mut nodes.iter().filter(|node| !node.is_usual()).map(ToString::to_string))
            }
            Err(_) => Unknown,
        },
    },
    Sought {
        item: "root of the host",
        weight: 7,
        why: "whoever gets out is root there, and files of root can be read on the way",
        fix: "run it as another user, or map users (user namespace)",
        look: |it| those(&it.members, &|member| member.process.rights.uids.contains(&0)).into(),
    },
    Sought {
        item: "no filter of system calls",
        weight: 7,
        why: "every system call can be made, with each flaw that one of them has",
        fix: "load a seccomp profile",
        look: |it| those(&it.members, &|member| !member.process.rights.is_filtered()).into(),
    },
    Sought {
        item: "writable kernel files",
        weight: 6,
        why: "settings of the whole machine can be changed there",
        fix: "mount sysfs and cgroups read-only, and /proc/sys over itself",
        look: |it| match &it.mounts {
            Ok(table) => words(
                &mut table
                    .mounts
                    .iter()
                    .filter(|mount| is_writable_kernel(mount, table))
                    .map(|mount| mount.point.display().to_string()),
            ),
            Err(_) => Unknown,
        },
    },
    Sought {
        item: "host network",
        weight: 6,
        why: "services that listen on the host's loopback, abstract sockets and, with capabilities, all traffic are in reach",
        fix: "give it a network namespace",
        look: |it| whose(it, "net"),
    },
    Sought {
        item: "host processes",
        weight: 6,
        why: "it sees every process, and can signal and trace those of the same user",
        fix: "give it a pid namespace",
        look: |it| whose(it, "pid"),
    },
    Sought {
        item: "file or device of the host by descriptor",
        weight: 5,
        why: "an open file of the host can be read or written, whatever is mounted",
        fix: "find who hands it down, and close it before the start",
        look: |it| descriptors(it, &[What::File, What::Device]),
    },
    Sought {
        item: "privileges can be gained",
        weight: 4,
        why: "a set-user-id program, or one with capabilities, gives them to whoever executes it",
        fix: "set no_new_privs",
        look: |it| those(&it.members, &|member| !member.process.rights.no_new_privs).into(),
    },
    Sought {
        item: "any device may be opened",
        weight: 4,
        why: "with the capability to make nodes, or a node in a volume, every disk of the host is open",
        fix: "give its cgroup rules about devices",
        look: |it| match cgroup(it, |read| read.devices.clone()) {
            Some(DeviceControl::List(rules)) if rules.iter().any(|rule| rule == "a *:* rwm") => {
                This("no rules".into())
            }
            Some(DeviceControl::Programs(0)) => This("no program decides".into()),
            Some(DeviceControl::List(_) | DeviceControl::Programs(_)) => Nothing,
            Some(DeviceControl::Unknown) | None => Unknown,
        },
    },
    Sought {
        item: "users are the host's",
        weight: 3,
        why: "a user inside is the same user outside, and capabilities hold for the whole machine",
        fix: "give it a user namespace with a map of its own",
        look: |it| whose(it, "user"),
    },
    Sought {
        item: "host IPC",
        weight: 3,
        why: "shared memory and queues of the host's processes are in reach",
        fix: "give it an IPC namespace",
        look: |it| whose(it, "ipc"),
    },
    Sought {
        item: "kernel files not hidden",
        weight: 3,
        why: "they tell of the machine, its memory and its other users",
        fix: "mask them",
        look: |it| match &it.mounts {
            Ok(table) => words(
                &mut TELLING
                    .into_iter()
                    .filter(|path| !it.host.is_hidden(table, path))
                    .map(str::to_owned),
            ),
            Err(_) => Unknown,
        },
    },
    Sought {
        item: "no label",
        weight: 3,
        why: "no security module has a say about files and capabilities",
        fix: "confine it by AppArmor or SELinux",
        look: |it| match all_seen(&it.members, &|member| {
            member.details.label.as_ref().err().copied()
        }) {
            Ok(()) => those(&it.members, &|member| {
                is_unconfined(member.details.label.as_deref().unwrap_or_default())
            })
            .into(),
            Err(_) => Unknown,
        },
    },
    Sought {
        item: "memory without limit",
        weight: 3,
        why: "it can use up all memory, and others are ended for it",
        fix: "set memory.max",
        look: |it| unlimited(it, |read| read.memory.in_force),
    },
    Sought {
        item: "processes without limit",
        weight: 3,
        why: "it can use up all process numbers: nobody can start anything",
        fix: "set pids.max",
        look: |it| unlimited(it, |read| read.pids.in_force),
    },
    Sought {
        item: "socket of the host by descriptor",
        weight: 3,
        why: "who is at the other end hears what it says",
        fix: "find who hands it down, and close it before the start",
        look: |it| descriptors(it, &[What::Socket]),
    },
    Sought {
        item: "writable root",
        weight: 2,
        why: "what gets in can change its programs, and stays until the container is removed",
        fix: "make the root read-only, with tmpfs where it writes",
        look: |it| match it
            .mounts
            .as_ref()
            .map(|table| table.root().is_some_and(|root| root.read_only))
        {
            Ok(true) => Nothing,
            Ok(false) => This("/".into()),
            Err(_) => Unknown,
        },
    },
    Sought {
        item: "set-user-id programs and devices on mounts",
        weight: 2,
        why: "such a file in a volume does in here what its owner made it for",
        fix: "mount with nosuid and nodev",
        look: |it| {
            mounts(it, |mount, _| {
                let point = mount.point.as_path();
                let may_have = point.as_os_str() == "/" || point.starts_with("/dev");
                !may_have && !mount.is_of_the_kernel() && (!mount.nosuid || !mount.nodev)
            })
        },
    },
    Sought {
        item: "processor without limit",
        weight: 2,
        why: "it can slow down everything else",
        fix: "set cpu.max",
        look: |it| unlimited(it, |read| read.cpu.in_force),
    },
    Sought {
        item: "host cgroups",
        weight: 2,
        why: "it sees the names of other containers, and where the hierarchy is writable, their limits",
        fix: "give it a cgroup namespace",
        look: |it| whose(it, "cgroup"),
    },
    Sought {
        item: "protected from the OOM killer",
        weight: 2,
        why: "when memory runs out others are ended first",
        fix: "leave oom_score_adj at 0 or above",
        look: |it| match all_seen(&it.members, &|member| {
            member.details.oom_score_adj.as_ref().err().copied()
        }) {
            Ok(()) => those(&it.members, &|member| {
                member.details.oom_score_adj.is_ok_and(|score| score < 0)
            })
            .into(),
            Err(_) => Unknown,
        },
    },
    Sought {
        item: "mounts appear on the host",
        weight: 2,
        why: "what is mounted inside appears elsewhere too",
        fix: "make its mounts private",
        look: |it| mounts(it, |mount, _| mount.shared),
    },
    Sought {
        item: "host name",
        weight: 1,
        why: "the host's name can be read, and with a capability changed",
        fix: "give it a UTS namespace",
        look: |it| whose(it, "uts"),
    },
];

/// `CAP_SYS_MODULE`, `SYS_RAWIO`, `SYS_PTRACE`, `SYS_ADMIN`, `SYS_BOOT`, `DAC_READ_SEARCH`, `MAC_OVERRIDE`, `MAC_ADMIN`,
/// `SYSLOG`, `BPF`, `PERFMON`, `NET_ADMIN`, `SYS_TIME`, `CHECKPOINT_RESTORE` (capabilities(7)).
const POWERFUL: u64 = 1 << 16
    | 1 << 17
    | 1 << 19
    | 1 << 21
    | 1 << 22
    | 1 << 2
    | 1 << 32
    | 1 << 33
    | 1 << 34
    | 1 << 39
    | 1 << 38
    | 1 << 12
    | 1 << 25
    | 1 << 40;

fn whose(snapshot: &Snapshot<'_>, name: &str) -> Found {
    let place = NAMESPACES.iter().position(|(known, _)| *known == name).unwrap_or_default();
    match those(&snapshot.members, &|member| member.whose[place] == Whose::Hosts) {
        Some(who) => This(format!("pid {who}")),
        None if snapshot.members.iter().any(|member| member.whose[place] == Whose::Unknown) => {
            Unknown
        }
        None => Nothing,
    }
}

fn words(found: &mut dyn Iterator<Item = String>) -> Found {
    let words = some_of(found);
    if words.is_empty() { Nothing } else { This(words) }
}

fn mounts(snapshot: &Snapshot<'_>, is_wrong: fn(&Mount, &Snapshot<'_>) -> bool) -> Found {
    match &snapshot.mounts {
        Ok(table) => {
            let wrong = table.mounts.iter().filter(|mount| is_wrong(mount, snapshot));
            words(&mut wrong.map(|mount| match host_path(mount, snapshot) {
                Some(path) => format!("{} (the host's {})", mount.point.display(), path.display()),
                None => mount.point.display().to_string(),
            }))
        }
        Err(_) => Unknown,
    }
}

fn descriptors(snapshot: &Snapshot<'_>, kinds: &[What]) -> Found {
    if all_seen(&snapshot.members, &|member| member.outside.as_ref().err().copied()).is_err() {
        return Unknown;
    }
    words(&mut leading_out(snapshot, kinds).into_iter())
}

fn powerful(snapshot: &Snapshot<'_>) -> Found {
    let over_host = snapshot.members.iter().filter(|member| member.whose[USER] != Whose::Own);
    let mut has = 0;
    for member in over_host {
        let sets = &member.process.rights.capabilities;
        has |= sets.effective | sets.permitted | sets.ambient;
        // Root gains what is in the bounding set with its next program.
        if member.process.rights.uids.contains(&0) {
            has |= sets.bounding;
        }
    }
    match has & POWERFUL {
        0 => Nothing,
        found => This(names(found)),
    }
}

fn cgroup<T>(snapshot: &Snapshot<'_>, of: impl Fn(&Readback) -> T) -> Option<T> {
    snapshot.cgroup.as_ref().ok().map(of)
}

fn unlimited(snapshot: &Snapshot<'_>, of: impl Fn(&Readback) -> u64) -> Found {
    match cgroup(snapshot, of) {
        Some(u64::MAX) => This("no limit".into()),
        Some(_) => Nothing,
        None => Unknown,
    }
}

fn is_writable_kernel(mount: &Mount, table: &Table) -> bool {
    match mount.kind.as_str() {
        // proc is made to be written to, but for the settings of the machine.
        "proc" => {
            !mount.read_only
                && mount.point.as_os_str() == "/proc"
                && table.at(std::path::Path::new("/proc/sys")).is_none_or(|sys| !sys.read_only)
        }
        _ => mount.is_of_the_kernel() && !mount.read_only,
    }
}

fn ends_in_engine(path: &std::path::Path) -> bool {
    const SOCKETS: [&str; 6] = [
        "docker.sock",
        "containerd.sock",
        "crio.sock",
        "podman.sock",
        "buildkitd.sock",
        "cri-dockerd.sock",
    ];
    path.file_name().is_some_and(|name| SOCKETS.iter().any(|socket| name == *socket))
}

fn is_sensitive(mount: &Mount, path: &std::path::Path) -> bool {
    const TREES: [&str; 9] =
        ["/etc", "/root", "/boot", "/usr", "/bin", "/sbin", "/lib", "/var/lib/kubelet/pki", "/dev"];
    // Files that engines put together for a container lie elsewhere; devices are told of as such.
    let is_root = mount.point.as_os_str() == "/";
    !is_root
        && (path.as_os_str() == "/"
            || ["/var", "/run", "/home"].iter().any(|whole| path.as_os_str() == *whole)
            || TREES.iter().any(|tree| path.starts_with(tree)) && !mount.point.starts_with("/dev"))
}

fn is_unconfined(label: &str) -> bool {
    label.is_empty() || label.starts_with("unconfined") || label.contains(":unconfined_t:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_the_document() {
        let document = include_str!("../../../docs/report.md");
        assert!(SOUGHT.is_sorted_by(|one, next| one.weight >= next.weight));
        for sought in SOUGHT {
            let row = format!("| {} | {} | {} |", sought.item, sought.weight, sought.why);
            assert!(document.contains(&row), "docs/report.md has no row {row}");
        }
        let rows = document.lines().skip_while(|line| !line.starts_with("| item | weight |"));
        assert_eq!(rows.skip(2).take_while(|line| line.starts_with('|')).count(), SOUGHT.len());
        assert!(document.contains(&format!("model {MODEL}")));
    }
}
