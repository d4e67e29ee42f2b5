//! What an operation is and works on, as errors name it, too: no secrets are in here.

use std::ffi::CStr;
use std::fmt::Write as _;

use brig_child::flags::tree;
use brig_child::op::{
    FileOp, Identity, MountOp, NamespaceOp, OptionValue, PrivilegeOp, ProcessOp, ProgramOp, TalkOp,
    Target,
};
use brig_child::syscall::MountAttr;
use brig_child::{Op, Slot, device};

use super::At;
use super::names::{
    attributes, capabilities, file_type, filter, limit, literal, namespaces, option, propagation,
    quoted, quoted_but, report,
};

pub(super) fn describe(op: &Op<'_>, at: At<'_>) -> String {
    let name = op.name();
    match op {
        Op::Namespace(op) => namespace(op, name, at),
        Op::Talk(op) => talk(op, name),
        Op::File(op) => file(op, name, at),
        Op::Mount(op) => mount(op, name, at),
        Op::Process(op) => process(op, name, at),
        Op::Privilege(op) => privilege(op, name),
        Op::Program(op) => program(op, name),
    }
}

fn namespace(op: &NamespaceOp<'_>, name: &str, at: At<'_>) -> String {
    match op {
        NamespaceOp::Setns { fd, flags } => {
            format!("{name} {} ({})", at(*fd), namespaces(u64::from(*flags)))
        }
        NamespaceOp::Unshare { flags } => format!("{name} {}", namespaces(u64::from(*flags))),
        NamespaceOp::Clone { flags, cgroup } => {
            let into = if cgroup.is_some() { " into the cgroup" } else { "" };
            format!("{name}({}){into}", namespaces(*flags))
        }
        NamespaceOp::Sethostname { name: value } | NamespaceOp::Setdomainname { name: value } => {
            format!("{name} {}", literal(value))
        }
        NamespaceOp::LoopbackUp => name.to_owned(),
    }
}

fn talk(op: &TalkOp, name: &str) -> String {
    match op {
        TalkOp::Tell { kind } => format!("{name} {}", report(*kind)),
        TalkOp::Await | TalkOp::Gate { .. } => name.to_owned(),
    }
}

fn path(text: &CStr) -> std::borrow::Cow<'_, str> {
    quoted(text.to_bytes())
}

fn file(op: &FileOp<'_>, name: &str, at: At<'_>) -> String {
    let below = |dir: Slot, file: &CStr| format!("{name} {}:{}", at(dir), path(file));
    match op {
        FileOp::Open { dir, path, .. } => below(*dir, path),
        FileOp::WriteFile { dir, path, data, .. } => {
            format!("{} = {}", below(*dir, path), literal(data))
        }
        FileOp::VerifyFile { dir, path, expected, .. } => {
            format!("{} is {}", below(*dir, path), literal(expected))
        }
        FileOp::Write { fd, data } => format!("{name} {} = {}", at(*fd), literal(data)),
        FileOp::Mkdir { dir, name: path, mode } => format!("{} {mode:o}", below(*dir, path)),
        FileOp::Mknod { dir, path, mode, device, uid, gid, .. } => {
            let (major, minor) = device::decode(*device);
            format!("{} {mode:o} {major}:{minor} {uid}:{gid}", below(*dir, path))
        }
        FileOp::Symlink { dir, name: link, target, .. } => {
            format!("{} -> {}", below(*dir, link), path(target))
        }
        FileOp::OpenTarget { root, path, target, .. } => {
            let kind = match target {
                Target::Directory | Target::Within | Target::NoLink => "directory".to_owned(),
                Target::File => "file".to_owned(),
                Target::Like(slot) => format!("like {}", at(*slot)),
            };
            format!("{} {kind}", below(*root, path))
        }
        FileOp::Expect { fd, identity: Identity::Node { kind, device } } => {
            let (major, minor) = device::decode(*device);
            format!("{name} {} is {} {major}:{minor}", at(*fd), file_type(*kind))
        }
        FileOp::Expect { fd, identity: Identity::Object { device, inode, mount } } => {
            let (major, minor) = device;
            let mount = mount.map_or(String::new(), |mount| format!(" mount {mount}"));
            format!("{name} {} is device {major}:{minor} inode {inode}{mount}", at(*fd))
        }
        FileOp::Setxattr { dir, name: attribute, value } => {
            format!("{name} {} {}={}", at(*dir), path(attribute), quoted(*value))
        }
        FileOp::CopyUp { from, to, bytes, entries, .. } => {
            let (bytes, entries) = (at_most(*bytes, "bytes"), at_most(*entries, "entries"));
            format!("{name} {} -> {}{bytes}{entries}", at(*from), at(*to))
        }
        FileOp::TakeOwner { from, to } | FileOp::TakeMode { from, to } => {
            format!("{name} {} -> {}", at(*from), at(*to))
        }
        FileOp::Close { fd } => format!("{name} {}", at(*fd)),
    }
}

fn at_most(limit: u64, what: &str) -> String {
    match limit {
        u64::MAX => String::new(),
        limit => format!(", at most {limit} {what}"),
    }
}

fn mount(op: &MountOp<'_>, name: &str, at: At<'_>) -> String {
    let recursive = |recursive: bool| if recursive { " recursive" } else { "" };
    match op {
        MountOp::OpenTree { dir, path: file, flags, .. } => {
            let recursive = recursive(flags & tree::RECURSIVE != 0);
            match file.is_empty() {
                true => format!("{name} {}{recursive}", at(*dir)),
                false => format!("{name} {}:{}{recursive}", at(*dir), path(file)),
            }
        }
        MountOp::Fsmount { kind, options, attrs, .. } => {
            let options: Vec<_> = options.iter().map(|option| mount_option(option, at)).collect();
            let attributes = attributes(u64::from(*attrs));
            format!("{name} {} [{}] {attributes}", path(kind), options.join(","))
        }
        MountOp::MountSetattr { fd, recursive: whole, attr } => {
            format!("{name} {}{}{}", at(*fd), recursive(*whole), changes(attr))
        }
        MountOp::MountIdmap { fd, userns, recursive: whole } => {
            format!("{name} {}{} idmap {}", at(*fd), recursive(*whole), at(*userns))
        }
        MountOp::MoveMount { from, to } => format!("{name} {} -> {}", at(*from), at(*to)),
        MountOp::MoveMountTo { from, dir, path: to } => {
            format!("{name} {} -> {}:{}", at(*from), at(*dir), path(to))
        }
        MountOp::Mask { path: file, .. } | MountOp::Readonly { path: file, .. } => {
            format!("{name} {}", path(file))
        }
        MountOp::EnterRoot { root, .. } => format!("{name} {}", at(*root)),
    }
}

/// One option of fsconfig(2).
fn mount_option((key, value): &(&CStr, OptionValue<'_>), at: At<'_>) -> String {
    let key = quoted_but(key.to_bytes(), ",=");
    match value {
        OptionValue::Text(value) => format!("{key}={}", quoted_but(value.to_bytes(), ",")),
        OptionValue::Descriptor(slot) => format!("{key}={}", at(*slot)),
        OptionValue::Flag => key.into_owned(),
    }
}

/// What mount_setattr(2) changes.
fn changes(attr: &MountAttr) -> String {
    let mut text = String::new();
    if attr.set != 0 {
        let _ = write!(text, " +{}", attributes(attr.set));
    }
    if attr.clear != 0 {
        let _ = write!(text, " -{}", attributes(attr.clear));
    }
    if attr.propagation != 0 {
        let _ = write!(text, " {}", propagation(attr.propagation));
    }
    text
}

fn process(op: &ProcessOp<'_>, name: &str, at: At<'_>) -> String {
    match op {
        ProcessOp::DieWithParent { enabled } => {
            format!("{name} {}", if *enabled { "SIGKILL" } else { "none" })
        }
        ProcessOp::ResetSignals | ProcessOp::EndOnSignals | ProcessOp::Setsid => name.to_owned(),
        ProcessOp::Dup { from, to } => format!("{name} {} -> {to}", at(*from)),
        ProcessOp::Console { size, owner, .. } => {
            let size =
                size.map_or(String::new(), |(rows, columns)| format!(" size {rows}x{columns}"));
            format!("{name}{size} owner {owner}")
        }
        ProcessOp::Prlimit { resource, soft, hard } => {
            format!("{name} {} {soft}:{hard}", limit(*resource))
        }
        ProcessOp::RaiseLimit { resource, hard } => {
            format!("{name} {} hard >= {hard}", limit(*resource))
        }
        ProcessOp::Personality { domain } => format!("{name} {domain:#x}"),
        ProcessOp::SchedSetattr { attr } => format!(
            "{name} policy {} flags {:#x} nice {} priority {} {}/{}/{} utilization {}-{}",
            attr.policy,
            attr.flags,
            attr.nice,
            attr.priority,
            attr.runtime,
            attr.deadline,
            attr.period,
            attr.util_min,
            attr.util_max
        ),
        ProcessOp::SchedSetaffinity { mask } if mask.iter().all(|word| *word == u64::MAX) => {
            format!("{name} all")
        }
        ProcessOp::SchedSetaffinity { mask } => format!("{name} {mask:x?}"),
        ProcessOp::IoprioSet { prio } => {
            format!("{name} class {} level {}", prio >> 13, prio & 0x1fff)
        }
        ProcessOp::SetMempolicy { mode, nodes } => format!("{name} {mode:#x} {nodes:x?}"),
        ProcessOp::JoinSessionKeyring { name: keyring, .. } => {
            format!("{name} session {}", path(keyring))
        }
        ProcessOp::Umask { mask } => format!("{name} {mask:04o}"),
        ProcessOp::OwnNull { standard } => {
            let numbers = (0..3).zip(standard).filter(|(_, replaced)| **replaced);
            let numbers: Vec<_> = numbers.map(|(number, _): (u8, _)| number.to_string()).collect();
            format!("{name} as {}", numbers.join(", "))
        }
        ProcessOp::Chdir { path: directory, .. } => format!("{name} {}", path(directory)),
        ProcessOp::Visit { path: directory } => format!("{name} {}", path(directory)),
        ProcessOp::CloseAllBut { first, keep } => {
            format!("{name} from {first}, all but {} of brig's own", keep.len())
        }
        ProcessOp::CloseOnExec { first, .. } => format!("{name} close-on-exec from {first}"),
    }
}

fn privilege(op: &PrivilegeOp<'_>, name: &str) -> String {
    match op {
        PrivilegeOp::Setgroups { groups } => format!("{name} {groups:?}"),
        PrivilegeOp::Setgid { gid: id } | PrivilegeOp::Setuid { uid: id } => format!("{name} {id}"),
        PrivilegeOp::Setfsid { uid, gid } => format!("{name} {uid} setfsgid {gid}"),
        PrivilegeOp::Prctl { option: number, value } => {
            format!("{name} {} {value}", option(*number))
        }
        PrivilegeOp::KeepBounding { keep } => format!("{name} all but {}", capabilities(*keep)),
        PrivilegeOp::Capset { effective, permitted, inheritable, .. } => format!(
            "{name} effective {} permitted {} inheritable {}",
            capabilities(*effective),
            capabilities(*permitted),
            capabilities(*inheritable)
        ),
        PrivilegeOp::SetAmbient { ambient } => format!("{name} {}", capabilities(*ambient)),
        PrivilegeOp::LandlockAllow { path: at, access, .. } => {
            format!("{name} {} {access:#x}", path(at))
        }
        PrivilegeOp::LandlockRestrictSelf { .. } => name.to_owned(),
        PrivilegeOp::Seccomp { filter: program, flags, .. } => {
            format!("{name} {}", filter(program, *flags))
        }
    }
}

fn program(op: &ProgramOp<'_>, name: &str) -> String {
    match op {
        ProgramOp::Hook(hook) => format!("{name} {}", path(hook.path)),
        ProgramOp::FindProgram { candidates } => {
            let list: Vec<_> = candidates.iter().map(|candidate| path(candidate)).collect();
            format!("{name} {}", list.join(" or "))
        }
        ProgramOp::Execve { argv, .. } => {
            format!("{name} {}", path(argv.iter().next().unwrap_or_default()))
        }
    }
}
