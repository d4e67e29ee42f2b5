//! A short run of every target with the stable compiler: the seeds, and changes of them.
//! `runtime/fuzz` runs for as long as one likes, and looks at which code is reached.

use std::fs;
use std::path::Path;

use super::TARGETS;

/// How many changes of each seed: some seconds for all, without optimisation.
const CHANGES: u32 = 60;

/// xorshift64*, of Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled".
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `limit`, or 0.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % limit.max(1)
    }
}

/// What texts and messages are sensitive to.
const TOKENS: [&[u8]; 12] = [
    b"\"",
    b"{",
    b"]",
    b"\0",
    b"/..",
    b"\\u0000",
    b"-1",
    b"1e999",
    b"\xff\xff\xff\xff",
    b"\xc3",
    b"18446744073709551616",
    b"\n",
];

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + 1 + random.below(16)).min(bytes.len());
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let token = TOKENS[random.below(TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
            4 => {
                let from = random.below(other.len());
                let to = (from + random.below(64)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a seed")).collect()
}

fn short_run(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "no seeds for {name}");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    target(&[]);
    for seed in &seeds {
        target(seed);
        for _ in 0..CHANGES {
            let mut bytes = seed.clone();
            let other = &seeds[random.below(seeds.len())];
            change(&mut bytes, other, &mut random);
            target(&bytes);
        }
    }
}

/// A test for each target.
macro_rules! short_runs {
    ($($name:ident),+ $(,)?) => {
        $(#[test] fn $name() { short_run(stringify!($name)); })+
        const NAMES: &[&str] = &[$(stringify!($name)),+];
    };
}

short_runs!(spec, process, plan, seccomp_compile, seccomp_profile, state, dbus, cgroup_facts);

#[test]
fn every_target_is_run_here_and_by_cargo_fuzz() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(dir.join("Cargo.toml")).expect("its manifest");
    for (name, _) in TARGETS {
        assert!(NAMES.contains(&name), "{name} has no test");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no program");
        let program = fs::read_to_string(dir.join(format!("fuzz_targets/{name}.rs")));
        assert!(
            program.is_ok_and(|text| text.contains(&format!("run(\"{name}\""))),
            "{name} runs nothing"
        );
    }
}

/// A seed that is refused at once would lead nowhere.
#[test]
fn seeds_reach_what_they_are_for() {
    let all = |target, good: fn(&[u8]) -> bool| {
        for seed in seeds(target) {
            assert!(good(&seed), "{target}: {}", String::from_utf8_lossy(&seed));
        }
    };
    all("spec", |bytes| crate::spec::Asked::read(bytes).is_ok());
    all("process", |b| crate::spec::process(b).is_ok() || crate::spec::resources(b).is_ok());
    all("seccomp_profile", |b| {
        serde_json::from_slice::<oci_spec::runtime::LinuxSeccomp>(b).is_ok()
    });
    all("state", |b| {
        crate::supervise::Record::parse(b).is_ok_and(|record| {
            let made = record.cgroup.as_ref();
            record.planned_cgroup.check().is_ok()
                && made.is_none_or(|made| brig_cgroup::Cgroup::open(made).is_ok())
        })
    });
    for kind in 0..4 {
        assert!(super::plan::is_planned(&[kind]), "configuration {kind}");
    }
    all("dbus", brig_cgroup::systemd::is_message);
    all("cgroup_facts", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let parts: Vec<&str> = text.split('\0').collect();
        brig_cgroup::CgroupFacts::from_texts(parts[0], parts[1], parts[2]).is_ok()
    });
}
