//! What systemd did not do, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// What systemd did not do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The manager cannot be reached.
    Connect {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The connection broke.
    Io {
        /// The kernel's answer.
        source: io::Error,
    },
    /// The other side does not speak D-Bus as brig knows it.
    Protocol,
    /// No answer in time.
    Timeout {
        /// How long brig waited.
        waited_ms: u64,
    },
    /// A call was answered with an error.
    Refused {
        /// The method.
        call: &'static str,
        /// The D-Bus name of the error.
        name: String,
        /// Its text.
        text: String,
    },
    /// The unit's cgroup is not where limits would be written.
    Elsewhere {
        /// The unit.
        unit: String,
        /// The directory that does not hold the process.
        path: PathBuf,
    },
    /// The unit that has the name is not the container's.
    Another {
        /// The unit.
        unit: String,
    },
    /// The unit's job did not come to a good end.
    Job {
        /// The unit.
        unit: String,
        /// systemd's word for it, e.g. `failed`.
        result: String,
    },
}

impl Error {
    /// What the person who reads the error can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Connect { .. } | Error::Io { .. } | Error::Protocol => {
                Some("is systemd running? without it, brig has to make cgroups itself (the driver cgroupfs)".into())
            }
            Error::Timeout { .. } => {
                Some("see `systemctl list-jobs` and `journalctl -b _PID=1`".into())
            }
            Error::Refused { name, .. } if name.ends_with("UnitExists") => {
                Some("a container of this name runs, or `systemctl reset-failed` is due".into())
            }
            Error::Refused { .. } => Some("see `journalctl -b _PID=1`".into()),
            Error::Elsewhere { unit, .. } => {
                Some(format!("see `systemctl show -p ControlGroup {unit}`, with --user for a user"))
            }
            Error::Another { unit } => Some(format!("see `systemctl status {unit}`")),
            Error::Job { unit, .. } => Some(format!("see `journalctl -u {unit}`")),
        }
    }

    /// Whether systemd answered with this error of org.freedesktop.systemd1(5).
    pub(super) fn is(&self, error: &str) -> bool {
        matches!(self, Error::Refused { name, .. } if name.ends_with(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Connect { path, .. } => write!(f, "connecting to {} failed", path.display()),
            Error::Io { .. } => f.write_str("D-Bus I/O error"),
            Error::Protocol => f.write_str("unexpected D-Bus reply from systemd"),
            Error::Timeout { waited_ms } => write!(f, "systemd did not answer in {waited_ms} ms"),
            Error::Refused { call, name, text } => write!(f, "{call} was refused: {name}: {text}"),
            Error::Elsewhere { unit, path } => {
                write!(f, "the process of {unit} is not in {}", path.display())
            }
            Error::Another { unit } => write!(f, "{unit} was replaced: it is not the container's"),
            Error::Job { unit, result } => write!(f, "the job of {unit} ended as {result:?}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Connect { source, .. } | Error::Io { source } => Some(source),
            _ => None,
        }
    }
}
