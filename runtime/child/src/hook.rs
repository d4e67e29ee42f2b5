//! Hooks that run in the container's namespaces: createContainer and startContainer.
//!
//! runtime-spec config.md, POSIX-platform hooks: the state on standard input, failure if the exit
//! code is not 0 or the time is up. What it writes is the program's standard output and error to nobody but the error
//! of its failure. A hook without a timeout is waited for until it ends; one that has ended, or
//! is killed, at most ten seconds.

use crate::interpret::Child;
use crate::op::Hook;
use crate::said::Said;
use crate::syscall::{self, Answer, Limit, failed_call};

/// How long the end of a hook that was killed is waited for: as long as brig waits for that of its own children.
const PATIENCE_MS: i64 = 10_000;
/// Nothing tells when a tracer has seen a hook's end.
const REST_MS: i64 = 20;
/// How often is read, at least a byte, what an ended hook has left in its pipe.
const PIPE_HOLDS_READS: u32 = 4096;

impl<'a> Child<'a, '_> {
    /// Runs the hook to its end. A hook that fails is a failure with `detail` as its wait status:
    /// the exit code, or 256 + the signal. `ETIME` of execve: its time was up, and it is dead; of waitid: it is
    /// killed and has not ended.
    pub(crate) fn run_hook(&mut self, hook: &Hook<'a>) -> Answer<()> {
        let stdin = self.fd(hook.stdin)?;
        let [theirs, says] = syscall::pipe()?;
        let mut pidfd = -1i32;
        let args = syscall::CloneArgs {
            flags: libc::CLONE_PIDFD as u64,
            pidfd: core::ptr::from_mut(&mut pidfd) as u64,
            exit_signal: libc::SIGCHLD as u64,
            ..Default::default()
        };
        if syscall::clone3_fork(&args)? == 0 {
            become_hook(hook, stdin, says);
        }
        // The kernel wrote it before clone3 returned.
        let pidfd = core::hint::black_box(pidfd);
        syscall::close(says)?;
        self.said = Said::NOTHING;
        let in_time = hear(pidfd, theirs, hook.timeout_ms, &mut self.said)?;
        syscall::close(theirs)?;
        if !in_time {
            syscall::pidfd_send_signal(pidfd, libc::SIGKILL, 0, 0)?;
            end_of(pidfd)?;
            return Err(failed_call(libc::SYS_execve, libc::ETIME));
        }
        let (code, status) = end_of(pidfd)?;
        syscall::close(pidfd)?;
        match (code, status) {
            (libc::CLD_EXITED, 0) => Ok(()),
            (libc::CLD_EXITED, status) => Err(hook_failed(status)),
            (_, signal) => Err(hook_failed(256 + signal)),
        }
    }
}

fn become_hook(hook: &Hook<'_>, stdin: i32, says: i32) -> ! {
    let prepared = syscall::reset_signals()
        .and_then(|()| reopen(stdin))
        .and_then(|fd| syscall::dup3(fd, 0, 0))
        .and_then(|_| syscall::dup3(says, 1, 0))
        .and_then(|_| syscall::dup3(says, 2, 0))
        .and_then(|_| syscall::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC))
        .and_then(|_| {
            let mut filters = hook.filters.iter();
            filters
                .try_for_each(|&(filter, flags)| syscall::seccomp_filter(filter, flags).map(drop))
        });
    if prepared.is_ok() {
        let _ = syscall::execve(hook.path, hook.argv.as_ptr().cast(), hook.envp.as_ptr().cast());
    }
    // As a shell says that a program cannot be executed.
    syscall::exit(127)
}

/// Reads what the hook says until it has ended; false when its time is up. What it has left running may say more for ever,
/// and has nobody to say it to: of that only what a pipe holds is read.
fn hear(pidfd: i32, theirs: i32, timeout_ms: i64, said: &mut Said) -> Answer<bool> {
    let mut limit = Limit::of(timeout_ms);
    let mut theirs = theirs;
    let mut rest = PIPE_HOLDS_READS;
    loop {
        let [ended, says] = syscall::poll_two([pidfd, theirs], &mut limit)?;
        if says && !said.read(theirs)? {
            theirs = -1;
        }
        if ended {
            rest -= 1;
            if !says || rest == 0 {
                return Ok(true);
            }
        } else if limit.is_over() {
            return Ok(false);
        }
    }
}

/// How a hook has ended. On cgroup v1 a frozen one dies when it is thawed, and the end of one that is traced is
/// told to the tracer first (ptrace(2)): neither keeps this process for ever.
fn end_of(pidfd: i32) -> Answer<(i32, i32)> {
    for _ in 0..PATIENCE_MS / REST_MS {
        if let Some(how) = syscall::ended(pidfd)? {
            return Ok(how);
        }
        syscall::poll_readable(-1, REST_MS)?;
    }
    Err(failed_call(libc::SYS_waitid, libc::ETIME))
}

fn hook_failed(detail: i32) -> syscall::FailedCall {
    failed_call(libc::SYS_execve, libc::ECHILD).at(detail as usize)
}

/// Every hook reads the state from its start, whoever read it before.
fn reopen(stdin: i32) -> Answer<i32> {
    syscall::rewind(stdin)?;
    Ok(stdin)
}
