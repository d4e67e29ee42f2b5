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
    let data = SeccompData {
        nr,
        arch: arch.audit(),
        instruction_pointer: 0,
        args,
    };
    let outcome = trace(&program.instructions, &data).expect("the program runs");
    assert!(outcome.steps < 40, "{arch:?} {nr}: {} steps", outcome.steps);
    outcome.verdict
}

#[test]
fn lengths_are_what_they_were() {
    let lengths = [
        docker_on(&[OciArch::ScmpArchX86_64]).instructions.len(),
        docker_on(&[OciArch::ScmpArchX86_64, OciArch::ScmpArchX86])
            .instructions
            .len(),
        docker_on(&[
            OciArch::ScmpArchX86_64,
            OciArch::ScmpArchX86,
            OciArch::ScmpArchX32,
        ])
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
    assert_eq!(
        number_verdict(&program, Arch::X86_64, u32::MAX, first(0)),
        ENOSYS
    );
    assert_eq!(verdict(&program, Arch::X86, "mount", first(0)), EPERM);
    assert_eq!(verdict(&program, Arch::X86, "mmap2", first(0)), ALLOW);
    assert_eq!(verdict(&program, Arch::X32, "read", first(0)), ENOSYS);
    assert_eq!(
        verdict(&program, Arch::Aarch64, "read", first(0)),
        KILL_PROCESS
    );
}
