//! What is measured: OCI runtimes by their command lines, and `floor`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::meter::Argv;

/// How a subject is driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// By the command line that runc, crun, youki and brig have in common.
    Runtime,
    /// By `floor run`; it knows no bundles and only the one verb.
    Floor {
        /// Docker's default seccomp profile, which `floor` takes where the bundle has it.
        docker_filter: PathBuf,
        /// Its `-f` option, when the host needs one.
        flags: Option<&'static str>,
    },
}

/// One runtime under measurement.
#[derive(Debug, Clone)]
pub struct Subject {
    /// How tables call it.
    pub name: String,
    /// How it is driven.
    pub kind: Kind,
    /// Its program.
    pub program: PathBuf,
    /// Options before the verb.
    pub options: Vec<OsString>,
}

/// The bundle that a container is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bundle {
    /// `runc spec` without a terminal: five namespaces and a cgroup's, three capabilities, no seccomp.
    Default,
    /// Docker's: its seccomp profile, 14 capabilities, memory, cpu and pids limits.
    Docker,
    /// As `Default`, but its program sleeps until it is killed.
    Pause,
}

impl Bundle {
    /// Its directory's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Docker => "docker",
            Self::Pause => "pause",
        }
    }
}

impl Subject {
    /// Whether the subject has `create`, `start`, `exec` and `delete`.
    #[must_use]
    pub fn has_lifecycle(&self) -> bool {
        self.kind == Kind::Runtime
    }

    /// Runs a container to its end.
    #[must_use]
    pub fn run(&self, place: &Path, bundle: Bundle, id: &str) -> Argv {
        let Kind::Floor { docker_filter, flags } = &self.kind else {
            return self.verb(
                place,
                &["run", "--bundle"],
                &[bundle_dir(place, bundle).as_os_str()],
                id,
            );
        };
        let state = self.state_dir(place);
        let rootfs = bundle_dir(place, bundle).join("rootfs");
        let mut argv = vec![self.program.clone().into_os_string(), "run".into()];
        argv.extend([OsString::from("-i"), id.into(), "-S".into(), state.into()]);
        if let Some(flags) = flags {
            argv.extend([OsString::from("-f"), flags.into()]);
        }
        if bundle == Bundle::Docker {
            argv.extend([OsString::from("-b"), docker_filter.into()]);
        }
        argv.extend([rootfs.into(), OsString::from("/bin/true")]);
        argv
    }

    /// Makes a container that waits for `start`.
    #[must_use]
    pub fn create(&self, place: &Path, bundle: Bundle, id: &str) -> Argv {
        self.verb(place, &["create", "--bundle"], &[bundle_dir(place, bundle).as_os_str()], id)
    }

    /// Starts a created container.
    #[must_use]
    pub fn start(&self, place: &Path, id: &str) -> Argv {
        self.verb(place, &["start"], &[], id)
    }

    /// Runs `/bin/true` in a running container and waits for it.
    #[must_use]
    pub fn exec(&self, place: &Path, id: &str) -> Argv {
        let mut argv = self.verb(place, &["exec"], &[], id);
        argv.push("/bin/true".into());
        argv
    }

    /// Sends SIGKILL to a container's first process.
    #[must_use]
    pub fn kill(&self, place: &Path, id: &str) -> Argv {
        let mut argv = self.verb(place, &["kill"], &[], id);
        argv.push("KILL".into());
        argv
    }

    /// Removes a container in whatever state it is.
    #[must_use]
    pub fn delete(&self, place: &Path, id: &str) -> Argv {
        self.verb(place, &["delete", "--force"], &[], id)
    }

    /// The size of its program in bytes. Shared libraries are not in it.
    ///
    /// # Errors
    /// When the program cannot be found.
    pub fn size_bytes(&self) -> Result<u64> {
        let metadata = fs::metadata(&self.program)
            .with_context(|| format!("cannot read the size of {}", self.program.display()))?;
        Ok(metadata.len())
    }

    /// The first line of what `--version` prints; nothing for `floor`, or when it fails.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        if !self.has_lifecycle() {
            return None;
        }
        let output = Command::new(&self.program).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().map(str::to_owned)
    }

    fn verb(&self, place: &Path, words: &[&str], more: &[&OsStr], id: &str) -> Argv {
        let mut argv = vec![self.program.clone().into_os_string()];
        argv.extend(self.options.iter().cloned());
        argv.extend([OsString::from("--root"), self.state_dir(place).into()]);
        argv.extend(words.iter().map(OsString::from));
        argv.extend(more.iter().map(OsString::from));
        argv.push(id.into());
        argv
    }

    fn state_dir(&self, place: &Path) -> PathBuf {
        place.join("state").join(&self.name)
    }
}

/// Where a bundle is laid out under the working directory.
#[must_use]
pub fn bundle_dir(place: &Path, bundle: Bundle) -> PathBuf {
    place.join("bundles").join(bundle.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(argv: &[OsString]) -> Vec<&str> {
        argv.iter().filter_map(|word| word.to_str()).collect()
    }

    #[test]
    fn a_runtime_is_driven_by_runcs_command_line() {
        let subject = Subject {
            name: "x".into(),
            kind: Kind::Runtime,
            program: "/bin/x".into(),
            options: vec!["--debug".into()],
        };
        assert_eq!(
            words(&subject.run(Path::new("/w"), Bundle::Docker, "c")),
            [
                "/bin/x",
                "--debug",
                "--root",
                "/w/state/x",
                "run",
                "--bundle",
                "/w/bundles/docker",
                "c"
            ]
        );
        assert_eq!(
            words(&subject.exec(Path::new("/w"), "c"))[3..],
            ["/w/state/x", "exec", "c", "/bin/true"]
        );
    }

    #[test]
    fn floor_loads_the_filter_only_where_the_bundle_has_one() {
        let subject = Subject {
            name: "floor".into(),
            kind: Kind::Floor { docker_filter: "/f.bpf".into(), flags: Some("+cg2") },
            program: "/floor".into(),
            options: Vec::new(),
        };
        let plain = subject.run(Path::new("/w"), Bundle::Default, "c");
        assert!(!words(&plain).contains(&"/f.bpf"));
        let docker = subject.run(Path::new("/w"), Bundle::Docker, "c");
        assert!(words(&docker).windows(2).any(|pair| pair == ["-b", "/f.bpf"]));
    }
}
