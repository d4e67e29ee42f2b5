//! The operations: named as the system calls they make, with everything prepared.
//!
//! A plan is a list of these; the same values that `brig plan` prints are what the child runs. They are
//! nested by kind, so that the interpreter and the renderer each have a short function for a kind, and none
//! can leave an operation out: both match without a `_`.

mod file;
mod mount;
mod namespace;
mod privilege;
mod process;
mod program;
mod talk;
mod tolerance;
mod vector;

pub use file::{FileOp, Identity, Keeps, Target};
pub use mount::{Enter, MountOp, OptionValue};
pub use namespace::NamespaceOp;
pub use privilege::PrivilegeOp;
pub use process::ProcessOp;
pub use program::{Hook, ProgramOp};
pub use talk::TalkOp;
pub use tolerance::Tolerance;
pub use vector::{Arg, Vector};

/// An index into the child's table of descriptors. Slot 0 always holds `AT_FDCWD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

impl Slot {
    /// The slot that holds `AT_FDCWD`.
    pub const CWD: Self = Self(0);
    /// The socket to the supervisor.
    pub const SUPERVISOR: Self = Self(1);
}

/// One operation.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "each kind says what it is")]
pub enum Op<'a> {
    Namespace(NamespaceOp<'a>),
    Talk(TalkOp),
    File(FileOp<'a>),
    Mount(MountOp<'a>),
    Process(ProcessOp<'a>),
    Privilege(PrivilegeOp<'a>),
    Program(ProgramOp<'a>),
}

/// A plan has about a hundred operations, and the child reads all of them: a kind of operation that is larger
/// than the others makes each of them larger.
const _: () = assert!(size_of::<Op<'_>>() <= 96);

impl Op<'_> {
    /// The name under which errors and `brig plan` show the operation.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Namespace(op) => op.name(),
            Self::Talk(op) => op.name(),
            Self::File(op) => op.name(),
            Self::Mount(op) => op.name(),
            Self::Process(op) => op.name(),
            Self::Privilege(op) => op.name(),
            Self::Program(op) => op.name(),
        }
    }
}

macro_rules! kinds {
    ($($kind:ident($inner:ty);)*) => {$(
        impl<'a> From<$inner> for Op<'a> {
            fn from(op: $inner) -> Self {
                Self::$kind(op)
            }
        }
    )*};
}

kinds! {
    Namespace(NamespaceOp<'a>);
    Talk(TalkOp);
    File(FileOp<'a>);
    Mount(MountOp<'a>);
    Process(ProcessOp<'a>);
    Privilege(PrivilegeOp<'a>);
    Program(ProgramOp<'a>);
}
