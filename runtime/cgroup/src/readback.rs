//! What a cgroup of anybody's has in force, for who reports on it.
//!
//! Promises: a limit of a cgroup above counts, as it does for the kernel; a controller that is not there limits nothing.
//! Must never write, nor be the ground for acting on the cgroup: it is found by path.
//!
//! Reference: the kernel's admin-guide/cgroup-v2.rst and cgroup-v1.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::facts::{Mounted, Place};
use super::{Error, file};

/// A limit; `u64::MAX` where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// That of the cgroup itself.
    pub own: u64,
    /// The least of its own and those of the cgroups above.
    pub in_force: u64,
}

impl Bound {
    const NONE: Bound = Bound { own: u64::MAX, in_force: u64::MAX };
}

/// What decides about devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceControl {
    /// The list of v1, a rule in each line.
    List(Vec<String>),
    /// So many BPF programs, on v2: what they allow cannot be read.
    Programs(u32),
    /// It cannot be known: no hierarchy with devices is mounted, or the kernel does not say.
    Unknown,
}

/// Limits and use of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readback {
    /// Its path, in v2 or else in the hierarchy that counts processes.
    pub path: PathBuf,
    /// Bytes of memory.
    pub memory: Bound,
    /// Bytes of swap; `None` where the kernel does not account for it.
    pub swap: Option<Bound>,
    /// Tasks.
    pub pids: Bound,
    /// Processors, in thousandths.
    pub cpu: Bound,
    /// Limits of input and output, a device in each.
    pub io: Vec<String>,
    /// Bytes of memory in use.
    pub memory_used: u64,
    /// Tasks that there are.
    pub pids_used: u64,
    /// Microseconds of processor time used.
    pub cpu_used_us: u64,
    /// Bytes read and written.
    pub io_used: u64,
    /// What decides about devices.
    pub devices: DeviceControl,
}

/// v1 rounds "no limit" down to pages.
const V1_UNLIMITED: u64 = i64::MAX as u64 & !0xffff;

impl Readback {
    /// Reads what holds for a process that has this `/proc/PID/cgroup`.
    ///
    /// # Errors
    /// The text is not understood, no hierarchy shows the cgroup, or it is gone.
    pub fn of(membership: &str, mounted: &Mounted) -> Result<Readback, Error> {
        let places = mounted.places(membership)?;
        let v1 = |controller: &str| {
            places.iter().find(|place| place.controllers.iter().any(|name| name == controller))
        };
        let v2 = places.iter().find(|place| place.controllers.is_empty());
        let of =
            |controller: &str| v1(controller).map(|place| (place, true)).or(Some((v2?, false)));
        let shown = v2.filter(|place| !place.path.is_empty()).or_else(|| v1("pids")).or(v2);
        let shown = shown.ok_or_else(|| Error::Layout {
            problem: "no mounted cgroup file system shows the cgroup of the process".into(),
        })?;
        // Without it every limit would look as if there were none.
        let path = shown.directory();
        std::fs::metadata(&path).map_err(|source| Error::call("stat", &path, source))?;
        let (memory, swap, memory_used) = memory(of("memory"))?;
        let (pids, pids_used) = match of("pids") {
            Some((place, _)) => (place.bound(limit("pids.max"))?, place.number("pids.current")?),
            None => (Bound::NONE, 0),
        };
        let (io, io_used) = input_output(of("blkio"))?;
        Ok(Readback {
            path,
            memory,
            swap,
            pids,
            cpu: of("cpu").map_or(Ok(Bound::NONE), |(place, is_v1)| {
                place.bound(if is_v1 { quota_v1 } else { quota })
            })?,
            io,
            memory_used,
            pids_used,
            cpu_used_us: match (v1("cpuacct"), v2) {
                (Some(place), _) => place.number("cpuacct.usage")? / 1000,
                (None, Some(place)) => place.keyed("cpu.stat", "usage_usec ")?,
                (None, None) => 0,
            },
            io_used,
            devices: devices(v1("devices"), v2),
        })
    }
}

/// Memory, swap, and memory in use.
fn memory(of: Option<(&Place, bool)>) -> Result<(Bound, Option<Bound>, u64), Error> {
    let Some((place, is_v1)) = of else { return Ok((Bound::NONE, None, 0)) };
    if !is_v1 {
        let swap = place.text("memory.swap.max")?.is_some();
        let swap = swap.then(|| place.bound(limit("memory.swap.max"))).transpose()?;
        let memory = place.bound(limit("memory.max"))?;
        return Ok((memory, swap, place.number("memory.current")?));
    }
    const BOTH: &str = "memory.memsw.limit_in_bytes";
    let memory = place.bound(limit("memory.limit_in_bytes"))?;
    let swap = match place.text(BOTH)? {
        None => None,
        Some(_) => {
            let both = place.bound(limit(BOTH))?;
            let less = |both: u64, memory: u64| match both {
                u64::MAX => u64::MAX,
                both => both.saturating_sub(memory),
            };
            let (own, in_force) =
                (less(both.own, memory.own), less(both.in_force, memory.in_force));
            Some(Bound { own, in_force })
        }
    };
    Ok((memory, swap, place.number("memory.usage_in_bytes")?))
}

fn input_output(of: Option<(&Place, bool)>) -> Result<(Vec<String>, u64), Error> {
    let Some((place, is_v1)) = of else { return Ok((Vec::new(), 0)) };
    let lines = |file: &str| {
        let text = place.text(file)?.unwrap_or_default();
        Ok::<_, Error>(text.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    if is_v1 {
        let mut limits = Vec::new();
        for what in ["read_bps", "write_bps", "read_iops", "write_iops"] {
            let found = lines(&format!("blkio.throttle.{what}_device"))?;
            limits.extend(found.into_iter().map(|line| format!("{what} {line}")));
        }
        return Ok((limits, place.keyed("blkio.throttle.io_service_bytes", "Total ")?));
    }
    let mut used = 0;
    for line in lines("io.stat")? {
        let values = line.split(' ').filter_map(|word| {
            word.strip_prefix("rbytes=")
                .or_else(|| word.strip_prefix("wbytes="))?
                .parse::<u64>()
                .ok()
        });
        used += values.sum::<u64>();
    }
    Ok((lines("io.max")?, used))
}

fn devices(v1: Option<&Place>, v2: Option<&Place>) -> DeviceControl {
    if let Some(place) = v1 {
        return match place.text("devices.list") {
            Ok(Some(text)) => DeviceControl::List(text.lines().map(str::to_owned).collect()),
            _ => DeviceControl::Unknown,
        };
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let count = v2.and_then(|place| {
        let directory = openat(CWD, place.directory(), flags, Mode::empty()).ok()?;
        brig_sys::bpf::device_programs_in_force(std::os::fd::AsFd::as_fd(&directory)).ok()
    });
    count.map_or(DeviceControl::Unknown, DeviceControl::Programs)
}

/// The limit in a file with one number.
fn limit(file: &'static str) -> impl Fn(&Path) -> io::Result<Option<u64>> {
    move |directory| {
        let Some(text) = read_if_there(&directory.join(file))? else { return Ok(None) };
        match text.trim() {
            "max" => Ok(None),
            number => number
                .parse()
                .map(|bound| (bound < V1_UNLIMITED).then_some(bound))
                .map_err(io::Error::other),
        }
    }
}

fn quota(directory: &Path) -> io::Result<Option<u64>> {
    let Some(text) = read_if_there(&directory.join("cpu.max"))? else { return Ok(None) };
    let mut words = text.split_whitespace();
    Ok(thousandths(words.next(), words.next()))
}

fn quota_v1(directory: &Path) -> io::Result<Option<u64>> {
    let read = |name: &str| read_if_there(&directory.join(name));
    let (quota, period) = (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?);
    Ok(thousandths(quota.as_deref(), period.as_deref()))
}

/// `None` for "max" and -1.
fn thousandths(quota: Option<&str>, period: Option<&str>) -> Option<u64> {
    let number = |text: Option<&str>| text?.trim().parse::<u64>().ok();
    (number(quota)?).saturating_mul(1000).checked_div(number(period)?)
}

/// Absent, as controllers are in the root and where they are switched off.
fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match file::read_at(CWD, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        answer => answer.map(Some),
    }
}

impl Place {
    fn directory(&self) -> PathBuf {
        // Joined with nothing it would end in a slash.
        if self.path.is_empty() { self.mount.clone() } else { self.mount.join(&self.path) }
    }

    fn text(&self, file: &str) -> Result<Option<String>, Error> {
        let path = self.directory().join(file);
        read_if_there(&path).map_err(|source| Error::call("read", &path, source))
    }

    fn number(&self, file: &str) -> Result<u64, Error> {
        Ok(self.text(file)?.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
    }

    fn keyed(&self, file: &str, key: &str) -> Result<u64, Error> {
        let text = self.text(file)?.unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
        Ok(value.unwrap_or(0))
    }

    fn bound(&self, of: impl Fn(&Path) -> io::Result<Option<u64>>) -> Result<Bound, Error> {
        let mut directory = self.directory();
        let mut bound = Bound::NONE;
        loop {
            let limit = of(&directory).map_err(|e| Error::call("read", &directory, e))?;
            let limit = limit.unwrap_or(u64::MAX);
            if directory == self.directory() {
                bound.own = limit;
            }
            bound.in_force = bound.in_force.min(limit);
            if directory == self.mount || !directory.pop() {
                return Ok(bound);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_those_above_is_in_force() {
        let mount = std::env::temp_dir().join(format!("brig-readback-{}", std::process::id()));
        let inner = mount.join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let write = |path: &str, text: &str| std::fs::write(mount.join(path), text).unwrap();
        write("a/pids.max", "20\n");
        write("a/b/pids.max", "max\n");
        write("a/memory.limit_in_bytes", "9223372036854771712\n");
        write("a/b/cpu.max", "50000 100000\n");
        write("a/b/io.stat", "8:0 rbytes=5 wbytes=6 rios=1\n8:16 rbytes=1 wbytes=0\n");
        let place = Place { controllers: vec![], mount: mount.clone(), path: "a/b".into() };
        assert_eq!(place.bound(limit("pids.max")).unwrap(), Bound { own: u64::MAX, in_force: 20 });
        assert_eq!(place.bound(quota).unwrap(), Bound { own: 500, in_force: 500 });
        assert_eq!(place.bound(limit("memory.limit_in_bytes")).unwrap(), Bound::NONE);
        assert_eq!(place.bound(limit("memory.max")).unwrap(), Bound::NONE);
        assert_eq!(input_output(Some((&place, false))).unwrap().1, 12);
        std::fs::remove_dir_all(&mount).unwrap();
    }

    #[test]
    fn no_limit_is_none_in_whatever_words() {
        assert_eq!(thousandths(Some("max"), Some("100000")), None);
        assert_eq!(thousandths(Some("-1\n"), Some("100000\n")), None);
        assert_eq!(thousandths(Some("150000"), Some("100000")), Some(1500));
    }

    #[test]
    fn the_own_cgroup_is_found() {
        let membership = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let found = Readback::of(&membership, &Mounted::read().unwrap()).unwrap();
        assert!(found.path.is_absolute());
        for wrong in ["0::/../x\n", "0::/no/such/hierarchy/below/../x\n"] {
            Readback::of(wrong, &Mounted::default()).unwrap_err();
        }
    }
}
