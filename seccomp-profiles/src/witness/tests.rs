//! Searches over a few small arguments, against trying all values.

use oci_spec::runtime::LinuxSeccompOperator as Op;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Found, Range, Work};
use crate::terms::Condition;

const OPS: [Op; 7] = [
    Op::ScmpCmpNe,
    Op::ScmpCmpLt,
    Op::ScmpCmpLe,
    Op::ScmpCmpEq,
    Op::ScmpCmpGe,
    Op::ScmpCmpGt,
    Op::ScmpCmpMaskedEq,
];

fn witness(hold: &[&[Condition]], fail: &[&[Condition]], wide: bool) -> Found {
    super::witness(hold, fail, wide, &mut Work::for_one_call())
}

/// About the lowest four bits of the first two arguments; those above must be clear.
fn condition() -> impl Strategy<Value = Condition> {
    (0..2u32, select(&OPS[..]), 0..16u64, 0..16u64).prop_map(|(index, op, value, mask)| {
        let mask = if op == Op::ScmpCmpMaskedEq { mask } else { u64::MAX };
        Condition { index, op, value: value & mask, mask }
    })
}

fn small(index: u32) -> Condition {
    Condition { index, op: Op::ScmpCmpLt, value: 16, mask: u64::MAX }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn a_witness_is_found_exactly_where_there_is_one(
        hold in vec(condition(), 0..4),
        fail in vec(vec(condition(), 1..3), 0..6),
    ) {
        let bounds = [small(0), small(1)];
        let fails: Vec<&[Condition]> = fail.iter().map(Vec::as_slice).collect();
        let fits = |args: &[u64; 6]| {
            hold.iter().all(|one| one.holds(args))
                && fail.iter().all(|all| !all.iter().all(|one| one.holds(args)))
        };
        let mut all = (0..256u64).map(|both| [both % 16, both / 16, 0, 0, 0, 0]);
        match witness(&[&hold, &bounds], &fails, true) {
            Found::Arguments(args) => prop_assert!(fits(&args) && args[0] < 16 && args[1] < 16),
            Found::Nothing => prop_assert!(!all.any(|args| fits(&args))),
            Found::GaveUp => prop_assert!(false, "gave up"),
        }
    }

    #[test]
    fn the_lowest_value_is_the_lowest(low in 0..300u64, high in 0..300u64, mask in 0..512u64, bits: u64) {
        let bits = bits & mask;
        let range = Range { low, high, mask, bits };
        let lowest = (low..=high.max(low)).find(|value| value & mask == bits && *value <= high);
        prop_assert_eq!(range.lowest(), lowest);
    }
}

#[test]
fn whole_words_are_searched() {
    let condition = |op, value| Condition { index: 0, op, value, mask: u64::MAX };
    let top = condition(Op::ScmpCmpGe, u64::MAX - 1);
    let last = [condition(Op::ScmpCmpEq, u64::MAX)];
    let other = [condition(Op::ScmpCmpEq, u64::MAX - 1)];
    let args = |first| Found::Arguments([first, 0, 0, 0, 0, 0]);
    assert_eq!(witness(&[&[top]], &[], true), args(u64::MAX - 1));
    assert_eq!(witness(&[&[top]], &[&other], true), args(u64::MAX));
    assert_eq!(witness(&[&[top]], &[&other, &last], true), Found::Nothing);
    // On 32-bit calls there are no such values.
    assert_eq!(witness(&[&[top]], &[], false), Found::Nothing);
    let never = condition(Op::ScmpCmpGt, u64::MAX);
    assert_eq!(witness(&[&[never]], &[], true), Found::Nothing);
}

#[test]
fn hard_questions_are_given_up() {
    // Of 60 bits in pairs, at least one of each must be clear and one set: 2³⁰ parts, and in the
    // end none, as all pairs together may not.
    let pair = |bit: u32, bits: u64| {
        let mask = 3u64 << (2 * bit);
        vec![Condition { index: 0, op: Op::ScmpCmpMaskedEq, value: bits << (2 * bit), mask }]
    };
    let mut fail: Vec<Vec<Condition>> =
        (0..30).flat_map(|bit| [pair(bit, 0), pair(bit, 3)]).collect();
    let free: Vec<Condition> = (0..30).flat_map(|bit| pair(bit, 1)).collect();
    fail.push(free);
    let fails: Vec<&[Condition]> = fail.iter().map(Vec::as_slice).collect();
    // Either is honest; neither may take long.
    let found = witness(&[], &fails, true);
    assert!(matches!(found, Found::Arguments(_) | Found::GaveUp), "{found:?}");
    // No number is odd for every modulus at once: parity of 24 bits by its minterms.
    let parity: Vec<Vec<Condition>> = (0..1u64 << 12)
        .map(|bits| {
            let spread = (0..12).fold(0, |all, bit| all | (bits >> bit & 1) << (bit * 5));
            let mask = (0..12).fold(0, |all, bit| all | 1 << (bit * 5));
            vec![Condition { index: 0, op: Op::ScmpCmpMaskedEq, value: spread, mask }]
        })
        .collect();
    let fails: Vec<&[Condition]> = parity.iter().map(Vec::as_slice).collect();
    assert_eq!(witness(&[], &fails, true), Found::GaveUp);
}
