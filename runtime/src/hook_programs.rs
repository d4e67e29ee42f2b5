//! The programs of hooks that run on the host, as the node's policy judges them: opened, looked at, and held until they run.
//!
//! Promises: what was judged is what is executed, by its descriptor, and only as long as it has not been changed since.
//! Must never decide anything, or open what is no regular file.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{CWD, ResolveFlags};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::digest::sha256;
use crate::foreign;
use crate::policy::source::Program;
use crate::policy::{self, ChosenProfile, Denial, Mode};
use crate::spec::{Hook, Hooks};

/// The largest program that is read: those of engines have a hundred megabytes.
const LIMIT_BYTES: u64 = 512 << 20;

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
    /// Its digest.
    sha256: String,
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
        let allow = rules.filter(|rule| mode(rule) != Mode::Off).flat_map(|rule| &rule.allow);
        let allow: Vec<_> = allow.flatten().collect();
        if allow.is_empty() {
            return (Self { is_judged, held }, seen);
        }
        for (stage, hooks) in lists.iter().filter(|(stage, _)| policy::is_on_the_host(stage)) {
            for (index, hook) in hooks.iter().enumerate() {
                let field = policy::hook_field(stage, index);
                let Ok((program, file)) = look_at(&field, Path::new(&hook.path), &allow) else {
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
        if changed(&self.file)? != self.changed && digest(&self.file)? != self.sha256 {
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

/// A digest is made only of what else is as the rule has it: it takes the longer the larger the file is.
fn look_at(
    field: &str,
    path: &Path,
    allow: &[&policy::value::HookProgram],
) -> io::Result<(Program, Option<Held>)> {
    let file = foreign::regular_file(CWD, path, ResolveFlags::empty())?;
    let file = file.ok_or(io::ErrorKind::InvalidInput)?;
    let stat = file.metadata()?;
    let path = foreign::path_of(&file)?.to_string_lossy().into_owned();
    let mut program = Program {
        field: field.to_owned(),
        owner: stat.uid(),
        is_others: stat.mode() & 0o022 != 0,
        sha256: None,
        path,
    };
    if !allow.iter().any(|one| one.path == program.path) {
        return Ok((program, None));
    }
    let changed = changed(&file)?;
    let sha256 = digest(&file)?;
    program.sha256 = Some(sha256.clone());
    Ok((program, Some(Held { file, sha256, changed })))
}
