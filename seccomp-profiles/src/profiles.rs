//! The profiles that come with brig.
//!
//! They are data, `profiles/NAME.json` in the OCI format, which any runtime takes: nothing in them
//! relies on how this crate reads a profile. Tests hold them to `profiles/deviations.json`, which
//! has a reason for everything that Docker's default profile decides otherwise.

use oci_spec::runtime::LinuxSeccomp;

/// The names that [`builtin`] knows, from the loosest to the strictest.
///
/// All refuse 32-bit calls, `AF_ALG`, `AF_VSOCK` and other uncommon sockets, and typing into a terminal by
/// ioctl, and all but `nested` new namespaces and mounts: there `clone3` fails with ENOSYS, so that libraries
/// fall back to `clone`, whose flags a filter can see.
///
/// - `nested`: for containers in a container that has a user namespace, where it makes its own.
/// - `default`: for ordinary containers; otherwise Docker's.
/// - `restricted`: in addition no ptrace, no chroot, no raw packets and few kinds of netlink.
/// - `sandbox`: what network services and interpreters call, and nothing else.
/// - `compute`: that without any network.
pub const BUILTIN: [&str; 5] = ["nested", "default", "restricted", "sandbox", "compute"];

/// The names of the profiles that come with brig.
#[must_use]
pub fn builtin_names() -> Vec<&'static str> {
    BUILTIN.to_vec()
}

/// The text of a profile that comes with brig, in OCI JSON; none if there is no such profile.
#[must_use]
pub fn builtin_text(name: &str) -> Option<&'static str> {
    Some(match name {
        "nested" => include_str!("../profiles/nested.json"),
        "default" => include_str!("../profiles/default.json"),
        "restricted" => include_str!("../profiles/restricted.json"),
        "sandbox" => include_str!("../profiles/sandbox.json"),
        "compute" => include_str!("../profiles/compute.json"),
        _ => return None,
    })
}

/// A profile that comes with brig, by name; none if there is no such profile.
#[must_use]
pub fn builtin(name: &str) -> Option<LinuxSeccomp> {
    // A test loads every profile, so this never fails in a released brig.
    serde_json::from_str(builtin_text(name)?).ok()
}
