//! A plan in words: for `brig plan`, for golden tests, and for the operation in an error message.
//!
//! Promises: `brig plan` shows every field of an operation that changes what happens, and each only once; what
//! others wrote is in quotes where it could be taken for brig's words. An error has an operation's
//! [description](render_op) without its [`details`]: what may be a secret (an environment, arguments of hooks) is
//! among these.

mod details;
mod names;
mod words;

use std::collections::HashMap;
use std::fmt::Write as _;

use brig_child::{Op, Slot};

use super::Plan;
use super::build::SlotUse;
use crate::printable;
use details::details;
use names::namespaces;
use words::describe;

pub(super) use names::quoted;

/// Names a slot.
type At<'f> = &'f dyn Fn(Slot) -> String;

/// The whole plan, one operation a line.
#[must_use]
pub fn render(plan: &Plan<'_>) -> String {
    let mut text = String::new();
    let into = if plan.clone_into_cgroup { " into the cgroup" } else { "" };
    let _ = writeln!(text, "clone3({}){into}", namespaces(plan.clone_flags));
    let names = different(&plan.slots);
    let at = |slot: Slot| names.get(usize::from(slot.0)).cloned().unwrap_or_default();
    for (index, op) in plan.ops.iter().enumerate() {
        let mut line = describe(op, &at);
        let details = details(op, &at);
        if !details.is_empty() {
            let _ = write!(line, " ({})", details.join(", "));
        }
        let _ = writeln!(text, "{index:3}  {}", printable::line(&line));
    }
    text
}

/// One operation, as errors name it.
#[must_use]
pub fn render_op(op: &Op<'_>, slots: &[SlotUse<'_>]) -> String {
    let name = |slot: Slot| slots.get(usize::from(slot.0)).map(names::slot).unwrap_or_default();
    describe(op, &name)
}

/// The names of slots; of those that have the same, the second is `#2`.
fn different(slots: &[SlotUse<'_>]) -> Vec<String> {
    let mut seen = HashMap::<String, usize>::new();
    let name = |slot| {
        let name = names::slot(slot);
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        if *count == 1 { name } else { format!("{name} #{count}") }
    };
    slots.iter().map(name).collect()
}

/// The name of a system call that an operation makes, for error messages.
#[must_use]
pub fn call_name(number: u32) -> &'static str {
    brig_child::syscall::name(number)
}
