//! The parts of a plan: directories, and what is done to them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A directory of the container in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    /// v1: the hierarchy's controllers. v2: those that the mount offers.
    pub controllers: Vec<String>,
    /// The hierarchy is cgroup v2.
    pub unified: bool,
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// The path from the mount point, without a leading `/`.
    pub path: String,
}

impl Directory {
    /// The absolute path.
    #[must_use]
    pub fn absolute(&self) -> PathBuf {
        self.mount.join(&self.path)
    }

    /// Whether its hierarchy has `controller`.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// What to do when a control file does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Absent {
    /// Fail: the control is missing.
    Fail,
    /// Nothing: without the control the value is what holds anyway.
    Satisfied,
    /// Write this value to this file instead.
    Instead {
        /// The other control file.
        file: String,
        /// The value for it.
        value: String,
    },
}

/// One value for one control file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// Index in the plan's directories.
    pub directory: usize,
    /// The control file.
    pub file: String,
    /// What is written.
    pub value: String,
    /// The field of config.json that asks for it.
    pub field: String,
    /// The value is the kernel's default: written only to a directory that was there before.
    pub default: bool,
    /// What if the file does not exist.
    pub absent: Absent,
}

impl Write {
    #[expect(clippy::needless_pass_by_value, reason = "callers pass numbers and temporaries")]
    pub(crate) fn new(
        directory: usize,
        file: impl Into<String>,
        value: impl ToString,
        field: impl Into<String>,
    ) -> Write {
        Write {
            directory,
            file: file.into(),
            value: value.to_string(),
            field: field.into(),
            default: false,
            absent: Absent::Fail,
        }
    }

    /// Marks the value as the kernel's default when `default` is true.
    pub(crate) fn default_if(mut self, default: bool) -> Write {
        self.default = default;
        self
    }

    pub(crate) fn absent(mut self, absent: Absent) -> Write {
        self.absent = absent;
        self
    }
}

/// One thing that [`prepare`](crate::prepare) does. Steps are done in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Make the directory (and its ancestors).
    MakeDirectory {
        /// Index in the plan's directories.
        directory: usize,
    },
    /// v2: enable controllers in `cgroup.subtree_control` from the mount point down.
    EnableControllers {
        /// Index in the plan's directories.
        directory: usize,
        /// Limits need these.
        need: Vec<String>,
        /// Statistics want these; enabled where the ancestors allow it.
        want: Vec<String>,
    },
    /// v1: fill empty `cpuset.cpus` and `cpuset.mems` from the parents, top down.
    FillCpuset {
        /// Index in the plan's directories.
        directory: usize,
        /// Fill the directory's own `cpuset.cpus`; else only its ancestors'.
        cpus: bool,
        /// Fill the directory's own `cpuset.mems`; else only its ancestors'.
        mems: bool,
    },
    /// Write one value.
    Write(Write),
    /// Write these values; what the kernel refuses with EINVAL is tried again after
    /// the others, as each bounds the next (memory and memory+swap, quota and period).
    WriteGroup(Vec<Write>),
    /// v2: load and attach the device program.
    AttachDevices {
        /// Index in the plan's directories.
        directory: usize,
        /// The rules as text, the last that matches decides.
        rules: Vec<String>,
        /// The program, one instruction in each element.
        program: Vec<u64>,
    },
    /// v2: give the directory and its delegatable files to a user.
    ChangeOwner {
        /// Index in the plan's directories.
        directory: usize,
        /// Host uid.
        uid: u32,
        /// Host gid.
        gid: u32,
    },
}

impl Step {
    /// The directory that it is about, as an index in the plan's.
    pub(crate) fn directory(&self) -> usize {
        match self {
            Self::MakeDirectory { directory }
            | Self::EnableControllers { directory, .. }
            | Self::FillCpuset { directory, .. }
            | Self::AttachDevices { directory, .. }
            | Self::ChangeOwner { directory, .. } => *directory,
            Self::Write(write) => write.directory,
            Self::WriteGroup(group) => group.first().map_or(0, |write| write.directory),
        }
    }
}

/// All writes of `steps`, those of groups too.
pub(crate) fn writes(steps: &[Step]) -> impl Iterator<Item = &Write> {
    steps.iter().flat_map(|step| match step {
        Step::Write(write) => std::slice::from_ref(write),
        Step::WriteGroup(group) => group,
        _ => &[],
    })
}
