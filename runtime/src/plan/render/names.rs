//! Names of what operations are made of: slots, flags, numbers, and text that others wrote.

use std::borrow::Cow;

use brig_child::ReportKind;
use brig_child::flags::{file, namespace, open, prctl, propagation as spread, tree};
use brig_child::op::Tolerance;

use crate::plan::build::SlotUse;
use crate::spec::IdMapping;

/// Text that others wrote, in quotes where it is not plainly one word of its own.
pub(in crate::plan) fn quoted<T: AsRef<[u8]> + ?Sized>(text: &T) -> Cow<'_, str> {
    quoted_but(text.as_ref(), "")
}

/// The same, and in quotes where it holds one of `odd`, too.
pub(super) fn quoted_but<'t>(bytes: &'t [u8], odd: &str) -> Cow<'t, str> {
    let is_plain = |c: char| match c {
        '/' | '.' | '_' | '-' | '+' | '@' | '%' | '~' | ',' | ':' | '=' => true,
        c => c.is_alphanumeric(),
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && text.chars().all(|c| is_plain(c) && !odd.contains(c)) => {
            Cow::Borrowed(text)
        }
        _ => Cow::Owned(literal(bytes)),
    }
}

/// Bytes in quotes, all of them to be seen.
pub(super) fn literal(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// What a slot holds.
pub(super) fn slot(slot: &SlotUse<'_>) -> String {
    match slot {
        SlotUse::Cwd => "cwd".to_owned(),
        SlotUse::Supervisor => "supervisor".to_owned(),
        SlotUse::Gate => "start gate".to_owned(),
        SlotUse::Standard(number) => format!("replacement of descriptor {number}"),
        SlotUse::ConsoleSocket => "console socket".to_owned(),
        SlotUse::State => "state".to_owned(),
        SlotUse::CreatedState => "created state".to_owned(),
        SlotUse::SeccompListener => "seccomp listener".to_owned(),
        SlotUse::SeccompState => "seccomp state".to_owned(),
        SlotUse::CgroupTasks(index) => format!("cgroup tasks {index}"),
        SlotUse::CgroupDirectory => "cgroup".to_owned(),
        SlotUse::EmptyNamespace => "empty mount namespace".to_owned(),
        SlotUse::CallersProc => "caller's proc".to_owned(),
        SlotUse::Namespace { path, .. } => quoted(path.to_bytes()).into_owned(),
        SlotUse::IdMap { uids, gids } => {
            format!("user namespace of uids {} gids {}", id_map(uids), id_map(gids))
        }
        SlotUse::Root => "root's tree".to_owned(),
        SlotUse::Init => "container's init".to_owned(),
        SlotUse::Landlock(index) => format!("landlock ruleset {index}"),
        SlotUse::Target(path) => format!("target {}", quoted(path.to_bytes())),
        SlotUse::Made(name) => name.clone(),
    }
}

fn id_map(map: &[IdMapping]) -> String {
    let line = |of: &IdMapping| format!("{}:{}:{}", of.inside, of.outside, of.count);
    map.iter().map(line).collect::<Vec<_>>().join(",")
}

/// Bits by their names, those of several bits first; what has none as a number.
fn bits(value: u64, names: &[(u64, &'static str)], between: &str) -> String {
    let (mut rest, mut parts) = (value, Vec::new());
    for (bits, name) in names {
        if rest & bits == *bits {
            rest &= !bits;
            parts.push((*name).to_owned());
        }
    }
    if rest != 0 {
        parts.push(format!("{rest:#x}"));
    }
    parts.join(between)
}

/// Types of namespaces.
pub(super) fn namespaces(flags: u64) -> String {
    const NAMES: [(u64, &str); 8] = [
        (namespace::USER as u64, "user"),
        (namespace::MOUNT as u64, "mount"),
        (namespace::PID as u64, "pid"),
        (namespace::NETWORK as u64, "network"),
        (namespace::IPC as u64, "ipc"),
        (namespace::UTS as u64, "uts"),
        (namespace::CGROUP as u64, "cgroup"),
        (namespace::TIME as u64, "time"),
    ];
    if flags == 0 { "no namespace".to_owned() } else { bits(flags, &NAMES, "|") }
}

/// Flags of open(2), of which some are none.
pub(super) fn open_flags(flags: i32) -> Option<String> {
    const NAMES: [(u64, &str); 2] =
        [(open::PATH as u64, "O_PATH"), (open::DIRECTORY as u64, "O_DIRECTORY")];
    let flags = u64::from(flags.cast_unsigned());
    (flags != 0).then(|| bits(flags, &NAMES, "|"))
}

/// How openat2(2) resolves a path.
pub(super) fn resolve(flags: u64) -> Option<String> {
    const NAMES: [(u64, &str); 5] = [
        (open::BENEATH, "RESOLVE_BENEATH"),
        (open::IN_ROOT, "RESOLVE_IN_ROOT"),
        (open::NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS"),
        (open::NO_SYMLINKS, "RESOLVE_NO_SYMLINKS"),
        (open::NO_XDEV, "RESOLVE_NO_XDEV"),
    ];
    (flags != 0).then(|| bits(flags, &NAMES, "|"))
}

/// Flags of open_tree(2) but `AT_RECURSIVE`, which is among an operation's words.
pub(super) fn tree_flags(flags: u32) -> Option<String> {
    const NAMES: [(u64, &str); 3] = [
        (tree::CLONE as u64, "OPEN_TREE_CLONE"),
        (tree::EMPTY_PATH as u64, "AT_EMPTY_PATH"),
        (tree::NOFOLLOW as u64, "AT_SYMLINK_NOFOLLOW"),
    ];
    let flags = u64::from(flags & !tree::RECURSIVE);
    (flags != 0).then(|| bits(flags, &NAMES, "|"))
}

/// Attributes of a mount.
pub(super) fn attributes(flags: u64) -> String {
    use crate::spec::mount as m;
    /// `MOUNT_ATTR__ATIME` of linux/mount.h: all that is said of access times.
    const ATIME: u64 = 0x70;
    const NAMES: [(u64, &str); 9] = [
        (ATIME, "atime"),
        (m::MOUNT_ATTR_RDONLY, "ro"),
        (m::MOUNT_ATTR_NOSUID, "nosuid"),
        (m::MOUNT_ATTR_NODEV, "nodev"),
        (m::MOUNT_ATTR_NOEXEC, "noexec"),
        (m::MOUNT_ATTR_NOATIME, "noatime"),
        (m::MOUNT_ATTR_STRICTATIME, "strictatime"),
        (m::MOUNT_ATTR_NODIRATIME, "nodiratime"),
        (m::MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow"),
    ];
    if flags == 0 { "-".to_owned() } else { bits(flags, &NAMES, ",") }
}

/// How mounts and unmounts spread.
pub(super) fn propagation(flags: u64) -> String {
    const NAMES: [(u64, &str); 4] = [
        (spread::PRIVATE, "private"),
        (spread::SLAVE, "slave"),
        (spread::SHARED, "shared"),
        (spread::UNBINDABLE, "unbindable"),
    ];
    bits(flags, &NAMES, "|")
}

/// Capabilities.
pub(super) fn capabilities(mask: u64) -> String {
    let names = crate::spec::capability::names(mask);
    if names.is_empty() { "none".to_owned() } else { names.join("|") }
}

/// The type of a file, as ls(1) shows it.
pub(super) fn file_type(kind: u32) -> String {
    match kind {
        file::CHARACTER => "c".to_owned(),
        file::BLOCK => "b".to_owned(),
        file::FIFO => "p".to_owned(),
        kind => format!("{kind:o}"),
    }
}

/// A limit of prlimit(2) (asm-generic/resource.h).
pub(super) fn limit(resource: u32) -> Cow<'static, str> {
    const NAMES: [&str; 16] = [
        "RLIMIT_CPU",
        "RLIMIT_FSIZE",
        "RLIMIT_DATA",
        "RLIMIT_STACK",
        "RLIMIT_CORE",
        "RLIMIT_RSS",
        "RLIMIT_NPROC",
        "RLIMIT_NOFILE",
        "RLIMIT_MEMLOCK",
        "RLIMIT_AS",
        "RLIMIT_LOCKS",
        "RLIMIT_SIGPENDING",
        "RLIMIT_MSGQUEUE",
        "RLIMIT_NICE",
        "RLIMIT_RTPRIO",
        "RLIMIT_RTTIME",
    ];
    let name = usize::try_from(resource).ok().and_then(|at| NAMES.get(at));
    name.map_or_else(|| resource.to_string().into(), |name| (*name).into())
}

/// An option of prctl(2).
pub(super) fn option(option: i32) -> Cow<'static, str> {
    match option {
        prctl::KEEPCAPS => "PR_SET_KEEPCAPS".into(),
        prctl::SECUREBITS => "PR_SET_SECUREBITS".into(),
        prctl::DUMPABLE => "PR_SET_DUMPABLE".into(),
        prctl::NO_NEW_PRIVS => "PR_SET_NO_NEW_PRIVS".into(),
        prctl::MDWE => "PR_SET_MDWE".into(),
        other => other.to_string().into(),
    }
}

/// A BPF program by its length and FNV-1a of its bytes: `brig seccomp show` has all of it.
pub(super) fn filter(bytes: &[u8], flags: u64) -> String {
    let add = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325, add);
    format!("{} instructions, FNV-1a {sum:016x}, flags {flags:#x}", bytes.len() / 8)
}

/// What an operation takes for success.
pub(super) fn tolerated(tolerates: Tolerance) -> Option<String> {
    let errors = tolerates.errors();
    (!errors.is_empty()).then(|| format!("tolerates {}", errors.join("|")))
}

/// A record of the child's.
pub(super) fn report(kind: ReportKind) -> &'static str {
    match kind {
        ReportKind::Failed => "failed",
        ReportKind::Cloned => "cloned",
        ReportKind::WantsSetup => "wants setup",
        ReportKind::WantsHooks => "wants hooks",
        ReportKind::Ready => "ready",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_be_taken_for_brigs() {
        for (text, shown) in [
            ("/srv/data", "/srv/data"),
            ("/srv/my data", "\"/srv/my data\""),
            ("/a (as rootfs)", "\"/a (as rootfs)\""),
            ("", "\"\""),
            ("/\u{fc}", "/\u{fc}"),
            ("a\nb", "\"a\\nb\""),
            ("a\u{202e}b", "\"a\\u{202e}b\""),
            ("\"", "\"\\\"\""),
        ] {
            assert_eq!(quoted(text), shown);
        }
        assert_eq!(quoted(b"/\xff ".as_slice()), "\"/\\xff \"");
        assert_eq!(quoted_but(b"a,b", ","), "\"a,b\"");
    }

    #[test]
    fn bits_without_a_name_are_numbers() {
        assert_eq!(namespaces(0x2000_0000 | 1), "pid|0x1");
        assert_eq!(attributes(0x70 | 1), "atime,ro");
        assert_eq!(attributes(0x10), "noatime");
        assert_eq!(attributes(0), "-");
        assert_eq!(limit(7), "RLIMIT_NOFILE");
        assert_eq!(limit(99), "99");
    }
}
