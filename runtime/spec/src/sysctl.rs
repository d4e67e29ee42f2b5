//! Which kernel parameter belongs to which namespace.
//!
//! A parameter that belongs to no namespace would be set for the whole host, so it is refused.
//!
//! Reference: config-linux.md "Sysctl", namespaces(7), ipc_namespaces(7), sysctl(8).

use super::model::NamespaceType;

/// A kernel parameter of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Below `/proc/sys`, without a leading `/`: `net/ipv4/ip_forward`.
    pub path: String,
    /// The namespace that has its own value.
    pub namespace: NamespaceType,
}

/// Why a name is no [`Sysctl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysctlError {
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

/// The path of the largest pid, which each pid namespace has for itself since Linux 6.14 (kernel/pid.c); before, it is the
/// host's, and whoever plans has to refuse it.
pub const PID_MAX: &str = "kernel/pid_max";

/// Reads a name in either notation of sysctl(8): `net.ipv4.conf.all.forwarding`, or with slashes, where
/// a dot is then a part of a name (`net/ipv4/conf/eth0.100/forwarding`).
///
/// # Errors
/// See [`SysctlError`].
pub fn parse(name: &str) -> Result<Sysctl, SysctlError> {
    let path = match name.find(['.', '/']).map(|at| name.as_bytes()[at]) {
        Some(b'.') => name.chars().map(swap_separators).collect(),
        Some(_) => name.to_owned(),
        None => return Err(SysctlError::Malformed),
    };
    let sound =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if !path.split('/').all(sound) {
        return Err(SysctlError::Malformed);
    }
    let below = |prefix: &str| path.strip_prefix(prefix).is_some();
    let namespace = match path.as_str() {
        "kernel/hostname" => return Err(SysctlError::Hostname),
        "kernel/domainname" => NamespaceType::Uts,
        // Since Linux 6.3, when it came.
        PID_MAX | "vm/memfd_noexec" => NamespaceType::Pid,
        path if IPC.binary_search(&path).is_ok() => NamespaceType::Ipc,
        _ if below("fs/mqueue/") => NamespaceType::Ipc,
        _ if below("net/") => NamespaceType::Network,
        _ if below("user/") => NamespaceType::User,
        _ => return Err(SysctlError::NotNamespaced),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_belongs_where_the_kernel_keeps_it() {
        use NamespaceType::{Ipc, Network, Pid, User, Uts};
        let cases = [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward", Network),
            ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding", Network),
            ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding", Network),
            ("kernel.shm_rmid_forced", "kernel/shm_rmid_forced", Ipc),
            ("fs.mqueue.queues_max", "fs/mqueue/queues_max", Ipc),
            ("kernel/domainname", "kernel/domainname", Uts),
            ("kernel.pid_max", "kernel/pid_max", Pid),
            ("vm.memfd_noexec", "vm/memfd_noexec", Pid),
            ("user.max_user_namespaces", "user/max_user_namespaces", User),
        ];
        for (name, path, namespace) in cases {
            assert_eq!(parse(name), Ok(Sysctl { path: path.to_owned(), namespace }));
        }
        assert!(IPC.is_sorted());
        for name in IPC {
            assert_eq!(parse(name).map(|sysctl| sysctl.namespace), Ok(Ipc), "{name}");
        }
    }

    #[test]
    fn the_hosts_are_refused() {
        let host = [
            "kernel.core_pattern",
            "kernel.modprobe",
            "vm.overcommit_memory",
            "fs.file-max",
            "kernel.shmmaxx",
            "netfilter.x",
            "debug.x",
        ];
        for name in host {
            assert_eq!(parse(name), Err(SysctlError::NotNamespaced), "{name}");
        }
        for name in [
            "",
            "net",
            "net..x",
            ".net.x",
            "net.x.",
            "/net/x",
            "net/../kernel/modprobe",
            "net/./x",
            "net.a\0",
        ] {
            assert_eq!(parse(name), Err(SysctlError::Malformed), "{name:?}");
        }
        assert_eq!(parse("kernel.hostname"), Err(SysctlError::Hostname));
    }
}
