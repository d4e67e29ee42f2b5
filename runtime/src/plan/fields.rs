//! Fields that no operation can be made of: refused here, so that none is silently dropped.
//!
//! A field that this build honours on some machines only is refused where it cannot. Fields that
//! the specification itself says to ignore (`consoleSize` without a terminal, `execCPUAffinity` of
//! a container's first process) are not here.

use brig_child::flags::namespace;
use oci_spec::runtime::{Linux, Process, Spec};

use super::namespaces::Namespaces;
use super::{Refusal, Request};

/// Refuses what cannot be honoured in a container.
pub(super) fn check(request: &Request<'_>, all: &Namespaces) -> Result<(), Refusal> {
    platforms(request.spec)?;
    if let Some(process) = request.spec.process() {
        check_process(process)?;
    }
    let Some(linux) = request.spec.linux() else { return Ok(()) };
    if all.new & namespace::USER != 0 {
        let empty = |list: &Option<Vec<_>>| list.as_ref().is_none_or(Vec::is_empty);
        for (field, list) in [
            ("linux.uidMappings", linux.uid_mappings()),
            ("linux.gidMappings", linux.gid_mappings()),
        ] {
            if empty(list) {
                let reason = "is missing, so nobody could be anybody in the new user namespace";
                return Err(Refusal::new(field, reason, "map at least the ids of process.user"));
            }
        }
    }
    let label = linux.mount_label().as_deref().filter(|label| !label.is_empty());
    if let Some(label) = label
        && !request.host.selinux
    {
        return Err(Refusal::new(
            "linux.mountLabel",
            format!("is {label:?}, but this kernel has no SELinux"),
            "remove it, or boot with lsm=…,selinux",
        ));
    }
    if !request.host.privileged {
        needs_privilege(linux)?;
    }
    Ok(())
}

fn needs_privilege(linux: &Linux) -> Result<(), Refusal> {
    if has_net_devices(linux) {
        return Err(Refusal::new(
            "linux.netDevices",
            "cannot be moved without root: they belong to the host",
            "remove it, or run brig as root",
        ));
    }
    if linux.intel_rdt().is_some() {
        return Err(Refusal::new(
            "linux.intelRdt",
            "needs root: the resctrl file system is the host's",
            "remove it, or run brig as root",
        ));
    }
    Ok(())
}

/// Whether interfaces are to be moved.
pub(super) fn has_net_devices(linux: &Linux) -> bool {
    linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty())
}

/// Sections of config.json for other platforms.
fn platforms(spec: &Spec) -> Result<(), Refusal> {
    let sections = [
        ("vm", spec.vm().is_some()),
        ("windows", spec.windows().is_some()),
        ("solaris", spec.solaris().is_some()),
        ("zos", spec.zos().is_some()),
    ];
    match sections.iter().find(|(_, present)| *present) {
        Some((section, _)) => Err(Refusal::new(
            *section,
            "is for another platform; brig runs Linux containers",
            "remove the section, or use a runtime for that platform",
        )),
        None => Ok(()),
    }
}

/// Refuses what cannot be honoured in a process, of a container or of `exec`.
pub(super) fn check_process(process: &Process) -> Result<(), Refusal> {
    let some = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if some(process.command_line()) {
        return Err(Refusal::new(
            "process.commandLine",
            "is for Windows",
            "give the program and its arguments in process.args",
        ));
    }
    if some(process.user().username()) {
        // Ignored, it would leave whoever asked for a user by name with uid 0.
        return Err(Refusal::new(
            "process.user.username",
            "is for Windows",
            "give the user as a number in process.user.uid",
        ));
    }
    Ok(())
}
