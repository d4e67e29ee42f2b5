//! What is wrong with a configuration although each field alone has the right type.
//!
//! A rule is here for one of two reasons: the specification says MUST, or the kernel would refuse the
//! value later, when half a container exists. What a policy may think of the value is not for here.
//! What the specification wants told and left out, capabilities, is for [`super::capability::Capabilities`].

mod ids;
mod linux;
mod process;
mod resources;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::NumberList;
use super::error::Error;
use super::model::{Config, Hook, Hooks, Linux, NamespaceType, Process, Resources, Text};
use super::mount::{Kind, Mount, MountRequest};

/// Checks everything that can be checked without looking at the host, and takes the mounts apart. `seccomp` is where
/// that section lies.
///
/// # Errors
/// The first thing wrong, with its field.
pub(super) fn check(text: Text, seccomp: Option<Range<usize>>) -> Result<Config, Error> {
    version(&text.version)?;
    let root = text.root.ok_or_else(|| Error::missing("root"))?;
    required(&root.path, || "root.path".to_owned())?;
    let process = text.process.ok_or_else(|| Error::missing("process"))?;
    check_process(&process)?;
    for (field, name) in [("hostname", &text.hostname), ("domainname", &text.domainname)] {
        uts_name(field, name.as_deref(), &text.linux)?;
    }
    let mounts = mounts(text.mounts, &text.linux)?;
    check_hooks(&text.hooks)?;
    if text.annotations.contains_key("") {
        return Err(
            Error::conflict("annotations", "has an empty key").with_hint("name the annotation")
        );
    }
    linux::check(&text.linux)?;
    ids::process_is_mapped(&process, &text.linux)?;
    Ok(Config {
        version: text.version,
        root,
        process,
        hostname: text.hostname,
        domainname: text.domainname,
        mounts,
        hooks: text.hooks,
        annotations: text.annotations,
        linux: text.linux,
        seccomp,
    })
}

/// Checks a process alone, as `exec --process` gives one.
///
/// # Errors
/// The first thing wrong; fields begin with `process.`.
pub fn check_process(process: &Process) -> Result<(), Error> {
    process::check(process)
}

/// Checks resources alone, as `update --resources` gives them.
///
/// # Errors
/// The first thing wrong; fields begin with `linux.resources.`.
pub fn check_resources(resources: &Resources) -> Result<(), Error> {
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
fn uts_name(field: &str, name: Option<&str>, linux: &Linux) -> Result<(), Error> {
    const LIMIT_BYTES: usize = 64;
    let Some(name) = name else { return Ok(()) };
    no_nul(name, || field.to_owned())?;
    if name.len() > LIMIT_BYTES {
        return Err(Error::invalid(field, name, format!("is longer than {LIMIT_BYTES} bytes")));
    }
    if linux.namespace(NamespaceType::Uts).is_none() {
        return Err(Error::conflict(field, "needs a UTS namespace, or it would be the host's")
            .with_hint("add {\"type\": \"uts\"} to linux.namespaces"));
    }
    Ok(())
}

fn mounts(asked: Vec<Mount>, linux: &Linux) -> Result<Vec<MountRequest>, Error> {
    let mut all = Vec::with_capacity(asked.len());
    for (index, mount) in asked.into_iter().enumerate() {
        if let Some(source) = &mount.source {
            no_nul(source, || format!("mounts[{index}].source"))?;
        }
        let request = MountRequest::parse(index, mount)?;
        idmap(index, &request, linux)?;
        all.push(request);
    }
    Ok(all)
}

fn idmap(index: usize, request: &MountRequest, linux: &Linux) -> Result<(), Error> {
    let Some(idmap) = &request.idmap else { return Ok(()) };
    let field = |which: &str| format!("mounts[{index}].{which}");
    match &idmap.mappings {
        Some((users, groups)) => {
            ids::mappings(users, || field("uidMappings"))?;
            ids::mappings(groups, || field("gidMappings"))?;
        }
        None if linux.namespace(NamespaceType::User).is_none() => {
            let reason = "idmap without mappings or a user namespace";
            return Err(Error::conflict(field("options"), reason)
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
    Ok(())
}

fn check_hooks(hooks: &Hooks) -> Result<(), Error> {
    for (name, list) in hooks.by_name() {
        for (index, hook) in list.iter().enumerate() {
            check_hook(hook, &format!("hooks.{name}[{index}]"))?;
        }
    }
    Ok(())
}

fn check_hook(hook: &Hook, field: &str) -> Result<(), Error> {
    absolute_path(&hook.path, || format!("{field}.path"))?;
    for (index, arg) in hook.args.iter().enumerate() {
        no_nul(arg, || format!("{field}.args[{index}]"))?;
    }
    environment(&hook.env, &format!("{field}.env"))?;
    match hook.timeout {
        Some(seconds) if seconds <= 0 => {
            Err(Error::range(format!("{field}.timeout"), seconds, "more than 0 seconds"))
        }
        _ => Ok(()),
    }
}

/// Each entry is `NAME=value` (environ(7)).
fn environment(entries: &[String], field: &str) -> Result<(), Error> {
    for (index, entry) in entries.iter().enumerate() {
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

/// The largest numbers of a device (`MAJOR` and `MINOR` of linux/kdev_t.h).
const MAJOR_LIMIT: i64 = (1 << 12) - 1;
const MINOR_LIMIT: i64 = (1 << 20) - 1;

/// `dev_valid_name` of the kernel: at most 15 bytes (`IFNAMSIZ`), no `/`, `:` or space, not `.` or `..`.
fn interface_name(name: &str, field: impl Fn() -> String) -> Result<(), Error> {
    let bad = |c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace() || c == '\x0b';
    if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(bad) {
        return Err(Error::invalid(field(), name, "is not the name of a network interface"));
    }
    Ok(())
}

/// The kernel ends strings at the first NUL byte, so what follows would silently be lost.
fn no_nul(text: &str, field: impl Fn() -> String) -> Result<(), Error> {
    if text.contains('\0') {
        return Err(Error::invalid(field(), text, "has a NUL byte in it"));
    }
    Ok(())
}

fn required(path: &str, field: impl Fn() -> String) -> Result<(), Error> {
    if path.is_empty() {
        return Err(Error::missing(field()));
    }
    no_nul(path, field)
}

/// Checks that a path is absolute, and one that the kernel takes.
///
/// # Errors
/// Names `field`.
pub fn absolute_path(path: &str, field: impl Fn() -> String) -> Result<(), Error> {
    required(path, &field)?;
    if !path.starts_with('/') {
        return Err(Error::invalid(field(), path, "is not an absolute path"));
    }
    Ok(())
}

/// A path that must not leave the directory it is meant below.
fn no_parent(path: &str, field: impl Fn() -> String) -> Result<(), Error> {
    if path.split('/').any(|component| component == "..") {
        return Err(Error::invalid(field(), path, "has a `..` in it"));
    }
    Ok(())
}

/// A list of processors or memory nodes ([`NumberList`]) that is not empty.
fn number_list(list: &str, field: impl Fn() -> String) -> Result<(), Error> {
    match NumberList::parse(list) {
        Some(numbers) if !numbers.is_empty() => Ok(()),
        _ => Err(Error::invalid(field(), list, "is not a list of numbers below 8192 and ranges")
            .with_hint("write it like 0-3,7 or 0-31:2/4")),
    }
}
