//! containerd as a Kubernetes node has it: pods and containers over the container runtime interface, with
//! the runtime under test as the handler that a `RuntimeClass` named `brig` selects.
//!
//! `integration/programs/cri.py` speaks the interface. The daemon has mount and network namespaces of its
//! own, in which pods get addresses from plugins of CNI.

use crate::binaries;
use crate::command::{Call, Running};
use crate::lab::Lab;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs;
use std::io::{PipeWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The image of pods and containers.
const IMAGE: &str = "localhost/box:box";
/// `PodSandboxState` and `ContainerState` of the interface: what `state` is of a container that runs.
pub const RUNNING: i64 = 1;
/// `ContainerState`: ended.
pub const EXITED: i64 = 2;

/// The daemon.
pub struct Cri<'l> {
    lab: &'l Lab,
    dir: PathBuf,
    daemon: Option<Running>,
    client: RefCell<Option<Client>>,
}

/// What speaks the interface.
struct Client {
    process: Running,
    requests: PipeWriter,
    asked: usize,
}

/// The service answers within a minute, or the client does; an emulated machine is slow.
const OF_AN_ANSWER: Duration = Duration::from_secs(100);

/// How long daemon and client may run.
const OF_A_TEST: Duration = Duration::from_secs(900);

impl Client {
    fn start(lab: &Lab, socket: &Path) -> Client {
        let (theirs, requests) = std::io::pipe().expect("a pipe");
        let client = binaries::workspace().join("integration/programs/cri.py");
        let call = lab.call("/usr/bin/python3").arg(client).arg(socket).limit(OF_A_TEST);
        Client { process: call.stdin_from(theirs.into()).spawn(), requests, asked: 0 }
    }
}

impl<'l> Cri<'l> {
    /// Starts it and imports the image; pods get addresses from CNI's plugin ptp.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(lab: &'l Lab) -> Cri<'l> {
        Cri::with_network(lab, json!({"type": "ptp"}))
    }

    /// The same with pods on a bridge.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn on_a_bridge(lab: &'l Lab) -> Cri<'l> {
        Cri::with_network(lab, json!({"type": "bridge", "bridge": "pods0", "isGateway": true}))
    }

    fn with_network(lab: &'l Lab, mut plugin: Value) -> Cri<'l> {
        let dir = lab.path("cri");
        fs::create_dir_all(dir.join("cni")).expect("make a directory");
        fs::write(dir.join("config.toml"), configuration(&dir)).expect("write the configuration");
        plugin["ipam"] = json!({"type": "host-local", "dataDir": dir.join("addresses"),
            "ranges": [[{"subnet": "10.77.0.0/24"}]]});
        let network = json!({"cniVersion": "0.4.0", "name": "pods", "plugins": [plugin]});
        fs::write(dir.join("cni/pods.conflist"), network.to_string()).expect("write the network");
        let client = RefCell::new(Some(Client::start(lab, &dir.join("sock"))));
        let mut cri = Cri { lab, dir, daemon: None, client };
        let script =
            "mount -t tmpfs tmpfs /run && ip link set lo up && exec containerd --config \"$0\"";
        let daemon = lab.call("unshare").args(["--mount", "--net", "sh", "-c", script]);
        let daemon = daemon.arg(cri.dir.join("config.toml")).limit(OF_A_TEST).spawn();
        let up = crate::wait_until(crate::PATIENCE * 2, || cri.ctr(&["version"]).go().succeeded());
        assert!(up, "containerd does not come up: {}", daemon.stderr());
        let ready = cri.call("Status", &json!({}));
        assert!(ready.is_ok(), "no service: {ready:?}{}", daemon.stderr());
        cri.daemon = Some(daemon);
        let archive = binaries::rootfs("image").join("box.tar");
        cri.ctr(&["image", "import", "--base-name", "localhost/box"]).arg(archive).go().ok();
        cri
    }

    fn ctr(&self, args: &[&str]) -> Call {
        let call = self.lab.call("ctr").arg("--address").arg(self.dir.join("sock"));
        call.args(["--namespace", "k8s.io"]).args(args)
    }

    /// A method of the service: its answer, or its error.
    ///
    /// # Panics
    /// When there is neither in time.
    #[track_caller]
    fn call(&self, method: &str, request: &Value) -> Result<Value, String> {
        let mut client = self.client.borrow_mut();
        let client = client.as_mut().expect("it ends with this value");
        let number = client.asked;
        client.asked += 1;
        writeln!(client.requests, "{}", json!([method, request])).expect("ask the client");
        let answered = crate::wait_until(OF_AN_ANSWER, || {
            client.process.stdout().matches('\n').count() > number
        });
        assert!(answered, "{method} of {request}: no answer: {}", client.process.stderr());
        let said = client.process.stdout();
        let line = said.lines().nth(number).expect("the answer's line");
        let mut said: Value = serde_json::from_str(line).expect("an answer");
        match said["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(said["answer"].take()),
        }
    }

    /// A method of the service, which must succeed.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn ask(&self, method: &str, request: &Value) -> Value {
        self.call(method, request).unwrap_or_else(|error| panic!("{method} of {request}: {error}"))
    }

    /// What the service says to a method which must fail.
    ///
    /// # Panics
    /// When it succeeds.
    #[track_caller]
    pub fn refusal(&self, method: &str, request: &Value) -> String {
        match self.call(method, request) {
            Ok(answer) => panic!("{method} of {request} must fail: {answer}"),
            Err(error) => error,
        }
    }

    /// Runs a pod: its configuration is `config` on top of what every pod needs.
    #[track_caller]
    pub fn pod(&self, config: Value) -> Pod<'_> {
        let mut all = json!({
            "metadata": {"name": self.lab.id(), "uid": self.lab.id(), "namespace": "default"},
            "log_directory": self.dir.join("logs"),
            "linux": {"cgroup_parent": format!("/{}", self.lab.token()), "security_context": {}},
        });
        merge(&mut all, config);
        let request = json!({"config": all, "runtime_handler": "brig"});
        let answer = self.ask("RunPodSandbox", &request);
        Pod { cri: self, id: text(&answer["pod_sandbox_id"]), config: all }
    }

    /// Whether the runtime under test, and no other, has a container of this id.
    pub fn is_the_runtimes(&self, id: &str) -> bool {
        self.dir.join("runtime/k8s.io").join(id).is_dir()
    }
}

impl Drop for Cri<'_> {
    fn drop(&mut self) {
        if let Some(mut client) = self.client.get_mut().take() {
            client.process.kill();
            client.process.wait();
        }
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill();
            daemon.wait();
        }
        // The parent cgroup is the kubelet's to make and to remove.
        for dir in crate::machine::cgroups_named(self.lab.token()) {
            let _ = fs::remove_dir(dir);
        }
    }
}

fn configuration(dir: &Path) -> String {
    format!(
        r#"version = 2
root = "{dir}/root"
state = "{dir}/state"
[grpc]
address = "{dir}/sock"
[ttrpc]
address = "{dir}/ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
restrict_oom_score_adj = true # without CAP_SYS_RESOURCE it cannot be lowered
stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{dir}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.brig]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.brig.options]
BinaryName = "{runtime}"
Root = "{dir}/runtime"
"#,
        dir = dir.display(),
        runtime = binaries::runtime().display(),
    )
}

/// A pod that runs.
pub struct Pod<'c> {
    cri: &'c Cri<'c>,
    /// The sandbox's id, which is also that of its own container.
    pub id: String,
    config: Value,
}

impl Pod<'_> {
    /// Its address.
    #[track_caller]
    pub fn address(&self) -> String {
        let status = self.cri.ask("PodSandboxStatus", &json!({"pod_sandbox_id": self.id}));
        text(&status["status"]["network"]["ip"])
    }

    /// Makes a container in it, of a shell script; `config` comes on top of what every container needs.
    #[track_caller]
    pub fn create(&self, name: &str, script: &str, config: Value) -> String {
        let mut all = json!({
            "metadata": {"name": name},
            "image": {"image": IMAGE},
            "command": ["/bin/sh", "-c", script],
            "log_path": format!("{name}.log"),
            "linux": {"resources": {}, "security_context": {"namespace_options": {"pid": 1}}},
        });
        merge(&mut all, config);
        let request =
            json!({"pod_sandbox_id": self.id, "config": all, "sandbox_config": self.config});
        text(&self.cri.ask("CreateContainer", &request)["container_id"])
    }

    /// Makes and starts a container.
    #[track_caller]
    pub fn run(&self, name: &str, script: &str, config: Value) -> String {
        let id = self.create(name, script, config);
        self.cri.ask("StartContainer", &json!({"container_id": id}));
        id
    }

    /// What a script in a container prints, which must end well.
    #[track_caller]
    pub fn exec(&self, id: &str, script: &str) -> String {
        let (said, code) = self.exec_code(id, script);
        assert_eq!(code, 0, "{script}: {said}");
        said
    }

    /// What a script in a container prints, and its exit code.
    #[track_caller]
    pub fn exec_code(&self, id: &str, script: &str) -> (String, i64) {
        let request = json!({"container_id": id, "cmd": ["/bin/sh", "-c", script]});
        let answer = self.cri.ask("ExecSync", &request);
        (text(&answer["stdout"]), answer["exit_code"].as_i64().unwrap_or(-1))
    }

    /// Waits for a container's state; the answer is its status then.
    ///
    /// # Panics
    /// When it does not come in time.
    #[track_caller]
    pub fn wait_state(&self, id: &str, state: i64) -> Value {
        let mut last = Value::Null;
        let came = crate::wait_until(crate::PATIENCE, || {
            last = self.cri.ask("ContainerStatus", &json!({"container_id": id}))["status"].take();
            last["state"] == state
        });
        assert!(came, "state must become {state}: {last}");
        last
    }

    /// What a container has written so far.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.cri.dir.join("logs").join(format!("{name}.log")))
            .unwrap_or_default()
    }

    /// Renames a container's log, as who rotates logs does; what it says then.
    ///
    /// # Panics
    /// When there is none.
    pub fn rename_log(&self, name: &str) -> String {
        let log = self.cri.dir.join("logs").join(format!("{name}.log"));
        let old = log.with_extension("old");
        fs::rename(&log, &old).expect("rename the log");
        fs::read_to_string(old).expect("read the old log")
    }

    /// Stops and removes the pod with all of its containers.
    #[track_caller]
    pub fn remove(self) {
        let id = json!({"pod_sandbox_id": self.id});
        self.cri.ask("StopPodSandbox", &id);
        self.cri.ask("RemovePodSandbox", &id);
        assert!(!self.cri.is_the_runtimes(&self.id), "the runtime still has the pod's container");
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

/// Puts `more` on top of `all`: objects are merged, all else is replaced.
fn merge(all: &mut Value, more: Value) {
    match (all, more) {
        (Value::Object(all), Value::Object(more)) => {
            for (key, value) in more {
                merge(all.entry(key).or_insert(Value::Null), value);
            }
        }
        (all, more) => *all = more,
    }
}
