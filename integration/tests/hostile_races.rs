//! Somebody else changes what a container is being made of: while brig looks up where mounts belong, directories there
//! become links to the host and directories again. CVE-2021-30465 is the class.

use brig_integration::{Bundle, Lab, Output, json, need};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const ROUNDS: usize = 150;
const SECRET: &str = "the host's secret";

/// Every file and directory below `dir`, and what is in it.
fn all(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
        let text =
            if kind.is_file() { fs::read_to_string(&path).expect("read") } else { String::new() };
        found.push(format!("{} {kind:?} {text}", path.display()));
        if kind.is_dir() {
            found.extend(all(&path));
        }
    }
    found.sort();
    found
}

/// Makes a container of each bundle while `at`, a directory, and links to `victim` change places beside each other.
fn made_while_links_come_and_go(
    lab: &Lab,
    at: &Path,
    victim: &Path,
    bundle: impl Fn(usize) -> Bundle,
) -> Vec<Output> {
    let upwards = PathBuf::from(format!("{}{}", "../".repeat(12), victim.display()));
    let links = [victim.to_owned(), upwards].map(|to| {
        let link = at.with_file_name(format!("link{}", to.is_relative()));
        symlink(to, &link).expect("link");
        link
    });
    made_while_they_change_places(lab, at, &links, bundle)
}

/// Makes a container of each bundle while `at` and `others` change places beside each other.
fn made_while_they_change_places(
    lab: &Lab,
    at: &Path,
    others: &[PathBuf],
    bundle: impl Fn(usize) -> Bundle,
) -> Vec<Output> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for other in others.iter().cycle() {
                // Twice: what was there is back, for a while.
                for _ in 0..2 {
                    renameat_with(CWD, at, CWD, other, RenameFlags::EXCHANGE).expect("exchange");
                    thread::sleep(Duration::from_micros(50));
                }
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let outcomes = (0..ROUNDS).map(|round| lab.container(bundle(round)).run()).collect();
        done.store(true, Ordering::Relaxed);
        outcomes
    })
}

/// The host is as it was, and containers were made all the same.
fn all_is_well(outcomes: &[Output], victim: &Path, before: &[String]) {
    assert_eq!(all(victim), before, "the host was changed");
    for outcome in outcomes {
        let (out, err) = (outcome.stdout(), outcome.stderr());
        assert!(!out.contains(SECRET), "{out}");
        assert!(outcome.succeeded() || err.starts_with("error: "), "{err}");
    }
    let made = outcomes.iter().filter(|outcome| outcome.succeeded()).count();
    println!("{made} of {} were made", outcomes.len());
    assert!(made > 0, "{}", outcomes.first().map(Output::stderr).unwrap_or_default());
}

/// The mounts of a round in the directory `at`: what is there, and what has to be made.
fn mounts_in(bundle: Bundle, at: &str, source: &Path, round: usize) -> Bundle {
    let place = |name: &str| format!("{at}/{name}{round}");
    bundle
        .bind(source, &place("deep/bound"), &["ro"])
        .bind(&source.join("file"), &place("file"), &["ro"])
        .mount(json!({"destination": place("tmp"), "type": "tmpfs", "source": "tmpfs"}))
        .mount(json!({"destination": format!("{at}/usual"), "type": "tmpfs", "source": "tmpfs"}))
        .set("/linux/maskedPaths/-", format!("{at}/masked"))
        .sh(&format!("cat {at}/secret {at}/*/secret 2>/dev/null; true"))
        .edit(|spec| {
            // With such a hook brig is among the host's mounts meanwhile, else there is nothing of the host around it.
            if round % 2 == 1 {
                spec["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}]});
            }
        })
}

struct Host {
    victim: PathBuf,
    source: PathBuf,
    before: Vec<String>,
}

fn host(lab: &Lab) -> Host {
    let [victim, source] = ["victim", "source"].map(|name| lab.path(name));
    for dir in [&victim, &victim.join("usual"), &victim.join("deep"), &source] {
        fs::create_dir(dir).expect("make a directory");
    }
    for file in ["secret", "usual/secret", "masked"] {
        fs::write(victim.join(file), SECRET).expect("write");
    }
    fs::write(source.join("file"), "a file").expect("write");
    let before = all(&victim);
    Host { victim, source, before }
}

fn directory(at: &Path) {
    fs::create_dir_all(at.join("usual")).expect("make a directory");
    fs::write(at.join("masked"), "").expect("write");
}

#[test]
fn links_in_a_shared_volume_lead_nowhere_while_containers_are_made() {
    need!(Brig);
    let lab = Lab::new();
    let Host { victim, source, before } = host(&lab);
    let volume = lab.path("volume");
    let at = volume.join("at");
    directory(&at);
    let plain = lab.bundle().bind(&volume, "/tmp", &["rw"]);
    let outcomes = made_while_links_come_and_go(&lab, &at, &victim, |round| {
        mounts_in(plain.clone(), "/tmp/at", &source, round)
    });
    all_is_well(&outcomes, &victim, &before);
    lab.assert_clean();
}

#[test]
fn links_in_a_shared_root_lead_nowhere_while_containers_are_made() {
    need!(Brig);
    let lab = Lab::new();
    let Host { victim, source, before } = host(&lab);
    let plain = lab.bundle();
    let at = plain.rootfs.join("srv/at");
    directory(&at);
    let outcomes = made_while_links_come_and_go(&lab, &at, &victim, |round| {
        mounts_in(plain.clone(), "/srv/at", &source, round).set("/process/cwd", "/srv/at/cwd")
    });
    all_is_well(&outcomes, &victim, &before);
    lab.assert_clean();
}

/// Who may rename in a root that is shared takes the place of procfs away once it is mounted: what is hidden there has
/// to be found all the same.
#[test]
fn what_is_hidden_in_proc_stays_hidden_while_its_place_in_a_shared_root_comes_and_goes() {
    need!(Brig);
    let lab = Lab::new();
    let plain = lab.plain_bundle();
    let (at, other) = (plain.rootfs.join("proc"), plain.rootfs.join("other"));
    for dir in [&at, &other] {
        fs::create_dir_all(dir).expect("make a directory");
    }
    let plain = plain
        .set("/linux/maskedPaths", json!(["/proc/uptime", "/proc/sys"]))
        .set("/linux/readonlyPaths", json!(["/proc/self/comm"]))
        .sh("cat /proc/uptime /other/uptime; ls -d /proc/sys/kernel /other/sys/kernel; \
             for at in /proc /other; do echo changed >$at/self/comm && echo $at; done; true");
    let outcomes = made_while_they_change_places(&lab, &at, &[other], |_| plain.clone());
    let made: Vec<_> = outcomes.iter().filter(|outcome| outcome.succeeded()).collect();
    println!("{} of {} were made", made.len(), outcomes.len());
    assert!(!made.is_empty(), "{}", outcomes.first().map(Output::stderr).unwrap_or_default());
    for outcome in made {
        assert_eq!(outcome.stdout(), "", "it was found");
    }
}
