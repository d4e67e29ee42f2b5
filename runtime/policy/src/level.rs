//! The profiles that come with brig.
//!
//! A level is named with its version, and what a version means never changes; the plain name is the newest version.

/// The one that changes nothing.
pub(crate) const OCI: &str = "oci-1";

/// Each level with its text, the newest version of a name last.
pub const LEVELS: &[(&str, &str)] = &[
    (OCI, include_str!("levels/oci-1.toml")),
    ("baseline-1", include_str!("levels/baseline-1.toml")),
    ("restricted-1", include_str!("levels/restricted-1.toml")),
    ("sandbox-1", include_str!("levels/sandbox-1.toml")),
];

/// The full name of a level, and its text.
pub(crate) fn find(name: &str) -> Option<(&'static str, &'static str)> {
    let plain = |full: &str| full.rsplit_once('-').is_some_and(|(plain, _)| plain == name);
    LEVELS.iter().rev().find(|(full, _)| *full == name || plain(full)).copied()
}
