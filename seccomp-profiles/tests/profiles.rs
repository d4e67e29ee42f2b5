//! The profiles brig ships and Docker's: what they decide.

mod real;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use brig_seccomp::interpret::{SeccompData, trace};
use brig_seccomp::verdict::Verdicts;
use brig_seccomp::{ALLOW, Arch, BUILTIN, BpfProgram, ERRNO, KILL_PROCESS, builtin, compile};
use oci_spec::runtime::Arch as OciArch;

const ENOSYS: u32 = ERRNO | 38;
const EPERM: u32 = ERRNO | 1;

fn docker_on(architectures: &[OciArch]) -> BpfProgram {
    let mut profile = real::of_engine("docker-default");
    profile.set_architectures(Some(architectures.to_vec()));
    compile(&profile, Arch::X86_64).expect("Docker's profile compiles")
}

fn verdict(program: &BpfProgram, arch: Arch, name: &str, args: [u64; 6]) -> u32 {
    let nr = arch.syscall_number(name).expect(name);
    number_verdict(program, arch, nr, args)
}

fn number_verdict(program: &BpfProgram, arch: Arch, nr: u32, args: [u64; 6]) -> u32 {
    let data = SeccompData { nr, arch: arch.audit(), instruction_pointer: 0, args };
    let outcome = trace(&program.instructions, &data).expect("the program runs");
    // The longest way is that of an ioctl which is refused: a test for each bit of its request.
    assert!(outcome.steps < 56, "{arch:?} {nr}: {} steps", outcome.steps);
    outcome.verdict
}

#[test]
fn docker_allows_and_denies_what_it_says() {
    let program = docker_on(&[OciArch::ScmpArchX86_64, OciArch::ScmpArchX86]);
    let native = |name, args| verdict(&program, Arch::X86_64, name, args);
    let first = |value| [value, 0, 0, 0, 0, 0];
    assert_eq!(native("read", first(0)), ALLOW);
    assert_eq!(native("mount", first(0)), EPERM);
    assert_eq!(native("clone3", first(0)), ENOSYS);
    assert_eq!(native("clone", first(0x11)), ALLOW);
    assert_eq!(native("clone", first(0x1000_0011)), EPERM);
    assert_eq!(native("socket", first(2)), ALLOW);
    assert_eq!(native("socket", first(38)), EPERM);
    assert_eq!(native("socket", first(40)), EPERM);
    assert_eq!(native("personality", first(0xffff_ffff)), ALLOW);
    assert_eq!(native("personality", first(1)), EPERM);
    assert_eq!(native("file_setattr", first(0)), ENOSYS);
    assert_eq!(number_verdict(&program, Arch::X86_64, u32::MAX, first(0)), ENOSYS);
    assert_eq!(verdict(&program, Arch::X86, "mount", first(0)), EPERM);
    assert_eq!(verdict(&program, Arch::X86, "mmap2", first(0)), ALLOW);
    assert_eq!(verdict(&program, Arch::X32, "read", first(0)), ENOSYS);
    assert_eq!(verdict(&program, Arch::Aarch64, "read", first(0)), KILL_PROCESS);
}

/// Those for containers that make none.
const ALL: [&str; 4] = ["default", "restricted", "sandbox", "compute"];

/// A profile of brig's, compiled once.
fn compiled(profile: &str) -> &'static BpfProgram {
    static PROGRAMS: LazyLock<BTreeMap<&str, BpfProgram>> = LazyLock::new(|| {
        let compile = |name| compile(&real::own(name), Arch::X86_64).expect("it compiles");
        BUILTIN.into_iter().map(|name| (name, compile(name))).collect()
    });
    &PROGRAMS[profile]
}

/// What a profile of brig's decides for a native call.
fn native(profile: &str, name: &str, args: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    verdict(compiled(profile), Arch::X86_64, name, all)
}

/// Asserts that of all profiles those in `which` allow the call, and the others refuse it.
fn allow(which: &[&str], name: &str, args: &[u64]) {
    for profile in ALL {
        let wanted = if which.contains(&profile) { ALLOW } else { EPERM };
        assert_eq!(native(profile, name, args), wanted, "{profile}: {name} {args:x?}");
    }
}

const SERVE: [&str; 3] = ["default", "restricted", "sandbox"];

#[test]
fn sockets_are_of_the_families_that_the_profiles_say() {
    // AF_UNIX; AF_INET, AF_INET6 with the types that SOCK_CLOEXEC and SOCK_NONBLOCK adorn.
    allow(&SERVE, "socket", &[1, 5 | 0x80000]);
    for family in [2, 10, 2 | 1 << 32] {
        for (kind, protocol) in [(1, 0), (1, 6), (1, 262), (2, 0), (2, 17)] {
            for flags in [0, 0x80000, 0x800, 0x80800] {
                allow(&SERVE, "socket", &[family, kind | flags, protocol]);
            }
        }
        // SOCK_RAW; SCTP as a stream; L2TP as datagrams.
        for (kind, protocol) in [(3, 1), (3, 255), (1, 132), (2, 115)] {
            allow(&SERVE[..2], "socket", &[family, kind, protocol]);
        }
        // SOCK_DCCP, SOCK_SEQPACKET, and SOCK_PACKET, which the kernel takes for AF_PACKET.
        for (kind, protocol) in [(6, 33), (5, 132), (10, 0x300)] {
            allow(&SERVE[..1], "socket", &[family, kind, protocol]);
        }
    }
    allow(&SERVE[..1], "socket", &[17, 3, 0]);
    // All others, of which AF_MAX is 46; the kernel drops the upper half of the argument.
    for family in (0..64).filter(|family| ![1, 2, 10, 16, 17].contains(family)) {
        allow(&[], "socket", &[family, 1]);
        allow(&[], "socket", &[family | 1 << 32, 1]);
        allow(&[], "socketpair", &[family, 1]);
    }
    allow(&ALL, "socketpair", &[1, 1 | 0x80000]);
    allow(&SERVE, "socketpair", &[1, 2]);
    for name in ["bind", "connect", "listen", "accept", "accept4", "sendmmsg"] {
        allow(&SERVE, name, &[]);
    }
    for name in ["sendto", "recvfrom", "sendmsg", "recvmsg", "shutdown", "getsockopt"] {
        allow(&ALL, name, &[]);
    }
}

#[test]
fn netlink_is_of_the_protocols_that_the_profiles_say() {
    for protocol in 0..32 {
        let by: &[&str] = match protocol {
            0 => &SERVE,
            9 | 15 => &SERVE[..2],
            4 | 12 | 16 => &SERVE[..1],
            _ => &[],
        };
        for kind in [2, 3, 3 | 0x80000] {
            allow(by, "socket", &[16, kind, protocol]);
            allow(by, "socket", &[16 | 1 << 32, kind, protocol | 1 << 40]);
        }
    }
}

#[test]
fn futexes_are_not_requeued_to_one_with_priority_inheritance() {
    // FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME; bits that the kernel does not know, or ignores.
    let flags = [0, 0x80, 0x100, 0x180, 1 << 12, 1 << 31, 1 << 32, 0x8000_0000_0000_0080];
    for profile in ALL {
        for operation in 0..0x80 {
            let wanted = if matches!(operation, 0..=10 | 13) { ALLOW } else { ENOSYS };
            for flags in flags {
                let got = native(profile, "futex", &[0, operation | flags]);
                assert_eq!(got, wanted, "{profile}: {operation} {flags:#x}");
            }
        }
        assert_eq!(native(profile, "futex_requeue", &[]), ENOSYS, "{profile}");
    }
    for name in ["futex_wait", "futex_wake", "futex_waitv"] {
        allow(&ALL, name, &[]);
    }
}

#[test]
fn what_programs_wait_with_takes_few_instructions() {
    // FUTEX_WAIT, FUTEX_WAKE, FUTEX_WAIT_BITSET, as the C libraries call them.
    for profile in ALL {
        let program = compiled(profile);
        for operation in [0x80, 0x81, 0x189, 0x89] {
            let nr = Arch::X86_64.syscall_number("futex").expect("a call");
            let args = [0, operation, 0, 0, 0, 0];
            let data = SeccompData { nr, arch: Arch::X86_64.audit(), args, ..Default::default() };
            let outcome = trace(&program.instructions, &data).expect("it runs");
            assert!(outcome.steps <= 14, "{profile}: {operation:#x}: {} steps", outcome.steps);
        }
    }
}

#[test]
fn terminals_are_not_typed_into() {
    // TIOCSTI and TIOCLINUX, also with a dirty upper half.
    for request in [0x5412, 0x541c, 0x5412 | 1 << 32, 0x541c | 7 << 40, 0x5412 | 0xffff_ffff << 32]
    {
        allow(&[], "ioctl", &[0, request]);
    }
    let near = (0..=0xffff_u64).filter(|request| ![0x5412, 0x541c].contains(request));
    let far = (16..64).flat_map(|bit| [0x5412 | 1 << bit, 0x541c | 1 << bit]);
    let far = far.filter(|request| request >> 32 == 0);
    for request in near.chain(far).chain([0x8000_5412, 0xffff_ffff, u64::MAX]) {
        let program = compiled("default");
        let args = [0, request, 0, 0, 0, 0];
        assert_eq!(verdict(program, Arch::X86_64, "ioctl", args), ALLOW, "{request:x}");
    }
}

#[test]
fn common_ioctls_take_few_instructions() {
    // TCGETS, TCSETSW, TIOCGPGRP, TIOCSPGRP, TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX, TIOCGPTN,
    // SIOCGIFCONF, SIOCGIFINDEX.
    let requests = [
        0x5401,
        0x5403,
        0x540f,
        0x5410,
        0x5413,
        0x541b,
        0x5421,
        0x5451,
        0x8004_5430,
        0x8912,
        0x8933,
    ];
    for profile in ALL {
        let program = compiled(profile);
        for request in requests {
            let nr = Arch::X86_64.syscall_number("ioctl").expect("a call");
            let args = [0, request, 0, 0, 0, 0];
            let data = SeccompData { nr, arch: Arch::X86_64.audit(), args, ..Default::default() };
            let outcome = trace(&program.instructions, &data).expect("it runs");
            assert!(outcome.steps <= 24, "{profile}: {request:#x}: {} steps", outcome.steps);
        }
    }
}

#[test]
fn what_no_profile_allows_is_refused() {
    let refused = "mount umount2 pivot_root open_tree move_mount fsopen fsconfig fsmount fspick
        mount_setattr unshare setns bpf perf_event_open userfaultfd keyctl add_key request_key
        io_uring_setup io_uring_enter io_uring_register init_module finit_module kexec_load
        open_by_handle_at quotactl acct swapon reboot syslog kcmp process_madvise pidfd_getfd
        modify_ldt fanotify_init move_pages lookup_dcookie iopl ioperm";
    for name in refused.split_whitespace() {
        allow(&[], name, &[]);
    }
    for flag in
        [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
    {
        allow(&[], "clone", &[flag | 17]);
    }
    allow(&ALL, "clone", &[0x003d_0f00]);
    allow(&[], "personality", &[0x0040_0000]);
    allow(&ALL, "personality", &[0xffff_ffff]);
    for profile in ALL {
        assert_eq!(native(profile, "clone3", &[]), ENOSYS, "{profile}");
        let program = compiled(profile);
        assert_eq!(verdict(program, Arch::X86, "read", [0; 6]), KILL_PROCESS, "{profile}");
        assert_eq!(verdict(program, Arch::X86, "socketcall", [1; 6]), KILL_PROCESS, "{profile}");
        assert_eq!(verdict(program, Arch::X32, "read", [0; 6]), ENOSYS, "{profile}");
        assert_eq!(number_verdict(program, Arch::X86_64, 1000, [0; 6]), ENOSYS, "{profile}");
    }
}

/// Mounts and namespaces, and in everything else `default`.
#[test]
fn nested_allows_what_containers_are_made_by_and_nothing_else() {
    let more = "clone3 fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr pivot_root
        setdomainname sethostname setns umount2 unshare";
    for name in more.split_whitespace() {
        assert_eq!(native("nested", name, &[0x7e02_0000]), ALLOW, "{name}");
    }
    assert_eq!(native("nested", "clone", &[0x7e02_0011]), ALLOW);
    for name in ["add_key", "keyctl", "request_key"] {
        assert_eq!(native("nested", name, &[]), ENOSYS, "{name}");
    }
    let of =
        |name| Verdicts::new(&real::own(name), Arch::X86_64, Arch::X86_64).expect("it compiles");
    let (nested, default) = (of("nested"), of("default"));
    let differs: Vec<&str> = nested
        .iter()
        .filter(|(_, nr, verdict)| verdict.to_string() != default.of_number(*nr).to_string())
        .map(|(name, ..)| name)
        .collect();
    let expected = more.split_whitespace().chain(["clone", "add_key", "keyctl", "request_key"]);
    let (mut differs, mut expected): (Vec<&str>, Vec<&str>) = (differs, expected.collect());
    differs.sort_unstable();
    expected.sort_unstable();
    assert_eq!(differs, expected);
}

#[test]
fn each_profile_allows_what_its_purpose_is() {
    for name in ["ptrace", "process_vm_readv", "chroot", "name_to_handle_at", "vmsplice"] {
        allow(&["default"], name, &[]);
    }
    for name in ["io_setup", "mq_open", "semget", "msgget", "adjtimex"] {
        allow(&["default", "restricted"], name, &[]);
    }
    // mknod: a pipe, a socket, a file; a device, of characters or blocks.
    for mode in [0x1180, 0xc180, 0x8180, 0o600] {
        allow(&ALL, "mknodat", &[0, 0, mode]);
        allow(&ALL, "mknod", &[0, mode]);
    }
    for mode in [0x2180, 0x6180] {
        allow(&["default", "restricted"], "mknodat", &[0, 0, mode]);
    }
    for name in "rseq futex_waitv statx openat2 close_range faccessat2 epoll_pwait2 membarrier
        memfd_create pidfd_open pkey_alloc map_shadow_stack mseal fchmodat2 landlock_create_ruleset
        seccomp preadv2 copy_file_range splice getrandom setgroups capset execveat uretprobe"
        .split_whitespace()
    {
        allow(&ALL, name, &[]);
    }
}

#[test]
fn sandbox_allows_what_programs_were_recorded_to_call() {
    let json = include_str!("data/recorded.json");
    let file: serde_json::Value = serde_json::from_str(json).expect("it is JSON");
    let profile = real::own("sandbox");
    let verdicts = Verdicts::new(&profile, Arch::X86_64, Arch::X86_64).expect("it compiles");
    let programs = file["calls"].as_object().expect("an object");
    assert_eq!(programs.len(), 8);
    for (program, calls) in programs {
        for call in calls.as_array().expect("a list").iter().filter_map(|call| call.as_str()) {
            let verdict = verdicts.of(call).expect("a call of this architecture");
            let falls_back = call == "clone3" && verdict.otherwise == ENOSYS;
            assert!(verdict.loosest() == ALLOW || falls_back, "{program}: {call}: {verdict}");
        }
    }
}

#[test]
fn each_profile_allows_nothing_that_the_one_before_refuses() {
    for pair in BUILTIN.windows(2) {
        let [looser, stricter] = [pair[0], pair[1]].map(real::own);
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let looser = Verdicts::new(&looser, arch, arch).expect("it compiles");
            let stricter = Verdicts::new(&stricter, arch, arch).expect("it compiles");
            for (name, nr, verdict) in stricter.iter() {
                for args in real::telling_arguments(verdict, true) {
                    let allows = verdict.decide(&args) == ALLOW;
                    let allowed = looser.of_number(nr).decide(&args) == ALLOW;
                    assert!(!allows || allowed, "{pair:?} {arch:?} {name} {args:x?}");
                }
            }
        }
    }
}

#[test]
fn there_is_no_other_builtin_profile() {
    for name in ["Default", "../default", "deviations", ""] {
        assert!(builtin(name).is_none(), "{name}");
    }
}

/// Whether the kernel's constant-action bitmap takes a call: `seccomp_is_const_allow`,
/// `kernel/seccomp.c`, Linux 5.11. Such calls never run the filter.
fn in_bitmap(program: &BpfProgram, arch: u32, nr: u32) -> bool {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let instruction = program.instructions[at];
        let k = instruction.k;
        let branch = |holds| usize::from(if holds { instruction.jt } else { instruction.jf });
        let skip = match instruction.code {
            0x20 if k == 0 => {
                accumulator = nr;
                0
            }
            0x20 if k == 4 => {
                accumulator = arch;
                0
            }
            0x06 => return k == ALLOW,
            0x05 => k as usize,
            0x15 => branch(accumulator == k),
            0x35 => branch(accumulator >= k),
            0x25 => branch(accumulator > k),
            0x45 => branch(accumulator & k != 0),
            0x54 => {
                accumulator &= k;
                0
            }
            _ => return false,
        };
        at += 1 + skip;
    }
}

#[test]
fn unconditionally_allowed_calls_never_run_the_filter() {
    let profile = real::of_engine("docker-default");
    let program = docker_on(&[OciArch::ScmpArchX86_64, OciArch::ScmpArchX86]);
    let names = profile.syscalls().as_ref().expect("rules")[0].names();
    for arch in [Arch::X86_64, Arch::X86] {
        for name in names {
            if let Some(nr) = arch.syscall_number(name) {
                assert!(in_bitmap(&program, arch.audit(), nr), "{arch:?} {name}");
            }
        }
    }
}
