//! What confines a process, read back from the kernel: never what was asked for.

use std::fmt;

use brig_cgroup::Cgroup;

use super::Error;
use crate::printable;
use crate::report::{NAMESPACES, ObservedProcess, Rights, Seen, Unseen};

/// The confinement of a running process, from /proc (proc_pid_status(5), namespaces(7)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    rights: Rights,
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

    fn of_process(pid: i32, limits: Limits) -> Seen<Self> {
        let process = ObservedProcess::read(pid)?;
        let table = process.mounts()?;
        let writable = table.mounts.iter().filter(|mount| !mount.read_only);
        let writable =
            writable.map(|mount| printable::line(&mount.point.to_string_lossy()).into_owned());
        let writable_mounts: Vec<_> = writable.collect();
        Ok(Self {
            rights: process.rights,
            namespaces: own_namespaces(&process)?,
            read_only_mounts: table.mounts.len() - writable_mounts.len(),
            writable_mounts,
            limits,
        })
    }

    /// Reads the seccomp mode again: the filter is the last thing to be put in force; and the namespaces,
    /// where they could not be read. Also works when the process has ended, as long as it has not been waited for.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn refresh(&mut self, pid: i32) -> Result<(), Error> {
        self.rights = Rights::read(pid).map_err(failed)?;
        if self.namespaces.is_none()
            && let Ok(process) = ObservedProcess::read(pid)
        {
            self.namespaces = own_namespaces(&process).map_err(failed)?;
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
    let mut paths: Vec<String> =
        cgroup.paths().values().map(|path| path.display().to_string()).collect();
    paths.sort_unstable();
    paths.dedup();
    let paths = paths.join(", ");
    Error::plain(format!("cgroup {paths}: {controller} limit not set (controller missing)"))
}

fn failed(unseen: Unseen) -> Error {
    Error::system("reading back what confines the command", unseen.0)
}

/// The namespaces that a process does not share with the caller; `None` where they are not shown (ptrace(2),
/// `PTRACE_MODE_READ_FSCREDS`).
fn own_namespaces(process: &ObservedProcess) -> Seen<Option<Vec<&'static str>>> {
    let callers = ObservedProcess::read(std::process::id().cast_signed())?.namespaces;
    let mut own = Vec::new();
    for ((name, _), (theirs, callers)) in
        NAMESPACES.iter().zip(process.namespaces.iter().zip(callers))
    {
        match (theirs, callers) {
            // This kernel has none of the kind.
            (_, Err(unseen)) if unseen.is_gone() => {}
            (Ok(theirs), callers) if *theirs == callers? => {}
            (Ok(_), _) => own.push(*name),
            (Err(_), _) => return Ok(None),
        }
    }
    own.sort_unstable();
    Ok(Some(own))
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
        writeln!(f, "  user          {}:{} on the host", self.rights.uids[0], self.rights.gids[0])?;
        writeln!(
            f,
            "  capabilities  effective {}, bounding {}",
            capabilities(self.rights.capabilities.effective),
            capabilities(self.rights.capabilities.bounding)
        )?;
        writeln!(f, "  no_new_privs  {}", yes(self.rights.no_new_privs))?;
        writeln!(
            f,
            "  seccomp       {}",
            if self.rights.is_filtered() { "filter" } else { "none" }
        )?;
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
