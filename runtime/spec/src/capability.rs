//! Capabilities by name and by number.
//!
//! Reference: capabilities(7), `linux/capability.h`.

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

/// `CAP_SYS_ADMIN` as a bit mask (linux/capability.h).
pub const SYS_ADMIN: u64 = 1 << 21;

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
    /// The part of `ambient` that the kernel can grant: `PR_CAP_AMBIENT_RAISE` wants each capability to be
    /// permitted *and* inheritable (capabilities(7)). Many configurations, runc's template among them, ask
    /// for ambient capabilities without inheritable ones; every runtime leaves those out, and so must brig.
    #[must_use]
    pub fn grantable_ambient(&self) -> u64 {
        self.ambient & self.permitted & self.inheritable
    }
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

/// The number of the capability that has exactly this name.
pub(crate) fn exact(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

fn number_of(name: &str) -> Option<usize> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|known| known.strip_prefix("CAP_") == Some(bare))
}

/// The name that config.json has to have for it: runc knows no other spelling, and
/// leaves the capability out.
pub(super) fn other_spelling(name: &str) -> Option<&'static str> {
    number_of(name).map(|number| NAMES[number]).filter(|exact| *exact != name)
}

pub(crate) fn unknown(field: String, name: &str) -> Error {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    Error::unknown(field, "capability", name).suggest(&full, NAMES)
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
        }
    }

    #[test]
    fn masks_and_names_are_inverse() {
        for mask in [0, 1, (1 << 41) - 1, 0x0155_5555_5555] {
            assert_eq!(from_names("x", &names(mask)), Ok(mask));
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
    }
}
