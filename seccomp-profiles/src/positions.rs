//! Where the fields of a profile are in its text.
//!
//! Promises the line of every field that the format has, by the path that errors name, and every
//! key that it does not have. For texts that are JSON; of others it finds what comes before the
//! fault. Time and memory stay linear in the text: keys that the format does not have are neither
//! kept whole nor entered.

use std::collections::HashMap;

/// The fields of a text, with their lines.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    lines: HashMap<String, usize>,
    unknown: Vec<UnknownField>,
    is_config: bool,
}

/// A key that the format does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// Where, such as `linux.seccomp.syscalls[3].errnoret`; a long key is cut.
    pub field: String,
    /// The key, as far as it is kept.
    pub key: String,
    /// Its line, from 1.
    pub line: usize,
    /// The keys that could stand there.
    pub known: &'static [&'static str],
}

/// What a value is in the format.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Config,
    Linux,
    Seccomp,
    Rules,
    Rule,
    Args,
    Arg,
    /// A value, or a list of them.
    Plain,
    /// What is none of ours.
    Skipped,
}

/// Keys of comments: any object may have one.
const COMMENT: &str = "comment";
/// As much of an unknown key as is kept.
const KEY_KEPT_BYTES: usize = 40;

impl Shape {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Config => &["linux"],
            Self::Linux => &["seccomp"],
            Self::Seccomp => &[
                "defaultAction",
                "defaultErrnoRet",
                "architectures",
                "flags",
                "listenerPath",
                "listenerMetadata",
                "syscalls",
                COMMENT,
            ],
            Self::Rule => &["names", "action", "errnoRet", "args", COMMENT],
            Self::Arg => &["index", "value", "valueTwo", "op", COMMENT],
            Self::Rules | Self::Args | Self::Plain | Self::Skipped => &[],
        }
    }

    fn of_key(self, key: &str) -> Self {
        match (self, key) {
            (Self::Config, "linux") => Self::Linux,
            (Self::Linux, "seccomp") => Self::Seccomp,
            (Self::Seccomp, "syscalls") => Self::Rules,
            (Self::Rule, "args") => Self::Args,
            (Self::Seccomp | Self::Rule | Self::Arg, _) if self.keys().contains(&key) => {
                Self::Plain
            }
            _ => Self::Skipped,
        }
    }

    fn of_element(self) -> Self {
        match self {
            Self::Rules => Self::Rule,
            Self::Args => Self::Arg,
            Self::Plain => Self::Plain,
            _ => Self::Skipped,
        }
    }

    /// Whether other keys are somebody else's business.
    fn is_open(self) -> bool {
        matches!(self, Self::Config | Self::Linux | Self::Skipped | Self::Plain)
    }
}

impl Positions {
    /// Reads a text: a `linux.seccomp` object, or a `config.json` that has one.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut scanner = Scanner::new(text);
        let is_config = scanner.top_level_has("linux") || scanner.top_level_has("ociVersion");
        let shape = if is_config { Shape::Config } else { Shape::Seccomp };
        scanner.path = if is_config { String::new() } else { "linux.seccomp".to_owned() };
        scanner.found.is_config = is_config;
        // A text that is not JSON ends where it stops to be.
        let _stopped = scanner.value(shape, 0);
        scanner.found
    }

    /// Whether the text is a whole `config.json`.
    #[must_use]
    pub fn is_config(&self) -> bool {
        self.is_config
    }

    /// The line of a field, counted from 1, by its path from `linux.seccomp`; that of the nearest
    /// field around it, where the text does not have it.
    #[must_use]
    pub fn line(&self, field: &str) -> Option<usize> {
        let mut field = field;
        loop {
            if let Some(line) = self.lines.get(field) {
                return Some(*line);
            }
            field = &field[..field.rfind(['.', '['])?];
        }
    }

    /// The keys that the format does not have, in order.
    #[must_use]
    pub fn unknown(&self) -> &[UnknownField] {
        &self.unknown
    }
}

/// Deeper values are not entered; the format's own reach 6.
const MAX_DEPTH: usize = 64;

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// Where lines were counted to, and how many there are before.
    counted: usize,
    line: usize,
    path: String,
    found: Positions,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        let text = text.as_bytes();
        Self { text, at: 0, counted: 0, line: 1, path: String::new(), found: Positions::default() }
    }

    /// Whether the text is an object with such a key; back at the beginning afterwards.
    fn top_level_has(&mut self, wanted: &str) -> bool {
        let mut has = false;
        let _stopped = self.object(|scanner, key| {
            has |= key == wanted;
            scanner.value(Shape::Skipped, 1)
        });
        (self.at, self.counted, self.line) = (0, 0, 1);
        has
    }

    fn skip(&mut self, skipped: impl Fn(u8) -> bool) {
        while self.text.get(self.at).is_some_and(|byte| skipped(*byte)) {
            self.at += 1;
        }
    }

    /// The next byte that is no white space.
    fn next(&mut self) -> Option<u8> {
        self.skip(|byte| byte.is_ascii_whitespace());
        self.text.get(self.at).copied()
    }

    /// The line of the next byte that is no white space.
    fn line(&mut self) -> usize {
        let _at_it = self.next();
        let between = &self.text[self.counted..self.at];
        self.line += between.iter().filter(|byte| **byte == b'\n').count();
        self.counted = self.at;
        self.line
    }

    /// A string, as it is written; none where there is none.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.text.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(start..self.at - 1)
    }

    fn value(&mut self, shape: Shape, depth: usize) -> Option<()> {
        if shape != Shape::Skipped && !self.path.is_empty() {
            let line = self.line();
            self.found.lines.insert(self.path.clone(), line);
        }
        match self.next()? {
            _ if depth > MAX_DEPTH => None,
            b'{' => self.object(|scanner, key| scanner.member(shape, key, depth)),
            b'[' => self.array(shape, depth),
            b'"' => self.string().map(drop),
            _ => {
                self.skip(|byte| {
                    !matches!(byte, b',' | b'}' | b']') && !byte.is_ascii_whitespace()
                });
                Some(())
            }
        }
    }

    /// Calls `member` with each key, at its value.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        if self.next()? != b'{' {
            return None;
        }
        self.at += 1;
        while self.next()? != b'}' {
            if self.next()? != b'"' {
                return None;
            }
            // Keys of the format have no escapes; those that have are unknown.
            let _counted = self.line();
            let key = String::from_utf8_lossy(self.string()?);
            if self.next()? != b':' {
                return None;
            }
            self.at += 1;
            member(self, &key)?;
            if self.next()? == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        Some(())
    }

    fn member(&mut self, shape: Shape, key: &str, depth: usize) -> Option<()> {
        let inner = shape.of_key(key);
        let length = self.path.len();
        if inner != Shape::Skipped {
            let dot = if self.path.is_empty() { "" } else { "." };
            self.path = format!("{}{dot}{key}", self.path);
        } else if !shape.is_open() {
            let cut =
                (0..=KEY_KEPT_BYTES.min(key.len())).rev().find(|at| key.is_char_boundary(*at));
            let key = key[..cut.unwrap_or(0)].to_owned();
            let field = format!("{}.{key}", self.path);
            let known = shape.keys();
            self.found.unknown.push(UnknownField { field, key, line: self.line, known });
        }
        self.value(inner, depth + 1)?;
        self.path.truncate(length);
        Some(())
    }

    fn array(&mut self, shape: Shape, depth: usize) -> Option<()> {
        self.at += 1;
        let length = self.path.len();
        let mut index = 0;
        while self.next()? != b']' {
            if shape != Shape::Skipped {
                self.path = format!("{}[{index}]", self.path);
            }
            self.value(shape.of_element(), depth + 1)?;
            self.path.truncate(length);
            index += 1;
            if self.next()? == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::Positions;

    const PROFILE: &str = r#"{
  "defaultAction": "SCMP_ACT_ERRNO",
  "comment": { "syscalls": [1], "x": "\"}" },
  "syscalls": [
    { "names": ["read",
                "write"], "action": "SCMP_ACT_ALLOW" },
    {
      "names": ["clone"],
      "args": [
        { "index": 0, "value": 1,
          "op": "SCMP_CMP_EQ" }
      ],
      "includes": { "caps": ["CAP_SYS_ADMIN"] }
    }
  ]
}"#;

    #[test]
    fn fields_have_their_lines() {
        let positions = Positions::of(PROFILE);
        let line = |field| positions.line(&format!("linux.seccomp{field}"));
        for (field, expected) in [
            ("", 1),
            (".defaultAction", 2),
            (".syscalls", 4),
            (".syscalls[0]", 5),
            (".syscalls[0].names[0]", 5),
            (".syscalls[0].names[1]", 6),
            (".syscalls[1]", 7),
            (".syscalls[1].args[0].index", 10),
            (".syscalls[1].args[0].op", 11),
            // What is missing is where it is missing.
            (".syscalls[1].errnoRet", 7),
            (".syscalls[9].names[3]", 4),
            (".flags", 1),
        ] {
            assert_eq!(line(field), Some(expected), "{field}");
        }
        assert_eq!(positions.line("process"), None);
        assert!(!positions.is_config());
    }

    #[test]
    fn a_whole_configuration_is_looked_into() {
        let text = format!(
            "{{\"ociVersion\": \"1.0.2\",\n\"x\": [[{{}}]],\n\"linux\": {{\"a\": 1, \"seccomp\":\n{PROFILE}}}}}"
        );
        let positions = Positions::of(&text);
        assert!(positions.is_config());
        assert_eq!(positions.line("linux.seccomp.syscalls[1].args[0].op"), Some(14));
        assert_eq!(positions.line("linux"), Some(3));
        assert_eq!(positions.unknown().len(), 1);
    }

    #[test]
    fn keys_that_the_format_does_not_have_are_found() {
        let positions = Positions::of(PROFILE);
        let unknown: Vec<_> =
            positions.unknown().iter().map(|one| (one.field.as_str(), one.line)).collect();
        assert_eq!(unknown, [("linux.seccomp.syscalls[1].includes", 13)]);
        let long = format!("{{\"{}\": [1, [2]]}}", "ä".repeat(1000));
        assert!(Positions::of(&long).unknown()[0].key.len() <= 40);
    }

    #[test]
    fn what_is_not_json_ends_the_search() {
        for end in 0..PROFILE.len() {
            if let Some(text) = PROFILE.get(..end) {
                let positions = Positions::of(text);
                assert!(positions.line("linux.seccomp").is_none_or(|line| line == 1));
            }
        }
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Positions::of(&deep).line("linux.seccomp"), Some(1));
        assert_eq!(Positions::of(r#"{"a" 1}"#).unknown(), []);
    }

    #[test]
    fn hostile_texts_cost_what_they_weigh() {
        let key = "k".repeat(500_000);
        let values = "1,".repeat(200_000);
        let text = format!("{{\"{key}\":[{values}1],\"linux\":{{\"{key}\":[{values}1]}}}}");
        assert!(Positions::of(&text).is_config());
    }
}
