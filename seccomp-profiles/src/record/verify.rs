//! Running a program again under its profile, and knowing what was refused.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSyscall};

use super::{Answer, arguments, handing_over};
use crate::action::{self, ERRNO};
use crate::arch::Arch;
use crate::compile::compile;
use crate::error::CompileError;
use crate::instruction::BpfProgram;
use crate::interpret::{SeccompData, run};

/// The filter which allows what a profile allows, at full speed, and reports what its default
/// action would refuse; and which lets the listener pass, as that of [`super::watching`].
#[must_use]
pub fn watching_the_rest(profile: &LinuxSeccomp, handover: u32) -> LinuxSeccomp {
    let mut filter = profile.clone();
    filter.set_default_action(LinuxSeccompAction::ScmpActNotify);
    filter.set_default_errno_ret(None);
    let mut rules: Vec<LinuxSyscall> = filter.syscalls().clone().unwrap_or_default();
    rules.push(handing_over(handover));
    filter.set_syscalls(Some(rules));
    filter
}

/// Most different calls that are kept: who reads more?
const MOST_REFUSED: usize = 100;

/// A profile, and what it refused.
#[derive(Clone, Debug)]
pub struct Verification {
    arch: Arch,
    program: BpfProgram,
    /// By number and arguments, as they came, with how often.
    refused: Vec<(u32, Vec<u64>, u64)>,
}

/// A call that the profile refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCall {
    /// Its name, or its number.
    pub name: String,
    /// The arguments for which profiles have rules, with their indexes.
    pub args: Vec<(usize, u64)>,
    /// How often.
    pub times: u64,
}

impl Verification {
    /// Prepares to verify a profile; also gives the filter for it, [`watching_the_rest`]. What it
    /// reports is for [`answer`](Self::answer), so that the program meets the profile's own
    /// decisions.
    ///
    /// # Errors
    /// That the profile cannot be compiled.
    pub fn new(
        profile: &LinuxSeccomp,
        arch: Arch,
        handover: u32,
    ) -> Result<(Self, LinuxSeccomp), CompileError> {
        let program = compile(profile, arch)?;
        let filter = watching_the_rest(profile, handover);
        Ok((Self { arch, program, refused: Vec::new() }, filter))
    }

    /// What the profile says to a call that was reported. One that it allows after all goes on.
    pub fn answer(&mut self, data: &SeccompData) -> Answer {
        let verdict = run(&self.program.instructions, data).unwrap_or(action::KILL_PROCESS);
        if verdict == action::ALLOW {
            return Answer::Continue;
        }
        let checks = self.arch.syscall_name(data.nr).map_or(&[][..], arguments::of);
        let values = checks.iter().map(|check| data.args[check.index] & check.mask).collect();
        self.note(data.nr, values);
        match action::base(verdict) {
            ERRNO => Answer::Fail((verdict & 0xffff) as i32),
            // Whatever else it says, the call must not happen.
            _ => Answer::Fail(1),
        }
    }

    fn note(&mut self, number: u32, values: Vec<u64>) {
        let known = self.refused.iter().position(|known| (known.0, &known.1) == (number, &values));
        match known {
            Some(at) => self.refused[at].2 += 1,
            None if self.refused.len() < MOST_REFUSED => self.refused.push((number, values, 1)),
            None => {}
        }
    }

    /// The instructions of the compiled profile.
    #[must_use]
    pub fn instructions(&self) -> usize {
        self.program.instructions.len()
    }

    /// What was refused so far.
    #[must_use]
    pub fn refused(&self) -> Vec<RefusedCall> {
        let refused = self.refused.iter().map(|(number, values, times)| {
            let name = self.arch.syscall_name(*number);
            let checks = name.map_or(&[][..], arguments::of);
            RefusedCall {
                name: name.map_or_else(|| format!("call {number}"), str::to_owned),
                args: checks
                    .iter()
                    .zip(values)
                    .map(|(check, value)| (check.index, *value))
                    .collect(),
                times: *times,
            }
        });
        refused.collect()
    }
}
