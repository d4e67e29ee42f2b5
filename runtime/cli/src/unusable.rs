//! Why something that the command line names cannot be used, with the place in its file.

use std::fmt;

/// A profile, or something else on the command line, cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnusableInput {
    /// What was given as PROFILE, in words.
    pub(crate) file: String,
    pub(crate) line: Option<usize>,
    /// The path from `linux.seccomp`; empty where the whole text is meant.
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl UnusableInput {
    /// `file` is what the message is about.
    pub(crate) fn new(file: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self { file: file.to_owned(), line: None, field: String::new(), message, hint }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&str> {
        Some(&self.hint)
    }
}

impl fmt::Display for UnusableInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for UnusableInput {}
