//! `plan`: what would be done for a bundle, in words, without doing it.

use std::fs;
use std::path::Path;

use bumpalo::Bump;
use nix::unistd::geteuid;

use super::create::{compile_seccomp, home, root_directory};
use super::{Error};
use crate::cgroup::{self, CgroupFacts, CgroupPlan, Driver, Layout};
use crate::host::Host;
use crate::plan::{self, Join, Start};
use crate::spec::ContainerId;

/// The plan of a bundle on this machine.
///
/// # Errors
/// As `create`, as far as planning goes.
pub fn preview(id: &ContainerId, bundle: &Path, systemd: bool) -> Result<String, Error> {
    let bundle = fs::canonicalize(bundle).map_err(|error| {
        Error::system(format!("opening bundle {}", bundle.display()), error)
    })?;
    let spec = crate::bundle::load_spec(&bundle)?;
    let rootfs = root_directory(&bundle, &spec)?;
    let seccomp = compile_seccomp(&spec)?;
    let linux = spec.linux().as_ref();
    let facts = CgroupFacts::read()?;
    let cgroup = cgroup::plan(
        &facts,
        &cgroup::Request {
            id: id.as_str(),
            cgroups_path: linux.and_then(|linux| linux.cgroups_path().as_ref()?.to_str()),
            resources: linux.and_then(|linux| linux.resources().as_ref()),
            driver: if systemd { Driver::Systemd } else { Driver::Fs },
            devices: &cgroup::devices::default_rules(),
            rootless: !geteuid().is_root(),
            owner: None,
        },
    )?;
    let host = Host::read().with_security_modules();
    let arena = Bump::new();
    let plan = plan::plan(
        &arena,
        &plan::Request {
            id,
            spec: &spec,
            bundle: &bundle.to_string_lossy(),
            rootfs: &rootfs.to_string_lossy(),
            start: Start::AtGate,
            host: &host.facts,
            cgroup: Some(&cgroup),
            join: join(&facts, &cgroup),
            preserve_fds: 0,
            new_keyring: true,
            home: home(&spec, &rootfs).as_deref(),
            seccomp: seccomp.as_ref(),
            landlock: false,
        },
    )?;
    let mut text = String::new();
    for line in cgroup.lines() {
        text.push_str(&format!("cgroup  {line}\n"));
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
