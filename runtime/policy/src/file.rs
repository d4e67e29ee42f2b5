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
//! Beside it may be drop-ins ([`crate::drop_in`]).
//!
//! Promises: a file of which anything is not understood gives no policy: an unknown key, another version, a value that
//! a rule cannot have, a profile that lacks what its rules need. Must never guess.

use std::collections::BTreeMap;
use std::fmt;

use brig_spec::nearest;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::chosen::{ChosenProfile, Further};
use crate::conditions::{Annotation, Condition, Tighten};
use crate::drop_in::{self, DropIn};
use crate::exception::{Date, Exception};
use crate::ids::IdPool;
use crate::level::{self, LEVELS, OCI, RESTRICTED};
use crate::profile::{Mode, Profile, RULES};
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
    exceptions: BTreeMap<String, Exception>,
    tighten: BTreeMap<String, Tighten>,
    drop_ins: Vec<DropIn>,
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
    #[serde(default, rename = "exception")]
    exceptions: BTreeMap<String, Exception>,
    #[serde(default)]
    tighten: BTreeMap<String, Tighten>,
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
    /// That of a node without a file: [`RESTRICTED`] holds, and each level may be selected but the one that changes nothing.
    #[must_use]
    pub fn without_file() -> Self {
        let levels = LEVELS.iter().map(|(full, _)| *full).filter(|full| *full != OCI);
        Self {
            default: RESTRICTED.to_owned(),
            selectable: levels.map(str::to_owned).collect(),
            profiles: BTreeMap::new(),
            ids: IdPool::default(),
            exceptions: BTreeMap::new(),
            tighten: BTreeMap::new(),
            drop_ins: Vec::new(),
        }
    }

    /// The profile that holds where none is selected.
    #[must_use]
    pub fn default_name(&self) -> &str {
        &self.default
    }

    /// Reads the text of a policy file, and every profile in it.
    ///
    /// # Errors
    /// Anything in it is not understood; see the module.
    pub fn read(text: &str) -> Result<Self, Error> {
        let read: Text = read(text)?;
        let policy = Self {
            default: read.default,
            selectable: read.selectable,
            profiles: read.profiles,
            ids: read.ids,
            exceptions: read.exceptions,
            tighten: read.tighten,
            drop_ins: Vec::new(),
        };
        if let Some(name) = policy.profiles.keys().find(|name| level::find(name).is_some()) {
            let what = format!("profile.{name}: is the name of a level, which never changes");
            return Err(Error::new(what, "give it another name, and extend the level"));
        }
        let mut levels = Levels::default();
        for name in policy.profiles.keys() {
            policy.resolve(name, &mut Vec::new(), &mut levels)?;
        }
        policy.require_known(policy.selectable.iter().chain([&policy.default]))?;
        for (name, exception) in &policy.exceptions {
            policy.check_exception(name, exception)?;
        }
        policy.require_known(policy.tighten.values().map(|one| &one.profile))?;
        for profile in policy.profiles.values() {
            policy.require_known(profile.annotations.profiles.iter().flatten())?;
        }
        debug_assert_eq!(read.version, VERSION);
        Ok(policy)
    }

    /// Reads the text of a drop-in, and lets it hold after those before it.
    ///
    /// # Errors
    /// Anything in it is not understood; see the module.
    pub fn add_drop_in(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let drop_in::Text { profiles, rules, .. } = read(text)?;
        self.require_known(profiles.iter().flatten())?;
        let rules = self.whole(rules, "rules", &mut Vec::new(), &mut Levels::default())?;
        self.drop_ins.push(DropIn { name: name.to_owned(), profiles, rules });
        Ok(())
    }

    fn check_exception(&self, name: &str, exception: &Exception) -> Result<(), Error> {
        let Exception { reason, drop_in, rules, profiles, .. } = exception;
        let wrong = |field: &str, what: &str, hint: &str| {
            Err(Error::new(format!("exception.{name}.{field}: {what}"), hint))
        };
        let unknown = rules.iter().find(|one| !RULES.iter().any(|rule| rule.name == **one));
        if let Some(unknown) = unknown {
            let hint = match nearest(unknown, RULES.iter().map(|rule| rule.name)) {
                Some(near) => format!("did you mean {near}?"),
                None => "docs/hardening.md has the rules".to_owned(),
            };
            return wrong("rules", &format!("there is no rule {unknown:?}"), &hint);
        }
        if reason.trim().is_empty() {
            return wrong("reason", "is empty", "say why the exception is granted");
        }
        if drop_in.contains('/') || !drop_in.ends_with(".toml") {
            let hint = "give the name of a file in policy.d, such as \"50-gpu.toml\"";
            return wrong("drop_in", &format!("{drop_in:?} is not a drop-in"), hint);
        }
        self.require_known(profiles)
    }

    fn require_known<'n>(&self, names: impl IntoIterator<Item = &'n String>) -> Result<(), Error> {
        let is_known = |name: &str| self.profiles.contains_key(name) || level::find(name).is_some();
        match names.into_iter().find(|name| !is_known(name)) {
            Some(unknown) => Err(self.unknown(unknown)),
            None => Ok(()),
        }
    }

    /// The profile of a container for which `selected` has been chosen: the default where nothing has. No exception holds.
    ///
    /// # Errors
    /// `selected` is not one that the policy lets be selected.
    pub fn profile(&self, selected: Option<&str>) -> Result<ChosenProfile, Error> {
        self.profile_on(None, selected)
    }

    /// The ids that remapped containers of this node have.
    #[must_use]
    pub fn ids(&self) -> IdPool {
        self.ids
    }

    /// The same, with the exceptions that hold on a day.
    ///
    /// # Errors
    /// As [`Policy::profile`].
    pub fn profile_on(
        &self,
        today: Option<Date>,
        selected: Option<&str>,
    ) -> Result<ChosenProfile, Error> {
        let name = full(selected.unwrap_or(&self.default));
        if name != full(&self.default) && !self.selectable.iter().any(|one| full(one) == name) {
            return Err(self.not_selectable(selected.unwrap_or(&self.default)));
        }
        let mut chain = Vec::new();
        let rules = self.resolve(name, &mut chain, &mut Levels::default())?;
        let mut chosen = ChosenProfile::new(name, rules);
        let is_for = |(_, exception): &(&String, &Exception)| {
            exception.profiles.iter().any(|one| full(one) == name)
        };
        for drop_in in &self.drop_ins {
            let is_one = |name: &String| chain.iter().any(|one| full(one) == full(name));
            if drop_in.profiles.as_ref().is_none_or(|names| names.iter().any(is_one)) {
                drop_in.apply(&mut chosen, self.exceptions.iter().filter(is_for), today);
            }
        }
        Ok(chosen)
    }

    /// The rules that hold besides a profile for containers with certain annotations.
    ///
    /// # Errors
    /// None for a profile of this policy's.
    pub fn conditions(&self, profile: &ChosenProfile) -> Result<Vec<Condition>, Error> {
        let mut levels = Levels::default();
        let mut conditions = Vec::new();
        let mut add = |by: String, annotation: &str, values: Vec<String>, profile: &str| {
            let mut rules = self.resolve(profile, &mut Vec::new(), &mut levels)?;
            if annotation == Annotation::Profile.name() {
                // The profile that lists the annotation judges it; the one that it names would refuse it.
                rules.annotations.mode = Some(Mode::Off);
            }
            let (annotation, further) = (annotation.to_owned(), Further { by, rules });
            conditions.push(Condition { annotation, values, further });
            Ok(())
        };
        for (name, Tighten { annotation, values, profile }) in &self.tighten {
            add(format!("tighten.{name}"), annotation, values.clone(), profile)?;
        }
        let rule = &profile.rules().annotations;
        let is_on = rule.mode.unwrap_or_default() != Mode::Off;
        let is_allowed = rule.allow.iter().flatten().any(|one| *one == Annotation::Profile);
        for name in rule.profiles.iter().flatten().filter(|_| is_on && is_allowed) {
            let annotation = Annotation::Profile.name();
            add(format!("the annotation {annotation}"), annotation, vec![name.clone()], name)?;
        }
        Ok(conditions)
    }

    fn not_selectable(&self, name: &str) -> Error {
        let others = self.selectable.iter().map(String::as_str).filter(|one| *one != self.default);
        let all: Vec<&str> = std::iter::once(&*self.default).chain(others).collect();
        Error::new(
            format!("the profile {name:?} is not one that may be selected"),
            format!(
                "selectable are {}; the policy file says which, and a brig that is called brig-NAME selects NAME",
                all.join(", ")
            ),
        )
    }

    /// A profile with all that it extends, whose names are added to `chain`.
    fn resolve(
        &self,
        name: &str,
        chain: &mut Vec<String>,
        levels: &mut Levels,
    ) -> Result<Profile, Error> {
        let extends = Profile { extends: Some(name.to_owned()), ..Profile::default() };
        self.whole(extends, &format!("profile.{name}"), chain, levels)
    }

    /// Rules with all that they extend. `place` is where they are, for errors.
    fn whole(
        &self,
        rules: Profile,
        place: &str,
        chain: &mut Vec<String>,
        levels: &mut Levels,
    ) -> Result<Profile, Error> {
        let mut next = rules.extends.clone();
        let (mut whole, mut passed) = (rules, 0);
        while let Some(name) = next.take() {
            if passed == CHAIN {
                let what = format!("{place}.extends: the chain is cyclic, or longer than {CHAIN}");
                return Err(Error::new(what, "let it extend a level"));
            }
            let one = match (self.profiles.get(&name), level::find(&name)) {
                (Some(profile), _) => profile.clone(),
                (None, Some(level)) => levels.read(level)?,
                (None, None) => return Err(self.unknown(&name)),
            };
            next.clone_from(&one.extends);
            whole = whole.over(one);
            if let Some((full, _)) = level::find(&name) {
                chain.extend(level::extended(full).map(str::to_owned));
            }
            chain.push(name);
            passed += 1;
        }
        whole.extends = None;
        match whole.lacks() {
            None => Ok(whole),
            Some((rule, value)) => Err(Error::new(
                format!("{place}.{rule}.{value}: required but missing"),
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

/// The full name of a level, any other name as it is.
fn full(name: &str) -> &str {
    level::find(name).map_or(name, |(full, _)| full)
}

/// Whether these keys of a policy file or drop-in lead to a table.
fn is_table(path: &[String]) -> bool {
    let is_rule = |name: &str| RULES.iter().any(|rule| rule.name == name);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path[..] {
        ["profile" | "exception" | "tighten"]
        | ["profile" | "exception" | "tighten", _]
        | ["rules"] => true,
        ["profile", _, name] | ["rules", name] => is_rule(name),
        _ => false,
    }
}

/// Reads a text of this version.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    /// First, as a newer form may have what this one does not know.
    #[derive(Deserialize)]
    struct Version {
        version: Option<u32>,
    }
    let wrong = |wrong| explain(text, &wrong);
    let json = Json::of(text, is_table).map_err(wrong)?;
    let Version { version } = json.read().map_err(wrong)?;
    match version {
        Some(VERSION) => json.read().map_err(wrong),
        None => Err(Error::new("version: required but missing", "write version = 1")),
        Some(other) => {
            let what = format!("version: {other} is not known, only {VERSION}");
            Err(Error::new(what, "use a brig that knows it"))
        }
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
