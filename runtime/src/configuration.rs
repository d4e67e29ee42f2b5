//! The configuration of a bundle, read from disk.
//!
//! A bundle is a directory with `config.json` (OCI runtime specification, bundle.md). The file is opened
//! once, must be a regular file and small, and is read to its end: nothing here follows what it says.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::{error, fmt};

use brig_seccomp::BpfProgram;
use rustix::fs::{CWD, ResolveFlags};

use crate::deadline::{Deadline, OF_OTHERS};
use crate::foreign;
use crate::policy::{self, Applied, Hardened, NodePolicy, Outcome};
use crate::sources::HeldSources;
use crate::spec::{self, Asked};

/// The name of the configuration within a bundle (bundle.md).
pub const CONFIG_FILE: &str = "config.json";

/// Why a bundle could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened or read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is a directory, a device, a FIFO …
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// It is larger than any honest configuration.
    TooBig {
        /// The file.
        path: PathBuf,
        /// The most that is accepted.
        limit_bytes: usize,
    },
    /// It was read, and what it says is not acceptable.
    Spec {
        /// The file.
        path: PathBuf,
        /// The field at fault.
        source: spec::Error,
    },
    /// The node does not allow what it asks for.
    Denied(policy::Denial),
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("is it the right directory? a bundle has a config.json")
            }
            Self::Read { .. } => Some("check the permissions of the bundle"),
            Self::NotRegular { .. } => Some("config.json must be a regular file"),
            Self::TooBig { .. } => {
                Some("look at what wrote it: config.json is usually below 40 KiB")
            }
            Self::Spec { source, .. } => source.hint(),
            Self::Denied(denial) => Some(denial.hint()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "cannot read {}", path.display()),
            Self::NotRegular { path } => write!(f, "{} is not a regular file", path.display()),
            Self::TooBig { path, limit_bytes } => {
                write!(f, "{} is larger than {limit_bytes} bytes", path.display())
            }
            Self::Spec { path, .. } => write!(f, "{} is not acceptable", path.display()),
            Self::Denied(denial) => denial.fmt(f),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Spec { source, .. } => Some(source),
            Self::NotRegular { .. } | Self::TooBig { .. } | Self::Denied(_) => None,
        }
    }
}

/// A configuration that has been accepted: its text and what it says.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// What holds, as text: where the node has changed nothing, that of the bundle byte for byte.
    pub text: Vec<u8>,
    /// The bundle's text, where another holds.
    pub asked: Option<Vec<u8>>,
    /// What it says, as far as the node grants it.
    pub spec: Hardened,
    /// Where the profile of the filter is.
    pub seccomp: Seccomp,
    /// By which profile that was decided, and what.
    pub applied: Applied,
}

/// What the container's filter is made of.
#[derive(Clone, Debug)]
pub enum Seccomp {
    /// There is no such section.
    Absent,
    /// The section `linux.seccomp` at this place of the text; not read yet.
    Text(Range<usize>),
    /// A program that a caller has put in the section's place; nobody listens to it but
    /// [`watcher`](crate::supervise::Blueprint::watcher).
    Program(BpfProgram),
}

impl Configuration {
    /// Reads, parses and checks what the bundle that is open as `directory` asks for; its path is for errors.
    ///
    /// # Errors
    /// The file cannot be read or is refused before it is (see [`Error`]), or [`Asked::read`] refuses it.
    pub fn read(directory: impl AsFd, bundle: &Path) -> Result<(Vec<u8>, Asked), Error> {
        let path = bundle.join(CONFIG_FILE);
        let text = read_below(directory, Path::new(CONFIG_FILE), &path, spec::SIZE_LIMIT_BYTES)?;
        let asked = Asked::read(&text).map_err(|source| Error::Spec { path, source })?;
        Ok((text, asked))
    }

    /// Holds what a bundle asks for, by this text, against what the node grants.
    ///
    /// # Errors
    /// The node refuses something of it.
    pub fn harden(
        bundle: &Path,
        text: Vec<u8>,
        asked: Asked,
        node: &NodePolicy,
        sources: &HeldSources,
    ) -> Result<Self, Error> {
        let refused = |source| Error::Spec { path: bundle.join(CONFIG_FILE), source };
        let hardened = policy::harden(asked, node, &sources.judged);
        let (mut spec, verdicts) = hardened.map_err(Error::Denied)?;
        let is_limited = verdicts.iter().any(|verdict| verdict.outcome == Outcome::Limited);
        let (text, asked) = match is_limited {
            true => (spec.write(&text).map_err(refused)?, Some(text)),
            false => (text, None),
        };
        let seccomp = spec.seccomp.clone().map_or(Seccomp::Absent, Seccomp::Text);
        let applied = Applied { profile: node.profile.clone(), verdicts };
        Ok(Self { text, asked, spec, seccomp, applied })
    }

    /// The configuration of a container as it was kept, which has been judged; what it was judged by is `applied`.
    pub(crate) fn kept(path: &Path, text: Vec<u8>, applied: Applied) -> Result<Self, Error> {
        let refused = |source| Error::Spec { path: path.join(CONFIG_FILE), source };
        let spec = policy::kept(Asked::read(&text).map_err(refused)?);
        let seccomp = spec.seccomp.clone().map_or(Seccomp::Absent, Seccomp::Text);
        Ok(Self { text, asked: None, spec, seccomp, applied })
    }

    /// The text of `linux.seccomp`, if that is what the filter is made of.
    #[must_use]
    pub fn seccomp_text(&self) -> Option<&[u8]> {
        match &self.seccomp {
            Seccomp::Text(range) => self.text.get(range.clone()),
            Seccomp::Absent | Seccomp::Program(_) => None,
        }
    }
}

/// The bytes of a regular file of at most `limit_bytes`; also for `exec --process`.
///
/// # Errors
/// The file cannot be opened or read, is not regular, or is larger.
pub fn read_small(path: &Path, limit_bytes: usize) -> Result<Vec<u8>, Error> {
    read_below(CWD, path, path, limit_bytes)
}

/// The same, or what a pipe holds (`/dev/fd/63` of a shell), for a file that the caller names on the command line. Its end
/// is waited for ten seconds.
///
/// # Errors
/// As [`read_small`], or the pipe has no end by then.
pub fn read_given(path: &Path, limit_bytes: usize) -> Result<Vec<u8>, Error> {
    match read_small(path, limit_bytes) {
        Err(Error::NotRegular { path }) => {
            let failed = |source| Error::Read { path: path.clone(), source };
            let read = foreign::read_pipe(&path, limit_bytes, Deadline::after(OF_OTHERS));
            read.map_err(failed)?.ok_or(Error::NotRegular { path })
        }
        answer => answer,
    }
}

/// The same of the file `name`, from `directory` on.
fn read_below(
    directory: impl AsFd,
    name: &Path,
    path: &Path,
    limit_bytes: usize,
) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = foreign::regular_file(directory, name, ResolveFlags::empty()).map_err(failed)?;
    let file = file.ok_or_else(|| Error::NotRegular { path: path.to_owned() })?;
    foreign::read(&file, limit_bytes)
        .map_err(failed)?
        .ok_or_else(|| Error::TooBig { path: path.to_owned(), limit_bytes })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs;

    use super::*;

    fn load(bundle: &Path) -> Result<Configuration, Error> {
        let directory = fs::File::open(bundle).expect("a directory");
        let (text, asked) = Configuration::read(directory, bundle)?;
        Configuration::harden(bundle, text, asked, &NodePolicy::oci(), &HeldSources::default())
    }

    fn bundle(config: impl AsRef<[u8]>) -> tempfile::TempDir {
        let bundle = tempfile::tempdir().expect("a directory");
        fs::write(bundle.path().join(CONFIG_FILE), config).expect("a file");
        bundle
    }

    /// The chain as a person sees it, without the directory's name.
    fn chain(bundle: &Path, error: &Error) -> String {
        let mut text = error.to_string().replace(&bundle.display().to_string(), "BUNDLE");
        let mut source = error.source();
        while let Some(error) = source {
            text.push_str(&format!("; {error}"));
            source = error.source();
        }
        text
    }

    #[test]
    fn a_good_bundle_is_loaded() {
        let good = bundle(crate::template::text(None));
        let loaded = load(good.path()).expect("it is good");
        assert_eq!(loaded.spec.hostname.as_deref(), Some("runc"));
        assert_eq!(loaded.seccomp_text(), None);
    }

    #[test]
    fn the_text_of_seccomp_is_found_where_it_is_and_nowhere_else() {
        let text = br#"{ "ociVersion": "1.0.0", "root": { "path": "r" },
            "annotations": { "seccomp": "{}" },
            "process": { "cwd": "/", "args": ["a"], "user": { "uid": 0, "gid": 0 } },
            "linux": { "resources": {}, "seccomp" : {"defaultAction": "SCMP_ACT_ALLOW"} } }"#;
        let bundle = bundle(text);
        let read = load(bundle.path()).expect("it is good");
        let expected: &[u8] = br#"{"defaultAction": "SCMP_ACT_ALLOW"}"#;
        assert_eq!(read.seccomp_text(), Some(expected));
    }

    #[test]
    fn errors_name_the_file_once_and_the_field() {
        let missing = tempfile::tempdir().expect("a directory");
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join(CONFIG_FILE)).expect("a directory");
        let cases = [
            (
                bundle("{}"),
                "BUNDLE/config.json is not acceptable; ociVersion: required but missing",
            ),
            (
                bundle("{"),
                "BUNDLE/config.json is not acceptable; line 1 column 2: the text ends too early",
            ),
            (bundle(vec![b' '; (1 << 20) + 1]), "BUNDLE/config.json is larger than 1048576 bytes"),
            (directory, "BUNDLE/config.json is not a regular file"),
            (missing, "cannot read BUNDLE/config.json; No such file or directory (os error 2)"),
        ];
        for (bundle, expected) in cases {
            let error = load(bundle.path()).expect_err(expected);
            assert_eq!(chain(bundle.path(), &error), expected);
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn what_is_not_a_file_is_refused_without_waiting() {
        let bundle = tempfile::tempdir().expect("a directory");
        let path = bundle.path().join(CONFIG_FILE);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).expect("a FIFO");
        assert!(matches!(load(bundle.path()), Err(Error::NotRegular { .. })));
        assert!(matches!(read_small(Path::new("/dev/zero"), 10), Err(Error::NotRegular { .. })));
    }

    #[test]
    fn a_file_that_grows_while_it_is_read_is_still_limited() {
        // Its length is 0 by fstat, as that of all files in /proc.
        let path = Path::new("/proc/self/maps");
        assert!(matches!(read_small(path, 10), Err(Error::TooBig { limit_bytes: 10, .. })));
        assert!(read_small(path, 1 << 20).is_ok_and(|bytes| bytes.len() > 10));
    }
}
