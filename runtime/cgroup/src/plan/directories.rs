//! `linux.cgroupsPath`: the container's directory in each hierarchy.

use std::path::Path;

use super::CgroupRequest;
use super::limits;
use super::scope::Scope;
use super::step::Directory;
use crate::Error;
use crate::facts::{CgroupFacts, Hierarchy, Layout, Unified};

/// A checked `cgroupsPath`.
pub(super) struct CgroupPath {
    path: String,
    absolute: bool,
}

impl CgroupPath {
    /// That of a scope.
    pub(super) fn of_scope(scope: &Scope) -> CgroupPath {
        CgroupPath { path: scope.cgroup.clone(), absolute: true }
    }

    /// That of the request, or the container's id.
    pub(super) fn parse(request: &CgroupRequest<'_>) -> Result<CgroupPath, Error> {
        let (text, field) = match request.cgroups_path {
            Some(text) if !text.is_empty() => (text, "linux.cgroupsPath"),
            _ => (request.id, "container id"),
        };
        let path = clean(text, field)?;
        if path.is_empty() {
            return Err(Error::field(field, format!("{text:?} names the root of the hierarchy")));
        }
        Ok(CgroupPath { path, absolute: text.starts_with('/') })
    }

    /// The path from the mount point, in a hierarchy where brig is in `own`.
    fn resolve(&self, own: &str) -> String {
        let own = own.trim_matches('/');
        if self.absolute || own.is_empty() {
            self.path.clone()
        } else {
            format!("{own}/{}", self.path)
        }
    }
}

/// The path without empty and `.` components; refuses what could leave the hierarchy.
pub(crate) fn clean(text: &str, field: &str) -> Result<String, Error> {
    let mut parts = Vec::new();
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(Error::field(field, format!("{text:?} contains \"..\"")));
        }
        if part.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(Error::field(field, format!("{text:?} contains a control character")));
        }
        if part.len() > 255 {
            return Err(Error::field(field, "a component is longer than 255 bytes"));
        }
        parts.push(part);
    }
    Ok(parts.join("/"))
}

/// One in each hierarchy; on a hybrid host the v2 directory is made only for a controller that lives
/// there and has a limit, as each directory costs every start.
pub(super) fn directories(
    facts: &CgroupFacts,
    path: &CgroupPath,
    request: &CgroupRequest<'_>,
) -> Vec<Directory> {
    match &facts.layout {
        Layout::Unified(unified) => vec![unified_directory(unified, path)],
        Layout::Legacy { hierarchies, unified } => {
            let mut directories: Vec<Directory> =
                hierarchies.iter().map(|hierarchy| legacy_directory(hierarchy, path)).collect();
            if let Some(unified) = unified
                && request.resources.is_some_and(|asked| limits::need_unified(unified, asked))
            {
                directories.push(unified_directory(unified, path));
            }
            directories
        }
    }
}

fn legacy_directory(hierarchy: &Hierarchy, path: &CgroupPath) -> Directory {
    Directory {
        controllers: hierarchy.controllers.clone(),
        unified: false,
        mount: hierarchy.mount.clone(),
        path: path.resolve(&hierarchy.own),
    }
}

/// A cgroup that holds processes, as brig's own does, cannot give controllers to those
/// below it (cgroup-v2.rst "No Internal Process Constraint"); a sibling of it can have them.
fn unified_directory(unified: &Unified, path: &CgroupPath) -> Directory {
    let parent = Path::new(&unified.own).parent().and_then(Path::to_str).unwrap_or("/");
    Directory {
        controllers: unified.controllers.clone(),
        unified: true,
        mount: unified.mount.clone(),
        path: path.resolve(parent),
    }
}

/// The directories of a plan, searched by controller.
pub(super) struct Targets<'a>(pub(super) &'a [Directory]);

impl Targets<'_> {
    /// The directory whose hierarchy has `controller`.
    pub(super) fn find(&self, controller: &str) -> Option<(usize, &Directory)> {
        self.0.iter().enumerate().find(|(_, directory)| directory.has(controller))
    }

    /// As `find`; an error that names `field` when no hierarchy has the controller.
    pub(super) fn need(&self, controller: &str, field: &str) -> Result<(usize, &Directory), Error> {
        self.find(controller).ok_or_else(|| {
            Error::field(field, format!("the host has no cgroup controller {controller:?}"))
        })
    }
}
