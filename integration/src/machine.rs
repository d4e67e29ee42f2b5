//! What this machine is: the cgroup layout, the kernel's security modules, processes.
//! Reads /proc and /sys only.

use std::fs;
use std::path::{Path, PathBuf};

/// How cgroups are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Version 2 alone.
    V2,
    /// Version 1, perhaps with an almost empty version 2 beside it.
    V1,
}

/// The layout at /sys/fs/cgroup.
pub fn layout() -> Layout {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { Layout::V2 } else { Layout::V1 }
}

/// Every mounted hierarchy: `(controllers, mount point)`; on v2 one, named "unified".
pub fn hierarchies() -> Vec<(String, PathBuf)> {
    if layout() == Layout::V2 {
        return vec![("unified".into(), "/sys/fs/cgroup".into())];
    }
    let mut found: Vec<(String, PathBuf)> = fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| (e.file_name().to_string_lossy().into_owned(), e.path()))
        .filter(|(_, path)| path.join("cgroup.procs").exists())
        .collect();
    found.sort();
    found
}

/// Where `path` (as in a spec's `cgroupsPath`, absolute) is in the hierarchy of `controller`, which
/// in the hybrid layout may be the one of v2.
pub fn cgroup_dir(controller: &str, path: &str) -> PathBuf {
    let mount = match layout() {
        Layout::V2 => PathBuf::from("/sys/fs/cgroup"),
        Layout::V1 => Some(Path::new("/sys/fs/cgroup").join(controller))
            .filter(|mount| mount.exists())
            .unwrap_or_else(|| "/sys/fs/cgroup/unified".into()),
    };
    mount.join(path.trim_start_matches('/'))
}

/// Every cgroup, in any hierarchy, whose path contains `token`; children before their parents.
pub fn cgroups_named(token: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (_, mount) in hierarchies() {
        walk(&mount, &mut |dir| {
            if dir.to_string_lossy().contains(token) {
                found.push(dir.to_owned());
            }
        });
    }
    found
}

/// The child directories come before their parent.
fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            walk(&entry.path(), visit);
            visit(&entry.path());
        }
    }
}

/// Whether systemd runs the system.
pub fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir() && Path::new("/run/dbus/system_bus_socket").exists()
}

/// Whether the kernel enforces AppArmor profiles.
pub fn has_apparmor() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|v| v.starts_with('Y'))
}

/// Whether SELinux enforces the policy of `integration/vm/selinux.cil`.
pub fn has_selinux() -> bool {
    let context = fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|v| v == "1")
        && context.starts_with("system_u:system_r:host_t:")
}

/// Whether this process has CAP_SYS_RESOURCE (capability 24, capabilities(7)).
pub fn has_cap_sys_resource() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok()).is_some_and(|m| m >> 24 & 1 == 1)
}

/// A process, as far as the tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id in the host's pid namespace.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// State letter, as in ps(1): `Z` is a zombie.
    pub state: char,
    /// Command name, at most 15 characters.
    pub name: String,
}

/// Every process.
pub fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| process(e.file_name().to_string_lossy().parse().ok()?)).collect()
}

/// The process `pid`, unless it is gone.
pub fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (left, right) = stat.rsplit_once(") ")?;
    let mut fields = right.split(' ');
    Some(Process {
        pid,
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        name: left.split_once('(')?.1.to_owned(),
    })
}

/// What the descriptors of process `pid` are open on, as far as that has a path.
pub fn descriptors(pid: i32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

/// All descendants of process `ancestor`, nearest first.
pub fn descendants(ancestor: i32) -> Vec<Process> {
    let all = processes();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![ancestor];
    while !parents.is_empty() {
        let children: Vec<Process> =
            all.iter().filter(|p| parents.contains(&p.parent)).cloned().collect();
        parents = children.iter().map(|p| p.pid).collect();
        found.extend(children);
    }
    found
}

/// Whether `pid` runs; a zombie does not.
pub fn is_alive(pid: i32) -> bool {
    process(pid).is_some_and(|p| p.state != 'Z' && p.state != 'X')
}
