//! What docs/architecture.md says of the code, compared with the code.

use brig_integration::binaries::workspace;
use brig_integration::imports::{self, Graph};
use brig_integration::tidy::{Source, dependencies};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn read(path: impl AsRef<Path>) -> String {
    let path = workspace().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The packages that are shipped, by directory.
const PACKAGES: [&str; 8] = [
    "runtime/cli",
    "runtime",
    "runtime/cgroup",
    "runtime/sys",
    "runtime/child",
    "seccomp-profiles",
    "runtime/spec",
    "runtime/pseudofs",
];

fn name_of(manifest: &str) -> String {
    let line = manifest.lines().find_map(|line| line.strip_prefix("name = \""));
    line.and_then(|rest| rest.strip_suffix('"')).expect("a package has a name").to_owned()
}

/// A line for each package: what it is built on, of ours and of others. Who stands higher comes first.
fn picture() -> String {
    let manifests: Vec<_> =
        PACKAGES.iter().map(|dir| read(Path::new(dir).join("Cargo.toml"))).collect();
    let names: Vec<_> = manifests.iter().map(|manifest| name_of(manifest)).collect();
    let shipped = |manifest: &str| {
        let end = manifest.find("[dev-dependencies]").unwrap_or(manifest.len());
        dependencies(&manifest[..end])
    };
    let uses: BTreeMap<&str, Vec<String>> = names
        .iter()
        .zip(&manifests)
        .map(|(name, manifest)| (name.as_str(), shipped(manifest)))
        .collect();
    let height = |name: &str| -> usize {
        fn of(name: &str, uses: &BTreeMap<&str, Vec<String>>) -> usize {
            let below = uses.get(name).into_iter().flatten();
            below.map(|name| 1 + of(name, uses)).max().unwrap_or(0)
        }
        let ours: BTreeMap<_, Vec<_>> = uses
            .iter()
            .map(|(name, all)| {
                let ours = all.iter().filter(|one| uses.contains_key(one.as_str()));
                (*name, ours.cloned().collect())
            })
            .collect();
        of(name, &ours)
    };
    let mut order = names.clone();
    order.sort_by_key(|name| (std::cmp::Reverse(height(name)), name.clone()));
    let mut text = String::new();
    for name in &order {
        let (ours, others): (Vec<_>, Vec<_>) =
            uses[name.as_str()].iter().partition(|one| uses.contains_key(one.as_str()));
        let join = |names: &[&String]| {
            names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let mut line = format!("    {name:<14} ──▶ {}", join(&ours));
        if ours.is_empty() {
            line = format!("    {name:<14}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
        text.push_str(&format!("    {:<14}     others: {}\n", "", join(&others)));
    }
    text
}

const BEGIN: &str = "<!-- packages: written by BRIG_BLESS=1 cargo nextest run -p brig-integration --test architecture -->\n";
const END: &str = "<!-- end of packages -->\n";

#[test]
fn the_picture_of_the_packages_is_that_of_their_manifests() {
    let file = "docs/architecture.md";
    let document = read(file);
    let begin = document.find(BEGIN).expect("the place of the picture") + BEGIN.len();
    let end = begin + document[begin..].find(END).expect("its end");
    let picture = format!("\n{}\n", picture());
    if std::env::var_os("BRIG_BLESS").is_some_and(|value| value == "1") {
        let text = format!("{}{picture}{}", &document[..begin], &document[end..]);
        fs::write(workspace().join(file), text).expect("it is written");
        return;
    }
    assert_eq!(document[begin..end], picture, "run with BRIG_BLESS=1");
}

/// Directories with their modules.
fn graphs() -> Vec<(String, Graph)> {
    let mut found = Vec::new();
    for package in PACKAGES {
        let root = workspace().join(package).join("src");
        let mut directories = vec![root.clone()];
        while let Some(directory) = directories.pop() {
            let inside: Vec<_> = directory
                .strip_prefix(&root)
                .expect("it is below")
                .components()
                .map(|part| part.as_os_str().to_string_lossy().into_owned())
                .collect();
            let inside: Vec<_> = inside.iter().map(String::as_str).collect();
            let mut graph = Graph::new();
            for entry in fs::read_dir(&directory).expect("it is there").flatten() {
                let path = entry.path();
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                if path.is_dir() {
                    for file in files(&path) {
                        imports::add(&mut graph, &name, &read(&file), &inside, false);
                    }
                    directories.push(path);
                } else if !["mod", "lib", "main", "tests"].contains(&name.as_str()) {
                    imports::add(&mut graph, &name, &read(&path), &inside, true);
                }
            }
            let label = directory.strip_prefix(workspace()).expect("it is below");
            found.push((label.to_string_lossy().into_owned(), graph));
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path if path.ends_with("tests.rs") => {}
            path => found.push(path),
        }
    }
    found
}

/// Modules that import each other, by directory. The list may only become shorter.
const CIRCLES: &[(&str, &[&str])] = &[
    ("runtime/child/src", &["copy_up", "file", "interpret", "mount", "target"]),
    ("runtime/spec/src", &["model", "mount"]),
    (
        "runtime/src/plan",
        &[
            "attach",
            "build",
            "devices",
            "identity",
            "labels",
            "mounts",
            "namespaces",
            "private_proc",
            "process",
            "render",
            "rootfs",
        ],
    ),
];

#[test]
fn modules_import_each_other_in_no_circle() {
    let mut found = Vec::new();
    for (directory, graph) in graphs() {
        found
            .extend(imports::circles(&graph).into_iter().map(|circle| (directory.clone(), circle)));
    }
    let known: Vec<(String, Vec<String>)> = CIRCLES
        .iter()
        .map(|(directory, circle)| {
            ((*directory).to_owned(), circle.iter().map(|name| (*name).to_owned()).collect())
        })
        .collect();
    assert_eq!(found, known, "left: the circles that there are; right: those that are known");
}

/// What is the front ends' to do, and where libraries do it nevertheless. The list may only become shorter.
const DOORS_ALONE: &[(&str, &[&str])] = &[
    ("env::var", &[]),
    ("eprintln", &[]),
    ("printable::note", &[]),
    ("printable::tell", &[]),
    ("leak(", &[]),
    ("exit(", &[]),
];

#[test]
fn what_is_the_doors_is_done_by_the_doors() {
    let libraries =
        ["runtime/src", "runtime/cgroup/src", "runtime/spec/src", "runtime/pseudofs/src"];
    let libraries = libraries.iter().chain(&["runtime/policy/src", "seccomp-profiles/src"]);
    let mut found: BTreeMap<&str, Vec<String>> =
        DOORS_ALONE.iter().map(|(word, _)| (*word, Vec::new())).collect();
    for file in libraries.flat_map(|dir| files(&workspace().join(dir))) {
        let source = Source::new(&read(&file)).without_tests();
        let name = file.strip_prefix(workspace()).expect("it is below").to_string_lossy();
        for (word, places) in &mut found {
            if !source.words(word).is_empty() && !name.contains("/fuzz/") {
                places.push(name.clone().into_owned());
            }
        }
    }
    for (word, known) in DOORS_ALONE {
        assert_eq!(found[word], *known, "left: who says `{word}`; right: who may");
    }
}

/// How many lines a commit may change without saying why.
const SMALL_LINES: usize = 50;
/// How many commits are looked at.
const RECENT: &str = "100";

#[test]
fn commits_say_why() {
    let format = "--format=%x01%h %s%x02%b%x02";
    let mut git = Command::new("git");
    git.current_dir(workspace()).args(["log", "--no-merges", "--shortstat", "-n", RECENT, format]);
    let Some(log) = git.output().ok().filter(|output| output.status.success()) else {
        println!("no history to look at: not a checkout");
        return;
    };
    let log = String::from_utf8_lossy(&log.stdout);
    let mut silent = Vec::new();
    for commit in log.split('\u{1}').skip(1) {
        let mut parts = commit.split('\u{2}');
        let (subject, body) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let changed = |word: &str| {
            let part = commit.rsplit('\u{2}').next()?.split(", ").find(|p| p.contains(word))?;
            part.trim().split(' ').next()?.parse::<usize>().ok()
        };
        let lines = changed("insertion").unwrap_or(0) + changed("deletion").unwrap_or(0);
        if lines > SMALL_LINES && body.trim().is_empty() {
            silent.push(format!("{subject} ({lines} lines)"));
        }
    }
    assert!(silent.is_empty(), "a body has to say why:\n{}", silent.join("\n"));
}
