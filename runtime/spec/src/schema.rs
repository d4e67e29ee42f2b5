//! The shape of config.json, as one table: which objects there are, and which keys each has.
//!
//! It is for what serde's derived readers cannot see. They take an array for a struct and an object for a
//! plain enumeration, and they ignore a key that is spelled in other case, which runc applies: Go's
//! encoding/json matches keys by Unicode's simple case folding. Who reviews a configuration with other tools
//! must not see more, or less, than what runs.
//!
//! Must never refuse a key that is not one of the table in another spelling: unknown keys are ignored, as the
//! specification demands (spec.md, "Extensibility").
//!
//! Reference: the specification's schema/*.json, version 1.3; unicode.SimpleFold of Go.

use Node::{Any, List, Map, Name, Object};

/// What stands at a place of the text.
#[derive(Debug)]
pub(super) enum Node {
    /// A value that serde judges, or one of which the specification says nothing.
    Any,
    /// One of a fixed set of strings.
    Name,
    /// An object with these keys.
    Object(&'static [(&'static str, Node)]),
    /// An object whose keys are the author's own.
    Map(&'static Node),
    /// An array.
    List(&'static Node),
}

/// A key that is not in the table.
static UNKNOWN: Node = Any;

impl Node {
    /// The node at the path of `keys` from the root.
    pub(super) fn at(keys: &[&str]) -> &'static Node {
        keys.iter().fold(&CONFIG, |node, key| node.key(key.as_bytes()).unwrap_or(&UNKNOWN))
    }

    /// The value of `key`; the error is the name of which it is another spelling.
    pub(super) fn key(&'static self, key: &[u8]) -> Result<&'static Node, &'static str> {
        match self {
            Object(keys) => match keys.iter().find(|(name, _)| name.as_bytes() == key) {
                Some((_, node)) => Ok(node),
                None => match keys.iter().find(|(name, _)| folds_to(key, name)) {
                    Some((name, _)) => Err(name),
                    None => Ok(&UNKNOWN),
                },
            },
            Map(node) => Ok(node),
            _ => Ok(&UNKNOWN),
        }
    }

    /// An element of it.
    pub(super) fn element(&'static self) -> &'static Node {
        match self {
            List(node) => node,
            _ => &UNKNOWN,
        }
    }

    /// What is expected where `opening` (`[` or `{`) stands, if it is neither.
    pub(super) fn wrong_opening(&self, opening: u8) -> Option<&'static str> {
        match self {
            Object(_) if opening == b'[' => Some("an object"),
            Name => Some("a string"),
            _ => None,
        }
    }
}

/// Whether `key` and `name`, which is ASCII, are the same but for case. Two characters that are not ASCII
/// fold to letters: the long s and the sign of the kelvin (Unicode's CaseFolding.txt).
fn folds_to(key: &[u8], name: &str) -> bool {
    // A character that folds has at most three bytes.
    if key.len() < name.len() || key.len() > 3 * name.len() {
        return false;
    }
    let Ok(key) = std::str::from_utf8(key) else { return false };
    let folded = key.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    });
    folded.eq(name.chars().map(|c| c.to_ascii_lowercase()))
}

const ID_MAPPINGS: Node = List(&Object(&[("containerID", Any), ("hostID", Any), ("size", Any)]));

const HOOKS: Node = List(&Object(&[("path", Any), ("args", Any), ("env", Any), ("timeout", Any)]));

const THROTTLES: Node = List(&Object(&[("major", Any), ("minor", Any), ("rate", Any)]));

const PROCESS: Node = Object(&[
    ("terminal", Any),
    ("consoleSize", Object(&[("height", Any), ("width", Any)])),
    ("cwd", Any),
    ("env", Any),
    ("args", Any),
    ("commandLine", Any),
    ("rlimits", List(&Object(&[("type", Name), ("soft", Any), ("hard", Any)]))),
    ("apparmorProfile", Any),
    ("capabilities", CAPABILITIES),
    ("noNewPrivileges", Any),
    ("oomScoreAdj", Any),
    ("scheduler", SCHEDULER),
    ("selinuxLabel", Any),
    ("user", USER),
    ("ioPriority", Object(&[("class", Name), ("priority", Any)])),
    ("execCPUAffinity", Object(&[("initial", Any), ("final", Any)])),
]);

const CAPABILITIES: Node = Object(&[
    ("effective", List(&Name)),
    ("bounding", List(&Name)),
    ("inheritable", List(&Name)),
    ("permitted", List(&Name)),
    ("ambient", List(&Name)),
]);

const SCHEDULER: Node = Object(&[
    ("policy", Name),
    ("nice", Any),
    ("priority", Any),
    ("flags", List(&Name)),
    ("runtime", Any),
    ("deadline", Any),
    ("period", Any),
]);

const USER: Node = Object(&[
    ("uid", Any),
    ("gid", Any),
    ("umask", Any),
    ("additionalGids", Any),
    ("username", Any),
]);

const MOUNTS: Node = List(&Object(&[
    ("destination", Any),
    ("type", Any),
    ("source", Any),
    ("options", Any),
    ("uidMappings", ID_MAPPINGS),
    ("gidMappings", ID_MAPPINGS),
]));

const SECCOMP: Node = Object(&[
    ("defaultAction", Name),
    ("defaultErrnoRet", Any),
    ("architectures", List(&Name)),
    ("flags", List(&Name)),
    ("listenerPath", Any),
    ("listenerMetadata", Any),
    ("syscalls", List(&SYSCALL)),
]);

const SYSCALL: Node = Object(&[
    ("names", Any),
    ("action", Name),
    ("errnoRet", Any),
    ("args", List(&Object(&[("index", Any), ("value", Any), ("valueTwo", Any), ("op", Name)]))),
]);

const RESOURCES: Node = Object(&[
    (
        "devices",
        List(&Object(&[
            ("allow", Any),
            ("type", Name),
            ("major", Any),
            ("minor", Any),
            ("access", Any),
        ])),
    ),
    ("memory", MEMORY),
    ("cpu", CPU),
    ("pids", Object(&[("limit", Any)])),
    ("blockIO", BLOCK_IO),
    ("hugepageLimits", List(&Object(&[("pageSize", Any), ("limit", Any)]))),
    (
        "network",
        Object(&[
            ("classID", Any),
            ("priorities", List(&Object(&[("name", Any), ("priority", Any)]))),
        ]),
    ),
    ("rdma", Map(&Object(&[("hcaHandles", Any), ("hcaObjects", Any)]))),
    ("unified", Map(&Any)),
]);

const MEMORY: Node = Object(&[
    ("limit", Any),
    ("reservation", Any),
    ("swap", Any),
    ("kernel", Any),
    ("kernelTCP", Any),
    ("swappiness", Any),
    ("disableOOMKiller", Any),
    ("useHierarchy", Any),
    ("checkBeforeUpdate", Any),
]);

const CPU: Node = Object(&[
    ("shares", Any),
    ("quota", Any),
    ("burst", Any),
    ("period", Any),
    ("realtimeRuntime", Any),
    ("realtimePeriod", Any),
    ("cpus", Any),
    ("mems", Any),
    ("idle", Any),
]);

const BLOCK_IO: Node = Object(&[
    ("weight", Any),
    ("leafWeight", Any),
    (
        "weightDevice",
        List(&Object(&[("major", Any), ("minor", Any), ("weight", Any), ("leafWeight", Any)])),
    ),
    ("throttleReadBpsDevice", THROTTLES),
    ("throttleWriteBpsDevice", THROTTLES),
    ("throttleReadIOPSDevice", THROTTLES),
    ("throttleWriteIOPSDevice", THROTTLES),
]);

const DEVICES: Node = List(&Object(&[
    ("type", Name),
    ("path", Any),
    ("major", Any),
    ("minor", Any),
    ("fileMode", Any),
    ("uid", Any),
    ("gid", Any),
]));

const INTEL_RDT: Node = Object(&[
    ("closID", Any),
    ("schemata", Any),
    ("l3CacheSchema", Any),
    ("memBwSchema", Any),
    ("enableCMT", Any),
    ("enableMBM", Any),
    ("enableMonitoring", Any),
]);

const LINUX: Node = Object(&[
    ("uidMappings", ID_MAPPINGS),
    ("gidMappings", ID_MAPPINGS),
    ("sysctl", Map(&Any)),
    ("resources", RESOURCES),
    ("cgroupsPath", Any),
    ("namespaces", List(&Object(&[("type", Name), ("path", Any)]))),
    ("devices", DEVICES),
    ("netDevices", Map(&Object(&[("name", Any)]))),
    ("seccomp", SECCOMP),
    ("rootfsPropagation", Any),
    ("maskedPaths", Any),
    ("readonlyPaths", Any),
    ("mountLabel", Any),
    ("intelRdt", INTEL_RDT),
    ("personality", Object(&[("domain", Name), ("flags", Any)])),
    ("timeOffsets", Map(&Object(&[("secs", Any), ("nanosecs", Any)]))),
    ("memoryPolicy", Object(&[("mode", Name), ("nodes", Any), ("flags", List(&Name))])),
]);

static CONFIG: Node = Object(&[
    ("ociVersion", Any),
    ("process", PROCESS),
    ("root", Object(&[("path", Any), ("readonly", Any)])),
    ("hostname", Any),
    ("domainname", Any),
    ("mounts", MOUNTS),
    (
        "hooks",
        Object(&[
            ("prestart", HOOKS),
            ("createRuntime", HOOKS),
            ("createContainer", HOOKS),
            ("startContainer", HOOKS),
            ("poststart", HOOKS),
            ("poststop", HOOKS),
        ]),
    ),
    ("annotations", Map(&Any)),
    ("linux", LINUX),
    ("solaris", Any),
    ("windows", Any),
    ("vm", Any),
    ("zos", Any),
    ("freebsd", Any),
]);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Every key of the value that the table does not know.
    fn unknown(value: &Value, node: &'static Node, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    let path = format!("{path}/{key}");
                    if let Object(keys) = node
                        && keys.iter().all(|(name, _)| name != key)
                    {
                        found.push(path.clone());
                    }
                    unknown(value, node.key(key.as_bytes()).unwrap(), &path, found);
                }
            }
            Value::Array(elements) => {
                for element in elements {
                    unknown(element, node.element(), &format!("{path}/#"), found);
                }
            }
            _ => {}
        }
    }

    /// Every key of the table, as a path.
    fn known(node: &Node, path: &str, found: &mut Vec<String>) {
        match node {
            Object(keys) => {
                for (name, node) in *keys {
                    found.push(format!("{path}/{name}"));
                    known(node, &format!("{path}/{name}"), found);
                }
            }
            Map(node) => known(node, &format!("{path}/*"), found),
            List(node) => known(node, &format!("{path}/#"), found),
            Any | Name => {}
        }
    }

    #[test]
    fn every_field_is_in_the_table() {
        let text = include_bytes!("testdata/every-field.json");
        let value: Value = serde_json::from_slice(text).unwrap();
        let mut found = Vec::new();
        unknown(&value, &CONFIG, "", &mut found);
        assert_eq!(found, Vec::<String>::new());
        // What oci-spec reads of it and writes again is all it knows.
        let spec: oci_spec::runtime::Spec = serde_json::from_slice(text).unwrap();
        unknown(&serde_json::to_value(spec).unwrap(), &CONFIG, "", &mut found);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn other_spellings_are_found_on_every_level() {
        let mut paths = Vec::new();
        known(&CONFIG, "", &mut paths);
        assert!(paths.len() > 150, "{}", paths.len());
        for path in &paths {
            let steps: Vec<&str> = path.split('/').skip(1).collect();
            let (last, above) = steps.split_last().unwrap();
            let node = above.iter().fold(&CONFIG, |node: &'static Node, step| match *step {
                "#" => node.element(),
                step => node.key(step.as_bytes()).unwrap(),
            });
            let mut spellings = vec![last.to_uppercase(), last.to_lowercase()];
            spellings.push(last.replace('s', "\u{17f}"));
            spellings.push(last.replace('k', "\u{212a}").replace('S', "\u{17f}"));
            for spelling in spellings.iter().filter(|spelling| spelling != last) {
                assert_eq!(node.key(spelling.as_bytes()).unwrap_err(), *last, "{path}");
            }
            for other in [format!("{last}x"), format!("x{last}"), last[1..].to_owned()] {
                assert!(node.key(other.as_bytes()).is_ok(), "{path}: {other}");
            }
        }
    }
}
