//! How many descriptors the child needs: each mount is open before it enters the empty namespace. Where there are many,
//! the place of each is closed as soon as it is attached.
//!
//! Promises: the program has the limit that its caller has, or that config.json says. Where the hard limit does not do,
//! the plan is refused.

use brig_child::op::ProcessOp;

use super::{HostFacts, Refusal, Request};
use crate::spec::{Config, RlimitType};

/// As many mounts, devices, masked and read-only paths as fit below the least soft limit that is usual (1024) with all
/// that they take.
const FEW: usize = 200;
/// A mask takes its place and its clone, a read-only path as well.
const OF_A_PATH: usize = 2;
/// The limit of descriptors.
const DESCRIPTORS: u32 = RlimitType::Nofile as u32;
/// What else is open at a time.
const OTHERS: usize = 64;

/// Whether a container may need more descriptors than every caller has.
pub(crate) fn needs_many(spec: &Config) -> bool {
    spec.mounts.len() + spec.linux.devices.len() + paths(spec) > FEW
}

fn paths(spec: &Config) -> usize {
    spec.linux.masked_paths.len() + spec.linux.readonly_paths.len()
}

/// Lets the child have as many as may be had.
pub(super) fn raise(host: &HostFacts) -> Option<ProcessOp<'static>> {
    let (soft, hard) = host.descriptors?;
    (soft < hard).then_some(ProcessOp::Prlimit { resource: DESCRIPTORS, soft: hard, hard })
}

/// Gives the program the caller's limit, which it has where config.json says nothing.
pub(super) fn restore(host: &HostFacts) -> Option<ProcessOp<'static>> {
    let (soft, hard) = host.descriptors?;
    (soft < hard).then_some(ProcessOp::Prlimit { resource: DESCRIPTORS, soft, hard })
}

/// Refuses what cannot be had.
pub(super) fn check(request: &Request<'_>, open: usize) -> Result<(), Refusal> {
    let Some((_, hard)) = request.host.descriptors else { return Ok(()) };
    let needed = open + OF_A_PATH * paths(request.spec) + OTHERS;
    if u64::try_from(needed).is_ok_and(|needed| needed <= hard) {
        return Ok(());
    }
    let what = format!(
        "{} mounts, {} devices and {} masked and read-only paths take {needed} descriptors, of which brig may have {hard}",
        request.spec.mounts.len(),
        request.spec.linux.devices.len(),
        paths(request.spec)
    );
    Err(Refusal::new(
        "mounts",
        what,
        "list fewer, or raise the hard limit of open files (LimitNOFILE=) of the caller",
    ))
}
