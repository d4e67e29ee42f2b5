//! The way out for words: what brig prints, and writes to its log, of text that others have written.
//!
//! A configuration, an image, a hook or a process chooses names, and whoever reads brig's output at a terminal
//! must see brig's lines, not what such a name makes of them: no control sequence, no line of its own, no
//! letters in another order. Must never touch what a container's own process writes.
//!
//! Escapes are those of JSON, so that JSON stays what it is.
//!
//! Reference: ECMA-48 (C0 and C1), Unicode Standard Annex #9 (bidirectional controls), CVE-2021-42574.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Changes what a terminal shows beyond its own place.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            plain if !is_escaped(plain) => escaped.push(plain),
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            '\r' => escaped.push_str("\\r"),
            // All of them are below U+FFFF.
            other => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(other));
            }
        }
    }
    Cow::Owned(escaped)
}

/// A name, or words with names in them, as a part of one line.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, is_control)
}

/// JSON, or lines that brig has put together, in which every name has gone through [`line()`].
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |character| is_control(character) && !matches!(character, '\n' | '\t'))
}

/// Prints lines, or JSON.
///
/// # Errors
/// Nobody can read them.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(lines(text).as_bytes()).and_then(|()| stdout.flush())
}

/// Tells lines to the caller beside the output. That nobody reads them is no failure: it could be told nowhere.
pub fn tell(text: &str) {
    let _ = io::stderr().write_all(lines(text).as_bytes());
}

/// Tells one line.
pub fn note(text: &str) {
    tell(&format!("{}\n", line(text)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_escaped_and_nothing_else() {
        let hostile =
            "a\u{1b}]0;x\u{7}\u{9b}31m\u{7f}\u{202e}b\u{2066}\u{200f}\u{61c}\u{2028}\r\n\tc";
        assert_eq!(
            line(hostile),
            "a\\u001b]0;x\\u0007\\u009b31m\\u007f\\u202eb\\u2066\\u200f\\u061c\\u2028\\r\\n\\tc"
        );
        assert_eq!(lines("one\n\ttwo\u{1b}"), "one\n\ttwo\\u001b");
        for plain in ["", "a b\\n", "Ünïcödé 日本語 🙂", "e\u{301}", "\u{a0}"] {
            assert!(matches!(line(plain), Cow::Borrowed(same) if same == plain));
        }
    }

    #[test]
    fn json_stays_what_it_is() {
        let value = serde_json::json!({ "a\u{202e}": "\u{9b}\n\u{7f}" });
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        let again: serde_json::Value = serde_json::from_str(&lines(&text)).unwrap_or_default();
        assert_eq!(again, value);
        assert!(!lines(&text).contains(['\u{202e}', '\u{9b}', '\u{7f}']));
    }
}
