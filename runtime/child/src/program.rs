//! Operations that execute programs.

use core::ffi::CStr;

use crate::interpret::Child;
use crate::op::{ProgramOp, Vector};
use crate::syscall::{self, Answer, failed_call};

impl<'a> Child<'a, '_> {
    pub(crate) fn program(&mut self, op: &ProgramOp<'a>) -> Answer<()> {
        match op {
            ProgramOp::Hook(hook) => self.run_hook(hook),
            ProgramOp::FindProgram { candidates } => self.find_program(candidates),
            ProgramOp::Execve { argv, envp } => self.execve(*argv, *envp),
        }
    }

    /// Finds what execvp(3) would: the first candidate that is a file and may be executed.
    fn find_program(&mut self, candidates: &'a [&'a CStr]) -> Answer<()> {
        let mut worst = failed_call(libc::SYS_execve, libc::ENOENT);
        for &candidate in candidates {
            match executable(candidate) {
                Ok(()) => {
                    self.program = Some(candidate);
                    return Ok(());
                }
                Err(failed) if matches!(failed.errno, libc::ENOENT | libc::ENOTDIR) => {}
                Err(failed) => worst = failed,
            }
        }
        Err(worst)
    }

    fn execve(&self, argv: Vector<'a>, envp: Vector<'a>) -> Answer<()> {
        let Some(program) = self.program else {
            return Err(failed_call(libc::SYS_execve, libc::ENOENT));
        };
        Err(syscall::execve(program, argv.as_ptr().cast(), envp.as_ptr().cast()))
    }
}

fn executable(path: &CStr) -> Answer<()> {
    let stat = syscall::statx(libc::AT_FDCWD, path, 0)?;
    if u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFDIR {
        return Err(failed_call(libc::SYS_execve, libc::EACCES));
    }
    syscall::faccessat2(libc::AT_FDCWD, path, libc::X_OK, libc::AT_EACCESS).map(drop)
}
