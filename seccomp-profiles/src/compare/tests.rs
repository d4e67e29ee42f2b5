//! Differences by what is decided, whatever the words.

use oci_spec::runtime::LinuxSeccomp;
use proptest::prelude::*;

use super::{Freedom, differences, outcomes};
use crate::verdict::Verdicts;
use crate::{ALLOW, Arch, ERRNO, KILL_PROCESS, USER_NOTIF};

fn verdicts(default: &str, rules: &str) -> Verdicts {
    let json = format!(r#"{{"defaultAction":"SCMP_ACT_{default}","syscalls":[{rules}]}}"#);
    let profile: LinuxSeccomp = serde_json::from_str(&json).expect("a profile");
    Verdicts::new(&profile, Arch::X86_64, Arch::X86_64).expect("it is good")
}

fn rule(action: &str, name: &str, conditions: &[(&str, u64, u64)]) -> String {
    let args: Vec<String> = conditions
        .iter()
        .zip(0..)
        .map(|((op, value, two), index): (_, u32)| {
            format!(r#"{{"index":{index},"value":{value},"valueTwo":{two},"op":"SCMP_CMP_{op}"}}"#)
        })
        .collect();
    let args = args.join(",");
    format!(r#"{{"names":["{name}"],"action":"SCMP_ACT_{action}","args":[{args}]}}"#)
}

/// Under which conditions more of `read` gets through, and an example's first argument.
fn more(before: &Verdicts, after: &Verdicts) -> Vec<(String, Option<u64>)> {
    let all = differences(before, after);
    let read = all.iter().filter(|one| one.name == Some("read")).flat_map(|one| &one.gains);
    read.map(|gain| {
        let words = crate::verdict::describe_conditions(&gain.conditions);
        (words, gain.example.map(|args| args[0]))
    })
    .collect()
}

#[test]
fn the_same_in_other_words_is_no_difference() {
    let allow = |conditions: &[(&str, u64, u64)]| rule("ALLOW", "read", conditions);
    let one_by_one: Vec<String> = (0..4).map(|value| allow(&[("EQ", value, 0)])).collect();
    let ways = [
        verdicts("ERRNO", &allow(&[("LT", 4, 0)])),
        verdicts("ERRNO", &allow(&[("LE", 3, 0)])),
        verdicts("ERRNO", &allow(&[("MASKED_EQ", !3, 0)])),
        verdicts("ERRNO", &one_by_one.join(",")),
        verdicts("ERRNO", &format!("{},{}", allow(&[]), rule("ALLOW", "write", &[]))),
    ];
    for (at, before) in ways.iter().enumerate().take(4) {
        for after in &ways[..4] {
            assert_eq!(more(before, after), []);
        }
        assert_eq!(more(before, &ways[4]), [(String::new(), Some(4))], "{at}");
        assert_eq!(more(&ways[4], before), []);
    }
}

#[test]
fn what_is_more_has_its_conditions_and_an_example() {
    let narrow = verdicts("ERRNO", &rule("ALLOW", "read", &[("LE", 2, 0)]));
    let wide = verdicts("ERRNO", &rule("ALLOW", "read", &[("LE", 5, 0)]));
    assert_eq!(more(&narrow, &wide), [("arg0 <= 5".to_owned(), Some(3))]);
    assert_eq!(more(&wide, &narrow), []);
    // From the other side: all but a few.
    let but = verdicts("ALLOW", &rule("ERRNO", "read", &[("EQ", 40, 0)]));
    let but_two = verdicts(
        "ALLOW",
        &[40, 38].map(|value| rule("ERRNO", "read", &[("EQ", value, 0)])).join(","),
    );
    assert_eq!(more(&but_two, &but), [("arg0 == 38".to_owned(), Some(38))]);
    assert_eq!(more(&but, &but_two), []);
}

#[test]
fn asking_is_between_refusing_and_running() {
    let [refuse, ask, run] =
        ["ERRNO", "NOTIFY", "ALLOW"].map(|action| verdicts("KILL", &rule(action, "read", &[])));
    assert_eq!(more(&refuse, &ask).len(), 1);
    assert_eq!(more(&ask, &run).len(), 1);
    assert_eq!(more(&run, &ask), []);
    assert_eq!(Freedom::of(KILL_PROCESS), Freedom::Refused);
    assert!(Freedom::of(USER_NOTIF) < Freedom::of(ALLOW));
    assert!(Freedom::of(ERRNO | 1) < Freedom::of(USER_NOTIF));
}

#[test]
fn numbers_of_no_known_call_are_compared_too() {
    let closed = verdicts("ERRNO", &rule("ALLOW", "read", &[]));
    let open = verdicts("ALLOW", &rule("ERRNO", "mount", &[]));
    let names: Vec<_> = differences(&closed, &open).iter().map(|one| one.name).collect();
    assert!(names.contains(&None) && names.contains(&Some("ptrace")));
    assert!(!names.contains(&Some("mount")) && !names.contains(&Some("read")));
    assert_eq!(differences(&open, &closed), []);
}

#[test]
fn outcomes_are_those_that_are_possible() {
    let rules = format!(
        "{},{}",
        rule("ALLOW", "read", &[("LE", 5, 0)]),
        rule("KILL_PROCESS", "read", &[("EQ", 3, 0)])
    );
    let profile = verdicts("ERRNO", &rules);
    let read = profile.of("read").expect("there is one");
    let actions = |op, value| {
        let known = crate::Condition { index: 0, op, value, mask: u64::MAX };
        let all = outcomes(read, &[known], true);
        all.iter().map(|one| one.action).collect::<Vec<_>>()
    };
    use oci_spec::runtime::LinuxSeccompOperator as Op;
    assert_eq!(actions(Op::ScmpCmpEq, 3), [KILL_PROCESS]);
    assert_eq!(actions(Op::ScmpCmpEq, 4), [ALLOW]);
    assert_eq!(actions(Op::ScmpCmpGe, 4), [ALLOW, ERRNO | 1]);
    assert_eq!(actions(Op::ScmpCmpGe, 0), [KILL_PROCESS, ALLOW, ERRNO | 1]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Over small arguments, against trying all of them.
    #[test]
    fn more_is_found_exactly_where_there_is_more(seed in proptest::collection::vec(
        (0..2usize, 0..5usize, 0..7usize, 0..8u64, 0..8u64), 1..8)
    ) {
        const ACTIONS: [&str; 5] = ["ALLOW", "ERRNO", "KILL_PROCESS", "NOTIFY", "LOG"];
        const OPS: [&str; 7] = ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"];
        let of = |side: usize| {
            let rules = seed.iter().filter(|one| one.0 == side).map(|(_, action, op, value, two)| {
                rule(ACTIONS[*action], "read", &[(OPS[*op], *value, *two)])
            });
            verdicts("ERRNO", &rules.collect::<Vec<_>>().join(","))
        };
        let (before, after) = (of(0), of(1));
        let (a, b) = (before.of("read").expect("known"), after.of("read").expect("known"));
        let gains = |args: &[u64; 6]| Freedom::of(b.decide(args)) > Freedom::of(a.decide(args));
        let values = (0..32).chain([u64::MAX]);
        let brute = values.into_iter().any(|value| gains(&[value, 0, 0, 0, 0, 0]));
        let all = differences(&before, &after);
        let found: Vec<_> = all.iter().flat_map(|one| &one.gains).collect();
        prop_assert_eq!(brute, !found.is_empty());
        for gain in found {
            prop_assert!(gains(&gain.example.expect("never given up")));
        }
    }
}
