//! From a profile to a program; what a program decides is in the crate's documentation.

use oci_spec::runtime::LinuxSeccomp;
use oci_spec::runtime::LinuxSeccompFilterFlag as Flag;

use crate::action::{self, ENOSYS, ERRNO, KILL_PROCESS, USER_NOTIF};
use crate::arch::{Arch, ArchTable, TABLE};
use crate::checks::{self, Work};
use crate::clauses::{Clause, Clauses, Decided, clauses, decide};
use crate::error::CompileError;
use crate::graph::{Comparison, Graph, NodeId};
use crate::instruction::{BpfProgram, MAX_INSTRUCTIONS, RET_K};
use crate::layout::lay_out;
use crate::ranges::{Segment, search};
use crate::rules::{self, Rule};
use crate::terms::Condition;

/// Offsets in `struct seccomp_data`, `linux/seccomp.h`.
const NR_OFFSET: u32 = 0;
const ARCH_OFFSET: u32 = 4;

/// Compiles a profile for a kernel whose native architecture is `native`.
///
/// The same profile always gives the same program. What the program decides is in the crate's
/// documentation. `listenerPath` and `listenerMetadata` are not the compiler's business.
///
/// Flags are those the profile lists, with three exceptions: `NEW_LISTENER` is added where some
/// call can end in a notification; `TSYNC_ESRCH` (Linux 5.7) where there is both a listener and
/// `TSYNC`, which the kernel demands; `WAIT_KILLABLE_RECV` (Linux 5.19) is left out where there
/// is no listener, because it is about the listener and the kernel would refuse it.
///
/// # Errors
/// A [`CompileError`] where the profile says something that the program could not do.
pub fn compile(seccomp: &LinuxSeccomp, native: Arch) -> Result<BpfProgram, CompileError> {
    let default = rules::default_action(seccomp)?;
    let rules = rules::read(seccomp, default)?;
    let listed = listed(seccomp, native);
    let mut graph = Graph::default();
    let mut spent = Spent::default();
    let mut root = graph.verdict(KILL_PROCESS);
    // The native architecture's test comes first in the program, so it is made last.
    let mut audits: Vec<u32> = listed.iter().map(|table| table.audit).collect();
    audits.sort_unstable();
    audits.dedup();
    if let Some(at) = audits.iter().position(|&audit| audit == native.audit()) {
        audits[at..].rotate_left(1);
    }
    for audit in audits {
        let mut calls = Calls { graph: &mut graph, rules: &rules, default, spent: &mut spent };
        let numbers = calls.numbers(listed.iter().copied().filter(|table| table.audit == audit))?;
        root = graph.test(Comparison::Equal, audit, numbers, root);
    }
    let root = graph.load(ARCH_OFFSET, root);
    let instructions = lay_out(&graph, root);
    check_length(instructions.len())?;
    let notify = instructions
        .iter()
        .any(|instruction| instruction.code == RET_K && action::base(instruction.k) == USER_NOTIF);
    Ok(BpfProgram { flags: flags(seccomp, notify), notify, instructions })
}

/// Refuses what the kernel would, as soon as it is known: a program of at least so many instructions.
fn check_length(instructions: usize) -> Result<(), CompileError> {
    if instructions > MAX_INSTRUCTIONS {
        return Err(CompileError::TooLong { instructions });
    }
    Ok(())
}

/// The architectures to compile for, in the table's order: the native one, and those of its
/// family that the profile lists.
pub(crate) fn listed(seccomp: &LinuxSeccomp, native: Arch) -> Vec<&'static ArchTable> {
    let names = seccomp.architectures().as_deref().unwrap_or_default();
    TABLE
        .iter()
        .filter(|table| table.family == native.table().family)
        .filter(|table| table.arch == native || names.contains(&table.oci))
        .collect()
}

/// `SECCOMP_FILTER_FLAG_*`, `linux/seccomp.h`.
fn flags(seccomp: &LinuxSeccomp, notify: bool) -> u64 {
    const TSYNC: u64 = 1 << 0;
    const LOG: u64 = 1 << 1;
    const SPEC_ALLOW: u64 = 1 << 2;
    const NEW_LISTENER: u64 = 1 << 3;
    const TSYNC_ESRCH: u64 = 1 << 4;
    const WAIT_KILLABLE_RECV: u64 = 1 << 5;
    let listed = seccomp.flags().as_deref().unwrap_or_default();
    let mut flags = listed.iter().fold(0, |flags, flag| {
        flags
            | match flag {
                Flag::SeccompFilterFlagTsync => TSYNC,
                Flag::SeccompFilterFlagLog => LOG,
                Flag::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
                Flag::SeccompFilterFlagWaitKillableRecv => WAIT_KILLABLE_RECV,
            }
    });
    if notify {
        flags |= NEW_LISTENER;
        if flags & TSYNC != 0 {
            flags |= TSYNC_ESRCH;
        }
    } else {
        flags &= !WAIT_KILLABLE_RECV;
    }
    flags
}

struct Calls<'a> {
    graph: &'a mut Graph,
    rules: &'a [Rule<'a>],
    default: u32,
    spent: &'a mut Spent,
}

/// What the calls so far have cost.
#[derive(Default)]
struct Spent {
    work: Work,
    /// The nodes that are in the program, each of them an instruction or more.
    marks: Vec<bool>,
    instructions: usize,
}

impl Calls<'_> {
    /// The decision over the numbers of the architectures which share one `AUDIT_ARCH`.
    fn numbers(
        &mut self,
        tables: impl Iterator<Item = &'static ArchTable>,
    ) -> Result<NodeId, CompileError> {
        let absent = self.graph.verdict(ERRNO | ENOSYS);
        let mut segments = Vec::new();
        let mut covered = 0u64;
        for table in tables {
            if u64::from(table.numbers.0) > covered {
                segments.push(Segment { first: covered as u32, node: absent });
            }
            self.segments(table, &mut segments)?;
            covered = u64::from(table.numbers.1) + 1;
        }
        if let Ok(first) = u32::try_from(covered) {
            segments.push(Segment { first, node: absent });
        }
        let search = search(self.graph, &segments);
        Ok(self.graph.load(NR_OFFSET, search))
    }

    fn segments(
        &mut self,
        table: &ArchTable,
        segments: &mut Vec<Segment>,
    ) -> Result<(), CompileError> {
        let (first, last) = table.numbers;
        let default = self.graph.verdict(self.default);
        segments.push(Segment { first, node: default });
        let Clauses { all, newest } = clauses(self.rules, self.default, table);
        let mut points = Vec::with_capacity(all.len());
        // Where nothing else follows, what is newer is not asked for.
        let last_asked = newest.filter(|_| table.unordered_from.is_none()).unwrap_or(u32::MAX);
        for call in all.chunk_by(|a, b| a.number == b.number) {
            if call[0].number > last_asked {
                break;
            }
            let decision = self.decision(call, default, table.wide)?;
            self.spent.instructions += self.graph.mark(decision, &mut self.spent.marks);
            check_length(self.spent.instructions)?;
            points.push((first + call[0].number, decision));
        }
        let Some(newest) = newest else {
            fill(segments, &points, default, last);
            return Ok(());
        };
        let private = points.split_off(points.partition_point(|(at, _)| *at <= first + newest));
        fill(segments, &points, default, last);
        segments.retain(|segment| segment.first != first + newest + 1);
        let newer = self.graph.verdict(ERRNO | ENOSYS);
        segments.push(Segment { first: first + newest + 1, node: newer });
        if let Some(unordered) = table.unordered_from {
            segments.push(Segment { first: first + unordered, node: default });
            fill(segments, &private, default, last);
        }
        Ok(())
    }

    /// The decision over one call's clauses.
    fn decision(
        &mut self,
        clauses: &[Clause<'_>],
        default: NodeId,
        wide: bool,
    ) -> Result<NodeId, CompileError> {
        let clauses = match decide(clauses) {
            Decided::Always(clause) => return Ok(self.graph.verdict(clause.action)),
            Decided::First(clauses) => clauses,
        };
        check_length(clauses.len())?;
        let rules: Vec<(&[Condition], NodeId)> = clauses
            .into_iter()
            .map(|clause| (&*clause.conditions, self.graph.verdict(clause.action)))
            .collect();
        Ok(checks::decide(self.graph, &rules, default, wide, &mut self.spent.work))
    }
}

/// Adds segments for single numbers, in order, with `default` between them.
fn fill(segments: &mut Vec<Segment>, points: &[(u32, NodeId)], default: NodeId, last: u32) {
    for &(number, node) in points {
        if segments.last().is_some_and(|segment| segment.first == number) {
            segments.pop();
        }
        segments.push(Segment { first: number, node });
        if number < last {
            segments.push(Segment { first: number + 1, node: default });
        }
    }
}

#[cfg(test)]
mod tests;
