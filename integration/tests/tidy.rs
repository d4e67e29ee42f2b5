//! The rules of the house, over the whole workspace.

use brig_integration::binaries::{static_target, target_dir, workspace};
use brig_integration::tidy::{self, Complaint, Source};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files of the workspace, relative to it; neither build output nor hidden files.
fn files(extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    walk(workspace(), &mut found);
    let files = found
        .iter()
        .filter_map(|p| Some(p.strip_prefix(workspace()).ok()?.to_string_lossy().into_owned()));
    let mut files: Vec<String> =
        files.filter(|p| extension.is_empty() || p.ends_with(extension)).collect();
    files.sort();
    files
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path() == target_dir() || name == "target" || name == ".git" || name == "corpus" {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(workspace().join(file)).unwrap_or_default()
}

/// Checks each Rust file that `which` picks.
#[track_caller]
fn holds(which: impl Fn(&str) -> bool, rule: impl Fn(&Source) -> Vec<Complaint>) {
    let mut all = Vec::new();
    let mut count = 0;
    for file in files(".rs").into_iter().filter(|f| which(f)) {
        count += 1;
        let complaints = rule(&Source::new(&read(&file)));
        all.extend(complaints.into_iter().map(|(line, what)| format!("{file}:{line}: {what}")));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
    println!("{count} files");
}

/// The kernel's verdicts on filters can only be seen by a process that forks: that one test may.
fn may_be_unsafe(file: &str) -> bool {
    ["runtime/child/", "runtime/sys/", "runtime/fuzz/"].iter().any(|dir| file.starts_with(dir))
        || file == "seccomp-profiles/tests/kernel.rs"
}

#[test]
fn unsafe_is_where_it_may_be() {
    holds(|file| !may_be_unsafe(file), tidy::unsafe_code);
}

#[test]
fn unsafe_has_its_reason() {
    holds(may_be_unsafe, tidy::unjustified_unsafe);
}

#[test]
fn crates_without_unsafe_forbid_it() {
    for file in files(".rs") {
        let is_root = file.ends_with("src/lib.rs")
            || file.ends_with("src/main.rs")
            || file.contains("/src/bin/");
        if is_root && !may_be_unsafe(&file) {
            // A binary of a package with a library may be covered by its own attribute only.
            let code = Source::new(&read(&file)).code;
            assert!(code.contains("#![forbid(unsafe_code)]"), "{file}: no #![forbid(unsafe_code)]");
        }
    }
}

#[test]
fn pure_stages_do_no_io() {
    let is_pure = |file: &str| {
        let stages = [
            "runtime/spec/src/",
            "runtime/cgroup/src/plan/",
            "runtime/src/policy",
            "runtime/src/plan",
        ];
        let stage = stages.iter().any(|stage| file.starts_with(stage));
        stage && !file.ends_with("tests.rs") && !file.contains("/tests/")
    };
    holds(is_pure, tidy::impurities);
}

#[test]
fn functions_fit_on_a_screen() {
    holds(|_| true, tidy::long_functions);
}

#[test]
fn every_operation_is_executed_and_shown() {
    holds(
        |file| {
            file.starts_with("runtime/child/src/") || file.starts_with("runtime/src/plan/render")
        },
        tidy::catch_alls_over_operations,
    );
}

#[test]
fn names_say_something() {
    let nameless: Vec<String> = files(".rs").into_iter().filter(|f| tidy::is_nameless(f)).collect();
    assert!(nameless.is_empty(), "{nameless:?}");
}

#[test]
fn errors_have_hints() {
    holds(
        |file| {
            ["runtime/src/", "runtime/cgroup/src/", "runtime/cli/src/", "seccomp-profiles/src/"]
                .iter()
                .any(|part| file.starts_with(part))
                && !file.ends_with("tests.rs")
        },
        tidy::errors_without_hint,
    );
}

#[test]
fn libraries_have_typed_errors() {
    let is_binary = |file: &str| {
        file.contains("/cli/")
            || file.contains("/shim/")
            || file.contains("/bin/")
            || file.ends_with("main.rs")
    };
    holds(
        |file| {
            (file.starts_with("runtime/") || file.starts_with("seccomp-profiles/"))
                && !is_binary(file)
        },
        |source| {
            source
                .without_tests()
                .words("anyhow")
                .into_iter()
                .map(|_| (0, "anyhow in a library".into()))
                .collect()
        },
    );
}

/// docs/architecture.md says of each wait how long it may last.
#[test]
fn every_wait_is_in_the_table() {
    const CALLS: [&str; 13] = [
        "poll(",
        "poll_readable(",
        "sleep(",
        "recv(",
        "recv_fd(",
        "accept(",
        "connect(socket",
        "net::connect(",
        "Flock::lock(",
        ".output()",
        "thread.join(",
        "made.join(",
        "patience.wait(",
    ];
    let text = read("docs/architecture.md");
    let section = text.split("\n## Waits\n").nth(1).and_then(|text| text.split("\n## ").next());
    let names = section.expect("a section").split('`').filter(|name| name.ends_with(".rs"));
    let listed: BTreeSet<String> = names.map(|name| format!("runtime/{name}")).collect();
    let waits = |file: &String| {
        let code = Source::new(&read(file)).without_tests();
        // These are the calls themselves, as others make them.
        let calls = ["runtime/child/src/syscall.rs", "runtime/sys/src/socket.rs"];
        let of_tests = file.contains("/tests") || file.contains("/fuzz/");
        let of_build = file.ends_with("/build.rs");
        let mut words = CALLS.iter();
        !calls.contains(&file.as_str())
            && !of_tests
            && !of_build
            && words.any(|word| code.code.contains(word) && !code.words(word).is_empty())
    };
    let found: BTreeSet<String> =
        files(".rs").into_iter().filter(|f| f.starts_with("runtime/")).filter(waits).collect();
    let missing: Vec<_> = found.difference(&listed).collect();
    assert!(missing.is_empty(), "wait, and are not in the table: {missing:?}");
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(gone.is_empty(), "are in the table, and wait no more: {gone:?}");
}

/// `thread::spawn` panics where the kernel refuses a thread; `Builder::spawn` answers an error.
#[test]
fn a_thread_that_is_refused_is_an_error() {
    holds(
        |file| file.starts_with("runtime/") && !file.ends_with("tests.rs"),
        |source| {
            let source = source.without_tests();
            let words = ["thread::spawn", "scope.spawn"];
            let found = words.iter().flat_map(|word| source.words(word));
            found
                .map(|at| (source.line_of(at), "a thread without thread::Builder".to_owned()))
                .collect()
        },
    );
}

/// What others have written reaches a terminal through one place, which escapes it.
#[test]
fn words_have_one_way_out() {
    holds(
        |file| {
            ["runtime/src/", "runtime/cgroup/src/", "runtime/cli/src/"]
                .iter()
                .any(|part| file.starts_with(part))
                && file != "runtime/src/printable.rs"
                && !file.ends_with("tests.rs")
        },
        |source| {
            let source = source.without_tests();
            let words =
                ["println", "eprintln", "print!", "eprint", "stderr().write", "io::stderr(),"];
            let found = words.iter().flat_map(|word| source.words(word));
            found
                .map(|at| (source.line_of(at), "output beside runtime/src/printable.rs".into()))
                .collect()
        },
    );
}

/// Who has called brig is found out in one place: user 0 may be root of a user namespace only.
#[test]
fn who_calls_is_asked_in_one_place() {
    holds(
        |file| {
            file.starts_with("runtime/")
                && file != "runtime/src/caller.rs"
                && !file.ends_with("tests.rs")
        },
        |source| {
            let source = source.without_tests();
            let found = ["geteuid().is_root", "getuid().is_root", "Uid::effective().is_root"];
            let found = found.iter().flat_map(|word| source.words(word));
            found
                .map(|at| (source.line_of(at), "a user id for a caller: see brig::caller".into()))
                .collect()
        },
    );
}

/// What stands below the front ends does not know their verbs and flags: another front end has others.
#[test]
fn libraries_do_not_speak_of_the_command_line() {
    let libraries = ["runtime/src/", "runtime/cgroup/src/", "runtime/spec/src/"];
    let is_others = |line: &str| line.contains("systemctl") || line.contains("systemd-run");
    let mut found = Vec::new();
    for file in files("rs").iter().filter(|file| libraries.iter().any(|dir| file.starts_with(dir)))
    {
        let text = read(file);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            let says = line.contains("`brig ")
                || line.split([' ', '"', '`']).any(|word| {
                    word.strip_prefix("--").is_some_and(|name| {
                        name.starts_with(|first: char| first.is_ascii_lowercase())
                    })
                });
            let is_comment = line.trim_start().starts_with("//");
            if says && !is_comment && !is_others(line) && !file.ends_with("tests.rs") {
                found.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "a verb or a flag in a library:\n{}", found.join("\n"));
}

#[test]
fn every_dependency_has_its_line() {
    let document = read("docs/dependencies.md");
    assert!(!document.is_empty(), "docs/dependencies.md is missing");
    let own: BTreeSet<String> =
        files("Cargo.toml").iter().filter_map(|f| package_name(&read(f))).collect();
    let mut missing = BTreeSet::new();
    for file in files("Cargo.toml") {
        for name in tidy::dependencies(&read(&file)) {
            if !own.contains(&name)
                && !document
                    .lines()
                    .any(|l| l.contains(&format!("`{name}`")) || l.contains(&format!("| {name} ")))
            {
                missing.insert(name);
            }
        }
    }
    assert!(missing.is_empty(), "no line in docs/dependencies.md: {missing:?}");
}

fn package_name(manifest: &str) -> Option<String> {
    let line = manifest.lines().find(|l| l.starts_with("name = "))?;
    Some(line.trim_start_matches("name = ").trim_matches('"').to_owned())
}

#[test]
fn nothing_belongs_to_one_machine() {
    let mut all = Vec::new();
    for file in files("") {
        if file.ends_with("Cargo.lock") {
            continue;
        }
        let complaints = tidy::workplace(&read(&file));
        all.extend(complaints.into_iter().map(|(line, what)| format!("{file}:{line}: {what}")));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn the_child_has_neither_std_nor_alloc() {
    let root = Source::new(&read("runtime/child/src/lib.rs"));
    assert!(
        root.code.contains("#![no_std]") || root.code.contains("no_std)]"),
        "runtime/child is not no_std"
    );
    holds(
        |file| file.starts_with("runtime/child/src/") && !file.ends_with("tests.rs"),
        |source| {
            let source = source.without_tests();
            let words = [
                "extern crate alloc",
                "extern crate std",
                "alloc::",
                "std::",
                "panic!",
                "unwrap",
                "expect",
            ];
            words
                .iter()
                .flat_map(|w| source.words(w))
                .map(|_| (0, "std, alloc or a panic in the child".to_owned()))
                .collect()
        },
    );
}

/// The object code of the child refers to no allocator and no panic: what it cannot reach, it
/// cannot do. Built apart without LTO, which would leave bit code that nm(1) does not read.
#[test]
fn the_child_links_with_no_panic_and_no_allocator() {
    let apart = target_dir().join("tidy");
    let target = static_target();
    let output = Command::new("cargo")
        .current_dir(workspace())
        .args([
            "rustc",
            "--quiet",
            "--release",
            "--package",
            "brig-child",
            "--lib",
            "--target",
            &target,
        ])
        .args([
            "--config",
            "profile.release.lto=\"off\"",
            "--config",
            "profile.release.strip=\"none\"",
        ])
        .arg("--target-dir")
        .arg(&apart)
        .args(["--", "--emit=obj,link"])
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .expect("run cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let deps = apart.join(&target).join("release/deps");
    let objects: Vec<PathBuf> = fs::read_dir(&deps)
        .expect("the objects")
        .flatten()
        .map(|e| e.path())
        .filter(|p| {
            p.to_string_lossy().contains("/brig_child-") && p.extension().is_some_and(|e| e == "o")
        })
        .collect();
    let newest = objects
        .iter()
        .max_by_key(|p| fs::metadata(p).and_then(|m| m.modified()).ok())
        .expect("an object");
    let nm = Command::new("nm")
        .args(["--demangle", "--undefined-only"])
        .arg(newest)
        .output()
        .expect("run nm");
    let symbols = String::from_utf8_lossy(&nm.stdout).into_owned();
    let banned = ["panic", "alloc", "unwind", "eh_personality", "core::fmt", "malloc", "free"];
    let found: Vec<&str> =
        symbols.lines().filter(|l| banned.iter().any(|b| l.contains(b))).collect();
    assert!(found.is_empty(), "the child refers to {found:#?}");
}
