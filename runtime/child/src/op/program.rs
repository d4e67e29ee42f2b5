//! Operations that execute programs.

use core::ffi::CStr;

use super::{Slot, Vector};

/// A prepared program: hooks.
#[derive(Clone, Copy, Debug)]
pub struct Hook<'a> {
    /// Absolute path of the program.
    pub path: &'a CStr,
    /// Its arguments.
    pub argv: Vector<'a>,
    /// Its environment.
    pub envp: Vector<'a>,
    /// What it gets as standard input: a file that holds the container's state.
    pub stdin: Slot,
    /// After so many milliseconds it is killed and has failed; negative: no limit.
    pub timeout_ms: i64,
    /// Seccomp filters that it loads for itself, in this order: the bytes of the program, and the flags of seccomp(2).
    pub filters: &'a [(&'a [u8], u64)],
}

/// Executes programs: hooks, and the container's in the end.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the fields are the arguments of the system call that is named")]
pub enum ProgramOp<'a> {
    /// Runs a hook to its end.
    Hook(Hook<'a>),
    /// Finds the first candidate that can be executed.
    FindProgram { candidates: &'a [&'a CStr] },
    /// execve(2) of what [`ProgramOp::FindProgram`] found.
    Execve { argv: Vector<'a>, envp: Vector<'a> },
}

impl ProgramOp<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Hook(_) => "hook",
            Self::FindProgram { .. } => "find program",
            Self::Execve { .. } => "execve",
        }
    }
}
