//! systemd's scope for a container, as data: `linux.cgroupsPath` is then `slice:prefix:name`.
//!
//! cgroup v2 only: on v1 a reload of systemd lifts the device rules of a scope (systemd writes `a` to
//! `devices.allow`), and nothing would tell.
//! Reference: systemd.unit(5), systemd.slice(5), systemd.scope(5).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::value::Property;
use super::{CgroupRequest, annotations};
use crate::Error;
use crate::facts::{CgroupFacts, Layout};

/// The longest unit name (`UNIT_NAME_MAX` in systemd's unit-name.h).
const MAX_UNIT_BYTES: usize = 255;

/// A transient scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// The unit's name, e.g. `brig-web.scope`.
    pub unit: String,
    /// The slice that holds it, e.g. `machine.slice`.
    pub slice: String,
    /// The unit's description.
    pub description: String,
    /// The manager is the calling user's, not the system's.
    pub user: bool,
    /// The socket of that user's bus. Recorded, as later verbs may be called from another session, or from none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus: Option<PathBuf>,
    /// What annotations ask for; of no use once the scope is made.
    #[serde(skip)]
    pub(super) asked: Vec<Property>,
    /// The cgroup below the hierarchy's root, without a leading `/`.
    pub cgroup: String,
}

impl Scope {
    /// What is done, for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let manager = if self.user { "user's" } else { "system's" };
        let mut lines = vec![format!(
            "start transient unit {} in {} (the {manager} manager) around the waiting child",
            self.unit, self.slice
        )];
        lines.extend(self.asked.iter().map(|(name, value)| format!("  with {name} {value:?}")));
        lines
    }
}

/// What asks for a scope, in errors.
const DRIVER: &str = "cgroup driver systemd";

/// Plans the scope: `cgroupsPath` is `slice:prefix:name`, or absent.
pub(super) fn plan_scope(facts: &CgroupFacts, request: &CgroupRequest<'_>) -> Result<Scope, Error> {
    const FIELD: &str = "linux.cgroupsPath";
    let refuse = |problem: String| Error::field(FIELD, problem);
    let Layout::Unified(unified) = &facts.layout else {
        let problem = "the systemd driver needs cgroup v2: on v1 systemd lifts device rules";
        return Err(Error::field(DRIVER, problem));
    };
    let text = request.cgroups_path.unwrap_or("");
    let (slice, prefix, name) = match text.split(':').collect::<Vec<_>>()[..] {
        [""] => ("", "brig", request.id),
        [slice, prefix, name] => (slice, prefix, name),
        _ => {
            return Err(refuse(format!("{text:?} is not of the form slice:prefix:name")));
        }
    };
    if name.is_empty() || name.ends_with(".slice") {
        return Err(refuse(format!("{text:?} does not name a scope")));
    }
    let fallback = if request.rootless { "user.slice" } else { "system.slice" };
    let slice = if slice.is_empty() { fallback } else { slice };
    let path = expand_slice(slice)
        .ok_or_else(|| refuse(format!("{slice:?} is not the name of a slice")))?;
    // The dash stays without a prefix, as under runc and crun: who looks for the unit knows its name by that.
    let unit = format!("{}-{}.scope", escape(prefix), escape(name));
    if unit.len() > MAX_UNIT_BYTES {
        return Err(refuse(format!("the unit's name is longer than {MAX_UNIT_BYTES} bytes")));
    }
    let root = if request.rootless { user_root(&unified.own)? } else { String::new() };
    Ok(Scope {
        cgroup: format!("{root}{path}{unit}"),
        unit,
        slice: slice.to_owned(),
        description: format!("brig container {}", request.id),
        user: request.rootless,
        asked: request.annotations.map_or(Ok(Vec::new()), annotations::properties)?,
        bus: request.user_bus.filter(|_| request.rootless).map(Path::to_owned),
    })
}

/// The cgroup of the user's manager, `user.slice/user-1000.slice/user@1000.service/`. brig is in
/// it, or beside it: in a session of the user's, such as `user.slice/user-1000.slice/session-2.scope`.
fn user_root(own: &str) -> Result<String, Error> {
    let is_manager = |part: &str| part.starts_with("user@") && part.ends_with(".service");
    let parts: Vec<&str> = own.split('/').filter(|part| !part.is_empty()).collect();
    if let Some(at) = parts.iter().position(|part| is_manager(part)) {
        return Ok(parts[..=at].join("/") + "/");
    }
    let slice = parts.iter().enumerate().find_map(|(at, part)| {
        let uid = part.strip_prefix("user-")?.strip_suffix(".slice")?;
        uid.bytes().all(|b| b.is_ascii_digit()).then_some((at, uid))
    });
    match slice {
        Some((at, uid)) => Ok(format!("{}/user@{uid}.service/", parts[..=at].join("/"))),
        None => Err(Error::field(
            DRIVER,
            format!("brig runs in {own}, which is not below a user's slice (user-UID.slice)"),
        )),
    }
}

/// `a-b.slice` is `a.slice/a-b.slice/`; `-.slice` is the root (systemd.slice(5)).
fn expand_slice(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice")?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":_.\\-@".contains(&b);
    if name == "-" {
        return Some(String::new());
    }
    if slice.len() > MAX_UNIT_BYTES || !name.bytes().all(plain) {
        return None;
    }
    let mut path = String::new();
    let mut prefix = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return None;
        }
        prefix.push_str(part);
        path.push_str(&format!("{prefix}.slice/"));
        prefix.push('-');
    }
    Some(path)
}

/// Escapes what the name of a scope may not hold as systemd-escape(1) does (runc and crun hand it on, and systemd refuses
/// it). What may be there stays, as under these: a dash, and what is escaped already.
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":_.-\\".contains(&b);
    let escaped = |b: u8| {
        if plain(b) { (b as char).to_string() } else { format!("\\x{b:02x}") }
    };
    text.bytes().map(escaped).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(super) mod tests {
    use super::super::Driver;
    use super::*;
    use crate::facts::Unified;

    pub(in super::super) fn facts(own: &str) -> CgroupFacts {
        let controllers = ["cpu", "memory", "pids", "cpuset", "io"].map(str::to_owned).to_vec();
        let unified = Unified { mount: "/c".into(), own: own.into(), controllers };
        CgroupFacts { layout: Layout::Unified(unified) }
    }

    pub(in super::super) fn request<'a>(
        path: Option<&'a str>,
        rootless: bool,
    ) -> CgroupRequest<'a> {
        CgroupRequest {
            cgroups_path: path,
            driver: Driver::Systemd,
            rootless,
            ..CgroupRequest::new("web+1")
        }
    }

    #[test]
    fn paths_name_slice_prefix_and_name() {
        let scope = |path| plan_scope(&facts("/"), &request(path, false));
        let made = scope(Some("kubepods-besteffort-pod1.slice:cri-containerd:abc")).unwrap();
        assert_eq!(made.unit, "cri-containerd-abc.scope");
        assert_eq!(made.slice, "kubepods-besteffort-pod1.slice");
        assert_eq!(
            made.cgroup,
            "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/\
             cri-containerd-abc.scope"
        );
        for (path, cgroup) in [
            ("-.slice:p:x", "p-x.scope"),
            (":p:x", "system.slice/p-x.scope"),
            ("::x", "system.slice/-x.scope"),
            ("-.slice::x", "-x.scope"),
            ("a\\x2db.slice:p\\x2dq:x\\x2dy", "a\\x2db.slice/p\\x2dq-x\\x2dy.scope"),
            (":p q:x+y@z", "system.slice/p\\x20q-x\\x2by\\x40z.scope"),
            (":p:\u{e9}", "system.slice/p-\\xc3\\xa9.scope"),
        ] {
            assert_eq!(scope(Some(path)).unwrap().cgroup, cgroup, "{path}");
        }
        assert_eq!(scope(None).unwrap().cgroup, "system.slice/brig-web\\x2b1.scope");
        for path in [
            "/a/b",
            "a.slice:b",
            "a:b:c",
            "a.slice:b:",
            "-:b:c",
            "..slice/../x.slice:b:c",
            "a--b.slice:b:c",
            "a.slice:b:c.slice",
            "a.slice:b:c:d",
            "-a.slice:b:c",
            "a/b.slice:b:c",
        ] {
            let error = scope(Some(path)).unwrap_err().to_string();
            assert!(error.starts_with("linux.cgroupsPath: "), "{path}: {error}");
        }
        // What could lead out of the directory is part of a name.
        assert_eq!(scope(Some("a.slice:b:../c")).unwrap().unit, "b-..\\x2fc.scope");
    }

    #[test]
    fn a_user_needs_a_manager_of_their_own() {
        let own = "/user.slice/user-7.slice/user@7.service/app.slice/x.scope";
        let made = plan_scope(&facts(own), &request(Some(":p:n"), true)).unwrap();
        assert!(made.user);
        assert_eq!(made.cgroup, "user.slice/user-7.slice/user@7.service/user.slice/p-n.scope");
        // A session is beside the manager.
        let session = "/user.slice/user-7.slice/session-2.scope";
        assert_eq!(
            plan_scope(&facts(session), &request(Some(":p:n"), true)).unwrap().cgroup,
            made.cgroup
        );
        for own in ["/user.slice", "/system.slice/user-x.slice/a.service", "/"] {
            assert!(plan_scope(&facts(own), &request(None, true)).is_err(), "{own}");
        }
    }
}
