//! What a test needs of the machine or of the runtime, and which lane of `integration/run` has it.
//!
//! A test whose need is not met is skipped, with a line that says so. `BRIG_FORBID_SKIPS=1` turns
//! a skip into a failure, unless the need is one which this lane cannot meet and another lane does:
//! so every test runs in some lane, or the run fails.

use crate::machine::{self, Layout};
use std::path::Path;

/// A condition of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// cgroup v2 alone.
    CgroupV2,
    /// cgroup v1, pure or hybrid.
    CgroupV1,
    /// A guest's disk at /disk, and a machine whose settings a test may change.
    Guest,
    /// systemd as the system's manager, with its bus.
    Systemd,
    /// AppArmor enabled in the kernel.
    AppArmor,
    /// SELinux, enforcing the policy of `integration/vm/selinux.cil`.
    SeLinux,
    /// A kernel that found Intel RDT, and no resctrl file system mounted yet.
    Resctrl,
    /// CAP_SYS_RESOURCE: raising hard limits and lowering oom_score_adj.
    CapSysResource,
    /// Idmapped mounts of the test's file system; not on virtiofs or overlays.
    Idmap,
    /// The root of Debian sid with the engines of today: containerd 2, Docker 28, Podman 5, Buildah.
    EnginesOfToday,
    /// The runtime under test is brig: others lack what is asserted.
    Brig,
    /// The runtime under test implements OCI 1.1: Debian's runc and crun do not.
    Oci11,
    /// The runtime under test works where cgroup v1 is mounted: crun does not on hybrid.
    Runc,
}

impl Need {
    /// Whether it is met here, and if not, why.
    pub fn check(self) -> Result<(), String> {
        let met = match self {
            Need::CgroupV2 => machine::layout() == Layout::V2,
            Need::CgroupV1 => machine::layout() == Layout::V1,
            Need::Guest => !is_here(&lane()) && Path::new("/sys/block/vda").exists(),
            Need::Systemd => machine::has_systemd(),
            Need::AppArmor => machine::has_apparmor(),
            Need::SeLinux => machine::has_selinux(),
            Need::Resctrl => lane() == "resctrl" && Path::new("/sys/fs/resctrl").exists(),
            Need::CapSysResource => machine::has_cap_sys_resource(),
            Need::Idmap => machine::layout() == Layout::V1,
            Need::EnginesOfToday => lane().starts_with("sid"),
            Need::Brig | Need::Oci11 => crate::command::flavour().is_brig(),
            Need::Runc => crate::command::flavour() == crate::command::Flavour::Runc,
        };
        if met { Ok(()) } else { Err(self.words().into()) }
    }

    fn words(self) -> &'static str {
        match self {
            Need::CgroupV2 => "needs cgroup v2",
            Need::CgroupV1 => "needs cgroup v1",
            Need::Guest => "needs a guest with a disk",
            Need::Systemd => "needs systemd",
            Need::AppArmor => "needs AppArmor",
            Need::SeLinux => "needs SELinux with the policy of integration/vm/selinux.cil",
            Need::Resctrl => "needs the guest with Intel RDT",
            Need::CapSysResource => "needs CAP_SYS_RESOURCE",
            Need::Idmap => "needs idmapped mounts of the test's directory",
            Need::EnginesOfToday => "needs the engines of Debian sid",
            Need::Brig => "asserts what only brig promises",
            Need::Oci11 => "asserts OCI 1.1, which the runtime under test predates",
            Need::Runc => "is a reference run under runc",
        }
    }

    /// Whether it is right that this need is unmet in this lane: some other lane covers it.
    fn excused(self) -> bool {
        let lane = lane();
        match self {
            // The host lane runs wherever developers are; each guest is of one cgroup layout.
            Need::Guest => is_here(&lane),
            Need::Resctrl => lane != "resctrl",
            Need::CgroupV2 if matches!(lane.as_str(), "v1" | "hybrid") => true,
            Need::CgroupV2 | Need::Systemd | Need::AppArmor | Need::CapSysResource => {
                let plain_guest = matches!(lane.as_str(), "v2" | "arm64" | "sid-v2");
                is_here(&lane) || (plain_guest && self != Need::CgroupV2)
            }
            Need::SeLinux => lane != "selinux",
            Need::EnginesOfToday => !lane.starts_with("sid"),
            Need::CgroupV1 | Need::Idmap => !is_here(&lane) || machine::layout() == Layout::V2,
            Need::Brig | Need::Oci11 | Need::Runc => false,
        }
    }
}

/// The lane of `integration/vm/lanes`, or "host".
fn lane() -> String {
    std::env::var("BRIG_LANE").unwrap_or_else(|_| "host".into())
}

/// Whether a lane is of this machine's kernel, not of a guest's.
fn is_here(lane: &str) -> bool {
    matches!(lane, "host" | "sid")
}

/// Whether the test must end here, as a need is not met; says so on standard output.
///
/// # Panics
/// With `BRIG_FORBID_SKIPS=1`, where no other lane covers the need.
#[must_use]
pub fn missing(needs: &[Need]) -> bool {
    for need in needs {
        if let Err(why) = need.check() {
            skipped(&why, need.excused());
            return true;
        }
    }
    false
}

/// Reports a skip.
///
/// # Panics
/// With `BRIG_FORBID_SKIPS=1`, unless `excused`.
pub fn skipped(why: &str, excused: bool) {
    println!("skipped: {why}");
    let forbidden = std::env::var_os("BRIG_FORBID_SKIPS").is_some_and(|v| v == "1");
    assert!(!forbidden || excused, "skipped, though skips are forbidden: {why}");
}

/// Ends the test here, successfully, unless every [`Need`] is met: `need!(CgroupV2, Brig)`.
#[macro_export]
macro_rules! need {
    ($($need:ident),+ $(,)?) => {
        if $crate::need::missing(&[$($crate::Need::$need),+]) {
            return;
        }
    };
}

/// Ends the test here, with a reason which no lane excuses: a failure where skips are forbidden.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        $crate::need::skipped(&format!($($reason)+), false);
        return;
    }};
}
