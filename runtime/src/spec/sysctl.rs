//! Which kernel parameter belongs to which namespace.
//!
//! A parameter that belongs to no namespace would be set for the whole host, so it is refused.
//!
//! Reference: config-linux.md "Sysctl", namespaces(7), ipc_namespaces(7), sysctl(8).

use oci_spec::runtime::LinuxNamespaceType;

/// A kernel parameter of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Below `/proc/sys`, without a leading `/`: `net/ipv4/ip_forward`.
    pub path: String,
    /// The namespace that has its own value.
    pub namespace: LinuxNamespaceType,
}

/// Why a name is no [`Sysctl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not a name at all.
    Malformed,
    /// It is the host's.
    NotNamespaced,
    /// `kernel.hostname`: the field `hostname` sets it.
    Hostname,
}

/// System V parameters with a value per IPC namespace (kernel `ipc/ipc_sysctl.c`).
const IPC: [&str; 12] = [
    "kernel/auto_msgmni",
    "kernel/msg_next_id",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/sem_next_id",
    "kernel/shm_next_id",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

/// Reads a name in either notation of sysctl(8): `net.ipv4.conf.all.forwarding`, or with slashes, where
/// a dot is then a part of a name (`net/ipv4/conf/eth0.100/forwarding`).
///
/// # Errors
/// See [`Refused`].
pub fn parse(name: &str) -> Result<Sysctl, Refused> {
    let path = match name.find(['.', '/']).map(|at| name.as_bytes()[at]) {
        Some(b'.') => name.chars().map(swap_separators).collect(),
        Some(_) => name.to_owned(),
        None => return Err(Refused::Malformed),
    };
    let sound =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if !path.split('/').all(sound) {
        return Err(Refused::Malformed);
    }
    let below = |prefix: &str| path.strip_prefix(prefix).is_some();
    let namespace = match path.as_str() {
        "kernel/hostname" => return Err(Refused::Hostname),
        "kernel/domainname" => LinuxNamespaceType::Uts,
        path if IPC.binary_search(&path).is_ok() => LinuxNamespaceType::Ipc,
        _ if below("fs/mqueue/") => LinuxNamespaceType::Ipc,
        _ if below("net/") => LinuxNamespaceType::Network,
        _ if below("user/") => LinuxNamespaceType::User,
        _ => return Err(Refused::NotNamespaced),
    };
    Ok(Sysctl { path, namespace })
}

fn swap_separators(c: char) -> char {
    match c {
        '.' => '/',
        '/' => '.',
        other => other,
    }
}
