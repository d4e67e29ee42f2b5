//! Answers of the kernel that an operation takes for success.

use crate::syscall::Answer;

/// What an operation takes for success, besides success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// Nothing.
    None,
    /// `ENOENT` and `ENOTDIR`: what is not there needs nothing.
    Missing,
    /// `EEXIST`: what is there is left as it is.
    Existing,
    /// `ENOSYS`: a kernel that has no such thing.
    Unsupported,
    /// `EBADF`: a descriptor that is not open.
    Closed,
}

impl Tolerance {
    /// The names of the errors.
    #[must_use]
    pub const fn errors(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Missing => &["ENOENT", "ENOTDIR"],
            Self::Existing => &["EEXIST"],
            Self::Unsupported => &["ENOSYS"],
            Self::Closed => &["EBADF"],
        }
    }

    fn covers(self, errno: i32) -> bool {
        match self {
            Self::None => false,
            Self::Missing => matches!(errno, libc::ENOENT | libc::ENOTDIR),
            Self::Existing => errno == libc::EEXIST,
            Self::Unsupported => errno == libc::ENOSYS,
            Self::Closed => errno == libc::EBADF,
        }
    }

    /// The answer, `None` where it is a failure that is tolerated.
    pub(crate) fn apply<T>(self, answer: Answer<T>) -> Answer<Option<T>> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(failed) if self.covers(failed.errno) => Ok(None),
            Err(failed) => Err(failed),
        }
    }
}
