//! Text to brig's own types, fast when the text is good and exact about the field when it is not.
//!
//! A text costs one pass of [`json::scan`] and one of serde. Where serde refuses, the field is found from the byte at
//! which it stopped; serde_path_to_error would keep the path of every good text as well.

use std::ops::Range;

use serde::de::DeserializeOwned;

use super::error::{Error, FieldProblem, Position};
use super::model::{Config, Namespace, NamespaceType, Process, Resources, Text};
use super::{check, check_process, check_resources, json};

/// A configuration as it is asked for: read, and checked as far as that goes without looking at the host. There is no
/// other way to one than [`Asked::read`].
#[derive(Clone, Debug, PartialEq)]
pub struct Asked(pub(crate) Box<Config>);

impl Asked {
    /// Reads the text of a `config.json`, and checks what it says. `linux.seccomp` is only known to be JSON: half of
    /// what Docker writes is a profile, which often need not be read.
    ///
    /// # Errors
    /// The text is larger than [`super::SIZE_LIMIT_BYTES`], not JSON, or a field has a value that the specification
    /// or the kernel refuses.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let (read, seccomp) = text(bytes)?;
        // Boxed, or each frame that passes it on has room for it.
        Ok(Self(Box::new(check::check(read, seccomp)?)))
    }

    /// The same, where the container joins namespaces of these types by these paths, and the text of that. `text` is the
    /// one that it was read of.
    ///
    /// # Errors
    /// It names a path for one of them already, or another field does not allow that it is joined.
    pub fn joining(
        mut self,
        text: &[u8],
        namespaces: &[(NamespaceType, String)],
    ) -> Result<(Vec<u8>, Self), Error> {
        let all = &mut self.0.linux.namespaces;
        for (kind, path) in namespaces {
            match all.iter_mut().enumerate().find(|(_, entry)| entry.kind == *kind) {
                None => all.push(Namespace { kind: *kind, path: Some(path.clone()) }),
                Some((_, entry)) if entry.path.is_none() => entry.path = Some(path.clone()),
                Some((index, _)) => {
                    let what =
                        format!("the {} namespace is given by a descriptor too", kind.name());
                    return Err(Error::conflict(format!("linux.namespaces[{index}].path"), what)
                        .with_hint("leave out one of the two"));
                }
            }
        }
        let section = self.0.seccomp.clone().and_then(|range| text.get(range));
        let (text, _) = self.0.text(section)?;
        let asked = Self::read(&text)?;
        Ok((text, asked))
    }

    /// What it says, to be looked at.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0
    }

    /// What it says. Whoever makes a container wants what a node grants of it.
    #[must_use]
    pub fn into_config(self) -> Box<Config> {
        self.0
    }
}

/// Where in the text of a configuration the value of `linux.seccomp` lies, whatever else the text says.
///
/// # Errors
/// It is larger than [`super::SIZE_LIMIT_BYTES`], or not JSON.
pub fn seccomp_section(bytes: &[u8]) -> Result<Option<Range<usize>>, Error> {
    check_size(bytes)?;
    let (text, outline) = json::scan(bytes, &[])?;
    Ok(outline.seccomp.filter(|range| &text[range.clone()] != "null"))
}

/// The text as serde reads it, and where the value of `linux.seccomp` lies.
pub(crate) fn text(bytes: &[u8]) -> Result<(Text, Option<Range<usize>>), Error> {
    check_size(bytes)?;
    let (text, outline) = json::scan(bytes, &[])?;
    let seccomp = outline.seccomp.filter(|range| &text[range.clone()] != "null");
    Ok((typed(text, 0..text.len(), &[])?, seccomp))
}

/// Reads and checks the text of a process, as `exec --process FILE` takes it; fields are named from `process.`.
///
/// # Errors
/// As [`Asked::read`].
pub fn process(bytes: &[u8]) -> Result<Process, Error> {
    let process = read(bytes, &["process"])?;
    check_process(&process)?;
    Ok(process)
}

/// Reads and checks the text of resources, as `update --resources -` takes it; fields are named from
/// `linux.resources.`.
///
/// # Errors
/// As [`Asked::read`].
pub fn resources(bytes: &[u8]) -> Result<Resources, Error> {
    let resources = read(bytes, &["linux", "resources"])?;
    check_resources(&resources)?;
    Ok(resources)
}

/// Reads a text that is the value of the field at `root`, such as a profile of seccomp in a file of its own.
///
/// # Errors
/// It is larger than [`super::SIZE_LIMIT_BYTES`], not JSON, or `T` refuses it; fields are named from `root`.
pub fn read<T: DeserializeOwned>(bytes: &[u8], root: &[&'static str]) -> Result<T, Error> {
    check_size(bytes)?;
    let (text, _) = json::scan(bytes, root)?;
    typed(text, 0..text.len(), root)
}

/// Reads the value that lies in `range` of a text which [`Asked::read`] has accepted; errors have their place in the
/// whole text.
///
/// # Errors
/// `T` refuses it.
pub fn part<T: DeserializeOwned>(
    bytes: &[u8],
    range: Range<usize>,
    root: &[&'static str],
) -> Result<T, Error> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    typed(text, range, root)
}

fn check_size(bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() <= super::SIZE_LIMIT_BYTES {
        return Ok(());
    }
    let range = format!("at most {} bytes", super::SIZE_LIMIT_BYTES);
    Err(Error::range("", format!("a text of {} bytes", bytes.len()), &range))
}

fn typed<T: DeserializeOwned>(
    text: &str,
    range: Range<usize>,
    root: &[&'static str],
) -> Result<T, Error> {
    let part = text.get(range.clone()).unwrap_or_default();
    serde_json::from_str(part).map_err(|error| explain(&error, text.as_bytes(), range, root))
}

/// serde's error about the value in `range`, with the field it is about.
fn explain(
    error: &serde_json::Error,
    whole: &[u8],
    range: Range<usize>,
    root: &[&'static str],
) -> Error {
    let text = &whole[range.clone()];
    let line_start = text
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum::<usize>();
    let stopped = line_start + error.column();
    let before = stopped.checked_sub(1).and_then(|last| text.get(last));
    // Some errors are raised after the bad token was taken, others before: then what was taken last is
    // white space, which `locate` skips, or the bracket that opens what the token is in.
    let offset = match before {
        None | Some(b'{' | b'[') => stopped,
        Some(_) => stopped - 1,
    };
    let path = json::locate(text, root, offset);
    describe(&error.to_string(), &path).at(Position::of(whole, range.start + offset))
}

/// The words of serde's message as a [`FieldProblem`]; the forms are those of `serde::de::Error`.
fn describe(message: &str, path: &[json::Step<'_>]) -> Error {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let field = json::render(path);
    if let Some(rest) = message.strip_prefix("missing field `") {
        let name = rest.trim_end_matches('`');
        let field = if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
        return Error::missing(field);
    }
    if let Some(rest) = message.strip_prefix("unknown variant `")
        && let Some((value, expected)) = rest.split_once("`, expected ")
    {
        let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let what = what_is_named(path);
        let error = Error::unknown(field, what, value).suggest(value, known.iter().copied());
        return match error.problem() {
            FieldProblem::Unknown { .. } if error.own_hint().is_none() => {
                error.with_hint(format!("known are {}", known.join(", ")))
            }
            _ => error,
        };
    }
    if let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|m| m.split_once(", expected "))
    {
        let (found, expected) = (in_words(found), in_words(expected));
        return Error::new(field, FieldProblem::WrongType { found, expected });
    }
    if let Some((found, expected)) =
        message.strip_prefix("invalid value: ").and_then(|m| m.split_once(", expected "))
    {
        return Error::range(field, in_words(found), &in_words(expected));
    }
    if message == "expected value" {
        // What serde says when an enumeration is not written as a string.
        let (found, expected) = ("something else".to_owned(), "a string".to_owned());
        return Error::new(field, FieldProblem::WrongType { found, expected });
    }
    Error::new(field, FieldProblem::Syntax(message.to_owned()))
}

/// Rust's names of types, for those who do not write Rust.
fn in_words(serde_words: &str) -> String {
    let numbers = [
        ("u16", "a whole number from 0 to 65535"),
        ("u32", "a whole number from 0 to 4294967295"),
        ("u64", "a whole number from 0 to 18446744073709551615"),
        ("usize", "a whole number from 0 to 18446744073709551615"),
        ("i32", "a whole number from -2147483648 to 2147483647"),
        ("i64", "a whole number from -9223372036854775808 to 9223372036854775807"),
        ("a sequence", "an array"),
        ("sequence", "an array"),
        ("a map", "an object"),
        ("map", "an object"),
        ("path string", "a string"),
        ("a boolean", "true or false"),
    ];
    if let Some((_, words)) = numbers.iter().find(|(name, _)| *name == serde_words) {
        return (*words).to_owned();
    }
    match serde_words.split_once(' ') {
        Some(("integer" | "floating", rest)) => {
            let number = rest.trim_start_matches("point ").trim_matches('`');
            format!("the number {number}")
        }
        Some(("boolean", rest)) => rest.trim_matches('`').to_owned(),
        Some(("string", rest)) => format!("the string {rest}"),
        Some(("struct", _)) => "an object".to_owned(),
        _ => serde_words.to_owned(),
    }
}

/// What an enumeration names, from where it stands.
fn what_is_named(path: &[json::Step<'_>]) -> &'static str {
    let names = [
        ("action", "seccomp action"),
        ("defaultAction", "seccomp action"),
        ("architectures", "seccomp architecture"),
        ("op", "seccomp operator"),
        ("policy", "scheduling policy"),
        ("class", "I/O priority class"),
        ("domain", "personality domain"),
        ("mode", "memory policy mode"),
    ];
    let key = path.iter().rev().find(|step| matches!(step, json::Step::Key(_)));
    let within = |name: &str| path.iter().any(|step| step.is_key(name));
    let named = names.iter().find(|(name, _)| key.is_some_and(|key| key.is_key(name)));
    match named {
        Some((_, what)) => what,
        None if within("rlimits") => "resource limit",
        None if within("namespaces") => "namespace",
        None if within("devices") => "device type",
        None if within("scheduler") => "scheduling flag",
        None if within("seccomp") => "seccomp filter flag",
        None if within("memoryPolicy") => "memory policy flag",
        None => "name",
    }
}
