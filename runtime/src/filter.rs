//! From a configuration to the program of its seccomp filter, which is compiled once.
//!
//! Nearly all containers of a node have the same `linux.seccomp`, byte for byte, and compiling
//! Docker's, or even reading it, takes 8 % of a start (docs/performance.md, "Shortcuts"). So a privileged brig keeps
//! programs below `/run/brig/seccomp` (mode 0700), each with the text that it was compiled from and with the identity of the brig that
//! did so; a program is used only where both are the same, compared in full. Sixty-four at most are
//! kept: a file for each remainder of a hash, replaced by rename.
//!
//! It must never use a file that another user could have written, and never fail because of the
//! directory: without it, every start compiles. Removing it is harmless.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use brig_pseudofs::small_file;
use brig_seccomp::positions::Positions;
use brig_seccomp::{Arch, BpfProgram, Instruction};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, StatxFlags, fstat, mkdirat, openat, statx};

use crate::caller::Caller;
use crate::configuration::{CONFIG_FILE, Configuration, Seccomp};
use crate::replace::{Lasting, replace};

const DIRECTORY: &str = "/run/brig/seccomp";
/// How many programs are kept at most.
const FILES: u64 = 64;
/// The first bytes of each file; the last says which form it has.
const MAGIC: &[u8; 8] = b"brigbpf2";

/// A filter that is ready to be loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The program.
    pub program: BpfProgram,
    /// Who serves its listener, where it has one: `linux.seccomp.listenerPath`.
    pub listener_path: Option<PathBuf>,
    /// What that one is told: `linux.seccomp.listenerMetadata`.
    pub listener_metadata: Option<String>,
}

impl Filter {
    /// A program that notifies nobody.
    #[must_use]
    pub fn without_listener(program: BpfProgram) -> Self {
        Self { program, listener_path: None, listener_metadata: None }
    }

    /// The filter of a configuration, if it has one; `bundle` is for errors.
    ///
    /// # Errors
    /// The section is not acceptable, or the compiler refuses it. Two rules that contradict each
    /// other are taken, as by libseccomp: Podman's own profile has such (setns). `brig seccomp
    /// check` tells of them.
    pub fn of(config: &Configuration, bundle: &Path) -> Result<Option<Self>, Error> {
        let section = match &config.seccomp {
            Seccomp::Absent => return Ok(None),
            Seccomp::Program(program) => return Ok(Some(Self::without_listener(program.clone()))),
            Seccomp::Text(section) => section.clone(),
        };
        let kept = config.seccomp_text().and_then(|text| Some((Kept::open()?, text)));
        if let Some((kept, text)) = &kept
            && let Some(program) = kept.find(text)
        {
            return Ok(Some(Self::without_listener(program)));
        }
        let refused = |field: &str, message| Error::new(config, bundle, field, message);
        let profile = brig_seccomp::read_part(&config.text, section).map_err(|error| {
            refused(error.field(), error.to_string()).with_hint(error.hint().map(str::to_owned))
        })?;
        let program = brig_seccomp::compile(&profile, Arch::native()).map_err(|error| {
            let hint = error.hint().map(|hint| hint.to_string());
            refused(error.field(), error.to_string()).with_hint(hint)
        })?;
        if let Some((kept, text)) = &kept {
            // Whatever speaks against it (no space, a read-only /run): the next start compiles too.
            let _ = kept.keep(text, &program);
        }
        let listener_path = profile.listener_path().clone();
        let listener_metadata = profile.listener_metadata().clone();
        Ok(Some(Self { program, listener_path, listener_metadata }))
    }
}

/// Why a configuration has no filter although it asks for one: the file, the line and the field
/// at fault.
#[derive(Debug)]
pub struct Error {
    file: PathBuf,
    line: Option<usize>,
    message: String,
    hint: Option<String>,
}

impl Error {
    fn new(config: &Configuration, bundle: &Path, field: &str, message: String) -> Self {
        let positions = Positions::of(&String::from_utf8_lossy(&config.text));
        let (file, line) = (bundle.join(CONFIG_FILE), positions.line(field));
        Self { file, line, message, hint: None }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    fn with_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Error {}

/// The directory of kept programs.
struct Kept {
    directory: OwnedFd,
    /// Which brig this is: another one may compile differently.
    compiler: Compiler,
}

impl Kept {
    /// `None` for who is not root of the machine, and where the directory is not root's alone.
    fn open() -> Option<Self> {
        if Caller::get() != Caller::Root {
            return None;
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::PATH | OFlags::CLOEXEC;
        let open = || openat(CWD, DIRECTORY, flags, Mode::empty());
        let directory = open()
            .or_else(|_| {
                mkdirat(CWD, DIRECTORY, Mode::RWXU)?;
                open()
            })
            .ok()?;
        is_private(&fstat(&directory).ok()?).then_some(())?;
        Some(Self { directory, compiler: identity().ok()? })
    }

    fn find(&self, text: &[u8]) -> Option<BpfProgram> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.directory, name(text), flags, Mode::empty()).ok()?;
        decode(&small_file::read_open(&file).ok()?, &self.compiler, text)
    }

    fn keep(&self, text: &[u8], program: &BpfProgram) -> io::Result<()> {
        // Whoever serves the listener of such a filter is asked at each start anyway.
        if program.notify {
            return Ok(());
        }
        let bytes = encode(&self.compiler, text, program);
        replace(&self.directory, Path::new(&name(text)), 0o600, &bytes, Lasting::Brig)
    }
}

/// Only root may write it, or read it.
fn is_private(stat: &Stat) -> bool {
    stat.st_uid == 0 && stat.st_mode & 0o077 == 0
}

/// brig's own file: device, number, size and times of change; the last cannot be set at will.
type Compiler = [u8; 56];

fn identity() -> io::Result<Compiler> {
    let mask = StatxFlags::INO | StatxFlags::SIZE | StatxFlags::MTIME | StatxFlags::CTIME;
    let stat = statx(CWD, "/proc/self/exe", AtFlags::empty(), mask)?;
    let parts = [
        u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
        stat.stx_ino,
        stat.stx_size,
        stat.stx_mtime.tv_sec.cast_unsigned(),
        u64::from(stat.stx_mtime.tv_nsec),
        stat.stx_ctime.tv_sec.cast_unsigned(),
        u64::from(stat.stx_ctime.tv_nsec),
    ];
    let mut identity = [0; 56];
    for (place, part) in identity.chunks_exact_mut(8).zip(parts) {
        place.copy_from_slice(&part.to_ne_bytes());
    }
    Ok(identity)
}

/// FNV-1a, eight bytes at a time.
fn hash(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325_u64, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash ^ u64::from_ne_bytes(word)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Whoever makes two texts meet gains nothing: they are compared.
fn name(text: &[u8]) -> String {
    let hash = hash(text);
    format!("{}", (hash >> 32 ^ hash) % FILES)
}

fn encode(compiler: &Compiler, text: &[u8], program: &BpfProgram) -> Vec<u8> {
    let instructions = program.to_bytes();
    let mut bytes = Vec::with_capacity(64 + text.len() + 8 * program.instructions.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(compiler);
    bytes.extend_from_slice(&program.flags.to_ne_bytes());
    // A crash of the machine may leave a file that was not written to its end.
    bytes.extend_from_slice(&hash(&instructions).to_ne_bytes());
    bytes.extend_from_slice(&(text.len() as u64).to_ne_bytes());
    bytes.extend_from_slice(text);
    bytes.extend_from_slice(&instructions);
    bytes
}

/// The program, if all of the file is as it was written and it is that of `text`.
fn decode(bytes: &[u8], compiler: &Compiler, text: &[u8]) -> Option<BpfProgram> {
    let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(compiler)?;
    let (flags, rest) = rest.split_first_chunk::<8>()?;
    let (written, rest) = rest.split_first_chunk::<8>()?;
    let rest = rest.strip_prefix(&(text.len() as u64).to_ne_bytes())?.strip_prefix(text)?;
    (hash(rest) == u64::from_ne_bytes(*written)).then_some(())?;
    let (instructions, []) = rest.as_chunks::<8>() else { return None };
    let instructions: Vec<_> = instructions.iter().map(Instruction::from_bytes).collect();
    let whole = (1..=brig_seccomp::MAX_INSTRUCTIONS).contains(&instructions.len());
    whole.then(|| BpfProgram { instructions, flags: u64::from_ne_bytes(*flags), notify: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> (&'static [u8], BpfProgram) {
        let text = br#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["mount"],"action":"SCMP_ACT_ERRNO"}]}"#;
        let profile = serde_json::from_slice(text).expect("a profile");
        (text, brig_seccomp::compile(&profile, Arch::native()).expect("it compiles"))
    }

    #[test]
    fn what_was_kept_is_found() {
        let (text, program) = profile();
        let bytes = encode(&[7; 56], text, &program);
        assert_eq!(decode(&bytes, &[7; 56], text), Some(program));
    }

    #[test]
    fn another_text_another_compiler_and_damage_are_not() {
        let (text, program) = profile();
        let bytes = encode(&[7; 56], text, &program);
        assert_eq!(decode(&bytes, &[8; 56], text), None, "another brig");
        let mut other = text.to_vec();
        other[20] ^= 1;
        assert_eq!(decode(&bytes, &[7; 56], &other), None, "another text");
        assert_eq!(decode(&bytes, &[7; 56], &text[1..]), None, "a shorter text");
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut], &[7; 56], text), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_file_that_others_may_write_is_not_private() {
        let directory = tempfile::tempdir().expect("a directory");
        let stat = fstat(std::fs::File::open(directory.path()).expect("it is there"));
        let mut stat = stat.expect("its status");
        (stat.st_uid, stat.st_mode) = (0, 0o40700);
        assert!(is_private(&stat));
        stat.st_mode = 0o40770;
        assert!(!is_private(&stat));
        (stat.st_uid, stat.st_mode) = (1000, 0o40700);
        assert!(!is_private(&stat));
    }
}
