//! Signals that the caller ignores.

use std::fs::File;
use std::io::Read;
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
    // Where it cannot be told, each is asked for.
    let set = ignored().unwrap_or(u64::MAX);
    for signal in ALL.filter(|signal| set >> (signal - 1) & 1 == 1) {
        if LIBCS.contains(&signal) {
            restore(signal);
        } else if signal != libc::SIGPIPE && is_ignored(signal) {
            catch(signal);
        }
    }
}

/// The set of those that the caller ignores, or more, from one read: before the line there is nothing long but the
/// list of groups.
fn ignored() -> Option<u64> {
    let mut page = [0; 4096];
    let length = File::open("/proc/self/status").and_then(|mut file| file.read(&mut page)).ok()?;
    let mut lines = page.get(..length)?.split(|byte| *byte == b'\n');
    let digits = lines.find_map(|line| line.strip_prefix(b"SigIgn:"))?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?.trim(), 16).ok()
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
