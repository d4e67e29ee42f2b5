//! The cgroup in the container's state: what is planned, what was made, and runc's `cgroup_paths`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use brig_pseudofs::boot::{BOOT_ID, Boot};
use brig_pseudofs::identity::Identity;
use serde::{Deserialize, Serialize};

use super::Error;
use super::apply::Cgroup;
use super::node::CgroupNode;
use super::plan::{CgroupPlan, Directory, Driver, Scope, clean};
use super::systemd::Unit;

/// A cgroup that is going to be made, as state.json keeps it from before that on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedCgroup {
    /// Who makes it.
    pub driver: Driver,
    /// The container's directories.
    pub directories: Vec<Directory>,
    /// The systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}

/// A cgroup that was made, as state.json keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupRecord {
    /// Who made it.
    pub driver: Driver,
    /// The container's directories.
    pub directories: Vec<MadeDirectory>,
    /// The systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// When the identities hold.
    boot: Boot,
}

/// A directory that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeDirectory {
    /// Which.
    #[serde(flatten)]
    pub directory: Directory,
    /// What tells it from others that are, or will be, at its path.
    pub identity: Identity,
}

impl PlannedCgroup {
    /// What state.json keeps of `plan`.
    #[must_use]
    pub fn of(plan: &CgroupPlan) -> PlannedCgroup {
        PlannedCgroup {
            driver: plan.driver,
            directories: plan.directories.clone(),
            scope: plan.scope.clone(),
        }
    }

    /// Whether a plan could have these directories.
    ///
    /// # Errors
    /// [`Error::Field`] for a path that leads out of its hierarchy.
    pub fn check(&self) -> Result<(), Error> {
        self.directories.iter().try_for_each(check)
    }
}

/// A record is a file; it must name no cgroup that no plan could.
fn check(directory: &Directory) -> Result<(), Error> {
    let path = clean(&directory.path, "cgroup record")?;
    if path.is_empty() || path != directory.path {
        let problem = format!("{:?} is not a cgroup of a container", directory.path);
        return Err(Error::field("cgroup record", problem));
    }
    Ok(())
}

impl Cgroup {
    /// What state.json keeps.
    ///
    /// # Errors
    /// [`Error::Call`] when /proc does not tell which boot this is.
    pub fn record(&self) -> Result<CgroupRecord, Error> {
        let boot = Boot::now().map_err(|e| Error::call("read", BOOT_ID, e))?;
        let of = |node: &CgroupNode| MadeDirectory {
            directory: node.directory.clone(),
            identity: node.identity(),
        };
        let directories = self.nodes.iter().map(of).collect();
        Ok(CgroupRecord { driver: self.driver, directories, unit: self.unit.clone(), boot })
    }

    /// The cgroup of a record. Opens nothing yet: a cgroup that is gone shows itself at
    /// the first use, and `delete` of one succeeds.
    ///
    /// # Errors
    /// [`Error::Field`] for a record with a path that leads out of its hierarchy.
    pub fn open(record: &CgroupRecord) -> Result<Cgroup, Error> {
        record.directories.iter().try_for_each(|made| check(&made.directory))?;
        let node = |made: &MadeDirectory| {
            CgroupNode::recorded(&made.directory, made.identity, record.boot.clone())
        };
        let nodes = record.directories.iter().map(node).collect();
        Ok(Cgroup { driver: record.driver, nodes, unit: record.unit.clone() })
    }

    /// Controller to absolute path, as runc's `cgroup_paths`: v1 has an entry for each
    /// controller (and `name=systemd`), v2 one with an empty name.
    #[must_use]
    pub fn paths(&self) -> BTreeMap<String, PathBuf> {
        let mut paths = BTreeMap::new();
        for node in &self.nodes {
            if node.directory.unified {
                paths.insert(String::new(), node.path.clone());
            } else {
                let names = node.directory.controllers.iter();
                paths.extend(names.map(|name| (name.clone(), node.path.clone())));
            }
        }
        paths
    }
}
