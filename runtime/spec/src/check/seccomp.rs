//! `linux.seccomp`: what no filter can be made of.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action, LinuxSyscall};

use super::super::error::Error;
use super::{absolute_path, no_nul};

pub(super) fn check(seccomp: &LinuxSeccomp) -> Result<(), Error> {
    const FIELD: &str = "linux.seccomp";
    errno(seccomp.default_action(), seccomp.default_errno_ret(), || {
        format!("{FIELD}.defaultErrnoRet")
    })?;
    if seccomp.default_action() == Action::ScmpActNotify {
        // The answer to the first call, sendmsg of the listener included, would wait for itself.
        let what = "SCMP_ACT_NOTIFY cannot be the default: nobody could hand over the listener";
        return Err(Error::conflict(format!("{FIELD}.defaultAction"), what));
    }
    for (index, rule) in seccomp.syscalls().iter().flatten().enumerate() {
        check_rule(rule, &|| format!("{FIELD}.syscalls[{index}]"))?;
    }
    match seccomp.listener_path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => absolute_path(path, || format!("{FIELD}.listenerPath"))?,
        None if seccomp.listener_metadata().as_deref().is_some_and(|data| !data.is_empty()) => {
            return Err(Error::conflict(
                format!("{FIELD}.listenerMetadata"),
                "needs a listenerPath",
            ));
        }
        None => {}
    }
    Ok(())
}

fn check_rule(rule: &LinuxSyscall, field: &dyn Fn() -> String) -> Result<(), Error> {
    if rule.names().is_empty() {
        return Err(
            Error::missing(format!("{}.names", field())).with_hint("name at least one system call")
        );
    }
    for (index, name) in rule.names().iter().enumerate() {
        let field = || format!("{}.names[{index}]", field());
        no_nul(name, field)?;
        if name.is_empty() {
            return Err(Error::missing(field()));
        }
        if name == "write" && rule.action() == Action::ScmpActNotify {
            // The runtime writes to tell that the filter is in place.
            return Err(Error::conflict(
                field(),
                "write cannot be SCMP_ACT_NOTIFY: the runtime needs it",
            ));
        }
    }
    errno(rule.action(), rule.errno_ret(), || format!("{}.errnoRet", field()))?;
    for (index, arg) in rule.args().iter().flatten().enumerate() {
        // A system call has six arguments (`struct seccomp_data`).
        if arg.index() > 5 {
            return Err(Error::range(
                format!("{}.args[{index}].index", field()),
                arg.index(),
                "0 to 5",
            ));
        }
    }
    Ok(())
}

/// The kernel caps an errno at `MAX_ERRNO`; SECCOMP_RET_DATA, for a tracer, has 16 bits.
fn errno(action: Action, errno: Option<u32>, field: impl Fn() -> String) -> Result<(), Error> {
    let limit = if action == Action::ScmpActTrace { 0xffff } else { 4095 };
    match errno {
        Some(errno) if errno > limit => Err(Error::range(field(), errno, &format!("0 to {limit}"))),
        _ => Ok(()),
    }
}
