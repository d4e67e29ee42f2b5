//! Text to oci-spec's types, fast when the text is good and exact about the field when it is not.
//!
//! A good text costs one pass of [`json::scan`] and one of serde. Only when serde refuses does the slow
//! path run: it mends what oci-spec gets wrong ([`super::mend`]) and, if that does not help, finds the
//! field from the byte at which serde stopped.

use std::ops::Range;

use oci_spec::runtime::{LinuxResources, LinuxSeccomp, Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{Error, Position, Problem};
use super::{capability, check_process, check_resources, check_seccomp, json, mend};

/// Reads the text of a `config.json`; what it says is not checked beyond its form, see [`super::check`].
///
/// Empty strings where the specification's own Go types cannot tell them from absence (`hostname`,
/// `cgroupsPath`, labels, a namespace's `path` …) become `None`.
///
/// # Errors
/// The text is larger than [`super::SIZE_LIMIT_BYTES`], not JSON, or a field has a value outside its type.
pub fn parse(bytes: &[u8]) -> Result<Spec, Error> {
    let (mut spec, _): (Spec, _) = read(bytes, &[])?;
    mend::empty_strings(&mut spec);
    Ok(spec)
}

/// The same without `linux.seccomp`, and where in the text that section's value lies: half of what
/// Docker writes is a profile, which often need not be read (a compiled one may be kept).
///
/// # Errors
/// As [`parse`], but for the section, which is only known to be JSON.
pub fn parse_without_seccomp(bytes: &[u8]) -> Result<(Box<Spec>, Option<Range<usize>>), Error> {
    check_size(bytes)?;
    let (text, outline) = json::scan(bytes, &[])?;
    let section = outline.seccomp.filter(|range| &text[range.clone()] != "null");
    let cut;
    let rest = match &section {
        Some(range) => {
            cut = [&text[..range.start], "null", &text[range.end..]].concat();
            &cut
        }
        None => text,
    };
    let read = if outline.misread { None } else { serde_json::from_str(rest).ok() };
    let mut spec: Box<Spec> = match read {
        Some(spec) => spec,
        // The text as it is, so that an error has the place where it is in the file.
        None => {
            let mut spec: Spec = read_slowly(text, &[])?;
            if let Some(linux) = spec.linux_mut() {
                linux.set_seccomp(None);
            }
            Box::new(spec)
        }
    };
    mend::empty_strings(&mut spec);
    Ok((spec, section))
}

/// Reads and checks the text of a process, as `exec --process FILE` takes it; fields are named from `process.`.
///
/// # Errors
/// As [`parse`] and [`check_process`].
pub fn process(bytes: &[u8]) -> Result<Process, Error> {
    let (mut process, _): (Process, _) = read(bytes, &["process"])?;
    mend::empty_strings_of_process(&mut process);
    check_process(&process)?;
    Ok(process)
}

/// Reads and checks the text of resources, as `update --resources -` takes it; fields are named from
/// `linux.resources.`.
///
/// # Errors
/// As [`parse`] and [`check_resources`].
pub fn resources(bytes: &[u8]) -> Result<LinuxResources, Error> {
    let (resources, _): (LinuxResources, _) = read(bytes, &["linux", "resources"])?;
    check_resources(&resources)?;
    Ok(resources)
}

/// Reads and checks the text of a seccomp profile; fields are named from `linux.seccomp.`.
///
/// # Errors
/// As [`parse`] and [`super::check`].
pub fn seccomp(bytes: &[u8]) -> Result<LinuxSeccomp, Error> {
    let (profile, _): (LinuxSeccomp, _) = read(bytes, &["linux", "seccomp"])?;
    check_seccomp(&profile)?;
    Ok(profile)
}

fn read<T: DeserializeOwned>(
    bytes: &[u8],
    root: &[&'static str],
) -> Result<(T, json::Outline), Error> {
    check_size(bytes)?;
    let (text, outline) = json::scan(bytes, root)?;
    if !outline.misread {
        // The error is found again, and explained, below.
        if let Ok(good) = serde_json::from_str(text) {
            return Ok((good, outline));
        }
    }
    read_slowly(text, root).map(|read| (read, outline))
}

fn check_size(bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() <= super::SIZE_LIMIT_BYTES {
        return Ok(());
    }
    let range = format!("at most {} bytes", super::SIZE_LIMIT_BYTES);
    Err(Error::range("", format!("a text of {} bytes", bytes.len()), &range))
}

fn read_slowly<T: DeserializeOwned>(text: &str, root: &[&'static str]) -> Result<T, Error> {
    let mut value: Value =
        serde_json::from_str(text).map_err(|error| explain(&error, text, root))?;
    if !mend::mend(&mut value, root) {
        return typed(&value, text, root);
    }
    let mended = value.to_string();
    let mut read = typed(&value, &mended, root);
    if let Err(error) = &mut read {
        // The place would be one in the mended text, which nobody has.
        error.forget_position();
    }
    read
}

fn typed<T: DeserializeOwned>(
    value: &Value,
    text: &str,
    root: &[&'static str],
) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| {
        // oci-spec makes the errors of these fields without a place, so serde's is that of a later token.
        capability::unknown_in(value, root)
            .or_else(|| mend::bad_cpu_list(value, root))
            .unwrap_or_else(|| explain(&error, text, root))
    })
}

/// serde's error, with the field it is about.
fn explain(error: &serde_json::Error, text: &str, root: &[&'static str]) -> Error {
    let text = text.as_bytes();
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
    describe(&error.to_string(), &path).at(Position::of(text, offset))
}

/// The words of serde's message as a [`Problem`]; the forms are those of `serde::de::Error`.
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
        let known = expected.split('`').skip(1).step_by(2).map(mend::canonical);
        let known: Vec<&str> = known.collect();
        let error =
            Error::unknown(field, what_is_named(path), value).suggest(value, known.iter().copied());
        return match error.problem() {
            Problem::Unknown { .. } if !error.has_own_hint() => {
                error.with_hint(format!("known are {}", known.join(", ")))
            }
            _ => error,
        };
    }
    if let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|m| m.split_once(", expected "))
    {
        let (found, expected) = (in_words(found), in_words(expected));
        return Error::new(field, Problem::WrongType { found, expected });
    }
    if let Some((found, expected)) =
        message.strip_prefix("invalid value: ").and_then(|m| m.split_once(", expected "))
    {
        return Error::range(field, in_words(found), &in_words(expected));
    }
    if message == "expected value" {
        // What serde says when an enumeration is not written as a string.
        let (found, expected) = ("something else".to_owned(), "a string".to_owned());
        return Error::new(field, Problem::WrongType { found, expected });
    }
    Error::new(field, Problem::Syntax(message.to_owned()))
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
