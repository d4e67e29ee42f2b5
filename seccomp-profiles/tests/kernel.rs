//! Programs in the real kernel: a forked child installs one and reports what its calls return.
//!
//! The child is one thread of a copy of this process, so between fork and `_exit` it only makes
//! system calls: no allocation, no locks, no panics.

use std::io::{PipeWriter, Read as _, Write as _};

use brig_seccomp::{Arch, BpfProgram, builtin, compile};
use oci_spec::runtime::LinuxSeccomp;

/// One call for the child, with the arguments it is made with.
type Call = (libc::c_long, [u64; 6]);

/// Makes a system call; 0 or more, or the negated errno.
fn raw((number, a): Call) -> i64 {
    // SAFETY: the tests make calls which touch memory only through pointers that `under` made
    // of live values, or that the kernel refuses before it looks at them.
    let result = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    match std::io::Error::last_os_error().raw_os_error() {
        Some(errno) if result < 0 => -i64::from(errno),
        _ => result,
    }
}

fn exit(status: i32) -> ! {
    // SAFETY: `_exit` is always sound; it ends the process without running destructors.
    unsafe { libc::_exit(status) }
}

/// The child: installs the program, makes the calls, writes each one's errno.
fn child(fprog: &libc::sock_fprog, flags: u64, calls: &[Call], mut report: PipeWriter) -> ! {
    let no_new_privs = (libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0, 0]);
    let install = (libc::SYS_seccomp, [1, flags, (&raw const *fprog) as u64, 0, 0, 0]);
    if raw(no_new_privs) != 0 || raw(install) < 0 {
        exit(1);
    }
    for call in calls {
        let errno = raw(*call).min(0).unsigned_abs() as i32;
        if report.write_all(&errno.to_ne_bytes()).is_err() {
            exit(2);
        }
    }
    exit(0)
}

/// The errno of each call in a child under the program, 0 for success; none where the child
/// was killed before it could report.
fn under(program: &BpfProgram, calls: &[Call]) -> Vec<Option<i32>> {
    let filter = program.to_bytes();
    let fprog = libc::sock_fprog {
        len: u16::try_from(program.instructions.len()).expect("at most 4096"),
        filter: filter.as_ptr().cast_mut().cast(),
    };
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    // SAFETY: the child has one thread and only makes system calls until it exits: `child`
    // neither allocates nor locks nor unwinds.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        child(&fprog, program.flags, calls, writer);
    }
    drop(writer);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("the pipe is readable");
    let mut status = 0;
    // SAFETY: `status` is valid for writes; `pid` is this process's child, not waited for yet.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    let refused = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) != 0;
    assert!(!refused, "the kernel refuses the program");
    let word = |b: &[u8]| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]);
    let mut results: Vec<Option<i32>> = bytes.chunks_exact(4).map(|b| Some(word(b))).collect();
    results.resize(calls.len(), None);
    results
}

fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).expect("a profile")
}

const NOTHING: [u64; 6] = [0; 6];

fn first(value: u64) -> [u64; 6] {
    [value, 0, 0, 0, 0, 0]
}

#[test]
fn kernel_decides_as_the_default_profile_says() {
    let profile = builtin("default").expect("there is one");
    let program = compile(&profile, Arch::native()).expect("it compiles");
    let tiocsti = 0x5412;
    let calls = [
        ((libc::SYS_getpid, NOTHING), 0),
        ((libc::SYS_mount, NOTHING), libc::EPERM),
        ((libc::SYS_unshare, first(0x1000_0000)), libc::EPERM),
        ((libc::SYS_clone, first(0x1000_0011)), libc::EPERM),
        ((libc::SYS_clone3, NOTHING), libc::ENOSYS),
        ((libc::SYS_socket, [38, 5, 0, 0, 0, 0]), libc::EPERM),
        ((libc::SYS_socket, [40, 1, 0, 0, 0, 0]), libc::EPERM),
        ((libc::SYS_socket, [38 | 1 << 32, 5, 0, 0, 0, 0]), libc::EPERM),
        ((libc::SYS_socket, [1, 1, 0, 0, 0, 0]), 0),
        ((libc::SYS_ioctl, [99, tiocsti, 0, 0, 0, 0]), libc::EPERM),
        ((libc::SYS_ioctl, [99, tiocsti | 1 << 32, 0, 0, 0, 0]), libc::EPERM),
        ((libc::SYS_ioctl, [99, 0x5401, 0, 0, 0, 0]), libc::EBADF),
        ((libc::SYS_personality, first(0xffff_ffff)), 0),
        ((libc::SYS_personality, first(0x0040_0000)), libc::EPERM),
        ((100_000, NOTHING), libc::ENOSYS),
        ((-1, NOTHING), libc::ENOSYS),
        ((0x4000_0000, NOTHING), libc::ENOSYS),
    ];
    let (calls, wanted): (Vec<Call>, Vec<i32>) = calls.into_iter().unzip();
    let results = under(&program, &calls);
    assert_eq!(results, wanted.into_iter().map(Some).collect::<Vec<_>>());
}

#[test]
fn kernel_takes_a_program_of_thousands_of_instructions() {
    let rules: Vec<String> = (0..300u64)
        .map(|at| {
            format!(
                r#"{{"names":["getpriority"],"action":"SCMP_ACT_ERRNO","errnoRet":{},"args":[
                {{"index":0,"value":{},"valueTwo":{},"op":"SCMP_CMP_MASKED_EQ"}},
                {{"index":1,"value":{at},"op":"SCMP_CMP_EQ"}}]}}"#,
                at % 4000 + 1,
                0xff00_0000_0000u64 | at << 3,
                at << 3,
            )
        })
        .collect();
    let json = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{}]}}"#, rules.join(","));
    let program = compile(&profile(&json), Arch::native()).expect("it compiles");
    assert!(program.instructions.len() > 1000, "{}", program.instructions.len());
    let calls = [
        (libc::SYS_getpriority, [299 << 3, 299, 0, 0, 0, 0]),
        (libc::SYS_getpriority, [0, 0, 0, 0, 0, 0]),
        (libc::SYS_getppid, NOTHING),
    ];
    assert_eq!(under(&program, &calls), [Some(300), Some(1), Some(0)]);
}

#[test]
fn kernel_kills_where_the_profile_says_so() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["getppid"],"action":"SCMP_ACT_KILL_PROCESS"}]}"#;
    let program = compile(&profile(json), Arch::native()).expect("it compiles");
    let calls = [(libc::SYS_getpid, NOTHING), (libc::SYS_getppid, NOTHING)];
    assert_eq!(under(&program, &calls), [Some(0), None]);
}

#[test]
fn kernel_takes_all_flags() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW",
        "flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_LOG",
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW","SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls":[{"names":["getppid"],"action":"SCMP_ACT_NOTIFY"}]}"#;
    let mut profile = profile(json);
    let program = compile(&profile, Arch::native()).expect("it compiles");
    assert!(program.notify);
    assert_eq!(under(&program, &[(libc::SYS_getpid, NOTHING)]), [Some(0)]);
    profile.set_syscalls(None);
    let program = compile(&profile, Arch::native()).expect("it compiles");
    assert!(!program.notify);
    assert_eq!(under(&program, &[(libc::SYS_getpid, NOTHING)]), [Some(0)]);
}
