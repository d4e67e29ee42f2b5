//! What one answer says about another question, over every kind of test.

use super::{Kind, Test, constant, implied};

fn holds(kind: Kind, value: u32) -> bool {
    match kind {
        Kind::Equal(want) => value == want,
        Kind::AtLeast(bound) => value >= bound,
        Kind::Masked(mask, want) => value & mask == want,
    }
}

const CONSTANTS: [u32; 9] = [0, 1, 2, 3, 6, 0x8000_0000, 0xffff_0000, u32::MAX - 1, u32::MAX];

fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for a in CONSTANTS {
        kinds.extend([Kind::Equal(a), Kind::AtLeast(a)]);
        kinds.extend(CONSTANTS.iter().map(|b| Kind::Masked(a, b & a)));
    }
    kinds.retain(|kind| constant(*kind).is_none());
    kinds
}

/// All values that the constants can tell apart.
fn values() -> Vec<u32> {
    let near = |a: u32| [a.wrapping_sub(1), a, a.wrapping_add(1)];
    let mut values: Vec<u32> = (0..16).collect();
    for a in CONSTANTS {
        values.extend(near(a));
        values.extend(CONSTANTS.iter().flat_map(|b| near(a ^ b)));
    }
    values
}

#[test]
fn what_is_implied_holds_for_every_value() {
    let values = values();
    for known in kinds() {
        for asked in kinds() {
            for answer in [false, true] {
                let test = |kind| Test { word: 16, kind };
                let Some(said) = implied(test(known), answer, test(asked)) else {
                    continue;
                };
                for &value in values.iter().filter(|value| holds(known, **value) == answer) {
                    assert_eq!(
                        holds(asked, value),
                        said,
                        "{known:?} is {answer}: {asked:?} of {value:#x}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_test_answers_itself_and_says_nothing_about_other_words() {
    for kind in kinds() {
        let test = |word| Test { word, kind };
        assert_eq!(implied(test(16), true, test(16)), Some(true));
        assert_eq!(implied(test(16), false, test(16)), Some(false));
        assert_eq!(implied(test(16), true, test(20)), None);
    }
}
