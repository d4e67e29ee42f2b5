//! What holds for a container, as a type of its own.

use std::ops::Deref;

use brig_spec::mount::MountRequest;
use brig_spec::{Asked, Config, Process};

/// What holds for a container, or for a part of one: what was asked for, as far as the node grants it. It is what plan,
/// cgroup, filter, hooks and every later verb see, and only this package makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Hardened<T = Config>(pub(crate) Box<T>);

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

    /// Adds a mount of the runtime's own, after all that was asked for.
    pub fn add_mount(&mut self, mount: MountRequest) {
        self.0.mounts.push(mount);
    }
}

impl Hardened {
    /// See [`Capabilities::leave_out_lacking`](brig_spec::capability::Capabilities::leave_out_lacking).
    pub fn leave_out_lacking(&mut self, permitted: u64, inheritable: u64) -> Option<String> {
        self.0.process.capabilities.leave_out_lacking(permitted, inheritable)
    }

    /// It as text, with the filter's section of `asked`, the text that it was made of; from here on it is that of this
    /// text.
    ///
    /// # Errors
    /// See [`Config::text`].
    pub fn write(&mut self, asked: &[u8]) -> Result<Vec<u8>, brig_spec::Error> {
        let section = self.0.seccomp.clone().and_then(|range| asked.get(range));
        let (text, seccomp) = self.0.text(section)?;
        self.0.seccomp = seccomp;
        Ok(text)
    }
}

impl Hardened<Process> {
    /// See [`Capabilities::leave_out_lacking`](brig_spec::capability::Capabilities::leave_out_lacking).
    pub fn leave_out_lacking(&mut self, permitted: u64, inheritable: u64) -> Option<String> {
        self.0.capabilities.leave_out_lacking(permitted, inheritable)
    }
}

/// What holds for a container by the record that brig has kept of it: it was hardened before it was written there. For
/// nothing else.
#[must_use]
pub fn kept(recorded: Asked) -> Hardened {
    Hardened(recorded.into_config())
}
