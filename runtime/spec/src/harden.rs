//! What the node makes of what is asked for.
//!
//! Promises: [`Hardened`] is made here and nowhere else, and never asks for more than the text did. It is what plan,
//! cgroup, filter, hooks and every later verb see. Today a node has no policy of its own, so that it is what is asked.
//! Must never do I/O: what it decides by comes in.

use std::ops::Deref;

use super::model::{Config, Process, Resources};
use super::parse::Asked;

/// What holds for a container, or for a part of one: what was asked for, as far as the node grants it.
#[derive(Clone, Debug, PartialEq)]
pub struct Hardened<T = Config>(Box<T>);

impl<T> Deref for Hardened<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Hardened {
    /// Replaces variables of the program's environment by what the runtime itself has to tell it; those without a
    /// value are removed.
    pub fn replace_variables(&mut self, variables: &[(&str, Option<&str>)]) {
        let env = &mut self.0.process.env;
        let is_one = |entry: &str| {
            let name = entry.split('=').next();
            variables.iter().any(|(variable, _)| name == Some(variable))
        };
        env.retain(|entry| !is_one(entry));
        let given = variables.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        env.extend(given.map(|(name, value)| format!("{name}={value}")));
    }
}

/// What holds for a container.
#[must_use]
pub fn harden(asked: Asked) -> Hardened {
    Hardened(asked.0)
}

/// What holds for a further process of a container. Where it names no label or limit of its own it has those of the
/// container's: without them it would be the one process in there that nothing confines.
#[must_use]
pub fn harden_process(mut asked: Process, container: &Hardened) -> Hardened<Process> {
    let own = &container.process;
    asked.selinux_label = asked.selinux_label.or_else(|| own.selinux_label.clone());
    asked.apparmor_profile = asked.apparmor_profile.or_else(|| own.apparmor_profile.clone());
    asked.oom_score_adj = asked.oom_score_adj.or(own.oom_score_adj);
    if asked.rlimits.is_empty() {
        asked.rlimits.clone_from(&own.rlimits);
    }
    Hardened(Box::new(asked))
}

/// What holds for new limits of a container.
#[must_use]
pub fn harden_resources(asked: Resources) -> Hardened<Resources> {
    Hardened(Box::new(asked))
}
