//! Fields that no operation can be made of here: refused, so that none is silently dropped.
//!
//! A field that this build honours on some machines only is refused where it cannot. Fields that
//! the specification itself says to ignore (`consoleSize` without a terminal, `execCPUAffinity` of
//! a container's first process) are not here, nor are those that it has for other systems.

use super::{Refusal, Request};

/// Refuses what cannot be honoured in a container.
pub(super) fn check(request: &Request<'_>) -> Result<(), Refusal> {
    let linux = &request.spec.linux;
    if let Some(label) = &linux.mount_label
        && !request.host.selinux
    {
        return Err(Refusal::new(
            "linux.mountLabel",
            format!("is {label:?}, but this kernel has no SELinux"),
            "remove it, or boot with lsm=…,selinux",
        ));
    }
    if request.host.caller.is_root() {
        return Ok(());
    }
    if !linux.net_devices.is_empty() {
        return Err(Refusal::new(
            "linux.netDevices",
            "cannot be moved without root: they belong to the host",
            "remove it, or run brig as root",
        ));
    }
    if linux.intel_rdt.is_some() {
        return Err(Refusal::new(
            "linux.intelRdt",
            "needs root: the resctrl file system is the host's",
            "remove it, or run brig as root",
        ));
    }
    Ok(())
}
