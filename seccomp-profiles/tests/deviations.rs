//! Every difference between brig's profiles and Docker's has a reason, and the document says so.
//!
//! `BRIG_BLESS=1` writes docs/seccomp-profiles.md anew.

mod real;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use brig_seccomp::mitigation::{MITIGATIONS, states};
use brig_seccomp::verdict::Verdicts;
use brig_seccomp::{ALLOW, Arch, BUILTIN, compile};
use oci_spec::runtime::LinuxSeccomp;

/// What `deviations.json` explains with one reason.
struct Reason {
    profiles: Vec<String>,
    calls: Vec<String>,
    architectures: Vec<String>,
    reason: String,
}

fn strings(value: &serde_json::Value) -> Vec<String> {
    let words = value.as_array().into_iter().flatten();
    words.map(|word| word.as_str().expect("a word").to_owned()).collect()
}

fn reasons() -> Vec<Reason> {
    let json = include_str!("../profiles/deviations.json");
    let file: serde_json::Value = serde_json::from_str(json).expect("it is JSON");
    let entries = file["deviations"].as_array().expect("a list");
    let reason = |entry: &serde_json::Value| {
        let keys: BTreeSet<&str> =
            entry.as_object().expect("an object").keys().map(String::as_str).collect();
        let known = BTreeSet::from(["profiles", "calls", "architectures", "reason"]);
        assert!(keys.is_subset(&known), "{entry}");
        Reason {
            profiles: strings(&entry["profiles"]),
            calls: strings(&entry["calls"]),
            architectures: strings(&entry["architectures"]),
            reason: entry["reason"].as_str().expect("a reason").to_owned(),
        }
    };
    entries.iter().map(reason).collect()
}

/// The calls that a profile decides otherwise than Docker's, with what both decide. Conditions
/// count: a call that both allow, but not with the same arguments, is one.
fn deviating(profile: &LinuxSeccomp) -> BTreeMap<&'static str, (String, String)> {
    let docker = real::of_engine("docker-default");
    let mut calls = BTreeMap::new();
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let ours = Verdicts::new(profile, arch, arch).expect("it compiles");
        let theirs = Verdicts::new(&docker, arch, arch).expect("it compiles");
        for (name, nr, theirs) in theirs.iter() {
            let (ours, theirs) = (ours.of_number(nr).to_string(), theirs.to_string());
            if ours != theirs {
                calls.insert(name, (ours, theirs));
            }
        }
    }
    calls
}

/// The architectures that one of two profiles lists, and the other does not.
fn deviating_architectures(profile: &LinuxSeccomp) -> BTreeSet<&'static str> {
    let listed = |profile: &LinuxSeccomp, arch: Arch| {
        let verdicts = Verdicts::new(profile, arch.kernel(), arch).expect("it compiles");
        verdicts.is_listed()
    };
    let docker = real::of_engine("docker-default");
    let differs = |arch: &Arch| listed(profile, *arch) != listed(&docker, *arch);
    Arch::ALL.into_iter().filter(differs).map(Arch::name).collect()
}

#[test]
fn every_deviation_from_docker_has_one_reason_and_every_reason_a_deviation() {
    let mut wrong = Vec::new();
    for name in BUILTIN {
        let profile = real::own(name);
        let calls = deviating(&profile);
        let mut open: BTreeSet<&str> = calls.keys().copied().collect();
        open.extend(deviating_architectures(&profile));
        for entry in reasons().iter().filter(|entry| entry.profiles.iter().any(|of| of == name)) {
            for call in entry.calls.iter().chain(&entry.architectures) {
                if !open.remove(call.as_str()) {
                    wrong.push(format!(
                        "{name}: a reason, or a second one, for {call}: no deviation"
                    ));
                }
            }
        }
        let described = |call: &&str| match calls.get(*call) {
            Some((ours, theirs)) => format!("{name}: no reason why {call} is {ours}, not {theirs}"),
            None => format!("{name}: no reason for the architecture {call}"),
        };
        wrong.extend(open.iter().map(described));
    }
    assert!(wrong.is_empty(), "profiles/deviations.json: {wrong:#?}");
}

#[test]
fn reasons_are_sentences_about_profiles_that_exist() {
    for Reason { profiles, calls, architectures, reason } in reasons() {
        assert!(reason.len() > 20 && reason.ends_with('.'), "{reason:?}");
        assert!(!profiles.is_empty() && calls.len() + architectures.len() > 0, "{reason}");
        assert!(profiles.iter().all(|name| BUILTIN.contains(&name.as_str())), "{profiles:?}");
    }
}

/// How many calls a profile allows on an architecture, at least with some arguments.
fn allowed(profile: &LinuxSeccomp, arch: Arch) -> usize {
    let verdicts = Verdicts::new(profile, arch, arch).expect("it compiles");
    verdicts.iter().filter(|(.., verdict)| verdict.loosest() == ALLOW).count()
}

const OPENING: &str = "\
# The seccomp profiles

Made from `seccomp-profiles/profiles` by its tests; after a change there:
`BRIG_BLESS=1 cargo nextest run -p brig-seccomp --test deviations`.

Five profiles come with brig, as data: `seccomp-profiles/profiles/NAME.json` is what goes into
`linux.seccomp` of config.json, and any runtime takes it (the tests load each into runc and crun too); for
`podman run` and `docker run` it is `--security-opt seccomp=NAME.json`. They are lists of what is allowed:
other calls fail with EPERM, and calls newer than the profile (under brig and runc) with ENOSYS, so that
programs fall back.
`clone3`, whose flags no filter can see, fails with ENOSYS too but under `nested`, and libraries call `clone`.

Under brig a profile of your own has to allow what the program calls, and `execve`, with which it is started: brig makes no
other call under the filter, with or without `noNewPrivileges`. One that notifies (`SCMP_ACT_NOTIFY`) has to allow
`sendmsg` besides, if only with the flags 0x5600 (argument 2), with which the listener is handed over. Where
`write` is not allowed, brig cannot say why a program could not be executed. Other runtimes need more; `brig seccomp
record` adds what runc and crun do.

| profile | for | calls allowed (x86_64) | instructions (x86_64, aarch64) |
|---|---|---|---|
";

const FOR: [(&str, &str); 5] = [
    (
        "nested",
        "systemd, or containers, in a container that has a user namespace: `default` with mounts and namespaces, of which root there makes its own",
    ),
    (
        "default",
        "ordinary containers: Docker's default profile, but safer on socket families and without 32-bit calls",
    ),
    (
        "restricted",
        "programs that are not trusted much; `brig try` uses it. Neither namespaces, the mount interface, keyrings, bpf, perf, userfaultfd, io_uring nor ptrace, and none but the usual sockets",
    ),
    (
        "sandbox",
        "network services and interpreters: what nginx, redis, PostgreSQL, python3, node, a Go and a Rust program were seen to call, and what other versions of their libraries call in its place",
    ),
    ("compute", "computations: `sandbox` without network"),
];

fn document() -> String {
    let mut text = OPENING.to_owned();
    let mut row = |name: &str, about: &str, profile: &LinuxSeccomp| {
        let length = |arch| compile(profile, arch).expect("it compiles").instructions.len();
        let (x86_64, aarch64) = (length(Arch::X86_64), length(Arch::Aarch64));
        let allowed = allowed(profile, Arch::X86_64);
        writeln!(text, "| {name} | {about} | {allowed} | {x86_64}, {aarch64} |").expect("text");
    };
    for (name, about) in FOR {
        row(&format!("`{name}`"), about, &real::own(name));
    }
    let mut docker = real::of_engine("docker-default");
    docker.set_architectures(None);
    row(
        "Docker's",
        "to compare: resolved for Docker's default capabilities, 64-bit calls only",
        &docker,
    );
    text.push_str("
The tests run those programs' real work under each profile, and really attempt in a container what each is to
refuse (`integration/tests/seccomp_profiles.rs`). The verdict of each profile for each call is in
`seccomp-profiles/tests/golden`.

## Why they deviate from Docker's

From the profile in `seccomp-profiles/tests/data/docker-default.json`, for the calls of x86_64 and aarch64. A
test fails where a deviation has no reason here, or a reason no deviation. What Docker's profile refuses as
well is not in the table: mount(2) and its kin, setns, unshare, bpf, perf_event_open, userfaultfd, io_uring,
add_key and keyctl, kexec, modules, open_by_handle_at, and `clone` with flags of namespaces.

| calls | profiles | why |
|---|---|---|
");
    for Reason { profiles, calls, architectures, reason } in reasons() {
        let all =
            if profiles.len() == BUILTIN.len() { "all".to_owned() } else { profiles.join(", ") };
        let calls: Vec<String> = calls.iter().map(|call| format!("`{call}`")).collect();
        let architectures = architectures.iter().map(|arch| format!("all of {arch}"));
        let what: Vec<String> = calls.into_iter().chain(architectures).collect();
        writeln!(text, "| {} | {all} | {reason} |", what.join(" ")).expect("text");
    }
    text.push_str(&holes());
    text
}

const HOLES: &str = "
## Kernel vulnerabilities that a filter blocks

Whether a profile refuses the calls by which known vulnerabilities are reached, on x86_64, as the compiler's verdicts say
(`brig seccomp mitigations PROFILE` for any profile). *32-bit*: refused natively, but reached by calls of i386 or x32, which
the profile allows. Engines' profiles are those of `seccomp-profiles/tests/data`, for the capabilities that they
give by default. Docker's names AF_ALG and AF_VSOCK, and compares 64 bits of an argument of which the kernel reads 32: with a
bit above them set the call passes, so they are open. The list is not complete, neither of vulnerabilities nor of ways to reach one.

";

/// The table of holes: each profile judged by its verdicts.
fn holes() -> String {
    let engines = ["docker-default", "podman-default", "containerd-default"];
    let own = BUILTIN.iter().map(|name| (*name, real::own(name)));
    let profiles: Vec<(&str, LinuxSeccomp)> =
        own.chain(engines.map(|name| (name, real::of_engine(name)))).collect();
    let judged: Vec<_> = profiles
        .iter()
        .map(|(_, profile)| states(profile, Arch::X86_64).expect("it compiles"))
        .collect();
    let names: Vec<&str> = profiles.iter().map(|(name, _)| *name).collect();
    let mut text = format!("{HOLES}| vulnerability | CVE | by | {} |\n", names.join(" | "));
    text.push_str(&"|---".repeat(names.len() + 3));
    text.push_str("|\n");
    for (at, one) in MITIGATIONS.iter().enumerate() {
        let steps = one.steps.iter().map(|step| {
            let calls: Vec<&str> = step.iter().map(|entry| entry.words).collect();
            calls.join(" or ")
        });
        let steps: Vec<String> = steps.collect();
        let states = judged.iter().map(|states| match states[at].name() {
            "open by 32-bit calls" => "32-bit",
            name => name,
        });
        let states: Vec<&str> = states.collect();
        let cves = one.cves.join(", ");
        let (steps, states) = (steps.join("; then "), states.join(" | "));
        writeln!(text, "| {}: {} | {cves} | {steps} | {states} |", one.name, one.why)
            .expect("text");
    }
    text
}

#[test]
fn the_document_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/seccomp-profiles.md");
    if std::env::var_os("BRIG_BLESS").is_some() {
        std::fs::write(&path, document()).expect("write");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == document(),
        "docs/seccomp-profiles.md is out of date: BRIG_BLESS=1 writes it"
    );
}
