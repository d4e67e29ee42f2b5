//! `linux.intelRdt`: a group of the resctrl file system for the container.
//!
//! Promises: what the specification asks is what the file system says afterwards, or an error that
//! names the field and has the kernel's own reason from `info/last_cmd_status`. Must never change a
//! group that somebody else configured: one that exists has to match (config-linux.md, "IntelRdt").
//! Must never remove a group that another container may be in: one with a name of its own stays, and
//! one that has the path of the container's, but is another, too.
//!
//! Reference: Documentation/filesystems/resctrl.rst.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::spec::IntelRdt;
use brig_pseudofs::boot::Boot;
use brig_pseudofs::identity::Identity;
use brig_pseudofs::mountinfo::Mount;
use brig_pseudofs::small_file;
use rustix::fs::{AtFlags, CWD, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Error;

/// The container's groups, and which of them are its own.
#[derive(Debug)]
pub struct Resctrl {
    root: PathBuf,
    /// The container's first process.
    pid: i32,
    /// Made for this container; removed children first.
    made: Vec<Group>,
    /// Made as well, but others may have found it by its `closID` since.
    named: Option<Group>,
}

/// A group that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    path: PathBuf,
    identity: Identity,
}

/// The groups that were made for a container alone, as state.json keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResctrlRecord {
    groups: Vec<Group>,
    boot: Boot,
}

impl Resctrl {
    /// Puts the process `pid` into the group that `rdt` describes for container `id`.
    ///
    /// # Errors
    /// resctrl is not mounted, a group that exists does not match, or the kernel refuses a schema;
    /// nothing is left then.
    pub fn assign(id: &str, rdt: &IntelRdt, pid: i32) -> Result<Self, Error> {
        let root = mounted()?.ok_or_else(|| {
            Error::plain("linux.intelRdt: no resctrl file system is mounted")
                .with_hint("mount -t resctrl resctrl /sys/fs/resctrl, where the processor has RDT")
        })?;
        Self::assign_below(&root, id, rdt, pid)
    }

    fn assign_below(root: &Path, id: &str, rdt: &IntelRdt, pid: i32) -> Result<Self, Error> {
        let mut groups = Self { root: root.to_owned(), pid, made: Vec::new(), named: None };
        let filled = {
            let _lock = lock(root)?;
            groups.fill(root, id, rdt)
        };
        match filled {
            Ok(()) => Ok(groups),
            Err(error) => match groups.remove() {
                Ok(()) => Err(error),
                Err(left) => {
                    Err(Error::because(format!("cannot undo ({left}) after a failure"), error))
                }
            },
        }
    }

    fn fill(&mut self, root: &Path, id: &str, rdt: &IntelRdt) -> Result<(), Error> {
        let pid = self.pid.to_string();
        let group = group(root, id, rdt);
        let lines = schemata(rdt);
        let configured = rdt.clos_id.is_some() && lines.is_empty();
        let exists = group.is_dir();
        match (exists, configured) {
            (false, true) => {
                return Err(Error::plain(format!(
                    "linux.intelRdt.closID: there is no group {}",
                    group.display()
                ))
                .with_hint("make the group beforehand, or give a schema for it"));
            }
            (true, _) if rdt.clos_id.is_some() => matches(&group, &lines)?,
            (true, _) => {
                return Err(Error::plain(format!(
                    "linux.intelRdt: {} exists already",
                    group.display()
                ))
                .with_hint("stale group, probably of an earlier container of this id: remove it with rmdir"));
            }
            (false, false) => {
                let new = Group::make(&group, "linux.intelRdt")?;
                match rdt.clos_id {
                    Some(_) => self.named = Some(new),
                    None => self.made.push(new),
                }
                for (field, text) in &lines {
                    write(root, &group.join("schemata"), text, field)?;
                }
            }
        }
        write(root, &group.join("tasks"), &pid, "linux.intelRdt")?;
        if let Some(field) = monitors(rdt) {
            let monitor = group.join("mon_groups").join(id);
            self.made.push(Group::make(&monitor, field)?);
            write(root, &monitor.join("tasks"), &pid, field)?;
        }
        Ok(())
    }

    /// Removes what has been made, but for a group that other processes are in by now.
    ///
    /// # Errors
    /// The first that could not be removed; the others are still tried.
    pub fn remove(self) -> Result<(), Error> {
        let _lock = lock(&self.root)?;
        let unused = self.named.iter().filter(|group| !self.shared(&group.path));
        all(self.made.iter().rev().chain(unused).map(Group::remove))
    }

    /// What state.json keeps.
    ///
    /// # Errors
    /// /proc does not tell which boot this is.
    pub fn record(&self) -> Result<ResctrlRecord, Error> {
        let boot = Boot::now().map_err(unknown_boot)?;
        Ok(ResctrlRecord { groups: self.made.clone(), boot })
    }

    fn shared(&self, group: &Path) -> bool {
        // The kernel would put the others where no schema holds.
        let own = self.pid.to_string();
        fs::read_to_string(group.join("tasks"))
            .is_ok_and(|tasks| tasks.lines().any(|pid| pid != own))
    }
}

impl Group {
    fn make(path: &Path, field: &str) -> Result<Self, Error> {
        let failed = |error: io::Error| {
            let hint = match error.raw_os_error() {
                Some(libc::ENOSPC) => "the processor has no class or monitor left; remove groups",
                Some(libc::ENOENT) => "this processor, or this kernel, has no monitoring",
                _ => "see Documentation/filesystems/resctrl.rst",
            };
            Error::system(format!("{field}: making {}", path.display()), error).with_hint(hint)
        };
        fs::create_dir(path).map_err(failed)?;
        let identity = identity(path).map_err(|errno| failed(errno.into()))?;
        Ok(Self { path: path.to_owned(), identity })
    }

    /// That it is gone is no error.
    fn remove(&self) -> Result<(), Error> {
        match identity(&self.path) {
            Ok(found) if found == self.identity => remove_directory(&self.path),
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => {
                let what = format!("linux.intelRdt: looking at {}", self.path.display());
                Err(Error::system(what, errno))
            }
        }
    }
}

impl ResctrlRecord {
    /// Removes what was made for the container alone: its monitor, and its group where that has no
    /// name of its own. What is not there is no error, and whatever has its path by now stays.
    ///
    /// # Errors
    /// The first that could not be removed; the others are still tried.
    pub fn remove(&self) -> Result<(), Error> {
        if !self.is_of_this_boot()? {
            return Ok(());
        }
        all(self.groups.iter().rev().map(Group::remove))
    }

    /// Whether `group`, if it was made for the container, is still that one.
    fn holds(&self, group: &Path) -> Result<bool, Error> {
        let mut own = self.groups.iter().filter(|own| own.path == group).peekable();
        let lasts = own.peek().is_none() || self.is_of_this_boot()?;
        Ok(lasts && own.all(|own| identity(group) == Ok(own.identity)))
    }

    fn is_of_this_boot(&self) -> Result<bool, Error> {
        self.boot.is_now().map_err(unknown_boot)
    }
}

fn unknown_boot(error: io::Error) -> Error {
    Error::system("linux.intelRdt: reading boot_id", error)
}

fn identity(path: &Path) -> Result<Identity, Errno> {
    let found = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(Identity::from(&found))
}

/// Keeps others who heed it from the groups: two containers may come with the same new `closID`
/// (resctrl.rst, "Locks").
fn lock(root: &Path) -> Result<File, Error> {
    let locked = File::open(root).and_then(|directory| directory.lock().map(|()| directory));
    locked.map_err(|error| {
        Error::system(format!("linux.intelRdt: locking {}", root.display()), error)
    })
}

/// Puts another process of the container `id` where its first one is.
///
/// # Errors
/// The group is gone, or the kernel refuses the process.
pub fn join(id: &str, rdt: &IntelRdt, made: Option<&ResctrlRecord>, pid: i32) -> Result<(), Error> {
    let Some(root) = mounted()? else {
        return Err(Error::plain("linux.intelRdt: no resctrl file system is mounted any more"));
    };
    let holds = |group: &Path| made.map_or(Ok(true), |made| made.holds(group));
    let enter = |group: &Path, field: &str| match holds(group)? {
        true => write(&root, &group.join("tasks"), &pid.to_string(), field),
        false => {
            let what = format!("{field}: group {} was removed or replaced", group.display());
            Err(Error::plain(what).with_hint("delete the container, and create it again"))
        }
    };
    let group = group(&root, id, rdt);
    enter(&group, "linux.intelRdt")?;
    match monitors(rdt) {
        Some(field) => enter(&group.join("mon_groups").join(id), field),
        None => Ok(()),
    }
}

/// Removes what a brig that was killed before it could tell may have made for the container `id`
/// alone. Nobody knows whether it had, so a group with processes stays.
///
/// # Errors
/// The first that could not be removed; the others are still tried.
pub fn discard(id: &str, rdt: &IntelRdt) -> Result<(), Error> {
    let Some(root) = mounted()? else { return Ok(()) };
    discard_below(&root, id, rdt)
}

fn discard_below(root: &Path, id: &str, rdt: &IntelRdt) -> Result<(), Error> {
    let group = group(root, id, rdt);
    let mut own = Vec::new();
    if monitors(rdt).is_some() {
        own.push(group.join("mon_groups").join(id));
    }
    if rdt.clos_id.is_none() {
        own.push(group);
    }
    let is_empty = |group: &&PathBuf| {
        fs::read_to_string(group.join("tasks")).is_ok_and(|tasks| tasks.is_empty())
    };
    all(own.iter().filter(is_empty).map(|group| remove_directory(group)))
}

fn remove_directory(group: &Path) -> Result<(), Error> {
    match fs::remove_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::system(format!("linux.intelRdt: removing {}", group.display()), error))
        }
        _ => Ok(()),
    }
}

/// The first failure, after all have been tried.
fn all(results: impl Iterator<Item = Result<(), Error>>) -> Result<(), Error> {
    let mut first = Ok(());
    for result in results {
        first = first.and(result);
    }
    first
}

/// Where resctrl is mounted, if it is.
fn mounted() -> Result<Option<PathBuf>, Error> {
    let table = small_file::read_text("/proc/self/mountinfo")
        .map_err(|error| Error::system("linux.intelRdt: reading /proc/self/mountinfo", error))?;
    Ok(mount_point(&table))
}

fn mount_point(table: &str) -> Option<PathBuf> {
    Mount::all(table).find(|mount| mount.kind == "resctrl").map(|mount| mount.point())
}

/// The `closID` of `/` is the default class, in which every process starts.
fn group(root: &Path, id: &str, rdt: &IntelRdt) -> PathBuf {
    match rdt.clos_id.as_deref() {
        Some("/") => root.to_owned(),
        name => root.join(name.unwrap_or(id)),
    }
}

/// The field that asks for a monitor, if one does: `enableCMT` and `enableMBM` are what
/// `enableMonitoring` was called before 1.3.
fn monitors(rdt: &IntelRdt) -> Option<&'static str> {
    let fields = [
        ("linux.intelRdt.enableMonitoring", rdt.enable_monitoring),
        ("linux.intelRdt.enableCMT", rdt.enable_cmt),
        ("linux.intelRdt.enableMBM", rdt.enable_mbm),
    ];
    fields.into_iter().find(|(_, on)| *on).map(|(field, _)| field)
}

/// What is written to `schemata`, one write each, in order, with the field it comes from.
fn schemata(rdt: &IntelRdt) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    let bandwidth = rdt.mem_bw_schema.as_deref();
    if let Some(cache) = rdt.l3_cache_schema.as_deref() {
        // memBwSchema has the last word on memory bandwidth.
        let of_cache = |line: &&str| bandwidth.is_none() || !line.trim_start().starts_with("MB:");
        let lines: Vec<_> =
            cache.lines().filter(|line| !line.is_empty()).filter(of_cache).collect();
        if !lines.is_empty() {
            all.push(("linux.intelRdt.l3CacheSchema", lines.join("\n") + "\n"));
        }
    }
    if let Some(bandwidth) = bandwidth {
        all.push(("linux.intelRdt.memBwSchema", format!("{bandwidth}\n")));
    }
    let lines = &rdt.schemata;
    if !lines.is_empty() {
        all.push(("linux.intelRdt.schemata", lines.join("\n") + "\n"));
    }
    all
}

/// A group that exists must have what is asked for.
fn matches(group: &Path, wanted: &[(&'static str, String)]) -> Result<(), Error> {
    let path = group.join("schemata");
    let found = fs::read_to_string(&path).map_err(|error| {
        Error::system(format!("linux.intelRdt.closID: reading {}", path.display()), error)
    })?;
    let found: Vec<_> = found.lines().flat_map(settings).collect();
    for (field, text) in wanted {
        for setting in text.lines().flat_map(settings) {
            if !found.contains(&setting) {
                let (resource, domain, value) = setting;
                let same = found.iter().find(|(one, at, _)| (one, at) == (&resource, &domain));
                let actual = same.map_or("no such setting", |(_, _, actual)| actual);
                return Err(Error::plain(format!(
                    "{field}: {resource}:{domain}={value} is asked for, but {} has {actual}",
                    path.display()
                ))
                .with_hint("another container or the administrator configured this closID"));
            }
        }
    }
    Ok(())
}

/// `L3:0=0ff;1=f0` as (L3, 0, ff), (L3, 1, f0): numbers without leading zeroes.
fn settings(line: &str) -> impl Iterator<Item = (String, String, String)> {
    let (resource, domains) = line.trim().split_once(':').unwrap_or_default();
    let plain = |number: &str| {
        let text = number.trim().to_ascii_lowercase();
        let text = text.trim_start_matches("0x").trim_start_matches('0').to_owned();
        if text.is_empty() { "0".to_owned() } else { text }
    };
    let settings = domains.split(';').filter_map(move |domain| {
        let (domain, value) = domain.split_once('=')?;
        Some((resource.trim().to_owned(), plain(domain), plain(value)))
    });
    settings.collect::<Vec<_>>().into_iter()
}

fn write(root: &Path, path: &Path, text: &str, field: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|error| {
        let said = fs::read_to_string(root.join("info/last_cmd_status")).unwrap_or_default();
        let said = match said.trim() {
            "" | "ok" => String::new(),
            said => format!(" ({said})"),
        };
        let what = format!("{field}: writing {:?} to {}{said}", text.trim_end(), path.display());
        Error::system(what, error).with_hint("see info/ in the resctrl file system for its limits")
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs;

    use crate::spec::IntelRdt;

    use super::{Resctrl, discard_below, mount_point, schemata};

    fn rdt(json: &str) -> IntelRdt {
        serde_json::from_str(json).expect("a valid intelRdt")
    }

    #[test]
    fn the_mount_is_found_by_its_type() {
        let text = "36 25 0:31 / /sys/fs/cgroup rw - cgroup2 none rw\n\
                    97 25 0:52 / /sys/fs/resctrl rw,relatime - resctrl resctrl rw\n";
        assert_eq!(mount_point(text).as_deref(), Some("/sys/fs/resctrl".as_ref()));
        assert_eq!(mount_point("36 25 0:31 / /sys/fs/resctrl rw - tmpfs none rw\n"), None);
    }

    #[test]
    fn the_bandwidth_field_wins_over_the_cache_field_and_schemata_comes_last() {
        let rdt = rdt(
            r#"{"l3CacheSchema": "L3:0=f\nMB:0=10", "memBwSchema": "MB:0=20", "schemata": ["L2:0=3", "L3:1=f"]}"#,
        );
        let texts: Vec<_> = schemata(&rdt).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["L3:0=f\n", "MB:0=20\n", "L2:0=3\nL3:1=f\n"]);
    }

    #[test]
    fn a_group_of_its_own_is_made_and_removed() {
        let root = tempfile::tempdir().expect("a directory");
        let rdt = rdt(r#"{"memBwSchema": "MB:0=20"}"#);
        let made = Resctrl::assign_below(root.path(), "web", &rdt, 42).expect("it is made");
        let record = made.record().expect("a boot");
        let read = |name: &str| fs::read_to_string(root.path().join("web").join(name)).ok();
        assert_eq!(read("schemata").as_deref(), Some("MB:0=20\n"));
        assert_eq!(read("tasks").as_deref(), Some("42"));
        // The real file system removes a group's files with it.
        for name in ["schemata", "tasks"] {
            fs::remove_file(root.path().join("web").join(name)).expect("a file");
        }
        record.remove().expect("it is removed");
        assert!(!root.path().join("web").exists());
        record.remove().expect("nothing is there, and that is no error");
    }

    #[test]
    fn another_group_of_the_name_stays() {
        let root = tempfile::tempdir().expect("a directory");
        let group = root.path().join("web");
        let rdt = rdt(r#"{"memBwSchema": "MB:0=20"}"#);
        let made = Resctrl::assign_below(root.path(), "web", &rdt, 42).expect("it is made");
        let record = made.record().expect("a boot");
        assert!(record.holds(&group).expect("a boot"));
        fs::rename(&group, root.path().join("moved")).expect("the group");
        fs::create_dir(&group).expect("another");
        assert!(!record.holds(&group).expect("a boot"));
        record.remove().expect("its own is gone");
        made.remove().expect("its own is gone");
        assert!(group.exists());
        // Nor is one with processes the container's where it is not known that it is.
        fs::write(group.join("tasks"), "77\n").expect("a process joins");
        discard_below(root.path(), "web", &rdt).expect("nothing that may be removed");
        assert!(group.exists());
    }

    #[test]
    fn a_named_group_must_exist_or_match() {
        let root = tempfile::tempdir().expect("a directory");
        let missing = rdt(r#"{"closID": "gold"}"#);
        let error = Resctrl::assign_below(root.path(), "web", &missing, 42).expect_err("no group");
        assert!(error.to_string().starts_with("linux.intelRdt.closID: there is no group"));
        fs::create_dir(root.path().join("gold")).expect("a directory");
        fs::write(root.path().join("gold/schemata"), "    L3:0=00ff;1=0f0\n    MB:0=100\n")
            .expect("a file");
        Resctrl::assign_below(root.path(), "web", &missing, 42).expect("it is there");
        let same = rdt(r#"{"closID": "gold", "l3CacheSchema": "L3:0=0xFF;1=f0"}"#);
        Resctrl::assign_below(root.path(), "web", &same, 42).expect("it matches");
        let other = rdt(r#"{"closID": "gold", "memBwSchema": "MB:0=50"}"#);
        let error = Resctrl::assign_below(root.path(), "web", &other, 42).expect_err("it differs");
        assert!(error.to_string().starts_with("linux.intelRdt.memBwSchema: MB:0=50"), "{error}");
        assert!(error.source().is_none() && error.hint().is_some());
        let default = rdt(r#"{"closID": "/"}"#);
        fs::write(root.path().join("schemata"), "L3:0=fff\n").expect("a file");
        Resctrl::assign_below(root.path(), "web", &default, 43).expect("it is always there");
        assert_eq!(fs::read_to_string(root.path().join("tasks")).ok().as_deref(), Some("43"));
        discard_below(root.path(), "web", &default).expect("nothing of the container's own");
        discard_below(root.path(), "web", &same).expect("nothing of the container's own");
        assert!(root.path().join("gold").exists(), "it is somebody else's");
    }

    #[test]
    fn a_new_named_group_is_undone_unless_others_are_in_it() {
        let root = tempfile::tempdir().expect("a directory");
        let gold = root.path().join("gold");
        let rdt = rdt(r#"{"closID": "gold", "l3CacheSchema": "L3:0=f"}"#);
        let made = Resctrl::assign_below(root.path(), "web", &rdt, 42).expect("it is made");
        fs::write(gold.join("tasks"), "42\n77\n").expect("another container joins");
        made.remove().expect("nothing to remove");
        assert!(gold.join("schemata").exists());

        fs::remove_dir_all(&gold).expect("the group");
        let made = Resctrl::assign_below(root.path(), "web", &rdt, 42).expect("it is made");
        // The real file system removes a group's files with it.
        for name in ["schemata", "tasks"] {
            fs::remove_file(gold.join(name)).expect("a file");
        }
        made.remove().expect("it is the container's alone");
        assert!(!gold.exists());
    }

    #[test]
    fn without_monitoring_the_field_that_asks_for_it_is_named() {
        for field in ["enableMonitoring", "enableCMT", "enableMBM"] {
            let root = tempfile::tempdir().expect("a directory");
            fs::write(root.path().join("schemata"), "").expect("a file");
            let rdt = rdt(&format!(r#"{{"closID": "/", "{field}": true}}"#));
            let error =
                Resctrl::assign_below(root.path(), "web", &rdt, 42).expect_err("no monitor");
            let text = error.to_string().to_ascii_lowercase();
            let field = field.to_ascii_lowercase();
            assert!(text.starts_with(&format!("linux.intelrdt.{field}: making")), "{text}");
            assert!(error.hint().is_some_and(|hint| hint.contains("no monitoring")));
        }
    }
}
