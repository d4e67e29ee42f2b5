//! Every way in which a profile can be bad: one error with file, line, field and a hint.

use brig_seccomp::{Arch, builtin_names, compile};

use super::{Profile, SIZE_LIMIT_BYTES, UnusableInput, bytes, contradiction};

/// What a text is refused with.
fn refused(text: &[u8]) -> UnusableInput {
    let read = Profile::parse("p.json".to_owned(), text).and_then(|profile| {
        if let Some(contradiction) = contradiction(&profile.seccomp) {
            return Err(profile.contradicts(&contradiction));
        }
        compile(&profile.seccomp, Arch::X86_64).map_err(|error| profile.refuses(&error))
    });
    let refused = read.expect_err("refused");
    assert!(refused.hint().is_some_and(|hint| !hint.is_empty()));
    refused
}

/// A profile with one rule, on lines of its own.
fn with_rule(rule: &str) -> String {
    format!(
        "{{\n\"defaultAction\": \"SCMP_ACT_ERRNO\",\n\"syscalls\": [\n\
         {{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\"}},\n{rule}\n]}}"
    )
}

fn with_arg(arg: &str) -> String {
    with_rule(&format!(
        "{{\"names\": [\"write\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": [\n{arg}]}}"
    ))
}

/// Each text is refused with these words.
#[track_caller]
fn are_refused<const N: usize>(cases: [(String, &str); N]) {
    let said: Vec<String> =
        cases.iter().map(|(text, _)| refused(text.as_bytes()).to_string()).collect();
    assert_eq!(said, cases.map(|(_, expected)| expected));
}

fn allow(names: &str) -> String {
    format!("{{\"names\": [{names}], \"action\": \"SCMP_ACT_ALLOW\"}}")
}

#[test]
fn bad_profiles_are_refused_with_line_and_rule() {
    are_refused([
        (String::new(), "p.json:1: the text ends too early (column 1)"),
        ("[]".to_owned(), "p.json:1: expected an object, found an array"),
        ("{}".to_owned(), "p.json:1: defaultAction: required but missing"),
        (
            with_rule(&allow("\"write\""))[..60].to_owned(),
            "p.json:4: syscalls[0].names: the text ends too early (column 10)",
        ),
        (
            with_rule(&allow("\"write\"").replace("ALLOW", "ALOW")),
            "p.json:5: syscalls[1].action: unknown seccomp action \"SCMP_ACT_ALOW\"",
        ),
        (
            with_arg("{\"index\": 0, \"value\": 1, \"op\": \"SCMP_CMP_ALMOST\"}"),
            "p.json:6: syscalls[1].args[0].op: unknown seccomp operator \"SCMP_CMP_ALMOST\"",
        ),
        (
            with_arg("{\"index\": 6, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}"),
            "p.json:6: syscalls[1].args[0].index: 6 is out of range: 0 to 5",
        ),
        (
            with_arg("{\"index\": 0, \"value\": -1, \"op\": \"SCMP_CMP_EQ\"}"),
            "p.json:6: syscalls[1].args[0].value: the number -1 is out of range: a whole number from 0 to 18446744073709551615",
        ),
    ]);
}

#[test]
fn rules_that_cannot_be_meant_are_refused() {
    are_refused([
        (
            with_rule("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_KILL\"}"),
            "p.json:5: syscalls[1].names[0]: SCMP_ACT_KILL for read, but rule 0 says SCMP_ACT_ALLOW",
        ),
        (
            with_rule("{\"names\": [\"raed\"], \"action\": \"SCMP_ACT_KILL\"}"),
            "p.json:5: syscalls[1].names[0]: unknown system call \"raed\"",
        ),
        (
            with_rule(
                "{\"names\": [\"write\"],\n\"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 5000}",
            ),
            "p.json:6: syscalls[1].errnoRet: 5000 is out of range: 0 to 4095",
        ),
        (
            with_rule("{\"names\": [], \"action\": \"SCMP_ACT_ERRNO\"}"),
            "p.json:5: syscalls[1].names: required but missing",
        ),
        (
            with_rule("{\"names\": [\"write\"], \"action\": \"SCMP_ACT_ERRNO\",\n\"errnoret\": 5}"),
            "p.json:6: syscalls[1].errnoret: no such field; runtimes ignore it",
        ),
        (
            with_rule(&allow("\"write\""))
                .replace("\"syscalls\"", "\"architectures\": [\"SCMP_ARCH_PDP11\"],\n\"syscalls\""),
            "p.json:3: architectures[0]: unknown seccomp architecture \"SCMP_ARCH_PDP11\"",
        ),
        (
            with_rule(&allow("\"write\""))
                .replace("\"syscalls\"", "\"defaultAction\": \"SCMP_ACT_KILL\", \"syscalls\""),
            "p.json:3: defaultAction: the key appears twice in one object (column 1)",
        ),
        (
            "{\"ociVersion\": \"1.0.2\",\n\"linux\": {}}".to_owned(),
            "p.json:1: the configuration has no linux.seccomp",
        ),
        (
            format!(
                "{{\"ociVersion\": \"1.0.2\",\n\"linux\": {{\"seccomp\": {}}}}}",
                with_arg("{\"index\": 9, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}")
            ),
            "p.json:7: linux.seccomp.syscalls[1].args[0].index: 9 is out of range: 0 to 5",
        ),
    ]);
    let not_utf8 = [&with_rule("").into_bytes()[..20], &b"\xff\""[..]].concat();
    assert!(refused(&not_utf8).to_string().contains("not valid UTF-8"));
}

#[test]
fn a_profile_in_dockers_own_format_is_recognised() {
    let text = "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"archMap\": [],\n\"syscalls\": []}";
    let refused = refused(text.as_bytes());
    assert_eq!(refused.to_string(), "p.json:1: archMap: no such field; runtimes ignore it");
    assert!(refused.hint().is_some_and(|hint| hint.contains("Docker's own format")));
}

#[test]
fn too_many_conditions_are_refused_where_they_begin() {
    let rule = |at: u64| {
        format!(
            "{{\"names\": [\"ioctl\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": [{{\"index\": 1, \
             \"value\": {}, \"valueTwo\": {}, \"op\": \"SCMP_CMP_MASKED_EQ\"}}]}}",
            u64::MAX - 1 - (at << 1),
            at << 33,
        )
    };
    let rules: Vec<String> = (0..3000).map(rule).collect();
    let refused = refused(with_rule(&rules.join(",\n")).as_bytes());
    let text = refused.to_string();
    assert!(
        text.starts_with("p.json:5: syscalls[1]: needs ") && text.ends_with("takes 4096"),
        "{text}"
    );
}

#[test]
fn what_is_no_small_file_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("big");
    std::fs::write(&path, vec![b' '; SIZE_LIMIT_BYTES + 1]).expect("a file");
    let message = |name: &str| bytes(name).expect_err("refused").message;
    assert_eq!(message(&path.to_string_lossy()), "is larger than 1048576 bytes");
    assert_eq!(message(&directory.path().to_string_lossy()), "is not a regular file");
    let missing = bytes("no-such-profile").expect_err("refused");
    assert!(missing.message.starts_with("cannot read the profile: No such file"));
    assert!(missing.hint().is_some_and(|hint| hint.contains("default")));
}

#[test]
fn builtin_profiles_are_read_by_name() {
    for name in builtin_names() {
        let (profile, program) = Profile::compiled(name, Arch::X86_64).expect("it is good");
        assert!(!program.instructions.is_empty());
        assert_eq!(profile.line("linux.seccomp.defaultAction"), Some(3));
    }
}
