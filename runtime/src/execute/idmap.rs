//! Id maps of user namespaces (user_namespaces(7)).
//!
//! With privilege they are written directly. An ordinary user may map only its own ids; for more,
//! newuidmap(1) and newgidmap(1) check /etc/subuid and /etc/subgid.

use std::fmt::Write as _;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use brig_child::flags::namespace;
use brig_child::op::{ProcessOp, TalkOp};
use brig_child::{Op, Slot};
use brig_sys::launch::clone_child;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{getegid, geteuid};
use rustix::process::{Signal, pidfd_send_signal};

use super::end::reap;
use super::program::Gains;
use super::{Error, program};
use crate::caller::Caller;
use crate::deadline::{AFTER_KILL, Deadline};
use crate::spec::IdMapping;

/// Maps of users and groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// Users.
    pub uids: Vec<IdMapping>,
    /// Groups.
    pub gids: Vec<IdMapping>,
}

impl IdMaps {
    /// A user namespace with these maps, which nobody is in.
    ///
    /// # Errors
    /// It cannot be made, or a map is not acceptable to the kernel.
    pub(crate) fn hold(&self) -> Result<OwnedFd, Error> {
        let doing = "making a user namespace for idmapped mounts";
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|errno| Error::system(doing, errno))?;
        const WAIT: &[Op<'static>] =
            &[Op::Process(ProcessOp::DieWithParent { enabled: true }), Op::Talk(TalkOp::Await)];
        const { assert!(Slot::SUPERVISOR.0 == 1) };
        let table = &mut [-1, theirs.as_raw_fd()];
        let flags = u64::from(namespace::USER);
        let process = clone_child(flags, None, WAIT, table, ours.as_fd())
            .map_err(|error| Error::system(doing, error))?;
        drop(theirs);
        let held = write_id_maps(process.pid, self, None).and_then(|()| {
            let file = fs::File::open(format!("/proc/{}/ns/user", process.pid));
            file.map_err(|error| Error::system(doing, error))
        });
        let _ = pidfd_send_signal(&process.pidfd, Signal::KILL);
        let _ = reap(&process.pidfd, Deadline::after(AFTER_KILL));
        held.map(OwnedFd::from)
    }
}

/// Writes the id maps of the user namespace that process `pid` has just been made with.
///
/// # Errors
/// What the kernel, newuidmap or newgidmap says; these are killed when `stop` can be read.
pub fn write_id_maps(pid: i32, maps: &IdMaps, stop: Option<BorrowedFd<'_>>) -> Result<(), Error> {
    if Caller::get().is_root() {
        write_map(pid, "uid_map", &maps.uids)?;
        return write_map(pid, "gid_map", &maps.gids);
    }
    match maps.uids.as_slice() {
        [only] if only.count == 1 && only.outside == geteuid().as_raw() => {
            write_map(pid, "uid_map", &maps.uids)?;
        }
        _ => NEWUIDMAP.run(pid, &maps.uids, stop)?,
    }
    match maps.gids.as_slice() {
        [only] if only.count == 1 && only.outside == getegid().as_raw() => {
            write_file(pid, "setgroups", "deny")?;
            write_map(pid, "gid_map", &maps.gids)
        }
        _ => NEWGIDMAP.run(pid, &maps.gids, stop),
    }
}

fn write_map(pid: i32, file: &str, map: &[IdMapping]) -> Result<(), Error> {
    let mut text = String::new();
    for IdMapping { inside, outside, count } in map {
        let _ = writeln!(text, "{inside} {outside} {count}");
    }
    write_file(pid, file, &text)
}

fn write_file(pid: i32, file: &str, text: &str) -> Result<(), Error> {
    let path = format!("/proc/{pid}/{file}");
    fs::write(&path, text).map_err(|error| {
        Error::system(format!("writing {:?} to {path}", text.trim_end()), error).with_hint(
            "linux.uidMappings and linux.gidMappings may name only ids that brig itself has",
        )
    })
}

/// newuidmap(1) or newgidmap(1), what it maps, and where it looks up whether it may.
struct NewIdMap {
    program: &'static str,
    field: &'static str,
    file: &'static str,
}

const NEWUIDMAP: NewIdMap =
    NewIdMap { program: "newuidmap", field: "linux.uidMappings", file: "/etc/subuid" };
const NEWGIDMAP: NewIdMap =
    NewIdMap { program: "newgidmap", field: "linux.gidMappings", file: "/etc/subgid" };

impl NewIdMap {
    /// Ranges of ids may come from a directory service, which may be slow.
    const LIMIT: Duration = Duration::from_secs(60);

    fn run(&self, pid: i32, map: &[IdMapping], stop: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        let Self { program, field, file } = self;
        let mut command = Command::new(program);
        command.arg(pid.to_string());
        for IdMapping { inside, outside, count } in map {
            command.args([inside, outside, count].map(u32::to_string));
        }
        let outcome =
            program::run(&mut command, program, b"", Gains::AsItsFileSays, Some(Self::LIMIT), stop)
                .map_err(|error| {
                    error.with_hint("install the package uidmap, or map a single id")
                })?;
        match outcome.failure() {
            None => Ok(()),
            Some(how) => Err(outcome
                .error(format!("{field}: {program} {how}"))
                .with_hint(format!("give the user the range in {file}"))),
        }
    }
}
