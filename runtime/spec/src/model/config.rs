//! What a config.json says, in brig's own types: the fields of the specification with its names, typed once.
//!
//! Promises: one value, one meaning. A field that is `null` is one that is absent, as the specification's own Go
//! types read it; an absent list is an empty one, and so is a string where those types cannot tell the two apart.
//! Unknown fields are ignored, as the specification demands (spec.md, "Extensibility"), and so are those that it has
//! for other systems. Must never hold what is only
//! a text for someone else to take apart again; but for `linux.seccomp`, half of what Docker writes, whose compiled
//! form may be at hand.
//!
//! Reference: config.md, config-linux.md of the specification, version 1.3.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer};

use super::{Linux, Process};
use crate::mount::{Mount, MountRequest};

/// What a configuration says.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `ociVersion`.
    pub version: String,
    /// `root`.
    pub root: Root,
    /// `process`.
    pub process: Process,
    /// `hostname`; needs a UTS namespace.
    pub hostname: Option<String>,
    /// `domainname`; needs a UTS namespace.
    pub domainname: Option<String>,
    /// `mounts`, in the order in which they are made.
    pub mounts: Vec<MountRequest>,
    /// `hooks`.
    pub hooks: Hooks,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `linux`; absent, it is empty.
    pub linux: Linux,
    /// Where in the text the value of `linux.seccomp` lies, which is not read.
    pub seccomp: Option<Range<usize>>,
}

/// `root`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Root {
    /// The root file system, relative to the bundle if relative.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub path: String,
    /// It is read-only for the container.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub readonly: bool,
}

/// `hooks`: programs that are run at points of a container's life, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Hooks {
    /// Deprecated; on the host, as `createRuntime`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub prestart: Vec<Hook>,
    /// On the host, when the namespaces are there.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub create_runtime: Vec<Hook>,
    /// A program of the host in the container's namespaces, before the root is entered.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub create_container: Vec<Hook>,
    /// In the container, before its program.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub start_container: Vec<Hook>,
    /// On the host, once the program runs.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub poststart: Vec<Hook>,
    /// On the host, when the container has been deleted.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// The hooks by the names that they have in the text, in the order in which they run.
    #[must_use]
    pub fn by_name(&self) -> [(&'static str, &[Hook]); 6] {
        [
            ("prestart", &self.prestart),
            ("createRuntime", &self.create_runtime),
            ("createContainer", &self.create_container),
            ("startContainer", &self.start_container),
            ("poststart", &self.poststart),
            ("poststop", &self.poststop),
        ]
    }

    /// The list with this name of [`Hooks::by_name`].
    pub fn by_name_mut(&mut self, name: &str) -> &mut Vec<Hook> {
        match name {
            "prestart" => &mut self.prestart,
            "createRuntime" => &mut self.create_runtime,
            "createContainer" => &mut self.create_container,
            "startContainer" => &mut self.start_container,
            "poststart" => &mut self.poststart,
            _ => &mut self.poststop,
        }
    }

    /// Whether any runs before the program does.
    #[must_use]
    pub fn any_before_program(&self) -> bool {
        let [early @ .., _, _] = self.by_name();
        early.iter().any(|(_, hooks)| !hooks.is_empty())
    }

    /// The names of all hooks, in the order in which they run; for `brig features`.
    #[must_use]
    pub fn names() -> [&'static str; 6] {
        Self::default().by_name().map(|(name, _)| name)
    }
}

/// One program of [`Hooks`].
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hook {
    /// Absolute.
    pub path: String,
    /// With the program's name first; empty, it is the path alone.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub args: Vec<String>,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub env: Vec<String>,
    /// Seconds, at least 1.
    #[serde(skip_serializing_if = "unset")]
    pub timeout: Option<i64>,
}

/// The text as serde reads it.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub(crate) struct Text {
    #[serde(rename = "ociVersion", default, deserialize_with = "nullable")]
    pub(crate) version: String,
    pub(crate) root: Option<Root>,
    pub(crate) process: Option<Process>,
    #[serde(default, deserialize_with = "not_empty")]
    pub(crate) hostname: Option<String>,
    #[serde(default, deserialize_with = "not_empty")]
    pub(crate) domainname: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) mounts: Vec<Mount>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) hooks: Hooks,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) linux: Linux,
}

/// What an absent field would be read as.
pub(crate) fn unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `null` is absent.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Go's `omitempty` cannot tell the empty string from none.
pub(crate) fn not_empty<'de, D>(deserializer: D) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()))
}
