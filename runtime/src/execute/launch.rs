//! Starting the child and answering it until it is ready, or has become the program.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use brig_child::{Report, ReportKind};
use brig_sys::launch::Process;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::sys::wait::WaitStatus;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use super::end::reap;
use super::report::{CGROUP_OF_A_USER, EXECUTING, hook_is_late, not_executed};
use super::{Error, Inputs};
use crate::deadline::{AFTER_KILL, Deadline};
use crate::plan::{Plan, Start};

/// What the child waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Id maps, a systemd scope, network devices.
    Setup,
    /// The state, and the hooks of the runtime namespace.
    Hooks,
}

/// The container's process.
#[derive(Debug)]
pub struct Launched {
    /// Its pid in brig's namespace.
    pub pid: i32,
    /// A descriptor of it.
    pub pidfd: OwnedFd,
}

/// How brig waits while the child is set up: it may have to copy what the child's hooks write to a terminal, and
/// to hear that it is asked to stop.
pub trait Wait {
    /// Waits until one of the two can be read, and says which.
    ///
    /// # Errors
    /// An error ends the launch, and the child.
    fn wait(&mut self, fds: [BorrowedFd<'_>; 2]) -> Result<[bool; 2], Error>;
}

/// Is told of the container's process: its pid, and a descriptor.
type Born<'b> = dyn FnMut(i32, BorrowedFd<'_>) -> Result<(), Error> + 'b;

/// Starts the child of `plan` and serves it until it waits at the gate, or is the program.
///
/// `serve` does what the child asks for; it gets the pid of the container's process. `born` is
/// called as soon as that process is known. Without `wait` brig does nothing else meanwhile.
///
/// # Errors
/// The first failure; then no process is left.
pub fn launch(
    plan: &Plan<'_>,
    inputs: Inputs,
    start: Start,
    serve: &mut dyn FnMut(Wants, i32) -> Result<(), Error>,
    born: &mut Born<'_>,
    wait: Option<&mut dyn Wait>,
) -> Result<Launched, Error> {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|errno| Error::system("making a socket pair", errno))?;
    let (mut table, opened) = inputs.table(plan, theirs.as_raw_fd())?;
    let into = inputs.cgroup_directory.as_ref().filter(|_| plan.clone_into_cgroup);
    let into = into.map(AsFd::as_fd);
    let process =
        brig_sys::launch::launch(plan.clone_flags, into, plan.ops, &mut table, ours.as_fd())
            .map_err(clone_failed)?;
    drop((theirs, opened, inputs));
    let mut conversation = Conversation { plan, socket: ours, first: process, second: None, wait };
    let ended = conversation.serve(start, serve, born);
    match ended {
        Ok(()) => conversation.finish(),
        Err(error) => Err(conversation.abort(error)),
    }
}

fn clone_failed(error: std::io::Error) -> Error {
    let hint = match error.raw_os_error() {
        Some(libc::EPERM) => "brig needs root, or a user namespace (spec --rootless)",
        Some(libc::EACCES) => CGROUP_OF_A_USER,
        Some(libc::ENOSPC) => "too many namespaces: see /proc/sys/user/max_*_namespaces",
        Some(libc::EINVAL) => "this kernel lacks one of the namespaces in linux.namespaces",
        _ => "see clone3(2)",
    };
    Error::system("clone3", error).with_hint(hint)
}

struct Conversation<'p, 'w> {
    plan: &'p Plan<'p>,
    socket: OwnedFd,
    /// The process that was cloned: the container's, or the intermediate.
    first: Process,
    /// The container's process, where an intermediate made it.
    second: Option<Process>,
    wait: Option<&'w mut dyn Wait>,
}

impl Conversation<'_, '_> {
    /// The container's process, as far as it is known.
    fn process(&self) -> &Process {
        self.second.as_ref().unwrap_or(&self.first)
    }

    fn pid(&self) -> i32 {
        self.process().pid
    }

    fn tell(&self, born: &mut Born<'_>) -> Result<(), Error> {
        let process = self.process();
        born(process.pid, process.pidfd.as_fd())
    }

    fn serve(
        &mut self,
        start: Start,
        serve: &mut dyn FnMut(Wants, i32) -> Result<(), Error>,
        born: &mut Born<'_>,
    ) -> Result<(), Error> {
        if !self.plan.intermediate {
            self.tell(born)?;
        }
        let mut ready = false;
        loop {
            let Some(report) = self.next()? else {
                return if ready { Ok(()) } else { Err(self.died()) };
            };
            match report.kind {
                kind if kind == ReportKind::Cloned as u32 => {
                    self.adopt(report.value)?;
                    self.tell(born)?;
                    self.go_on()?;
                }
                kind if kind == ReportKind::WantsSetup as u32 => {
                    serve(Wants::Setup, self.pid())?;
                    self.go_on()?;
                }
                kind if kind == ReportKind::WantsHooks as u32 => {
                    serve(Wants::Hooks, self.pid())?;
                    self.go_on()?;
                }
                kind if kind == ReportKind::Ready as u32 => {
                    ready = true;
                    if start == Start::AtGate {
                        return Ok(());
                    }
                }
                _ => return Err(Error::of_child(&report, self.plan)),
            }
        }
    }

    /// The next record; `None` where no more can come.
    ///
    /// An intermediate that is killed after it has made the container's process and before it has told so
    /// leaves one that waits and keeps the socket open: the intermediate's end is an end, too.
    fn next(&mut self) -> Result<Option<Report>, Error> {
        let alone = !self.plan.intermediate || self.second.is_some();
        let other = if alone { self.socket.as_fd() } else { self.first.pidfd.as_fd() };
        let fds = [self.socket.as_fd(), other];
        loop {
            match self.wait.as_mut().map_or_else(|| wait_for(fds), |wait| wait.wait(fds))? {
                [true, _] => return read_report(&self.socket),
                [false, true] => return receive(&self.socket, MsgFlags::MSG_DONTWAIT),
                [false, false] => {}
            }
        }
    }

    /// The intermediate has made the container's process, which is brig's child: nobody else can
    /// reap it, so its pid is its own.
    fn adopt(&mut self, pid: i32) -> Result<(), Error> {
        let doing = "opening the container's process";
        let known = Pid::from_raw(pid).ok_or_else(|| Error::plain(doing))?;
        let pidfd =
            pidfd_open(known, PidfdFlags::empty()).map_err(|errno| Error::system(doing, errno))?;
        self.second = Some(Process { pid, pidfd });
        Ok(())
    }

    fn go_on(&self) -> Result<(), Error> {
        match send(self.socket.as_raw_fd(), b"g", MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(self.died()),
            Err(errno) => Err(Error::system("answering the container's process", errno)),
        }
    }

    fn died(&self) -> Error {
        let how = match reap(&self.process().pidfd, Deadline::after(AFTER_KILL)) {
            Ok(Some(WaitStatus::Signaled(_, Signal::SIGKILL, _))) => {
                return Error::plain("the container's process was killed while it was set up")
                    .with_hint("its memory limit may be too low for its own set-up; see `dmesg`");
            }
            Ok(Some(WaitStatus::Signaled(_, signal, _))) => format!("was killed by {signal}"),
            Ok(Some(WaitStatus::Exited(_, code))) => format!("ended with code {code}"),
            _ => "ended".to_owned(),
        };
        Error::plain(format!("the container's process {how} while it was set up"))
            .with_hint(EARLY_FILTER)
    }

    fn finish(self) -> Result<Launched, Error> {
        let Some(Process { pid, pidfd }) = self.second else {
            return Ok(Launched { pid: self.first.pid, pidfd: self.first.pidfd });
        };
        // It has nothing left to do but to end, which who sees it from inside may keep it from.
        let _ = pidfd_send_signal(&self.first.pidfd, rustix::process::Signal::KILL);
        let _ = reap(&self.first.pidfd, Deadline::after(AFTER_KILL));
        Ok(Launched { pid, pidfd })
    }

    /// Ends what there is; the same error, which tells of a process that does not end in time.
    fn abort(self, error: Error) -> Error {
        let mut left = Vec::new();
        let processes = || [Some(&self.first), self.second.as_ref()].into_iter().flatten();
        for process in processes() {
            let _ = pidfd_send_signal(&process.pidfd, rustix::process::Signal::KILL);
        }
        let deadline = Deadline::after(AFTER_KILL);
        for process in processes() {
            // An error: its end has been heard already.
            if matches!(reap(&process.pidfd, deadline), Ok(None)) {
                left.push(process.pid.to_string());
            }
        }
        if left.is_empty() {
            return error;
        }
        let left = left.join(", ");
        error.with_hint(format!(
            "process {left} is killed and has not ended yet: it is frozen (`brig resume`), traced, or waits in \
             the kernel"
        ))
    }
}

const EARLY_FILTER: &str =
    "a seccomp profile without noNewPrivileges also confines the set-up itself";

fn wait_for(fds: [BorrowedFd<'_>; 2]) -> Result<[bool; 2], Error> {
    let mut set = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    rustix::io::retry_on_intr(|| poll(&mut set, None))
        .map_err(|errno| Error::system(READING, errno))?;
    Ok(set.map(|entry| !entry.revents().is_empty()))
}

const READING: &str = "reading from the container's process";

/// The next record on a socket; `None` at its end.
///
/// # Errors
/// What recv(2) says, or that there was something else than a record.
pub fn read_report(socket: &impl AsRawFd) -> Result<Option<Report>, Error> {
    receive(socket, MsgFlags::empty())
}

/// As `read_report`; with `MSG_DONTWAIT` nothing to read counts as the end.
fn receive(socket: &impl AsRawFd, flags: MsgFlags) -> Result<Option<Report>, Error> {
    let mut bytes = [0; Report::SIZE];
    loop {
        return match recv(socket.as_raw_fd(), &mut bytes, flags | MsgFlags::MSG_WAITALL) {
            // A reset is told once, before what was sent ahead of it: the other side closed with something
            // of ours unread (unix(7)).
            Err(Errno::EINTR | Errno::ECONNRESET) => continue,
            Ok(0) | Err(Errno::EAGAIN) => Ok(None),
            Ok(length) => match Report::from_bytes(&bytes[..length]) {
                Some(report) => Ok(Some(report)),
                None => Err(Error::plain("the container's process sent a broken record")),
            },
            Err(errno) => Err(Error::system(READING, errno)),
        };
    }
}

/// Words for each operation past the gate, for those who open it later and have no plan.
#[must_use]
pub fn describe_failure(report: &Report, after_gate: usize, words: &[String]) -> Error {
    let index = (report.op as usize).checked_sub(after_gate);
    let Some(what) = index.and_then(|index| words.get(index)).map(String::as_str) else {
        let source = std::io::Error::from_raw_os_error(report.value);
        return Error::system("waiting at the start gate", source).with_hint(EARLY_FILTER);
    };
    if report.value == libc::ETIME {
        return hook_is_late(report, what);
    }
    if report.value == libc::ECHILD {
        return Error::plain(format!("{what} failed with status {}", report.detail));
    }
    if what.starts_with(EXECUTING) {
        return not_executed(what, report.value);
    }
    Error::system(what, std::io::Error::from_raw_os_error(report.value))
}
