use proptest::prelude::*;

use super::program::{
    AND, EXIT, JUMP_ALWAYS, JUMP_EQUAL, JUMP_NOT_EQUAL, JUMP_SET, LOAD_WORD, MOVE, MOVE_REGISTER,
    RESULT, SHIFT_RIGHT, assemble,
};
use super::v1::{Exceptions, covers};
use super::*;

/// A request for a device, as the kernel makes it.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    kind: Kind,
    major: u32,
    minor: u32,
    access: u8,
}

/// What the specification says, word by word: for each kind of access the last rule
/// that matches decides.
fn specified(rules: &[DeviceRule], attempt: Attempt) -> bool {
    let matches = |rule: &DeviceRule, bit: u8| {
        let kind = match rule.kind {
            None | Some(DeviceType::All) => true,
            Some(DeviceType::Block) => attempt.kind == Kind::Block,
            _ => attempt.kind == Kind::Char,
        };
        let number = |rule: Option<i64>, number: u32| rule.is_none_or(|r| r == i64::from(number));
        let letter = match bit {
            MKNOD => 'm',
            READ => 'r',
            _ => 'w',
        };
        kind && number(rule.major, attempt.major)
            && number(rule.minor, attempt.minor)
            && rule.access.as_deref().unwrap().contains(letter)
    };
    [MKNOD, READ, WRITE].into_iter().filter(|bit| attempt.access & bit != 0).all(|bit| {
        rules.iter().rev().find(|rule| matches(rule, bit)).is_some_and(|rule| rule.allow)
    })
}

/// Runs the program as the kernel would; None for an instruction that the verifier
/// would refuse.
fn interpret(program: &[u64], attempt: Attempt) -> Option<u64> {
    let access_type = u32::from(attempt.access) << 16 | attempt.kind as u32;
    let context = [access_type, attempt.major, attempt.minor];
    let mut registers: [Option<u64>; 11] = [None; 11];
    let mut at = 0;
    loop {
        let instruction = *program.get(at)?;
        let [code, regs, ..] = instruction.to_le_bytes();
        let (to, from) = (usize::from(regs & 15), usize::from(regs >> 4));
        let offset = (instruction >> 16) as u16;
        let value = instruction >> 32;
        at += 1;
        let mut jump = |condition: bool| at += if condition { usize::from(offset) } else { 0 };
        match code {
            LOAD_WORD => registers[to] = Some(u64::from(context[usize::from(offset / 4)])),
            MOVE => registers[to] = Some(value),
            MOVE_REGISTER => registers[to] = Some(registers[from]?),
            AND => registers[to] = Some(registers[to]? & value),
            SHIFT_RIGHT => registers[to] = Some(registers[to]? >> value),
            JUMP_EQUAL => jump(registers[to]? == value),
            JUMP_NOT_EQUAL => jump(registers[to]? != value),
            JUMP_SET => jump(registers[to]? & value != 0),
            JUMP_ALWAYS => jump(true),
            EXIT => return registers[RESULT as usize],
            _ => return None,
        }
    }
}

/// The kernel's v1 decision: an exception must hold all of the access to grant it,
/// any of it to deny it (security/device_cgroup.c).
fn v1_allows(state: &Exceptions, attempt: Attempt) -> bool {
    let hit = state.entries.iter().any(|((kind, major, minor), (access, _))| {
        let device = *kind == attempt.kind
            && covers(*major, Some(attempt.major))
            && covers(*minor, Some(attempt.minor));
        device
            && match state.allow {
                true => access & attempt.access != 0,
                false => attempt.access & !access == 0,
            }
    });
    hit != state.allow
}

fn any_rule() -> impl Strategy<Value = DeviceRule> {
    let kinds = [DeviceType::All, DeviceType::Block, DeviceType::Char];
    let number = || proptest::option::of(0..3_i64);
    let access = prop::sample::select(vec!["r", "w", "m", "rw", "rm", "wm", "rwm", "rwm", "rwm"]);
    (any::<bool>(), prop::sample::select(kinds.to_vec()), number(), number(), access).prop_map(
        |(allow, kind, major, minor, access)| {
            let mut rule = rule(kind, major, minor, access);
            rule.allow = allow;
            rule
        },
    )
}

fn all_attempts() -> impl Iterator<Item = Attempt> {
    (0..3).flat_map(|major| {
        (0..3).flat_map(move |minor| {
            [Kind::Block, Kind::Char].into_iter().flat_map(move |kind| {
                (1..8).map(move |access| Attempt { kind, major, minor, access })
            })
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_program_decides_as_specified(rules in prop::collection::vec(any_rule(), 0..12)) {
        let program = assemble(&Rules::parse(&rules, &[]).unwrap());
        for attempt in all_attempts() {
            let expected = u64::from(specified(&rules, attempt));
            prop_assert_eq!(interpret(&program, attempt), Some(expected), "{:?}", attempt);
        }
    }

    /// v1 may refuse a list, and may deny an access that two exceptions grant only
    /// together; it never allows more than specified.
    #[test]
    fn v1_never_allows_more(rules in prop::collection::vec(any_rule(), 0..6)) {
        let Ok(state) = Exceptions::of(&Rules::parse(&rules, &[]).unwrap()) else {
            return Ok(());
        };
        for attempt in all_attempts() {
            let specified = specified(&rules, attempt);
            let single = attempt.access.count_ones() == 1;
            if single {
                prop_assert_eq!(v1_allows(&state, attempt), specified, "{:?}", attempt);
            } else {
                prop_assert!(!v1_allows(&state, attempt) || specified, "{:?}", attempt);
            }
        }
    }
}

fn v1_lines(rules: &[DeviceRule]) -> Vec<String> {
    let steps = super::v1::writes(0, &Rules::parse(rules, &[]).unwrap()).unwrap();
    super::super::step::writes(&steps)
        .map(|write| format!("{} {}", write.file, write.value))
        .collect()
}

fn parse(json: &str) -> Vec<DeviceRule> {
    serde_json::from_str(json).unwrap()
}

#[test]
fn without_rules_nothing_is_allowed() {
    assert_eq!(assemble(&Rules::parse(&[], &[]).unwrap()), [0xb7, 0x95]);
    assert_eq!(v1_lines(&[]), ["devices.deny a"]);
}

#[test]
fn the_default_program_stays_small() {
    let program = assemble(&Rules::parse(&[], &default_rules()).unwrap());
    assert!(program.len() <= 50, "{} instructions", program.len());
}

#[test]
fn a_privileged_container_may_use_everything() {
    let rules = parse(r#"[{"allow": false, "access": "rwm"}, {"allow": true, "access": "rwm"}]"#);
    assert_eq!(v1_lines(&rules), ["devices.allow a"]);
    // Nothing after the jump to "allow" is reachable, and the verifier would refuse it.
    assert_eq!(assemble(&Rules::parse(&rules, &[]).unwrap()).len(), 9);
}

#[test]
fn a_hole_in_a_wildcard_is_refused_on_v1() {
    let rules = parse(
        r#"[{"allow": true, "type": "c", "major": 1, "access": "rwm"},
            {"allow": false, "type": "c", "major": 1, "minor": 3, "access": "w"}]"#,
    );
    let error = super::v1::writes(0, &Rules::parse(&rules, &[]).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("linux.resources.devices[1]: "), "{error}");
}

#[test]
fn bad_rules_are_refused_by_name() {
    let cases = [
        (r#"[{"allow": true, "type": "c"}]"#, "linux.resources.devices[0].access"),
        (r#"[{"allow": true, "access": "x"}]"#, "linux.resources.devices[0].access"),
        (r#"[{"allow": true, "type": "p", "access": "r"}]"#, "linux.resources.devices[0].type"),
        (r#"[{"allow": true, "major": -2, "access": "r"}]"#, "linux.resources.devices[0].major"),
    ];
    for (json, field) in cases {
        let error = Rules::parse(&parse(json), &[]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{field}: ")), "{error}");
    }
}

#[test]
fn letters_that_are_no_access_grant_and_deny_nothing() {
    let more = r#"[{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwmx"},
                   {"allow": false, "type": "c", "major": 1, "minor": 5, "access": "mR"}]"#;
    let plain = more.replace("rwmx", "rwm").replace("mR", "m");
    assert_eq!(v1_lines(&parse(more)), v1_lines(&parse(&plain)));
}

#[test]
fn too_many_rules_are_refused_unread() {
    let more = default_rules();
    let most = MAX_RULES - more.len();
    let good = rule(DeviceType::Char, Some(1), Some(3), "rwm");
    assert!(Rules::parse(&vec![good.clone(); most], &more).is_ok());
    // What is wrong with one of them is not found any more.
    let bad = rule(DeviceType::Fifo, None, None, "x");
    let error = Rules::parse(&vec![bad; most + 1], &more).unwrap_err().to_string();
    let said = format!("linux.resources.devices: {} rules, at most {most} are possible", most + 1);
    assert_eq!(error, said);
}
