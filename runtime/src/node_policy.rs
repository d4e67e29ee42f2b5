//! The node's policy: which profile holds for a container, read when it is to be made.
//!
//! Promises: it is root's, in a file that nobody else can have written, opened once and not through a link. One that is
//! there and cannot be read, or not understood in full, is an error, and no container is made. Must never look at what a
//! bundle says.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use brig_policy::{Applied, ChosenProfile, Facts, IdPool, Mode, NodePolicy, Policy, Remap};
use brig_pseudofs::small_file;
use brig_seccomp::{Arch, BpfProgram};
use rustix::fs::{Access, AtFlags, CWD, OFlags, accessat, fstat, statat};
use rustix::io::Errno;

use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::trusted::{self, Whose};

/// Where the policy is.
pub const DIRECTORY: &str = "/etc/brig";
/// Its name there.
pub const FILE: &str = "policy.toml";
/// The write permissions of group and others.
const OTHERS_WRITE: u32 = 0o022;

/// The policy of this node, for as long as a program lives. The file is read for each container, as it may change
/// meanwhile, and understood anew where its text is another: no time stamp is trusted. One that is not understood any more
/// is an error, not the policy of before.
#[derive(Debug)]
pub struct PolicyFile {
    /// The profile that was chosen on the node's side, by a flag or by the name that brig is called by; the policy's
    /// default where none was.
    selected: Option<String>,
    /// Whether systemd makes the cgroups.
    systemd: bool,
    /// The text that was read last, and the profile and the pool of ids of it.
    known: Mutex<Option<(String, ChosenProfile, IdPool)>>,
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
        let Some(text) = text()? else {
            return match self.selected() {
                None => Ok(NodePolicy::oci()),
                selected => {
                    let profile = chosen(&Policy::without_file(), selected)?;
                    on_this_machine(profile, IdPool::default(), self.systemd)
                }
            };
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (profile, pool) = match &*known {
            Some((of, profile, pool)) if *of == text => (profile.clone(), *pool),
            _ => {
                let policy = parse(&text)?;
                let profile = chosen(&policy, self.selected())?;
                let (_, profile, pool) = known.insert((text, profile, policy.ids()));
                (profile.clone(), *pool)
            }
        };
        drop(known);
        on_this_machine(profile, pool, self.systemd)
    }

    fn selected(&self) -> Option<&str> {
        self.selected.as_deref()
    }
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
    on_this_machine(chosen(&policy, selected)?, policy.ids(), systemd)
}

fn chosen(policy: &Policy, selected: Option<&str>) -> Result<ChosenProfile, Failure> {
    policy.profile(selected).map_err(|error| {
        let hint = error.hint().to_owned();
        Failure::plain(format!("the node's policy: {error}")).with_hint(hint)
    })
}

/// With what of the machine decides now what its rules come to.
fn on_this_machine(
    profile: ChosenProfile,
    pool: IdPool,
    systemd: bool,
) -> Result<NodePolicy, Failure> {
    let (limits_swap, oom_score) = (limits_swap(&profile), oom_score(&profile)?);
    let is_on = profile.rules.landlock.mode.unwrap_or_default() != Mode::Off;
    let landlock = if is_on { brig_sys::landlock::version() } else { 0 };
    let forbids_programs_in_memory = is_on && is_there("/proc/sys/vm/memfd_noexec");
    let remap = match Caller::get() {
        Caller::Root => Remap::Unclaimed,
        Caller::RootOfUserNamespace | Caller::User => Remap::Unprivileged,
    };
    let facts = Facts {
        limits_swap,
        systemd,
        oom_score,
        landlock,
        forbids_programs_in_memory,
        pool,
        remap,
        overlay_root: false,
    };
    Ok(NodePolicy { profile, facts })
}

fn path() -> PathBuf {
    Path::new(DIRECTORY).join(FILE)
}

/// The text of the file; `None` where there is none.
fn text() -> Result<Option<String>, Failure> {
    let path = path();
    let failed = |error: io::Error| Failure::system(format!("reading {}", path.display()), error);
    // One call where there is none; the walk to it looks at each owner on the way. A link that leads to nothing is no
    // absence: what it leads to may not be mounted yet.
    if statat(CWD, DIRECTORY, AtFlags::SYMLINK_NOFOLLOW).err() == Some(Errno::NOENT) {
        return Ok(None);
    }
    let directory =
        trusted::open_directory(Path::new(DIRECTORY), Whose::Systems)?.ok_or_else(|| {
            Failure::plain(format!("{DIRECTORY} is a link that leads to nothing"))
                .with_hint("remove it where the node is to have no policy")
        })?;
    let Some(file) = trusted::file_in(&directory, FILE, OFlags::RDONLY, &path, Whose::Systems)?
    else {
        return Ok(None);
    };
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

/// Reads the text of a policy file, whose name is in what it says.
///
/// # Errors
/// See [`Policy::read`]; with the file, and the place in it.
fn parse(text: &str) -> Result<Policy, Failure> {
    Policy::read(text).map_err(|error| explain(&path(), &error))
}

/// What is wrong with the policy file at `path`.
#[must_use]
pub fn explain(path: &Path, error: &brig_policy::Error) -> Failure {
    Failure::plain(format!("{}: {error}", path.display())).with_hint(error.hint())
}

/// The filter that the node's policy puts beside a container's own, by the profile that it was made with.
///
/// # Errors
/// This machine's processor has none of that name.
pub fn filter(applied: &Applied) -> Result<Option<BpfProgram>, Failure> {
    let rule = &applied.profile.rules.seccomp;
    let name = match (rule.mode.unwrap_or_default(), rule.profile) {
        (Mode::Enforce | Mode::Refuse, Some(profile)) => profile.name(),
        _ => return Ok(None),
    };
    brig_seccomp::compiled(name, Arch::native()).map(Some).ok_or_else(|| {
        Failure::plain(format!(
            "the node's rule seccomp: there is no filter {name} for this processor"
        ))
        .with_hint("set the rule's mode to \"off\" in the policy file")
    })
}

/// What brig itself has, and a process that asks for nothing; none where no rule looks at it.
pub(crate) fn oom_score(profile: &ChosenProfile) -> Result<Option<i32>, Failure> {
    const PATH: &str = "/proc/self/oom_score_adj";
    if profile.rules.oom_score.mode.unwrap_or_default() == Mode::Off {
        return Ok(None);
    }
    let failed = |error| Failure::system(format!("reading {PATH}"), error);
    let text = small_file::read_text(PATH).map_err(failed)?;
    let score = text.trim().parse();
    score.map(Some).map_err(|_| Failure::plain(format!("{PATH} has no number: {text:?}")))
}

/// Whether swap can be limited: cgroup v1 has the file where it accounts for swap, v2 wherever there can be any.
fn limits_swap(profile: &ChosenProfile) -> bool {
    profile.rules.memory.mode.unwrap_or_default() != Mode::Off
        && (is_there("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
            || is_there("/sys/fs/cgroup/cgroup.controllers") && is_there("/proc/swaps"))
}

fn is_there(path: &str) -> bool {
    accessat(CWD, path, Access::EXISTS, AtFlags::empty()).is_ok()
}
