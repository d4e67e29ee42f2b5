//! What a child's failure report says, in words.

use std::borrow::Cow;
use std::ffi::CStr;
use std::io;

use brig_child::flags::{copy_limit as limit, tree};
use brig_child::op::{
    FileOp, Hook, Identity, MountOp, NamespaceOp, OptionValue, PrivilegeOp, ProcessOp, ProgramOp,
    Vector,
};
use brig_child::{Op, Report};
use nix::errno::Errno;

use super::Error;
use super::told::Told;
use crate::plan::{Plan, SlotUse, call_name, render_op};
use crate::spec::capability::names;

impl Error {
    /// What a child's failure report says.
    #[must_use]
    #[cold]
    pub fn of_child(told: &Told, plan: &Plan<'_>) -> Self {
        let report = &told.report;
        let index = report.op as usize;
        let Some(op) = plan.ops.get(index) else {
            return Self::plain(format!(
                "internal error: the container's process reported a failure of operation {index}, of {}",
                plan.ops.len()
            ));
        };
        let error = match op {
            Op::Program(ProgramOp::FindProgram { .. }) => {
                program_not_found(&program_of(plan), report.value)
            }
            Op::Program(ProgramOp::Hook(hook)) => hook_failed(told, hook),
            _ => of_op(report, op, plan),
        };
        match plan.field_of(index) {
            Some(field) => error.of_field(field),
            None => error,
        }
    }
}

fn of_op(report: &Report, op: &Op<'_>, plan: &Plan<'_>) -> Error {
    let (errno, what) = (report.value, render_op(op, &plan.slots));
    match op {
        Op::File(FileOp::VerifyFile { .. }) if errno == libc::EBADE => {
            return Error::plain(format!("{what}: the value read back is another one"));
        }
        Op::Process(ProcessOp::Chdir { path, .. }) => {
            return not_entered(&path.to_string_lossy(), errno);
        }
        Op::Program(ProgramOp::Execve { argv, .. }) => {
            return not_executed(&executing(argv), errno);
        }
        Op::File(FileOp::CopyUp { from, bytes, entries, .. }) if errno == libc::EDQUOT => {
            let place = match plan.slots.get(usize::from(from.0)) {
                Some(SlotUse::Target(path)) => path.to_string_lossy(),
                _ => Cow::Borrowed("its directory"),
            };
            return too_much_to_copy(&place, report.detail, *bytes, *entries);
        }
        Op::Privilege(PrivilegeOp::Capset { permitted, until_execve, .. })
            if errno == libc::EPERM =>
        {
            return not_granted(permitted | until_execve);
        }
        _ => {}
    }
    let call = call_name(report.call);
    let what = if what.starts_with(call) { what } else { format!("{what}: {call}") };
    let what = part(op, report.detail).map_or(what.clone(), |part| format!("{what} ({part})"));
    let error = Error::system(what, said(op, errno));
    let of_label = (errno == libc::EINVAL).then(|| label_hint(op, report.detail)).flatten();
    match of_label.or_else(|| hint(op, errno)) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// What the kernel said. Docker finds the words "is a directory" in it and takes them for a program that
/// cannot be executed; from mount(2), which runc asks, they never come.
fn said(op: &Op<'_>, errno: i32) -> io::Error {
    match op {
        Op::File(FileOp::OpenTarget { .. }) if errno == libc::EISDIR => {
            io::Error::new(io::ErrorKind::IsADirectory, "EISDIR (os error 21)")
        }
        _ => io::Error::from_raw_os_error(errno),
    }
}

/// What to look at where a mount's label is the matter.
fn label_hint(op: &Op<'_>, detail: u32) -> Option<&'static str> {
    let labelled = match op {
        Op::Mount(MountOp::Fsmount { .. }) => failed_option(op, detail) == Some(c"context"),
        Op::File(FileOp::Setxattr { .. }) => true,
        _ => false,
    };
    labelled.then_some(
        "linux.mountLabel, or the mount's own context, is no label of the SELinux policy",
    )
}

/// The part of an operation that failed.
fn part(op: &Op<'_>, detail: u32) -> Option<String> {
    let option = failed_option(op, detail)?;
    Some(format!("option {}", option.to_string_lossy()))
}

fn failed_option<'a>(op: &Op<'a>, detail: u32) -> Option<&'a CStr> {
    match op {
        Op::Mount(MountOp::Fsmount { options, .. }) => {
            options.get((detail as usize).checked_sub(1)?).map(|(key, _)| *key)
        }
        _ => None,
    }
}

/// The program's name as the specification has it.
fn program_of<'a>(plan: &Plan<'a>) -> Cow<'a, str> {
    let name = plan.ops.iter().find_map(|op| match op {
        Op::Program(ProgramOp::Execve { argv, .. }) => argv.iter().next(),
        _ => None,
    });
    name.unwrap_or_default().to_string_lossy()
}

/// From the words for ENOENT and EACCES, in small letters, Docker and Podman derive their exit
/// codes 127 and 126.
fn small(errno: i32) -> String {
    Errno::from_raw(errno).desc().to_lowercase()
}

fn program_not_found(name: &str, errno: i32) -> Error {
    let what = match errno {
        libc::ENOENT if !name.contains('/') => {
            format!("exec: {name:?}: executable file not found in $PATH")
        }
        _ => format!("exec: {name:?}: {}", small(errno)),
    };
    let hint = match errno {
        libc::ENOENT => "process.args[0] must name a program of the root file system",
        libc::EACCES => {
            "the program is a directory, or the user of process.user may not execute it"
        }
        _ => "look at process.args[0]",
    };
    Error::plain(what).with_hint(hint)
}

/// What execve(2) does, in words: of the arguments only the name, as the others may be secrets.
fn executing(argv: &Vector<'_>) -> String {
    format!("{EXECUTING}{:?}", argv.iter().next().unwrap_or_default().to_string_lossy())
}

/// What a user does who may not clone a process into a container's cgroup (cgroups(7)).
pub(super) const CGROUP_OF_A_USER: &str =
    "a user moves processes only within one delegated cgroup: try `systemd-run --user --scope`";

/// How the words for an operation after the gate begin where it is execve(2).
pub(super) const EXECUTING: &str = "exec: ";

/// The same of a hook, as `render_op` has it.
pub(super) const HOOK: &str = "hook ";

/// An operation in words, for who reports its failure without the plan.
#[must_use]
pub fn describe(op: &Op<'_>, plan: &Plan<'_>) -> String {
    match op {
        Op::Program(ProgramOp::Execve { argv, .. }) => executing(argv),
        op => render_op(op, &plan.slots),
    }
}

/// The program was found, and yet: `what` is its operation in words.
pub(super) fn not_executed(what: &str, errno: i32) -> Error {
    let error = Error::plain(format!("{what}: {}", small(errno)));
    match errno {
        libc::ENOENT => error.with_hint(
            "the program's interpreter (its #! line or dynamic loader) is missing in the image",
        ),
        libc::ENOEXEC => {
            error.with_hint("the program is for another architecture, or a script without #!")
        }
        libc::EACCES | libc::EPERM => error.with_hint(
            "a mount with noexec, a security module (for SELinux and AppArmor see `dmesg`) or linux.seccomp forbids it",
        ),
        _ => error,
    }
}

/// The process has not become its program, and a filter has kept it from telling why. `words` are those of its last
/// operations.
#[must_use]
#[cold]
pub fn untold(words: &[String]) -> Error {
    let what = words.last().map_or(EXECUTING, String::as_str);
    Error::plain(format!("{what}: execve failed; errno unknown because linux.seccomp blocks write(2)"))
        .with_hint("allow write in the profile to get the errno: the interpreter may be missing, the program for another \
                    architecture, or its mount noexec")
}

fn not_entered(path: &str, errno: i32) -> Error {
    let error = Error::plain(format!("process.cwd: chdir {path:?}: {}", small(errno)));
    match errno {
        libc::ENOENT => error.with_hint("process.cwd must be a directory of the root file system"),
        libc::EACCES => error.with_hint("process.cwd is not accessible to the user"),
        _ => error,
    }
}

/// `tmpcopyup` of more than a tmpfs without a size may begin with.
fn too_much_to_copy(path: &str, detail: u32, bytes: u64, entries: u64) -> Error {
    let (what, hint) = match detail {
        limit::BYTES => (
            format!("more than {} MiB", bytes >> 20),
            "give the tmpfs the size that it needs (size=), which is its limit then",
        ),
        limit::ENTRIES => (
            format!("more than {entries} files, directories and links"),
            "give the tmpfs the number of inodes that it needs (nr_inodes=), which is its limit then",
        ),
        _ => (
            format!("directories more than {} deep", limit::DEPTH_MAX),
            "mount a volume there, or a tmpfs without tmpcopyup",
        ),
    };
    Error::plain(format!("tmpcopyup: the image has {what} in {path}")).with_hint(hint)
}

/// Nobody grants a capability that he lacks.
fn not_granted(wanted: u64) -> Error {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let own = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    let own = own.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(wanted);
    let names = match wanted & !own {
        0 => "the permitted set".to_owned(),
        lacking => names(lacking).join(", "),
    };
    let what = format!("process.capabilities: capset {names}");
    Error::system(what, io::Error::from_raw_os_error(libc::EPERM))
        .with_hint("brig can grant only capabilities that it has itself")
}

/// A hook's end that is not success, from a child's report.
fn hook_failed(told: &Told, hook: &Hook<'_>) -> Error {
    let (report, path) = (&told.report, hook.path.to_string_lossy());
    match report.value {
        libc::ECHILD if report.detail >= 256 => {
            let how = format!("hook {path} was killed by signal {}", report.detail - 256);
            Error::plain(told.with_said(how))
        }
        libc::ECHILD if report.detail == 127 => {
            Error::plain(format!("hook {path} cannot be executed (exit code 127)")).with_hint(
                "it must exist and be executable: a startContainer hook in the container, any other on the host",
            )
        }
        libc::ECHILD => {
            let how = format!("hook {path} ended with exit code {}", report.detail);
            Error::plain(told.with_said(how))
        }
        libc::ETIME => hook_is_late(told, &format!("hook {path}"), Some(hook.timeout_ms)),
        errno => Error::system(format!("running hook {path}"), io::Error::from_raw_os_error(errno)),
    }
}

/// What a process does that was killed, or has ended, and cannot be waited for.
pub(super) const UNSEEN_END: &str =
    "it is frozen, traced, or in an uninterruptible wait (state D in `ps`)";

/// A hook whose time was up, or whose end nobody tells: the call says which.
pub(super) fn hook_is_late(told: &Told, what: &str, timeout_ms: Option<i64>) -> Error {
    match i64::from(told.report.call) {
        libc::SYS_waitid => {
            Error::plain(format!("{what} was killed or exited, exit status not available"))
                .with_hint(UNSEEN_END)
        }
        _ => {
            let after = timeout_ms.map(|limit| format!(" after {} s", limit / 1000));
            Error::plain(told.with_said(format!("{what} timed out{}", after.unwrap_or_default())))
        }
    }
}

fn hint(op: &Op<'_>, errno: i32) -> Option<&'static str> {
    match op {
        Op::Namespace(op) => hint_of_namespace(op, errno),
        Op::File(op) => hint_of_file(op, errno),
        Op::Mount(op) => hint_of_mount(op, errno),
        Op::Process(ProcessOp::Prlimit { .. } | ProcessOp::RaiseLimit { .. })
            if errno == libc::EPERM =>
        {
            Some("brig itself may not raise this limit: it needs CAP_SYS_RESOURCE")
        }
        Op::Process(ProcessOp::OwnNull { .. }) => Some(
            "the container's /dev/null cannot be opened, or is not that device (1:3): mend it, or give the process \
             other input and output than /dev/null",
        ),
        Op::Privilege(
            PrivilegeOp::Setuid { .. } | PrivilegeOp::Setgid { .. } | PrivilegeOp::Setgroups { .. },
        ) if errno == libc::EINVAL => {
            Some("the id is not mapped in the container's user namespace")
        }
        Op::Process(_) | Op::Privilege(_) | Op::Talk(_) | Op::Program(_) => None,
    }
}

fn hint_of_namespace(op: &NamespaceOp<'_>, errno: i32) -> Option<&'static str> {
    Some(match (op, errno) {
        (NamespaceOp::Clone { cgroup: Some(_), .. }, libc::EACCES) => CGROUP_OF_A_USER,
        (NamespaceOp::Clone { .. }, libc::ENOSPC | libc::EUSERS) => {
            "too many namespaces: see /proc/sys/user/max_*_namespaces"
        }
        (NamespaceOp::Setns { .. }, libc::EPERM) => "brig may not join this namespace",
        _ => return None,
    })
}

fn hint_of_mount(op: &MountOp<'_>, errno: i32) -> Option<&'static str> {
    Some(match (op, errno) {
        (MountOp::OpenTree { .. }, libc::ENOENT) => "the mount source does not exist on the host",
        (MountOp::OpenTree { flags, .. }, libc::EPERM) if flags & tree::RECURSIVE != 0 => {
            "the mounts are those of another user namespace (`unshare -m` gives brig its own), or one below it is \
             unbindable and locked in this one (/proc/self/mountinfo): the host's \
             root can make it private there, or bind what is needed without it"
        }
        (MountOp::OpenTree { flags, .. }, libc::EINVAL) if flags & tree::RECURSIVE != 0 => {
            "the mount source is unbindable, or in another mount namespace than brig (/proc/self/mountinfo)"
        }
        (MountOp::OpenTree { .. }, libc::EPERM | libc::EINVAL) => {
            "the host locked a mount below it; bind it recursively (rbind)"
        }
        (MountOp::MoveMount { .. } | MountOp::MoveMountTo { .. }, libc::ELOOP) => {
            "the mount source contains a bind-mounted mount namespace, as snapd has in /run/snapd/ns: \
             bind the parts that are needed, or use bind instead of rbind"
        }
        (MountOp::Fsmount { options, .. }, libc::EINVAL)
            if options.iter().any(|(_, value)| matches!(value, OptionValue::Descriptor(_))) =>
        {
            "overlayfs refuses a layer; see `dmesg` for its own words"
        }
        (MountOp::Fsmount { .. }, libc::EINVAL) => {
            "the file system does not take this option; see `dmesg` for its own words"
        }
        (MountOp::Fsmount { .. }, libc::ENODEV) => "this kernel lacks the file system",
        (MountOp::MountIdmap { .. }, _) => {
            "the file system or this kernel cannot map ids; see docs/kernel-support.md"
        }
        (MountOp::Mask { .. } | MountOp::Readonly { .. }, libc::EBUSY) => COVERS_THE_ROOT,
        _ => return None,
    })
}

/// What a link of the image does where something is to be mounted over what it leads to.
const COVERS_THE_ROOT: &str =
    "the image has a link there that leads to the container's root, which cannot be a mount point";

fn hint_of_file(op: &FileOp<'_>, errno: i32) -> Option<&'static str> {
    Some(match (op, errno) {
        (FileOp::WriteFile { path, .. }, errno) => return hint_of_written(path.to_bytes(), errno),
        (FileOp::CopyUp { .. }, libc::ENOSPC) => {
            "what the image has there does not fit into the tmpfs: look at its size= and nr_inodes="
        }
        (FileOp::OpenTarget { .. }, libc::EROFS) => {
            "the mount point is missing in a read-only root; make it in the image"
        }
        (FileOp::OpenTarget { .. }, libc::ELOOP | libc::EXDEV | libc::ENOENT) => {
            "the image has a link at the mount point that leads nowhere inside"
        }
        // Docker looks for "not a directory" to tell its user the same, and to end with 127.
        (FileOp::OpenTarget { .. }, libc::EISDIR) => {
            "the mount source is not a directory, but the mount point is one"
        }
        (FileOp::OpenTarget { .. }, libc::ENOTDIR) => {
            "the mount point or a component of its path is not a directory, but the mount source is one"
        }
        (FileOp::OpenTarget { .. }, libc::EBUSY) => COVERS_THE_ROOT,
        (FileOp::Expect { identity: Identity::Object { .. }, .. }, libc::ESTALE) => {
            "another file or directory has replaced it since brig looked at it: run brig again, and keep it where \
             no other user may rename a directory of its path"
        }
        (FileOp::Expect { identity: Identity::Node { .. }, .. }, _) => {
            "the host's file of this path is another device than linux.devices asks for"
        }
        (FileOp::Mknod { .. }, libc::EEXIST) => {
            "the image has another file at the path of a device of linux.devices"
        }
        (FileOp::Mknod { .. }, libc::EPERM) => {
            "device nodes cannot be made here; is brig in a user namespace?"
        }
        _ => return None,
    })
}

/// A file of /proc, by its path there.
fn hint_of_written(path: &[u8], errno: i32) -> Option<&'static str> {
    match errno {
        libc::EINVAL if path.starts_with(b"self/attr/") => {
            Some("the loaded SELinux policy has no such label; see `dmesg`")
        }
        libc::EACCES | libc::EPERM if path.ends_with(b"oom_score_adj") => {
            Some("brig itself may not lower process.oomScoreAdj: it needs CAP_SYS_RESOURCE")
        }
        libc::ENOENT if path.starts_with(b"sys/") => Some("this kernel has no such parameter"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use brig_child::Slot;

    use super::*;

    #[test]
    fn rbind_is_no_hint_for_what_is_bound_so_or_is_no_bind() {
        let (dir, into) = (Slot(0), Slot(1));
        let bind = |flags| MountOp::OpenTree { dir, path: c"/x", flags, into };
        let says_rbind = |op: &MountOp<'_>, errno| {
            hint_of_mount(op, errno).is_some_and(|hint| hint.contains("rbind"))
        };
        for errno in [libc::EINVAL, libc::EPERM] {
            assert!(says_rbind(&bind(0), errno));
            assert!(!says_rbind(&bind(tree::RECURSIVE), errno));
            assert!(!says_rbind(&MountOp::MoveMount { from: dir, to: into }, errno));
        }
    }
}
