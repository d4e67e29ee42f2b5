//! `try`: a sandbox over the host's own root file system, with nothing prepared.
//!
//! The root is the host's, read-only with all that is mounted below it; homes, /run and /tmp are
//! empty. The user is nobody on the host. What the specification of OCI cannot say (Landlock, a
//! recursively read-only root) comes with the blueprint.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use brig_seccomp::Arch;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, Scope,
};
use nix::unistd::{getegid, geteuid};
use serde_json::{Value, json};

use super::container::Container;
use super::create::{Blueprint, Landlock, Options, make};
use super::root::Root;
use super::run::{in_foreground, remove_after, wanted};
use super::terminal::Stop;
use super::{Confinement, Error, Foreground};
use crate::bundle::{Configuration, Seccomp};
use crate::plan::Start;
use crate::spec::ContainerId;

/// What is to be run, and with how much.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// The command.
    pub command: Vec<String>,
    /// `memory.max` in bytes.
    pub memory_bytes: i64,
    /// `pids.max`.
    pub pids: i64,
    /// Whether the command gets a terminal.
    pub terminal: bool,
    /// The variables of the caller's environment that the command gets.
    pub env: Vec<(String, String)>,
    /// The caller's working directory.
    pub cwd: PathBuf,
}

/// Directories that the command may write to: empty, in memory, gone at the end.
const WRITABLE: [&str; 3] = ["/tmp", "/run", "/var/tmp"];
/// Directories whose contents are nobody's business.
const HIDDEN: [&str; 3] = ["/home", "/root", "/srv"];

/// The profile of `linux.seccomp`.
const PROFILE: &str = "restricted";

/// First id of the ranges from which a sandbox gets its ids (systemd's for containers, UIDS-GIDS.md),
/// and how many ranges of 65,536 there are.
const FIRST_ID: u32 = 524_288;
const RANGES: u32 = 20_000;

/// Runs a command in a sandbox; the answer is its exit code. `show` gets what confines it.
///
/// # Errors
/// As `run`.
pub fn try_command(
    id: &ContainerId,
    options: &Options,
    sandbox: &SandboxOptions,
    show: &mut dyn FnMut(&Confinement, bool),
) -> Result<u8, Error> {
    let blueprint = Blueprint::of_sandbox(sandbox)?;
    let landlock = blueprint.landlock.is_some();
    let mut container = None;
    let wanted = wanted(&blueprint, options);
    let ended = in_foreground(Foreground::Wait, wanted, Stop::PassOn, |given| {
        let made = make(id, blueprint, options, Start::AtGate, given)?;
        let (mut new, process) = Container::of(id, made);
        new.directory.unlock();
        let mut confinement = Confinement::read(process.pid)
            .map_err(|error| Error::system("reading back what confines the command", error))?;
        if let Ok(cgroup) = new.cgroup() {
            confinement.add_limits(&cgroup);
        }
        let started = new.start();
        container = Some(new);
        started?;
        confinement.refresh(process.pid);
        show(&confinement, landlock);
        Ok(process)
    });
    remove_after(ended, container).map(|ended| ended.code)
}

/// Files: read and execute everywhere, write in [`WRITABLE`] and /dev only; no signal and no
/// abstract socket out of the sandbox. `None` where the kernel has no Landlock.
fn landlock() -> Result<Option<Landlock>, Error> {
    let failed = |error: landlock::RulesetError| Error::because("making a Landlock ruleset", error);
    let newest_first = [ABI::V6, ABI::V5, ABI::V4, ABI::V3, ABI::V2, ABI::V1];
    let Some((abi, created)) =
        newest_first.into_iter().find_map(|abi| Some((abi, create(abi).ok()?)))
    else {
        return Ok(None);
    };
    let root = PathFd::new("/").map_err(|error| Error::because("opening /", error))?;
    let created =
        created.add_rule(PathBeneath::new(root, AccessFs::from_read(abi))).map_err(failed)?;
    let ruleset = Option::<OwnedFd>::from(created)
        .ok_or_else(|| Error::plain("the kernel made no Landlock ruleset"))?;
    let paths = WRITABLE.iter().chain(&["/dev", "/dev/shm", "/dev/pts"]);
    let paths = paths.filter(|path| Path::new(path).is_dir()).map(|path| (*path).to_owned());
    let access = AccessFs::from_all(abi).bits();
    Ok(Some(Landlock { ruleset, paths: paths.collect(), access }))
}

/// A ruleset that handles everything of one version of the interface, or fails.
fn create(abi: ABI) -> Result<RulesetCreated, landlock::RulesetError> {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let ruleset = ruleset.handle_access(AccessFs::from_all(abi))?;
    match Scope::from_all(abi) {
        scope if scope.is_empty() => ruleset.create(),
        scope => ruleset.scope(scope)?.create(),
    }
}

impl Blueprint {
    /// Composes the sandbox of `try`.
    ///
    /// # Errors
    /// The command cannot be part of a specification, or a Landlock ruleset cannot be made.
    pub fn of_sandbox(sandbox: &SandboxOptions) -> Result<Self, Error> {
        Ok(Self { landlock: landlock()?, ..blueprint(sandbox)? })
    }
}

fn blueprint(sandbox: &SandboxOptions) -> Result<Blueprint, Error> {
    let text = config(sandbox).to_string().into_bytes();
    let root = PathBuf::from("/");
    let mut config = Configuration::parse(&root, text)?;
    if let Some(program) = brig_seccomp::compiled(PROFILE, Arch::native()) {
        config.seccomp = Seccomp::Program(program);
    }
    Ok(Blueprint {
        config,
        bundle: root,
        root: Root::of_host()?,
        read_only_tree: true,
        landlock: None,
        watcher: None,
    })
}

/// The specification of the sandbox.
fn config(sandbox: &SandboxOptions) -> Value {
    let env: Vec<_> = sandbox.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let none: [&str; 0] = [];
    let (ids, user) = identity();
    let namespaces: Vec<_> = ["pid", "network", "ipc", "uts", "mount", "cgroup", "user"]
        .iter()
        .map(|kind| json!({ "type": kind }))
        .collect();
    let seccomp = brig_seccomp::builtin(PROFILE);
    json!({
        "ociVersion": crate::spec::VERSION,
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
        "mounts": mounts(sandbox),
        "linux": {
            "namespaces": namespaces,
            "uidMappings": [ids(geteuid().as_raw())],
            "gidMappings": [ids(getegid().as_raw())],
            "resources": {
                "memory": { "limit": sandbox.memory_bytes, "swap": sandbox.memory_bytes },
                "pids": { "limit": sandbox.pids },
            },
            "seccomp": seccomp,
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
                "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
            ],
        },
    })
}

/// The id map (for the caller's own id, where it can have no other), and the user inside.
fn identity() -> (impl Fn(u32) -> Value, u32) {
    let privileged = geteuid().is_root();
    // Sandboxes that run at the same time do not share ids.
    let first = FIRST_ID + std::process::id() % RANGES * 65_536;
    let ids = move |own: u32| match privileged {
        true => json!({ "containerID": 0, "hostID": first, "size": 65_536 }),
        false => json!({ "containerID": 0, "hostID": own, "size": 1 }),
    };
    (ids, if privileged { 1000 } else { 0 })
}

fn mounts(sandbox: &SandboxOptions) -> Vec<Value> {
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
    mounts.extend(host_file_systems().into_iter().map(|at| {
        let options = ["bind", "ro", "nosuid", "nodev"];
        json!({ "destination": at, "type": "bind", "source": at, "options": options })
    }));
    let exists = |path: &&&str| Path::new(path).is_dir();
    for path in WRITABLE.iter().filter(exists) {
        mounts.push(mount(path, "tmpfs", &["nosuid", "nodev", "mode=1777", "size=64m"]));
    }
    for path in HIDDEN.iter().filter(exists) {
        mounts.push(mount(path, "tmpfs", &["nosuid", "nodev", "noexec", "mode=755", "size=64k"]));
    }
    let mut covered = HIDDEN.iter().chain(&WRITABLE).map(Path::new);
    if covered.any(|hidden| sandbox.cwd != hidden && sandbox.cwd.starts_with(hidden)) {
        let options = ["rbind", "rro", "rnosuid", "rnodev"];
        let cwd = &sandbox.cwd;
        mounts.push(json!({
            "destination": cwd, "type": "bind", "source": cwd, "options": options
        }));
    }
    mounts
}

/// Where the host has mounted file systems that belong to its root: /usr, /var, /opt … An
/// unprivileged sandbox gets them with the root.
fn host_file_systems() -> Vec<String> {
    if !geteuid().is_root() {
        return Vec::new();
    }
    let text = crate::small_file::read_text("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(host_file_system).collect()
}

/// The mount point of a line of proc_pid_mountinfo(5), if the sandbox is to have it.
fn host_file_system(line: &str) -> Option<String> {
    const NOT_FILES: [&str; 20] = [
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nsfs",
        "proc",
        "pstore",
        "ramfs",
        "securityfs",
        "sysfs",
        "tmpfs",
        "tracefs",
    ];
    let (mount, file_system) = line.split_once(" - ")?;
    let at = mount.split(' ').nth(4)?;
    let kind = file_system.split(' ').next()?;
    let elsewhere = ["/proc", "/sys", "/dev"].iter().chain(&WRITABLE).chain(&HIDDEN);
    let covered = elsewhere.into_iter().any(|path| Path::new(at).starts_with(path));
    // Names with spaces are escaped in the table; such a mount is left out.
    let wanted = at != "/" && !covered && !at.contains('\\') && !NOT_FILES.contains(&kind);
    wanted.then(|| at.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn file_systems_of_the_host_are_told_from_the_kernels() {
        let line = |at: &str, kind: &str| {
            format!("22 1 8:1 / {at} rw,relatime shared:1 - {kind} /dev/sda rw")
        };
        assert_eq!(super::host_file_system(&line("/usr", "ext4")).as_deref(), Some("/usr"));
        for (at, kind) in [("/", "ext4"), ("/run/x", "ext4"), ("/home", "xfs"), ("/x", "nsfs")] {
            assert_eq!(super::host_file_system(&line(at, kind)), None, "{at} {kind}");
        }
    }

    use super::*;
    use crate::filter::Filter;

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
        let blueprint = blueprint(&sandbox).expect("an acceptable specification");
        assert!(blueprint.read_only_tree);
        let profile = brig_seccomp::builtin(PROFILE).expect("a profile");
        let compiled = brig_seccomp::compile(&profile, Arch::native()).expect("it compiles");
        let filter = blueprint.filter().expect("it is ready").expect("there is one");
        assert_eq!(filter, Filter::without_listener(compiled), "it is that of the profile");
        let whole = crate::spec::parse(&blueprint.config.text).expect("it is good");
        let said = whole.linux().as_ref().and_then(|linux| linux.seccomp().clone());
        assert_eq!(said, Some(profile), "which the specification has too, for `exec`");
        let linux = blueprint.config.spec.linux().as_ref().expect("linux");
        assert!(linux.namespaces().as_ref().is_some_and(|list| list.len() == 7));
    }
}
