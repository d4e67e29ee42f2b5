//! Compiler from OCI `linux.seccomp` to classic BPF, and the profiles brig ships.
//!
//! Promises: a pure, deterministic function from a profile to a program; every control of the
//! profile is in the program, or there is an error which names the field. Does no I/O and never
//! installs anything. References: the OCI runtime specification (`config-linux.md`, seccomp),
//! `Documentation/userspace-api/seccomp_filter.rst`, seccomp(2).
//!
//! # What a program decides
//!
//! 1. *Architecture.* The native one and those the profile lists. A call of any other ends the
//!    process; a number of x32 (bit 30) where x32 is not listed fails with ENOSYS, as on a
//!    kernel built without x32. Architectures that the native kernel can never report cost
//!    nothing and are left out.
//! 2. *Newer calls.* Where the default action denies (errno other than ENOSYS, trap, kill),
//!    numbers above the highest that the profile names for the architecture fail with ENOSYS,
//!    as under runc (`patchbpf`): programs probe for new calls and fall back on ENOSYS, but not
//!    on EPERM. The profile's author cannot have meant those calls; they stay denied.
//! 3. *Rules.* One without conditions that has the default action says nothing and is dropped,
//!    as runc does. Of the others for a call, the first without conditions decides alone, as in
//!    libseccomp. Otherwise each rule with conditions is an alternative; where several match and
//!    disagree, the most restrictive decides, in the kernel's own order, also where it has the
//!    default action (libseccomp's answer depends on its tree order).
//! 4. *Conditions.* All of a rule's must hold, except that a rule with two conditions on the
//!    same argument is split, each condition a rule of its own, as runc does. On 32-bit
//!    architectures and x32 the low 32 bits of arguments and values count, as in libseccomp.
//! 5. *Multiplexers.* On 32-bit x86, a rule for `socket` and the like also holds for
//!    `socketcall` and `ipc`. Their arguments are behind a pointer, so a rule with conditions is
//!    carried over only if it restricts, and then without its conditions.
//!
//! Names that exist on other architectures only are ignored. Names that exist nowhere are
//! ignored too, unless the rule is more restrictive than the default action: then the program
//! would silently lack a control, and the compiler refuses.
#![forbid(unsafe_code)]

mod action;
mod arch;
mod calls;
pub mod catalog;
mod checks;
mod clauses;
pub mod compare;
mod compile;
mod compiled;
pub mod disassemble;
mod error;
mod graph;
mod instruction;
pub mod interpret;
mod layout;
pub mod lint;
pub mod mitigation;
pub mod positions;
mod profiles;
mod ranges;
mod read;
pub mod record;
mod rules;
mod suggest;
mod terms;
pub mod verdict;
mod witness;

pub use action::describe as describe_action;
pub use action::{ALLOW, ERRNO, KILL_PROCESS, KILL_THREAD, LOG, TRACE, TRAP, USER_NOTIF};
pub use arch::Arch;
pub use compile::compile;
pub use compiled::compiled;
pub use error::CompileError;
pub use instruction::{BpfProgram, Instruction, MAX_INSTRUCTIONS};
pub use profiles::{BUILTIN, builtin, builtin_names, builtin_text};
pub use read::{read, read_part};
pub use suggest::nearest_call;
pub use terms::Condition;
