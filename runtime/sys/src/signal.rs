//! Signals that the caller ignores.

use std::fs;
use std::ops::RangeInclusive;
use std::ptr;

use libc::c_int;

/// All signals.
const ALL: RangeInclusive<c_int> = 1..=64;
/// Those of libc itself (musl's timers, cancellation and setuid(2)), which it lets nobody else set.
const LIBCS: RangeInclusive<c_int> = 32..=34;

/// Catches and drops the signals that the caller has brig ignore (execve(2) hands that down), but SIGPIPE, which brig
/// ignores itself. brig is as deaf to them as before, and what it starts is not: clone3 with `CLONE_CLEAR_SIGHAND`, and
/// execve(2), give a caught signal its default action back, an ignored one they leave. An ignored SIGCHLD would have
/// the kernel reap brig's children, so that their ends are lost and their pids somebody else's.
pub fn catch_ignored() {
    let status = fs::read_to_string("/proc/self/status").ok();
    let set = status.as_deref().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    // Where it cannot be read, each is asked for.
    let set = set.unwrap_or(u64::MAX);
    for signal in ALL.filter(|signal| set >> (signal - 1) & 1 == 1) {
        if LIBCS.contains(&signal) {
            restore(signal);
        } else if signal != libc::SIGPIPE && is_ignored(signal) {
            catch(signal);
        }
    }
}

fn is_ignored(signal: c_int) -> bool {
    // SAFETY: all fields are numbers, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set (null), and `action` is written by this call alone.
    let answer = unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) };
    answer == 0 && action.sa_sigaction == libc::SIG_IGN
}

fn catch(signal: c_int) {
    extern "C" fn nothing(_: c_int) {}
    // SAFETY: all fields are numbers, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(c_int) as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is wholly set, and its handler touches nothing, so that it may run at any point.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
}

/// Gives one of libc's signals its default action: brig is one thread, and libc uses none of them yet.
fn restore(signal: c_int) {
    // The kernel's `struct sigaction` (rt_sigaction(2)): handler, flags, restorer, mask.
    let default_action = [0_u64; 4];
    // SAFETY: the kernel reads the structure, which is as large as it takes it for, and writes nothing (null).
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            default_action.as_ptr(),
            ptr::null::<u64>(),
            size_of::<u64>(),
        );
    }
}
