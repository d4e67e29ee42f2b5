//! Starting the child, and what it comes to until it is ready or has become the program: a sequence of milestones, which
//! whoever makes or enters a container serves in a loop.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use brig_child::{Report, ReportKind};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::sys::wait::WaitStatus;
use rustix::event::{PollFd, PollFlags, poll};

use super::end::{kill_all, reap};
use super::executed::has_executed;
use super::process::with_what_is_left;
use super::report::{
    CGROUP_OF_A_USER, EXECUTING, HOOK, describe, hook_is_late, not_executed, untold,
};
use super::told::Told;
use super::{Error, Inputs, LaunchedProcess};
use crate::deadline::{AFTER_KILL, Deadline};
use crate::failure::Kind;
use crate::plan::{Plan, Start};

/// What a launch has come to. The child goes on when the next one is asked for, not before.
#[derive(Debug)]
pub enum Milestone<'l> {
    /// The container's process is there: it can be recorded.
    Born {
        /// Its pid in brig's namespace.
        pid: i32,
        /// A descriptor of it.
        pidfd: BorrowedFd<'l>,
    },
    /// It waits for id maps, a systemd scope, a resctrl group, network devices.
    Setup {
        /// Its pid.
        pid: i32,
    },
    /// It waits for the state, and for the hooks of the runtime namespace.
    Hooks {
        /// Its pid.
        pid: i32,
    },
    /// It waits at the gate, or is the program: the last milestone.
    Ready(LaunchedProcess),
}

/// How brig waits while the child is set up: it may have to copy what the program writes to a terminal already, and
/// to hear that it is asked to stop.
pub trait Wait {
    /// Waits until one of the two can be read, and says which: neither where `until` has passed, or something else has
    /// been done meanwhile.
    ///
    /// # Errors
    /// An error ends the launch, and the child.
    fn wait(&mut self, fds: [BorrowedFd<'_>; 2], until: Deadline) -> Result<[bool; 2], Error>;

    /// Can be read when brig is asked to stop, where that is heard: programs that brig runs meanwhile are ended then.
    fn stop(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A child that is set up: gives out its milestones one by one. Dropped before the last, it ends what there is.
#[derive(Debug)]
pub struct Launch<'p> {
    plan: &'p Plan<'p>,
    start: Start,
    socket: OwnedFd,
    /// What is due before the next report is waited for.
    due: Due,
    /// The program has been told of, and runs when the socket ends.
    ready: bool,
    /// The process that was cloned: the container's, or the intermediate.
    first: Option<LaunchedProcess>,
    /// The container's process, where an intermediate made it.
    second: Option<LaunchedProcess>,
}

#[derive(Debug)]
enum Due {
    /// To tell of the first process.
    Birth,
    /// To answer the child.
    Answer,
    Nothing,
}

impl<'p> Launch<'p> {
    /// Starts the child of `plan`.
    ///
    /// # Errors
    /// A descriptor of the plan cannot be had, or clone3(2) fails; then no process is left.
    pub fn begin(plan: &'p Plan<'p>, inputs: Inputs, start: Start) -> Result<Self, Error> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|errno| Error::system("making a socket pair", errno))?;
        let (mut table, opened) = inputs.table(plan, theirs.as_raw_fd())?;
        let into = inputs.cgroup_directory.as_ref().filter(|_| plan.clone_into_cgroup);
        let into = into.map(AsFd::as_fd);
        let process = brig_sys::launch::clone_child(
            plan.clone_flags,
            into,
            plan.ops,
            &mut table,
            ours.as_fd(),
        )
        .map_err(clone_failed)?;
        drop((theirs, opened, inputs));
        let due = if plan.intermediate { Due::Nothing } else { Due::Birth };
        let first = Some(LaunchedProcess::new(process.pid, process.pidfd));
        let second = None;
        Ok(Self { plan, start, socket: ours, due, ready: false, first, second })
    }

    /// The next milestone: first lets the child go on, where it waits for an answer to the last one.
    ///
    /// # Errors
    /// The first failure, the child's or that of `wait`.
    pub fn next(&mut self, wait: &mut dyn Wait) -> Result<Milestone<'_>, Error> {
        match std::mem::replace(&mut self.due, Due::Nothing) {
            Due::Birth => return self.born(),
            Due::Answer => self.go_on()?,
            Due::Nothing => {}
        }
        loop {
            let Some(told) = self.report(wait)? else {
                return if self.ready { self.executed() } else { Err(self.died()) };
            };
            self.due = Due::Answer;
            let pid = self.process().map_or(0, LaunchedProcess::pid);
            match told.report.kind {
                kind if kind == ReportKind::Cloned as u32 => {
                    self.second = Some(LaunchedProcess::adopt(told.report.value)?);
                    return self.born();
                }
                kind if kind == ReportKind::WantsSetup as u32 => {
                    return Ok(Milestone::Setup { pid });
                }
                kind if kind == ReportKind::WantsHooks as u32 => {
                    return Ok(Milestone::Hooks { pid });
                }
                kind if kind == ReportKind::Ready as u32 => {
                    self.due = Due::Nothing;
                    self.ready = true;
                    if self.start == Start::AtGate {
                        return self.over();
                    }
                }
                _ => return Err(Error::of_child(&told, self.plan)),
            }
        }
    }

    /// Ends what there is; the same error, which tells of a process that does not end in time.
    #[must_use]
    pub fn abort(mut self, error: Error) -> Error {
        with_what_is_left(error, &self.end())
    }

    /// The container's process, as far as it is known.
    fn process(&self) -> Option<&LaunchedProcess> {
        self.second.as_ref().or(self.first.as_ref())
    }

    fn born(&self) -> Result<Milestone<'_>, Error> {
        let process = self.process().ok_or_else(is_over)?;
        Ok(Milestone::Born { pid: process.pid(), pidfd: process.as_fd() })
    }

    /// The socket has ended after the last report: the process is its program, or could not tell that it is not.
    fn executed(&mut self) -> Result<Milestone<'_>, Error> {
        let pid = self.process().map_or(0, LaunchedProcess::pid);
        // Who has executed its program may be gone, with all that is known of it.
        if self.plan.mute && !has_executed(pid).unwrap_or(true) {
            let last = self.plan.ops.last().map(|op| describe(op, self.plan));
            return Err(untold(last.as_slice()));
        }
        self.over()
    }

    /// Gives the container's process out of hand.
    fn over(&mut self) -> Result<Milestone<'_>, Error> {
        let process = self.second.take().or_else(|| self.first.take()).ok_or_else(is_over)?;
        Ok(Milestone::Ready(process))
    }

    /// The next report; `None` where no more can come.
    ///
    /// An intermediate that is killed after it has made the container's process and before it has told so
    /// leaves one that waits and keeps the socket open: the intermediate's end is an end, too.
    fn report(&self, wait: &mut dyn Wait) -> Result<Option<Told>, Error> {
        let intermediate = self.first.as_ref().filter(|_| self.plan.intermediate);
        let other = match (intermediate, &self.second) {
            (Some(intermediate), None) => intermediate.as_fd(),
            _ => self.socket.as_fd(),
        };
        loop {
            match wait.wait([self.socket.as_fd(), other], Deadline::NEVER)? {
                [true, _] => return read_report(&self.socket),
                [false, true] => return receive(&self.socket, MsgFlags::MSG_DONTWAIT),
                [false, false] => {}
            }
        }
    }

    fn go_on(&self) -> Result<(), Error> {
        match send(self.socket.as_raw_fd(), b"g", MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(self.died()),
            Err(errno) => Err(Error::system("answering the container's process", errno)),
        }
    }

    fn died(&self) -> Error {
        let deadline = Deadline::after(AFTER_KILL);
        let pid = self.process().map_or(0, LaunchedProcess::pid);
        let end = self.process().and_then(|process| reap(process, deadline).ok().flatten());
        let how = match end {
            Some(WaitStatus::Signaled(_, Signal::SIGKILL, _)) => {
                let what =
                    format!("the container's process {pid} was killed by SIGKILL during setup");
                return Error::plain(what)
                    .with_hint("the memory limit may be too low for the setup; see `dmesg`");
            }
            Some(WaitStatus::Signaled(_, signal, _)) => format!("was killed by {signal}"),
            Some(WaitStatus::Exited(_, code)) => format!("exited with code {code}"),
            _ => "exited, status unknown,".to_owned(),
        };
        Error::plain(format!("the container's process {pid} {how} during setup"))
    }

    /// Kills the processes that are still here; the pids of those that have not ended in time.
    fn end(&mut self) -> Vec<i32> {
        let left: Vec<_> = [self.first.take(), self.second.take()].into_iter().flatten().collect();
        kill_all(&left)
    }
}

impl Drop for Launch<'_> {
    /// After the last event only an intermediate is left. It has nothing to do but to end, which who sees it
    /// from inside may keep it from.
    fn drop(&mut self) {
        self.end();
    }
}

fn is_over() -> Error {
    Error::plain("internal error: launch polled after its last milestone")
}

fn clone_failed(error: std::io::Error) -> Error {
    let hint = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "an ordinary user needs a user namespace: see linux.namespaces and linux.uidMappings"
        }
        Some(libc::EACCES) => CGROUP_OF_A_USER,
        Some(libc::ENOSPC) => "too many namespaces: see /proc/sys/user/max_*_namespaces",
        Some(libc::EINVAL) => "this kernel lacks one of the namespaces in linux.namespaces",
        _ => "see clone3(2)",
    };
    Error::system("clone3", error).with_hint(hint)
}

impl Wait for Deadline {
    fn wait(&mut self, fds: [BorrowedFd<'_>; 2], until: Deadline) -> Result<[bool; 2], Error> {
        let mut set = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match poll(&mut set, self.or_before(until).left().as_ref()) {
            Ok(0) if self.is_over() => {
                Err(Error::plain("the setup of the container's process timed out")
                    .of_kind(Kind::TimedOut)
                    .with_hint(
                        "a hook, or a file system that it mounts or opens, exceeded the time limit",
                    ))
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {
                Ok(set.map(|entry| !entry.revents().is_empty()))
            }
            Err(errno) => Err(Error::system(READING, errno)),
        }
    }
}

const READING: &str = "reading from the container's process";

/// The next report on a socket; `None` at its end.
///
/// # Errors
/// What recv(2) says, or that there was something else than a report.
pub fn read_report(socket: &impl AsRawFd) -> Result<Option<Told>, Error> {
    receive(socket, MsgFlags::empty())
}

/// As `read_report`; with `MSG_DONTWAIT` nothing to read counts as the end.
fn receive(socket: &impl AsRawFd, flags: MsgFlags) -> Result<Option<Told>, Error> {
    let mut bytes = [0; Report::SIZE + Report::SAID_MAX];
    loop {
        return match recv(socket.as_raw_fd(), &mut bytes, flags | MsgFlags::MSG_WAITALL) {
            // A reset is told once, before what was sent ahead of it: the other side closed with something
            // of ours unread (unix(7)).
            Err(Errno::EINTR | Errno::ECONNRESET) => continue,
            Ok(0) | Err(Errno::EAGAIN) => Ok(None),
            Ok(length) => match Told::of(&bytes[..length]) {
                Some(told) => Ok(Some(told)),
                None => Err(Error::plain(
                    "internal error: malformed report from the container's process",
                )),
            },
            Err(errno) => Err(Error::system(READING, errno)),
        };
    }
}

/// Whether a hook has failed, by the words for its operation past the gate.
#[must_use]
pub fn is_of_hook(told: &Told, after_gate: usize, words: &[String]) -> bool {
    let index = (told.report.op as usize).checked_sub(after_gate);
    index.and_then(|index| words.get(index)).is_some_and(|what| what.starts_with(HOOK))
}

/// Words for each operation past the gate, for those who open it later and have no plan.
#[must_use]
pub fn describe_failure(told: &Told, after_gate: usize, words: &[String]) -> Error {
    let report = &told.report;
    let index = (report.op as usize).checked_sub(after_gate);
    let Some(what) = index.and_then(|index| words.get(index)).map(String::as_str) else {
        let source = std::io::Error::from_raw_os_error(report.value);
        return Error::system("waiting at the start gate", source);
    };
    if report.value == libc::ETIME {
        return hook_is_late(told, what, None);
    }
    if report.value == libc::ECHILD {
        return Error::plain(
            told.with_said(format!("{what} failed with status {}", report.detail)),
        );
    }
    if what.starts_with(EXECUTING) {
        return not_executed(what, report.value);
    }
    Error::system(what, std::io::Error::from_raw_os_error(report.value))
}
