//! Sizes and durations as users of Go's tools spell them: `64M`, `1.5GiB`, `500ms`, `1m30s`.
//!
//! Promises: exact integer arithmetic; what does not fit is refused, never cut to size.
//! Reference: github.com/docker/go-units `RAMInBytes`, golang.org/pkg/time `ParseDuration`.

use std::time::Duration;

/// Longer fractions say nothing: a nanosecond is the ninth digit of a second.
const FRACTION_DIGITS_LIMIT: usize = 18;

/// Bytes: a decimal number, then a unit of powers of 1024 (`k`, `m`, `g`, `t`, `p`, alone or with
/// `b` or `ib`, in either case) or `b` or nothing, perhaps after a space. Parts of a byte are cut.
#[must_use]
pub fn size_bytes(text: &str) -> Option<i64> {
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')? + 1;
    let (number, unit) = text.split_at(end);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let unit = unit.to_ascii_lowercase();
    let mut letters = unit.chars();
    let shift = match letters.next() {
        None | Some('b') => 0,
        Some('k') => 10,
        Some('m') => 20,
        Some('g') => 30,
        Some('t') => 40,
        Some('p') => 50,
        Some(_) => return None,
    };
    let suffixes: &[&str] = if shift == 0 { &[""] } else { &["", "b", "ib"] };
    if !suffixes.contains(&letters.as_str()) {
        return None;
    }
    i64::try_from(scaled(number, 1 << shift)?).ok()
}

/// A duration: numbers with units (`ns`, `us`, `µs`, `ms`, `s`, `m`, `h`) in a row, or `0`. None for
/// what is negative.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanoseconds = 0_u128;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let unit_ns = match unit {
            "ns" => 1,
            // U+00B5 and U+03BC look alike, and keyboards have either.
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        nanoseconds = nanoseconds.checked_add(scaled(number, unit_ns)?)?;
        rest = after;
    }
    // Go's durations are signed 64-bit numbers of nanoseconds: 292 years.
    let nanoseconds = i64::try_from(nanoseconds).ok()?;
    Some(Duration::from_nanos(nanoseconds.unsigned_abs()))
}

/// A decimal number times a unit, cut to a whole number.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let value = |text: &str| {
        if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() }
    };
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS_LIMIT)];
    let places = u32::try_from(fraction.len()).ok()?;
    let part = value(fraction)?.checked_mul(unit)? / 10_u128.pow(places);
    value(whole)?.checked_mul(unit)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{duration, size_bytes};

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("10b", 10),
            ("1k", 1024),
            ("64M", 64 << 20),
            ("64.5m", 67_633_152),
            ("1.5GiB", 1_610_612_736),
            ("2gb", 2 << 30),
            ("3 t", 3 << 40),
            (".5k", 512),
            ("1p", 1 << 50),
            ("8191P", 8191 << 50),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(size_bytes(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "M",
            "-1",
            "-1k",
            "1x",
            "64X",
            "1kk",
            "1bb",
            "1bi",
            "1kibi",
            "1.2.3",
            ".",
            "1e3",
            "+1",
            "0x10",
            "8192P",
            "9223372036854775808",
            "1  k",
            " 1k",
            "1\u{b5}",
        ] {
            assert_eq!(size_bytes(text), None, "{text:?}");
        }
    }

    #[test]
    fn durations_are_spelled_as_in_go() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5000),
            ("500ms", 500),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("1h0.5s", 3_600_500),
            ("+1.5s", 1500),
            (".5s", 500),
            ("2000us", 2),
            ("2000\u{b5}s", 2),
            ("3000\u{3bc}s", 3),
            ("4000000ns", 4),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "+",
            "5",
            "s",
            "x",
            "5 s",
            "-5s",
            "5x",
            "5sx",
            "1.2.3s",
            "1s5",
            "9999999999s",
            "1d",
        ] {
            assert_eq!(duration(text), None, "{text:?}");
        }
    }
}
