//! The host's cgroup layout, as the planner needs it.
//!
//! Promises: reads as little as it can (on a unified host two small files; on v1
//! `/proc/self/mountinfo` only up to the last hierarchy), and never guesses: a
//! hierarchy whose mount does not show brig's own cgroup is left out.
//! Reference: cgroups(7), proc_pid_mountinfo(5).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use brig_pseudofs::{mountinfo, small_file};
use rustix::fs::{Access, AtFlags, CWD, accessat, statfs};
use serde::{Deserialize, Serialize};

use super::{Driver, Error, file};

/// Where the cgroup file systems are by convention (systemd, cgroups(7)).
const ROOT: &str = "/sys/fs/cgroup";
/// Where systemd mounts v2 beside v1.
const HYBRID: &str = "/sys/fs/cgroup/unified";
/// `CGROUP2_SUPER_MAGIC` in linux/magic.h.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// The host's cgroup layout. It does not change while the host runs, so a
/// long-lived process may read it once; only `own` is of the process itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupFacts {
    /// Which hierarchies there are.
    pub layout: Layout,
}

fn within(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

fn may_make_in(directory: &Path) -> bool {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    accessat(CWD, directory, access, AtFlags::EACCESS).is_ok()
}

/// The cgroup of the systemd of the user in whose session, or service, this cgroup is (user@.service(5)).
fn users_manager(own: &str) -> Option<String> {
    let mut path = String::new();
    for name in own.split('/').filter(|name| !name.is_empty()) {
        path = format!("{path}/{name}");
        let user = name.strip_prefix("user-").and_then(|name| name.strip_suffix(".slice"));
        if let Some(user) = user {
            return Some(format!("{path}/user@{user}.service"));
        }
    }
    None
}

/// The kinds of cgroup layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Layout {
    /// cgroup v2 alone.
    Unified(Unified),
    /// cgroup v1; with `unified`, the hybrid layout.
    Legacy {
        /// The mounted v1 hierarchies, in the order of `/proc/self/cgroup` reversed (by id).
        hierarchies: Vec<Hierarchy>,
        /// The v2 hierarchy beside them, which has the controllers that v1 does not hold.
        unified: Option<Unified>,
    },
}

/// A mounted cgroup v2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unified {
    /// The mount point.
    pub mount: PathBuf,
    /// brig's own cgroup as a path from the mount point, starting with `/`.
    pub own: String,
    /// The controllers in `cgroup.controllers` of the mount point.
    pub controllers: Vec<String>,
}

/// A mounted cgroup v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// Its controllers, or its one name such as `name=systemd`.
    pub controllers: Vec<String>,
    /// The mount point.
    pub mount: PathBuf,
    /// brig's own cgroup as a path from the mount point, starting with `/`.
    pub own: String,
}

impl CgroupFacts {
    /// Whether an ordinary caller can give a container a limit of this controller: below its own cgroup, or where its user's
    /// systemd makes it. Of what is asked for elsewhere the kernel decides.
    #[must_use]
    pub fn can_limit(&self, controller: &str, driver: Driver) -> bool {
        let (unified, legacy) = match &self.layout {
            Layout::Unified(unified) => (Some(unified), &[][..]),
            Layout::Legacy { hierarchies, unified } => (unified.as_ref(), &hierarchies[..]),
        };
        let is = |name: &String| name == controller;
        if let Some(own) = legacy.iter().find(|one| one.controllers.iter().any(is)) {
            return driver == Driver::Fs && may_make_in(&within(&own.mount, &own.own));
        }
        let Some(unified) = unified.filter(|unified| unified.controllers.iter().any(is)) else {
            return false;
        };
        let lists = |directory: &Path, name: &str| {
            let text = small_file::read_text(directory.join(name)).unwrap_or_default();
            text.split_ascii_whitespace().any(|word| word == controller)
        };
        if driver == Driver::Systemd {
            return users_manager(&unified.own)
                .is_some_and(|path| lists(&within(&unified.mount, &path), "cgroup.controllers"));
        }
        let own = within(&unified.mount, &unified.own);
        // A cgroup with processes in it passes nothing on that it does not already (cgroups(7), "no internal processes").
        let is_empty =
            small_file::read_text(own.join("cgroup.procs")).is_ok_and(|all| all.is_empty());
        may_make_in(&own)
            && (lists(&own, "cgroup.subtree_control")
                || is_empty && lists(&own, "cgroup.controllers"))
    }

    /// Reads the layout of the host from `/proc/self` and `/sys/fs/cgroup`.
    ///
    /// # Errors
    /// [`Error::Layout`] when no usable cgroup file system is mounted,
    /// [`Error::Call`] when a file cannot be read.
    pub fn read() -> Result<CgroupFacts, Error> {
        let membership = Membership::parse(&file::read("/proc/self/cgroup")?)?;
        let magic = |path: &str| {
            let found = statfs(path).ok();
            found.and_then(|found| u64::try_from(found.f_type).ok())
        };
        // A v1 hierarchy that somebody mounts elsewhere (a VPN its net_cls) changes nothing.
        if magic(ROOT) == Some(CGROUP2_SUPER_MAGIC) {
            return Ok(CgroupFacts { layout: Layout::Unified(unified_at_root(&membership)?) });
        }
        // Every process has a place in v2, also where it is not mounted: then do not look for it.
        let hybrid = magic(HYBRID) == Some(CGROUP2_SUPER_MAGIC);
        let mounts = read_mounts(&membership, hybrid)?;
        CgroupFacts::from_parts(&membership, &mounts, |mount| {
            file::read(mount.join("cgroup.controllers")).map(|text| split(&text))
        })
    }

    /// The layout from parsed membership and mounts; `controllers` reads what a v2 mount offers.
    fn from_parts(
        membership: &Membership,
        mounts: &[Mount],
        controllers: impl Fn(&Path) -> Result<Vec<String>, Error>,
    ) -> Result<CgroupFacts, Error> {
        let unified = match &membership.unified {
            Some(own) => mounts
                .iter()
                .filter(|mount| mount.kind == MountKind::Unified)
                .find_map(|mount| Some((mount, below(own, &mount.root)?)))
                .map(|(mount, own)| {
                    let controllers = controllers(&mount.point)?;
                    Ok(Unified { mount: mount.point.clone(), own, controllers })
                })
                .transpose()?,
            None => None,
        };
        let hierarchies: Vec<Hierarchy> =
            membership.legacy.iter().filter_map(|entry| entry.mounted(mounts)).collect();
        match (hierarchies.is_empty(), unified) {
            (false, unified) => Ok(CgroupFacts { layout: Layout::Legacy { hierarchies, unified } }),
            (true, Some(unified)) => Ok(CgroupFacts { layout: Layout::Unified(unified) }),
            (true, None) => Err(Error::Layout {
                problem: "no mounted cgroup file system shows brig's own cgroup".into(),
            }),
        }
    }

    /// The layout from the texts of `/proc/self/cgroup`, mountinfo, and any `cgroup.controllers`.
    #[cfg(any(feature = "fuzz", fuzzing))]
    pub fn from_texts(
        cgroup: &str,
        mountinfo: &str,
        controllers: &str,
    ) -> Result<CgroupFacts, Error> {
        let mounts: Vec<Mount> = Mount::all(mountinfo).collect();
        CgroupFacts::from_parts(&Membership::parse(cgroup)?, &mounts, |_| Ok(split(controllers)))
    }

    /// `v1`, `hybrid` or `v2`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.layout {
            Layout::Unified(_) => "v2",
            Layout::Legacy { unified: Some(_), .. } => "hybrid",
            Layout::Legacy { unified: None, .. } => "v1",
        }
    }
}

fn unified_at_root(membership: &Membership) -> Result<Unified, Error> {
    let own = membership.unified.clone().ok_or_else(|| Error::Layout {
        problem: "/proc/self/cgroup has no entry for cgroup v2".into(),
    })?;
    if own.split('/').any(|part| part == "..") {
        return Err(Error::Layout {
            problem: format!("brig's own cgroup {own} is outside its cgroup namespace"),
        });
    }
    let controllers = split(&file::read(format!("{ROOT}/cgroup.controllers"))?);
    Ok(Unified { mount: ROOT.into(), own, controllers })
}

/// The lines of `/proc/PID/cgroup`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) unified: Option<String>,
    pub(crate) legacy: Vec<LegacyEntry>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LegacyEntry {
    pub(crate) controllers: Vec<String>,
    pub(crate) path: String,
}

impl Membership {
    pub(crate) fn parse(text: &str) -> Result<Membership, Error> {
        let mut membership = Membership { unified: None, legacy: Vec::new() };
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(id), Some(names), Some(path)) = (parts.next(), parts.next(), parts.next())
            else {
                return Err(Error::Layout {
                    problem: format!("/proc/self/cgroup: malformed line {line:?}"),
                });
            };
            if !path.starts_with('/') {
                let problem = format!("/proc/self/cgroup: relative path in {line:?}");
                return Err(Error::Layout { problem });
            }
            if id == "0" && names.is_empty() {
                membership.unified = Some(path.to_owned());
            } else {
                let controllers = names.split(',').map(str::to_owned).collect();
                membership.legacy.push(LegacyEntry { controllers, path: path.to_owned() });
            }
        }
        membership.legacy.reverse();
        Ok(membership)
    }
}

impl LegacyEntry {
    fn mounted(&self, mounts: &[Mount]) -> Option<Hierarchy> {
        let (mount, own) = mounts
            .iter()
            .filter(|mount| mount.holds(self))
            .find_map(|mount| Some((mount, below(&self.path, &mount.root)?)))?;
        Some(Hierarchy { controllers: self.controllers.clone(), mount: mount.point.clone(), own })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum MountKind {
    Unified,
    Legacy { options: Vec<String> },
}

/// A cgroup mount of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    root: String,
    point: PathBuf,
    kind: MountKind,
}

impl Mount {
    /// None where it is no cgroup file system.
    fn of(mount: mountinfo::Mount<'_>) -> Option<Mount> {
        let kind = match mount.kind {
            "cgroup2" => MountKind::Unified,
            "cgroup" => {
                MountKind::Legacy { options: mount.super_options().map(str::to_owned).collect() }
            }
            _ => return None,
        };
        let root = mount.root().into_os_string().into_string().ok()?;
        Some(Mount { root, point: mount.point(), kind })
    }

    /// All in a table.
    fn all(table: &str) -> impl Iterator<Item = Mount> {
        mountinfo::Mount::all(table).filter_map(Mount::of)
    }

    fn holds(&self, entry: &LegacyEntry) -> bool {
        match &self.kind {
            MountKind::Unified => false,
            MountKind::Legacy { options } => {
                entry.controllers.iter().all(|name| options.contains(name))
            }
        }
    }
}

/// The hierarchies that the caller sees mounted, for who asks where the cgroups of other processes are.
#[derive(Debug, Default)]
pub struct Mounted(Vec<Mount>);

/// The cgroup of a process in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Empty in v2, where the cgroup's own files say it.
    pub(crate) controllers: Vec<String>,
    /// Where the hierarchy is mounted.
    pub(crate) mount: PathBuf,
    /// The cgroup below that, without a slash before it.
    pub(crate) path: String,
}

impl Mounted {
    /// Reads `/proc/self/mountinfo`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read() -> Result<Mounted, Error> {
        const PATH: &str = "/proc/self/mountinfo";
        let bytes = small_file::read(PATH).map_err(|source| Error::call("read", PATH, source))?;
        Ok(Mounted(Mount::all(&String::from_utf8_lossy(&bytes)).collect()))
    }

    /// Where a process is that has this `/proc/PID/cgroup`; a hierarchy that is not mounted, or whose mount does not show
    /// the cgroup, is left out.
    pub(crate) fn places(&self, membership: &str) -> Result<Vec<Place>, Error> {
        let membership = Membership::parse(membership)?;
        let place = |controllers: &[String], mount: &Mount, path: &str| {
            let path = below(path, &mount.root)?.trim_start_matches('/').to_owned();
            Some(Place { controllers: controllers.to_vec(), mount: mount.point.clone(), path })
        };
        let legacy = membership.legacy.iter().filter_map(|entry| {
            let mut mounts = self.0.iter().filter(|mount| mount.holds(entry));
            mounts.find_map(|mount| place(&entry.controllers, mount, &entry.path))
        });
        let unified = membership.unified.iter().filter_map(|path| {
            let mut mounts = self.0.iter().filter(|mount| mount.kind == MountKind::Unified);
            mounts.find_map(|mount| place(&[], mount, path))
        });
        Ok(legacy.chain(unified).collect())
    }
}

/// `path` as seen from a mount whose root is `root`; none when it is outside.
fn below(path: &str, root: &str) -> Option<String> {
    if path.split('/').any(|part| part == "..") {
        return None;
    }
    if root == "/" {
        return Some(path.to_owned());
    }
    match path.strip_prefix(root)? {
        "" => Some("/".to_owned()),
        rest if rest.starts_with('/') => Some(rest.to_owned()),
        _ => None,
    }
}

/// Reads mountinfo until every hierarchy of `membership` has been seen. A host
/// with a thousand container mounts has its cgroup mounts near the top.
fn read_mounts(membership: &Membership, hybrid: bool) -> Result<Vec<Mount>, Error> {
    const PATH: &str = "/proc/self/mountinfo";
    let fail = |source| Error::call("read", PATH, source);
    let mut file = File::open(PATH).map_err(|e| Error::call("open", PATH, e))?;
    let mut mounts = Vec::new();
    let mut pending = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = file.read(&mut buffer).map_err(fail)?;
        pending.extend_from_slice(&buffer[..count]);
        let end = if count == 0 {
            pending.len()
        } else {
            pending.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)
        };
        let text = String::from_utf8_lossy(&pending[..end]);
        mounts.extend(Mount::all(&text));
        if count == 0 || complete(membership, &mounts, hybrid) {
            return Ok(mounts);
        }
        pending.drain(..end);
    }
}

fn complete(membership: &Membership, mounts: &[Mount], hybrid: bool) -> bool {
    let wanted = membership.unified.as_ref().filter(|_| hybrid);
    let unified = wanted.is_none_or(|own| {
        mounts.iter().any(|m| m.kind == MountKind::Unified && below(own, &m.root).is_some())
    });
    unified && membership.legacy.iter().all(|entry| entry.mounted(mounts).is_some())
}

fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const HYBRID_CGROUP: &str = "3:name=systemd:/\n2:cpu,cpuacct:/a\n1:memory:/docker/x/y\n0::/\n";

    fn mounts(text: &str) -> Vec<Mount> {
        Mount::all(text).collect()
    }

    #[test]
    fn hybrid_hosts_are_recognised() {
        let membership = Membership::parse(HYBRID_CGROUP).unwrap();
        let mounts = mounts(
            "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct\n\
             33 31 0:30 /docker/x /sys/fs/cgroup/mem\\040ory rw - cgroup cgroup rw,memory\n\
             34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        assert!(complete(&membership, &mounts, true));
        let facts =
            CgroupFacts::from_parts(&membership, &mounts, |_| Ok(vec!["hugetlb".into()])).unwrap();
        assert_eq!(facts.name(), "hybrid");
        let Layout::Legacy { hierarchies, unified } = facts.layout else {
            panic!("legacy expected")
        };
        assert_eq!(hierarchies[0].mount, Path::new("/sys/fs/cgroup/mem ory"));
        assert_eq!(hierarchies[0].own, "/y");
        assert_eq!(hierarchies[1].controllers, ["cpu", "cpuacct"]);
        assert_eq!(hierarchies[1].own, "/a");
        assert_eq!(unified.unwrap().controllers, ["hugetlb"]);
    }

    #[test]
    fn a_mount_that_does_not_show_the_own_cgroup_is_left_out() {
        let membership = Membership::parse("1:memory:/other\n").unwrap();
        let mounts = mounts("33 31 0:30 /docker /m rw - cgroup cgroup rw,memory\n");
        let error = CgroupFacts::from_parts(&membership, &mounts, |_| Ok(vec![])).unwrap_err();
        assert!(matches!(error, Error::Layout { .. }), "{error}");
    }

    #[test]
    fn a_path_without_a_root_is_refused() {
        for text in ["1:memory:-\n", "0::\n", "0::a/b\n"] {
            let error = Membership::parse(text).unwrap_err();
            assert!(error.to_string().contains("relative path"), "{error}");
        }
    }

    #[test]
    fn a_path_outside_the_namespace_is_below_nothing() {
        assert_eq!(below("/../x", "/"), None);
        assert_eq!(below("/ab", "/a"), None);
        assert_eq!(below("/a", "/a").as_deref(), Some("/"));
        assert_eq!(below("/a/b", "/a").as_deref(), Some("/b"));
    }

    #[test]
    fn this_host_can_be_read() {
        let facts = CgroupFacts::read().unwrap();
        assert!(["v1", "hybrid", "v2"].contains(&facts.name()));
    }
}
