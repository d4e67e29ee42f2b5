//! An ordinary user's containers below the user's own systemd: scopes, limits, delegation.
//!
//! Only in a guest, as the test makes a user. What `brig spec --rootless` writes is the bundle.

use brig_integration::{Lab, Output, Value, binaries, json, machine, need, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

const MANAGER: &str = "user.slice/user-4711.slice/user@4711.service";
const CGROUPS: &str = "/sys/fs/cgroup";

/// Makes the user, who needs an entry in the machine's own /etc, and starts the user's manager:
/// once, before the first [`Lab`], which has an /etc of its own and reaps every child.
fn user() {
    static MADE: Once = Once::new();
    MADE.call_once(|| {
        let script = "useradd --uid 4711 --create-home brigtest && systemctl start user@4711";
        let status = Command::new("/bin/sh").args(["-c", script]).status().expect("run a shell");
        assert!(status.success(), "{script}: {status}");
    });
}

/// From where the user starts brig.
#[derive(Clone, Copy)]
enum Place {
    /// A delegated scope of the user's manager.
    Scope,
    /// A session, as after a login.
    Session,
}

/// A bundle of the user's, and what runs in it.
struct Bundle<'l> {
    lab: &'l Lab,
    dir: PathBuf,
    name: String,
}

impl<'l> Bundle<'l> {
    fn new(lab: &'l Lab, resources: Value) -> Bundle<'l> {
        let dir = lab.plain_bundle().dir;
        fs::copy(binaries::runtime(), lab.dir().join("runtime")).expect("copy the runtime");
        lab.runtime().args(["spec", "--rootless"]).cwd(&dir).go().ok();
        let file = dir.join("config.json");
        let text = fs::read(&file).expect("read config.json");
        let mut spec: Value = serde_json::from_slice(&text).expect("JSON");
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["/bin/sleep", "1000"]);
        for ids in ["uidMappings", "gidMappings"] {
            spec["linux"][ids] = json!([{"containerID": 0, "hostID": 4711, "size": 1}]);
        }
        spec["linux"]["resources"] = resources;
        fs::write(&file, spec.to_string()).expect("write config.json");
        lab.call("chown").args(["-R", "4711:4711"]).arg(lab.dir()).go().ok();
        Bundle { lab, dir, name: lab.id() }
    }

    /// The user's shell script; `brig` and `$name` are defined in it, and it is in the bundle.
    fn script(&self, place: Place, script: &str) -> Output {
        let session = Path::new(CGROUPS).join("user.slice/user-4711.slice/session-1.scope");
        let enter = match place {
            Place::Scope => String::new(),
            Place::Session => {
                format!("mkdir -p {0} && echo $$ >{0}/cgroup.procs &&", session.display())
            }
        };
        let manager = match place {
            Place::Scope => "systemd-run --user --scope --quiet --property=Delegate=yes",
            Place::Session => "",
        };
        let (dir, name) = (self.dir.display(), &self.name);
        let runtime = self.lab.dir().join("runtime");
        let root = self.lab.dir().join("root");
        let (runtime, root) = (runtime.display(), root.display());
        let inner = self.lab.path("script");
        let text = format!(
            "cd {dir}; name={name}; brig() {{ {runtime} --root {root} \"$@\"; }}\n{script}\n"
        );
        fs::write(&inner, text).expect("write a script");
        let user = "setpriv --reuid 4711 --regid 4711 --clear-groups";
        let outer = format!("{enter} exec {user} {manager} /bin/sh {}", inner.display());
        self.lab
            .call("/bin/sh")
            .args(["-c", &outer])
            .env("XDG_RUNTIME_DIR", "/run/user/4711")
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/4711/bus")
            .limit(Duration::from_secs(120))
            .go()
    }

    /// Its scope's directory.
    fn scope(&self) -> PathBuf {
        Path::new(CGROUPS).join(MANAGER).join(format!("user.slice/brig-{}.scope", self.name))
    }
}

fn limits() -> Value {
    json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 44},
        "cpu": {"quota": 50_000, "period": 100_000}, "devices": [{"allow": false, "access": "rwm"}]})
}

fn files(dir: &Path) -> [String; 3] {
    ["memory.max", "pids.max", "cpu.max"].map(|file| {
        fs::read_to_string(dir.join(file)).unwrap_or_else(|e| e.to_string()).trim().to_owned()
    })
}

#[test]
fn a_users_scope_has_its_limits_from_start_to_end() {
    need!(Guest, Systemd);
    user();
    let lab = Lab::new();
    let b = Bundle::new(&lab, limits());
    b.script(Place::Scope, "brig --systemd-cgroup run --detach $name").ok();
    assert_eq!(files(&b.scope()), ["67108864", "44", "50000 100000"]);
    b.script(
        Place::Scope,
        "systemctl --user show -p MemoryMax,TasksMax,CPUQuotaPerSecUSec,Slice brig-$name.scope",
    )
    .ok()
    .says("MemoryMax=67108864")
    .says("TasksMax=44")
    .says("CPUQuotaPerSecUSec=500ms")
    .says("Slice=user.slice");

    // A further process is inside, and needs no session of systemd's to be.
    let exec = "brig exec $name cat /proc/self/cgroup; brig exec --detach $name sleep 1000";
    b.script(Place::Scope, exec).ok().prints("0::/");
    let procs = fs::read_to_string(b.scope().join("cgroup.procs")).expect("cgroup.procs");
    assert_eq!(procs.lines().count(), 2, "{procs}");

    // The bus is the one that the container was made by, whatever the session says now.
    let update = "(unset XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS; brig update --memory 33554432 --pids-limit 22 $name) && \
        systemctl --user show -p MemoryMax,TasksMax brig-$name.scope";
    b.script(Place::Scope, update).ok().says("MemoryMax=33554432").says("TasksMax=22");
    assert_eq!(files(&b.scope()), ["33554432", "22", "50000 100000"]);

    let frozen = || fs::read_to_string(b.scope().join("cgroup.freeze")).expect("cgroup.freeze");
    b.script(Place::Scope, "brig pause $name").ok();
    assert_eq!(frozen(), "1\n");
    b.script(Place::Scope, "brig resume $name").ok();
    assert_eq!(frozen(), "0\n");

    b.script(Place::Scope, "brig kill $name KILL && sleep 1; brig delete $name").ok();
    assert!(!b.scope().exists());
    let listed = b.script(Place::Scope, "systemctl --user list-units --all --no-legend");
    assert!(!listed.stdout().contains(&b.name), "{}", listed.stdout());
    lab.assert_clean();
}

#[test]
fn a_session_is_as_good_a_place_to_start_from() {
    need!(Guest, Systemd);
    user();
    let lab = Lab::new();
    let b = Bundle::new(&lab, limits());
    b.script(Place::Session, "brig --systemd-cgroup run --detach $name").ok();
    assert_eq!(files(&b.scope()), ["67108864", "44", "50000 100000"]);
    let procs = fs::read_to_string(b.scope().join("cgroup.procs")).expect("cgroup.procs");
    assert_eq!(procs.lines().count(), 1, "{procs}");
    // The kernel lets no user move a process from there, and brig does not run it outside.
    b.script(Place::Session, "brig exec $name true").failed().says("systemd-run --user --scope");
    b.script(Place::Session, "brig delete --force $name").ok();
    assert!(!b.scope().exists());
    lab.assert_clean();
}

#[test]
fn a_controller_that_the_user_is_not_given_is_an_error() {
    need!(Guest, Systemd);
    user();
    let lab = Lab::new();
    // Debian's user@.service delegates cpu, memory and pids.
    let b = Bundle::new(&lab, json!({"cpu": {"cpus": "0"}}));
    b.script(Place::Scope, "brig --systemd-cgroup run --detach $name").failed().says("cpuset");
    assert!(wait_until(Duration::from_secs(10), || !b.scope().exists()), "the scope stays");
    lab.assert_clean();
}

#[test]
fn a_delegated_cgroup_serves_without_systemd_too() {
    need!(Guest, Systemd);
    user();
    let lab = Lab::new();
    let b = Bundle::new(&lab, limits());
    // What gives controllers holds no process, so the shell goes one down first.
    let script = "own=/sys/fs/cgroup$(sed 's/^0:://' /proc/self/cgroup) && mkdir $own/shell && \
        echo $$ >$own/shell/cgroup.procs && brig run --detach $name && cd $own/$name && \
        cat memory.max pids.max cpu.max && brig exec $name cat /proc/self/cgroup && \
        brig delete --force $name && ls -d $own/$name";
    let output = b.script(Place::Scope, script).failed();
    assert_eq!(output.stdout().trim(), "67108864\n44\n50000 100000\n0::/", "{}", output.stderr());
    assert!(machine::cgroups_named(&b.name).is_empty());
    lab.assert_clean();
}

/// Root's brig has left a mount namespace in /run by then.
#[test]
fn a_user_tries_a_command() {
    need!(Guest, Systemd, Brig);
    user();
    let lab = Lab::new();
    lab.container(lab.bundle().sh("true")).run().ok();
    let b = Bundle::new(&lab, limits());
    // What brig says of the command is read while that runs.
    let inside = "sleep 3; id -u; touch /usr/x; cat /etc/shadow; ls /root /run";
    let script = format!("brig --systemd-cgroup try -- sh -c '{inside}'");
    let output = b.script(Place::Scope, &script).ok().prints("0\n/root:\n\n/run:");
    let output = output.says("own cgroup ipc mnt net pid user uts").says("seccomp       filter");
    output.says("memory at most 1024 MiB").says("Read-only").says("ermission denied");
    lab.assert_clean();
}

/// As rootless Podman calls it: the same user, whose id is 0 in a user namespace.
#[test]
fn root_of_a_user_namespace_has_the_users_systemd() {
    need!(Guest, Systemd);
    user();
    let lab = Lab::new();
    let b = Bundle::new(&lab, json!({"pids": {"limit": 44}}));
    let file = b.dir.join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&file).expect("read")).expect("JSON");
    for ids in ["uidMappings", "gidMappings"] {
        spec["linux"][ids] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    }
    fs::write(&file, spec.to_string()).expect("write config.json");
    let inside = |verb: &str| {
        format!(
            "unshare -Urm {} --root {} {verb}",
            lab.dir().join("runtime").display(),
            lab.dir().join("root").display()
        )
    };
    let verbs = [
        inside("--systemd-cgroup run --detach $name"),
        "systemctl --user show -p TasksMax brig-$name.scope".to_owned(),
    ];
    b.script(Place::Scope, &verbs.join(" && ")).ok().says("TasksMax=44");
    b.script(Place::Scope, &inside("delete --force $name")).ok();
    assert!(!b.scope().exists());
    lab.assert_clean();
}

#[test]
fn a_bus_of_another_user_is_not_believed() {
    need!(Guest, Systemd);
    user();
    let lab = Lab::new();
    let b = Bundle::new(&lab, limits());
    let open = lab.path("open");
    fs::create_dir(&open).expect("make a directory");
    lab.call("chmod").arg("777").arg(&open).go().ok();
    let bus = open.join("bus");
    let mut server = lab
        .call("setpriv")
        .args(["--reuid", "4712", "--regid", "4712", "--clear-groups"])
        .args(["systemd-socket-activate", "--listen"])
        .arg(&bus)
        .arg("cat")
        .spawn();
    assert!(wait_until(Duration::from_secs(20), || bus.exists()), "{}", server.stderr());
    lab.call("chmod").arg("777").arg(&bus).go().ok();
    let script = format!(
        "DBUS_SESSION_BUS_ADDRESS=unix:path={} brig --systemd-cgroup run --detach $name",
        bus.display()
    );
    b.script(Place::Scope, &script).failed().says("runs as another user, 4712");
    server.kill();
    server.wait();
    lab.assert_clean();
}
