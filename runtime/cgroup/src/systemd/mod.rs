//! The systemd driver: the container as a transient scope unit. cgroup v2 only.
//!
//! systemd owns the tree, and makes a scope around a process that exists. So the
//! launcher clones the child, which waits; [`start`] makes the scope with that process
//! in it; then brig writes the limits into the delegated directory, as the fs driver
//! does. The limits are unit properties as well, for systemd writes its own view again
//! whenever the daemon is reloaded. Later processes (exec) are cloned straight into
//! the scope's directory.
//!
//! v1 is refused: there a reload lifts the device rules of a scope (systemd writes `a`
//! to `devices.allow`), and nothing would tell.
//! Reference: systemd.resource-control(5), org.freedesktop.systemd1(5),
//! <https://systemd.io/CGROUP_DELEGATION>.

mod connection;
mod message;

use std::fmt;
use std::io;
use std::path::PathBuf;

use brig_spec::NumberList;
use serde::{Deserialize, Serialize};

use super::apply::Cgroup;
use super::facts::{CgroupFacts, Layout};
use super::node::Node;
use super::plan::{Absent, Directory, Request, Step, writes};
use connection::Connection;
use message::{Property, Value};

/// A message from the bus is refused, or has no part outside of it.
#[cfg(any(feature = "fuzz", fuzzing))]
pub fn fuzz_message(bytes: &[u8]) {
    let header = bytes.first_chunk();
    if let Some(total) = header.and_then(message::total_bytes) {
        assert!((message::FIXED_HEADER_BYTES..=message::MAX_MESSAGE_BYTES).contains(&total));
    }
    if let Some(message) = message::Message::decode(bytes) {
        assert!(message.body.len() <= bytes.len() - message::FIXED_HEADER_BYTES);
        let parts = [message.text(), message.removed_job().map(|(job, _)| job)];
        assert!(parts.iter().flatten().all(|part| part.len() < message.body.len()));
        assert!(message.variant_bytes().is_none_or(|bytes| bytes.len() < message.body.len()));
    }
}

/// Whether the bytes are one whole message.
#[cfg(any(feature = "fuzz", fuzzing))]
pub fn is_message(bytes: &[u8]) -> bool {
    bytes.first_chunk().and_then(message::total_bytes) == Some(bytes.len())
        && message::Message::decode(bytes).is_some()
}

/// The longest unit name (`UNIT_NAME_MAX` in systemd's unit-name.h).
const MAX_UNIT_BYTES: usize = 255;

/// A transient scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// The unit's name, e.g. `brig-web.scope`.
    pub unit: String,
    /// The slice that holds it, e.g. `machine.slice`.
    pub slice: String,
    /// The unit's description.
    pub description: String,
    /// The manager is the calling user's, not the system's.
    pub user: bool,
    /// The cgroup below the hierarchy's root, without a leading `/`.
    pub cgroup: String,
}

/// A scope that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// As it was planned.
    pub scope: Scope,
    /// What tells it from others that have had, or will have, its name: `InvocationID` of
    /// org.freedesktop.systemd1(5), in hexadecimal.
    pub invocation: String,
}

impl Unit {
    /// Whether the unit that has the name now is this one.
    fn runs(&self, connection: &mut Connection) -> Result<bool, Error> {
        match connection.invocation(&self.scope.unit) {
            Err(error) if error.is("NoSuchUnit") || error.is("UnknownObject") => Ok(false),
            answer => Ok(answer? == self.invocation),
        }
    }
}

/// What systemd did not do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The manager cannot be reached.
    Connect {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The connection broke.
    Io {
        /// The kernel's answer.
        source: io::Error,
    },
    /// The other side does not speak D-Bus as brig knows it.
    Protocol,
    /// No answer in time.
    Timeout {
        /// How long brig waited.
        waited_ms: u64,
    },
    /// A call was answered with an error.
    Refused {
        /// The method.
        call: &'static str,
        /// The D-Bus name of the error.
        name: String,
        /// Its text.
        text: String,
    },
    /// The unit's cgroup is not where limits would be written.
    Elsewhere {
        /// The unit.
        unit: String,
        /// The directory that does not hold the process.
        path: PathBuf,
    },
    /// The unit that has the name is not the container's.
    Another {
        /// The unit.
        unit: String,
    },
    /// The unit's job did not come to a good end.
    Job {
        /// The unit.
        unit: String,
        /// systemd's word for it, e.g. `failed`.
        result: String,
    },
}

impl Error {
    /// What the person who reads the error can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Connect { .. } | Error::Io { .. } | Error::Protocol => {
                Some("is systemd running? without it, leave out --systemd-cgroup".into())
            }
            Error::Timeout { .. } => {
                Some("see `systemctl list-jobs` and `journalctl -b _PID=1`".into())
            }
            Error::Refused { name, .. } if name.ends_with("UnitExists") => {
                Some("a container of this name runs, or `systemctl reset-failed` is due".into())
            }
            Error::Refused { .. } => Some("see `journalctl -b _PID=1`".into()),
            Error::Elsewhere { unit, .. } => {
                Some(format!("see `systemctl show -p ControlGroup {unit}`, with --user for a user"))
            }
            Error::Another { unit } => Some(format!("see `systemctl status {unit}`")),
            Error::Job { unit, .. } => Some(format!("see `journalctl -u {unit}`")),
        }
    }

    fn is(&self, error: &str) -> bool {
        matches!(self, Error::Refused { name, .. } if name.ends_with(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Connect { path, .. } => write!(f, "connecting to {} failed", path.display()),
            Error::Io { .. } => f.write_str("talking to systemd failed"),
            Error::Protocol => f.write_str("systemd's answer is not understood"),
            Error::Timeout { waited_ms } => write!(f, "systemd did not answer in {waited_ms} ms"),
            Error::Refused { call, name, text } => write!(f, "{call} was refused: {name}: {text}"),
            Error::Elsewhere { unit, path } => {
                write!(f, "the process of {unit} is not in {}", path.display())
            }
            Error::Another { unit } => write!(f, "{unit} is not the container's any more"),
            Error::Job { unit, result } => write!(f, "the job of {unit} ended as {result:?}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Connect { source, .. } | Error::Io { source } => Some(source),
            _ => None,
        }
    }
}

impl Scope {
    pub(crate) fn lines(&self) -> Vec<String> {
        let manager = if self.user { "user's" } else { "system's" };
        vec![format!(
            "start transient unit {} in {} (the {manager} manager) around the waiting child",
            self.unit, self.slice
        )]
    }
}

/// Plans the scope: `cgroupsPath` is `slice:prefix:name`, or absent.
pub(crate) fn scope(facts: &CgroupFacts, request: &Request<'_>) -> Result<Scope, super::Error> {
    const FIELD: &str = "linux.cgroupsPath";
    let refuse = |problem: String| super::Error::field(FIELD, problem);
    let Layout::Unified(unified) = &facts.layout else {
        let problem = "the systemd driver needs cgroup v2: on v1 systemd lifts device rules";
        return Err(super::Error::field("--systemd-cgroup", problem));
    };
    let text = request.cgroups_path.unwrap_or("");
    let (slice, prefix, name) = match text.split(':').collect::<Vec<_>>()[..] {
        [""] => ("", "brig", request.id),
        [slice, prefix, name] => (slice, prefix, name),
        _ => {
            return Err(refuse(format!("{text:?} is not of the form slice:prefix:name")));
        }
    };
    if name.is_empty() || name.ends_with(".slice") {
        return Err(refuse(format!("{text:?} does not name a scope")));
    }
    let fallback = if request.rootless { "user.slice" } else { "system.slice" };
    let slice = if slice.is_empty() { fallback } else { slice };
    let path = expand_slice(slice)
        .ok_or_else(|| refuse(format!("{slice:?} is not the name of a slice")))?;
    let separator = if prefix.is_empty() { "" } else { "-" };
    let unit = format!("{}{separator}{}.scope", escape(prefix), escape(name));
    if unit.len() > MAX_UNIT_BYTES {
        return Err(refuse(format!("the unit's name is longer than {MAX_UNIT_BYTES} bytes")));
    }
    let root = if request.rootless { user_root(&unified.own)? } else { String::new() };
    Ok(Scope {
        cgroup: format!("{root}{path}{unit}"),
        unit,
        slice: slice.to_owned(),
        description: format!("brig container {}", request.id),
        user: request.rootless,
    })
}

/// The cgroup of the user's manager, `user.slice/user-1000.slice/user@1000.service/`. brig is in
/// it, or beside it: in a session of the user's, such as `user.slice/user-1000.slice/session-2.scope`.
fn user_root(own: &str) -> Result<String, super::Error> {
    let is_manager = |part: &str| part.starts_with("user@") && part.ends_with(".service");
    let parts: Vec<&str> = own.split('/').filter(|part| !part.is_empty()).collect();
    if let Some(at) = parts.iter().position(|part| is_manager(part)) {
        return Ok(parts[..=at].join("/") + "/");
    }
    let slice = parts.iter().enumerate().find_map(|(at, part)| {
        let uid = part.strip_prefix("user-")?.strip_suffix(".slice")?;
        uid.bytes().all(|b| b.is_ascii_digit()).then_some((at, uid))
    });
    match slice {
        Some((at, uid)) => Ok(format!("{}/user@{uid}.service/", parts[..=at].join("/"))),
        None => Err(super::Error::field(
            "--systemd-cgroup",
            format!("brig runs in {own}, which is not below a user's slice (user-UID.slice)"),
        )),
    }
}

/// `a-b.slice` is `a.slice/a-b.slice/`; `-.slice` is the root (systemd.slice(5)).
fn expand_slice(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice")?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":_.\\-@".contains(&b);
    if name == "-" {
        return Some(String::new());
    }
    if slice.len() > MAX_UNIT_BYTES || !name.bytes().all(plain) {
        return None;
    }
    let mut path = String::new();
    let mut prefix = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return None;
        }
        prefix.push_str(part);
        path.push_str(&format!("{prefix}.slice/"));
        prefix.push('-');
    }
    Some(path)
}

/// Escapes what a unit's name may not hold as systemd-escape(1) does; a dash stays.
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":_.-@".contains(&b);
    let escaped = |b: u8| {
        if plain(b) { (b as char).to_string() } else { format!("\\x{b:02x}") }
    };
    text.bytes().map(escaped).collect()
}

/// The unit properties that say what `steps` write. A control for which systemd has no
/// property is one that it does not touch.
fn properties(steps: &[Step]) -> Vec<Property> {
    let mut found = Vec::new();
    for write in writes(steps) {
        let number = || match write.value.as_str() {
            "max" => Some(u64::MAX),
            value => value.parse().ok(),
        };
        let name = match write.file.as_str() {
            "memory.max" => "MemoryMax",
            "memory.high" => "MemoryHigh",
            "memory.low" => "MemoryLow",
            "memory.min" => "MemoryMin",
            "memory.swap.max" => "MemorySwapMax",
            "pids.max" => "TasksMax",
            "cpu.weight" => "CPUWeight",
            "io.weight" => "IOWeight",
            "io.bfq.weight" => {
                if let Absent::Instead { value, .. } = &write.absent {
                    let value = value.parse().ok().map(Value::Number);
                    found.extend(value.map(|value| ("IOWeight", value)));
                }
                continue;
            }
            "cpuset.cpus" | "cpuset.mems" => {
                let name =
                    if write.file.ends_with("cpus") { "AllowedCPUs" } else { "AllowedMemoryNodes" };
                // What only the kernel can read (`unified` may say `all`) is for the file alone.
                let list = NumberList::parse(&write.value);
                found.extend(list.map(|list| (name, Value::Bytes(list.bytes()))));
                continue;
            }
            "cpu.max" => {
                found.extend(quota(&write.value));
                continue;
            }
            _ => continue,
        };
        found.extend(number().map(|number| (name, Value::Number(number))));
    }
    found
}

/// `CPUQuotaPerSecUSec` and the period for a value of `cpu.max`. systemd rounds to whole
/// percents; the exact value is written to the file afterwards, and never above this.
fn quota(value: &str) -> Vec<Property> {
    const DEFAULT_PERIOD_US: u64 = 100_000;
    const PERCENT_US: u64 = 10_000;
    let mut words = value.split_whitespace();
    let quota = words.next().and_then(|word| word.parse::<u64>().ok());
    let period = words.next().and_then(|word| word.parse::<u64>().ok());
    let mut found = Vec::new();
    if let Some(period) = period {
        found.push(("CPUQuotaPeriodUSec", Value::Number(period)));
    }
    let per_second = quota.map_or(u64::MAX, |quota| {
        let period = period.unwrap_or(DEFAULT_PERIOD_US).max(1);
        (quota.saturating_mul(1_000_000) / period).div_ceil(PERCENT_US).saturating_mul(PERCENT_US)
    });
    found.push(("CPUQuotaPerSecUSec", Value::Number(per_second)));
    found
}

/// Starts the scope around process `pid`, with the limits in `steps`.
pub(crate) fn start(scope: Scope, steps: &[Step], pid: i32) -> Result<Unit, Error> {
    let mut all: Vec<Property> = vec![
        ("Description", Value::Text(scope.description.clone())),
        ("Slice", Value::Text(scope.slice.clone())),
        ("PIDs", Value::Pids(vec![pid.unsigned_abs()])),
        // The tree below the scope is the container's; systemd keeps out of it.
        ("Delegate", Value::Flag(true)),
        // The container does not end before the services that it may need.
        ("DefaultDependencies", Value::Flag(false)),
        // A scope that has failed goes away by itself (systemd 236).
        ("CollectMode", Value::Text("inactive-or-failed".into())),
        ("MemoryAccounting", Value::Flag(true)),
        ("CPUAccounting", Value::Flag(true)),
        ("IOAccounting", Value::Flag(true)),
        ("TasksAccounting", Value::Flag(true)),
    ];
    all.extend(properties(steps));
    let mut connection = Connection::open(scope.user)?;
    match connection.start(&scope.unit, &all) {
        // What is left of a unit that failed before.
        Err(error) if error.is("UnitExists") => {
            connection.reset_failed(&scope.unit)?;
            connection.start(&scope.unit, &all)?;
        }
        result => result?,
    }
    let invocation = connection.invocation(&scope.unit)?;
    Ok(Unit { scope, invocation })
}

/// The directory of the scope, which must hold process `pid`: a limit in a directory without
/// processes would bind nobody, and one with others is not the scope's.
pub(crate) fn member(scope: &Scope, directory: &Directory, pid: i32) -> Result<Node, super::Error> {
    let elsewhere = || {
        let (unit, path) = (scope.unit.clone(), directory.absolute());
        super::Error::Systemd(Error::Elsewhere { unit, path })
    };
    let absent = |error: super::Error| match error.errno() {
        Some(libc::ENOENT) => elsewhere(),
        _ => error,
    };
    let node = Node::now(directory, false).map_err(absent)?;
    let members = node.read("cgroup.procs").map_err(absent)?;
    let pid = pid.to_string();
    if members.lines().any(|line| line == pid) { Ok(node) } else { Err(elsewhere()) }
}

/// Tells systemd the limits in `steps`.
pub(crate) fn update(unit: &Unit, steps: &[Step]) -> Result<(), Error> {
    let changed = properties(steps);
    if changed.is_empty() {
        return Ok(());
    }
    let mut connection = Connection::open(unit.scope.user)?;
    match unit.runs(&mut connection)? {
        true => connection.set(&unit.scope.unit, &changed),
        false => Err(Error::Another { unit: unit.scope.unit.clone() }),
    }
}

/// Stops the scope of `cgroup`, which is empty. A scope goes away with its last process,
/// so that usually nothing is to be done.
pub(crate) fn stop(cgroup: &Cgroup, unit: &Unit) -> Result<(), Error> {
    // Where that cannot be known systemd is asked, and knows the unit.
    if !cgroup.nodes.iter().any(|node| node.is_there().unwrap_or(true)) {
        return Ok(());
    }
    let mut connection = Connection::open(unit.scope.user)?;
    if !unit.runs(&mut connection)? {
        return Ok(());
    }
    match connection.stop(&unit.scope.unit) {
        Err(error) if error.is("NoSuchUnit") => Ok(()),
        result => result,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
