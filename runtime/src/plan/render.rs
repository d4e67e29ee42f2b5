//! A plan in words: for `brig plan`, for golden tests, and for the operation in an error message.

use std::ffi::CStr;
use std::fmt::Write as _;

use brig_child::op::{
    FileOp, Identity, MountOp, NamespaceOp, PrivilegeOp, ProcessOp, ProgramOp, TalkOp,
};
use brig_child::syscall::MountAttr;
use brig_child::{Op, Slot, device};

use super::Plan;
use super::build::SlotUse;
use crate::printable;

/// The whole plan, one operation a line.
#[must_use]
pub fn render(plan: &Plan<'_>) -> String {
    let mut text = String::new();
    let into = if plan.clone_into_cgroup { " into the cgroup" } else { "" };
    let _ = writeln!(text, "clone3({}){into}", namespace_names(plan.clone_flags));
    for (index, op) in plan.ops.iter().enumerate() {
        let op = render_op(op, &plan.slots);
        let _ = writeln!(text, "{index:3}  {}", printable::line(&op));
    }
    text
}

fn namespace_names(flags: u64) -> String {
    use brig_child::flags::namespace as ns;
    let names = [
        (ns::USER, "user"),
        (ns::MOUNT, "mount"),
        (ns::PID, "pid"),
        (ns::NETWORK, "network"),
        (ns::IPC, "ipc"),
        (ns::UTS, "uts"),
        (ns::CGROUP, "cgroup"),
        (ns::TIME, "time"),
    ];
    let listed: Vec<_> = names
        .iter()
        .filter(|(flag, _)| flags & u64::from(*flag) != 0)
        .map(|(_, name)| *name)
        .collect();
    if listed.is_empty() { "no namespace".to_owned() } else { listed.join("|") }
}

/// What a slot holds, in words.
fn slot(slot: Slot, slots: &[SlotUse<'_>]) -> String {
    match slots.get(usize::from(slot.0)) {
        None | Some(SlotUse::Cwd) => "cwd".to_owned(),
        Some(SlotUse::Supervisor) => "supervisor".to_owned(),
        Some(SlotUse::Gate) => "start gate".to_owned(),
        Some(SlotUse::Standard(number)) => format!("replacement of descriptor {number}"),
        Some(SlotUse::ConsoleSocket) => "console socket".to_owned(),
        Some(SlotUse::State) => "state".to_owned(),
        Some(SlotUse::CreatedState) => "created state".to_owned(),
        Some(SlotUse::SeccompListener) => "seccomp listener".to_owned(),
        Some(SlotUse::SeccompState) => "seccomp state".to_owned(),
        Some(SlotUse::CgroupTasks(index)) => format!("cgroup tasks {index}"),
        Some(SlotUse::CgroupDirectory) => "cgroup".to_owned(),
        Some(SlotUse::EmptyNamespace) => "empty mount namespace".to_owned(),
        Some(SlotUse::Namespace { path, .. }) => path.to_string_lossy().into_owned(),
        Some(SlotUse::IdMap { .. }) => "user namespace".to_owned(),
        Some(SlotUse::Init) => "container's init".to_owned(),
        Some(SlotUse::Landlock) => "landlock ruleset".to_owned(),
        Some(SlotUse::Target(path)) => format!("target {}", path.to_string_lossy()),
        Some(SlotUse::Made(name)) => name.clone(),
    }
}

/// One operation.
#[must_use]
pub fn render_op(op: &Op<'_>, slots: &[SlotUse<'_>]) -> String {
    let name = op.name();
    let at = |wanted: Slot| slot(wanted, slots);
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

fn namespace(op: &NamespaceOp<'_>, name: &str, at: impl Fn(Slot) -> String) -> String {
    match op {
        NamespaceOp::Setns { fd, flags } => {
            format!("{name} {} ({})", at(*fd), namespace_names(u64::from(*flags)))
        }
        NamespaceOp::Unshare { flags } => format!("{name} {}", namespace_names(u64::from(*flags))),
        NamespaceOp::Clone { flags, cgroup } => {
            let into = if cgroup.is_some() { " into the cgroup" } else { "" };
            format!("{name}({}){into}", namespace_names(*flags))
        }
        NamespaceOp::Sethostname { name: value } | NamespaceOp::Setdomainname { name: value } => {
            format!("{name} {:?}", String::from_utf8_lossy(value))
        }
        NamespaceOp::LoopbackUp => name.to_owned(),
    }
}

fn talk(op: &TalkOp, name: &str) -> String {
    match op {
        TalkOp::Tell { kind } => format!("{name} {}", report_name(*kind)),
        TalkOp::Await | TalkOp::Gate { .. } => name.to_owned(),
    }
}

fn file(op: &FileOp<'_>, name: &str, at: impl Fn(Slot) -> String) -> String {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().replace('\n', "; ");
    let below = |dir: Slot, path: &CStr| format!("{name} {}:{}", at(dir), path.to_string_lossy());
    match op {
        FileOp::Open { dir, path, .. } => below(*dir, path),
        FileOp::WriteFile { dir, path, data, .. } => {
            format!("{} = {:?}", below(*dir, path), lossy(data))
        }
        FileOp::VerifyFile { dir, path, expected, .. } => {
            format!("{} is {:?}", below(*dir, path), lossy(expected))
        }
        FileOp::Write { fd, data } => format!("{name} {} = {:?}", at(*fd), lossy(data)),
        FileOp::Mkdir { dir, name: path, mode } => format!("{} {mode:o}", below(*dir, path)),
        FileOp::Mknod { dir, path, mode, device, uid, gid, .. } => {
            let (major, minor) = device::decode(*device);
            format!("{} {mode:o} {major}:{minor} {uid}:{gid}", below(*dir, path))
        }
        FileOp::Symlink { dir, name: link, target, .. } => {
            format!("{} -> {}", below(*dir, link), target.to_string_lossy())
        }
        FileOp::OpenTarget { root, path, target, .. } => {
            format!("{} {target:?}", below(*root, path))
        }
        FileOp::Expect { fd, identity: Identity::Node { device, .. } } => {
            let (major, minor) = device::decode(*device);
            format!("{name} {} is {major}:{minor}", at(*fd))
        }
        FileOp::Expect { fd, identity: Identity::Directory { device, inode, mount } } => {
            let (major, minor) = device;
            let mount = mount.map_or(String::new(), |mount| format!(" mount {mount}"));
            format!("{name} {} is device {major}:{minor} inode {inode}{mount}", at(*fd))
        }
        FileOp::Setxattr { dir, name: attribute, value } => {
            let (attribute, value) = (attribute.to_string_lossy(), String::from_utf8_lossy(value));
            format!("{name} {} {attribute}={value}", at(*dir))
        }
        FileOp::CopyUp { from, to, bytes, entries } => {
            let (bytes, entries) = (at_most(*bytes, "bytes"), at_most(*entries, "entries"));
            format!("{name} {} -> {}{bytes}{entries}", at(*from), at(*to))
        }
    }
}

fn at_most(limit: u64, what: &str) -> String {
    match limit {
        u64::MAX => String::new(),
        limit => format!(", at most {limit} {what}"),
    }
}

fn mount(op: &MountOp<'_>, name: &str, at: impl Fn(Slot) -> String) -> String {
    let recursive = |recursive: bool| if recursive { " recursive" } else { "" };
    match op {
        MountOp::OpenTree { dir, path, flags, .. } => {
            let recursive = recursive(flags & brig_child::flags::tree::RECURSIVE != 0);
            match path.is_empty() {
                true => format!("{name} {}{recursive}", at(*dir)),
                false => format!("{name} {}:{}{recursive}", at(*dir), path.to_string_lossy()),
            }
        }
        MountOp::Fsmount { kind, options, attrs, .. } => {
            let options: Vec<_> = options.iter().map(option).collect();
            let kind = kind.to_string_lossy();
            format!("{name} {kind} [{}] {}", options.join(","), attributes(u64::from(*attrs)))
        }
        MountOp::MountSetattr { fd, recursive: whole, attr } => {
            format!("{name} {}{}{}", at(*fd), recursive(*whole), changes(attr))
        }
        MountOp::MountIdmap { fd, userns, .. } => {
            format!("{name} {} idmap {}", at(*fd), at(*userns))
        }
        MountOp::MoveMount { from, to } => format!("{name} {} -> {}", at(*from), at(*to)),
        MountOp::MoveMountTo { from, dir, path } => {
            format!("{name} {} -> {}:{}", at(*from), at(*dir), path.to_string_lossy())
        }
        MountOp::Mask { path, .. } | MountOp::Readonly { path, .. } => {
            format!("{name} {}", path.to_string_lossy())
        }
        MountOp::EnterRoot { root, .. } => format!("{name} {}", at(*root)),
    }
}

/// One option of fsconfig(2).
fn option((key, value): &(&CStr, Option<&CStr>)) -> String {
    match value {
        Some(value) => format!("{}={}", key.to_string_lossy(), value.to_string_lossy()),
        None => key.to_string_lossy().into_owned(),
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

fn process(op: &ProcessOp<'_>, name: &str, at: impl Fn(Slot) -> String) -> String {
    match op {
        ProcessOp::DieWithParent { enabled } => {
            format!("{name} {}", if *enabled { "SIGKILL" } else { "none" })
        }
        ProcessOp::ResetSignals | ProcessOp::EndOnSignals | ProcessOp::Setsid => name.to_owned(),
        ProcessOp::Dup { from, to } => format!("{name} {} -> {to}", at(*from)),
        ProcessOp::Console { size, owner, .. } => format!("{name} size {size:?} owner {owner}"),
        ProcessOp::Prlimit { resource, soft, hard } => format!("{name} {resource} {soft}:{hard}"),
        ProcessOp::RaiseLimit { resource, hard } => format!("{name} {resource} hard >= {hard}"),
        ProcessOp::Personality { domain } => format!("{name} {domain:#x}"),
        ProcessOp::SchedSetattr { attr } => format!(
            "{name} policy {} flags {:#x} nice {} priority {} {}/{}/{}",
            attr.policy,
            attr.flags,
            attr.nice,
            attr.priority,
            attr.runtime,
            attr.deadline,
            attr.period
        ),
        ProcessOp::SchedSetaffinity { mask } => format!("{name} {mask:x?}"),
        ProcessOp::IoprioSet { prio } => {
            format!("{name} class {} level {}", prio >> 13, prio & 0x1fff)
        }
        ProcessOp::SetMempolicy { mode, nodes } => format!("{name} {mode:#x} {nodes:x?}"),
        ProcessOp::JoinSessionKeyring { name: keyring, .. } => {
            format!("{name} session {}", keyring.to_string_lossy())
        }
        ProcessOp::Umask { mask } => format!("{name} {mask:04o}"),
        ProcessOp::Chdir { path, .. } => format!("{name} {}", path.to_string_lossy()),
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
        PrivilegeOp::Prctl { option, value } => format!("{name} {option} {value}"),
        PrivilegeOp::KeepBounding { keep } => format!("{name} all but {}", capabilities(*keep)),
        PrivilegeOp::Capset { effective, permitted, inheritable } => format!(
            "{name} effective {} permitted {} inheritable {}",
            capabilities(*effective),
            capabilities(*permitted),
            capabilities(*inheritable)
        ),
        PrivilegeOp::SetAmbient { ambient } => format!("{name} {}", capabilities(*ambient)),
        PrivilegeOp::LandlockAllow { access, .. } => format!("{name} {access:#x}"),
        PrivilegeOp::LandlockRestrictSelf { .. } => name.to_owned(),
        PrivilegeOp::Seccomp { filter, flags, .. } => {
            format!("{name} {} instructions, flags {flags:#x}", filter.len() / 8)
        }
    }
}

fn program(op: &ProgramOp<'_>, name: &str) -> String {
    match op {
        ProgramOp::Hook(hook) => {
            let filter = hook.filter.map(|(filter, flags)| {
                format!(" with seccomp {} instructions, flags {flags:#x}", filter.len() / 8)
            });
            format!("{name} {}{}", hook.path.to_string_lossy(), filter.unwrap_or_default())
        }
        ProgramOp::FindProgram { candidates } => {
            let list: Vec<_> = candidates.iter().map(|path| path.to_string_lossy()).collect();
            format!("{name} {}", list.join(" or "))
        }
        ProgramOp::Execve { argv, envp } => {
            let args: Vec<_> = argv.iter().map(|arg| arg.to_string_lossy()).collect();
            format!("{name} {args:?} with {} variables", envp.iter().count())
        }
    }
}

fn capabilities(mask: u64) -> String {
    let names = crate::spec::capability::names(mask);
    if names.is_empty() { "none".to_owned() } else { names.join("|") }
}

fn attributes(bits: u64) -> String {
    use crate::spec::mount as m;
    let names = [
        (m::MOUNT_ATTR_RDONLY, "ro"),
        (m::MOUNT_ATTR_NOSUID, "nosuid"),
        (m::MOUNT_ATTR_NODEV, "nodev"),
        (m::MOUNT_ATTR_NOEXEC, "noexec"),
        (m::MOUNT_ATTR_NOATIME, "noatime"),
        (m::MOUNT_ATTR_STRICTATIME, "strictatime"),
        (m::MOUNT_ATTR_NODIRATIME, "nodiratime"),
        (m::MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow"),
    ];
    let listed: Vec<_> =
        names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    if listed.is_empty() { "-".to_owned() } else { listed.join(",") }
}

fn propagation(bits: u64) -> &'static str {
    use brig_child::flags::propagation as p;
    match bits {
        p::PRIVATE => "private",
        p::SLAVE => "slave",
        p::SHARED => "shared",
        p::UNBINDABLE => "unbindable",
        _ => "propagation",
    }
}

fn report_name(kind: u32) -> &'static str {
    use brig_child::ReportKind as Kind;
    match kind {
        kind if kind == Kind::WantsSetup as u32 => "wants setup",
        kind if kind == Kind::WantsHooks as u32 => "wants hooks",
        kind if kind == Kind::Ready as u32 => "ready",
        _ => "",
    }
}

/// The name of a system call that an operation makes, for error messages.
#[must_use]
pub fn call_name(number: u32) -> &'static str {
    brig_child::syscall::name(number)
}
