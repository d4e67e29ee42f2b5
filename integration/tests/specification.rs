//! What the runtime specification demands and no other test shows: see `docs/conformance.md`.

use brig_integration::{Lab, json, need};
use std::fs;

#[test]
fn unknown_properties_and_annotations_are_ignored() {
    let lab = Lab::new();
    let b = lab
        .bundle()
        .set("/ofTomorrow", json!({"a": [1]}))
        .set("/process/ofTomorrow", true)
        .set("/linux/ofTomorrow", json!([{"b": null}]))
        .set("/annotations", json!({"com.example.unknown": ""}))
        .idle();
    let c = lab.container(b);
    c.run_detached().ok();
    assert_eq!(c.state()["annotations"]["com.example.unknown"], "");
}

#[test]
fn the_size_of_a_console_without_a_terminal_is_ignored() {
    let lab = Lab::new();
    let b = lab.bundle().set("/process/consoleSize", json!({"height": 7, "width": 9}));
    lab.container(b.sh("test -t 0 || echo none")).run().ok().prints("none");
}

#[test]
fn an_oom_score_that_is_not_set_is_the_callers() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().args(["/bin/cat", "/proc/self/oom_score_adj"]));
    let caller = ["sh", "-c", "echo 321 >/proc/self/oom_score_adj && exec \"$@\"", "sh"];
    c.run_call(&[]).under(caller).go().ok().prints("321");
}

#[test]
fn another_file_where_a_device_is_to_be_is_an_error() {
    need!(Brig);
    let lab = Lab::new();
    let device = json!([{"path": "/file", "type": "c", "major": 1, "minor": 3}]);
    let b = lab.plain_bundle().set("/linux/devices", device);
    fs::write(b.rootfs.join("file"), "the image's").expect("write");
    let c = lab.container(b.sh("true"));
    c.run().failed().says("linux.devices[0]");
    assert_eq!(fs::read_to_string(c.host_path("/file")).expect("read"), "the image's");
    lab.assert_clean();
}

#[test]
fn a_memory_limit_below_the_use_is_refused_where_that_is_asked() {
    need!(Brig);
    let lab = Lab::new();
    let b = lab.bundle().set("/linux/resources/memory", json!({"limit": 67_108_864}));
    let c = lab.container(b.idle());
    c.run_detached();
    let update = br#"{"memory": {"limit": 4096, "swap": 4096, "checkBeforeUpdate": true}}"#;
    let output = c.call("update", ["--resources", "-"]).stdin(update).go();
    output.failed().says("linux.resources.memory.limit");
    assert_eq!(c.status(), "running");
}

#[test]
fn an_interface_moves_under_its_name_another_or_a_pattern() {
    need!(Brig);
    let lab = Lab::new();
    // brig in a network of its own; with it the pair of interfaces ends.
    let script = "ip link add brig0 type veth peer name peer && ip address add 192.0.2.7/24 dev brig0 && \"$@\"";
    let network = ["unshare", "--net", "sh", "-c", script, "sh"];
    let see = "ip -o link show up | cut -d: -f2; ip -o address show scope global";
    let moved = |device: serde_json::Value| {
        let b = lab.debian().set("/linux/netDevices", json!({"brig0": device}));
        lab.container(b.sh(see)).run_call(&[]).under(network).go()
    };
    for (device, name) in [(json!({}), "brig0"), (json!({"name": "net%d"}), "net0")] {
        let shown = moved(device).ok().stdout();
        assert!(shown.contains(&format!(" {name}@")), "{shown}");
        assert!(shown.contains("192.0.2.7/24"), "{shown}");
    }
    moved(json!({"name": "lo"})).failed().says("linux.netDevices[\"brig0\"]");
}
