//! What can be wrong with a configuration, said once and with the name of the field.
//!
//! The text of an [`Error`] is `FIELD: PROBLEM`, where FIELD is the path a person would type into a
//! JSON tool (`process.rlimits[2].type`). What to do about it is not in the text but in
//! [`Error::hint`], so that a caller prints each exactly once.

use std::fmt;

/// A place in the text, both counted from 1; columns are bytes, as in most editors' "go to".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The byte within the line.
    pub column: usize,
}

impl Position {
    /// The place of the byte at `offset`.
    pub(super) fn of(bytes: &[u8], offset: usize) -> Self {
        let before = &bytes[..offset.min(bytes.len())];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        Self { line, column: 1 + before.len() - line_start }
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldProblem {
    /// The text is not JSON (RFC 8259): truncated, trailing text, bad UTF-8, a bad escape.
    Syntax(String),
    /// One object has the same key twice. Readers disagree which one counts, so neither does.
    DuplicateKey,
    /// A key in another spelling than the specification's, which some runtimes take for it.
    OtherCase {
        /// As the specification spells it.
        name: &'static str,
    },
    /// Objects and arrays are nested deeper than `limit`.
    TooDeep {
        /// The deepest nesting accepted.
        limit: usize,
    },
    /// A field that the specification requires is not there (or is empty).
    Missing,
    /// The JSON type is not the field's.
    WrongType {
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// A number outside the range of the field.
    OutOfRange {
        /// The number.
        value: String,
        /// The range, in words.
        range: String,
    },
    /// A name that is not one of a fixed set.
    Unknown {
        /// What it should name: `capability`, `seccomp action`.
        what: &'static str,
        /// The name found.
        value: String,
    },
    /// A value which can never be right.
    Invalid {
        /// The value found.
        value: String,
        /// Why not, to be read after the value: `is not an absolute path`.
        why: String,
    },
    /// A value that contradicts another field.
    Conflict(String),
}

impl FieldProblem {
    fn default_hint(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "check the text with a JSON tool, for instance `jq . config.json`",
            Self::DuplicateKey => "remove one of the two",
            Self::OtherCase { .. } => "spell it as the specification does, or remove it",
            Self::TooDeep { .. } => "no field of the OCI runtime specification is nested so deeply",
            Self::Missing => "add the field; see the OCI runtime specification, config.md",
            Self::WrongType { .. } | Self::OutOfRange { .. } | Self::Invalid { .. } => {
                "correct the value; see the OCI runtime specification, config.md and config-linux.md"
            }
            Self::Unknown { .. } => "correct the name, or use a newer brig if the name is new",
            Self::Conflict(_) => "change one of the two fields so that they agree",
        }
    }
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(what) => f.write_str(what),
            Self::DuplicateKey => f.write_str("the key appears twice in one object"),
            Self::OtherCase { name } => {
                write!(f, "some runtimes would read this as `{name}`, others would ignore it")
            }
            Self::TooDeep { limit } => write!(f, "nested deeper than {limit} levels"),
            Self::Missing => f.write_str("required but missing"),
            Self::WrongType { found, expected } => write!(f, "expected {expected}, found {found}"),
            Self::OutOfRange { value, range } => write!(f, "{value} is out of range: {range}"),
            Self::Unknown { what, value } => write!(f, "unknown {what} {}", Quoted(value)),
            Self::Invalid { value, why } => write!(f, "{} {why}", Quoted(value)),
            Self::Conflict(what) => f.write_str(what),
        }
    }
}

/// A string from the configuration: quoted, escaped, and cut so that a megabyte of it does not end in a log.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_CHARS: usize = 100;
        match self.0.char_indices().nth(SHOWN_CHARS) {
            None => write!(f, "{:?}", self.0),
            Some((cut, _)) => write!(f, "{:?}… ({} bytes)", &self.0[..cut], self.0.len()),
        }
    }
}

/// A configuration that is not acceptable, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Parts>);

/// Boxed, so that a `Result` costs a pointer where nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    field: String,
    position: Option<Position>,
    problem: FieldProblem,
    hint: Option<String>,
}

impl Error {
    /// `problem` in `field`; an empty field means the text as a whole.
    #[must_use]
    #[cold]
    pub fn new(field: impl Into<String>, problem: FieldProblem) -> Self {
        Self(Box::new(Parts { field: field.into(), position: None, problem, hint: None }))
    }

    /// `field` is required, and not there.
    #[must_use]
    #[cold]
    pub fn missing(field: impl Into<String>) -> Self {
        Self::new(field, FieldProblem::Missing)
    }

    /// `field` has a name that is not one of those that there are; `what` says of what: `capability`.
    #[must_use]
    #[cold]
    pub fn unknown(field: impl Into<String>, what: &'static str, value: &str) -> Self {
        Self::new(field, FieldProblem::Unknown { what, value: value.to_owned() })
    }

    /// `field` has a value which can never be right; `why` is read after the value.
    #[must_use]
    #[cold]
    pub fn invalid(field: impl Into<String>, value: &str, why: impl Into<String>) -> Self {
        Self::new(field, FieldProblem::Invalid { value: value.to_owned(), why: why.into() })
    }

    /// `field` has a number out of its `range`, which is in words.
    #[must_use]
    #[cold]
    pub fn range(field: impl Into<String>, value: impl fmt::Display, range: &str) -> Self {
        Self::new(
            field,
            FieldProblem::OutOfRange { value: value.to_string(), range: range.to_owned() },
        )
    }

    /// `field` contradicts another one.
    #[must_use]
    #[cold]
    pub fn conflict(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(field, FieldProblem::Conflict(what.into()))
    }

    /// Adds what to do about it.
    #[must_use]
    #[cold]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds `did you mean …?` where one of `known` is close to `value`.
    #[cold]
    pub(crate) fn suggest<'a>(self, value: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match crate::nearest(value, known) {
            Some(name) => self.with_hint(format!("did you mean {name}?")),
            None => self,
        }
    }

    #[cold]
    pub(super) fn at(mut self, position: Position) -> Self {
        self.0.position = Some(position);
        self
    }

    /// What to do about this one, where more is known than of any like it.
    pub(super) fn own_hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The path of the field; empty where the text as a whole is meant.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.0.field
    }

    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> &FieldProblem {
        &self.0.problem
    }

    /// Where in the text, if the error was found while reading it.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.0.position
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        Some(self.0.hint.as_deref().unwrap_or_else(|| self.0.problem.default_hint()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.field)?;
        let wants_place = matches!(
            self.0.problem,
            FieldProblem::Syntax(_)
                | FieldProblem::DuplicateKey
                | FieldProblem::OtherCase { .. }
                | FieldProblem::TooDeep { .. }
        );
        if let (Some(Position { line, column }), true) = (self.0.position, wants_place) {
            let (open, close) = if self.0.field.is_empty() { ("", "") } else { (" (", ")") };
            write!(f, "{open}line {line} column {column}{close}: ")?;
        } else if !self.0.field.is_empty() {
            f.write_str(": ")?;
        }
        self.0.problem.fmt(f)
    }
}

impl std::error::Error for Error {}
