//! brig: a hardened OCI container runtime.
#![forbid(unsafe_code)]
