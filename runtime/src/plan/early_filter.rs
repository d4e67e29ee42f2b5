//! A filter that is loaded before privileges fall, and so answers brig's own calls.
//!
//! Promises: no call that confines the process is answered with success without being made, as `SCMP_ACT_ERRNO` with
//! the errno 0 does: brig would report a user, capabilities or a closed descriptor that are not so. To read them back
//! would be no help, as the filter answers these calls too.
//! Reference: seccomp(2), `SECCOMP_RET_ERRNO`.

use brig_seccomp::interpret::can_answer;
use brig_seccomp::{Arch, ERRNO, Program};

use super::Refusal;

/// The calls of `identity::become_user` and what follows it up to the program, the gate included (a `read` of nothing
/// there has `start` report success, and of a `write` that is not made nobody hears).
const CONFINING: [&str; 10] = [
    "prctl",
    "setgroups",
    "setresgid",
    "setresuid",
    "capset",
    "umask",
    "close_range",
    "accept4",
    "read",
    "write",
];

pub(super) fn check(program: &Program) -> Result<(), Refusal> {
    let arch = Arch::native();
    for name in CONFINING {
        let number = arch.syscall_number(name);
        let pretends = number.map_or(Ok(false), |number| {
            can_answer(&program.instructions, number, arch.audit(), ERRNO)
        });
        if pretends.map_err(|fault| Refusal::new("linux.seccomp", fault.to_string(), ""))? {
            return Err(Refusal::new(
                "linux.seccomp",
                format!(
                    "has {name} succeed without being made (errnoRet 0), by which brig confines the process"
                ),
                "set process.noNewPrivileges, with which the filter is loaded last, or give another errnoRet",
            ));
        }
    }
    Ok(())
}
