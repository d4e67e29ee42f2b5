//! Changes the limits of a running container.

use std::str::FromStr;

use brig_spec::Resources;

use super::apply::Cgroup;
use super::node::CgroupNode;
use super::plan::{Step, change, properties};
use super::writer::Writer;
use super::{Error, systemd};

/// What is in force and bears on a change that does not name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// The period of the quota of processor time, microseconds.
    pub period_us: Option<u64>,
    /// v2's limit of swap; where there is none, the largest number.
    pub swap_bytes: Option<i64>,
}

impl Cgroup {
    /// What is in force of what a change may leave as it is.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::Call`], or [`Error::Content`] for a file that is not as the kernel writes it.
    pub fn in_force(&self) -> Result<InForce, Error> {
        let mut found = InForce::default();
        for node in &self.nodes {
            let unified = node.directory.unified;
            let file = if unified { "cpu.max" } else { "cpu.cfs_period_us" };
            if node.has("cpu")
                && let Some(text) = node.read_if_there(file)?
            {
                let last = text.split_whitespace().next_back().unwrap_or_default();
                found.period_us = Some(parsed(node, file, last)?);
            }
            let file = "memory.swap.max";
            if unified
                && node.has("memory")
                && let Some(text) = node.read_if_there(file)?
            {
                found.swap_bytes = Some(match text.trim() {
                    "max" => i64::MAX,
                    bytes => parsed(node, file, bytes)?,
                });
            }
        }
        Ok(found)
    }

    /// Applies the limits that `resources` names and leaves the others. Lowering and
    /// raising work in either direction: values that bound each other are written in
    /// the order that the kernel takes. `devices` are not changed, as in runc: callers
    /// send the container's whole resources back, without the default device rules.
    ///
    /// # Errors
    /// [`Error::Field`] before anything is written; then the first write that failed,
    /// with the ones before it in effect. With `memory.checkBeforeUpdate`
    /// [`Error::BelowUsage`] for a limit below what is used.
    pub fn update(&self, resources: &Resources) -> Result<(), Error> {
        let directories: Vec<_> = self.nodes.iter().map(|node| node.directory.clone()).collect();
        let change = change(&directories, self.driver, resources)?;
        // Before systemd or a cgroup above is told anything.
        self.nodes.iter().try_for_each(|node| node.descriptor().map(drop))?;
        if let Some(limit_bytes) = change.usage_limit_bytes {
            self.check_usage(limit_bytes)?;
        }
        let limits: Vec<_> =
            change.limits.iter().map(|step| self.completed(step)).collect::<Result<_, _>>()?;
        if let Some(unit) = &self.unit {
            systemd::update(unit, &properties::of_limits(&limits)).map_err(Error::Systemd)?;
        }
        let nodes: Vec<_> = self.nodes.iter().map(Some).collect();
        let mut writer = Writer::default();
        change.enable.iter().chain(&limits).try_for_each(|step| writer.step(&nodes, step))
    }

    /// v1's kernel refuses a limit below the usage itself; v2's would kill.
    fn check_usage(&self, limit_bytes: u64) -> Result<(), Error> {
        let v2 = |node: &&CgroupNode| node.directory.unified && node.has("memory");
        let Some(node) = self.nodes.iter().find(v2) else {
            return Ok(());
        };
        let text = node.read("memory.current")?;
        let usage_bytes = parsed(node, "memory.current", text.trim())?;
        if limit_bytes < usage_bytes {
            let field = "linux.resources.memory.limit".to_owned();
            return Err(Error::BelowUsage { field, limit_bytes, usage_bytes });
        }
        Ok(())
    }

    /// v2's `cpu.max` is two values: a new period alone keeps the present quota.
    fn completed(&self, step: &Step) -> Result<Step, Error> {
        let mut step = step.clone();
        let writes = match &mut step {
            Step::Write(write) => std::slice::from_mut(write),
            Step::WriteGroup(group) => group.as_mut_slice(),
            _ => return Ok(step),
        };
        for write in writes {
            if write.file == "cpu.max" && write.field == "linux.resources.cpu.period" {
                let now = self.nodes[write.directory].read("cpu.max")?;
                let quota = now.split_whitespace().next().unwrap_or("max");
                let period = write.value.rsplit(' ').next().unwrap_or_default();
                write.value = format!("{quota} {period}");
            }
        }
        Ok(step)
    }
}

/// A number of the file `file`.
fn parsed<T: FromStr>(node: &CgroupNode, file: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Content { path: node.path.join(file), found: text.to_owned() })
}
