//! A Kubernetes node: containerd's implementation of the container runtime interface, with the runtime under
//! test as a handler that a `RuntimeClass` selects.

use brig_integration::engine::cri::{Cri, EXITED, RUNNING};
use brig_integration::{Lab, PATIENCE, Value, json, wait_until};

/// As a restricted pod (Pod Security Standards) is configured.
fn restricted() -> Value {
    json!({"linux": {"security_context": {
        "run_as_user": {"value": 1000},
        "run_as_group": {"value": 1000},
        "supplemental_groups": [2000],
        "capabilities": {"drop_capabilities": ["ALL"], "add_capabilities": ["NET_BIND_SERVICE"]},
        "no_new_privs": true,
        "readonly_rootfs": true,
        "seccomp": {"profile_type": 0},
    }}})
}

#[test]
fn containers_of_a_pod_share_its_network_and_name() {
    let lab = Lab::new();
    let cri = Cri::start(&lab);
    let pod = cri.pod(json!({
        "hostname": "web",
        "linux": {"sysctls": [{"key": "net.ipv4.ip_unprivileged_port_start", "value": "80"}]},
    }));
    // An ordinary user, without capabilities: it is the pod's sysctl that lets it have port 80.
    let mut config = restricted();
    config["linux"]["security_context"]["capabilities"] = json!({"drop_capabilities": ["ALL"]});
    let script = "echo page >/dev/shm/page; exec httpd -f -p 80 -h /dev/shm";
    let server = pod.run("server", script, config);
    let client = pod.run("client", "exec idle", restricted());
    let fetch = "wget -q -O - http://127.0.0.1/page";
    assert!(wait_until(PATIENCE, || pod.exec_code(&client, fetch) == ("page\n".into(), 0)));
    assert_eq!(pod.exec(&client, "hostname"), "web\n");
    assert!(pod.exec(&client, "ip address show dev eth0").contains(&pod.address()));
    assert_eq!(pod.exec(&client, "cat /dev/shm/page"), "page\n");
    // Another pod has a name and memory of its own.
    let other = cri.pod(json!({"hostname": "other"}));
    let idle = other.run("idle", "exec idle", json!({}));
    assert_eq!(other.exec(&idle, "hostname; ls /dev/shm"), "other\n");
    assert_ne!(other.address(), pod.address());
    assert_ne!(other.exec_code(&idle, &format!("{fetch} 2>&1")).1, 0);
    for id in [&pod.id, &other.id, &server, &client, &idle] {
        assert!(cri.is_the_runtimes(id), "{id} is not the runtime's");
    }
    other.remove();
    pod.remove();
    drop(cri);
    lab.assert_clean();
}

#[test]
fn a_restricted_container_is_confined_and_ends_when_told_to() {
    let lab = Lab::new();
    let cri = Cri::start(&lab);
    let pod = cri.pod(json!({}));
    let mut config = restricted();
    config["linux"]["resources"] = json!({"memory_limit_in_bytes": 64 << 20, "cpu_shares": 512});
    let id = pod.run(
        "app",
        "trap 'echo told to end; exit 3' TERM; echo up; while :; do sleep 0.1; done",
        config,
    );
    assert!(wait_until(PATIENCE, || pod.log("app").contains("up")));
    assert_eq!(pod.exec(&id, "id -u; id -G"), "1000\n1000 2000\n");
    let status = pod.exec(&id, "cat /proc/self/status");
    for line in
        ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000400", "NoNewPrivs:\t1", "Seccomp:\t2"]
    {
        assert!(status.contains(line), "no {line:?} in {status}");
    }
    assert_ne!(pod.exec_code(&id, "touch /file 2>&1").1, 0);
    assert_eq!(pod.exec_code(&id, "exit 9").1, 9);
    // Everything but the pid namespace is the pod's: the program is the first process of its own.
    assert!(pod.exec(&id, "cat /proc/1/cmdline").contains("told to end"));

    let stats = cri.ask("ContainerStats", &json!({"container_id": id}));
    let used = stats["stats"]["memory"]["working_set_bytes"]["value"].as_str().map(str::len);
    assert!(used.is_some_and(|digits| digits > 4), "{stats}");
    let limit = json!({"container_id": id, "linux": {"memory_limit_in_bytes": 32 << 20}});
    cri.ask("UpdateContainerResources", &limit);
    cri.ask("StopContainer", &json!({"container_id": id, "timeout": 20}));
    assert_eq!(pod.wait_state(&id, EXITED)["exit_code"], 3);
    assert!(pod.log("app").contains("stdout F told to end"));
    cri.ask("RemoveContainer", &json!({"container_id": id}));
    assert!(!cri.is_the_runtimes(&id));
    pod.remove();
    drop(cri);
    lab.assert_clean();
}

#[test]
fn failures_are_those_that_a_kubelet_knows() {
    let lab = Lab::new();
    let cri = Cri::start(&lab);
    let pod = cri.pod(json!({}));
    let id = pod.create("none", "", json!({"command": ["/no/such/program"]}));
    let refusal = cri.refusal("StartContainer", &json!({"container_id": id}));
    assert!(refusal.contains("no such file"), "{refusal}");
    assert_eq!(pod.wait_state(&id, EXITED)["reason"], "StartError");
    assert!(!cri.is_the_runtimes(&id));
    let limits = json!({"linux": {"resources": {"memory_limit_in_bytes": 16 << 20}}});
    let id = pod.run("hungry", "exec tail /dev/zero", limits);
    assert_eq!(pod.wait_state(&id, EXITED)["exit_code"], 137);
    // The kernel tells of the end and of its reason apart, and the shim may hear of the end first.
    let reason = || pod.wait_state(&id, EXITED)["reason"].take();
    assert!(wait_until(PATIENCE, || reason() == "OOMKilled"), "{}", reason());
    pod.remove();
    drop(cri);
    lab.assert_clean();
}

#[test]
fn namespaces_of_the_pod_or_of_the_node() {
    let lab = Lab::new();
    let cri = Cri::start(&lab);
    // One pid namespace for the whole pod: its own container is the first process.
    let options = json!({"linux": {"security_context": {"namespace_options": {"pid": 0}}}});
    let pod = cri.pod(options.clone());
    let first = pod.run("first", "exec sleep 4242", options.clone());
    let second = pod.run("second", "exec idle", options);
    assert!(pod.exec(&second, "ps").contains("sleep 4242"));
    pod.exec(&second, "kill -KILL $(pidof sleep | tr ' ' '\\n' | while read p; do grep -q 4242 /proc/$p/cmdline && echo $p; done)");
    assert_eq!(pod.wait_state(&first, EXITED)["exit_code"], 137);
    pod.wait_state(&second, RUNNING);
    pod.remove();
    // The node's network: no eth0.
    let options = json!({"linux": {"security_context": {"namespace_options": {"network": 2}}}});
    let pod = cri.pod(options.clone());
    let id = pod.run("node", "exec idle", options);
    assert_ne!(pod.exec_code(&id, "ip link show dev eth0 2>&1").1, 0);
    pod.remove();
    drop(cri);
    lab.assert_clean();
}
