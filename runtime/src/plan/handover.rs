//! A filter that notifies is in force before its listener is with whoever answers: the process sends it with one call,
//! sendmsg(2), which has to get through.
//!
//! Promises: no start that waits for ever for an answer that nobody can give yet.
//! Reference: seccomp_unotify(2).

use brig_child::syscall::HANDOVER_FLAGS;
use brig_seccomp::interpret::{SeccompData, run};
use brig_seccomp::{ALLOW, Arch, LOG, Program, describe_action};

use super::Refusal;

/// The number is that of [`HANDOVER_FLAGS`].
const HINT: &str = "allow sendmsg, if only with the flags 0x5600 as its third argument";

pub(super) fn check(program: &Program) -> Result<(), Refusal> {
    let arch = Arch::native();
    let Some(nr) = arch.syscall_number("sendmsg").filter(|_| program.notify) else { return Ok(()) };
    let args = [0, 0, u64::from(HANDOVER_FLAGS.cast_unsigned()), 0, 0, 0];
    let call = SeccompData { nr, arch: arch.audit(), args, ..SeccompData::default() };
    match run(&program.instructions, &call) {
        Ok(ALLOW | LOG) => Ok(()),
        Ok(verdict) => Err(Refusal::new(
            "linux.seccomp",
            format!(
                "notifies, but its verdict on sendmsg, by which the process hands the listener over, is {:?}",
                describe_action(verdict)
            ),
            HINT,
        )),
        Err(fault) => Err(Refusal::new("linux.seccomp", fault.to_string(), "")),
    }
}
