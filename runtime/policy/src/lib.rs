//! What a node grants of what is asked of it.
//!
//! A policy file names profiles; a [`Profile`] is a set of rules; [`harden`] holds what a container asks for against
//! one, and gives what holds ([`Hardened`]) with a [`Verdict`] for each thing that it is not given, or a [`Denial`].
//!
//! Promises: what holds is never more than what was asked for, and never more than the profile allows; hardened twice
//! it is the same. A policy that cannot be read in full grants nothing. Must never do I/O: whoever uses this reads the
//! file, and knows who wrote it.
#![forbid(unsafe_code)]

mod chosen;
mod conditions;
mod denial;
mod drop_in;
mod exception;
mod file;
mod harden;
mod hardened;
mod ids;
pub mod landlock;
mod level;
mod pod;
mod profile;
mod schema;
pub mod source;
#[cfg(test)]
mod tests;
mod toml_text;
pub mod value;
mod verdict;

pub use chosen::{ChosenProfile, Further, RuleSet};
pub use conditions::{Annotation, Condition};
pub use denial::Denial;
pub use exception::{Date, Exempted};
pub use file::{Error, Policy};
pub use harden::{
    Bandwidth, CallerFacts, Facts, Modules, NodeFilter, NodePolicy, Present, Remap, Unlimitable,
    bandwidth, harden, harden_process, harden_resources, judge, judge_hooks, judge_joined,
    judge_joined_maps, judge_listener, root_attributes, securebits, wants_range, write_xor_execute,
};
pub use hardened::{Hardened, kept};
pub use ids::{IdPool, RANGE_IDS};
pub use level::LEVELS;
pub use profile::{About, BindSources, Hooks, Mode, Profile, RULES, Remapping, SeccompListener};
pub use schema::schema;
pub use source::{Places, Sources, hook_field, is_on_the_host};
pub use verdict::{Applied, Outcome, Verdict};
