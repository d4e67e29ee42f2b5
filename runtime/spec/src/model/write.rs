//! A configuration as text again: what holds for a container, as later commands read it.
//!
//! Promises: what is written is read as the same configuration, with mounts in the order in which they are attached. Must never write what was left out when it was read.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Config, Hooks, Linux, Process, Root, unset};
use crate::error::{Error, FieldProblem};
use crate::mount::{MountRequest, in_turn};

/// [`Config`], as it is written. `linux` is the last, and there whatever it holds.
#[derive(serde::Serialize)]
struct Text<'c> {
    #[serde(rename = "ociVersion")]
    version: &'c str,
    root: &'c Root,
    process: &'c Process,
    #[serde(skip_serializing_if = "unset")]
    hostname: Option<&'c str>,
    #[serde(skip_serializing_if = "unset")]
    domainname: Option<&'c str>,
    mounts: Vec<&'c MountRequest>,
    hooks: &'c Hooks,
    annotations: &'c BTreeMap<String, String>,
    linux: &'c Linux,
}

impl Config {
    /// The configuration as text, with `seccomp` as the value of `linux.seccomp`, and where that lies in it.
    ///
    /// # Errors
    /// It has what no text can have read as, such as a path that is no UTF-8.
    pub fn text(&self, seccomp: Option<&[u8]>) -> Result<(Vec<u8>, Option<Range<usize>>), Error> {
        let Self { version, root, process, hostname, domainname, mounts, hooks, .. } = self;
        let written = Text {
            version,
            root,
            process,
            hostname: hostname.as_deref(),
            domainname: domainname.as_deref(),
            mounts: in_turn(mounts, |mount| mount.turn).map(|(_, mount)| mount).collect(),
            hooks,
            annotations: &self.annotations,
            linux: &self.linux,
        };
        let mut text = serde_json::to_vec(&written)
            .map_err(|error| Error::new(String::new(), FieldProblem::Syntax(error.to_string())))?;
        let Some(seccomp) = seccomp else { return Ok((text, None)) };
        text.truncate(text.len().saturating_sub(b"}}".len()));
        if text.last() != Some(&b'{') {
            text.push(b',');
        }
        text.extend_from_slice(b"\"seccomp\":");
        let range = text.len()..text.len() + seccomp.len();
        text.extend_from_slice(seccomp);
        text.extend_from_slice(b"}}");
        Ok((text, Some(range)))
    }
}
