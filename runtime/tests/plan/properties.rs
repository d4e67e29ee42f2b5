//! What holds for every plan, whatever the configuration and the machine.

use brig::plan::{Plan, SlotUse, Start};
use brig::spec::Config;
use brig::spec::capability::SYS_ADMIN;
use brig_child::flags::{namespace, prctl};
use brig_child::op::{
    FileOp, Identity, MountOp, NamespaceOp, PrivilegeOp, ProcessOp, ProgramOp, TalkOp,
};
use brig_child::{Op, Slot};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;

use crate::support::{
    Given, Machine, config, filter, namespace, planned, planned_of, remap, spec_of,
};

/// Names that only an image or a tenant would choose.
const HOSTILE: &str = "/evil";

#[derive(Clone, Debug)]
struct Case {
    namespaces: u8,
    joined: u8,
    user: u32,
    no_new_privileges: bool,
    /// 0: none, 1: a filter, 2: one that notifies.
    seccomp: u8,
    terminal: bool,
    hooks: u8,
    extras: u8,
    machine: u8,
    at_gate: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let first = (any::<u8>(), any::<u8>(), prop_oneof![Just(0u32), Just(1000)], any::<bool>());
    let second = (0u8..3, any::<bool>(), 0u8..8, any::<u8>(), 0u8..4, any::<bool>());
    (first, second).prop_map(|((namespaces, joined, user, no_new_privileges), second)| {
        let (seccomp, terminal, hooks, extras, machine, at_gate) = second;
        Case {
            namespaces,
            joined,
            user,
            no_new_privileges,
            seccomp,
            terminal,
            hooks,
            extras,
            machine,
            at_gate,
        }
    })
}

fn configure(case: &Case) -> Value {
    let mut config = config(None);
    let kinds = ["network", "ipc", "uts", "pid", "cgroup", "user", "time"];
    for (bit, kind) in kinds.iter().enumerate() {
        let path = (case.joined >> bit & 1 == 1).then(|| format!("/proc/7/ns/{kind}"));
        match (case.namespaces >> bit & 1 == 1, *kind) {
            (true, "user") => {
                remap(&mut config);
                namespace(&mut config, "user", path.as_deref());
            }
            (true, kind) => namespace(&mut config, kind, path.as_deref()),
            (false, _) => {}
        }
    }
    config["process"]["user"] = json!({"uid": case.user, "gid": case.user, "additionalGids": [4]});
    config["process"]["noNewPrivileges"] = json!(case.no_new_privileges);
    config["process"]["terminal"] = json!(case.terminal);
    let action = if case.seccomp == 2 { "SCMP_ACT_NOTIFY" } else { "SCMP_ACT_ERRNO" };
    if case.seccomp > 0 {
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/s",
            "syscalls": [{"names": ["mount"], "action": action}]});
    }
    let mut hooks = json!({});
    for (bit, name) in ["createRuntime", "createContainer", "startContainer"].iter().enumerate() {
        if case.hooks >> bit & 1 == 1 {
            hooks[name] = json!([{"path": "/opt/hook"}]);
        }
    }
    config["hooks"] = hooks;
    extras(&mut config, case.extras);
    config
}

fn extras(config: &mut Value, bits: u8) {
    let has = |bit: u8| bits >> bit & 1 == 1;
    let mounts = config["mounts"].as_array_mut().expect("a list");
    if has(0) {
        mounts.push(
            json!({"destination": "/evil/bind", "source": "/src", "options": ["rbind", "ro"]}),
        );
        mounts.push(json!({"destination": "/evil/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro"]}));
    }
    if has(1) {
        mounts.push(json!({"destination": "/evil/bind", "options": ["remount", "noexec"]}));
    }
    if has(2) {
        config["linux"]["devices"] = json!([{"path": "/evil/null", "type": "c", "major": 1, "minor": 3},
            {"path": "/dev/evil/pipe", "type": "p"}]);
    }
    if has(3) {
        config["linux"]["maskedPaths"] = json!(["/evil/mask"]);
        config["linux"]["readonlyPaths"] = json!(["/evil/ro"]);
    }
    if has(4) {
        config["root"]["readonly"] = json!(true);
        config["linux"]["rootfsPropagation"] = json!("rslave");
    }
    if has(5) {
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
        config["process"]["oomScoreAdj"] = json!(5);
    }
    if has(6) {
        config["linux"]["netDevices"] = json!({"eth1": {}});
    }
    if has(7) {
        let mounts = config["mounts"].as_array_mut().expect("a list");
        mounts.push(json!({"destination": "/srv/proc", "type": "proc", "source": "proc"}));
        config["linux"]["maskedPaths"] = json!([
            "/srv/proc/kcore",
            "/proc//sys/kernel/",
            "/dev/mqueue/x",
            "/proc",
            "/sys/fs/x",
            "/sys/fs"
        ]);
    }
}

fn machine(number: u8) -> Machine {
    match number {
        0 => Machine::v2(),
        1 => Machine::v1(),
        2 => Machine::hybrid(),
        _ => {
            let mut machine = Machine::v2();
            machine.host.empty_namespace = false;
            machine
        }
    }
}

struct Order<'p>(&'p [Op<'p>]);

impl Order<'_> {
    fn first(&self, wanted: impl Fn(&Op<'_>) -> bool) -> Option<usize> {
        self.0.iter().position(wanted)
    }

    fn last(&self, wanted: impl Fn(&Op<'_>) -> bool) -> Option<usize> {
        self.0.iter().rposition(wanted)
    }

    /// Where it happens, which must be once.
    fn only(&self, what: &str, wanted: impl Fn(&Op<'_>) -> bool) -> usize {
        let first = self.first(&wanted).unwrap_or_else(|| panic!("no {what}"));
        assert_eq!(Some(first), self.last(&wanted), "{what} twice");
        first
    }
}

/// The order that hardening rests on.
fn privileges_fall_in_order(case: &Case, plan: &Plan<'_>, filtered: bool) {
    let order = Order(plan.ops);
    let exec = order.only("execve", |op| matches!(op, Op::Program(ProgramOp::Execve { .. })));
    assert_eq!(exec, plan.ops.len() - 1, "nothing comes after the program");
    let bounding = order
        .only("bounding set", |op| matches!(op, Op::Privilege(PrivilegeOp::KeepBounding { .. })));
    let user =
        order.last(|op| matches!(op, Op::Privilege(PrivilegeOp::Setuid { .. }))).expect("a user");
    let groups = order
        .last(|op| matches!(op, Op::Privilege(PrivilegeOp::Setgroups { .. })))
        .expect("groups");
    let capset = order.only("capset", |op| matches!(op, Op::Privilege(PrivilegeOp::Capset { .. })));
    assert!(bounding < user && groups < user && user < capset, "capabilities(7)");
    assert!(
        matches!(plan.ops[user], Op::Privilege(PrivilegeOp::Setuid { uid }) if uid == case.user)
    );
    let nnp = order
        .first(|op| matches!(op, Op::Privilege(PrivilegeOp::Prctl { option, value: 1 }) if *option == prctl::NO_NEW_PRIVS));
    assert_eq!(nnp.is_some(), case.no_new_privileges);
    let seccomp = order.first(|op| matches!(op, Op::Privilege(PrivilegeOp::Seccomp { .. })));
    assert_eq!(seccomp.is_some(), filtered, "a filter that is asked for is loaded");
    assert!(seccomp.is_none_or(|at| at == exec - 1), "the filter is the last but the program");
    assert!(nnp.is_none_or(|at| at < exec - 1));
    let Op::Privilege(PrivilegeOp::Capset { until_execve, .. }) = plan.ops[capset] else {
        unreachable!("found above")
    };
    let needs = filtered && !case.no_new_privileges;
    assert_eq!(until_execve, if needs { SYS_ADMIN } else { 0 }, "a filter needs the privilege");
    for op in &plan.ops[capset..] {
        if let Op::Program(ProgramOp::Hook(hook)) = op {
            assert_eq!(!hook.filters.is_empty(), filtered, "a program of the image has the filter");
        }
    }
    let closed =
        order.only("close_range", |op| matches!(op, Op::Process(ProcessOp::CloseOnExec { .. })));
    assert!(closed < exec);
    let found =
        order.only("find program", |op| matches!(op, Op::Program(ProgramOp::FindProgram { .. })));
    let alone = order.only("orphan", |op| {
        matches!(op, Op::Process(ProcessOp::DieWithParent { enabled: false }))
    });
    let first_wish =
        order.first(|op| matches!(op, Op::Process(ProcessOp::DieWithParent { enabled: true })));
    assert_eq!(first_wish, Some(0), "a child never outlives its supervisor by accident");
    match order.first(|op| matches!(op, Op::Talk(TalkOp::Gate { .. }))) {
        Some(gate) => {
            assert!(case.at_gate && alone < gate && found < gate && closed < gate && capset < gate);
            assert_eq!(plan.after_gate, gate + 1);
        }
        None => assert!(!case.at_gate),
    }
}

fn root_slot(plan: &Plan<'_>) -> Slot {
    let is_root = |slot: &SlotUse<'_>| *slot == SlotUse::Made("rootfs".to_owned());
    Slot(plan.slots.iter().position(is_root).expect("a root") as u16)
}

/// What becomes the root is what the supervisor has looked at.
fn the_root_is_the_one_that_was_checked(plan: &Plan<'_>) {
    let root = root_slot(plan);
    let opened = plan.ops.iter().position(|op| {
        matches!(op, Op::Mount(MountOp::OpenTree { dir, path, into, .. })
            if *into == root && path.is_empty() && *dir != Slot::CWD)
    });
    let opened = opened.expect("it is opened by descriptor");
    let Op::Mount(MountOp::OpenTree { dir, .. }) = plan.ops[opened] else { unreachable!() };
    let looked = |op: &Op<'_>| matches!(op, Op::File(FileOp::Expect { fd, identity: Identity::Object { inode: 77, .. } }) if *fd == dir);
    assert!(plan.ops[..opened].iter().any(looked), "of the descriptor");
}

/// Whatever the image may have shaped is reached by descriptor, below the root.
fn image_paths_are_resolved_below_the_root(plan: &Plan<'_>) {
    let root = root_slot(plan);
    let attaches = |op: &Op<'_>| matches!(op, Op::Mount(MountOp::MoveMountTo { from, .. } | MountOp::MoveMount { from, .. }) if *from == root);
    let attached = plan.ops.iter().position(attaches);
    let fresh = |slot: Slot| {
        plan.ops.iter().any(
            |op| matches!(op, Op::Mount(MountOp::Fsmount { kind, into, .. }) if *into == slot && *kind == c"tmpfs"),
        )
    };
    let attached = attached.expect("the root is attached");
    for (index, op) in plan.ops.iter().enumerate() {
        match op {
            // Paths of the host, while there is nothing else.
            Op::File(
                FileOp::Open { dir: Slot::CWD, path, .. }
                | FileOp::WriteFile { dir: Slot::CWD, path, .. },
            )
            | Op::Mount(MountOp::OpenTree { dir: Slot::CWD, path, .. }) => {
                assert!(index < attached && path.to_bytes().starts_with(b"/"), "{op:?}");
            }
            Op::File(FileOp::OpenTarget { .. })
            | Op::Mount(MountOp::Mask { .. } | MountOp::Readonly { .. })
            | Op::File(FileOp::CopyUp { .. }) => {}
            Op::File(FileOp::Open { path, .. } | FileOp::WriteFile { path, .. })
            | Op::Mount(MountOp::OpenTree { path, .. }) => {
                assert!(!path.to_string_lossy().starts_with(HOSTILE), "{op:?}");
            }
            Op::Mount(MountOp::MoveMountTo { dir: Slot::CWD, path, .. }) => {
                assert!(*path == c"/", "{op:?}");
            }
            // In a tmpfs that brig has just made there is nothing of the image's.
            Op::Mount(MountOp::MoveMountTo { dir, path, .. }) => {
                assert!(fresh(*dir) && !path.to_string_lossy().contains('/'), "{op:?}");
            }
            Op::File(FileOp::Mknod { dir, path, .. } | FileOp::Mkdir { dir, name: path, .. }) => {
                let name = path.to_string_lossy();
                assert!(*dir != Slot::CWD && !name.contains('/'), "{op:?}");
            }
            Op::File(FileOp::Symlink { dir, name, .. }) => {
                assert!(*dir != Slot::CWD && !name.to_string_lossy().contains('/'), "{op:?}");
            }
            _ => {}
        }
    }
    let entered = plan
        .ops
        .iter()
        .position(|op| matches!(op, Op::Mount(MountOp::EnterRoot { .. })))
        .expect("a root");
    let late = plan.ops[entered..].iter().any(|op| {
        matches!(
            op,
            Op::Mount(MountOp::OpenTree { .. } | MountOp::MoveMountTo { .. })
                | Op::Namespace(NamespaceOp::Setns { .. } | NamespaceOp::Unshare { .. })
        )
    });
    assert!(!late, "the host is out of reach once the root is entered");
}

/// The host's own mounts stay as they are: nothing is attached, and no propagation changed, before
/// the process is in a mount namespace that is not the host's.
fn the_host_keeps_its_mounts(plan: &Plan<'_>) {
    let own = |op: &Op<'_>| match op {
        Op::Namespace(NamespaceOp::Unshare { flags }) => flags & namespace::MOUNT != 0,
        Op::Namespace(NamespaceOp::Clone { flags, .. }) => flags & u64::from(namespace::MOUNT) != 0,
        _ => false,
    };
    let own = match plan.clone_flags & u64::from(namespace::MOUNT) {
        0 => plan.ops.iter().position(own).expect("a mount namespace"),
        _ => 0,
    };
    for op in &plan.ops[..own] {
        let host =
            matches!(op, Op::File(FileOp::Open { dir: Slot::CWD, path, .. }) if *path == c"/");
        let attaches =
            matches!(op, Op::Mount(MountOp::MoveMount { .. } | MountOp::MoveMountTo { .. }));
        assert!(!host && !attaches, "{op:?} in the host's mount namespace");
    }
}

/// A path that is hidden or read-only is looked up from the file system of the kernel's that it lies in, where the plan has
/// mounted that: from the root, who renames in there could take the mount away, and nothing would be hidden.
fn the_kernels_files_are_restricted_from_their_mounts(plan: &Plan<'_>, spec: &Config) {
    let kernels = [c"proc", c"sysfs", c"cgroup2", c"mqueue", c"devpts"];
    let destination = |mount: Slot| {
        plan.ops.iter().find_map(|op| match op {
            Op::Mount(MountOp::MoveMount { from, to }) if *from == mount => {
                match &plan.slots[usize::from(to.0)] {
                    SlotUse::Target(path) => Some(path.to_str().expect("text").to_owned()),
                    _ => None,
                }
            }
            Op::Mount(MountOp::MoveMountTo { from, path, .. }) if *from == mount => {
                Some(format!("/dev/{}", path.to_str().expect("text")))
            }
            _ => None,
        })
    };
    let mounts: Vec<_> = plan
        .ops
        .iter()
        .filter_map(|op| match op {
            Op::Mount(MountOp::Fsmount { kind, into, .. }) if kernels.contains(kind) => {
                destination(*into).map(|at| (*into, at))
            }
            _ => None,
        })
        .collect();
    let mut from_mounts = 0;
    for op in plan.ops {
        let (Op::Mount(MountOp::Mask { root, path, .. })
        | Op::Mount(MountOp::Readonly { root, path, .. })) = op
        else {
            continue;
        };
        let path = path.to_str().expect("text");
        match mounts.iter().find(|(mount, _)| *mount == *root) {
            Some((_, at)) => {
                let asked = spec.linux.masked_paths.iter().chain(&spec.linux.readonly_paths);
                let whole = Path::new(at).join(path);
                assert!(asked.into_iter().any(|asked| Path::new(asked) == whole), "{whole:?}");
                from_mounts += 1;
            }
            None => {
                let inside = mounts.iter().find(|(_, at)| Path::new(path).starts_with(at));
                assert_eq!(inside, None, "{path} is looked up from the root");
            }
        }
    }
    let asked = spec.linux.masked_paths.iter().chain(&spec.linux.readonly_paths);
    let inside = |path: &&String| mounts.iter().any(|(_, at)| Path::new(path).starts_with(at));
    let whole = |path: &&String| mounts.iter().any(|(_, at)| Path::new(path) == Path::new(at));
    assert_eq!(from_mounts, asked.filter(inside).filter(|path| !whole(path)).count());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_is_in_order(case in cases()) {
        let spec = spec_of(&configure(&case));
        let start = if case.at_gate { Start::AtGate } else { Start::AtOnce };
        let filtered = filter(&spec).is_some();
        planned(&spec, &machine(case.machine), start, |plan| {
            let plan = plan.expect("all of it can be planned");
            privileges_fall_in_order(&case, &plan, filtered);
            image_paths_are_resolved_below_the_root(&plan);
            the_root_is_the_one_that_was_checked(&plan);
            the_host_keeps_its_mounts(&plan);
            the_kernels_files_are_restricted_from_their_mounts(&plan, &spec);
        });
    }
}

/// Not even brig's own process holds the caller's terminal when it enters a namespace.
#[test]
fn what_takes_the_place_of_standard_descriptors_does_so_before_all_else() {
    let spec = spec_of(&config(None));
    let given = Given { standard: [true, false, true], ..Given::default() };
    planned_of(&spec, &Machine::v2(), Start::AtOnce, &given, |plan| {
        let plan = plan.expect("a plan");
        let replaced: Vec<_> = plan
            .ops
            .iter()
            .map_while(|op| match op {
                Op::Process(ProcessOp::Dup { from, to }) => {
                    Some((plan.slots[usize::from(from.0)].clone(), *to))
                }
                _ => None,
            })
            .collect();
        assert_eq!(replaced, [(SlotUse::Standard(0), 0), (SlotUse::Standard(2), 2)]);
    });
}
