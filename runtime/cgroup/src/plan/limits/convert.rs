//! Conversions between the specification's units (those of cgroup v1) and v2's.

use crate::Error;

/// `cpu.weight` (1 to 10000) for v1 cpu shares (2 to 262144): the quadratic that
/// maps minimum, default (1024 to 100) and maximum onto each other (runc pull request
/// 4785, crun issue 1721). The earlier linear formula gave the default a weight of 39.
pub(super) fn shares_to_weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        // 10^((l² + 125 l)/612 - 7/34) with l = log2(shares), rounded up.
        _ => {
            #[expect(clippy::cast_precision_loss, reason = "shares are below 2^18")]
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            // The exponent is inexact; powers that are whole (1024 -> 100) stay so.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let weight = (10f64.powf(exponent) - 1e-9).ceil() as u64;
            weight.clamp(1, 10_000)
        }
    }
}

/// `io.weight` (1 to 10000) for a v1 blkio weight (10 to 1000), linear.
pub(super) fn blkio_to_io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).max(10) - 10) * 9999 / 990
}

/// v2's `memory.swap.max` for the specification's memory+swap and memory limits.
/// None: nothing is written. -1: no limit.
pub(super) fn swap_to_v2(swap: i64, limit: i64) -> Result<Option<i64>, Error> {
    const FIELD: &str = "linux.resources.memory.swap";
    match (swap, limit) {
        // As v1 does: unlimited memory with swap unset frees swap too.
        (0, -1) => Ok(Some(-1)),
        (0, _) => Ok(None),
        (-1, _) => Ok(Some(-1)),
        (..=-2, _) => Err(Error::field(FIELD, format!("{swap} is not a number of bytes"))),
        (_, ..=0) => {
            Err(Error::field(FIELD, "a swap limit needs linux.resources.memory.limit as well"))
        }
        _ if swap < limit => Err(Error::field(
            FIELD,
            format!("{swap} (memory and swap) is below the limit of {limit}"),
        )),
        _ => Ok(Some(swap - limit)),
    }
}

/// `max` for a negative number.
pub(super) fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// Checks a huge page size as hugetlb files spell it: `2MB`, `1GB`, `64KB`.
pub(super) fn check_page_size(size: &str, field: &str) -> Result<(), Error> {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    match digits {
        Some(digits)
            if digits.bytes().all(|b| b.is_ascii_digit())
                && digits.as_bytes().first().is_some_and(|b| *b != b'0') =>
        {
            Ok(())
        }
        _ => Err(Error::field(field, format!("{size:?} is not a page size such as \"2MB\""))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn shares_map_minimum_default_and_maximum() {
        let cases = [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (1 << 40, 10_000)];
        for (shares, weight) in cases {
            assert_eq!(shares_to_weight(shares), weight, "shares {shares}");
        }
    }

    #[test]
    fn shares_are_monotone() {
        let weights: Vec<u64> = (2..=262_144).step_by(7).map(shares_to_weight).collect();
        assert!(weights.is_sorted());
    }

    #[test]
    fn swap_is_what_is_left_of_memory_and_swap() {
        assert_eq!(swap_to_v2(300, 100).unwrap(), Some(200));
        assert_eq!(swap_to_v2(100, 100).unwrap(), Some(0));
        assert_eq!(swap_to_v2(-1, 100).unwrap(), Some(-1));
        assert_eq!(swap_to_v2(0, -1).unwrap(), Some(-1));
        assert_eq!(swap_to_v2(0, 100).unwrap(), None);
        for (swap, limit) in [(50, 100), (100, 0), (100, -1), (-2, 100)] {
            let error = swap_to_v2(swap, limit).unwrap_err().to_string();
            assert!(error.starts_with("linux.resources.memory.swap: "), "{error}");
        }
    }

    #[test]
    fn blkio_weight_spans_the_range() {
        assert_eq!(blkio_to_io_weight(10), 1);
        assert_eq!(blkio_to_io_weight(1000), 10_000);
        assert_eq!(blkio_to_io_weight(0), 1);
    }

    #[test]
    fn page_sizes_are_checked() {
        check_page_size("2MB", "f").unwrap();
        for bad in ["2M", "MB", "02MB", "2mb", "../2MB", "2 MB"] {
            assert!(check_page_size(bad, "f").is_err(), "{bad:?} accepted");
        }
    }
}
