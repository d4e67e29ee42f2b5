//! The C programs that a measurement needs, built when they are missing or out of date.
//!
//! Their sources are part of this binary, so a moved or copied `compare` still works; the results are
//! kept in the target directory.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const METER: &str = include_str!("../programs/meter.c");
const GUEST: &str = include_str!("../programs/guest.c");
const FILTER: &str = include_str!("../programs/filter.c");
const FLOOR: &str = include_str!("../floor/floor.c");
const DOCKER_FILTER: &[u8] = include_bytes!("../floor/docker-range.bpf");

/// Where the built programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Runs commands and measures them; see `programs/meter.c`.
    pub meter: PathBuf,
    /// The program inside the containers; see `programs/guest.c`.
    pub guest: PathBuf,
    /// The least that a runtime must do; see `floor/floor.c`.
    pub floor: PathBuf,
    /// Docker's default seccomp profile as a BPF program, for `floor -b`.
    pub docker_filter: PathBuf,
}

impl Programs {
    /// Builds what is missing with `musl-gcc`, or with `cc -static` where there is none.
    ///
    /// # Errors
    /// When no C compiler is there, or it fails.
    pub fn build() -> Result<Self> {
        let dir = directory()?;
        let docker_filter = dir.join("docker-range.bpf");
        fs::write(&docker_filter, DOCKER_FILTER)
            .with_context(|| format!("cannot write {}", docker_filter.display()))?;
        Ok(Self {
            meter: build_one(&dir, "meter", METER)?,
            guest: build_one(&dir, "guest", GUEST)?,
            floor: build_one(&dir, "floor", FLOOR)?,
            docker_filter,
        })
    }
}

/// The program that loads a filter and times calls under it, built as [`Programs`]; see
/// `programs/filter.c`.
///
/// # Errors
/// When no C compiler is there, or it fails.
pub fn filter_program() -> Result<PathBuf> {
    build_one(&directory()?, "filter", FILTER)
}

fn directory() -> Result<PathBuf> {
    let dir = target_dir()?.join("compare");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Cargo's target directory: `CARGO_TARGET_DIR`, else `target` in the current directory.
///
/// # Errors
/// When the current directory cannot be told.
pub fn target_dir() -> Result<PathBuf> {
    let dir =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::path::absolute(&dir).with_context(|| format!("cannot resolve {}", dir.display()))
}

fn build_one(dir: &Path, name: &str, source: &str) -> Result<PathBuf> {
    let program = dir.join(name);
    let source_path = dir.join(format!("{name}.c"));
    let is_current = fs::read_to_string(&source_path).is_ok_and(|built| built == source);
    if is_current && program.exists() {
        return Ok(program);
    }
    // The source is the mark of a finished build, so it must not be there if the build fails.
    let unfinished = dir.join(format!("{name}.new.c"));
    fs::write(&unfinished, source)
        .with_context(|| format!("cannot write {}", unfinished.display()))?;
    // musl's own headers come first; the kernel's, which musl does not carry, come last.
    let musl = ["-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"];
    let compilers: [(&str, &[&str]); 2] = [("musl-gcc", &musl), ("cc", &[])];
    for (compiler, flags) in compilers {
        let built = Command::new(compiler)
            .args(["-O2", "-static", "-w"])
            .args(flags)
            .arg("-o")
            .args([&program, &unfinished])
            .output();
        match built {
            Ok(output) if output.status.success() => {
                fs::rename(&unfinished, &source_path)
                    .with_context(|| format!("cannot write {}", source_path.display()))?;
                return Ok(program);
            }
            Ok(output) => bail!(
                "{compiler} cannot build {name}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot run {compiler}")),
        }
    }
    bail!("neither musl-gcc nor cc is installed (Debian: apt-get install musl-tools)")
}
