//! The profiles that come with brig.
//!
//! A level is named with its version, and what a version means never changes; the plain name is the newest version.

/// The one that changes nothing.
pub(crate) const OCI: &str = "oci-1";

/// That of a node which has not chosen one.
pub(crate) const RESTRICTED: &str = "restricted-1";

/// A level as `build.rs` has made it.
macro_rules! level {
    ($name:literal) => {
        ($name, include_str!(concat!(env!("OUT_DIR"), "/", $name, ".json")))
    };
}

/// Each level with what it says, in JSON, the newest version of a name last.
pub const LEVELS: &[(&str, &str)] = &[
    level!("oci-1"),
    level!("baseline-1"),
    level!("nested-1"),
    level!("restricted-1"),
    level!("sandbox-1"),
];

/// The full name of a level, and what it says.
pub(crate) fn find(name: &str) -> Option<(&'static str, &'static str)> {
    let plain = |full: &str| full.rsplit_once('-').is_some_and(|(plain, _)| plain == name);
    LEVELS.iter().rev().find(|(full, _)| *full == name || plain(full)).copied()
}

/// What levels extend; a test compares it with their files.
const EXTENDED: &[(&str, &str)] =
    &[("nested-1", "baseline-1"), ("restricted-1", "baseline-1"), ("sandbox-1", "restricted-1")];

/// Those that a level extends, by their full names. What they say is in its own text.
pub(crate) fn extended(full: &str) -> impl Iterator<Item = &'static str> {
    let of = |name: &str| EXTENDED.iter().find(|(one, _)| *one == name).map(|(_, of)| *of);
    std::iter::successors(of(full), move |name| of(name))
}
