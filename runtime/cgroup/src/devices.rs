//! Which devices a container may use: rules, their v1 form, and the v2 program.
//!
//! Promises: the last rule that matches decides, for each of read, write and mknod
//! on its own; without a match the answer is no. A list that v1 cannot express
//! exactly is refused: the kernel would silently ignore a rule that narrows a wider
//! one (admin-guide/cgroup-v1/devices.rst).
//! Reference: bpf(2), `struct bpf_cgroup_dev_ctx` in linux/bpf.h.

use std::collections::BTreeMap;
use std::fmt;

use brig_spec::{DeviceRule, DeviceType};

use super::Error;
use super::plan::{Step, Write};

/// More rules than this are refused: each costs every open of a device.
const MAX_RULES: usize = 1024;

/// `BPF_DEVCG_ACC_*` in linux/bpf.h.
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

/// Kind of device node; the numbers are `BPF_DEVCG_DEV_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Block = 1,
    Char = 2,
}

/// A checked rule. None is the wildcard.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Option<Kind>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
    field: String,
}

/// A checked list of rules, reduced to those that can matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules(Vec<Rule>);

/// The rules for the devices that every container has: the specification's default
/// devices (config-linux.md "Default Devices") and making any node, which is
/// harmless as opening it is what the rules check.
#[must_use]
pub fn default_rules() -> Vec<DeviceRule> {
    let character = |major, minor, access| rule(DeviceType::Char, major, minor, access);
    vec![
        character(None, None, "m"),
        rule(DeviceType::Block, None, None, "m"),
        character(Some(1), Some(3), "rwm"), // /dev/null
        character(Some(1), Some(5), "rwm"), // /dev/zero
        character(Some(1), Some(7), "rwm"), // /dev/full
        character(Some(1), Some(8), "rwm"), // /dev/random
        character(Some(1), Some(9), "rwm"), // /dev/urandom
        character(Some(5), Some(0), "rwm"), // /dev/tty
        character(Some(5), Some(1), "rwm"), // /dev/console
        character(Some(5), Some(2), "rwm"), // /dev/ptmx
        character(Some(136), None, "rwm"),  // /dev/pts/*
    ]
}

fn rule(kind: DeviceType, major: Option<i64>, minor: Option<i64>, access: &str) -> DeviceRule {
    DeviceRule { allow: true, kind: Some(kind), major, minor, access: Some(access.to_owned()) }
}

impl Rules {
    /// Checks `asked` (`linux.resources.devices`), then `more`, which follow it.
    pub(crate) fn parse(asked: &[DeviceRule], more: &[DeviceRule]) -> Result<Rules, Error> {
        let asked =
            asked.iter().enumerate().map(|(at, r)| (r, format!("linux.resources.devices[{at}]")));
        let more = more.iter().enumerate().map(|(at, r)| (r, format!("default device rule {at}")));
        let mut rules = Vec::new();
        for (rule, field) in asked.chain(more) {
            rules.push(Rule::parse(rule, field)?);
        }
        if rules.len() > MAX_RULES {
            let problem = format!("{} rules, at most {MAX_RULES} are possible", rules.len());
            return Err(Error::field("linux.resources.devices", problem));
        }
        // What a rule for everything overrides, and denials before any grant, say nothing.
        if let Some(last) = rules.iter().rposition(Rule::is_everything) {
            rules.drain(..last);
        }
        let first = rules.iter().position(|rule| rule.allow).unwrap_or(rules.len());
        rules.drain(..first);
        Ok(Rules(rules))
    }

    /// The rules as text, for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let word = |rule: &Rule| if rule.allow { "allow" } else { "deny" };
        let rules = self.0.iter().map(|rule| format!("{} {rule}", word(rule)));
        std::iter::once("deny a".to_owned()).chain(rules).collect()
    }
}

impl Rule {
    fn parse(rule: &DeviceRule, field: String) -> Result<Rule, Error> {
        let kind = match rule.kind {
            None | Some(DeviceType::All) => None,
            Some(DeviceType::Block) => Some(Kind::Block),
            Some(DeviceType::Char | DeviceType::Unbuffered) => Some(Kind::Char),
            Some(DeviceType::Fifo) => {
                return Err(Error::field(format!("{field}.type"), "\"p\" is not a, b or c"));
            }
        };
        let number = |value: Option<i64>, name: &str| match value {
            None | Some(-1) => Ok(None),
            Some(value) => u32::try_from(value).map(Some).map_err(|_| {
                Error::field(format!("{field}.{name}"), format!("{value} is not a device number"))
            }),
        };
        let (major, minor) = (number(rule.major, "major")?, number(rule.minor, "minor")?);
        let text = rule.access.as_deref().unwrap_or("");
        let mut access = 0;
        for letter in text.chars() {
            access |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => 0x80,
            };
        }
        if access == 0 || access & 0x80 != 0 {
            let problem = format!("{text:?} is not made of r, w and m");
            return Err(Error::field(format!("{field}.access"), problem));
        }
        Ok(Rule { allow: rule.allow, kind, major, minor, access, field })
    }

    fn is_everything(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == ALL
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_everything() {
            return f.write_str("a");
        }
        f.write_str(match self.kind {
            None => "a",
            Some(Kind::Block) => "b",
            Some(Kind::Char) => "c",
        })?;
        write!(f, " {}:{} {}", Number(self.major), Number(self.minor), Access(self.access))
    }
}

struct Number(Option<u32>);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("*"),
        }
    }
}

struct Access(u8);

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [(READ, "r"), (WRITE, "w"), (MKNOD, "m")] {
            if self.0 & bit != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

type Key = (Kind, Option<u32>, Option<u32>);

/// The kernel's v1 state: a default, and exceptions to it that all say the opposite.
struct Exceptions {
    allow: bool,
    entries: BTreeMap<Key, (u8, String)>,
}

impl Exceptions {
    fn of(rules: &Rules) -> Result<Exceptions, Error> {
        let mut state = Exceptions { allow: false, entries: BTreeMap::new() };
        for rule in &rules.0 {
            if rule.is_everything() {
                state = Exceptions { allow: rule.allow, entries: BTreeMap::new() };
                continue;
            }
            let kinds = rule.kind.map_or(vec![Kind::Block, Kind::Char], |kind| vec![kind]);
            for kind in kinds {
                state.apply(kind, rule)?;
            }
        }
        Ok(state)
    }

    fn apply(&mut self, kind: Kind, rule: &Rule) -> Result<(), Error> {
        if rule.allow != self.allow {
            let key = (kind, rule.major, rule.minor);
            self.entries.entry(key).or_insert_with(|| (0, rule.field.clone())).0 |= rule.access;
            return Ok(());
        }
        for ((_, major, minor), (access, _)) in
            self.entries.iter_mut().filter(|((of, ..), _)| *of == kind)
        {
            let covered = covers(rule.major, *major) && covers(rule.minor, *minor);
            let overlaps = meets(rule.major, *major) && meets(rule.minor, *minor);
            if covered {
                *access &= !rule.access;
            } else if overlaps && *access & rule.access != 0 {
                let problem = "cgroup v1 cannot express a rule that narrows an earlier, wider one";
                return Err(Error::field(rule.field.as_str(), problem));
            }
        }
        self.entries.retain(|_, (access, _)| *access != 0);
        Ok(())
    }
}

fn covers(wide: Option<u32>, narrow: Option<u32>) -> bool {
    wide.is_none() || wide == narrow
}

fn meets(one: Option<u32>, other: Option<u32>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// `devices.deny` and `devices.allow` for a cgroup with nothing in it yet.
pub(crate) fn v1_writes(directory: usize, rules: &Rules) -> Result<Vec<Step>, Error> {
    let state = Exceptions::of(rules)?;
    let (base, exception) = match state.allow {
        true => ("devices.allow", "devices.deny"),
        false => ("devices.deny", "devices.allow"),
    };
    let base = Write::new(directory, base, "a", "linux.resources.devices").default_if(state.allow);
    let mut steps = vec![Step::Write(base)];
    for ((kind, major, minor), (access, field)) in state.entries {
        let letter = if kind == Kind::Block { 'b' } else { 'c' };
        let value = format!("{letter} {}:{} {}", Number(major), Number(minor), Access(access));
        steps.push(Step::Write(Write::new(directory, exception, value, field)));
    }
    Ok(steps)
}

/// An eBPF instruction of the few kinds that the program needs (bpf standardization
/// "instruction-set.rst"): opcode, registers, jump offset, immediate.
#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    jump: Jump,
    value: u32,
}

/// Where a jump goes; resolved when the program is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Jump {
    None,
    /// A fixed offset: the field of a load.
    Offset(u8),
    /// The start of the code after rule number so-and-so.
    After(usize),
    Allow,
    Deny,
}

const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOVE: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const MOVE_REGISTER: u8 = 0xbf; // BPF_ALU64 | BPF_MOV | BPF_X
const AND: u8 = 0x57; // BPF_ALU64 | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x77; // BPF_ALU64 | BPF_RSH | BPF_K
const JUMP_EQUAL: u8 = 0x16; // BPF_JMP32 | BPF_JEQ | BPF_K (Linux 5.1)
const JUMP_NOT_EQUAL: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
const JUMP_SET: u8 = 0x46; // BPF_JMP32 | BPF_JSET | BPF_K
const JUMP_ALWAYS: u8 = 0x05; // BPF_JMP | BPF_JA
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const PENDING: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

#[derive(Default)]
struct Assembler {
    code: Vec<Instruction>,
    /// Where the code after each rule starts.
    after: Vec<usize>,
}

impl Assembler {
    fn push(&mut self, code: u8, to: u8, jump: Jump, value: u32) {
        self.code.push(Instruction { code, to, from: 0, jump, value });
    }

    fn load(&mut self, to: u8, offset: u8) {
        let jump = Jump::Offset(offset);
        self.code.push(Instruction { code: LOAD_WORD, to, from: CONTEXT, jump, value: 0 });
    }

    /// The requested access in PENDING loses what rules allow, last rule first,
    /// until nothing is left (allow) or a rule denies one of what is.
    fn rule(&mut self, number: usize, rule: &Rule) {
        let verdict = if rule.allow { Jump::Allow } else { Jump::Deny };
        let mut checks = Vec::new();
        checks.extend(rule.kind.map(|kind| (TYPE, kind as u32)));
        checks.extend(rule.major.map(|major| (MAJOR, major)));
        checks.extend(rule.minor.map(|minor| (MINOR, minor)));
        let last = checks.pop();
        for (register, value) in checks {
            self.push(JUMP_NOT_EQUAL, register, Jump::After(number), value);
        }
        match (rule.access == ALL, last) {
            (true, Some((register, value))) => self.push(JUMP_EQUAL, register, verdict, value),
            (true, None) => self.push(JUMP_ALWAYS, 0, verdict, 0),
            (false, last) => {
                if let Some((register, value)) = last {
                    self.push(JUMP_NOT_EQUAL, register, Jump::After(number), value);
                }
                if rule.allow {
                    self.push(AND, PENDING, Jump::None, u32::from(ALL & !rule.access));
                    self.push(JUMP_EQUAL, PENDING, verdict, 0);
                } else {
                    self.push(JUMP_SET, PENDING, verdict, u32::from(rule.access));
                }
            }
        }
        self.after.push(self.code.len());
    }

    fn finish(mut self) -> Vec<u64> {
        // The verifier refuses code that nothing reaches.
        let falls_through = self.code.last().is_none_or(|last| last.code != JUMP_ALWAYS);
        let used = |code: &[Instruction], jump| code.iter().any(|i| i.jump == jump);
        let deny = self.code.len();
        if falls_through || used(&self.code, Jump::Deny) {
            self.push(MOVE, RESULT, Jump::None, 0);
            self.push(EXIT, 0, Jump::None, 0);
        }
        let allow = self.code.len();
        if used(&self.code, Jump::Allow) {
            self.push(MOVE, RESULT, Jump::None, 1);
            self.push(EXIT, 0, Jump::None, 0);
        }
        let resolve = |at: usize, jump| match jump {
            Jump::None => 0,
            Jump::Offset(offset) => usize::from(offset),
            Jump::After(rule) => self.after[rule] - at - 1,
            Jump::Allow => allow - at - 1,
            Jump::Deny => deny - at - 1,
        };
        self.code
            .iter()
            .enumerate()
            .map(|(at, i)| {
                // At most MAX_RULES * 5 instructions: an offset fits in 15 bits.
                let offset = resolve(at, i.jump) as u64 & 0x7fff;
                u64::from(i.code)
                    | u64::from(i.to) << 8
                    | u64::from(i.from) << 12
                    | offset << 16
                    | u64::from(i.value) << 32
            })
            .collect()
    }
}

/// The `BPF_PROG_TYPE_CGROUP_DEVICE` program for `rules`: one instruction in each
/// element, little-endian as on every machine that brig supports. It returns 1 to
/// allow and 0 to deny.
pub(crate) fn assemble(rules: &Rules) -> Vec<u64> {
    let mut assembler = Assembler::default();
    if !rules.0.is_empty() {
        assembler.load(TYPE, 0);
        let jump = Jump::None;
        assembler.code.push(Instruction {
            code: MOVE_REGISTER,
            to: PENDING,
            from: TYPE,
            jump,
            value: 0,
        });
        assembler.push(AND, TYPE, Jump::None, 0xffff);
        assembler.push(SHIFT_RIGHT, PENDING, Jump::None, 16);
        assembler.load(MAJOR, 4);
        assembler.load(MINOR, 8);
    }
    for (number, rule) in rules.0.iter().rev().enumerate() {
        assembler.rule(number, rule);
    }
    assembler.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
