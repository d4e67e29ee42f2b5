//! What can be wrong with a profile. Every error names the field of `config.json` it is about.

use std::fmt;

use crate::instruction::MAX_INSTRUCTIONS;

/// Why a profile cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompileError {
    /// A rule lists no system calls.
    NoNames {
        /// Such as `linux.seccomp.syscalls[3].names`.
        field: String,
    },
    /// A rule which must restrict a call names one that no known kernel has.
    UnknownSyscall {
        /// Such as `linux.seccomp.syscalls[3].names[0]`.
        field: String,
        /// The name as written.
        name: String,
        /// The nearest known name, if one is near.
        suggestion: Option<String>,
    },
    /// A condition is about an argument that system calls do not have.
    ArgumentIndex {
        /// Such as `linux.seccomp.syscalls[3].args[1].index`.
        field: String,
        /// The index as written; 0 to 5 exist.
        index: usize,
    },
    /// An errno is given for an action which returns none.
    ErrnoUnsupported {
        /// Such as `linux.seccomp.syscalls[3].errnoRet`.
        field: String,
        /// The action's OCI name.
        action: String,
    },
    /// An errno does not fit.
    ErrnoRange {
        /// Such as `linux.seccomp.defaultErrnoRet`.
        field: String,
        /// The errno as written.
        value: u32,
        /// The largest one the action can carry.
        max: u32,
    },
    /// The profile needs more instructions than the kernel takes.
    TooLong {
        /// How many it needs, at least.
        instructions: usize,
    },
}

impl CompileError {
    /// The field of `config.json` at fault.
    #[must_use]
    pub fn field(&self) -> &str {
        match self {
            Self::NoNames { field }
            | Self::UnknownSyscall { field, .. }
            | Self::ArgumentIndex { field, .. }
            | Self::ErrnoUnsupported { field, .. }
            | Self::ErrnoRange { field, .. } => field,
            Self::TooLong { .. } => "linux.seccomp",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoNames { .. } => {
                "name at least one system call, or remove the whole rule".to_owned()
            }
            Self::UnknownSyscall { suggestion: Some(near), .. } => {
                format!("did you mean \"{near}\"? a restriction of a call that does not exist protects nothing")
            }
            Self::UnknownSyscall { .. } => {
                "correct or remove the name: a restriction of a call that does not exist protects nothing".to_owned()
            }
            Self::ArgumentIndex { .. } => "arguments are counted from 0 to 5".to_owned(),
            Self::ErrnoUnsupported { .. } => {
                "remove it, or use SCMP_ACT_ERRNO or SCMP_ACT_TRACE".to_owned()
            }
            Self::ErrnoRange { max, .. } => format!("use a number from 0 to {max}"),
            Self::TooLong { .. } => {
                "merge rules, or use fewer argument conditions or architectures".to_owned()
            }
        })
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field();
        match self {
            Self::NoNames { .. } => write!(f, "{field}: is empty"),
            Self::UnknownSyscall { name, .. } => {
                write!(f, "{field}: unknown system call \"{}\"", name.escape_debug())
            }
            Self::ArgumentIndex { index, .. } => write!(f, "{field}: no argument {index}"),
            Self::ErrnoUnsupported { action, .. } => {
                write!(f, "{field}: {action} returns no errno")
            }
            Self::ErrnoRange { value, max, .. } => write!(f, "{field}: {value} is above {max}"),
            Self::TooLong { instructions } => write!(
                f,
                "{field}: needs {instructions} instructions or more, the kernel takes {MAX_INSTRUCTIONS}"
            ),
        }
    }
}

impl std::error::Error for CompileError {}
