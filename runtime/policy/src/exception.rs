//! Exceptions that a policy file grants: a drop-in may give more than a profile, for a reason and until a day.
//!
//! Promises: an exception that has expired is as if it were not there, and is told of; the day is that of the machine's
//! clock, in UTC. A clock that is plainly wrong lets none hold.

use std::fmt;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

/// A day of the calendar: `2026-12-31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

/// A day before which no clock of a machine with this brig can be.
const EARLIEST: Date = Date { year: 2026, month: 11, day: 1 };

impl Date {
    /// The day of a time in seconds since 1970, in UTC.
    #[must_use]
    pub fn of_unix_time(seconds: i64) -> Self {
        const SECONDS_A_DAY: i64 = 86_400;
        let mut left = seconds.div_euclid(SECONDS_A_DAY).max(0);
        let mut date = Self { year: 1970, month: 1, day: 1 };
        // A clock that is far off costs no more than this many rounds, and is after every day that can be written.
        while date.year < u16::MAX && left >= days_of_year(date.year) {
            left -= days_of_year(date.year);
            date.year += 1;
        }
        while date.month < 12 && left >= days_of_month(date.year, date.month) {
            left -= days_of_month(date.year, date.month);
            date.month += 1;
        }
        date.day = u8::try_from(left + 1).unwrap_or(31);
        date
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut next = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u16>().ok())?
        };
        let (year, month, day) = (next(4)?, next(2)?, next(2)?);
        let (month, day) = (u8::try_from(month).ok()?, u8::try_from(day).ok()?);
        let is_day = (1..=12).contains(&month)
            && day > 0
            && i64::from(day) <= days_of_month(year, month)
            && parts.next().is_none();
        is_day.then_some(Self { year, month, day })
    }
}

fn is_leap_year(year: u16) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_of_year(year: u16) -> i64 {
    365 + i64::from(is_leap_year(year))
}

fn days_of_month(year: u16, month: u8) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap_year(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let unexpected = serde::de::Unexpected::Str(&text);
        let expected = &"a day, such as 2026-12-31";
        Self::read(&text).ok_or_else(|| D::Error::invalid_value(unexpected, expected))
    }
}

impl Serialize for Date {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An exception as a policy file grants it: `[exception.NAME]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    /// Why.
    pub(crate) reason: String,
    /// The last day on which it holds.
    pub(crate) expires: Date,
    /// The drop-in that may give more, by the name of its file.
    pub(crate) drop_in: String,
    /// Of these rules.
    pub(crate) rules: Vec<String>,
    /// For these profiles, but not for those that extend them.
    pub(crate) profiles: Vec<String>,
}

impl Exception {
    /// Whether it holds on a day; on one that is not known it does not.
    pub(crate) fn holds(&self, today: Option<Date>) -> bool {
        today.is_some_and(|today| (EARLIEST..=self.expires).contains(&today))
    }
}

/// An exception as it bears on a container: what is told of it wherever the container's policy is told of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exempted {
    /// Its name.
    pub name: String,
    /// Why it is granted.
    pub reason: String,
    /// The last day on which it holds.
    pub expires: Date,
    /// Where the rules come from that hold in the place of the profile's.
    pub by: String,
    /// Their names.
    pub rules: Vec<String>,
    /// Whether they do: it had not expired when the container was made.
    pub holds: bool,
}

impl fmt::Display for Exempted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, reason, expires, by, rules, holds } = self;
        let state = if *holds { "until" } else { "EXPIRED on" };
        write!(f, "exception {name}, {state} {expires}: {by} decides on {}", rules.join(", "))?;
        write!(f, " ({reason})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_that_of_the_calendar() {
        for (seconds, day) in [
            (-1, "1970-01-01"),
            (0, "1970-01-01"),
            (86_399, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_798_761_599, "2026-12-31"),
            (1_798_761_600, "2027-01-01"),
            (4_107_542_400, "2100-03-01"),
            (i64::MAX, "65535-12-31"),
        ] {
            assert_eq!(Date::of_unix_time(seconds).to_string(), day, "{seconds}");
        }
    }

    #[test]
    fn only_days_are_days() {
        assert_eq!(Date::read("2028-02-29").map(|day| day.to_string()), Some("2028-02-29".into()));
        for text in [
            "2027-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2026-04-31",
            "2026-1-1",
            "26-01-01",
            "+026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01-01",
            "2026-01",
            "",
            "2026/01/01",
        ] {
            assert_eq!(Date::read(text), None, "{text}");
        }
    }

    #[test]
    fn an_exception_holds_to_the_end_of_its_day_and_under_no_clock_that_is_wrong() {
        let day = |text| Date::read(text).expect("a day");
        let exception = Exception {
            reason: String::new(),
            expires: day("2026-12-31"),
            drop_in: String::new(),
            rules: Vec::new(),
            profiles: Vec::new(),
        };
        for (today, holds) in [
            ("2026-11-01", true),
            ("2026-12-31", true),
            ("2027-01-01", false),
            ("2026-10-31", false),
            ("1970-01-01", false),
        ] {
            assert_eq!(exception.holds(Some(day(today))), holds, "{today}");
        }
        assert!(!exception.holds(None));
    }
}
