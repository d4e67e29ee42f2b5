//! From the text of a profile to one of which a filter can be made.
//!
//! Promises: every error names the field, from `linux.seccomp` on. What is refused here is what no filter can be made of;
//! rules that contradict each other are not (see [`crate::lint`]).
//! Reference: config-linux.md "Seccomp", seccomp(2).

use std::ops::Range;

use brig_spec::{Error, absolute_path};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action, LinuxSyscall};

const ROOT: [&str; 2] = ["linux", "seccomp"];

/// Reads and checks a profile that is a text of its own.
///
/// # Errors
/// It is not JSON, or a field has a value that is not the specification's or the kernel's.
pub fn read(text: &[u8]) -> Result<LinuxSeccomp, Error> {
    let profile = brig_spec::read(text, &ROOT)?;
    check(&profile)?;
    Ok(profile)
}

/// Reads and checks the profile that lies in `range` of a text which [`brig_spec::Asked::read`] has accepted.
///
/// # Errors
/// As [`read`]; places are those in the whole text.
pub fn read_part(text: &[u8], range: Range<usize>) -> Result<LinuxSeccomp, Error> {
    let profile = brig_spec::part(text, range, &ROOT)?;
    check(&profile)?;
    Ok(profile)
}

fn check(seccomp: &LinuxSeccomp) -> Result<(), Error> {
    const FIELD: &str = "linux.seccomp";
    errno(seccomp.default_action(), seccomp.default_errno_ret(), || {
        format!("{FIELD}.defaultErrnoRet")
    })?;
    if seccomp.default_action() == Action::ScmpActNotify {
        // The answer to the first call, sendmsg of the listener included, would wait for itself.
        let what = "cannot be the default: the process could not pass the listener on";
        let field = format!("{FIELD}.defaultAction");
        return Err(Error::invalid(field, "SCMP_ACT_NOTIFY", what)
            .with_hint("name the system calls to notify of in a rule"));
    }
    for (index, rule) in seccomp.syscalls().iter().flatten().enumerate() {
        check_rule(rule, &|| format!("{FIELD}.syscalls[{index}]"))?;
    }
    match seccomp.listener_path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => {
            let path = path.to_str().unwrap_or_default();
            absolute_path(path, || format!("{FIELD}.listenerPath"))?;
        }
        None if seccomp.listener_metadata().as_deref().is_some_and(|data| !data.is_empty()) => {
            return Err(Error::conflict(
                format!("{FIELD}.listenerMetadata"),
                "needs a listenerPath",
            ));
        }
        None => {}
    }
    Ok(())
}

fn check_rule(rule: &LinuxSyscall, field: &dyn Fn() -> String) -> Result<(), Error> {
    if rule.names().is_empty() {
        return Err(
            Error::missing(format!("{}.names", field())).with_hint("name at least one system call")
        );
    }
    for (index, name) in rule.names().iter().enumerate() {
        let field = || format!("{}.names[{index}]", field());
        if name.contains('\0') {
            return Err(Error::invalid(field(), name, "has a NUL byte in it"));
        }
        if name.is_empty() {
            return Err(Error::missing(field()));
        }
        if name == "write" && rule.action() == Action::ScmpActNotify {
            // The runtime writes to tell that the filter is in place.
            let what = "cannot have the action SCMP_ACT_NOTIFY: the runtime calls it itself";
            return Err(Error::invalid(field(), name, what)
                .with_hint("allow write, or give it another action"));
        }
    }
    errno(rule.action(), rule.errno_ret(), || format!("{}.errnoRet", field()))?;
    for (index, arg) in rule.args().iter().flatten().enumerate() {
        // A system call has six arguments (`struct seccomp_data`).
        if arg.index() > 5 {
            return Err(Error::range(
                format!("{}.args[{index}].index", field()),
                arg.index(),
                "0 to 5",
            ));
        }
    }
    Ok(())
}

/// The kernel caps an errno at `MAX_ERRNO`; SECCOMP_RET_DATA, for a tracer, has 16 bits.
fn errno(action: Action, errno: Option<u32>, field: impl Fn() -> String) -> Result<(), Error> {
    let limit = if action == Action::ScmpActTrace { 0xffff } else { 4095 };
    match errno {
        Some(errno) if errno > limit => Err(Error::range(field(), errno, &format!("0 to {limit}"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(profile: &Value) -> Result<LinuxSeccomp, Error> {
        read(profile.to_string().as_bytes())
    }

    fn with(key: &str, value: Value) -> Value {
        let mut profile = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        profile[key] = value;
        profile
    }

    fn rule(key: &str, value: Value) -> Value {
        let mut rule = json!({"names": ["read"], "action": "SCMP_ACT_ERRNO"});
        rule[key] = value;
        with("syscalls", json!([rule]))
    }

    /// As a person sees it: the message and the hint.
    fn words(profile: &Value) -> String {
        let error = of(profile).expect_err("it is wrong");
        format!("{error}\n{}", error.hint().unwrap_or_default())
    }

    #[test]
    fn what_the_kernel_takes_is_accepted() {
        let mut trace = rule("errnoRet", json!(65535));
        trace["syscalls"][0]["action"] = json!("SCMP_ACT_TRACE");
        let mut listener = with("listenerPath", json!("/run/x"));
        listener["listenerMetadata"] = json!("x");
        let mut notify = rule("names", json!(["mount"]));
        notify["syscalls"][0]["action"] = json!("SCMP_ACT_NOTIFY");
        for profile in [rule("errnoRet", json!(4095)), trace, listener, notify] {
            assert!(of(&profile).is_ok(), "{profile}");
        }
    }

    #[test]
    fn what_no_filter_can_be_made_of_names_its_field() {
        let mut write = rule("names", json!(["write"]));
        write["syscalls"][0]["action"] = json!("SCMP_ACT_NOTIFY");
        let argument = json!([{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]);
        let operator = json!([{"index": 0, "value": 0, "op": "SCMP_CMP_LTE"}]);
        let cases = [
            (
                with("defaultAction", json!("SCMP_ACT_NOTIFY")),
                "defaultAction: \"SCMP_ACT_NOTIFY\" cannot be the default: the process could not pass the listener on\n",
            ),
            (
                with("defaultErrnoRet", json!(4096)),
                "defaultErrnoRet: 4096 is out of range: 0 to 4095\n",
            ),
            (with("listenerPath", json!("x")), "listenerPath: \"x\" is not an absolute path\n"),
            (with("listenerMetadata", json!("x")), "listenerMetadata: needs a listenerPath\n"),
            (
                rule("names", json!([])),
                "syscalls[0].names: required but missing\nname at least one",
            ),
            (rule("names", json!(["read", ""])), "syscalls[0].names[1]: required but missing\n"),
            (
                write,
                "syscalls[0].names[0]: \"write\" cannot have the action SCMP_ACT_NOTIFY: the runtime calls it itself\n",
            ),
            (
                rule("errnoRet", json!(4096)),
                "syscalls[0].errnoRet: 4096 is out of range: 0 to 4095\n",
            ),
            (rule("args", argument), "syscalls[0].args[0].index: 6 is out of range: 0 to 5\n"),
            (
                with("defaultAction", json!("SCMP_ACT_ALOW")),
                "defaultAction: unknown seccomp action \"SCMP_ACT_ALOW\"\ndid you mean SCMP_ACT_ALLOW?",
            ),
            (
                with("architectures", json!(["SCMP_ARCH_X86", "SCMP_ARCH_X8664"])),
                "architectures[1]: unknown seccomp architecture \"SCMP_ARCH_X8664\"\ndid you mean SCMP_ARCH_X86_64?",
            ),
            (
                with("flags", json!(["SECCOMP_FILTER_FLAG_TSINC"])),
                "flags[0]: unknown seccomp filter flag \"SECCOMP_FILTER_FLAG_TSINC\"\ndid you mean SECCOMP_FILTER_FLAG_TSYNC?",
            ),
            (
                rule("args", operator),
                "syscalls[0].args[0].op: unknown seccomp operator \"SCMP_CMP_LTE\"\ndid you mean SCMP_CMP_LT?",
            ),
            (
                with("defaultAction", json!({"SCMP_ACT_ALLOW": null})),
                "defaultAction: expected a string, found an object\n",
            ),
            (
                with("defaultAction", json!(3)),
                "defaultAction: expected a string, found something else\n",
            ),
            (
                with("syscalls", json!([{"names": ["x"]}])),
                "syscalls[0].action: required but missing\n",
            ),
        ];
        for (profile, expected) in cases {
            let (found, expected) = (words(&profile), format!("linux.seccomp.{expected}"));
            assert!(found.starts_with(&expected), "{profile}: {found}");
        }
    }

    #[test]
    fn errors_in_a_part_have_their_place_in_the_whole() {
        let text = "{\"linux\": {\n\"seccomp\": {\"defaultAction\": \"SCMP_ACT_ALOW\"}}}";
        let start = text.find("{\"default").expect("it is there");
        let error = read_part(text.as_bytes(), start..text.len() - 2).expect_err("it is wrong");
        assert_eq!(error.field(), "linux.seccomp.defaultAction");
        assert_eq!(error.position().map(|position| position.line), Some(2));
    }
}
