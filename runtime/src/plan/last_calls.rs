//! The calls that come after the filter, and so have to get through it.
//!
//! execve(2) starts the program; a filter that never allows it would have `create` make what cannot start. One that
//! notifies is in force before its listener is with whoever answers: the process sends it with sendmsg(2). And where
//! execve fails, the process tells of that by write(2), if it can.
//!
//! Promises: no start that waits for ever for an answer that nobody can give yet, and none that is known to fail.
//! Reference: seccomp(2), seccomp_unotify(2).

use brig_child::syscall::HANDOVER_FLAGS;
use brig_seccomp::interpret::{InterpretError, SeccompData, can_answer, run};
use brig_seccomp::{ALLOW, Arch, BpfProgram, LOG, TRACE, USER_NOTIF, describe_action};

use super::Refusal;

/// The number is that of [`HANDOVER_FLAGS`].
const ALLOW_SENDMSG: &str = "allow sendmsg, at least when argument 2 (flags) is 0x5600";

/// The upper half of a verdict, without its data (`SECCOMP_RET_ACTION_FULL` of linux/seccomp.h).
const ACTION: u32 = 0xffff_0000;

/// Whether a failure of execve may go unheard: the filter does not let write(2) pass.
pub(super) fn check(program: &BpfProgram) -> Result<bool, Refusal> {
    let decided = |answer: Result<u32, InterpretError>| {
        answer.map_err(|fault| Refusal::new("linux.seccomp", fault.to_string(), ""))
    };
    let refused = |what: &str, verdict, hint| {
        let what = format!("{what} (action {})", describe_action(verdict));
        Err(Refusal::new("linux.seccomp", what, hint))
    };
    let execve = decided(verdict(program, "execve", [0; 6]))?;
    if !matches!(execve & ACTION, ALLOW | LOG | USER_NOTIF | TRACE) && !may_be_allowed(program) {
        let what = "the filter denies execve, which starts the program";
        return refused(what, execve, "allow execve in the profile");
    }
    if program.notify {
        let args = [0, 0, u64::from(HANDOVER_FLAGS.cast_unsigned()), 0, 0, 0];
        let sendmsg = decided(verdict(program, "sendmsg", args))?;
        if !matches!(sendmsg, ALLOW | LOG) {
            let what = "the filter notifies, but denies sendmsg, which passes the listener to the seccomp agent";
            return refused(what, sendmsg, ALLOW_SENDMSG);
        }
    }
    let write = decided(verdict(program, "write", [0; 6]))?;
    Ok(!matches!(write, ALLOW | LOG))
}

fn verdict(program: &BpfProgram, name: &str, args: [u64; 6]) -> Result<u32, InterpretError> {
    let arch = Arch::native();
    let nr = arch.syscall_number(name).unwrap_or(u32::MAX);
    let call = SeccompData { nr, arch: arch.audit(), args, ..SeccompData::default() };
    run(&program.instructions, &call)
}

/// For some arguments, which are addresses. A program that cannot be read is none that allows anything.
fn may_be_allowed(program: &BpfProgram) -> bool {
    let arch = Arch::native();
    let Some(nr) = arch.syscall_number("execve") else { return false };
    let can = |action| can_answer(&program.instructions, nr, arch.audit(), action);
    [ALLOW, LOG, USER_NOTIF].into_iter().any(|action| can(action) == Ok(true))
}
