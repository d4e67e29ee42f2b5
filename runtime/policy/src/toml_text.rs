//! A text in TOML, as a value of a type, or the place of what is wrong with it.
//!
//! Promises: whatever the type refuses is told with its place in the text. The text is read by the crate toml and goes on
//! as JSON, which brig reads anyway: readers of each type for both would make a sixth of the program.

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong, and where: a byte of the text.
#[derive(Debug)]
pub(crate) struct TomlError {
    pub(crate) what: String,
    pub(crate) offset: usize,
}

/// The text as JSON, and where what begins at a byte of it comes from.
pub(crate) struct Json {
    text: String,
    origins: Vec<(usize, usize)>,
    /// The keys that lead to what is read.
    path: Vec<String>,
    is_table: fn(&[String]) -> bool,
}

impl Json {
    /// That of a text. Where `is_table` says so of the keys there must be a table: serde takes a list for one too.
    pub(crate) fn of(text: &str, is_table: fn(&[String]) -> bool) -> Result<Self, TomlError> {
        let table = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            TomlError { what: error.message().replace('\n', " "), offset }
        })?;
        let (text, origins, path) = (String::new(), Vec::new(), Vec::new());
        let mut json = Self { text, origins, path, is_table };
        json.table(table.get_ref())?;
        Ok(json)
    }

    /// What it says.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, TomlError> {
        serde_json::from_str(&self.text).map_err(|error| {
            // On its one line a column is a byte, the last one that was read.
            let offset = self.origin(error.column().saturating_sub(1));
            let what = error.to_string();
            let what = what.rsplit_once(" at line ").map_or(&*what, |(what, _)| what);
            TomlError { what: what.to_owned(), offset }
        })
    }

    /// Where in the text what is at a byte of the JSON comes from.
    fn origin(&self, at: usize) -> usize {
        let begun = self.origins.partition_point(|(begins, _)| *begins <= at);
        let last = begun.checked_sub(1).and_then(|last| self.origins.get(last));
        last.map_or(0, |(_, origin)| *origin)
    }

    fn begin(&mut self, origin: usize) {
        self.origins.push((self.text.len(), origin));
    }

    fn table(&mut self, table: &DeTable<'_>) -> Result<(), TomlError> {
        self.text.push('{');
        for (index, (key, value)) in table.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            self.begin(key.span().start);
            self.string(key.get_ref());
            self.text.push(':');
            self.path.push(key.get_ref().to_string());
            self.value(value)?;
            self.path.pop();
        }
        self.text.push('}');
        Ok(())
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> Result<(), TomlError> {
        let offset = value.span().start;
        self.begin(offset);
        let wrong = |what: &str| TomlError { what: what.to_owned(), offset };
        match value.get_ref() {
            DeValue::Table(table) => self.table(table)?,
            _ if (self.is_table)(&self.path) => return Err(wrong("a table is needed here")),
            DeValue::String(text) => self.string(text),
            DeValue::Integer(integer) => {
                let number = i64::from_str_radix(integer.as_str(), integer.radix());
                let number = number.map_err(|_| wrong("the number is too large"))?;
                self.text.push_str(&number.to_string());
            }
            DeValue::Float(float) => {
                let number = float.as_str().trim_start_matches('+');
                if number.ends_with(|last: char| last.is_ascii_alphabetic()) {
                    return Err(wrong("NaN and infinity are not allowed"));
                }
                self.text.push_str(number);
            }
            DeValue::Boolean(value) => self.text.push_str(if *value { "true" } else { "false" }),
            // JSON has none: who wants a day reads it from its words.
            DeValue::Datetime(time) => self.string(&time.to_string()),
            DeValue::Array(values) => {
                self.text.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        self.text.push(',');
                    }
                    self.value(value)?;
                }
                self.text.push(']');
            }
        }
        Ok(())
    }

    fn string(&mut self, text: &str) {
        self.text.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_is_read_is_what_is_written() {
        let text = "a = 0x10\nb = [1.5, +2.0, -3]\nc.d = 'x\"\\y'\n[e]\nf = true\n\"g h\" = \"\u{e9}\\n\"\n";
        let value: Value =
            Json::of(text, |_| false).and_then(|json| json.read()).expect("it is good");
        let expected = json!({"a": 16, "b": [1.5, 2.0, -3], "c": {"d": "x\"\\y"}, "e": {"f": true, "g h": "\u{e9}\n"}});
        assert_eq!(value, expected);
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        let wrong = |text: &str| {
            let read =
                Json::of(text, |_| false).and_then(|json| json.read::<BTreeMap<String, u8>>());
            let TomlError { what, offset } = read.expect_err(text);
            (what, offset)
        };
        let of_type = "invalid type: string \"x\", expected u8".to_owned();
        assert_eq!(wrong("a = 1\nb = 'x'"), (of_type, 10));
        let of_date = "invalid type: string \"1979-05-27\", expected u8".to_owned();
        assert_eq!(wrong("a = 1\nb = 1979-05-27"), (of_date, 10));
        assert_eq!(wrong("a = inf"), ("NaN and infinity are not allowed".to_owned(), 4));
        assert_eq!(wrong("a = 9223372036854775808").1, 4);
        assert_eq!(wrong("a = 1\na = 2"), ("duplicate key".to_owned(), 6));
        assert_eq!(wrong("a = ").1, 4);
        let wrong =
            Json::of("[a]\nb = []", |path| path == ["a", "b"]).map(drop).expect_err("a list");
        assert_eq!((&*wrong.what, wrong.offset), ("a table is needed here", 8));
    }
}
