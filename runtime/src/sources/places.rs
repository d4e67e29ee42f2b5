//! The places of the host that a policy lists, looked up anew for each container: whatever was renamed, replaced or
//! mounted over since the last one is seen.
//!
//! Promises: every denied place is looked up, each directory on the way once; of what may be bound, as many as it takes to
//! find those that a source is in, the likeliest first: which are left out changes no decision. Must never decide by a
//! path: it only says where to look first.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, lstat, openat, openat2, stat};

use super::object;
use crate::foreign;
use crate::policy::source::{Kind, Listed, Object, Source};
use crate::policy::{BindSources, Mode as RuleMode, Places};

/// What has a name on the host.
#[derive(Clone, Copy)]
enum Named {
    Nothing,
    Link,
    Other(Object),
}

/// Each name that has been looked at. A link is not followed.
#[derive(Default)]
struct Names(BTreeMap<PathBuf, Named>);

impl Names {
    fn look(&mut self, path: &Path) -> Named {
        if let Some(named) = self.0.get(path) {
            return *named;
        }
        let named = match lstat(path) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => Named::Link,
            Ok(stat) => Named::Other(object(&stat)),
            Err(_) => Named::Nothing,
        };
        self.0.insert(path.to_owned(), named);
        named
    }

    /// What is at a path, with the paths of all that it is in: its own, and where links lead.
    fn find(&mut self, path: &Path) -> Option<(Object, Vec<PathBuf>)> {
        let own = || path.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>();
        // A path that is not absolute begins at a name that is none.
        let named = path.ancestors().filter(|place| !place.as_os_str().is_empty());
        let mut parents: Vec<&Path> = named.collect();
        parents.reverse();
        for place in parents {
            match self.look(place) {
                Named::Other(object) if place == path => return Some((object, own())),
                Named::Other(_) => {}
                Named::Nothing => return None,
                Named::Link => {
                    let flags = OFlags::PATH | OFlags::CLOEXEC;
                    let opened = openat(CWD, path, flags, Mode::empty()).ok()?;
                    let real = foreign::path_of(opened.as_fd()).unwrap_or_default();
                    let above = real.ancestors().skip(1).map(Path::to_owned);
                    let above = own().into_iter().chain(above).collect();
                    return Some((object(&fstat(&opened).ok()?), above));
                }
            }
        }
        None
    }

    /// What a directory on the way is, links followed.
    fn above(&mut self, path: &Path) -> Option<Object> {
        match self.look(path) {
            Named::Other(object) => Some(object),
            Named::Link => stat(path).map(|stat| object(&stat)).ok(),
            Named::Nothing => None,
        }
    }
}

/// What a rule lists, as far as it bears on these sources.
pub(super) fn of_rule(rule: &BindSources, sources: &[Source], bundle: Option<Object>) -> Places {
    let mut places = Places::default();
    if rule.mode.unwrap_or_default() == RuleMode::Off {
        return places;
    }
    let deny = rule.deny.as_deref().unwrap_or_default();
    (places.denied, places.above_denied) = denied(deny);
    let allow: Vec<&String> = rule.allow.iter().chain(&rule.engines).flatten().collect();
    let images = rule.images.as_deref().unwrap_or_default();
    that_allow(&allow, images, (sources, bundle), &mut places);
    places
}

/// What is at the places of a list, and every directory that something of the list is in, by its name and where links
/// lead from there.
fn denied(list: &[String]) -> (Vec<Listed>, Vec<Listed>) {
    let mut names = Names::default();
    let (mut denied, mut above_denied) = (Vec::new(), Vec::new());
    let mut seen: Vec<PathBuf> = Vec::new();
    for (path, place) in
        list.iter().flat_map(|path| places(path).into_iter().map(move |place| (path, place)))
    {
        let Some((object, above)) = names.find(&place) else { continue };
        denied.push(Listed { path: path.clone(), object });
        for above in above {
            if seen.contains(&above) {
                continue;
            }
            let object = names.above(&above);
            above_denied.extend(object.map(|object| Listed { path: path.clone(), object }));
            seen.push(above);
        }
    }
    (denied, above_denied)
}

/// Of what may be bound, and of where roots are, that in which the sources are which need it.
fn that_allow(
    allow: &[&String],
    images: &[String],
    (sources, bundle): (&[Source], Option<Object>),
    places: &mut Places,
) {
    for source in sources {
        let is_root = source.field == super::ROOT;
        let needed = needed(source, &places.denied);
        let is_it = |listed: &Listed| needed.contains(&listed.object);
        // A root that is in its bundle needs to be in nothing else, unless it is in what is denied.
        let is_denied = needed.last().is_some_and(|last| is_one_of(*last, &places.denied));
        let is_free = is_root && !is_denied && source.is_in(bundle);
        let is_known =
            places.allowed.iter().any(is_it) || is_root && places.images.iter().any(is_it);
        if needed.is_empty() || is_free || is_known {
            continue;
        }
        let own = allow.iter().map(|path| (*path, false));
        let of_roots = images.iter().filter(|_| is_root).map(|path| (path, true));
        let (near, far): (Vec<(&String, bool)>, Vec<_>) =
            own.chain(of_roots).partition(|(path, _)| is_below(&source.path, path));
        for (path, is_of_images) in near.into_iter().chain(far) {
            let found = listed(path, source);
            let is_found = found.iter().any(is_it);
            let list = if is_of_images { &mut places.images } else { &mut places.allowed };
            list.extend(found);
            if is_found {
                break;
            }
        }
    }
}

/// Of the directories that a source is in, and the source itself, those of which one has to be listed for it to be
/// allowed: up to the first one that is denied; of a root, which may be in that one, with it.
fn needed<'s>(source: &'s Source, denied: &[Listed]) -> &'s [Object] {
    let within = &source.within;
    let nearest = within.iter().position(|object| is_one_of(*object, denied));
    let nearest = nearest.unwrap_or(within.len());
    let is_file_of_its_own = matches!(source.kind, Kind::Socket | Kind::Device | Kind::Kernel(_));
    match source.field == super::ROOT {
        true => &within[..within.len().min(nearest + 1)],
        false if is_file_of_its_own => &within[..nearest.min(1)],
        false => &within[..nearest],
    }
}

fn is_one_of(object: Object, list: &[Listed]) -> bool {
    list.iter().any(|listed| listed.object == object)
}

/// Whether a path is below one of a policy, by its words.
fn is_below(path: &str, listed: &str) -> bool {
    let mut parts = Path::new(path).components();
    Path::new(listed)
        .components()
        .all(|listed| parts.next().is_some_and(|part| fits(listed.as_os_str(), part.as_os_str())))
}

fn is_any(part: &Component<'_>) -> bool {
    part.as_os_str().as_bytes().ends_with(b"*")
}

/// Whether a name is that of a policy; `*` at its end stands for anything.
fn fits(listed: &OsStr, name: &OsStr) -> bool {
    let (listed, name) = (listed.as_bytes(), name.as_bytes());
    listed.strip_suffix(b"*").map_or(listed == name, |begin| name.starts_with(begin))
}

/// What is at a path that a policy lists; of the many that one with `*` stands for, that which the source is, or is in.
fn listed(path: &str, source: &Source) -> Option<Listed> {
    let parts: Vec<Component<'_>> = Path::new(path).components().collect();
    let object = match parts.iter().position(is_any) {
        None => stat(path).ok().map(|stat| object(&stat)),
        Some(any) => Way::of(source)?.find(&parts, any),
    };
    object.map(|object| Listed { path: path.to_owned(), object })
}

/// The directories from the root to a source, and itself: what each is, and its name there.
struct Way<'s> {
    objects: Vec<Object>,
    names: Vec<&'s OsStr>,
}

impl<'s> Way<'s> {
    /// None where the path does not tell the names.
    fn of(source: &'s Source) -> Option<Self> {
        let names: Vec<_> =
            Path::new(&source.path).components().map(Component::as_os_str).collect();
        let objects: Vec<_> = source.within.iter().rev().copied().collect();
        (names.len() == objects.len()).then_some(Self { objects, names })
    }

    /// The object on the way that a path with a first `*` at `any` stands for. Only what the path begins with may be links.
    fn find(&self, parts: &[Component<'_>], any: usize) -> Option<Object> {
        if let Some(found) = self.fitting(0, parts, 0) {
            return Some(found);
        }
        let base: PathBuf = parts[..any].iter().collect();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(CWD, &base, flags, Mode::empty()).ok()?;
        let above = object(&fstat(&opened).ok()?);
        if let Some(at) = self.objects.iter().position(|object| *object == above) {
            return self.fitting(at + 1, parts, any);
        }
        // What is below may be mounted elsewhere too, and the source be opened there.
        let rest = &parts[any + 1..];
        let next = rest.iter().position(is_any).unwrap_or(rest.len());
        let below: PathBuf = rest[..next].iter().collect();
        for entry in fs::read_dir(&base).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !fits(parts[any].as_os_str(), &name) {
                continue;
            }
            // Whose it is may have put links there.
            let links = ResolveFlags::NO_SYMLINKS;
            let place = Path::new(&name).join(&below);
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let Ok(there) = openat2(&opened, place, flags, Mode::empty(), links) else { continue };
            let there = object(&fstat(&there).ok()?);
            let Some(at) = self.objects.iter().position(|object| *object == there) else {
                continue;
            };
            if next == rest.len() {
                return Some(there);
            }
            return self.fitting(at + 1, parts, any + 1 + next);
        }
        None
    }

    /// What on the way the parts from `from` on stand for, if the names from `at` on fit.
    fn fitting(&self, at: usize, parts: &[Component<'_>], from: usize) -> Option<Object> {
        let end = at + parts.len() - from;
        let names = self.names.get(at..end)?;
        let mut both = parts[from..].iter().zip(names);
        if !both.all(|(part, name)| fits(part.as_os_str(), name)) {
            return None;
        }
        // The names only say where to look: what is there decides.
        let place: PathBuf = self.names[..end].iter().collect();
        let there = object(&lstat(&place).ok()?);
        (there == self.objects[end - 1]).then_some(there)
    }
}

/// The paths that a path of a policy stands for; a component that ends with `*` stands for any name that begins so.
fn places(path: &str) -> Vec<PathBuf> {
    let parts: Vec<_> = Path::new(path).components().collect();
    let mut found = vec![PathBuf::new()];
    let mut is_listing = false;
    for part in parts {
        if !is_any(&part) {
            found.iter_mut().for_each(|place| place.push(part));
            continue;
        }
        is_listing = true;
        let entries = found.iter().flat_map(fs::read_dir).flatten().flatten();
        let named = entries.filter(|entry| fits(part.as_os_str(), &entry.file_name()));
        found = named.map(|entry| entry.path()).collect();
    }
    if !is_listing {
        return vec![PathBuf::from(path)];
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// `real/inner`, `link` to `real`, and `other`; in the order in which they are given back.
    fn tree() -> (tempfile::TempDir, [String; 4]) {
        let directory = tempfile::tempdir().expect("a directory");
        let top = directory.path().canonicalize().expect("its path");
        let [real, inner, link, other] =
            ["real", "real/inner", "link", "other"].map(|name| top.join(name));
        fs::create_dir_all(&inner).expect("make directories");
        fs::create_dir(&other).expect("make a directory");
        symlink(&other, inner.join("out")).expect("link");
        symlink("real", &link).expect("link");
        (directory, [real, inner, link, other].map(|path| path.to_string_lossy().into_owned()))
    }

    fn at(path: &str) -> Object {
        object(&stat(path).expect("it is there"))
    }

    fn objects(list: &[Listed]) -> Vec<Object> {
        list.iter().map(|listed| listed.object).collect()
    }

    #[test]
    fn what_is_denied_is_found_through_links_and_so_is_what_it_is_in() {
        let (directory, [real, inner, link, other]) = tree();
        let top = at(&directory.path().to_string_lossy());
        // The last part a link, one on the way, both; and what is not there.
        for (path, is, above) in [
            (inner.clone(), &inner, vec![&real]),
            (link.clone(), &real, vec![]),
            (format!("{link}/inner"), &inner, vec![&real]),
            (format!("{link}/inner/out"), &other, vec![&inner, &real]),
        ] {
            let (denied, above_denied) = denied(std::slice::from_ref(&path));
            assert_eq!(objects(&denied), [at(is)], "{path}");
            let above_denied = objects(&above_denied);
            assert!(above_denied.contains(&at("/")) && above_denied.contains(&top), "{path}");
            for above in above {
                assert!(above_denied.contains(&at(above)), "{path}: {above}");
            }
        }
        let (denied, above_denied) = denied(&[format!("{real}/missing")]);
        assert!(denied.is_empty() && above_denied.is_empty());
    }

    #[test]
    fn names_that_stand_for_any_are_denied_too() {
        let (directory, [_, inner, ..]) = tree();
        let (denied, _) = denied(&[format!("{}/*/inner", directory.path().display())]);
        // By its own name, and by that of the link.
        assert_eq!(objects(&denied), [at(&inner); 2]);
    }

    /// A source, in these directories.
    fn source(path: &str, kind: Kind, within: &[&str]) -> Source {
        let within = within.iter().map(|path| at(path)).collect();
        Source { field: "mounts[0].source".to_owned(), path: path.to_owned(), kind, within }
    }

    #[test]
    fn no_more_is_looked_up_than_it_takes() {
        let (_directory, [real, inner, link, other]) = tree();
        let allow = [&other, &link, &real];
        let looked_up = |source, denied: &[&String]| {
            let denied = denied.iter().flat_map(|path| listed(path, &source)).collect();
            let mut places = Places { denied, ..Places::default() };
            that_allow(&allow, &[], (&[source], Some(at(&real))), &mut places);
            let paths = places.allowed.into_iter().map(|listed| listed.path);
            paths.collect::<Vec<_>>()
        };
        let plain = |path: &str| source(path, Kind::Plain, &[&inner, &real, "/"]);
        assert_eq!(
            looked_up(plain(&inner), &[]),
            std::slice::from_ref(&real),
            "the likeliest first"
        );
        let strange = looked_up(plain("/elsewhere"), &[]);
        assert_eq!(strange, [other.clone(), link.clone()], "all, until it is found by what it is");
        assert_eq!(looked_up(plain(&inner), &[&inner]), Vec::<String>::new(), "it is denied");
        let all = [real.clone(), other.clone(), link.clone()];
        let in_denied = looked_up(plain(&inner), &[&real]);
        assert_eq!(in_denied, all, "only what is nearer than what is denied counts");
        let socket = source(&inner, Kind::Socket, &[&inner, &real, "/"]);
        assert_eq!(looked_up(socket, &[]), all, "a socket has to be listed itself");
        let root = Source { field: super::super::ROOT.to_owned(), ..plain(&inner) };
        assert_eq!(
            looked_up(root, &[]),
            Vec::<String>::new(),
            "a root in its bundle needs no list"
        );
    }

    /// A source at a path below `top`, which is made.
    fn made(top: &Path, path: &str) -> Source {
        let path = top.join(path);
        fs::create_dir_all(&path).expect("make directories");
        let ancestors: Vec<_> = path.ancestors().map(|path| path.to_string_lossy()).collect();
        let within: Vec<&str> = ancestors.iter().map(|path| &**path).collect();
        source(within[0], Kind::Plain, &within)
    }

    #[test]
    fn a_pattern_stands_for_what_a_source_is_in_and_no_less_of_the_way() {
        let directory = tempfile::tempdir().expect("a directory");
        let top = directory.path().canonicalize().expect("its path");
        let mount = made(&top, "pods/one/volumes/kind/name/in");
        let found = |pattern: &str, source: &Source| {
            listed(&format!("{}/{pattern}", top.display()), source).map(|listed| listed.object)
        };
        let name = Some(mount.within[1]);
        assert_eq!(found("pods/*/volumes/*/*", &mount), name);
        assert_eq!(found("pods/o*/volumes/*/na*", &mount), name);
        for other in
            ["pods/*/volumes/*/*/*/*", "pods/*/mounts/*/*", "pods/t*/volumes/*/*", "*/volumes/*"]
        {
            assert_eq!(found(other, &mount), None, "{other}");
        }
        for above in ["pods", "pods/one", "pods/one/volumes", "pods/one/volumes/kind"] {
            assert_eq!(found("pods/*/volumes/*/*", &made(&top, above)), None, "{above}");
        }
        // What another has put at the path since is not what was opened.
        let mut exchanged = mount.clone();
        exchanged.within[1] = exchanged.within[0];
        assert_eq!(found("pods/*/volumes/*/*", &exchanged), None);
    }

    #[test]
    fn links_lead_to_what_a_pattern_begins_with_and_not_further() {
        let directory = tempfile::tempdir().expect("a directory");
        let top = directory.path().canonicalize().expect("its path");
        let data = made(&top, "disk/volumes/name/data");
        let found = |pattern: &str| {
            listed(&format!("{}/{pattern}", top.display()), &data).map(|listed| listed.object)
        };
        fs::create_dir_all(top.join("homes/me")).expect("make a directory");
        symlink(top.join("disk"), top.join("engine")).expect("link");
        symlink(top.join("disk"), top.join("homes/me/own")).expect("link");
        assert_eq!(found("engine/volumes/*/data"), Some(data.within[0]));
        assert_eq!(found("engine/*/name/data"), Some(data.within[0]));
        assert_eq!(found("homes/*/own/volumes/*/data"), None, "a link of a user");
        assert_eq!(found("homes/*/own/volumes"), None, "a link of a user");
    }
}
