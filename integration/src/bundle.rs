//! Bundles: a root file system and a config.json, built by small edits of one plain default.
//!
//! The default is the harness's own rather than what the runtime's `spec` verb prints, so that the
//! same bundle can be given to several runtimes; a test of its own covers `spec`.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A bundle; written to disk when a container is made of it.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The bundle's directory.
    pub dir: PathBuf,
    /// The root file system.
    pub rootfs: PathBuf,
    /// config.json to be.
    pub spec: Value,
    raw: Option<Vec<u8>>,
}

impl Bundle {
    /// A bundle in `dir`, over the root file system `rootfs`.
    pub fn new(dir: PathBuf, rootfs: PathBuf, cgroup: &str) -> Bundle {
        let mut spec = default_spec();
        spec["root"]["path"] = json!(rootfs);
        spec["linux"]["cgroupsPath"] = json!(cgroup);
        Bundle { dir, rootfs, spec, raw: None }
    }

    /// Edits the spec.
    #[must_use]
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Bundle {
        change(&mut self.spec);
        self
    }

    /// Sets the value at a JSON pointer, making the objects on the way; in an array, `-` appends.
    ///
    /// # Panics
    /// When the pointer leads through something that is neither object nor array.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Bundle {
        let mut at = &mut self.spec;
        for key in pointer.split('/').skip(1) {
            at = match at {
                Value::Array(items) => {
                    if key == "-" {
                        items.push(Value::Null);
                    }
                    let index =
                        if key == "-" { items.len() - 1 } else { key.parse().expect("an index") };
                    &mut items[index]
                }
                other => &mut other[key],
            };
        }
        *at = value.into();
        self
    }

    /// Takes the value at a JSON pointer away.
    ///
    /// # Panics
    /// When its parent is not there.
    #[must_use]
    pub fn unset(mut self, pointer: &str) -> Bundle {
        let (parent, key) = pointer.rsplit_once('/').expect("a JSON pointer");
        match self.spec.pointer_mut(parent).expect("what holds the value") {
            Value::Object(map) => drop(map.remove(key)),
            Value::Array(items) => drop(items.remove(key.parse().expect("an index"))),
            _ => panic!("{parent} holds nothing"),
        }
        self
    }

    /// The program.
    #[must_use]
    pub fn args<S: Into<Value>>(self, args: impl IntoIterator<Item = S>) -> Bundle {
        let args: Vec<Value> = args.into_iter().map(Into::into).collect();
        self.set("/process/args", args)
    }

    /// What an ordinary user may ask for: a user namespace with a map of so many ids, from `outside` on; no network of its
    /// own, no cgroup, no file system that has to be made for a group.
    ///
    /// # Panics
    /// When it has no mounts.
    #[must_use]
    pub fn of_ordinary_user(self, outside: u32, count: u32) -> Bundle {
        let map = json!([{"containerID": 0, "hostID": outside, "size": count}]);
        self.namespace("user", None)
            .without_namespace("network")
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map)
            .unset("/linux/cgroupsPath")
            .unset("/linux/resources")
            .edit(|spec| {
                for mount in spec["mounts"].as_array_mut().expect("mounts") {
                    match mount["destination"].as_str() {
                        Some("/dev/pts") => {
                            let options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
                            mount["options"] = json!(options);
                        }
                        // A sysfs of its own belongs to a network of its own.
                        Some("/sys") => {
                            let options = ["rbind", "nosuid", "noexec", "nodev", "ro"];
                            *mount = json!({"destination": "/sys", "type": "none", "source": "/sys", "options": options});
                        }
                        _ => {}
                    }
                }
            })
    }

    /// A shell script as the program.
    #[must_use]
    pub fn sh(self, script: &str) -> Bundle {
        self.args(["/bin/sh", "-c", script])
    }

    /// A program that does nothing until SIGTERM, which it obeys.
    #[must_use]
    pub fn idle(self) -> Bundle {
        self.args(["/bin/idle"])
    }

    /// The probe as the program.
    #[must_use]
    pub fn probe(self) -> Bundle {
        self.args(["/probe"])
    }

    /// One more mount.
    #[must_use]
    pub fn mount(self, mount: Value) -> Bundle {
        self.set("/mounts/-", mount)
    }

    /// A bind mount of `source`.
    #[must_use]
    pub fn bind(self, source: &Path, destination: &str, options: &[&str]) -> Bundle {
        let mut all = vec!["bind"];
        all.extend(options);
        self.mount(
            json!({"destination": destination, "type": "bind", "source": source, "options": all}),
        )
    }

    /// Exactly these capabilities, in the bounding, effective and permitted sets.
    #[must_use]
    pub fn caps(self, names: &[&str]) -> Bundle {
        self.set(
            "/process/capabilities",
            json!({"bounding": names, "effective": names, "permitted": names}),
        )
    }

    /// For services as distributions package them: /run and /tmp to write to, and the capabilities of Docker's
    /// default that their start needs.
    #[must_use]
    pub fn service(self) -> Bundle {
        let tmpfs = |at: &str, mode: &str| json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", mode]});
        let bundle = self.mount(tmpfs("/run", "mode=755")).mount(tmpfs("/tmp", "mode=1777"));
        bundle.caps(&[
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_FOWNER",
            "CAP_KILL",
            "CAP_NET_BIND_SERVICE",
            "CAP_SETGID",
            "CAP_SETUID",
        ])
    }

    /// Without the namespace of this type: the host's.
    #[must_use]
    pub fn without_namespace(self, kind: &str) -> Bundle {
        self.edit(|spec| {
            if let Some(list) = spec["linux"]["namespaces"].as_array_mut() {
                list.retain(|n| n["type"] != kind);
            }
        })
    }

    /// In a namespace of this type: its own, or the one at `path`.
    #[must_use]
    pub fn namespace(self, kind: &str, path: Option<&str>) -> Bundle {
        let mut entry = json!({"type": kind});
        if let Some(path) = path {
            entry["path"] = json!(path);
        }
        self.without_namespace(kind).set("/linux/namespaces/-", entry)
    }

    /// In a user namespace in which container ids 0 to 65535 are `base` and up on the host.
    #[must_use]
    pub fn user_namespace(self, base: u32) -> Bundle {
        let map = json!([{"containerID": 0, "hostID": base, "size": 65536}]);
        self.namespace("user", None)
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map)
    }

    /// Instead of the spec, these bytes.
    #[must_use]
    pub fn raw(mut self, bytes: impl Into<Vec<u8>>) -> Bundle {
        self.raw = Some(bytes.into());
        self
    }

    /// Writes config.json.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self) {
        let bytes = match &self.raw {
            Some(raw) => raw.clone(),
            None => self.spec.to_string().into_bytes(),
        };
        fs::write(self.dir.join("config.json"), bytes).expect("write config.json");
    }

    /// The cgroup, below each hierarchy's root.
    pub fn cgroup(&self) -> &str {
        self.spec["linux"]["cgroupsPath"].as_str().unwrap_or_default()
    }
}

/// What runc's and Docker's defaults have in common: private namespaces, the usual mounts and
/// masks, three capabilities; no seccomp filter, no limits.
pub fn default_spec() -> Value {
    const CAPS: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": {"bounding": CAPS, "effective": CAPS, "permitted": CAPS},
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"},
            ],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                "/proc/sysrq-trigger"],
        },
    })
}
