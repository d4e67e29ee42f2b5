//! What was typed: flags, values and arguments, one after the other.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use brig::spec::nearest;
use lexopt::{Arg, Parser};

/// The command line is wrong.
#[derive(Debug)]
pub(super) struct Usage {
    message: String,
    hint: Option<String>,
}

impl Usage {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// The same, with what to do about it.
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What to do about it, where more can be said than where the help is.
    pub(super) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Usage {}

impl From<lexopt::Error> for Usage {
    fn from(error: lexopt::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Help is asked for in the place of what the verb does.
#[derive(Debug)]
pub(super) struct HelpWanted;

impl fmt::Display for HelpWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("help is asked for")
    }
}

impl std::error::Error for HelpWanted {}

/// What is said of a flag: how it is typed, what its value is called, and what it is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    /// The short one first: `-b, --bundle`.
    pub(super) names: &'static str,
    /// Empty where it takes none.
    pub(super) value: &'static str,
    pub(super) help: &'static str,
}

impl About {
    /// Of an entry of a table, which is written as help shows it: `-b, --bundle DIR  the bundle`.
    pub(super) fn of(entry: &'static str) -> Self {
        let (label, help) = entry.split_once("  ").unwrap_or((entry, ""));
        let value = label.rsplit(' ').next().filter(|word| !word.starts_with('-'));
        let value = value.unwrap_or_default();
        Self { names: label.strip_suffix(value).unwrap_or(label).trim_end(), value, help }
    }

    /// Whether the entry has a value: a space in what stands before two of them, but not after a comma.
    pub(super) const fn names_value(entry: &str) -> bool {
        let (text, mut at) = (entry.as_bytes(), 1);
        while at + 1 < text.len() && (text[at] != b' ' || text[at - 1] == b',') {
            at += 1;
        }
        at + 1 < text.len() && text[at + 1] != b' '
    }
}

/// The flags of a verb, for help and for reading.
pub(super) trait Table: Sync {
    /// The entry at `index`, counted through all groups, and the title of the group where it is the first.
    fn entry(&self, index: usize) -> Option<(Option<&'static str>, &'static str)>;
}

impl dyn Table + '_ {
    /// All flags in the order of the help.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<&'static str>, About)> {
        let entries = (0..).map_while(|index| self.entry(index));
        entries.map(|(title, entry)| (title, About::of(entry)))
    }

    /// Where the flag is that is typed so.
    pub(super) fn position(&self, typed: &str) -> Option<usize> {
        self.iter().position(|(_, about)| about.names.split(", ").any(|name| name == typed))
    }
}

/// Where flags go.
pub(super) trait Places {
    /// Where the one at `index` of the table goes.
    fn place(&mut self, index: usize) -> Place<'_>;
    /// Takes the value of one that is a [`Place::Value`].
    fn set(&mut self, index: usize, value: Value) -> Result<(), Usage>;
}

/// Where a flag goes, and with it what it takes.
pub(super) enum Place<'p> {
    /// Nothing, or `=false`.
    Switch(&'p mut bool),
    Path(&'p mut Option<PathBuf>),
    Text(&'p mut Option<String>),
    Number(&'p mut u32),
    Format(&'p mut Format),
    /// Nothing: it is a format.
    Json(&'p mut Format),
    /// A value that has a form of its own, or goes to others.
    Value,
    /// Nothing, or a value: as the entry says.
    Nowhere,
}

/// The value of a flag.
pub(super) struct Value {
    /// The flag as typed.
    pub(super) flag: String,
    pub(super) value: OsString,
}

impl Value {
    pub(super) fn text(self) -> Result<String, Usage> {
        let flag = self.flag;
        let text = self.value.into_string();
        text.map_err(|value| Usage::new(format!("{flag}: {value:?} is not UTF-8")))
    }

    pub(super) fn number<N: FromStr>(self) -> Result<N, Usage> {
        let flag = self.flag.clone();
        let text = self.text()?;
        text.parse().map_err(|_| Usage::new(format!("{flag}: {text:?} is not a number")))
    }
}

/// The arguments not read yet.
pub(super) struct Arguments {
    parser: Parser,
    /// The flags that go before the verb.
    outer: &'static dyn Table,
    /// Arguments that are no flags, met while flags were read.
    positional: VecDeque<OsString>,
    /// The last flag, as typed.
    flag: String,
    /// Whether flags may follow positional arguments.
    permutes: bool,
}

/// What `--format` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// For programs.
    Json,
}

impl Arguments {
    /// `outer` has the flags that go before the verb.
    pub(super) fn new(
        args: impl IntoIterator<Item = OsString, IntoIter: 'static>,
        outer: &'static dyn Table,
    ) -> Self {
        let (parser, positional) = (Parser::from_args(args), VecDeque::new());
        Self { parser, outer, positional, flag: String::new(), permutes: true }
    }

    /// Everything after the first positional argument belongs to somebody else.
    pub(super) fn stop_at_positional(&mut self) {
        self.permutes = false;
    }

    /// Reads the flags of `table`, each to its place: all that there are, or those before the first argument
    /// that is none.
    pub(super) fn read(
        &mut self,
        table: &dyn Table,
        places: &mut dyn Places,
    ) -> anyhow::Result<()> {
        while self.next_flag()? {
            match table.position(&self.flag) {
                Some(index) => self.take(table, index, places)?,
                None if self.flag == "--help" || self.flag == "-h" => return Err(HelpWanted.into()),
                None => return Err(self.unknown(table).into()),
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        table: &dyn Table,
        index: usize,
        places: &mut dyn Places,
    ) -> Result<(), Usage> {
        match places.place(index) {
            Place::Switch(place) => *place = self.switch()?,
            Place::Path(place) => *place = Some(self.value()?.value.into()),
            Place::Text(place) => *place = Some(self.value()?.text()?),
            Place::Number(place) => *place = self.value()?.number()?,
            Place::Format(place) => *place = self.format()?,
            Place::Json(place) => *place = Format::Json,
            Place::Value => places.set(index, self.value()?)?,
            Place::Nowhere => {
                match table.entry(index).is_some_and(|(_, entry)| About::names_value(entry)) {
                    true => drop(self.value()?),
                    false => drop(self.switch()?),
                }
            }
        }
        Ok(())
    }

    /// The next flag, if there is one, and it is not where flags must not be.
    fn next_flag(&mut self) -> Result<bool, Usage> {
        while self.permutes || self.positional.is_empty() {
            self.flag = match self.parser.next().map_err(Usage::from)? {
                None => break,
                Some(Arg::Value(value)) => {
                    self.positional.push_back(value);
                    continue;
                }
                Some(Arg::Short(letter)) => format!("-{letter}"),
                Some(Arg::Long(name)) => format!("--{name}"),
            };
            return Ok(true);
        }
        Ok(false)
    }

    /// The last flag is none of the verb's.
    fn unknown(&self, table: &dyn Table) -> Usage {
        let usage = Usage::new(format!("unknown option {}", self.flag));
        if self.outer.position(&self.flag).is_some() {
            let hint = format!("{} is an option of brig: it goes before the verb", self.flag);
            return usage.with_hint(hint);
        }
        let names = table.iter().flat_map(|(_, about)| about.names.split(", "));
        let long = names.filter_map(|name| name.strip_prefix("--"));
        match self.flag.strip_prefix("--").and_then(|typed| nearest(typed, long)) {
            Some(near) => usage.with_hint(format!("did you mean --{near}?")),
            None => usage,
        }
    }

    /// The verb; the flags after it are its own, and may follow arguments again.
    pub(super) fn verb(&mut self) -> Option<OsString> {
        self.permutes = true;
        self.positional.pop_front()
    }

    /// The value of the last flag.
    fn value(&mut self) -> Result<Value, Usage> {
        Ok(Value { flag: self.flag.clone(), value: self.parser.value()? })
    }

    /// A flag that is on unless it says `=false`.
    fn switch(&mut self) -> Result<bool, Usage> {
        match self.parser.optional_value() {
            None => Ok(true),
            Some(value) => match value.to_str() {
                Some("true" | "1" | "t") => Ok(true),
                Some("false" | "0" | "f") => Ok(false),
                _ => Err(Usage::new(format!("{}: {value:?} is not true or false", self.flag))),
            },
        }
    }

    /// The value of the last flag, as a format.
    fn format(&mut self) -> Result<Format, Usage> {
        match self.value()?.text()?.as_str() {
            "table" => Ok(Format::Table),
            "json" => Ok(Format::Json),
            other => {
                let what = format!("{}: {other:?} is neither table nor json", self.flag);
                Err(Usage::new(what))
            }
        }
    }

    /// The next argument that is no flag.
    pub(super) fn positional(&mut self, name: &str) -> Result<String, Usage> {
        let value = self.positional.pop_front();
        let value = value.ok_or_else(|| Usage::new(format!("{name} is missing")))?;
        value.into_string().map_err(|value| Usage::new(format!("{name}: {value:?} is not UTF-8")))
    }

    /// The same, if there is one.
    pub(super) fn optional(&mut self, name: &str) -> Result<Option<String>, Usage> {
        match self.positional.is_empty() {
            true => Ok(None),
            false => self.positional(name).map(Some),
        }
    }

    /// Everything that is left, flags included: the command of `exec` and `try`.
    pub(super) fn rest(mut self) -> Result<Vec<String>, Usage> {
        let mut all: Vec<OsString> = self.positional.drain(..).collect();
        all.extend(self.parser.raw_args()?);
        let text = |value: OsString| {
            value.into_string().map_err(|value| Usage::new(format!("{value:?} is not UTF-8")))
        };
        all.into_iter().map(text).collect()
    }

    /// There must be nothing left.
    pub(super) fn end(mut self) -> Result<(), Usage> {
        match self.optional("argument")? {
            None => Ok(()),
            Some(value) => Err(Usage::new(format!("unexpected argument {value:?}"))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{Arguments, HelpWanted, OsString, Usage};
    use crate::flags::{Flags, NONE, path, switch, value};
    use crate::global;

    #[derive(Debug, Default)]
    struct ParsedFlags {
        all: bool,
        numbers: Vec<u32>,
        bundle: Option<std::path::PathBuf>,
    }

    const FLAGS: Flags<ParsedFlags> = Flags(&[
        ("options", &[switch("-a, --all  all", |it| &mut it.all)]),
        (
            "others",
            &[
                value("-n, --number N  a number", |it, given| {
                    it.numbers.push(given.number()?);
                    Ok(())
                }),
                path("--bundle DIR  a bundle", |it| &mut it.bundle),
            ],
        ),
    ]);

    fn of(line: &str) -> Arguments {
        let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        Arguments::new(words, &global::FLAGS)
    }

    /// The flags, and what is left.
    fn read(line: &str) -> Result<(ParsedFlags, String), anyhow::Error> {
        let (mut arguments, mut parsed) = (of(line), ParsedFlags::default());
        FLAGS.read(&mut arguments, &mut parsed)?;
        Ok((parsed, arguments.rest()?.join(" ")))
    }

    /// The error, and its hint.
    fn wrong(line: &str) -> (String, Option<String>) {
        let usage = read(line).unwrap_err().downcast::<Usage>().unwrap();
        (usage.to_string(), usage.hint().map(str::to_owned))
    }

    #[test]
    fn global_flags_end_at_the_verb() {
        let mut arguments = of("--debug delete --all c1");
        global::Global::read(&mut arguments).unwrap();
        assert_eq!(arguments.verb().unwrap(), "delete");
        let mut parsed = ParsedFlags::default();
        FLAGS.read(&mut arguments, &mut parsed).unwrap();
        assert!(parsed.all);
        assert_eq!(arguments.rest().unwrap(), ["c1"]);
    }

    #[test]
    fn flags_may_follow_the_container() {
        for line in
            ["-a -n 7 c1 KILL", "c1 --all KILL --number=7", "c1 KILL -n7 -a", "-n7 -a -- c1 KILL"]
        {
            let (parsed, rest) = read(line).unwrap();
            assert_eq!(
                (parsed.all, &*parsed.numbers, &*rest),
                (true, &[7][..], "c1 KILL"),
                "{line}"
            );
        }
    }

    #[test]
    fn what_follows_the_container_of_exec_is_its_command() {
        let (mut arguments, mut parsed) = (of("-a c1 ls -n --all --help"), ParsedFlags::default());
        FLAGS.read_leading(&mut arguments, &mut parsed).unwrap();
        assert!(parsed.all && parsed.numbers.is_empty());
        assert_eq!(arguments.rest().unwrap().join(" "), "c1 ls -n --all --help");
    }

    #[test]
    fn nothing_may_be_left() {
        let end = |line: &str| {
            let mut arguments = of(line);
            NONE.read(&mut arguments, &mut ())?;
            arguments.positional("CONTAINER-ID")?;
            Ok::<_, anyhow::Error>(arguments.end()?)
        };
        assert!(end("c1").is_ok());
        for line in ["", "c1 c2", "c1 --frob", "--frob c1"] {
            assert!(end(line).is_err(), "{line}");
        }
    }

    #[test]
    fn switches_can_be_off() {
        for (line, on) in
            [("--all", Some(true)), ("-a --all=false", Some(false)), ("--all=maybe", None)]
        {
            assert_eq!(read(line).ok().map(|(parsed, _)| parsed.all), on, "{line}");
        }
    }

    #[test]
    fn what_is_wrong_names_the_flag_as_typed() {
        assert_eq!(wrong("-n x").0, "-n: \"x\" is not a number");
        assert_eq!(wrong("--number=-1").0, "--number: \"-1\" is not a number");
        assert!(wrong("c1 --number").0.contains("--number"));
    }

    #[test]
    fn an_unknown_flag_has_the_nearest_as_hint() {
        for (line, hint) in [
            ("--bundel x", Some("did you mean --bundle?")),
            ("--al", Some("did you mean --all?")),
            ("--root /x", Some("--root is an option of brig: it goes before the verb")),
            ("--frobnicate", None),
            ("-x", None),
        ] {
            let (error, told) = wrong(line);
            let flag = line.split(' ').next().unwrap_or_default();
            assert_eq!(error, format!("unknown option {flag}"));
            assert_eq!(told.as_deref(), hint, "{line}");
        }
    }

    #[test]
    fn help_can_be_asked_for_anywhere_before_a_command() {
        for line in ["--help", "-h", "c1 --help", "-a --number 7 -h"] {
            assert!(read(line).unwrap_err().is::<HelpWanted>(), "{line}");
        }
    }
}
