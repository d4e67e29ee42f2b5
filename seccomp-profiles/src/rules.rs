//! The rules of a profile, checked, and free of what the OCI format allows to be said twice.
//!
//! Promises that every error names its field. Knows nothing about architectures but names.

use oci_spec::runtime::{LinuxSeccomp, LinuxSyscall};

use crate::action;
use crate::arch::TABLE;
use crate::calls::FOREIGN;

use crate::error::CompileError;
use crate::suggest::nearest_call;
use crate::terms::{Condition, Conditions};

/// One rule for a set of calls.
pub(crate) struct Rule<'a> {
    pub(crate) names: &'a [String],
    /// `SECCOMP_RET_*` with data.
    pub(crate) action: u32,
    /// The rule holds where all conditions of one alternative do; always, where one is empty.
    pub(crate) alternatives: Vec<Conditions>,
}

impl Rule<'_> {
    pub(crate) fn is_unconditional(&self) -> bool {
        self.alternatives.iter().any(Vec::is_empty)
    }
}

const ARGUMENTS: u32 = 6;

/// The default action's return value.
pub(crate) fn default_action(seccomp: &LinuxSeccomp) -> Result<u32, CompileError> {
    let errno = seccomp.default_errno_ret();
    action::value(seccomp.default_action(), errno, "linux.seccomp.defaultErrnoRet")
}

/// All rules, also those with the default action, in the profile's order.
pub(crate) fn read(seccomp: &LinuxSeccomp, default: u32) -> Result<Vec<Rule<'_>>, CompileError> {
    let syscalls = seccomp.syscalls().as_deref().unwrap_or_default();
    syscalls
        .iter()
        .enumerate()
        .map(|(at, syscall)| rule(syscall, default, &format!("linux.seccomp.syscalls[{at}]")))
        .collect()
}

fn rule<'a>(
    syscall: &'a LinuxSyscall,
    default: u32,
    field: &str,
) -> Result<Rule<'a>, CompileError> {
    let names = syscall.names().as_slice();
    if names.is_empty() {
        return Err(CompileError::NoNames { field: format!("{field}.names") });
    }
    let action =
        action::value(syscall.action(), syscall.errno_ret(), &format!("{field}.errnoRet"))?;
    if action::strictness(action) < action::strictness(default) {
        refuse_unknown(names, field)?;
    }
    let args = syscall.args().as_deref().unwrap_or_default();
    let conditions = args
        .iter()
        .enumerate()
        .map(|(at, arg)| match u32::try_from(arg.index()) {
            Ok(index) if index < ARGUMENTS => Ok(Condition::new(index, arg)),
            _ => {
                let field = format!("{field}.args[{at}].index");
                Err(CompileError::ArgumentIndex { field, index: arg.index() })
            }
        })
        .collect::<Result<Conditions, _>>()?;
    let uses = |index| conditions.iter().filter(|condition| condition.index == index).count();
    let alternatives = if (0..ARGUMENTS).any(|index| uses(index) > 1) {
        conditions.into_iter().map(|condition| vec![condition]).collect()
    } else {
        vec![conditions]
    };
    Ok(Rule { names, action, alternatives })
}

/// Whether some kernel has the call.
pub(crate) fn is_known(name: &str) -> bool {
    let in_tables = TABLE.iter().any(|table| {
        table.calls.number(name).is_some() || table.multiplexed.iter().any(|call| call.name == name)
    });
    in_tables || FOREIGN.split_whitespace().any(|foreign| foreign == name)
}

/// A restriction of a call that exists nowhere is a mistake which would go unnoticed.
fn refuse_unknown(names: &[String], field: &str) -> Result<(), CompileError> {
    for (at, name) in names.iter().enumerate() {
        if !is_known(name) {
            return Err(CompileError::UnknownSyscall {
                field: format!("{field}.names[{at}]"),
                name: name.clone(),
                suggestion: nearest_call(name).map(str::to_owned),
            });
        }
    }
    Ok(())
}
