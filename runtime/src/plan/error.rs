//! What the planner refuses.

use std::fmt;

/// A field that cannot be honoured on this machine, by this build, or in this combination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    field: String,
    reason: String,
    hint: &'static str,
}

impl Refusal {
    /// A refusal of `field`.
    #[cold]
    pub fn new(field: impl Into<String>, reason: impl Into<String>, hint: &'static str) -> Self {
        Self { field: field.into(), reason: reason.into(), hint }
    }

    /// The field of config.json, or the option, that is refused.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        (!self.hint.is_empty()).then_some(self.hint)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

impl std::error::Error for Refusal {}
