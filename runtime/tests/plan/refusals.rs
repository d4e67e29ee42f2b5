//! What cannot be honoured is refused by the name of its field, with a way out.

use brig::plan::Start;
use serde_json::{Value, json};

use crate::support::{Machine, config, namespace, planned, remap, spec_of};

fn refused(machine: &Machine, change: impl FnOnce(&mut Value)) -> String {
    let mut config = config(None);
    change(&mut config);
    planned(&spec_of(&config), machine, Start::AtOnce, |plan| {
        let refusal = plan.map(|plan| plan.ops.len()).expect_err("it cannot be honoured");
        assert!(refusal.hint().is_some(), "{refusal}");
        refusal.field().to_owned()
    })
}

/// They are not Linux's (config.md, "Platform-specific configuration"), and change nothing.
#[test]
fn sections_and_fields_of_other_platforms_are_ignored() {
    let words = |config: &Value| {
        planned(&spec_of(config), &Machine::v2(), Start::AtOnce, |plan| {
            brig::plan::render(&plan.expect("it can be planned"))
        })
    };
    let mut config = config(None);
    let without = words(&config);
    config["vm"] = json!({"kernel": {"path": "/k"}});
    config["windows"] = json!({"layerFolders": 7});
    config["process"]["commandLine"] = json!("cmd /c dir");
    config["process"]["user"]["username"] = json!("bob");
    assert_eq!(words(&config), without);
}

#[test]
fn what_needs_a_security_module_or_root() {
    let v2 = Machine::v2();
    assert_eq!(refused(&v2, |c| c["linux"]["mountLabel"] = json!("a:b:c:s0")), "linux.mountLabel");
    let profile = refused(&v2, |c| c["process"]["apparmorProfile"] = json!("p"));
    assert_eq!(profile, "process.apparmorProfile");
    let rootless = Machine::rootless();
    let devices = refused(&rootless, |c| {
        remap(c);
        c["linux"]["netDevices"] = json!({"eth1": {}});
    });
    assert_eq!(devices, "linux.netDevices");
    let rdt = refused(&rootless, |c| {
        remap(c);
        c["linux"]["intelRdt"] = json!({});
    });
    assert_eq!(rdt, "linux.intelRdt");
}

/// Before Linux 6.14 it is the host's, in whatever pid namespace it is written.
#[test]
fn the_hosts_largest_pid() {
    let limit = |c: &mut Value| c["linux"]["sysctl"] = json!({"kernel/pid_max": "4096"});
    let mut machine = Machine::v2();
    assert_eq!(refused(&machine, limit), "linux.sysctl[kernel/pid_max]");
    machine.host.own_pid_max = true;
    let mut config = config(None);
    limit(&mut config);
    planned(&spec_of(&config), &machine, Start::AtOnce, |plan| {
        let text = brig::plan::render(&plan.expect("it can be planned"));
        assert!(text.contains("sys/kernel/pid_max"), "{text}");
    });
}

/// A mount of cgroup v1 has a descriptor for each hierarchy and two for its place: of ten thousand such mounts,
/// which a config.json has room for, the last ones get none.
#[test]
fn more_descriptors_than_can_be_numbered() {
    let field = refused(&Machine::v1(), |c| {
        let mount = json!({"destination": "/c", "type": "cgroup", "source": "cgroup"});
        c["mounts"] = vec![mount; 10_000].into();
    });
    let number = field.strip_prefix("mounts[").and_then(|rest| rest.strip_suffix(']'));
    let number: usize = number.and_then(|digits| digits.parse().ok()).expect(&field);
    assert!((5_000..10_000).contains(&number), "{field}");
}

#[test]
fn mounts_and_devices_that_contradict() {
    let v2 = Machine::v2();
    let twice = refused(&v2, |c| {
        c["linux"]["devices"] = json!([
            {"path": "/dev/a", "type": "c", "major": 1, "minor": 3},
            {"path": "/dev/./a", "type": "c", "major": 1, "minor": 5}]);
    });
    assert_eq!(twice, "linux.devices[1].path");
    let cgroup_option = refused(&Machine::v1(), |c| {
        c["mounts"] = json!([{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "x=y"]}]);
    });
    assert_eq!(cgroup_option, "mounts[0].options");
    let remount = refused(&v2, |c| {
        c["mounts"]
            .as_array_mut()
            .expect("a list")
            .insert(0, json!({"destination": "/", "options": ["remount", "sync"]}));
    });
    assert_eq!(remount, "mounts[0].options");
    let no_terminal = refused(&v2, |c| {
        c["process"]["terminal"] = json!(true);
        c["mounts"] = json!([]);
    });
    assert_eq!(no_terminal, "process.terminal");
    let host_mounts = refused(&v2, |c| {
        namespace(c, "mount", None);
        c["linux"]["maskedPaths"] = json!([]);
        c["linux"]["readonlyPaths"] = json!([]);
        c["linux"]["namespaces"].as_array_mut().expect("a list").retain(|n| n["type"] != "mount");
    });
    assert_eq!(host_mounts, "linux.namespaces");
}
