//! What was being done, to which object, why it failed, and what to do about it.
//!
//! One type for launching and for operating on containers: errors of other parts keep their words,
//! their cause and their hint in it. The chain never says the same twice.

use std::{fmt, io};

/// What was being done, to which object, and why it failed.
#[derive(Debug)]
pub struct Failure {
    doing: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    hint: Option<String>,
    signal: Option<i32>,
}

impl Failure {
    /// Something that needs no further cause.
    #[cold]
    pub fn plain(what: impl Into<String>) -> Self {
        Self { doing: what.into(), source: None, hint: None, signal: None }
    }

    /// The system refused what was being done.
    #[cold]
    pub fn system(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self {
            doing: doing.into(),
            source: Some(Box::new(source.into())),
            hint: None,
            signal: None,
        }
    }

    /// Another part explains why.
    #[cold]
    pub fn because<E>(doing: impl Into<String>, source: E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        Self { doing: doing.into(), source: Some(Box::new(source)), hint: None, signal: None }
    }

    /// The same with a hint.
    #[must_use]
    #[cold]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the hint that its cause has, if any.
    #[must_use]
    #[cold]
    pub fn with_hint_of(mut self, hint: Option<&str>) -> Self {
        self.hint = hint.map(str::to_owned);
        self
    }

    /// The same, said of the field of config.json that asked for it.
    #[must_use]
    #[cold]
    pub fn of_field(mut self, field: &str) -> Self {
        self.doing = format!("{field}: {}", self.doing);
        self
    }

    /// The same, which is what comes of this signal: brig was asked to stop.
    #[must_use]
    #[cold]
    pub fn with_signal(mut self, signal: Option<i32>) -> Self {
        self.signal = signal;
        self
    }

    /// The signal that asked brig to stop, where that is why.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.signal
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

macro_rules! explained_by {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Failure {
            fn from(error: $kind) -> Self {
                let hint = error.hint().map(|hint| hint.to_string());
                let doing = error.to_string();
                match std::error::Error::source(&error).is_some() {
                    // Its own words and its cause stay one chain.
                    true => Self { doing, source: Some(Box::new(Cause(Box::new(error)))), hint, signal: None },
                    false => Self { doing, source: None, hint, signal: None },
                }
            }
        }
    )*};
}

explained_by!(crate::plan::Refusal, crate::bundle::Error, crate::spec::Error, brig_cgroup::Error);
explained_by!(crate::filter::Error);
explained_by!(brig_seccomp::CompileError);
explained_by!(brig_seccomp::record::MergeError);

/// What is below an error whose words are already those of the one above it.
#[derive(Debug)]
struct Cause(Box<dyn std::error::Error + Send + Sync>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(source) => fmt::Display::fmt(source, f),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source().and_then(std::error::Error::source)
    }
}
