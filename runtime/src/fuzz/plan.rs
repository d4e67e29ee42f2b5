//! Plans of configurations that are put together from the bytes.

use brig_cgroup::{CgroupFacts, CgroupPlan, CgroupRequest};
use brig_child::Op;
use brig_child::op::{PrivilegeOp, ProgramOp};
use bumpalo::Bump;
use serde_json::{Value, json};

use super::seccomp::Bytes;
use crate::caller::Caller;
use crate::plan::{self, HostFacts, Request, RootDirectory, Start, Systemd, plan_cgroup};
use crate::policy;
use crate::spec::{self, ContainerId};
use crate::template;

/// Copies of copies grow: no more than so many edits, of a configuration with so many places.
const EDITS: usize = 24;
const PLACES: usize = 2000;

/// What is put into a place of a configuration.
const VALUES: [&str; 24] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "\"\"",
    "\"/\"",
    "\"..\"",
    "\"/a/../../b\"",
    "\"/proc/self/fd/3\"",
    "\"/dev\"",
    "\"bind\"",
    "\"private\"",
    "\"a\\u0000b\"",
    "[]",
    "{}",
    "[\"ro\",\"rbind\",\"idmap\",\"rro\"]",
    "[{\"type\":\"user\"},{\"type\":\"mount\"},{\"type\":\"pid\"}]",
    "[{\"containerID\":0,\"hostID\":1000,\"size\":1}]",
    "{\"createContainer\":[{\"path\":\"/h\"}]}",
];

/// Edits of a whole configuration, on machines of all kinds. What the checks accept and the planner
/// does not refuse has a plan that ends in the program, every operation of which can be shown.
///
/// # Panics
/// When that does not hold.
pub fn plan(bytes: &[u8]) {
    is_planned(bytes);
}

/// The same, and whether there was a plan.
pub(super) fn is_planned(bytes: &[u8]) -> bool {
    let mut bytes = Bytes(bytes);
    let kind = bytes.byte();
    let base = match kind & 3 {
        0 => include_str!("../../spec/src/testdata/every-field.json").to_owned(),
        1 => template::text(Some((1000, 1000))),
        _ => template::text(None),
    };
    let mut config: Value = serde_json::from_str(&base).expect("it is JSON");
    if kind & 3 == 0 {
        plannable(&mut config);
    }
    let values = VALUES.map(|text| serde_json::from_str(text).expect("a value"));
    for _ in 0..EDITS {
        let Some(edit) = bytes.next() else { break };
        apply(&mut config, edit, &mut bytes, &values);
    }
    let text = config.to_string();
    let Ok(asked) = spec::Asked::read(text.as_bytes()) else { return false };
    planned(&policy::kept(asked), text.as_bytes(), kind)
}

/// Takes what no Linux can do out of the configuration with every field.
fn plannable(config: &mut Value) {
    config["linux"]["seccomp"]["syscalls"] =
        json!([{"names": ["execve"], "action": "SCMP_ACT_ALLOW"}]);
    config["process"]["commandLine"] = Value::Null;
    config["process"]["user"]["username"] = Value::Null;
    config["process"]["terminal"] = json!(false);
}

/// Changes the place that the bytes choose: takes it away, sets it, or copies another one there.
fn apply(config: &mut Value, edit: u8, bytes: &mut Bytes<'_>, values: &[Value]) {
    let mut places = Vec::new();
    pointers(config, &mut String::new(), &mut places);
    if places.is_empty() || places.len() > PLACES {
        return;
    }
    let at = &places[usize::from(bytes.short()) % places.len()];
    match edit % 8 {
        0 => {
            let (parent, name) = at.rsplit_once('/').unwrap_or_default();
            match config.pointer_mut(parent) {
                Some(Value::Object(map)) => drop(map.remove(name)),
                Some(Value::Array(list)) => {
                    let index = name.parse().unwrap_or(0);
                    if index < list.len() {
                        list.remove(index);
                    }
                }
                _ => {}
            }
        }
        1..=5 => {
            let type_of = config.pointer(at).map(std::mem::discriminant);
            // Mostly of the same type: what has another is refused before anything is planned.
            let fits =
                |value: &&Value| edit % 8 == 1 || Some(std::mem::discriminant(*value)) == type_of;
            let fitting: Vec<&Value> = values.iter().filter(fits).collect();
            if !fitting.is_empty() {
                let value = fitting[usize::from(bytes.byte()) % fitting.len()].clone();
                set(config, at, value);
            }
        }
        _ => {
            let from = &places[usize::from(bytes.short()) % places.len()];
            let copy = config.pointer(from).cloned().unwrap_or_default();
            match config.pointer_mut(at) {
                // Once more in the list it is in; anything else replaces.
                Some(Value::Array(list)) if from.starts_with(&format!("{at}/")) => list.push(copy),
                Some(old) if std::mem::discriminant(old) != std::mem::discriminant(&copy) => {}
                _ if at.starts_with(from.as_str()) => {}
                _ => set(config, at, copy),
            }
        }
    }
}

fn set(config: &mut Value, at: &str, value: Value) {
    if let Some(place) = config.pointer_mut(at) {
        *place = value;
    }
}

/// The pointers of all values but the whole.
fn pointers(value: &Value, at: &mut String, found: &mut Vec<String>) {
    let mut inner = |name: &str, value: &Value, at: &mut String| {
        let length = at.len();
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        found.push(at.clone());
        pointers(value, at, found);
        at.truncate(length);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| inner(name, value, at)),
        Value::Array(list) => {
            let numbered = list.iter().enumerate();
            numbered.for_each(|(index, value)| inner(&index.to_string(), value, at));
        }
        _ => {}
    }
}

/// Root, root of a user namespace, or an ordinary user, on cgroup v2 or v1.
fn machine(kind: u8) -> (HostFacts, CgroupFacts) {
    let caller = match kind & 12 {
        12 => Caller::RootOfUserNamespace,
        4 => Caller::User,
        _ => Caller::Root,
    };
    let host = HostFacts {
        caller,
        setgroups: caller != Caller::RootOfUserNamespace || kind & 16 == 0,
        empty_namespace: caller == Caller::Root && kind & 8 == 0,
        apparmor: kind & 16 == 0,
        selinux: kind & 16 == 0,
        own_pid_max: kind & 32 == 0,
        detached_layers: kind & 16 == 0,
        no_new_privileges: kind & 64 == 0,
        descriptors: (kind & 128 != 0).then_some((1024, 4096)),
    };
    let unified = json!({"layout": {"unified": {"mount": "/sys/fs/cgroup", "own": "/",
        "controllers": ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"]}}});
    let hierarchies: Vec<Value> = ["cpu,cpuacct", "memory", "devices", "freezer", "pids", "blkio"]
        .iter()
        .map(|names| {
            let controllers: Vec<&str> = names.split(',').collect();
            json!({"controllers": controllers, "mount": format!("/sys/fs/cgroup/{names}"), "own": "/"})
        })
        .collect();
    let legacy = json!({"layout": {"legacy": {"hierarchies": hierarchies, "unified": null}}});
    let facts = if kind & 32 == 0 { unified } else { legacy };
    (host, serde_json::from_value(facts).expect("facts"))
}

fn planned(spec: &policy::Hardened, text: &[u8], kind: u8) -> bool {
    let (host, facts) = machine(kind);
    let id = ContainerId::parse("web").expect("an id");
    let systemd = (kind & 96 == 64).then(Systemd::default);
    let cgroup = plan_cgroup(&id, spec, &facts, systemd.as_ref(), host.caller).or_else(|error| {
        assert!(!error.to_string().trim().is_empty(), "{error:?}");
        // The container is planned all the same, with a cgroup that asks for nothing.
        CgroupPlan::new(&facts, &CgroupRequest::new(id.as_str()))
    });
    let cgroup = cgroup.expect("a cgroup that asks for nothing");
    let filter = spec.seccomp.clone().map(|range| brig_seccomp::read_part(text, range));
    let Ok(filter) = filter.transpose() else { return false };
    let filter = filter.map(|filter| brig_seccomp::compile(&filter, brig_seccomp::Arch::native()));
    let Ok(filter) = filter.transpose() else { return false };
    let root = RootDirectory { path: "/bundle/rootfs", device: (8, 1), inode: 77, mount: 29 };
    let request = Request {
        read_only_tree: kind & 128 != 0,
        start: if kind & 64 == 0 { Start::AtGate } else { Start::AtOnce },
        standard: [kind & 8 != 0; 3],
        null: [kind & 32 != 0, kind & 8 != 0, kind & 32 != 0],
        preserve_fds: u32::from(kind >> 6),
        new_keyring: kind & 16 == 0,
        seccomp: filter.as_ref(),
        ..Request::new(&id, spec, "/bundle", root, &host, &cgroup)
    };
    let arena = Bump::new();
    match plan::plan(&arena, &request) {
        Err(refusal) => {
            assert!(!refusal.to_string().trim().is_empty(), "{refusal:?}");
            false
        }
        Ok(plan) => {
            assert!(
                matches!(plan.ops.last(), Some(Op::Program(ProgramOp::Execve { .. }))),
                "{:?}",
                plan.ops.last()
            );
            assert!(plan.after_gate <= plan.ops.len());
            assert_eq!(plan::render(&plan).lines().count(), plan.ops.len() + 1, "a line for each");
            let filtered =
                plan.ops.iter().any(|op| matches!(op, Op::Privilege(PrivilegeOp::Seccomp { .. })));
            assert_eq!(filtered, filter.is_some(), "a filter that is asked for is loaded");
            true
        }
    }
}
