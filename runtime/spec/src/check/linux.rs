//! `linux`: namespaces and what needs them, devices, paths, memory policy, RDT, network devices.

use super::super::error::Error;
use super::super::model::{
    Device, DeviceType, IntelRdt, Linux, MemoryPolicy, MemoryPolicyFlag, MemoryPolicyMode,
    NamespaceType, Personality,
};
use super::super::mount::Propagation;
use super::super::sysctl::{self, SysctlError};
use super::{
    MAJOR_LIMIT, MINOR_LIMIT, absolute_path, ids, interface_name, no_nul, no_parent, number_list,
    resources,
};

pub(super) fn check(linux: &Linux) -> Result<(), Error> {
    namespaces(linux)?;
    ids::of_namespace(linux)?;
    sysctls(linux)?;
    devices(&linux.devices)?;
    restricted_paths(linux)?;
    if let Some(path) = &linux.cgroups_path {
        let field = || "linux.cgroupsPath".to_owned();
        no_nul(path, field)?;
        no_parent(path, field)?;
    }
    if let Some(name) = &linux.rootfs_propagation
        && Propagation::parse(name).is_none()
    {
        let known = [
            "private",
            "rprivate",
            "shared",
            "rshared",
            "slave",
            "rslave",
            "unbindable",
            "runbindable",
        ];
        return Err(
            Error::unknown("linux.rootfsPropagation", "propagation", name).suggest(name, known)
        );
    }
    if let Some(label) = &linux.mount_label
        && label.contains(['\0', '\n'])
    {
        return Err(Error::invalid(
            "linux.mountLabel",
            label,
            "has a NUL byte or a line break in it",
        ));
    }
    linux.resources.as_ref().map_or(Ok(()), resources::check)?;
    linux.intel_rdt.as_ref().map_or(Ok(()), intel_rdt)?;
    linux.memory_policy.as_ref().map_or(Ok(()), memory_policy)?;
    linux.personality.as_ref().map_or(Ok(()), personality)?;
    net_devices(linux)?;
    time_offsets(linux)
}

fn namespaces(linux: &Linux) -> Result<(), Error> {
    let all = &linux.namespaces;
    for (index, namespace) in all.iter().enumerate() {
        if all[..index].iter().any(|other| other.kind == namespace.kind) {
            let what = format!("the {} namespace is listed twice", namespace.kind.name());
            return Err(Error::conflict(format!("linux.namespaces[{index}].type"), what)
                .with_hint("remove one of the two"));
        }
        if let Some(path) = &namespace.path {
            absolute_path(path, || format!("linux.namespaces[{index}].path"))?;
        }
    }
    Ok(())
}

fn sysctls(linux: &Linux) -> Result<(), Error> {
    for (name, value) in &linux.sysctl {
        let field = || format!("linux.sysctl[{name:?}]");
        no_nul(value, field)?;
        let sysctl = sysctl::parse(name).map_err(|refused| match refused {
            SysctlError::Malformed => Error::conflict(field(), "is not the name of a kernel parameter")
                .with_hint("write it like net.ipv4.ip_forward"),
            SysctlError::NotNamespaced => Error::conflict(field(), "is a parameter of the whole host")
                .with_hint("only net.*, fs.mqueue.*, user.*, kernel.pid_max, vm.memfd_noexec and System V IPC parameters belong to a container"),
            SysctlError::Hostname => Error::conflict(field(), "is not a namespaced sysctl here: `hostname` sets it")
                .with_hint("use `hostname` instead"),
        })?;
        if linux.namespace(sysctl.namespace).is_none() {
            let namespace = sysctl.namespace.name();
            let article = if namespace.starts_with('i') { "an" } else { "a" };
            return Err(Error::conflict(
                field(),
                format!("needs {article} {namespace} namespace, or it would be the host's"),
            )
            .with_hint(format!("add {{\"type\": \"{namespace}\"}} to linux.namespaces")));
        }
    }
    Ok(())
}

/// mknod(2); the kernel has 12 bits for the major number and 20 for the minor (`linux/kdev_t.h`).
fn devices(devices: &[Device]) -> Result<(), Error> {
    for (index, device) in devices.iter().enumerate() {
        let field = |name: &str| format!("linux.devices[{index}].{name}");
        absolute_path(&device.path, || field("path"))?;
        no_parent(&device.path, || field("path"))?;
        let Some(file_type) = device.kind.file_type() else {
            return Err(Error::invalid(field("type"), "a", "is only for linux.resources.devices"));
        };
        if device.kind != DeviceType::Fifo {
            device_number(device.major, MAJOR_LIMIT, || field("major"))?;
            device_number(device.minor, MINOR_LIMIT, || field("minor"))?;
        }
        if let Some(mode) = device.file_mode {
            // Some tools copy st_mode, which includes the type, or Go's os.FileMode, which has it elsewhere.
            let given_type = mode & 0o170_000;
            let beyond = mode & !0o177_777;
            let of_go = beyond == 0 || go_types(device.kind).contains(&beyond);
            if !of_go || (given_type != 0 && given_type != file_type) {
                return Err(Error::range(
                    field("fileMode"),
                    format!("{mode:#o}"),
                    "0 to 0o7777 (4095)",
                ));
            }
        }
        for (name, id) in [("uid", device.uid), ("gid", device.gid)] {
            if id == Some(u32::MAX) {
                return Err(Error::range(field(name), u32::MAX, "0 to 4294967294"));
            }
        }
    }
    Ok(())
}

/// The type of a device as os.FileMode of Go has it: `ModeDevice`, `ModeCharDevice`, `ModeNamedPipe`.
fn go_types(kind: DeviceType) -> &'static [u32] {
    const DEVICE: u32 = 1 << 26;
    const CHARACTER: u32 = 1 << 21;
    match kind {
        DeviceType::All => &[],
        DeviceType::Block => &[DEVICE],
        // Some tools leave the second one out.
        DeviceType::Char | DeviceType::Unbuffered => &[DEVICE | CHARACTER, DEVICE],
        DeviceType::Fifo => &[1 << 25],
    }
}

fn device_number(number: i64, limit: i64, field: impl Fn() -> String) -> Result<(), Error> {
    if (0..=limit).contains(&number) {
        return Ok(());
    }
    Err(Error::range(field(), number, &format!("0 to {limit}")))
}

fn restricted_paths(linux: &Linux) -> Result<(), Error> {
    for (name, paths) in
        [("maskedPaths", &linux.masked_paths), ("readonlyPaths", &linux.readonly_paths)]
    {
        for (index, path) in paths.iter().enumerate() {
            let field = || format!("linux.{name}[{index}]");
            absolute_path(path, field)?;
            no_parent(path, field)?;
            if path.split('/').all(|component| matches!(component, "" | ".")) {
                let reason =
                    "is the container's root, which cannot be masked or made read-only here";
                return Err(Error::invalid(field(), path, reason)
                    .with_hint("root.readonly makes the whole root read-only"));
            }
        }
        if !paths.is_empty() && linux.namespace(NamespaceType::Mount).is_none() {
            return Err(Error::conflict(format!("linux.{name}"), "needs a mount namespace")
                .with_hint("add {\"type\": \"mount\"} to linux.namespaces"));
        }
    }
    Ok(())
}

/// Names below the resctrl file system and lines of its `schemata` (Documentation/filesystems/resctrl.rst).
fn intel_rdt(rdt: &IntelRdt) -> Result<(), Error> {
    if let Some(name) = &rdt.clos_id {
        let reserved = [".", "..", "info", "mon_groups", "mon_data"];
        let unfit = name.contains(['/', '\0', '\n']);
        // `/` is the default class.
        if name != "/" && (unfit || reserved.contains(&name.as_str())) {
            return Err(Error::invalid(
                "linux.intelRdt.closID",
                name,
                "is not the name of a resctrl group",
            ));
        }
    }
    for (index, line) in rdt.schemata.iter().enumerate() {
        if line.contains(['\0', '\n']) || !line.contains(':') {
            let field = format!("linux.intelRdt.schemata[{index}]");
            return Err(Error::invalid(field, line, "is not one line of a schemata file"));
        }
    }
    let schemas = [("l3CacheSchema", &rdt.l3_cache_schema), ("memBwSchema", &rdt.mem_bw_schema)];
    for (name, schema) in schemas {
        if let Some(schema) = schema {
            no_nul(schema, || format!("linux.intelRdt.{name}"))?;
        }
    }
    // config-linux.md, "IntelRdt".
    match rdt.mem_bw_schema.as_deref().filter(|schema| !schema.is_empty()) {
        Some(schema) if !schema.starts_with("MB:") || schema.contains('\n') => Err(Error::invalid(
            "linux.intelRdt.memBwSchema",
            schema,
            "is not a line that begins with MB:",
        )),
        _ => Ok(()),
    }
}

/// set_mempolicy(2).
fn memory_policy(policy: &MemoryPolicy) -> Result<(), Error> {
    use MemoryPolicyFlag as F;
    use MemoryPolicyMode as M;
    let mode = policy.mode;
    let nodes = policy.nodes.as_deref().unwrap_or_default();
    let field = || "linux.memoryPolicy.nodes".to_owned();
    if !nodes.is_empty() {
        number_list(nodes, field)?;
    }
    match mode {
        M::Default | M::Local if !nodes.is_empty() => {
            return Err(Error::conflict(field(), format!("must be empty for {}", mode.name())));
        }
        M::Bind | M::Interleave | M::WeightedInterleave | M::PreferredMany if nodes.is_empty() => {
            return Err(Error::missing(field())
                .with_hint(format!("{} needs the numbers of the nodes", mode.name())));
        }
        _ => {}
    }
    let flags = &policy.flags;
    let conflict = |what: String| Err(Error::conflict("linux.memoryPolicy.flags", what));
    if flags.contains(&F::StaticNodes) && flags.contains(&F::RelativeNodes) {
        return conflict(
            "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other".to_owned(),
        );
    }
    let takes_balancing = matches!(mode, M::Bind | M::PreferredMany);
    if flags.contains(&F::NumaBalancing) && !takes_balancing {
        return conflict(format!(
            "MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY, not {}",
            mode.name()
        ));
    }
    if !flags.is_empty() && nodes.is_empty() {
        return conflict(format!("flags need nodes, and {} has none here", mode.name()));
    }
    Ok(())
}

/// "Currently no flag values are supported" (config-linux.md "Personality").
fn personality(personality: &Personality) -> Result<(), Error> {
    match personality.flags.first() {
        Some(flag) => Err(Error::unknown("linux.personality.flags[0]", "personality flag", flag)
            .with_hint("the specification knows no flags yet: remove it")),
        _ => Ok(()),
    }
}

fn net_devices(linux: &Linux) -> Result<(), Error> {
    let devices = &linux.net_devices;
    if devices.is_empty() {
        return Ok(());
    }
    if linux.namespace(NamespaceType::Network).is_none() {
        return Err(Error::conflict(
            "linux.netDevices",
            "needs a network namespace to move the devices to",
        )
        .with_hint("add {\"type\": \"network\"} to linux.namespaces"));
    }
    let mut inside = Vec::with_capacity(devices.len());
    for (host_name, device) in devices {
        interface_name(host_name, || format!("linux.netDevices[{host_name:?}]"))?;
        let name = device.name.as_deref();
        if let Some(name) = name {
            interface_name(name, || format!("linux.netDevices[{host_name:?}].name"))?;
        }
        inside.push(name.unwrap_or(host_name));
    }
    inside.sort_unstable();
    match inside.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            Err(Error::conflict("linux.netDevices", format!("two devices would be {:?}", pair[0]))
                .with_hint("give one of them another name"))
        }
        None => Ok(()),
    }
}

/// time_namespaces(7): the clocks that have offsets.
fn time_offsets(linux: &Linux) -> Result<(), Error> {
    let offsets = &linux.time_offsets;
    if offsets.is_empty() {
        return Ok(());
    }
    match linux.namespace(NamespaceType::Time) {
        None => {
            return Err(Error::conflict("linux.timeOffsets", "needs a time namespace")
                .with_hint("add {\"type\": \"time\"} to linux.namespaces"));
        }
        Some(namespace) if namespace.path.is_some() => {
            return Err(Error::conflict(
                "linux.timeOffsets",
                "cannot change a time namespace that exists already",
            ));
        }
        Some(_) => {}
    }
    for (clock, offset) in offsets {
        const CLOCKS: [&str; 2] = ["monotonic", "boottime"];
        if !CLOCKS.contains(&clock.as_str()) {
            return Err(Error::unknown("linux.timeOffsets", "clock", clock).suggest(clock, CLOCKS));
        }
        if offset.nanosecs > 999_999_999 {
            let field = format!("linux.timeOffsets.{clock}.nanosecs");
            return Err(Error::range(field, offset.nanosecs, "0 to 999999999"));
        }
    }
    Ok(())
}
