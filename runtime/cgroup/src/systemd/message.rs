//! D-Bus messages: the few types that systemd's manager needs.
//!
//! Promises: what is read is bounded and checked; a message that is cut short or has
//! another shape is an error, never a panic.
//! Reference: the D-Bus specification, "Message Protocol" and "Marshaling".

use crate::plan::properties::{Property, Value};

/// The largest message that is read. Replies here have a few hundred bytes.
pub(super) const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// The part of the header that has a fixed size.
pub(super) const FIXED_HEADER_BYTES: usize = 16;

/// Message types.
pub(super) const METHOD_CALL: u8 = 1;
pub(super) const METHOD_RETURN: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const SIGNAL: u8 = 4;

/// Header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// The type of a property's value, in the letters of the D-Bus specification.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Text(_) => "s",
        Value::Flag(_) => "b",
        Value::Number(_) => "t",
        Value::Pids(_) => "au",
        Value::Bytes(_) => "ay",
    }
}

/// Little-endian marshalling; alignment counts from the start of the buffer.
#[derive(Debug, Default)]
pub(super) struct Encoder(pub(super) Vec<u8>);

impl Encoder {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.u32(u32::from(value));
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.align(8);
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.u32(length(text.len()));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(text.len().to_le_bytes()[0]);
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    /// An array: its length in bytes counts neither itself nor the padding after it.
    pub(super) fn array(&mut self, align: usize, content: impl FnOnce(&mut Encoder)) {
        self.u32(0);
        let at = self.0.len() - 4;
        self.align(align);
        let start = self.0.len();
        content(self);
        let bytes = length(self.0.len() - start).to_le_bytes();
        self.0[at..at + 4].copy_from_slice(&bytes);
    }

    fn variant(&mut self, value: &Value) {
        self.signature(type_of(value));
        match value {
            Value::Text(text) => self.text(text),
            Value::Flag(flag) => self.flag(*flag),
            Value::Number(number) => self.u64(*number),
            Value::Pids(pids) => self.array(4, |inner| pids.iter().for_each(|pid| inner.u32(*pid))),
            Value::Bytes(bytes) => self.array(1, |inner| inner.0.extend(bytes)),
        }
    }

    /// `a(sv)`.
    pub(super) fn properties(&mut self, properties: &[Property]) {
        self.array(8, |inner| {
            for (name, value) in properties {
                inner.align(8);
                inner.text(name);
                inner.variant(value);
            }
        });
    }

    fn field(&mut self, code: u8, signature: &str, text: &str) {
        self.align(8);
        self.0.push(code);
        self.signature(signature);
        if signature == "g" {
            self.signature(text);
        } else {
            self.text(text);
        }
    }
}

/// Lengths here are of what brig itself has made; none is near the limit.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A method call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) signature: &'a str,
}

impl Call<'_> {
    /// The message with `body`, which is marshalled as `signature` says.
    pub(super) fn encode(&self, serial: u32, body: &[u8]) -> Vec<u8> {
        let mut message = Encoder(vec![b'l', METHOD_CALL, 0, 1]);
        message.u32(length(body.len()));
        message.u32(serial);
        message.array(8, |fields| {
            fields.field(PATH, "o", self.path);
            fields.field(INTERFACE, "s", self.interface);
            fields.field(MEMBER, "s", self.member);
            fields.field(DESTINATION, "s", self.destination);
            if !self.signature.is_empty() {
                fields.field(SIGNATURE, "g", self.signature);
            }
        });
        message.align(8);
        message.0.extend(body);
        message.0
    }
}

/// A received message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) reply_to: u32,
    pub(super) member: String,
    pub(super) error: String,
    pub(super) signature: String,
    pub(super) body: Vec<u8>,
}

/// How long the whole message is, from its fixed header. None: not a message for us.
pub(super) fn total_bytes(header: &[u8; FIXED_HEADER_BYTES]) -> Option<usize> {
    let [b'l', _, _, 1, ..] = header else {
        return None;
    };
    let mut decoder = Decoder { bytes: header, at: 4 };
    let body = decoder.u32()? as usize;
    decoder.at = 12;
    let fields = decoder.u32()? as usize;
    let total = FIXED_HEADER_BYTES.checked_add(fields)?.checked_next_multiple_of(8)?;
    total.checked_add(body).filter(|total| *total <= MAX_MESSAGE_BYTES)
}

impl Message {
    /// None: the bytes are not a well-formed message.
    pub(super) fn decode(bytes: &[u8]) -> Option<Message> {
        let mut decoder = Decoder { bytes, at: 12 };
        let mut message = Message { kind: *bytes.get(1)?, ..Message::default() };
        let end = decoder.u32()? as usize + FIXED_HEADER_BYTES;
        while decoder.at < end {
            decoder.align(8);
            let code = decoder.byte()?;
            match decoder.signature()? {
                "u" => {
                    let number = decoder.u32()?;
                    if code == REPLY_SERIAL {
                        message.reply_to = number;
                    }
                }
                "g" => {
                    let text = decoder.signature()?;
                    if code == SIGNATURE {
                        text.clone_into(&mut message.signature);
                    }
                }
                "s" | "o" => {
                    let text = decoder.text()?;
                    match code {
                        MEMBER => text.clone_into(&mut message.member),
                        ERROR_NAME => text.clone_into(&mut message.error),
                        _ => {}
                    }
                }
                _ => return None,
            }
        }
        decoder.align(8);
        bytes.get(decoder.at..)?.clone_into(&mut message.body);
        Some(message)
    }

    /// The first argument when it is a string or an object path.
    pub(super) fn text(&self) -> Option<&str> {
        let first = self.signature.as_bytes().first()?;
        matches!(first, b's' | b'o').then(|| Decoder { bytes: &self.body, at: 0 }.text())?
    }

    /// The first argument when it is a variant of bytes.
    pub(super) fn variant_bytes(&self) -> Option<&[u8]> {
        if self.signature != "v" {
            return None;
        }
        let mut decoder = Decoder { bytes: &self.body, at: 0 };
        if decoder.signature()? != "ay" {
            return None;
        }
        let length = decoder.u32()? as usize;
        decoder.take(length)
    }

    /// Job and result of a `JobRemoved` signal: `uoss` are id, job, unit, result.
    pub(super) fn removed_job(&self) -> Option<(&str, &str)> {
        if self.kind != SIGNAL || self.member != "JobRemoved" || self.signature != "uoss" {
            return None;
        }
        let mut decoder = Decoder { bytes: &self.body, at: 0 };
        decoder.u32()?;
        let job = decoder.text()?;
        decoder.text()?;
        Some((job, decoder.text()?))
    }
}

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        self.terminated(length)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        self.terminated(length)
    }

    fn terminated(&mut self, length: usize) -> Option<&'a str> {
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const CALL: Call<'_> = Call {
        destination: "org.example",
        path: "/a",
        interface: "org.example.I",
        member: "Do",
        signature: "sa(sv)",
    };

    fn encoded() -> Vec<u8> {
        let mut body = Encoder::default();
        body.text("unit");
        body.properties(&[
            ("PIDs", Value::Pids(vec![7, 8])),
            ("Delegate", Value::Flag(true)),
            ("MemoryMax", Value::Number(u64::MAX)),
            ("AllowedCPUs", Value::Bytes(vec![3])),
            ("Slice", Value::Text("a.slice".into())),
        ]);
        CALL.encode(5, &body.0)
    }

    #[test]
    fn a_message_survives_the_wire() {
        let bytes = encoded();
        let header: &[u8; FIXED_HEADER_BYTES] = bytes[..FIXED_HEADER_BYTES].try_into().unwrap();
        assert_eq!(total_bytes(header), Some(bytes.len()));
        let message = Message::decode(&bytes).unwrap();
        assert_eq!((message.kind, message.member.as_str()), (METHOD_CALL, "Do"));
        assert_eq!(message.signature, "sa(sv)");
        assert_eq!(message.text(), Some("unit"));
    }

    #[test]
    fn a_cut_message_is_refused_not_a_panic() {
        let bytes = encoded();
        for end in 0..bytes.len() {
            let _ = Message::decode(&bytes[..end]);
        }
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] = 0xff;
            if let Some(message) = Message::decode(&wrong) {
                let _ = (message.text(), message.removed_job());
            }
        }
    }

    #[test]
    fn a_huge_message_is_refused() {
        let mut header = [0; FIXED_HEADER_BYTES];
        header[..4].copy_from_slice(&[b'l', METHOD_RETURN, 0, 1]);
        assert_eq!(total_bytes(&header), Some(16));
        header[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(total_bytes(&header), None);
        header[0] = b'B';
        assert_eq!(total_bytes(&header), None);
    }

    #[test]
    fn bytes_in_a_variant_are_read() {
        let mut body = Encoder::default();
        body.variant(&Value::Bytes(vec![0xab, 1]));
        let mut answer = Message { signature: "v".into(), body: body.0, ..Message::default() };
        assert_eq!(answer.variant_bytes(), Some(&[0xab, 1][..]));
        answer.body.pop();
        assert_eq!(answer.variant_bytes(), None, "cut short");
        let mut text = Encoder::default();
        text.variant(&Value::Text("x".into()));
        let text = Message { signature: "v".into(), body: text.0, ..Message::default() };
        assert_eq!(text.variant_bytes(), None);
    }

    #[test]
    fn a_removed_job_is_read() {
        let mut body = Encoder::default();
        body.u32(3);
        ["/job/3", "x.scope", "done"].iter().for_each(|text| body.text(text));
        let signal = Message {
            kind: SIGNAL,
            member: "JobRemoved".into(),
            signature: "uoss".into(),
            body: body.0,
            ..Message::default()
        };
        assert_eq!(signal.removed_job(), Some(("/job/3", "done")));
    }
}
