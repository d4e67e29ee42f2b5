//! Reading arguments: lexopt, with single-dash long options as Go's programs take them too.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;

use lexopt::{Arg, Parser};

/// The command line is wrong.
#[derive(Debug)]
pub(super) struct Usage(String);

impl Usage {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> Option<&'static str> {
        Some("see `brig --help`")
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

impl From<lexopt::Error> for Usage {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

/// The arguments not read yet.
pub(super) struct Arguments {
    parser: Parser,
    /// Positional arguments met while flags were read.
    positional: VecDeque<OsString>,
    /// The last flag, as typed.
    flag: String,
    wants_help: bool,
    /// Whether flags may follow positional arguments.
    permutes: bool,
}

/// What `--format` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Columns for people.
    Table,
    /// For programs.
    Json,
}

impl Arguments {
    pub(super) fn new(args: impl IntoIterator<Item = OsString, IntoIter: 'static>) -> Self {
        let parser = Parser::from_args(args);
        Self {
            parser,
            positional: VecDeque::new(),
            flag: String::new(),
            wants_help: false,
            permutes: false,
        }
    }

    /// Everything after the first positional argument belongs to somebody else.
    pub(super) fn stop_at_positional(&mut self) {
        self.permutes = false;
    }

    /// The next flag, with its dashes; `None` where there is none, or where flags must not follow
    /// positional arguments and one comes.
    pub(super) fn next_flag(&mut self) -> Result<Option<String>, Usage> {
        if !self.permutes && !self.positional.is_empty() {
            return Ok(None);
        }
        let flag = loop {
            match self.parser.next()? {
                None => return Ok(None),
                Some(Arg::Value(value)) => {
                    self.positional.push_back(value);
                    if !self.permutes {
                        return Ok(None);
                    }
                }
                Some(Arg::Short(letter)) => break format!("-{letter}"),
                Some(Arg::Long(name)) => break format!("--{name}"),
            }
        };
        self.flag.clone_from(&flag);
        Ok(Some(flag))
    }

    /// The value of the last flag.
    pub(super) fn value(&mut self) -> Result<OsString, Usage> {
        Ok(self.parser.value()?)
    }

    /// The value of the last flag, as text.
    pub(super) fn text(&mut self) -> Result<String, Usage> {
        let flag = self.flag.clone();
        let value = self.value()?.into_string();
        value.map_err(|value| Usage::new(format!("{flag}: {value:?} is not UTF-8")))
    }

    /// The value of the last flag, as a number.
    pub(super) fn number<T: std::str::FromStr>(&mut self) -> Result<T, Usage> {
        let text = self.text()?;
        text.parse().map_err(|_| Usage::new(format!("{}: {text:?} is not a number", self.flag)))
    }

    /// A flag that is on unless it says `=false`.
    pub(super) fn switch(&mut self) -> Result<bool, Usage> {
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
    pub(super) fn format(&mut self) -> Result<Format, Usage> {
        match self.text()?.as_str() {
            "table" => Ok(Format::Table),
            "json" => Ok(Format::Json),
            other => {
                let what = format!("{}: {other:?} is neither table nor json", self.flag);
                Err(Usage::new(what))
            }
        }
    }

    /// The last flag is none of the verb's.
    pub(super) fn unknown(&self) -> Usage {
        Usage::new(format!("unknown option {}", self.flag))
    }

    /// The verb, and whether help on it is wanted.
    pub(super) fn verb(&mut self) -> Option<OsString> {
        let verb = match self.positional.pop_front() {
            Some(verb) => verb,
            None => match self.parser.next() {
                Ok(Some(Arg::Value(verb))) => verb,
                _ => return None,
            },
        };
        let first = self.parser.try_raw_args().and_then(|args| args.peek().map(OsString::from));
        self.wants_help = first.is_some_and(|first| first == "--help" || first == "-h");
        self.permutes = true;
        Some(verb)
    }

    pub(super) fn wants_help(&self) -> bool {
        self.wants_help
    }

    /// The next positional argument.
    pub(super) fn positional(&mut self, name: &str) -> Result<String, Usage> {
        let value = match self.positional.pop_front() {
            Some(value) => value,
            None => match self.parser.next()? {
                Some(Arg::Value(value)) => value,
                Some(other) => return Err(other.unexpected().into()),
                None => return Err(Usage::new(format!("{name} is missing"))),
            },
        };
        value.into_string().map_err(|value| Usage::new(format!("{name}: {value:?} is not UTF-8")))
    }

    /// The next positional argument, if there is one.
    pub(super) fn optional(&mut self) -> Result<Option<String>, Usage> {
        let look = self.permutes || self.positional.is_empty();
        if look && self.next_flag()?.is_some() {
            return Err(self.unknown());
        }
        match self.positional.is_empty() {
            true => Ok(None),
            false => self.positional("argument").map(Some),
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
        match self.optional()? {
            None => Ok(()),
            Some(value) => Err(Usage::new(format!("unexpected argument {value:?}"))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{Arguments, OsString, Usage};

    fn of(line: &str) -> Arguments {
        let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        Arguments::new(words)
    }

    /// The flags that a verb with only switches sees, and what is left.
    fn read(mut arguments: Arguments) -> Result<(Vec<String>, Vec<String>), Usage> {
        let mut flags = Vec::new();
        while let Some(flag) = arguments.next_flag()? {
            flags.push(flag);
        }
        Ok((flags, arguments.rest()?))
    }

    #[test]
    fn global_flags_end_at_the_verb() {
        let mut arguments = of("--debug delete --force c1");
        assert_eq!(arguments.next_flag().unwrap().as_deref(), Some("--debug"));
        assert_eq!(arguments.next_flag().unwrap(), None);
        assert_eq!(arguments.verb().unwrap(), "delete");
        assert_eq!(read(arguments).unwrap(), (vec!["--force".into()], vec!["c1".into()]));
    }

    #[test]
    fn flags_may_follow_the_container() {
        for line in ["kill -a c1 KILL", "kill c1 -a KILL", "kill c1 KILL -a"] {
            let mut arguments = of(line);
            arguments.verb().unwrap();
            let (flags, rest) = read(arguments).unwrap();
            assert_eq!((flags, rest.join(" ")), (vec!["-a".into()], "c1 KILL".into()), "{line}");
        }
    }

    #[test]
    fn what_follows_the_container_of_exec_is_its_command() {
        let mut arguments = of("exec -t c1 ls -t --all");
        arguments.verb().unwrap();
        arguments.stop_at_positional();
        let (flags, rest) = read(arguments).unwrap();
        assert_eq!((flags, rest.join(" ")), (vec!["-t".into()], "c1 ls -t --all".into()));
    }

    #[test]
    fn nothing_may_be_left() {
        for line in ["state c1 c2", "state c1 --frob", "state --frob c1"] {
            let mut arguments = of(line);
            arguments.verb().unwrap();
            assert!(arguments.end().is_err(), "{line}");
        }
    }

    #[test]
    fn switches_can_be_off() {
        for (line, on) in
            [("--all", Some(true)), ("--all=false", Some(false)), ("--all=maybe", None)]
        {
            let mut arguments = of(line);
            arguments.next_flag().unwrap();
            assert_eq!(arguments.switch().ok(), on, "{line}");
        }
    }
}
