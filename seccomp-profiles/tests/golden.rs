//! What brig makes of every profile that exists: how long the program is, and its verdict for every
//! known call.
//!
//! `BRIG_UPDATE_GOLDEN=1` writes the files in `golden/` anew, and the compiled profiles that are
//! part of brig.

mod real;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use brig_seccomp::verdict::Verdicts;
use brig_seccomp::{Arch, BUILTIN, BpfProgram, Instruction, compile, compiled};
use oci_spec::runtime::{Arch as Oci, LinuxSeccomp};

/// For which kernels, and with which further architectures listed.
const LISTED: [(Arch, &[Oci], &[Arch]); 4] = [
    (Arch::X86_64, &[Oci::ScmpArchX86_64], &[]),
    (
        Arch::X86_64,
        &[Oci::ScmpArchX86_64, Oci::ScmpArchX86, Oci::ScmpArchX32],
        &[Arch::X86_64, Arch::X86, Arch::X32],
    ),
    (Arch::Aarch64, &[Oci::ScmpArchAarch64], &[]),
    (Arch::Aarch64, &[Oci::ScmpArchAarch64, Oci::ScmpArchArm], &[Arch::Aarch64, Arch::Arm]),
];

/// What brig makes of a profile, as text.
fn golden(name: &str, profile: &LinuxSeccomp) -> String {
    let mut profile = profile.clone();
    let mut lengths = String::from("instructions\n");
    let mut decided = String::new();
    for (kernel, listed, arches) in LISTED {
        profile.set_architectures(Some(listed.to_vec()));
        let program = compile(&profile, kernel).expect("real profiles compile");
        let names: Vec<&str> = listed
            .iter()
            .filter_map(|oci| Arch::from_name(&oci.to_string()))
            .map(Arch::name)
            .collect();
        writeln!(lengths, "  {}: {}", names.join(" "), program.instructions.len()).expect("text");
        for arch in arches {
            let verdicts = Verdicts::new(&profile, kernel, *arch).expect("it compiled");
            real::agree(name, &program, &verdicts);
            decided.push_str(&by_verdict(&verdicts));
        }
    }
    lengths + &decided
}

/// Every call of an architecture, by what is decided.
fn by_verdict(verdicts: &Verdicts) -> String {
    let mut text = format!("\n{}\n", verdicts.arch().name());
    let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, _, verdict) in verdicts.iter() {
        names.entry(verdict.to_string()).or_default().push(name);
    }
    for (verdict, names) in names {
        writeln!(text, "  {}", verdict.replace("; otherwise", ";\n  otherwise")).expect("text");
        let mut line = String::from("   ");
        for name in names {
            if line.len() + name.len() > 98 {
                writeln!(text, "{line}").expect("text");
                line = String::from("   ");
            }
            write!(line, " {name}").expect("text");
        }
        writeln!(text, "{line}").expect("text");
    }
    text.replace(" or if ", "\n    or if ")
}

#[test]
fn every_profile_decides_as_it_did() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("BRIG_UPDATE_GOLDEN").is_some();
    let mut changed = Vec::new();
    for (name, profile) in real::all() {
        let now = golden(name, &profile);
        let path = dir.join(format!("{name}.txt"));
        if update {
            std::fs::write(&path, &now).expect("write");
        }
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = before.lines().zip(now.lines()).position(|(before, now)| before != now);
        if before != now {
            let at = differs.unwrap_or(0);
            let line = |text: &str| text.lines().nth(at).unwrap_or_default().to_owned();
            changed.push(format!("{name}:{}: {:?} became {:?}", at + 1, line(&before), line(&now)));
        }
    }
    assert!(changed.is_empty(), "{changed:#?}; if it is meant: BRIG_UPDATE_GOLDEN=1");
}

/// The architectures that brig runs on.
const NATIVE: [(Arch, &str); 2] = [(Arch::X86_64, "X86_64"), (Arch::Aarch64, "Aarch64")];

/// `src/compiled/table.rs`, as it should be.
fn table() -> String {
    let mut text = format!(
        "//! Written by `tests/golden.rs`: see the module above.

use crate::arch::Arch;

#[rustfmt::skip]
pub(super) static TABLE: [(&str, Arch, &[u64]); {}] = [
",
        BUILTIN.len() * NATIVE.len()
    );
    for name in BUILTIN {
        for (arch, variant) in NATIVE {
            let program = compile(&real::own(name), arch).expect("it compiles");
            writeln!(text, "    (\"{name}\", Arch::{variant}, &[").expect("text");
            for line in program.instructions.chunks(4) {
                let word = |one: &Instruction| {
                    let Instruction { code, jt, jf, k } = one;
                    format!("0x{code:04x}_{jt:02x}{jf:02x}_{k:08x},")
                };
                let words: Vec<String> = line.iter().map(word).collect();
                writeln!(text, "        {}", words.join(" ")).expect("text");
            }
            text.push_str("    ]),\n");
        }
    }
    text + "];\n"
}

#[test]
fn the_compiled_profiles_are_what_the_compiler_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/compiled/table.rs");
    if std::env::var_os("BRIG_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, table()).expect("write");
        return;
    }
    let written = std::fs::read_to_string(&path).expect("the table");
    assert!(written == table(), "src/compiled/table.rs is not current: BRIG_UPDATE_GOLDEN=1");
    for name in BUILTIN {
        for (arch, _) in NATIVE {
            let fresh: BpfProgram = compile(&real::own(name), arch).expect("it compiles");
            assert!(compiled(name, arch) == Some(fresh), "{name} {arch:?} is another program");
        }
        assert_eq!(compiled(name, Arch::Arm), None, "brig does not run there");
    }
    assert_eq!(compiled("no-such-profile", Arch::X86_64), None);
}

#[test]
fn every_golden_file_is_of_a_profile() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = std::fs::read_dir(dir).expect("golden files");
    let files = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
    let mut files: Vec<String> = files.collect();
    files.sort();
    let mut names: Vec<String> =
        real::all().iter().map(|(name, _)| format!("{name}.txt")).collect();
    names.sort();
    assert_eq!(files, names);
}
