//! What oci-spec 0.10 refuses or misreads although the specification allows it.
//!
//! Each rule says what the specification means and writes it so that oci-spec understands the same. A
//! rule never makes a container less confined than what was asked, and never touches arrays' lengths,
//! so that the path of a later error is still true. A rule goes away with the gap that it closes.

use oci_spec::runtime::{Process, Spec};
use serde_json::{Map, Value};

use super::error::Error;

/// As the kernel's `linux/sched.h` and the specification spell a flag, and as oci-spec does: its
/// `SCHED_RESET_ON_FORK` is an older name, and serde splits the `DL` of `DL_OVERRUN`.
const SCHEDULER_FLAGS: [(&str, &str); 2] = [
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];

/// The specification's spelling of a name that oci-spec spells otherwise.
pub(super) fn canonical(name: &str) -> &str {
    SCHEDULER_FLAGS.iter().find(|(_, theirs)| *theirs == name).map_or(name, |(ours, _)| ours)
}

/// Applies all rules; whether anything changed.
pub(super) fn mend(value: &mut Value, root: &[&str]) -> bool {
    let before = value.clone();
    null_is_absent(value, root.last().copied().unwrap_or(""));
    if let Some(process) = below(value, root, &["process"]) {
        mend_process(process);
    }
    if let Some(resources) = below(value, root, &["linux", "resources"]) {
        mend_resources(resources);
    }
    if let Some(rdt) = below(value, root, &["linux", "intelRdt"]) {
        // Until 1.2; oci-spec derives other names for them.
        for (ours, theirs) in [("enableCMT", "enableCmt"), ("enableMBM", "enableMbm")] {
            if let Some(enable) = rdt.remove(ours) {
                rdt.insert(theirs.to_owned(), enable);
            }
        }
    }
    if root.is_empty()
        && let Some(spec) = value.as_object_mut()
    {
        // Sections for other platforms are not brig's to read, so they cannot be wrong either.
        for platform in ["windows", "solaris", "vm", "zos", "freebsd"] {
            spec.remove(platform);
        }
    }
    *value != before
}

/// The object at `path` of the whole configuration, where `value` is the part of it at `root`.
fn below<'a>(
    value: &'a mut Value,
    root: &[&str],
    path: &[&str],
) -> Option<&'a mut Map<String, Value>> {
    let rest = path.strip_prefix(root)?;
    rest.iter().try_fold(value, |value, key| value.get_mut(key))?.as_object_mut()
}

/// `null` for a field means that the field is not there: so do the specification's Go types read it, and
/// Go programs write it. In maps it would drop an entry that somebody wanted, so there it stays an error.
fn null_is_absent(value: &mut Value, name: &str) {
    const MAPS: [&str; 6] =
        ["annotations", "sysctl", "unified", "rdma", "netDevices", "timeOffsets"];
    match value {
        Value::Object(fields) => {
            if !MAPS.contains(&name) {
                fields.retain(|_, value| !value.is_null());
            }
            for (name, value) in fields {
                null_is_absent(value, name);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| null_is_absent(value, "")),
        _ => {}
    }
}

fn mend_process(process: &mut Map<String, Value>) {
    // The schema does not require `user`, and its absence is uid 0, gid 0 in every runtime.
    process.entry("user").or_insert_with(|| Value::Object(Map::new()));
    if let Some(flags) = process.get_mut("scheduler").and_then(|s| s.get_mut("flags")) {
        for flag in flags.as_array_mut().into_iter().flatten() {
            let theirs = SCHEDULER_FLAGS.iter().find(|(ours, _)| flag == ours);
            if let Some((_, theirs)) = theirs {
                *flag = Value::from(*theirs);
            }
        }
    }
    // The schema allows spaces and the empty list; oci-spec's pattern does not.
    if let Some(Value::Object(affinity)) = process.get_mut("execCPUAffinity") {
        for key in ["initial", "final"] {
            let Some(Value::String(list)) = affinity.get_mut(key) else {
                continue;
            };
            list.retain(|c| c != ' ');
            if list.is_empty() {
                affinity.remove(key);
            }
        }
    }
}

fn mend_resources(resources: &mut Map<String, Value>) {
    // Since 1.3 a missing limit means "leave it alone" and 0 means 0; oci-spec makes both 0.
    if resources
        .get("pids")
        .and_then(Value::as_object)
        .is_some_and(|pids| !pids.contains_key("limit"))
    {
        resources.remove("pids");
    }
    // Unsigned in the specification, signed in oci-spec. More than 2^63 bytes is no limit either way.
    let limits = resources.get_mut("hugepageLimits").and_then(Value::as_array_mut);
    for limit in limits.into_iter().flatten().filter_map(|limit| limit.get_mut("limit")) {
        if limit.as_u64().is_some_and(|bytes| i64::try_from(bytes).is_err()) {
            *limit = Value::from(i64::MAX);
        }
    }
}

/// oci-spec's own check of `execCPUAffinity` has no place in the text; find the list at fault.
pub(super) fn bad_cpu_list(value: &Value, root: &[&str]) -> Option<Error> {
    let rest = ["process"].strip_prefix(root)?;
    let process = rest.iter().try_fold(value, |value, key| value.get(key))?;
    ["initial", "final"].into_iter().find_map(|key| {
        let list = process.get("execCPUAffinity")?.get(key)?.as_str()?;
        super::check::number_list(list, || format!("process.execCPUAffinity.{key}")).err()
    })
}

/// Strings that Go's `omitempty` cannot tell from absent ones become absent.
pub(super) fn empty_strings(spec: &mut Spec) {
    clear(spec.hostname_mut());
    clear(spec.domainname_mut());
    if let Some(process) = spec.process_mut() {
        empty_strings_of_process(process);
    }
    for mount in spec.mounts_mut().iter_mut().flatten() {
        clear(mount.typ_mut());
        if mount.source().as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            mount.set_source(None);
        }
    }
    let Some(linux) = spec.linux_mut() else {
        return;
    };
    clear(linux.mount_label_mut());
    clear(linux.rootfs_propagation_mut());
    if linux.cgroups_path().as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
        linux.set_cgroups_path(None);
    }
    for namespace in linux.namespaces_mut().iter_mut().flatten() {
        if namespace.path().as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            namespace.set_path(None);
        }
    }
}

/// As [`empty_strings`], for a process alone.
pub(super) fn empty_strings_of_process(process: &mut Process) {
    if process.apparmor_profile().as_deref() == Some("") {
        process.set_apparmor_profile(None);
    }
    if process.selinux_label().as_deref() == Some("") {
        process.set_selinux_label(None);
    }
}

fn clear(text: &mut Option<String>) {
    if text.as_deref() == Some("") {
        *text = None;
    }
}
