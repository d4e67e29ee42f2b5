//! The node's policy: which profile holds for a container, read when it is to be made.
//!
//! Promises: it is root's, in a file that nobody else can have written, opened once and not through a link. One that is
//! there and cannot be read, or not understood in full, is an error, and no container is made. Must never look at what a
//! bundle says.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use brig_cgroup::{CgroupFacts, Driver};
use brig_policy::{
    Applied, CallerFacts, ChosenProfile, Condition, Date, Facts, IdPool, Mode, Modules, NodeFilter,
    NodePolicy, Policy, Profile, Remap, RuleSet, Unlimitable,
};
use brig_pseudofs::small_file;
use brig_seccomp::{Arch, BpfProgram, mitigation};
use brig_spec::Config;
use rustix::fs::{
    Access, AtFlags, CWD, Dir, Mode as RawMode, OFlags, accessat, fstat, openat, statat,
};
use rustix::io::Errno;

use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::spec::{IdMapping, RlimitType};
use crate::trusted::{self, Whose};

/// Where the policy is.
pub const DIRECTORY: &str = "/etc/brig";
/// Its name there.
pub const FILE: &str = "policy.toml";
/// The directory of the drop-ins there.
pub const DROP_INS: &str = "policy.d";
/// A file of the root of cgroup v2, where that is all there is.
const V2: &str = "/sys/fs/cgroup/cgroup.controllers";
/// The write permissions of group and others.
const OTHERS_WRITE: u32 = 0o022;

/// The policy of this node, for as long as a program lives. The files are read for each container, as they may change
/// meanwhile, and understood anew where a text is another, or the day: no time stamp is trusted. One that is not understood
/// any more is an error, not the policy of before.
#[derive(Debug)]
pub struct PolicyFile {
    /// The profile that was chosen on the node's side, by a flag or by the name that brig is called by; the policy's
    /// default where none was.
    selected: Option<String>,
    /// Whether systemd makes the cgroups.
    systemd: bool,
    /// What was read last, on which day, and what of it holds.
    known: Mutex<Option<(Texts, Option<Date>, Chosen)>>,
}

impl PolicyFile {
    /// Reads nothing yet.
    #[must_use]
    pub const fn new(selected: Option<String>, systemd: bool) -> Self {
        Self { selected, systemd, known: Mutex::new(None) }
    }

    /// What the node grants a container that is made now.
    ///
    /// # Errors
    /// The policy cannot be read, somebody else could have written it, or the profile may not be selected.
    pub fn read(&self) -> Result<NodePolicy, Failure> {
        let selected = self.selected.as_deref();
        let texts = Texts::read()?;
        let today = today();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let chosen = match &*known {
            Some((of, day, chosen)) if (of, day) == (&texts, &today) => chosen.clone(),
            _ => {
                let chosen = chosen(&texts.parse()?, selected, today)?;
                known.insert((texts, today, chosen)).2.clone()
            }
        };
        drop(known);
        on_this_machine(chosen, self.systemd)
    }
}

/// Whether the node's policy is understood, where it has one.
///
/// # Errors
/// It cannot be read, somebody else could have written it, or something in it is not understood.
pub fn check() -> Result<(), Failure> {
    Texts::read()?.parse().map(drop)
}

/// The texts of the policy.
#[derive(Debug, Default, PartialEq)]
struct Texts {
    file: Option<String>,
    /// By their names, in the order in which they hold.
    drop_ins: Vec<(String, String)>,
}

impl Texts {
    /// None of them where there is no directory.
    fn read() -> Result<Self, Failure> {
        let Some(directory) = directory()? else { return Ok(Self::default()) };
        let file = text_in(&directory, FILE, &Path::new(DIRECTORY).join(FILE))?;
        let path = Path::new(DIRECTORY).join(DROP_INS);
        let systems = Whose::Systems;
        let mut drop_ins = Vec::new();
        if let Some(directory) = trusted::directory_in(&directory, DROP_INS, &path, systems)? {
            for name in names_in(&directory, &path)? {
                let path = path.join(&name);
                let text = text_in(&directory, &name, &path)?.ok_or_else(|| {
                    Failure::plain(format!("{} was removed concurrently", path.display()))
                })?;
                drop_ins.push((name, text));
            }
        }
        Ok(Self { file, drop_ins })
    }

    fn parse(&self) -> Result<Policy, Failure> {
        let path = Path::new(DIRECTORY).join(FILE);
        let mut policy = match &self.file {
            Some(text) => Policy::read(text).map_err(|error| explain(&path, &error))?,
            None => Policy::without_file(),
        };
        for (name, text) in &self.drop_ins {
            let path = Path::new(DIRECTORY).join(DROP_INS).join(name);
            policy.add_drop_in(name, text).map_err(|error| explain(&path, &error))?;
        }
        Ok(policy)
    }
}

/// The names of the drop-ins, in the order in which they hold. Others are what editors and package managers leave.
fn names_in(directory: &OwnedFd, path: &Path) -> Result<Vec<String>, Failure> {
    let failed = |errno: Errno| {
        Failure::system(format!("reading {}", path.display()), io::Error::from(errno))
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(directory, ".", flags, RawMode::empty()).map_err(failed)?;
    let mut names = Vec::new();
    for entry in Dir::new(opened).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        names.extend(Some(name).filter(|name| is_drop_in(name)));
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a file of the directory of drop-ins is one, by its name.
#[must_use]
pub fn is_drop_in(name: &str) -> bool {
    name.ends_with(".toml") && !name.starts_with('.')
}

/// The policy in a file of anybody's: for tests of policies, never for a container.
///
/// # Errors
/// The file cannot be read, or `selected` may not be selected.
pub fn read_file(
    file: &Path,
    selected: Option<&str>,
    systemd: bool,
) -> Result<NodePolicy, Failure> {
    let failed = |error| Failure::system(format!("reading {}", file.display()), error);
    let text = std::fs::read_to_string(file).map_err(failed)?;
    let policy = Policy::read(&text).map_err(|error| explain(file, &error))?;
    on_this_machine(chosen(&policy, selected, today())?, systemd)
}

/// A profile, what holds besides for some containers, and the pool of ids.
type Chosen = (ChosenProfile, Vec<Condition>, IdPool);

fn chosen(policy: &Policy, selected: Option<&str>, today: Option<Date>) -> Result<Chosen, Failure> {
    let wrong = |error: brig_policy::Error| {
        let hint = error.hint().to_owned();
        Failure::plain(format!("the node's policy: {error}")).with_hint(hint)
    };
    let profile = policy.profile_on(today, selected).map_err(wrong)?;
    let conditions = policy.conditions(&profile).map_err(wrong)?;
    Ok((profile, conditions, policy.ids()))
}

/// With what of the machine decides now what its rules come to.
fn on_this_machine(chosen: Chosen, systemd: bool) -> Result<NodePolicy, Failure> {
    let (profile, conditions, pool) = chosen;
    let (cgroup_v2, caller) = (is_on_v2(&profile), caller(&profile)?);
    let is_on = profile.has(|rules| rules.landlock.mode);
    let landlock = if is_on { brig_sys::landlock::version() } else { 0 };
    let forbids_programs_in_memory = is_on && is_there("/proc/sys/vm/memfd_noexec");
    let forbids_writable_code = profile.has(|rules| rules.write_xor_execute.mode)
        && brig_sys::process::refuses_exec_gain().is_some();
    let remap = match Caller::get() {
        Caller::Root => Remap::Unclaimed,
        Caller::RootOfUserNamespace | Caller::User => Remap::Unprivileged,
    };
    let unlimitable = unlimitable(&profile, systemd)?;
    let modules = match profile.has(|rules| rules.security_label.mode) {
        true => crate::host::security_modules(),
        false => Modules::default(),
    };
    let facts = Facts {
        modules,
        limits_swap: limits_swap(&profile, cgroup_v2),
        cgroup_v2,
        huge_pages: huge_pages(&profile)?,
        systemd,
        caller,
        landlock,
        forbids_programs_in_memory,
        forbids_writable_code,
        pool,
        remap,
        unlimitable,
        overlay_root: false,
    };
    Ok(NodePolicy { profile, facts, conditions })
}

/// The day by the machine's clock, in UTC.
fn today() -> Option<Date> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok().map(Date::of_unix_time)
}

/// The directory of the policy, which nobody else can have written to; `None` where there is none.
fn directory() -> Result<Option<OwnedFd>, Failure> {
    // One call where there is none; the walk to it looks at each owner on the way. A link that leads to nothing is no
    // absence: what it leads to may not be mounted yet.
    if statat(CWD, DIRECTORY, AtFlags::SYMLINK_NOFOLLOW).err() == Some(Errno::NOENT) {
        return Ok(None);
    }
    let directory = trusted::open_directory(Path::new(DIRECTORY), Whose::Systems)?;
    directory.map(Some).ok_or_else(|| {
        Failure::plain(format!("{DIRECTORY} is a link that leads to nothing"))
            .with_hint("remove it where the node is to have no policy")
    })
}

/// The text of a file there; `None` where there is none.
fn text_in(directory: &OwnedFd, name: &str, path: &Path) -> Result<Option<String>, Failure> {
    let failed = |error: io::Error| Failure::system(format!("reading {}", path.display()), error);
    let file = trusted::file_in(directory, name, OFlags::RDONLY, path, Whose::Systems)?;
    let Some(file) = file else { return Ok(None) };
    let mode = fstat(&file).map_err(|errno| failed(errno.into()))?.st_mode;
    if mode & OTHERS_WRITE != 0 {
        let what = format!("{} may be written by others than its owner", path.display());
        return Err(Failure::plain(what)
            .of_kind(Kind::Denied)
            .with_hint("chmod go-w it, and look at what it says"));
    }
    let bytes = small_file::read_open(&file).map_err(failed)?;
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| Failure::plain(format!("{} is not UTF-8", path.display())))
}

/// What is wrong with the policy file at `path`.
#[must_use]
pub fn explain(path: &Path, error: &brig_policy::Error) -> Failure {
    Failure::plain(format!("{}: {error}", path.display())).with_hint(error.hint())
}

/// The filters that the node's policy puts beside a container's own, by the profile that it was made with.
///
/// # Errors
/// This machine's processor has none of that name.
pub fn filters(applied: &Applied, spec: &Config) -> Result<Vec<BpfProgram>, Failure> {
    applied.profile.filters(spec).iter().map(program).collect()
}

fn program(filter: &NodeFilter) -> Result<BpfProgram, Failure> {
    let mitigations = |names: &[&str]| -> Vec<_> {
        names.iter().filter_map(|name| mitigation::find(name)).collect()
    };
    let failed = |what: String| {
        Failure::plain(format!("the node's rule seccomp: {what}"))
            .with_hint("set the rule's mode to \"off\" in the policy file")
    };
    let profile = match filter {
        NodeFilter::Builtin { name, without } if without.is_empty() => {
            return brig_seccomp::compiled(name.name(), Arch::native()).ok_or_else(|| {
                failed(format!("there is no filter {} for this processor", name.name()))
            });
        }
        NodeFilter::Builtin { name, without } => {
            mitigation::without(name.name(), &mitigations(without))
        }
        NodeFilter::Refusing(names) => mitigation::refusing(&mitigations(names)),
    };
    let profile = profile.map_err(|error| failed(error.to_string()))?;
    brig_seccomp::compile(&profile, Arch::native()).map_err(|error| failed(error.to_string()))
}

/// The limits that are out of the caller's reach; the machine's root can set all.
fn unlimitable(profile: &ChosenProfile, systemd: bool) -> Result<Unlimitable, Failure> {
    let rules: [fn(&Profile) -> Option<Mode>; 3] =
        [|rules| rules.memory.mode, |rules| rules.processors.mode, |rules| rules.pids.mode];
    if Caller::get() == Caller::Root || !rules.into_iter().any(|rule| profile.has(rule)) {
        return Ok(Unlimitable::default());
    }
    let facts = CgroupFacts::read()?;
    let driver = if systemd { Driver::Systemd } else { Driver::Fs };
    let cannot = |controller| !facts.can_limit(controller, driver);
    let [memory, processors, pids] = ["memory", "cpu", "pids"].map(cannot);
    Ok(Unlimitable { memory, processors, pids })
}

/// What of brig's caller the rules look at.
pub(crate) fn caller(profile: &ChosenProfile) -> Result<CallerFacts, Failure> {
    let looks = profile.has(|rules| rules.users.mode) || profile.has(|rules| rules.remapping.mode);
    let maps = match Caller::get() {
        Caller::RootOfUserNamespace | Caller::User if looks => {
            let maps = [id_map("self", "uid_map")?, id_map("self", "gid_map")?];
            Some(maps).filter(|maps| maps.iter().any(|map| map != &EVERY_ID))
        }
        _ => None,
    };
    let looks = |set: RuleSet<'_>| {
        let rule = &set.rules.rlimits;
        // Of 0 nothing has to be known: it is less in any case.
        let is_limit = rule.max.iter().flatten().any(|(_, max)| *max != 0);
        is_limit && rule.mode.unwrap_or_default() != Mode::Off
    };
    let rlimits = if profile.sets().any(looks) { own_rlimits()? } else { Vec::new() };
    let mut facts =
        CallerFacts { oom_score: oom_score(profile)?, maps, rlimits, ..CallerFacts::default() };
    if profile.has(|rules| rules.scheduling.mode) {
        let own = brig_sys::process::priority();
        let own = own.map_err(|error| Failure::system("asking for brig's own priority", error))?;
        facts.nice = own.nice;
        facts.is_real_time = REAL_TIME.contains(&own.policy);
        facts.has_real_time_io = own.io_class == IOPRIO_CLASS_RT;
    }
    Ok(facts)
}

/// `SCHED_FIFO`, `SCHED_RR`, `SCHED_DEADLINE` of linux/sched.h.
const REAL_TIME: [u32; 3] = [1, 2, 6];
/// linux/ioprio.h.
const IOPRIO_CLASS_RT: u32 = 1;

fn own_rlimits() -> Result<Vec<(RlimitType, u64, u64)>, Failure> {
    const PATH: &str = "/proc/self/limits";
    let text = small_file::read_text(PATH)
        .map_err(|error| Failure::system(format!("reading {PATH}"), error))?;
    crate::report::rlimits(&text)
        .map_err(|_| Failure::plain(format!("{PATH} is not as the kernel writes it: {text:?}")))
}

/// The map of the machine's own user namespace.
const EVERY_ID: [IdMapping; 1] = [IdMapping { inside: 0, outside: 0, count: u32::MAX }];

/// An id map of the user namespace that a process is in, as brig's own sees it, or of brig's own as the one above it does
/// (user_namespaces(7)).
pub(crate) fn id_map(process: &str, file: &str) -> Result<Vec<IdMapping>, Failure> {
    let path = format!("/proc/{process}/{file}");
    let text = small_file::read_text(&path)
        .map_err(|error| Failure::system(format!("reading {path}"), error))?;
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(IdMapping { inside: next()?, outside: next()?, count: next()? })
    };
    let lines: Option<Vec<_>> = text.lines().map(line).collect();
    lines.ok_or_else(|| Failure::plain(format!("{path} is not as the kernel writes it: {text:?}")))
}

/// What brig itself has, and a process that asks for nothing; none where no rule looks at it.
fn oom_score(profile: &ChosenProfile) -> Result<Option<i32>, Failure> {
    const PATH: &str = "/proc/self/oom_score_adj";
    if !profile.has(|rules| rules.oom_score.mode) {
        return Ok(None);
    }
    let failed = |error| Failure::system(format!("reading {PATH}"), error);
    let text = small_file::read_text(PATH).map_err(failed)?;
    let score = text.trim().parse();
    score.map(Some).map_err(|_| Failure::plain(format!("{PATH} has no number: {text:?}")))
}

/// Whether cgroups are v2 alone; looked at only where a rule needs it.
fn is_on_v2(profile: &ChosenProfile) -> bool {
    let modes: [fn(&Profile) -> Option<Mode>; 5] = [
        |rules| rules.memory.mode,
        |rules| rules.memory_high.mode,
        |rules| rules.oom_group.mode,
        |rules| rules.cgroup_tree.mode,
        |rules| rules.swap.mode,
    ];
    modes.into_iter().any(|mode| profile.has(mode)) && is_there(V2)
}

/// The sizes of huge pages, as cgroups name them; none where no rule looks at them, or where they cannot be limited.
fn huge_pages(profile: &ChosenProfile) -> Result<Vec<String>, Failure> {
    const DIRECTORY: &str = "/sys/kernel/mm/hugepages";
    if !profile.has(|rules| rules.hugetlb.mode) || !is_there(DIRECTORY) {
        return Ok(Vec::new());
    }
    let failed = |error| Failure::system(format!("reading {DIRECTORY}"), error);
    let mut sizes = Vec::new();
    for entry in std::fs::read_dir(DIRECTORY).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let kib =
            name.to_str().and_then(|name| name.strip_prefix("hugepages-")?.strip_suffix("kB"));
        sizes.extend(kib.and_then(|kib| kib.parse::<u64>().ok()).map(|kib| match kib {
            1_048_576.. => format!("{}GB", kib >> 20),
            1024.. => format!("{}MB", kib >> 10),
            _ => format!("{kib}KB"),
        }));
    }
    sizes.sort_unstable();
    Ok(sizes)
}

/// Whether swap can be limited: cgroup v1 has the file where it accounts for swap, v2 wherever there can be any.
fn limits_swap(profile: &ChosenProfile, cgroup_v2: bool) -> bool {
    (profile.has(|rules| rules.memory.mode) || profile.has(|rules| rules.swap.mode))
        && is_there(if cgroup_v2 {
            "/proc/swaps"
        } else {
            "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"
        })
}

fn is_there(path: &str) -> bool {
    accessat(CWD, path, Access::EXISTS, AtFlags::empty()).is_ok()
}
