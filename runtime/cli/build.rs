//! How the program `brig` is linked, and what it says it was built of.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=no-unwind-tables.ld");
    commit();
    let target = |what: &str| env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("ARCH") == "x86_64" {
        // Where it begins: see `brig_sys::entry`.
        println!("cargo:rustc-link-arg-bin=brig=-Wl,-e,brig_entry");
    }
    // Only x86_64's static programs are position-independent, and have such a list at all.
    if target("ENV") == "musl" && target("ARCH") == "x86_64" {
        if is_release() {
            let script = format!("{}/no-unwind-tables.ld", env!("CARGO_MANIFEST_DIR"));
            println!("cargo:rustc-link-arg-bin=brig=-Wl,-T,{script},--no-eh-frame-hdr");
        }
        // What is relocated at every start takes 1 KiB to list instead of 60 (musl 1.2.4).
        println!("cargo:rustc-link-arg-bin=brig=-Wl,-z,pack-relative-relocs");
    }
}

/// Tells the program its commit: `BRIG_COMMIT`, for whoever builds a source package, or what git says, or the package's
/// version. git is asked for releases alone, which are built anew after each commit, and no other build is.
fn commit() {
    println!("cargo:rerun-if-env-changed=BRIG_COMMIT");
    let given = env::var("BRIG_COMMIT").ok().filter(|commit| is_word(commit));
    let described = || if is_release() { described() } else { None };
    let version = || env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo:rustc-env=BRIG_COMMIT={}", given.or_else(described).unwrap_or_else(version));
}

fn is_release() -> bool {
    env::var("PROFILE").is_ok_and(|profile| profile == "release")
}

fn described() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned()).filter(|text| is_word(text))
    };
    // A line is added to it at each change of HEAD.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["describe", "--always", "--abbrev=12", "--match", "v*"])
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic())
}
