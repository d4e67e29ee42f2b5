//! The plan under construction: operations, slots, and the arena that their strings live in.

use std::ffi::CStr;
use std::ops::Range;

use brig_child::op::{Arg, FileOp, ProcessOp, TalkOp, Vector};
use brig_child::{Op, ReportKind, Slot};
use bumpalo::Bump;

use super::namespaces::{Stages, UserNamespace};
use super::{Plan, Refusal};
use crate::spec::IdMapping;

/// What a slot of the child's table of descriptors holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotUse<'a> {
    /// `AT_FDCWD`.
    Cwd,
    /// The socket to the supervisor.
    Supervisor,
    /// The socket on which the start gate listens.
    Gate,
    /// What takes the place of standard input (0), output (1) or error (2).
    Standard(u8),
    /// The socket that takes the terminal's master.
    ConsoleSocket,
    /// A file with the container's state while it is `creating`.
    State,
    /// The same once it is `created`: what startContainer hooks get.
    CreatedState,
    /// The socket of `linux.seccomp.listenerPath`.
    SeccompListener,
    /// A file with the state for that socket.
    SeccompState,
    /// The n-th `tasks` file of the container's cgroup.
    CgroupTasks(u16),
    /// The directory of the container's cgroup, v2.
    CgroupDirectory,
    /// The kept mount namespace with nothing in it.
    EmptyNamespace,
    /// The procfs that the caller sees.
    CallersProc,
    /// A namespace by path.
    Namespace {
        /// Where it is.
        path: &'a CStr,
        /// The flag of the type that it must have.
        kind: u32,
        /// The field that names it.
        field: String,
        /// The first field that changes something in it for whoever is in there: it must not be brig's own.
        changed_by: Option<String>,
    },
    /// The tree that is the container's root.
    Root,
    /// A user namespace with these maps: for idmapped mounts, and the container's own where that has the same.
    IdMap {
        /// Users.
        uids: Vec<IdMapping>,
        /// Groups.
        gids: Vec<IdMapping>,
    },
    /// The process whose namespaces are joined.
    Init,
    /// The n-th Landlock ruleset.
    Landlock(u8),
    /// Filled by the child itself: a path below the root, over which something is mounted.
    Target(&'a CStr),
    /// Filled by the child itself.
    Made(String),
}

/// How many slots a plan can have: their numbers have 16 bits.
const SLOTS_MAX: usize = 1 << 16;

/// Where there is no such number, the plan is refused in the end ([`Builder::numbered`]).
fn slot_number(index: usize) -> Slot {
    Slot(u16::try_from(index).unwrap_or(u16::MAX))
}

/// A plan under construction: its operations and its slots. What a stage has made and a later one needs is the
/// stage's answer, and not kept here.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    arena: &'a Bump,
    ops: Vec<Op<'a>>,
    slots: Vec<SlotUse<'a>>,
    fields: Vec<(Range<usize>, String)>,
    /// Whether few descriptors may be kept open.
    frugal: bool,
    /// How many are closed again.
    closed: usize,
}

/// How the operations end: what the last stage answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// See [`Plan::after_gate`].
    pub(super) after_gate: usize,
    /// See [`Plan::mute`].
    pub(super) mute: bool,
}

impl<'a> Builder<'a> {
    pub(super) fn new(arena: &'a Bump) -> Self {
        Self {
            arena,
            ops: Vec::with_capacity(96),
            slots: vec![SlotUse::Cwd, SlotUse::Supervisor],
            fields: Vec::new(),
            frugal: false,
            closed: 0,
        }
    }

    /// There are many mounts: what is not needed any more is closed, which costs a system call each.
    pub(super) fn be_frugal(&mut self) {
        self.frugal = true;
    }

    /// How many descriptors may be open at a time.
    pub(super) fn open_at_once(&self) -> usize {
        self.slots.len() - self.closed
    }

    /// This one is not needed any more.
    pub(super) fn done_with(&mut self, slot: Slot) {
        if self.frugal {
            self.push(FileOp::Close { fd: slot });
            self.closed += 1;
        }
    }

    /// What `emit` adds is about this field: a failure names it.
    pub(super) fn concerning<T>(
        &mut self,
        field: &str,
        emit: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let first = self.position();
        let answer = emit(self)?;
        self.numbered(field)?;
        self.fields.push((first..self.position(), field.to_owned()));
        Ok(answer)
    }

    pub(super) fn push(&mut self, op: impl Into<Op<'a>>) {
        self.ops.push(op.into());
    }

    /// The index that the next operation gets.
    pub(super) fn position(&self) -> usize {
        self.ops.len()
    }

    pub(super) fn tell(&mut self, kind: ReportKind) {
        self.push(TalkOp::Tell { kind });
    }

    /// Asks the supervisor for something and waits until it is done.
    pub(super) fn ask(&mut self, kind: ReportKind) {
        self.tell(kind);
        self.push(TalkOp::Await);
    }

    /// Before all else: what the caller's terminal is replaced by.
    pub(super) fn replace_standard(&mut self, replaced: [bool; 3]) {
        for number in (0..3).filter(|number| replaced[usize::from(*number)]) {
            let fd = self.input(SlotUse::Standard(number));
            self.push(ProcessOp::Dup { from: fd, to: i32::from(number) });
        }
    }

    /// A slot that the supervisor fills.
    pub(super) fn input(&mut self, slot: SlotUse<'a>) -> Slot {
        match self.slots.iter().position(|known| *known == slot) {
            Some(index) => slot_number(index),
            None => self.new_slot(slot),
        }
    }

    /// A slot that the child fills.
    pub(super) fn made(&mut self, name: impl Into<String>) -> Slot {
        self.new_slot(SlotUse::Made(name.into()))
    }

    /// A slot that the child fills: a target below the root.
    pub(super) fn target(&mut self, path: &'a CStr) -> Slot {
        self.new_slot(SlotUse::Target(path))
    }

    fn new_slot(&mut self, slot: SlotUse<'a>) -> Slot {
        self.slots.push(slot);
        slot_number(self.slots.len() - 1)
    }

    /// Refuses `field` where there are more slots than numbers for them.
    fn numbered(&self, field: &str) -> Result<(), Refusal> {
        if self.slots.len() <= SLOTS_MAX {
            return Ok(());
        }
        Err(Refusal::new(
            field,
            format!("exceeds the limit of {SLOTS_MAX} descriptors during the setup of a container"),
            "list fewer mounts and devices",
        ))
    }

    /// A string for the kernel.
    pub(super) fn text(&self, text: impl AsRef<[u8]>) -> Result<&'a CStr, Refusal> {
        let text = text.as_ref();
        let bytes = self.arena.alloc_slice_fill_copy(text.len() + 1, 0u8);
        bytes[..text.len()].copy_from_slice(text);
        CStr::from_bytes_with_nul(bytes).map_err(|_| {
            let what = format!("{:?} has a NUL byte in it", String::from_utf8_lossy(text));
            Refusal::new("config.json", what, "remove the NUL byte")
        })
    }

    pub(super) fn bytes(&self, bytes: impl AsRef<[u8]>) -> &'a [u8] {
        self.arena.alloc_slice_copy(bytes.as_ref())
    }

    pub(super) fn slice<T: Copy>(&self, items: &[T]) -> &'a [T] {
        self.arena.alloc_slice_copy(items)
    }

    /// A null-terminated vector of strings.
    pub(super) fn vector<S: AsRef<str>>(
        &self,
        strings: impl IntoIterator<Item = S>,
    ) -> Result<Vector<'a>, Refusal> {
        let mut args = Vec::new();
        for text in strings {
            args.push(Arg::new(self.text(text.as_ref())?));
        }
        args.push(Arg::END);
        let vector = Vector::new(self.slice(&args));
        vector.ok_or_else(|| Refusal::new("process.args", "is not a list of strings", ""))
    }

    /// The plan, whose operations end so.
    pub(super) fn finish(self, stages: &Stages, ending: Ending) -> Result<Plan<'a>, Refusal> {
        self.numbered("config.json")?;
        Ok(Plan {
            clone_flags: stages.first,
            clone_into_cgroup: stages.first_into_cgroup,
            intermediate: stages.second.is_some(),
            wants_id_maps: stages.user == UserNamespace::New,
            ops: self.arena.alloc_slice_copy(&self.ops),
            slots: self.slots,
            fields: self.fields,
            after_gate: ending.after_gate,
            mute: ending.mute,
        })
    }
}
