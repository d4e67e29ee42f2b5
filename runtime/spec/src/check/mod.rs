//! What is wrong with a configuration although each field alone has the right type.
//!
//! A rule is here for one of two reasons: the specification says MUST, or the kernel would refuse the
//! value later, when half a container exists. What a policy may think of the value is not for here.
//! Where other runtimes accept what the kernel then ignores (ambient capabilities that are not
//! inheritable), so does brig, because such configurations are everywhere.

mod ids;
mod linux;
mod process;
mod resources;
mod seccomp;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::NumberList;
use oci_spec::runtime::{
    Hook, Hooks, Linux, LinuxNamespaceType, LinuxResources, LinuxSeccomp, Process, Spec,
};

use super::error::Error;
use super::mount::{Kind, MountRequest};

/// Checks everything that can be checked without looking at the host.
///
/// # Errors
/// The first thing wrong, with its field.
pub fn check(spec: &Spec) -> Result<(), Error> {
    version(spec.version())?;
    match spec.root() {
        Some(root) => required_path(root.path(), || "root.path".to_owned())?,
        None => return Err(Error::missing("root")),
    }
    let process = spec.process().as_ref().ok_or_else(|| Error::missing("process"))?;
    check_process(process)?;
    names(spec)?;
    mounts(spec)?;
    if let Some(hooks) = spec.hooks() {
        check_hooks(hooks)?;
    }
    if spec.annotations().iter().flatten().any(|(key, _)| key.is_empty()) {
        return Err(
            Error::conflict("annotations", "has an empty key").with_hint("name the annotation")
        );
    }
    if let Some(linux) = spec.linux() {
        linux::check(linux)?;
        ids::process_is_mapped(process, linux)?;
    }
    Ok(())
}

/// Checks a process alone, as `exec --process` gives one.
///
/// # Errors
/// The first thing wrong; fields begin with `process.`.
pub fn check_process(process: &Process) -> Result<(), Error> {
    process::check(process)
}

/// Checks a seccomp profile.
///
/// # Errors
/// Names the field.
pub fn check_seccomp(profile: &LinuxSeccomp) -> Result<(), Error> {
    seccomp::check(profile)
}

/// Checks resources alone, as `update --resources` gives them.
///
/// # Errors
/// The first thing wrong; fields begin with `linux.resources.`.
pub fn check_resources(resources: &LinuxResources) -> Result<(), Error> {
    resources::check(resources)
}

/// Semantic versions with major 1: minor versions are compatible both ways (config.md "Specification version").
fn version(version: &str) -> Result<(), Error> {
    const FIELD: &str = "ociVersion";
    if version.is_empty() {
        return Err(Error::missing(FIELD));
    }
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if numbers.len() != 3 || !numbers.iter().all(is_number) {
        return Err(Error::invalid(FIELD, version, "is not a semantic version"));
    }
    if numbers[0] != "1" {
        return Err(Error::invalid(FIELD, version, "is not a version 1 of the specification")
            .with_hint(format!("brig knows versions 1.0.0 to {}", super::VERSION)));
    }
    Ok(())
}

/// hostname and domainname, which sethostname(2) and setdomainname(2) limit to `__NEW_UTS_LEN`.
fn names(spec: &Spec) -> Result<(), Error> {
    const LIMIT_BYTES: usize = 64;
    let has_uts =
        spec.linux().as_ref().is_some_and(|linux| has_namespace(linux, LinuxNamespaceType::Uts));
    for (field, name) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
        let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else {
            continue;
        };
        no_nul(name, || field.to_owned())?;
        if name.len() > LIMIT_BYTES {
            return Err(Error::invalid(field, name, format!("is longer than {LIMIT_BYTES} bytes")));
        }
        if !has_uts {
            return Err(Error::conflict(field, "needs a UTS namespace, or it would be the host's")
                .with_hint("add {\"type\": \"uts\"} to linux.namespaces"));
        }
    }
    Ok(())
}

fn mounts(spec: &Spec) -> Result<(), Error> {
    let has_user_namespace =
        spec.linux().as_ref().is_some_and(|linux| has_namespace(linux, LinuxNamespaceType::User));
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let request = MountRequest::parse(index, mount)?;
        if let Some(source) = &request.source {
            no_nul(text_of(source), || format!("mounts[{index}].source"))?;
        }
        if let Some(idmap) = &request.idmap {
            let field = |which: &str| format!("mounts[{index}].{which}");
            match &idmap.mappings {
                Some((users, groups)) => {
                    ids::mappings(users, || field("uidMappings"))?;
                    ids::mappings(groups, || field("gidMappings"))?;
                }
                None if !has_user_namespace => {
                    return Err(Error::conflict(
                        field("options"),
                        "idmap without mappings or a user namespace",
                    )
                    .with_hint(format!("add uidMappings and gidMappings to mounts[{index}]")));
                }
                None => {}
            }
            if request.kind == Kind::Remount {
                return Err(Error::conflict(
                    field("options"),
                    "a remount cannot change the mapping of ids",
                ));
            }
        }
    }
    Ok(())
}

fn check_hooks(hooks: &Hooks) -> Result<(), Error> {
    for (name, list) in hooks_by_name(hooks) {
        for (index, hook) in list.iter().flatten().enumerate() {
            check_hook(hook, &format!("hooks.{name}[{index}]"))?;
        }
    }
    Ok(())
}

/// The hooks by the names that they have in the text, in the order in which they run.
#[allow(deprecated, reason = "prestart hooks are deprecated but must still run (config.md)")]
fn hooks_by_name(hooks: &Hooks) -> [(&'static str, &Option<Vec<Hook>>); 6] {
    [
        ("prestart", hooks.prestart()),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ]
}

/// The names of all hooks, in the order in which they run; for `brig features`.
#[must_use]
pub fn hook_names() -> Vec<&'static str> {
    hooks_by_name(&Hooks::default()).iter().map(|(name, _)| *name).collect()
}

fn check_hook(hook: &Hook, field: &str) -> Result<(), Error> {
    absolute_path(hook.path(), || format!("{field}.path"))?;
    for (index, arg) in hook.args().iter().flatten().enumerate() {
        no_nul(arg, || format!("{field}.args[{index}]"))?;
    }
    environment(hook.env().as_deref(), &format!("{field}.env"))?;
    match hook.timeout() {
        Some(seconds) if seconds <= 0 => {
            Err(Error::range(format!("{field}.timeout"), seconds, "more than 0 seconds"))
        }
        _ => Ok(()),
    }
}

/// Each entry is `NAME=value` (environ(7)).
fn environment(entries: Option<&[String]>, field: &str) -> Result<(), Error> {
    for (index, entry) in entries.into_iter().flatten().enumerate() {
        let field = || format!("{field}[{index}]");
        no_nul(entry, field)?;
        match entry.find('=') {
            Some(0) => return Err(Error::invalid(field(), entry, "has no name before the `=`")),
            Some(_) => {}
            None => {
                return Err(Error::invalid(field(), entry, "is not of the form NAME=value"));
            }
        }
    }
    Ok(())
}

fn has_namespace(linux: &Linux, typ: LinuxNamespaceType) -> bool {
    linux.namespaces().iter().flatten().any(|namespace| namespace.typ() == typ)
}

/// JSON strings are UTF-8, so every path of a configuration is.
fn text_of(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// The kernel ends strings at the first NUL byte, so what follows would silently be lost.
fn no_nul(text: &str, field: impl Fn() -> String) -> Result<(), Error> {
    if text.contains('\0') {
        return Err(Error::invalid(field(), text, "has a NUL byte in it"));
    }
    Ok(())
}

fn required_path(path: &Path, field: impl Fn() -> String) -> Result<(), Error> {
    if path.as_os_str().is_empty() {
        return Err(Error::missing(field()));
    }
    no_nul(text_of(path), field)
}

fn absolute_path(path: &Path, field: impl Fn() -> String) -> Result<(), Error> {
    required_path(path, &field)?;
    if !path.is_absolute() {
        return Err(Error::invalid(field(), text_of(path), "is not an absolute path"));
    }
    Ok(())
}

/// A path that must not leave the directory it is meant below.
fn no_parent(path: &Path, field: impl Fn() -> String) -> Result<(), Error> {
    if text_of(path).split('/').any(|component| component == "..") {
        return Err(Error::invalid(field(), text_of(path), "has a `..` in it"));
    }
    Ok(())
}

/// A list of processors or memory nodes ([`NumberList`]) that is not empty.
pub(super) fn number_list(list: &str, field: impl Fn() -> String) -> Result<(), Error> {
    match NumberList::parse(list) {
        Some(numbers) if !numbers.is_empty() => Ok(()),
        _ => Err(Error::invalid(field(), list, "is not a list of numbers below 8192 and ranges")
            .with_hint("write it like 0-3,7 or 0-31:2/4")),
    }
}
