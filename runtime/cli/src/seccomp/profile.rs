//! The PROFILE of a command line: found, read, checked.
//!
//! Promises that a profile which is malformed, contradicts itself, has fields that nobody reads, or
//! is too large for the kernel, is refused as a whole: with the file, the line, the field with the
//! rule's index, and what to do about it.

use std::io::Read;
use std::path::Path;

use brig::configuration;
use brig::spec::{self, SIZE_LIMIT_BYTES};
use brig_seccomp::lint::{Contradiction, contradiction, largest_rule};
use brig_seccomp::positions::{Positions, UnknownField};
use brig_seccomp::{Arch, BpfProgram, CompileError, builtin_names, builtin_text, compile};
use oci_spec::runtime::LinuxSeccomp;

use crate::unusable::UnusableInput;

/// A profile whose form is sound.
pub(super) struct Profile {
    pub(super) file: String,
    pub(super) seccomp: LinuxSeccomp,
    pub(super) positions: Positions,
}

impl Profile {
    /// Reads a profile; what it says is checked as far as the text alone can be wrong.
    pub(super) fn read(name: &str) -> Result<Self, UnusableInput> {
        let (file, bytes) = bytes(name)?;
        Self::parse(file, &bytes)
    }

    /// Reads a profile of which a program for this kernel can be made, and makes it.
    pub(super) fn compiled(name: &str, kernel: Arch) -> Result<(Self, BpfProgram), UnusableInput> {
        let profile = Self::read(name)?;
        if let Some(contradiction) = contradiction(&profile.seccomp) {
            return Err(profile.contradicts(&contradiction));
        }
        match compile(&profile.seccomp, kernel) {
            Ok(program) => Ok((profile, program)),
            Err(error) => Err(profile.refuses(&error)),
        }
    }

    fn parse(file: String, bytes: &[u8]) -> Result<Self, UnusableInput> {
        let positions = Positions::of(&String::from_utf8_lossy(bytes));
        let read = if positions.is_config() {
            spec::seccomp_section(bytes).and_then(|section| {
                section.map(|range| brig_seccomp::read_part(bytes, range)).transpose()
            })
        } else {
            brig_seccomp::read(bytes).map(Some)
        };
        let refused = |line, field: &str, message: &str, hint: &str| UnusableInput {
            file: file.clone(),
            line,
            field: field.to_owned(),
            message: shown(message, &positions),
            hint: hint.to_owned(),
        };
        match (read, positions.unknown().first()) {
            (Err(error), unknown) if is_about_the_text(&error) || unknown.is_none() => {
                let line = error.position().map(|at| at.line);
                let line = line.or_else(|| positions.line(error.field()));
                let hint = error.hint().unwrap_or_default();
                Err(refused(line, error.field(), &describe(&error), hint))
            }
            // A key that is not the format's explains an error better than the error does.
            (_, Some(unknown)) => {
                let (message, hint) = about_unknown(unknown);
                Err(refused(Some(unknown.line), &unknown.field, &message, &hint))
            }
            (Ok(Some(seccomp)), None) => Ok(Self { file, seccomp, positions }),
            (Ok(None) | Err(_), None) => {
                let hint = "its container runs without a filter; give a profile, or another file";
                Err(refused(Some(1), "", "the configuration has no linux.seccomp", hint))
            }
        }
    }

    /// The line of a field, named from `linux.seccomp`.
    pub(super) fn line(&self, field: &str) -> Option<usize> {
        self.positions.line(field)
    }

    /// Where a rule is: `rule 3 (FILE:42)`.
    pub(super) fn rule(&self, index: usize) -> String {
        match self.line(&format!("linux.seccomp.syscalls[{index}]")) {
            Some(line) => format!("rule {index} ({}:{line})", self.file),
            None => format!("rule {index}"),
        }
    }

    /// A text about fields, as this file has them: a profile alone has no `linux.seccomp` around.
    pub(super) fn shown(&self, text: &str) -> String {
        shown(text, &self.positions)
    }

    fn contradicts(&self, contradiction: &Contradiction) -> UnusableInput {
        let field = contradiction.field();
        let hint = contradiction.hint().unwrap_or_default();
        self.refused(&field, &contradiction.to_string(), &hint)
    }

    /// An error of the compiler.
    pub(super) fn refuses(&self, error: &CompileError) -> UnusableInput {
        let field = match (error, largest_rule(&self.seccomp)) {
            (CompileError::TooLong { .. }, Some(rule)) => format!("linux.seccomp.syscalls[{rule}]"),
            _ => error.field().to_owned(),
        };
        let message = error.to_string();
        let message = match message.strip_prefix(error.field()) {
            Some(rest) => format!("{field}{rest}"),
            None => message,
        };
        self.refused(&field, &message, &error.hint().unwrap_or_default())
    }

    fn refused(&self, field: &str, message: &str, hint: &str) -> UnusableInput {
        UnusableInput {
            file: self.file.clone(),
            line: self.line(field),
            field: field.to_owned(),
            message: self.shown(message),
            hint: hint.to_owned(),
        }
    }
}

fn shown(text: &str, positions: &Positions) -> String {
    match positions.is_config() {
        true => text.to_owned(),
        false => text.replace("linux.seccomp.", "").replace("linux.seccomp: ", ""),
    }
}

/// Whether the text is not sound JSON, so that its fields mean nothing.
fn is_about_the_text(error: &spec::Error) -> bool {
    use spec::FieldProblem;
    matches!(
        error.problem(),
        FieldProblem::Syntax(_) | FieldProblem::DuplicateKey | FieldProblem::TooDeep { .. }
    )
}

/// The error without its line, which stands before it.
fn describe(error: &spec::Error) -> String {
    match (error.position(), error.field()) {
        (Some(at), "linux.seccomp" | "") if is_about_the_text(error) => {
            format!("{} (column {})", error.problem(), at.column)
        }
        (Some(at), field) if is_about_the_text(error) => {
            format!("{field}: {} (column {})", error.problem(), at.column)
        }
        _ => error.to_string(),
    }
}

/// Such a field would be ignored by the runtime: what it was to do would not be done.
fn about_unknown(unknown: &UnknownField) -> (String, String) {
    const DOCKERS: [&str; 5] = ["archMap", "includes", "excludes", "minKernel", "name"];
    let message = format!("{}: no such field; runtimes ignore it", unknown.field);
    let hint = if DOCKERS.contains(&unknown.key.as_str()) {
        "this is a profile in Docker's own format: take linux.seccomp of the config.json that Docker makes of it".to_owned()
    } else {
        format!("correct or remove it; known are {}", unknown.known.join(", "))
    };
    (message, hint)
}

/// The text of a profile, and what to call it.
fn bytes(name: &str) -> Result<(String, Vec<u8>), UnusableInput> {
    if name == "-" {
        let file = "standard input".to_owned();
        let bytes = standard_input(&file)?;
        return Ok((file, bytes));
    }
    if let Some(text) = builtin_text(name) {
        return Ok((name.to_owned(), text.as_bytes().to_vec()));
    }
    match configuration::read_small(Path::new(name), SIZE_LIMIT_BYTES) {
        Ok(bytes) => Ok((name.to_owned(), bytes)),
        Err(error) => Err(unreadable(name, &error)),
    }
}

fn unreadable(name: &str, error: &configuration::Error) -> UnusableInput {
    let hint = format!(
        "give a JSON file, - for standard input, or one of brig's own profiles: {}",
        builtin_names().join(", ")
    );
    let message = match error {
        configuration::Error::Read { source, .. } => format!("cannot read the profile: {source}"),
        configuration::Error::NotRegular { .. } => "is not a regular file".to_owned(),
        configuration::Error::TooBig { limit_bytes, .. } => return too_big(name, *limit_bytes),
        other => other.to_string(),
    };
    UnusableInput::new(name, message, hint)
}

fn too_big(file: &str, limit_bytes: usize) -> UnusableInput {
    let hint = "no profile that the kernel takes is so large: look at what wrote it";
    UnusableInput::new(file, format!("is larger than {limit_bytes} bytes"), hint)
}

fn standard_input(file: &str) -> Result<Vec<u8>, UnusableInput> {
    let mut bytes = Vec::new();
    let limit = SIZE_LIMIT_BYTES as u64 + 1;
    match std::io::stdin().lock().take(limit).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() > SIZE_LIMIT_BYTES => Err(too_big(file, SIZE_LIMIT_BYTES)),
        Ok(_) => Ok(bytes),
        Err(error) => {
            let message = format!("cannot read the profile: {error}");
            Err(UnusableInput::new(file, message, "name a file instead of -"))
        }
    }
}

#[cfg(test)]
mod tests;
