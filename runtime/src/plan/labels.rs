//! Labels of Linux security modules: of the process, of its keyring, of what is mounted for it.
//!
//! Promises: a label takes effect or the container does not start; what the kernel holds is read
//! back through a procfs that nobody else can reach (CVE-2019-16884). Must never: leave a process
//! unlabelled where its specification names a label. Reference: proc(5) on `attr/`, and the
//! kernel's security/selinux/hooks.c and ss/mls.c.

use std::ffi::CStr;

use brig_child::op::{OptionValue, ProcessOp, Tolerance};

use super::build::Builder;
use super::private_proc::PrivateProc;
use super::process::Tail;
use super::{HostFacts, Refusal};
use crate::spec::{Config, NamespaceType, Process};

/// Labels that take effect at execve(2).
pub(super) fn at_execve(
    builder: &mut Builder<'_>,
    tail: &Tail<'_>,
    proc: &mut PrivateProc,
) -> Result<(), Refusal> {
    if let Some(profile) = &tail.process.apparmor_profile {
        if !tail.host.apparmor {
            return Err(Refusal::new(
                "process.apparmorProfile",
                format!("is {profile:?}, but this kernel has no AppArmor"),
                "remove it, or boot with lsm=…,apparmor",
            ));
        }
        builder.concerning("process.apparmorProfile", |builder| {
            write(builder, proc, "self/attr/apparmor/exec", &format!("exec {profile}"), profile)
        })?;
    }
    if let Some(context) = selinux(tail.process, tail.host)? {
        builder.concerning("process.selinuxLabel", |builder| {
            write(builder, proc, "self/attr/exec", context, &canonical(context))
        })?;
    }
    Ok(())
}

/// A session keyring of this name, with the label of the process that is to use it: with brig's
/// own, the policy would keep the process from it. execve(2) ends this label's effect.
pub(super) fn session_keyring(
    builder: &mut Builder<'_>,
    name: String,
    process: &Process,
    host: &HostFacts,
    proc: &mut PrivateProc,
) -> Result<(), Refusal> {
    if let Some(context) = selinux(process, host)? {
        builder.concerning("process.selinuxLabel", |builder| {
            write(builder, proc, "self/attr/keycreate", context, &canonical(context))
        })?;
    }
    let name = builder.text(name)?;
    // A kernel without keyrings has none to share.
    let tolerates = Tolerance::Unsupported;
    builder.push(ProcessOp::JoinSessionKeyring { name, tolerates });
    Ok(())
}

fn selinux<'s>(process: &'s Process, host: &HostFacts) -> Result<Option<&'s str>, Refusal> {
    let context = process.selinux_label.as_deref();
    match context {
        Some(context) if !host.selinux => Err(Refusal::new(
            "process.selinuxLabel",
            format!("is {context:?}, but this kernel has no SELinux"),
            "remove it, or boot with lsm=…,selinux",
        )),
        context => Ok(context),
    }
}

fn write(
    builder: &mut Builder<'_>,
    proc: &mut PrivateProc,
    path: &str,
    data: &str,
    expected: &str,
) -> Result<(), Refusal> {
    proc.write(builder, path, data)?;
    proc.verify(builder, path, expected)
}

/// `linux.mountLabel`: the SELinux context of every file of a new file system. Those that the
/// kernel labels file by file take none.
pub(super) fn of_mount<'s>(spec: &'s Config, kind: &str) -> Option<&'s str> {
    const BY_THE_KERNEL: [&str; 5] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];
    of_mounts(spec).filter(|_| !BY_THE_KERNEL.contains(&kind))
}

/// The same for the directory alone of a file system whose files are labelled by the kernel, and
/// which exists before it is mounted, so that mounting cannot label it: message queues. Those of a
/// namespace that others made, such as the host's, keep their label.
pub(super) fn of_directory<'s>(spec: &'s Config, kind: &str) -> Option<&'s str> {
    let queues = spec.linux.namespace(NamespaceType::Ipc);
    let own = queues.is_some_and(|namespace| namespace.path.is_none());
    of_mounts(spec).filter(|_| kind == "mqueue" && own)
}

fn of_mounts(spec: &Config) -> Option<&str> {
    spec.linux.mount_label.as_deref()
}

/// The option of a tmpfs of brig's own, if there is a label.
pub(super) fn option<'a>(
    builder: &Builder<'a>,
    spec: &Config,
) -> Result<Option<(&'a CStr, OptionValue<'a>)>, Refusal> {
    let Some(label) = of_mount(spec, "tmpfs") else { return Ok(None) };
    Ok(Some((builder.text("context")?, OptionValue::Text(builder.text(label)?))))
}

/// A context as the kernel writes it: categories in order and in ranges, the level once where both
/// are the same. Names that only the policy can put in order stay as they are.
fn canonical(context: &str) -> String {
    let mut parts = context.splitn(4, ':');
    let (Some(user), Some(role), Some(typ), Some(range)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return context.to_owned();
    };
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    let (low, high) = (canonical_level(low), canonical_level(high));
    let range = if low == high { low } else { format!("{low}-{high}") };
    format!("{user}:{role}:{typ}:{range}")
}

fn canonical_level(level: &str) -> String {
    let Some((sensitivity, categories)) = level.split_once(':') else { return level.to_owned() };
    let number = |name: &str| name.strip_prefix('c').and_then(|digits| digits.parse::<u32>().ok());
    let span = |text: &str| {
        let (first, last) = text.split_once('.').unwrap_or((text, text));
        Some((number(first)?, number(last)?))
    };
    let Some(mut spans) = categories.split(',').map(span).collect::<Option<Vec<_>>>() else {
        return level.to_owned();
    };
    spans.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::with_capacity(spans.len());
    for (first, last) in spans {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    let written = merged.iter().map(|&(first, last)| match last.saturating_sub(first) {
        0 => format!("c{first}"),
        1 => format!("c{first},c{last}"),
        _ => format!("c{first}.c{last}"),
    });
    format!("{sensitivity}:{}", written.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn contexts_become_what_the_kernel_writes() {
        for (given, written) in [
            ("u:r:t:s0:c1,c2", "u:r:t:s0:c1,c2"),
            ("u:r:t:s0:c200,c100", "u:r:t:s0:c100,c200"),
            ("u:r:t:s0:c1,c2,c3", "u:r:t:s0:c1.c3"),
            ("u:r:t:s0:c4,c1.c3,c2", "u:r:t:s0:c1.c4"),
            ("u:r:t:s0:c3,c3", "u:r:t:s0:c3"),
            ("u:r:t:s0-s0", "u:r:t:s0"),
            ("u:r:t:s0-s0:c1023,c0", "u:r:t:s0-s0:c0,c1023"),
            ("u:r:t:s0:c0.c4294967295,c1", "u:r:t:s0:c0.c4294967295"),
            ("u:r:t", "u:r:t"),
            ("u:r:t:SystemHigh", "u:r:t:SystemHigh"),
            ("u:r:t:s0:Secret,c1", "u:r:t:s0:Secret,c1"),
            ("exec", "exec"),
        ] {
            assert_eq!(canonical(given), written, "{given}");
        }
    }
}
