//! What containerd 2 gives to pods beyond [`kubernetes`](../kubernetes.rs): user namespaces, recursive read-only
//! mounts, images as volumes, limits that change in place, statistics of the pod.
//!
//! One daemon for all, as it is the dear part: a start of containerd in a guest takes half a minute.

use brig_integration::engine::cri::{Cri, EXITED, Pod, RUNNING};
use brig_integration::machine::{Layout, cgroup_dir, layout};
use brig_integration::{Lab, PATIENCE, Value, json, need, wait_until};
use std::fs;
use std::path::Path;

#[test]
fn pods_of_containerd_2() {
    need!(EnginesOfToday, Brig);
    let lab = Lab::new();
    // The daemon has a copy of the mounts that are here when it starts.
    let volume = lab.path("volume");
    lab.tmpfs(&volume.join("below"));
    let cri = Cri::on_a_bridge(&lab);
    // containerd asks `features`, and offers to the kubelet what that says.
    let status = cri.ask("Status", &json!({}));
    let handlers = status["runtime_handlers"].as_array().expect("handlers");
    let handler = handlers.iter().find(|handler| handler["name"] == "brig").expect("brig's");
    let features = json!({"recursive_read_only_mounts": true, "user_namespaces": true});
    assert_eq!(handler["features"], features, "{status}");
    volumes_and_limits(&lab, &cri, &volume);
    a_user_namespace(&lab, &cri);
    drop(cri);
    lab.assert_clean();
}

/// A pod as the kubelet makes it by default: hostUsers is true.
fn volumes_and_limits(lab: &Lab, cri: &Cri<'_>, volume: &Path) {
    let sysctls = json!([{"key": "kernel.shm_rmid_forced", "value": "1"},
        {"key": "net.ipv4.ip_unprivileged_port_start", "value": "80"}]);
    let pod = cri.pod(json!({"linux": {"sysctls": sysctls}}));
    let mount = |path: &str, recursive: bool| json!({"container_path": path, "host_path": volume, "readonly": true, "recursive_read_only": recursive});
    let image = json!({"container_path": "/image", "readonly": true, "image": {"image": "localhost/box:box"}});
    let config = json!({
        "mounts": [mount("/recursive", true), mount("/plain", false), image],
        "linux": {"resources": {"memory_limit_in_bytes": 64 << 20, "cpu_period": 100_000, "cpu_quota": 50_000}},
    });
    let id = pod.run(
        "app",
        "echo one; while ! test -e /two; do sleep 0.1; done; echo two; exec idle",
        config,
    );
    let writes = |path: &str| pod.exec_code(&id, &format!("touch {path} 2>&1")).1 == 0;
    assert!(!writes("/recursive/x") && !writes("/recursive/below/x"), "read-only as a whole");
    assert!(!writes("/plain/x") && writes("/plain/below/x"), "read-only without what is below");
    assert!(!writes("/image/x"), "an image is read-only");
    assert!(pod.exec(&id, "/image/bin/busybox cat /image/etc/passwd").contains("user:x:1000"));
    assert_eq!(pod.exec(&id, "cat /proc/sys/kernel/shm_rmid_forced"), "1\n");

    assert_eq!(limits(lab, &id), ["67108864", "50000"]);
    let larger =
        json!({"memory_limit_in_bytes": 96 << 20, "cpu_period": 100_000, "cpu_quota": 80_000});
    cri.ask("UpdateContainerResources", &json!({"container_id": id, "linux": larger}));
    assert_eq!(limits(lab, &id), ["100663296", "80000"]);
    let shown = pod.wait_state(&id, RUNNING);
    assert_eq!(shown["resources"]["linux"]["memory_limit_in_bytes"], "100663296", "{shown}");
    let absurd = json!({"container_id": id, "linux": {"cpu_period": 1, "cpu_quota": 4096}});
    cri.refusal("UpdateContainerResources", &absurd);
    assert_eq!(limits(lab, &id), ["100663296", "80000"], "what was refused changes nothing");

    assert!(wait_until(PATIENCE, || pod.log("app").contains("one")));
    let old = pod.rename_log("app");
    cri.ask("ReopenContainerLog", &json!({"container_id": id}));
    pod.exec(&id, "touch /two");
    assert!(wait_until(PATIENCE, || pod.log("app").contains("two")));
    assert!(!old.contains("two"), "{old}");
    statistics(cri, &pod);
    pod.remove();
}

/// The limits of memory and of processor time.
fn limits(lab: &Lab, id: &str) -> [String; 2] {
    let files = match layout() {
        Layout::V2 => [("memory", "memory.max"), ("cpu", "cpu.max")],
        Layout::V1 => [("memory", "memory.limit_in_bytes"), ("cpu", "cpu.cfs_quota_us")],
    };
    files.map(|(controller, file)| {
        let cgroup = cgroup_dir(controller, &format!("/{}/{id}", lab.token()));
        // On v1 the harness's own cgroup of memory may not be the root.
        let found = brig_integration::machine::cgroups_named(id).into_iter();
        let mut found = found.map(|dir| dir.join(file)).filter(|path| path.exists());
        let path = found.next().unwrap_or_else(|| cgroup.join(file));
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.split_whitespace().next().unwrap_or_default().to_owned()
    })
}

fn statistics(cri: &Cri<'_>, pod: &Pod<'_>) {
    let stats =
        cri.ask("PodSandboxStats", &json!({"pod_sandbox_id": pod.id}))["stats"]["linux"].take();
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
    let used = number(&stats["memory"]["working_set_bytes"]["value"]);
    assert!(used.is_some_and(|bytes| bytes > 10_000), "{stats}");
    let time = number(&stats["cpu"]["usage_core_nano_seconds"]["value"]);
    assert!(time.is_some_and(|time| time > 1_000_000), "{stats}");
    assert_eq!(stats["containers"].as_array().map(Vec::len), Some(1), "{stats}");
}

/// Users and groups of the host that the pod's are.
const BASE: u32 = 700_000;

/// A pod with hostUsers false, and three containers that share its namespaces.
fn a_user_namespace(lab: &Lab, cri: &Cri<'_>) {
    let volume = lab.path("volume");
    fs::create_dir(&volume).expect("make a directory");
    let maps = json!([{"host_id": BASE, "container_id": 0, "length": 65536}]);
    let own = json!({"mode": 0, "uids": maps, "gids": maps});
    let options = json!({"linux": {"security_context": {"namespace_options": {"pid": 0, "userns_options": own}}}});
    let mut config = options.clone();
    config["linux"]["sysctls"] =
        json!([{"key": "net.ipv4.ip_unprivileged_port_start", "value": "80"}]);
    config["hostname"] = json!("users");
    let pod = cri.pod(config);
    let with = |more: Value| {
        let mut config = options.clone();
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        config
    };
    let mounts = json!([{"container_path": "/volume", "host_path": volume, "uidMappings": maps, "gidMappings": maps}]);
    let first = pod.run("first", "exec sleep 4242", with(json!({"mounts": mounts})));
    let script = "echo page >/dev/shm/page; exec httpd -f -p 80 -h /dev/shm";
    let mut user = with(json!({}));
    user["linux"]["security_context"]["run_as_user"] = json!({"value": 1000});
    let server = pod.run("server", script, user);
    let third = pod.run("third", "exec idle", options.clone());

    for id in [&first, &server, &third] {
        let map = pod.exec(id, "cat /proc/self/uid_map /proc/self/gid_map");
        let fields: Vec<&str> = map.split_whitespace().collect();
        assert_eq!(fields, ["0", "700000", "65536", "0", "700000", "65536"], "{map}");
        assert!(cri.is_the_runtimes(id), "{id} is not the runtime's");
    }
    let namespaces = "for kind in user pid net ipc uts; do readlink /proc/self/ns/$kind; done";
    assert_eq!(pod.exec(&first, namespaces), pod.exec(&third, namespaces));
    assert_eq!(pod.exec(&third, "hostname"), "users\n");
    assert!(pod.exec(&third, "ps").contains("sleep 4242"));
    let fetch = "wget -q -O - http://127.0.0.1/page";
    assert!(wait_until(PATIENCE, || pod.exec_code(&third, fetch) == ("page\n".into(), 0)));
    assert_eq!(
        pod.exec(&third, "stat -c '%u %g' /bin/busybox; touch /x; stat -c %u /x"),
        "0 0\n0\n"
    );
    assert_eq!(pod.exec(&server, "id -u"), "1000\n");

    // And over the bridge, from a pod without one.
    let other = cri.pod(json!({}));
    let client = other.run("client", "exec idle", json!({}));
    let fetch = format!("wget -q -O - http://{}/page", pod.address());
    assert_eq!(other.exec(&client, &fetch), "page\n");
    let own = other.exec(&client, "ip -4 -o address show dev eth0");
    assert!(own.contains(&format!("inet {}/24", other.address())), "{own}");
    assert_ne!(other.address(), pod.address());
    other.remove();

    // Root there is nobody here, but for what is mapped: the volume is the host's root's on the host.
    pod.exec(&first, "touch /volume/file");
    assert_eq!(owner(&volume.join("file")), 0);
    assert_ne!(pod.exec_code(&first, "mount -t tmpfs x /tmp 2>&1").1, 0);
    let pid =
        pod.exec(&third, "cat /proc/self/status | grep -c 'CapEff:.0000000000000000' || true");
    assert_eq!(pid, "0\n", "it has capabilities in its own namespace");
    pod.exec(&third, "kill -KILL $(ps | awk '/sleep 4242/ && !/awk/ { print $1 }')");
    assert_eq!(pod.wait_state(&first, EXITED)["exit_code"], 137);
    let small = json!({"container_id": third, "linux": {"memory_limit_in_bytes": 32 << 20}});
    cri.ask("UpdateContainerResources", &small);
    assert_eq!(limits(lab, &third)[0], "33554432");
    pod.remove();
}

fn owner(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).expect("the file").uid()
}
