//! The rule about the labels of Linux security modules: which AppArmor profile, which type of SELinux.

use brig_spec::Process;

use super::rule;
use crate::profile::Profile;
use crate::value::matches;
use crate::verdict::Verdicts;

/// The modules that confine processes by a label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modules {
    /// AppArmor, by a profile.
    pub apparmor: bool,
    /// SELinux, by a context.
    pub selinux: bool,
}

/// The profile that confines nothing (apparmor(7)).
const UNCONFINED: &str = "unconfined";

pub(super) fn judge(
    process: &Process,
    modules: Modules,
    profile: &Profile,
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, security_label);
    let rules = &profile.security_label;
    let is_wanted = rules.required.unwrap_or_default();
    let listed = |all: &Option<Vec<String>>, name: &str| {
        all.iter().flatten().any(|pattern| matches(pattern, name))
    };
    match &process.apparmor_profile {
        Some(name) if name == UNCONFINED || !listed(&rules.apparmor, name) => {
            verdicts.refuse(rule, "process.apparmorProfile", format!("{name:?}"));
        }
        None if is_wanted && modules.apparmor => {
            verdicts.refuse(rule, "process.apparmorProfile", "no profile");
        }
        _ => {}
    }
    // USER:ROLE:TYPE, and where there are levels a range of them.
    let kind = |context: &str| context.split(':').nth(2).unwrap_or_default().to_owned();
    match &process.selinux_label {
        Some(context) if !listed(&rules.selinux_types, &kind(context)) => {
            verdicts.refuse(rule, "process.selinuxLabel", format!("{context:?}"));
        }
        None if is_wanted && modules.selinux => {
            verdicts.refuse(rule, "process.selinuxLabel", "no label");
        }
        _ => {}
    }
}
