//! A property of a unit, as D-Bus carries it.

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Flag(bool),
    Number(u64),
    Pids(Vec<u32>),
    Bytes(Vec<u8>),
}

/// A property with its name.
pub(crate) type Property = (&'static str, Value);
