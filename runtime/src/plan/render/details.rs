//! What of an operation changes what happens, and is not among its words.

use brig_child::Op;
use brig_child::op::{
    FileOp, Hook, Keeps, MountOp, NamespaceOp, PrivilegeOp, ProcessOp, ProgramOp, TalkOp, Target,
    Vector,
};

use super::At;
use super::names::{capabilities, filter, literal, open_flags, resolve, tolerated, tree_flags};

pub(super) fn details(op: &Op<'_>, at: At<'_>) -> Vec<String> {
    match op {
        // Where the new process goes and what is listened on is among their words.
        Op::Namespace(
            NamespaceOp::Setns { .. }
            | NamespaceOp::Unshare { .. }
            | NamespaceOp::Clone { .. }
            | NamespaceOp::Sethostname { .. }
            | NamespaceOp::Setdomainname { .. }
            | NamespaceOp::LoopbackUp,
        )
        | Op::Talk(TalkOp::Tell { .. } | TalkOp::Await | TalkOp::Gate { .. }) => Vec::new(),
        Op::File(op) => file(op, at),
        Op::Mount(op) => mount(op, at),
        Op::Process(op) => process(op, at),
        Op::Privilege(op) => privilege(op, at),
        Op::Program(op) => program(op, at),
    }
}

fn listed<const N: usize>(parts: [Option<String>; N]) -> Vec<String> {
    parts.into_iter().flatten().collect()
}

fn file(op: &FileOp<'_>, at: At<'_>) -> Vec<String> {
    match op {
        FileOp::Open { flags, resolve: how, into, .. } => {
            listed([open_flags(*flags), resolve(*how), Some(format!("as {}", at(*into)))])
        }
        FileOp::WriteFile { resolve: how, .. } | FileOp::VerifyFile { resolve: how, .. } => {
            listed([resolve(*how)])
        }
        FileOp::Mknod { tolerates, .. } => {
            listed([tolerated(*tolerates).map(|errors| errors + " of the same device")])
        }
        FileOp::Symlink { tolerates, .. } => listed([tolerated(*tolerates)]),
        FileOp::OpenTarget { target, into, .. } => {
            let more = match target {
                Target::Within => Some("may be the root"),
                Target::NoLink => Some("no link on the way"),
                Target::Directory | Target::File | Target::Like(_) => None,
            };
            listed([more.map(str::to_owned), Some(format!("as {}", at(*into)))])
        }
        FileOp::Write { .. }
        | FileOp::Mkdir { .. }
        | FileOp::Expect { .. }
        | FileOp::Setxattr { .. }
        | FileOp::TakeOwner { .. }
        | FileOp::Close { .. } => Vec::new(),
        FileOp::TakeMode { .. } => vec![UNLESS_MADE.to_owned()],
        FileOp::CopyUp { keeps: Keeps { mode, uid, gid }, .. } => {
            let own = |keeps: &bool, what: &str| keeps.then(|| format!("{what} its own"));
            let unless = Some(UNLESS_MADE.to_owned());
            listed([unless, own(mode, "mode"), own(uid, "user"), own(gid, "group")])
        }
    }
}

const UNLESS_MADE: &str = "unless it was made for this";

fn mount(op: &MountOp<'_>, at: At<'_>) -> Vec<String> {
    match op {
        MountOp::OpenTree { flags, into, .. } => {
            listed([tree_flags(*flags), Some(format!("as {}", at(*into)))])
        }
        MountOp::Fsmount { into, .. } => vec![format!("as {}", at(*into))],
        MountOp::Mask { root, masks, tolerates, .. } => {
            listed([Some(format!("in {} by {}", at(*root), at(*masks))), tolerated(*tolerates)])
        }
        MountOp::Readonly { root, tolerates, .. } => {
            listed([Some(format!("in {}", at(*root))), tolerated(*tolerates)])
        }
        MountOp::MountSetattr { .. }
        | MountOp::MountIdmap { .. }
        | MountOp::MoveMount { .. }
        | MountOp::MoveMountTo { .. }
        | MountOp::EnterRoot { .. } => Vec::new(),
    }
}

fn process(op: &ProcessOp<'_>, at: At<'_>) -> Vec<String> {
    match op {
        ProcessOp::Console { pts, socket, console, .. } => listed([
            Some(format!("of {}, its master to {}", at(*pts), at(*socket))),
            console.map(|console| format!("mounted on {}", at(console))),
        ]),
        ProcessOp::JoinSessionKeyring { tolerates, .. } => listed([tolerated(*tolerates)]),
        ProcessOp::Visit { .. } => vec!["or / where that is not permitted".to_owned()],
        ProcessOp::Chdir { create, .. } => {
            listed([create.then(|| "made where it is missing".to_owned())])
        }
        ProcessOp::CloseAllBut { keep, .. } => {
            let kept: Vec<_> = keep.iter().map(|slot| at(*slot)).collect();
            vec![format!("keeps {}", kept.join(" and "))]
        }
        // There is nothing before 3 that could be closed.
        ProcessOp::CloseOnExec { first: ..=3, .. } => Vec::new(),
        ProcessOp::CloseOnExec { first, tolerates } => {
            listed([Some(format!("not those from 3 to {}", first - 1)), tolerated(*tolerates)])
        }
        ProcessOp::DieWithParent { .. }
        | ProcessOp::ResetSignals
        | ProcessOp::EndOnSignals
        | ProcessOp::Setsid
        | ProcessOp::Dup { .. }
        | ProcessOp::OwnNull { .. }
        | ProcessOp::Prlimit { .. }
        | ProcessOp::RaiseLimit { .. }
        | ProcessOp::Personality { .. }
        | ProcessOp::SchedSetattr { .. }
        | ProcessOp::SchedSetaffinity { .. }
        | ProcessOp::IoprioSet { .. }
        | ProcessOp::SetMempolicy { .. }
        | ProcessOp::Umask { .. } => Vec::new(),
    }
}

fn privilege(op: &PrivilegeOp<'_>, at: At<'_>) -> Vec<String> {
    match op {
        PrivilegeOp::LandlockAllow { ruleset, of_file, tolerates, .. } => listed([
            Some(format!("by {}", at(*ruleset))),
            Some(format!("of a file {of_file:#x}")),
            tolerated(*tolerates),
        ]),
        PrivilegeOp::LandlockRestrictSelf { ruleset } => vec![format!("by {}", at(*ruleset))],
        PrivilegeOp::Seccomp { socket, .. } => listed([socket
            .map(|(socket, state)| format!("its listener to {} with {}", at(socket), at(state)))]),
        PrivilegeOp::Capset { until_execve: 0, .. } => Vec::new(),
        PrivilegeOp::Capset { until_execve, .. } => {
            vec![format!("effective and permitted {} until execve", capabilities(*until_execve))]
        }
        PrivilegeOp::KeepBounding { .. } => {
            vec!["up to the last that the kernel knows".to_owned()]
        }
        PrivilegeOp::Setgroups { .. }
        | PrivilegeOp::Setgid { .. }
        | PrivilegeOp::Setuid { .. }
        | PrivilegeOp::Setfsid { .. }
        | PrivilegeOp::Prctl { .. }
        | PrivilegeOp::SetAmbient { .. } => Vec::new(),
    }
}

fn program(op: &ProgramOp<'_>, at: At<'_>) -> Vec<String> {
    match op {
        ProgramOp::Hook(hook) => of_hook(hook, at),
        ProgramOp::Execve { argv, envp } => {
            listed([strings("arguments", argv), strings("environment", envp)])
        }
        ProgramOp::FindProgram { .. } => Vec::new(),
    }
}

fn of_hook(hook: &Hook<'_>, at: At<'_>) -> Vec<String> {
    let limit = match hook.timeout_ms {
        ..0 => "no time limit".to_owned(),
        limit => format!("at most {limit} ms"),
    };
    let mut lines = listed([
        strings("arguments", &hook.argv),
        strings("environment", &hook.envp),
        Some(format!("standard input {}", at(hook.stdin))),
        Some(limit),
    ]);
    let filters = hook.filters.iter();
    lines.extend(filters.map(|(program, flags)| format!("seccomp {}", filter(program, *flags))));
    lines
}

fn strings(what: &str, vector: &Vector<'_>) -> Option<String> {
    let list: Vec<_> = vector.iter().map(|text| literal(text.to_bytes())).collect();
    (!list.is_empty()).then(|| format!("{what} [{}]", list.join(", ")))
}
