//! What was being done, to which object, why it failed, and what to do about it.
//!
//! One type for launching and for operating on containers: errors of other parts keep their words,
//! their cause and their hint in it. The chain never says the same twice.

use std::{fmt, io};

use crate::policy::Denial;

/// What kind of failure it is, for who decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// What was asked for is not there: the container, its cgroup, the bundle.
    NotFound,
    /// There is one with that id already.
    AlreadyExists,
    /// The container is not in a state for it: stopped, running, paused.
    WrongState,
    /// What was asked for is not acceptable, or this machine cannot give it: a field of the specification, an option.
    Refused,
    /// The caller may not: the kernel says so (EPERM, EACCES), or another user could have written what is read.
    Denied,
    /// It has not happened within its limit.
    TimedOut,
    /// Somebody else works on it, or is in it.
    Busy,
    /// The kernel, or a program, failed otherwise.
    Kernel,
    /// What brig has recorded cannot be read.
    Damaged,
}

impl Kind {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Kernel,
        }
    }
}

/// What was being done, to which object, and why it failed.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    doing: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    hint: Option<String>,
    signal: Option<i32>,
    denial: Option<Box<Denial>>,
}

impl Failure {
    fn new(
        kind: Kind,
        doing: String,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, doing, source, hint: None, signal: None, denial: None }
    }

    /// Something that needs no further cause; [`Kind::Refused`] unless it is said to be of another.
    #[cold]
    pub fn plain(what: impl Into<String>) -> Self {
        Self::new(Kind::Refused, what.into(), None)
    }

    /// The system refused what was being done; the kind is that of the error.
    #[cold]
    pub fn system(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        Self::new(Kind::of(&source), doing.into(), Some(Box::new(source)))
    }

    /// Another part explains why; [`Kind::Kernel`] unless it is said to be of another.
    #[cold]
    pub fn because<E>(doing: impl Into<String>, source: E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        Self::new(Kind::Kernel, doing.into(), Some(Box::new(source)))
    }

    /// The same of another kind.
    #[must_use]
    #[cold]
    pub fn of_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
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

    /// What the node's policy refuses, where that is why.
    #[must_use]
    pub fn denial(&self) -> Option<&Denial> {
        self.denial.as_deref()
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
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

/// An error of another part, whose words stay as they are.
macro_rules! explained_by {
    ($($kind:ty: $of:expr),* $(,)?) => {$(
        impl From<$kind> for Failure {
            fn from(error: $kind) -> Self {
                let of: fn(&$kind) -> Kind = $of;
                let kind = of(&error);
                let hint = error.hint().map(|hint| hint.to_string());
                Self { hint, ..explained(kind, error) }
            }
        }
    )*};
}

/// Its own words and its cause stay one chain.
fn explained<E: std::error::Error + Send + Sync + 'static>(kind: Kind, error: E) -> Failure {
    let doing = error.to_string();
    let source = error.source().is_some().then(|| Box::new(Cause(Box::new(error))) as _);
    Failure::new(kind, doing, source)
}

explained_by! {
    crate::plan::Refusal: |_| Kind::Refused,
    crate::spec::Error: |_| Kind::Refused,
    brig_cgroup::Error: kind_of_cgroup,
    crate::filter::Error: |_| Kind::Refused,
    brig_seccomp::CompileError: |_| Kind::Refused,
    brig_seccomp::record::MergeError: |_| Kind::Refused,
}

impl From<crate::configuration::Error> for Failure {
    fn from(error: crate::configuration::Error) -> Self {
        if let crate::configuration::Error::Denied(denial) = error {
            return denial.into();
        }
        let hint = error.hint().map(str::to_owned);
        Self { hint, ..explained(kind_of_configuration(&error), error) }
    }
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        let hint = Some(denial.hint().to_owned());
        let denial = Box::new(denial);
        Self { hint, denial: Some(denial.clone()), ..Self::plain(denial.to_string()) }
    }
}

fn kind_of_configuration(error: &crate::configuration::Error) -> Kind {
    match error {
        crate::configuration::Error::Read { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::of(source),
        },
        _ => Kind::Refused,
    }
}

fn kind_of_cgroup(error: &brig_cgroup::Error) -> Kind {
    use brig_cgroup::Error;
    match error {
        Error::Occupied { .. } | Error::Left { .. } => Kind::Busy,
        Error::Gone { .. } => Kind::NotFound,
        Error::Timeout { .. } => Kind::TimedOut,
        Error::CleanUp { cause, .. } => kind_of_cgroup(cause),
        Error::Write { source, .. }
        | Error::Call { source, .. }
        | Error::DeviceProgram { source, .. } => Kind::of(source),
        Error::Content { .. } | Error::Systemd(_) => Kind::Kernel,
        _ => Kind::Refused,
    }
}

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
