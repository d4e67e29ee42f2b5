//! Tables of flags: from a verb's table its flags are read, and its help is made.
//!
//! Promises: a flag that is read is in the help and the other way round, with the value that it takes.
//! Must never say of a flag in a second place what its entry says.

use std::path::PathBuf;

use super::arguments::{About, Arguments, Format, Place, Places, Table, Usage, Value};

/// A flag of a verb whose options are a `T`.
pub(super) struct Flag<T> {
    /// As [`About::of`] reads it.
    text: &'static str,
    goes: Goes<T>,
}

/// Where a flag goes.
enum Goes<T> {
    Switch(fn(&mut T) -> &mut bool),
    Path(fn(&mut T) -> &mut Option<PathBuf>),
    Text(fn(&mut T) -> &mut Option<String>),
    Number(fn(&mut T) -> &mut u32),
    Format(fn(&mut T) -> &mut Format),
    Json(fn(&mut T) -> &mut Format),
    Value(fn(&mut T, Value) -> Result<(), Usage>),
    Nowhere,
}

impl<T> Flag<T> {
    const fn new(text: &'static str, goes: Goes<T>) -> Self {
        let wants = !matches!(goes, Goes::Switch(_) | Goes::Json(_) | Goes::Nowhere);
        assert!(!wants || About::names_value(text), "a flag with a value says what that is called");
        let refuses = matches!(goes, Goes::Switch(_) | Goes::Json(_));
        assert!(!refuses || !About::names_value(text), "a flag has no place for its value");
        Self { text, goes }
    }
}

/// A flag that is on unless it says `=false`.
pub(super) const fn switch<T>(text: &'static str, place: fn(&mut T) -> &mut bool) -> Flag<T> {
    Flag::new(text, Goes::Switch(place))
}

/// A flag with the path of a file or directory.
pub(super) const fn path<T>(
    text: &'static str,
    place: fn(&mut T) -> &mut Option<PathBuf>,
) -> Flag<T> {
    Flag::new(text, Goes::Path(place))
}

/// A flag with a text.
pub(super) const fn text<T>(
    text: &'static str,
    place: fn(&mut T) -> &mut Option<String>,
) -> Flag<T> {
    Flag::new(text, Goes::Text(place))
}

/// A flag with a number.
pub(super) const fn number<T>(text: &'static str, place: fn(&mut T) -> &mut u32) -> Flag<T> {
    Flag::new(text, Goes::Number(place))
}

/// A flag with a format, which is table or json.
pub(super) const fn format<T>(text: &'static str, place: fn(&mut T) -> &mut Format) -> Flag<T> {
    Flag::new(text, Goes::Format(place))
}

/// `--json`.
pub(super) const fn json<T>(place: fn(&mut T) -> &mut Format) -> Flag<T> {
    Flag::new("--json  as --format json", Goes::Json(place))
}

/// A flag with a value that has a form of its own.
pub(super) const fn value<T>(
    text: &'static str,
    set: fn(&mut T, Value) -> Result<(), Usage>,
) -> Flag<T> {
    Flag::new(text, Goes::Value(set))
}

/// A flag that is taken and says nothing to brig.
pub(super) const fn ignored<T>(text: &'static str) -> Flag<T> {
    Flag::new(text, Goes::Nowhere)
}

/// Flags that belong together, below a title of their own in the help; without one they go on the
/// list before.
pub(super) type Group<T> = (&'static str, &'static [Flag<T>]);

/// All flags of a verb.
pub(super) struct Flags<T: 'static>(pub(super) &'static [Group<T>]);

/// A verb without flags.
pub(super) const NONE: Flags<()> = Flags(&[]);

impl<T> Flags<T> {
    /// Reads all flags; what else there is, is left in `arguments`.
    pub(super) fn read(&self, arguments: &mut Arguments, into: &mut T) -> anyhow::Result<()> {
        arguments.read(self, &mut Filled { flags: self, into })
    }

    /// Reads the flags before the first argument that is none; what follows is somebody else's.
    pub(super) fn read_leading(
        &self,
        arguments: &mut Arguments,
        into: &mut T,
    ) -> anyhow::Result<()> {
        arguments.stop_at_positional();
        self.read(arguments, into)
    }

    /// The flag at `index`, and the title of its group where it is the first.
    fn flag(&self, mut index: usize) -> Option<(Option<&'static str>, &'static Flag<T>)> {
        for (title, flags) in self.0 {
            match flags.get(index) {
                Some(flag) => return Some(((index == 0).then_some(*title), flag)),
                None => index -= flags.len(),
            }
        }
        None
    }
}

impl<T> Table for Flags<T> {
    fn entry(&self, index: usize) -> Option<(Option<&'static str>, &'static str)> {
        self.flag(index).map(|(title, flag)| (title, flag.text))
    }
}

/// Options while flags are read.
struct Filled<'a, T: 'static> {
    flags: &'a Flags<T>,
    into: &'a mut T,
}

impl<T> Places for Filled<'_, T> {
    fn place(&mut self, index: usize) -> Place<'_> {
        let into = &mut *self.into;
        match self.flags.flag(index).map(|(_, flag)| &flag.goes) {
            Some(Goes::Switch(place)) => Place::Switch(place(into)),
            Some(Goes::Path(place)) => Place::Path(place(into)),
            Some(Goes::Text(place)) => Place::Text(place(into)),
            Some(Goes::Number(place)) => Place::Number(place(into)),
            Some(Goes::Format(place)) => Place::Format(place(into)),
            Some(Goes::Json(place)) => Place::Json(place(into)),
            Some(Goes::Value(_)) => Place::Value,
            Some(Goes::Nowhere) | None => Place::Nowhere,
        }
    }

    fn set(&mut self, index: usize, value: Value) -> Result<(), Usage> {
        match self.flags.flag(index) {
            Some((_, Flag { goes: Goes::Value(set), .. })) => set(self.into, value),
            _ => Ok(()),
        }
    }
}
