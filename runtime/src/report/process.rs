//! What the kernel tells of a process: who it is, what it may, where it is.
//!
//! Promises: all of it is of one process ([`Held`]); what cannot be read is [`Unseen`], never a value. Of several threads
//! the least confined one counts.
//!
//! Reference: proc_pid_status(5), namespaces(7), user_namespaces(7), proc_pid_limits(5).

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::held::{Held, Seen, Unseen};
use super::mounts::Table;
use crate::spec::RlimitType;
use crate::spec::capability::Sets;

/// The namespaces of /proc/PID/ns, and the inodes of the initial ones where these are fixed (`linux/proc_ns.h`; those of
/// net and mnt from Linux 6.18 on).
pub const NAMESPACES: [(&str, u64); 8] = [
    ("user", 0xefff_fffd),
    ("pid", 0xefff_fffc),
    ("mnt", 0xefff_fff8),
    ("net", 0xefff_fff9),
    ("ipc", 0xefff_ffff),
    ("uts", 0xefff_fffe),
    ("cgroup", 0xefff_fffb),
    ("time", 0xefff_fffa),
];

/// The place of a namespace in [`NAMESPACES`].
pub(super) const USER: usize = 0;
pub(super) const PID: usize = 1;
pub(super) const MOUNT: usize = 2;
pub(super) const NETWORK: usize = 3;

/// Namespaces by inode, in the order of [`NAMESPACES`].
pub type Namespaces = [Seen<u64>; 8];

/// Enough for any status, whatever the number of groups (65,536 of ten digits).
const STATUS_BYTES: usize = 1 << 20;
const SMALL_BYTES: usize = 1 << 16;
/// Threads that are looked at.
const MOST_THREADS: usize = 4096;

/// `SECCOMP_MODE_DISABLED` of linux/seccomp.h.
const NO_SECCOMP: u8 = 0;

/// What a process may, as /proc/PID/status shows it to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Real, effective, saved and file system user, as the caller's user namespace sees them.
    pub uids: [u32; 4],
    /// The same of groups.
    pub gids: [u32; 4],
    /// The five sets; of several threads, all of each.
    pub capabilities: Sets,
    /// No execve(2) gains privileges; of several threads, in all of them.
    pub no_new_privs: bool,
    /// 0, 1 strict or 2 filter; of several threads the least.
    pub seccomp: u8,
    /// How many filters (Linux 5.9); of several threads the fewest.
    pub filters: Option<u32>,
}

/// A process: who it is, and where.
#[derive(Debug)]
pub struct ObservedProcess {
    /// In the caller's pid namespace.
    pub pid: i32,
    /// Its pid in its own pid namespace.
    pub pid_inside: i32,
    /// What it calls itself, escaped by the kernel.
    pub name: String,
    /// What it may.
    pub rights: Rights,
    /// Its namespaces.
    pub namespaces: Namespaces,
    /// /proc/PID/cgroup.
    pub cgroup: Seen<String>,
    pub(super) held: Held,
}

/// What is read of a process that is reported on.
#[derive(Debug)]
pub struct Details {
    /// Maps of user ids and group ids: inside, outside, how many.
    pub id_maps: Seen<[Vec<[u32; 3]>; 2]>,
    /// Of a security module; empty where there is none.
    pub label: Seen<String>,
    /// The limits of setrlimit(2): soft and hard, by kind.
    pub rlimits: Seen<Vec<(RlimitType, u64, u64)>>,
    /// How readily the kernel ends it.
    pub oom_score_adj: Seen<i32>,
    /// Whether others of its user may look into its memory; `None` where the kernel does not show it.
    pub dumpable: Option<bool>,
}

impl ObservedProcess {
    /// Reads a process.
    ///
    /// # Errors
    /// It has ended, or what everybody may read of it cannot be read.
    pub fn read(pid: i32) -> Seen<Self> {
        let held = Held::open(pid)?;
        let status = held.text("status", STATUS_BYTES)?;
        if !is_of_a_program(&status) {
            return Err(Unseen(Errno::SRCH));
        }
        let status = Status::parse(&status)?;
        let mut rights = status.rights;
        if status.threads > 1 {
            weaken_to_threads(&held, pid, &mut rights)?;
        }
        let namespaces = namespaces(&held);
        let cgroup = held.text("cgroup", SMALL_BYTES);
        let (pid_inside, name) = (status.pid_inside.unwrap_or(pid), status.name);
        Ok(Self { pid, pid_inside, name, rights, namespaces, cgroup, held })
    }

    /// Whether it still runs.
    pub(super) fn runs(&self) -> bool {
        self.held.text("status", STATUS_BYTES).is_ok_and(|status| is_of_a_program(&status))
    }

    /// Reads the mounts that it has.
    ///
    /// # Errors
    /// They are not shown, or it has ended.
    pub fn mounts(&self) -> Seen<Table> {
        Table::read(&self.held)
    }

    /// Reads the rest of what is told of it.
    #[must_use]
    pub fn details(&self) -> Details {
        let map = |name| self.held.text(name, SMALL_BYTES).and_then(|text| id_map(&text));
        let id_maps = map("uid_map").and_then(|uids| Ok([uids, map("gid_map")?]));
        let label = match self.held.text("attr/current", SMALL_BYTES) {
            // No security module has labels (EINVAL), or the kernel has none at all.
            Err(Unseen(Errno::INVAL | Errno::NOENT | Errno::OPNOTSUPP)) => Ok(String::new()),
            label => label.map(|text| text.trim_end_matches(['\0', '\n']).to_owned()),
        };
        let rlimits = self.held.text("limits", SMALL_BYTES).and_then(|text| rlimits(&text));
        let score = self.held.text("oom_score_adj", SMALL_BYTES);
        let oom_score_adj =
            score.and_then(|text| text.trim().parse().map_err(|_| Unseen::UNEXPECTED));
        Details { id_maps, label, rlimits, oom_score_adj, dumpable: self.dumpable() }
    }

    /// Its files in /proc are root's unless it is dumpable, which says nothing where it is root itself.
    fn dumpable(&self) -> Option<bool> {
        let owner = statat(&self.held, "status", AtFlags::empty()).ok()?.st_uid;
        let user = self.rights.uids[1];
        match (owner == user, user) {
            (false, _) => Some(false),
            (true, 0) => None,
            (true, _) => Some(true),
        }
    }
}

pub(super) fn namespaces(process: &Held) -> Namespaces {
    NAMESPACES.map(|(name, _)| process.inode(&format!("ns/{name}")))
}

/// Whether a status is not of a thread of the kernel, nor of a process that has ended and was not waited for: nothing of
/// these can be taken over.
fn is_of_a_program(status: &str) -> bool {
    status.contains("\nVmSize:")
}

/// The text of a file status.
struct Status {
    name: String,
    pid_inside: Option<i32>,
    threads: usize,
    rights: Rights,
}

impl Status {
    /// One that is not whole is none.
    fn parse(text: &str) -> Seen<Self> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            line.ok_or(Unseen::UNEXPECTED)
        };
        let set = |name| u64::from_str_radix(field(name)?, 16).map_err(|_| Unseen::UNEXPECTED);
        let capabilities = Sets {
            inheritable: set("CapInh")?,
            permitted: set("CapPrm")?,
            effective: set("CapEff")?,
            bounding: set("CapBnd")?,
            ambient: set("CapAmb")?,
        };
        let rights = Rights {
            uids: four(field("Uid")?)?,
            gids: four(field("Gid")?)?,
            capabilities,
            no_new_privs: field("NoNewPrivs")? == "1",
            seccomp: last(field("Seccomp")?)?,
            filters: field("Seccomp_filters").ok().map(last).transpose()?,
        };
        // Kernels without pid namespaces have no such field.
        let pid_inside = field("NSpid").ok().map(last).transpose()?;
        let (name, threads) = (field("Name")?.to_owned(), last(field("Threads")?)?);
        Ok(Self { name, pid_inside, threads, rights })
    }
}

/// Reads the threads of a process, and takes of each right the most that any has.
fn weaken_to_threads(held: &Held, first: i32, rights: &mut Rights) -> Seen<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let tasks = openat(held, "task", flags, Mode::empty())?;
    let mut count = 0;
    for entry in Dir::new(tasks)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Ok(thread) = name.parse::<i32>() else { continue };
        count += 1;
        if count > MOST_THREADS {
            return Err(Unseen::TOO_MUCH);
        }
        if thread == first {
            continue;
        }
        let text = held.text(&format!("task/{name}/status"), STATUS_BYTES);
        match text.and_then(|text| Status::parse(&text)) {
            Ok(status) => rights.weaken_to(&status.rights),
            Err(unseen) if unseen.is_gone() => {}
            Err(unseen) => return Err(unseen),
        }
    }
    Ok(())
}

impl Rights {
    /// Takes of each right the most that this one or another thread has.
    fn weaken_to(&mut self, other: &Self) {
        let (own, others) = (&mut self.capabilities, &other.capabilities);
        own.inheritable |= others.inheritable;
        own.permitted |= others.permitted;
        own.effective |= others.effective;
        own.bounding |= others.bounding;
        own.ambient |= others.ambient;
        self.no_new_privs &= other.no_new_privs;
        self.seccomp = self.seccomp.min(other.seccomp);
        self.filters = self.filters.min(other.filters);
        if other.uids.contains(&0) {
            self.uids = other.uids;
        }
    }

    /// Reads those of the first thread of a process, also of one that has ended and has not been waited for.
    ///
    /// # Errors
    /// There is none.
    pub fn read(pid: i32) -> Seen<Self> {
        Ok(Status::parse(&Held::open(pid)?.text("status", STATUS_BYTES)?)?.rights)
    }

    /// Whether every system call passes a filter.
    #[must_use]
    pub fn is_filtered(&self) -> bool {
        self.seccomp != NO_SECCOMP
    }
}

fn id_map(text: &str) -> Seen<Vec<[u32; 3]>> {
    let line = |line: &str| {
        let mut words = line.split_whitespace().map(str::parse);
        let mut next = || words.next()?.ok();
        Some([next()?, next()?, next()?])
    };
    text.lines().map(|text| line(text).ok_or(Unseen::UNEXPECTED)).collect()
}

/// The names of /proc/PID/limits, by the numbers of the resources.
const RLIMITS: [(&str, RlimitType); 16] = [
    ("Max cpu time", RlimitType::Cpu),
    ("Max file size", RlimitType::Fsize),
    ("Max data size", RlimitType::Data),
    ("Max stack size", RlimitType::Stack),
    ("Max core file size", RlimitType::Core),
    ("Max resident set", RlimitType::Rss),
    ("Max processes", RlimitType::Nproc),
    ("Max open files", RlimitType::Nofile),
    ("Max locked memory", RlimitType::Memlock),
    ("Max address space", RlimitType::As),
    ("Max file locks", RlimitType::Locks),
    ("Max pending signals", RlimitType::Sigpending),
    ("Max msgqueue size", RlimitType::Msgqueue),
    ("Max nice priority", RlimitType::Nice),
    ("Max realtime priority", RlimitType::Rtprio),
    ("Max realtime timeout", RlimitType::Rttime),
];

/// What proc_pid_limits(5) says: soft and hard limits.
pub(crate) fn rlimits(text: &str) -> Seen<Vec<(RlimitType, u64, u64)>> {
    let mut found = Vec::with_capacity(RLIMITS.len());
    for line in text.lines().skip(1) {
        let known = RLIMITS.iter().find_map(|(name, kind)| Some((kind, line.strip_prefix(name)?)));
        let Some((kind, rest)) = known else { continue };
        let mut values = rest.split_whitespace().map(|word| match word {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        });
        let mut value = || values.next().flatten().ok_or(Unseen::UNEXPECTED);
        found.push((*kind, value()?, value()?));
    }
    if found.is_empty() { Err(Unseen::UNEXPECTED) } else { Ok(found) }
}

fn four(value: &str) -> Seen<[u32; 4]> {
    let mut ids = [0; 4];
    let mut words = value.split('\t');
    for id in &mut ids {
        let word = words.next().ok_or(Unseen::UNEXPECTED)?;
        *id = word.parse().map_err(|_| Unseen::UNEXPECTED)?;
    }
    Ok(ids)
}

fn last<N: std::str::FromStr>(value: &str) -> Seen<N> {
    let word = value.rsplit('\t').next().unwrap_or(value);
    word.parse().map_err(|_| Unseen::UNEXPECTED)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\ta\\nb\nUid:\t5\t6\t7\t8\nGid:\t1\t1\t1\t1\nNSpid:\t900\t1\nThreads:\t1\n\
        CapInh:\t0000000000000000\nCapPrm:\t0000000000000020\nCapEff:\t0000000000000020\nCapBnd:\t0000000000000021\n\
        CapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";

    #[test]
    fn a_status_is_read_whole_or_not_at_all() {
        let status = Status::parse(STATUS).unwrap();
        assert_eq!((status.name.as_str(), status.pid_inside), ("a\\nb", Some(1)));
        assert_eq!(status.rights.uids, [5, 6, 7, 8]);
        assert_eq!((status.rights.capabilities.bounding, status.rights.filters), (0x21, Some(3)));
        for line in
            STATUS.lines().filter(|line| !line.starts_with("NSpid") && !line.contains("filters"))
        {
            assert!(Status::parse(&STATUS.replace(&format!("{line}\n"), "")).is_err(), "{line}");
        }
    }

    #[test]
    fn the_least_confined_thread_counts() {
        let mut rights = Status::parse(STATUS).unwrap().rights;
        let other = Status::parse(
            &STATUS.replace("Privs:\t1", "Privs:\t0").replace("Seccomp:\t2", "Seccomp:\t0"),
        );
        rights.weaken_to(&other.unwrap().rights);
        assert!(!rights.no_new_privs && !rights.is_filtered());
    }

    #[test]
    fn the_own_process_is_read() {
        let own = ObservedProcess::read(std::process::id().cast_signed()).unwrap();
        assert!(own.namespaces.iter().take(7).all(Result::is_ok));
        let details = own.details();
        assert_eq!(details.rlimits.unwrap().len(), 16);
        assert!(!details.id_maps.unwrap()[0].is_empty());
        details.oom_score_adj.unwrap();
    }

    #[test]
    fn what_has_ended_is_not_read_although_it_is_held() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let held = Held::open(child.id().cast_signed()).unwrap();
        child.wait().unwrap();
        assert!(held.text("status", STATUS_BYTES).unwrap_err().is_gone());
    }
}
