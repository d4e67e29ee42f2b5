//! The whole stage from the outside: policies in, what holds or words out.

use brig_spec::{Asked, IdMapping, Linux, NamespaceType, Process, Resources};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Of a node with a pool of ten ranges.
fn facts() -> Facts {
    Facts {
        limits_swap: true,
        cgroup_v2: true,
        huge_pages: vec!["2MB".to_owned()],
        landlock: 7,
        forbids_programs_in_memory: true,
        forbids_writable_code: true,
        pool: pool(),
        remap: Remap::Unprivileged,
        ..Facts::default()
    }
}

/// The first id of the range that a container is given, the third of the pool.
const FIRST: u32 = 102 * RANGE_IDS;

fn pool() -> IdPool {
    IdPool::new(100 * RANGE_IDS, 10 * RANGE_IDS).expect("a pool")
}

/// Sources of mounts, and a root, which every profile allows.
fn sources() -> Sources {
    let object = source::Object { device: 1, inode: 1 };
    let source = |field: String| source::Source {
        field,
        path: "/srv/x".to_owned(),
        kind: source::Kind::Plain,
        within: vec![object],
    };
    let fields = (0..100).map(|index| format!("mounts[{index}].source"));
    let found = fields.chain(["root.path".to_owned()]).map(source).collect();
    let allowed = vec![source::Listed { path: "/srv".to_owned(), object }];
    let places = vec![Places { allowed, ..Places::default() }; 4];
    Sources { found, places, ..Sources::default() }
}

fn node(profile: &ChosenProfile) -> NodePolicy {
    NodePolicy { profile: profile.clone(), facts: facts(), conditions: Vec::new() }
}

fn profile(text: &str) -> ChosenProfile {
    let text = format!("version = 1\ndefault = \"it\"\n[profile.it]\n{text}");
    Policy::read(&text).unwrap_or_else(|error| panic!("{error}: {text}")).profile(None).expect("it")
}

fn level(name: &str) -> ChosenProfile {
    let text = format!("version = 1\ndefault = \"{name}\"\n");
    Policy::read(&text).and_then(|policy| policy.profile(None)).expect(name)
}

fn asked(config: &Value) -> Asked {
    Asked::read(config.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}: {config}"))
}

/// Limits, as a file for `update` has them.
fn asked_resources(resources: &Value) -> Resources {
    brig_spec::resources(resources.to_string().as_bytes()).expect("they are good")
}

/// What `runc spec` gives, with `edits` at their pointers.
fn config(edits: &[(&str, Value)]) -> Value {
    let text = include_str!("../../spec/src/testdata/runc-spec.json");
    let mut config: Value = serde_json::from_str(text).expect("JSON");
    for (pointer, value) in edits {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        config.pointer_mut(parent).expect(pointer)[key] = value.clone();
    }
    config
}

/// What holds, with each decision as a line.
fn hardened(profile: &ChosenProfile, edits: &[(&str, Value)]) -> (Hardened, Vec<String>) {
    let (holds, verdicts) = harden(asked(&config(edits)), &node(profile), &sources())
        .unwrap_or_else(|denial| panic!("{denial}"));
    (holds, verdicts.iter().map(ToString::to_string).collect())
}

fn denied(profile: &ChosenProfile, edits: &[(&str, Value)]) -> Vec<String> {
    let denial =
        harden(asked(&config(edits)), &node(profile), &sources()).expect_err("it is refused");
    denial.refused.iter().map(ToString::to_string).collect()
}

#[test]
fn every_level_is_read() {
    for (name, _) in LEVELS {
        let profile = level(name);
        let plain = name.rsplit_once('-').expect("a version").0;
        assert_eq!(level(plain), profile);
        let is_oci = *name == "oci-1";
        assert_eq!(
            profile.rules().modes().iter().all(|(_, mode)| *mode == Mode::Off),
            is_oci,
            "{name}"
        );
    }
}

#[test]
fn a_level_is_what_its_file_and_those_it_extends_say() {
    // A name that is not a level's, so that its text is read from the file, and extends the level below.
    for (name, text) in [
        ("baseline-1", include_str!("levels/baseline-1.toml")),
        ("restricted-1", include_str!("levels/restricted-1.toml")),
        ("sandbox-1", include_str!("levels/sandbox-1.toml")),
    ] {
        let text =
            text.replace("\n[", "\n[profile.it.").replace("extends", "[profile.it]\nextends");
        let text = format!("version = 1\ndefault = \"it\"\n{text}");
        let read = Policy::read(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.profile(None).expect("it").rules(), level(name).rules(), "{name}");
    }
}

#[test]
fn oci_changes_nothing() {
    for text in [
        include_str!("../../spec/src/testdata/every-field.json"),
        include_str!("../../spec/src/testdata/runc-spec.json"),
        include_str!("../../spec/src/testdata/runc-spec-rootless.json"),
    ] {
        let asked = Asked::read(text.as_bytes()).expect("it is good");
        let (holds, verdicts) =
            harden(asked.clone(), &node(&level("oci")), &sources()).expect("all");
        assert_eq!(*holds, *asked.into_config());
        assert_eq!(verdicts, []);
    }
}

#[test]
fn what_is_limited_is_told() {
    let text = r#"no_new_privileges = { mode = "enforce" }
        capabilities = { mode = "enforce", allow = ["CAP_KILL"] }
        pids = { mode = "enforce", max = 100 }
        cgroup_namespace = { mode = "enforce" }"#;
    let edits = [("/process/noNewPrivileges", json!(false))];
    let (holds, lines) = hardened(&profile(text), &edits);
    assert!(holds.process.no_new_privileges);
    assert_eq!(holds.process.capabilities.sets.bounding, 1 << 5);
    assert_eq!(holds.linux.resources.as_ref().and_then(|all| all.pids?.limit), Some(100));
    assert!(holds.linux.namespace(NamespaceType::Cgroup).is_some());
    let expected = [
        "process.noNewPrivileges: false is limited by the rule no_new_privileges, which allows true",
        "process.capabilities.bounding: CAP_NET_BIND_SERVICE, CAP_AUDIT_WRITE is limited by the rule capabilities, \
         which allows CAP_KILL",
        "process.capabilities.effective: CAP_NET_BIND_SERVICE, CAP_AUDIT_WRITE is limited by the rule capabilities, \
         which allows CAP_KILL",
        "process.capabilities.permitted: CAP_NET_BIND_SERVICE, CAP_AUDIT_WRITE is limited by the rule capabilities, \
         which allows CAP_KILL",
        "process.capabilities.ambient: CAP_NET_BIND_SERVICE, CAP_AUDIT_WRITE is limited by the rule capabilities, \
         which allows CAP_KILL",
        "linux.namespaces: the host's cgroup namespace is limited by the rule cgroup_namespace, which allows a new one",
        "linux.resources.pids.limit: no limit is limited by the rule pids, which allows 100",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_is_audited_holds_and_is_told() {
    let (holds, lines) = hardened(
        &profile("no_new_privileges = { mode = \"audit\" }"),
        &[("/process/noNewPrivileges", json!(false))],
    );
    assert!(!holds.process.no_new_privileges);
    let expected = "process.noNewPrivileges: false is audited by the rule no_new_privileges, which allows true";
    assert_eq!(lines, [expected]);
}

#[test]
fn all_that_is_refused_is_told_at_once() {
    let edits = [
        ("/process/user/gid", json!(5)),
        (
            "/linux/sysctl",
            json!({"net.core.somaxconn": "1", "net/ipv4/ip_unprivileged_port_start": "0"}),
        ),
        ("/hooks", json!({"prestart": [{"path": "/bin/x"}]})),
        ("/linux/netDevices", json!({"eth0": {}})),
    ];
    let lines = denied(&level("restricted"), &edits);
    assert_eq!(
        lines,
        [
            "process.user.uid: user 0 of the host is refused by the rule users",
            "linux.sysctl[\"net.core.somaxconn\"]: \"1\" is refused by the rule sysctls, which allows the kernel's \
             default",
            "hooks.prestart[0]: the program \"/bin/x\" is refused by the rule hooks",
            "linux.netDevices[\"eth0\"]: an interface of the host is refused by the rule net_devices",
        ]
    );
}

/// What is not named in a change stays, and counts.
#[test]
fn a_change_is_judged_with_what_stays() {
    let profile = profile(
        "memory = { mode = \"enforce\", max = 1000 }\nprocessors = { mode = \"enforce\", max = 1 }",
    );
    let change = |present: Present, asked: Value| {
        let resources = asked_resources(&asked);
        *harden_resources(resources, &present, &profile).expect("it is limited").0.0
    };
    let present = Present { period_us: 1000, swap_bytes: 600 };
    for asked in [json!({"quota": 100_000}), json!({"quota": 100_000, "period": 0})] {
        let cpu = change(present, json!({"cpu": asked})).cpu.expect("a quota");
        assert_eq!((cpu.quota, cpu.period), (Some(1000), Some(1000)));
    }
    let cpu = change(Present::default(), json!({"cpu": {"quota": 100_000}})).cpu.expect("a quota");
    assert_eq!((cpu.quota, cpu.period), (Some(100_000), None));
    assert!(change(present, json!({"unified": {"cpu.max": "2000"}})).unified.is_empty());
    let memory = |limit: i64| {
        let memory = change(present, json!({"memory": {"limit": limit}})).memory.expect("a limit");
        (memory.limit, memory.swap)
    };
    assert_eq!(memory(400), (Some(400), None));
    assert_eq!(memory(401), (Some(401), Some(1000)));
    assert!(change(present, json!({"unified": {"memory.max": "401"}})).unified.is_empty());
    assert_eq!(change(present, json!({"unified": {"memory.max": "400"}})).unified.len(), 1);
}

/// Fields and files of memory and swap together are no more than the rule allows.
#[test]
fn memory_and_swap_are_limited_together_wherever_they_are_named() {
    let profile = profile("memory = { mode = \"enforce\", max = 1000 }");
    let kept = |resources: Value| {
        let (holds, _) = hardened(&profile, &[("/linux/resources", resources)]);
        let resources = holds.linux.resources.clone().expect("there are limits");
        resources.unified.keys().cloned().collect::<Vec<_>>()
    };
    let (max, swap) = ("memory.max", "memory.swap.max");
    for (fields, unified, holds) in [
        (json!({"limit": 100, "swap": 1000}), json!({max: "1000"}), vec![]),
        (json!({"limit": 100, "swap": 1000}), json!({max: "100"}), vec![max]),
        (json!({"limit": 100, "swap": 100}), json!({max: "1000", swap: "900"}), vec![max]),
        (json!({"limit": 100, "swap": 100}), json!({max: "400", swap: "600"}), vec![max, swap]),
        (json!({"limit": 100, "swap": 100}), json!({swap: "900"}), vec![swap]),
        (json!({"limit": 100, "swap": 100}), json!({swap: "901"}), vec![]),
    ] {
        assert_eq!(
            kept(json!({"memory": fields, "unified": unified})),
            holds,
            "{fields} {unified}"
        );
    }
}

#[test]
fn mitigations_are_switched_one_by_one() {
    let filters = |rules: &str, user: Value| {
        let map = |user: &Value| if user[1].is_null() { Value::Null } else { map(5) };
        let edits = [
            ("/hostname", Value::Null),
            ("/linux/uidMappings", map(&user)),
            ("/linux/gidMappings", map(&user)),
            ("/linux/namespaces", user),
        ];
        let (holds, said) = hardened(&profile(rules), &edits);
        (profile(rules).filters(&holds), holds.linux.sysctl.clone(), said)
    };
    let none = || json!([{"type": "mount"}]);
    let builtin = |without: &[&'static str]| NodeFilter::Builtin {
        name: crate::value::FilterName::Default,
        without: without.to_vec(),
    };
    let seccomp = "seccomp = { mode = \"enforce\", profile = \"default\" }\n";
    let switches = "mitigations = { mode = \"enforce\", on = [\"CVE-2022-0847\", \"packet\"], \
                    off = [{ name = \"CVE-2014-3153\", reason = \"old audio\" }] }\n";
    let refusing = NodeFilter::Refusing(vec!["dirty-pipe", "packet"]);
    let (found, _, said) = filters(&format!("{seccomp}{switches}"), none());
    assert_eq!(found, [builtin(&["ghostlock"]), refusing.clone()]);
    let told =
        "linux.seccomp: ghostlock, switched off (old audio), is audited by the rule mitigations";
    assert!(said.contains(&told.to_owned()), "{said:?}");
    // There is nothing to switch off where the node has no filter, nor where the rule is not enforced.
    assert_eq!(filters(switches, none()).0, [refusing]);
    let audited = switches.replace("enforce", "audit");
    assert_eq!(filters(&format!("{seccomp}{audited}"), none()).0, [builtin(&[])]);
    let nested = "nested_user_namespaces = { mode = \"enforce\" }\n";
    let closed = NodeFilter::Refusing(vec!["user-namespaces"]);
    assert_eq!(filters(nested, none()).0, std::slice::from_ref(&closed));
    for user in [none(), json!([{"type": "mount"}, {"type": "user"}])] {
        let (found, parameters, _) = filters(&format!("{seccomp}{nested}"), user);
        assert_eq!((found, parameters.len()), (vec![builtin(&[])], 0));
    }
    let off = "mitigations = { mode = \"enforce\", on = [], off = [{ name = \"user-namespaces\", reason = \"x\" }] }\n";
    let found = filters(&format!("{seccomp}{nested}{off}"), none()).0;
    assert_eq!(found, [builtin(&["user-namespaces"]), closed.clone()]);
    // In a namespace of its own that is a parameter; in one of others' it would be theirs too.
    let own = json!([{"type": "mount"}, {"type": "user"}]);
    let (found, parameters, _) = filters(nested, own);
    assert_eq!((found, &*parameters["user.max_user_namespaces"]), (vec![], "0"));
    let joined = json!([{"type": "mount"}, {"type": "user", "path": "/proc/1/ns/user"}]);
    let (found, parameters, _) = filters(nested, joined);
    assert_eq!((found, parameters.len()), (vec![closed], 0));
}

/// Rules about controls of the cgroup, all in one mode.
fn controls(mode: &str) -> ChosenProfile {
    profile(&format!(
        "memory_high = {{ mode = \"{mode}\", max = 500 }}\nswap = {{ mode = \"{mode}\", max = 10 }}\n\
         oom_group = {{ mode = \"{mode}\" }}\nhugetlb = {{ mode = \"{mode}\", max = 4 }}\n\
         io = {{ mode = \"{mode}\", weight = 100, disks = [{{ device = \"b 8:0\", read_bps = 5, write_iops = 0 }}] }}\n\
         cgroup_tree = {{ mode = \"{mode}\", max_descendants = 3, max_depth = 2 }}"
    ))
}

/// What `controls` makes of limits: in a container that is made, and in a change.
fn controlled(asked: &Value) -> [Resources; 2] {
    let edits = [("/hostname", Value::Null), ("/linux/resources", asked.clone())];
    let (holds, _) = hardened(&controls("enforce"), &edits);
    let change = asked_resources(asked);
    let (changed, _) =
        harden_resources(change, &Present::default(), &controls("enforce")).expect("limited");
    [holds.linux.resources.clone().unwrap_or_default(), *changed.0]
}

/// What the rules above have of the disk 8:0, and of files of v2.
fn rates(read: u64, write: u64) -> Value {
    let rate = |rate: u64| json!([{"major": 8, "minor": 0, "rate": rate}]);
    json!({"throttleReadBpsDevice": rate(read), "throttleWriteIOPSDevice": rate(write)})
}

fn pages(limit: i64) -> Value {
    json!([{"pageSize": "2MB", "limit": limit}])
}

const FILES: [(&str, &str); 4] = [
    ("memory.high", "500"),
    ("memory.oom.group", "1"),
    ("cgroup.max.descendants", "3"),
    ("cgroup.max.depth", "2"),
];

fn files(further: &[(&str, &str)]) -> Value {
    let all = FILES.iter().chain(further).map(|(file, value)| ((*file).to_owned(), json!(value)));
    Value::Object(all.collect())
}

#[test]
fn controls_that_nobody_asks_for_are_those_of_the_rules() {
    let [made, changed] = controlled(&json!({}));
    let all = json!({"unified": files(&[("memory.swap.max", "10")]), "hugepageLimits": pages(4), "blockIO": rates(5, 1)});
    assert_eq!(made, asked_resources(&all));
    assert_eq!(changed, Resources::default());
    // A change of the memory alone leaves the swap.
    let memory = json!({"memory": {"limit": 100}});
    let [made, changed] = controlled(&memory);
    assert_eq!(made.memory.and_then(|memory| memory.swap), Some(110));
    assert_eq!(changed, asked_resources(&memory));
}

#[test]
fn controls_are_no_more_than_the_rules_allow_in_fields_and_in_files() {
    let mut io = rates(0, 9);
    io["weight"] = json!(101);
    io["weightDevice"] = json!([{"major": 9, "minor": 0, "weight": 500}]);
    let more = json!({"memory": {"limit": 100, "swap": 200}, "hugepageLimits": pages(-1), "blockIO": io,
        "unified": {"memory.high": "max", "memory.oom.group": "0", "cgroup.max.descendants": "4",
            "cgroup.max.depth": "-1", "memory.swap.max": "11", "io.max": "8:16 rbps=9\n8:0 rbps=max",
            "io.weight": "default 101", "hugetlb.2MB.max": "5"}});
    let mut io = rates(5, 1);
    io["weight"] = json!(100);
    io["weightDevice"] = json!([{"major": 9, "minor": 0, "weight": 100}]);
    let holds = json!({"memory": {"limit": 100, "swap": 110}, "hugepageLimits": pages(4), "blockIO": io,
        "unified": files(&[("memory.swap.max", "10")])});
    assert_eq!(controlled(&more), [asked_resources(&holds), asked_resources(&holds)]);
    let mut io = rates(4, 1);
    io["weight"] = json!(10);
    let less = json!({"memory": {"limit": 100, "swap": 105}, "hugepageLimits": pages(0), "blockIO": io,
        "unified": {"memory.high": "0", "memory.oom.group": "1", "cgroup.max.descendants": "0",
            "cgroup.max.depth": "2", "io.max": "8:16 rbps=9", "hugetlb.2MB.max": "3", "io.weight": "default 100"}});
    assert_eq!(controlled(&less), [asked_resources(&less), asked_resources(&less)]);
    // The same disk in a spelling of the kernel's own, what may be one, and a weight with more after it.
    for (file, value) in [
        ("io.max", "08:0 rbps=max"),
        ("io.max", "x rbps=max"),
        ("io.max", "9:0 rbps=1\n+8:00 rbps=max"),
        ("io.weight", "10000x"),
        ("io.weight", "8:0 101"),
    ] {
        let [made, _] = controlled(&json!({"unified": {file: value}}));
        assert!(!made.unified.contains_key(file), "{file} {value}");
    }
    // What is no number may be less.
    let edits = [("/linux/resources", json!({"unified": {"memory.high": "1K"}}))];
    let said = denied(&controls("enforce"), &edits);
    assert!(said[0].contains("\"1K\", which is no number, is refused"), "{said:?}");
    let change = asked_resources(&json!({"memory": {"swap": 5}}));
    assert!(harden_resources(change, &Present::default(), &controls("enforce")).is_err());
}

#[test]
fn no_process_may_choose_a_real_time_priority_by_its_limits() {
    let limit = |kind: &str, most: u32| json!([{"type": kind, "soft": most, "hard": most}]);
    let of = |kind: &str, most: u32| {
        let rules = profile("scheduling = { mode = \"enforce\" }");
        let config = config(&[("/process/rlimits", limit(kind, most))]);
        let (held, _) = harden(asked(&config), &node(&rules), &sources()).expect("it is granted");
        held.process.rlimits[0].hard
    };
    assert_eq!((of("RLIMIT_RTPRIO", 99), of("RLIMIT_RTPRIO", 0)), (0, 0));
    assert_eq!((of("RLIMIT_NICE", 40), of("RLIMIT_NICE", 20), of("RLIMIT_NICE", 5)), (20, 20, 5));
    assert_eq!(of("RLIMIT_NOFILE", 99), 99);
}

/// Recorded, and refused where cgroups can be made and nothing counts them.
#[test]
fn cgroup_v1_has_not_the_files_of_v2() {
    use Outcome::{Audited, Refused};
    let on_v1 = |mode: &str, edits: &[(&str, Value)]| {
        let facts = Facts { cgroup_v2: false, ..facts() };
        let node = NodePolicy { facts, ..node(&controls(mode)) };
        let edits = [edits, &[("/linux/resources", json!({"memory": {"limit": 100}}))]].concat();
        judge(asked(&config(&edits)), &node, &sources())
            .into_iter()
            .filter(|verdict| verdict.field == "linux.resources.unified")
            .map(|verdict| verdict.outcome)
            .collect::<Vec<_>>()
    };
    assert_eq!(on_v1("enforce", &[]), [Audited, Audited, Refused, Refused]);
    let maps = json!([{"containerID": 0, "hostID": 5, "size": 1}]);
    let remapped = [
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "user"}])),
        ("/linux/uidMappings", maps.clone()),
        ("/linux/gidMappings", maps),
        ("/hostname", Value::Null),
    ];
    assert_eq!(on_v1("enforce", &remapped), [Audited; 4]);
    assert_eq!(on_v1("refuse", &remapped), [Refused; 4]);
}

/// Ways of asking for more than `restricted` gives: each is refused, or comes to nothing.
#[test]
fn no_spelling_gets_round_a_rule() {
    let profile = level("restricted");
    let user = ("/process/user", json!({"uid": 1000, "gid": 1000}));
    let with = |edit: (&str, Value)| hardened(&profile, &[user.clone(), edit]).0;
    let resources = |resources: Value| {
        let holds = with(("/linux/resources", resources));
        holds.linux.resources.clone().expect("there are limits")
    };
    for memory in [
        json!({}),
        json!({"limit": -1}),
        json!({"limit": 0}),
        json!({"limit": 1_i64 << 40, "swap": -1}),
    ] {
        let memory = resources(json!({"memory": memory})).memory.expect("a limit");
        assert_eq!((memory.limit, memory.swap), (Some(1 << 30), Some(1 << 30)));
    }
    for value in ["max", "2G", "9223372036854775807", "-1", " max", "0x7fffffffffffffff"] {
        let limits = resources(
            json!({"unified": {"memory.max": value, "memory.swap.max": value, "pids.max": value}}),
        );
        assert!(limits.unified.keys().eq(["memory.oom.group"]), "{value}");
    }
    for value in ["max", "max 100000", "200000", "200000 100000", "1 0", "-1 5", ""] {
        let limits = resources(json!({"unified": {"cpu.max": value}}));
        // A period of 0 is no period; the kernel refuses it.
        assert!(limits.unified.keys().eq(["memory.oom.group"]), "{value}");
    }
    for cpu in [
        json!({}),
        json!({"quota": -1}),
        json!({"quota": 0}),
        json!({"quota": 500_000, "period": 50_000}),
    ] {
        let cpu = resources(json!({"cpu": cpu})).cpu.expect("a limit");
        assert_eq!(cpu.quota.map(i64::unsigned_abs), cpu.period);
    }
    for devices in [
        json!([{"allow": true}]),
        json!([{"allow": true, "access": "rwm"}]),
        json!([{"allow": true, "type": "a", "access": "rwm"}]),
        json!([{"allow": true, "type": "c", "major": -1, "minor": -1, "access": "rwm"}]),
        json!([{"allow": true, "type": "b", "major": 8, "access": "rwm"}]),
        json!([{"allow": true, "type": "b", "major": 1, "minor": 3, "access": "rw"}]),
        json!([{"allow": true, "type": "c", "major": 1, "access": "rw"}]),
        json!([{"allow": true, "type": "c", "major": 10, "minor": 200, "access": "mr"}]),
    ] {
        assert_eq!(resources(json!({"devices": devices})).devices, [], "{devices}");
    }
    let kept = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "access": "m"},
        {"allow": true, "type": "c", "major": 136, "access": "rwm"}]);
    assert_eq!(resources(json!({"devices": kept})).devices.len(), 3);
    let propagated = with((
        "/mounts",
        json!([{"destination": "/m", "source": "/m", "type": "none",
        "options": ["rbind", "rshared", "shared", "suid", "rdev"]}]),
    ));
    let mount = &propagated.mounts[0];
    assert!(mount.propagation.iter().all(|(how, _)| *how == brig_spec::mount::Propagation::Slave));
    assert_eq!((mount.attributes.set, mount.recursive.set), (6, 6));
    assert_eq!((mount.attributes.clear, mount.recursive.clear), (0, 0));
}

#[test]
fn users_are_judged_by_what_they_are_on_the_host() {
    let profile = profile("users = { mode = \"refuse\", min_uid = 1, min_gid = 1 }");
    let in_namespace = |outside: u32| {
        let map = json!([{"containerID": 0, "hostID": outside, "size": 10}]);
        let namespaces = json!([{"type": "user"}, {"type": "mount"}, {"type": "uts"}]);
        [
            ("/linux/uidMappings", map.clone()),
            ("/linux/gidMappings", map),
            ("/linux/namespaces", namespaces),
        ]
    };
    hardened(&profile, &in_namespace(100_000));
    let lines = denied(&profile, &in_namespace(0));
    assert_eq!(lines[0], "process.user.uid: user 0 of the host is refused by the rule users");
    let joined =
        json!([{"type": "user", "path": "/proc/7/ns/user"}, {"type": "mount"}, {"type": "uts"}]);
    let lines = denied(&profile, &[("/linux/namespaces", joined)]);
    assert_eq!(lines[1], "process.user.gid: group 0 (not mapped) is refused by the rule users");
    let user = json!({"uid": 1, "gid": 1, "additionalGids": [7, 0]});
    assert_eq!(
        denied(&profile, &[("/process/user", user)]),
        ["process.user.additionalGids[1]: group 0 of the host is refused by the rule users"]
    );
}

#[test]
fn a_user_namespace_that_is_joined_has_the_maps_that_were_judged() {
    let profile = profile("users = { mode = \"refuse\", min_uid = 1, min_gid = 1 }");
    let map = |inside, outside, count| IdMapping { inside, outside, count };
    let linux = Linux {
        uid_mappings: vec![map(0, 1000, 10)],
        gid_mappings: vec![map(5, 2000, 1)],
        ..Linux::default()
    };
    let judge = |users: &[IdMapping], groups: &[IdMapping]| {
        judge_joined_maps(&linux, [users, groups], &profile, &CallerFacts::default())
            .map_err(|denial| denial.refused.len())
    };
    assert_eq!(judge(&[map(0, 1000, 10)], &[map(0, 1995, 65536)]), Ok(Vec::new()));
    let whole = map(0, 0, u32::MAX);
    assert_eq!(judge(&[whole], &[whole]), Err(2));
    assert_eq!(judge(&[map(0, 1000, 9)], &[map(5, 2000, 1)]), Err(1));
    assert_eq!(judge(&[], &[]), Err(2));
}

/// Who writes to such a mount is root on the disk.
#[test]
fn a_mount_maps_nobody_to_a_user_that_is_refused() {
    let profile = profile("users = { mode = \"refuse\", min_uid = 1, min_gid = 0 }");
    let map =
        |inside: u32, outside: u32| json!([{"containerID": inside, "hostID": outside, "size": 1}]);
    let mount = |map: &Value| {
        json!([{"destination": "/x", "source": "/srv/x", "type": "bind", "options": ["rbind"],
            "uidMappings": map, "gidMappings": map}])
    };
    let user = ("/process/user", json!({"uid": 1000, "gid": 1000}));
    assert_eq!(
        denied(&profile, &[user.clone(), ("/mounts", mount(&map(0, 1000)))]),
        ["mounts[0].uidMappings: a map to user 0 is refused by the rule users"]
    );
    hardened(&profile, &[user, ("/mounts", mount(&map(5, 1000)))]);
    // As the user namespace maps.
    let own = map(0, 100_000);
    let namespaces = json!([{"type": "user"}, {"type": "mount"}, {"type": "uts"}]);
    let edits = [
        ("/linux/uidMappings", own.clone()),
        ("/linux/gidMappings", own.clone()),
        ("/linux/namespaces", namespaces),
        ("/mounts", mount(&own)),
    ];
    hardened(&profile, &edits);
}

#[test]
fn the_score_of_the_caller_counts_where_none_is_asked_for() {
    let profile = profile("oom_score = { mode = \"enforce\", min = -5 }");
    for (own, asked, holds) in
        [(-6, Value::Null, Some(-5)), (-5, Value::Null, None), (-6, json!(0), Some(0))]
    {
        let facts = Facts {
            caller: CallerFacts { oom_score: Some(own), ..CallerFacts::default() },
            ..facts()
        };
        let node = NodePolicy { facts, ..node(&profile) };
        let asked = self::asked(&config(&[("/process/oomScoreAdj", asked)]));
        let (holding, _) = harden(asked, &node, &sources()).expect("it is limited");
        assert_eq!(holding.process.oom_score_adj, holds);
        let further = Process { oom_score_adj: None, ..holding.process.clone() };
        let (further, _) =
            harden_process(further, &holding, &profile, &node.facts.caller).expect("the same");
        assert_eq!(further.oom_score_adj, holds);
    }
}

/// An ordinary user to whom no cgroup is delegated cannot be limited; what is asked for is, or is an error later.
#[test]
fn a_limit_that_the_caller_cannot_set_is_recorded_where_nobody_asks_for_it() {
    let unlimitable = Unlimitable { memory: true, processors: true, pids: true };
    let judged = |profile: &ChosenProfile, resources: Value| {
        let facts = Facts { unlimitable, limits_swap: true, cgroup_v2: true, ..facts() };
        let node = NodePolicy { facts, ..node(profile) };
        let edits = [("/linux/resources", resources), ("/process/user/uid", json!(9))];
        let (holds, verdicts) = harden(asked(&config(&edits)), &node, &sources()).ok()?;
        let missed =
            verdicts.iter().filter(|one| one.to_string().contains("cannot be had: no cgroup"));
        Some((holds.linux.resources.clone(), missed.count()))
    };
    assert_eq!(judged(&level("restricted"), json!({})), Some((None, 6)));
    let asks = json!({"pids": {"limit": 100_000}, "memory": {"limit": 4096}, "cpu": {"quota": 5}});
    let (holds, missed) = judged(&level("restricted"), asks).expect("it is made");
    let holds = holds.expect("limits");
    assert_eq!(holds.pids.and_then(|pids| pids.limit), Some(512));
    assert_eq!(holds.memory.and_then(|memory| memory.limit), Some(4096));
    // Beside the memory there is swap by a field, and what is killed together by a file.
    assert_eq!(missed, 2);
    let strict = profile("extends = \"restricted\"\npids.mode = \"refuse\"");
    assert_eq!(judged(&strict, json!({})), None);
}

/// Podman of an ordinary user has made a user namespace before it calls brig, which is root there.
#[test]
fn users_are_judged_by_what_they_are_outside_of_the_callers_namespace() {
    let line = |inside, outside, count| IdMapping { inside, outside, count };
    let users = vec![line(0, 1000, 1), line(1, 100_000, 65_536)];
    let sets = json!({"bounding": ["CAP_SETUID"], "permitted": ["CAP_SETUID"], "effective": ["CAP_SETUID"]});
    let judged = |maps: [Vec<IdMapping>; 2], edits: &[(&str, Value)]| {
        let caller = CallerFacts { maps: Some(maps), ..CallerFacts::default() };
        let facts = Facts { caller, ..facts() };
        let edits = [edits, &[("/process/capabilities", sets.clone())]].concat();
        let policy = profile(
            "users = { mode = \"refuse\", min_uid = 1, min_gid = 0 }\n\
             capabilities = { mode = \"enforce\", allow = [\"CAP_SETUID\"] }\n\
             remapping = { mode = \"refuse\", root = \"read-only\", size = 1, unmappable = \"refuse\" }",
        );
        let node = NodePolicy { facts, ..node(&policy) };
        let (holds, _) = harden(asked(&config(&edits)), &node, &sources())
            .map_err(|denial| denial.refused.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        Ok::<_, Vec<String>>(holds.process.capabilities.sets.bounding)
    };
    let setuid = 1 << 7;
    assert_eq!(judged([users.clone(), users.clone()], &[]), Ok(setuid));
    // One more namespace in it, where root is the caller, or one of the caller's other ids.
    let inner = |outside| {
        let map = json!([{"containerID": 0, "hostID": outside, "size": 10}]);
        [
            ("/linux/uidMappings", map.clone()),
            ("/linux/gidMappings", map),
            ("/linux/namespaces", json!([{"type": "user"}, {"type": "mount"}, {"type": "uts"}])),
        ]
    };
    for outside in [0, 5] {
        assert_eq!(judged([users.clone(), users.clone()], &inner(outside)), Ok(setuid));
    }
    let refused = judged([users.clone(), users.clone()], &inner(70_000)).expect_err("not mapped");
    assert_eq!(refused.len(), 2, "{refused:?}");
    // Root of the host has made the namespace, and is in it: as root, or by another number.
    for (root, inner) in [(line(0, 0, 10), vec![]), (line(7, 0, 1), inner(7).to_vec())] {
        let refused = judged([vec![root], users.clone()], &inner).expect_err("root of the host");
        assert!(refused.iter().any(|line| line.contains("user 0 of the host")), "{refused:?}");
    }
    let refused = judged([users.clone(), vec![line(0, 100, 1), line(5, 0, 1)]], &[]);
    assert!(refused.expect_err("root's group")[0].contains("brig is not root of the machine"));
}

/// Whoever has CAP_SETUID is any user that there is.
#[test]
fn what_of_the_caller_counts_where_nothing_is_asked_for() {
    let text = "rlimits = { mode = \"enforce\", max = { RLIMIT_NOFILE = 9, RLIMIT_CORE = 0 } }\nscheduling = { mode = \"enforce\" }";
    let profile = profile(text);
    let held = |caller: CallerFacts, asked_for: (&str, Value)| {
        let node = NodePolicy { facts: Facts { caller, ..facts() }, ..node(&profile) };
        let edits = [("/process/rlimits", json!([])), asked_for];
        let (holds, _) = harden(asked(&config(&edits)), &node, &sources()).expect("limited");
        let limits = holds.process.rlimits.iter().map(|one| (one.kind.name(), one.soft, one.hard));
        let scheduler = holds.process.scheduler.as_ref().map(|one| (one.policy.name(), one.nice));
        (limits.collect::<Vec<_>>(), scheduler, holds.process.io_priority.map(|one| one.priority))
    };
    let core = ("RLIMIT_CORE", 0, 0);
    let nothing = || ("/hostname", Value::Null);
    let nofile = |soft, hard| vec![(brig_spec::RlimitType::Nofile, soft, hard)];
    let usual = Some(("SCHED_OTHER", 0));
    assert_eq!(held(CallerFacts::default(), nothing()), (vec![core], None, None));
    for (soft, hard, holds) in
        [(8, 9, None), (8, 10, Some((8, 9))), (u64::MAX, u64::MAX, Some((9, 9)))]
    {
        let caller = CallerFacts { rlimits: nofile(soft, hard), nice: 3, ..CallerFacts::default() };
        let limits = holds.map(|(soft, hard)| ("RLIMIT_NOFILE", soft, hard));
        let (found, scheduler, io) = held(caller, nothing());
        assert!(
            found.iter().eq([core].iter().chain(&limits))
                || found.iter().eq(limits.iter().chain(&[core])),
            "{found:?}"
        );
        assert_eq!((scheduler, io), (None, None));
    }
    let real_time =
        || CallerFacts { is_real_time: true, has_real_time_io: true, ..CallerFacts::default() };
    assert_eq!(held(real_time(), nothing()), (vec![core], usual, Some(4)));
    let asked = ("/process/scheduler", json!({"policy": "SCHED_IDLE"}));
    assert_eq!(held(real_time(), asked).1, Some(("SCHED_IDLE", 0)));
    let asked = ("/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 1}));
    assert_eq!(held(CallerFacts { nice: -1, ..CallerFacts::default() }, asked).1, usual);
}

#[test]
fn nobody_becomes_a_user_that_is_refused() {
    let sets = json!({"bounding": ["CAP_SETUID", "CAP_KILL"], "permitted": ["CAP_SETUID"],
        "inheritable": ["CAP_SETUID"], "ambient": ["CAP_SETUID"], "effective": ["CAP_SETUID"]});
    let holds = |edits: &[(&str, Value)]| {
        let sets = ("/process/capabilities", sets.clone());
        let edits: Vec<_> = edits.iter().cloned().chain([sets]).collect();
        let sets = hardened(&level("restricted"), &edits).0.process.capabilities.sets;
        (sets.bounding, sets.permitted | sets.inheritable | sets.ambient | sets.effective)
    };
    assert_eq!(holds(&[("/process/user", json!({"uid": 1000, "gid": 1000}))]), (1 << 5, 0));
    let mapped = |others: Value| {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1}, others]);
        holds(&[
            ("/linux/uidMappings", map.clone()),
            ("/linux/gidMappings", map),
            (
                "/linux/namespaces",
                json!([{"type": "user"}, {"type": "mount"}, {"type": "uts"}, {"type": "pid"},
                    {"type": "ipc"}, {"type": "network"}]),
            ),
        ])
    };
    assert_eq!(mapped(json!({"containerID": 1, "hostID": 0, "size": 1})), (1 << 5, 0));
    let others = json!({"containerID": 1, "hostID": 100_001, "size": 1});
    assert_eq!(mapped(others), (1 << 5 | 1 << 7, 1 << 7));
}

#[test]
fn a_namespace_that_is_joined_is_not_the_hosts() {
    let with =
        |mode: &str| profile(&format!("namespaces = {{ mode = \"{mode}\", private = [\"pid\"] }}"));
    for mode in ["enforce", "refuse"] {
        assert!(judge_joined(NamespaceType::Pid, true, &with(mode)).is_err());
        assert_eq!(judge_joined(NamespaceType::Pid, false, &with(mode)), Ok(Vec::new()));
        assert_eq!(judge_joined(NamespaceType::Ipc, true, &with(mode)), Ok(Vec::new()));
    }
    assert_eq!(judge_joined(NamespaceType::Pid, true, &with("audit")).map(|all| all.len()), Ok(1));
    let mounts = profile("namespaces = { mode = \"enforce\", private = [\"mount\"] }");
    assert!(judge_joined(NamespaceType::Mount, false, &mounts).is_err());
    assert_eq!(judge_joined(NamespaceType::Mount, false, &with("enforce")), Ok(Vec::new()));
    let cgroups = profile("cgroup_namespace = { mode = \"enforce\" }");
    assert!(judge_joined(NamespaceType::Cgroup, true, &cgroups).is_err());
    assert_eq!(judge_joined(NamespaceType::Pid, true, &cgroups), Ok(Vec::new()));
}

#[test]
fn cgroups_are_below_the_parents_that_are_listed() {
    let profile = profile(
        "cgroup_parent = { mode = \"refuse\", allow = [\"/kubepods\", \"kubepods.slice\"] }",
    );
    let at = |path: &str, systemd| {
        let node = NodePolicy { facts: Facts { systemd, ..facts() }, ..node(&profile) };
        harden(asked(&config(&[("/linux/cgroupsPath", json!(path))])), &node, &sources()).is_ok()
    };
    for path in ["/kubepods/x", "/kubepods/besteffort/pod1/x", "/kubepods/./x"] {
        assert!(at(path, false) && !at(path, true), "{path}");
    }
    for path in ["kubepods.slice:cri:x", "kubepods-burstable-pod1.slice:cri:x"] {
        assert!(at(path, true) && !at(path, false), "{path}");
    }
    for path in [
        "",
        "/",
        "/kubepods",
        "/kubepods/",
        "/kubepods//.",
        "/kubepodsx/y",
        "x",
        "/other/kubepods/x",
        "kubepods/x",
        "kubepods.slice",
        "kubepods.slice/x",
        "kubepods.slice/x:cri:x",
        "system.slice:cri:x",
        "kubepodsx.slice:cri:x",
        "kubepods-x:cri:x",
        ":cri:x",
    ] {
        assert!(!at(path, true) && !at(path, false), "{path}");
    }
}

#[test]
fn errors_of_a_file_have_a_place_and_a_hint() {
    let cases = [
        ("version = 2\ndefault = 5", "version: 2 is not known, only 1", "use a brig that knows it"),
        ("default = \"oci\"", "version: required but missing", "write version = 1"),
        (
            "version = 1\ndefault = \"restrictd\"",
            "there is no profile \"restrictd\"",
            "did you mean restricted?",
        ),
        (
            "version = 1\ndefault = \"oci\"\nselectabel = []",
            "line 3 column 1: unknown field `selectabel`, expected one of `version`, `default`, `selectable`, `ids`, `profile`, `exception`, `tighten`",
            "did you mean selectable?",
        ),
        (
            "version = 1\ndefault = \"oci\"\n[profile.baseline]",
            "profile.baseline: is the name of a level, which never changes",
            "give it another name, and extend the level",
        ),
    ];
    for (text, what, hint) in cases {
        let error = Policy::read(text).expect_err(text);
        assert_eq!((error.to_string().as_str(), error.hint()), (what, hint));
    }
}

#[test]
fn errors_of_a_profile_have_a_place_and_a_hint() {
    let start = "version = 1\ndefault = \"it\"\n[profile.it]\n";
    let in_profile = [
        (
            "extends = \"it\"",
            "profile.it.extends: the chain is cyclic, or longer than 8",
            "let it extend a level",
        ),
        (
            "pids = { mode = \"enforce\" }",
            "profile.it.pids.max: required but missing",
            "give the rule a value, extend a profile that has one, or set its mode to \"off\"",
        ),
        (
            "pids = { mode = \"enforced\" }",
            "line 4 column 17: unknown variant `enforced`, expected one of `off`, `audit`, `enforce`, `refuse`",
            "did you mean enforce?",
        ),
        (
            "capabilities = { allow = [\"CAP_KIL\"] }",
            "line 4 column 27: unknown capability \"CAP_KIL\"",
            "did you mean CAP_KILL?",
        ),
        (
            "memory = { max = \"1 gigabyte\" }",
            "line 4 column 18: invalid value: string \"1 gigabyte\", expected a size, such as 67108864 or \"64MiB\"",
            "docs/policy.md has the form of the file",
        ),
        (
            "memory = { max = -1 }",
            "line 4 column 18: invalid value: integer `-1`, expected a size, such as 67108864 or \"64MiB\"",
            "docs/policy.md has the form of the file",
        ),
        (
            "processors = { max = 0 }",
            "line 4 column 22: invalid value: floating point `0.0`, expected a number of processors from 0.001 on, such as 1 or 0.5",
            "docs/policy.md has the form of the file",
        ),
        (
            "devices = { allow = [\"/dev/fuse\"] }",
            "line 4 column 22: invalid value: string \"/dev/fuse\", expected a device, such as \"c 10:229\"",
            "docs/policy.md has the form of the file",
        ),
        (
            "mitigations = { on = [\"CVE-2022-0848\"] }",
            "line 4 column 23: no mitigation has the name or CVE \"CVE-2022-0848\"",
            "`brig seccomp mitigations` lists them",
        ),
        (
            "pids = { max = 1 }\npids = { max = 2 }",
            "line 5 column 1: duplicate key",
            "docs/policy.md has the form of the file",
        ),
    ];
    for (text, what, hint) in in_profile {
        let error = Policy::read(&format!("{start}{text}")).expect_err(text);
        assert_eq!((error.to_string().as_str(), error.hint()), (what, hint));
    }
}

#[test]
fn only_what_is_selectable_can_be_selected() {
    let text = "version = 1\ndefault = \"restricted\"\nselectable = [\"baseline-1\", \"web\"]\n[profile.web]\nextends = \"restricted\"\n[profile.other]";
    let policy = Policy::read(text).expect("it is good");
    for (selected, name) in [
        (None, "restricted-1"),
        (Some("restricted"), "restricted-1"),
        (Some("baseline"), "baseline-1"),
        (Some("web"), "web"),
    ] {
        assert_eq!(policy.profile(selected).expect(name).name, name);
    }
    for name in ["oci", "other", "sandbox-1", "", "none"] {
        let error = policy.profile(Some(name)).expect_err(name);
        assert_eq!(
            error.to_string(),
            format!("the profile {name:?} is not one that may be selected")
        );
    }
}

/// Profiles of random rules with random modes.
/// Rules that differ in their modes.
fn any_rules() -> impl Strategy<Value = String> {
    let modes =
        prop::collection::vec(prop::sample::select(vec!["off", "audit", "enforce"]), RULES.len());
    (modes, prop::sample::select(vec!["restricted", "sandbox"])).prop_map(|(modes, base)| {
        let rules = RULES
            .iter()
            .zip(modes)
            .map(|(rule, mode)| format!("{}.mode = \"{mode}\"\n", rule.name));
        let text: String = rules.collect();
        format!(
            "extends = \"{base}\"\ncgroup_parent.allow = []\nsecurity_label.required = false\nimages.allow = [\"*\"]\nproc_view.own_processes = true\nproc_view.processes_only = false\nbandwidth.egress_mbit = 1\nbandwidth.ingress_mbit = \"unlimited\"\n{text}"
        )
    })
}

fn any_profile() -> impl Strategy<Value = ChosenProfile> {
    any_rules().prop_map(|rules| profile(&rules))
}

/// The same, and with a drop-in besides.
fn any_profile_and_drop_in() -> impl Strategy<Value = [ChosenProfile; 2]> {
    (any_rules(), any_rules()).prop_map(|(own, further)| {
        let text = format!("version = 1\ndefault = \"it\"\n[profile.it]\n{own}");
        let mut policy = Policy::read(&text).expect("it is good");
        let without = policy.profile(None).expect("it");
        let drop_in = format!("version = 1\n[rules]\n{further}");
        policy.add_drop_in("it.toml", &drop_in).expect("it is good");
        [without, policy.profile(None).expect("it")]
    })
}

/// What a container may have of ids.
fn any_remap() -> impl Strategy<Value = Remap> {
    prop::sample::select(vec![
        Remap::Range(FIRST),
        Remap::Pod { first: FIRST, path: "/proc/5/ns/user".to_owned() },
        Remap::Unprivileged,
        Remap::Impossible("of its root".to_owned()),
    ])
}

/// Configurations that differ where rules look.
fn any_config() -> impl Strategy<Value = Value> {
    let edits: Vec<(&str, Vec<Value>)> = vec![
        ("/process/noNewPrivileges", vec![json!(true), json!(false)]),
        (
            "/process/user",
            vec![
                json!({"uid": 0, "gid": 0}),
                json!({"uid": 1, "gid": 0}),
                json!({"uid": 7, "gid": 7}),
            ],
        ),
        (
            "/process/capabilities",
            vec![
                json!({}),
                json!({"bounding": ["CAP_SYS_ADMIN", "CAP_KILL"], "permitted": ["CAP_SYS_ADMIN"]}),
            ],
        ),
        (
            "/process/rlimits",
            vec![json!([]), json!([{"type": "RLIMIT_CORE", "soft": 1, "hard": 9}])],
        ),
        ("/process/oomScoreAdj", vec![Value::Null, json!(-5), json!(5)]),
        ("/process/scheduler", vec![Value::Null, json!({"policy": "SCHED_FIFO", "priority": 5})]),
        ("/root/readonly", vec![json!(true), json!(false)]),
        ("/linux/maskedPaths", vec![json!([]), json!(["/proc/kcore"])]),
        (
            "/linux/namespaces",
            vec![
                json!([{"type": "mount"}]),
                json!([{"type": "mount"}, {"type": "pid"}, {"type": "network"}]),
                json!([{"type": "mount"}, {"type": "user"}]),
            ],
        ),
        (
            "/linux/devices",
            vec![json!([]), json!([{"path": "/dev/x", "type": "c", "major": 10, "minor": 200}])],
        ),
        (
            "/linux/resources",
            vec![
                Value::Null,
                json!({"memory": {"limit": 5}}),
                json!({"memory": {"limit": -1}, "pids": {"limit": 5000},
            "cpu": {"quota": 1_000_000}, "unified": {"cpu.max": "max", "memory.high": "5"}}),
                json!({"devices": [{"allow": true, "access": "rwm"}]}),
            ],
        ),
        (
            "/mounts",
            vec![
                json!([]),
                json!([{"destination": "/tmp", "type": "tmpfs", "options": ["exec", "suid"]},
            {"destination": "/x", "source": "/y", "options": ["rbind", "rshared"]}]),
            ],
        ),
    ];
    let choices: Vec<_> = edits
        .into_iter()
        .map(|(at, values)| prop::sample::select(values).prop_map(move |value| (at, value)))
        .collect();
    choices.prop_map(|mut edits| {
        edits.push(("/hostname", Value::Null));
        edits.push(("/linux/sysctl", json!({})));
        let of_user = |namespaces: &Value| namespaces[1]["type"] == "user";
        if edits.iter().any(|(at, value)| *at == "/linux/namespaces" && of_user(value)) {
            let map = json!([{"containerID": 0, "hostID": 70_000, "size": 65_536}]);
            edits.push(("/linux/uidMappings", map.clone()));
            edits.push(("/linux/gidMappings", map));
        }
        config(&edits)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hardened_twice_is_hardened_once(profile in any_profile(), remap in any_remap(), config in any_config()) {
        let node = NodePolicy { facts: Facts { remap, ..facts() }, ..node(&profile) };
        if let Ok((once, _)) = harden(asked(&config), &node, &sources()) {
            let (text, _) = once.text(None).expect("it can be written");
            let again = Asked::read(&text).expect("what holds is acceptable");
            let (twice, verdicts) = harden(again, &node, &sources()).expect("nothing is refused that holds");
            // The node's filters and securebits are no part of the configuration.
            let is_said_again = |verdict: &Verdict| {
                verdict.outcome == Outcome::Audited || verdict.field == "linux.seccomp" || ["securebits", "write_xor_execute"].contains(&&*verdict.rule)
            };
            prop_assert!(verdicts.iter().all(is_said_again), "{verdicts:?}");
            // As text, in which mounts stand in their turn.
            let (said_again, _) = twice.text(None).expect("it can be written");
            prop_assert_eq!(String::from_utf8_lossy(&said_again), String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn a_drop_in_gives_nothing(
        profiles in any_profile_and_drop_in(), remap in any_remap(), config in any_config(),
    ) {
        let [without, with] = profiles.map(|profile| {
            let node = NodePolicy { facts: Facts { remap: remap.clone(), ..facts() }, ..node(&profile) };
            harden(asked(&config), &node, &sources())
        });
        if let Ok((with, verdicts)) = with {
            let (without, fewer) = without.expect("what the profile refuses, it refuses with a drop-in too");
            no_more(&with, &without)?;
            // Of a user namespace the kernel takes other parameters; see `landlock`.
            let is_parameter = |one: &&Verdict| {
                one.rule == "landlock" && one.field == "linux.sysctl" || one.rule == "nested_user_namespaces"
            };
            let stays = |one: &Verdict| verdicts.contains(one) || is_parameter(&one);
            prop_assert!(fewer.iter().all(stays), "{verdicts:?}\n{fewer:?}");
        }
    }

    #[test]
    fn what_holds_is_no_more_than_what_was_asked(profile in any_profile(), remap in any_remap(), config in any_config()) {
        let asked = asked(&config);
        let node = NodePolicy { facts: Facts { remap, ..facts() }, ..node(&profile) };
        if let Ok((holds, _)) = harden(asked.clone(), &node, &sources()) {
            no_more(&holds, &asked.into_config())?;
        }
    }
}

/// A lattice for each field: less on the left.
fn no_more(holds: &brig_spec::Config, asked: &brig_spec::Config) -> Result<(), TestCaseError> {
    prop_assert!(holds.process.no_new_privileges || !asked.process.no_new_privileges);
    let (less, more) = (holds.process.capabilities.sets, asked.process.capabilities.sets);
    for (less, more) in [
        (less.bounding, more.bounding),
        (less.effective, more.effective),
        (less.permitted, more.permitted),
        (less.inheritable, more.inheritable),
        (less.ambient, more.ambient),
    ] {
        prop_assert_eq!(less & !more, 0);
    }
    prop_assert_eq!(&holds.process.user, &asked.process.user);
    prop_assert!(holds.process.oom_score_adj >= asked.process.oom_score_adj);
    for limit in &asked.process.rlimits {
        let holds =
            holds.process.rlimits.iter().find(|one| one.kind == limit.kind).expect("it is kept");
        prop_assert!(holds.soft <= limit.soft && holds.hard <= limit.hard);
    }
    prop_assert!(holds.root.readonly || !asked.root.readonly);
    for path in &asked.linux.masked_paths {
        prop_assert!(holds.linux.masked_paths.contains(path));
    }
    for namespace in &asked.linux.namespaces {
        prop_assert!(holds.linux.namespaces.contains(namespace));
    }
    // Ids of the host are as asked for, or a range.
    for (holds, asked) in [
        (&holds.linux.uid_mappings, &asked.linux.uid_mappings),
        (&holds.linux.gid_mappings, &asked.linux.gid_mappings),
    ] {
        let range = [IdMapping { inside: 0, outside: FIRST, count: RANGE_IDS }];
        prop_assert!(holds == asked || asked.is_empty() && *holds == range, "{:?}", holds);
    }
    prop_assert!(holds.linux.devices.iter().all(|device| asked.linux.devices.contains(device)));
    let limit = |config: &brig_spec::Config, of: fn(&brig_spec::Resources) -> Option<i64>| {
        let asked = config.linux.resources.as_ref().and_then(of);
        asked.filter(|amount| *amount >= 0).unwrap_or(i64::MAX)
    };
    for of in [
        (|all| all.memory?.limit) as fn(&brig_spec::Resources) -> Option<i64>,
        |all| all.memory?.swap,
        |all| all.pids?.limit,
        |all| all.cpu.as_ref()?.quota,
    ] {
        prop_assert!(limit(holds, of) <= limit(asked, of));
    }
    for (holds, asked) in holds.mounts.iter().zip(&asked.mounts) {
        prop_assert_eq!((&holds.destination, &holds.kind), (&asked.destination, &asked.kind));
        prop_assert_eq!(asked.attributes.set & !holds.attributes.set, 0);
    }
    Ok(())
}

/// What the rule about sources says of one, of which `within` are the inodes from it to the root.
fn against(kind: source::Kind, within: &[u64], allow: &[u64], deny: &[u64]) -> Option<String> {
    let object = |inode: u64| source::Object { device: 1, inode };
    let list = |inodes: &[u64]| {
        let listed =
            |inode: &u64| source::Listed { path: format!("/{inode}"), object: object(*inode) };
        inodes.iter().map(listed).collect::<Vec<_>>()
    };
    let root = source::Source {
        field: "root.path".to_owned(),
        path: "/r".to_owned(),
        kind: source::Kind::Plain,
        within: vec![object(77), object(78)],
    };
    let bundle = Some(object(78));
    let field = "mounts[0].source".to_owned();
    let within = within.iter().map(|inode| object(*inode)).collect();
    let bound = source::Source { field: field.clone(), path: "/s".to_owned(), kind, within };
    let above_denied = vec![source::Listed { path: "/9".to_owned(), object: object(1) }];
    let (allowed, denied) = (list(allow), list(deny));
    let places = vec![Places { allowed, denied, above_denied, images: Vec::new() }];
    let sources = Sources { found: vec![bound, root], places, bundle, ..Sources::default() };
    let mount = json!({"destination": "/x", "type": "bind", "source": "/s", "options": ["bind"]});
    let asked = asked(&config(&[("/mounts", json!([mount]))]));
    let rule =
        "bind_sources = { mode = \"refuse\", allow = [], deny = [], engines = [], images = [] }";
    let verdicts = judge(asked, &node(&profile(&format!("{rule}\n"))), &sources);
    assert!(verdicts.iter().all(|verdict| verdict.field == field), "{verdicts:?}");
    verdicts.first().map(|verdict| verdict.asked.clone())
}

/// What the rule says of a root, of which `within` are the inodes from it to the root of the host; its bundle is 8.
fn against_root(within: &[u64], [images, allow, deny]: [&[u64]; 3]) -> Option<String> {
    let object = |inode: u64| source::Object { device: 1, inode };
    let [images, allowed, denied] = [images, allow, deny].map(|inodes| {
        let listed =
            |inode: &u64| source::Listed { path: format!("/{inode}"), object: object(*inode) };
        inodes.iter().map(listed).collect::<Vec<_>>()
    });
    let root = source::Source {
        field: "root.path".to_owned(),
        path: "/r".to_owned(),
        kind: source::Kind::Plain,
        within: within.iter().map(|inode| object(*inode)).collect(),
    };
    let places = vec![Places { allowed, denied, images, above_denied: Vec::new() }];
    let found = vec![root];
    let sources = Sources { found, places, bundle: Some(object(8)), ..Sources::default() };
    let rule =
        "bind_sources = { mode = \"refuse\", allow = [], deny = [], engines = [], images = [] }";
    let verdicts = judge(asked(&config(&[])), &node(&profile(&format!("{rule}\n"))), &sources);
    verdicts.into_iter().find(|verdict| verdict.field == "root.path").map(|verdict| verdict.asked)
}

#[test]
fn a_root_is_in_its_bundle_or_for_roots_or_could_be_bound() {
    let said = |words: &str| Some(words.to_owned());
    let nowhere =
        "/r, which is neither in the bundle nor in anything that may be bound or is for roots,";
    let none: [&[u64]; 3] = [&[], &[], &[]];
    assert_eq!(against_root(&[9, 8, 2], none), None);
    assert_eq!(against_root(&[10, 9, 8, 2], none), None);
    assert_eq!(against_root(&[8, 2], none), said(nowhere), "the bundle itself");
    assert_eq!(against_root(&[9, 7, 2], none), said(nowhere), "elsewhere");
    assert_eq!(against_root(&[9, 7, 2], [&[9], &[], &[7]]), None, "for roots");
    assert_eq!(against_root(&[9, 7, 2], [&[], &[7], &[2]]), None, "in what may be bound");
    assert_eq!(against_root(&[9, 7, 2], [&[2], &[], &[7]]), said("/r, which is in /7,"));
    assert_eq!(
        against_root(&[9, 8, 2], [&[], &[], &[2]]),
        said("/r, which is in /2,"),
        "a denied bundle"
    );
}

#[test]
fn of_the_directories_that_a_source_is_in_the_nearest_decides() {
    use source::Kind::{Device, Kernel, Plain, Socket, Unseen};
    let said = |words: &str| Some(words.to_owned());
    // 5 in 4 in 3 in the root, 2; something denied is below 1.
    let within = [5, 4, 3, 2];
    assert_eq!(against(Plain, &within, &[2], &[]), None);
    assert_eq!(
        against(Plain, &within, &[], &[]),
        said("/s, which is in nothing that may be bound,")
    );
    assert_eq!(against(Plain, &within, &[2], &[3]), said("/s, which is in /3,"));
    assert_eq!(against(Plain, &within, &[4], &[3]), None);
    assert_eq!(against(Plain, &within, &[4], &[4]), said("/s, which is in /4,"));
    assert_eq!(against(Plain, &within, &[5], &[5]), said("/s"));
    assert_eq!(against(Plain, &[1, 2], &[2], &[9]), said("/s, which has /9 in it,"));
    assert_eq!(against(Plain, &[1, 2], &[1], &[9]), said("/s, which has /9 in it,"));
    assert_eq!(against(Socket, &within, &[4], &[]), said("/s, a socket,"));
    assert_eq!(against(Socket, &within, &[5], &[]), None);
    assert_eq!(against(Device, &within, &[2], &[]), said("/s, a device,"));
    assert_eq!(against(Kernel("proc"), &within, &[2], &[]), said("/s, of the file system proc,"));
    let unseen = Unseen("why".to_owned());
    assert_eq!(against(unseen, &within, &[5], &[]), said("/s, which cannot be looked at (why),"));
}

#[test]
fn a_source_that_nobody_has_looked_at_is_refused() {
    let mount = json!({"destination": "/x", "type": "bind", "source": "/s", "options": ["bind"]});
    let asked = asked(&config(&[("/mounts", json!([mount]))]));
    let denial = harden(asked, &node(&level("sandbox")), &Sources::default()).expect_err("two are");
    let fields: Vec<_> = denial.refused.iter().map(|verdict| &*verdict.field).collect();
    assert!(fields.contains(&"mounts[0].source") && fields.contains(&"root.path"), "{fields:?}");
}

#[test]
fn files_of_the_cgroup_are_written_only_where_they_are_named() {
    let unified = json!({"memory.high": "5", "io.max": "x", "memory.reclaim": "1", "cpuset.cpus.partition": "root",
        "cpu.max.burst": "100000", "memory.max": "4096"});
    let (holds, verdicts) = hardened(
        &level("baseline"),
        &[("/hostname", Value::Null), ("/linux/resources", json!({"unified": unified}))],
    );
    let resources = holds.linux.resources.as_ref().expect("some");
    let files: Vec<_> = resources.unified.keys().map(String::as_str).collect();
    assert_eq!(files, ["io.max", "memory.high", "memory.max"]);
    let of_rule = verdicts.iter().filter(|verdict| verdict.contains("cgroup_files")).count();
    assert_eq!(of_rule, 3, "{verdicts:?}");
    let changed = harden_resources(
        Resources {
            unified: [("cpu.max.burst".to_owned(), "0".to_owned())].into(),
            ..Resources::default()
        },
        &Present::default(),
        &level("baseline"),
    );
    assert!(changed.expect("it is limited").0.unified.is_empty());
}

/// A map of all ids of a container to those from `first` on.
fn map(first: u32) -> Value {
    json!([{"containerID": 0, "hostID": first, "size": RANGE_IDS}])
}

fn remapping(mode: &str) -> ChosenProfile {
    profile(&format!(
        "remapping = {{ mode = \"{mode}\", root = \"read-only\", size = 0, unmappable = \"refuse\" }}"
    ))
}

/// What the rule makes of a configuration where a container may have these ids: the maps that hold, and the decisions.
fn remapped(
    mode: &str,
    remap: Remap,
    edits: &[(&str, Value)],
) -> Result<(Vec<IdMapping>, Vec<String>), Vec<String>> {
    let node = NodePolicy { facts: Facts { remap, ..facts() }, ..node(&remapping(mode)) };
    let lines = |verdicts: &[Verdict]| verdicts.iter().map(ToString::to_string).collect();
    match harden(asked(&config(edits)), &node, &sources()) {
        Ok((holds, verdicts)) => {
            assert_eq!(holds.linux.uid_mappings, holds.linux.gid_mappings);
            Ok((holds.linux.uid_mappings.clone(), lines(&verdicts)))
        }
        Err(denial) => Err(lines(&denial.refused)),
    }
}

#[test]
fn a_container_without_ids_of_its_own_gets_a_range() {
    let range = IdMapping { inside: 0, outside: FIRST, count: RANGE_IDS };
    for mode in ["enforce", "refuse"] {
        let said = "linux.namespaces: the ids of the host is limited by the rule remapping, which allows 65536 from \
                    6684672 on, of its own";
        let expected = Ok((vec![range], vec![said.to_owned()]));
        assert_eq!(remapped(mode, Remap::Range(FIRST), &[]), expected);
    }
    let (maps, lines) = remapped("audit", Remap::Range(FIRST), &[]).expect("it is watched");
    assert!(maps.is_empty() && lines[0].contains("audited"), "{lines:?}");
    let pod = Remap::Pod { first: FIRST, path: "/proc/5/ns/user".to_owned() };
    let node = NodePolicy { facts: Facts { remap: pod, ..facts() }, ..node(&remapping("enforce")) };
    let (holds, _) = harden(asked(&config(&[])), &node, &sources()).expect("it is limited");
    let user = holds.linux.namespace(NamespaceType::User).expect("one is there");
    assert_eq!(user.path.as_deref(), Some("/proc/5/ns/user"));
    assert_eq!(holds.linux.uid_mappings, [range]);
    let user = json!({"uid": 65_536, "gid": 5, "additionalGids": [4_294_967_294_u32]});
    let refused = remapped("enforce", Remap::Range(FIRST), &[("/process/user", user)]);
    assert_eq!(
        refused.expect_err("no range has these"),
        [
            "process.user.uid: id 65536 of 65536 is refused by the rule remapping",
            "process.user.additionalGids[0]: id 4294967294 of 65536 is refused by the rule remapping"
        ]
    );
}

#[test]
fn where_no_ids_can_be_had_the_record_says_why_and_users_are_judged_as_they_are() {
    for (remap, why) in [
        (Remap::Unprivileged, "brig is not root of the machine"),
        (Remap::Impossible("the root is on NFS".to_owned()), "the root is on NFS"),
    ] {
        let (maps, lines) = remapped("enforce", remap.clone(), &[]).expect("it is made");
        assert!(maps.is_empty());
        let said = format!(
            "linux.namespaces: the ids of the host is audited by the rule remapping, which allows others, which cannot \
             be had: {why}"
        );
        assert_eq!(lines, [said]);
        let refused = remapped("refuse", remap.clone(), &[]).expect_err("it is required");
        assert!(refused[0].contains("is refused by the rule remapping"), "{refused:?}");
        let node = NodePolicy { facts: Facts { remap, ..facts() }, ..node(&level("restricted")) };
        let denial = harden(asked(&config(&[])), &node, &sources()).expect_err("it is root");
        assert_eq!(denial.refused[0].rule, "users");
    }
}

#[test]
fn a_user_namespace_that_is_asked_for_is_judged_by_what_its_ids_are_on_the_host() {
    let judge = |remap: Remap, users: Value, groups: Value, path: Value| {
        let user = json!([{"type": "mount"}, {"type": "pid"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"},
            {"type": "user", "path": path}]);
        let edits = [
            ("/linux/namespaces", user),
            ("/linux/uidMappings", users),
            ("/linux/gidMappings", groups),
        ];
        let node = NodePolicy { facts: Facts { remap, ..facts() }, ..node(&remapping("enforce")) };
        let verdicts = super::judge(asked(&config(&edits)), &node, &sources());
        verdicts.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let none = Remap::Unclaimed;
    let (unmapped, own) = (Value::Null, map(70_000));
    assert!(judge(none.clone(), own.clone(), own.clone(), unmapped.clone()).is_empty());
    // The least that a policy has to see: one id of many.
    let zero = json!([{"containerID": 0, "hostID": 70_000, "size": 5}, {"containerID": 5, "hostID": 0, "size": 1}]);
    assert_eq!(
        judge(none.clone(), zero, own.clone(), unmapped.clone()),
        ["linux.uidMappings[1]: a map to user 0 of the host is refused by the rule remapping"]
    );
    // A user of the host's, or its terminals' group: such a map reaches what is theirs.
    assert_eq!(
        judge(none.clone(), map(1000), own.clone(), unmapped.clone()),
        [
            "linux.uidMappings[0]: a map to user 1000 of the host, which is one of its own is refused by the rule remapping"
        ]
    );
    assert_eq!(judge(none.clone(), own.clone(), map(5), unmapped.clone()).len(), 1);
    assert!(judge(none.clone(), map(65_536), own.clone(), unmapped.clone()).is_empty());
    // That of a container of the pool, given or not, but to this one.
    let of_pool = [
        "linux.gidMappings[0]: a map to group 6684672 of the host, which is of the node's pool is refused by the rule \
         remapping",
    ];
    assert_eq!(judge(none.clone(), own.clone(), map(FIRST), unmapped.clone()), of_pool);
    let other = Remap::Range(FIRST + RANGE_IDS);
    assert_eq!(judge(other, own.clone(), map(FIRST), unmapped.clone()), of_pool);
    assert!(judge(Remap::Range(FIRST), map(FIRST), map(FIRST), unmapped.clone()).is_empty());
    let unknown = judge(none, json!([]), json!([]), json!("/proc/5/ns/user"));
    assert_eq!(unknown.len(), 2, "{unknown:?}");
    // What an ordinary user's ids are on the host is not known to who maps them.
    assert!(judge(Remap::Unprivileged, map(0), own, unmapped).is_empty());
}

#[test]
fn a_user_namespace_that_is_joined_has_no_more_than_it_says() {
    let line = |inside, outside, count| IdMapping { inside, outside, count };
    let linux = Linux { uid_mappings: vec![line(0, 70_000, 5)], ..Linux::default() };
    let judge = |users: &[IdMapping], mode: &str| {
        judge_joined_maps(&linux, [users, &[]], &remapping(mode), &CallerFacts::default())
            .map_err(|denial| denial.refused.len())
    };
    assert_eq!(judge(&[line(0, 70_000, 5)], "enforce"), Ok(Vec::new()));
    assert_eq!(judge(&[line(0, 80_000, 5)], "enforce"), Err(1));
    assert_eq!(judge(&[line(0, 70_000, 5), line(9, 0, 1)], "enforce"), Err(1));
    assert_eq!(judge(&[line(9, 0, 1)], "off"), Ok(Vec::new()));
    judge_joined(NamespaceType::User, true, &remapping("enforce")).expect_err("it is the host's");
    judge_joined(NamespaceType::User, false, &remapping("enforce")).expect("it is another");
}

#[test]
fn a_range_is_claimed_for_who_has_none_where_the_rule_gives_one() {
    let wants = |mode: &str, remap: Remap, edits: &[(&str, Value)]| {
        let facts = Facts { remap, ..facts() };
        wants_range(asked(&config(edits)).config(), &remapping(mode), &facts)
    };
    assert!(wants("enforce", Remap::Unclaimed, &[]) && wants("refuse", Remap::Unclaimed, &[]));
    assert!(!wants("audit", Remap::Unclaimed, &[]) && !wants("off", Remap::Unclaimed, &[]));
    assert!(!wants("enforce", Remap::Unprivileged, &[]));
    let own = [
        ("/linux/namespaces", json!([{"type": "user"}, {"type": "mount"}])),
        ("/linux/uidMappings", map(70_000)),
        ("/linux/gidMappings", map(70_000)),
        ("/hostname", Value::Null),
    ];
    assert!(!wants("enforce", Remap::Unclaimed, &own));
}

#[test]
fn ports_stay_where_a_network_namespace_is_not_the_containers() {
    let joined =
        json!([{"type": "mount"}, {"type": "uts"}, {"type": "network", "path": "/run/netns/x"}]);
    let own = json!([{"type": "mount"}, {"type": "uts"}, {"type": "network"}]);
    let some = json!({"bounding": ["CAP_NET_BIND_SERVICE"]});
    let set = |rules: &str, namespaces: &Value, capabilities: &Value| {
        let text = format!(
            "remapping = {{ mode = \"enforce\", root = \"read-only\", size = 0, unmappable = \"refuse\" }}\n{rules}"
        );
        let edits = [
            ("/linux/namespaces", namespaces.clone()),
            ("/process/capabilities", capabilities.clone()),
        ];
        let facts = Facts { remap: Remap::Range(FIRST), ..facts() };
        let node = NodePolicy { facts, ..node(&profile(&text)) };
        let (holds, _) = harden(asked(&config(&edits)), &node, &sources()).expect("it is made");
        holds.linux.sysctl.get("net.ipv4.ip_unprivileged_port_start").cloned()
    };
    let private = "namespaces = { mode = \"refuse\", private = [\"network\"] }\n";
    assert_eq!(set(private, &joined, &some).as_deref(), Some("0"));
    assert_eq!(set(private, &own, &some), None);
    assert_eq!(set(private, &joined, &json!({})), None);
    // It may be the host's.
    assert_eq!(set("", &joined, &some), None);
    let no_sysctl = format!("{private}sysctls = {{ mode = \"refuse\", allow = [] }}");
    assert_eq!(set(&no_sysctl, &joined, &some), None);
    let no_capability = format!("{private}capabilities = {{ mode = \"enforce\", allow = [] }}");
    assert_eq!(set(&no_capability, &joined, &some), None);
}

#[test]
fn groups_that_a_container_does_not_have_send_no_echo_requests() {
    let set = |network: Value, value: &str| {
        let edits = [
            ("/linux/namespaces", json!([{"type": "mount"}, {"type": "uts"}, network])),
            ("/linux/sysctl", json!({"net/ipv4/ping_group_range": value})),
        ];
        let facts = Facts { remap: Remap::Range(FIRST), ..facts() };
        let node = NodePolicy { facts, ..node(&remapping("enforce")) };
        let (holds, verdicts) =
            harden(asked(&config(&edits)), &node, &sources()).expect("it is made");
        (holds.linux.sysctl["net/ipv4/ping_group_range"].clone(), verdicts.len())
    };
    let own = json!({"type": "network"});
    assert_eq!(set(own.clone(), "5 2147483647"), ("5 65535".to_owned(), 2));
    for value in ["0 65535", "1 0", "x"] {
        assert_eq!(set(own.clone(), value), (value.to_owned(), 1));
    }
    // Written from outside, by the host's numbers.
    let joined = json!({"type": "network", "path": "/run/netns/x"});
    assert_eq!(set(joined, "0 2147483647"), ("0 2147483647".to_owned(), 1));
}

#[test]
fn a_root_that_is_an_overlay_is_not_written_to_by_others_ids() {
    let root = |overlay_root: bool, remap: Remap, root: &str, mode: &str| {
        let text = format!(
            "remapping = {{ mode = \"{mode}\", root = \"{root}\", size = 0, unmappable = \"refuse\" }}\n\
             read_only_root = {{ mode = \"off\", tmpfs = [\"/tmp\"], size = 1 }}"
        );
        let facts = Facts { remap, overlay_root, ..facts() };
        let node = NodePolicy { facts, ..node(&profile(&text)) };
        let asked = asked(&config(&[("/root/readonly", json!(false))]));
        let (holds, verdicts) = harden(asked, &node, &sources()).expect("it is made");
        (holds.root.readonly, verdicts.len())
    };
    let range = Remap::Range(FIRST);
    assert_eq!(root(true, range.clone(), "read-only", "enforce"), (true, 2));
    assert_eq!(root(true, range.clone(), "ephemeral", "enforce"), (false, 2));
    assert_eq!(root(false, range.clone(), "read-only", "enforce"), (false, 1));
    assert_eq!(root(true, range.clone(), "read-only", "audit"), (false, 2));
    assert_eq!(root(true, range, "read-only", "off"), (false, 0));
    assert_eq!(root(true, Remap::Impossible("x".to_owned()), "read-only", "enforce"), (false, 1));
}

#[test]
fn the_pool_is_the_nodes() {
    let policy = |ids: &str| Policy::read(&format!("version = 1\ndefault = \"oci\"\n{ids}"));
    assert_eq!(policy("").expect("it is good").ids(), IdPool::default());
    let given = policy("[ids]\nfirst = 6553600\ncount = 655360").expect("it is good");
    assert_eq!(given.ids(), pool());
    let error = policy("ids = { first = 5, count = 655360 }").expect_err("no range begins there");
    assert_eq!(error.to_string(), "line 3 column 17: ids: 5 and 655360 are no pool of ranges");
    assert!(error.hint().contains("multiples of 65536"), "{}", error.hint());
}

/// A policy with a profile `it` and a level to select, and an exception of a drop-in's, which says this.
fn with_drop_in(drop_in: &str) -> Policy {
    let text = "version = 1\ndefault = \"it\"\nselectable = [\"sandbox\", \"more\"]\n\
                [profile.it]\nextends = \"baseline\"\n[profile.more]\nextends = \"it\"\n\
                [exception.fuse]\nreason = \"images are built here\"\nexpires = 2026-12-31\n\
                drop_in = \"50-fuse.toml\"\nrules = [\"devices\"]\nprofiles = [\"it\"]\n";
    let mut policy = Policy::read(text).unwrap_or_else(|error| panic!("{error}"));
    let drop_in = format!("version = 1\n{drop_in}");
    policy.add_drop_in("50-fuse.toml", &drop_in).unwrap_or_else(|error| panic!("{error}"));
    policy
}

fn day(text: &str) -> Date {
    serde_json::from_value(json!(text)).expect("a day")
}

/// It asks for FUSE, and for as many tasks as there are.
fn fuse() -> [(&'static str, Value); 1] {
    [("/linux/devices", json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]))]
}

#[test]
fn drop_ins_hold_after_the_profile_and_are_named() {
    let drop_in =
        "[rules]\npids = { mode = \"enforce\", max = 100 }\nnet_devices.mode = \"refuse\"\n";
    let chosen = with_drop_in(drop_in).profile(None).expect("it");
    let (holds, lines) = hardened(&chosen, &[]);
    assert_eq!(holds.linux.resources.as_ref().and_then(|all| all.pids?.limit), Some(100));
    let pids: Vec<_> = lines.iter().filter(|line| line.contains("rule pids")).collect();
    let expected = [
        "linux.resources.pids.limit: no limit is limited by the rule pids, which allows 4096",
        "linux.resources.pids.limit: 4096 is limited by the rule pids of policy.d/50-fuse.toml, which allows 100",
    ];
    assert_eq!(pids, expected);
    let denied = denied(&chosen, &[("/linux/netDevices", json!({"eth9": {}}))]);
    let by = |set: &str| {
        format!(
            "linux.netDevices[\"eth9\"]: an interface of the host is refused by the rule net_devices{set}"
        )
    };
    assert_eq!(denied, [by(""), by(" of policy.d/50-fuse.toml")]);
    // It is for every later verb too.
    let change = asked_resources(&json!({"pids": {"limit": 500}}));
    let (holds, _) = harden_resources(change, &Present::default(), &chosen).expect("limited");
    assert_eq!(holds.pids.and_then(|pids| pids.limit), Some(100));
    let kept = serde_json::to_value(&chosen).expect("JSON");
    assert_eq!(serde_json::from_value::<ChosenProfile>(kept).expect("the same"), chosen);
}

#[test]
fn a_drop_in_is_for_the_profiles_that_it_names_and_those_that_extend_them() {
    let rules = "[rules]\npids = { mode = \"enforce\", max = 1 }\n";
    let count = |profiles: &str, selected| {
        let chosen = with_drop_in(&format!("{profiles}{rules}")).profile(Some(selected));
        chosen.expect(selected).sets().count() - 1
    };
    for (profiles, it, more, sandbox) in [
        ("", 1, 1, 1),
        ("profiles = []\n", 0, 0, 0),
        ("profiles = [\"it\"]\n", 1, 1, 0),
        ("profiles = [\"more\"]\n", 0, 1, 0),
        ("profiles = [\"baseline\"]\n", 1, 1, 1),
        ("profiles = [\"restricted-1\"]\n", 0, 0, 1),
        ("profiles = [\"oci\"]\n", 0, 0, 0),
    ] {
        let found = ["it", "more", "sandbox"].map(|selected| count(profiles, selected));
        assert_eq!(found, [it, more, sandbox], "{profiles}");
    }
}

#[test]
fn only_an_exception_that_has_not_expired_lets_a_drop_in_give_more() {
    let policy = with_drop_in(
        "[rules]\ndevices = { mode = \"enforce\", allow = [\"c 10:229\"] }\nno_new_privileges.mode = \"audit\"\n",
    );
    let has_fuse = |today: Option<&str>, profile: Option<&str>| {
        let chosen = policy.profile_on(today.map(day), profile).expect("a profile");
        let (holds, lines) = hardened(&chosen, &fuse());
        (holds.linux.devices.len() == 1, lines)
    };
    let (given, lines) = has_fuse(Some("2026-12-31"), None);
    assert!(given);
    let said = "exception.fuse: policy.d/50-fuse.toml (until 2026-12-31: images are built here) is excepted from the rule devices";
    assert_eq!(lines[0], said);
    // It is for this profile alone, and what the drop-in says of other rules takes away all the same.
    let (given, lines) = has_fuse(Some("2026-12-31"), Some("more"));
    assert!(!given && !lines[0].contains("exception"), "{lines:?}");
    let limited = "linux.devices[0]: /dev/fuse (10:229) is limited by the rule devices, which allows no such device";
    for today in [Some("2027-01-01"), Some("1970-01-01"), None] {
        let (given, lines) = has_fuse(today, None);
        assert!(!given, "{today:?}");
        assert_eq!(lines[0], said.replace("is excepted", "is no longer excepted"), "{today:?}");
        assert!(lines.iter().any(|line| line == limited), "{lines:?}");
    }
}

#[test]
fn drop_ins_and_exceptions_that_are_not_understood_are_errors() {
    let mut policy = Policy::without_file();
    for (text, what) in [
        ("", "version: required but missing"),
        ("version = 2\n[rules]\n", "version: 2 is not known, only 1"),
        ("version = 1\n", "missing field `rules`"),
        ("version = 1\ndefault = \"oci\"\n[rules]\n", "line 2 column 1: unknown field `default`"),
        ("version = 1\n[rules]\npids.mode = \"enforce\"\n", "rules.pids.max: required but missing"),
        ("version = 1\nprofiles = [\"no\"]\n[rules]\n", "there is no profile \"no\""),
        ("version = 1\n[rules]\nextends = \"no\"\n", "there is no profile \"no\""),
    ] {
        let error = policy.add_drop_in("it.toml", text).expect_err(text).to_string();
        assert!(error.contains(what), "{error}");
    }
    assert_eq!(policy, Policy::without_file());
    let good = [
        "reason = \"why\"",
        "expires = 2026-12-31",
        "drop_in = \"x.toml\"",
        "rules = [\"pids\"]",
        "profiles = [\"oci\"]",
    ];
    let read = |lines: &[&str]| {
        let start = "version = 1\ndefault = \"oci\"\n[exception.it]\n";
        Policy::read(&format!("{start}{}", lines.join("\n"))).map(drop)
    };
    read(&good).expect("it is good");
    for (at, bad, what) in [
        (0, "reason = \" \"", "exception.it.reason: is empty"),
        (
            1,
            "expires = 2026-12-31T00:00:00Z",
            "invalid value: string \"2026-12-31T00:00:00Z\", expected a day",
        ),
        (1, "expires = 2026", "invalid type: integer `2026`, expected a string"),
        (2, "drop_in = \"../x.toml\"", "exception.it.drop_in: \"../x.toml\" is not a drop-in"),
        (3, "rules = [\"pid\"]", "exception.it.rules: there is no rule \"pid\""),
        (4, "profiles = [\"web\"]", "there is no profile \"web\""),
    ] {
        let mut lines = good;
        lines[at] = bad;
        let error = read(&lines).expect_err(bad).to_string();
        assert!(error.contains(what), "{error}");
        let missing: Vec<_> = good
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != at)
            .map(|(_, line)| *line)
            .collect();
        assert!(read(&missing).expect_err("it is missing").to_string().contains("missing field"));
    }
}

#[test]
fn a_level_extends_what_its_file_says() {
    for (name, text) in [
        ("baseline-1", include_str!("levels/baseline-1.toml")),
        ("restricted-1", include_str!("levels/restricted-1.toml")),
        ("sandbox-1", include_str!("levels/sandbox-1.toml")),
    ] {
        let written = text.lines().find_map(|line| line.strip_prefix("extends = "));
        let written = written.map(|name| name.trim_matches('"'));
        assert_eq!(level::extended(name).next(), written, "{name}");
    }
}

/// What is decided for a container with these annotations: what holds, and the lines.
fn annotated(policy: &Policy, annotations: &Value) -> Result<(Hardened, Vec<String>), Denial> {
    let chosen = policy.profile(None).expect("the default");
    let conditions = policy.conditions(&chosen).expect("its conditions");
    let asked = asked(&config(&[("/annotations", annotations.clone())]));
    let node = NodePolicy { conditions, ..node(&chosen) };
    let node = node.of_container(&asked.config().annotations).into_owned();
    let (holds, verdicts) = harden(asked, &node, &sources())?;
    Ok((holds, verdicts.iter().map(ToString::to_string).collect()))
}

#[test]
fn an_annotation_asks_for_less_where_the_node_lists_it() {
    let text = "version = 1\ndefault = \"it\"\n[profile.few.pids]\nmode = \"enforce\"\nmax = 3\n\
                [profile.much]\n[profile.it]\nextends = \"baseline\"\n\
                annotations = { allow = [\"io.brig.profile\"], profiles = [\"few\", \"much\"] }\n\
                [tighten.guests]\nannotation = \"io.kubernetes.cri.sandbox-namespace\"\n\
                values = [\"guests\", \"ci\"]\nprofile = \"few\"\n";
    let policy = Policy::read(text).expect("it is good");
    let limit = |annotations: &Value| {
        let (holds, lines) = annotated(&policy, annotations).expect("it is granted");
        (holds.linux.resources.as_ref().and_then(|all| all.pids?.limit), lines)
    };
    assert_eq!(limit(&json!({})).0, Some(4096));
    assert_eq!(limit(&json!({"com.example": "few", "io.brigade": "x"})).0, Some(4096));
    let (few, lines) = limit(&json!({"io.brig.profile": "few"}));
    assert_eq!(few, Some(3));
    let said = "linux.resources.pids.limit: 4096 is limited by the rule pids of the annotation io.brig.profile, which allows 3";
    assert!(lines.iter().any(|line| line == said), "{lines:?}");
    // A laxer profile gives nothing.
    assert_eq!(limit(&json!({"io.brig.profile": "much"})).0, Some(4096));
    assert_eq!(limit(&json!({"io.kubernetes.cri.sandbox-namespace": "ci"})).0, Some(3));
    assert_eq!(limit(&json!({"io.kubernetes.cri.sandbox-namespace": "others"})).0, Some(4096));
    for (name, value) in
        [("io.brig.profile", "sandbox"), ("io.brig.profile", ""), ("io.brig.other", "few")]
    {
        let denial = annotated(&policy, &json!({name: value})).expect_err("it is refused");
        let said = format!("annotations[{name:?}]: {value:?} is refused by the rule annotations");
        assert_eq!(denial.refused.len(), 1, "{denial}");
        assert_eq!(denial.refused[0].to_string(), said);
    }
    // Nothing is allowed unless it is listed.
    let strict = Policy::read("version = 1\ndefault = \"baseline\"\n").expect("it is good");
    annotated(&strict, &json!({"io.brig.profile": "sandbox"})).expect_err("it is refused");
    for (text, what) in [
        (
            "[profile.it]\nannotations.allow = [\"io.brig.other\"]",
            "unknown variant `io.brig.other`",
        ),
        ("[profile.it]\nannotations.profiles = [\"no\"]", "there is no profile \"no\""),
        (
            "[tighten.x]\nannotation = \"a\"\nvalues = []\nprofile = \"no\"",
            "there is no profile \"no\"",
        ),
        ("[tighten.x]\nannotation = \"a\"\nprofile = \"oci\"", "missing field `values`"),
    ] {
        let error =
            Policy::read(&format!("version = 1\ndefault = \"oci\"\n{text}")).expect_err(text);
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn a_pods_container_is_refused_in_the_words_of_a_pod() {
    let cri = json!({"io.kubernetes.cri.container-type": "container"});
    let edits = [
        ("/annotations", cri),
        ("/root/readonly", json!(false)),
        ("/linux/sysctl", json!({"kernel.msgmax": "1"})),
        ("/mounts/0/options", json!(["shared"])),
        ("/hooks", json!({"poststop": [{"path": "/x"}]})),
    ];
    let lines = |edits: &[(&str, Value)]| {
        let verdicts = judge(asked(&config(edits)), &node(&level("restricted")), &sources());
        verdicts.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let said = lines(&edits);
    for line in [
        "process.user.uid (in the pod: securityContext.runAsUser, securityContext.runAsNonRoot): user 0 of the host is refused by \
         the rule users",
        "root.readonly (in the pod: securityContext.readOnlyRootFilesystem): false is limited by the rule read_only_root, which \
         allows true, and a tmpfs at /tmp, /run, /var/tmp",
        "linux.sysctl[\"kernel.msgmax\"] (in the pod: spec.securityContext.sysctls): \"1\" is refused by the rule sysctls, which \
         allows the kernel's default",
        "mounts[0].options (in the pod: volumeMounts[].readOnly, volumeMounts[].mountPropagation, securityContext.privileged): \
         shared is limited by the rule mount_propagation, which allows slave",
        "hooks.poststop[0]: the program \"/x\" is refused by the rule hooks",
    ] {
        assert!(said.iter().any(|one| one == line), "{line}\n{said:#?}");
    }
    assert!(!lines(&edits[1..]).iter().any(|line| line.contains("in the pod")));
}

/// Docker's hook, as it writes it (moby daemon/oci_linux.go).
#[test]
fn engines_connect_networks_by_programs_of_their_own_and_nothing_else() {
    let judged = |path: &str, args: &[&str], is_others: bool| {
        let env = ["PATH=/home/x", "A=b"];
        let hook = json!([{"path": "/proc/1/exe", "args": args, "env": env}]);
        let program = source::Program {
            field: hook_field("prestart", 0),
            path: path.to_owned(),
            owner: 0,
            is_others,
            sha256: None,
            at: vec![path.to_owned()],
        };
        let found = Sources { programs: vec![program], ..sources() };
        let config =
            config(&[("/hooks", json!({"prestart": hook})), ("/process/user/uid", json!(5))]);
        let (hardened, _) = harden(asked(&config), &node(&level("restricted")), &found).ok()?;
        Some(hardened.hooks.prestart[0].env.clone())
    };
    let env = vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
    let docker = ["libnetwork-setkey", "-exec-root=/run/docker", "c0ffee", "c0"];
    assert_eq!(judged("/usr/bin/dockerd", &docker, false), Some(env));
    for (path, args, is_others) in [
        ("/usr/bin/dockerd", &docker[1..], false),
        ("/usr/bin/dockerd", &["dockerd", "libnetwork-setkey"][..], false),
        ("/usr/bin/dockerd", &docker, true),
        ("/usr/bin/dockerd", &["libnetwork-setkey", "-exec-root=/tmp", "c0ffee", "c0"], false),
        (
            "/usr/bin/dockerd",
            &["libnetwork-setkey", "-exec-root=/run/docker", "c0ffee", "../c0"],
            false,
        ),
        ("/usr/bin/dockerd", &["libnetwork-setkey", "-exec-root=/run/docker", "--x", "c0"], false),
        ("/tmp/dockerd", &docker, false),
    ] {
        assert_eq!(judged(path, args, is_others), None, "{path} {args:?}");
    }
}

/// A profile, and a drop-in beside it.
fn and_drop_in(profile: &str, drop_in: &str) -> ChosenProfile {
    let text = format!("version = 1\ndefault = \"it\"\n[profile.it]\n{profile}");
    let mut policy = Policy::read(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let drop_in = format!("version = 1\n[rules]\n{drop_in}");
    policy.add_drop_in("x.toml", &drop_in).unwrap_or_else(|error| panic!("{error}: {drop_in}"));
    policy.profile(None).expect("it")
}

#[test]
fn ids_are_given_once_whichever_rules_give_them() {
    const ENFORCE: &str = "remapping = { mode = \"enforce\", root = \"ephemeral\", size = 0, unmappable = \"refuse\" }";
    let strict = ENFORCE.replace("enforce", "refuse").replace("ephemeral", "read-only");
    let off = ENFORCE.replace("enforce", "off");
    let of = |remap: &Remap, profile: &ChosenProfile| NodePolicy {
        facts: Facts { remap: remap.clone(), overlay_root: true, ..facts() },
        ..node(profile)
    };
    let written = config(&[("/root/readonly", json!(false))]);
    let range = IdMapping { inside: 0, outside: FIRST, count: RANGE_IDS };
    for (profile, drop_in, is_readonly) in [
        (ENFORCE, ENFORCE, false),
        (ENFORCE, &*strict, true),
        (&strict, ENFORCE, true),
        (&off, ENFORCE, false),
        ("", &strict, true),
    ] {
        let profile = and_drop_in(profile, drop_in);
        assert!(wants_range(
            asked(&written).config(),
            &profile,
            &of(&Remap::Unclaimed, &profile).facts
        ));
        let node = of(&Remap::Range(FIRST), &profile);
        let (holds, verdicts) = harden(asked(&written), &node, &sources()).expect("it is made");
        assert_eq!(holds.linux.uid_mappings, [range]);
        assert_eq!(holds.root.readonly, is_readonly, "{verdicts:?}");
        let given = verdicts.iter().filter(|one| one.field == "linux.namespaces");
        assert_eq!(given.count(), 1, "{verdicts:?}");
        let unclaimed = of(&Remap::Unclaimed, &profile);
        let judged = judge(asked(&written), &unclaimed, &sources());
        assert!(judged.iter().all(|one| one.outcome == Outcome::Limited), "{judged:?}");
        harden(asked(&written), &unclaimed, &sources()).expect_err("none is claimed");
        // What the drop-in says of what cannot be had.
        let refused = harden(asked(&written), &of(&Remap::Unprivileged, &profile), &sources());
        assert_eq!(
            refused.is_err(),
            profile.sets().any(|set| set.rules.remapping.mode == Some(Mode::Refuse))
        );
    }
}

#[test]
fn a_drop_in_judges_ids_and_ports_on_every_way() {
    const REMAPPING: &str = "remapping = { mode = \"enforce\", root = \"read-only\", size = 0, unmappable = \"refuse\" }";
    let by_drop_in = and_drop_in("", REMAPPING);
    judge_joined(NamespaceType::User, true, &by_drop_in).expect_err("it is the host's");
    let root = [IdMapping { inside: 0, outside: 0, count: 1 }];
    judge_joined_maps(&Linux::default(), [&root, &root], &by_drop_in, &CallerFacts::default())
        .expect_err("it has root");
    // A port below 1024 is only for who may have it by all rules.
    let joined =
        json!([{"type": "mount"}, {"type": "uts"}, {"type": "network", "path": "/run/netns/x"}]);
    let edits = [
        ("/linux/namespaces", joined),
        ("/process/capabilities", json!({"bounding": ["CAP_NET_BIND_SERVICE"]})),
    ];
    let port = |profile: &str, drop_in: &str| {
        let facts = Facts { remap: Remap::Range(FIRST), ..facts() };
        let node = NodePolicy { facts, ..node(&and_drop_in(profile, drop_in)) };
        let (holds, _) = harden(asked(&config(&edits)), &node, &sources()).expect("it is made");
        holds.linux.sysctl.contains_key("net.ipv4.ip_unprivileged_port_start")
    };
    let own = format!("{REMAPPING}\nnamespaces = {{ mode = \"refuse\", private = [\"network\"] }}");
    let none = "capabilities = { mode = \"enforce\", allow = [] }";
    let no_parameter = "sysctls = { mode = \"refuse\", allow = [] }";
    assert!(port(&own, "") && port("", &own));
    for drop_in in [none, no_parameter] {
        assert!(!port(&own, drop_in) && !port(drop_in, &own), "{drop_in}");
    }
}

#[test]
fn a_drop_in_judges_what_later_verbs_ask_for() {
    let profile = and_drop_in(
        "",
        "capabilities = { mode = \"enforce\", allow = [\"CAP_KILL\"] }\nhooks = { mode = \"refuse\", allow = [], engines = [], seconds = 1 }\n\
         seccomp_listener = { mode = \"refuse\", allow = [] }",
    );
    let (container, _) =
        harden(asked(&config(&[])), &node(&profile), &sources()).expect("it is made");
    let more = json!({"bounding": ["CAP_KILL", "CAP_SYS_ADMIN"]});
    let process = asked(&config(&[("/process/capabilities", more)])).config().process.clone();
    let (process, verdicts) =
        harden_process(process, &container, &profile, &CallerFacts::default())
            .expect("it is limited");
    assert_eq!(process.capabilities.sets.bounding, 1 << 5);
    assert_eq!(verdicts[0].by.as_deref(), Some("policy.d/x.toml"));
    let hooks = asked(&config(&[("/hooks", json!({"poststop": [{"path": "/x"}]}))]));
    judge_hooks(&hooks.config().hooks, &[], &profile).expect_err("it is not listed");
    let is_listed = |rule: &SeccompListener| rule.mode.is_none();
    judge_listener("/x", is_listed, &profile).expect_err("the drop-in does not list it");
}
