//! Answers in words and in JSON, as all verbs give them.

use brig_seccomp::verdict::{Alternative, Reason, Verdict, describe_conditions};
use brig_seccomp::{Arch, Condition, describe_action};
use serde_json::{Value, json};

use super::profile::Profile;

/// A call with arguments, such as `socket(40, 1)`: up to the last that is given or not 0.
pub(super) fn call(name: &str, args: &[u64; 6], at_least: usize) -> String {
    let end = args.iter().rposition(|arg| *arg != 0).map_or(0, |last| last + 1).max(at_least);
    let args: Vec<String> = args[..end].iter().map(|arg| number(*arg)).collect();
    format!("{name}({})", args.join(", "))
}

fn number(value: u64) -> String {
    if value < 1024 { value.to_string() } else { format!("{value:#x}") }
}

/// Why a call is decided as it is where none of its alternatives holds.
pub(super) fn reason(profile: &Profile, arch: Arch, verdict: &Verdict) -> String {
    match verdict.reason {
        Reason::Rule(rule) if verdict.is_unconditional() => {
            format!("{}, whatever the arguments", profile.rule(rule))
        }
        Reason::Rule(rule) => format!("{}, as no stricter rule applies", profile.rule(rule)),
        Reason::Default => "no rule applies: the default action".to_owned(),
        Reason::Newer => {
            "newer than every call that the profile names: programs then fall back on older ones"
                .to_owned()
        }
        _ => format!("the profile does not list {}", arch.name()),
    }
}

pub(super) fn conditions_json(conditions: &[Condition]) -> Value {
    let one = |condition: &Condition| {
        let Condition { index, op, value, mask } = *condition;
        json!({ "index": index, "op": op, "value": value, "mask": mask })
    };
    json!({
        "text": describe_conditions(conditions),
        "all": conditions.iter().map(one).collect::<Vec<_>>(),
    })
}

pub(super) fn verdict_json(verdict: &Verdict) -> Value {
    let one = |alternative: &Alternative| {
        json!({
            "action": describe_action(alternative.action),
            "rule": alternative.rule,
            "conditions": conditions_json(&alternative.conditions),
        })
    };
    json!({
        "text": verdict.to_string(),
        "alternatives": verdict.alternatives.iter().map(one).collect::<Vec<_>>(),
        "otherwise": describe_action(verdict.otherwise),
    })
}

pub(super) fn pretty(value: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::call;

    #[test]
    fn calls_end_at_the_last_argument_that_matters() {
        assert_eq!(call("read", &[0; 6], 0), "read()");
        assert_eq!(call("read", &[0; 6], 2), "read(0, 0)");
        assert_eq!(call("socket", &[40, 0, 0x5401, 0, 0, 0], 1), "socket(40, 0, 0x5401)");
    }
}
