//! Stands in for the `regex` crate (see `[patch.crates-io]` in the workspace's manifest).
//!
//! oci-spec matches one short ASCII pattern (execCPUAffinity). The full engine would make brig's
//! binary a third larger; regex-lite, by the same authors, has the same interface.
#![forbid(unsafe_code)]

pub use regex_lite::{Error, Regex, RegexBuilder};
