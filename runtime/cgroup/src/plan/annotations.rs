//! Annotations `org.systemd.property.NAME`: properties of the scope, their values in GVariant's text format.
//!
//! As runc has them, but only those that change nothing of what holds the container: a limit, a
//! delegation or a device rule given here would stand against the one that config.json has in its place.
//! Reference: systemd.scope(5), systemd.unit(5), the text format of GVariant.

use std::collections::BTreeMap;

use super::value::{Property, Value};
use crate::Error;

const PREFIX: &str = "org.systemd.property.";
const USEC_PER_SEC: u64 = 1_000_000;

/// The properties that `annotations` ask for.
pub(super) fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>, Error> {
    let asked = annotations.range(PREFIX.to_owned()..);
    asked.map_while(|(key, value)| Some(property(key, key.strip_prefix(PREFIX)?, value))).collect()
}

fn property(key: &str, name: &str, text: &str) -> Result<Property, Error> {
    let wrong =
        |what: &str| Error::field(format!("annotations[{key:?}]"), format!("{text:?} {what}"));
    let usec = |unit: u64| {
        let digits = text.strip_prefix("uint64 ").unwrap_or(text).trim();
        let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        number.ok_or_else(|| wrong("is not a number such as \"uint64 5\"")).map(Value::Number)
    };
    Ok(match name {
        "TimeoutStopUSec" => ("TimeoutStopUSec", usec(1)?),
        "TimeoutStopSec" => ("TimeoutStopUSec", usec(USEC_PER_SEC)?),
        "DefaultDependencies" => (
            "DefaultDependencies",
            Value::Flag(text.parse().map_err(|_| wrong("is neither true nor false"))?),
        ),
        "CollectMode" => match text.trim_matches(['\'', '"']) {
            mode @ ("inactive" | "inactive-or-failed") => ("CollectMode", Value::Text(mode.into())),
            _ => return Err(wrong("is neither 'inactive' nor 'inactive-or-failed'")),
        },
        _ => {
            return Err(wrong(
                "is for a property that brig does not set: those are TimeoutStopUSec, TimeoutStopSec, CollectMode and \
                 DefaultDependencies, and linux.resources has the limits",
            ));
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn asked(name: &str, value: &str) -> Result<Vec<Property>, String> {
        let others = ["a", "org.systemd.propertx", "z"].map(|key| (key.to_owned(), "x".to_owned()));
        let one = (format!("{PREFIX}{name}"), value.to_owned());
        properties(&others.into_iter().chain([one]).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_harmless_is_typed() {
        let number = |n| Ok(vec![("TimeoutStopUSec", Value::Number(n))]);
        assert_eq!(asked("TimeoutStopUSec", "uint64 5000000"), number(5_000_000));
        assert_eq!(asked("TimeoutStopSec", "5"), number(5_000_000));
        assert_eq!(
            asked("DefaultDependencies", "true"),
            Ok(vec![("DefaultDependencies", Value::Flag(true))])
        );
        let mode = Value::Text("inactive".into());
        assert_eq!(asked("CollectMode", "'inactive'"), Ok(vec![("CollectMode", mode)]));
    }

    #[test]
    fn all_else_is_refused_by_its_key() {
        for (name, value) in [
            ("TimeoutStopUSec", "'5'"),
            ("TimeoutStopSec", "18446744073709551615"),
            ("DefaultDependencies", "1"),
            ("CollectMode", "'never'"),
            ("MemoryMax", "uint64 18446744073709551615"),
            ("Delegate", "false"),
            ("", "true"),
        ] {
            let error = asked(name, value).unwrap_err();
            assert!(error.starts_with(&format!("annotations[\"{PREFIX}{name}\"]: ")), "{error}");
        }
    }
}
