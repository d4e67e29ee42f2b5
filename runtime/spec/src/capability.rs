//! Capabilities by name and by number.
//!
//! Reference: capabilities(7), `linux/capability.h`.

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};
use serde_json::Value;

use super::error::Error;

/// The name of each capability at its number, up to `CAP_CHECKPOINT_RESTORE` (Linux 5.9).
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The five sets of a process as bit masks: bit N is capability number N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// What can ever be gained by an execve.
    pub bounding: u64,
    /// What the kernel checks.
    pub effective: u64,
    /// What may become effective.
    pub permitted: u64,
    /// What files' inheritable sets may add.
    pub inheritable: u64,
    /// What an execve of a program without capabilities of its own keeps.
    pub ambient: u64,
}

impl Sets {
    /// The sets as asked; an absent set is empty, and so are all without `capabilities`.
    #[must_use]
    pub fn of(capabilities: Option<&LinuxCapabilities>) -> Self {
        let of = |set: fn(&LinuxCapabilities) -> &Option<Capabilities>| {
            capabilities.and_then(|all| set(all).as_ref()).map_or(0, mask)
        };
        Self {
            bounding: of(LinuxCapabilities::bounding),
            effective: of(LinuxCapabilities::effective),
            permitted: of(LinuxCapabilities::permitted),
            inheritable: of(LinuxCapabilities::inheritable),
            ambient: of(LinuxCapabilities::ambient),
        }
    }

    /// The part of `ambient` that the kernel can grant: `PR_CAP_AMBIENT_RAISE` wants each capability to be
    /// permitted *and* inheritable (capabilities(7)). Many configurations, runc's template among them, ask
    /// for ambient capabilities without inheritable ones; every runtime leaves those out, and so must brig.
    #[must_use]
    pub fn grantable_ambient(&self) -> u64 {
        self.ambient & self.permitted & self.inheritable
    }
}

/// The number of a capability (`linux/capability.h`).
#[must_use]
pub fn number(capability: Capability) -> u32 {
    match capability {
        Capability::Chown => 0,
        Capability::DacOverride => 1,
        Capability::DacReadSearch => 2,
        Capability::Fowner => 3,
        Capability::Fsetid => 4,
        Capability::Kill => 5,
        Capability::Setgid => 6,
        Capability::Setuid => 7,
        Capability::Setpcap => 8,
        Capability::LinuxImmutable => 9,
        Capability::NetBindService => 10,
        Capability::NetBroadcast => 11,
        Capability::NetAdmin => 12,
        Capability::NetRaw => 13,
        Capability::IpcLock => 14,
        Capability::IpcOwner => 15,
        Capability::SysModule => 16,
        Capability::SysRawio => 17,
        Capability::SysChroot => 18,
        Capability::SysPtrace => 19,
        Capability::SysPacct => 20,
        Capability::SysAdmin => 21,
        Capability::SysBoot => 22,
        Capability::SysNice => 23,
        Capability::SysResource => 24,
        Capability::SysTime => 25,
        Capability::SysTtyConfig => 26,
        Capability::Mknod => 27,
        Capability::Lease => 28,
        Capability::AuditWrite => 29,
        Capability::AuditControl => 30,
        Capability::Setfcap => 31,
        Capability::MacOverride => 32,
        Capability::MacAdmin => 33,
        Capability::Syslog => 34,
        Capability::WakeAlarm => 35,
        Capability::BlockSuspend => 36,
        Capability::AuditRead => 37,
        Capability::Perfmon => 38,
        Capability::Bpf => 39,
        Capability::CheckpointRestore => 40,
    }
}

/// A set as a bit mask.
#[must_use]
pub fn mask(set: &Capabilities) -> u64 {
    set.iter().fold(0, |mask, capability| mask | 1 << number(*capability))
}

/// Names as a bit mask; a name is accepted without `CAP_` and in lower case, as `exec --cap` users write it.
///
/// # Errors
/// An unknown name; the field is `{field}[{index}]`.
pub fn from_names<S: AsRef<str>>(field: &str, names: &[S]) -> Result<u64, Error> {
    let mut mask = 0;
    for (index, name) in names.iter().enumerate() {
        let number = number_of(name.as_ref())
            .ok_or_else(|| unknown(format!("{field}[{index}]"), name.as_ref()))?;
        mask |= 1 << number;
    }
    Ok(mask)
}

/// The names in a bit mask by number; bits that have no name yet are left out.
#[must_use]
pub fn names(mask: u64) -> Vec<&'static str> {
    let named = NAMES.iter().enumerate().filter(|(number, _)| mask & 1 << number != 0);
    named.map(|(_, name)| *name).collect()
}

/// A bit mask as oci-spec's set; bits that have no name yet are left out.
#[must_use]
pub fn set(mask: u64) -> Capabilities {
    // Every name of the table is one that oci-spec reads: a test holds the two together.
    names(mask).into_iter().filter_map(|name| name.strip_prefix("CAP_")?.parse().ok()).collect()
}

fn number_of(name: &str) -> Option<usize> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|known| known.strip_prefix("CAP_") == Some(bare))
}

/// The name that config.json has to have for what oci-spec would read as it: runc knows no other spelling, and
/// leaves the capability out.
pub(super) fn other_spelling(name: &str) -> Option<&'static str> {
    number_of(name).map(|number| NAMES[number]).filter(|exact| *exact != name)
}

fn unknown(field: String, name: &str) -> Error {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    Error::unknown(field, "capability", name).suggest(&full, NAMES)
}

/// The first unknown capability of a text that oci-spec refused.
pub(super) fn unknown_in(value: &Value, root: &[&str]) -> Option<Error> {
    let rest = ["process"].strip_prefix(root)?;
    let process = rest.iter().try_fold(value, |value, key| value.get(key))?;
    let sets = process.get("capabilities")?.as_object()?;
    sets.iter().find_map(|(set, names)| {
        let mut names = names.as_array()?.iter().enumerate();
        names.find_map(|(index, name)| {
            let name = name.as_str().filter(|name| number_of(name).is_none())?;
            Some(unknown(format!("process.capabilities.{set}[{index}]"), name))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_the_kernels() {
        // The caps crate has its own table.
        assert_eq!(caps::all().len(), NAMES.len());
        for (number_here, name) in NAMES.iter().enumerate() {
            let theirs: caps::Capability = name.parse().expect(name);
            assert_eq!(usize::from(theirs.index()), number_here, "{name}");
            let ours = set(1 << number_here);
            assert_eq!(ours.len(), 1, "oci-spec knows {name}");
            assert!(ours.iter().all(|capability| number(*capability) == u32::from(theirs.index())));
        }
    }

    #[test]
    fn masks_and_names_are_inverse() {
        for mask in [0, 1, (1 << 41) - 1, 0x0155_5555_5555] {
            assert_eq!(from_names("x", &names(mask)), Ok(mask));
            assert_eq!(super::mask(&set(mask)), mask);
        }
        assert_eq!(names(1 << 63), Vec::<&str>::new());
    }

    #[test]
    fn names_are_accepted_as_people_write_them() {
        assert_eq!(from_names("x", &["kill", "Cap_Kill", "CAP_CHOWN"]), Ok(0b10_0001));
        let error = from_names("exec.cap", &["kill", "CAP_KIL"]).expect_err("no such capability");
        assert_eq!(error.to_string(), "exec.cap[1]: unknown capability \"CAP_KIL\"");
        assert_eq!(error.hint(), Some("did you mean CAP_KILL?"));
        for name in ["", "CAP_", "CAP_CAP_KILL", "ALL", "kill "] {
            assert!(from_names("x", &[name]).is_err(), "{name:?}");
        }
    }

    #[test]
    fn other_spellings_are_told_from_names() {
        for (name, exact) in [("kill", "CAP_KILL"), ("KILL", "CAP_KILL"), ("cap_bpf", "CAP_BPF")] {
            assert_eq!(other_spelling(name), Some(exact));
        }
        assert_eq!((other_spelling("CAP_KILL"), other_spelling("CAP_NONE")), (None, None));
    }

    #[test]
    fn ambient_is_what_the_kernel_grants() {
        let sets =
            Sets { ambient: 0b1111, permitted: 0b0111, inheritable: 0b1110, ..Sets::default() };
        assert_eq!(sets.grantable_ambient(), 0b0110);
        assert_eq!(Sets::of(None), Sets::default());
    }
}
