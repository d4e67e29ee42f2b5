//! Runs a container whose system calls are reported to a watcher, which answers each.
//!
//! Promises: the watcher sees every call that the filter reports, of all threads and processes of
//! the container, from the moment at which the filter is loaded until the last of them has ended;
//! when it fails, the calls that it does not answer fail with ENOSYS, and nobody waits for ever.
//! No boundary: a call that goes on does so with what is in memory *then* (seccomp_unotify(2)), so
//! a watched container is confined by everything but its filter. Reference: seccomp_unotify(2).

use std::os::fd::OwnedFd;
use std::thread::{Builder, JoinHandle, sleep};
use std::time::Duration;

use brig::configuration::Seccomp;
use brig::deadline::{AFTER_KILL, Deadline};
use brig::spec::ContainerId;
use brig::supervise::{Blueprint, Error, Node, Options};
use brig_seccomp::Arch;
use brig_seccomp::interpret::SeccompData;
use brig_seccomp::record::Answer;
use brig_sys::notify::{Listener, Reply, knows_filter_flags};
use brig_sys::socket::recv_fd;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::foreground::{Signals, Stop, Wanted, in_foreground, remove_after};

/// Who answers the calls that a filter reports.
pub(super) trait Watcher: Send + 'static {
    /// What becomes of a call.
    fn answer(&mut self, call: &SeccompData) -> Answer;
}

/// How a watched run ended.
#[derive(Debug)]
pub(super) struct Watched<W> {
    /// The program's exit code.
    pub(super) code: u8,
    /// Whether brig was asked to stop, and passed that on.
    pub(super) stopped: bool,
    /// The watcher, with what it knows now.
    pub(super) watcher: W,
}

/// Runs a container under `filter` in place of the one that it asks for, and removes it.
///
/// # Errors
/// As `run`; or the calls could not be answered.
pub(super) fn watch<W: Watcher>(
    node: &Node,
    id: &ContainerId,
    mut blueprint: Blueprint,
    options: &Options,
    filter: LinuxSeccomp,
    watcher: W,
) -> Result<Watched<W>, Error> {
    let program = brig_seccomp::compile(&undisturbed(filter), Arch::native())
        .map_err(|error| Error::because("compiling the recording filter", error))?;
    blueprint.config.seccomp = Seccomp::Program(program);
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|errno| Error::system("making a socket for the listener", errno))?;
    blueprint.watcher = Some(theirs);
    let (mut container, mut thread) = (None, None);
    let wanted = Wanted::first(&blueprint.config, None);
    let signals = Signals::block()?;
    let ended = in_foreground(Some(&signals), wanted, Stop::KillAtSecond, |io, wait| {
        // Only now: signals are blocked, and a new thread inherits that.
        thread = Some(spawn(ours, watcher)?);
        let (new, process) = node.run(id, blueprint, options, io, wait)?;
        container = Some(new);
        Ok(process)
    });
    // Kills what is left of the container's processes, so that the listener comes to its end.
    let ended = remove_after(ended, container, Some(&signals));
    let answered = thread.map(|thread| join(thread, Deadline::after(AFTER_KILL)));
    let ended = ended?;
    let watcher = answered.unwrap_or_else(|| Err(never_began()))?;
    Ok(Watched { code: ended.code, stopped: ended.stopped, watcher })
}

/// With the flag that keeps signals from interrupting a call once it was reported: otherwise
/// calls that cannot fail with EINTR in real life would. Linux 5.19.
fn undisturbed(mut filter: LinuxSeccomp) -> LinuxSeccomp {
    /// `SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`.
    const FLAGS: u64 = 1 << 3 | 1 << 5;
    let known = knows_filter_flags(FLAGS);
    let flag = LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv;
    filter.set_flags(known.then(|| vec![flag]));
    filter
}

fn never_began() -> Error {
    Error::plain("the container's process handed over no listener for its system calls")
        .with_hint("this kernel may lack user notification (Linux 5.5)")
}

/// Nothing tells a deadline of a thread's end.
const REST: Duration = Duration::from_millis(1);

type Thread<W> = JoinHandle<Result<W, Error>>;

fn spawn<W: Watcher>(socket: OwnedFd, mut watcher: W) -> Result<Thread<W>, Error> {
    let run = move || {
        let listener = receive(&socket)?;
        drop(socket);
        answer_all(&listener, &mut watcher)?;
        Ok(watcher)
    };
    let spawned = Builder::new().name("watcher".to_owned()).spawn(run);
    spawned.map_err(|error| Error::system("starting the thread that answers system calls", error))
}

/// Where a process of the container does not end, neither does the thread: there is always somebody to answer.
fn join<W>(thread: Thread<W>, deadline: Deadline) -> Result<W, Error> {
    while !thread.is_finished() {
        if deadline.is_over() {
            return Err(Error::plain("a process of the container can still make system calls")
                .with_hint("it is killed and does not end: it is traced, or waits in the kernel"));
        }
        sleep(REST);
    }
    thread.join().unwrap_or_else(|_| Err(Error::plain("the thread that answers calls broke off")))
}

/// The listener, which comes with the container's state, in which there is nothing new.
fn receive(socket: &OwnedFd) -> Result<Listener, Error> {
    let doing = "receiving the listener for the container's system calls";
    let mut state = [0; 4096];
    let fd = recv_fd(socket, &mut state).map_err(|error| Error::system(doing, error))?;
    let fd = fd.ok_or_else(never_began)?;
    Listener::new(fd).map_err(|error| {
        Error::system(doing, error).with_hint("brig does not know this kernel's notifications")
    })
}

/// Answers calls until nobody is left who could make one.
fn answer_all(listener: &Listener, watcher: &mut impl Watcher) -> Result<(), Error> {
    let failed = |error| Error::system("answering the container's system calls", error);
    // It is as right without, only slower.
    listener.wake_synchronously();
    loop {
        let mut set = [PollFd::new(listener, PollFlags::IN)];
        match poll(&mut set, None) {
            Err(Errno::INTR) => continue,
            answer => answer.map_err(|errno| failed(errno.into()))?,
        };
        if !set[0].revents().contains(PollFlags::IN) {
            // POLLHUP: the last process under the filter has ended.
            return Ok(());
        }
        let Some(call) = listener.receive().map_err(failed)? else { continue };
        let data = SeccompData {
            nr: call.number.cast_unsigned(),
            arch: call.arch,
            instruction_pointer: call.instruction_pointer,
            args: call.args,
        };
        let reply = match watcher.answer(&data) {
            Answer::Continue => Reply::Continue,
            Answer::Fail(errno) => Reply::Fail(errno),
        };
        // A thread that is gone needs no answer.
        listener.reply(call.id, reply).map_err(failed)?;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_thread_is_waited_for_and_not_for_ever() {
        let short = Builder::new().spawn(|| Ok(7)).expect("the kernel gives a thread");
        assert_eq!(join(short, Deadline::NEVER).expect("it ends"), 7);
        let (end, ends) = channel::<()>();
        let endless = Builder::new().spawn(move || Ok(ends.recv().is_ok()));
        let endless = endless.expect("the kernel gives a thread");
        join(endless, Deadline::after(Duration::ZERO)).expect_err("it does not end");
        drop(end);
    }
}
