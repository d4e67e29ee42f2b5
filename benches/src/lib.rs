//! Side-by-side measurement of OCI runtimes on a machine that other work may share.
//!
//! Every iteration runs every runtime once, in an order that rotates, so that whatever disturbs the
//! machine disturbs all of them alike; what is compared are the ratios within one iteration. `floor`
//! (`floor/floor.c`) takes part as the least that the kernel lets a runtime get away with.
//!
//! Everything happens in a private mount namespace and under one prefix of container names, and is
//! removed at the end, also after an interrupt. The host's own mounts are never changed.

#![forbid(unsafe_code)]

pub mod bench;
pub mod budget;
pub mod filters;
pub mod ground;
pub mod interrupt;
pub mod meter;
pub mod options;
pub mod programs;
pub mod report;
pub mod scenario;
pub mod statistics;
pub mod subject;
