//! What `runtime/fuzz` and the tests feed with bytes that nobody has looked at.
//!
//! Promises: each function takes any bytes, touches nothing of the machine, and panics only when
//! what brig promises about them does not hold. Must never be in a program that is shipped: it is
//! compiled for tests, and by cargo-fuzz, which sets `cfg(fuzzing)`.

mod plan;
mod seccomp;
#[cfg(test)]
mod tests;

use brig_cgroup::{CgroupFacts, Layout};

use crate::spec;
use crate::supervise::Record;

pub use plan::plan;
pub use seccomp::{compile, profile};

/// A target: its name, also that of its seeds in `runtime/fuzz/seeds`, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 8] = [
    ("spec", spec),
    ("process", process),
    ("plan", plan),
    ("seccomp_compile", compile),
    ("seccomp_profile", profile),
    ("state", state),
    ("dbus", brig_cgroup::systemd::fuzz_message),
    ("cgroup_facts", cgroup_facts),
];

/// A configuration is accepted or refused, in words; an accepted one means the same without its white space.
///
/// # Panics
/// When that does not hold.
pub fn spec(bytes: &[u8]) {
    // Without where the filter's profile lies.
    let meaning = |text: &[u8]| {
        let accepted = spec::Asked::read(text).map(crate::policy::kept)?;
        Ok::<_, spec::Error>(spec::Config { seccomp: None, ..(*accepted).clone() })
    };
    match meaning(bytes) {
        Err(error) => in_words(&error),
        Ok(config) => {
            let value: serde_json::Value = serde_json::from_slice(bytes).expect("it is JSON");
            assert_eq!(meaning(value.to_string().as_bytes()), Ok(config), "{value}");
        }
    }
}

/// The same of the process of `exec --process`, and of resources of `update --resources`.
///
/// # Panics
/// When it does not hold.
pub fn process(bytes: &[u8]) {
    match spec::process(bytes) {
        Err(error) => in_words(&error),
        Ok(process) => spec::check_process(&process).expect("what was checked is acceptable"),
    }
    match spec::resources(bytes) {
        Err(error) => in_words(&error),
        Ok(resources) => spec::check_resources(&resources).expect("what was checked"),
    }
}

fn in_words(error: &spec::Error) {
    assert!(!error.to_string().trim().is_empty(), "an error without words: {error:?}");
    let _ = error.hint();
}

/// A record of a container is refused, or leads to no cgroup outside of its hierarchy, and is read
/// again as it is written.
///
/// # Panics
/// When that does not hold.
pub fn state(bytes: &[u8]) {
    let Ok(record) = Record::parse(bytes) else { return };
    let text = serde_json::to_vec(&record).expect("a record is JSON");
    let again = Record::parse(&text).expect("what brig writes, it reads");
    assert_eq!(serde_json::to_vec(&again).ok(), Some(text));
    if record.planned_cgroup.check().is_ok() {
        record.planned_cgroup.directories.iter().for_each(leads_below);
    }
    let Some(made) = &record.cgroup else { return };
    if brig_cgroup::Cgroup::open(made).is_ok() {
        made.directories.iter().for_each(|made| leads_below(&made.directory));
    }
}

fn leads_below(directory: &brig_cgroup::Directory) {
    let leads_out = directory.path.split('/').any(|part| part == "..");
    assert!(!leads_out && !directory.path.is_empty(), "{directory:?}");
}

/// Three texts with a NUL between: `/proc/self/cgroup`, `/proc/self/mountinfo` and
/// `cgroup.controllers`. The layout that comes of it names no cgroup by `..`, and a container's
/// cgroup is planned below it.
///
/// # Panics
/// When that does not hold.
pub fn cgroup_facts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(3, '\0');
    let mut part = || parts.next().unwrap_or_default();
    let Ok(facts) = CgroupFacts::from_texts(part(), part(), part()) else { return };
    let own: Vec<&str> = match &facts.layout {
        Layout::Unified(unified) => vec![&unified.own],
        Layout::Legacy { hierarchies, unified } => {
            let both = hierarchies.iter().map(|h| h.own.as_str());
            both.chain(unified.iter().map(|u| u.own.as_str())).collect()
        }
    };
    assert!(own.iter().all(|own| own.starts_with('/')), "{facts:?}");
    let request = brig_cgroup::CgroupRequest::new("web");
    if let Ok(plan) = brig_cgroup::CgroupPlan::new(&facts, &request) {
        for directory in &plan.directories {
            let leads_out = directory.path.split('/').any(|part| part == "..");
            assert!(!leads_out, "{directory:?}");
        }
        assert!(!plan.lines().is_empty());
    }
}
