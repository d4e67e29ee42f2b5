//! The rule about memory that is written and executed.

use super::{Facts, rule};
use crate::chosen::ChosenProfile;
use crate::profile::{Mode, Profile};
use crate::verdict::Verdicts;

/// Whether no process of a container may have such memory.
#[must_use]
pub fn write_xor_execute(profile: &ChosenProfile) -> bool {
    let mode = |mode: Option<Mode>| mode.unwrap_or_default() >= Mode::Enforce;
    profile.sets().any(|set| mode(set.rules.write_xor_execute.mode))
}

pub(super) fn judge(profile: &Profile, facts: &Facts, verdicts: &mut Verdicts) {
    let rule = rule!(profile, write_xor_execute);
    if facts.forbids_writable_code {
        verdicts.limit(rule, "process", "memory that is written and executed", "one of the two");
    } else {
        let asked = "memory that is written and executed, which this kernel cannot forbid,";
        verdicts.lack(rule, "process", asked, false);
    }
}
