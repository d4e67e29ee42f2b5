//! What can go wrong with a container's cgroup, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a cgroup could not be planned, made, changed or removed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The host's cgroup layout is not one that brig can work with.
    Layout {
        /// What is wrong with it.
        problem: String,
    },
    /// A field of the request cannot be honoured. Nothing was touched.
    Field {
        /// The field of config.json, e.g. `linux.resources.memory.swap`.
        field: String,
        /// Why it cannot be honoured.
        problem: String,
    },
    /// The kernel refused a value.
    Write {
        /// The field of config.json from which the value comes.
        field: String,
        /// The control file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A system call on a cgroup directory or file failed.
    Call {
        /// The system call.
        call: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A control file holds something that brig does not understand.
    Content {
        /// The control file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// Controllers that the limits need cannot be enabled for the container's cgroup.
    Controllers {
        /// The directory whose `cgroup.subtree_control` does not offer them.
        path: PathBuf,
        /// The missing controllers.
        missing: Vec<String>,
        /// The kernel's answer, where it was asked.
        source: Option<io::Error>,
    },
    /// The new container's cgroup exists and is in use, so it belongs to somebody else.
    Occupied {
        /// The directory.
        path: PathBuf,
        /// What uses it.
        by: Occupant,
    },
    /// The container's cgroup has been removed; another one may be at its path by now.
    Gone {
        /// Where it was.
        path: PathBuf,
    },
    /// No cgroups are mounted where the container's is, so that nothing tells whether it is there.
    Unseen {
        /// Where they are to be.
        mount: PathBuf,
    },
    /// The cgroup cannot hold a container, as an ancestor is threaded.
    Threaded {
        /// The directory.
        path: PathBuf,
        /// Its `cgroup.type`.
        kind: String,
    },
    /// The device program was not accepted.
    DeviceProgram {
        /// The step that failed: `load` or `attach`.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
        /// The end of the verifier's log; empty when it said nothing.
        log: String,
    },
    /// A memory limit below the present usage was refused as `checkBeforeUpdate` asks.
    BelowUsage {
        /// The field of config.json.
        field: String,
        /// The limit that was asked for.
        limit_bytes: u64,
        /// What the container uses.
        usage_bytes: u64,
    },
    /// The cgroup did not reach a state in the time that brig gives it.
    Timeout {
        /// The directory.
        path: PathBuf,
        /// The state, e.g. `frozen`.
        state: &'static str,
        /// How long brig waited.
        waited_ms: u64,
    },
    /// This layout has no such control, e.g. freezing on v1 without the freezer hierarchy.
    Unsupported {
        /// What was asked for.
        control: &'static str,
        /// What is missing.
        missing: &'static str,
    },
    /// Directories are left after `delete`.
    Left {
        /// One entry for each directory that could not be removed.
        left: Vec<Leftover>,
    },
    /// Making the cgroup failed, and so did removing what had been made.
    CleanUp {
        /// The first failure.
        cause: Box<Error>,
        /// What could not be removed.
        left: Vec<Leftover>,
    },
    /// systemd did not do what it was asked.
    Systemd(super::systemd::Error),
}

/// Who uses a cgroup.
#[derive(Debug)]
pub enum Occupant {
    /// Processes.
    Processes {
        /// The cgroup that they are in, itself or below.
        cgroup: PathBuf,
        /// How many are in that one.
        count: usize,
    },
    /// A cgroup below, without processes.
    Cgroup(PathBuf),
}

/// A cgroup directory that could not be removed.
#[derive(Debug)]
pub struct Leftover {
    /// The directory.
    pub path: PathBuf,
    /// Processes that are still in it (not below it), as seen from brig's pid namespace.
    pub pids: Vec<i32>,
    /// The kernel's answer to the last attempt.
    pub source: io::Error,
}

impl Error {
    /// A refusal of `field`.
    #[cold]
    pub(crate) fn field(field: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Field { field: field.into(), problem: problem.into() }
    }

    /// A failed system call.
    #[cold]
    pub(crate) fn call(
        call: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Error {
        Error::Call { call, path: path.into(), source: source.into() }
    }

    /// The kernel's error number, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Write { source, .. }
            | Error::Call { source, .. }
            | Error::DeviceProgram { source, .. } => source.raw_os_error(),
            Error::Controllers { source, .. } => source.as_ref().and_then(io::Error::raw_os_error),
            Error::CleanUp { cause, .. } => cause.errno(),
            // As the kernel answers for a cgroup that was removed while its files were open.
            Error::Gone { .. } => Some(libc::ENODEV),
            _ => None,
        }
    }

    /// The kernel's own words, for an entry of a list that names the object.
    pub(crate) fn into_source(self) -> io::Error {
        match self {
            Error::Call { source, .. } => source,
            other => io::Error::other(other),
        }
    }

    /// Whether the container's cgroup is not there any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Error::Gone { .. })
    }

    /// Whether this layout has no such control.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Error::Unsupported { .. })
    }

    /// What the person who reads the error can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Layout { .. } => Some(
                "mount cgroup2 on /sys/fs/cgroup, or the v1 hierarchies below it (cgroups(7)); \
                 /proc/self/mountinfo shows what is mounted"
                    .into(),
            ),
            Error::Field { field, .. } => Some(format!("change or remove {field} in config.json")),
            Error::Write { source, field, .. } => write_hint(source, field),
            Error::Call { source, .. } => call_hint(source),
            Error::Content { .. } => None,
            Error::Controllers { source, path, .. } => Some(controllers_hint(source.as_ref(), path)),
            Error::Occupied { .. } => Some(
                "another container or service uses this cgroup; give the container its own \
                 linux.cgroupsPath (without one its id is the path), or delete the other one first"
                    .into(),
            ),
            Error::Gone { .. } => Some(
                "somebody has removed it or moved the container's processes; \
                 a forced delete ends the container"
                    .into(),
            ),
            Error::Unseen { .. } => Some(
                "call brig where the host's cgroups are mounted, as they were when the container was made".into(),
            ),
            Error::Threaded { .. } => Some(
                "a container needs a domain cgroup; choose a linux.cgroupsPath with no threaded ancestor".into(),
            ),
            Error::DeviceProgram { source, .. } => device_hint(source),
            Error::BelowUsage { .. } => {
                Some("raise the limit, or free memory in the container first".into())
            }
            Error::Timeout { .. } => Some(
                "a process that waits uninterruptibly in the kernel (state D in `ps`) cannot be \
                 frozen or killed until its wait is over"
                    .into(),
            ),
            Error::Unsupported { missing, .. } => Some(format!("the host has no {missing}")),
            Error::Left { .. } | Error::CleanUp { .. } => Some(
                "end the processes that are named, then remove the directories with rmdir, deepest first"
                    .into(),
            ),
            Error::Systemd(error) => error.hint(),
        }
    }
}

fn write_hint(source: &io::Error, field: &str) -> Option<String> {
    match source.raw_os_error() {
        Some(libc::ENOENT) => {
            Some(format!("this kernel or cgroup layout has no such control; remove {field}"))
        }
        Some(libc::EINVAL | libc::ERANGE) => Some(format!(
            "the value of {field} is outside what the kernel or the parent cgroup allows"
        )),
        Some(libc::EBUSY) => Some("the cgroup uses more than the new limit, or is in use".into()),
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => call_hint(source),
        Some(libc::ENODEV) => Some(format!("{field} names a device that the host does not have")),
        _ => None,
    }
}

fn call_hint(source: &io::Error) -> Option<String> {
    match source.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => Some(
            "brig may not change this cgroup: run as root, or in a cgroup delegated to this user"
                .into(),
        ),
        Some(libc::EROFS) => Some("the cgroup file system is mounted read-only here".into()),
        Some(libc::EAGAIN) => {
            Some("cgroup.max.descendants or cgroup.max.depth of an ancestor is reached".into())
        }
        Some(libc::ENOSPC) => {
            Some("the host has no room for more cgroups; remove stale ones".into())
        }
        _ => None,
    }
}

fn controllers_hint(source: Option<&io::Error>, path: &std::path::Path) -> String {
    match source.and_then(io::Error::raw_os_error) {
        Some(libc::EBUSY) => format!(
            "{} holds processes of its own, so it cannot give controllers to cgroups below it; \
             move them into a cgroup of their own, or set linux.cgroupsPath",
            path.display()
        ),
        _ => format!(
            "delegate the controllers: write them to {}/cgroup.subtree_control (systemd: Delegate=)",
            path.display()
        ),
    }
}

fn device_hint(source: &io::Error) -> Option<String> {
    match source.raw_os_error() {
        Some(libc::EPERM) => {
            Some("device control on cgroup v2 needs CAP_BPF or CAP_SYS_ADMIN".into())
        }
        Some(libc::ENOSYS | libc::EINVAL) => {
            Some("the kernel needs CONFIG_CGROUP_BPF and CONFIG_BPF_SYSCALL".into())
        }
        _ => None,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Layout { problem } => write!(f, "cgroup layout: {problem}"),
            Error::Field { field, problem } => write!(f, "{field}: {problem}"),
            Error::Write { field, path, value, .. } => {
                write!(f, "{field}: writing {value:?} to {} failed", path.display())
            }
            Error::Call { call, path, .. } => write!(f, "{call} {} failed", path.display()),
            Error::Content { path, found } => {
                write!(f, "{} holds {found:?}, which brig does not understand", path.display())
            }
            Error::Controllers { path, missing, .. } => {
                write!(
                    f,
                    "{} does not offer the controllers {}",
                    path.display(),
                    missing.join(", ")
                )
            }
            Error::Occupied { path, by } => {
                write!(f, "cgroup {} exists, and ", path.display())?;
                match by {
                    Occupant::Processes { cgroup, count } => {
                        write!(f, "{} holds processes ({count})", cgroup.display())
                    }
                    Occupant::Cgroup(cgroup) => write!(f, "{} is below it", cgroup.display()),
                }
            }
            Error::Gone { path } => {
                write!(f, "the cgroup {} was removed or replaced", path.display())
            }
            Error::Unseen { mount } => {
                write!(f, "no cgroups are mounted at {}, where the container's is", mount.display())
            }
            Error::Threaded { path, kind } => {
                write!(
                    f,
                    "cgroup {} is of type {kind:?} and cannot hold a container",
                    path.display()
                )
            }
            other => other.fmt_outcome(f),
        }
    }
}

impl Error {
    /// The words for what happened to a cgroup that was made.
    fn fmt_outcome(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::DeviceProgram { step, log, .. } => {
                write!(f, "device program: {step} failed")?;
                if log.is_empty() { Ok(()) } else { write!(f, " (verifier: {})", log.trim_end()) }
            }
            Error::BelowUsage { field, limit_bytes, usage_bytes } => {
                write!(
                    f,
                    "{field}: {limit_bytes} bytes is below the present usage of {usage_bytes}"
                )
            }
            Error::Timeout { path, state, waited_ms } => {
                write!(f, "cgroup {} is not {state} after {waited_ms} ms", path.display())
            }
            Error::Unsupported { control, missing } => {
                write!(f, "{control} is not possible without {missing}")
            }
            Error::Left { left } => {
                f.write_str("cannot remove ")?;
                leftovers(f, left)
            }
            Error::CleanUp { left, .. } => {
                f.write_str("making the cgroup failed, and so did the cleanup; leaked: ")?;
                leftovers(f, left)
            }
            Error::Systemd(_) => f.write_str("the systemd cgroup driver failed"),
            // Told by `fmt`, which hands over only the ones above.
            Error::Layout { .. }
            | Error::Field { .. }
            | Error::Write { .. }
            | Error::Call { .. }
            | Error::Content { .. }
            | Error::Controllers { .. }
            | Error::Occupied { .. }
            | Error::Gone { .. }
            | Error::Unseen { .. }
            | Error::Threaded { .. } => Ok(()),
        }
    }
}

fn leftovers(f: &mut fmt::Formatter<'_>, left: &[Leftover]) -> fmt::Result {
    for (index, entry) in left.iter().enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        write!(f, "{separator}{} ({}", entry.path.display(), entry.source)?;
        if !entry.pids.is_empty() {
            write!(f, "; pids {:?}", entry.pids)?;
        }
        f.write_str(")")?;
    }
    Ok(())
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Write { source, .. }
            | Error::Call { source, .. }
            | Error::DeviceProgram { source, .. } => Some(source),
            Error::Controllers { source, .. } => source.as_ref().map(|e| e as _),
            Error::CleanUp { cause, .. } => Some(cause.as_ref()),
            Error::Systemd(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_chain_tells_each_thing_once() {
        let source = io::Error::from_raw_os_error(libc::EINVAL);
        let error = Error::Write {
            field: "linux.resources.pids.limit".into(),
            path: "/c/pids.max".into(),
            value: "x".into(),
            source,
        };
        let text = error.to_string();
        assert_eq!(text, "linux.resources.pids.limit: writing \"x\" to /c/pids.max failed");
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains("Invalid argument") && !text.contains("Invalid"));
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("linux.resources.pids.limit"), "{hint}");
    }

    #[test]
    fn what_is_left_is_named_with_its_processes() {
        let left = |path: &str, pids: &[i32]| Leftover {
            path: path.into(),
            pids: pids.to_vec(),
            source: io::Error::from_raw_os_error(libc::EBUSY),
        };
        let error = Error::Left { left: vec![left("/c/a", &[7, 8]), left("/c/b", &[])] };
        let text = error.to_string();
        assert!(text.starts_with("cannot remove /c/a (") && text.contains("pids [7, 8]"), "{text}");
        assert!(text.contains("; /c/b ("), "{text}");
        assert!(error.hint().is_some());
    }
}
