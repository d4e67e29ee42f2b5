//! `try`: a sandbox over the host's own root file system, with nothing prepared.
//!
//! The root is the host's, read-only with the file systems that are mounted below it ([`HostMounts`] says
//! which, and what is hidden instead); homes, /run and /tmp are empty. Where root calls, the user is one that
//! the host does not have; an ordinary user's sandbox has its rights. What the specification of OCI cannot say (Landlock, a
//! recursively read-only root) comes with the blueprint.

use std::fs::File;
use std::path::{Path, PathBuf};

use brig::caller::Caller;
use brig::configuration::{Configuration, Seccomp};
use brig::plan::{LandlockPath, LandlockRules};
use brig::policy::NodePolicy;
use brig::sources::HeldSources;
use brig::spec::Asked;
use brig::supervise::{Blueprint, Error, HeldNamespaces, Landlock, Root};
use brig_seccomp::Arch;
use brig_sys::landlock::{self, Handled};
use nix::unistd::{getegid, geteuid};
use serde_json::{Value, json};

use super::host_mounts::{Fate, HostMounts, Place};

/// What is to be run, and with how much.
#[derive(Clone, Debug)]
pub(crate) struct SandboxOptions {
    /// The command.
    pub(crate) command: Vec<String>,
    /// `memory.max` in bytes.
    pub(crate) memory_bytes: i64,
    /// `pids.max`.
    pub(crate) pids: i64,
    /// Whether the command gets a terminal.
    pub(crate) terminal: bool,
    /// The variables of the caller's environment that the command gets.
    pub(crate) env: Vec<(String, String)>,
    /// The caller's working directory.
    pub(crate) cwd: PathBuf,
}

/// Directories that the command may write to: empty, in memory, gone at the end.
const WRITABLE: [&str; 3] = ["/tmp", "/run", "/var/tmp"];
/// Directories whose contents are nobody's business.
const HIDDEN: [&str; 3] = ["/home", "/root", "/srv"];

/// What is hidden of the kernel's own file systems.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// The profile of `linux.seccomp`.
const PROFILE: &str = "restricted";

/// First id of the ranges from which a sandbox gets its ids (systemd's for containers, UIDS-GIDS.md),
/// and how many ranges of 65,536 there are.
const FIRST_ID: u32 = 524_288;
const RANGES: u32 = 20_000;

/// What of Landlock each version knows of files (linux/landlock.h): a number of lowest bits.
const FILES: [u32; 6] = [0, 13, 14, 15, 15, 16];
/// `EXECUTE`, `READ_FILE` and `READ_DIR`.
const READ: u64 = 1 << 0 | 1 << 2 | 1 << 3;

/// Files: read and execute everywhere, write in [`WRITABLE`] and /dev only; no signal and no
/// abstract socket out of the sandbox. `None` where the kernel has no Landlock.
fn landlock(writable: &[String]) -> Result<Option<Landlock>, Error> {
    let failed = |error: std::io::Error| Error::system("making a Landlock ruleset", error);
    let version = landlock::version();
    if version == 0 {
        return Ok(None);
    }
    let known = FILES.get(version as usize).or(FILES.last()).copied().unwrap_or_default();
    let files = (1 << known) - 1;
    let handled = Handled { files, ports: 0, scopes: if version >= 6 { 3 } else { 0 } };
    let ruleset = landlock::create(&handled).map_err(failed)?;
    let root = File::open("/").map_err(failed)?;
    landlock::allow_path(&ruleset, root, READ).map_err(failed)?;
    let paths = ["/dev", "/dev/shm", "/dev/pts"].map(str::to_owned);
    let paths = writable.iter().cloned().chain(paths).map(|path| LandlockPath {
        path,
        access: files,
        may_be_missing: false,
    });
    Ok(Some(Landlock { ruleset, rules: LandlockRules { paths: paths.collect(), of_file: 0 } }))
}

impl SandboxOptions {
    /// The sandbox, as a container that is to be made.
    ///
    /// # Errors
    /// The command cannot be part of a specification, or a Landlock ruleset cannot be made.
    pub(crate) fn blueprint(&self, node: &NodePolicy) -> Result<Blueprint, Error> {
        let root = Root::of_host()?;
        let over = Over::read(&root, &self.cwd)?;
        Ok(Blueprint { landlock: landlock(&over.writable)?, ..blueprint(self, root, &over, node)? })
    }
}

fn blueprint(
    sandbox: &SandboxOptions,
    root: Root,
    over: &Over,
    node: &NodePolicy,
) -> Result<Blueprint, Error> {
    let text = config(sandbox, over).to_string().into_bytes();
    let bundle = PathBuf::from("/");
    let asked = Asked::read(&text)?;
    let sources = HeldSources::default();
    let mut config = Configuration::harden(&bundle, text, asked, &of_caller(node), &sources)?;
    if let Some(program) = brig_seccomp::compiled(PROFILE, Arch::native()) {
        config.seccomp = Seccomp::Program(program);
    }
    let (namespaces, ids, remapped) = (HeldNamespaces::default(), None, None);
    let (read_only_tree, landlock, watcher) = (true, None, None);
    Ok(Blueprint {
        config,
        bundle,
        root,
        sources,
        namespaces,
        ids,
        remapped,
        read_only_tree,
        landlock,
        watcher,
    })
}

/// What is mounted is the host's own tree, read-only, and directories that the caller names: no bundle has a say in it.
fn of_caller(node: &NodePolicy) -> NodePolicy {
    let mut node = node.clone();
    node.profile = node.profile.without_bind_sources();
    node
}

/// The specification of the sandbox.
fn config(sandbox: &SandboxOptions, over: &Over) -> Value {
    let env: Vec<_> = sandbox.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let none: [&str; 0] = [];
    let (ids, user) = identity();
    let namespaces: Vec<_> = ["pid", "network", "ipc", "uts", "mount", "cgroup", "user"]
        .iter()
        .map(|kind| json!({ "type": kind }))
        .collect();
    let seccomp = brig_seccomp::builtin(PROFILE);
    json!({
        "ociVersion": brig::spec::VERSION,
        "hostname": "brig",
        "root": { "path": "/", "readonly": true },
        "process": {
            "terminal": sandbox.terminal,
            "user": { "uid": user, "gid": user, "umask": 0o022 },
            "args": sandbox.command,
            "env": env,
            "cwd": sandbox.cwd,
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": none, "effective": none, "permitted": none,
                "inheritable": none, "ambient": none
            },
            "rlimits": [{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }],
        },
        "mounts": mounts(sandbox, over),
        "linux": {
            "namespaces": namespaces,
            "uidMappings": [ids(geteuid().as_raw())],
            "gidMappings": [ids(getegid().as_raw())],
            "resources": {
                "memory": { "limit": sandbox.memory_bytes, "swap": sandbox.memory_bytes },
                "pids": { "limit": sandbox.pids },
            },
            "seccomp": seccomp,
            "maskedPaths": MASKED.iter().copied().chain(over.covered.iter().map(String::as_str)).collect::<Vec<_>>(),
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
            ],
        },
    })
}

/// The id map (for the caller's own id, where it can have no other), and the user inside.
fn identity() -> (impl Fn(u32) -> Value, u32) {
    let is_root = Caller::get() == Caller::Root;
    // Sandboxes that run at the same time do not share ids.
    let first = FIRST_ID + std::process::id() % RANGES * 65_536;
    let ids = move |own: u32| match is_root {
        true => json!({ "containerID": 0, "hostID": first, "size": 65_536 }),
        false => json!({ "containerID": 0, "hostID": own, "size": 1 }),
    };
    (ids, if is_root { 1000 } else { 0 })
}

/// What lies over the host's root in the sandbox, by absolute paths without links.
#[derive(Debug, Default)]
struct Over {
    /// [`WRITABLE`], as far as they are there.
    writable: Vec<String>,
    /// [`HIDDEN`], as far as they are there.
    hidden: Vec<String>,
    /// File systems of the host that come along.
    carried: Vec<String>,
    /// What is empty in the place of those that do not.
    covered: Vec<String>,
}

impl Over {
    fn read(root: &Root, cwd: &Path) -> Result<Self, Error> {
        let host = HostMounts::read(root.place().map_or(0, |place| place.mount), cwd)?;
        // Whom the mounts do not belong to gets the whole tree.
        let whole = Caller::get() != Caller::Root;
        let places = |wanted: &[&str]| {
            let mut places: Vec<String> = Vec::new();
            for &path in wanted {
                match host.place_of(Path::new(path)) {
                    Place::At(place) => places.push(name(&place)?),
                    Place::Beyond if whole => places.push(path.to_owned()),
                    Place::Beyond | Place::Missing => {}
                }
            }
            Ok::<_, Error>(places)
        };
        let (writable, hidden) = (places(&WRITABLE)?, places(&HIDDEN)?);
        let (mut carried, mut covered) = (Vec::new(), Vec::new());
        for (point, fate) in host.iter().filter(|_| !whole) {
            let elsewhere = ["/proc", "/sys", "/dev"].into_iter();
            let mut elsewhere = elsewhere.chain(writable.iter().chain(&hidden).map(String::as_str));
            let replaced = elsewhere.any(|path| point.starts_with(path));
            match fate {
                Fate::Carried if !replaced => carried.push(name(point)?),
                Fate::Covered if !replaced => covered.push(name(point)?),
                // The current directory comes with all that can be bound.
                Fate::Unbindable if !replaced || point.starts_with(cwd) => {
                    covered.push(name(point)?);
                }
                _ => {}
            }
        }
        Ok(Self { writable, hidden, carried, covered })
    }
}

/// A path as the specification can have it.
fn name(path: &Path) -> Result<String, Error> {
    let name = path.to_str().map(str::to_owned);
    name.ok_or_else(|| Error::plain(format!("{} is no UTF-8", path.display())))
}

fn mounts(sandbox: &SandboxOptions, over: &Over) -> Vec<Value> {
    let hardened = ["nosuid", "nodev", "noexec"];
    let mount = |at: &str, kind: &str, options: &[&str]| json!({ "destination": at, "type": kind, "source": kind, "options": options });
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    let mut mounts = vec![
        mount("/proc", "proc", &hardened),
        mount("/dev", "tmpfs", &["nosuid", "noexec", "mode=755", "size=64k"]),
        mount("/dev/pts", "devpts", &pts),
        mount("/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec", "mode=1777", "size=16m"]),
        mount("/dev/mqueue", "mqueue", &hardened),
        mount("/sys", "sysfs", &["nosuid", "nodev", "noexec", "ro"]),
    ];
    mounts.extend(over.carried.iter().map(|at| {
        let options = ["bind", "ro", "nosuid", "nodev"];
        json!({ "destination": at, "type": "bind", "source": at, "options": options })
    }));
    for path in &over.writable {
        mounts.push(mount(path, "tmpfs", &["nosuid", "nodev", "mode=1777", "size=64m"]));
    }
    for path in &over.hidden {
        mounts.push(mount(path, "tmpfs", &["nosuid", "nodev", "noexec", "mode=755", "size=64k"]));
    }
    let mut replaced = over.hidden.iter().chain(&over.writable).map(Path::new);
    if replaced.any(|replaced| sandbox.cwd != replaced && sandbox.cwd.starts_with(replaced)) {
        let options = ["rbind", "rro", "rnosuid", "rnodev"];
        let cwd = &sandbox.cwd;
        mounts.push(json!({
            "destination": cwd, "type": "bind", "source": cwd, "options": options
        }));
    }
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;
    use brig::filter::Filter;

    #[test]
    fn the_sandbox_passes_the_checks_of_every_specification() {
        let sandbox = SandboxOptions {
            command: vec!["true".to_owned()],
            memory_bytes: 1 << 30,
            pids: 64,
            terminal: false,
            env: vec![("PATH".to_owned(), "/bin".to_owned())],
            cwd: PathBuf::from("/"),
        };
        let root = Root::of_host().expect("a root");
        let over = Over::read(&root, &sandbox.cwd).expect("the host's mounts");
        let blueprint = blueprint(&sandbox, root, &over, &NodePolicy::oci())
            .expect("an acceptable specification");
        assert!(blueprint.read_only_tree);
        let profile = brig_seccomp::builtin(PROFILE).expect("a profile");
        let compiled = brig_seccomp::compile(&profile, Arch::native()).expect("it compiles");
        let filter = blueprint.filter().expect("it is ready").expect("there is one");
        assert_eq!(filter, Filter::without_listener(compiled), "it is that of the profile");
        let said = blueprint.config.spec.seccomp.clone().expect("it has one");
        let said = brig_seccomp::read_part(&blueprint.config.text, said);
        assert_eq!(said, Ok(profile), "which the specification has too, for `exec`");
        assert_eq!(blueprint.config.spec.linux.namespaces.len(), 7);
    }
}
