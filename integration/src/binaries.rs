//! Finds what the tests run: the runtime, the probe, and the cached root file systems.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The runtime under test: `$BRIG`, else brig from the target directory, built if it is not there.
pub fn runtime() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| from_env("BRIG").unwrap_or_else(|| built("brig-cli", "brig")))
}

/// The static probe: `$BRIG_PROBE`, else from the target directory, built if it is not there.
pub fn probe() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        from_env("BRIG_PROBE").unwrap_or_else(|| built("brig-integration", "probe"))
    })
}

/// The program around libcontainer: `$BRIG_REFERENCE`, else from the target directory, built if it
/// is not there. Its package is no member of the workspace: see `integration/reference/Cargo.toml`.
pub fn reference() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        from_env("BRIG_REFERENCE").unwrap_or_else(|| {
            let target = target_dir().join("reference");
            let path = target.join("debug/libcontainer-run");
            if !path.exists() {
                let mut cargo = cargo();
                cargo.args(["build", "--locked", "--manifest-path"]);
                cargo.arg(workspace().join("integration/reference/Cargo.toml"));
                cargo.arg("--target-dir").arg(&target);
                build(cargo, &path);
            }
            path
        })
    })
}

/// The static program whose ordinary work the seccomp profiles must let pass: `$BRIG_WORK`, else
/// from the target directory, built if it is not there.
pub fn work() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| from_env("BRIG_WORK").unwrap_or_else(|| built("brig-integration", "work")))
}

fn from_env(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(name)?);
    assert!(path.is_absolute(), "{name} must be an absolute path, not {}", path.display());
    assert!(path.is_file(), "{name} is {}, which is no file", path.display());
    Some(path)
}

/// The cached root file system `name`.
pub fn rootfs(name: &str) -> PathBuf {
    let path = cache().join(name);
    assert!(path.is_dir(), "no root file system {}: run integration/setup", path.display());
    path
}

/// `$BRIG_CACHE`, else `~/.cache/brig`, as in integration/setup.
pub fn cache() -> PathBuf {
    if let Some(dir) = std::env::var_os("BRIG_CACHE") {
        return dir.into();
    }
    let base = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache"),
        PathBuf::from,
    );
    base.join("brig")
}

/// The target that static binaries are built for: integration/setup has written it down.
pub fn static_target() -> String {
    std::fs::read_to_string(cache().join("target"))
        .map_or_else(|_| "x86_64-unknown-linux-musl".into(), |t| t.trim().to_owned())
}

/// The workspace's directory.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// The target directory: two above `…/debug/deps/TEST`, or `$CARGO_TARGET_DIR`.
pub fn target_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("CARGO_TARGET_DIR") {
        return dir.into();
    }
    let test = std::env::current_exe().unwrap_or_default();
    test.ancestors().nth(3).map_or_else(|| workspace().join("target"), Path::to_owned)
}

fn built(package: &str, bin: &str) -> PathBuf {
    let target = static_target();
    let path = target_dir().join(&target).join("release").join(bin);
    if path.exists() {
        return path;
    }
    let mut cargo = cargo();
    cargo.args(["build", "--release", "--target", &target, "-p", package, "--bin", bin]);
    if target.ends_with("gnu") {
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    }
    build(cargo, &path);
    path
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    cargo
}

/// Cargo holds a lock while it builds: of tests that start together, one builds.
fn build(mut cargo: Command, path: &Path) {
    let status = crate::leftovers::own(|| cargo.spawn()).and_then(|mut child| child.wait());
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success) && path.exists(),
        "cannot build {}: {status:?}",
        path.display()
    );
}
