//! A policy file: TOML, version 1.
//!
//!     version = 1
//!     default = "restricted"
//!     selectable = ["baseline", "web"]
//!
//!     [profile.web]
//!     extends = "restricted-1"
//!     memory = { max = "2GiB" }
//!
//! Promises: a file of which anything is not understood gives no policy: an unknown key, another version, a value that
//! a rule cannot have, a profile that lacks what its rules need. Must never guess.

use std::collections::BTreeMap;
use std::fmt;

use brig_spec::nearest;
use serde::Deserialize;

use crate::ids::IdPool;
use crate::level::{self, LEVELS, OCI};
use crate::profile::{ChosenProfile, Profile};
use crate::toml_text::{Json, TomlError};

/// The version of the form of the file.
const VERSION: u32 = 1;
/// The longest chain of profiles that extend each other.
const CHAIN: usize = 8;

/// A policy: the profiles that a node has.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    default: String,
    selectable: Vec<String>,
    profiles: BTreeMap<String, Profile>,
    ids: IdPool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    default: String,
    #[serde(default)]
    selectable: Vec<String>,
    #[serde(default)]
    ids: IdPool,
    #[serde(default, rename = "profile")]
    profiles: BTreeMap<String, Profile>,
}

/// Why a policy file gives no policy, or a policy no profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The line and the column at fault, from 1, where one is.
    pub place: Option<(usize, usize)>,
    what: String,
    hint: String,
}

impl Error {
    fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { place: None, what: what.into(), hint: hint.into() }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line} column {column}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Error {}

impl Policy {
    /// That of a node without a file: what is asked for holds, and each level may be selected, as all are stricter.
    #[must_use]
    pub fn without_file() -> Self {
        let levels = LEVELS.iter().map(|(full, _)| (*full).to_owned());
        Self {
            default: OCI.to_owned(),
            selectable: levels.collect(),
            profiles: BTreeMap::new(),
            ids: IdPool::default(),
        }
    }

    /// Reads the text of a policy file, and every profile in it.
    ///
    /// # Errors
    /// Anything in it is not understood; see the module.
    pub fn read(text: &str) -> Result<Self, Error> {
        // First, as a newer form may have what this one does not know.
        #[derive(Deserialize)]
        struct Version {
            version: Option<u32>,
        }
        let wrong = |wrong| explain(text, &wrong);
        let json = Json::of(text).map_err(wrong)?;
        let Version { version } = json.read().map_err(wrong)?;
        match version {
            Some(VERSION) => {}
            None => return Err(Error::new("version: required but missing", "write version = 1")),
            Some(other) => {
                let what = format!("version: {other} is not known, only {VERSION}");
                return Err(Error::new(what, "use a brig that knows it"));
            }
        }
        let read: Text = json.read().map_err(wrong)?;
        let policy = Self {
            default: read.default,
            selectable: read.selectable,
            profiles: read.profiles,
            ids: read.ids,
        };
        if let Some(name) = policy.profiles.keys().find(|name| level::find(name).is_some()) {
            let what = format!("profile.{name}: is the name of a level, which never changes");
            return Err(Error::new(what, "give it another name, and extend the level"));
        }
        let mut levels = Levels::default();
        for name in policy.profiles.keys() {
            policy.resolve(name, &mut levels)?;
        }
        let is_known =
            |name: &&String| policy.profiles.contains_key(*name) || level::find(name).is_some();
        if let Some(name) =
            policy.selectable.iter().chain([&policy.default]).find(|one| !is_known(one))
        {
            return Err(policy.unknown(name));
        }
        debug_assert_eq!(read.version, VERSION);
        Ok(policy)
    }

    /// The profile of a container for which `selected` has been chosen: the default where nothing has.
    ///
    /// # Errors
    /// `selected` is not one that the policy lets be selected.
    pub fn profile(&self, selected: Option<&str>) -> Result<ChosenProfile, Error> {
        let name = selected.unwrap_or(&self.default);
        let of = |name: &str| {
            level::find(name).map_or_else(|| name.to_owned(), |(full, _)| full.to_owned())
        };
        let is_selectable = |known: &String| of(known) == of(name);
        if of(name) != of(&self.default) && !self.selectable.iter().any(is_selectable) {
            let mut all = vec![&*self.default];
            all.extend(
                self.selectable.iter().map(String::as_str).filter(|one| *one != self.default),
            );
            return Err(Error::new(
                format!("the profile {name:?} is not one that may be selected"),
                format!(
                    "selectable are {}; the policy file says which, and a brig that is called brig-NAME selects NAME",
                    all.join(", ")
                ),
            ));
        }
        Ok(ChosenProfile { name: of(name), rules: self.resolve(name, &mut Levels::default())? })
    }

    /// The ids that remapped containers of this node have.
    #[must_use]
    pub fn ids(&self) -> IdPool {
        self.ids
    }

    /// A profile with all that it extends.
    fn resolve(&self, name: &str, levels: &mut Levels) -> Result<Profile, Error> {
        let mut whole = Profile::default();
        let mut next = Some(name.to_owned());
        for _ in 0..CHAIN {
            let Some(name) = next.take() else { break };
            let one = match (self.profiles.get(&name), level::find(&name)) {
                (Some(profile), _) => profile.clone(),
                (None, Some(level)) => levels.read(level)?,
                (None, None) => return Err(self.unknown(&name)),
            };
            next.clone_from(&one.extends);
            whole = whole.over(one);
        }
        if next.is_some() {
            let what =
                format!("profile.{name}.extends: the chain is cyclic, or longer than {CHAIN}");
            return Err(Error::new(what, "let it extend a level"));
        }
        match whole.lacks() {
            None => Ok(whole),
            Some((rule, value)) => Err(Error::new(
                format!("profile.{name}.{rule}.{value}: required but missing"),
                "give the rule a value, extend a profile that has one, or set its mode to \"off\"",
            )),
        }
    }

    fn unknown(&self, name: &str) -> Error {
        let levels = LEVELS.iter().flat_map(|(full, _)| [*full, plain(full)]);
        let known: Vec<&str> = self.profiles.keys().map(String::as_str).chain(levels).collect();
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are {}", known.join(", ")),
        };
        Error::new(format!("there is no profile {name:?}"), hint)
    }
}

/// The levels that have been read.
#[derive(Default)]
struct Levels(BTreeMap<&'static str, Profile>);

impl Levels {
    fn read(&mut self, (name, json): (&'static str, &str)) -> Result<Profile, Error> {
        if let Some(known) = self.0.get(name) {
            return Ok(known.clone());
        }
        // A test reads them all.
        let wrong = |error| Error::new(format!("{name}: {error}"), "this brig is damaged");
        let read: Profile = serde_json::from_str(json).map_err(wrong)?;
        self.0.insert(name, read.clone());
        Ok(read)
    }
}

fn plain(level: &str) -> &str {
    level.rsplit_once('-').map_or(level, |(plain, _)| plain)
}

/// What is wrong with a text, with its place, and the likely word.
fn explain(text: &str, wrong: &TomlError) -> Error {
    // See `value::Capabilities`: words and a hint of their own.
    let (what, hint) = match wrong.what.split_once('\0') {
        Some((what, hint)) => (what.to_owned(), hint.to_owned()),
        None => (wrong.what.clone(), hint(&wrong.what)),
    };
    Error { place: Some(place(text, wrong.offset)), what, hint }
}

fn hint(message: &str) -> String {
    let unknown = message
        .strip_prefix("unknown field `")
        .or_else(|| message.strip_prefix("unknown variant `"))
        .and_then(|rest| rest.split_once("`, expected "));
    let Some((word, expected)) = unknown else {
        return "docs/policy.md has the form of the file".to_owned();
    };
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("known are {}", known.join(", ")),
    }
}

fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before.len() - line_start + 1)
}
