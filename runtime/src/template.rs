//! What `brig spec` writes: a configuration to start from, with the same content as runc's.

use crate::spec::VERSION;

/// What both have; what differs stands behind a `$`.
const TEMPLATE: &str = include_str!("template.json");

/// A configuration to start from, which runs `sh` in `rootfs`, as the text of a `config.json` with runc's indentation
/// and order. With `rootless` one for that user and group id, without privileges: a user namespace where they are
/// root, the host's network, no limits.
#[must_use]
pub fn text(rootless: Option<(u32, u32)>) -> String {
    let (tty_group, sys, limits_or_ids, network, user) = match rootless {
        None => (
            ",\n\t\t\t\t\"gid=5\"",
            SYSFS.to_owned(),
            DENY_DEVICES.to_owned(),
            namespace("network"),
            String::new(),
        ),
        Some((uid, gid)) => {
            let ids = format!("{}{}", one_id("uidMappings", uid), one_id("gidMappings", gid));
            ("", HOST_SYS.to_owned(), ids, String::new(), namespace("user"))
        }
    };
    TEMPLATE
        .replace("$VERSION", VERSION)
        .replace("$TTY_GROUP", tty_group)
        .replace("$SYS", &sys)
        .replace("$LIMITS_OR_IDS", &limits_or_ids)
        .replace("$NETWORK", &network)
        .replace("$USER", &user)
}

const SYSFS: &str =
    "\t\t\t\"type\": \"sysfs\",\n\t\t\t\"source\": \"sysfs\",\n\t\t\t\"options\": [\n";

/// sysfs shows the network namespace of who mounts it, which is the host's: so it is the host's mount.
const HOST_SYS: &str = "\t\t\t\"type\": \"none\",\n\t\t\t\"source\": \"/sys\",\n\t\t\t\"options\": [\n\t\t\t\t\"rbind\",\n";

const DENY_DEVICES: &str = "\t\t\"resources\": {
\t\t\t\"devices\": [
\t\t\t\t{
\t\t\t\t\t\"allow\": false,
\t\t\t\t\t\"access\": \"rwm\"
\t\t\t\t}
\t\t\t]
\t\t},
";

fn namespace(kind: &str) -> String {
    format!("\t\t\t{{\n\t\t\t\t\"type\": \"{kind}\"\n\t\t\t}},\n")
}

fn one_id(field: &str, id: u32) -> String {
    let id = format!("\"containerID\": 0,\n\t\t\t\t\"hostID\": {id},\n\t\t\t\t\"size\": 1");
    format!("\t\t\"{field}\": [\n\t\t\t{{\n\t\t\t\t{id}\n\t\t\t}}\n\t\t],\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What runc 1.1.5 writes for `runc spec`, and with `--rootless` as uid and gid 1000.
    const RUNC: &str = include_str!("../spec/src/testdata/runc-spec.json");
    const RUNC_ROOTLESS: &str = include_str!("../spec/src/testdata/runc-spec-rootless.json");

    /// The text without what differs on purpose: the version, and the cgroup namespace, which runc adds on
    /// hosts with cgroup v2 only.
    fn without_differences(text: &str) -> String {
        let text = text.replace(VERSION, "1.0.2-dev");
        text.replace(",\n\t\t\t{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}", "")
    }

    #[test]
    fn is_byte_for_byte_what_runc_writes() {
        assert_eq!(without_differences(&text(None)), RUNC);
        assert_eq!(without_differences(&text(Some((1000, 1000)))), RUNC_ROOTLESS);
    }

    #[test]
    fn passes_our_own_checks() {
        for rootless in [None, Some((1000, 100))] {
            let asked = crate::spec::Asked::read(text(rootless).as_bytes());
            assert!(asked.is_ok(), "{asked:?}");
        }
    }
}
