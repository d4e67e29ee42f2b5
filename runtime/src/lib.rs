//! brig: a hardened OCI container runtime.
#![forbid(unsafe_code)]

pub mod bundle;
pub mod features;
pub mod spec;
