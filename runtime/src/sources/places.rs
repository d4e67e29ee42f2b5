//! The places of the host that a policy lists, looked up anew for each container: whatever was renamed, replaced or
//! mounted over since the last one is seen.
//!
//! Promises: every denied place is looked up, each directory on the way once; of what may be bound, as many as it takes to
//! find those that a source is in, the likeliest first: which are left out changes no decision. Must never decide by a
//! path: it only says where to look first.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, lstat, openat, stat};

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
pub(super) fn of_rule(rule: &BindSources, sources: &[Source]) -> Places {
    let mut places = Places::default();
    if rule.mode.unwrap_or_default() == RuleMode::Off {
        return places;
    }
    let deny = rule.deny.as_deref().unwrap_or_default();
    (places.denied, places.above_denied) = denied(deny);
    let allow: Vec<&String> = rule.allow.iter().chain(&rule.engines).flatten().collect();
    that_allow(&allow, rule.images.as_deref().unwrap_or_default(), sources, &mut places);
    places
}

/// What is at the places of a list, and every directory that something of the list is in, by its name and where links
/// lead from there.
fn denied(list: &[String]) -> (Vec<Listed>, Vec<Listed>) {
    let mut names = Names::default();
    let (mut denied, mut above_denied) = (Vec::new(), Vec::new());
    let mut seen: Vec<PathBuf> = Vec::new();
    for (path, place) in list.iter().flat_map(|path| places(path).map(move |place| (path, place))) {
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
fn that_allow(allow: &[&String], images: &[String], sources: &[Source], places: &mut Places) {
    for source in sources {
        let is_root = source.field == super::ROOT;
        let needed = needed(source, &places.denied);
        let is_it = |listed: &Listed| needed.contains(&listed.object);
        // A root needs to be in nothing, unless it is in what is denied.
        let is_free =
            is_root && !needed.last().is_some_and(|last| is_one_of(*last, &places.denied));
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
            let found: Vec<Listed> = listed(path).collect();
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
        .all(|listed| parts.next().is_some_and(|part| is_any(&listed) || part == listed))
}

fn is_any(part: &Component<'_>) -> bool {
    part.as_os_str() == "*"
}

/// What is at a path that a policy lists.
fn listed(path: &str) -> impl Iterator<Item = Listed> {
    let found = places(path).filter_map(|place| stat(&place).ok());
    found.map(|stat| Listed { path: path.to_owned(), object: object(&stat) })
}

/// The paths that a path of a policy stands for; a component `*` stands for any name.
fn places(path: &str) -> Box<dyn Iterator<Item = PathBuf>> {
    let parts: Vec<_> = Path::new(path).components().collect();
    let Some(any) = parts.iter().position(is_any) else {
        return Box::new(std::iter::once(PathBuf::from(path)));
    };
    let below: PathBuf = parts[any + 1..].iter().collect();
    let names = fs::read_dir(parts[..any].iter().collect::<PathBuf>());
    Box::new(names.into_iter().flatten().flatten().map(move |name| name.path().join(&below)))
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
            let denied = denied.iter().flat_map(|path| listed(path)).collect();
            let mut places = Places { denied, ..Places::default() };
            that_allow(&allow, &[], &[source], &mut places);
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
        assert_eq!(looked_up(root, &[]), Vec::<String>::new(), "a root needs no list");
    }
}
