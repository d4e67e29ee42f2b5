//! What a child tells in one message.

use brig_child::Report;

/// A report, and what the hook said that it is about.
#[derive(Debug)]
pub struct Told {
    pub(super) report: Report,
    pub(super) said: String,
}

impl Told {
    pub(super) fn of(message: &[u8]) -> Option<Self> {
        let (report, said) = message.split_at_checked(Report::SIZE)?;
        let said = String::from_utf8_lossy(said).trim().to_owned();
        Some(Self { report: Report::from_bytes(report)?, said })
    }

    /// What happened, and what the hook said of it.
    pub(super) fn with_said(&self, what: String) -> String {
        if self.said.is_empty() { what } else { format!("{what}: {}", self.said) }
    }
}
