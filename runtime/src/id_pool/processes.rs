//! Which ids the processes of the machine have, or could become.
//!
//! A process that is in a user namespace tells by that namespace's maps, as brig's own sees them: it has an id of these,
//! or is about to. Any other tells by its ids. Threads need not be looked at one by one: those of a process are in one user
//! namespace (user_namespaces(7)), and the ids of a thread that has set its own are a program's own doing.

use std::io;

use brig_pseudofs::small_file;

use super::reserved::Ranges;

/// Of all processes that this procfs shows.
pub(super) fn ranges() -> io::Result<Ranges> {
    let mut ranges = Ranges::default();
    let own = small_file::read("/proc/self/uid_map")?;
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        match of_process(pid, &own, &mut ranges) {
            Err(error) if !has_ended(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(ranges)
}

fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

fn of_process(pid: u32, own: &[u8], ranges: &mut Ranges) -> io::Result<()> {
    let users = small_file::read(format!("/proc/{pid}/uid_map"))?;
    let is_mapped = users != own && {
        let groups = small_file::read(format!("/proc/{pid}/gid_map"))?;
        let maps = [users, groups].map(|map| add_map(&String::from_utf8_lossy(&map), ranges));
        maps == [true, true]
    };
    if !is_mapped {
        let status = small_file::read(format!("/proc/{pid}/status"))?;
        add_ids(&String::from_utf8_lossy(&status), ranges);
    }
    Ok(())
}

/// The second and third number of each line: the first id outside, and how many there are. Where the ids are the host's own
/// (systemd's `PrivateUsers=full`) a process has no more to do with them than one of the host, and this is false.
fn add_map(map: &str, ranges: &mut Ranges) -> bool {
    let mut is_mapped = true;
    for line in map.lines() {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        match (next(), next(), next()) {
            (Some(inside), Some(outside), _) if inside == outside => is_mapped = false,
            (_, Some(outside), Some(count)) => ranges.add(outside, count),
            _ => is_mapped = false,
        }
    }
    is_mapped
}

/// Real, effective, saved and file system ids, and additional groups (proc_pid_status(5)).
fn add_ids(status: &str, ranges: &mut Ranges) {
    let lines = status.lines().filter_map(|line| {
        let (name, ids) = line.split_once(':')?;
        matches!(name, "Uid" | "Gid" | "Groups").then_some(ids)
    });
    let ids = lines.flat_map(str::split_ascii_whitespace);
    for id in ids.filter_map(|id| id.parse().ok()).filter(|id| *id >= crate::policy::RANGE_IDS) {
        ranges.add(id, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(add: impl FnOnce(&mut Ranges)) -> Vec<u32> {
        let mut ranges = Ranges::default();
        add(&mut ranges);
        (0..=65_535).filter(|range| ranges.overlaps(*range)).collect()
    }

    #[test]
    fn maps_tell_what_their_processes_may_become() {
        let map = "         0  131072      65536\n     65536  327680  1\n";
        assert_eq!(found(|ranges| assert!(add_map(map, ranges))), [2, 5]);
        let identity = "0 0 1\n1 1 4294967294\n";
        assert!(found(|ranges| assert!(!add_map(identity, ranges))).is_empty());
    }

    #[test]
    fn ids_of_the_host_tell_by_themselves() {
        let status = "Name:\tx\nUid:\t0\t131072\t5\t6\nGid:\t1\t1\t1\t1\nGroups:\t7 262144 \n";
        assert_eq!(found(|ranges| add_ids(status, ranges)), [2, 4]);
    }

    #[test]
    fn all_processes_can_be_looked_at() {
        let ranges = ranges().expect("a procfs");
        // Nobody has these.
        assert!(!ranges.overlaps(65_535));
    }
}
