//! What only the supervisor can do for a process that waits for it: id maps, systemd's scope, a resctrl group, network
//! devices.
//!
//! Must never run for a process that does not wait: it would be in the middle of what changes here.

use std::os::fd::{BorrowedFd, OwnedFd};

use brig_cgroup::PlannedScope;
use brig_child::flags::namespace;

use super::Error;
use super::blueprint::Blueprint;
use super::transaction::{Made, Transaction};
use crate::execute::{IdMaps, Inputs, NetDevices, Resctrl, network_namespace_of, write_id_maps};
use crate::plan::Plan;
use crate::spec::ContainerId;

/// What is to be done, and what is needed for it.
#[derive(Debug)]
pub(super) struct Outside {
    id_maps: Option<IdMaps>,
    scope: Option<PlannedScope>,
    /// The network namespace that the process joins.
    network: Option<OwnedFd>,
}

impl Outside {
    /// What is to be done for the process of `plan`.
    pub(super) fn of(
        blueprint: &Blueprint,
        plan: &Plan<'_>,
        scope: Option<PlannedScope>,
        inputs: &Inputs,
    ) -> Result<Self, Error> {
        let [uids, gids] = blueprint.id_maps();
        let id_maps = plan.wants_id_maps.then_some(IdMaps { uids, gids });
        let network = inputs.namespace(namespace::NETWORK).map(|fd| fd.try_clone_to_owned());
        let network = network.transpose().map_err(|error| {
            Error::system("duplicating the descriptor of the network namespace", error)
        })?;
        Ok(Self { id_maps, scope, network })
    }

    /// Does it for process `pid`; a program that helps is ended when `stop` can be read.
    pub(super) fn set_up(
        &mut self,
        id: &ContainerId,
        blueprint: &Blueprint,
        pid: i32,
        making: &mut Transaction,
        stop: Option<BorrowedFd<'_>>,
    ) -> Result<(), Error> {
        if let Some(maps) = &self.id_maps {
            write_id_maps(pid, maps, stop)?;
        }
        let mut is_to_record = false;
        if let Some(scope) = self.scope.take() {
            let attached = scope.attach(pid).map_err(|error| {
                let hint = error.hint().map(|hint| hint.to_string());
                Error::because("moving the process into its cgroup", error)
                    .with_hint_of(hint.as_deref())
            });
            making.add(Made::Cgroup(attached?))?;
            is_to_record = true;
        }
        let linux = blueprint.linux();
        if let Some(rdt) = &linux.intel_rdt {
            making.add(Made::Resctrl(Resctrl::assign(id.as_str(), rdt, pid)?))?;
            is_to_record = true;
        }
        if !linux.net_devices.is_empty() {
            // The same that the process joins, or that it has got.
            let inside = match self.network.take() {
                Some(joined) => joined,
                None => network_namespace_of(&pid.to_string())?,
            };
            making.add(Made::Devices(NetDevices::move_into(&linux.net_devices, inside)?))?;
        }
        if is_to_record { making.save() } else { Ok(()) }
    }
}
