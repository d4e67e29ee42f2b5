//! From the bytes of `config.json` to a checked OCI runtime specification (1.0 to 1.3).
//!
//! [`parse`] turns bytes into oci-spec's types and refuses what is not such a text: broken JSON, a key
//! given twice, values of the wrong type, names outside a fixed set. [`check`] refuses what the kernel
//! or the specification would refuse later, when part of the container exists already. Unknown fields
//! are ignored, because the specification demands it (spec.md, "Extensibility"). Every error names its field.
//!
//! Nothing here does I/O, so nothing here can half-fail; whoever uses this reads the file. The text may
//! come from a hostile tenant: time and memory stay linear in its length.
//!
//! Reference: <https://github.com/opencontainers/runtime-spec>, config.md and config-linux.md.
#![forbid(unsafe_code)]

pub mod capability;
mod check;
mod error;
mod id;
mod json;
mod model;
pub mod mount;
mod number_list;
mod parse;
pub mod quantity;
mod schema;
mod suggest;
pub mod sysctl;
#[cfg(test)]
mod tests;

pub use check::{absolute_path, check_process, check_resources};
pub use error::{Error, FieldProblem, Position};

pub use id::{ContainerId, ID_LENGTH_LIMIT_BYTES};
pub use model::*;
pub use number_list::NumberList;
pub use parse::{Asked, part, process, read, resources, seccomp_section};
pub use suggest::nearest;

/// The newest version of the specification that brig knows; `ociVersion` of what it writes.
pub const VERSION: &str = "1.3.0";

/// The largest configuration accepted, in bytes. Kubernetes' largest objects are 1.5 MiB in etcd and a
/// container is a part of one; what containerd and Podman write is 5 to 40 KiB.
pub const SIZE_LIMIT_BYTES: usize = 1 << 20;
