//! What is looked at for a blueprint, of its bundle and of the machine, before anything is made: with it all that a plan
//! depends on is known.
//!
//! Promises: `create` and `brig plan` look at the same. Must never make anything but the kept mount namespace.

use super::blueprint::{Blueprint, Circumstances};
use super::{Error, landlock};
use crate::host::Host;
use crate::{node_policy, plan};

impl Blueprint {
    /// Looks at what its plan depends on; it loses the capabilities that brig lacks.
    pub(super) fn circumstances(&mut self) -> Result<Circumstances, Error> {
        let filter = self.filter()?;
        let node_filters = node_policy::filters(&self.config.applied, &self.config.spec)?;
        let lacking = self.leave_out_lacking();
        let mut host = Host::read(&self.config.spec.process);
        if self.wants_label() {
            host = host.with_security_modules();
        }
        if self.depends_on_kernel() {
            host = host.with_kernel();
        }
        if plan::needs_many_descriptors(&self.config.spec) {
            host = host.with_descriptors();
        }
        let home = self.home();
        let (rulesets, landlock) = landlock::apart(landlock::of_blueprint(self)?);
        Ok(Circumstances { host, filter, node_filters, home, lacking, rulesets, landlock })
    }
}
