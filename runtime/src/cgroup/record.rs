//! The cgroup in the container's state: what `open` needs, and runc's `cgroup_paths`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::apply::{Cgroup, Node};
use super::plan::{Directory, Driver};
use super::{Error, systemd};

/// A cgroup as it is kept in state.json.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupRecord {
    /// Who made it.
    pub driver: Driver,
    /// The container's directories.
    pub directories: Vec<Directory>,
    /// The systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<systemd::Scope>,
}

impl Cgroup {
    /// What state.json keeps.
    #[must_use]
    pub fn record(&self) -> CgroupRecord {
        CgroupRecord {
            driver: self.driver,
            directories: self.nodes.iter().map(|node| node.directory.clone()).collect(),
            scope: self.scope.clone(),
        }
    }

    /// The cgroup of a record. Opens nothing yet: a cgroup that is gone shows itself at
    /// the first use, and `delete` of one succeeds.
    ///
    /// # Errors
    /// [`Error::Field`] for a record with a path that leads out of its hierarchy.
    pub fn open(record: &CgroupRecord) -> Result<Cgroup, Error> {
        for directory in &record.directories {
            let path = super::plan::clean(&directory.path, "cgroup record")?;
            if path.is_empty() || path != directory.path {
                let problem = format!("{:?} is not a cgroup of a container", directory.path);
                return Err(Error::field("cgroup record", problem));
            }
        }
        let nodes = record.directories.iter().cloned().map(Node::new).collect();
        Ok(Cgroup { driver: record.driver, nodes, scope: record.scope.clone(), pending: None })
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
