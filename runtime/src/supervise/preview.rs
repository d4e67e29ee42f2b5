//! `plan`: what would be done for a bundle, in words, without doing it.

use std::path::Path;

use brig_cgroup::{CgroupFacts, CgroupPlan, Driver, Layout};
use bumpalo::Bump;

use super::blueprint::{Blueprint, Circumstances};
use super::{Error, Systemd};
use crate::caller::Caller;
use crate::host::Host;
use crate::node_policy;
use crate::plan::{self, Join, Start};
use crate::policy::NodePolicy;
use crate::printable;
use crate::spec::ContainerId;

/// The plan of a bundle on this machine.
///
/// # Errors
/// As `create`, as far as planning goes.
pub fn preview(
    id: &ContainerId,
    bundle: &Path,
    systemd: Option<&Systemd>,
    node: &NodePolicy,
) -> Result<String, Error> {
    let mut blueprint = Blueprint::of_bundle(bundle, node)?;
    let filter = blueprint.filter()?;
    let node_filter = node_policy::filter(&blueprint.config.applied)?;
    let facts = CgroupFacts::read()?;
    let cgroup = blueprint.plan_cgroup(id, &facts, systemd, Caller::get())?;
    let host = Host::read(&blueprint.config.spec.process).with_security_modules().with_kernel();
    let lacking = blueprint.leave_out_lacking();
    let many = plan::needs_many_descriptors(&blueprint.config.spec);
    let host = if many { host.with_descriptors() } else { host };
    let arena = Bump::with_capacity(plan::ARENA_BYTES);
    let plan = blueprint.plan(
        &arena,
        &Circumstances {
            id,
            start: Start::AtGate,
            host: &host.facts,
            cgroup: &cgroup,
            join: join(&facts, &cgroup),
            standard: [false; 3],
            preserve_fds: 0,
            new_keyring: true,
            home: blueprint.home().as_deref(),
            filter: filter.as_ref(),
            node_filter: node_filter.as_ref(),
        },
    )?;
    let mut text = String::new();
    for sentence in blueprint.config.spec.process.capabilities.left_out.iter().chain(&lacking) {
        text.push_str(&format!("note    {}\n", printable::line(sentence)));
    }
    for verdict in &blueprint.config.applied.verdicts {
        text.push_str(&format!("policy  {}\n", printable::line(&verdict.to_string())));
    }
    for line in cgroup.lines() {
        text.push_str(&format!("cgroup  {}\n", printable::line(&line)));
    }
    Ok(text + &plan::render(&plan))
}

/// How the cgroup would be joined.
fn join(facts: &CgroupFacts, cgroup: &CgroupPlan) -> Join {
    if cgroup.driver == Driver::Systemd {
        return Join { by_supervisor: true, ..Join::default() };
    }
    let tasks = cgroup.directories.iter().filter(|directory| !directory.unified).count();
    let into = matches!(facts.layout, Layout::Unified(_));
    Join { into, tasks: u16::try_from(tasks).unwrap_or(u16::MAX), by_supervisor: false }
}
