//! What can be wrong with a profile that is to be merged.

use std::fmt;

/// Why a profile cannot be merged into a recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeError {
    /// Its default action lets calls pass: it lists what is forbidden.
    Permissive {
        /// The action's OCI name.
        action: String,
    },
    /// A rule does something else than to allow.
    NotAllowing {
        /// Such as `syscalls[3].action`.
        field: String,
        /// The action's OCI name.
        action: String,
    },
    /// A condition is about an argument that system calls do not have.
    ArgumentIndex {
        /// Such as `syscalls[3].args[1].index`.
        field: String,
        /// The index as written; 0 to 5 exist.
        index: usize,
    },
    /// A rule has two conditions on the same argument, which a runtime takes as alternatives.
    Alternatives {
        /// Such as `syscalls[3].args`.
        field: String,
    },
}

impl MergeError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Permissive { .. } | Self::NotAllowing { .. } => {
                "merge profiles that list what is allowed, as `brig seccomp record` writes them"
            }
            Self::ArgumentIndex { .. } => "arguments are numbered from 0 to 5",
            Self::Alternatives { .. } => "write each condition as a rule of its own",
        })
    }
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permissive { action } => {
                write!(f, "defaultAction: {action} lets calls pass that no rule names")
            }
            Self::NotAllowing { field, action } => {
                write!(f, "{field}: {action} forbids what another rule may allow")
            }
            Self::ArgumentIndex { field, index } => write!(f, "{field}: {index} is no argument"),
            Self::Alternatives { field } => {
                write!(f, "{field}: two conditions are on the same argument")
            }
        }
    }
}

impl std::error::Error for MergeError {}
