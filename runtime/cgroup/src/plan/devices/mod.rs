//! Which devices a container may use: rules, their v1 form, and the v2 program.
//!
//! Promises: the last rule that matches decides, for each of read, write and mknod
//! on its own; without a match the answer is no. A list that v1 cannot express
//! exactly is refused: the kernel would silently ignore a rule that narrows a wider
//! one (admin-guide/cgroup-v1/devices.rst).

mod program;
mod v1;

use std::fmt;

use brig_spec::{DeviceRule, DeviceType};

use super::directories::Targets;
use super::step::Step;
use crate::Error;

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
struct Rules(Vec<Rule>);

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
        character(Some(5), Some(2), "rwm"), // /dev/ptmx
        character(Some(136), None, "rwm"),  // /dev/pts/*
    ]
}

fn rule(kind: DeviceType, major: Option<i64>, minor: Option<i64>, access: &str) -> DeviceRule {
    DeviceRule { allow: true, kind: Some(kind), major, minor, access: Some(access.to_owned()) }
}

/// The steps that leave only what `asked` (`linux.resources.devices`), then `more`, allow.
pub(super) fn steps(
    targets: &Targets<'_>,
    asked: &[DeviceRule],
    more: &[DeviceRule],
) -> Result<Vec<Step>, Error> {
    let rules = Rules::parse(asked, more)?;
    match targets.find("devices") {
        Some((directory, target)) if !target.unified => v1::writes(directory, &rules),
        _ => match targets.0.iter().position(|directory| directory.unified) {
            Some(directory) => Ok(vec![Step::AttachDevices {
                directory,
                rules: rules.lines(),
                program: program::assemble(&rules),
            }]),
            None => Err(Error::field(
                "linux.resources.devices",
                "the host has neither the v1 devices controller nor cgroup v2",
            )),
        },
    }
}

impl Rules {
    /// Checks `asked` (`linux.resources.devices`), then `more`, which follow it.
    fn parse(asked: &[DeviceRule], more: &[DeviceRule]) -> Result<Rules, Error> {
        let most = MAX_RULES - more.len().min(MAX_RULES);
        if asked.len() > most {
            let problem = format!("{} rules, at most {most} are possible", asked.len());
            return Err(Error::field("linux.resources.devices", problem));
        }
        let asked =
            asked.iter().enumerate().map(|(at, r)| (r, format!("linux.resources.devices[{at}]")));
        let more = more.iter().enumerate().map(|(at, r)| (r, format!("default device rule {at}")));
        let mut rules = Vec::new();
        for (rule, field) in asked.chain(more) {
            rules.push(Rule::parse(rule, field)?);
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
    fn lines(&self) -> Vec<String> {
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
                _ => 0,
            };
        }
        if access == 0 {
            let problem = format!("{text:?} has none of r, w and m in it");
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
