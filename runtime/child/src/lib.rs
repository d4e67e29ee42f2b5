//! What runs between clone3 and execve.
//!
//! After clone3 the child is one thread in a copy of a process that may have had many. This crate
//! promises that whatever it does there is safe: it has no allocator, takes no lock, formats nothing and cannot panic. It receives [`Op`]s in which
//! every string, number, descriptor slot and BPF program is prepared, executes them in order, and
//! reports the first failure as a fixed-size report that the parent renders in words.
//!
//! It must never decide: tolerated errors, alternatives and barriers are fields of the operation, or what its
//! name says (the first program that can be executed; a target, which is made where it is missing).
//! It must never touch the state of libc, thread-local storage (`errno`) included: what another thread
//! was changing at the moment of clone3 stays half changed in the copy. Hence the system calls in
//! [`syscall`] are its own.
//!
//! A build check (`integration/tests/tidy.rs`) reads this crate's object with `nm` and fails if it
//! refers to an allocator or to the panic machinery.
#![no_std]

mod console;
mod copy_up;
pub mod device;
mod file;
pub mod flags;
mod hook;
mod interpret;
mod mount;
mod namespace;
pub mod op;
mod privilege;
mod process;
mod program;
pub mod report;
mod said;
pub mod syscall;
mod talk;
mod target;

pub use interpret::run;
pub use op::{Op, Slot};
pub use report::{Report, ReportKind};
