//! The profiles brig ships and Docker's: what they decide, and how long they are.

use brig_seccomp::interpret::{SeccompData, trace};
use brig_seccomp::{ALLOW, Arch, ERRNO, KILL_PROCESS, Program, builtin, compile};
use oci_spec::runtime::{Arch as OciArch, LinuxSeccomp};

const ENOSYS: u32 = ERRNO | 38;
const EPERM: u32 = ERRNO | 1;

/// Docker's default profile, with the architectures that Docker lists on x86-64.
fn docker() -> LinuxSeccomp {
    let json = include_str!("data/docker-default.json");
    let mut file: serde_json::Value = serde_json::from_str(json).expect("fixture is JSON");
    serde_json::from_value(file["seccomp"].take()).expect("fixture is a profile")
}

fn docker_on(architectures: &[OciArch]) -> Program {
    let mut profile = docker();
    profile.set_architectures(Some(architectures.to_vec()));
    compile(&profile, Arch::X86_64).expect("Docker's profile compiles")
}

fn verdict(program: &Program, arch: Arch, name: &str, args: [u64; 6]) -> u32 {
    let nr = arch.syscall_number(name).expect(name);
    number_verdict(program, arch, nr, args)
}

fn number_verdict(program: &Program, arch: Arch, nr: u32, args: [u64; 6]) -> u32 {
    let data = SeccompData { nr, arch: arch.audit(), instruction_pointer: 0, args };
    let outcome = trace(&program.instructions, &data).expect("the program runs");
    assert!(outcome.steps < 40, "{arch:?} {nr}: {} steps", outcome.steps);
    outcome.verdict
}

#[test]
fn lengths_are_what_they_were() {
    let lengths = [
        docker_on(&[OciArch::ScmpArchX86_64]).instructions.len(),
        docker_on(&[OciArch::ScmpArchX86_64, OciArch::ScmpArchX86]).instructions.len(),
        docker_on(&[OciArch::ScmpArchX86_64, OciArch::ScmpArchX86, OciArch::ScmpArchX32])
            .instructions
            .len(),
        compile(&builtin("default").expect("there is one"), Arch::X86_64)
            .expect("it compiles")
            .instructions
            .len(),
        compile(&builtin("default").expect("there is one"), Arch::Aarch64)
            .expect("it compiles")
            .instructions
            .len(),
    ];
    assert_eq!(lengths, [65, 139, 214, 69, 71]);
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

#[test]
fn default_refuses_what_its_documentation_says() {
    let profile = builtin("default").expect("there is one");
    let program = compile(&profile, Arch::X86_64).expect("it compiles");
    let native = |name, args| verdict(&program, Arch::X86_64, name, args);
    let args = |a, b| [a, b, 0, 0, 0, 0];
    for family in [1, 2, 10, 16, 17] {
        assert_eq!(native("socket", args(family, 1)), ALLOW, "family {family}");
    }
    // AF_CAN, AF_ALG, AF_VSOCK; the kernel drops the upper half of the argument.
    for family in [0, 29, 38, 40, 38 | 1 << 32, 40 | 1 << 63] {
        assert_eq!(native("socket", args(family, 1)), EPERM, "family {family}");
    }
    // TIOCSTI and TIOCLINUX, also with a dirty upper half; TCGETS.
    for request in [0x5412, 0x541c, 0x5412 | 1 << 32, 0x541c | 7 << 40] {
        assert_eq!(native("ioctl", args(0, request)), EPERM, "ioctl {request:x}");
    }
    assert_eq!(native("ioctl", args(0, 0x5401)), ALLOW);
    for name in ["mount", "unshare", "setns", "bpf", "ptrace", "keyctl", "io_uring_setup"] {
        assert_eq!(native(name, args(0, 0)), EPERM, "{name}");
    }
    assert_eq!(native("clone", args(0x7e02_0000 & 0x1000_0000, 0)), EPERM);
    assert_eq!(native("clone", args(0x003d_0f00, 0)), ALLOW);
    assert_eq!(native("clone3", args(0, 0)), ENOSYS);
    assert_eq!(verdict(&program, Arch::X86, "read", args(0, 0)), KILL_PROCESS);
    assert_eq!(verdict(&program, Arch::X32, "read", args(0, 0)), ENOSYS);
}

#[test]
fn there_is_no_other_builtin_profile() {
    assert!(builtin("Default").is_none());
    assert!(builtin("../default").is_none());
}

/// Whether the kernel's constant-action bitmap takes a call: `seccomp_is_const_allow`,
/// `kernel/seccomp.c`, Linux 5.11. Such calls never run the filter.
fn in_bitmap(program: &Program, arch: u32, nr: u32) -> bool {
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
    let profile = docker();
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
