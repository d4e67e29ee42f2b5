//! Hooks that run in the container's namespaces: createContainer and startContainer.
//!
//! runtime-spec config.md, POSIX-platform hooks: the state on standard input, failure if the exit
//! code is not 0 or the time is up.

use crate::interpret::Child;
use crate::op::Hook;
use crate::syscall::{self, Answer, fault};

impl<'a> Child<'a, '_> {
    /// Runs the hook to its end. A hook that fails is a failure with `detail` as its wait status:
    /// the exit code, or 256 + the signal.
    pub(crate) fn run_hook(&self, hook: &Hook<'a>) -> Answer<()> {
        let stdin = self.fd(hook.stdin)?;
        let mut pidfd = -1i32;
        let args = syscall::CloneArgs {
            flags: libc::CLONE_PIDFD as u64,
            pidfd: core::ptr::from_mut(&mut pidfd) as u64,
            exit_signal: libc::SIGCHLD as u64,
            ..Default::default()
        };
        if syscall::clone3_fork(&args)? == 0 {
            self.become_hook(hook, stdin);
        }
        // The kernel wrote it before clone3 returned.
        let pidfd = core::hint::black_box(pidfd);
        if !syscall::poll_readable(pidfd, hook.timeout_ms)? {
            syscall::pidfd_send_signal(pidfd, libc::SIGKILL, 0, 0)?;
            syscall::wait_pidfd(pidfd)?;
            return Err(fault(libc::SYS_execve, libc::ETIME));
        }
        let (code, status) = syscall::wait_pidfd(pidfd)?;
        syscall::close(pidfd)?;
        match (code, status) {
            (libc::CLD_EXITED, 0) => Ok(()),
            (libc::CLD_EXITED, status) => Err(hook_failed(status)),
            (_, signal) => Err(hook_failed(256 + signal)),
        }
    }

    fn become_hook(&self, hook: &Hook<'a>, stdin: i32) -> ! {
        let prepared = syscall::reset_signals()
            .and_then(|()| reopen(stdin))
            .and_then(|fd| syscall::dup3(fd, 0, 0))
            .and_then(|_| syscall::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC))
            .and_then(|_| match hook.filter {
                Some((filter, flags)) => syscall::seccomp_filter(filter, flags),
                None => Ok(0),
            });
        if prepared.is_ok() {
            let _ =
                syscall::execve(hook.path, hook.argv.as_ptr().cast(), hook.envp.as_ptr().cast());
        }
        // As a shell says that a program cannot be executed.
        syscall::exit(127)
    }
}

fn hook_failed(detail: i32) -> syscall::Fault {
    fault(libc::SYS_execve, libc::ECHILD).at(detail as usize)
}

/// Every hook reads the state from its start, whoever read it before.
fn reopen(stdin: i32) -> Answer<i32> {
    syscall::rewind(stdin)?;
    Ok(stdin)
}
