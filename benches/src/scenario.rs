//! What is measured and what comes of it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::meter::Sample;

/// A kind of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// `run` of a program that ends at once, back to back.
    Run,
    /// The same with idle time before each: what a hot loop hides, such as waits for RCU.
    RunGap,
    /// `run` of Docker's bundle.
    RunDocker,
    /// `create` alone.
    Create,
    /// `start` alone, of a container created just before.
    Start,
    /// `exec` in a running container.
    Exec,
    /// `run` where the mount namespace has many more mounts, against one without them.
    Mounts,
    /// `run` while many other containers of the same runtime run, against none.
    Containers,
    /// Peak memory of `run`.
    Memory,
    /// The program's size.
    Size,
}

impl Scenario {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 10] = [
        Self::Size,
        Self::Memory,
        Self::Run,
        Self::RunGap,
        Self::RunDocker,
        Self::Create,
        Self::Start,
        Self::Exec,
        Self::Mounts,
        Self::Containers,
    ];

    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::RunGap => "run-gap",
            Self::RunDocker => "run-docker",
            Self::Create => "create",
            Self::Start => "start",
            Self::Exec => "exec",
            Self::Mounts => "mounts",
            Self::Containers => "containers",
            Self::Memory => "memory",
            Self::Size => "size",
        }
    }
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Iterations of each scenario.
    pub iterations: u32,
    /// Idle time before each command of [`Scenario::RunGap`].
    pub gap: Duration,
    /// Additional mounts of [`Scenario::Mounts`].
    pub mounts: u32,
    /// Running containers of [`Scenario::Containers`].
    pub containers: u32,
}

/// The host's state in which a lane was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// As it is.
    None,
    /// With the scenario's mounts or containers.
    Added,
}

/// One row of a scenario: one subject in one state of the host.
#[derive(Debug, Clone)]
pub struct Lane {
    /// The subject's name.
    pub subject: String,
    /// For the floor measured next to another subject: that one's name.
    pub beside: Option<String>,
    /// The host's state.
    pub load: Load,
    /// One entry for each iteration: nothing where the subject failed.
    pub samples: Vec<Option<Sample>>,
    /// Why it failed, for each failure.
    pub failures: Vec<String>,
    /// System calls of one run, of all processes.
    pub syscalls: Option<u64>,
}

/// What came of a scenario.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which one.
    pub scenario: Scenario,
    /// Its rows.
    pub lanes: Vec<Lane>,
}

/// A subject's program size.
#[derive(Debug, Clone)]
pub struct Size {
    /// The subject's name.
    pub subject: String,
    /// In bytes.
    pub bytes: u64,
}

/// Everything that was measured.
#[derive(Debug, Clone, Default)]
pub struct Results {
    /// The timed scenarios.
    pub outcomes: Vec<Outcome>,
    /// The sizes, if asked for.
    pub sizes: Vec<Size>,
    /// Cgroups that a runtime left behind after deleting its containers.
    pub left_behind: Vec<PathBuf>,
}

/// The scenario of a name.
///
/// # Errors
/// When there is none.
pub fn scenario_named(name: &str) -> Result<Scenario> {
    let found = Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
    match found {
        Some(scenario) => Ok(scenario),
        None => {
            let names: Vec<&str> = Scenario::ALL.iter().map(|scenario| scenario.name()).collect();
            bail!("there is no scenario {name:?}; there are: {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario_named(scenario.name()).expect("its own name"), scenario);
        }
        assert!(scenario_named("nonsense").is_err());
    }
}
