//! Who the process is and what it may do: user, groups, capabilities.
//!
//! The order is the kernel's: the bounding set falls while `CAP_SETPCAP` is there, groups before
//! the user, capabilities after it (capabilities(7)). Nothing is inheritable or ambient unless the
//! specification asks for it.
//!
//! Where the process may gain privileges, loading its filter takes `CAP_SYS_ADMIN` (seccomp(2)), and the filter comes
//! last. So that one is held until execve(2), which takes it away unless the specification grants it.

use brig_child::flags::prctl;
use brig_child::op::{PrivilegeOp, ProcessOp};

use super::Refusal;
use super::build::Builder;
use super::namespaces::make_undumpable;
use super::process::{KEEPCAPS, Tail};
use crate::spec::capability::{SYS_ADMIN, Sets};

pub(super) fn become_user(builder: &mut Builder<'_>, tail: &Tail<'_>) -> Result<(), Refusal> {
    let user = &tail.process.user;
    let sets = tail.process.capabilities.sets;
    builder.push(PrivilegeOp::KeepBounding { keep: sets.bounding });
    let changes_user = user.uid != 0;
    let [keep, keep_no_more] = keep_over_setuid(tail.securebits, changes_user);
    keep.into_iter().for_each(|op| builder.push(op));
    let groups = user.additional_gids.as_slice();
    if tail.setgroups {
        let groups = builder.slice(groups);
        builder.push(PrivilegeOp::Setgroups { groups });
    } else if !groups.is_empty() {
        return Err(Refusal::new(
            "process.user.additionalGids",
            "cannot be set: a user namespace with a single group forbids setgroups(2)",
            "remove additionalGids, or give the user ranges in /etc/subuid and /etc/subgid",
        ));
    }
    builder.push(PrivilegeOp::Setgid { gid: user.gid });
    builder.push(PrivilegeOp::Setuid { uid: user.uid });
    let changes_ids = changes_user || user.gid != 0;
    if changes_ids {
        // A change of ids takes it back (prctl(2)).
        builder.push(ProcessOp::DieWithParent { enabled: true });
    }
    // Takes this back, too. An ordinary user's process was not hidden as far as newuidmap(1) and hooks had to
    // look at it; now it may wait at the gate, and whoever is executed in the container must not trace it.
    if changes_ids || !tail.host.caller.is_root() {
        make_undumpable(builder);
    }
    keep_no_more.into_iter().for_each(|op| builder.push(op));
    let Sets { effective, permitted, inheritable, .. } = sets;
    let until_execve = to_confine_itself(tail) & !(effective & permitted);
    builder.push(PrivilegeOp::Capset { effective, permitted, inheritable, until_execve });
    let ambient = sets.grantable_ambient();
    if ambient != 0 {
        builder.push(PrivilegeOp::SetAmbient { ambient });
    }
    if tail.write_xor_execute {
        builder.push(PrivilegeOp::Prctl { option: prctl::MDWE, value: prctl::REFUSE_EXEC_GAIN });
    }
    if tail.no_new_privileges() {
        builder.push(PrivilegeOp::Prctl { option: prctl::NO_NEW_PRIVS, value: 1 });
    }
    Ok(())
}

/// What keeps capabilities over a change of the user, until capset(2) says which, and what ends that. Securebits are locked
/// with it, as that takes `CAP_SETPCAP` in force.
fn keep_over_setuid(securebits: u64, changes_user: bool) -> [Option<PrivilegeOp<'static>>; 2] {
    let set = |option, value| Some(PrivilegeOp::Prctl { option, value });
    let bits = |value| set(prctl::SECUREBITS, value);
    let keeps = securebits & prctl::NO_SETUID_FIXUP != 0;
    match (securebits, changes_user) {
        (0, false) => [None, None],
        (0, true) => [set(KEEPCAPS, 1), set(KEEPCAPS, 0)],
        (locked, true) if !keeps => {
            let unlocked = locked & !prctl::NO_SETUID_FIXUP_LOCKED;
            [bits(unlocked | prctl::NO_SETUID_FIXUP), bits(locked)]
        }
        (locked, _) => [bits(locked), None],
    }
}

/// What loading the filter takes, and a Landlock ruleset. Nothing with no_new_privs, whoever has set it: execve(2) leaves a
/// process that has it what it had before, so what is not needed must not be held.
fn to_confine_itself(tail: &Tail<'_>) -> u64 {
    let needless =
        !tail.confines_itself() || tail.no_new_privileges() || tail.host.no_new_privileges;
    if needless { 0 } else { SYS_ADMIN }
}
