//! What `brig spec` writes: a configuration to start from, with the same content as runc's.

use std::collections::HashSet;

use oci_spec::runtime::{
    Capability, Linux, LinuxBuilder, LinuxDeviceCgroupBuilder, LinuxIdMappingBuilder,
    LinuxNamespaceBuilder, LinuxNamespaceType, LinuxResourcesBuilder, Mount, Process, Spec,
};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

use crate::spec::VERSION;

/// As runc's, so that scripts which look for it find it.
const HOSTNAME: &str = "runc";

/// A configuration which runs `sh` in `rootfs`; with `rootless` one for that user and group id, without
/// privileges: a user namespace where they are root, the host's network, no limits.
fn configuration(rootless: Option<(u32, u32)>) -> Spec {
    let mut spec = match rootless {
        None => Spec::default(),
        Some((uid, gid)) => Spec::rootless(uid, gid),
    };
    spec.set_version(VERSION.to_owned());
    spec.set_hostname(Some(HOSTNAME.to_owned()));
    spec.set_annotations(None);
    if let Some(process) = spec.process_mut() {
        process_of_template(process);
    }
    spec.set_linux(Some(linux(rootless)));
    for mount in spec.mounts_mut().iter_mut().flatten() {
        bind_option_first(mount);
    }
    spec
}

fn process_of_template(process: &mut Process) {
    process.set_terminal(Some(true));
    let kept = [Capability::AuditWrite, Capability::Kill, Capability::NetBindService];
    let kept: HashSet<Capability> = kept.into_iter().collect();
    let mut sets = oci_spec::runtime::LinuxCapabilities::default();
    sets.set_bounding(Some(kept.clone()));
    sets.set_effective(Some(kept.clone()));
    sets.set_permitted(Some(kept.clone()));
    sets.set_ambient(Some(kept));
    sets.set_inheritable(None);
    process.set_capabilities(Some(sets));
}

fn linux(rootless: Option<(u32, u32)>) -> Linux {
    let mut linux = LinuxBuilder::default().build().unwrap_or_default();
    let mut namespaces = vec![LinuxNamespaceType::Pid];
    if rootless.is_none() {
        namespaces.push(LinuxNamespaceType::Network);
    }
    namespaces.extend([
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Mount,
    ]);
    if rootless.is_some() {
        namespaces.push(LinuxNamespaceType::User);
    }
    namespaces.push(LinuxNamespaceType::Cgroup);
    let of_type = |typ| LinuxNamespaceBuilder::default().typ(typ).build().ok();
    linux.set_namespaces(Some(namespaces.into_iter().filter_map(of_type).collect()));
    linux.set_resources(None);
    match rootless {
        Some((uid, gid)) => {
            let to = |id: u32| {
                LinuxIdMappingBuilder::default().host_id(id).container_id(0u32).size(1u32).build()
            };
            linux.set_uid_mappings(to(uid).ok().map(|mapping| vec![mapping]));
            linux.set_gid_mappings(to(gid).ok().map(|mapping| vec![mapping]));
        }
        None => {
            let deny_all = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build();
            let devices: Vec<_> = deny_all.into_iter().collect();
            linux.set_resources(LinuxResourcesBuilder::default().devices(devices).build().ok());
        }
    }
    linux
}

/// runc writes `rbind` before `ro`'s place in the list of /sys; the order means nothing.
fn bind_option_first(mount: &mut Mount) {
    if let Some(options) = mount.options_mut()
        && let Some(at) = options.iter().position(|option| option == "rbind")
    {
        let bind = options.remove(at);
        options.insert(0, bind);
    }
}

/// A configuration to start from, as the text of a `config.json`: tabs, and the fields in runc's order.
#[must_use]
pub fn text(rootless: Option<(u32, u32)>) -> String {
    let mut value = serde_json::to_value(configuration(rootless)).unwrap_or_default();
    // oci-spec keeps capabilities in a hash set; the text must not differ from run to run.
    if let Some(Value::Object(sets)) = value.pointer_mut("/process/capabilities") {
        for names in sets.values_mut().filter_map(Value::as_array_mut) {
            names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
    let mut text = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, tabs);
    // Writing to memory, with string keys only, cannot fail.
    let _written = InOrder(&value).serialize(&mut serializer);
    String::from_utf8(text).unwrap_or_default()
}

/// The keys of the template in the order of the specification's Go types, whatever object they are in.
const ORDER: [&str; 36] = [
    "ociVersion",
    "process",
    "terminal",
    "user",
    "uid",
    "gid",
    "args",
    "env",
    "cwd",
    "capabilities",
    "bounding",
    "effective",
    "permitted",
    "ambient",
    "rlimits",
    "noNewPrivileges",
    "root",
    "path",
    "readonly",
    "hostname",
    "mounts",
    "destination",
    "type",
    "source",
    "options",
    "allow",
    "access",
    "hard",
    "soft",
    "linux",
    "uidMappings",
    "gidMappings",
    "resources",
    "namespaces",
    "maskedPaths",
    "readonlyPaths",
];

struct InOrder<'a>(&'a Value);

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let rank =
                    |key: &str| ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len());
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_by_key(|(key, _)| rank(key));
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, value) in fields {
                    map.serialize_entry(key, &InOrder(value))?;
                }
                map.end()
            }
            Value::Array(values) => serializer.collect_seq(values.iter().map(InOrder)),
            plain => plain.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What runc 1.1.5 writes for `runc spec`, and with `--rootless` as uid and gid 1000.
    const RUNC: &str = include_str!("../spec/src/testdata/runc-spec.json");
    const RUNC_ROOTLESS: &str = include_str!("../spec/src/testdata/runc-spec-rootless.json");

    /// The text without what differs on purpose: the version, and the cgroup namespace, which runc adds on
    /// hosts with cgroup v2 only.
    fn without_differences(text: &str) -> String {
        let text = text.replace(VERSION, "1.0.2-dev");
        text.replace(",\n\t\t\t{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}", "")
    }

    #[test]
    fn is_byte_for_byte_what_runc_writes() {
        assert_eq!(without_differences(&text(None)), RUNC);
        assert_eq!(without_differences(&text(Some((1000, 1000)))), RUNC_ROOTLESS);
    }

    #[test]
    fn passes_our_own_checks() {
        for rootless in [None, Some((1000, 100))] {
            let asked = crate::spec::Asked::read(text(rootless).as_bytes());
            assert!(asked.is_ok(), "{asked:?}");
        }
    }
}
