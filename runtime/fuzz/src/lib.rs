//! What the programs of `fuzz_targets` share: the targets themselves are brig's.
#![forbid(unsafe_code)]

/// Runs the target of this name.
///
/// # Panics
/// When there is none, or when it has found something.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) =
        brig::fuzz::TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    target(bytes);
}
