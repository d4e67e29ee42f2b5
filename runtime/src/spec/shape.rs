//! Where serde's derived readers are laxer than JSON Schema: a struct may be written as an array of its
//! fields, and a plain enumeration as an object with one key.
//!
//! No other runtime reads `"root": ["rootfs", true]`; who reviews a configuration with other tools must
//! not see less than what runs. Only fields that the specification knows are looked at.

use super::json::Step;

/// The name that the last key of the path has but for the case of letters, where the field takes
/// privileges away: runc, as Go's encoding/json, would apply it, and who reviews a configuration
/// may read it so.
pub(super) fn differs_in_case(path: &[Step<'_>]) -> Option<&'static str> {
    let (Step::Key(key), above) = path.split_last()? else { return None };
    let names: &[&str] = match above {
        [] => &["linux", "process", "root"],
        [Step::Key(parent)] => match parent.as_ref() {
            b"linux" => &RESTRICTING_OF_LINUX,
            b"process" => &RESTRICTING_OF_PROCESS,
            b"root" => &["readonly"],
            _ => return None,
        },
        _ => return None,
    };
    let alike = |name: &&&str| key.eq_ignore_ascii_case(name.as_bytes());
    let name = names.iter().find(alike).copied()?;
    (key.as_ref() != name.as_bytes()).then_some(name)
}

const RESTRICTING_OF_LINUX: [&str; 8] = [
    "gidMappings",
    "maskedPaths",
    "mountLabel",
    "namespaces",
    "readonlyPaths",
    "resources",
    "seccomp",
    "uidMappings",
];

const RESTRICTING_OF_PROCESS: [&str; 7] = [
    "apparmorProfile",
    "capabilities",
    "noNewPrivileges",
    "oomScoreAdj",
    "rlimits",
    "selinuxLabel",
    "user",
];

/// What is expected where `opening` (`[` or `{`) stands, if it is neither.
pub(super) fn wrong_opening(path: &[Step<'_>], opening: u8) -> Option<&'static str> {
    let last_key = path.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.as_ref()),
        Step::Index(_) => None,
    });
    let known = |names: &[&str]| last_key.is_none_or(|key| is_one_of(key, names));
    let any = |patterns: &[&str]| patterns.iter().any(|pattern| matches(pattern, path));
    // Nearly every value ends after two searches for its name.
    let nested = matches!(path.last(), Some(Step::Index(_)));
    if opening == b'[' && (nested || known(&OBJECT_NAMES)) && any(&OBJECTS) {
        return Some("an object");
    }
    (known(&ENUMERATION_NAMES) && any(&ENUMERATIONS)).then_some("a string")
}

fn is_one_of(key: &[u8], names: &[&str]) -> bool {
    names.binary_search_by(|name| name.as_bytes().cmp(key)).is_ok()
}

/// `#` stands for any index, `*` for any key.
fn matches(pattern: &str, path: &[Step<'_>]) -> bool {
    if path.is_empty() {
        return pattern.is_empty();
    }
    let mut parts = pattern.split('/');
    let follows = |step: &Step<'_>| match (parts.next(), step) {
        (Some("#"), Step::Index(_)) | (Some("*"), Step::Key(_)) => true,
        (Some(name), step) => step.is_key(name),
        (None, _) => false,
    };
    path.iter().all(follows) && parts.next().is_none()
}

/// The last names of [`OBJECTS`] that do not end in `#` or `*`, sorted.
const OBJECT_NAMES: [&str; 20] = [
    "blockIO",
    "capabilities",
    "consoleSize",
    "cpu",
    "execCPUAffinity",
    "hooks",
    "intelRdt",
    "ioPriority",
    "linux",
    "memory",
    "memoryPolicy",
    "network",
    "personality",
    "pids",
    "process",
    "resources",
    "root",
    "scheduler",
    "seccomp",
    "user",
];

const OBJECTS: [&str; 39] = [
    "",
    "process",
    "process/user",
    "process/capabilities",
    "process/consoleSize",
    "process/ioPriority",
    "process/scheduler",
    "process/execCPUAffinity",
    "process/rlimits/#",
    "root",
    "mounts/#",
    "mounts/#/uidMappings/#",
    "mounts/#/gidMappings/#",
    "hooks",
    "hooks/*/#",
    "linux",
    "linux/uidMappings/#",
    "linux/gidMappings/#",
    "linux/namespaces/#",
    "linux/devices/#",
    "linux/netDevices/*",
    "linux/timeOffsets/*",
    "linux/seccomp",
    "linux/seccomp/syscalls/#",
    "linux/seccomp/syscalls/#/args/#",
    "linux/intelRdt",
    "linux/memoryPolicy",
    "linux/personality",
    "linux/resources",
    "linux/resources/devices/#",
    "linux/resources/memory",
    "linux/resources/cpu",
    "linux/resources/pids",
    "linux/resources/blockIO",
    "linux/resources/blockIO/*/#",
    "linux/resources/hugepageLimits/#",
    "linux/resources/network",
    "linux/resources/network/priorities/#",
    "linux/resources/rdma/*",
];

/// The last keys of [`ENUMERATIONS`], sorted.
const ENUMERATION_NAMES: [&str; 10] = [
    "action",
    "architectures",
    "class",
    "defaultAction",
    "domain",
    "flags",
    "mode",
    "op",
    "policy",
    "type",
];

const ENUMERATIONS: [&str; 15] = [
    "process/rlimits/#/type",
    "process/ioPriority/class",
    "process/scheduler/policy",
    "process/scheduler/flags/#",
    "linux/namespaces/#/type",
    "linux/devices/#/type",
    "linux/resources/devices/#/type",
    "linux/seccomp/defaultAction",
    "linux/seccomp/architectures/#",
    "linux/seccomp/flags/#",
    "linux/seccomp/syscalls/#/action",
    "linux/seccomp/syscalls/#/args/#/op",
    "linux/personality/domain",
    "linux/memoryPolicy/mode",
    "linux/memoryPolicy/flags/#",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_agree_and_are_sorted() {
        let of = |patterns: &[&str]| {
            let plain = |p: &&str| !p.is_empty() && !p.ends_with('*');
            let last_key =
                |p: &str| p.rsplit('/').find(|part| *part != "#").unwrap_or("").to_owned();
            let mut names: Vec<String> =
                patterns.iter().copied().filter(plain).map(last_key).collect();
            names.sort();
            names.dedup();
            names
        };
        let direct: Vec<&str> = OBJECTS.iter().copied().filter(|p| !p.ends_with('#')).collect();
        assert_eq!(of(&direct), OBJECT_NAMES);
        assert_eq!(of(&ENUMERATIONS), ENUMERATION_NAMES);
    }
}
