//! Values of rules, as a policy file spells them.

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;

use brig_spec::{DeviceType, capability, quantity};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// Capabilities by name; bit N is number N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        capability::from_names("", &names).map(Self).map_err(|error| {
            let words = error.to_string();
            let words = words.split_once(": ").map_or(&*words, |(_, words)| words);
            let hint = error.hint().unwrap_or_default();
            D::Error::custom(format_args!("{words}\0{hint}"))
        })
    }
}

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(capability::names(self.0))
    }
}

/// Whether a text is what a pattern says: the same, or with a `*` at an end of the pattern anything there.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(end), Some(_)) => text.contains(end.trim_end_matches('*')),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => text == pattern,
    }
}

/// Megabits (1,000,000) a second, at least 1, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Megabits(Option<NonZeroU32>);

impl Megabits {
    /// As bytes a second; `None` is without a limit.
    #[must_use]
    pub fn bytes_a_second(self) -> Option<u64> {
        self.0.map(|megabits| u64::from(megabits.get()) * 125_000)
    }
}

/// What stands for no limit.
const UNLIMITED: &str = "unlimited";

impl<'de> Deserialize<'de> for Megabits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rate;
        impl Visitor<'_> for Rate {
            type Value = Megabits;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("megabits a second, at least 1, or \"unlimited\"")
            }
            fn visit_i64<E: Error>(self, rate: i64) -> Result<Megabits, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Signed(rate), &self);
                u64::try_from(rate).map_err(|_| wrong()).and_then(|rate| self.visit_u64(rate))
            }
            fn visit_u64<E: Error>(self, rate: u64) -> Result<Megabits, E> {
                let some = u32::try_from(rate).ok().and_then(NonZeroU32::new);
                let wrong = || E::invalid_value(serde::de::Unexpected::Unsigned(rate), &self);
                some.map(|rate| Megabits(Some(rate))).ok_or_else(wrong)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Megabits, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
                if text == UNLIMITED { Ok(Megabits(None)) } else { Err(wrong()) }
            }
        }
        deserializer.deserialize_any(Rate)
    }
}

impl Serialize for Megabits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(megabits) => serializer.serialize_u32(megabits.get()),
            None => serializer.serialize_str(UNLIMITED),
        }
    }
}

/// A filter of system calls that comes with brig (docs/seccomp-profiles.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilterName {
    /// For containers in containers.
    Nested,
    /// For ordinary containers.
    Default,
    /// For programs that are not trusted much.
    Restricted,
    /// For network services and interpreters.
    Sandbox,
    /// For computations.
    Compute,
}

impl FilterName {
    /// Each of them, the stricter ones last.
    pub(crate) const ALL: [Self; 5] =
        [Self::Nested, Self::Default, Self::Restricted, Self::Sandbox, Self::Compute];

    /// As a policy file and `brig seccomp` spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nested => "nested",
            Self::Default => "default",
            Self::Restricted => "restricted",
            Self::Sandbox => "sandbox",
            Self::Compute => "compute",
        }
    }
}

/// What becomes of the root of a container whose ids are mapped, where it is an overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MappedRoot {
    /// It is read-only.
    ReadOnly,
    /// What is written is in memory, and gone with the container.
    Ephemeral,
}

/// What becomes of a mount whose file system cannot give its files other owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unmappable {
    /// The container is not made.
    Refuse,
    /// It is read-only, with the owners that it has.
    ReadOnly,
}

/// A size in bytes: a number, or a text such as `512MiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub i64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 > 0 && self.0 & ((1 << shift) - 1) == 0 {
                return write!(f, "{} {unit}", self.0 >> shift);
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size, such as 67108864 or \"64MiB\"")
            }
            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Bytes, E> {
                if bytes < 0 {
                    return Err(E::invalid_value(serde::de::Unexpected::Signed(bytes), &self));
                }
                Ok(Bytes(bytes))
            }
            fn visit_u64<E: Error>(self, bytes: u64) -> Result<Bytes, E> {
                i64::try_from(bytes).map(Bytes).map_err(E::custom)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                let bytes = quantity::size_bytes(text).map(Bytes);
                bytes.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Size)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

/// Processors, in thousandths: `1`, `0.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Processors(pub u32);

/// More than any machine has.
const MOST_PROCESSORS: f64 = 1e6;

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{} processors", self.0 / 1000),
            thousandths => write!(f, "{}.{thousandths:03} processors", self.0 / 1000),
        }
    }
}

impl<'de> Deserialize<'de> for Processors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Processors;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of processors from 0.001 on, such as 1 or 0.5")
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Processors, E> {
                self.visit_f64(number as f64)
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Processors, E> {
                self.visit_f64(number as f64)
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Processors, E> {
                if !(0.001..=MOST_PROCESSORS).contains(&number) {
                    return Err(E::invalid_value(serde::de::Unexpected::Float(number), &self));
                }
                Ok(Processors((number * 1000.0) as u32))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

impl Serialize for Processors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 1000.0)
    }
}

/// A device: `c 10:229`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Character or block.
    pub kind: DeviceType,
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
}

impl Device {
    /// Whether a node, or a rule, of these numbers is of this device.
    #[must_use]
    pub fn is(&self, kind: DeviceType, major: i64, minor: i64) -> bool {
        self.kind.file_type() == kind.file_type() && (self.major, self.minor) == (major, minor)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = if self.kind == DeviceType::Block { 'b' } else { 'c' };
        write!(f, "{letter} {}:{}", self.major, self.minor)
    }
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = || {
            let (letter, numbers) = text.split_once(' ')?;
            let kind = match letter {
                "c" => DeviceType::Char,
                "b" => DeviceType::Block,
                _ => return None,
            };
            let (major, minor) = numbers.split_once(':')?;
            let number = |text: &str| text.parse::<u32>().ok().map(i64::from);
            Some(Self { kind, major: number(major)?, minor: number(minor)? })
        };
        read().ok_or_else(|| {
            let unexpected = serde::de::Unexpected::Str(&text);
            D::Error::invalid_value(unexpected, &"a device, such as \"c 10:229\"")
        })
    }
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A disk, and how much of it may be read and written in a second; what is absent is not limited.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskRates {
    /// The whole disk, no partition.
    pub device: Device,
    /// Bytes read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bps: Option<Bytes>,
    /// Bytes written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_bps: Option<Bytes>,
    /// Operations that read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_iops: Option<u64>,
    /// Operations that write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_iops: Option<u64>,
}

impl DiskRates {
    /// In the order of the keys. 0, which is no limit to the kernel, is as little as can be.
    pub(crate) fn rates(&self) -> [Option<u64>; 4] {
        let bytes = |rate: Option<Bytes>| rate.and_then(|rate| u64::try_from(rate.0).ok());
        let Self { read_bps, write_bps, read_iops, write_iops, .. } = *self;
        let rates = [bytes(read_bps), bytes(write_bps), read_iops, write_iops];
        rates.map(|rate| rate.map(|rate| rate.max(1)))
    }

    /// As `io.max` has it: `8:0`.
    pub(crate) fn numbers(&self) -> String {
        format!("{}:{}", self.device.major, self.device.minor)
    }
}

/// What a rule lets through: `"any"`, or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Only<T> {
    /// All of it.
    Any,
    /// These, and nothing else.
    These(Vec<T>),
}

impl<T> Only<T> {
    /// Whether it is a list.
    #[must_use]
    pub fn is_these(&self) -> bool {
        matches!(self, Self::These(_))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Only<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = Only<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"any\" or a list")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Only<T>, E> {
                match text {
                    "any" => Ok(Only::Any),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Only<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Only::These)
            }
        }
        deserializer.deserialize_any(List(PhantomData))
    }
}

impl<T: Serialize> Serialize for Only<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("any"),
            Self::These(list) => list.serialize(serializer),
        }
    }
}

/// What a process reaches only among those of its own ruleset (Landlock, version 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Sockets with abstract names (unix(7)).
    AbstractSockets,
    /// Signals (signal(7)).
    Signals,
}

/// A mitigation that brig's filters know (`brig seccomp mitigations`), by its name or by a CVE of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Mitigation(pub &'static str);

impl<'de> Deserialize<'de> for Mitigation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let found = brig_seccomp::mitigation::find(&text).map(|one| Self(one.name));
        found.ok_or_else(|| {
            let hint = "`brig seccomp mitigations` lists them";
            D::Error::custom(format_args!("no mitigation has the name or CVE {text:?}\0{hint}"))
        })
    }
}

/// A mitigation that the node does without.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchedOff {
    /// Which.
    pub name: Mitigation,
    /// Why, for whoever reads the policy, or what came of it, later.
    pub reason: String,
}

/// A program of the host, by what it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookProgram {
    /// Its path, without links.
    pub path: String,
    /// The user whose it is.
    #[serde(default)]
    pub owner: u32,
    /// The digest of its content.
    pub sha256: Digest,
}

/// A program by which an engine's containers get their networks: an update of the engine makes it another, so it is known by
/// where it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineProgram {
    /// Its path. Only root may have put it there.
    pub path: String,
    /// With which arguments, the first of which is its name, it may be a hook; `*` stands for one that is an id: letters,
    /// digits and `_` alone.
    pub args: Vec<String>,
}

impl EngineProgram {
    /// Whether a hook has such arguments.
    #[must_use]
    pub fn fits(&self, args: &[String]) -> bool {
        // Any words at all would let whoever writes a configuration choose what the engine does.
        let is_id = |word: &str| {
            !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let mut pairs = self.args.iter().zip(args);
        self.args.len() == args.len()
            && pairs.all(|(known, word)| known == word || known == "*" && is_id(word))
    }
}

/// A digest of SHA-256, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Digest(pub String);

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        let unexpected = serde::de::Unexpected::Str(&text);
        Err(D::Error::invalid_value(unexpected, &"64 hexadecimal digits, as sha256sum(1) prints"))
    }
}
