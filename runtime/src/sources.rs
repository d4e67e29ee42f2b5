//! What the sources of bind mounts and the root are: opened, held, and told to the node's policy.
//!
//! Promises: what is judged is an object that is held until the container is made, and the child compares it with what it
//! finds at the path. Must never decide anything.

mod places;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, FsWord, Mode, OFlags, Stat, StatxFlags, fstat, fstatfs, major, makedev,
    minor, openat, stat, statat, statx,
};
use rustix::io::Errno;

use crate::foreign;
use crate::hook_programs::HookPrograms;
use crate::plan::SourceObject;
use crate::policy::source::{Kind, Object, Source};
use crate::policy::{self, ChosenProfile};
use crate::spec::Config;
use crate::spec::mount::Kind as MountKind;

/// The field of the root.
const ROOT: &str = "root.path";
/// More directories than a path can have names (`PATH_MAX`).
const DEPTH_LIMIT: usize = 2048;

/// The sources of a bundle's bind mounts, and its root, where a rule judges them.
#[derive(Debug, Default)]
pub struct HeldSources {
    pub(crate) judged: policy::Sources,
    /// So that their numbers are not given to others.
    held: Vec<OwnedFd>,
    /// What each mount of the specification has to be made from, as far as that is known.
    expected: Vec<Option<SourceObject>>,
    /// The programs of hooks.
    pub(crate) programs: HookPrograms,
}

impl HeldSources {
    /// Looks at the sources of a specification whose bundle is at `bundle`, and at its root, and at the
    /// programs of hooks; at nothing where the rules are off in every set.
    pub(crate) fn find(
        config: &Config,
        bundle: &Path,
        root: Option<BorrowedFd<'_>>,
        profile: &ChosenProfile,
    ) -> Self {
        let (mut found, mut walked) = (Self::default(), Walked::default());
        (found.programs, found.judged.programs) =
            HookPrograms::find(&config.hooks.by_name(), profile);
        if !profile.has(|rules| rules.bind_sources.mode) {
            return found;
        }
        for (index, mount) in config.mounts.iter().enumerate() {
            let source = match (&mount.kind, &mount.source) {
                (MountKind::Bind(_), Some(source)) => {
                    found.add(index, &bundle.join(source), &mut walked)
                }
                _ => None,
            };
            found.expected.push(source);
        }
        let path = Path::new(&config.root.path);
        let mut of_root = match root {
            Some(root) => look_at(root, path, &mut walked),
            None => unseen(path, Errno::NOENT),
        };
        ROOT.clone_into(&mut of_root.field);
        found.judged.found.push(of_root);
        found.judged.bundle = stat(bundle).map(|stat| object(&stat)).ok();
        let (sources, bundle) = (&found.judged.found, found.judged.bundle);
        let places = |rule| places::of_rule(rule, sources, bundle);
        found.judged.places = profile.sets().map(|set| places(&set.rules.bind_sources)).collect();
        found
    }

    /// Opens the source of a mount, as the child will.
    fn add(&mut self, index: usize, path: &Path, walked: &mut Walked) -> Option<SourceObject> {
        let field = format!("mounts[{index}].source");
        let opened = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let (source, expected) = match &opened {
            Ok(opened) => (look_at(opened.as_fd(), path, walked), fstat(opened).ok()),
            Err(errno) => (unseen(path, *errno), None),
        };
        self.held.extend(opened);
        self.judged.found.push(Source { field, ..source });
        expected.map(|stat| SourceObject {
            device: (major(stat.st_dev), minor(stat.st_dev)),
            inode: stat.st_ino,
        })
    }

    /// What each mount has to be made from, by its index; none where nothing was judged.
    #[must_use]
    pub fn expected(&self) -> &[Option<SourceObject>] {
        &self.expected
    }
}

fn object(stat: &Stat) -> Object {
    Object { device: stat.st_dev, inode: stat.st_ino }
}

fn unseen(path: &Path, errno: Errno) -> Source {
    let why = std::io::Error::from(errno).to_string();
    let path = path.to_string_lossy().into_owned();
    Source { field: String::new(), path, kind: Kind::Unseen(why), within: Vec::new() }
}

/// What an open object is, and where. `path` is for words, where the kernel does not tell another.
fn look_at(opened: BorrowedFd<'_>, path: &Path, walked: &mut Walked) -> Source {
    let real = foreign::path_of(opened).unwrap_or_else(|_| path.to_owned());
    match kind(opened).and_then(|kind| Ok((kind, walked.within(opened, &real)?))) {
        Ok((kind, within)) => {
            let path = real.to_string_lossy().into_owned();
            Source { field: String::new(), path, kind, within }
        }
        Err(errno) => unseen(&real, errno),
    }
}

/// File systems of linux/magic.h by which the kernel is told things, or tells them.
const KERNELS: &[(FsWord, &str)] = &[
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0xcafe_4a11, "bpf"),
    (0xde5e_81e4, "efivarfs"),
    (0x6265_6570, "configfs"),
    (0x6165_676c, "pstore"),
    (0x6e73_6673, "nsfs"),
    (0xf97c_ff8c, "selinuxfs"),
    (0x4249_4e4d, "binfmt_misc"),
    (0x1cd1, "devpts"),
    (0x0765_5821, "resctrl"),
];

/// Whether a file system of this type is the kernel's own.
pub(crate) fn is_kernels(magic: FsWord) -> bool {
    KERNELS.iter().any(|(kernels, _)| *kernels == magic)
}

fn kind(opened: BorrowedFd<'_>) -> Result<Kind, Errno> {
    let magic = fstatfs(opened)?.f_type;
    if let Some((_, name)) = KERNELS.iter().find(|(kernels, _)| *kernels == magic) {
        return Ok(Kind::Kernel(name));
    }
    Ok(match FileType::from_raw_mode(fstat(opened)?.st_mode) {
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice | FileType::BlockDevice => Kind::Device,
        _ => Kind::Plain,
    })
}

/// Directories, each by its mount and by what it is, with all that it is in: many sources are in the same ones. By
/// another mount the same directory may be in others, so where the kernel tells no mount (before 5.8) none is known.
#[derive(Debug, Default)]
struct Walked(Vec<(Standing, Vec<Object>)>);

/// A directory, and the mount by which it is open, where the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    mount: Option<u64>,
    object: Object,
}

impl Walked {
    /// The object and every directory that it is in.
    fn within(&mut self, opened: BorrowedFd<'_>, path: &Path) -> Result<Vec<Object>, Errno> {
        let own = fstat(opened)?;
        let root = object(&stat("/")?);
        let mut found = vec![object(&own)];
        let mut here = match FileType::from_raw_mode(own.st_mode) {
            FileType::Directory if found[0] == root => return Ok(found),
            FileType::Directory => openat(opened, "..", UP, Mode::empty())?,
            _ => above_file(path, found[0])?,
        };
        let mut steps = Vec::new();
        for _ in 0..DEPTH_LIMIT {
            let next = standing(&here)?;
            let is_it = |(known, _): &&(Standing, _)| next.mount.is_some() && *known == next;
            let known = self.0.iter().find(is_it);
            if let Some((_, rest)) = known {
                found.extend(rest);
            } else {
                steps.push((next, found.len()));
                found.push(next.object);
            }
            if known.is_some() || next.object == root {
                self.0.extend(steps.into_iter().map(|(step, at)| (step, found[at..].to_vec())));
                return Ok(found);
            }
            here = openat(&here, "..", UP, Mode::empty())?;
        }
        Err(Errno::LOOP)
    }
}

const UP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The directory that a file is in. A file does not know where it is: only its path tells, and the directory there
/// whether that is so.
fn above_file(path: &Path, file: Object) -> Result<OwnedFd, Errno> {
    let (above, name) = path.parent().zip(path.file_name()).ok_or(Errno::INVAL)?;
    let above = openat(CWD, above, UP | OFlags::NOFOLLOW, Mode::empty())?;
    let there = statat(&above, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if object(&there) != file {
        return Err(Errno::STALE);
    }
    Ok(above)
}

fn standing(opened: &OwnedFd) -> Result<Standing, Errno> {
    let mask = StatxFlags::INO | StatxFlags::MNT_ID;
    let found = statx(opened, "", AtFlags::EMPTY_PATH, mask)?;
    let device = makedev(found.stx_dev_major, found.stx_dev_minor);
    let is_told = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    let mount = is_told.then_some(found.stx_mnt_id);
    Ok(Standing { mount, object: Object { device, inode: found.stx_ino } })
}
