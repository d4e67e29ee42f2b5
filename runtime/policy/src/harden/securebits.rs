//! The rule about securebits (capabilities(7), "The securebits flags"): which are locked depends on the process alone, so that
//! they are the same for every further one.
//!
//! Root that holds capabilities keeps them over execve(2), and gives them up with its uid, by what these bits switch off.
//! Ambient ones would take the place of the former, but for programs with capabilities of their own, which lose
//! all others by them; nothing takes that of the latter. So such a process has none locked. What it has given up it does not get
//! back by execve(2) under no_new_privs either (`cap_bprm_creds_from_file` in the kernel's security/commoncap.c).

use brig_spec::{Process, capability};

use super::rule;
use crate::chosen::ChosenProfile;
use crate::profile::{Mode, Profile};
use crate::verdict::Verdicts;

/// Bits of linux/securebits.h.
const NOROOT: u64 = 1 << 0;
const NO_SETUID_FIXUP: u64 = 1 << 2;
/// NOROOT, NO_SETUID_FIXUP and KEEP_CAPS stay as they are.
const LOCKED: u64 = 1 << 1 | 1 << 3 | 1 << 5;

/// CAP_SETUID (linux/capability.h).
const SETUID: u64 = 1 << 7;

/// The bits that are set in a process, with those that lock them; 0 where the rule is not enforced, or leaves it as it is.
#[must_use]
pub fn securebits(process: &Process, profile: &ChosenProfile) -> u64 {
    let is_enforced = |mode: Option<Mode>| mode.unwrap_or_default() >= Mode::Enforce;
    if roots(process) != 0 || !profile.sets().any(|set| is_enforced(set.rules.securebits.mode)) {
        return 0;
    }
    // A program with capabilities of its own that becomes another user would keep them.
    let fixup = if process.no_new_privileges { NO_SETUID_FIXUP } else { 0 };
    NOROOT | LOCKED | fixup
}

/// The capabilities of a process that is root, or can become it.
fn roots(process: &Process) -> u64 {
    let held = process.capabilities.sets.permitted;
    if process.user.uid == 0 || held & SETUID != 0 { held } else { 0 }
}

pub(super) fn judge(process: &Process, profile: &Profile, verdicts: &mut Verdicts) {
    let rule = rule!(profile, securebits);
    let names = |mask| capability::names(mask).join(", ");
    let (held, bounding) = (roots(process), process.capabilities.sets.bounding);
    if held != 0 {
        let asked = format!("{} of root, who has them by unlocked securebits,", names(held));
        verdicts.lack(rule, "process.capabilities.permitted", asked, true);
    } else if bounding != 0 && !process.no_new_privileges {
        let asked = format!("{} for programs of root", names(bounding));
        verdicts.limit(rule, "process.capabilities.bounding", asked, "none by being root");
    }
}
