//! Capabilities by name and by number.
//!
//! Reference: capabilities(7), `linux/capability.h`.

use std::collections::BTreeSet;

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
            .ok_or_else(|| unknown_name(format!("{field}[{index}]"), name.as_ref()))?;
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

fn unknown_name(field: String, name: &str) -> Error {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    Error::unknown(field, "capability", name).suggest(&full, NAMES)
}

/// `process.capabilities`: what can be granted of what is asked for. The specification wants the rest told and left
/// out (config.md "Linux Process").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The five sets.
    pub sets: Sets,
    /// What is left out, a sentence each.
    pub left_out: Vec<String>,
}

impl Capabilities {
    /// What a text asks for that has `unknown` names besides `sets`. A name in another spelling than the kernel's is
    /// one of them, as for runc.
    pub(crate) fn of_text(sets: Sets, unknown: &BTreeSet<String>) -> Self {
        const SHOWN: usize = 8;
        let one = |name: &String| {
            let error = unknown_name("process.capabilities".to_owned(), name);
            let hint = error.own_hint().map(|hint| format!(": {hint}")).unwrap_or_default();
            format!("{error} is left out{hint}")
        };
        let mut left_out: Vec<String> = unknown.iter().take(SHOWN).map(one).collect();
        if let Some(more @ 1..) = unknown.len().checked_sub(SHOWN) {
            left_out.push(format!("process.capabilities: {more} more unknown names are left out"));
        }
        let mut all = Self { sets, left_out };
        all.leave_out_ungrantable();
        all
    }

    /// Leaves out what a process cannot give to another that has only this itself (capset(2)); a sentence that names it.
    pub fn leave_out_lacking(&mut self, permitted: u64, inheritable: u64) -> Option<String> {
        let before = self.sets;
        self.sets.permitted &= permitted;
        self.sets.effective &= permitted;
        self.sets.inheritable &= permitted | inheritable;
        let after = self.sets;
        let lacking = before.permitted & !after.permitted | before.inheritable & !after.inheritable;
        let lacking = names(lacking);
        let verb = if lacking.len() == 1 { "is" } else { "are" };
        (!lacking.is_empty()).then(|| {
            let lacking = lacking.join(", ");
            format!("process.capabilities: {lacking} {verb} left out: brig can grant only what it has itself")
        })
    }

    /// Leaves out what capset(2) refuses with EPERM. Of ambient capabilities that are not inheritable nothing is said,
    /// see [`Sets::grantable_ambient`]; permitted ones outside the bounding set capset allows.
    fn leave_out_ungrantable(&mut self) {
        let Sets { bounding, permitted, .. } = self.sets;
        let Self { sets, left_out } = self;
        for (inner, inner_set, outer, outer_set) in [
            ("effective", &mut sets.effective, "permitted", permitted),
            ("ambient", &mut sets.ambient, "permitted", permitted),
            ("inheritable", &mut sets.inheritable, "bounding", bounding),
        ] {
            let excess = names(*inner_set & !outer_set);
            if !excess.is_empty() {
                let (verb, excess) =
                    (if excess.len() == 1 { "is" } else { "are" }, excess.join(", "));
                left_out.push(format!(
                    "process.capabilities.{inner}: {excess} {verb} left out, not being in {outer}"
                ));
            }
            *inner_set &= outer_set;
        }
    }
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
    fn what_brig_lacks_is_left_out_and_named_once() {
        let sets = Sets {
            bounding: 0b111,
            effective: 0b011,
            permitted: 0b011,
            inheritable: 0b111,
            ambient: 0b011,
        };
        let mut all = Capabilities { sets, left_out: Vec::new() };
        assert_eq!(all.leave_out_lacking(0b011, 0b100), None);
        assert_eq!(all.sets, sets);
        let words = all.leave_out_lacking(0b101, 0).expect("something is lacking");
        assert!(words.contains("CAP_DAC_OVERRIDE is left out"), "{words}");
        let Sets { effective, permitted, inheritable, .. } = all.sets;
        assert_eq!((effective, permitted, inheritable), (0b001, 0b001, 0b101));
        assert_eq!(all.sets.grantable_ambient(), 0b001);
    }

    #[test]
    fn ambient_is_what_the_kernel_grants() {
        let sets =
            Sets { ambient: 0b1111, permitted: 0b0111, inheritable: 0b1110, ..Sets::default() };
        assert_eq!(sets.grantable_ambient(), 0b0110);
    }
}
