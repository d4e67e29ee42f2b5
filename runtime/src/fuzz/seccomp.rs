//! Profiles that are put together from the bytes, or are the bytes.

use brig_seccomp::interpret::{SeccompData, run};
use brig_seccomp::{ALLOW, Arch, BpfProgram, ERRNO, KILL_PROCESS, MAX_INSTRUCTIONS};
use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

use crate::spec;

/// Bytes as a source of choices: zeros when they have run out.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Bytes<'_> {
    pub(super) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    pub(super) fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn long(&mut self) -> u64 {
        let mut value = [0; 8];
        // Small numbers, and numbers near a power of two, meet more often what a filter tests.
        match self.byte() {
            0..128 => return u64::from(self.byte()),
            128..192 => {
                let power = 1u64.wrapping_shl(u32::from(self.byte()));
                return power.wrapping_add(u64::from(self.byte() & 3)).wrapping_sub(1);
            }
            _ => value.iter_mut().for_each(|byte| *byte = self.byte()),
        }
        u64::from_le_bytes(value)
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[usize::from(self.byte()) % list.len()]
    }
}

const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
];
const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];
const ARCHITECTURES: [&str; 5] =
    ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"];
const ARCHES: [Arch; 5] = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm];

/// A profile with the rules that the bytes choose: compiled for every architecture.
///
/// # Panics
/// When what [`profile`] promises does not hold.
pub fn compile(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let default = bytes.of(&ACTIONS);
    let architectures: Vec<&str> =
        (0..bytes.byte() % 5).map(|_| bytes.of(&ARCHITECTURES)).collect();
    let mut rules = Vec::new();
    while let Some(kind) = bytes.next() {
        rules.push(rule(kind, &mut bytes));
        if rules.len() == 64 {
            break;
        }
    }
    let text = json!({"defaultAction": default, "architectures": architectures, "syscalls": rules});
    let profile: LinuxSeccomp = serde_json::from_value(text).expect("a profile");
    hold(&profile, &mut bytes);
}

fn rule(kind: u8, bytes: &mut Bytes<'_>) -> Value {
    let names: Vec<&str> = (0..=kind & 3)
        .filter_map(|_| {
            let arch = ARCHES[usize::from(kind >> 5) % ARCHES.len()];
            arch.syscall_name(u32::from(bytes.short()) % 480 + first_number(arch))
        })
        .collect();
    let args: Vec<Value> = (0..kind >> 2 & 3)
        .map(|_| {
            json!({"index": bytes.byte() % 6, "op": bytes.of(&OPERATORS), "value": bytes.long(),
                "valueTwo": bytes.long()})
        })
        .collect();
    let mut rule = json!({"names": names, "action": bytes.of(&ACTIONS), "args": args});
    if kind & 16 != 0 {
        rule["errnoRet"] = json!(bytes.byte());
    }
    rule
}

/// Numbers of x32 have bit 30 (`__X32_SYSCALL_BIT`).
fn first_number(arch: Arch) -> u32 {
    if arch == Arch::X32 { 0x4000_0000 } else { 0 }
}

/// The bytes as `linux.seccomp` of a configuration: what is accepted compiles, or is refused in
/// words. A program is one that the kernel would take, and ends for every call in what the profile
/// says somewhere.
///
/// # Panics
/// When that does not hold.
pub fn profile(bytes: &[u8]) {
    let mut config: Value = serde_json::from_str(&crate::template::text(None)).expect("JSON");
    config["linux"]["seccomp"] = json!("here");
    let text = config.to_string();
    let (head, tail) = text.split_once("\"here\"").expect("it is there");
    let text = [head.as_bytes(), bytes, tail.as_bytes()].concat();
    let Ok(asked) = spec::Asked::read(&text) else { return };
    let Some(section) = crate::policy::kept(asked).seccomp.clone() else { return };
    if let Ok(filter) = brig_seccomp::read_part(&text, section) {
        hold(&filter, &mut Bytes(bytes));
    }
}

fn hold(profile: &LinuxSeccomp, bytes: &mut Bytes<'_>) {
    for arch in ARCHES {
        match brig_seccomp::compile(profile, arch) {
            Err(error) => assert!(!error.to_string().trim().is_empty(), "{error:?}"),
            Ok(program) => {
                assert!((1..=MAX_INSTRUCTIONS).contains(&program.instructions.len()));
                let again = brig_seccomp::compile(profile, arch).expect("the same");
                assert_eq!(program, again, "compiling is a function");
                for _ in 0..16 {
                    ends_as_the_profile_says(profile, arch, &program, bytes);
                }
                let text = brig_seccomp::disassemble::disassemble(&program.instructions);
                assert_eq!(text.lines().count(), program.instructions.len());
            }
        }
    }
}

fn ends_as_the_profile_says(
    profile: &LinuxSeccomp,
    arch: Arch,
    program: &BpfProgram,
    bytes: &mut Bytes<'_>,
) {
    let mut data = SeccompData {
        nr: u32::from(bytes.short()) % 520 + first_number(arch),
        arch: arch.audit(),
        ..SeccompData::default()
    };
    data.args.iter_mut().for_each(|arg| *arg = bytes.long());
    let verdict = run(&program.instructions, &data).expect("the kernel takes it");
    let rules = profile.syscalls().iter().flatten();
    let mut allowed = rules.map(oci_spec::runtime::LinuxSyscall::action).collect::<Vec<_>>();
    allowed.push(profile.default_action());
    // ENOSYS for calls that the profile cannot have meant, the end for foreign architectures.
    let own = verdict == (ERRNO | 38) || verdict == KILL_PROCESS;
    let permitted = allowed.contains(&oci_spec::runtime::LinuxSeccompAction::ScmpActAllow);
    assert!(own || verdict != ALLOW || permitted, "allowed, but by nothing: {verdict:#x}");
    assert_eq!(run(&program.instructions, &data), Ok(verdict));
}
