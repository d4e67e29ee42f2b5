//! `brig seccomp show`, `check`, `diff`, `explain` and `export`, as they are used: on the profile that
//! brig brings, on Docker's, and on what is no profile. What `export` writes is loaded into the kernel.

use brig_integration::{Lab, Output, Value, json, need};
use std::fs;
use std::path::PathBuf;

/// Docker's default profile, as it is in the config.json that Docker writes.
const DOCKER: &str = include_str!("../../seccomp-profiles/tests/data/docker-default.json");

/// `brig seccomp ARGS` in the test's directory.
fn seccomp(lab: &Lab, args: &[&str]) -> Output {
    lab.runtime().cwd(lab.dir()).arg("seccomp").args(args).go()
}

/// Writes a file into the test's directory.
fn file(lab: &Lab, name: &str, text: &str) -> PathBuf {
    let path = lab.dir().join(name);
    fs::write(&path, text).expect("write a profile");
    path
}

fn docker(lab: &Lab) {
    let fixture: Value = serde_json::from_str(DOCKER).expect("the fixture is JSON");
    let text = serde_json::to_string_pretty(&fixture["seccomp"]).expect("it can be written");
    file(lab, "docker.json", &text);
}

/// Profiles that differ in what they allow of socket(2) and mkdir(2).
fn small(lab: &Lab) {
    let rule = |families: &str, more: &str| {
        format!(
            r#"{{
  "defaultAction": "SCMP_ACT_ERRNO",
  "syscalls": [
    {{ "names": ["read", "write", "cachestat"{more}], "action": "SCMP_ACT_ALLOW" }},
    {{
      "names": ["socket"],
      "action": "SCMP_ACT_ALLOW",
      "args": [{{ "index": 0, "value": {families}, "op": "SCMP_CMP_LE" }}]
    }}
  ]
}}"#
        )
    };
    file(lab, "a.json", &rule("2", ""));
    file(lab, "b.json", &rule("17", ", \"mkdir\""));
}

#[test]
fn show_is_a_table_by_kind_of_call() {
    need!(Brig);
    let lab = Lab::new();
    small(&lab);
    let text = seccomp(&lab, &["show", "--arch", "x86_64", "a.json"]).ok().stdout();
    assert!(text.starts_with("a.json: 2 rules, "), "{text}");
    assert!(text.contains("\nnetwork (18)\n  errno 1       accept accept4 "), "{text}");
    assert!(text.contains("\n  socket        allow if arg0 <= 2; otherwise errno 1\n"), "{text}");
    assert!(text.contains("\n  allow         read write\n"), "{text}");
    assert!(text.ends_with("\nany other number: errno 38\n"), "{text}");
    // Every call is there once.
    let calls = text.split_whitespace().filter(|word| *word == "ptrace").count();
    assert_eq!(calls, 1);
    seccomp(&lab, &["show", "--arch", "arm64", "default"]).ok().says("calls of aarch64");
    let x32 = seccomp(&lab, &["show", "-a", "x32", "a.json"]).ok();
    x32.says("all calls of x32: errno 38 (the profile does not list it)");
}

#[test]
fn show_bpf_is_the_program_that_is_exported() {
    need!(Brig);
    let lab = Lab::new();
    for profile in ["default", "docker.json"] {
        docker(&lab);
        let text = seccomp(&lab, &["show", "--bpf", profile]).ok().stdout();
        let out = lab.path("bpf");
        seccomp(&lab, &["export", "-o", &out.to_string_lossy(), profile]).ok().prints("");
        let bytes = fs::read(&out).expect("the program");
        assert_eq!(text.lines().count() * 8, bytes.len());
        assert!(text.starts_with("   0: load arch\n"), "{text}");
        let shown = seccomp(&lab, &["show", "--json", profile]).ok().json();
        assert_eq!(shown["instructions"], json!(text.lines().count()));
        // The same bytes on standard output, and in JSON.
        let output = seccomp(&lab, &["export", profile]).ok();
        assert_eq!(fs::read(output.stdout_path()).expect("the program"), bytes);
        let exported = seccomp(&lab, &["export", "--format", "json", profile]).ok().json();
        let first = &exported["instructions"][0];
        assert_eq!(first, &json!([0x20, 0, 0, 4]));
        assert_eq!(exported["notify"], json!(false));
    }
}

#[test]
fn json_says_what_the_table_says() {
    need!(Brig);
    let lab = Lab::new();
    docker(&lab);
    let shown = seccomp(&lab, &["show", "-f", "json", "-a", "x86_64", "docker.json"]).ok().json();
    let calls = shown["calls"].as_array().expect("calls");
    assert!(calls.len() > 350, "{}", calls.len());
    let of = |name: &str| calls.iter().find(|call| call["name"] == name).expect("the call");
    assert_eq!(of("mount")["verdict"]["text"], "errno 1");
    assert_eq!(of("read")["rule"], json!(0));
    assert_eq!(of("socket")["category"], "network");
    assert_eq!(
        of("socket")["verdict"]["alternatives"][0]["conditions"]["all"][0]["value"],
        json!(38)
    );
}

#[test]
fn check_finds_little_in_brigs_own_profiles_and_much_in_dockers() {
    need!(Brig);
    let lab = Lab::new();
    docker(&lab);
    seccomp(&lab, &["check", "--strict", "restricted", "sandbox", "compute"]).ok().prints("");
    // Debuggers work under it, as under Docker's.
    seccomp(&lab, &["check", "default"]).ok().says("ptrace: allowed");
    // Warnings alone are no errors, unless one asks for that.
    let output = seccomp(&lab, &["check", "docker.json"]).ok();
    seccomp(&lab, &["check", "--strict", "docker.json"]).code(1);
    let text = output.stdout();
    for expected in [
        ": warning: rule 0: ptrace: allowed: takes over other processes of the same user [dangerous]",
        ": warning: x86 calls are allowed: ",
        ": socket is restricted, but x86 programs can use socketcall instead [32-bit-hole]",
        ": socket: allowed if the upper half of the argument, which the kernel drops, is not 0, with AF_VSOCK: ",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    assert!(!text.contains("error:"), "{text}");
}

#[test]
fn check_points_at_the_line() {
    need!(Brig);
    let lab = Lab::new();
    let profile = r#"{
  "defaultAction": "SCMP_ACT_ERRNO",
  "syscalls": [
    { "names": ["read", "wriet"], "action": "SCMP_ACT_ALLOW" },
    { "names": ["bpf",
                "read"], "action": "SCMP_ACT_ALLOW" },
    { "names": ["bpf"], "action": "SCMP_ACT_KILL" }
  ]
}"#;
    file(&lab, "p.json", profile);
    let output = seccomp(&lab, &["check", "p.json"]).code(1);
    let expected = "\
p.json:4: warning: rule 0: wriet: no kernel that brig knows has this call; ignored [unknown-name]
  hint: did you mean \"write\"?
p.json:6: warning: rule 1: read: decides nothing: rule 0 decides this call, whatever its arguments [unreachable]
  hint: remove the call from this rule
p.json:5: warning: rule 1: bpf: allowed: gives the kernel's verifier programs; many escapes began here [dangerous]
  hint: remove it if the workload can do without; see CVE-2021-3490
p.json:7: error: rule 2: bpf: SCMP_ACT_KILL here, but rule 1 says SCMP_ACT_ALLOW [contradiction]
  hint: remove bpf from one of the two rules
p.json:7: warning: rule 2: bpf: decides nothing: rule 1 decides this call, whatever its arguments [unreachable]
  hint: remove the call from this rule
";
    output.prints(expected.trim_end());
    let found = seccomp(&lab, &["check", "--json", "p.json"]).code(1).json();
    assert_eq!(found[3]["code"], "contradiction");
    assert_eq!((&found[3]["line"], &found[3]["rule"]), (&json!(7), &json!(2)));
    assert_eq!(found[3]["field"], "syscalls[2].names[0]");
    // A file that cannot be read does not keep the others from being checked.
    let both = seccomp(&lab, &["check", "missing.json", "p.json"]).code(1).stdout();
    assert!(both.starts_with("missing.json: error: cannot read the profile: "), "{both}");
    assert!(both.contains("p.json:7: error: "), "{both}");
}

#[test]
fn diff_is_what_the_second_lets_through() {
    need!(Brig);
    let lab = Lab::new();
    small(&lab);
    let expected = "\
x86_64: B lets more through of 2 calls
  mkdir                    errno 1 -> allow
  socket
    A: allow if arg0 <= 2; otherwise errno 1
    B: allow if arg0 <= 17; otherwise errno 1
    more: errno 1 -> allow, if arg0 <= 17, such as socket(3)";
    seccomp(&lab, &["diff", "-a", "x86_64", "a.json", "b.json"]).ok().prints(expected);
    let nothing = "B lets nothing through that A does not";
    seccomp(&lab, &["diff", "b.json", "a.json"]).ok().prints(nothing);
    seccomp(&lab, &["diff", "--exit-code", "b.json", "a.json"]).ok();
    seccomp(&lab, &["diff", "--exit-code", "a.json", "b.json"]).code(1);
    let found = seccomp(&lab, &["diff", "--json", "a.json", "b.json"]).ok().json();
    assert_eq!(found[1]["gains"][0]["example"][0], json!(3));
    // The other way round of writing is no difference.
    let text = fs::read_to_string(lab.dir().join("a.json")).expect("the profile");
    file(
        &lab,
        "c.json",
        &text.replace(
            "\"value\": 2, \"op\": \"SCMP_CMP_LE\"",
            "\"value\": 3, \"op\": \"SCMP_CMP_LT\"",
        ),
    );
    seccomp(&lab, &["diff", "a.json", "c.json"]).ok().prints(nothing);
    seccomp(&lab, &["diff", "c.json", "a.json"]).ok().prints(nothing);
}

#[test]
fn diff_sums_up_what_only_one_architecture_list_has() {
    need!(Brig);
    let lab = Lab::new();
    docker(&lab);
    let text = seccomp(&lab, &["diff", "default", "docker.json"]).ok().stdout();
    assert!(text.contains("\n  modify_ldt               errno 1 -> allow\n"), "{text}");
    assert!(text.contains("\nx86: B lists it and A does not: "), "{text}");
    let x86 = seccomp(&lab, &["diff", "-a", "x86", "default", "docker.json"]).ok().stdout();
    assert!(x86.contains("\n  socketcall               kill process -> allow\n"), "{x86}");
}

#[test]
fn explain_names_the_rule() {
    need!(Brig);
    let lab = Lab::new();
    small(&lab);
    let explain =
        |args: &[&str]| seccomp(&lab, &[&["explain", "-a", "x86_64", "a.json"], args].concat());
    let allowed = explain(&["socket", "1"]).ok().stdout();
    let expected =
        "socket(1) on x86_64 (number 41, network): allow\n  rule 1 (a.json:5), as arg0 <= 2\n";
    assert!(allowed.starts_with(expected), "{allowed}");
    let denied = explain(&["41", "0x28"]).ok();
    denied.says("socket(40) on x86_64 (number 41, network): errno 1").says("AF_VSOCK");
    let open = explain(&["socket"]).ok().stdout();
    assert!(
        open.starts_with("socket() on x86_64 (number 41, network): depends on its arguments\n"),
        "{open}"
    );
    assert!(
        open.contains("  errno 1: no rule applies: the default action, such as socket(3)\n"),
        "{open}"
    );
    explain(&["read"]).ok().says("rule 0 (a.json:4), whatever the arguments");
    explain(&["file_setattr"]).ok().says("errno 38").says("newer than every call");
    explain(&["socket", "--", "-1"]).ok().says("socket(0xffffffffffffffff)");
    let found = explain(&["--json", "socket", "1"]).ok().json();
    assert_eq!((&found["decision"], &found["outcomes"][0]["line"]), (&json!("allow"), &json!(5)));
    explain(&["soket"]).code(1).says("did you mean socket?");
    explain(&["socketcall"])
        .code(1)
        .says("socketcall: x86_64 has no such call")
        .says("x86 has: use --arch");
    explain(&["socket", "one"]).code(2);
    explain(&["socket", "1", "2", "3", "4", "5", "6", "7"]).code(2);
}

#[test]
fn profiles_come_from_standard_input_and_out_of_a_configuration() {
    need!(Brig);
    let lab = Lab::new();
    small(&lab);
    let text = fs::read_to_string(lab.dir().join("a.json")).expect("the profile");
    let stdin = lab.runtime().args(["seccomp", "explain", "-", "read"]).stdin(text.as_bytes());
    stdin.go().ok().says("rule 0 (standard input:4)");
    let config = format!("{{\"ociVersion\": \"1.0.2\",\n\"linux\": {{\"seccomp\":\n{text}}}}}");
    file(&lab, "config.json", &config);
    seccomp(&lab, &["explain", "config.json", "read"]).ok().says("rule 0 (config.json:6)");
    seccomp(&lab, &["diff", "a.json", "config.json"]).ok().says("nothing");
    seccomp(&lab, &["diff", "-", "-"]).code(2);
}

/// Bad profiles made of a good one, and what comes after the file's name in the error.
fn bad_profiles(good: &str) -> Vec<(String, &'static str)> {
    let arg = r#"{"index": 1, "value": 18446744073709551614, "valueTwo": VALUE, "op": "SCMP_CMP_MASKED_EQ"}"#;
    let rule = |at: u64| {
        let arg = arg.replace("18446744073709551614", &(u64::MAX - 1 - (at << 1)).to_string());
        let arg = arg.replace("VALUE", &(at << 33).to_string());
        format!(r#"{{"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [{arg}]}}"#)
    };
    let many: Vec<String> = (0..3000).map(rule).collect();
    let read = r#"{ "names": ["read""#;
    let contradiction = r#"{ "names": ["mkdir"], "action": "SCMP_ACT_KILL" }, { "names": ["read""#;
    vec![
        (
            good[..good.find("\"index\"").unwrap_or(0)].to_owned(),
            ":8: syscalls[1].args[0]: the text ends too early",
        ),
        (
            good.replace("SCMP_CMP_LE", "SCMP_CMP_ALMOST"),
            ":8: syscalls[1].args[0].op: unknown seccomp operator",
        ),
        (
            good.replacen("SCMP_ACT_ALLOW", "SCMP_ACT_PERHAPS", 1),
            ":4: syscalls[0].action: unknown seccomp action",
        ),
        (
            good.replace("\"index\": 0", "\"index\": 6"),
            ":8: syscalls[1].args[0].index: 6 is out of range",
        ),
        (
            good.replace(read, contradiction),
            ":4: syscalls[1].names[3]: SCMP_ACT_ALLOW for mkdir, but rule 0 says SCMP_ACT_KILL",
        ),
        (
            good.replace("\"syscalls\"", "\"architectures\": [\"SCMP_ARCH_PDP11\"], \"syscalls\""),
            ":3: architectures[0]: unknown seccomp architecture",
        ),
        (
            good.replace("\"index\": 0", "\"indx\": 0"),
            ":8: syscalls[1].args[0].indx: no such field",
        ),
        (good.replace(read, &format!("{},\n{read}", many.join(",\n"))), ":4: syscalls[0]: needs "),
        (" ".repeat((1 << 20) + 1), ": is larger than 1048576 bytes"),
        ("\u{7f}ELF".to_owned(), ":1: expected a value"),
    ]
}

#[test]
fn bad_profiles_are_refused_and_nothing_is_written() {
    need!(Brig);
    let lab = Lab::new();
    small(&lab);
    let good = fs::read_to_string(lab.dir().join("b.json")).expect("the profile");
    for (text, expected) in bad_profiles(&good) {
        file(&lab, "bad.json", &text);
        for verb in [
            &["show", "bad.json"][..],
            &["export", "-o", "out.bpf", "bad.json"],
            &["diff", "a.json", "bad.json"],
            &["explain", "bad.json", "read"],
        ] {
            let output = seccomp(&lab, verb).code(1);
            let stderr = output.stderr();
            assert!(
                stderr.starts_with(&format!("error: seccomp: bad.json{expected}")),
                "{expected}\n{stderr}"
            );
            assert!(stderr.contains("\nhint: "), "{stderr}");
            assert_eq!(output.stdout(), "");
        }
        assert!(!lab.dir().join("out.bpf").exists());
        seccomp(&lab, &["check", "bad.json"]).code(1);
    }
    seccomp(&lab, &["show", "--arch", "pdp11", "default"]).code(2).says("only for x86_64");
    seccomp(&lab, &["show", "no-such-profile"])
        .code(1)
        .says("one of brig's own profiles: nested, default");
    seccomp(&lab, &["frobnicate"]).code(2);
    seccomp(&lab, &[]).code(2);
}

/// Runs `script` under bubblewrap with an exported filter.
fn under_bubblewrap(lab: &Lab, profile: &str, script: &str) -> Output {
    let filter = lab.path("filter");
    seccomp(lab, &["export", "-o", &filter.to_string_lossy(), profile]).ok();
    let bwrap = "exec bwrap --ro-bind / / --tmpfs /tmp --dev /dev --proc /proc --seccomp 3 /bin/busybox sh -c \"$2\" 3<\"$1\"";
    lab.call("sh").args(["-c", bwrap, "sh"]).arg(&filter).arg(script).go()
}

#[test]
fn bubblewrap_loads_what_is_exported() {
    need!(Brig);
    let lab = Lab::new();
    let profile = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 },
        { "names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 11,
          "args": [{ "index": 1, "value": 10, "op": "SCMP_CMP_EQ" }] }] }"#;
    file(&lab, "p.json", profile);
    let path = lab.dir().join("p.json");
    let script = "grep Seccomp: /proc/self/status; mkdir /tmp/x; touch /tmp/y && echo touched;
        kill -10 $$; kill -0 $$ && echo may signal";
    let output = under_bubblewrap(&lab, &path.to_string_lossy(), script);
    let output = output.says("Seccomp:\t2").says("touched").says("may signal");
    output.says("No space left on device").says("Resource temporarily unavailable");
}

#[test]
fn the_default_profile_under_bubblewrap_refuses_namespaces() {
    need!(Brig);
    let lab = Lab::new();
    let script = "echo hello | tr a-z A-Z; unshare -U true || echo refused; mount -t tmpfs x /tmp || echo not mounted";
    let output = under_bubblewrap(&lab, "default", script);
    output.says("HELLO").says("refused").says("not mounted");
}

#[test]
fn mitigations_says_which_holes_a_profile_closes() {
    need!(Brig);
    let lab = Lab::new();
    let state = |profile: &str, hole: &str| {
        let all =
            lab.runtime().args(["seccomp", "mitigations", "--json", profile]).go().ok().json();
        let all = all.as_array().expect("a list").clone();
        let one = all.into_iter().find(|one| one["name"] == hole).expect("it is listed");
        one["state"].as_str().expect("a word").to_owned()
    };
    assert_eq!(state("default", "copy-fail"), "closed");
    assert_eq!(state("default", "packet"), "open");
    assert_eq!(state("restricted", "packet"), "closed");
    let file = lab.path("all.json");
    std::fs::write(&file, r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#).expect("write");
    assert_eq!(state(&file.to_string_lossy(), "ghostlock"), "open");
    let all = lab.runtime().args(["seccomp", "mitigations"]).go().ok().stdout();
    let lines = "copy-fail                  CVE-2026-31431 CVE-2025-39964 CVE-2019-8912 CVE-2017-17806\n\
                 \x20                          socket AF_ALG\n";
    assert!(all.contains(lines), "{all}");
}
