//! The layers of an overlay that an engine has mounted, which itself cannot be mapped: found in the table of mounts, and
//! proven.
//!
//! Promises: a directory is taken for a layer only if something that the overlay shows is in it, the same to the
//! nanosecond, or if layers above hide all that it has and it lies beside one of which the first holds. Names in the table are words: the
//! engine may have written them from another directory, and others may be there by now. Must never change anything.
//! Reference: the kernel's Documentation/filesystems/overlayfs.rst, fs/overlayfs/params.c.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use brig_pseudofs::{mountinfo, small_file};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::fs::{fgetxattr, fstat, openat, openat2, statat};

use super::root::Directory;
use super::{Error, ErrorKind};
use crate::foreign;
use crate::plan::{Ids, Layer};

/// So many entries of a layer are looked at for one that the overlay shows. Most layers show one of the first ten.
const ENTRIES_LIMIT: usize = 4096;

/// What a mounted overlay is made of.
#[derive(Debug)]
pub(super) struct Overlay {
    /// Its layers, the topmost first: what has been written to it is in that one, where it can be written.
    pub(super) layers: Vec<Layer>,
    /// Those of its options that decide what it shows.
    pub(super) options: Vec<(String, Option<String>)>,
}

/// The overlay that is mounted at a directory.
pub(super) fn of(directory: &Directory) -> Result<Overlay, Error> {
    let table = small_file::read_text("/proc/thread-self/mountinfo")
        .map_err(|error| Error::system("reading /proc/thread-self/mountinfo", error))?;
    let id = directory.mount.to_string();
    let refused = |what: String| {
        Error::plain(format!("root.path: {} {what}", directory.path)).of_kind(ErrorKind::Refused)
    };
    let mount = mountinfo::Mount::all(&table)
        .find(|mount| mount.id == id)
        .filter(|mount| {
            mount.root() == Path::new("/") && mount.point() == Path::new(&directory.path)
        })
        .ok_or_else(|| {
            refused("is a part of an overlay".to_owned()).with_hint(
                "the ids of all of an overlay can be mapped, or of a directory that is on none",
            )
        })?;
    let below = mountinfo::Mount::all(&table).find(|other| other.parent == id && other.id != id);
    if let Some(below) = below {
        let what = format!("has another mount below it, at {}", below.point().display());
        return Err(refused(what).with_hint("mounts of the container belong into config.json"));
    }
    let named = Named::read(&mount).map_err(&refused)?;
    let bases = named.bases(&mount.point());
    let (mut unproven, shown) = (None, &directory.held);
    for base in &bases {
        match named.open(base).map(|opened| prove(shown.as_fd(), &opened)) {
            Some(Ok(layers)) => return Ok(Overlay { layers, options: named.options }),
            Some(Err(path)) => unproven = unproven.or(Some(path)),
            None => {}
        }
    }
    let what = match unproven {
        Some(path) => format!("is an overlay, and {} may not be a layer of it", path.display()),
        None => "is an overlay whose layers are not where the table of mounts says".to_owned(),
    };
    Err(refused(what).with_hint(
        "its ids are mapped layer by layer: the engine's directories have to be visible to brig at the same paths; or \
         give the container a plain directory as its root",
    ))
}

/// What the table of mounts says of an overlay.
#[derive(Debug, Default)]
struct Named {
    /// The topmost first.
    layers: Vec<PathBuf>,
    /// The directory that overlayfs works in: its name may tell where relative ones begin.
    work: Option<PathBuf>,
    options: Vec<(String, Option<String>)>,
}

impl Named {
    fn read(mount: &mountinfo::Mount<'_>) -> Result<Self, String> {
        let (mut named, mut upper) = (Self::default(), None);
        for option in mount.super_options() {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let value = || mountinfo::unescaped(value);
            match key {
                "lowerdir" => named.layers.extend(lower_layers(&value())?),
                "lowerdir+" => named.layers.push(value()),
                "upperdir" => upper = Some(without_backslashes(&value())),
                "workdir" => named.work = Some(without_backslashes(&value())),
                "datadir+" => return Err(DATA_ONLY.to_owned()),
                "userxattr" => named.options.push((key.to_owned(), None)),
                // What is renamed, or copied without its data, leads to other layers by these.
                "redirect_dir" | "metacopy" => {
                    let value = value().to_string_lossy().into_owned();
                    named.options.push((key.to_owned(), Some(value)));
                }
                _ => {}
            }
        }
        named.layers.splice(..0, upper);
        if named.layers.is_empty() {
            Err("is an overlay without layers".to_owned())
        } else {
            Ok(named)
        }
    }

    /// The directories from which relative names may be meant: an engine mounts from its own, which is above all that it
    /// names (containerd, and Docker and Podman where an image has many layers).
    fn bases(&self, point: &Path) -> Vec<PathBuf> {
        if self.layers.iter().all(|layer| layer.is_absolute()) {
            return vec![PathBuf::from("/")];
        }
        let absolute = self.layers.iter().chain(&self.work).filter(|path| path.is_absolute());
        let mut bases = Vec::new();
        for base in
            absolute.map(PathBuf::as_path).chain([point]).flat_map(|path| path.ancestors().skip(1))
        {
            if !bases.iter().any(|known| known == base) {
                bases.push(base.to_owned());
            }
        }
        bases
    }

    /// The layers, if all of them are there.
    fn open(&self, base: &Path) -> Option<Vec<OwnedFd>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |layer| openat(CWD, base.join(layer), flags, Mode::empty()).ok();
        self.layers.iter().map(open).collect()
    }
}

const DATA_ONLY: &str = "is an overlay with layers of data alone";

/// The layers of a `lowerdir`: a colon parts them, unless there is a backslash before it.
fn lower_layers(list: &Path) -> Result<Vec<PathBuf>, String> {
    let (mut layers, mut layer, mut is_escaped) = (Vec::new(), Vec::new(), false);
    for byte in list.as_os_str().as_bytes() {
        match byte {
            b':' if !is_escaped => layers.push(std::mem::take(&mut layer)),
            _ => layer.push(*byte),
        }
        is_escaped = *byte == b'\\' && !is_escaped;
    }
    layers.push(layer);
    // Two colons come before layers that are only for the data of others.
    if layers.iter().any(Vec::is_empty) {
        return Err(DATA_ONLY.to_owned());
    }
    let path = |bytes| without_backslashes(Path::new(&OsString::from_vec(bytes)));
    Ok(layers.into_iter().map(path).collect())
}

/// The name that is meant by one in which a backslash takes the meaning from what follows.
fn without_backslashes(path: &Path) -> PathBuf {
    let (mut plain, mut is_escaped) = (Vec::new(), false);
    for byte in path.as_os_str().as_bytes() {
        is_escaped = *byte == b'\\' && !is_escaped;
        if !is_escaped {
            plain.push(*byte);
        }
    }
    PathBuf::from(OsString::from_vec(plain))
}

/// The layers by their paths, if each of them is proven; else the path of one that is not.
fn prove(shown: BorrowedFd<'_>, opened: &[OwnedFd]) -> Result<Vec<Layer>, PathBuf> {
    let paths: Vec<_> =
        opened.iter().map(|layer| foreign::path_of(layer).unwrap_or_default()).collect();
    let evidence: Vec<_> =
        (0..opened.len()).map(|index| evidence(shown, &opened[index], &opened[..index])).collect();
    let mut layers = Vec::new();
    for (path, own) in paths.iter().zip(&evidence) {
        let mut others = paths.iter().zip(&evidence);
        let is_proven = match own {
            Evidence::Shown => true,
            Evidence::Hidden => others.any(|(other, evidence)| {
                matches!(evidence, Evidence::Shown) && are_beside(path, other)
            }),
            Evidence::Against => false,
        };
        let name = path.to_str().filter(|_| is_proven).ok_or_else(|| path.clone())?;
        layers.push(Layer { path: name.to_owned(), object: None, ids: Ids::Mapped });
    }
    Ok(layers)
}

/// Whether both are layers of one store: `STORE/ID/NAME` each.
fn are_beside(one: &Path, other: &Path) -> bool {
    let store = |path: &Path| path.ancestors().nth(2).map(Path::to_owned);
    store(one).is_some_and(|one| Some(one) == store(other))
}

/// What an overlay and the layers above say of a directory that may be a layer of it.
enum Evidence {
    /// Something of it is shown.
    Shown,
    /// All of it is hidden by layers above, as is right for a layer; there may be nothing.
    Hidden,
    /// Something of it should be shown, and is not.
    Against,
}

fn evidence(shown: BorrowedFd<'_>, layer: &OwnedFd, above: &[OwnedFd]) -> Evidence {
    let (Ok(top), Ok(own)) = (fstat(shown), fstat(layer)) else { return Evidence::Against };
    if is_same(&top, &own) {
        return Evidence::Shown;
    }
    if above.is_empty() {
        return Evidence::Against;
    }
    let (mut ahead, mut left) = (VecDeque::from([PathBuf::new()]), ENTRIES_LIMIT);
    while let Some(path) = ahead.pop_front() {
        let Some(here) = directory(layer.as_fd(), &path) else { return Evidence::Against };
        let there = directory(shown, &path);
        let Ok(entries) = Dir::read_from(&here) else { return Evidence::Against };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = |of: &OwnedFd| statat(of, name, AtFlags::SYMLINK_NOFOLLOW).ok();
            let (Some(own), theirs) = (stat(&here), there.as_ref().and_then(stat)) else {
                continue;
            };
            if theirs.is_some_and(|theirs| is_same(&theirs, &own)) {
                return Evidence::Shown;
            }
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            left -= 1;
            if left == 0 || !above.iter().any(|above| hides(above.as_fd(), &path)) {
                return Evidence::Against;
            }
            if FileType::from_raw_mode(own.st_mode) == FileType::Directory {
                ahead.push_back(path);
            }
        }
    }
    Evidence::Hidden
}

/// Whether a layer has something in the place of what layers below have at a path: the same name, which may be a whiteout,
/// or on the way there no directory, or one that is opaque.
fn hides(layer: BorrowedFd<'_>, path: &Path) -> bool {
    let mut on_the_way: Vec<_> = path.ancestors().filter(|path| *path != Path::new("")).collect();
    while let Some(place) = on_the_way.pop() {
        let Ok(stat) = statat(layer, place, AtFlags::SYMLINK_NOFOLLOW) else { return false };
        if place == path || FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return true;
        }
        if directory(layer, place).is_some_and(|directory| is_opaque(&directory)) {
            return true;
        }
    }
    false
}

fn is_opaque(directory: &OwnedFd) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|name| {
        let mut value = [0; 2];
        fgetxattr(directory, *name, &mut value).is_ok_and(|length| value[..length] == *b"y")
    })
}

/// A directory of a tree, without following links or leaving it.
fn directory(tree: BorrowedFd<'_>, path: &Path) -> Option<OwnedFd> {
    let path = if path == Path::new("") { Path::new(".") } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(tree, path, flags, Mode::empty(), resolve).ok()
}

/// Whether an overlay shows a file of a layer: all that overlayfs passes on as it is. The inode is not: of directories, of
/// what was copied up, and of layers on several file systems it is another. The time of the last change is the kernel's
/// own, and nobody can set it.
fn is_same(shown: &Stat, layer: &Stat) -> bool {
    let of = |stat: &Stat| {
        let changed = (stat.st_ctime, stat.st_ctime_nsec, stat.st_mtime, stat.st_mtime_nsec);
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let size = if is_directory { 0 } else { stat.st_size };
        (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev, size, changed)
    };
    of(shown) == of(layer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn named(options: &str) -> Result<Named, String> {
        let line = format!("1 1 0:1 / /s/9/merged rw - overlay overlay rw,{options}");
        Named::read(&mountinfo::Mount::parse(&line).unwrap())
    }

    fn layers(options: &str) -> Vec<PathBuf> {
        named(options).unwrap().layers
    }

    #[test]
    fn the_upper_layer_is_the_topmost() {
        let found = layers("lowerdir=/b:/a,upperdir=/c,workdir=/w,index=off");
        assert_eq!(found, ["/c", "/b", "/a"].map(PathBuf::from));
        assert_eq!(layers("lowerdir+=/b:x,lowerdir+=/a"), ["/b:x", "/a"].map(PathBuf::from));
    }

    #[test]
    fn names_are_as_they_are_on_disk() {
        // What Linux 6.18 shows of layers that are called a:b and c,d, and of one with a space.
        let found = layers("lowerdir=a\\134:b/diff:c\\134\\054d/diff:e\\040f");
        assert_eq!(found, ["a:b/diff", "c,d/diff", "e f"].map(PathBuf::from));
        assert_eq!(layers("lowerdir+=/c\\054d"), [PathBuf::from("/c,d")]);
        assert_eq!(layers("lowerdir=/a\\134\\134:/b"), ["/a\\", "/b"].map(PathBuf::from));
    }

    #[test]
    fn what_decides_what_is_shown_is_kept() {
        let found =
            named("lowerdir=/a,redirect_dir=nofollow,xino=off,userxattr,metacopy=on").unwrap();
        let [redirect, user, meta] = found.options.as_slice() else { panic!("{found:?}") };
        assert_eq!(redirect, &("redirect_dir".to_owned(), Some("nofollow".to_owned())));
        assert_eq!(user, &("userxattr".to_owned(), None));
        assert_eq!(meta, &("metacopy".to_owned(), Some("on".to_owned())));
    }

    #[test]
    fn layers_of_data_alone_are_refused() {
        for options in ["lowerdir=/a::/d", "lowerdir+=/a,datadir+=/d"] {
            assert_eq!(named(options).unwrap_err(), DATA_ONLY);
        }
    }

    #[test]
    fn relative_names_may_begin_wherever_an_engine_works() {
        let found =
            named("lowerdir=2/fs:1/fs,upperdir=/s/snapshots/3/fs,workdir=/s/snapshots/3/work")
                .unwrap();
        let bases = found.bases(Path::new("/run/task/rootfs"));
        assert!(bases.contains(&PathBuf::from("/s/snapshots")), "{bases:?}");
        let found = named("lowerdir=l/B:l/A,upperdir=9/diff,workdir=9/work").unwrap();
        assert!(found.bases(Path::new("/s/9/merged")).contains(&PathBuf::from("/s")));
        assert_eq!(named("lowerdir=/a").unwrap().bases(Path::new("/s")), [PathBuf::from("/")]);
    }
}
