//! `plan`: what would be done for a bundle, in words, without doing it.

use std::path::Path;

use brig_cgroup::{CgroupFacts, foresee};
use bumpalo::Bump;

use super::Error;
use super::blueprint::{Blueprint, Manner};
use super::node::Node;
use crate::caller::Caller;
use crate::plan::{self, Join, Start, plan_cgroup};
use crate::printable;
use crate::spec::ContainerId;

impl Node {
    /// The plan of a bundle on this machine, in words, as `create` would carry it out now.
    ///
    /// # Errors
    /// As [`Node::create`], as far as planning goes.
    pub fn preview(&self, id: &ContainerId, bundle: &Path) -> Result<String, Error> {
        let mut blueprint = Blueprint::shown(bundle, &self.policy()?)?;
        let circumstances = blueprint.circumstances()?;
        let spec = &blueprint.config.spec;
        let facts = CgroupFacts::read()?;
        let cgroup = foresee(plan_cgroup(id, spec, &facts, self.systemd(), Caller::get())?);
        let arena = Bump::with_capacity(plan::ARENA_BYTES);
        let (start, standard, null) = (Start::AtGate, [false; 3], [false; 3]);
        let manner = Manner { id, start, standard, null, preserve_fds: 0, new_keyring: true };
        let plan = blueprint.plan(&arena, &manner, &circumstances, (&cgroup, Join::of(&cgroup)))?;
        let mut text = String::new();
        let left_out = &blueprint.config.spec.process.capabilities.left_out;
        for sentence in left_out.iter().chain(&circumstances.lacking) {
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
}
