//! Whether a process has executed a program since it was made: what is left to ask where it could not say.
//!
//! Reference: proc_pid_stat(5), `flags`; `PF_FORKNOEXEC` of linux/sched.h. execve(2) clears it before it closes what is
//! close-on-exec, and a process that has ended keeps it until it is waited for.

use std::io;

use brig_pseudofs::small_file;

/// `PF_FORKNOEXEC`.
const NOT_EXECUTED: u64 = 0x40;

/// # Errors
/// It has been waited for, or /proc cannot be read.
pub(crate) fn has_executed(pid: i32) -> io::Result<bool> {
    let text = small_file::read_text(format!("/proc/{pid}/stat"))?;
    flags(&text).map(|flags| flags & NOT_EXECUTED == 0)
}

fn flags(stat: &str) -> io::Result<u64> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "unexpected /proc/PID/stat");
    // The name in parentheses may contain anything, parentheses included.
    let (_, rest) = stat.rsplit_once(')').ok_or_else(broken)?;
    // The state is field 3, the flags are field 9.
    let flags = rest.split_ascii_whitespace().nth(6);
    flags.and_then(|flags| flags.parse().ok()).ok_or_else(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_was_executed() {
        assert!(has_executed(std::process::id().cast_signed()).expect("it runs"));
    }

    #[test]
    fn flags_follow_the_name_whatever_it_is() {
        let stat = "7 (a) S (b) Z 1 7 7 0 -1 4194368 5 0";
        assert_eq!(flags(stat).expect("a number"), 4_194_368);
        flags("7 (a) Z 1").expect_err("too short");
    }
}
