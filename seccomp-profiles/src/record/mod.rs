//! From the system calls that a program made to a profile that allows those and no others.
//!
//! Promises: what was observed is allowed by the compiled result, with its arguments as far as the
//! table in `arguments.rs` says that they matter; what was not observed is denied, except for the
//! few calls of `base.rs` which a runtime or the kernel makes. The result depends on what was
//! observed alone, not on its order. Does no I/O: who watches the program is the runtime's matter.
//!
//! # Decisions
//!
//! - Calls are allowed by name, so that the profile holds under other runtimes too.
//! - `clone3` fails with ENOSYS, in recording as under the profile: its flags are behind a pointer,
//!   out of a filter's sight, and libraries fall back to `clone`, whose flags the profile restricts.
//! - Calls that the table of names lacks fail with ENOSYS in recording, as they will under the
//!   profile, so that the program's fallback is what is learnt.
//! - Calls of another architecture (32-bit programs) fail with ENOSYS and are kept for a complaint:
//!   names allow a call on every architecture that a profile lists, and what is learnt of one must
//!   not open another.

mod arguments;
mod base;
mod error;
mod profile;
mod verify;

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator, LinuxSyscall,
};

pub use self::base::Privileges;
pub use self::error::MergeError;
pub use self::profile::{MAX_ALTERNATIVES, allowed_calls, synthesize};
pub use self::verify::{RefusedCall, Verification, watching_the_rest};
use crate::action::ENOSYS;
use crate::arch::{Arch, TABLE};
use crate::interpret::SeccompData;

/// What the watched call is to be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel goes on with it.
    Continue,
    /// It fails with this errno.
    Fail(i32),
}

/// What was seen of one call: the distinct values of the arguments that matter, or fewer of them
/// where there were too many.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    name: &'static str,
    checks: &'static [arguments::Check],
    /// Sorted.
    values: Vec<[u64; arguments::MOST]>,
}

impl Seen {
    fn new(name: &'static str, checks: &'static [arguments::Check]) -> Self {
        Self { name, checks, values: Vec::new() }
    }

    fn add(&mut self, args: &[u64; 6]) {
        let mut values = [0; arguments::MOST];
        for (value, check) in values.iter_mut().zip(self.checks) {
            *value = args[check.index] & check.mask;
        }
        if insert(&mut self.values, values) {
            self.fit();
        }
    }

    /// Gives up the last argument until there are few enough values: the table has the most
    /// important one first.
    fn fit(&mut self) {
        while self.values.len() > MAX_ALTERNATIVES {
            self.forget();
        }
    }

    fn forget(&mut self) {
        let kept = self.checks.len().saturating_sub(1);
        self.checks = &self.checks[..kept];
        for mut values in std::mem::take(&mut self.values) {
            values[kept..].fill(0);
            insert(&mut self.values, values);
        }
    }

    fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        while self.checks.len() > other.checks.len() {
            self.forget();
        }
        while other.checks.len() > self.checks.len() {
            other.forget();
        }
        for values in other.values {
            insert(&mut self.values, values);
        }
        self.fit();
    }
}

/// A call of an architecture that is not the machine's native one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Foreign {
    /// The architecture's name.
    pub arch: &'static str,
    /// The call's number there.
    pub number: u32,
    /// Its name, if it is known.
    pub name: Option<&'static str>,
}

/// What a program did, over all of its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observations {
    arch: Arch,
    /// By number, sorted.
    calls: Vec<(u32, Seen)>,
    /// Sorted.
    newer: Vec<u32>,
    /// Sorted.
    foreign: Vec<Foreign>,
    made: u64,
    own_listener: bool,
}

/// Most calls of other architectures, and most without a name, that are kept: a program may make
/// up as many as there are numbers, and a few of them say all.
const MOST_STRANGE: usize = 16;

/// `SECCOMP_SET_MODE_FILTER` and `SECCOMP_FILTER_FLAG_NEW_LISTENER` of linux/seccomp.h.
const SET_MODE_FILTER: u64 = 1;
const NEW_LISTENER: u64 = 1 << 3;

impl Observations {
    /// Nothing was observed yet on a machine of this architecture.
    #[must_use]
    pub fn new(arch: Arch) -> Self {
        Self {
            arch,
            calls: Vec::new(),
            newer: Vec::new(),
            foreign: Vec::new(),
            made: 0,
            own_listener: false,
        }
    }

    /// Takes note of a call of the program.
    pub fn observe(&mut self, data: &SeccompData) -> Answer {
        self.made += 1;
        let Some(seen) = self.known(data) else { return self.first(data) };
        // Where nothing distinguishes one call from the next, one is enough.
        if !seen.checks.is_empty() {
            seen.add(&data.args);
        }
        let listener = seen.name == "seccomp" && asks_for_listener(&data.args);
        self.own_listener |= listener;
        Answer::Continue
    }

    fn known(&mut self, data: &SeccompData) -> Option<&mut Seen> {
        let at = self.calls.binary_search_by_key(&data.nr, |call| call.0).ok()?;
        (data.arch == self.arch.audit()).then(|| &mut self.calls[at].1)
    }

    fn first(&mut self, data: &SeccompData) -> Answer {
        if let Some(foreign) = self.foreign_call(data) {
            if self.foreign.len() < MOST_STRANGE {
                insert(&mut self.foreign, foreign);
            }
            return Answer::Fail(ENOSYS as i32);
        }
        let Some(name) = self.arch.syscall_name(data.nr) else {
            if self.newer.len() < MOST_STRANGE {
                insert(&mut self.newer, data.nr);
            }
            return Answer::Fail(ENOSYS as i32);
        };
        let mut seen = Seen::new(name, arguments::of(name));
        seen.add(&data.args);
        self.own_listener |= name == "seccomp" && asks_for_listener(&data.args);
        let at = self.calls.partition_point(|call| call.0 < data.nr);
        self.calls.insert(at, (data.nr, seen));
        Answer::Continue
    }

    fn foreign_call(&self, data: &SeccompData) -> Option<Foreign> {
        let of = |table: &&crate::arch::ArchTable| {
            table.audit == data.arch && (table.numbers.0..=table.numbers.1).contains(&data.nr)
        };
        let table = TABLE.iter().find(of);
        if table.is_some_and(|table| table.arch == self.arch) {
            return None;
        }
        let arch = match table.map(|table| table.arch) {
            Some(Arch::X86_64) => "x86_64",
            Some(Arch::X86) => "x86 (32-bit)",
            Some(Arch::X32) => "x32",
            Some(Arch::Aarch64) => "aarch64",
            Some(Arch::Arm) => "arm (32-bit)",
            None => "an unknown architecture",
        };
        let name = table.and_then(|table| table.arch.syscall_name(data.nr));
        Some(Foreign { arch, number: data.nr, name })
    }

    /// Adds what was observed in another run.
    pub fn merge(&mut self, other: &Self) {
        for (number, seen) in &other.calls {
            match self.calls.binary_search_by_key(number, |call| call.0) {
                Ok(at) => self.calls[at].1.merge(seen),
                Err(at) => self.calls.insert(at, (*number, seen.clone())),
            }
        }
        for number in &other.newer {
            insert(&mut self.newer, *number);
        }
        for foreign in &other.foreign {
            insert(&mut self.foreign, *foreign);
        }
        self.made += other.made;
        self.own_listener |= other.own_listener;
    }

    /// How many different calls were observed.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.calls.len()
    }

    /// How many calls were observed, each time counted.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Whether a call of this name was observed.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.calls.iter().any(|(_, seen)| seen.name == name)
    }

    /// Calls of other architectures, which were made to fail: the first few.
    #[must_use]
    pub fn foreign(&self) -> &[Foreign] {
        &self.foreign
    }

    /// Numbers that the table has no name for, which were made to fail with ENOSYS: the first few.
    #[must_use]
    pub fn newer(&self) -> &[u32] {
        &self.newer
    }

    /// Whether the program asked for a listener of its own, which the kernel refuses (EBUSY) as
    /// long as it is watched by one.
    #[must_use]
    pub fn wants_own_listener(&self) -> bool {
        self.own_listener
    }
}

/// Puts a value into a sorted list; false where it is there already. The lists here are short, and
/// sets would be a tenth of a megabyte of program.
fn insert<T: Ord>(list: &mut Vec<T>, value: T) -> bool {
    let at = list.binary_search(&value);
    if let Err(at) = at {
        list.insert(at, value);
    }
    at.is_err()
}

fn asks_for_listener(args: &[u64; 6]) -> bool {
    args[0] & 0xffff_ffff == SET_MODE_FILTER && args[1] & NEW_LISTENER != 0
}

/// The filter under which a program is watched: every call of every architecture is reported,
/// except `clone3`, which fails with ENOSYS, and sendmsg(2) with exactly the flags `handover`, with
/// which the process hands over its listener when nobody can answer it yet.
#[must_use]
pub fn watching(handover: u32) -> LinuxSeccomp {
    let mut filter = LinuxSeccomp::default();
    filter.set_default_action(LinuxSeccompAction::ScmpActNotify);
    filter.set_architectures(Some(TABLE.iter().map(|table| table.oci).collect()));
    filter.set_syscalls(Some(vec![clone3_fails(), handing_over(handover)]));
    filter
}

fn clone3_fails() -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(vec!["clone3".to_owned()]);
    rule.set_action(LinuxSeccompAction::ScmpActErrno);
    rule.set_errno_ret(Some(ENOSYS));
    rule
}

/// The rule for sendmsg(2) with these flags and no others.
fn handing_over(flags: u32) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(vec!["sendmsg".to_owned()]);
    rule.set_action(LinuxSeccompAction::ScmpActAllow);
    rule.set_args(Some(vec![masked(2, u64::from(u32::MAX), u64::from(flags))]));
    rule
}

fn masked(index: usize, mask: u64, value: u64) -> LinuxSeccompArg {
    argument(index, LinuxSeccompOperator::ScmpCmpMaskedEq, mask, Some(value))
}

fn argument(
    index: usize,
    op: LinuxSeccompOperator,
    value: u64,
    value_two: Option<u64>,
) -> LinuxSeccompArg {
    let arg = LinuxSeccompArgBuilder::default().index(index).op(op).value(value);
    let arg = match value_two {
        Some(value_two) => arg.value_two(value_two),
        None => arg,
    };
    arg.build().expect("the builder has a default for every field")
}

#[cfg(test)]
mod tests;
