//! Which differences between brig and the references are meant, and how views are compared.
//!
//! The references are Debian's runc and the crate libcontainer. A view is what `probe` prints.
//! [`EXPLAINED`] and [`REFUSED`] are the only places where a difference is accepted, and the source
//! of `docs/conformance.md`.

use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// What brig is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// Debian's runc.
    Runc,
    /// The crate libcontainer, in the program of `integration/reference`.
    Libcontainer,
}

/// Both.
const BOTH: &[Reference] = &[Reference::Runc, Reference::Libcontainer];
const RUNC: &[Reference] = &[Reference::Runc];
const LIBCONTAINER: &[Reference] = &[Reference::Libcontainer];

impl Reference {
    /// Its name in messages and in the document.
    pub fn name(self) -> &'static str {
        match self {
            Reference::Runc => "runc",
            Reference::Libcontainer => "libcontainer",
        }
    }
}

/// A difference that is meant.
pub struct Explained {
    /// Which references differ so.
    pub of: &'static [Reference],
    /// Where in the view: paths such as `mounts./proc/keys.*`; `*` stands for anything.
    pub paths: &'static [&'static str],
    /// What the reference has there, in words.
    pub reference: &'static str,
    /// What brig has.
    pub brig: &'static str,
    /// Why.
    pub why: &'static str,
}

/// A bundle that a reference does not run.
pub struct Refused {
    /// The reference.
    pub by: Reference,
    /// The bundle's name in `integration/tests/differential.rs`.
    pub bundle: &'static str,
    /// What its error says.
    pub says: &'static str,
    /// Why brig runs it.
    pub why: &'static str,
}

/// Every bundle that a reference does not run.
pub const REFUSED: &[Refused] = &[Refused {
    by: Reference::Libcontainer,
    bundle: "no_environment",
    says: "PATH environment variable is not set",
    why: "`process.env` is optional, and an absolute program needs no search path",
}];

/// Every difference that is meant.
pub const EXPLAINED: &[Explained] = &[
    Explained {
        of: BOTH,
        paths: &["mounts./proc/keys.*", "mounts./proc/timer_list.*", "mounts./proc/kcore.*"],
        reference: "a masked file is covered by the container's own `/dev/null`",
        brig: "by an empty read-only file of brig's",
        why: "an image, or a race, can put something else at `/dev/null` (CVE-2025-31133)",
    },
    Explained {
        of: BOTH,
        paths: &[
            "mounts./proc/acpi.*",
            "mounts./proc/scsi.*",
            "mounts./sys/firmware.*",
            "mounts./home.*",
        ],
        reference: "a masked directory is covered by a read-only tmpfs of its own",
        brig: "by an empty read-only directory of brig's, without set-user-id programs, devices and execution",
        why: "an empty directory can be shared by all masks, and needs no privilege",
    },
    Explained {
        of: RUNC,
        paths: &["fds.0", "fds.1", "fds.2"],
        reference: "in the foreground, pipes to runc, which copies",
        brig: "the caller's own descriptors",
        why: "nothing is copied, reordered or lost, whatever happens to brig",
    },
    Explained {
        of: RUNC,
        paths: &["mounts./sys.data"],
        reference: "`ro` is set on the file system as well as on the mount",
        brig: "on the mount alone",
        why: "fsmount(2) takes it as an attribute of the mount, which is what denies the write",
    },
    Explained {
        of: BOTH,
        paths: &[
            "mounts./.propagation",
            "mounts./s.propagation",
            "mounts./s/t.propagation",
            "mounts./etc/hostname.propagation",
            "mounts./var.propagation",
            "mounts./dev/full.propagation",
            "mounts./dev/null.propagation",
            "mounts./dev/random.propagation",
            "mounts./dev/tty.propagation",
            "mounts./dev/urandom.propagation",
            "mounts./dev/zero.propagation",
        ],
        reference: "a slave of the host's mount, where the spec names no propagation",
        brig: "private",
        why: "they are detached clones: what is mounted on the host later does not show up inside",
    },
    Explained {
        of: RUNC,
        paths: &["cgroup.0:"],
        reference: "on a hybrid host, a directory in the v2 hierarchy as well",
        brig: "only where a limit needs that hierarchy",
        why: "it has no controller of use; two system calls and a directory less for each container",
    },
    Explained {
        of: RUNC,
        paths: &["mounts./sys/fs/cgroup.options"],
        reference: "the tmpfs that holds the hierarchies stays writable, though the mount asks for `ro`",
        brig: "read-only",
        why: "the mount asked for it",
    },
    Explained {
        of: RUNC,
        paths: &["mounts./sys/fs/cgroup/systemd.source"],
        reference: "`systemd`",
        brig: "the source of the host's mount",
        why: "the directory is a clone of the host's mount, not a new one",
    },
    Explained {
        of: BOTH,
        paths: &["dev./dev/mqueue"],
        reference: "with a user namespace, owned by its root",
        brig: "by an id that is not mapped; anyone may write there as before",
        why: "the IPC namespace is made in one clone3 with the user namespace, whose id maps come after",
    },
    Explained {
        of: LIBCONTAINER,
        paths: &["env_order"],
        reference: "the environment in an order that changes from run to run: it is kept in a hash map",
        brig: "the order of `process.env`",
        why: "a list has an order, and some programs show it",
    },
    Explained {
        of: LIBCONTAINER,
        paths: &["env.HOME"],
        reference: "no `HOME` for a user whom the image's /etc/passwd does not name",
        brig: "`/`, as runc",
        why: "shells and interpreters complain without one",
    },
    Explained {
        of: LIBCONTAINER,
        paths: &["cgroup.*:name=systemd"],
        reference: "stays in the caller's directory of the hierarchy without controllers",
        brig: "a directory of its own there too, as runc",
        why: "it is the one that shows which processes belong to the container, whatever limits it has",
    },
    Explained {
        of: LIBCONTAINER,
        paths: &[
            "mounts./sys/fs/cgroup.options",
            "mounts./sys/fs/cgroup/blkio.options",
            "mounts./sys/fs/cgroup/cpu.options",
            "mounts./sys/fs/cgroup/cpuacct.options",
            "mounts./sys/fs/cgroup/cpuset.options",
            "mounts./sys/fs/cgroup/devices.options",
            "mounts./sys/fs/cgroup/freezer.options",
            "mounts./sys/fs/cgroup/memory.options",
            "mounts./sys/fs/cgroup/pids.options",
            "mounts./sys/fs/cgroup/systemd.options",
        ],
        reference: "the tmpfs and the hierarchies in it stay writable, though the mount asks for `ro`",
        brig: "read-only",
        why: "the mount asked for it: a writable `release_agent` or `devices.allow` is a way out",
    },
    Explained {
        of: LIBCONTAINER,
        paths: &["mounts./var.options"],
        reference: "a read-only path also loses set-user-id programs, devices and execution",
        brig: "read-only, otherwise as it was; so runc",
        why: "`linux.readonlyPaths` says read-only; more would break what is in it",
    },
    Explained {
        of: LIBCONTAINER,
        paths: &["mounts./b.propagation"],
        reference: "a slave of the host's mount, though the mount asks for `rprivate`",
        brig: "private",
        why: "the mount asked for it",
    },
];

/// The refusal of `bundle` by `reference`, if it is a known one.
pub fn refusal(reference: Reference, bundle: &str) -> Option<&'static Refused> {
    REFUSED.iter().find(|r| r.by == reference && r.bundle == bundle)
}

/// The entry that explains a difference from `reference` at `path`.
pub fn explanation(reference: Reference, path: &str) -> Option<&'static Explained> {
    EXPLAINED
        .iter()
        .find(|e| e.of.contains(&reference) && e.paths.iter().any(|pattern| matches(pattern, path)))
}

/// Whether `path` is of the form `pattern`, in which `*` stands for anything.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((head, tail)) => path.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| matches(tail, &rest[at..]))
        }),
    }
}

/// Makes two runs comparable: numbers of namespaces and names of files become kinds, lists of
/// mounts become maps. `host` says which namespaces are the caller's.
#[must_use]
pub fn normalised(view: &Value, host: &Value, id: &str) -> Value {
    let mut view = view.clone();
    if let Some(namespaces) = view["namespaces"].as_object_mut() {
        for (kind, link) in namespaces.iter_mut() {
            *link = if host[kind] == *link { "the host's".into() } else { "its own".into() };
        }
    }
    if view["namespaces"]["pid"] == "the host's" {
        for key in ["pid", "session", "processes"] {
            view[key] = Value::Null;
        }
    }
    if let Some(fds) = view["fds"].as_object_mut() {
        for link in fds.values_mut() {
            let kind = match link.as_str() {
                Some(l) if l.starts_with("/dev/") => l.to_owned(),
                Some(l) if l.starts_with('/') => "file".into(),
                Some(l) => l.split(':').next().unwrap_or_default().into(),
                None => String::new(),
            };
            *link = kind.into();
        }
    }
    // Names and values apart from their order.
    if let Some(env) = view["env"].as_array() {
        let pairs: Vec<(String, Value)> = env
            .iter()
            .filter_map(|v| v.as_str()?.split_once('='))
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        view["env_order"] = pairs.iter().map(|(name, _)| name.clone()).collect();
        view["env"] = Value::Object(pairs.into_iter().collect());
    }
    // Lines such as `4:memory:/path`.
    if let Some(lines) = view["cgroup"].as_array() {
        let split = |line: &Value| {
            let (name, path) = line.as_str()?.rsplit_once(':')?;
            Some((name.to_owned(), Value::from(path)))
        };
        view["cgroup"] = Value::Object(lines.iter().filter_map(split).collect());
    }
    if let Some(mounts) = view["mounts"].as_array() {
        view["mounts"] = Value::Object(by_target(mounts));
    }
    // The session keyring is named after the container.
    let text = view.to_string().replace(id, "ID");
    let mut view: Value = serde_json::from_str(&text).unwrap_or_default();
    view["keys"] = Value::Null;
    view
}

/// Mounts by their target; of several on one, `#2` and so on, from below.
fn by_target(mounts: &[Value]) -> Map<String, Value> {
    let mut found = Map::new();
    for mount in mounts {
        let target = mount["target"].as_str().unwrap_or_default();
        let mut key = target.to_owned();
        let mut number = 1;
        while found.contains_key(&key) {
            number += 1;
            key = format!("{target}#{number}");
        }
        found.insert(key, mount.clone());
    }
    found
}

/// Where two views differ: the path, and both values.
pub fn differences(reference: &Value, tested: &Value) -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    compare(String::new(), reference, tested, &mut found);
    found
}

fn compare(path: String, left: &Value, right: &Value, found: &mut Vec<(String, Value, Value)>) {
    if left == right {
        return;
    }
    let (Some(l), Some(r)) = (left.as_object(), right.as_object()) else {
        found.push((path, left.clone(), right.clone()));
        return;
    };
    let mut keys: Vec<&String> = l.keys().chain(r.keys().filter(|k| !l.contains_key(*k))).collect();
    keys.sort();
    for key in keys {
        let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        compare(
            inner,
            l.get(key).unwrap_or(&Value::Null),
            r.get(key).unwrap_or(&Value::Null),
            found,
        );
    }
}

/// The text of `docs/conformance.md`: `bundles` are the names of what is compared.
#[must_use]
pub fn document(bundles: &[&str]) -> String {
    let mut text = String::from(
        "# Conformance\n\n\
         `integration/tests/differential.rs` runs the same bundle under brig, under Debian's runc, and under the\n\
         crate libcontainer (youki's), and compares what a process inside sees of itself: namespaces, ids,\n\
         capabilities, limits, mounts with their options and propagation, devices, descriptors, sysctls, signals\n\
         and more. Every difference fails the test, but for those in this table. It is generated from\n\
         `integration/src/conformance.rs`: `BRIG_BLESS=1 cargo nextest run -p brig-integration -E 'test(the_document)'`.\n\n\
         | where | differs | which has | brig has | why |\n|---|---|---|---|---|\n",
    );
    for e in EXPLAINED {
        let paths: Vec<String> = e.paths.iter().map(|p| format!("`{p}`")).collect();
        let of: Vec<&str> = e.of.iter().map(|r| r.name()).collect();
        let (paths, of) = (paths.join(", "), of.join(", "));
        let _ = writeln!(text, "| {paths} | {of} | {} | {} | {} |", e.reference, e.brig, e.why);
    }
    text.push_str("\nThese bundles a reference does not run:\n\n");
    for r in REFUSED {
        let bundle = r.bundle.replace('_', " ");
        let _ = writeln!(text, "- {bundle}: {} says `{}`; {}", r.by.name(), r.says, r.why);
    }
    text.push_str("\nCompared are these bundles:\n\n");
    for name in bundles {
        let _ = writeln!(text, "- {}", name.replace('_', " "));
    }
    text + &crate::requirements::table()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_at_their_place() {
        let left = json!({"a": {"b": 1, "c": [1, 2]}, "d": 1});
        let right = json!({"a": {"b": 2, "c": [1, 2]}, "e": 1});
        let paths: Vec<String> = differences(&left, &right).into_iter().map(|d| d.0).collect();
        assert_eq!(paths, ["a.b", "d", "e"]);
        assert!(differences(&left, &left).is_empty());
    }

    #[test]
    fn patterns_match_whole_paths() {
        assert!(matches("mounts./proc/*.root", "mounts./proc/keys.root"));
        assert!(!matches("mounts./proc/*.root", "mounts./proc/keys.options"));
        assert!(!matches("dev./dev/core", "dev./dev/core2"));
        for reference in BOTH {
            assert!(explanation(*reference, "ids.uid").is_none());
        }
        assert!(explanation(Reference::Runc, "fds.1").is_some());
        assert!(explanation(Reference::Libcontainer, "fds.1").is_none());
    }

    #[test]
    fn namespaces_and_descriptors_become_kinds() {
        let view = json!({"namespaces": {"net": "net:[1]", "pid": "pid:[5]"}, "fds": {"0": "/dev/null", "1": "/tmp/x", "2": "pipe:[7]"}, "hostname": "box-1"});
        let seen = normalised(&view, &json!({"net": "net:[1]", "pid": "pid:[2]"}), "box-1");
        assert_eq!(seen["namespaces"], json!({"net": "the host's", "pid": "its own"}));
        assert_eq!(seen["fds"], json!({"0": "/dev/null", "1": "file", "2": "pipe"}));
        assert_eq!(seen["hostname"], "ID");
    }

    #[test]
    fn the_environments_order_is_a_value_of_its_own() {
        let [left, right] = [json!({"env": ["A=1", "B="]}), json!({"env": ["B=", "A=2"]})]
            .map(|v| normalised(&v, &json!({}), "box-1"));
        let paths: Vec<String> = differences(&left, &right).into_iter().map(|d| d.0).collect();
        assert_eq!(paths, ["env.A", "env_order"]);
    }
}
