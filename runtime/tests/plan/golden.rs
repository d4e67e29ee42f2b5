//! Whole plans, as text.

use brig::caller::Caller;
use brig::plan::{
    Ids, Layer, Layers, Root, RootMount, RootMountKind, SourceObject, Start, Tree, Volume, Writes,
    render,
};
use brig_cgroup::Driver;
use serde_json::{Value, json};

use crate::support::{Given, Machine, ROOT, config, namespace, planned_of, remap, spec_of};

fn golden(name: &str, config: &Value, machine: &Machine) {
    golden_of(name, config, machine, &Given::default());
}

fn golden_of(name: &str, config: &Value, machine: &Machine, given: &Given<'_>) {
    let text = planned_of(&spec_of(config), machine, Start::AtGate, given, |plan| {
        render(&plan.expect("it can be planned"))
    });
    let path = format!("{}/src/plan/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("BRIG_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("the golden text is written");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (now, then)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(now, then, "{path}: line {}", number + 1);
    }
    assert_eq!(text.lines().count(), expected.lines().count(), "{path}: another length");
}

macro_rules! golden {
    ($($name:ident: $machine:expr, $change:expr;)*) => {$(
        #[test]
        fn $name() {
            let mut config = config(None);
            let change: fn(&mut Value) = $change;
            change(&mut config);
            golden(stringify!($name), &config, &$machine);
        }
    )*};
}

fn layer(path: &str, ids: Ids) -> Layer {
    let object = Some(SourceObject { device: (8, 1), inode: 80 });
    Layer { path: path.to_owned(), object, ids }
}

fn overlay(writes: Writes) -> [RootMount; 1] {
    let lower = vec![layer("/layers/2/fs", Ids::Mapped), layer("/layers/1/fs", Ids::Mapped)];
    let options = vec![("userxattr".to_owned(), None)];
    let kind = RootMountKind::Overlay(Layers { lower, writes, options });
    [RootMount { target: "/".to_owned(), attributes: 0, kind }]
}

fn golden_of_root(name: &str, root: Root<'_>, change: fn(&mut Value)) {
    let mut config = config(None);
    change(&mut config);
    let mounts = config["mounts"].as_array_mut().expect("a list");
    mounts.insert(0, json!({"destination": "/a", "source": "/src", "options": ["rbind"]}));
    mounts.insert(1, json!({"destination": "/b", "source": "/nfs", "options": ["rbind"]}));
    let volumes = [Volume::Mapped, Volume::ReadOnly];
    let volumes = if config["linux"]["uidMappings"].is_null() { &[][..] } else { &volumes[..] };
    golden_of(name, &config, &Machine::v2(), &Given { root, volumes, ..Given::default() });
}

#[test]
fn root_of_mapped_layers() {
    let mounts = overlay(Writes::Ephemeral { size_bytes: 1 << 26 });
    let root = Root::Mounts { mounts: &mounts, place: Some(ROOT) };
    golden_of_root("root_of_mapped_layers", root, remap);
}

#[test]
fn root_with_an_upper_layer() {
    let directory = layer("/layers/3", Ids::Mapped);
    let [upper, work] = ["fs", "work"].map(str::to_owned);
    let mounts = overlay(Writes::Layer { directory, upper, work });
    let root = Root::Mounts { mounts: &mounts, place: Some(ROOT) };
    golden_of_root("root_with_an_upper_layer", root, remap);
}

/// On a kernel that takes no layers which are mounted nowhere.
#[test]
fn root_of_attached_layers() {
    let mut config = config(None);
    remap(&mut config);
    let mut machine = Machine::v2();
    machine.host.detached_layers = false;
    let mounts = overlay(Writes::MountPoints);
    let root = Root::Mounts { mounts: &mounts, place: Some(ROOT) };
    golden_of("root_of_attached_layers", &config, &machine, &Given { root, ..Given::default() });
}

#[test]
fn root_by_descriptor() {
    let root = Root::Tree { tree: Tree::Directory, place: None };
    golden_of_root("root_by_descriptor", root, |_| {});
}

fn systemd() -> Machine {
    Machine { driver: Driver::Systemd, ..Machine::v2() }
}

fn without_empty_namespace() -> Machine {
    let mut machine = Machine::v2();
    machine.host.empty_namespace = false;
    machine
}

/// Its root owns neither the host's mounts nor the kept namespace.
fn in_a_user_namespace() -> Machine {
    let mut machine = without_empty_namespace();
    machine.host.caller = Caller::RootOfUserNamespace;
    machine
}

fn selinux() -> Machine {
    let mut machine = Machine::v2();
    machine.host.selinux = true;
    machine
}

golden! {
    default: Machine::v2(), |_| {};
    default_v1: Machine::v1(), |_| {};
    default_hybrid: Machine::hybrid(), |_| {};
    default_systemd: systemd(), |config| {
        config["linux"]["cgroupsPath"] = json!("system.slice:brig:web");
    };
    no_empty_namespace: without_empty_namespace(), |_| {};
    root_of_an_outer_user_namespace: in_a_user_namespace(), |_| {};
    terminal: Machine::v2(), |config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["consoleSize"] = json!({"height": 24, "width": 80});
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [5], "umask": 63});
    };
    userns: Machine::v2(), remap;
    userns_v1: Machine::v1(), remap;
    joined: Machine::v2(), |config| {
        for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")] {
            namespace(config, kind, Some(&format!("/proc/7/ns/{file}")));
        }
        namespace(config, "cgroup", Some("/proc/7/ns/cgroup"));
    };
    pod_of_a_user_namespace: Machine::v2(), |config| {
        remap(config);
        for (kind, file) in [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            namespace(config, kind, Some(&format!("/proc/7/ns/{file}")));
        }
    };
    time_namespace: Machine::v2(), |config| {
        namespace(config, "time", None);
        config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 100, "nanosecs": 5}, "monotonic": {"secs": -3}});
    };
    hooks: Machine::v2(), |config| {
        let hook = |name: &str| json!([{"path": format!("/opt/{name}"), "args": [name, "x"], "env": ["A=b"], "timeout": 3}]);
        config["hooks"] = json!({
            "createRuntime": hook("create-runtime"),
            "createContainer": hook("create-container"),
            "startContainer": hook("start-container"),
        });
    };
    seccomp: Machine::v2(), |config| {
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]});
    };
    seccomp_without_no_new_privileges: Machine::v2(), |config| {
        config["process"]["noNewPrivileges"] = json!(false);
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": "/run/agent.sock", "listenerMetadata": "m",
            "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]});
    };
    names_that_look_like_words: Machine::v2(), |config| {
        config["hostname"] = json!("a\nb");
        config["process"]["cwd"] = json!("/my data");
        config["process"]["args"] = json!(["/my program", "--token", "x y"]);
        config["process"]["env"] = json!(["HOME=/", "TOKEN=a\"b"]);
        let mounts = config["mounts"].as_array_mut().expect("a list");
        mounts.push(json!({"destination": "/a (as rootfs)", "source": "/srv/my data -> /etc", "options": ["bind"]}));
        mounts.push(json!({"destination": "/t", "type": "tmpfs", "source": "a,b", "options": ["context=u:r:t:s0:c1,c2"]}));
        config["linux"]["maskedPaths"] = json!(["/proc/a b", "/proc/\u{202e}kcore"]);
        config["hooks"] = json!({"startContainer": [{"path": "/opt/a hook", "env": ["A=1 2", "B="]}]});
    };
    devices: Machine::v2(), |config| {
        config["linux"]["devices"] = json!([
            {"path": "/dev//fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 416, "uid": 1, "gid": 2},
            {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200},
            {"path": "/dev/null", "type": "c", "major": 1, "minor": 3},
            {"path": "/srv/pipe", "type": "p"}]);
    };
    devices_in_a_user_namespace: Machine::v2(), |config| {
        remap(config);
        config["linux"]["devices"] = json!([
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}, {"path": "/dev/pipe", "type": "p"}]);
    };
    bound_dev: Machine::v2(), |config| {
        let mounts = config["mounts"].as_array_mut().expect("a list");
        mounts.retain(|mount| !mount["destination"].as_str().is_some_and(|at| at.starts_with("/dev")));
        mounts.push(json!({"destination": "/dev", "source": "/dev", "options": ["rbind", "rslave"]}));
        config["linux"]["devices"] = json!([{"path": "/dev/kvm", "type": "c", "major": 10, "minor": 232}]);
    };
    mounts: Machine::v2(), |config| {
        config["root"]["readonly"] = json!(true);
        config["linux"]["rootfsPropagation"] = json!("rslave");
        let mounts = config["mounts"].as_array_mut().expect("a list");
        mounts.push(json!({"destination": "/a", "source": "/src", "options": ["rbind", "ro", "rnosuid", "rslave"]}));
        mounts.push(json!({"destination": "/b", "source": "rel", "options": ["bind", "rro", "nodev", "shared"]}));
        mounts.push(json!({"destination": "/c", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro", "size=1m"]}));
        mounts.push(json!({"destination": "/d", "type": "tmpfs", "source": "tmpfs", "options": ["rro", "rnoexec"]}));
        mounts.push(json!({"destination": "/a", "options": ["remount", "bind", "noexec"]}));
    };
    idmap: Machine::v2(), |config| {
        let map = json!([{"containerID": 0, "hostID": 5000, "size": 100}]);
        let mounts = config["mounts"].as_array_mut().expect("a list");
        mounts.push(json!({"destination": "/a", "source": "/src", "options": ["rbind", "ridmap"],
            "uidMappings": map, "gidMappings": map}));
    };
    idmap_of_the_user_namespace: Machine::v2(), |config| {
        remap(config);
        let mounts = config["mounts"].as_array_mut().expect("a list");
        mounts.push(json!({"destination": "/a", "source": "/src", "options": ["rbind", "idmap"]}));
    };
    process: Machine::v2(), |config| {
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
        config["process"]["oomScoreAdj"] = json!(100);
        config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
        config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
        config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "1"});
        config["linux"]["personality"] = json!({"domain": "LINUX32"});
        config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel.shmmax": "5"});
        config["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0-1"});
    };
    for_the_supervisor: selinux(), |config| {
        config["linux"]["netDevices"] = json!({"eth1": {"name": "net0"}});
        config["linux"]["intelRdt"] = json!({"closID": "gold"});
        config["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0:c1,c2");
        config["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0:c1,c2");
    };
}

#[test]
fn rootless() {
    let mut config = config(Some((1000, 1000)));
    config["process"]["terminal"] = json!(false);
    golden("rootless", &config, &Machine::rootless());
}
