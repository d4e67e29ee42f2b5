//! A connection to systemd's manager.
//!
//! A client of our own, as the binary has to stay small and a general D-Bus crate (zbus)
//! brings an async runtime.
//! Promises: the connection, a read or a write waits no longer than what is left of [`TIMEOUT`].
//! Reference: the D-Bus specification, "Authentication Protocol";
//! org.freedesktop.systemd1(5).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::message::{
    Call, ERROR, Encoder, FIXED_HEADER_BYTES, METHOD_RETURN, Message, total_bytes,
};
use super::{Error, peer};
use crate::plan::Scope;
use crate::plan::properties::Property;

/// How long systemd may take for a job; that of runc and of systemctl's kind.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The first line of the answer to AUTH is short.
const MAX_LINE_BYTES: u64 = 512;

const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
/// systemd's own socket, for root on hosts without a bus.
const PRIVATE: &str = "/run/systemd/private";

/// An authenticated connection.
pub(super) struct Connection {
    stream: BufReader<UnixStream>,
    serial: u32,
    deadline: Instant,
}

/// Sockets on which the manager may be, in order of preference, and whether each is a
/// bus, on which one has to say hello.
fn candidates(scope: &Scope) -> Vec<(PathBuf, bool)> {
    match scope.user {
        true => scope.bus.iter().map(|path| (path.clone(), true)).collect(),
        false => vec![(SYSTEM_BUS.into(), true), (PRIVATE.into(), false)],
    }
}

/// As `UnixStream::connect`, which waits for ever where the server does not accept (socket(7) `SO_SNDTIMEO`).
fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(TIMEOUT))?;
    net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}

impl Connection {
    /// Connects to the scope's manager: the system's, or the user's own.
    pub(super) fn open(scope: &Scope) -> Result<Connection, Error> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let mut failure = Error::Connect { path: "user bus".into(), source: missing() };
        for (path, is_bus) in candidates(scope) {
            match connect(&path) {
                Ok(stream) => {
                    peer::check(&stream, scope.user)
                        .map_err(|source| Error::Connect { path, source })?;
                    return Connection::greet(stream, is_bus);
                }
                Err(source) => failure = Error::Connect { path, source },
            }
        }
        Err(failure)
    }

    fn greet(stream: UnixStream, is_bus: bool) -> Result<Connection, Error> {
        let deadline = Instant::now() + TIMEOUT;
        let mut connection = Connection { stream: BufReader::new(stream), serial: 0, deadline };
        connection.authenticate()?;
        if is_bus {
            let bus = |member, signature| Call {
                destination: "org.freedesktop.DBus",
                path: "/org/freedesktop/DBus",
                interface: "org.freedesktop.DBus",
                member,
                signature,
            };
            connection.call(&bus("Hello", ""), &[])?;
            let mut rule = Encoder::default();
            rule.text(
                "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'",
            );
            connection.call(&bus("AddMatch", "s"), &rule.0)?;
        }
        connection.manager("Subscribe", "", &[])?;
        Ok(connection)
    }

    /// AUTH EXTERNAL: the kernel tells the other side who we are. No user id is given, which may be another outside of
    /// brig's user namespace; sd-bus gives none either.
    fn authenticate(&mut self) -> Result<(), Error> {
        self.send(b"\0AUTH EXTERNAL\r\n")?;
        let mut line = self.line()?;
        if line.trim_end() == "DATA" {
            self.send(b"DATA\r\n")?;
            line = self.line()?;
        }
        if !line.starts_with("OK ") {
            return Err(Error::Refused {
                call: "AUTH",
                name: line.trim().into(),
                text: String::new(),
            });
        }
        self.send(b"BEGIN\r\n")
    }

    fn line(&mut self) -> Result<String, Error> {
        self.arm()?;
        let mut line = String::new();
        let mut limited = self.stream.by_ref().take(MAX_LINE_BYTES);
        limited.read_line(&mut line).map_err(io_error)?;
        Ok(line)
    }

    /// The rest of the time is the limit of the next read or write.
    fn arm(&self) -> Result<(), Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Timeout { waited_ms: TIMEOUT.as_millis() as u64 });
        }
        let stream = self.stream.get_ref();
        stream.set_read_timeout(Some(left)).map_err(io_error)?;
        stream.set_write_timeout(Some(left)).map_err(io_error)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.arm()?;
        self.stream.get_mut().write_all(bytes).map_err(io_error)
    }

    fn receive(&mut self) -> Result<Message, Error> {
        self.arm()?;
        let mut header = [0; FIXED_HEADER_BYTES];
        self.stream.read_exact(&mut header).map_err(io_error)?;
        let total = total_bytes(&header).ok_or(Error::Protocol)?;
        let mut bytes = header.to_vec();
        bytes.resize(total, 0);
        self.stream.read_exact(&mut bytes[FIXED_HEADER_BYTES..]).map_err(io_error)?;
        Message::decode(&bytes).ok_or(Error::Protocol)
    }

    fn call(&mut self, call: &Call<'_>, body: &[u8]) -> Result<Message, Error> {
        self.serial += 1;
        let serial = self.serial;
        self.send(&call.encode(serial, body))?;
        loop {
            let message = self.receive()?;
            match message.kind {
                METHOD_RETURN if message.reply_to == serial => return Ok(message),
                ERROR if message.reply_to == serial => {
                    let text = message.text().unwrap_or_default().to_owned();
                    let call = method_name(call.member);
                    return Err(Error::Refused { call, name: message.error, text });
                }
                // Signals of other jobs; ours cannot end before its call has returned.
                _ => {}
            }
        }
    }

    /// Calls a method of the manager.
    pub(super) fn manager(
        &mut self,
        member: &str,
        signature: &str,
        body: &[u8],
    ) -> Result<Message, Error> {
        let call = Call {
            destination: "org.freedesktop.systemd1",
            path: "/org/freedesktop/systemd1",
            interface: "org.freedesktop.systemd1.Manager",
            member,
            signature,
        };
        self.call(&call, body)
    }

    /// Calls a method that makes a job, and waits until that is done.
    fn job(&mut self, member: &str, signature: &str, body: &[u8], unit: &str) -> Result<(), Error> {
        let reply = self.manager(member, signature, body)?;
        let job = reply.text().ok_or(Error::Protocol)?.to_owned();
        loop {
            let message = self.receive()?;
            match message.removed_job() {
                Some((removed, "done")) if removed == job => return Ok(()),
                Some((removed, result)) if removed == job => {
                    return Err(Error::Job { unit: unit.into(), result: result.into() });
                }
                _ => {}
            }
        }
    }

    /// `StartTransientUnit`, until the unit is active.
    pub(super) fn start(&mut self, unit: &str, properties: &[Property]) -> Result<(), Error> {
        let mut body = Encoder::default();
        body.text(unit);
        body.text("fail");
        body.properties(properties);
        body.array(8, |_| {});
        self.job("StartTransientUnit", "ssa(sv)a(sa(sv))", &body.0, unit)
    }

    /// `StopUnit`, until the unit is gone.
    pub(super) fn stop(&mut self, unit: &str) -> Result<(), Error> {
        let mut body = Encoder::default();
        body.text(unit);
        body.text("replace");
        self.job("StopUnit", "ss", &body.0, unit)
    }

    /// `SetUnitProperties`, for the unit's life.
    pub(super) fn set(&mut self, unit: &str, properties: &[Property]) -> Result<(), Error> {
        let mut body = Encoder::default();
        body.text(unit);
        body.flag(true);
        body.properties(properties);
        self.manager("SetUnitProperties", "sba(sv)", &body.0).map(drop)
    }

    /// `InvocationID` of the unit, in hexadecimal; empty for one that does not run.
    pub(super) fn invocation(&mut self, unit: &str) -> Result<String, Error> {
        let call = Call {
            destination: "org.freedesktop.systemd1",
            path: &object(unit),
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            signature: "ss",
        };
        let mut body = Encoder::default();
        body.text("org.freedesktop.systemd1.Unit");
        body.text("InvocationID");
        let answer = self.call(&call, &body.0)?;
        let id = answer.variant_bytes().ok_or(Error::Protocol)?;
        Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// `ResetFailedUnit`: lets systemd forget a unit that has failed.
    pub(super) fn reset_failed(&mut self, unit: &str) -> Result<(), Error> {
        let mut body = Encoder::default();
        body.text(unit);
        self.manager("ResetFailedUnit", "s", &body.0).map(drop)
    }
}

/// The object of a unit: what is neither letter nor digit, and a digit in front, is `_` and its
/// number (`bus_label_escape` in systemd's bus-label.c).
fn object(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (at, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && at > 0) {
            path.push(byte.into());
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

/// The names of errors outlive the call.
fn method_name(member: &str) -> &'static str {
    const NAMES: [&str; 8] = [
        "Hello",
        "AddMatch",
        "Subscribe",
        "StartTransientUnit",
        "StopUnit",
        "SetUnitProperties",
        "Get",
        "ResetFailedUnit",
    ];
    NAMES.iter().find(|name| **name == member).copied().unwrap_or("call")
}

fn io_error(source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Error::Timeout { waited_ms: TIMEOUT.as_millis() as u64 }
        }
        _ => Error::Io { source },
    }
}
