//! Whose a container's cgroup is: config-linux.md, "Cgroup ownership".

use brig::policy::{self, Facts, Hardened, IdPool, NodePolicy, Policy, RANGE_IDS, Remap, Sources};
use brig::spec::Asked;
use serde_json::{Value, json};

use crate::support::{Machine, config, namespace, remap, spec_of};

/// A configuration with a cgroup namespace, a mount of the cgroup that can be written to, and a user namespace.
fn delegating() -> Value {
    let mut config = config(None);
    let mounts = config["mounts"].as_array_mut().expect("a list");
    mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime"]}));
    namespace(&mut config, "cgroup", None);
    remap(&mut config);
    config
}

fn mount(config: &mut Value) -> &mut Value {
    let mounts = config["mounts"].as_array_mut().expect("a list");
    let last = mounts.last_mut();
    last.expect("the one of the cgroup")
}

/// The owner that the plan gives the cgroup, if it does.
fn owner(config: &Value, machine: &Machine) -> Option<String> {
    owner_of(&spec_of(config), machine)
}

fn owner_of(spec: &Hardened, machine: &Machine) -> Option<String> {
    let lines = machine.cgroup(spec).lines();
    let owners: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("chown ")).collect();
    assert!(owners.len() <= 1, "{lines:?}");
    owners.first().map(|line| line.split(' ').next().unwrap_or_default().to_owned())
}

#[test]
fn the_cgroup_is_the_users_who_may_write_to_it() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change, Option<&str>); 12] = [
        ("root of a user namespace", |_| {}, Some("100000:100000")),
        (
            "another user of it",
            |config| config["process"]["user"] = json!({"uid": 7, "gid": 8}),
            Some("100007:100008"),
        ),
        (
            "a user of the host",
            |config| {
                let list = config["linux"]["namespaces"].as_array_mut().expect("a list");
                list.retain(|entry| entry["type"] != "user");
                config["linux"]["uidMappings"] = Value::Null;
                config["linux"]["gidMappings"] = Value::Null;
                config["process"]["user"] = json!({"uid": 7, "gid": 8});
            },
            Some("7:8"),
        ),
        (
            "root of the host",
            |config| {
                let list = config["linux"]["namespaces"].as_array_mut().expect("a list");
                list.retain(|entry| entry["type"] != "user");
                config["linux"]["uidMappings"] = Value::Null;
                config["linux"]["gidMappings"] = Value::Null;
            },
            None,
        ),
        ("a cgroup2", |config| mount(config)["type"] = json!("cgroup2"), Some("100000:100000")),
        ("read-only", |config| mount(config)["options"] = json!(["ro"]), None),
        ("read-only with what is below", |config| mount(config)["options"] = json!(["rro"]), None),
        ("elsewhere", |config| mount(config)["destination"] = json!("/cgroup"), None),
        ("another source", |config| mount(config)["source"] = json!("x"), None),
        (
            "the host's cgroup namespace",
            |config| {
                let list = config["linux"]["namespaces"].as_array_mut().expect("a list");
                list.retain(|entry| entry["type"] != "cgroup");
            },
            None,
        ),
        (
            "another's cgroup namespace",
            |config| namespace(config, "cgroup", Some("/proc/7/ns/cgroup")),
            None,
        ),
        // What its ids are is known once a process is in it.
        (
            "another's user namespace",
            |config| namespace(config, "user", Some("/proc/7/ns/user")),
            None,
        ),
    ];
    for (name, change, expected) in cases {
        let mut config = delegating();
        change(&mut config);
        assert_eq!(owner(&config, &Machine::v2()).as_deref(), expected, "{name}");
    }
}

#[test]
fn no_cgroup_is_delegated_on_v1_or_by_an_ordinary_user() {
    let config = delegating();
    for machine in [Machine::v1(), Machine::hybrid(), Machine::rootless()] {
        assert_eq!(owner(&config, &machine), None, "{machine:?}");
    }
}

/// Ids that the node gives count like those of config.json, and what it makes read-only is.
#[test]
fn a_remapped_containers_cgroup_is_its_users_unless_the_node_makes_it_read_only() {
    let mut config = delegating();
    let list = config["linux"]["namespaces"].as_array_mut().expect("a list");
    list.retain(|entry| entry["type"] != "user");
    config["linux"]["uidMappings"] = Value::Null;
    config["linux"]["gidMappings"] = Value::Null;
    let first = 5 * RANGE_IDS;
    let remapping = "remapping = { mode = \"enforce\", root = \"read-only\", size = \"1MiB\", \
                     unmappable = \"refuse\" }\n";
    for (more, expected) in
        [("", Some(format!("{first}:{first}"))), ("kernel_mounts.mode = \"enforce\"\n", None)]
    {
        let rules = format!("{remapping}{more}");
        let text = format!("version = 1\ndefault = \"it\"\n[profile.it]\n{rules}");
        let profile = Policy::read(&text).expect("a policy").profile(None).expect("it");
        let facts = Facts {
            pool: IdPool::new(first, RANGE_IDS).expect("a pool"),
            remap: Remap::Range(first),
            ..Facts::default()
        };
        let node = NodePolicy { profile, facts, conditions: Vec::new() };
        let asked = Asked::read(config.to_string().as_bytes()).expect("it is acceptable");
        let (spec, _) = policy::harden(asked, &node, &Sources::default()).expect("it is granted");
        assert_eq!(owner_of(&spec, &Machine::v2()), expected, "{rules}");
    }
}
