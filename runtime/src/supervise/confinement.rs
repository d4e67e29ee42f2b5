//! What confines a process, read back from the kernel: never what was asked for.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

use brig_cgroup::Cgroup;
use brig_pseudofs::mountinfo::Mount;
use brig_pseudofs::small_file;

use super::Error;
use crate::execute::namespace;
use crate::printable;

/// The confinement of a running process, from /proc (proc_pid_status(5), namespaces(7)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    uid_outside: u32,
    gid_outside: u32,
    effective: u64,
    bounding: u64,
    no_new_privs: bool,
    seccomp: bool,
    /// Unknown where the kernel does not show them: to an ordinary user not before the program runs, and not after
    /// its end.
    namespaces: Option<Vec<&'static str>>,
    writable_mounts: Vec<String>,
    read_only_mounts: usize,
    limits: Limits,
}

/// What its cgroup allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    memory_bytes: u64,
    pids: u64,
}

impl Confinement {
    /// Reads the confinement of `pid`, compared with the caller's, and the limits that its cgroup has in force.
    ///
    /// # Errors
    /// The process has ended, or something of it cannot be read: what is not known is no confinement.
    pub fn read(pid: i32, cgroup: &Cgroup) -> Result<Self, Error> {
        let limits = Limits::of(cgroup)?;
        Self::of_process(pid, limits).map_err(failed)
    }

    fn of_process(pid: i32, limits: Limits) -> io::Result<Self> {
        let status = status(pid)?;
        let (writable_mounts, read_only_mounts) = mounts(pid)?;
        let hex =
            |name| u64::from_str_radix(field(&status, name)?, 16).map_err(|_| unexpected(name));
        let id = |name| field(&status, name)?.parse().map_err(|_| unexpected(name));
        Ok(Self {
            uid_outside: id("Uid")?,
            gid_outside: id("Gid")?,
            effective: hex("CapEff")?,
            bounding: hex("CapBnd")?,
            no_new_privs: field(&status, "NoNewPrivs")? == "1",
            seccomp: field(&status, "Seccomp")? == "2",
            namespaces: own_namespaces(pid)?,
            writable_mounts,
            read_only_mounts,
            limits,
        })
    }

    /// Reads the seccomp mode again: the filter is the last thing to be put in force; and the namespaces,
    /// where they could not be read. Also works when the process has ended, as long as it has not been waited for.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn refresh(&mut self, pid: i32) -> Result<(), Error> {
        let status = status(pid).map_err(failed)?;
        self.seccomp = field(&status, "Seccomp").map_err(failed)? == "2";
        self.no_new_privs = field(&status, "NoNewPrivs").map_err(failed)? == "1";
        if self.namespaces.is_none() {
            self.namespaces = own_namespaces(pid).map_err(failed)?;
        }
        Ok(())
    }
}

impl Limits {
    fn of(cgroup: &Cgroup) -> Result<Self, Error> {
        let stats = cgroup.stats()?;
        let limits = Self { memory_bytes: stats.memory.usage.limit, pids: stats.pids.limit };
        match limits {
            // A controller that the cgroup does not have.
            Self { memory_bytes: 0, .. } => Err(no_limit(cgroup, "memory")),
            Self { pids: 0, .. } => Err(no_limit(cgroup, "pids")),
            limits => Ok(limits),
        }
    }
}

/// That a controller of the cgroup is missing.
fn no_limit(cgroup: &Cgroup, controller: &str) -> Error {
    let paths: BTreeSet<_> = cgroup.paths().into_values().collect();
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    let paths = paths.join(", ");
    Error::plain(format!("cgroup {paths}: {controller} limit not set (controller missing)"))
}

fn failed(error: io::Error) -> Error {
    Error::system("reading back what confines the command", error)
}

fn status(pid: i32) -> io::Result<String> {
    small_file::read_text(format!("/proc/{pid}/status"))
}

/// The first value of a line of /proc/PID/status.
fn field<'s>(status: &'s str, name: &str) -> io::Result<&'s str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = line.and_then(|rest| rest.split_ascii_whitespace().next());
    value.ok_or_else(|| unexpected(name))
}

fn unexpected(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/PID/status: unexpected {name}"))
}

/// The namespaces that `pid` does not share with the caller; `None` where they are not shown (ptrace(2),
/// `PTRACE_MODE_READ_FSCREDS`).
fn own_namespaces(pid: i32) -> io::Result<Option<Vec<&'static str>>> {
    let of = |process: &str, name| std::fs::read_link(format!("/proc/{process}/ns/{name}"));
    let mut own = Vec::new();
    for (_, name) in namespace::TYPES {
        let callers = match of("self", name) {
            // This kernel has none of the kind.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            answer => answer?,
        };
        match of(&pid.to_string(), name) {
            Ok(theirs) if theirs == callers => {}
            Ok(_) => own.push(name),
            Err(error) => match error.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => return Ok(None),
                _ => return Err(error),
            },
        }
    }
    Ok(Some(own))
}

/// The mount points that can be written to, and how many cannot.
fn mounts(pid: i32) -> io::Result<(Vec<String>, usize)> {
    let text = small_file::read_text(format!("/proc/{pid}/mountinfo"))?;
    let (mut writable, mut read_only) = (Vec::new(), 0);
    for mount in Mount::all(&text) {
        match mount.is_read_only() {
            true => read_only += 1,
            false => writable.push(printable::line(&mount.point().to_string_lossy()).into_owned()),
        }
    }
    Ok((writable, read_only))
}

fn capabilities(mask: u64) -> String {
    let names = crate::spec::capability::names(mask);
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |value| if value { "yes" } else { "no" };
        match &self.namespaces {
            Some(own) => writeln!(f, "  namespaces    own {}", own.join(" "))?,
            None => writeln!(f, "  namespaces    not shown to this user")?,
        }
        writeln!(f, "  user          {}:{} on the host", self.uid_outside, self.gid_outside)?;
        writeln!(
            f,
            "  capabilities  effective {}, bounding {}",
            capabilities(self.effective),
            capabilities(self.bounding)
        )?;
        writeln!(f, "  no_new_privs  {}", yes(self.no_new_privs))?;
        writeln!(f, "  seccomp       {}", if self.seccomp { "filter" } else { "none" })?;
        writeln!(
            f,
            "  file systems  {} read-only, writable {}",
            self.read_only_mounts,
            self.writable_mounts.join(" ")
        )?;
        let Limits { memory_bytes, pids } = self.limits;
        let mebibytes = memory_bytes >> 20;
        writeln!(f, "  cgroup        memory at most {mebibytes} MiB, at most {pids} processes")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_own_process_shares_all_its_namespaces() {
        let limits = Limits { memory_bytes: 1, pids: 1 };
        let own = Confinement::of_process(std::process::id().cast_signed(), limits);
        let own = own.expect("it runs");
        assert_eq!(own.namespaces, Some(Vec::new()));
        assert!(own.read_only_mounts + own.writable_mounts.len() > 0);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\nUid:\t5\t6\t7\t8\n";
        assert_eq!(field(status, "Seccomp").expect("a field"), "2");
        assert_eq!(field(status, "Uid").expect("a field"), "5");
        field(status, "CapEff").expect_err("it is missing");
    }

    #[test]
    fn limits_that_cannot_be_read_are_an_error() {
        let cgroup = |directories| {
            let record = json!({ "driver": "fs", "directories": directories, "boot": "another" });
            Cgroup::open(&serde_json::from_value(record).expect("a record")).expect("a path")
        };
        let gone = json!([{
            "controllers": ["memory", "pids"], "unified": true, "mount": "/sys/fs/cgroup", "path": "a",
            "identity": { "device": 1, "inode": 1 }
        }]);
        Limits::of(&cgroup(gone)).expect_err("it is gone");
        Limits::of(&cgroup(json!([]))).expect_err("it has no controller");
    }
}
