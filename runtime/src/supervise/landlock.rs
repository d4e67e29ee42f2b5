//! Landlock rulesets of a container's processes: that of its blueprint, and that of the node's rule, which is made anew for
//! every process from what is kept of the container.
//!
//! Must never leave out what the rule says: where the kernel cannot do it, that has been judged with the container.

use std::io;
use std::os::fd::OwnedFd;

use brig_sys::landlock::{self, Handled};

use super::Error;
use super::blueprint::{Blueprint, Landlock};
use crate::plan::{LandlockPath, LandlockRules};
use crate::policy::ChosenProfile;
use crate::policy::landlock::{OF_FILE, Ruleset, ruleset};
use crate::spec::Config;

/// All of a container that is to be made.
pub(super) fn of_blueprint(blueprint: &mut Blueprint) -> Result<Vec<Landlock>, Error> {
    let config = &blueprint.config;
    let of_node = of_node(&config.spec, &config.applied.profile)?;
    Ok(of_node.into_iter().chain(blueprint.landlock.take()).collect())
}

/// The node's, for a process of the container: one for each set of rules.
pub(super) fn of_node(spec: &Config, profile: &ChosenProfile) -> Result<Vec<Landlock>, Error> {
    // Asking the kernel is a system call.
    if !profile.has(|rules| rules.landlock.mode) {
        return Ok(Vec::new());
    }
    let version = landlock::version();
    let wanted = profile.sets().filter_map(|set| ruleset(spec, set.rules, version));
    wanted.map(make).collect()
}

fn make(wanted: Ruleset) -> Result<Landlock, Error> {
    let failed = |error: io::Error| Error::system("making the node's Landlock ruleset", error);
    let (files, ports, scopes) = (wanted.files, wanted.ports, wanted.scopes);
    let ruleset = landlock::create(&Handled { files, ports, scopes }).map_err(failed)?;
    for (port, access) in &wanted.allowed_ports {
        landlock::allow_port(&ruleset, *port, *access).map_err(failed)?;
    }
    let paths = wanted.paths.into_iter().map(|(path, access, may_be_missing)| LandlockPath {
        path,
        access,
        may_be_missing,
    });
    Ok(Landlock { ruleset, rules: LandlockRules { paths: paths.collect(), of_file: OF_FILE } })
}

/// The descriptors, for the child's table, and what is added to them, for the plan.
pub(super) fn apart(all: Vec<Landlock>) -> (Vec<OwnedFd>, Vec<LandlockRules>) {
    all.into_iter().map(|one| (one.ruleset, one.rules)).unzip()
}
