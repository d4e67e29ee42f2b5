//! The whole stage from the outside: texts in, specifications or worded errors out.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::model::{SchedulerFlag, Text};
use super::{Asked, Error, FieldProblem, SIZE_LIMIT_BYTES, process, resources};

/// What runc 1.1.5 writes for `runc spec`.
const RUNC_SPEC: &str = include_str!("testdata/runc-spec.json");
const EVERY_FIELD: &str = include_str!("testdata/every-field.json");

fn every_field() -> Value {
    serde_json::from_str(EVERY_FIELD).expect("test data is JSON")
}

/// The configuration with every field, and `value` at `pointer` (removed if there is none).
fn with(pointer: &str, value: Option<Value>) -> String {
    let mut spec = every_field();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = spec.pointer_mut(parent).expect("the parent is in the test data");
    match (parent, value) {
        (Value::Object(fields), Some(value)) => {
            fields.insert(key.to_owned(), value);
        }
        (Value::Object(fields), None) => {
            fields.remove(key).expect("the field is in the test data");
        }
        (Value::Array(values), Some(value)) => {
            let at: usize = key.parse().expect("an index");
            values.truncate(at);
            values.push(value);
        }
        _ => panic!("nothing can be put at {pointer}"),
    }
    spec.to_string()
}

fn parse(text: &[u8]) -> Result<Text, Error> {
    super::parse::text(text).map(|(text, _)| text)
}

fn refused(text: &str) -> Error {
    parse(text.as_bytes()).expect_err("must be refused")
}

/// The message and the hint, as a person sees them.
fn words(error: &Error) -> String {
    match error.hint() {
        Some(hint) => format!("{error}\n{hint}"),
        None => error.to_string(),
    }
}

/// What is not for Linux, or read by who compiles the filter.
const UNREAD: [&str; 3] = ["/process/commandLine", "/process/user/username", "/linux/seccomp"];

#[test]
fn every_field_of_the_specification_is_read() {
    let whole = Asked::read(EVERY_FIELD.as_bytes()).expect("it is good");
    let mut all = Vec::new();
    places(&every_field(), "", &mut all);
    let is_read = |place: &&String| {
        !place.is_empty() && !UNREAD.iter().any(|section| place.starts_with(section))
    };
    for place in all.iter().filter(is_read) {
        let mut less = every_field();
        let (parent, key) = place.rsplit_once('/').expect("a pointer");
        match less.pointer_mut(parent).expect("it is there") {
            Value::Object(fields) => drop(fields.remove(key)),
            Value::Array(values) => drop(values.remove(key.parse().expect("an index"))),
            _ => unreachable!("a place is in an object or an array"),
        }
        let read = Asked::read(less.to_string().as_bytes());
        assert!(read.as_ref() != Ok(&whole), "nobody would miss {place}");
    }
}

const BROKEN_TEXTS: [(&str, &str); 21] = [
    ("", "line 1 column 1: the text ends too early"),
    ("  \n", "line 2 column 1: the text ends too early"),
    ("{", "line 1 column 2: the text ends too early"),
    (
        "{\"process\": {\"args\": [\"sh\"",
        "process.args (line 1 column 27): the text ends too early",
    ),
    ("{\"hostname\": \"a", "hostname (line 1 column 16): the text ends too early"),
    ("{} {}", "line 1 column 4: text after the end of the JSON value"),
    ("{}\n\n  x", "line 3 column 3: text after the end of the JSON value"),
    ("{\"a\": 1,}", "line 1 column 9: expected another key after `,`"),
    ("{\"a\": [1,]}", "a[1] (line 1 column 10): expected a value"),
    ("{\"a\" 1}", "a (line 1 column 6): expected `:` after the key"),
    ("{\"a\": 1 \"b\": 2}", "line 1 column 9: expected `,` or `}`"),
    ("{\"a\": [1 2]}", "a (line 1 column 10): expected `,` or `]`"),
    ("{a: 1}", "line 1 column 2: expected a key in double quotes"),
    ("{\"a\": 01}", "a (line 1 column 8): a number may not begin with 0"),
    ("{\"a\": 1.}", "a (line 1 column 9): expected a digit"),
    ("{\"a\": +1}", "a (line 1 column 7): expected a value"),
    ("{\"a\": nul}", "a (line 1 column 10): expected true, false or null"),
    ("{\"a\": \"\\x\"}", "a (line 1 column 9): unknown escape in a string"),
    ("{\"a\": \"\t\"}", "a (line 1 column 8): unescaped control character in a string"),
    ("{\"a\": \"\\ud800\"}", "a (line 1 column 14): half of a surrogate pair in a string"),
    ("{\"a\": \"\\u12g4\"}", "a (line 1 column 12): expected four hexadecimal digits after \\u"),
];

#[test]
fn broken_texts_are_refused_with_their_place() {
    let deep = format!("{{\"x\": {}", "[".repeat(100));
    for (text, expected) in BROKEN_TEXTS.into_iter().chain([(deep.as_str(), "x[0]")]) {
        let error = refused(text);
        assert!(error.to_string().starts_with(expected), "{text:?} gave {error}");
        assert!(error.position().is_some(), "{text:?}");
    }
    assert!(matches!(refused(&deep).problem(), FieldProblem::TooDeep { limit: 64 }));
}

#[test]
fn bad_utf8_is_refused_with_its_field() {
    let mut text = b"{\n  \"process\": {\"args\": [\"sh\", \"\xc3\x28\"]}}".to_vec();
    let error = parse(&text).expect_err("must be refused");
    assert_eq!(error.to_string(), "process.args[1] (line 2 column 31): not valid UTF-8");
    text.truncate(20);
    text.push(0xff);
    assert!(parse(&text).is_err());
}

#[test]
fn a_key_given_twice_is_refused_wherever_it_is() {
    let cases = [
        (
            "{\"root\": 1,\n \"root\": 2}",
            "root (line 2 column 2): the key appears twice in one object",
        ),
        (
            "{\"annotations\": {\"a.b\": \"1\", \"a.b\": \"2\"}}",
            "annotations[\"a.b\"] (line 1 column 30): the key appears twice in one object",
        ),
        (
            "{\"unknown\": [{\"x\": 1, \"\\u0078\": 2}]}",
            "unknown[0].x (line 1 column 23): the key appears twice in one object",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(text).to_string(), expected);
    }
    let many: Vec<String> = (0..5000).chain([4321]).map(|n| format!("\"k{n}\": 0")).collect();
    let error = refused(&format!("{{\"x\": {{{}}}}}", many.join(",\n")));
    assert_eq!(
        error.to_string(),
        "x.k4321 (line 5001 column 1): the key appears twice in one object"
    );
}

#[test]
fn unknown_fields_are_ignored() {
    let text = with("/x-unknown", Some(json!({"deep": [{"a": null}], "process": ["x"]})));
    assert!(parse(text.as_bytes()).is_ok());
    let text = with("/linux/unknown", Some(json!([[1, 2], {"type": {"a": 1}}])));
    assert!(parse(text.as_bytes()).is_ok());
}

/// Each value at its pointer is refused with these words, whether the text has white space or not.
fn blames(cases: &[(&str, Value, &str)]) {
    for (pointer, value, expected) in cases {
        let compact = with(pointer, Some(value.clone()));
        let spread: Value = serde_json::from_str(&compact).expect("JSON");
        let spread = serde_json::to_string_pretty(&spread).expect("JSON");
        assert_eq!(&refused(&compact).to_string(), expected);
        assert_eq!(&refused(&spread).to_string(), expected, "the same with white space");
    }
}

#[test]
fn wrong_numbers_name_their_field() {
    blames(&[
        (
            "/process/user/uid",
            json!(-1),
            "process.user.uid: the number -1 is out of range: a whole number from 0 to 4294967295",
        ),
        (
            "/process/user/uid",
            json!(4294967296u64),
            "process.user.uid: the number 4294967296 is out of range: a whole number from 0 to 4294967295",
        ),
        (
            "/process/user/uid",
            json!("0"),
            "process.user.uid: expected a whole number from 0 to 4294967295, found the string \"0\"",
        ),
        (
            "/process/user/uid",
            json!(1.5),
            "process.user.uid: expected a whole number from 0 to 4294967295, found the number 1.5",
        ),
        (
            "/process/user/additionalGids/1",
            json!(true),
            "process.user.additionalGids[1]: expected a whole number from 0 to 4294967295, found true",
        ),
        ("/process/args/1", json!(7), "process.args[1]: expected a string, found the number 7"),
        (
            "/linux/sysctl/net.core.somaxconn",
            json!(1),
            "linux.sysctl[\"net.core.somaxconn\"]: expected a string, found the number 1",
        ),
    ]);
}

#[test]
fn wrong_types_name_their_field() {
    blames(&[
        ("/process/args", json!("sh"), "process.args: expected an array, found the string \"sh\""),
        ("/process/args/1", json!(["x"]), "process.args[1]: expected a string, found an array"),
        ("/process/cwd", json!({}), "process.cwd: expected a string, found an object"),
        (
            "/process/noNewPrivileges",
            json!("true"),
            "process.noNewPrivileges: expected true or false, found the string \"true\"",
        ),
        ("/process", json!("x"), "process: expected an object, found the string \"x\""),
        ("/process", json!([true]), "process: expected an object, found an array"),
        (
            "/process/rlimits/2",
            json!(["RLIMIT_NOFILE", 1, 1]),
            "process.rlimits[2]: expected an object, found an array",
        ),
        (
            "/process/rlimits/2/type",
            json!(["RLIMIT_NOFILE"]),
            "process.rlimits[2].type: expected a string, found an array",
        ),
    ]);
}

#[test]
fn nulls_in_maps_and_missing_fields_name_their_field() {
    blames(&[
        (
            "/linux/sysctl/net.core.somaxconn",
            json!(null),
            "linux.sysctl[\"net.core.somaxconn\"]: expected a string, found null",
        ),
        ("/annotations/x", json!(null), "annotations.x: expected a string, found null"),
        ("/mounts/1", json!({"type": "proc"}), "mounts[1].destination: required but missing"),
        (
            "/linux/uidMappings/0",
            json!({"containerID": 0, "size": 1}),
            "linux.uidMappings[0].hostID: required but missing",
        ),
        (
            "/mounts/1/gidMappings/0",
            json!({"containerID": 0, "hostID": 1}),
            "mounts[1].gidMappings[0].size: required but missing",
        ),
        (
            "/process/rlimits/0",
            json!({"type": "RLIMIT_AS", "hard": 1}),
            "process.rlimits[0].soft: required but missing",
        ),
        (
            "/process/consoleSize",
            json!({"height": 1}),
            "process.consoleSize.width: required but missing",
        ),
        ("/hooks/poststop/0", json!({"args": []}), "hooks.poststop[0].path: required but missing"),
    ]);
}

/// A name that nothing has, where it stands, and the words.
const UNKNOWN_NAMES: [(&str, &str, &str); 11] = [
    (
        "/process/rlimits/2/type",
        "RLIMIT_FSISE",
        "process.rlimits[2].type: unknown resource limit \"RLIMIT_FSISE\"\ndid you mean RLIMIT_FSIZE?",
    ),
    (
        "/process/ioPriority/class",
        "IOPRIO_CLASS_RTT",
        "process.ioPriority.class: unknown I/O priority class \"IOPRIO_CLASS_RTT\"\ndid you mean IOPRIO_CLASS_RT?",
    ),
    (
        "/process/scheduler/policy",
        "SCHED_FIFA",
        "process.scheduler.policy: unknown scheduling policy \"SCHED_FIFA\"\ndid you mean SCHED_FIFO?",
    ),
    (
        "/process/scheduler/flags/1",
        "SCHED_FLAG_DL_OVERUN",
        "process.scheduler.flags[1]: unknown scheduling flag \"SCHED_FLAG_DL_OVERUN\"\ndid you mean SCHED_FLAG_DL_OVERRUN?",
    ),
    (
        "/linux/namespaces/0/type",
        "net",
        "linux.namespaces[0].type: unknown namespace \"net\"\nknown are mount, cgroup, uts, ipc, user, pid, network, time",
    ),
    (
        "/linux/namespaces/0/type",
        "netwrok",
        "linux.namespaces[0].type: unknown namespace \"netwrok\"\ndid you mean network?",
    ),
    (
        "/linux/devices/0/type",
        "x",
        "linux.devices[0].type: unknown device type \"x\"\nknown are a, b, c, u, p",
    ),
    (
        "/linux/resources/devices/1/type",
        "x",
        "linux.resources.devices[1].type: unknown device type \"x\"\nknown are a, b, c, u, p",
    ),
    (
        "/linux/personality/domain",
        "LINUX64",
        "linux.personality.domain: unknown personality domain \"LINUX64\"\ndid you mean LINUX32?",
    ),
    (
        "/linux/memoryPolicy/mode",
        "MPOL_BINT",
        "linux.memoryPolicy.mode: unknown memory policy mode \"MPOL_BINT\"\ndid you mean MPOL_BIND?",
    ),
    (
        "/linux/memoryPolicy/flags/0",
        "MPOL_F_STATIC",
        "linux.memoryPolicy.flags[0]: unknown memory policy flag \"MPOL_F_STATIC\"\ndid you mean MPOL_F_STATIC_NODES?",
    ),
];

#[test]
fn unknown_names_come_with_the_likely_one() {
    for (pointer, name, expected) in UNKNOWN_NAMES {
        assert_eq!(words(&refused(&with(pointer, Some(json!(name))))), expected);
    }
}

#[test]
fn what_others_write_is_read_as_it_is_meant() {
    let read = |pointer: &str, value: Option<Value>| {
        parse(with(pointer, value).as_bytes()).expect(pointer)
    };
    let flags = json!(["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"]);
    let scheduler = read("/process/scheduler/flags", Some(flags)).process.and_then(|p| p.scheduler);
    let flags = scheduler.expect("it is there").flags;
    assert_eq!(flags, [SchedulerFlag::ResetOnFork, SchedulerFlag::DeadlineOverrun]);
    for (pointer, value) in [("/process/user", None), ("/process/user/uid", Some(json!(null)))] {
        let user = read(pointer, value).process.expect("it is there").user;
        assert_eq!(user.uid, 0, "{pointer}");
    }
    let spaced = read("/process/execCPUAffinity/initial", Some(json!("0-1, 3")));
    assert!(spaced.process.is_some_and(|process| super::check_process(&process).is_ok()));
    for (pointer, value) in [
        ("/linux/resources/pids/limit", Some(json!(null))),
        ("/linux/resources/pids", Some(json!({}))),
    ] {
        let resources = read(pointer, value).linux.resources.expect("they are there");
        assert_eq!(resources.pids.and_then(|pids| pids.limit), None, "{pointer}");
    }
    let huge = read("/linux/resources/hugepageLimits/0/limit", Some(json!(u64::MAX)));
    assert_eq!(huge.linux.resources.expect("they are there").hugepage_limits[0].limit, i64::MAX);
    let rdt = read("/linux/intelRdt/enableCMT", Some(json!(true))).linux.intel_rdt;
    assert!(rdt.is_some_and(|rdt| rdt.enable_cmt));
    let windows = read("/windows", Some(json!({"devices": "nonsense"})));
    assert_eq!(windows, parse(EVERY_FIELD.as_bytes()).expect("it parses"));
}

#[test]
fn null_is_an_absent_field() {
    for pointer in
        ["/process/args", "/linux/seccomp", "/mounts", "/linux/resources/memory/limit", "/hooks"]
    {
        let null = parse(with(pointer, Some(Value::Null)).as_bytes()).expect(pointer);
        let absent = parse(with(pointer, None).as_bytes()).expect(pointer);
        assert_eq!(null, absent, "{pointer}");
    }
}

#[test]
fn empty_strings_are_absent_where_go_cannot_tell() {
    let pointers = [
        "/hostname",
        "/domainname",
        "/process/apparmorProfile",
        "/process/selinuxLabel",
        "/linux/mountLabel",
        "/linux/rootfsPropagation",
        "/linux/cgroupsPath",
        "/linux/namespaces/1/path",
        "/mounts/0/type",
        "/mounts/0/source",
    ];
    for pointer in pointers {
        let empty = parse(with(pointer, Some(json!(""))).as_bytes()).expect(pointer);
        let absent = parse(with(pointer, None).as_bytes()).expect(pointer);
        assert_eq!(empty, absent, "{pointer}");
    }
}

#[test]
fn a_process_is_read_with_the_same_rigour() {
    let whole = every_field();
    let text = whole["process"].to_string();
    assert_eq!(
        process(text.as_bytes()).as_ref().ok(),
        parse(EVERY_FIELD.as_bytes()).expect("it parses").process.as_ref()
    );
    let cases = [
        ("{\"cwd\": \"/\"}", "process.args: required but missing"),
        (
            "{\"cwd\": \"/\", \"args\": [\"a\"], \"cwd\": \"/b\"}",
            "process.cwd (line 1 column 29): the key appears twice in one object",
        ),
        (
            "{\"cwd\": \"/\", \"args\": [\"a\"], \"user\": {\"uid\": -1}}",
            "process.user.uid: the number -1 is out of range: a whole number from 0 to 4294967295",
        ),
        ("{\"cwd\": \"b\", \"args\": [\"a\"]}", "process.cwd: \"b\" is not an absolute path"),
        ("{\"args\": [\"a\"]}", "process.cwd: required but missing"),
        ("[]", "process: expected an object, found an array"),
    ];
    for (text, expected) in cases {
        assert_eq!(process(text.as_bytes()).expect_err(text).to_string(), expected);
    }
}

#[test]
fn resources_are_read_with_the_same_rigour() {
    let whole = every_field();
    assert!(resources(whole["linux"]["resources"].to_string().as_bytes()).is_ok());
    assert!(resources(b"{\"pids\": {}}").is_ok());
    let cases = [
        (
            "{\"memory\": {\"limit\": \"1g\"}}",
            "linux.resources.memory.limit: expected a whole number from -9223372036854775808 to 9223372036854775807, found the string \"1g\"",
        ),
        (
            "{\"memory\": {\"limit\": -2}}",
            "linux.resources.memory.limit: -2 is out of range: -1 (no limit) or more",
        ),
        ("{\"cpu\": []}", "linux.resources.cpu: expected an object, found an array"),
    ];
    for (text, expected) in cases {
        assert_eq!(resources(text.as_bytes()).expect_err(text).to_string(), expected);
    }
}

#[test]
fn a_text_beyond_the_limit_is_refused_unread() {
    let text = vec![b' '; SIZE_LIMIT_BYTES + 1];
    let error = parse(&text).expect_err("must be refused");
    assert_eq!(error.to_string(), "a text of 1048577 bytes is out of range: at most 1048576 bytes");
}

/// Hostile texts of the greatest size, each of which would take minutes if anything were quadratic.
#[test]
fn hostile_texts_cost_no_more_than_their_length() {
    let fill = |open: &str, part: &dyn Fn(usize) -> String, close: &str| {
        let mut text = open.to_owned();
        for n in 0.. {
            let part = part(n);
            if text.len() + part.len() + close.len() + 1 > SIZE_LIMIT_BYTES {
                break;
            }
            text.push_str(&part);
            text.push(',');
        }
        text.pop();
        text + close
    };
    let texts = [
        fill("{\"x\":{", &|n| format!("\"{n:x}\":0"), "}}"),
        fill("{\"x\":{", &|n| format!("\"\\u0061{n:x}\":0"), "}}"),
        fill("{\"annotations\":{", &|n| format!("\"{n:x}\":null"), "}}"),
        fill(
            "{\"process\":{\"capabilities\":{\"bounding\":[",
            &|_| "\"CAP_KILL\"".to_owned(),
            ",\"x\"]}}}",
        ),
        fill("{\"mounts\":[", &|_| "{}".to_owned(), "]}"),
        fill("{\"x\":[", &|_| "[[[[[]]]]]".to_owned(), "]}"),
        format!("{{\"process\": {{\"cwd\": \"{}\"}}}}", "\\u0000".repeat(170_000)),
        "[".repeat(SIZE_LIMIT_BYTES),
    ];
    let start = std::time::Instant::now();
    for text in &texts {
        let _any = parse(text.as_bytes());
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn every_problem_has_a_hint_and_one_line() {
    let problems = [
        FieldProblem::Syntax("x".to_owned()),
        FieldProblem::DuplicateKey,
        FieldProblem::TooDeep { limit: 1 },
        FieldProblem::Missing,
        FieldProblem::WrongType { found: "a".to_owned(), expected: "b".to_owned() },
        FieldProblem::OutOfRange { value: "1".to_owned(), range: "2".to_owned() },
        FieldProblem::Unknown { what: "x", value: "a\nb\u{1b}[0m".to_owned() },
        FieldProblem::Invalid { value: "a\nb".repeat(1000), why: "is bad".to_owned() },
        FieldProblem::Conflict("x".to_owned()),
    ];
    for problem in problems {
        let error = Error::new("field", problem);
        let text = error.to_string();
        assert!(
            error.hint().is_some_and(|hint| !hint.is_empty() && !text.contains(hint)),
            "{text}"
        );
        assert!(!text.contains(['\n', '\u{1b}']) && text.len() < 500, "{text:?}");
    }
}

/// Texts that are nearly right: a good one with bytes changed, removed, or moved.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let good = prop_oneof![Just(EVERY_FIELD.to_owned()), Just(RUNC_SPEC.to_owned())];
    let change = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..5u8);
    (good, prop::collection::vec(change, 1..6)).prop_map(|(good, changes)| {
        let mut text = good.into_bytes();
        for (at, other, byte, how) in changes {
            let (at, other) = (at.index(text.len()), other.index(text.len()));
            match how {
                0 => text[at] = byte,
                1 => drop(text.remove(at)),
                2 => text.insert(at, b"{}[]\",:0"[usize::from(byte) % 8]),
                3 => text.swap(at, other),
                _ => {
                    let piece = text[at.min(other)..at.max(other)].to_vec();
                    text.splice(other..other, piece);
                }
            }
        }
        text
    })
}

/// JSON values of all kinds, to be put where they do not belong.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("")),
        Just(json!("/..")),
        Just(json!("\u{0}")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Every place in a value, as pointers.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), all));
        }
        Value::Array(values) => {
            values
                .iter()
                .enumerate()
                .for_each(|(n, value)| places(value, &format!("{at}/{n}"), all));
        }
        _ => {}
    }
}

/// What is read of a configuration that was written; what had to be left out is left out for good.
fn written(asked: &Asked) -> Asked {
    let seccomp =
        asked.0.seccomp.is_some().then_some(&br#"{"defaultAction": "SCMP_ACT_ALLOW"}"#[..]);
    let (text, range) = asked.0.text(seccomp).expect("it can be written");
    let mut again = Asked::read(&text).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&text));
    });
    assert_eq!(again.0.seccomp, range);
    assert_eq!(again.0.process.capabilities.left_out, Vec::<String>::new());
    again.0.seccomp.clone_from(&asked.0.seccomp);
    let left_out = asked.0.process.capabilities.left_out.clone();
    again.0.process.capabilities.left_out = left_out;
    again
}

#[test]
fn what_is_written_is_read_as_the_same() {
    let smallest =
        r#"{"ociVersion": "1.0.2", "root": {"path": "r"}, "process": {"cwd": "/", "args": ["x"]}}"#;
    let filtered =
        smallest.replace(r#"{"path": "r"}"#, r#"{"path": "r"}, "linux": {"seccomp": {}}"#);
    for text in [RUNC_SPEC, EVERY_FIELD, smallest, &filtered] {
        let asked = Asked::read(text.as_bytes()).expect("it is good");
        assert_eq!(written(&asked), asked);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _any = (parse(&bytes), process(&bytes), resources(&bytes));
    }

    #[test]
    fn what_scan_accepts_is_what_serde_accepts(text in "[\\[\\]{}\",:0-2\\\\aeutrfnls. -]{0,24}") {
        let ours = super::json::scan(text.as_bytes(), &["x"]);
        let theirs = serde_json::from_str::<Value>(&text);
        let stricter = ours.as_ref().is_err_and(|error| *error.problem() == FieldProblem::DuplicateKey);
        prop_assert!(ours.is_ok() == theirs.is_ok() || stricter, "{ours:?} {theirs:?}");
    }

    #[test]
    fn mutated_texts_never_panic(bytes in mutated()) {
        match Asked::read(&bytes) {
            Ok(asked) => prop_assert_eq!(&written(&asked), &asked),
            Err(error) => prop_assert!(!error.to_string().is_empty() && error.hint().is_some()),
        }
    }

    #[test]
    fn a_wrong_value_anywhere_is_blamed_on_its_place(value in any_value(), at in any::<prop::sample::Index>()) {
        let mut spec = every_field();
        let mut all = Vec::new();
        places(&spec, "", &mut all);
        let pointer = all[at.index(all.len())].clone();
        *spec.pointer_mut(&pointer).expect("a place") = value;
        if let Err(error) = parse(spec.to_string().as_bytes()) {
            let field = format!("/{}", error.field().replace(['.', '['], "/").replace([']', '"'], ""));
            let normal = pointer.replace('.', "/");
            prop_assert!(field.starts_with(&normal) || normal.starts_with(&field), "{pointer}: {error}");
        }
    }
}
