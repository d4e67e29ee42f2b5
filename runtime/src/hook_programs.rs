//! The programs of hooks that run on the host, as the node's policy judges them: opened, looked at, and held until they run.
//!
//! Promises: what was judged is what is executed, by its descriptor, and only as long as it has not been changed since.
//! Must never decide anything, or open what is no regular file.

use std::fs::{File, Metadata};
use std::io::{self, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode as RawMode, OFlags, ResolveFlags, Stat, fstat, openat};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::digest::sha256;
use crate::foreign;
use crate::policy::source::Program;
use crate::policy::value::{EngineProgram, HookProgram};
use crate::policy::{self, ChosenProfile, Denial, Mode};
use crate::spec::{Hook, Hooks};

/// The largest program that is read: those of engines have a hundred megabytes.
const LIMIT_BYTES: u64 = 512 << 20;
/// The write permissions of group and others.
const OTHERS_WRITE: u32 = 0o022;
/// Where others may write, but not replace what is not theirs (inode(7)).
const STICKY: u32 = 0o1000;

/// The programs of the hooks that run on the host; without the rule each is executed by its path, as whoever wrote the
/// configuration has it.
#[derive(Debug, Default)]
pub struct HookPrograms {
    is_judged: bool,
    held: Vec<(String, Held)>,
}

/// A program that is open.
#[derive(Debug)]
pub(crate) struct Held {
    file: File,
    /// Its digest, where it is known by that.
    sha256: Option<String>,
    /// When it had that.
    changed: (i64, i64, u64),
}

impl HookPrograms {
    /// Opens those of the lists, with the names that config.json has for these, and what the rule looks at of each.
    pub(crate) fn find(
        lists: &[(&'static str, &[Hook])],
        profile: &ChosenProfile,
    ) -> (Self, Vec<Program>) {
        let rules = profile.sets().map(|set| &set.rules.hooks);
        let mode = |rule: &policy::Hooks| rule.mode.unwrap_or_default();
        let is_judged = rules.clone().any(|rule| mode(rule) >= Mode::Enforce);
        let (mut held, mut seen) = (Vec::new(), Vec::new());
        // Of each set: which of them has to allow a program is no question here.
        let mut known = Known::default();
        for rule in rules.filter(|rule| mode(rule) != Mode::Off) {
            known.allow.extend(rule.allow.iter().flatten());
            known.engines.extend(rule.engines.iter().flatten());
        }
        if known.allow.is_empty() && known.engines.is_empty() {
            return (Self { is_judged, held }, seen);
        }
        for (stage, hooks) in lists.iter().filter(|(stage, _)| policy::is_on_the_host(stage)) {
            for (index, hook) in hooks.iter().enumerate() {
                let field = policy::hook_field(stage, index);
                let Ok((program, file)) = look_at(&field, hook, &known) else {
                    continue;
                };
                seen.push(program);
                held.extend(file.map(|file| (field, file)));
            }
        }
        (Self { is_judged, held }, seen)
    }

    /// Those of one list, judged anew by the profile that the container was made with.
    pub(crate) fn judged(
        stage: &'static str,
        hooks: &[Hook],
        profile: &ChosenProfile,
    ) -> Result<Self, Denial> {
        let (programs, seen) = Self::find(&[(stage, hooks)], profile);
        let mut only = Hooks::default();
        *only.by_name_mut(stage) = hooks.to_vec();
        policy::judge_hooks(&only, &seen, profile)?;
        Ok(programs)
    }

    /// What is executed for a hook: none where that is its path.
    pub(crate) fn of(&self, field: &str) -> io::Result<Option<&Held>> {
        if !self.is_judged {
            return Ok(None);
        }
        let held = self.held.iter().find(|(of, _)| of == field);
        let (_, held) = held.ok_or_else(|| io::Error::other("it was not judged"))?;
        Ok(Some(held))
    }
}

impl Held {
    /// Its path, which holds as long as this does.
    pub(crate) fn path(&self) -> io::Result<String> {
        // Its name counts too, for the time: that it was renamed is no change of what it is.
        if changed(&self.file)? != self.changed
            && (self.sha256.is_none() || self.sha256 != digest(&self.file).map(Some)?)
        {
            return Err(io::Error::other("it was changed since it was judged"));
        }
        let mut start = [0; 2];
        if self.file.read_at(&mut start, 0)? == 2 && &start == b"#!" {
            // Its interpreter opens it by this path (execve(2)).
            fcntl_setfd(&self.file, FdFlags::empty())?;
        }
        Ok(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

fn digest(mut file: &File) -> io::Result<String> {
    file.rewind()?;
    sha256(file, LIMIT_BYTES)
}

fn changed(file: &File) -> io::Result<(i64, i64, u64)> {
    let now = file.metadata()?;
    Ok((now.ctime(), now.ctime_nsec(), now.len()))
}

/// What the rules list.
#[derive(Default)]
struct Known<'r> {
    allow: Vec<&'r HookProgram>,
    engines: Vec<&'r EngineProgram>,
}

/// A digest is made only of what else is as the rule has it: it takes the longer the larger the file is.
fn look_at(field: &str, hook: &Hook, known: &Known<'_>) -> io::Result<(Program, Option<Held>)> {
    let file = foreign::regular_file(CWD, Path::new(&hook.path), ResolveFlags::empty())?;
    let file = file.ok_or(io::ErrorKind::InvalidInput)?;
    let stat = file.metadata()?;
    let path = foreign::path_of(&file)?.to_string_lossy().into_owned();
    let engines = known.engines.iter().filter(|one| one.fits(&hook.args));
    let at = engines.map(|one| &one.path).filter(|place| is_at(&stat, Path::new(place)));
    let mut program = Program {
        field: field.to_owned(),
        owner: stat.uid(),
        is_others: stat.mode() & OTHERS_WRITE != 0,
        sha256: None,
        at: at.cloned().collect(),
        path,
    };
    let is_listed = known.allow.iter().any(|one| one.path == program.path);
    if !is_listed && program.at.is_empty() {
        return Ok((program, None));
    }
    let changed = changed(&file)?;
    if is_listed {
        program.sha256 = Some(digest(&file)?);
    }
    let sha256 = program.sha256.clone();
    Ok((program, Some(Held { file, sha256, changed })))
}

/// Whether a file is what root has put at a place. What the kernel calls an open file does not tell: it may be of another mount
/// namespace, whose paths are its own.
fn is_at(file: &Metadata, place: &Path) -> bool {
    let found = roots(place);
    found.is_ok_and(|found| (found.st_dev, found.st_ino) == (file.dev(), file.ino()))
}

/// The file at a place that leads over directories of root's and over no link, all of which nobody else can have put there.
/// Root is the owner of `/`, as a user namespace may not map it.
fn roots(place: &Path) -> io::Result<Stat> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here = openat(CWD, "/", flags, RawMode::empty())?;
    let mut stat = fstat(&here)?;
    let root = stat.st_uid;
    for part in place.components().skip(1) {
        let is_others = stat.st_mode & OTHERS_WRITE != 0 && stat.st_mode & STICKY == 0;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_others || !is_directory {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        here = openat(&here, part.as_os_str(), flags, RawMode::empty())?;
        stat = fstat(&here)?;
        if stat.st_uid != root {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    Ok(stat)
}
