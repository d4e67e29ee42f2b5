//! How a process gets into the cgroup.
//!
//! Promises: the descriptors are ready before the process exists, so that it needs
//! one flag of clone3, or one write for each hierarchy, and no path. Must never: lead out of the
//! container's own cgroup; all is opened from its descriptors, and `..` is in no path.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};

use super::apply::Cgroup;
use super::facts::Membership;
use super::node::CgroupNode;
use super::plan::clean;
use super::{Error, file};

/// How a new process joins.
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinDescriptors {
    /// There is no cgroup to join (rootless without one).
    None,
    /// v2: the directory, for `CLONE_INTO_CGROUP` (Linux 5.7).
    Into(OwnedFd),
    /// v1: each hierarchy's `tasks`. The single-threaded child writes `0` to each:
    /// a thread that moves itself does not wait for an RCU grace period.
    Tasks(Vec<OwnedFd>),
    /// Hybrid with a limit on the v2 side: clone into `into`, then write `0` to each of `tasks`.
    Both {
        /// The v2 directory, for `CLONE_INTO_CGROUP`.
        into: OwnedFd,
        /// The v1 hierarchies' `tasks`.
        tasks: Vec<OwnedFd>,
    },
}

impl Cgroup {
    /// How a new process joins. May be called often (exec).
    ///
    /// # Errors
    /// [`Error::Gone`]; [`Error::Call`] when a file cannot be opened.
    pub fn join(&self) -> Result<JoinDescriptors, Error> {
        let mut opened = Opened::default();
        self.nodes.iter().try_for_each(|node| opened.add(node, ""))?;
        Ok(opened.join())
    }

    /// As `join`, for a further process beside `init`, the container's first.
    ///
    /// # Errors
    /// As `join` and `join_beside`.
    pub fn join_further(&self, init: i32) -> Result<JoinDescriptors, Error> {
        let unified = self.nodes.iter().find(|node| node.directory.unified);
        let given = unified.map(|node| node.read("cgroup.subtree_control")).transpose()?;
        match given {
            // It gives controllers to those below, as a systemd inside makes it, and so takes
            // no process itself (EBUSY).
            Some(controllers) if !controllers.trim().is_empty() => self.join_beside(init),
            _ => self.join(),
        }
    }

    /// As `join`, for a cgroup below the container's (`exec --cgroup`): a relative path, or on v1
    /// `controller[,controller]:path` for those controllers alone.
    ///
    /// # Errors
    /// [`Error::Field`] for a path that leads out or a controller that is not there;
    /// [`Error::Call`] as `join`.
    pub fn join_sub(&self, sub: &str) -> Result<JoinDescriptors, Error> {
        let (controllers, sub) = match sub.split_once(':') {
            Some((controllers, sub)) => (controllers.split(',').collect(), sub),
            None => (Vec::new(), sub),
        };
        let sub = clean(sub, "exec cgroup")?;
        let chosen = |node: &CgroupNode| controllers.iter().any(|name| node.has(name));
        if !controllers.is_empty() && !self.nodes.iter().any(chosen) {
            let problem = format!("no hierarchy has {}", controllers.join(","));
            return Err(Error::field("exec cgroup", problem));
        }
        let mut opened = Opened::default();
        for node in &self.nodes {
            let below = controllers.is_empty() || chosen(node);
            opened.add(node, if below { &sub } else { "" })?;
        }
        Ok(opened.join())
    }

    /// As `join`, into the cgroups that process `pid` of the container is in.
    ///
    /// # Errors
    /// [`Error::Content`] when the process is outside the container's cgroup.
    pub(crate) fn join_beside(&self, pid: i32) -> Result<JoinDescriptors, Error> {
        let source = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let text = file::read(&source)?;
        let membership = Membership::parse(&text)?;
        let mut opened = Opened::default();
        for node in &self.nodes {
            let path = if node.directory.unified {
                membership.unified.as_deref()
            } else {
                let same = |names: &[String]| names.iter().all(|name| node.has(name));
                membership.legacy.iter().find(|e| same(&e.controllers)).map(|e| e.path.as_str())
            };
            let sub = path.and_then(|path| below(path, &node.directory.path));
            let Some(sub) = sub else {
                return Err(Error::Content { path: source, found: path.unwrap_or("").to_owned() });
            };
            opened.add(node, sub)?;
        }
        Ok(opened.join())
    }
}

/// What follows `own` in `path`, a line of /proc/PID/cgroup. That shows the mount's root
/// too, which brig's own paths do not have.
fn below<'a>(path: &'a str, own: &str) -> Option<&'a str> {
    if path.split('/').any(|part| part == "..") {
        return None;
    }
    path.match_indices(own).find_map(|(at, _)| {
        let rest = &path[at + own.len()..];
        let whole = path[..at].ends_with('/') && (rest.is_empty() || rest.starts_with('/'));
        whole.then_some(rest.trim_matches('/'))
    })
}

#[derive(Default)]
struct Opened {
    into: Option<OwnedFd>,
    tasks: Vec<OwnedFd>,
}

impl Opened {
    fn add(&mut self, node: &CgroupNode, sub: &str) -> Result<(), Error> {
        let (file, flags) = match node.directory.unified {
            true => (".", OFlags::PATH | OFlags::DIRECTORY),
            false => ("tasks", OFlags::WRONLY),
        };
        let file = Path::new(sub).join(file);
        let descriptor = openat(node.descriptor()?, &file, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Error::call("open", node.path.join(&file), e))?;
        if node.directory.unified {
            self.into = Some(descriptor);
        } else {
            self.tasks.push(descriptor);
        }
        Ok(())
    }

    fn join(self) -> JoinDescriptors {
        match (self.into, self.tasks.is_empty()) {
            (None, true) => JoinDescriptors::None,
            (None, false) => JoinDescriptors::Tasks(self.tasks),
            (Some(into), true) => JoinDescriptors::Into(into),
            (Some(into), false) => JoinDescriptors::Both { into, tasks: self.tasks },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn only_whole_components_are_the_own_path() {
        assert_eq!(below("/pod/web", "pod/web"), Some(""));
        assert_eq!(below("/pod/web/a/b", "pod/web"), Some("a/b"));
        assert_eq!(below("/docker/x/pod/web/a", "pod/web"), Some("a"));
        assert_eq!(below("/pod/website/pod/web", "pod/web"), Some(""));
        for other in ["/pod", "/xpod/web", "/pod/webs", "/../pod/web", "/pod/web/../x", "/"] {
            assert_eq!(below(other, "pod/web"), None, "{other}");
        }
    }
}
