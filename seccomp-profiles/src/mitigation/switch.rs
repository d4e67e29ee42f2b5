//! Filters in which single mitigations are switched on, or off.

use brig_spec::Error;
use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

use super::{Entry, MITIGATIONS, Mitigation};
use crate::{builtin_text, read};

/// All that any kernel has which brig runs on: what is not listed would end the process.
const ARCHITECTURES: [&str; 5] =
    ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"];

/// Calls that libraries do without where the kernel has them not.
const OPTIONAL: [&str; 4] = ["clone3", "futex", "futex_requeue", "futex_time64"];

/// The mitigation of this name, or that has this CVE.
#[must_use]
pub fn find(name: &str) -> Option<&'static Mitigation> {
    MITIGATIONS.iter().find(|one| one.name == name || one.cves.contains(&name))
}

/// A profile that refuses the last step of each, by every call and on every architecture, and nothing else. Where a
/// multiplexer keeps the arguments behind a pointer all of its call is refused; one of a single architecture is refused on all.
///
/// # Errors
/// As [`read`].
pub fn refusing(which: &[&Mitigation]) -> Result<LinuxSeccomp, Error> {
    let entries = which.iter().filter_map(|one| one.steps.last()).copied().flatten();
    let rules: Vec<Value> = entries.map(|entry| rule(entry, "SCMP_ACT_ERRNO")).collect();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ARCHITECTURES, "syscalls": rules});
    read(profile.to_string().as_bytes())
}

/// The profile `name` that comes with brig, with every step of these allowed to native calls.
///
/// # Errors
/// There is no such profile; else as [`read`].
pub fn without(name: &str, which: &[&Mitigation]) -> Result<LinuxSeccomp, Error> {
    let mut profile: Value =
        brig_spec::read(builtin_text(name).unwrap_or_default().as_bytes(), &[])?;
    let mut none = Vec::new();
    let rules = profile["syscalls"].as_array_mut().unwrap_or(&mut none);
    for entry in which.iter().flat_map(|one| one.steps.iter().copied().flatten()) {
        // Of rules that match and disagree the more restrictive decides.
        for one in rules.iter_mut().filter(|one| one["action"] != "SCMP_ACT_ALLOW") {
            if overlaps(entry, one)
                && let Some(names) = one["names"].as_array_mut()
            {
                names.retain(|name| *name != entry.call);
            }
        }
        rules.retain(|one| one["names"].as_array().is_some_and(|names| !names.is_empty()));
        rules.push(rule(entry, "SCMP_ACT_ALLOW"));
    }
    read(profile.to_string().as_bytes())
}

fn rule(entry: &Entry, action: &str) -> Value {
    let args = entry.arguments.iter().map(|(index, mask, value)| {
        json!({"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"})
    });
    let args: Vec<Value> = args.collect();
    let mut rule = json!({"names": [entry.call], "action": action, "args": args});
    if action == "SCMP_ACT_ERRNO" {
        let errno = if OPTIONAL.contains(&entry.call) { 38 } else { 1 };
        rule["errnoRet"] = json!(errno);
    }
    rule
}

/// Whether some call is both; of other comparisons than masks brig's profiles have none.
fn overlaps(entry: &Entry, rule: &Value) -> bool {
    let args = rule["args"].as_array().map_or(&[][..], Vec::as_slice);
    entry.arguments.iter().all(|&(index, mask, value)| {
        args.iter().filter(|arg| arg["index"] == index).all(|arg| {
            let of_rule = |key: &str| arg[key].as_u64().unwrap_or_default();
            (of_rule("valueTwo") ^ value) & of_rule("value") & mask == 0
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arch;
    use crate::mitigation::{State, states};

    fn states_of(profile: Result<LinuxSeccomp, Error>) -> Vec<State> {
        states(&profile.expect("a profile"), Arch::X86_64).expect("it compiles")
    }

    #[test]
    fn what_is_switched_on_is_closed_on_every_architecture_and_all_else_stays_open() {
        assert!(states_of(refusing(&[])).iter().all(|state| *state != State::Closed));
        for (at, one) in MITIGATIONS.iter().enumerate() {
            let after = states_of(refusing(&[one]));
            assert_eq!(after[at], State::Closed, "{}", one.name);
            let last = |one: &Mitigation| one.steps.last().copied().unwrap_or_default();
            for (other, state) in MITIGATIONS.iter().zip(after) {
                let refused = last(one).iter().map(|entry| entry.call);
                let steps = || other.steps.iter().copied().flatten();
                let shares = refused.clone().any(|call| steps().any(|entry| entry.call == call));
                assert!(shares || state != State::Closed, "{}: {}", one.name, other.name);
            }
        }
    }

    #[test]
    fn what_is_switched_off_is_open_natively_and_the_rest_as_it_was() {
        for name in crate::BUILTIN {
            let before =
                states(&crate::builtin(name).expect(name), Arch::X86_64).expect("compiles");
            for (at, one) in
                MITIGATIONS.iter().enumerate().filter(|(_, one)| one.name != "x32-recvmmsg")
            {
                let after = states_of(without(name, &[one]));
                assert_eq!(after[at], State::Open, "{name}: {}", one.name);
                // Those that begin with the same calls are open with it.
                let calls = |one: &Mitigation| -> Vec<&str> {
                    one.steps.iter().copied().flatten().map(|entry| entry.call).collect()
                };
                let opened = calls(one);
                for (other, (before, after)) in MITIGATIONS.iter().zip(before.iter().zip(&after)) {
                    let shares = calls(other).iter().any(|call| opened.contains(call));
                    assert!(
                        shares || before == after,
                        "{name} without {}: {}",
                        one.name,
                        other.name
                    );
                }
            }
        }
        assert!(without("none", &[]).is_err());
    }

    #[test]
    fn each_is_found_by_its_name_and_by_its_cves_alone() {
        for one in MITIGATIONS {
            for name in one.cves.iter().chain([&one.name]) {
                assert_eq!(find(name).map(|found| found.name), Some(one.name));
            }
        }
        assert!(find("CVE-1999-0001").is_none());
    }
}
