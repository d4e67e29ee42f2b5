//! Actions as the kernel's return values (`SECCOMP_RET_*`, `linux/seccomp.h`).

use oci_spec::runtime::LinuxSeccompAction as Oci;

use crate::error::CompileError;

/// End the whole process.
pub const KILL_PROCESS: u32 = 0x8000_0000;
/// End the calling thread.
pub const KILL_THREAD: u32 = 0;
/// Send SIGSYS.
pub const TRAP: u32 = 0x0003_0000;
/// Fail with the errno in the low 16 bits.
pub const ERRNO: u32 = 0x0005_0000;
/// Ask whoever holds the listener.
pub const USER_NOTIF: u32 = 0x7fc0_0000;
/// Ask the tracer, passing it the low 16 bits.
pub const TRACE: u32 = 0x7ff0_0000;
/// Allow, and log.
pub const LOG: u32 = 0x7ffc_0000;
/// Allow.
pub const ALLOW: u32 = 0x7fff_0000;

/// `ENOSYS`, the same number on every architecture of the table.
pub(crate) const ENOSYS: u32 = 38;
const EPERM: u32 = 1;
/// The kernel cuts larger ones to this (`MAX_ERRNO`, `linux/err.h`).
const MAX_ERRNO: u32 = 4095;
const MAX_TRACE: u32 = 0xffff;

/// The return value of an OCI action. `field` names the errno's field.
///
/// The runtime specification has EPERM where none is given, and demands an error where an errno
/// is given for an action that returns none.
pub(crate) fn value(action: Oci, errno: Option<u32>, field: &str) -> Result<u32, CompileError> {
    let with_data = |base: u32, max: u32| match errno.unwrap_or(EPERM) {
        data if data <= max => Ok(base | data),
        value => Err(CompileError::ErrnoRange { field: field.to_owned(), value, max }),
    };
    let plain = match action {
        Oci::ScmpActErrno => return with_data(ERRNO, MAX_ERRNO),
        Oci::ScmpActTrace => return with_data(TRACE, MAX_TRACE),
        Oci::ScmpActKill | Oci::ScmpActKillThread => KILL_THREAD,
        Oci::ScmpActKillProcess => KILL_PROCESS,
        Oci::ScmpActTrap => TRAP,
        Oci::ScmpActNotify => USER_NOTIF,
        Oci::ScmpActLog => LOG,
        Oci::ScmpActAllow => ALLOW,
    };
    if errno.is_some() {
        return Err(CompileError::ErrnoUnsupported {
            field: field.to_owned(),
            action: action.to_string(),
        });
    }
    Ok(plain)
}

/// Orders actions as the kernel does when several filters disagree: the smallest is the most
/// restrictive (`seccomp_run_filters`: signed comparison without the data).
pub(crate) fn strictness(value: u32) -> i32 {
    base(value).cast_signed()
}

/// Whether the call runs, possibly watched: runc's "allow actions".
pub(crate) fn is_permissive(value: u32) -> bool {
    matches!(base(value), ALLOW | LOG | TRACE)
}

pub(crate) fn base(value: u32) -> u32 {
    value & 0xffff_0000
}

/// A `SECCOMP_RET_*` value in words, such as `errno 38`.
#[must_use]
pub fn describe(value: u32) -> String {
    let data = value & 0xffff;
    match base(value) {
        KILL_PROCESS => "kill process".to_owned(),
        KILL_THREAD => "kill thread".to_owned(),
        TRAP => "trap".to_owned(),
        ERRNO => format!("errno {data}"),
        USER_NOTIF => "notify".to_owned(),
        TRACE => format!("trace {data}"),
        LOG => "log".to_owned(),
        ALLOW => "allow".to_owned(),
        _ => format!("{value:#010x}"),
    }
}
