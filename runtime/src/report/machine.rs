//! The processes of the machine, and which of them are a container.
//!
//! A container is known by its first process: the first one of its pid namespace, or else of its mount namespace. To it
//! belong the processes in its own mount namespace, in its own pid namespace, and, where it has one of these, in its cgroup
//! and those below; each where that is not the host's. Containers that share a pid namespace (a pod's) are told apart by mount namespace and cgroup.
//!
//! Promises: linear in the number of processes; one that ends meanwhile is left out.
//!
//! Reference: pid_namespaces(7), cgroups(7).

use std::collections::BTreeMap;

use super::held::{Held, Seen, Unseen};
use super::process::{MOUNT, NAMESPACES, Namespaces, ObservedProcess, PID, namespaces};

/// Processes that are looked at: the most that a machine can have (`PID_MAX_LIMIT` of linux/threads.h).
const MOST_PROCESSES: usize = 4 << 20;

/// Whose a namespace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The host's: that of its first process, or of whoever looks.
    Hosts,
    /// The container's own, or its pod's.
    Own,
    /// It cannot be known.
    Unknown,
    /// This kernel has none of the kind.
    Absent,
}

/// The processes that there are, and the host's namespaces.
#[derive(Debug)]
pub struct Machine {
    processes: Vec<ObservedProcess>,
    /// How many could not be looked at, or not at where they are.
    pub unread: usize,
    first: Option<Namespaces>,
    own: Namespaces,
    /// The first process of a pid namespace, and of a mount namespace, by place in the list.
    by_pid_namespace: BTreeMap<u64, usize>,
    by_mount_namespace: BTreeMap<u64, usize>,
    /// The first process that is in a cgroup.
    by_cgroup: BTreeMap<String, usize>,
}

/// A container: the places of its processes, the first one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group(pub(super) Vec<usize>);

impl Machine {
    /// Reads every process of /proc.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn read() -> Seen<Self> {
        // The kernel lists them in the order of their numbers.
        let mut pids = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            pids.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
            if pids.len() > MOST_PROCESSES {
                return Err(Unseen::TOO_MUCH);
            }
        }
        let (mut processes, mut unread) = (Vec::with_capacity(pids.len()), 0);
        for pid in pids {
            match ObservedProcess::read(pid) {
                Ok(process) => {
                    unread += usize::from(is_hidden(&process));
                    processes.push(process);
                }
                Err(unseen) if unseen.is_gone() => {}
                Err(_) => unread += 1,
            }
        }
        let own = ObservedProcess::read(std::process::id().cast_signed())?.namespaces;
        let first = of_the_host(&own).into_iter().find_map(|held| {
            let namespaces = namespaces(&held);
            namespaces[MOUNT].is_ok().then_some(namespaces)
        });
        Ok(Self::of(processes, unread, first, own))
    }

    fn of(
        processes: Vec<ObservedProcess>,
        unread: usize,
        first: Option<Namespaces>,
        own: Namespaces,
    ) -> Self {
        let mut machine = Self {
            processes,
            unread,
            first,
            own,
            by_pid_namespace: BTreeMap::new(),
            by_mount_namespace: BTreeMap::new(),
            by_cgroup: BTreeMap::new(),
        };
        for (place, process) in machine.processes.iter().enumerate() {
            if let Ok(inode) = process.namespaces[PID]
                && process.pid_inside == 1
            {
                machine.by_pid_namespace.insert(inode, place);
            }
            if let Ok(inode) = process.namespaces[MOUNT] {
                machine.by_mount_namespace.entry(inode).or_insert(place);
            }
            if let Some(cgroup) = cgroup_of(process) {
                machine.by_cgroup.entry(cgroup.to_owned()).or_insert(place);
            }
        }
        machine
    }

    /// A process by its place in the list.
    pub(super) fn process(&self, place: usize) -> &ObservedProcess {
        &self.processes[place]
    }

    /// The process with this pid.
    #[must_use]
    pub fn find(&self, pid: i32) -> Option<&ObservedProcess> {
        self.place(pid).map(|place| self.process(place))
    }

    fn place(&self, pid: i32) -> Option<usize> {
        self.processes.binary_search_by_key(&pid, |process| process.pid).ok()
    }

    /// Whose the namespace of a process at `index` of [`NAMESPACES`] is.
    #[must_use]
    pub fn whose(&self, process: &ObservedProcess, index: usize) -> Whose {
        let same = |other: &Namespaces, inode| other[index] == Ok(inode);
        match process.namespaces[index] {
            Ok(inode) if NAMESPACES[index].1 == inode || same(&self.own, inode) => Whose::Hosts,
            Ok(inode) => match &self.first {
                Some(first) if same(first, inode) => Whose::Hosts,
                Some(first) if first[index].is_ok() => Whose::Own,
                // Neither is seen whose the host's is: it may be this one.
                _ if same(&self.own, NAMESPACES[index].1) => Whose::Own,
                _ => Whose::Unknown,
            },
            Err(unseen) if unseen.is_gone() && self.own[index].is_err() => Whose::Absent,
            Err(_) => Whose::Unknown,
        }
    }

    fn is_own(&self, process: &ObservedProcess, index: usize) -> bool {
        self.whose(process, index) == Whose::Own
    }

    /// Whether a process is the first of a pid namespace of its own: engines give such a one a cgroup of its own too, while
    /// one with nothing but mounts of its own may share it with whoever has started it.
    fn is_init(&self, process: &ObservedProcess) -> bool {
        self.is_own(process, PID) && process.pid_inside == 1
    }

    /// The place of the first process of the container that a process belongs to; `None` for one of the host's.
    fn first_of(&self, place: usize) -> Option<usize> {
        let process = self.process(place);
        let mut found = None;
        if self.is_own(process, PID)
            && let Ok(inode) = process.namespaces[PID]
            && let Some(init) = self.by_pid_namespace.get(&inode)
            && self.is_of(process, self.process(*init))
        {
            found = Some(*init);
        } else if self.is_own(process, MOUNT)
            && let Ok(inode) = process.namespaces[MOUNT]
            && let Some(first) = self.by_mount_namespace.get(&inode)
        {
            found = Some(*first);
        } else if self.is_own(process, PID)
            && let Ok(inode) = process.namespaces[PID]
        {
            // Its first process has ended, or is not seen.
            found = Some(self.by_pid_namespace.get(&inode).copied().unwrap_or(place));
        } else if let Some(first) = self.first_in_cgroup(process) {
            found = Some(first);
        }
        found
    }

    /// The first process in the cgroup of a process, or in the nearest above, where that is a container's.
    fn first_in_cgroup(&self, process: &ObservedProcess) -> Option<usize> {
        let mut cgroup = cgroup_of(process)?;
        loop {
            if let Some(first) = self.by_cgroup.get(cgroup)
                && self.is_init(self.process(*first))
            {
                return Some(*first);
            }
            let (above, _) = cgroup.rsplit_once('/')?;
            if above.ends_with(':') {
                return None;
            }
            cgroup = above;
        }
    }

    /// Whether a process belongs to the container whose first process is `first`.
    fn is_of(&self, process: &ObservedProcess, first: &ObservedProcess) -> bool {
        let same = |index: usize| {
            process.namespaces[index].is_ok()
                && process.namespaces[index] == first.namespaces[index]
        };
        if process.pid == first.pid || self.is_own(first, MOUNT) && same(MOUNT) {
            return true;
        }
        if let (Some(cgroup), Some(of_first)) = (cgroup_of(process), self.own_cgroup(first)) {
            if cgroup
                .strip_prefix(of_first)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            {
                return true;
            }
            // One with mounts of its own, elsewhere, is another container of the same pod.
            return self.is_own(first, PID) && same(PID) && !self.is_own(process, MOUNT);
        }
        self.is_own(first, PID) && same(PID)
    }

    /// The cgroup of a container's first process, where no process of the host's was in it before.
    fn own_cgroup<'p>(&self, first: &'p ObservedProcess) -> Option<&'p str> {
        let cgroup = cgroup_of(first)?;
        let earliest = self.by_cgroup.get(cgroup).map(|place| self.process(*place));
        earliest
            .filter(|earliest| self.is_init(earliest) && self.is_own(first, PID))
            .map(|_| cgroup)
    }

    /// The container that a process belongs to; where it is one of the host's, that process alone.
    #[must_use]
    pub fn container_of(&self, pid: i32) -> Option<Group> {
        let place = self.place(pid)?;
        Some(self.group(self.first_of(place).unwrap_or(place)))
    }

    /// The container whose first process is the one with this pid.
    #[must_use]
    pub fn container_from(&self, pid: i32) -> Option<Group> {
        self.place(pid).map(|place| self.group(place))
    }

    fn group(&self, first: usize) -> Group {
        let process = self.process(first);
        let others = (0..self.processes.len()).filter(|place| *place != first);
        let others = others.filter(|place| self.is_of(self.process(*place), process));
        Group(std::iter::once(first).chain(others).collect())
    }

    /// Every container, each process in one of them: the innermost.
    #[must_use]
    pub fn containers(&self) -> Vec<Group> {
        let mut found = vec![Vec::new(); self.processes.len()];
        for place in 0..self.processes.len() {
            if let Some(first) = self.first_of(place) {
                found[first].push(place);
            }
        }
        let groups = found.into_iter().enumerate().filter(|(_, places)| !places.is_empty());
        groups
            .map(|(first, mut places)| {
                places.retain(|place| *place != first);
                places.insert(0, first);
                Group(places)
            })
            .collect()
    }
}

/// Whether it is not shown where a process is, so that it may be in any container.
fn is_hidden(process: &ObservedProcess) -> bool {
    process.namespaces[MOUNT].is_err_and(|unseen| !unseen.is_gone())
}

/// Processes that are in the host's namespaces: the first one, and the kernel's own first thread, which may be shown where
/// the other is not. In another pid namespace than the initial one its pid is anybody's.
pub(super) fn of_the_host(own: &Namespaces) -> Vec<Held> {
    let is_initial = own[PID] == Ok(NAMESPACES[PID].1);
    let pids = if is_initial { &[1, 2][..] } else { &[1] };
    pids.iter().filter_map(|pid| Held::open(*pid).ok()).collect()
}

/// The cgroup by which a container is known, with its hierarchy before it: v2's, or that of v1 which counts processes.
/// `None` for the root, which tells nothing.
pub(super) fn cgroup_of(process: &ObservedProcess) -> Option<&str> {
    const TELLING: [&str; 2] = ["::/", ":pids:/"];
    let text = process.cgroup.as_deref().ok()?;
    let of = |hierarchy: &str| {
        let line = text.lines().find(|line| line.contains(hierarchy))?;
        // Without the number of the hierarchy.
        let (_, rest) = line.split_once(':')?;
        (!rest.ends_with(":/") && !rest.contains("/..")).then_some(rest)
    };
    TELLING.into_iter().find_map(of)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// A process in these pid and mount namespaces (1 is the host's), with this cgroup.
    fn process(
        pid: i32,
        inside: i32,
        pid_namespace: u64,
        mounts: u64,
        cgroup: &str,
    ) -> ObservedProcess {
        let own = ObservedProcess::read(std::process::id().cast_signed()).unwrap();
        let mut namespaces = [Ok(1); 8];
        (namespaces[PID], namespaces[MOUNT]) = (Ok(pid_namespace), Ok(mounts));
        let held = Held::open(own.pid).unwrap();
        let cgroup = Ok(format!("0::{cgroup}\n"));
        ObservedProcess { pid, pid_inside: inside, namespaces, cgroup, held, ..own }
    }

    fn machine(mut processes: Vec<ObservedProcess>) -> Machine {
        processes.insert(0, process(1, 1, 1, 1, "/init.scope"));
        Machine::of(processes, 0, Some([Ok(1); 8]), [Ok(1); 8])
    }

    fn pids(machine: &Machine, group: &Group) -> Vec<i32> {
        group.0.iter().map(|place| machine.process(*place).pid).collect()
    }

    #[test]
    fn who_came_in_from_outside_belongs_to_it_by_each_sign() {
        let machine = machine(vec![
            process(10, 10, 1, 1, "/shell"),
            process(20, 1, 2, 2, "/box"),
            process(21, 2, 2, 2, "/box/below"),
            process(22, 22, 1, 2, "/shell"),
            process(23, 3, 2, 1, "/shell"),
            process(24, 24, 1, 1, "/box"),
            process(25, 25, 1, 1, "/boxes"),
        ]);
        let group = machine.container_from(20).unwrap();
        assert_eq!(pids(&machine, &group), [20, 21, 22, 23, 24]);
        for pid in [21, 22, 23, 24] {
            assert_eq!(machine.container_of(pid).unwrap(), group, "{pid}");
        }
        assert_eq!(machine.containers(), [group]);
        assert_eq!(pids(&machine, &machine.container_of(25).unwrap()), [25]);
    }

    #[test]
    fn containers_of_a_pod_are_told_apart() {
        let machine = machine(vec![
            process(20, 1, 2, 2, "/pod/pause"),
            process(30, 2, 2, 3, "/pod/app"),
            process(31, 3, 2, 3, "/pod/app"),
            process(40, 4, 2, 4, "/pod/side"),
        ]);
        let containers: Vec<_> =
            machine.containers().iter().map(|group| pids(&machine, group)).collect();
        assert_eq!(containers, [vec![20], vec![30, 31], vec![40]]);
    }

    #[test]
    fn a_cgroup_that_was_the_hosts_before_tells_nothing() {
        let machine = machine(vec![
            process(10, 10, 1, 1, "/session"),
            process(20, 1, 2, 2, "/session"),
            process(30, 30, 1, 1, "/session"),
        ]);
        assert_eq!(pids(&machine, &machine.container_of(20).unwrap()), [20]);
        assert_eq!(machine.containers().len(), 1);
    }

    #[test]
    fn a_namespace_is_nobodys_where_the_hosts_is_not_seen() {
        let denied = Err(Unseen(rustix::io::Errno::ACCESS));
        let other = process(20, 1, 2, 2, "/x");
        let machine = Machine::of(vec![], 0, Some([denied; 8]), [Ok(1); 8]);
        assert_eq!(machine.whose(&other, PID), Whose::Unknown);
        let initial = NAMESPACES.map(|(_, inode)| Ok(inode));
        let machine = Machine::of(vec![], 0, None, initial);
        assert_eq!(machine.whose(&other, PID), Whose::Own);
    }
}
