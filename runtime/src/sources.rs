//! What the sources of bind mounts and the root are: opened, held, and told to the node's policy.
//!
//! Promises: what is judged is an object that is held until the container is made, and the child compares it with what it
//! finds at the path. Must never decide anything.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, FsWord, Mode, OFlags, Stat, fstat, fstatfs, major, minor,
};
use rustix::fs::{openat, stat, statat};
use rustix::io::Errno;

use crate::foreign;
use crate::plan::SourceObject;
use crate::policy::source::{Kind, Listed, Object, Source};
use crate::policy::{self, BindSources, Mode as RuleMode};
use crate::spec::Config;
use crate::spec::mount::Kind as MountKind;

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
}

impl HeldSources {
    /// Looks at the sources of a specification whose bundle is at `bundle`, and at its root; at nothing where the rule is off.
    pub(crate) fn find(
        config: &Config,
        bundle: &Path,
        root: Option<BorrowedFd<'_>>,
        rule: &BindSources,
    ) -> Self {
        let mut found = Self::default();
        if rule.mode.unwrap_or_default() == RuleMode::Off {
            return found;
        }
        for (index, mount) in config.mounts.iter().enumerate() {
            let source = match (&mount.kind, &mount.source) {
                (MountKind::Bind(_), Some(source)) => found.add(index, &bundle.join(source)),
                _ => None,
            };
            found.expected.push(source);
        }
        let path = Path::new(&config.root.path);
        let mut of_root =
            root.map_or_else(|| unseen(path, Errno::NOENT), |root| look_at(root, path));
        "root.path".clone_into(&mut of_root.field);
        found.judged.found.push(of_root);
        let deny = rule.deny.as_deref().unwrap_or_default();
        let allow = rule.allow.iter().chain(&rule.engines).flatten();
        found.judged.allowed = allow.flat_map(|path| listed(path)).collect();
        found.judged.denied = deny.iter().flat_map(|path| listed(path)).collect();
        found.judged.above_denied = above(deny);
        found.judged.images = rule.images.iter().flatten().flat_map(|path| listed(path)).collect();
        found
    }

    /// Opens the source of a mount, as the child will.
    fn add(&mut self, index: usize, path: &Path) -> Option<SourceObject> {
        let field = format!("mounts[{index}].source");
        let opened = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let (source, expected) = match &opened {
            Ok(opened) => (look_at(opened.as_fd(), path), fstat(opened).ok()),
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
fn look_at(opened: BorrowedFd<'_>, path: &Path) -> Source {
    let real = foreign::path_of(opened).unwrap_or_else(|_| path.to_owned());
    match kind(opened).and_then(|kind| Ok((kind, within(opened, &real)?))) {
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

/// The object and every directory that it is in.
fn within(opened: BorrowedFd<'_>, path: &Path) -> Result<Vec<Object>, Errno> {
    const UP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
    let own = fstat(opened)?;
    let root = object(&stat("/")?);
    let mut found = vec![object(&own)];
    let mut here = match FileType::from_raw_mode(own.st_mode) {
        FileType::Directory if found[0] == root => return Ok(found),
        FileType::Directory => openat(opened, "..", UP, Mode::empty())?,
        // A file does not know where it is: only its path tells, and the directory there whether that is so.
        _ => {
            let (above, name) = path.parent().zip(path.file_name()).ok_or(Errno::INVAL)?;
            let above = openat(CWD, above, UP | OFlags::NOFOLLOW, Mode::empty())?;
            let there = statat(&above, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if object(&there) != found[0] {
                return Err(Errno::STALE);
            }
            above
        }
    };
    for _ in 0..DEPTH_LIMIT {
        let next = object(&fstat(&here)?);
        found.push(next);
        if next == root {
            return Ok(found);
        }
        here = openat(&here, "..", UP, Mode::empty())?;
    }
    Err(Errno::LOOP)
}

/// What is at a path that a policy lists; a component `*` stands for any name.
fn listed(path: &str) -> Vec<Listed> {
    let is_any = |part: &Component<'_>| part.as_os_str() == "*";
    let Some(any) = Path::new(path).components().position(|part| is_any(&part)) else {
        let object = stat(path).map(|stat| object(&stat));
        return object.into_iter().map(|object| Listed { path: path.to_owned(), object }).collect();
    };
    let parts: Vec<_> = Path::new(path).components().collect();
    let (above, below) = (parts[..any].iter().collect::<PathBuf>(), &parts[any + 1..]);
    let names = fs::read_dir(above).into_iter().flatten().flatten();
    let paths = names.map(|name| name.path().join(below.iter().collect::<PathBuf>()));
    let objects = paths.filter_map(|path| stat(&path).ok()).map(|stat| object(&stat));
    objects.map(|object| Listed { path: path.to_owned(), object }).collect()
}

/// Every directory that something of the list is in, by its name and where links lead from there, with what that is.
fn above(list: &[String]) -> Vec<Listed> {
    let mut found: Vec<(PathBuf, Listed)> = Vec::new();
    for path in list {
        let mut places = vec![PathBuf::from(path)];
        let opened = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok();
        places.extend(opened.and_then(|opened| foreign::path_of(opened.as_fd()).ok()));
        for above in places.iter().flat_map(|place| place.ancestors().skip(1)) {
            if found.iter().any(|(known, _)| known == above) {
                continue;
            }
            if let Ok(stat) = stat(above) {
                let listed = Listed { path: path.clone(), object: object(&stat) };
                found.push((above.to_owned(), listed));
            }
        }
    }
    found.into_iter().map(|(_, listed)| listed).collect()
}
